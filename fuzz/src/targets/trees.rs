//! The forest's trial: manifests, directories, snapshots.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use windlass_repo_format::manifest::{ManifestEntry, ManifestSet, decode_batch, encode_batch};
use windlass_repo_format::snapshot::{DirEntry, DirectoryReader, DirectorySummary, DirectoryWriter, SnapshotManifest};

use super::settles;
use crate::bytes::Tickets;

/// A snapshot as Kopia files it.
pub(super) const A_SNAPSHOT: &[u8] = br#"{"id":"","source":{"host":"h","userName":"u","path":"/a"},"description":"d","startTime":"2026-11-23T13:08:12.182634354Z","endTime":"2026-11-23T13:08:12.182918816Z","stats":{"totalSize":6,"excludedTotalSize":0,"fileCount":2,"cachedFiles":0,"nonCachedFiles":2,"dirCount":1,"excludedFileCount":0,"excludedDirCount":0,"ignoredErrorCount":0,"errorCount":0},"incomplete":"canceled","rootEntry":{"name":"a","type":"d","mode":"0755","mtime":"1960-01-01T00:00:00Z","uid":7,"obj":"k2633f6e3febfa3f54022df61942c2b78","summ":{"size":6,"files":2,"symlinks":0,"dirs":1,"maxTime":"1970-01-01T00:00:00Z","numFailed":1,"errors":[{"path":"p","error":"e"}]}},"tags":{"tag:k":"v"},"storageStats":{"newData":{}},"pins":["x"]}"#;
/// A batch of manifests before it is compressed, behind the byte that says so.
pub(super) const A_BATCH: &[u8] = b"\x01{\"entries\":[{\"id\":\"760d7c4c7dda2322e10c8879e5927cee\",\"labels\":{\"type\":\"policy\"},\"modified\":\"2026-11-23T13:08:12.182984874Z\",\"data\":{\"a\":[1,null,\"b\"]}},{\"id\":\"760d7c4c7dda2322e10c8879e5927cef\",\"labels\":null,\"modified\":\"2026-11-23T13:08:12Z\",\"deleted\":true,\"data\":null}]}\n";

/// No batch inflates beyond this here.
const BATCH_LEN_MAX: usize = 4 << 20;

/// A batch as it is stored, or its JSON.
pub(super) fn manifests(input: &[u8]) {
    let mut tickets = Tickets::new(input);
    let batch = match tickets.byte() % 2 {
        0 => tickets.rest().to_vec(),
        _ => {
            let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
            let written = gzip.write_all(tickets.rest()).and_then(|()| gzip.finish());
            written.expect("a vector takes everything")
        }
    };
    let Ok(entries) = decode_batch(&batch, BATCH_LEN_MAX) else {
        return;
    };
    settles(
        entries.clone(),
        |entries| encode_batch(entries),
        |bytes| decode_batch(bytes, usize::MAX),
    );
    let set = |entries: &mut dyn Iterator<Item = &ManifestEntry>| {
        let mut set = ManifestSet::new();
        entries.for_each(|entry| set.add(entry.clone()));
        set.live().map(|entry| entry.id).collect::<Vec<_>>()
    };
    let mut times: Vec<_> = entries.iter().map(|entry| (entry.id, entry.modified)).collect();
    times.sort();
    if times.windows(2).all(|pair| pair[0] != pair[1]) {
        // Where no two changes of one manifest bear the same time, the order in which they are met says nothing.
        assert_eq!(set(&mut entries.iter()), set(&mut entries.iter().rev()));
    }
    for entry in &entries {
        let _ = (
            entry.kind(),
            SnapshotManifest::decode(entry.data_json().as_bytes()).map(drop),
        );
    }
}

type Listed = (Vec<DirEntry>, Option<DirectorySummary>);

/// A directory, read at once and in pieces.
pub(super) fn directory(input: &[u8]) {
    let mut tickets = Tickets::new(input);
    let cut = usize::from(tickets.byte()) + 1;
    let json = tickets.rest();
    let whole = DirectoryReader::read_all(json);
    let mut entries = Vec::new();
    let mut reader = DirectoryReader::new();
    let pieces = json
        .chunks(cut)
        .try_for_each(|piece| reader.push(piece, |entry| entries.push(entry)));
    let in_pieces = pieces.and_then(|()| reader.finish()).map(|summary| (entries, summary));
    assert_eq!(whole.is_ok(), in_pieces.is_ok(), "{whole:?}\n{in_pieces:?}");
    let (Ok(whole), Ok(in_pieces)) = (whole, in_pieces) else {
        return;
    };
    assert_eq!(whole, in_pieces, "where it was cut says nothing");
    if whole.1.is_none() || write(&whole).is_none() {
        return; // times that cannot be written
    }
    settles(
        whole,
        |listed| write(listed).expect("it could be written before"),
        DirectoryReader::read_all,
    );
}

fn write((entries, summary): &Listed) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut writer = DirectoryWriter::new();
    for entry in entries {
        writer.push_behind(entry, &mut out).ok()?;
    }
    writer.finish(summary.as_ref()?, &mut out).ok()?;
    Some(out)
}

/// What a snapshot says of itself.
pub(super) fn snapshot_manifest(input: &[u8]) {
    let Ok(manifest) = SnapshotManifest::decode(input) else {
        return;
    };
    let _ = manifest.labels();
    if manifest.encode().is_ok() {
        settles(
            manifest,
            |manifest| manifest.encode().expect("it could be encoded before"),
            SnapshotManifest::decode,
        );
    }
}
