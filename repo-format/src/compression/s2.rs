//! The S2 room: the framed stream of Go's `s2` package, a superset of framed Snappy.
//!
//! A stream is a row of chunks:
//!
//! | bytes | field  | meaning                                                                       |
//! |-------|--------|-------------------------------------------------------------------------------|
//! | 0     | type   | 00 compressed block, 01 stored block, 80..fe may be skipped, ff stream begins |
//! | 1..4  | length | of the body, little-endian                                                    |
//! | 4..   | body   | for blocks: masked CRC-32C of the plain bytes (little-endian), then the block  |

use std::io;

use minlz::s2 as block;

use super::{Failure, crc32c, room_for};
use crate::cursor::Cursor;

const COMPRESSED: u8 = 0x00;
const STORED: u8 = 0x01;
const FIRST_SKIPPABLE: u8 = 0x80;
const BEGIN: u8 = 0xff;

const S2_MAGIC: &[u8] = b"S2sTwO";
const SNAPPY_MAGIC: &[u8] = b"sNaPpY";

/// How much one block holds when Kopia writes it.
const BLOCK_LEN: usize = 1 << 20;
/// The most that a reader has to expect in one block.
const BLOCK_LEN_MAX: usize = 4 << 20;
const CRC_LEN: usize = 4;

/// Makes S2 streams, one after the other, with one set of tables.
pub(super) struct Encoder {
    blocks: block::Encoder,
    better: bool,
}

impl Encoder {
    /// `better` looks longer for matches.
    pub(super) fn new(better: bool) -> Self {
        Self {
            blocks: block::Encoder::new(),
            better,
        }
    }

    /// Appends a stream.
    pub(super) fn encode(&mut self, plain: &[u8], out: &mut Vec<u8>) -> io::Result<bool> {
        put_chunk(out, BEGIN, &[], S2_MAGIC);
        for plain in plain.chunks(BLOCK_LEN) {
            let crc = crc32c::masked(plain).to_le_bytes();
            let packed = if self.better {
                self.blocks.encode_better(plain)
            } else {
                self.blocks.encode(plain)
            };
            if packed.len() < plain.len() {
                put_chunk(out, COMPRESSED, &crc, &packed);
            } else {
                put_chunk(out, STORED, &crc, plain);
            }
        }
        Ok(true)
    }
}

fn put_chunk(out: &mut Vec<u8>, kind: u8, crc: &[u8], body: &[u8]) {
    let len = (crc.len() + body.len()) as u32;
    let [low, middle, high, _] = len.to_le_bytes();
    out.extend_from_slice(&[kind, low, middle, high]);
    out.extend_from_slice(crc);
    out.extend_from_slice(body);
}

/// A whole stream, at most `limit` bytes when unpacked.
pub(super) fn decode(stream: &[u8], limit: usize) -> Result<Vec<u8>, Failure> {
    let mut plain = room_for(limit)?;
    let mut rest = Cursor::new(stream, "S2 stream");
    let mut begun = false;
    while !rest.rest().is_empty() {
        let [kind, low, middle, high] = rest.array().map_err(Failure::damaged)?;
        let len = u32::from_le_bytes([low, middle, high, 0]) as usize;
        let mut body = Cursor::new(rest.take(len).map_err(Failure::damaged)?, "S2 chunk");
        match kind {
            BEGIN if body.rest() == S2_MAGIC || body.rest() == SNAPPY_MAGIC => begun = true,
            COMPRESSED | STORED if begun => {
                let crc = u32::from_le_bytes(body.array::<CRC_LEN>().map_err(Failure::damaged)?);
                let start = plain.len();
                append_block(kind, body.rest(), limit, &mut plain)?;
                if crc32c::masked(&plain[start..]) != crc {
                    return Err(Failure::damaged("block does not match its checksum"));
                }
            }
            FIRST_SKIPPABLE..BEGIN if begun => {}
            _ => return Err(Failure::damaged(format!("unexpected chunk of type {kind:#04x}"))),
        }
    }
    if !begun {
        return Err(Failure::Damaged(io::ErrorKind::UnexpectedEof.into()));
    }
    Ok(plain)
}

fn append_block(kind: u8, body: &[u8], limit: usize, plain: &mut Vec<u8>) -> Result<(), Failure> {
    let len = if kind == STORED {
        body.len()
    } else {
        block::decode_len(body).map_err(Failure::damaged)?.0
    };
    if len > BLOCK_LEN_MAX {
        return Err(Failure::damaged("block is longer than 4 MiB"));
    }
    let start = plain.len();
    if len > limit - start {
        return Err(Failure::TooLong);
    }
    if kind == STORED {
        plain.extend_from_slice(body);
        return Ok(());
    }
    plain.resize(start + len, 0);
    block::decode_into(&mut plain[start..], body).map_err(Failure::damaged)?;
    Ok(())
}
