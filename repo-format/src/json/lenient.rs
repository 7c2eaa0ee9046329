//! The forgiving room: reading JSON objects as Go does, where the case of a key is free and `null` changes nothing.

use std::borrow::Cow;
use std::fmt;

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};

use super::lossy_name;

/// Writes `Deserialize` for a struct with a default: members by key, the case of ASCII letters in it being free;
/// unknown keys are passed over, `null` leaves the default, and of two equal keys the later one counts.
///
/// `"key" => field: Type` reads a `Type`; `= function` afterwards turns it into the field. A field named at the end,
/// an [`UnknownMembers`](super::UnknownMembers), keeps the unknown members.
macro_rules! read_object {
    (
        $target:ty, $what:literal,
        { $($key:literal => $field:ident: $read:ty $(= $convert:expr)?),* $(,)? } $(, $unknown:ident)?
    ) => {
        impl<'de> serde::Deserialize<'de> for $target {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Object;
                impl<'de> serde::de::Visitor<'de> for Object {
                    type Value = $target;

                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str($what)
                    }

                    fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<$target, A::Error> {
                        let mut object = <$target>::default();
                        while let Some(key) = map.next_key::<$crate::json::lenient::Key<'_>>()? {
                            $(if key.is($key) {
                                if let Some(member) = map.next_value::<Option<$read>>()? {
                                    object.$field = read_object!(@convert member $($convert)?);
                                }
                                continue;
                            })*
                            read_object!(@unknown object, key, map $($unknown)?);
                        }
                        Ok(object)
                    }
                }
                deserializer.deserialize_map(Object)
            }
        }
    };
    (@unknown $object:ident, $key:ident, $map:ident) => { $map.next_value::<serde::de::IgnoredAny>()?; };
    (@unknown $object:ident, $key:ident, $map:ident $unknown:ident) => {
        $object.$unknown.keep($key.to_text(), $map.next_value()?);
    };
    (@convert $member:ident) => { $member };
    (@convert $member:ident $convert:expr) => { $convert($member) };
}
pub(crate) use read_object;

/// The key of a member, borrowed where the input allows it.
#[derive(Debug)]
pub(crate) struct Key<'de>(Cow<'de, [u8]>);

impl Key<'_> {
    /// Whether this is the key `key` to Go's decoder.
    pub(crate) fn is(&self, key: &str) -> bool {
        self.0.eq_ignore_ascii_case(key.as_bytes())
    }

    /// The key as text.
    pub(crate) fn to_text(&self) -> String {
        lossy_name(&self.0)
    }
}

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl<'de> Visitor<'de> for Bytes {
            type Value = Key<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }

            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Owned(bytes.into())))
            }

            fn visit_borrowed_bytes<E: Error>(self, bytes: &'de [u8]) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Borrowed(bytes)))
            }
        }
        deserializer.deserialize_bytes(Bytes)
    }
}

/// A string that may hold what is no Unicode text: each such byte is read as U+FFFD, as Go does.
#[derive(Debug, Default)]
pub(crate) struct Text(Vec<u8>);

impl Text {
    /// Whether this is the key `key` to Go's decoder.
    pub(crate) fn is(&self, key: &str) -> bool {
        self.0.eq_ignore_ascii_case(key.as_bytes())
    }

    /// The text as bytes.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// The text, or nothing when it is empty: Go's `omitempty` makes no difference between the two.
    pub(crate) fn non_empty(self) -> Option<String> {
        (!self.0.is_empty()).then(|| lossy_name(&self.0))
    }

    /// The text.
    pub(crate) fn into_string(self) -> String {
        String::from_utf8(self.0).unwrap_or_else(|error| lossy_name(error.as_bytes()))
    }

    fn new(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self(text.into()),
            Err(_) => Self(lossy_name(bytes).into_bytes()),
        }
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl Visitor<'_> for Bytes {
            type Value = Text;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Text, E> {
                Ok(Text(text.into()))
            }

            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Text, E> {
                Ok(Text::new(bytes))
            }
        }
        deserializer.deserialize_bytes(Bytes)
    }
}

/// A time of RFC 3339 with any offset from UTC.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Time(pub(crate) Timestamp);

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Text::deserialize(deserializer)?.into_string();
        match text.parse::<Timestamp>() {
            Ok(time) => Ok(Self(time)),
            // The last two days of the calendar are beyond our time type, but not worth losing a directory.
            Err(_) if text.starts_with("9999-12-3") && text.ends_with('Z') => Ok(Self(Timestamp::MAX)),
            Err(error) => Err(D::Error::custom(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, PartialEq)]
    struct Sample {
        name: String,
        size: u64,
    }
    read_object!(Sample, "a sample", {
        "name" => name: Text = Text::into_string,
        "size" => size: u64,
    });

    fn read(json: &[u8]) -> Result<Sample, serde_json::Error> {
        serde_json::from_slice(json)
    }

    fn sample(name: &str, size: u64) -> Sample {
        let name = name.into();
        Sample { name, size }
    }

    #[test]
    fn keys_may_be_in_any_case_and_unknown_or_null_ones_change_nothing() {
        assert_eq!(read(br#"{"NAME":"a","siZe":7,"else":[{}]}"#).unwrap(), sample("a", 7));
        assert_eq!(
            read(br#"{"name":"a","name":null,"size":1,"size":2}"#).unwrap(),
            sample("a", 2)
        );
        assert_eq!(read(b"{}").unwrap(), Sample::default());
    }

    #[test]
    fn text_that_is_no_unicode_is_read_as_go_reads_it() {
        assert_eq!(read(b"{\"name\":\"a\xff\"}").unwrap().name, "a\u{fffd}");
        assert!(read(br#"{"name":"a\ud800"}"#).unwrap().name.starts_with("a\u{fffd}"));
    }

    #[test]
    fn wrong_types_are_refused() {
        for json in [
            &br#"{"size":"1"}"#[..],
            br#"{"size":-1}"#,
            br#"{"size":1.5}"#,
            br#"{"name":1}"#,
            b"[]",
            b"null",
            b"",
        ] {
            assert!(read(json).is_err(), "{}", String::from_utf8_lossy(json));
        }
    }
}
