//! A disk that is soon full.

use std::path::Path;
use std::process::Command;

/// A file system in memory; gone with the guard.
pub(crate) struct SmallDisk<'a>(&'a Path);

impl<'a> SmallDisk<'a> {
    /// With the options of a `tmpfs`, such as `size=20m`. Needs root and mounts.
    pub(crate) fn mounted(at: &'a Path, options: &str) -> Self {
        std::fs::create_dir(at).expect("the world's folder is ours");
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

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0).status(); // the world's folder goes anyway
    }
}
