//! The memory of cuts: where an earlier snapshot cut a file. A chunk that holds the same bytes as then ends where it ended
//! then, so its end need not be looked for; its hash tells whether it does hold them.
//!
//! Only cuts of the same splitter are of use, and nobody has noted which one it was. So a guess is made only behind a cut
//! that was looked for, and found where the earlier snapshot has one.

use tracing::debug;
use windlass_repo_format::id::{ContentHash, ObjectId};
use windlass_repo_format::splitter::SplitterAlgorithm;

use crate::blocking::block_on;
use crate::repository::{ObjectPart, ObjectParts, Repository};

/// The contents of a file in an earlier snapshot, from front to back. Holds what [`ObjectParts`] holds.
#[derive(Debug)]
pub(crate) struct Earlier {
    repository: Repository,
    /// Nothing any more when guesses do not pay.
    parts: Option<ObjectParts>,
    this: Option<ObjectPart>,
    next: Option<ObjectPart>,
    /// Chunks of other lengths are none of this splitter's.
    lens: std::ops::RangeInclusive<u64>,
    /// Where guesses end.
    until: u64,
    /// The last cut that was looked for was found where there had been one.
    agrees: bool,
    guessed: u64,
    wrong: u64,
}

/// A chunk as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Guess {
    pub len: usize,
    pub hash: ContentHash,
}

/// Where guesses pay.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Worth {
    /// In shorter files there is not enough to gain.
    pub file_len_min: u64,
    /// So many bytes at the end of a file are not guessed at: while they are cut and hashed, the last guesses prove right
    /// or wrong, and nobody has to wait for that.
    pub tail_len: u64,
}

impl Worth {
    pub(crate) const USUAL: Self = Self {
        file_len_min: 128 << 20,
        tail_len: 48 << 20,
    };
}

impl Earlier {
    /// One guess in so many may be wrong: what was guessed wrongly is read once more.
    const WRONG_SHARE: u64 = 8;
    /// So many may be wrong in any case.
    const WRONG_MIN: u64 = 4;

    /// The contents of `object`, which was a file that has `size` bytes now. `None` where guesses cannot pay.
    pub(crate) fn new(
        repository: &Repository,
        object: ObjectId,
        size: u64,
        splitter: SplitterAlgorithm,
        worth: Worth,
    ) -> Option<Self> {
        let lens = splitter.min_chunk_len() as u64..=splitter.max_chunk_len() as u64;
        // Where all chunks have one length there is nothing to look for.
        if size < worth.file_len_min || lens.start() == lens.end() {
            return None;
        }
        Some(Self {
            repository: repository.clone(),
            parts: Some(repository.object_parts(object)),
            this: None,
            next: None,
            lens,
            until: size.saturating_sub(worth.tail_len),
            agrees: false,
            guessed: 0,
            wrong: 0,
        })
    }

    /// Notes a cut that was looked for, at so many bytes from the file's first. One at the greatest length says little:
    /// other splitters cut there, too.
    pub(crate) fn was_cut(&mut self, end: u64, len: u64) {
        self.agrees = self.reach(end) && (self.agrees || len < *self.lens.end());
    }

    /// The chunk that began at `start`, if it probably still does.
    pub(crate) fn guess(&mut self, start: u64) -> Option<Guess> {
        if !self.agrees || !self.reach(start) {
            return None;
        }
        let (this, next) = (self.this.as_ref()?, self.next.as_ref()?);
        let len = next.start.checked_sub(start)?;
        let is_plain = !this.compressed && this.content.prefix().is_none();
        if !is_plain || !self.lens.contains(&len) || start + len > self.until {
            return None;
        }
        self.guessed += 1;
        Some(Guess {
            len: usize::try_from(len).ok()?,
            hash: this.content.hash(),
        })
    }

    /// Notes that a guess was wrong. After too many of them there are no more guesses.
    pub(crate) fn was_wrong(&mut self) {
        self.wrong += 1;
        if self.wrong > Self::WRONG_MIN && self.wrong * Self::WRONG_SHARE > self.guessed {
            debug!(
                guessed = self.guessed,
                wrong = self.wrong,
                "the file is cut as if it were new"
            );
            self.give_up();
        }
    }

    /// From now on nothing is guessed.
    pub(crate) fn give_up(&mut self) {
        self.parts = None;
        self.this = None;
        self.next = None;
    }

    /// Goes on to the first content that does not begin before `start`; whether it begins there.
    fn reach(&mut self, start: u64) -> bool {
        while self.this.as_ref().is_none_or(|this| this.start < start) {
            let Some(parts) = &mut self.parts else { return false };
            match block_on(parts.next(&self.repository)) {
                Ok(part) => {
                    self.this = std::mem::replace(&mut self.next, part);
                    if self.next.is_none() {
                        // The last content ended where the file did.
                        self.parts = None;
                    }
                }
                Err(error) => {
                    debug!(%error, "an earlier list of contents cannot be read; the file is cut as if it were new");
                    self.give_up();
                }
            }
        }
        self.this.as_ref().is_some_and(|this| this.start == start)
    }
}
