//! The landing stage: the bytes of a read, in as many answers as it takes.

use bytes::BytesMut;
use windlass_mover::storage::{StorageError, WHOLE_BLOB_LEN_MAX};

use crate::patience::{Again, Refusal};

/// Space is taken for so many bytes at first, whatever length was announced.
const FIRST_RESERVE_MAX: usize = 32 << 20;

/// Then the new bytes are wanted, all of them.
pub(crate) const REPLACED: &str = "the blob was replaced while it was read";

/// A part of an object on its way, in one or more answers.
#[derive(Debug, Default)]
pub(crate) struct Arriving {
    pub(crate) got: BytesMut,
    /// Which version of the object the bytes are of.
    pub(crate) version: Option<String>,
    /// How many bytes were asked for; `None` for all there are.
    asked: Option<u64>,
    /// How many bytes there are to be, once that is known.
    pub(crate) wanted: Option<u64>,
}

impl Arriving {
    pub(crate) fn new(asked: Option<u64>) -> Self {
        Self {
            asked,
            wanted: asked,
            ..Self::default()
        }
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.wanted == Some(self.got.len() as u64)
    }

    /// Forgets what has come.
    pub(crate) fn begin_again(&mut self) {
        *self = Self::new(self.asked);
    }

    /// Takes space for what is missing, or for a part of it.
    pub(crate) fn reserve(&mut self) {
        self.got.reserve(self.room().min(FIRST_RESERVE_MAX));
    }

    /// Takes bytes; tells whether they were the last.
    ///
    /// # Errors
    /// There are more than were announced.
    pub(crate) fn take(&mut self, chunk: &[u8], place: &str) -> Result<bool, Refusal> {
        if chunk.len() > self.room() {
            return Err(broken(place, "more bytes came than were announced"));
        }
        self.got.extend_from_slice(chunk);
        Ok(self.is_complete())
    }

    /// What the end of an answer means.
    ///
    /// # Errors
    /// Bytes are missing.
    pub(crate) fn end(&self, place: &str) -> Result<(), Refusal> {
        // Without a length the end of the body is the end of the blob.
        if self.wanted.is_none() || self.is_complete() {
            return Ok(());
        }
        Err(broken(place, "fewer bytes came than were announced"))
    }

    fn room(&self) -> usize {
        let limit = self.wanted.unwrap_or(WHOLE_BLOB_LEN_MAX);
        usize::try_from(limit)
            .unwrap_or(usize::MAX)
            .saturating_sub(self.got.len())
    }
}

/// A read that is to be tried again.
pub(crate) fn broken(place: &str, why: &'static str) -> Refusal {
    Refusal {
        error: StorageError::Io {
            doing: "read",
            place: place.to_owned(),
            source: std::io::Error::new(std::io::ErrorKind::ConnectionReset, why),
        },
        again: Again::Soon,
    }
}
