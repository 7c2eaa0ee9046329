//! The comparing desk: directories and snapshots as the real Kopia wrote them, against what we read and write.

use jiff::Timestamp;

use super::*;
use crate::json::lossy_name;
use crate::manifest::decode_batch;
use crate::{FormatError, json};

const ODD: &[u8] = include_bytes!("../../golden/directory/odd.json");
const NAMES: &[u8] = include_bytes!("../../golden/directory/names.json");
const NAMES_HEX: &str = include_str!("../../golden/directory/names.hex");
const EMPTY: &[u8] = include_bytes!("../../golden/directory/empty.json");
const FULL_1960: &[u8] = include_bytes!("../../golden/directory/dir-full-1960.json");
const STDIN: &[u8] = include_bytes!("../../golden/directory/stdin.json");
const ERRORS: &[u8] = include_bytes!("../../golden/directory/errors.json");
const IGNORED: &[u8] = include_bytes!("../../golden/directory/ignored.json");
const MANY: &[u8] = include_bytes!("../../golden/directory/many.json");
const ALL: [&[u8]; 8] = [ODD, NAMES, EMPTY, FULL_1960, STDIN, ERRORS, IGNORED, MANY];

/// Reads a golden directory and puts back the raw bytes that its writer had: of names from the table, of the one file
/// of a bad name that gave an error from the recipe.
fn read_raw(golden: &[u8]) -> (Vec<DirEntry>, DirectorySummary) {
    let (mut entries, summary) = DirectoryReader::read_all(golden).unwrap();
    if golden == NAMES {
        let raw: Vec<Vec<u8>> = NAMES_HEX.lines().map(|line| hex::decode(line).unwrap()).collect();
        assert_eq!(raw.len(), entries.len());
        for (entry, raw) in entries.iter_mut().zip(raw) {
            assert_eq!(lossy_name(&raw).into_bytes(), entry.name);
            entry.name = raw;
        }
    }
    let mut summary = summary.unwrap();
    for error in &mut summary.errors {
        for text in [&mut error.path, &mut error.error] {
            while let Some(at) = text.windows(3).position(|bytes| bytes == "\u{fffd}".as_bytes()) {
                text.splice(at..at + 3, [0xff]);
            }
        }
    }
    (entries, summary)
}

fn write(entries: &[DirEntry], summary: &DirectorySummary) -> Result<Vec<u8>, FormatError> {
    let (mut writer, mut out) = (DirectoryWriter::new(), Vec::new());
    for entry in entries {
        writer.push(entry, &mut out)?;
    }
    writer.finish(summary, &mut out)?;
    Ok(out)
}

#[test]
fn directories_are_byte_for_byte_what_kopia_wrote() {
    for golden in ALL {
        let (entries, summary) = read_raw(golden);
        let ours = write(&entries, &summary).unwrap();
        assert_eq!(String::from_utf8_lossy(&ours), String::from_utf8_lossy(golden));
    }
}

#[test]
fn summaries_add_up_to_what_kopia_counted() {
    for golden in ALL {
        let (entries, expected) = read_raw(golden);
        let mut builder = SummaryBuilder::keeping(usize::MAX);
        for entry in entries.iter().rev() {
            builder.add(entry);
        }
        let of_children = builder.clone().finish(Timestamp::UNIX_EPOCH, None).errors;
        for error in expected
            .errors
            .iter()
            .rev()
            .filter(|error| !of_children.contains(error))
        {
            builder.add_failed(&error.path[..], &error.error[..], golden == IGNORED);
        }
        // Only where nothing is stored does a directory's own time count; there the golden summary shows it.
        let own_mtime = if entries.is_empty() {
            expected.max_time
        } else {
            Timestamp::MAX
        };
        assert_eq!(builder.finish(own_mtime, None), expected);
    }
}

#[test]
fn a_summary_of_ours_tells_of_the_first_ten_errors() {
    let (_, all) = read_raw(MANY);
    assert_eq!(all.errors.len(), 12);
    let mut builder = SummaryBuilder::new();
    for error in all.errors.iter().rev() {
        builder.add_failed(&error.path[..], &error.error[..], false);
    }
    let summary = builder.finish(all.max_time, Some("canceled".into()));
    assert_eq!(summary.num_failed, 12);
    assert_eq!(summary.errors, all.errors[..10]);
    assert_eq!(summary.incomplete.as_deref(), Some("canceled"));
}

#[test]
fn odd_attributes_are_understood() {
    let (entries, _) = DirectoryReader::read_all(ODD).unwrap();
    let entry = |name: &str| entries.iter().find(|entry| entry.name == name.as_bytes()).unwrap();
    assert_eq!(entry("mode-000").mode, GoMode::default());
    assert_eq!(entry("mode-7777").mode.to_unix(), 0o7777);
    assert_eq!(entry("mtime-1970").mtime, Timestamp::UNIX_EPOCH);
    assert_eq!(entry("mtime-1969-odd").mtime, Timestamp::new(0, -1).unwrap());
    assert_eq!(entry("owner-largest").uid, u32::MAX - 1);
    assert_eq!(entry("empty-file").size, 0);
    assert_eq!(
        (entry("link").kind.clone(), entry("link").size),
        (EntryKind::Symlink, 8)
    );
    let full = entry("dir-full-1960");
    assert_eq!((full.shown_size(), full.shown_mtime()), (6, Timestamp::UNIX_EPOCH));
    assert_eq!(full.mtime.to_string(), "1960-01-01T00:00:00Z");
    assert_eq!(entry("hard-link").object, entry("one-byte").object);
}

macro_rules! batches {
    ($($name:literal),*) => { [$(($name, &include_bytes!(concat!("../../golden/manifest/snapshot-", $name, ".gz"))[..])),*] };
}

/// The snapshots in the golden batches, by the name of the file, with the JSON that Kopia wrote.
fn snapshots() -> Vec<(&'static str, SnapshotManifest, String)> {
    let batches = batches![
        "dir-full-1960-root",
        "empty-root",
        "errors-nobody",
        "ignored-nobody",
        "limited-nobody",
        "many-nobody",
        "mtime-odd-root",
        "names-root",
        "odd-root",
        "pipe-root"
    ];
    let mut found = Vec::new();
    for (name, batch) in batches {
        for entry in decode_batch(batch, 1 << 20).unwrap() {
            if entry.kind() == Some("snapshot") {
                let manifest = SnapshotManifest::decode(entry.data_json().as_bytes()).unwrap();
                assert_eq!(manifest.labels().unwrap(), entry.labels, "{name}");
                found.push((name, manifest, entry.data_json().to_owned()));
            }
        }
    }
    assert_eq!(found.len(), batches.len());
    found
}

#[test]
fn snapshots_are_byte_for_byte_what_kopia_wrote() {
    for (name, mut manifest, golden) in snapshots() {
        if let Some(summary) = manifest.root_entry.as_mut().and_then(|root| root.summary.as_mut()) {
            // The bytes that were lost: see `read_raw`.
            if ["errors-nobody", "ignored-nobody"].contains(&name) {
                let raw = if name == "errors-nobody" { ERRORS } else { IGNORED };
                summary.errors = read_raw(raw).1.errors;
            }
        }
        assert_eq!(String::from_utf8(manifest.encode().unwrap()).unwrap(), golden, "{name}");
        assert_eq!(
            String::from_utf8(json::to_vec(&manifest).unwrap()).unwrap(),
            golden,
            "{name}"
        );
    }
}

#[test]
fn what_is_special_about_a_snapshot_is_understood() {
    let snapshots = snapshots();
    let manifest = |name| &snapshots.iter().find(|(found, ..)| *found == name).unwrap().1;
    let single = manifest("mtime-odd-root");
    assert_eq!(single.pins, ["keep"]);
    assert_eq!(single.tags["tag:note"], "<&>");
    let root = single.root_entry.as_ref().unwrap();
    assert_eq!((&root.kind, root.summary.as_ref().unwrap().dirs), (&EntryKind::File, 0));
    assert_eq!(manifest("limited-nobody").incomplete.as_deref(), Some("limit reached"));
    assert_eq!(manifest("errors-nobody").stats.error_count, 6);
    let stream = manifest("pipe-root").root_entry.as_ref().unwrap();
    let zero_time: Timestamp = "0001-01-01T00:00:00Z".parse().unwrap();
    assert_eq!(stream.mtime.to_string(), "1754-08-30T22:43:41.128654848Z");
    assert!(
        same_time(stream.mtime, zero_time),
        "1754 is how Kopia's 64 bits hold the year 1"
    );
    assert!(!same_time(stream.mtime, Timestamp::UNIX_EPOCH));
}

#[test]
fn a_snapshot_that_kopia_would_refuse_gets_no_labels() {
    let (_, mut manifest, _) = snapshots().remove(0);
    manifest.tags.insert("username".into(), "x".into());
    assert!(matches!(manifest.labels(), Err(FormatError::ReservedTag { .. })));
    manifest.tags.clear();
    manifest.source.user_name.clear();
    assert!(matches!(
        manifest.labels(),
        Err(FormatError::EmptySource { field: "user" })
    ));
}

#[test]
fn a_snapshot_without_a_root_keeps_what_else_it_has() {
    let text = concat!(
        r#"{"ID":"x","Source":{"host":"h","username":"u","path":"/p"},"startTime":"0001-01-01T00:00:00Z","rootEntry":null,"#,
        r#""tags":{"a":null},"pins":null,"storageStats":{ "newData": {"objectBytes": 5} },"stats":null,"else":1}"#
    );
    let manifest = SnapshotManifest::decode(text.as_bytes()).unwrap();
    assert_eq!((&manifest.root_entry, manifest.source.user_name.as_str()), (&None, "u"));
    assert_eq!(manifest.tags["a"], "");
    let written = String::from_utf8(manifest.encode().unwrap()).unwrap();
    assert!(written.contains(r#""rootEntry":null,"tags":{"a":""},"storageStats":{"newData":{"objectBytes":5}}}"#));
}

#[test]
fn entries_out_of_order_are_refused() {
    let (entries, summary) = read_raw(ODD);
    for at in 1..entries.len() {
        let mut swapped = entries.clone();
        swapped.swap(at - 1, at);
        assert!(matches!(
            write(&swapped, &summary),
            Err(FormatError::EntryOutOfOrder { .. })
        ));
    }
    let twice = [entries[0].clone(), entries[0].clone()];
    assert!(matches!(
        write(&twice, &summary),
        Err(FormatError::EntryOutOfOrder { .. })
    ));
}

#[test]
fn unfinished_files_come_behind_all_others() {
    let (entries, summary) = read_raw(ODD);
    let unfinished = |name: &str| DirEntry {
        name: name.into(),
        ..entries.last().unwrap().clone()
    };
    let (mut writer, mut out) = (DirectoryWriter::new(), Vec::new());
    for entry in &entries {
        writer.push(entry, &mut out).unwrap();
    }
    for name in ["b", "a"] {
        writer.push_behind(&unfinished(name), &mut out).unwrap();
    }
    let before = out.len();
    let late = writer.push(&unfinished("zzzz"), &mut out);
    assert!(matches!(late, Err(FormatError::EntryOutOfOrder { .. })));
    assert_eq!(out.len(), before);
    writer.finish(&summary, &mut out).unwrap();
    let (read, _) = DirectoryReader::read_all(&out).unwrap();
    let names: Vec<&[u8]> = read.iter().rev().take(2).map(|entry| entry.name.as_slice()).collect();
    assert_eq!(names, [b"a", b"b"]);
    assert_eq!(read.len(), entries.len() + 2);
}

#[test]
fn an_entry_that_cannot_be_written_can_be_left_out() {
    let (mut entries, summary) = read_raw(FULL_1960);
    let (mut writer, mut out) = (DirectoryWriter::new(), Vec::new());
    for name in ["Z", "_", "c"] {
        let hopeless = DirEntry {
            name: name.into(),
            mtime: Timestamp::MIN,
            ..entries[0].clone()
        };
        if name == "c" {
            for entry in entries.drain(..) {
                writer.push(&entry, &mut out).unwrap();
            }
        }
        assert!(matches!(
            writer.push(&hopeless, &mut out),
            Err(FormatError::TimeNotWritable { .. })
        ));
    }
    writer.finish(&summary, &mut out).unwrap();
    assert_eq!(out, FULL_1960);
}

#[test]
fn a_damaged_directory_is_refused() {
    for golden in ALL {
        let step = golden.len() / 500 + 1;
        for end in (0..golden.len() - 1).step_by(step) {
            assert!(DirectoryReader::read_all(&golden[..end]).is_err(), "cut at {end}");
        }
    }
    let twin = |from: &str, to: &str| {
        let text = std::str::from_utf8(FULL_1960).unwrap();
        assert!(text.contains(from));
        DirectoryReader::read_all(text.replacen(from, to, 1).as_bytes())
    };
    assert!(matches!(
        twin("kopia:directory", "kopia:indirect"),
        Err(FormatError::WrongStream { .. })
    ));
    for (from, to) in [
        (r#""mode":"0644""#, r#""mode":"0844""#),
        (r#""obj":""#, r#""obj":"?"#),
        ("1960-01-01", "1960-13-01"),
        (r#""size":3"#, r#""size":-3"#),
        (r#"{"name":"a","#, r#"null,{"#),
        (r#""files":2"#, r#""files":"2""#),
    ] {
        assert!(matches!(twin(from, to), Err(FormatError::Json { .. })), "{to}");
    }
    let (entries, _) = twin(r#""type":"f""#, r#""type":"q","new":[{}]"#).unwrap();
    assert_eq!(entries[0].kind, EntryKind::Unknown("q".into()));
}

#[test]
fn members_of_a_directory_may_come_in_any_order() {
    let text = concat!(
        r#"{"summary":{"size":1,"FILES":2,"errors":null},"Entries":[{"obj":"","name":"a","type":"f"}],"extra":{"a":[]},"#,
        "\"stream\":\"kopia:directory\"} trailing }"
    );
    let (entries, summary) = DirectoryReader::read_all(text.as_bytes()).unwrap();
    assert_eq!((summary.unwrap().files, entries[0].object), (2, None));
    let bare = DirectoryReader::read_all(br#"{"stream":"kopia:directory","entries":[],"summary":null}"#).unwrap();
    assert_eq!(bare, (vec![], None));
}

#[test]
fn a_directory_gives_the_same_entries_wherever_it_is_cut() {
    for golden in [ODD, ERRORS, EMPTY] {
        let expected = DirectoryReader::read_all(golden).unwrap();
        for at in 0..golden.len() {
            let (mut reader, mut entries) = (DirectoryReader::new(), Vec::new());
            for bytes in [&golden[..at], &golden[at..]] {
                reader.push(bytes, |entry| entries.push(entry)).unwrap();
            }
            assert_eq!((entries, reader.finish().unwrap()), expected);
        }
    }
}
