//! The defaults room: everything Kopia can do to a repository, done to one that Windlass wrote.

use std::path::{Path, PathBuf};

use windlass_tests::command::says;
use windlass_tests::{Kopia, Listing, Need, Shape, Slack, Tree, Windlass, World, scale};

const MIB: usize = 1 << 20;

#[test]
fn kopia_does_everything_with_a_repository_of_veleros_defaults() {
    everything(&Shape::default());
}

#[test]
fn kopia_does_everything_with_blake3_chacha20_and_error_correction() {
    everything(&Shape {
        hash: "BLAKE3-256-128",
        encryption: "CHACHA20-POLY1305-HMAC-SHA256",
        ecc_percent: 10,
        ..Shape::default()
    });
}

struct Scene {
    world: World,
    repository: PathBuf,
    source: PathBuf,
    wanted: Listing,
    windlass: Windlass,
    kopia: Kopia,
}

fn everything(shape: &Shape) {
    let Some(world) = World::with(&[Need::Root, Need::Kopia]) else {
        return;
    };
    let source = world.path("source");
    let tree = Tree::every_kind(&source, 1);
    let mut seed = windlass_tests::Seed::new(2);
    tree.file("large/30-mib", &seed.bytes(30 * MIB));
    tree.file(
        "large/64-mib",
        &seed.bytes(64 * MIB * usize::try_from(scale(1, 16)).expect("small")),
    );
    tree.settle();
    let wanted = Listing::of(&source).as_stored();
    let repository = world.path("repository");
    let (windlass, kopia) = (world.windlass(&repository, "first"), world.kopia(&repository, "first"));
    let scene = Scene {
        world,
        repository,
        source,
        wanted,
        windlass,
        kopia,
    };
    scene.kopia_reads_what_windlass_wrote(shape);
    scene.each_takes_the_others_files_as_unchanged();
    scene.a_forced_rehash_gives_the_same_root();
    scene.maintenance_leaves_everything_readable();
    scene.lost_indexes_are_recovered_by_either();
    scene.the_password_is_changed_by_either();
    if shape.ecc_percent > 0 {
        scene.damaged_bytes_are_rebuilt();
    }
}

impl Scene {
    fn kopia_reads_what_windlass_wrote(&self, shape: &Shape) {
        self.windlass.init(shape);
        let made = self
            .windlass
            .snapshot(&self.source, &["--description=everything", "--tag=colour:blue"]);
        self.kopia.connect();
        let status = self.kopia.status();
        assert_eq!(status["contentFormat"]["hash"], shape.hash);
        assert_eq!(status["contentFormat"]["encryption"], shape.encryption);
        assert_eq!(status["contentFormat"]["version"], shape.format_version);
        assert_eq!(status["objectFormat"]["splitter"], shape.splitter);
        self.kopia.verify_all();
        let listed = self.kopia.listed(&made.id);
        assert_eq!((listed.root.as_str(), listed.errors), (made.root.as_str(), 0));
        self.both_restore(&made.id, "first");
        self.windlass.verify_all();
    }

    fn each_takes_the_others_files_as_unchanged(&self) {
        let ours = self.windlass.snapshots().pop().expect("one snapshot was taken");
        let theirs = self.kopia.snapshot(&self.source, &[]);
        assert_eq!(theirs.root, ours.root);
        assert_eq!(theirs.not_cached, self.wanted.renamed(), "Kopia read files again");
        let again = self.windlass.snapshot(&self.source, &[]);
        assert_eq!(again.root, theirs.root);
        again.assert_all_cached(&self.wanted);
    }

    fn a_forced_rehash_gives_the_same_root(&self) {
        let ours = self.windlass.snapshots().pop().expect("snapshots were taken");
        let theirs = self.kopia.snapshot_read_again(&self.source);
        assert_eq!((theirs.root.as_str(), theirs.cached), (ours.root.as_str(), 0));
    }

    fn maintenance_leaves_everything_readable(&self) {
        self.kopia.run(&["index", "epoch", "list"]);
        self.kopia.run(&["maintenance", "info"]);
        self.kopia.own_maintenance();
        self.kopia
            .delete(&self.kopia.snapshots().pop().expect("snapshots were taken").id);
        self.kopia.maintain();
        self.kopia.maintain();
        self.kopia.verify_all();
        self.windlass.verify_all();
        self.windlass
            .snapshot(&self.source, &[])
            .assert_all_cached(&self.wanted);
    }

    fn lost_indexes_are_recovered_by_either(&self) {
        for recovering in ["kopia", "windlass"] {
            let copy = self.world.path(&format!("copy-for-{recovering}"));
            copy_folder(&self.repository, &copy);
            std::fs::remove_dir_all(copy.join("x")).expect("indexes lie in their own folder");
            for entry in std::fs::read_dir(&copy).expect("the copy is ours").flatten() {
                if entry.file_name().to_string_lossy().starts_with('x') {
                    std::fs::remove_file(entry.path()).expect("the copy is ours");
                }
            }
            let (windlass, kopia) = (self.world.windlass(&copy, "first"), self.world.kopia(&copy, "first"));
            kopia.connect();
            assert!(kopia.snapshots().is_empty(), "the indexes are gone");
            match recovering {
                "kopia" => kopia.recover_index(),
                _ => windlass.recover_index(),
            }
            kopia.forget_cache();
            kopia.verify_all();
            windlass.verify_all();
            let last = windlass.snapshots().pop().expect("snapshots were recovered");
            let restored = self.world.path(&format!("restored-after-{recovering}"));
            windlass.restore(&last.id, &restored);
            self.wanted
                .assert_same(&Listing::of(&restored), Slack::RESTORED_BY_WINDLASS);
            for folder in [restored, copy] {
                std::fs::remove_dir_all(folder).expect("the world is ours");
            }
        }
    }

    fn the_password_is_changed_by_either(&self) {
        self.kopia.change_password("second");
        self.windlass.try_run(&["snapshot", "list", "--all"]).exits_with(1);
        let windlass = self.world.windlass(&self.repository, "second");
        let before = windlass.snapshots().len();
        windlass.change_password("third \u{e9}");
        assert!(
            self.world.kopia(&self.repository, "second").try_connect().code != Some(0),
            "the old password still opens it"
        );
        let kopia = self.world.kopia(&self.repository, "third \u{e9}");
        kopia.connect();
        assert_eq!((kopia.snapshots().len(), windlass.snapshots().len()), (before, before));
    }

    fn damaged_bytes_are_rebuilt(&self) {
        let mut packs = files_below(&self.repository.join("p"));
        packs.sort();
        for pack in packs {
            let mut bytes = std::fs::read(&pack).expect("the repository is ours");
            let middle = bytes.len() / 2;
            bytes[middle] ^= 0xff;
            std::fs::write(&pack, bytes).expect("the repository is ours");
        }
        let (windlass, kopia) = (
            self.world.windlass(&self.repository, "third \u{e9}"),
            self.world.kopia(&self.repository, "third \u{e9}"),
        );
        kopia.connect();
        kopia.verify_all();
        let found = windlass.try_run(&["repo", "verify"]).exits_with(1);
        says(&found, &["only its parity makes it whole", "--repair"]);
        let last = windlass.snapshots().pop().expect("snapshots were taken");
        let restored = self.world.path("restored-from-damage");
        windlass.restore(&last.id, &restored);
        self.wanted
            .assert_same(&Listing::of(&restored), Slack::RESTORED_BY_WINDLASS);
        windlass.run(&["repo", "verify", "--repair"]);
        windlass.verify_all();
        kopia.forget_cache();
        kopia.verify_all();
    }

    fn both_restore(&self, id: &str, name: &str) {
        let (by_kopia, by_windlass) = (
            self.world.path(&format!("kopia-{name}")),
            self.world.path(&format!("windlass-{name}")),
        );
        self.kopia.restore(id, &by_kopia);
        self.windlass.restore(id, &by_windlass);
        let (theirs, ours) = (Listing::of(&by_kopia), Listing::of(&by_windlass));
        self.wanted.assert_same(&theirs, Slack::RESTORED_BY_KOPIA);
        self.wanted.assert_same(&ours, Slack::RESTORED_BY_WINDLASS);
        theirs.assert_same(&ours, Slack::BOTH_RESTORED);
        for folder in [by_kopia, by_windlass] {
            std::fs::remove_dir_all(folder).expect("the world is ours");
        }
    }
}

fn copy_folder(from: &Path, to: &Path) {
    let copied = std::process::Command::new("cp").arg("-a").arg(from).arg(to).status();
    assert!(
        copied.is_ok_and(|status| status.success()),
        "cannot copy {}",
        from.display()
    );
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let (mut files, mut waiting) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = waiting.pop() {
        for entry in std::fs::read_dir(&folder).expect("the repository is ours").flatten() {
            let kind = entry.file_type().expect("an entry has a type");
            if kind.is_dir() { &mut waiting } else { &mut files }.push(entry.path());
        }
    }
    files
}
