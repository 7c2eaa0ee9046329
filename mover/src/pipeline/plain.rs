//! The wagon: the plain bytes of one content, in the pieces in which they were read. Nobody copies them until they are
//! encrypted.

use bytes::Bytes;
use windlass_repo_format::hashing::Pieces;

/// The bytes of a chunk, in order; no piece is empty. The memory behind a piece is free when all chunks in it are gone.
#[derive(Debug, Default)]
pub(crate) struct Plain {
    pieces: Vec<Bytes>,
    len: usize,
}

impl Plain {
    /// Appends a piece.
    pub(crate) fn push(&mut self, piece: Bytes) {
        self.len += piece.len();
        if !piece.is_empty() {
            self.pieces.push(piece);
        }
    }

    /// How many bytes there are.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether all bytes are zero. Others are mostly told by the first.
    pub(crate) fn is_zero(&self) -> bool {
        let blocks = self.pieces.iter().flat_map(|piece| piece.chunks(4096));
        blocks
            .into_iter()
            .all(|block| block.iter().fold(0, |all, byte| all | byte) == 0)
    }

    /// The pieces, to be put together in another way.
    pub(crate) fn into_pieces(self) -> Vec<Bytes> {
        self.pieces
    }

    /// The pieces, all of them.
    pub(crate) fn pieces(&self) -> Vec<&[u8]> {
        self.pieces.iter().map(|piece| &piece[..]).collect()
    }
}

impl Pieces for Plain {
    fn piece(&self, index: usize) -> Option<&[u8]> {
        self.pieces.get(index).map(|piece| &piece[..])
    }
}

impl From<Vec<u8>> for Plain {
    fn from(bytes: Vec<u8>) -> Self {
        let mut plain = Self::default();
        plain.push(bytes.into());
        plain
    }
}
