//! The real trees: folders that nobody made for a test go through both programs, in both directions.

use std::path::{Path, PathBuf};
use std::process::Command;

use windlass_tests::{Listing, Need, Shape, Slack, World, peers, scale};

const GIB: u64 = 1 << 30;

#[test]
fn a_cut_of_usr() {
    let Some(world) = World::with(&[Need::Root, Need::Kopia, Need::FrontDoor]) else {
        return;
    };
    let cut = world.path("cut-of-usr");
    cut_of(Path::new("/usr"), &cut, scale(GIB, 4 * GIB));
    there_and_back(&world, &cut);
}

#[test]
fn go_modules() {
    let Some(world) = World::with(&[Need::Root, Need::Kopia, Need::ModuleCache, Need::FrontDoor]) else {
        return;
    };
    let cut = world.path("cut-of-modules");
    cut_of(
        &peers::module_cache().expect("it is needed"),
        &cut,
        scale(GIB / 2, 4 * GIB),
    );
    there_and_back(&world, &cut);
}

fn there_and_back(world: &World, source: &Path) {
    let wanted = Listing::of(source).as_stored();
    for writer in ["windlass", "kopia"] {
        let repository = world.path(&format!("repository-of-{writer}"));
        let (kopia, windlass) = world.both(&repository);
        let (id, root) = if writer == "windlass" {
            windlass.init(&Shape::default());
            let made = windlass.snapshot(source, &[]);
            kopia.connect();
            (made.id, made.root)
        } else {
            kopia.create(&Shape::default());
            let made = kopia.snapshot(source, &[]);
            let ours = windlass.snapshot(source, &[]);
            assert_eq!(ours.root, made.root);
            ours.assert_all_cached(&wanted);
            (made.id, made.root)
        };
        let (by_kopia, by_windlass) = (world.path("by-kopia"), world.path("by-windlass"));
        kopia.restore(&id, &by_kopia);
        windlass.restore(&id, &by_windlass);
        let (theirs, ours) = (Listing::of(&by_kopia), Listing::of(&by_windlass));
        wanted.assert_same(&theirs, Slack::RESTORED_BY_KOPIA);
        wanted.assert_same(&ours, Slack::RESTORED_BY_WINDLASS);
        theirs.assert_same(&ours, Slack::BOTH_RESTORED);
        assert_eq!(kopia.snapshot(source, &[]).root, root);
        for folder in [by_kopia, by_windlass, repository] {
            remove(&folder);
        }
    }
    remove(source);
}

/// Copies whole folders out of a real tree, in order of their names, until so many bytes are there.
fn cut_of(real: &Path, into: &Path, bytes_max: u64) {
    std::fs::create_dir(into).expect("the world is ours");
    let mut waiting: Vec<(PathBuf, PathBuf)> = vec![(real.to_owned(), into.to_owned())];
    let mut taken = 0;
    while let Some((from, to)) = waiting.pop() {
        let mut children: Vec<_> = std::fs::read_dir(&from)
            .expect("a real tree can be read")
            .flatten()
            .collect();
        children.sort_by_key(std::fs::DirEntry::file_name);
        for child in children {
            let (bytes, target) = (bytes_below(&child.path()), to.join(child.file_name()));
            let is_folder = child.file_type().is_ok_and(|kind| kind.is_dir());
            if taken + bytes <= bytes_max {
                taken += bytes;
                let copied = Command::new("cp").arg("-a").arg(child.path()).arg(&target).status();
                assert!(
                    copied.is_ok_and(|status| status.success()),
                    "cannot copy {}",
                    child.path().display()
                );
            } else if is_folder && taken < bytes_max / 10 * 9 {
                std::fs::create_dir(&target).expect("the world is ours");
                waiting.push((child.path(), target)); // too much as a whole: what is in it may fit
            }
        }
    }
    assert!(taken > bytes_max / 4, "only {taken} bytes in {}", real.display());
}

fn bytes_below(path: &Path) -> u64 {
    let Ok(metadata) = std::fs::symlink_metadata(path) else {
        return 0;
    };
    if !metadata.is_dir() {
        return metadata.len();
    }
    let children = std::fs::read_dir(path).into_iter().flatten().flatten();
    children.map(|child| bytes_below(&child.path())).sum()
}

fn remove(folder: &Path) {
    std::fs::remove_dir_all(folder).unwrap_or_else(|error| panic!("cannot remove {}: {error}", folder.display()));
}
