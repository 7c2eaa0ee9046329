//! The spare key room: the copy of the format blob at the front of each pack of a version 1 repository.

use aws_lc_rs::hmac;

use crate::FormatError;
use crate::cursor::Cursor;

/// How many bytes from the start, and from the end, of a pack have to be looked at to find the copy.
pub const RECOVERY_FRAME_SEARCH_LEN: usize = 65_536;

const LENGTH_LEN: usize = 2;
const CHECKSUM_LEN: usize = 32;
const LENGTH_MAX: usize = 65_000;
const CHECKSUM_KEY: &[u8] = b"kopia-repository";

/// Frames the bytes of a format blob. It goes first into every pack of a version 1 repository.
///
/// Unlike all other numbers, the lengths are little-endian.
///
/// | bytes      | field    | meaning                                              |
/// |------------|----------|------------------------------------------------------|
/// | 0..2       | length   | of body and checksum, 65,000 at most                 |
/// | 2..n       | body     | `kopia.repository` as it lies in storage             |
/// | n..n+32    | checksum | HMAC-SHA256 of the body with key `kopia-repository`  |
/// | n+32..n+34 | length   | the same once more, to be found from the end         |
pub fn encode_recovery_frame(format_blob: &[u8]) -> Result<Vec<u8>, FormatError> {
    let length = format_blob.len() + CHECKSUM_LEN;
    let length = u16::try_from(length)
        .ok()
        .filter(|length| usize::from(*length) <= LENGTH_MAX)
        .ok_or(FormatError::RecoveryFrameTooLong { len: format_blob.len() })?;
    let checksum = hmac::sign(&checksum_key(), format_blob);
    Ok([
        &length.to_le_bytes(),
        format_blob,
        checksum.as_ref(),
        &length.to_le_bytes(),
    ]
    .concat())
}

/// The format blob in a frame at the very start of a pack; `None` when there is no whole frame, or its checksum is
/// wrong. The first [`RECOVERY_FRAME_SEARCH_LEN`] bytes of the pack suffice.
pub fn find_recovery_frame_at_start(pack: &[u8]) -> Option<&[u8]> {
    let mut cursor = Cursor::new(pack, "recovery frame");
    let length = u16::from_le_bytes(cursor.array().ok()?);
    checked_body(cursor.take(length.into()).ok()?)
}

/// The format blob in a frame at the very end of a pack. The last [`RECOVERY_FRAME_SEARCH_LEN`] bytes of the pack
/// suffice.
pub fn find_recovery_frame_at_end(pack: &[u8]) -> Option<&[u8]> {
    let (rest, length) = pack.split_last_chunk::<LENGTH_LEN>()?;
    let start = rest.len().checked_sub(u16::from_le_bytes(*length).into())?;
    checked_body(&rest[start..])
}

fn checked_body(body_and_checksum: &[u8]) -> Option<&[u8]> {
    let (body, checksum) = body_and_checksum.split_last_chunk::<CHECKSUM_LEN>()?;
    hmac::verify(&checksum_key(), body, checksum).ok().map(|()| body)
}

fn checksum_key() -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, CHECKSUM_KEY)
}
