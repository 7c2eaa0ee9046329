//! The ledger of promises: from what the writers were told, which snapshots must be there, may be, and must not.

use std::collections::{BTreeMap, BTreeSet};

use windlass_repo_format::format_blob::FormatKey;
use windlass_repo_format::manifest::ManifestId;

use crate::history::{Event, History, Told};

/// What may be expected of the repository at one moment.
#[derive(Clone, Debug, Default)]
pub struct Expected {
    /// Snapshots that were promised and that nobody has begun to delete, with their sources.
    pub must: BTreeMap<ManifestId, String>,
    /// Snapshots whose deletion was promised.
    pub gone: BTreeSet<ManifestId>,
    /// Keys that may open the repository, with their passwords.
    pub keys: Vec<(FormatKey, String)>,
    /// The indexes are lost and not yet recovered.
    pub indexes_lost: bool,
    /// The part of the scenario.
    pub stage: &'static str,
    /// Who may be deleting what just now.
    deleting: BTreeMap<usize, BTreeMap<ManifestId, String>>,
    /// What was promised before the indexes were lost.
    lost: BTreeMap<ManifestId, String>,
}

impl Expected {
    /// What may be expected once the first events of a history have come, so many of them.
    pub fn after(history: &History, place: usize) -> Self {
        let mut expected = Self::default();
        for event in &history.events[..place.min(history.events.len())] {
            if let Event::Told(told) = event {
                expected.hear(told);
            }
        }
        expected
    }

    /// Takes in what a writer was told.
    pub fn hear(&mut self, told: &Told) {
        match told {
            Told::Stage(name) => self.stage = name,
            Told::Begins(writer, source) => {
                let (of_source, rest): (BTreeMap<_, _>, _) = std::mem::take(&mut self.must)
                    .into_iter()
                    .partition(|(_, of)| of == source);
                self.must = rest;
                self.deleting.entry(*writer).or_default().extend(of_source);
            }
            Told::Made(writer, source, id, expired) => {
                // It deleted what it says, and nothing else.
                let kept = self.deleting.remove(writer).unwrap_or_default();
                self.must.extend(kept);
                self.must.insert(*id, source.clone());
                self.delete(expired);
            }
            Told::Deletes(writer, ids) => {
                for id in ids {
                    if let Some(source) = self.must.remove(id) {
                        self.deleting.entry(*writer).or_default().insert(*id, source);
                    }
                }
            }
            Told::Deleted(writer, ids) => {
                self.deleting.remove(writer);
                self.delete(ids);
            }
            Told::Keys(keys) => self.keys.clone_from(keys),
            Told::IndexesLost => {
                self.indexes_lost = true;
                self.lost = std::mem::take(&mut self.must);
            }
            Told::IndexesRecovered => {
                self.indexes_lost = false;
                self.must.append(&mut self.lost);
            }
        }
    }

    fn delete(&mut self, ids: &[ManifestId]) {
        for id in ids {
            self.must.remove(id);
            self.gone.insert(*id);
        }
    }
}
