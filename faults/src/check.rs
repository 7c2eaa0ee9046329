//! The examiner: opens what a crash left behind, reads all that is promised there, and goes on working.

use std::collections::BTreeSet;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use jiff::SignedDuration;
use windlass_mover::blocking::block_on;
use windlass_mover::clock::ManualClock;
use windlass_mover::random::SeededRandom;
use windlass_mover::repository::Unlock;
use windlass_mover::snapshots::{self, Snapshot};
use windlass_mover::storage::Storage;
use windlass_mover::verify::{VerifyOptions, VerifyProgress, verify_repository};
use windlass_mover::{MoverError, Repository};
use windlass_repo_format::format_blob::FormatKey;
use windlass_repo_format::manifest::ManifestId;
use windlass_repo_format::session::SessionId;

use crate::crashes::{Choice, Moment, State, View};
use crate::expected::Expected;
use crate::history::History;
use crate::shelf::Shelf;
use crate::trees::{causes, compare, later};
use crate::world::{NEXT_PASSWORD, Skewed, World, create, described, open_options};

/// The rules that hold after every crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// The repository opens; after an interrupted change of the password, once that is finished.
    Opens,
    /// Manifests can be read.
    Listed,
    /// Every snapshot that is listed holds what was backed up.
    Whole,
    /// Every snapshot that was promised is listed.
    Kept,
    /// No snapshot is listed whose deletion was promised.
    Deleted,
    /// A pack that no index names belongs to a session that has a marker: nobody's maintenance may take it away.
    Spared,
    /// A new snapshot can be made and read.
    GoesOn,
    /// Nothing panics.
    Panics,
}

/// A rule that was broken.
#[derive(Clone, Debug)]
pub struct Broken {
    /// Which.
    pub rule: Rule,
    /// How.
    pub what: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.rule, self.what)
    }
}

fn broken<T>(rule: Rule, what: impl Into<String>) -> Result<T, Broken> {
    let what = what.into();
    Err(Broken { rule, what })
}

/// What was seen at a state that keeps the rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Snapshots that were read.
    pub snapshots: u64,
    /// Whether something could not be had while lists lagged without any order, and could once they had caught up.
    pub waited: bool,
}

/// One crash of a history.
#[derive(Debug)]
pub struct Crash<'a> {
    /// The world in which it happened; its sources are snapshotted anew.
    pub world: &'a World,
    /// What had happened.
    pub history: &'a History,
    /// When it broke off.
    pub moment: &'a Moment,
    /// What became of what was open.
    pub choice: &'a Choice,
    /// Random bytes of those who open the repository.
    pub seed: u64,
}

struct Room {
    shelf: Shelf,
    clock: Arc<ManualClock>,
    seed: u64,
    ahead: SignedDuration,
}

impl Crash<'_> {
    /// Whether all rules are kept.
    ///
    /// # Errors
    /// The first that is not.
    pub fn check(&self) -> Result<Seen, Broken> {
        catch_unwind(AssertUnwindSafe(|| self.examine())).unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            broken(Rule::Panics, text.unwrap_or_default())
        })
    }

    /// What is found.
    pub fn state(&self) -> State {
        self.moment.state(self.history, self.choice)
    }

    /// What may be expected once lists have caught up.
    pub fn expected(&self) -> Expected {
        Expected::after(self.history, self.moment.place)
    }

    fn examine(&self) -> Result<Seen, Broken> {
        let state = self.state();
        let clock = Arc::new(ManualClock::new(later(self.moment.at, SignedDuration::from_mins(1))));
        let shelf = Shelf::new(state.blobs.clone(), clock.clone());
        shelf.lag(state.missed.clone(), state.ghosts.clone());
        let room = Room {
            shelf,
            clock,
            seed: self.seed,
            ahead: SignedDuration::from_hours((self.seed % 3) as i64 - 1),
        };
        let mut finally = self.expected();
        // What an earlier view of the lists promises; deletions are seen only by whoever sees their manifests.
        let at_first = match &self.choice.view {
            View::Exact => Some(finally.clone()),
            View::Behind(_) => {
                let mut then = Expected::after(self.history, state.listed_until);
                then.keys.clone_from(&finally.keys);
                Some(then)
            }
            View::Patchy(_) => None,
        };
        let mut seen = Seen::default();
        if let Some(at_first) = &at_first {
            let repository = room.open(at_first)?;
            seen.snapshots += read_all(&repository, at_first)?;
            if self.choice.view == View::Exact && !finally.indexes_lost {
                spared(&repository, &state)?;
            }
            let made = self.go_on(&repository)?;
            finally.hear(&made);
        } else {
            let tried = room.open(&finally).and_then(|repository| {
                read_all(&repository, &Expected::default())?;
                self.go_on(&repository)
            });
            match tried {
                Ok(made) => finally.hear(&made),
                Err(_) => seen.waited = true,
            }
        }
        room.shelf.catch_up();
        room.clock.advance(SignedDuration::from_mins(1));
        let repository = room.open(&finally)?;
        seen.snapshots += read_all(&repository, &finally)?;
        if seen.waited {
            let made = self.go_on(&repository)?;
            finally.hear(&made);
            let repository = room.open(&finally)?;
            seen.snapshots += read_all(&repository, &finally)?;
        }
        Ok(seen)
    }

    /// Makes one more snapshot.
    fn go_on(&self, repository: &Repository) -> Result<crate::history::Told, Broken> {
        let source = "a";
        if self.world.version(source) == 0 {
            self.world.change(source);
        }
        let report = create(repository, &self.world.options(source));
        let report = report.map_err(|error| Broken {
            rule: Rule::GoesOn,
            what: causes(&error),
        })?;
        let Some(id) = report.id else {
            return broken(Rule::GoesOn, "the snapshot was not filed");
        };
        Ok(crate::history::Told::Made(
            usize::MAX,
            source.to_owned(),
            id,
            report.expired,
        ))
    }
}

impl Room {
    /// Opens the repository as a person would: with one password or the other, and by finishing what was interrupted.
    fn open(&self, expected: &Expected) -> Result<Repository, Broken> {
        let mut last = None;
        for (key, _) in &expected.keys {
            match self.open_with(Unlock::Key(key.clone())) {
                Ok(repository) => return Ok(repository),
                Err(error) => last = Some(error),
            }
        }
        let Some((old, _)) = expected.keys.first().filter(|_| expected.keys.len() > 1) else {
            return broken(Rule::Opens, last.as_ref().map(causes).unwrap_or_default());
        };
        let finished: Result<FormatKey, MoverError> = block_on(Repository::finish_password_change(
            self.storage(),
            Unlock::Key(old.clone()),
            NEXT_PASSWORD,
            open_options(self.clock.clone(), self.seed ^ 1),
        ));
        let key = finished.map_err(|error| Broken {
            rule: Rule::Opens,
            what: format!("the change of the password cannot be finished: {}", causes(&error)),
        })?;
        self.open_with(Unlock::Key(key)).map_err(|error| Broken {
            rule: Rule::Opens,
            what: causes(&error),
        })
    }

    fn storage(&self) -> Arc<dyn Storage> {
        Arc::new(self.shelf.clone())
    }

    fn open_with(&self, unlock: Unlock) -> Result<Repository, MoverError> {
        let clock = Arc::new(Skewed {
            clock: self.clock.clone(),
            ahead: self.ahead,
        });
        let seed = self.seed ^ self.shelf.changes().wrapping_mul(0x1_0001);
        block_on(Repository::open(self.storage(), unlock, open_options(clock, seed)))
    }
}

/// Reads every snapshot to its last byte, and compares which there are with what was promised.
fn read_all(repository: &Repository, expected: &Expected) -> Result<u64, Broken> {
    let listed = block_on(snapshots::list_all(repository, None)).map_err(|error| Broken {
        rule: Rule::Listed,
        what: causes(&error),
    })?;
    if let Some((id, error)) = listed.unreadable.first() {
        return broken(Rule::Listed, format!("snapshot {id}: {}", causes(error)));
    }
    for snapshot in &listed.snapshots {
        whole(repository, snapshot)?;
    }
    let there: BTreeSet<ManifestId> = listed.snapshots.iter().map(|snapshot| snapshot.id).collect();
    if let Some((id, source)) = expected.must.iter().find(|(id, _)| !there.contains(id)) {
        return broken(
            Rule::Kept,
            format!("snapshot {id} of {source} was promised and is not listed"),
        );
    }
    if let Some(id) = expected.gone.iter().find(|id| there.contains(id)) {
        return broken(Rule::Deleted, format!("snapshot {id} is listed again"));
    }
    Ok(listed.snapshots.len() as u64)
}

fn whole(repository: &Repository, snapshot: &Snapshot) -> Result<(), Broken> {
    let manifest = &snapshot.manifest;
    let named = |what: String| Broken {
        rule: Rule::Whole,
        what: format!("snapshot {} ({}): {what}", snapshot.id, manifest.description),
    };
    let tree = described(&manifest.description).ok_or_else(|| named("nobody made it".to_owned()))?;
    let root = snapshot.root().map_err(|error| named(causes(&error)))?;
    compare(repository, root, &tree, manifest.incomplete.is_none()).map_err(named)
}

/// Maintenance takes away packs that no index names and no marker spares.
fn spared(repository: &Repository, state: &State) -> Result<(), Broken> {
    let mut named = BTreeSet::new();
    let each = |entry: windlass_repo_format::index::IndexEntry| {
        named.insert(entry.pack);
        Ok(())
    };
    let shown = repository.each_live_content(each);
    shown.map_err(|error| Broken {
        rule: Rule::Listed,
        what: causes(&error),
    })?;
    let marker = |session: &SessionId| {
        let markers = state
            .blobs
            .keys()
            .filter(|id| id.as_str().starts_with(SessionId::MARKER_PREFIX));
        markers.filter_map(SessionId::of_blob).any(|other| other == *session)
    };
    let mut packs = state.blobs.keys().filter(|id| id.as_str().starts_with(['p', 'q']));
    let unspared =
        packs.find(|pack| !named.contains(*pack) && !SessionId::of_blob(pack).is_some_and(|session| marker(&session)));
    let Some(pack) = unspared else { return Ok(()) };
    // Two writers may have stored the same contents, and the entries of one have won.
    let (progress, cancel) = (VerifyProgress::default(), AtomicBool::new(false));
    let options = VerifyOptions::reading(0.0);
    let report = verify_repository(repository, &options, &SeededRandom::new(1), &progress, &cancel);
    let packs = report.ok().and_then(|report| report.unindexed);
    if packs.is_some_and(|packs| packs.lost + packs.unclear == 0) {
        return Ok(());
    }
    broken(
        Rule::Spared,
        format!("pack {pack} is in no index, and its session has no marker"),
    )
}
