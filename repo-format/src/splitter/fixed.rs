//! The ruler: cuts after every so many bytes.

/// Cuts one object into chunks of one length.
#[derive(Clone, Debug)]
pub(super) struct Fixed {
    len: usize,
    /// Bytes of the current chunk seen so far, below `len`.
    filled: usize,
}

impl Fixed {
    pub(super) fn new(len: usize) -> Self {
        Self { len, filled: 0 }
    }

    pub(super) fn next_cut(&mut self, data: &[u8]) -> Option<usize> {
        let missing = self.len - self.filled;
        if data.len() < missing {
            self.filled += data.len();
            return None;
        }
        self.filled = 0;
        Some(missing)
    }
}
