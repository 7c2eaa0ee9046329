//! The session room: what one run of a writer is called, and the marker that keeps its packs from being collected.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::FormatError;
use crate::id::BlobId;

/// The name of one run of a writer; all its packs and index blobs carry it after a dash. Cheap to clone.
///
/// Kopia writes `s`, 16 random hexadecimal digits, and the number of 30-day spans since the year 2000 in hexadecimal.
/// A name that was read may be anything that begins with `s` and holds no dash.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(Arc<str>);

impl SessionId {
    /// The prefix of the names of session markers.
    pub const MARKER_PREFIX: &'static str = "s";
    const COUNTED_FROM_SECOND: i64 = 946_684_800; // 2000-01-01T00:00:00Z
    const SPAN_SECONDS: i64 = 30 * 24 * 60 * 60;

    /// A new session. `random` is what makes it the only one of its name.
    pub fn new(random: [u8; 8], now: Timestamp) -> Self {
        let spans = (now.as_second() - Self::COUNTED_FROM_SECOND).max(0) / Self::SPAN_SECONDS;
        Self(format!("s{}{spans:x}", hex::encode(random)).into())
    }

    /// The session in the name of a pack, an index blob or a session marker; `None` when the name carries none.
    pub fn of_blob(blob: &BlobId) -> Option<Self> {
        blob.as_str().split('-').skip(1).find_map(|part| part.parse().ok())
    }

    /// The whole name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SessionId {
    type Err = FormatError;

    fn from_str(text: &str) -> Result<Self, FormatError> {
        if !text.starts_with('s') || text.contains('-') {
            return Err(FormatError::BadSessionId {
                found: text.chars().take(80).collect(),
            });
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for SessionId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for SessionId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The content of a session marker, blob `s<hash>-<session>`: written before the first pack of a session, deleted after
/// its index blobs. Garbage collection spares the packs of a session until four days after its last checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct SessionMarker {
    /// The session.
    pub id: SessionId,
    /// When it began.
    #[serde(rename = "startTime")]
    pub start_time: Timestamp,
    /// When it last said that it is alive.
    #[serde(rename = "checkpointTime")]
    pub checkpoint_time: Timestamp,
    /// Who runs it.
    #[serde(default)]
    pub username: String,
    /// Where it runs.
    #[serde(default)]
    pub hostname: String,
}

impl SessionMarker {
    /// Reads the plain JSON.
    pub fn parse(json: &[u8]) -> Result<Self, FormatError> {
        serde_json::from_slice(json).map_err(|source| FormatError::Json {
            what: "a session marker",
            source,
        })
    }

    /// The plain JSON.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a struct of strings and times is always JSON")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_session_ends_in_spans_of_thirty_days() {
        let at = |time: &str| SessionId::new([0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef], time.parse().unwrap());
        assert_eq!(at("2026-11-23T13:19:00Z").to_string(), "s0123456789abcdef147");
        assert_eq!(at("2000-01-30T23:59:59Z").to_string(), "s0123456789abcdef0");
        assert_eq!(at("2000-01-31T00:00:00Z").to_string(), "s0123456789abcdef1");
        assert_eq!(at("1990-01-01T00:00:00Z").to_string(), "s0123456789abcdef0");
    }

    #[test]
    fn the_session_is_found_in_the_names_of_its_blobs() {
        let session = |name: &str| SessionId::of_blob(&BlobId::from(name)).map(|id| id.to_string());
        assert_eq!(session("p0011-s22").as_deref(), Some("s22"));
        assert_eq!(session("s0011-s22").as_deref(), Some("s22"));
        assert_eq!(session("xn0_0011-s22-c1").as_deref(), Some("s22"));
        assert_eq!(session("xn0_0011-c1-s22").as_deref(), Some("s22"));
        for name in ["", "s0011", "p0011", "p0011-", "xn0_0011-c1"] {
            assert_eq!(session(name), None, "{name}");
        }
    }

    #[test]
    fn what_is_no_session_is_refused() {
        for name in ["", "x12", "s1-2"] {
            assert!(name.parse::<SessionId>().is_err(), "{name}");
        }
        for json in [
            "",
            "{}",
            r#"{"id":"x","startTime":"2026-01-01T00:00:00Z","checkpointTime":"2026-01-01T00:00:00Z"}"#,
            r#"{"id":"s1","startTime":"soon","checkpointTime":"2026-01-01T00:00:00Z"}"#,
        ] {
            let error = SessionMarker::parse(json.as_bytes()).unwrap_err();
            assert!(matches!(error, FormatError::Json { .. }), "{json}");
        }
    }

    proptest! {
        #[test]
        fn markers_survive_a_round_trip(
            random: [u8; 8],
            seconds in 0i64..4_000_000_000,
            nanoseconds in 0i32..1_000_000_000,
            username: String,
            hostname: String,
        ) {
            let now = Timestamp::new(seconds, nanoseconds).unwrap();
            let id = SessionId::new(random, now);
            let marker = SessionMarker { id, start_time: now, checkpoint_time: now, username, hostname };
            prop_assert_eq!(SessionMarker::parse(&marker.to_json()).unwrap(), marker);
        }
    }
}
