//! The spelling room: JSON exactly as Go's encoder writes it, because a stored object is named after its bytes.

pub(crate) mod lenient;
pub(crate) mod stream;

use std::io;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::ser::Formatter;

use crate::FormatError;

/// What Go's encoder puts in the place of a byte that begins no valid UTF-8 sequence: an escape, not the character.
const REPLACEMENT_ESCAPE: &[u8] = br"\ufffd";

/// The first second of the year 0, before which RFC 3339 has no spelling.
pub(crate) const YEAR_ZERO_SECONDS: i64 = -62_167_219_200;

/// Serialises as Go's `encoding/json` would: compact, `<`, `>`, `&`, U+2028 and U+2029 escaped, no newline at the end.
///
/// Members come in the order in which `value` gives them; maps of Go are sorted by key, so use a `BTreeMap`.
///
/// # Errors
/// [`FormatError::NotJson`] when `value` has a map whose keys are no strings, or a number that is not finite.
pub fn to_vec<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, FormatError> {
    let mut out = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, GoFormatter);
    value
        .serialize(&mut serializer)
        .map_err(|source| FormatError::NotJson { source })?;
    Ok(out)
}

/// Appends `bytes` as a JSON string. Each byte that begins no valid UTF-8 sequence becomes the six characters `\ufffd`;
/// a genuine U+FFFD stays as it is.
pub fn write_string(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for chunk in bytes.utf8_chunks() {
        write_escaped(chunk.valid(), out);
        for _ in chunk.invalid() {
            out.extend_from_slice(REPLACEMENT_ESCAPE);
        }
    }
    out.push(b'"');
}

/// What a reader sees for a name of these bytes: one U+FFFD for each byte that begins no valid UTF-8 sequence.
///
/// Two different names may look the same afterwards. Rust's own lossy conversion gives fewer characters.
pub fn lossy_name(bytes: &[u8]) -> String {
    let mut name = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        name.push_str(chunk.valid());
        name.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    name
}

/// Appends the text of a string between its quotes, escaped.
fn write_escaped(text: &str, out: &mut Vec<u8>) {
    let bytes = text.as_bytes();
    let mut plain_from = 0;
    for (at, byte) in bytes.iter().enumerate() {
        let escape: &[u8] = match byte {
            b'"' => br#"\""#,
            b'\\' => br"\\",
            0x08 => br"\b",
            0x0c => br"\f",
            b'\n' => br"\n",
            b'\r' => br"\r",
            b'\t' => br"\t",
            0..0x20 | b'<' | b'>' | b'&' => b"",
            0xe2 => match bytes.get(at + 1..at + 3) {
                Some([0x80, 0xa8]) => br"\u2028",
                Some([0x80, 0xa9]) => br"\u2029",
                _ => continue,
            },
            _ => continue,
        };
        out.extend_from_slice(&bytes[plain_from..at]);
        if escape.is_empty() {
            out.extend_from_slice(&low_escape(*byte));
        } else {
            out.extend_from_slice(escape);
        }
        plain_from = at + if *byte == 0xe2 { 3 } else { 1 };
    }
    out.extend_from_slice(&bytes[plain_from..]);
}

/// `\u00XX` with small hexadecimal letters.
fn low_escape(byte: u8) -> [u8; 6] {
    let digit = |nibble: u8| b"0123456789abcdef"[usize::from(nibble & 15)];
    [b'\\', b'u', b'0', b'0', digit(byte >> 4), digit(byte)]
}

/// Appends a time between quotes: RFC 3339, UTC, as many digits of the second as are needed.
///
/// # Errors
/// [`FormatError::TimeNotWritable`] before the year 0. A [`Timestamp`] cannot hold a time after the year 9999.
pub fn write_time(time: Timestamp, out: &mut Vec<u8>) -> Result<(), FormatError> {
    if time.as_second() < YEAR_ZERO_SECONDS {
        return Err(FormatError::TimeNotWritable {
            seconds: time.as_second(),
        });
    }
    out.push(b'"');
    jiff::fmt::temporal::DateTimePrinter::new()
        .print_timestamp(&time, &mut *out)
        .expect("a byte vector takes everything");
    out.push(b'"');
    Ok(())
}

/// The time that lies `nanoseconds` after `seconds` since the Unix epoch, as `stat` gives it.
///
/// # Errors
/// [`FormatError::TimeNotWritable`] outside the years 0 to 9999: neither we nor Kopia could store it.
pub fn time_from_unix(seconds: i64, nanoseconds: u32) -> Result<Timestamp, FormatError> {
    i32::try_from(nanoseconds)
        .ok()
        .filter(|_| seconds >= YEAR_ZERO_SECONDS)
        .and_then(|nanoseconds| Timestamp::new(seconds, nanoseconds).ok())
        .ok_or(FormatError::TimeNotWritable { seconds })
}

/// Appends a number in decimal.
pub(crate) fn write_number(number: impl Into<u64>, out: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut rest: u64 = number.into();
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// Go's way of writing, hooked into the serialiser: only strings, raw JSON and fractions differ from the compact form.
struct GoFormatter;

impl Formatter for GoFormatter {
    fn write_string_fragment<W: io::Write + ?Sized>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let mut escaped = Vec::with_capacity(fragment.len());
        write_escaped(fragment, &mut escaped);
        writer.write_all(&escaped)
    }

    fn write_raw_fragment<W: io::Write + ?Sized>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        writer.write_all(&compact(fragment))
    }

    fn write_f32<W: io::Write + ?Sized>(&mut self, writer: &mut W, value: f32) -> io::Result<()> {
        write_float(writer, &value, f64::from(value).abs(), (1e-6f32).into())
    }

    fn write_f64<W: io::Write + ?Sized>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        write_float(writer, &value, value.abs(), 1e-6)
    }
}

/// Go writes the shortest digits that read back the same, with an exponent only below 1e-6 and from 1e21 on.
fn write_float<W, F>(writer: &mut W, value: &F, magnitude: f64, small: f64) -> io::Result<()>
where
    W: io::Write + ?Sized,
    F: std::fmt::Display + std::fmt::LowerExp,
{
    if magnitude == 0.0 || (small..1e21).contains(&magnitude) {
        return write!(writer, "{value}");
    }
    let text = format!("{value:e}");
    let signed = if text.contains("e-") {
        text
    } else {
        text.replace('e', "e+")
    };
    writer.write_all(signed.as_bytes())
}

/// Raw JSON as Go embeds it: no space between tokens, the same escapes of `<`, `>`, `&`, U+2028 and U+2029.
pub(crate) fn compact(json: &str) -> Vec<u8> {
    let bytes = json.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let (mut in_string, mut escaped) = (false, false);
    let mut skip = 0;
    for (at, byte) in bytes.iter().enumerate() {
        if skip > 0 {
            skip -= 1;
            continue;
        }
        match byte {
            b'<' | b'>' | b'&' => out.extend_from_slice(&low_escape(*byte)),
            0xe2 if matches!(bytes.get(at + 1..at + 3), Some([0x80, 0xa8 | 0xa9])) => {
                out.extend_from_slice(if bytes[at + 2] == 0xa8 { br"\u2028" } else { br"\u2029" });
                skip = 2;
            }
            b' ' | b'\t' | b'\n' | b'\r' if !in_string => {}
            _ => out.push(*byte),
        }
        if escaped {
            escaped = false;
        } else {
            escaped = in_string && *byte == b'\\';
            in_string ^= *byte == b'"';
        }
    }
    out
}
