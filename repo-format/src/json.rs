//! The spelling room: JSON exactly as Go's encoder writes it, because a stored object is named after its bytes.

pub(crate) mod lenient;
pub(crate) mod stream;
mod unknown;

use std::io;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::ser::Formatter;

pub use unknown::UnknownMembers;

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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn written(bytes: &[u8]) -> String {
        let mut out = Vec::new();
        write_string(bytes, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn each_byte_that_is_no_text_becomes_an_escape_of_its_own() {
        assert_eq!(
            written(b"\xe2\x80"),
            r#""\ufffd\ufffd""#,
            "a truncated sequence of three bytes"
        );
        assert_eq!(written(b"\xed\xa0\x80"), r#""\ufffd\ufffd\ufffd""#, "a surrogate");
        assert_eq!(written("\u{fffd}".as_bytes()), "\"\u{fffd}\"", "a genuine U+FFFD stays");
        assert_eq!(lossy_name(b"a\xe2\x80b"), "a\u{fffd}\u{fffd}b");
    }

    #[test]
    fn what_browsers_could_trip_over_is_escaped() {
        assert_eq!(
            written("<a>&\u{2028}\u{2029}\u{202a}".as_bytes()),
            "\"\\u003ca\\u003e\\u0026\\u2028\\u2029\u{202a}\""
        );
        assert_eq!(
            written(b"\x00\x08\x0c\n\r\t\x1f\"\\\x7f"),
            "\"\\u0000\\b\\f\\n\\r\\t\\u001f\\\"\\\\\x7f\""
        );
    }

    #[test]
    fn the_serialiser_writes_what_go_writes() {
        #[derive(Serialize)]
        struct Sample<'a> {
            text: &'a str,
            labels: BTreeMap<&'a str, f64>,
            raw: Box<serde_json::value::RawValue>,
        }
        let sample = Sample {
            text: "<\u{2028}\u{8}>",
            labels: BTreeMap::from([("&b", 1.0), ("a", 1e-7), ("c", 1e21), ("d", -0.5), ("e", 1e20)]),
            raw: serde_json::from_str("{ \"a <\\\" b\" : [ 1 , \"\u{2029} \" ] }").unwrap(),
        };
        assert_eq!(
            String::from_utf8(to_vec(&sample).unwrap()).unwrap(),
            concat!(
                r#"{"text":"\u003c\u2028\b\u003e","labels":{"\u0026b":1,"a":1e-7,"c":1e+21,"d":-0.5,"e":100000000000000000000},"#,
                r#""raw":{"a \u003c\" b":[1,"\u2029 "]}}"#
            )
        );
    }

    #[test]
    fn a_map_without_text_for_keys_is_refused() {
        let map = BTreeMap::from([((1, 2), 3)]);
        assert!(matches!(to_vec(&map), Err(FormatError::NotJson { .. })));
    }

    #[test]
    fn times_lose_their_trailing_zeroes_and_end_where_the_calendar_ends() {
        let written = |seconds, nanoseconds| {
            let mut out = Vec::new();
            write_time(time_from_unix(seconds, nanoseconds)?, &mut out)?;
            Ok::<_, FormatError>(String::from_utf8(out).unwrap())
        };
        assert_eq!(
            written(981_173_106, 120_000_000).unwrap(),
            r#""2001-02-03T04:05:06.12Z""#
        );
        assert_eq!(written(-1, 999_999_999).unwrap(), r#""1969-12-31T23:59:59.999999999Z""#);
        assert_eq!(written(-62_135_596_800, 0).unwrap(), r#""0001-01-01T00:00:00Z""#);
        assert_eq!(written(YEAR_ZERO_SECONDS, 0).unwrap(), r#""0000-01-01T00:00:00Z""#);
        assert!(matches!(
            written(YEAR_ZERO_SECONDS - 1, 0),
            Err(FormatError::TimeNotWritable { .. })
        ));
        assert!(matches!(
            written(253_402_300_800, 0),
            Err(FormatError::TimeNotWritable { .. })
        ));
        assert!(matches!(written(0, u32::MAX), Err(FormatError::TimeNotWritable { .. })));
        assert!(write_time(Timestamp::MIN, &mut Vec::new()).is_err());
    }

    #[test]
    fn times_of_any_age_and_offset_are_read() {
        let read = |text: &str| serde_json::from_str::<lenient::Time>(text).map(|time| time.0.to_string());
        for same in [
            "1754-08-30T22:43:41.128654848Z",
            "0001-01-01T00:00:00Z",
            "2262-04-11T23:47:16.854775807Z",
        ] {
            assert_eq!(read(&format!("{same:?}")).unwrap(), same);
        }
        assert_eq!(read(r#""2024-01-01T01:30:00+01:30""#).unwrap(), "2024-01-01T00:00:00Z");
        assert_eq!(read(r#""9999-12-31T23:59:59Z""#).unwrap(), Timestamp::MAX.to_string());
        assert!(read(r#""yesterday""#).is_err());
        assert!(read("1").is_err());
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
            "[<>&\u{2028}\u{2029}\\\\\" ]*".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 20, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(any::<String>(), inner, 0..4).prop_map(|map| map.into_iter().collect()),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_reader_sees_the_lossy_name(bytes: Vec<u8>) {
            let seen: String = serde_json::from_str(&written(&bytes)).unwrap();
            prop_assert_eq!(seen, lossy_name(&bytes));
        }

        #[test]
        fn text_is_spelled_alike_by_both_ways(text: String) {
            prop_assert_eq!(to_vec(&text).unwrap(), written(text.as_bytes()).into_bytes());
        }

        #[test]
        fn raw_json_is_written_like_the_value_it_stands_for(value in any_json()) {
            prop_assert_eq!(compact(&serde_json::to_string_pretty(&value).unwrap()), to_vec(&value).unwrap());
        }

        #[test]
        fn numbers_are_written_in_decimal(number: u64) {
            let mut out = Vec::new();
            write_number(number, &mut out);
            prop_assert_eq!(out, number.to_string().into_bytes());
        }
    }
}
