//! The zstd room: one frame per content.

use std::io;

use zstd::bulk::{Compressor, Decompressor};

use super::{Failure, room_for};

/// Makes zstd frames, one after the other, with one context.
pub(super) struct Encoder(Compressor<'static>);

impl Encoder {
    pub(super) fn new(level: i32) -> Self {
        Self(Compressor::new(level).expect("the level is one of the table of compressions"))
    }

    /// Appends a frame that carries the length of `plain` and no checksum: what is stored is authenticated anyway.
    pub(super) fn encode(&mut self, plain: &[u8], out: &mut Vec<u8>) -> io::Result<bool> {
        let start = out.len();
        out.reserve(zstd::zstd_safe::compress_bound(plain.len()));
        let mut rest = io::Cursor::new(out);
        rest.set_position(start as u64);
        self.0.compress_to_buffer(plain, &mut rest)?;
        Ok(true)
    }
}

/// One or more frames, at most `limit` bytes when unpacked. They are unpacked in place, so that no window is needed.
pub(super) fn decode(stream: &[u8], limit: usize) -> Result<Vec<u8>, Failure> {
    // No frame at all would pass for no bytes at all.
    if stream.is_empty() {
        return Err(Failure::Damaged(io::ErrorKind::UnexpectedEof.into()));
    }
    let mut plain = room_for(limit)?;
    Decompressor::new()
        .and_then(|mut decompressor| decompressor.decompress_to_buffer(stream, &mut plain))
        .map_err(Failure::Damaged)?;
    if plain.len() > limit {
        return Err(Failure::TooLong);
    }
    Ok(plain)
}
