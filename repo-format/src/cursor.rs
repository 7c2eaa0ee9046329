//! The reading room: the only way to take bytes off a slice. What is missing is named in the error.

use crate::FormatError;

/// Takes big-endian numbers and byte strings off the front of a slice.
#[derive(Clone, Copy, Debug)]
pub struct Cursor<'a> {
    rest: &'a [u8],
    what: &'static str,
}

impl<'a> Cursor<'a> {
    /// Reads `bytes`; `what` names the structure in errors.
    pub fn new(bytes: &'a [u8], what: &'static str) -> Self {
        Self { rest: bytes, what }
    }

    /// What has not been taken yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Takes `count` bytes.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], FormatError> {
        let Some((taken, rest)) = self.rest.split_at_checked(count) else {
            return Err(FormatError::Truncated {
                what: self.what,
                wanted: count,
                available: self.rest.len(),
            });
        };
        self.rest = rest;
        Ok(taken)
    }

    /// Takes an array.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], FormatError> {
        Ok(self.take(N)?.try_into().expect("take gives exactly what was asked for"))
    }

    /// Takes one byte.
    pub fn u8(&mut self) -> Result<u8, FormatError> {
        Ok(self.array::<1>()?[0])
    }

    /// Takes a big-endian number of two bytes.
    pub fn u16(&mut self) -> Result<u16, FormatError> {
        self.array().map(u16::from_be_bytes)
    }

    /// Takes a big-endian number of three bytes.
    pub fn u24(&mut self) -> Result<u32, FormatError> {
        let [a, b, c] = self.array()?;
        Ok(u32::from_be_bytes([0, a, b, c]))
    }

    /// Takes a big-endian number of four bytes.
    pub fn u32(&mut self) -> Result<u32, FormatError> {
        self.array().map(u32::from_be_bytes)
    }

    /// Takes a big-endian number of six bytes.
    pub fn u48(&mut self) -> Result<u64, FormatError> {
        let [a, b, c, d, e, f] = self.array()?;
        Ok(u64::from_be_bytes([0, 0, a, b, c, d, e, f]))
    }

    /// Takes an unsigned LEB128 number: seven bits a byte, low group first, at most ten bytes.
    pub fn uvarint(&mut self) -> Result<u64, FormatError> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let group = u64::from(byte & 0x7f);
            if shift == 63 && group > 1 {
                break;
            }
            value |= group << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(FormatError::VarintTooLong { what: self.what })
    }
}

/// Appends an unsigned LEB128 number.
pub(crate) fn put_uvarint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_survive_a_round_trip() {
        for value in [0, 1, 127, 128, 4096, u64::from(u32::MAX), u64::MAX] {
            let mut bytes = Vec::new();
            put_uvarint(&mut bytes, value);
            assert_eq!(Cursor::new(&bytes, "varint").uvarint().unwrap(), value);
        }
    }

    #[test]
    fn an_endless_varint_is_refused() {
        assert!(matches!(
            Cursor::new(&[0xff; 20], "varint").uvarint(),
            Err(FormatError::VarintTooLong { .. })
        ));
    }

    #[test]
    fn a_short_slice_says_what_was_wanted() {
        let error = Cursor::new(&[1, 2], "index header").u32().unwrap_err();
        assert_eq!(
            error.to_string(),
            "index header is cut short: 4 more bytes wanted, 2 there"
        );
    }
}
