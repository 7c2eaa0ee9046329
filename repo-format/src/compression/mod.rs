//! The compression room: contents in the streams that Kopia's compressions are made of, under the names it gives them.
//!
//! A compressed content is
//!
//! | bytes | field     | meaning                                          |
//! |-------|-----------|--------------------------------------------------|
//! | 0..4  | header id | which compression; equal to that of the index    |
//! | 4..   | stream    | gzip, zstd, S2, LZ4 or raw deflate               |

mod crc32c;
mod deflate;
mod lz4;
mod s2;
mod zstandard;

use std::io;

use crate::FormatError;
use crate::cursor::Cursor;

/// The header id before a compressed stream, in bytes.
pub const HEADER_LEN: usize = 4;

/// A compression that a policy or an index entry may name. No compression at all is `None` around this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Compression {
    /// `gzip`
    Gzip,
    /// `gzip-best-speed`
    GzipBestSpeed,
    /// `gzip-best-compression`
    GzipBestCompression,
    /// `zstd`
    Zstd,
    /// `zstd-fastest`
    ZstdFastest,
    /// `zstd-better-compression`
    ZstdBetterCompression,
    /// `zstd-best-compression`
    ZstdBestCompression,
    /// `s2-default`
    S2Default,
    /// `s2-better`
    S2Better,
    /// `s2-parallel-4`
    S2Parallel4,
    /// `s2-parallel-8`
    S2Parallel8,
    /// `pgzip`
    Pgzip,
    /// `pgzip-best-speed`
    PgzipBestSpeed,
    /// `pgzip-best-compression`
    PgzipBestCompression,
    /// `lz4`: read, never written, because Kopia 0.23 does not read it any more.
    Lz4,
    /// `deflate-default`
    DeflateDefault,
    /// `deflate-best-speed`
    DeflateBestSpeed,
    /// `deflate-best-compression`
    DeflateBestCompression,
}

/// What the stream after the header is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stream {
    Gzip,
    Deflate,
    Zstd,
    S2,
    Lz4,
}

impl Compression {
    /// Every compression, in the order of the header ids.
    pub const ALL: [Self; 18] = [
        Self::Gzip,
        Self::GzipBestSpeed,
        Self::GzipBestCompression,
        Self::Zstd,
        Self::ZstdFastest,
        Self::ZstdBetterCompression,
        Self::ZstdBestCompression,
        Self::S2Default,
        Self::S2Better,
        Self::S2Parallel4,
        Self::S2Parallel8,
        Self::Pgzip,
        Self::PgzipBestSpeed,
        Self::PgzipBestCompression,
        Self::Lz4,
        Self::DeflateDefault,
        Self::DeflateBestSpeed,
        Self::DeflateBestCompression,
    ];

    /// The name, as policies spell it.
    pub fn name(self) -> &'static str {
        self.row().0
    }

    /// The compression with this name. `none` is the name of no compression, so it is not found here.
    pub fn from_name(name: &str) -> Result<Self, FormatError> {
        Self::ALL
            .into_iter()
            .find(|compression| compression.name() == name)
            .ok_or_else(|| FormatError::UnknownCompression {
                found: name.chars().take(80).collect(),
            })
    }

    /// The number before the stream and in the index; never zero, which means no compression there.
    pub fn header_id(self) -> u32 {
        self.row().1
    }

    /// The compression with this number.
    pub fn from_header_id(id: u32) -> Result<Self, FormatError> {
        Self::ALL
            .into_iter()
            .find(|compression| compression.header_id() == id)
            .ok_or(FormatError::UnknownCompressionHeader { found: id })
    }

    /// Whether Kopia 0.22 advises against it. Of these only [`Compression::Lz4`] is never written here.
    pub fn is_deprecated(self) -> bool {
        matches!(self, Self::Lz4 | Self::ZstdBestCompression)
    }

    /// Name, header id, stream, and the level at which our encoder comes near to Kopia's.
    fn row(self) -> (&'static str, u32, Stream, i32) {
        match self {
            Self::Gzip => ("gzip", 0x1000, Stream::Gzip, 6),
            Self::GzipBestSpeed => ("gzip-best-speed", 0x1001, Stream::Gzip, 1),
            Self::GzipBestCompression => ("gzip-best-compression", 0x1002, Stream::Gzip, 9),
            Self::Zstd => ("zstd", 0x1100, Stream::Zstd, 3),
            Self::ZstdFastest => ("zstd-fastest", 0x1101, Stream::Zstd, 1),
            Self::ZstdBetterCompression => ("zstd-better-compression", 0x1102, Stream::Zstd, 7),
            Self::ZstdBestCompression => ("zstd-best-compression", 0x1103, Stream::Zstd, 11),
            Self::S2Default => ("s2-default", 0x1200, Stream::S2, 1),
            Self::S2Better => ("s2-better", 0x1201, Stream::S2, 2),
            Self::S2Parallel4 => ("s2-parallel-4", 0x1202, Stream::S2, 1),
            Self::S2Parallel8 => ("s2-parallel-8", 0x1203, Stream::S2, 1),
            Self::Pgzip => ("pgzip", 0x1300, Stream::Gzip, 6),
            Self::PgzipBestSpeed => ("pgzip-best-speed", 0x1301, Stream::Gzip, 1),
            Self::PgzipBestCompression => ("pgzip-best-compression", 0x1302, Stream::Gzip, 9),
            Self::Lz4 => ("lz4", 0x1400, Stream::Lz4, 0),
            Self::DeflateDefault => ("deflate-default", 0x1500, Stream::Deflate, 6),
            Self::DeflateBestSpeed => ("deflate-best-speed", 0x1501, Stream::Deflate, 1),
            Self::DeflateBestCompression => ("deflate-best-compression", 0x1502, Stream::Deflate, 9),
        }
    }
}

/// Compresses one content after the other, keeping the encoder's tables. One per thread.
pub struct Compressor {
    compression: Compression,
    encoder: Encoder,
}

/// The encoder behind a [`Compressor`].
enum Encoder {
    Deflate(deflate::Deflater),
    Zstd(zstandard::Encoder),
    S2(s2::Encoder),
    /// LZ4 is never written.
    Refuse,
}

impl Compressor {
    /// An encoder for this compression.
    pub fn new(compression: Compression) -> Self {
        let (_, _, stream, level) = compression.row();
        let encoder = match stream {
            Stream::Gzip => Encoder::Deflate(deflate::Deflater::gzip(level)),
            Stream::Deflate => Encoder::Deflate(deflate::Deflater::raw(level)),
            Stream::Zstd => Encoder::Zstd(zstandard::Encoder::new(level)),
            Stream::S2 => Encoder::S2(s2::Encoder::new(level > 1)),
            Stream::Lz4 => Encoder::Refuse,
        };
        Self { compression, encoder }
    }

    /// What it compresses with.
    pub fn compression(&self) -> Compression {
        self.compression
    }

    /// Appends the header and the stream of `plain` to `out`.
    ///
    /// `false`, and nothing appended, when they are not shorter than `plain`: such a content is stored as it is. That
    /// is always so for [`Compression::Lz4`].
    pub fn compress_into(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Result<bool, FormatError> {
        let start = out.len();
        out.extend_from_slice(&self.compression.header_id().to_be_bytes());
        let written = match &mut self.encoder {
            Encoder::Deflate(encoder) => encoder.encode(plain, out),
            Encoder::Zstd(encoder) => encoder.encode(plain, out),
            Encoder::S2(encoder) => encoder.encode(plain, out),
            Encoder::Refuse => Ok(false),
        };
        let shorter = matches!(written, Ok(true)) && out.len() - start < plain.len();
        if !shorter {
            out.truncate(start);
        }
        let compression = self.compression.name();
        written.map_err(|source| FormatError::Compress { compression, source })?;
        Ok(shorter)
    }
}

/// The plain bytes of a compressed content.
///
/// The header must be that of `expected`, which the index names, and the stream must hold exactly `original_len`
/// bytes, as the index says. Whatever the stream claims about itself, no more than that is kept.
///
/// # Errors
/// When the header is another one, the stream is damaged, or it holds another number of bytes.
pub fn decompress(expected: Compression, data: &[u8], original_len: usize) -> Result<Vec<u8>, FormatError> {
    let mut cursor = Cursor::new(data, "compressed content");
    let found = cursor.u32()?;
    if found != expected.header_id() {
        return Err(FormatError::WrongCompressionHeader {
            expected: expected.header_id(),
            found,
        });
    }
    let plain = inflate(expected, cursor.rest(), original_len)?;
    if plain.len() != original_len {
        return Err(FormatError::DecompressedLength {
            compression: expected.name(),
            expected: original_len,
            found: plain.len(),
        });
    }
    Ok(plain)
}

/// The plain bytes of a content that was compressed before it was hashed (`Z` objects, format version 1): the header
/// alone says how. More than `limit` bytes are an error.
///
/// # Errors
/// When the header names no compression, the stream is damaged, or it holds more than `limit` bytes.
pub fn decompress_by_header(data: &[u8], limit: usize) -> Result<Vec<u8>, FormatError> {
    let mut cursor = Cursor::new(data, "compressed object");
    let compression = Compression::from_header_id(cursor.u32()?)?;
    inflate(compression, cursor.rest(), limit)
}

fn inflate(compression: Compression, stream: &[u8], limit: usize) -> Result<Vec<u8>, FormatError> {
    let (name, _, kind, _) = compression.row();
    let plain = match kind {
        Stream::Gzip => deflate::decode_gzip(stream, limit),
        Stream::Deflate => deflate::decode_raw(stream, limit),
        Stream::Zstd => zstandard::decode(stream, limit),
        Stream::S2 => s2::decode(stream, limit),
        Stream::Lz4 => lz4::decode(stream, limit),
    };
    plain.map_err(|failure| match failure {
        Failure::TooLong => FormatError::DecompressedTooLong {
            compression: name,
            limit,
        },
        Failure::Damaged(source) => FormatError::Decompress {
            compression: name,
            source,
        },
    })
}

/// Why a stream gave no bytes.
enum Failure {
    /// It holds more than was allowed.
    TooLong,
    /// It is not a stream of its kind, or not a whole one.
    Damaged(io::Error),
}

impl Failure {
    fn damaged(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Damaged(io::Error::new(io::ErrorKind::InvalidData, why))
    }
}

/// Memory for up to `len` bytes: it is only asked for, and touched as far as bytes really come.
fn room_for(len: usize) -> Result<Vec<u8>, Failure> {
    let mut room = Vec::new();
    room.try_reserve_exact(len)
        .map_err(|_| Failure::Damaged(io::ErrorKind::OutOfMemory.into()))?;
    Ok(room)
}

#[cfg(test)]
mod tests;
