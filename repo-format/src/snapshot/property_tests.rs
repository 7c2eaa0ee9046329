//! The tumbling room: any directory survives being written and read, and no bytes make the readers panic.

use jiff::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::id::ObjectId;
use crate::json::lossy_name;

fn any_time() -> impl Strategy<Value = Timestamp> {
    prop_oneof![
        Just(Timestamp::UNIX_EPOCH),
        (-62_167_219_200i64..253_402_207_200, 0i32..1_000_000_000).prop_map(|(seconds, nanoseconds)| Timestamp::new(
            seconds,
            nanoseconds
        )
        .unwrap()),
    ]
}

fn any_object() -> impl Strategy<Value = ObjectId> {
    "I{0,2}[g-z]?([0-9a-f]{2}){1,32}".prop_map(|text| text.parse().unwrap())
}

prop_compose! {
    fn any_summary()(
        numbers: [u64; 6],
        max_time in any_time(),
        incomplete in prop::option::of("[a-z <&]{1,9}"),
        errors in prop::collection::vec(any::<(Vec<u8>, String)>(), 0..3),
    ) -> DirectorySummary {
        let [size, files, symlinks, dirs, num_failed, num_ignored_errors] = numbers;
        let errors = errors.into_iter().map(|(path, error)| EntryError { path, error: error.into() }).collect();
        DirectorySummary { size, files, symlinks, dirs, max_time, incomplete, num_failed, num_ignored_errors, errors }
    }
}

prop_compose! {
    fn any_entry()(
        name: Vec<u8>,
        kind in "[dfs]|[a-z]{0,4}",
        mode in 0u32..1 << 31,
        numbers: (u64, u32, u32),
        mtime in any_time(),
        object in prop::option::of(any_object()),
        summary in prop::option::of(any_summary()),
    ) -> DirEntry {
        let (size, uid, gid) = numbers;
        DirEntry { name, kind: kind.into(), mode: GoMode::new(mode), size, mtime, uid, gid, object, summary }
    }
}

/// What a reader gets for what was written.
fn as_seen(mut summary: DirectorySummary) -> DirectorySummary {
    for error in &mut summary.errors {
        error.path = lossy_name(&error.path).into_bytes();
    }
    summary
}

proptest! {
    #[test]
    fn directories_survive_a_round_trip(
        mut entries in prop::collection::vec(any_entry(), 0..8),
        summary in any_summary(),
        step in 1usize..400,
    ) {
        let key = |entry: &DirEntry| (entry.kind != EntryKind::Directory, entry.name.clone());
        entries.sort_by_key(key);
        entries.dedup_by_key(|entry| key(entry));
        let (mut writer, mut out) = (DirectoryWriter::new(), Vec::new());
        for entry in &entries {
            writer.push(entry, &mut out).unwrap();
        }
        writer.finish(&summary, &mut out).unwrap();

        let (mut reader, mut read) = (DirectoryReader::new(), Vec::new());
        for bytes in out.chunks(step) {
            reader.push(bytes, |entry| read.push(entry)).unwrap();
        }
        prop_assert_eq!(reader.finish().unwrap(), Some(as_seen(summary)));
        for entry in &mut entries {
            entry.name = lossy_name(&entry.name).into_bytes();
            entry.summary = entry.summary.take().map(as_seen);
        }
        prop_assert_eq!(read, entries);
    }

    #[test]
    fn snapshots_survive_a_round_trip(
        root in prop::option::of(any_entry()),
        texts: [String; 4],
        times in (any_time(), any_time()),
        tags in prop::collection::btree_map(any::<String>(), any::<String>(), 0..3),
        pins: Vec<String>,
        numbers: [u64; 4],
    ) {
        let [host, user_name, path, description] = texts;
        let manifest = SnapshotManifest {
            source: SourceInfo { host, user_name, path },
            description,
            start_time: times.0,
            end_time: times.1,
            stats: SnapshotStats { total_size: numbers[0], cached_files: numbers[1], dir_count: numbers[2], error_count: numbers[3],
                ..SnapshotStats::default() },
            root_entry: root,
            tags,
            pins,
            ..SnapshotManifest::default()
        };
        let read = SnapshotManifest::decode(&manifest.encode().unwrap()).unwrap();
        prop_assert_eq!(&read.source, &manifest.source);
        prop_assert_eq!(&read.description, &manifest.description);
        prop_assert_eq!((read.start_time, read.end_time, read.stats), (manifest.start_time, manifest.end_time, manifest.stats));
        prop_assert_eq!((&read.tags, &read.pins), (&manifest.tags, &manifest.pins));
        let as_seen = manifest.root_entry.map(|root| DirEntry {
            name: lossy_name(&root.name).into_bytes(),
            summary: root.summary.map(as_seen),
            ..root
        });
        prop_assert_eq!(read.root_entry, as_seen);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>, at: prop::sample::Index, byte: u8) {
        let _ = DirectoryReader::read_all(&bytes);
        let _ = SnapshotManifest::decode(&bytes);
        let golden = include_bytes!("../../golden/directory/errors.json");
        let mut damaged = golden.to_vec();
        damaged[at.index(golden.len())] = byte;
        let _ = DirectoryReader::read_all(&damaged);
    }

    #[test]
    fn sums_of_anything_never_overflow(entries in prop::collection::vec(any_entry(), 0..6), own in any_time()) {
        let mut builder = SummaryBuilder::new();
        entries.iter().for_each(|entry| builder.add(entry));
        let summary = builder.finish(own, None);
        prop_assert!(summary.errors.len() <= DirectorySummary::ERRORS_MAX);
        prop_assert!(entries.is_empty() || summary.max_time >= Timestamp::UNIX_EPOCH);
    }
}
