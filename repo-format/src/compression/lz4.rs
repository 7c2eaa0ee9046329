//! The LZ4 room: frames of old repositories. They are read only.

use std::io::{self, Read};

use lz4_flex::frame::FrameDecoder;

use super::{Failure, room_for};

/// One LZ4 frame and nothing after it, at most `limit` bytes when unpacked.
pub(super) fn decode(stream: &[u8], limit: usize) -> Result<Vec<u8>, Failure> {
    let beyond = limit.saturating_add(1);
    let mut plain = room_for(beyond)?;
    let mut frame = FrameDecoder::new(stream);
    // The decoder takes the end of the bytes for the end of the frame, so the end is looked for here.
    (&mut frame)
        .take(beyond as u64)
        .read_to_end(&mut plain)
        .map_err(Failure::Damaged)?;
    if plain.len() > limit {
        return Err(Failure::TooLong);
    }
    if !frame.get_ref().is_empty() {
        return Err(Failure::damaged("bytes follow the end of the frame"));
    }
    if !has_end_mark(stream) {
        return Err(Failure::Damaged(io::ErrorKind::UnexpectedEof.into()));
    }
    Ok(plain)
}

/// Whether the frame ends with a block of length zero, and a checksum if its flags announce one.
fn has_end_mark(frame: &[u8]) -> bool {
    const FLAGS: usize = 4;
    const CONTENT_CHECKSUM: u8 = 0x04;
    let checksummed = frame.get(FLAGS).is_some_and(|flags| flags & CONTENT_CHECKSUM != 0);
    let body = frame.len().checked_sub(if checksummed { 4 } else { 0 });
    body.is_some_and(|end| frame[..end].ends_with(&[0; 4]))
}
