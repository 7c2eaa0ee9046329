//! The deflate room: raw deflate streams, and gzip members around them.

use std::io;

use flate2::{Compress, Decompress, FlushCompress, FlushDecompress, Status};

use super::{Failure, room_for};

/// Makes raw deflate streams or gzip members, one after the other, with one set of tables.
pub(super) struct Deflater {
    compress: Compress,
    gzip: bool,
}

/// Magic, deflate, no flags, no time, no hint, unknown system: a member that says nothing about its origin.
const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
/// Checksum and length after the stream of a gzip member.
const GZIP_TRAILER_LEN: usize = 8;

impl Deflater {
    pub(super) fn raw(level: i32) -> Self {
        let level = flate2::Compression::new(level as u32);
        Self {
            compress: Compress::new(level, false),
            gzip: false,
        }
    }

    pub(super) fn gzip(level: i32) -> Self {
        Self {
            gzip: true,
            ..Self::raw(level)
        }
    }

    /// Appends a stream.
    pub(super) fn encode(&mut self, plain: &[u8], out: &mut Vec<u8>) -> io::Result<bool> {
        // The encoder is never left in the middle of a stream: starting anew from there is not something it does well.
        out.reserve(bound(plain.len()));
        if self.gzip {
            out.extend_from_slice(&GZIP_HEADER);
        }
        self.compress.reset();
        let status = self.compress.compress_vec(plain, out, FlushCompress::Finish)?;
        if status != Status::StreamEnd {
            return Err(io::Error::other("the stream is longer than it can be"));
        }
        if self.gzip {
            out.extend_from_slice(&crc32fast::hash(plain).to_le_bytes());
            out.extend_from_slice(&(plain.len() as u32).to_le_bytes());
        }
        Ok(true)
    }
}

/// What a stream or member can take at most: nine bits for each byte, the ends of blocks, header and trailer.
fn bound(len: usize) -> usize {
    len + len / 8 + len / 64 + GZIP_HEADER.len() + GZIP_TRAILER_LEN + 64
}

/// One gzip member and nothing after it, at most `limit` bytes when unpacked.
pub(super) fn decode_gzip(stream: &[u8], limit: usize) -> Result<Vec<u8>, Failure> {
    const WINDOW_BITS: u8 = 15;
    decode(Decompress::new_gzip(WINDOW_BITS), stream, limit)
}

/// One deflate stream and nothing after it, at most `limit` bytes when unpacked.
pub(super) fn decode_raw(stream: &[u8], limit: usize) -> Result<Vec<u8>, Failure> {
    decode(Decompress::new(false), stream, limit)
}

fn decode(mut decompress: Decompress, stream: &[u8], limit: usize) -> Result<Vec<u8>, Failure> {
    // One byte more than allowed shows that there is more than allowed.
    let mut plain = room_for(limit.saturating_add(1))?;
    let status = decompress
        .decompress_vec(stream, &mut plain, FlushDecompress::Finish)
        .map_err(Failure::damaged)?;
    if plain.len() > limit {
        return Err(Failure::TooLong);
    }
    if status != Status::StreamEnd {
        return Err(Failure::Damaged(io::ErrorKind::UnexpectedEof.into()));
    }
    if decompress.total_in() != stream.len() as u64 {
        return Err(Failure::damaged("bytes follow the end of the stream"));
    }
    Ok(plain)
}
