//! The interleaving room: Kopia and Windlass write to one repository in turn, and Kopia maintains it in between.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use windlass_tests::{Listing, Need, Seed, Slack, Tree, World, scale};

use crate::blob_files::{blobs, make_one_index_of_each_epoch_older};
use crate::maintenance::fine_grained;

/// What every snapshot that is still there must hold.
type Kept = BTreeMap<String, Listing>;

#[test]
fn twenty_rounds_of_kopia_and_windlass_in_turn() {
    let Some(world) = World::with(&[Need::Root, Need::Kopia]) else {
        return;
    };
    let repository = world.path("repository");
    let (kopia, windlass) = world.both(&repository);
    kopia.create(&fine_grained());
    kopia.shorten_epochs(1);
    kopia.run(&[
        "policy",
        "set",
        "--global",
        "--compression=zstd-fastest",
        "--keep-latest=1000",
    ]);
    let source = world.path("source");
    let side = world.path("side");
    let mut garden = Garden::new(&source);
    let mut kept = Kept::new();
    for round in 0..scale(20, 80) {
        garden.change(round);
        Tree::sized(&side, round, &[300, 3000]);
        let wanted = Listing::of(&source);
        let restored = world.path("restored");
        // The one writes and the other reads, by turns; the second writer's files lie in the same packs and epochs.
        if round % 2 == 0 {
            let made = kopia.snapshot(&source, &[]);
            kept.insert(made.id.clone(), wanted.clone());
            let beside = windlass.snapshot(&side, &[]);
            kept.insert(beside.id, Listing::of(&side));
            windlass.restore(&made.id, &restored);
            wanted.assert_same(&Listing::of(&restored), Slack::RESTORED_BY_WINDLASS);
        } else {
            let made = windlass.snapshot(&source, &[]);
            kept.insert(made.id.clone(), wanted.clone());
            let beside = kopia.snapshot(&side, &[]);
            kept.insert(beside.id, Listing::of(&side));
            kopia.restore(&made.id, &restored);
            wanted.assert_same(&Listing::of(&restored), Slack::RESTORED_BY_KOPIA);
        }
        fs::remove_dir_all(&restored).expect("the world is ours");
        let listed: Vec<String> = windlass.snapshots().into_iter().map(|snapshot| snapshot.id).collect();
        if listed.len() > 6 {
            let gone = &listed[usize::try_from(round).expect("small") % (listed.len() - 2)];
            if round % 4 < 2 {
                windlass.delete(gone)
            } else {
                kopia.delete(gone)
            }
            kept.remove(gone).expect("only what was taken is listed");
        }
        if round % 4 == 3 {
            make_one_index_of_each_epoch_older(&repository);
            kopia.maintain();
            kopia.verify_all();
        }
        kopia.forget_cache();
    }
    assert_eq!(
        ids(kopia.snapshots().into_iter().map(|snapshot| snapshot.id)),
        ids(kept.keys().cloned())
    );
    assert_eq!(
        ids(windlass.snapshots().into_iter().map(|snapshot| snapshot.id)),
        ids(kept.keys().cloned())
    );
    windlass.verify_all();
    kopia.verify_all();
    for (number, (id, wanted)) in kept.iter().enumerate() {
        let restored = world.path(&format!("at-the-end-{number}"));
        windlass.restore(id, &restored);
        wanted.assert_same(&Listing::of(&restored), Slack::RESTORED_BY_WINDLASS);
    }
    for kind in ["xe", "xs", "xr", "xw"] {
        assert!(
            blobs(&repository).iter().any(|blob| blob.starts_with(kind)),
            "the story never came to {kind} blobs"
        );
    }
}

fn ids(ids: impl Iterator<Item = String>) -> Vec<String> {
    let mut ids: Vec<String> = ids.collect();
    ids.sort();
    ids
}

/// A source tree in which files come, change and go.
struct Garden {
    tree: Tree,
    files: Vec<String>,
    seed: Seed,
}

impl Garden {
    fn new(root: &Path) -> Self {
        let tree = Tree::grow(root);
        tree.link("link", "nowhere", windlass_tests::ODD);
        Self {
            tree,
            files: Vec::new(),
            seed: Seed::new(20),
        }
    }

    fn change(&mut self, round: u64) {
        for number in 0..4 {
            let name = format!("folder-{}/file-{round}-{number}", self.seed.below(3));
            let length = usize::try_from(self.seed.below(400_000)).expect("small");
            self.write(&name, length, round);
            self.files.push(name);
        }
        for _ in 0..2 {
            let at = self.pick();
            let (name, length) = (
                self.files[at].clone(),
                usize::try_from(self.seed.below(90_000)).expect("small"),
            );
            self.write(&name, length, round);
        }
        if self.files.len() > 12 {
            for _ in 0..3 {
                let at = self.pick();
                let gone = self.files.swap_remove(at);
                fs::remove_file(self.tree.root().join(gone)).expect("it was written in an earlier round");
            }
        }
        self.tree.settle();
    }

    fn pick(&mut self) -> usize {
        usize::try_from(self.seed.below(self.files.len() as u64)).expect("an index of a list")
    }

    fn write(&mut self, name: &str, length: usize, round: u64) {
        let bytes = if length.is_multiple_of(2) {
            self.seed.bytes(length)
        } else {
            self.seed.prose(length)
        };
        let mtime_ns = windlass_tests::ODD + i128::from(round) * 1_000_000_007;
        self.tree.file_with(
            name,
            &bytes,
            windlass_tests::Attributes {
                mtime_ns,
                ..Default::default()
            },
        );
    }
}
