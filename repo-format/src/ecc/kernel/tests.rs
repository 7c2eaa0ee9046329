//! The proving ground of the parity kernel: it must agree with a library that does the same.

use proptest::prelude::*;
use reed_solomon_erasure::galois_8::ReedSolomon as Oracle;

use super::*;

/// Every pair of data and parity that an overhead leads to and that was seen in a repository, and the small one.
const PAIRS: [(usize, usize); 9] = [
    (6, 2),
    (128, 3),
    (128, 4),
    (128, 23),
    (128, 56),
    (128, 120),
    (139, 2),
    (164, 2),
    (254, 2),
];

/// Bytes without a pattern.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let numbers = std::iter::successors(Some(seed), |x| {
        Some(
            x.wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407),
        )
    });
    numbers.skip(1).map(|x| (x >> 56) as u8).take(len).collect()
}

fn parity_of(code: &ReedSolomon, data: &[u8], shard: usize, parity: usize) -> Vec<u8> {
    let mut result = vec![0; parity * shard];
    code.parity_of(data, shard, &mut result, &mut Scratch::default());
    result
}

fn shards(bytes: Vec<u8>, shard: usize) -> Shards {
    let mut shards = Shards::new(bytes.len() / shard, shard);
    shards.bytes = bytes;
    shards
}

#[test]
fn parity_is_that_of_another_implementation() {
    for (data, parity) in PAIRS {
        let code = ReedSolomon::new(data, parity);
        let oracle = Oracle::new(data, parity).unwrap();
        for shard in [1, 2, 7, 8, 63, 64, 65, 128, 200] {
            let bytes = noise((data * shard) as u64, data * shard);
            let mut all: Vec<Vec<u8>> = bytes.chunks(shard).map(<[u8]>::to_vec).collect();
            all.resize(data + parity, vec![0; shard]);
            oracle.encode(&mut all).unwrap();
            assert_eq!(
                parity_of(&code, &bytes, shard, parity),
                all[data..].concat(),
                "{data}+{parity}, shards of {shard}"
            );
        }
    }
}

#[test]
fn scratch_of_a_larger_block_does_no_harm() {
    let mut scratch = Scratch::default();
    for (data, parity) in [(254, 2), (6, 2), (128, 4)] {
        let code = ReedSolomon::new(data, parity);
        let bytes = noise(1, data * 100);
        let mut result = vec![0xff; parity * 100];
        code.parity_of(&bytes, 100, &mut result, &mut scratch);
        assert_eq!(result, parity_of(&code, &bytes, 100, parity));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn lost_shards_come_back(
        pair in prop::sample::select(&PAIRS[..]),
        shard in 1..150usize,
        seed in any::<u64>(),
        lost_count in 0..140usize,
    ) {
        let (data, parity) = pair;
        let code = ReedSolomon::new(data, parity);
        let bytes = noise(seed, data * shard);
        let mut data_shards = shards(bytes.clone(), shard);
        let mut parity_shards = shards(parity_of(&code, &bytes, shard, parity), shard);
        // As many different shards as the code can do without, drawn from data and parity alike.
        let mut order: Vec<usize> = (0..data + parity).collect();
        order.sort_by_key(|index| noise(seed ^ (*index as u64) << 32, 8));
        for index in order.into_iter().take(lost_count.min(parity)) {
            let (shards, index) = match index.checked_sub(data) {
                None => (&mut data_shards, index),
                Some(index) => (&mut parity_shards, index),
            };
            shards.bytes[index * shard..][..shard].fill(0);
            shards.lost[index] = true;
        }
        let lost = data_shards.lost.iter().filter(|lost| **lost).count();
        prop_assert_eq!(code.rebuild(&mut data_shards, &parity_shards), lost);
        prop_assert_eq!(data_shards.bytes, bytes);
    }
}
