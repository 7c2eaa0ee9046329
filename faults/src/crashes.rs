//! The fork in the road: from a history to every state that a crash at any moment of it can leave behind.
//!
//! What the contract of [`windlass_mover::storage`] leaves open is decided in every way, or in drawn ones:
//!
//! - each operation that had begun and not yet happened happened, or did not;
//! - a put that failed, and had not happened then, happened later, or never;
//! - a delete that had happened is undone;
//! - lists are exact, or as they were some changes ago, or miss some recent puts and show some recent deletes.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use windlass_mover::storage::BlobMetadata;
use windlass_repo_format::id::BlobId;

use crate::dice::Dice;
use crate::history::{Change, Event, History};
use crate::shelf::{Blob, Blobs, behind};

/// Lists lag no longer than this: Kopia's own rules wait for hours where they rely on lists.
const LAG_MAX: SignedDuration = SignedDuration::from_mins(10);
/// Lists lag behind so many changes at most.
const RECENT_MAX: usize = 6;
/// Of more operations than this that may have happened or not, only so many are tried in every combination.
const OPEN_MAX: usize = 4;

/// The moment after something that changes, or may change, what is stored.
#[derive(Clone, Debug)]
pub struct Moment {
    /// How many events came before.
    pub place: usize,
    /// What is stored for sure.
    pub blobs: Blobs,
    /// Operations that may have happened or not.
    pub open: Vec<usize>,
    /// What was changed lately, oldest first.
    pub recent: Vec<Recent>,
    /// The time of the storage.
    pub at: Timestamp,
    /// What has just come about: the class of an operation, and how far it is.
    pub operation: String,
}

/// Something that happened lately.
#[derive(Clone, Debug)]
pub struct Recent {
    /// The blob.
    pub id: BlobId,
    /// What was there before.
    pub before: Option<Blob>,
    /// Whether it was removed.
    pub deleted: bool,
    /// When.
    pub at: Timestamp,
    /// The events until then.
    pub place: usize,
}

/// How lists are after the crash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum View {
    /// As the blobs are.
    Exact,
    /// As they were before so many of the last changes.
    Behind(usize),
    /// Without what these of the last changes did, counted from the oldest.
    Patchy(Vec<usize>),
}

/// What became of everything that a crash leaves open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Open operations that happened.
    pub happened: Vec<usize>,
    /// Recent deletes that were undone, counted among the recent changes.
    pub undone: Vec<usize>,
    /// The lists.
    pub view: View,
}

/// Blobs as they are found after a crash, and what lists miss and still show of them.
#[derive(Clone, Debug)]
pub struct State {
    /// What is there.
    pub blobs: Blobs,
    /// What lists do not show although it is there.
    pub missed: BTreeSet<BlobId>,
    /// What lists show although it is gone.
    pub ghosts: BTreeMap<BlobId, BlobMetadata>,
    /// The events up to which the lists are complete: promises until then hold at once, later ones once lists have caught up.
    pub listed_until: usize,
}

/// Every moment of a history at which a crash leaves something else behind.
pub fn moments(history: &History) -> Vec<Moment> {
    let mut moments = Vec::new();
    let mut blobs = history.start.clone();
    let mut open: Vec<usize> = Vec::new();
    let mut recent: Vec<Recent> = Vec::new();
    let mut at = blobs
        .values()
        .map(|blob| blob.modified)
        .max()
        .unwrap_or(Timestamp::UNIX_EPOCH);
    for (place, event) in history.events.iter().enumerate() {
        let (number, phase) = match event {
            Event::Begun(number) => (*number, "begun"),
            Event::Happened(number, _) => (*number, "happened"),
            Event::Refused(number) => (*number, "refused"),
            Event::Answered(number) => (*number, "answered"),
            Event::Told(_) => continue,
        };
        let operation = &history.operations[number];
        let Some(change) = &operation.change else { continue };
        match event {
            Event::Begun(_) => open.push(number),
            Event::Refused(_) => open.retain(|other| *other != number),
            Event::Happened(_, when) => {
                open.retain(|other| *other != number);
                at = at.max(*when);
                recent.push(Recent {
                    id: change.blob().clone(),
                    before: blobs.get(change.blob()).cloned(),
                    deleted: matches!(change, Change::Delete(_)),
                    at: *when,
                    place,
                });
                change.apply(&mut blobs, *when);
            }
            Event::Answered(_) | Event::Told(_) => {}
        }
        recent.retain(|change| at.duration_since(change.at) <= LAG_MAX);
        let first = recent.len().saturating_sub(RECENT_MAX);
        moments.push(Moment {
            place: place + 1,
            blobs: blobs.clone(),
            open: open.clone(),
            recent: recent[first..].to_vec(),
            at,
            operation: format!("{} {phase}", operation.class()),
        });
    }
    moments
}

impl Moment {
    /// Everything that can have become of it: every subset of what is open, every undone delete, every view.
    pub fn choices(&self) -> Vec<Choice> {
        let open = &self.open[self.open.len().saturating_sub(OPEN_MAX)..];
        let deletes: Vec<usize> = self.deletes();
        let mut choices = Vec::new();
        for happened in subsets(open) {
            for undone in subsets(&deletes[deletes.len().saturating_sub(2)..]) {
                for view in self.views() {
                    choices.push(Choice {
                        happened: happened.clone(),
                        undone: undone.clone(),
                        view,
                    });
                }
            }
        }
        choices
    }

    /// One thing that can have become of it.
    pub fn draw(&self, dice: &Dice) -> Choice {
        let some =
            |of: &[usize], one_in: u64| -> Vec<usize> { of.iter().copied().filter(|_| dice.once_in(one_in)).collect() };
        let last: Vec<usize> = (0..self.recent.len()).collect();
        let view = match dice.below(4) {
            0 | 1 => View::Exact,
            2 => View::Behind(dice.place(self.recent.len() + 1)),
            _ => View::Patchy(some(&last, 2)),
        };
        Choice {
            happened: some(&self.open, 2),
            undone: some(&self.deletes(), 4),
            view: match view {
                View::Behind(0) => View::Exact,
                View::Patchy(missed) if missed.is_empty() => View::Exact,
                view => view,
            },
        }
    }

    fn deletes(&self) -> Vec<usize> {
        let all = self.recent.iter().enumerate();
        all.filter(|(_, change)| change.deleted)
            .map(|(number, _)| number)
            .collect()
    }

    fn views(&self) -> Vec<View> {
        let recent: Vec<usize> = (0..self.recent.len()).collect();
        let mut views = vec![View::Exact];
        views.extend((1..=recent.len()).map(View::Behind));
        let last = &recent[recent.len().saturating_sub(3)..];
        views.extend(
            subsets(last)
                .into_iter()
                .filter(|missed| !missed.is_empty())
                .map(View::Patchy),
        );
        views
    }

    /// What is found after the crash.
    pub fn state(&self, history: &History, choice: &Choice) -> State {
        let mut blobs = self.blobs.clone();
        for change in choice.undone.iter().map(|number| &self.recent[*number]) {
            if let Some(before) = &change.before {
                blobs.insert(change.id.clone(), before.clone());
            }
        }
        for number in &choice.happened {
            if let Some(change) = &history.operations[*number].change {
                change.apply(&mut blobs, self.at);
            }
        }
        let unlisted: &[usize] = match &choice.view {
            View::Exact => &[],
            View::Behind(last) => &(0..self.recent.len()).collect::<Vec<_>>()[self.recent.len() - last..],
            View::Patchy(missed) => missed,
        };
        let mut then = blobs.clone();
        if choice.view != View::Exact {
            // What happened in the crash itself is the most recent of all.
            for number in &choice.happened {
                if let Some(Change::Put(id, _)) = &history.operations[*number].change
                    && !self.blobs.contains_key(id)
                {
                    then.remove(id);
                }
            }
        }
        for change in unlisted.iter().rev().map(|number| &self.recent[*number]) {
            match &change.before {
                Some(before) => then.insert(change.id.clone(), before.clone()),
                None => then.remove(&change.id),
            };
        }
        let (missed, ghosts) = behind(&blobs, &then);
        let oldest = unlisted.first().map(|number| self.recent[*number].place);
        State {
            blobs,
            missed,
            ghosts,
            listed_until: oldest.unwrap_or(self.place),
        }
    }
}

fn subsets(of: &[usize]) -> Vec<Vec<usize>> {
    let all = 0..1_usize << of.len();
    let chosen = |bits: usize| move |place: &usize| bits >> place & 1 == 1;
    all.map(|bits| (0..of.len()).filter(chosen(bits)).map(|place| of[place]).collect())
        .collect()
}
