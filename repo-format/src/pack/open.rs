//! The packing table of the pack room: contents go into an open pack, and a closed one is ready to be stored.

use crate::FormatError;
use crate::id::{BlobId, ContentId};
use crate::index::{IndexEntry, encode_v2};
use crate::pack::Postamble;
use crate::quantity::{ContentLen, PackOffset};
use crate::sealing::Sealer;

/// Bytes of random data before the first content.
pub const PREAMBLE_LEN: usize = 32;
/// The local index begins at a multiple of this. Closing a pack takes so many random bytes at most.
pub const PADDING_MAX: usize = 4096;
/// Bytes of random data behind the local index, so that no two are alike.
const INDEX_TAIL_LEN: usize = 32;

/// What the index will say about a content that goes into a pack, besides where it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewContent {
    /// The content.
    pub id: ContentId,
    /// How many bytes it has before compression and sealing.
    pub original_len: ContentLen,
    /// The header ID of the compression, 0 for none.
    pub compression: u32,
    /// The format version of the repository.
    pub format_version: u8,
    /// When it is written, in Unix seconds.
    pub timestamp: i64,
}

/// A pack that takes contents. It is full when its length has reached the repository's pack size: the content that
/// crosses the line still belongs to it.
///
/// It holds the bytes of the pack and one entry per content.
#[derive(Debug)]
pub struct OpenPack {
    id: BlobId,
    body: PackBody,
    entries: Vec<IndexEntry>,
}

/// The bytes of a pack, somewhere in a buffer: whoever writes past the page cache wants them to begin at a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackBody {
    buffer: Vec<u8>,
    start: usize,
}

impl PackBody {
    /// An empty pack that begins `start` bytes into `buffer`, whose old bytes are dropped and whose memory is kept.
    pub fn new(mut buffer: Vec<u8>, start: usize) -> Self {
        buffer.clear();
        buffer.resize(start, 0);
        Self { buffer, start }
    }

    /// The buffer, to be used again.
    pub fn into_buffer(self) -> Vec<u8> {
        self.buffer
    }
}

impl Default for PackBody {
    fn default() -> Self {
        Self::new(Vec::new(), 0)
    }
}

impl std::ops::Deref for PackBody {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.buffer[self.start..]
    }
}

impl AsRef<[u8]> for PackBody {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

/// A pack as it is stored, and what the index has to say about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClosedPack {
    /// The name of the pack.
    pub id: BlobId,
    /// The whole blob.
    pub bytes: PackBody,
    /// What the local index lists, sorted: the contents of the pack and the deletion markers that were given to
    /// [`OpenPack::close`]. All of them have to be published in an index blob once the pack is stored.
    pub entries: Vec<IndexEntry>,
}

impl OpenPack {
    /// A pack without contents, in an empty body.
    pub fn new(id: BlobId, mut body: PackBody, preamble: [u8; PREAMBLE_LEN]) -> Self {
        body.buffer.extend_from_slice(&preamble);
        Self {
            id,
            body,
            entries: Vec::new(),
        }
    }

    /// The name under which the pack will be stored.
    pub fn id(&self) -> &BlobId {
        &self.id
    }

    /// The bytes so far, the preamble included.
    pub fn len(&self) -> usize {
        self.body.len()
    }

    /// Whether there is no content yet.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The contents so far, in the order in which they came.
    pub fn entries(&self) -> &[IndexEntry] {
        &self.entries
    }

    /// The sealed bytes of a content that is in this pack, as one of its [`OpenPack::entries`] says.
    pub fn sealed(&self, entry: &IndexEntry) -> Option<&[u8]> {
        let start = entry.offset.bytes() as usize;
        let bytes = self.body.get(start..start + entry.packed_len.as_usize());
        bytes.filter(|_| entry.pack == self.id)
    }

    /// Adds a content that is sealed already.
    ///
    /// # Errors
    /// When Kopia's index could not say where it lies. The pack stays as it was.
    pub fn add(&mut self, about: NewContent, sealed: &[u8]) -> Result<(), FormatError> {
        self.check_room(sealed.len())?;
        self.add_with(about, |bytes| bytes.extend_from_slice(sealed))
    }

    /// Adds a content that `write` seals onto the end of the pack's own bytes. It must only append.
    ///
    /// # Errors
    /// When Kopia's index could not say where it lies. The pack stays as it was.
    pub fn add_with(&mut self, about: NewContent, write: impl FnOnce(&mut Vec<u8>)) -> Result<(), FormatError> {
        let offset = self.check_room(0)?;
        let buffer = &mut self.body.buffer;
        let start = buffer.len();
        write(buffer);
        let wanted = buffer.len().checked_sub(start).expect("sealing only appends");
        let Some(packed_len) = ContentLen::of(&buffer[start..]) else {
            buffer.truncate(start);
            return Err(self.full(wanted));
        };
        self.entries.push(IndexEntry {
            id: about.id,
            pack: self.id.clone(),
            offset,
            packed_len,
            original_len: about.original_len,
            compression: about.compression,
            format_version: about.format_version,
            timestamp: about.timestamp,
            deleted: false,
        });
        Ok(())
    }

    /// Closes the pack: pads it, adds the sealed local index and says at the end where that is.
    ///
    /// `random` are at least [`PADDING_MAX`] random bytes, `index_tail` are others, `nonce` must never have sealed
    /// anything before. `markers` are deletion markers that wait to be published; they may be of other packs.
    ///
    /// # Errors
    /// When the entries do not fit into one index.
    pub fn close(
        self,
        sealer: &Sealer,
        nonce: &[u8; 12],
        random: &[u8],
        index_tail: [u8; INDEX_TAIL_LEN],
        markers: &[IndexEntry],
    ) -> Result<ClosedPack, FormatError> {
        let Self { id, mut body, entries } = self;
        let entries = winners(entries, markers);
        let mut index = encode_v2(&entries)?;
        index.extend_from_slice(&index_tail);

        // A pack that is a multiple already gets a whole page more.
        let padding = &random[..PADDING_MAX - body.len() % PADDING_MAX];
        body.buffer.extend_from_slice(padding);
        let index_offset = body.len() as u64;
        let iv = sealer.hash(&index);
        sealer.seal_into(iv.as_bytes(), nonce, &index, &mut body.buffer);
        let postamble = Postamble {
            iv,
            index_offset,
            index_len: body.len() as u64 - index_offset,
        };
        postamble.encode(&mut body.buffer);
        Ok(ClosedPack {
            id,
            bytes: body,
            entries,
        })
    }

    /// Where a content of that many sealed bytes would begin.
    fn check_room(&self, wanted: usize) -> Result<PackOffset, FormatError> {
        let offset = u32::try_from(self.body.len())
            .ok()
            .filter(|offset| *offset < PackOffset::WRITE_LIMIT);
        let offset = offset.and_then(PackOffset::new);
        offset
            .filter(|_| wanted < ContentLen::LIMIT as usize)
            .ok_or_else(|| self.full(wanted))
    }

    fn full(&self, wanted: usize) -> FormatError {
        FormatError::PackFull {
            pack: self.id.clone(),
            len: self.body.len(),
            wanted,
        }
    }
}

/// Contents and markers, sorted, one entry for each content.
fn winners(mut entries: Vec<IndexEntry>, markers: &[IndexEntry]) -> Vec<IndexEntry> {
    entries.extend_from_slice(markers);
    entries.sort_by_key(|entry| entry.id);
    entries.dedup_by(|rival, winner| {
        let same = rival.id == winner.id;
        if same && rival.supersedes(winner) {
            std::mem::swap(rival, winner);
        }
        same
    });
    entries
}
