//! The lost-and-found of the pack room: a pack's own list of its contents, for the day the index blobs are gone.

use crate::FormatError;
use crate::index::{Index, IndexEntry};
use crate::pack::Postamble;
use crate::sealing::Sealer;

/// Postamble and local index of most packs lie within so many last bytes: read these first, then the whole pack.
pub const TAIL_LEN: u64 = 8192;

/// Opens the local index of a pack and gives its entries in order. Entries of other packs are deletion markers.
///
/// `sealed` are the bytes that the postamble points at, see [`Postamble::index_in`].
///
/// # Errors
/// When the bytes cannot be opened or hold no index.
pub fn open_local_index(sealer: &Sealer, postamble: &Postamble, sealed: &[u8]) -> Result<Vec<IndexEntry>, FormatError> {
    let plain = sealer.open(postamble.iv.as_bytes(), sealed)?;
    Index::open(plain)?.iter().collect()
}
