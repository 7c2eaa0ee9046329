//! The proving room of the indexes: against files and listings of the real Kopia, against damage, and there and back.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::id::{BlobId, ContentHash, ContentPrefix};
use crate::quantity::{ContentLen, PackOffset};

/// Version 2 indexes of Kopia's with the length of their values.
const GOLDEN_V2: [(u16, &[u8]); 6] = [
    (16, include_bytes!("../../golden/index/v2-value16.bin")),
    (17, include_bytes!("../../golden/index/v2-value17.bin")),
    (19, include_bytes!("../../golden/index/v2-value19.bin")),
    (17, include_bytes!("../../golden/index/v2-markers.bin")),
    (17, include_bytes!("../../golden/index/v2-key29.bin")),
    (17, include_bytes!("../../golden/index/v2-key33.bin")),
];
const GOLDEN_V1: &[u8] = include_bytes!("../../golden/index/v1.bin");
const MERGED: [&[u8]; 8] = [
    include_bytes!("../../golden/index/merged/1.bin"),
    include_bytes!("../../golden/index/merged/2.bin"),
    include_bytes!("../../golden/index/merged/3.bin"),
    include_bytes!("../../golden/index/merged/4.bin"),
    include_bytes!("../../golden/index/merged/5.bin"),
    include_bytes!("../../golden/index/merged/6.bin"),
    include_bytes!("../../golden/index/merged/7.bin"),
    include_bytes!("../../golden/index/merged/8.bin"),
];

fn entries(index: &[u8]) -> Vec<IndexEntry> {
    Index::open(index).unwrap().iter().collect::<Result<_, _>>().unwrap()
}

/// What `kopia content list --json --deleted` says.
fn listed(json: &str) -> Vec<IndexEntry> {
    let listed: Vec<serde_json::Value> = serde_json::from_str(json).unwrap();
    let number = |content: &serde_json::Value, key: &str| content[key].as_u64().unwrap() as u32;
    let entry = |content: &serde_json::Value| IndexEntry {
        id: content["contentID"].as_str().unwrap().parse().unwrap(),
        pack: content["packFile"].as_str().unwrap().into(),
        offset: PackOffset::new(number(content, "packOffset")).unwrap(),
        packed_len: ContentLen::new(number(content, "length")).unwrap(),
        original_len: ContentLen::new(number(content, "originalLength")).unwrap(),
        compression: content["compression"].as_u64().unwrap_or(0) as u32,
        format_version: number(content, "formatVersion") as u8,
        timestamp: content["time"].as_i64().unwrap(),
        deleted: content["deleted"].as_bool().unwrap(),
    };
    listed.iter().map(entry).collect()
}

#[test]
fn header_is_byte_for_byte_what_kopia_wrote() {
    for (value_len, golden) in GOLDEN_V2 {
        let header = HeaderV2::decode(golden).unwrap();
        assert_eq!(header.encode(), golden[..HeaderV2::SIZE]);
        assert_eq!((header.value_len, header.base_timestamp), (value_len, 0));
    }
}

#[test]
fn an_index_is_written_again_byte_for_byte_as_kopia_wrote_it() {
    for (_, golden) in GOLDEN_V2.into_iter().chain(MERGED.map(|golden| (0, golden))) {
        assert_eq!(encode_v2(&entries(golden)).unwrap(), golden);
    }
}

#[test]
fn every_entry_of_kopias_is_found_by_its_content() {
    for (_, golden) in GOLDEN_V2.into_iter().chain([(20, GOLDEN_V1)]) {
        let index = Index::open(golden).unwrap();
        assert!(index.len() > 1);
        for (place, entry) in entries(golden).into_iter().enumerate() {
            assert_eq!(index.get(&entry.id).unwrap().unwrap(), entry);
            assert_eq!(index.entry(place).unwrap(), entry);
        }
        assert_eq!(
            index.get(&"00".repeat(index.key_len() - 1).parse().unwrap()).unwrap(),
            None
        );
        assert_eq!(
            index.get(&"00".parse().unwrap()).unwrap(),
            None,
            "a key of another length is not there"
        );
        assert!(index.entry(index.len()).is_err());
    }
}

#[test]
fn large_contents_of_kopias_have_all_their_bits() {
    let large = entries(GOLDEN_V2[2].1)
        .into_iter()
        .map(|entry| entry.original_len.bytes())
        .max();
    assert_eq!(large, Some(1 << 24));
}

#[test]
fn an_index_of_version_1_says_what_kopia_lists() {
    let kopia = listed(include_str!("../../golden/index/v1-contents.json"));
    assert_eq!(entries(GOLDEN_V1), kopia);
    assert!(kopia.iter().any(|entry| entry.deleted));
}

#[test]
fn all_indexes_together_say_what_kopia_lists() {
    let runs = MERGED.map(|run| Index::open(run).unwrap());
    let kopia = listed(include_str!("../../golden/index/merged/contents.json"));
    assert!(kopia.iter().any(|entry| entry.deleted));
    assert_eq!(together(&runs, None), kopia);
    for entry in kopia {
        assert_eq!(look_up(&runs, &entry.id, None).unwrap().unwrap(), entry);
    }
}

#[test]
fn the_active_indexes_of_a_version_1_repository_are_those_that_kopia_loads() {
    let log = legacy::CompactionLog::parse(include_bytes!("../../golden/index/v1-compaction-log.json")).unwrap();
    let lines = |text: &str| text.lines().map(BlobId::from).collect::<Vec<_>>();
    let blobs = lines(include_str!("../../golden/index/v1-blobs.txt"));
    let active = lines(include_str!("../../golden/index/v1-active.txt"));
    assert_eq!(legacy::active_index_blobs(blobs, &[log]), active);
}

/// Reads everything an index has to say; nothing may panic.
fn read_all(bytes: &[u8]) {
    let Ok(index) = Index::open(bytes) else { return };
    for entry in index.iter().flatten() {
        let _ = index.get(&entry.id);
    }
}

#[test]
fn an_index_that_is_cut_off_is_refused_or_names_the_entry() {
    for (_, golden) in GOLDEN_V2 {
        for len in 0..golden.len() {
            let cut = Index::open(&golden[..len]);
            let sound = cut.is_ok_and(|index| index.iter().all(|entry| entry.is_ok()));
            assert!(!sound, "{len} of {} bytes", golden.len());
        }
    }
    for len in 0..GOLDEN_V1.len() {
        read_all(&GOLDEN_V1[..len]);
    }
}

#[test]
fn counts_that_the_bytes_do_not_hold_are_refused() {
    let golden = GOLDEN_V2[0].1;
    for (field, at) in [
        ("key length", 1..2),
        ("value length", 2..4),
        ("entries", 4..8),
        ("packs", 8..12),
        ("formats", 12..13),
    ] {
        for value in [0x00, 0xff] {
            let mut damaged = golden.to_vec();
            damaged[at.clone()].fill(value);
            let sound =
                Index::open(damaged).is_ok_and(|index| !index.is_empty() && index.iter().all(|entry| entry.is_ok()));
            assert!(!sound, "{field} {value:#x}");
        }
    }
}

#[test]
fn entries_that_point_at_no_pack_or_format_are_named() {
    let golden = GOLDEN_V2[1].1;
    let key_len = usize::from(golden[1]);
    let second = HeaderV2::SIZE + key_len + 17 + key_len;
    for (field, at) in [("pack", second + 14), ("format", second + 16)] {
        let mut damaged = golden.to_vec();
        damaged[at] = 0xee;
        let index = Index::open(damaged).unwrap();
        assert!(index.entry(0).is_ok());
        let error = index.entry(1).unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("entry 1 of the index has the bad {field} ")),
            "{error}"
        );
    }
}

#[test]
fn an_unknown_encryption_key_is_refused() {
    let mut damaged = GOLDEN_V2[0].1.to_vec();
    let header = HeaderV2::decode(&damaged).unwrap();
    let stride = usize::from(header.key_len) + usize::from(header.value_len);
    let formats = HeaderV2::SIZE + stride * header.entry_count as usize + 5 * header.pack_count as usize;
    damaged[formats + 5] = 1;
    let error = Index::open(damaged).unwrap().entry(0).unwrap_err().to_string();
    assert_eq!(error, "entry 0 of the index has the bad encryption key 1");
}

#[test]
fn a_base_timestamp_is_added() {
    let mut shifted = GOLDEN_V2[0].1.to_vec();
    shifted[13..17].copy_from_slice(&1000u32.to_be_bytes());
    let plain = entries(GOLDEN_V2[0].1);
    let shifted = entries(&shifted);
    assert_eq!(shifted[0].timestamp, plain[0].timestamp + 1000);
}

#[test]
fn the_places_of_letters_are_where_the_letters_are() {
    for golden in GOLDEN_V2.iter().map(|(_, golden)| *golden).chain([GOLDEN_V1]) {
        let index = Index::open(golden).unwrap();
        let letters: Vec<u8> = entries(golden).iter().map(|entry| entry.id.as_key()[0]).collect();
        for first in 0..=u8::MAX {
            for last in [first, first.saturating_add(3), u8::MAX] {
                let wanted = letters.partition_point(|letter| *letter < first)
                    ..letters.partition_point(|letter| *letter <= last);
                assert_eq!(index.places_of(first..=last), wanted, "{first} to {last}");
            }
        }
    }
}

#[test]
fn entries_out_of_order_are_told() {
    let mut swapped = GOLDEN_V2[0].1.to_vec();
    let header = HeaderV2::decode(&swapped).unwrap();
    let stride = usize::from(header.key_len) + usize::from(header.value_len);
    let (first, second) = swapped[HeaderV2::SIZE..HeaderV2::SIZE + 2 * stride].split_at_mut(stride);
    first.swap_with_slice(second);
    let index = Index::open(swapped).unwrap();
    assert!(matches!(
        index.iter().nth(1),
        Some(Err(FormatError::IndexNotSorted { .. }))
    ));
}

#[test]
fn what_kopia_writes_when_nothing_is_left_is_an_empty_index() {
    let nothing = encode_v2(&[]).unwrap();
    assert_eq!(nothing[1], 255);
    assert_eq!(Index::open(nothing).unwrap().iter().count(), 0);
    let of_version_1 = [1, 255, 0, 20, 0, 0, 0, 0];
    assert!(Index::open(of_version_1).unwrap().is_empty());
}

#[test]
fn what_no_index_can_hold_is_refused() {
    let sample = entries(GOLDEN_V2[0].1).remove(0);
    let refused = |change: fn(&mut IndexEntry)| {
        let mut entry = sample.clone();
        change(&mut entry);
        encode_v2(&[entry]).unwrap_err().to_string()
    };
    assert!(refused(|entry| entry.timestamp = -1).starts_with("timestamp -1 of content"));
    assert!(refused(|entry| entry.timestamp = 1 << 32).starts_with("timestamp"));
    assert!(refused(|entry| entry.offset = PackOffset::new(1 << 30).unwrap()).starts_with("offset"));
    assert!(refused(|entry| entry.pack = "p".repeat(256).into()).starts_with("length of the pack name"));
    assert!(refused(|entry| entry.pack = "".into()).starts_with("length of the pack name"));
    let twice = [sample.clone(), sample.clone()];
    assert!(matches!(encode_v2(&twice), Err(FormatError::IndexNotSorted { .. })));
    let formats: Vec<IndexEntry> = (0..=255u8)
        .map(|number| IndexEntry {
            id: ContentId::new(None, &ContentHash::new(&[number; 16]).unwrap()),
            format_version: number,
            ..sample.clone()
        })
        .collect();
    assert!(encode_v2(&formats[..255]).is_ok());
    assert!(matches!(
        encode_v2(&formats),
        Err(FormatError::IndexFull { what: "formats", .. })
    ));
}

#[test]
fn more_than_65536_packs_take_values_of_18_bytes() {
    let sample = entries(GOLDEN_V2[0].1).remove(0);
    let entry = |number: u32| IndexEntry {
        id: ContentId::new(None, &ContentHash::new(&u128::from(number).to_be_bytes()).unwrap()),
        pack: format!("p{number}").into(),
        ..sample.clone()
    };
    let packs: Vec<IndexEntry> = (0..=65_536).map(entry).collect();
    let fewer = encode_v2(&packs[..65_536]).unwrap();
    assert_eq!(HeaderV2::decode(&fewer).unwrap().value_len, 16);
    let more = encode_v2(&packs).unwrap();
    assert_eq!(HeaderV2::decode(&more).unwrap().value_len, 18);
    assert_eq!(entries(&more), packs);
}

#[test]
fn shards_are_chosen_by_fnv_1a_of_the_name() {
    // The published test vectors of the hash, for names that happen to be hexadecimal digits.
    let by_hand = |name: &str| {
        name.bytes().fold(0x811c_9dc5u32, |hash, byte| {
            (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
        })
    };
    assert_eq!(by_hand("a"), 0xe40c_292c);
    assert_eq!(by_hand("foobar"), 0xbf9c_f968);
    for entry in entries(GOLDEN_V2[0].1) {
        assert_eq!(shard_of(&entry.id, 7), by_hand(&entry.id.to_string()) % 7);
    }
    assert_eq!(shard_of(&"ab01".parse().unwrap(), 1), 0);
}

#[test]
fn the_later_entry_wins_then_the_live_one_then_the_larger_pack_name() {
    let sample = entries(GOLDEN_V2[0].1).remove(0);
    let entry = |timestamp, deleted, pack: &str| IndexEntry {
        timestamp,
        deleted,
        pack: pack.into(),
        ..sample.clone()
    };
    let table = [
        (entry(2, false, "a"), entry(1, false, "b")),
        (entry(2, true, "a"), entry(1, false, "b")),
        (entry(2, false, "a"), entry(1, true, "b")),
        (entry(1, false, "a"), entry(1, true, "b")),
        (entry(1, false, "b"), entry(1, false, "a")),
        (entry(1, true, "b"), entry(1, true, "a")),
        (entry(1, false, "aa"), entry(1, false, "a")),
    ];
    for (winner, loser) in table {
        assert!(
            winner.supersedes(&loser) && !loser.supersedes(&winner),
            "{winner:?} {loser:?}"
        );
        assert!(!winner.supersedes(&winner));
        for order in [[&winner, &loser], [&loser, &winner]] {
            let runs = order.map(|entry| Index::open(encode_v2(std::slice::from_ref(entry)).unwrap()).unwrap());
            let found = |watermark| look_up(&runs, &winner.id, watermark).unwrap();
            assert_eq!(found(None).unwrap(), winner);
            assert_eq!(together(&runs, None), std::slice::from_ref(&winner));
            assert!(found(Some(winner.timestamp - 1)).is_some());
            assert_eq!(found(Some(winner.timestamp)).is_none(), winner.deleted);
            assert_eq!(together(&runs, Some(winner.timestamp)).is_empty(), winner.deleted);
        }
    }
}

#[test]
fn a_merge_ends_with_the_first_error() {
    let good = entries(GOLDEN_V2[0].1);
    let bad = [
        Ok(good[0].clone()),
        Err(FormatError::UnknownIndexVersion { found: 9 }),
        Ok(good[2].clone()),
    ];
    let mut merge = merge_runs(
        [good.clone().into_iter().map(Ok).collect::<Vec<_>>(), bad.into()].map(Vec::into_iter),
        None,
    );
    assert!(merge.by_ref().any(|entry| entry.is_err()));
    assert!(merge.next().is_none());
}

#[test]
fn small_runs_can_be_merged_into_one() {
    let runs = MERGED.map(|run| Index::open(run.to_vec()).unwrap());
    let before = together(&runs, None);
    let (small, mut rest): (Vec<_>, Vec<_>) = runs.into_iter().partition(|run| run.len() < 5);
    assert!(small.len() > 1 && !rest.is_empty());
    rest.push(Index::open(encode_v2(&together(&small, None)).unwrap()).unwrap());
    assert_eq!(together(&rest, None), before);
}

fn together<B: AsRef<[u8]>>(runs: &[Index<B>], watermark: Option<i64>) -> Vec<IndexEntry> {
    merge_runs(runs.iter().map(Index::iter), watermark)
        .map(Result::unwrap)
        .collect()
}

/// Hash, prefix letter, pack; offset, packed and original length; format, timestamp, deleted.
type Drawn = ((Vec<u8>, Option<u8>, String), (u32, u32, u32), (u8, u32, bool));

fn drawn_entry(((hash, prefix, pack), (offset, packed, original), (format, timestamp, deleted)): Drawn) -> IndexEntry {
    IndexEntry {
        id: ContentId::new(prefix.and_then(ContentPrefix::new), &ContentHash::new(&hash).unwrap()),
        pack: pack.into(),
        offset: PackOffset::new(offset).unwrap(),
        packed_len: ContentLen::new(packed).unwrap(),
        original_len: ContentLen::new(original).unwrap(),
        compression: u32::from(format == 2) * 0x1101,
        format_version: 2 + u8::from(format > 0),
        timestamp: i64::from(timestamp),
        deleted,
    }
}

/// Entries of one key length, sorted, that take values of 16, 17 or 19 bytes.
fn any_entries(value_len: usize) -> impl Strategy<Value = Vec<IndexEntry>> {
    let len_max = if value_len > 18 { ContentLen::LIMIT } else { 1 << 24 };
    let formats = if value_len > 16 { 3u8 } else { 1 };
    prop::sample::select(vec![16usize, 28, 32]).prop_flat_map(move |hash_len| {
        let hash = prop::collection::vec(any::<u8>(), hash_len);
        let name = (hash, proptest::option::of(b'g'..=b'z'), "[pq][0-9a-f]{1,3}");
        let place = (0..PackOffset::WRITE_LIMIT, 0..len_max, 0..len_max);
        let rest = (0..formats, any::<u32>(), any::<bool>());
        prop::collection::vec((name, place, rest), 0..40).prop_map(|drawn| {
            let mut entries: Vec<IndexEntry> = drawn.into_iter().map(drawn_entry).collect();
            entries.sort_by_key(|entry| entry.id);
            entries.dedup_by(|a, b| a.id == b.id);
            entries
        })
    })
}

proptest! {
    #[test]
    fn entries_survive_a_round_trip(all in prop::sample::select(vec![16, 17, 19]).prop_flat_map(any_entries)) {
        let index = Index::open(encode_v2(&all).unwrap()).unwrap();
        prop_assert_eq!(index.iter().collect::<Result<Vec<_>, _>>().unwrap(), all.clone());
        for entry in all {
            prop_assert_eq!(index.get(&entry.id).unwrap(), Some(entry));
        }
    }

    #[test]
    fn a_streamed_index_says_the_same(all in any_entries(19)) {
        let key_len = all.first().map_or(17, |entry| entry.id.as_key().len());
        let mut encoder = StreamingEncoder::new(key_len);
        let mut pieces = vec![vec![0; HeaderV2::SIZE]];
        for entry in &all {
            let mut piece = Vec::new();
            encoder.push(entry, &mut piece).unwrap();
            pieces.push(piece);
        }
        let mut tail = Vec::new();
        pieces[0].copy_from_slice(&encoder.finish(&mut tail));
        pieces.push(tail);
        prop_assert_eq!(entries(&pieces.concat()), all);
    }

    #[test]
    fn a_merge_is_what_a_map_would_say(runs in prop::collection::vec(any_entries(19), 0..5), watermark in proptest::option::of(any::<u32>())) {
        let watermark = watermark.map(i64::from);
        // The same few contents in every run, or there would be nothing to decide.
        let narrow = |entry: IndexEntry| {
            let hash = [entry.id.as_key()[1] % 4; 16];
            IndexEntry { id: ContentId::new(None, &ContentHash::new(&hash).unwrap()), timestamp: entry.timestamp >> 30 << 30, ..entry }
        };
        let runs: Vec<Vec<IndexEntry>> = runs.into_iter().map(|run| {
            let run: BTreeMap<ContentId, IndexEntry> = run.into_iter().map(narrow).map(|entry| (entry.id, entry)).collect();
            run.into_values().collect()
        }).collect();
        let mut expected: BTreeMap<ContentId, IndexEntry> = BTreeMap::new();
        for entry in runs.iter().flatten() {
            let known = expected.entry(entry.id).or_insert_with(|| entry.clone());
            if (entry.timestamp, !entry.deleted, &entry.pack) > (known.timestamp, !known.deleted, &known.pack) {
                *known = entry.clone();
            }
        }
        expected.retain(|_, entry| !(entry.deleted && watermark.is_some_and(|mark| entry.timestamp <= mark)));
        let merged: Vec<IndexEntry> = merge_runs(runs.clone().into_iter().map(|run| run.into_iter().map(Ok)), watermark).map(Result::unwrap).collect();
        // Entries alike in all that decides may be either of them.
        let decided = |entry: &IndexEntry| (entry.id, entry.timestamp, entry.deleted, entry.pack.clone());
        prop_assert_eq!(merged.iter().map(decided).collect::<Vec<_>>(), expected.values().map(decided).collect::<Vec<_>>());
    }

    #[test]
    fn damaged_indexes_never_panic(golden in 0usize..7, flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let golden = if golden == 6 { GOLDEN_V1 } else { GOLDEN_V2[golden].1 };
        let mut damaged = golden.to_vec();
        for (place, value) in flips {
            let place = place.index(damaged.len());
            damaged[place] ^= value;
        }
        read_all(&damaged);
    }

    #[test]
    fn noise_is_no_index(version in 0u8..3, mut noise in prop::collection::vec(any::<u8>(), 1..200)) {
        noise[0] = version;
        read_all(&noise);
    }
}
