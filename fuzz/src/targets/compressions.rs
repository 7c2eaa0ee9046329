//! The press's trial: every compression, as streams from anywhere and as our own.

use windlass_repo_format::compression::{Compression, Compressor, HEADER_LEN, decompress, decompress_by_header};

use crate::allocation::Allowance;

/// So many bytes a content has at most here.
const ORIGINAL_LEN: usize = 1 << 20;

/// What comes out is limited by what the index says, here a mebibyte; the rest are windows and tables.
pub(super) const ALLOWANCE: Allowance = Allowance {
    per_byte: 40,
    fixed: 16 << 20,
};

pub(super) fn gzip(input: &[u8]) {
    each("gzip", input);
}

pub(super) fn deflate(input: &[u8]) {
    each("deflate", input);
}

pub(super) fn zstd(input: &[u8]) {
    each("zstd", input);
}

pub(super) fn s2(input: &[u8]) {
    each("s2", input);
}

pub(super) fn lz4(input: &[u8]) {
    each("lz4", input);
}

/// All levels of one kind; which of them is decided by the input.
fn each(kind: &str, input: &[u8]) {
    let of_kind = |compression: &&Compression| {
        let name = compression.name();
        name.strip_prefix('p').unwrap_or(name).starts_with(kind)
    };
    let all: Vec<Compression> = Compression::ALL.iter().filter(of_kind).copied().collect();
    let compression = all[input.len() % all.len()];
    // As it stands, and as a stream behind the right header.
    let headed = [
        &compression.header_id().to_be_bytes()[..],
        input.get(HEADER_LEN..).unwrap_or(input),
    ]
    .concat();
    for stored in [input, &headed] {
        if let Ok(plain) = decompress_by_header(stored, ORIGINAL_LEN) {
            assert!(plain.len() <= ORIGINAL_LEN);
            let known = decompress_by_header(stored, plain.len()).expect("it fits exactly");
            assert!(known == plain);
            if !plain.is_empty() {
                assert!(
                    decompress_by_header(stored, plain.len() - 1).is_err(),
                    "one byte less is too few"
                );
            }
        }
    }
    if let Ok(plain) = decompress(compression, &headed, ORIGINAL_LEN) {
        assert_eq!(plain.len(), ORIGINAL_LEN);
    }
    let mut packed = Vec::new();
    let shrunk = Compressor::new(compression)
        .compress_into(input, &mut packed)
        .unwrap_or(false);
    if shrunk {
        assert!(packed.len() < input.len());
        assert!(decompress(compression, &packed, input.len()).expect("we made it") == input);
    }
}
