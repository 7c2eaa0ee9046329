//! The proving ground of the cutting room: Kopia's cuts, and a twin that looks at every byte.

use std::iter;
use std::sync::LazyLock;

use proptest::prelude::*;
use sha2::{Digest, Sha256};

use super::*;

/// Lines of a splitter's name and the lengths of the chunks that Kopia made of [`STREAM`] with it.
const KOPIA_CHUNKS: &str = include_str!("../../golden/splitter/chunk-lengths.txt");

/// SHA-256 of 0, 1, 2, .. as 8 bytes, big-endian; 16 MiB of them.
static STREAM: LazyLock<Vec<u8>> = LazyLock::new(|| {
    (0u64..(16 << 20) / 32)
        .flat_map(|number| Sha256::digest(number.to_be_bytes()))
        .collect()
});

/// Feeds `data` in pieces of these lengths, over and over.
fn chunk_lengths(algorithm: SplitterAlgorithm, data: &[u8], pieces: &[usize]) -> Vec<usize> {
    let mut splitter = algorithm.start();
    let mut lengths = Vec::new();
    let (mut chunk, mut fed) = (0, 0);
    for piece in pieces.iter().cycle() {
        let mut piece = &data[fed..data.len().min(fed + piece)];
        fed += piece.len();
        while let Some(cut) = splitter.next_cut(piece) {
            lengths.push(chunk + cut);
            chunk = 0;
            piece = &piece[cut..];
        }
        chunk += piece.len();
        if fed == data.len() {
            break;
        }
    }
    lengths.extend((chunk > 0).then_some(chunk));
    lengths
}

/// The rule without any haste: every byte goes through a window that no cut empties.
fn naive_chunk_lengths<H: rolling::Rolling>(min: usize, max: usize, mask: H::Mask, data: &[u8]) -> Vec<usize> {
    let leaving = iter::repeat_n(&0, rolling::WINDOW).chain(data);
    let mut hash = H::default();
    let mut lengths = Vec::new();
    let mut chunk = 0;
    for (leaving, entering) in leaving.zip(data) {
        hash = hash.roll(*leaving, *entering);
        chunk += 1;
        if chunk >= min && hash.ends_chunk(mask) || chunk == max {
            lengths.push(chunk);
            chunk = 0;
        }
    }
    lengths.extend((chunk > 0).then_some(chunk));
    lengths
}

#[test]
fn chunks_are_those_of_kopia() {
    assert_eq!(
        hex::encode(Sha256::digest(STREAM.as_slice())),
        "e4382d189a634913a6da15bdedeefbcf5a6180904b0187e45a32a20edc98e12c"
    );
    let mut seen = Vec::new();
    for line in KOPIA_CHUNKS.lines() {
        let (name, lengths) = line.split_once(' ').unwrap();
        let algorithm = SplitterAlgorithm::from_name(name).unwrap();
        let lengths: Vec<usize> = lengths.split(' ').map(|length| length.parse().unwrap()).collect();
        assert_eq!(chunk_lengths(algorithm, &STREAM, &[STREAM.len()]), lengths, "{name}");
        assert_eq!(
            chunk_lengths(algorithm, &STREAM, &[100_003, 1, 70]),
            lengths,
            "{name} in pieces"
        );
        seen.push(algorithm);
    }
    assert_eq!(seen.len(), SplitterAlgorithm::ALL.len());
    assert!(SplitterAlgorithm::ALL.iter().all(|algorithm| seen.contains(algorithm)));
}

#[test]
fn zeros_are_cut_at_the_minimum() {
    let zeros = vec![0; 3 << 20];
    for name in ["DYNAMIC-1M-BUZHASH", "DYNAMIC-1M-RABINKARP"] {
        let algorithm = SplitterAlgorithm::from_name(name).unwrap();
        assert_eq!(algorithm.min_chunk_len(), 512 << 10);
        assert_eq!(
            chunk_lengths(algorithm, &zeros, &[zeros.len()]),
            [512 << 10; 6],
            "{name}"
        );
    }
}

#[test]
fn what_never_cuts_is_cut_at_the_maximum() {
    // A chunk ends where the low bits of the hash are zero; the hash of this period never does that.
    let data: Vec<u8> = b"ab-------".iter().copied().cycle().take(1 << 20).collect();
    for name in ["DYNAMIC-128K-BUZHASH", "DYNAMIC-128K-RABINKARP"] {
        let algorithm = SplitterAlgorithm::from_name(name).unwrap();
        assert_eq!(algorithm.max_chunk_len(), 256 << 10);
        for pieces in [1 << 20, 4096, 65_537] {
            assert_eq!(chunk_lengths(algorithm, &data, &[pieces]), [256 << 10; 4], "{name}");
        }
    }
}

#[test]
fn nothing_follows_a_cut_at_the_very_end() {
    let mut splitter = SplitterAlgorithm::Fixed(ChunkSize::K128).start();
    let data = vec![7; 256 << 10];
    assert_eq!(splitter.next_cut(&data), Some(128 << 10));
    assert_eq!(splitter.next_cut(&data[128 << 10..]), Some(128 << 10));
    assert_eq!(splitter.next_cut(&[]), None);
    for algorithm in SplitterAlgorithm::ALL {
        assert_eq!(algorithm.start().next_cut(&[]), None, "{}", algorithm.name());
    }
}

#[test]
fn names_survive_a_round_trip() {
    for algorithm in SplitterAlgorithm::ALL {
        assert_eq!(SplitterAlgorithm::from_name(algorithm.name()).unwrap(), algorithm);
        assert!(algorithm.min_chunk_len() <= algorithm.max_chunk_len());
    }
    assert_eq!(SplitterAlgorithm::from_name("").unwrap().name(), "FIXED");
    assert_eq!(SplitterAlgorithm::DEFAULT.name(), "DYNAMIC-4M-BUZHASH");
    let error = SplitterAlgorithm::from_name("DYNAMIC-3M-BUZHASH").unwrap_err();
    assert_eq!(error.to_string(), "no splitter is called \"DYNAMIC-3M-BUZHASH\"");
}

/// Random bytes between runs of one byte and short periods.
fn patchwork() -> impl Strategy<Value = Vec<u8>> {
    let patch = prop_oneof![
        (any::<u64>(), 1..60_000usize).prop_map(|(seed, len)| {
            let numbers = iter::successors(Some(seed | 1), |x| Some(x.wrapping_mul(6_364_136_223_846_793_005) + 1));
            numbers.map(|x| (x >> 40) as u8).take(len).collect::<Vec<u8>>()
        }),
        (any::<u8>(), 1..60_000usize).prop_map(|(byte, len)| vec![byte; len]),
        (prop::collection::vec(any::<u8>(), 2..70), 1..60_000usize).prop_map(|(period, len)| period
            .into_iter()
            .cycle()
            .take(len)
            .collect()),
    ];
    prop::collection::vec(patch, 1..20).prop_map(|patches| patches.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn cuts_do_not_depend_on_the_pieces_nor_on_haste(
        data in patchwork(),
        pieces in prop::collection::vec(1..40_000usize, 1..8),
        small in prop::collection::vec(1..200usize, 1..8),
    ) {
        let (min, max) = (64 << 10, 256 << 10);
        let naive = naive_chunk_lengths::<Buzhash>(min, max, (128 << 10) - 1, &data);
        let buzhash = SplitterAlgorithm::Buzhash(ChunkSize::K128);
        prop_assert_eq!(&chunk_lengths(buzhash, &data, &[data.len()]), &naive);
        prop_assert_eq!(&chunk_lengths(buzhash, &data, &pieces), &naive);
        prop_assert_eq!(&chunk_lengths(buzhash, &data, &small), &naive);

        let naive = naive_chunk_lengths::<RabinKarp>(min, max, (128 << 10) - 1, &data);
        let rabin_karp = SplitterAlgorithm::RabinKarp(ChunkSize::K128);
        prop_assert_eq!(&chunk_lengths(rabin_karp, &data, &[data.len()]), &naive);
        prop_assert_eq!(&chunk_lengths(rabin_karp, &data, &pieces), &naive);
        prop_assert_eq!(&chunk_lengths(rabin_karp, &data, &small), &naive);
    }

    /// A mask that is met often brings ends of chunks into every lane and close to the borders of blocks.
    #[test]
    fn the_first_end_is_found_wherever_it_is(data in patchwork(), bits in 6..14u32, min in 65..5_000usize) {
        let (max, mask) = (100_000, (1 << bits) - 1);
        let mut splitter = Dynamic::<Buzhash>::new(min, max, mask);
        let mut lengths = Vec::new();
        let mut rest = data.as_slice();
        while let Some(cut) = splitter.next_cut(rest) {
            lengths.push(cut);
            rest = &rest[cut..];
        }
        lengths.extend((!rest.is_empty()).then_some(rest.len()));
        prop_assert_eq!(lengths, naive_chunk_lengths::<Buzhash>(min, max, mask, &data));
    }
}
