//! The warehouse's trial: the end of a pack, its local index, and the parity around what is stored.

use windlass_repo_format::ecc::EccCodec;
use windlass_repo_format::format_blob::RepositoryFormat;
use windlass_repo_format::index::{Index, IndexEntry};
use windlass_repo_format::pack::{Postamble, open_local_index};
use windlass_repo_format::sealing::Sealer;

use crate::bytes::Tickets;

pub(super) fn sealer() -> Sealer {
    Sealer::new(&RepositoryFormat::new_default([1; 32], [2; 32])).expect("the default format can be used")
}

/// A pack that ends with arbitrary bytes, and one whose local index is arbitrary bytes.
pub(super) fn pack(input: &[u8]) {
    let sealer = sealer();
    if let Ok(found) = Postamble::find(input) {
        let mut encoded = Vec::new();
        found.encode(&mut encoded);
        assert_eq!(Postamble::find(&encoded).expect("it was just encoded"), found);
        let pack_len = input.len() as u64;
        assert_eq!(
            found.index_in(input, pack_len).map(|index| index.len() as u64),
            found.index_range(pack_len).map(|range| range.end - range.start)
        );
        if let Some(sealed) = found.index_in(input, pack_len) {
            assert!(
                open_local_index(&sealer, &found, sealed).is_err(),
                "nobody has sealed this"
            );
        }
    }
    // The same bytes as a local index that was sealed as Kopia does it.
    let hash = sealer.hash(input);
    let mut bytes = vec![7; 100];
    let index_offset = bytes.len() as u64;
    sealer.seal_into(hash.as_bytes(), &[9; 12], input, &mut bytes);
    let postamble = Postamble {
        iv: hash,
        index_offset,
        index_len: bytes.len() as u64 - index_offset,
    };
    postamble.encode(&mut bytes);
    let found = Postamble::find(&bytes).expect("it was just written");
    assert_eq!(found, postamble);
    let sealed = found.index_in(&bytes, bytes.len() as u64).expect("it lies inside");
    let from_pack = open_local_index(&sealer, &found, sealed);
    let plain: Result<Vec<IndexEntry>, _> = Index::open(input).and_then(|index| index.iter().collect());
    assert_eq!(from_pack.ok(), plain.ok());
}

/// Arbitrary bytes as what is guarded, and as what is read back.
pub(super) fn error_correction(input: &[u8]) {
    let mut tickets = Tickets::new(input);
    let percent = tickets.byte() % 100 + 1;
    let (flip, at) = (tickets.byte() | 1, usize::from(tickets.word()));
    let rest = tickets.rest();
    let codec = EccCodec::new(percent).expect("it is a percentage");
    if let Ok(decoded) = codec.decode_counting(rest) {
        assert!(decoded.bytes.len() <= rest.len());
    }
    let mut stored = Vec::new();
    codec.encode_into(rest, &mut stored);
    assert_eq!(stored.len(), codec.encoded_len(rest.len()));
    assert!(codec.decode(&stored).expect("nothing is damaged") == rest);
    let place = at % stored.len();
    stored[place] ^= flip;
    let repaired = codec.decode_counting(&stored).expect("one byte can always be repaired");
    assert!(repaired.bytes == rest);
    assert!(repaired.damaged >= 1, "it was damaged");
}
