//! The proving ground of the squeezing room.

use proptest::prelude::*;

use super::*;

/// The file behind `golden/compression/<name>.bin`.
fn lines() -> Vec<u8> {
    (0..100u32)
        .flat_map(|n| format!("line {n}: the square of {n} ends in {}\n", n * n % 1000).into_bytes())
        .collect()
}

/// The file behind `golden/compression/<name>-large.bin`: two blocks for those that compress in blocks of 1 MiB.
fn large() -> Vec<u8> {
    [lines(), vec![0; 1 << 20], lines()].concat()
}

macro_rules! compressed_by_kopia {
    ($($name:literal)*) => {
        [$((
            $name,
            include_bytes!(concat!("../../golden/compression/", $name, ".bin")).as_slice(),
            include_bytes!(concat!("../../golden/compression/", $name, "-large.bin")).as_slice(),
        )),*]
    };
}

/// Name, and what Kopia made of [`lines`] and of [`large`]: header and stream.
const COMPRESSED_BY_KOPIA: [(&str, &[u8], &[u8]); 18] = compressed_by_kopia![
    "gzip" "gzip-best-speed" "gzip-best-compression"
    "zstd" "zstd-fastest" "zstd-better-compression" "zstd-best-compression"
    "s2-default" "s2-better" "s2-parallel-4" "s2-parallel-8"
    "pgzip" "pgzip-best-speed" "pgzip-best-compression"
    "lz4"
    "deflate-default" "deflate-best-speed" "deflate-best-compression"
];

fn golden() -> impl Iterator<Item = (Compression, &'static [u8], Vec<u8>)> {
    COMPRESSED_BY_KOPIA.into_iter().flat_map(|(name, small, big)| {
        let compression = Compression::from_name(name).unwrap();
        [(compression, small, lines()), (compression, big, large())]
    })
}

fn compress(compression: Compression, plain: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let shorter = Compressor::new(compression).compress_into(plain, &mut out).unwrap();
    assert_eq!(out.is_empty(), !shorter);
    shorter.then_some(out)
}

#[test]
fn what_kopia_compressed_is_read() {
    for (compression, stored, plain) in golden() {
        assert_eq!(stored[..HEADER_LEN], compression.header_id().to_be_bytes());
        assert!(
            decompress(compression, stored, plain.len()).unwrap() == plain,
            "{}",
            compression.name()
        );
        assert!(decompress_by_header(stored, plain.len()).unwrap() == plain);
        assert!(decompress_by_header(stored, plain.len() + 1_000_000).unwrap() == plain);
    }
}

#[test]
fn another_length_than_the_index_says_is_an_error() {
    for (compression, stored, plain) in golden() {
        for wrong in [0, 1, plain.len() - 1, plain.len() + 1, 10 * plain.len()] {
            assert!(
                decompress(compression, stored, wrong).is_err(),
                "{}: {wrong}",
                compression.name()
            );
        }
        assert!(decompress_by_header(stored, plain.len() - 1).is_err());
    }
}

#[test]
fn another_header_than_the_index_says_is_an_error() {
    for (compression, stored, plain) in golden() {
        let other = if compression == Compression::Gzip {
            Compression::Pgzip
        } else {
            Compression::Gzip
        };
        let error = decompress(other, stored, plain.len()).unwrap_err();
        assert!(
            matches!(error, FormatError::WrongCompressionHeader { expected, found }
                if expected == other.header_id() && found == compression.header_id()),
            "{error}"
        );
    }
    let error = decompress_by_header(&[0, 0, 0x16, 0, 1, 2, 3], 100).unwrap_err();
    assert_eq!(error.to_string(), "no compression has the header id 0x1600");
    assert!(matches!(
        decompress_by_header(&[0, 0, 0x10], 100),
        Err(FormatError::Truncated { .. })
    ));
}

#[test]
fn every_truncation_is_an_error() {
    for (name, stored, _) in COMPRESSED_BY_KOPIA {
        let compression = Compression::from_name(name).unwrap();
        let len = lines().len();
        for end in 0..stored.len() {
            assert!(decompress(compression, &stored[..end], len).is_err(), "{name}: {end}");
        }
        // Without a length to compare with, the streams that say how they end are still noticed.
        let framed = !matches!(compression.row().2, Stream::S2);
        for end in (0..stored.len()).filter(|_| framed) {
            assert!(decompress_by_header(&stored[..end], len).is_err(), "{name}: {end}");
        }
    }
}

#[test]
fn bytes_after_the_end_are_an_error() {
    for (name, stored, _) in COMPRESSED_BY_KOPIA {
        let compression = Compression::from_name(name).unwrap();
        for tail in [&[0][..], &[0; 4], b"not a stream"] {
            let twin = [stored, tail].concat();
            assert!(
                decompress(compression, &twin, lines().len()).is_err(),
                "{name}: {tail:?}"
            );
        }
    }
}

#[test]
fn a_damaged_byte_never_gives_other_bytes_where_there_is_a_checksum() {
    let plain = lines();
    for (name, stored, _) in COMPRESSED_BY_KOPIA {
        let compression = Compression::from_name(name).unwrap();
        let checksummed = compression.row().2 != Stream::Deflate;
        for at in 0..stored.len() {
            let mut twin = stored.to_vec();
            twin[at] ^= 0x40;
            match decompress(compression, &twin, plain.len()) {
                Ok(bytes) if checksummed => assert!(bytes == plain, "{name}: byte {at}"),
                Ok(bytes) => assert_eq!(bytes.len(), plain.len()),
                Err(_) => {}
            }
        }
    }
}

#[test]
fn our_streams_are_read_back() {
    for compression in Compression::ALL {
        for plain in [lines(), large(), vec![0; 3_000_000]] {
            let Some(stored) = compress(compression, &plain) else {
                assert_eq!(compression, Compression::Lz4, "only LZ4 is never written");
                continue;
            };
            assert!(stored.len() < plain.len() / 2, "{}", compression.name());
            assert_eq!(stored[..HEADER_LEN], compression.header_id().to_be_bytes());
            assert!(decompress(compression, &stored, plain.len()).unwrap() == plain);
        }
    }
}

#[test]
fn what_does_not_shrink_is_left_alone() {
    let noise: Vec<u8> = std::iter::successors(Some(1u64), |x| Some(x.wrapping_mul(6_364_136_223_846_793_005) + 1))
        .map(|x| (x >> 56) as u8)
        .take(1_500_000)
        .collect();
    for compression in Compression::ALL {
        let mut compressor = Compressor::new(compression);
        let mut out = b"before".to_vec();
        // Twice, for what a compressor keeps must not carry over from one content to the next.
        for _ in 0..2 {
            for plain in [&b""[..], b"x", b"short", &noise, &noise[..70_000]] {
                assert!(
                    !compressor.compress_into(plain, &mut out).unwrap(),
                    "{}",
                    compression.name()
                );
                assert_eq!(out, b"before");
            }
        }
        if compression == Compression::Lz4 {
            continue;
        }
        assert!(compressor.compress_into(&lines(), &mut out).unwrap());
        let stored = out.strip_prefix(b"before").unwrap();
        assert!(decompress(compression, stored, lines().len()).unwrap() == lines());
    }
}

#[test]
fn a_claim_of_a_huge_block_is_not_believed() {
    let header = Compression::S2Default.header_id().to_be_bytes();
    // An S2 block that says it holds nearly 4 GiB.
    let block = [&[0, 9, 0, 0, 1, 2, 3, 4][..], &[0xff, 0xff, 0xff, 0xff, 0x0f]].concat();
    let stored = [&header[..], b"\xff\x06\x00\x00S2sTwO", &block].concat();
    assert!(decompress_by_header(&stored, 1000).is_err());
    // Zstd: a frame that says it holds 1 TiB, in one raw block of one byte.
    let header = Compression::Zstd.header_id().to_be_bytes();
    let frame = [0x28, 0xb5, 0x2f, 0xfd, 0xe0, 0, 0, 0, 0, 0, 1, 0, 0, 9, 0, 0, b'x'];
    assert!(decompress_by_header(&[&header[..], &frame].concat(), 1000).is_err());
}

#[test]
fn skippable_s2_chunks_are_skipped_however_many_there_are() {
    let plain = lines();
    let stored = compress(Compression::S2Default, &plain).unwrap();
    let (head, blocks) = stored.split_at(HEADER_LEN + 10);
    let padding = [0xfe, 0, 0, 0].repeat(500_000);
    let padded = [head, &padding, blocks].concat();
    assert!(decompress(Compression::S2Default, &padded, plain.len()).unwrap() == plain);
    // But 02 to 7f mean something this reader does not know.
    let unknown = [head, &[0x02, 0, 0, 0], blocks].concat();
    assert!(decompress(Compression::S2Default, &unknown, plain.len()).is_err());
}

#[test]
fn names_and_header_ids_survive_a_round_trip() {
    for compression in Compression::ALL {
        assert_eq!(Compression::from_name(compression.name()).unwrap(), compression);
        assert_eq!(
            Compression::from_header_id(compression.header_id()).unwrap(),
            compression
        );
        assert_eq!(Compressor::new(compression).compression(), compression);
    }
    assert!(Compression::from_name("none").is_err());
    assert!(Compression::from_header_id(0).is_err());
    assert!(Compression::Lz4.is_deprecated() && !Compression::Zstd.is_deprecated());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn any_bytes_survive_a_round_trip(
        bytes in prop::collection::vec(any::<u8>(), 1..2_000),
        times in 1..200usize,
        index in 0..Compression::ALL.len(),
    ) {
        let compression = Compression::ALL[index];
        let plain = bytes.repeat(times);
        if let Some(stored) = compress(compression, &plain) {
            prop_assert!(stored.len() < plain.len());
            prop_assert!(decompress(compression, &stored, plain.len()).unwrap() == plain);
        }
    }

    #[test]
    fn any_stream_is_read_or_refused(
        stream in prop::collection::vec(any::<u8>(), 0..300),
        index in 0..Compression::ALL.len(),
        keep in 0..40usize,
    ) {
        // The first bytes of a real stream lead deeper into the decoders.
        let (name, small, _) = COMPRESSED_BY_KOPIA[index];
        let compression = Compression::from_name(name).unwrap();
        let stored = [&small[..HEADER_LEN + keep], &stream].concat();
        if let Ok(plain) = decompress_by_header(&stored, 10_000) {
            prop_assert!(plain.len() <= 10_000);
        }
        prop_assert!(decompress(compression, &stored, 77).map_or(true, |plain| plain.len() == 77));
    }
}
