//! The interleaving room: Kopia and Windlass write to one repository in turn, and Kopia maintains it in between.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use windlass_tests::{Listing, Need, Seed, Shape, Slack, Tree, World, scale};

/// What every snapshot that is still there must hold.
type Kept = BTreeMap<String, Listing>;

#[test]
fn twenty_rounds_of_kopia_and_windlass_in_turn() {
    let Some(world) = World::with(&[Need::Root, Need::Kopia]) else {
        return;
    };
    let repository = world.path("repository");
    let (kopia, windlass) = world.both(&repository);
    kopia.create(&Shape {
        splitter: "DYNAMIC-128K-BUZHASH",
        ..Shape::default()
    });
    kopia.run(&[
        "repository",
        "set-parameters",
        "--epoch-min-duration=10m",
        "--epoch-advance-on-count=10",
        "--epoch-refresh-frequency=1m",
        "--epoch-cleanup-safety-margin=5m",
        "--epoch-checkpoint-frequency=1",
    ]);
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

pub(crate) fn index_blobs(repository: &Path) -> Vec<(String, PathBuf)> {
    let (mut blobs, mut waiting) = (Vec::new(), vec![(String::new(), repository.to_owned())]);
    while let Some((prefix, folder)) = waiting.pop() {
        for entry in fs::read_dir(&folder).expect("the repository is ours").flatten() {
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                waiting.push((name, entry.path()));
            } else if let Some(blob) = name.strip_suffix(".f").filter(|blob| blob.starts_with('x')) {
                blobs.push((blob.to_owned(), entry.path()));
            }
        }
    }
    blobs
}

pub(crate) fn blobs(repository: &Path) -> Vec<String> {
    index_blobs(repository).into_iter().map(|(name, _)| name).collect()
}

/// An epoch ends only after ten minutes: its first index blob says when it began.
pub(crate) fn make_one_index_of_each_epoch_older(repository: &Path) {
    let mut first = BTreeMap::new();
    for (name, path) in index_blobs(repository) {
        if let Some((epoch, _)) = name.strip_prefix("xn").and_then(|rest| rest.split_once('_')) {
            first.entry(epoch.to_owned()).or_insert(path);
        }
    }
    let then = SystemTime::now() - Duration::from_mins(20);
    for path in first.into_values() {
        let file = fs::File::options()
            .write(true)
            .open(path)
            .expect("the repository is ours");
        file.set_modified(then).expect("the repository is ours");
    }
}
