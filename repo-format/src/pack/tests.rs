//! The proving room of the packs: packs of the real Kopia are opened, and made again byte for byte.

use proptest::prelude::*;

use super::*;
use crate::FormatError;
use crate::format_blob::{FormatBlob, RepositoryFormat};
use crate::id::{ContentHash, ContentId};
use crate::index::IndexEntry;
use crate::quantity::ContentLen;
use crate::sealing::Sealer;

/// A pack of metadata with the format blob of its repository; the password is `golden`.
struct Golden {
    name: &'static str,
    pack: &'static [u8],
    repository: &'static [u8],
}

const GOLDEN: [Golden; 4] = [
    Golden {
        name: "v1",
        pack: include_bytes!("../../golden/pack/v1.pack"),
        repository: include_bytes!("../../golden/pack/v1.repository"),
    },
    Golden {
        name: "v2",
        pack: include_bytes!("../../golden/pack/v2.pack"),
        repository: include_bytes!("../../golden/pack/v2.repository"),
    },
    Golden {
        name: "v3",
        pack: include_bytes!("../../golden/pack/v3.pack"),
        repository: include_bytes!("../../golden/pack/v3.repository"),
    },
    Golden {
        name: "v3-markers",
        pack: include_bytes!("../../golden/pack/v3-markers.pack"),
        repository: include_bytes!("../../golden/pack/v3-markers.repository"),
    },
];

impl Golden {
    fn sealer(&self) -> Sealer {
        let blob = FormatBlob::parse(self.repository).unwrap();
        Sealer::new(&RepositoryFormat::unseal(&blob, &blob.derive_key("golden")).unwrap()).unwrap()
    }

    fn sealed_index(&self) -> (Postamble, &'static [u8]) {
        let postamble = Postamble::find(self.pack).unwrap();
        (
            postamble,
            postamble.index_in(self.pack, self.pack.len() as u64).unwrap(),
        )
    }
}

fn any_sealer() -> Sealer {
    Sealer::new(&RepositoryFormat::new_default([1; 32], [2; 32])).unwrap()
}

fn content(number: u8) -> NewContent {
    NewContent {
        id: ContentId::new(None, &ContentHash::new(&[number; 16]).unwrap()),
        original_len: ContentLen::new(7).unwrap(),
        compression: 0,
        format_version: 3,
        timestamp: 1_795_438_962,
    }
}

fn bytes_of(entry: &IndexEntry) -> std::ops::Range<usize> {
    let start = entry.offset.bytes() as usize;
    start..start + entry.packed_len.as_usize()
}

#[test]
fn the_local_index_of_kopias_pack_leads_to_its_contents() {
    for golden in &GOLDEN {
        let sealer = golden.sealer();
        let (postamble, sealed) = golden.sealed_index();
        assert_eq!(postamble.index_offset % PADDING_MAX as u64, 0, "{}", golden.name);
        let entries = open_local_index(&sealer, &postamble, sealed).unwrap();
        let own: Vec<&IndexEntry> = entries.iter().filter(|entry| !entry.deleted).collect();
        assert!(!own.is_empty());
        for entry in own {
            assert_eq!(PackClass::of(&entry.id), PackClass::Metadata);
            let plain = sealer
                .open(entry.id.hash().iv(), &golden.pack[bytes_of(entry)])
                .unwrap();
            if entry.compression == 0 {
                assert_eq!(plain.len(), entry.original_len.as_usize());
                assert_eq!(sealer.hash(&plain), entry.id.hash());
            }
        }
        let markers = entries.iter().filter(|entry| entry.deleted).count();
        assert_eq!(markers, if golden.name == "v3-markers" { 16 } else { 0 });
    }
}

#[test]
fn a_pack_is_made_again_byte_for_byte_as_kopia_made_it() {
    for golden in &GOLDEN[1..] {
        let sealer = golden.sealer();
        let (postamble, sealed) = golden.sealed_index();
        let entries = open_local_index(&sealer, &postamble, sealed).unwrap();
        let plain = sealer.open(postamble.iv.as_bytes(), sealed).unwrap();
        let (mut own, markers): (Vec<IndexEntry>, Vec<IndexEntry>) =
            entries.iter().cloned().partition(|entry| !entry.deleted);
        own.sort_by_key(|entry| entry.offset);

        let preamble = golden.pack[..PREAMBLE_LEN].try_into().unwrap();
        let mut pack = OpenPack::new(
            own[0].pack.clone(),
            PackBody::new(b"used before".to_vec(), 100),
            preamble,
        );
        for entry in &own {
            let about = NewContent {
                id: entry.id,
                original_len: entry.original_len,
                compression: entry.compression,
                format_version: entry.format_version,
                timestamp: entry.timestamp,
            };
            pack.add(about, &golden.pack[bytes_of(entry)]).unwrap();
            assert_eq!(pack.entries().last(), Some(entry));
            assert_eq!(pack.sealed(entry), Some(&golden.pack[bytes_of(entry)]));
        }
        let mut random = golden.pack[pack.len()..postamble.index_offset as usize].to_vec();
        random.resize(PADDING_MAX, 0);
        let tail = *plain.last_chunk().unwrap();
        let closed = pack
            .close(&sealer, sealed.first_chunk().unwrap(), &random, tail, &markers)
            .unwrap();
        assert!(*closed.bytes == *golden.pack, "{}", golden.name);
        assert_eq!(closed.entries, entries);
    }
}

#[test]
fn the_end_of_a_pack_is_all_that_recovery_needs() {
    let golden = &GOLDEN[2];
    let len = golden.pack.len() as u64;
    let (postamble, sealed) = golden.sealed_index();
    for kept in [sealed.len() + 50, 200, 10] {
        let tail = &golden.pack[golden.pack.len() - kept..];
        match Postamble::find(tail) {
            Ok(found) if kept > sealed.len() + 40 => assert_eq!(found.index_in(tail, len), Some(sealed)),
            Ok(found) => assert_eq!((found, found.index_in(tail, len)), (postamble, None)),
            Err(error) => assert!(matches!(error, FormatError::NoPostamble { .. }) && kept == 10),
        }
    }
}

#[test]
fn a_pack_that_is_cut_off_or_damaged_at_its_end_is_told() {
    let pack = GOLDEN[2].pack;
    for len in 0..pack.len() {
        assert!(Postamble::find(&pack[..len]).is_err(), "{len}");
    }
    let end = usize::from(*pack.last().unwrap()) + 1;
    for place in pack.len() - end..pack.len() {
        for bit in 0..8 {
            let mut damaged = pack.to_vec();
            damaged[place] ^= 1 << bit;
            assert!(Postamble::find(&damaged).is_err(), "byte {place}, bit {bit}");
        }
    }
}

#[test]
fn a_local_index_that_was_changed_is_refused() {
    let sealer = GOLDEN[2].sealer();
    let (postamble, sealed) = GOLDEN[2].sealed_index();
    let mut damaged = sealed.to_vec();
    damaged[40] ^= 1;
    assert!(open_local_index(&sealer, &postamble, &damaged).is_err());
    assert!(open_local_index(&sealer, &postamble, &sealed[1..]).is_err());
}

#[test]
fn a_postamble_points_into_its_pack_or_nowhere() {
    let iv = ContentHash::new(&[1; 16]).unwrap();
    let place = |index_offset, index_len| {
        Postamble {
            iv,
            index_offset,
            index_len,
        }
        .index_range(1000)
    };
    assert_eq!(place(100, 200), Some(100..300));
    assert_eq!(place(900, 100), None, "there has to be room for the postamble itself");
    assert_eq!(place(u64::MAX, 2), None);
}

#[test]
fn a_full_page_of_padding_follows_a_pack_that_is_aligned_already() {
    let sealer = any_sealer();
    for (content_len, index_at) in [(4096 - 32, 8192), (4096 - 33, 4096), (4096 - 31, 8192)] {
        let mut pack = OpenPack::new("p1".into(), PackBody::default(), [0; PREAMBLE_LEN]);
        pack.add(content(1), &vec![0; content_len]).unwrap();
        let closed = pack.close(&sealer, &[0; 12], &[0; PADDING_MAX], [0; 32], &[]).unwrap();
        assert_eq!(Postamble::find(&closed.bytes).unwrap().index_offset, index_at);
    }
}

#[test]
fn a_content_beyond_the_limits_leaves_the_pack_as_it_was() {
    let mut pack = OpenPack::new("p1".into(), PackBody::default(), [0; PREAMBLE_LEN]);
    pack.add(content(1), &[1, 2, 3]).unwrap();
    let (len, entries) = (pack.len(), pack.entries().to_vec());
    let limit = ContentLen::LIMIT as usize;
    let error = pack
        .add_with(content(2), |bytes| bytes.resize(bytes.len() + limit, 0))
        .unwrap_err();
    assert!(matches!(error, FormatError::PackFull { wanted, .. } if wanted == limit));
    assert_eq!((pack.len(), pack.entries()), (len, entries.as_slice()));
}

#[test]
fn a_marker_that_is_younger_than_the_content_in_the_pack_wins() {
    let sealer = any_sealer();
    let close = |deleted_at: i64| {
        let mut pack = OpenPack::new("p1".into(), PackBody::default(), [0; PREAMBLE_LEN]);
        pack.add(content(1), &[1, 2, 3]).unwrap();
        let marker = IndexEntry {
            deleted: true,
            timestamp: deleted_at,
            ..pack.entries()[0].clone()
        };
        pack.close(&sealer, &[0; 12], &[0; PADDING_MAX], [0; 32], &[marker])
            .unwrap()
            .entries
    };
    let now = content(1).timestamp;
    let deleted = |entries: Vec<IndexEntry>| entries.iter().map(|entry| entry.deleted).collect::<Vec<_>>();
    assert_eq!(deleted(close(now + 1)), [true]);
    assert_eq!(deleted(close(now)), [false]);
}

#[test]
fn packs_are_named_by_class_and_session() {
    let id = pack_blob_id(PackClass::Metadata, [0xab; 16], "s0123456789abcdef147");
    assert_eq!(id.as_str(), "qabababababababababababababababab-s0123456789abcdef147");
    assert_eq!(PackClass::of(&"ab01".parse().unwrap()).letter(), 'p');
    assert_eq!(PackClass::of(&"kab01".parse().unwrap()).letter(), 'q');
}

proptest! {
    #[test]
    fn postambles_survive_a_round_trip(iv in prop::collection::vec(any::<u8>(), 1..=32), index_offset: u64, index_len: u64, before in prop::collection::vec(any::<u8>(), 0..50)) {
        let postamble = Postamble { iv: ContentHash::new(&iv).unwrap(), index_offset, index_len };
        let mut bytes = before.clone();
        postamble.encode(&mut bytes);
        prop_assert!(bytes.len() - before.len() <= Postamble::MAX_LEN);
        prop_assert_eq!(Postamble::find(&bytes).unwrap(), postamble);
    }

    #[test]
    fn noise_has_no_postamble(mut noise in prop::collection::vec(any::<u8>(), 0..300), len: u8) {
        noise.push(len);
        let _ = Postamble::find(&noise);
    }

    #[test]
    fn a_checksum_alone_does_not_make_a_postamble_panic(body in prop::collection::vec(any::<u8>(), 0..60)) {
        let mut bytes = body.clone();
        bytes.extend_from_slice(&crc32fast::hash(&body).to_be_bytes());
        bytes.push(body.len() as u8 + 4);
        if let Ok(found) = Postamble::find(&bytes) {
            let _ = found.index_in(&bytes, bytes.len() as u64);
        }
    }
}
