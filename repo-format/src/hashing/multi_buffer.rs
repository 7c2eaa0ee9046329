//! The relay: several messages hashed side by side, each handed out as it ends and replaced by the next, so that no lane
//! waits for the longest.

use std::collections::VecDeque;

use super::{ContentHasher, Keyed};
use crate::id::ContentHash;
use crate::kernel::blake2b::Running;

/// Bytes in order, in pieces as they lie in memory.
pub trait Pieces {
    /// The piece of this number; `None` behind the last, and for all numbers behind that. Always the same bytes.
    fn piece(&self, index: usize) -> Option<&[u8]>;
}

impl Pieces for &[&[u8]] {
    fn piece(&self, index: usize) -> Option<&[u8]> {
        self.get(index).copied()
    }
}

/// Messages that are being hashed together.
///
/// Where a hash has no lanes on this machine, [`ContentHasher::lanes`] is 1 and they are hashed one after the other.
pub struct MultiBuffer<M> {
    hasher: ContentHasher,
    /// Where the messages in `lanes` have come to.
    running: Option<Running>,
    lanes: Vec<Option<M>>,
    waiting: VecDeque<M>,
    ended: VecDeque<(M, ContentHash)>,
}

impl<M: Pieces> MultiBuffer<M> {
    /// No messages yet.
    pub fn new(hasher: &ContentHasher) -> Self {
        let running = match &hasher.keyed {
            Keyed::Blake2b { lanes, .. } => lanes.as_ref().map(|lanes| lanes.start()),
            _ => None,
        };
        let lanes = running.iter().flat_map(|_| 0..hasher.lanes()).map(|_| None).collect();
        Self {
            hasher: hasher.clone(),
            running,
            lanes,
            waiting: VecDeque::new(),
            ended: VecDeque::new(),
        }
    }

    /// How many messages there are that were put in and have not come out.
    pub fn len(&self) -> usize {
        self.lanes.iter().flatten().count() + self.waiting.len() + self.ended.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds a message. With fewer than [`ContentHasher::lanes`] of them, some lanes do nothing.
    pub fn put(&mut self, message: M) {
        self.waiting.push_back(message);
    }

    /// A message whose hash is known, in no particular order; `None` when there are no messages.
    pub fn pop(&mut self) -> Option<(M, ContentHash)> {
        self.fill();
        while self.ended.is_empty() && self.lanes.iter().any(Option::is_some) {
            self.advance();
            // What takes a free lane may be of no length, and end there.
            self.fill();
        }
        self.ended.pop_front()
    }

    /// Gives all lanes a message, as far as there are some. A single one is faster without lanes.
    fn fill(&mut self) {
        let alone = self.waiting.len() == 1 && self.lanes.iter().all(Option::is_none);
        let (
            Keyed::Blake2b {
                lanes: Some(kernel), ..
            },
            Some(running),
            false,
        ) = (&self.hasher.keyed, &mut self.running, alone)
        else {
            if self.ended.is_empty()
                && let Some(message) = self.waiting.pop_front()
            {
                let pieces: Vec<&[u8]> = (0..).map_while(|index| message.piece(index)).collect();
                let hash = self.hasher.hash_pieces(&pieces);
                self.ended.push_back((message, hash));
            }
            return;
        };
        for (lane, place) in self.lanes.iter_mut().enumerate() {
            while place.is_none()
                && let Some(message) = self.waiting.pop_front()
            {
                match kernel.begin(running, lane, &message) {
                    Some(digest) => self.ended.push_back((message, self.hasher.kept(&digest))),
                    None => *place = Some(message),
                }
            }
        }
    }

    fn advance(&mut self) {
        let (
            Keyed::Blake2b {
                lanes: Some(kernel), ..
            },
            Some(running),
        ) = (&self.hasher.keyed, &mut self.running)
        else {
            return;
        };
        let mut free = Vec::new();
        kernel.advance(running, &self.lanes, |lane, digest| free.push((lane, digest)));
        for (lane, digest) in free {
            let message = self.lanes[lane].take().expect("what ended was there");
            self.ended.push_back((message, self.hasher.kept(&digest)));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::hashing::HashAlgorithm;

    /// A message that knows which one it is.
    struct Numbered(usize, Vec<Vec<u8>>);

    impl Pieces for Numbered {
        fn piece(&self, index: usize) -> Option<&[u8]> {
            self.1.get(index).map(|piece| &piece[..])
        }
    }

    fn noise(number: usize, len: usize) -> Vec<u8> {
        let start = number as u32 * 7919;
        let bytes = (0..len as u32).map(|index| ((start + index).wrapping_mul(2_654_435_761) >> 11) as u8);
        bytes.collect()
    }

    #[test]
    fn without_messages_nothing_comes() {
        for algorithm in HashAlgorithm::ALL {
            let hasher = ContentHasher::new(algorithm, &[3; 32]).unwrap();
            let mut buffers = MultiBuffer::<Numbered>::new(&hasher);
            assert!(buffers.pop().is_none() && buffers.is_empty());
            buffers.put(Numbered(0, Vec::new()));
            assert_eq!(buffers.len(), 1);
            let (message, hash) = buffers.pop().unwrap();
            assert_eq!((message.0, hash), (0, hasher.hash(b"")));
            assert!(buffers.pop().is_none() && buffers.is_empty());
        }
    }

    proptest! {
        /// Messages come in while others are halfway, some in many pieces, some empty.
        #[test]
        fn every_message_comes_out_once_with_its_own_hash(
            lens in prop::collection::vec(prop::collection::vec(prop_oneof![0usize..300, 0usize..9000], 0..4), 0..40),
            held in 1usize..20,
            algorithm in prop::sample::select(&[HashAlgorithm::Blake2b256_128, HashAlgorithm::Blake3_256][..]),
        ) {
            let hasher = ContentHasher::new(algorithm, &[9; 32]).unwrap();
            let mut coming = lens.iter().enumerate();
            let mut buffers = MultiBuffer::new(&hasher);
            let mut seen = vec![false; lens.len()];
            loop {
                while buffers.len() < held
                    && let Some((number, lens)) = coming.next()
                {
                    buffers.put(Numbered(number, lens.iter().map(|len| noise(number, *len)).collect()));
                }
                let Some((Numbered(number, pieces), hash)) = buffers.pop() else {
                    break;
                };
                prop_assert_eq!(hash, hasher.hash(&pieces.concat()));
                prop_assert!(!std::mem::replace(&mut seen[number], true));
            }
            prop_assert!(seen.into_iter().all(|seen| seen));
        }
    }
}
