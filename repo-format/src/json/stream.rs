//! The conveyor room: one long JSON object with a list of entries, read piece by piece, an entry at a time.

use crate::FormatError;
use crate::json::lenient::Text;

/// The longest value that is put together before it is looked at. Entries take some hundred bytes, but Kopia 0.22 gives
/// each directory the errors of everything below it, so one that holds 100,000 unreadable files takes 15 MB.
pub(crate) const VALUE_BYTES_MAX: usize = 32 << 20;

/// Reads `{"stream":"<name>","entries":[...],...}` as it arrives, in pieces of any length.
///
/// Members may come in any order, `entries` may be `null`, and what follows the object is ignored. Each value is handed
/// on as the bytes of its JSON, not yet known to be well-formed. Holds one value, at most `value_bytes_max` bytes.
#[derive(Debug)]
pub(crate) struct StreamReader {
    what: &'static str,
    stream: Option<&'static str>,
    value_bytes_max: usize,
    place: Place,
    key: Text,
    end: ValueEnd,
    partial: Vec<u8>,
    stream_seen: bool,
    entries_seen: bool,
}

/// What a stream is made of, besides its name.
pub(crate) enum Piece<'a> {
    /// One element of `entries`.
    Entry(&'a [u8]),
    /// Another member, with its key.
    Member(&'a Text, &'a [u8]),
}

/// What comes next, or what is being taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Start,
    FirstKey,
    Key,
    InKey,
    Colon,
    Value,
    InValue,
    AfterValue,
    FirstElement,
    Element,
    InElement,
    AfterElement,
    Done,
}

impl StreamReader {
    /// A reader of streams of the given name; without a name the member `stream` means nothing.
    pub(crate) fn new(what: &'static str, stream: Option<&'static str>, value_bytes_max: usize) -> Self {
        Self {
            what,
            stream,
            value_bytes_max,
            place: Place::Start,
            key: Text::default(),
            end: ValueEnd::default(),
            partial: Vec::new(),
            stream_seen: false,
            entries_seen: false,
        }
    }

    /// Takes the next bytes and hands on each value that is complete.
    pub(crate) fn push(
        &mut self,
        mut bytes: &[u8],
        each: &mut dyn FnMut(Piece<'_>) -> Result<(), FormatError>,
    ) -> Result<(), FormatError> {
        while let Some(first) = bytes.first() {
            if matches!(self.place, Place::InKey | Place::InValue | Place::InElement) {
                bytes = self.take_value(bytes, each)?;
            } else if self.place == Place::Done {
                return Ok(());
            } else {
                if !matches!(first, b' ' | b'\t' | b'\n' | b'\r') {
                    self.place = self.step(*first)?;
                }
                // The first byte of a value is part of it.
                if !matches!(self.place, Place::InKey | Place::InValue | Place::InElement) {
                    bytes = &bytes[1..];
                }
            }
        }
        Ok(())
    }

    /// Says that no more bytes come.
    pub(crate) fn finish(self) -> Result<(), FormatError> {
        if self.place != Place::Done {
            return Err(FormatError::StreamCut { what: self.what });
        }
        match self.stream {
            Some(expected) if !self.stream_seen => Err(FormatError::WrongStream {
                what: self.what,
                expected,
                found: String::new(),
            }),
            _ => Ok(()),
        }
    }

    /// Where `byte`, which is no space, leads.
    fn step(&mut self, byte: u8) -> Result<Place, FormatError> {
        Ok(match (self.place, byte) {
            (Place::Start, b'{') => Place::FirstKey,
            (Place::FirstKey | Place::Key, b'"') => Place::InKey,
            (Place::FirstKey | Place::AfterValue, b'}') => Place::Done,
            (Place::Colon, b':') => Place::Value,
            (Place::Value, b'[') if self.key.is("entries") => {
                self.take_entries_key()?;
                Place::FirstElement
            }
            (Place::Value, _) => Place::InValue,
            (Place::AfterValue, b',') => Place::Key,
            (Place::FirstElement | Place::AfterElement, b']') => Place::AfterValue,
            (Place::FirstElement | Place::Element, _) => Place::InElement,
            (Place::AfterElement, b',') => Place::Element,
            _ => return Err(FormatError::StreamBroken { what: self.what, byte }),
        })
    }

    /// Adds bytes to the value that is being taken in; gives back what lies behind it.
    fn take_value<'b>(
        &mut self,
        bytes: &'b [u8],
        each: &mut dyn FnMut(Piece<'_>) -> Result<(), FormatError>,
    ) -> Result<&'b [u8], FormatError> {
        let end = self.end.find(bytes);
        let (taken, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
        if self.partial.len() + taken.len() > self.value_bytes_max {
            return Err(FormatError::ValueTooLong {
                what: self.what,
                limit: self.value_bytes_max,
            });
        }
        if end.is_none() {
            self.partial.extend_from_slice(taken);
            return Ok(rest);
        }
        self.end = ValueEnd::default();
        if self.partial.is_empty() {
            self.hand_on(taken, each)?;
        } else {
            let mut value = std::mem::take(&mut self.partial);
            value.extend_from_slice(taken);
            self.hand_on(&value, each)?;
            value.clear();
            self.partial = value;
        }
        Ok(rest)
    }

    /// Deals with one complete value according to where it stands.
    fn hand_on(
        &mut self,
        value: &[u8],
        each: &mut dyn FnMut(Piece<'_>) -> Result<(), FormatError>,
    ) -> Result<(), FormatError> {
        match self.place {
            Place::InKey => {
                self.key = self.parse(value)?;
                self.place = Place::Colon;
            }
            Place::InElement => {
                each(Piece::Entry(value))?;
                self.place = Place::AfterElement;
            }
            _ => {
                self.take_member(value, each)?;
                self.place = Place::AfterValue;
            }
        }
        Ok(())
    }

    fn take_member(
        &mut self,
        value: &[u8],
        each: &mut dyn FnMut(Piece<'_>) -> Result<(), FormatError>,
    ) -> Result<(), FormatError> {
        if self.key.is("entries") {
            // Not a list, so only null is left.
            self.parse::<()>(value)?;
            return self.take_entries_key();
        }
        match self.stream {
            Some(expected) if self.key.is("stream") => {
                let found = self.parse::<Option<Text>>(value)?.unwrap_or_default().into_string();
                if found != expected {
                    let found = found.chars().take(80).collect();
                    return Err(FormatError::WrongStream {
                        what: self.what,
                        expected,
                        found,
                    });
                }
                self.stream_seen = true;
                Ok(())
            }
            _ => each(Piece::Member(&self.key, value)),
        }
    }

    fn take_entries_key(&mut self) -> Result<(), FormatError> {
        if std::mem::replace(&mut self.entries_seen, true) {
            return Err(FormatError::EntriesTwice { what: self.what });
        }
        Ok(())
    }

    fn parse<'a, T: serde::Deserialize<'a>>(&self, value: &'a [u8]) -> Result<T, FormatError> {
        parse(self.what, value)
    }
}

/// Parses one value; `what` names the structure in errors.
pub(crate) fn parse<'a, T: serde::Deserialize<'a>>(what: &'static str, value: &'a [u8]) -> Result<T, FormatError> {
    serde_json::from_slice(value).map_err(|source| FormatError::Json { what, source })
}

/// Looks for the end of one JSON value without understanding it.
#[derive(Clone, Copy, Debug, Default)]
struct ValueEnd {
    begun: bool,
    depth: usize,
    in_string: bool,
    escaped: bool,
}

impl ValueEnd {
    /// How many of `bytes` still belong to the value; `None` when its end is not among them.
    fn find(&mut self, bytes: &[u8]) -> Option<usize> {
        for (at, byte) in bytes.iter().enumerate() {
            if self.in_string {
                if self.escaped {
                    self.escaped = false;
                } else if *byte == b'\\' {
                    self.escaped = true;
                } else if *byte == b'"' {
                    self.in_string = false;
                    if self.depth == 0 {
                        return Some(at + 1);
                    }
                }
                continue;
            }
            match byte {
                // A number or a word has no end of its own.
                b',' | b':' | b']' | b'}' | b' ' | b'\t' | b'\n' | b'\r' if self.depth == 0 && self.begun => {
                    return Some(at);
                }
                b'"' => self.in_string = true,
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' => {
                    self.depth = self.depth.saturating_sub(1);
                    if self.depth == 0 {
                        return Some(at + 1);
                    }
                }
                _ => {}
            }
            self.begun = true;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Reads `json` in pieces of `step` bytes; gives entries and other members as text.
    fn read(json: &[u8], step: usize, limit: usize) -> Result<Vec<String>, FormatError> {
        let mut found = Vec::new();
        let mut reader = StreamReader::new("sample", Some("x"), limit);
        for bytes in json.chunks(step) {
            reader.push(bytes, &mut |piece| {
                found.push(match piece {
                    Piece::Entry(json) => String::from_utf8_lossy(json).into_owned(),
                    Piece::Member(key, json) => format!("{key:?}={}", String::from_utf8_lossy(json)),
                });
                Ok(())
            })?;
        }
        reader.finish().map(|()| found)
    }

    fn entries(json: &str) -> Result<Vec<String>, FormatError> {
        read(json.as_bytes(), json.len().max(1), 100)
    }

    #[test]
    fn members_come_in_any_order_and_spacing() {
        let found =
            entries(" {\t\"entries\" : [ 1 ,{\"a\":\"]}\\\"\"}, \"s\" , null,[[]]\n] , \"stream\":\"x\" } rest");
        assert_eq!(found.unwrap(), ["1", r#"{"a":"]}\""}"#, r#""s""#, "null", "[[]]"]);
        assert_eq!(entries(r#"{"Entries":null,"STREAM":"x"}"#).unwrap(), [""; 0]);
        assert_eq!(entries(r#"{"stream":"x","entries":[]}"#).unwrap(), [""; 0]);
        assert_eq!(entries(r#"{"stream":"x"}{"#).unwrap(), [""; 0]);
    }

    #[test]
    fn a_stream_must_say_what_it_is() {
        for json in [
            r#"{"entries":[]}"#,
            r#"{"stream":"y","entries":[]}"#,
            r#"{"stream":null}"#,
            "{}",
        ] {
            assert!(matches!(entries(json), Err(FormatError::WrongStream { .. })), "{json}");
        }
    }

    #[test]
    fn what_is_no_json_is_refused() {
        for json in [
            "",
            " ",
            "[]",
            "null",
            "{",
            r#"{"stream":"x""#,
            r#"{"stream":"x",}"#,
            r#"{"stream" "x"}"#,
            r#"{"stream":"x" "a":1}"#,
            r#"{"stream":"x","entries":[1,]}"#.trim_end_matches('}'),
            r#"{"stream":"x","entries":[1 2]}"#,
            r#"{,"stream":"x"}"#,
            r#"{"stream":"x","entries":7}"#,
            r#"{"stream":"x","entries":{}}"#,
            r#"{stream:"x"}"#,
            r#"{"stream":x}"#,
            r#"{"str"#,
        ] {
            assert!(entries(json).is_err(), "{json}");
        }
        assert!(matches!(
            entries(r#"{"stream":"x","entries":[],"entries":null}"#),
            Err(FormatError::EntriesTwice { .. })
        ));
    }

    #[test]
    fn a_value_beyond_the_limit_is_refused_however_it_arrives() {
        let json = br#"{"stream":"x","entries":["123456789"]}"#;
        for step in 1..json.len() {
            assert_eq!(read(json, step, 11).unwrap(), [r#""123456789""#]);
            assert!(matches!(
                read(json, step, 10),
                Err(FormatError::ValueTooLong { limit: 10, .. })
            ));
        }
    }

    proptest! {
        #[test]
        fn anything_is_read_or_refused_alike_however_it_is_cut(
            json in r#"[ {]{0,2}(("stream":"x"|"entries":\[|"a":1|[\[\]{},:"\\n1 ]),?){0,8}[\]} ]{0,3}"#,
            step in 1usize..9,
        ) {
            let whole = read(json.as_bytes(), json.len().max(1), 20);
            let cut = read(json.as_bytes(), step, 20);
            prop_assert_eq!(whole.ok(), cut.ok());
        }
    }
}
