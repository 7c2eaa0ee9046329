//! The tray of a session: what is on its way into the repository, and how far it has come.

use std::collections::{BTreeMap, HashMap};

use windlass_repo_format::id::ContentId;
use windlass_repo_format::index::IndexEntry;
use windlass_repo_format::manifest::ManifestEntry;

use super::SessionSummary;

/// What a session has begun and not published.
#[derive(Debug, Default)]
pub(super) struct Pending {
    pub contents: HashMap<ContentId, PendingContent>,
    /// How many of `contents` are [`PendingContent::Stored`].
    pub stored: usize,
    pub manifests: Vec<ManifestEntry>,
    pub summary: SessionSummary,
    pub failed: bool,
    /// Goes up with every [`super::WriteSession::settle`].
    pub generation: u64,
    /// The contents that are claimed and in no pack yet.
    pub unpacked: Generations,
    /// The contents that are claimed and not stored yet.
    pub unstored: Generations,
}

#[derive(Debug)]
pub(super) enum PendingContent {
    /// Somewhere between the hash and the end of its pack's upload, since this generation.
    Claimed(u64),
    /// In a pack that is safely stored, in no index yet.
    Stored(IndexEntry),
}

/// How many contents of each generation there are.
#[derive(Debug, Default)]
pub(super) struct Generations(BTreeMap<u64, usize>);

impl Generations {
    pub(super) fn add(&mut self, generation: u64) {
        *self.0.entry(generation).or_default() += 1;
    }

    /// Takes one away; true when it was its generation's last.
    pub(super) fn remove(&mut self, generation: u64) -> bool {
        let Some(left) = self.0.get_mut(&generation) else {
            return false;
        };
        *left -= 1;
        let was_last = *left == 0;
        if was_last {
            self.0.remove(&generation);
        }
        was_last
    }

    /// Whether there is none of this generation or an earlier one.
    pub(super) fn are_past(&self, generation: u64) -> bool {
        self.0.first_key_value().is_none_or(|(first, _)| *first > generation)
    }
}

impl Pending {
    /// Takes on a content. False when somebody else has.
    pub(super) fn claim(&mut self, id: ContentId) -> bool {
        if self.contents.contains_key(&id) {
            return false;
        }
        self.contents.insert(id, PendingContent::Claimed(self.generation));
        self.unpacked.add(self.generation);
        self.unstored.add(self.generation);
        true
    }

    /// A claimed content has its place in a pack. True when somebody may be waiting for that.
    pub(super) fn packed(&mut self, id: &ContentId) -> bool {
        match self.contents.get(id) {
            Some(PendingContent::Claimed(generation)) => self.unpacked.remove(*generation),
            _ => false,
        }
    }

    /// A content's pack is stored. True when somebody may be waiting for that.
    pub(super) fn stored(&mut self, entry: IndexEntry) -> bool {
        self.stored += 1;
        match self.contents.insert(entry.id, PendingContent::Stored(entry)) {
            Some(PendingContent::Claimed(generation)) => self.unstored.remove(generation),
            _ => false,
        }
    }

    /// The contents that wait for an index, in no order.
    pub(super) fn unindexed(&self) -> Vec<IndexEntry> {
        let stored = self.contents.values().filter_map(|content| match content {
            PendingContent::Stored(entry) => Some(entry.clone()),
            PendingContent::Claimed(_) => None,
        });
        stored.collect()
    }

    /// An index has been written of these.
    pub(super) fn indexed(&mut self, entries: &[IndexEntry]) {
        for entry in entries {
            if self.contents.remove(&entry.id).is_some() {
                self.stored -= 1;
            }
        }
    }
}
