//! Block devices: stored as Velero stores them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use windlass_mover::snapshot::SnapshotOptions;
use windlass_repo_format::snapshot::EntryKind;

use crate::world::{World, is_root, noise};

/// A loop device, until it is dropped.
struct Device(PathBuf);

impl Device {
    fn attach(backing: &Path) -> Option<Self> {
        let output = Command::new("losetup")
            .args(["--find", "--show"])
            .arg(backing)
            .output()
            .ok()?;
        let path = String::from_utf8(output.stdout).ok()?;
        output.status.success().then(|| Self(path.trim().into()))
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        let _ = Command::new("losetup").arg("--detach").arg(&self.0).status(); // nothing else can be done about it
    }
}

#[test]
fn a_device_is_named_by_its_whole_path_and_where_a_link_leads() {
    let world = World::new();
    let bytes = noise(5, 3 << 20);
    world.file("backing", bytes.clone());
    if !is_root("attach a loop device") {
        return;
    }
    let Some(device) = Device::attach(&world.path("backing")) else {
        eprintln!("skipped: no loop device can be had");
        return;
    };
    let name = device.0.to_str().unwrap().as_bytes();
    world.link("link", device.0.to_str().unwrap());
    for path in [device.0.clone(), world.path("link")] {
        let options = SnapshotOptions {
            block_device: true,
            ..world.options_of(&path)
        };
        let report = world.snapshot_with(&world.open(), &options);
        let root = report.manifest.root_entry.clone().unwrap();
        assert_eq!((root.kind, &root.name[..]), (EntryKind::Directory, name));
        let tree = world.tree(&report);
        assert_eq!(tree.len(), 2);
        assert!(tree[name].bytes == bytes && fs::read(&path).unwrap() == bytes);
    }
}
