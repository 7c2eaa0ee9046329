//! The manifest room: small labelled records, stored in batches, of which the latest of each name counts.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::io::{BufRead, BufReader, Write};
use std::str::FromStr;

use flate2::Compression;
use flate2::bufread::GzDecoder;
use flate2::write::GzEncoder;
use jiff::Timestamp;
use serde_json::value::RawValue;

use crate::FormatError;
use crate::json::lenient::{Time, read_object};
use crate::json::stream::{Piece, StreamReader, parse};
use crate::json::{self, write_time};

const WHAT: &str = "batch of manifests";

/// The name of a manifest: 16 random bytes, 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ManifestId([u8; 16]);

impl ManifestId {
    /// A name from bytes that the caller drew at random.
    pub fn new(random: [u8; 16]) -> Self {
        Self(random)
    }
}

impl fmt::Display for ManifestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for ManifestId {
    type Err = FormatError;

    fn from_str(text: &str) -> Result<Self, FormatError> {
        let mut id = [0; 16];
        match hex::decode_to_slice(text, &mut id) {
            Ok(()) if !text.bytes().any(|byte| byte.is_ascii_uppercase()) => Ok(Self(id)),
            _ => Err(FormatError::BadManifestId {
                found: text.chars().take(80).collect(),
            }),
        }
    }
}

/// One manifest: what it is about in labels, and any JSON as its data.
///
/// | key        | field      | meaning                                                    |
/// |------------|------------|------------------------------------------------------------|
/// | `id`       | `id`       | 32 hexadecimal digits                                      |
/// | `labels`   | `labels`   | strings by key, sorted; `null` in a deletion               |
/// | `modified` | `modified` | RFC 3339; of several entries with one id the latest counts |
/// | `deleted`  | `deleted`  | left out when false                                        |
/// | `data`     | `data`     | any JSON; `null` in a deletion                             |
#[derive(Clone, Debug)]
pub struct ManifestEntry {
    /// The name.
    pub id: ManifestId,
    /// What the manifest is found by; `type` is among them unless it is a deletion.
    pub labels: BTreeMap<String, String>,
    /// When it was written.
    pub modified: Timestamp,
    /// Whether this entry says that the manifest is gone.
    pub deleted: bool,
    /// The data as JSON; `None` stands for `null`.
    pub data: Option<Box<RawValue>>,
}

impl ManifestEntry {
    /// The entry that deletes the manifest `id`; `modified` must be later than that of every entry to be deleted.
    pub fn deletion(id: ManifestId, modified: Timestamp) -> Self {
        Self {
            id,
            labels: BTreeMap::new(),
            modified,
            deleted: true,
            data: None,
        }
    }

    /// The label `type`: `snapshot`, `policy`, `maintenance` and so on.
    pub fn kind(&self) -> Option<&str> {
        self.labels.get("type").map(String::as_str)
    }

    /// The data as JSON text.
    pub fn data_json(&self) -> &str {
        self.data.as_deref().map_or("null", RawValue::get)
    }

    /// Whether every one of these labels has exactly this value.
    pub fn has_labels(&self, labels: &BTreeMap<String, String>) -> bool {
        labels.iter().all(|(key, value)| self.labels.get(key) == Some(value))
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(br#"{"id":""#);
        out.extend_from_slice(self.id.to_string().as_bytes());
        out.extend_from_slice(br#"","labels":"#);
        if self.deleted && self.labels.is_empty() {
            out.extend_from_slice(b"null");
        } else {
            out.extend(json::to_vec(&self.labels).expect("a map from strings to strings is JSON"));
        }
        out.extend_from_slice(br#","modified":"#);
        // No clock of a repository stands before the year 0; such a time means "before everything".
        let start = Timestamp::from_second(json::YEAR_ZERO_SECONDS).expect("the year 0 is within the calendar");
        write_time(self.modified.max(start), out).expect("the time is not before the year 0");
        if self.deleted {
            out.extend_from_slice(br#","deleted":true"#);
        }
        out.extend_from_slice(br#","data":"#);
        out.extend_from_slice(&json::compact(self.data_json()));
        out.push(b'}');
    }

    /// What decides between two entries of one id: the later time; at the same time a deletion; then the text, so that
    /// the order in which batches are read makes no difference.
    fn rank(&self) -> (Timestamp, bool, &str) {
        (self.modified, self.deleted, self.data_json())
    }
}

impl PartialEq for ManifestEntry {
    fn eq(&self, other: &Self) -> bool {
        (self.id, &self.labels) == (other.id, &other.labels) && self.rank() == other.rank()
    }
}

/// An entry as it is read, before it is known to have an id.
#[derive(Default)]
struct ReadEntry {
    id: String,
    labels: BTreeMap<String, String>,
    modified: Option<Time>,
    deleted: bool,
    data: Option<Box<RawValue>>,
}
read_object!(ReadEntry, "a manifest", {
    "id" => id: String,
    "labels" => labels: BTreeMap<String, Option<String>> =
        |labels: BTreeMap<String, Option<String>>| labels.into_iter().map(|(key, value)| (key, value.unwrap_or_default())).collect(),
    "modified" => modified: Time = Some,
    "deleted" => deleted: bool,
    "data" => data: Box<RawValue> = Some,
});

impl TryFrom<ReadEntry> for ManifestEntry {
    type Error = FormatError;

    fn try_from(read: ReadEntry) -> Result<Self, FormatError> {
        Ok(Self {
            id: read.id.parse()?,
            labels: read.labels,
            modified: read.modified.map_or(Timestamp::MIN, |time| time.0),
            deleted: read.deleted,
            data: read.data,
        })
    }
}

/// A batch of manifests: the plain bytes of a content with the prefix `m`, which are a gzip stream of JSON and a newline.
pub fn encode_batch(entries: &[ManifestEntry]) -> Vec<u8> {
    let mut text = br#"{"entries":["#.to_vec();
    for (index, entry) in entries.iter().enumerate() {
        if index > 0 {
            text.push(b',');
        }
        entry.write(&mut text);
    }
    text.extend_from_slice(b"]}\n");
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(&text)
        .and_then(|()| gzip.finish())
        .expect("a byte vector takes everything")
}

/// Reads a batch of manifests: every entry, deletions included. At most `limit` bytes are inflated.
///
/// As Kopia does, takes only the member `entries`, refuses it twice, and ignores what follows the object.
///
/// # Errors
/// When the bytes are no gzip stream of such JSON, or inflate to more than `limit` bytes.
pub fn decode_batch(bytes: &[u8], limit: usize) -> Result<Vec<ManifestEntry>, FormatError> {
    let mut entries = Vec::new();
    let mut stream = StreamReader::new(WHAT, None, limit);
    let mut inflated = BufReader::new(GzDecoder::new(bytes));
    let mut total = 0;
    loop {
        let piece = inflated
            .fill_buf()
            .map_err(|source| FormatError::ManifestGzip { source })?;
        let len = piece.len();
        if len == 0 {
            break;
        }
        total += len;
        if total > limit {
            return Err(FormatError::ManifestBatchTooLong { limit });
        }
        stream.push(piece, &mut |piece| match piece {
            Piece::Entry(json) => {
                entries.push(parse::<ReadEntry>(WHAT, json)?.try_into()?);
                Ok(())
            }
            Piece::Member(_, json) => parse::<serde::de::IgnoredAny>(WHAT, json).map(|_| ()),
        })?;
        inflated.consume(len);
    }
    stream.finish()?;
    Ok(entries)
}

/// All manifests of a repository: of the entries with one id, the latest.
#[derive(Clone, Debug, Default)]
pub struct ManifestSet {
    latest: BTreeMap<ManifestId, ManifestEntry>,
}

impl ManifestSet {
    /// A set of no manifests.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes one entry; it counts unless a later one of the same id is known.
    pub fn add(&mut self, entry: ManifestEntry) {
        match self.latest.entry(entry.id) {
            Entry::Vacant(place) => {
                place.insert(entry);
            }
            Entry::Occupied(mut place) => {
                if place.get().rank() < entry.rank() {
                    place.insert(entry);
                }
            }
        }
    }

    /// The manifests that are there, by id.
    pub fn live(&self) -> impl Iterator<Item = &ManifestEntry> {
        self.latest.values().filter(|entry| !entry.deleted)
    }

    /// The manifest of this id, if it is there.
    pub fn by_id(&self, id: ManifestId) -> Option<&ManifestEntry> {
        self.latest.get(&id).filter(|entry| !entry.deleted)
    }

    /// The manifests that have all of these labels, the latest modified last.
    pub fn find(&self, labels: &BTreeMap<String, String>) -> Vec<&ManifestEntry> {
        let mut found: Vec<_> = self.live().filter(|entry| entry.has_labels(labels)).collect();
        found.sort_by_key(|entry| (entry.modified, entry.id));
        found
    }

    /// The one manifest of which there should be only one with these labels: the latest modified, then the largest id.
    pub fn singleton(&self, labels: &BTreeMap<String, String>) -> Option<&ManifestEntry> {
        self.find(labels).pop()
    }
}

impl Extend<ManifestEntry> for ManifestSet {
    fn extend<I: IntoIterator<Item = ManifestEntry>>(&mut self, entries: I) {
        entries.into_iter().for_each(|entry| self.add(entry));
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use proptest::prelude::*;

    use super::*;

    macro_rules! batches {
        ($($name:literal),* $(,)?) => { [$(($name, include_bytes!(concat!("../golden/manifest/", $name, ".gz")))),*] };
    }

    const BATCHES: [(&str, &[u8]); 15] = batches![
        "deletion-x-nobody",
        "policy-errors-nobody",
        "policy-global-nobody",
        "policy-global-root",
        "policy-ignored-nobody",
        "snapshot-dir-full-1960-root",
        "snapshot-empty-root",
        "snapshot-errors-nobody",
        "snapshot-ignored-nobody",
        "snapshot-limited-nobody",
        "snapshot-many-nobody",
        "snapshot-mtime-odd-root",
        "snapshot-names-root",
        "snapshot-odd-root",
        "snapshot-pipe-root",
    ];
    const LIMIT: usize = 1 << 20;

    fn inflate(bytes: &[u8]) -> String {
        let mut text = String::new();
        GzDecoder::new(bytes).read_to_string(&mut text).unwrap();
        text
    }

    fn gzip(text: &str) -> Vec<u8> {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(text.as_bytes()).unwrap();
        gzip.finish().unwrap()
    }

    fn read(text: &str) -> Result<Vec<ManifestEntry>, FormatError> {
        decode_batch(&gzip(text), LIMIT)
    }

    fn labels<const N: usize>(labels: [(&str, &str); N]) -> BTreeMap<String, String> {
        labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
    }

    fn entry(id: u8, second: i64, kind: &str) -> ManifestEntry {
        ManifestEntry {
            id: ManifestId::new([id; 16]),
            labels: labels([("type", kind)]),
            modified: Timestamp::from_second(second).unwrap(),
            deleted: false,
            data: Some(RawValue::from_string(format!("{second}")).unwrap()),
        }
    }

    #[test]
    fn batches_are_byte_for_byte_what_kopia_wrote() {
        for (name, golden) in BATCHES {
            let entries = decode_batch(golden, LIMIT).unwrap();
            assert_eq!(inflate(&encode_batch(&entries)), inflate(golden), "{name}");
        }
    }

    #[test]
    fn the_set_holds_what_kopia_would_list() {
        let all = || {
            BATCHES
                .iter()
                .flat_map(|(_, batch)| decode_batch(batch, LIMIT).unwrap())
        };
        let mut set = ManifestSet::new();
        set.extend(all());
        let deleted = all().find(|entry| entry.deleted).unwrap().id;
        assert_eq!(
            all().filter(|entry| entry.id == deleted).count(),
            2,
            "the snapshot and its deletion"
        );
        assert!(set.by_id(deleted).is_none());
        assert_eq!(set.find(&labels([("type", "snapshot")])).len(), 9);
        assert_eq!(set.live().count(), all().count() - 2);
        let mut backwards = ManifestSet::new();
        backwards.extend(all().collect::<Vec<_>>().into_iter().rev());
        assert!(set.live().eq(backwards.live()));
    }

    #[test]
    fn the_latest_of_an_id_counts_in_any_order() {
        let versions = [
            entry(1, 1, "a"),
            entry(1, 2, "b"),
            ManifestEntry::deletion(ManifestId::new([1; 16]), Timestamp::from_second(2).unwrap()),
        ];
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let mut set = ManifestSet::new();
            set.extend(order.map(|index| versions[index].clone()));
            assert_eq!(set.live().count(), 0, "{order:?}: of equal times, the deletion counts");
            set.add(entry(1, 3, "c"));
            assert_eq!(set.by_id(ManifestId::new([1; 16])).unwrap().kind(), Some("c"));
        }
    }

    #[test]
    fn of_several_singletons_the_latest_counts_then_the_largest_id() {
        let mut set = ManifestSet::new();
        set.extend([entry(9, 1, "p"), entry(2, 5, "p"), entry(3, 5, "p"), entry(4, 7, "q")]);
        let found: Vec<u8> = set
            .find(&labels([("type", "p")]))
            .iter()
            .map(|entry| entry.id.0[0])
            .collect();
        assert_eq!(found, [9, 2, 3]);
        assert_eq!(set.singleton(&labels([("type", "p")])).unwrap().id.0[0], 3);
        assert!(set.singleton(&labels([("type", "p"), ("path", "x")])).is_none());
    }

    #[test]
    fn the_quirks_of_the_decoder_are_kopias() {
        let one =
            r#"{"id":"00112233445566778899aabbccddeeff","labels":null,"modified":"2024-01-01T00:00:00Z","data":null}"#;
        assert_eq!(read(&format!(r#"{{"ENTRIES":[{one}]}} trailing"#)).unwrap().len(), 1);
        assert_eq!(read(r#"{"stream":7,"entries":[]}"#).unwrap(), []);
        assert_eq!(read("{}").unwrap(), []);
        assert!(matches!(
            read(&format!(r#"{{"entries":[{one}],"Entries":[]}}"#)),
            Err(FormatError::EntriesTwice { .. })
        ));
        assert!(matches!(
            read(r#"{"entries":[{"id":"xyz"}]}"#),
            Err(FormatError::BadManifestId { .. })
        ));
        assert!(matches!(
            read(&format!(r#"{{"entries":[{one}"#)),
            Err(FormatError::StreamCut { .. })
        ));
        assert!(matches!(read("[]"), Err(FormatError::StreamBroken { .. })));
    }

    #[test]
    fn a_damaged_batch_is_refused() {
        for (name, golden) in BATCHES {
            for end in 0..golden.len() {
                assert!(decode_batch(&golden[..end], LIMIT).is_err(), "{name} cut at {end}");
            }
        }
        let (_, golden) = BATCHES[0];
        for at in (0..golden.len()).filter(|at| !(4..10).contains(at)) {
            let mut damaged = golden.to_vec();
            damaged[at] ^= 0x40;
            // A flag of the header may be turned on without harm; the text is then the same.
            if let Ok(entries) = decode_batch(&damaged, LIMIT) {
                assert_eq!(entries, decode_batch(golden, LIMIT).unwrap(), "byte {at}");
            }
        }
    }

    #[test]
    fn a_batch_is_inflated_no_further_than_the_caller_allows() {
        let bomb = gzip(&" ".repeat(50 << 20));
        assert!(bomb.len() < LIMIT);
        assert!(matches!(
            decode_batch(&bomb, LIMIT),
            Err(FormatError::ManifestBatchTooLong { limit: LIMIT })
        ));
    }

    #[test]
    fn a_time_before_the_calendar_is_written_as_its_start() {
        let mut old = entry(1, 0, "a");
        old.modified = Timestamp::MIN;
        assert!(inflate(&encode_batch(&[old])).contains(r#""modified":"0000-01-01T00:00:00Z""#));
    }

    proptest! {
        #[test]
        fn batches_survive_a_round_trip(
            entries in prop::collection::vec(
                (any::<[u8; 16]>(), prop::collection::btree_map(any::<String>(), any::<String>(), 1..4), 0i64..1 << 33, any::<bool>(), any::<String>()),
                0..5,
            ),
        ) {
            let entries: Vec<ManifestEntry> = entries
                .into_iter()
                .map(|(id, labels, second, deleted, data)| ManifestEntry {
                    id: ManifestId::new(id),
                    labels,
                    modified: Timestamp::from_second(second).unwrap(),
                    deleted,
                    data: Some(RawValue::from_string(String::from_utf8(json::to_vec(&data).unwrap()).unwrap()).unwrap()),
                })
                .collect();
            prop_assert_eq!(decode_batch(&encode_batch(&entries), LIMIT).unwrap(), entries);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>, text in r#"\{"entries":\[[\[\]{}":,a-z0-9]{0,40}"#) {
            let _ = decode_batch(&bytes, LIMIT);
            let _ = read(&text);
        }

        #[test]
        fn ids_survive_a_round_trip(id: [u8; 16], text: String) {
            let id = ManifestId::new(id);
            prop_assert_eq!(id.to_string().parse::<ManifestId>().unwrap(), id);
            prop_assert!(text.parse::<ManifestId>().is_err() || text.len() == 32);
        }
    }
}
