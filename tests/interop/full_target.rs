//! The small disk: a restore that does not fit ends with one clear error, and goes on when there is room.

use std::path::Path;
use std::process::Command;

use windlass_tests::{Need, Shape, Tree, World};

/// A file system in memory; gone with the guard.
pub(crate) struct Disk<'a>(&'a Path);

impl<'a> Disk<'a> {
    pub(crate) fn mounted(at: &'a Path, options: &str) -> Self {
        std::fs::create_dir(at).expect("the world is ours");
        let disk = Self(at);
        disk.mount(&["-t", "tmpfs", "-o", options, "tmpfs"]);
        disk
    }

    pub(crate) fn mount(&self, arguments: &[&str]) {
        let mounted = Command::new("mount").args(arguments).arg(self.0).status();
        assert!(
            mounted.is_ok_and(|status| status.success()),
            "cannot mount {arguments:?}"
        );
    }
}

impl Drop for Disk<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0).status(); // the world's folder goes anyway
    }
}

#[test]
fn a_restore_that_does_not_fit_is_one_error_and_goes_on_when_there_is_room() {
    let Some(world) = World::with(&[Need::Root, Need::Mounts]) else {
        return;
    };
    let windlass = world.windlass(&world.path("repository"), "password");
    windlass.init(&Shape::default());
    // Files that are contents of their own, and files of several.
    let sizes: Vec<usize> = [300_000, 9_000_000].repeat(6);
    let tree = Tree::sized(&world.path("source"), 1, &sizes);
    let id = windlass.snapshot(tree.root(), &[]).id;

    let at = world.path("disk");
    let disk = Disk::mounted(&at, "size=20m");
    let target = at.join("restored");
    let target = target.to_str().expect("paths of worlds are text");
    let restore = ["snapshot", "restore", &id, target, "--overwrite", "changed"];
    for _ in 0..2 {
        let outcome = windlass.try_run(&restore).exits_with(1);
        let complaints: Vec<&str> = outcome
            .stderr
            .lines()
            .filter(|line| line.contains("No space"))
            .collect();
        assert_eq!(complaints.len(), 1, "{}", outcome.stderr);
        assert!(complaints[0].contains(target), "{}", outcome.stderr);
        assert!(outcome.stderr.contains("--overwrite changed"), "{}", outcome.stderr);
    }

    disk.mount(&["-o", "remount,ro"]);
    let outcome = windlass.try_run(&restore).exits_with(1);
    assert!(outcome.stderr.contains("Read-only"), "{}", outcome.stderr);
    disk.mount(&["-o", "remount,rw,size=100m"]);
    windlass.run(&restore);
    let compared = Command::new("diff").arg("-r").arg(tree.root()).arg(target).status();
    assert!(compared.is_ok_and(|status| status.success()), "not all came back");
}
