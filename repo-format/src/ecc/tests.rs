//! The proving ground of the repair room.

use proptest::prelude::*;

use super::*;

macro_rules! stored_by_kopia {
    ($($percent:literal $kind:literal $len:literal),* $(,)?) => {
        [$(($percent, $len, include_bytes!(concat!("../../golden/ecc/", $percent, "-", $kind, ".bin")).as_slice())),*]
    };
}

/// Overhead in percent, length of the sealed bytes, and what Kopia stored for them.
const STORED_BY_KOPIA: [(u8, usize, &[u8]); 16] = stored_by_kopia![
    1 "small" 88,
    2 "small" 88,
    3 "small" 88,
    6 "small" 88,
    10 "small" 88,
    50 "small" 88,
    100 "small" 88,
    1 "shards" 3028,
    2 "shards" 3028,
    3 "shards" 3028,
    6 "shards" 3028,
    10 "shards" 3028,
    50 "shards" 3028,
    100 "shards" 3028,
    10 "blocks" 9028,
    50 "blocks" 9028,
];

/// Flips a bit in the middle of so many data shards of the first block; gives what was damaged.
fn damage_data(codec: &EccCodec, stored: &mut [u8], count: usize) -> usize {
    let layout = codec.plan.for_stored(stored.len());
    let place = CRC_LEN + layout.shard;
    let count = count.min(layout.data);
    for index in 0..count {
        stored[layout.parity_area_len() + index * place + CRC_LEN + layout.shard / 2] ^= 0x10;
    }
    count
}

fn parity_of(codec: &EccCodec, stored: &[u8]) -> usize {
    codec.plan.for_stored(stored.len()).parity
}

#[test]
fn what_kopia_stored_is_read_and_would_be_stored_again() {
    for (percent, len, stored) in STORED_BY_KOPIA {
        let codec = EccCodec::new(percent).unwrap();
        let decoded = codec.decode_counting(stored).unwrap();
        assert_eq!(decoded.bytes.len(), len, "{percent} %");
        assert_eq!((decoded.damaged, decoded.rebuilt), (0, 0));
        assert_eq!(codec.encoded_len(len), stored.len());
        let mut again = b"before".to_vec();
        codec.encode_into(&decoded.bytes, &mut again);
        assert!(
            again.strip_prefix(b"before") == Some(stored),
            "{percent} %, {len} bytes"
        );
    }
}

#[test]
fn as_many_damaged_shards_as_there_is_parity_are_repaired() {
    for (percent, len, stored) in STORED_BY_KOPIA {
        let codec = EccCodec::new(percent).unwrap();
        let whole = codec.decode(stored).unwrap();
        for count in [1, 2, parity_of(&codec, stored)] {
            let mut twin = stored.to_vec();
            let damaged = damage_data(&codec, &mut twin, count);
            let decoded = codec.decode_counting(&twin).unwrap();
            assert!(decoded.bytes == whole, "{percent} %, {len} bytes, {count} damaged");
            assert_eq!((decoded.damaged, decoded.rebuilt), (damaged, damaged));
        }
    }
}

#[test]
fn more_damage_than_parity_is_an_error() {
    for (percent, len, stored) in STORED_BY_KOPIA {
        let codec = EccCodec::new(percent).unwrap();
        let parity = parity_of(&codec, stored);
        let mut twin = stored.to_vec();
        damage_data(&codec, &mut twin, parity + 1);
        let error = codec.decode(&twin).unwrap_err();
        assert!(
            matches!(error, FormatError::EccBeyondRepair { block: 0, damaged, .. } if damaged == parity + 1),
            "{percent} %, {len} bytes: {error}"
        );
    }
}

#[test]
fn damaged_parity_is_counted_but_does_not_matter() {
    for (percent, _, stored) in STORED_BY_KOPIA {
        let codec = EccCodec::new(percent).unwrap();
        let mut twin = stored.to_vec();
        let layout = codec.plan.for_stored(stored.len());
        let area = &mut twin[..layout.parity * (CRC_LEN + layout.shard)];
        area.iter_mut().for_each(|byte| *byte ^= 1);
        let decoded = codec.decode_counting(&twin).unwrap();
        assert!(decoded.bytes == codec.decode(stored).unwrap());
        assert_eq!((decoded.damaged, decoded.rebuilt), (layout.parity, 0));
    }
}

#[test]
fn a_missing_end_is_restored_like_other_damage() {
    for percent in [1, 10, 100] {
        let codec = EccCodec::new(percent).unwrap();
        let mut stored = Vec::new();
        codec.encode_into(&[0xa5; 3000], &mut stored);
        stored.pop();
        assert_eq!(codec.decode(&stored).unwrap(), [0xa5; 3000]);
    }
}

#[test]
fn overheads_that_kopia_does_not_offer_are_refused() {
    assert!(matches!(
        EccCodec::new(0),
        Err(FormatError::BadEccOverhead { found: 0 })
    ));
    assert!(matches!(
        EccCodec::new(101),
        Err(FormatError::BadEccOverhead { found: 101 })
    ));
}

/// Lengths around the places where the way of cutting changes.
fn lengths() -> impl Strategy<Value = usize> {
    prop_oneof![
        0..40usize,
        0..5_000usize,
        8_000..9_000usize,
        16_000..18_000usize,
        250_000..270_000usize
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn bytes_survive_a_round_trip(percent in 1..=100u8, len in lengths(), seed in any::<u8>()) {
        let codec = EccCodec::new(percent).unwrap();
        let bytes: Vec<u8> = (0..len).map(|index| (index * index / 7) as u8 ^ seed).collect();
        let mut stored = Vec::new();
        codec.encode_into(&bytes, &mut stored);
        prop_assert_eq!(stored.len(), codec.encoded_len(len));
        prop_assert!(codec.decode(&stored).unwrap() == bytes);
        let damaged = damage_data(&codec, &mut stored, 2);
        let decoded = codec.decode_counting(&stored).unwrap();
        prop_assert!(decoded.bytes == bytes);
        // The last shard of several blocks may be too short to have a middle.
        prop_assert!(decoded.damaged <= damaged);
    }

    #[test]
    fn any_bytes_are_read_or_refused(percent in 1..=100u8, bytes in prop::collection::vec(any::<u8>(), 0..3_000)) {
        let codec = EccCodec::new(percent).unwrap();
        if let Ok(decoded) = codec.decode(&bytes) {
            prop_assert!(decoded.len() <= bytes.len());
        }
    }
}
