//! The hashing room: the keyed hashes a repository may name its contents by.

use std::fmt;

use aws_lc_rs::hmac as sha2_mac;
use blake2::digest::consts::{U16, U32};
use blake2::digest::{FixedOutput, KeyInit, Update};
use blake2::{Blake2bMac, Blake2sMac};
use hmac::SimpleHmac;
use sha3::{Sha3_224, Sha3_256};
use zeroize::Zeroizing;

use crate::FormatError;
use crate::id::ContentHash;
use crate::kernel;
use crate::kernel::blake2b::Lanes;

mod multi_buffer;

pub use multi_buffer::{MultiBuffer, Pieces};

/// A keyed hash by the name the format blob gives it in `hash`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HashAlgorithm {
    /// Keyed BLAKE2b with a digest of 32 bytes, the first 16 kept: Kopia's default.
    Blake2b256_128,
    /// Keyed BLAKE2b with a digest of 32 bytes.
    Blake2b256,
    /// Keyed BLAKE2s with a digest of 16 bytes. The parameter block says 16, so it is no truncation of the longer one.
    Blake2s128,
    /// Keyed BLAKE2s with a digest of 32 bytes.
    Blake2s256,
    /// Keyed BLAKE3, 32 bytes.
    Blake3_256,
    /// Keyed BLAKE3, the first 16 bytes.
    Blake3_256_128,
    /// HMAC with SHA-256.
    HmacSha256,
    /// HMAC with SHA-256, the first 16 bytes.
    HmacSha256_128,
    /// HMAC with SHA-224, 28 bytes.
    HmacSha224,
    /// HMAC with SHA3-224, 28 bytes.
    HmacSha3_224,
    /// HMAC with SHA3-256.
    HmacSha3_256,
}

impl HashAlgorithm {
    /// All of them, in the order of the enumeration.
    pub const ALL: [Self; 11] = [
        Self::Blake2b256_128,
        Self::Blake2b256,
        Self::Blake2s128,
        Self::Blake2s256,
        Self::Blake3_256,
        Self::Blake3_256_128,
        Self::HmacSha256,
        Self::HmacSha256_128,
        Self::HmacSha224,
        Self::HmacSha3_224,
        Self::HmacSha3_256,
    ];

    /// The name in the format blob.
    pub fn name(self) -> &'static str {
        match self {
            Self::Blake2b256_128 => "BLAKE2B-256-128",
            Self::Blake2b256 => "BLAKE2B-256",
            Self::Blake2s128 => "BLAKE2S-128",
            Self::Blake2s256 => "BLAKE2S-256",
            Self::Blake3_256 => "BLAKE3-256",
            Self::Blake3_256_128 => "BLAKE3-256-128",
            Self::HmacSha256 => "HMAC-SHA256",
            Self::HmacSha256_128 => "HMAC-SHA256-128",
            Self::HmacSha224 => "HMAC-SHA224",
            Self::HmacSha3_224 => "HMAC-SHA3-224",
            Self::HmacSha3_256 => "HMAC-SHA3-256",
        }
    }

    /// The algorithm of this name; the error repeats a name that is none.
    pub fn from_name(name: &str) -> Result<Self, FormatError> {
        let known = Self::ALL.into_iter().find(|algorithm| algorithm.name() == name);
        known.ok_or_else(|| FormatError::unknown_algorithm("content hash", name))
    }

    /// How many bytes a hash has: 16, 28 or 32.
    pub fn output_len(self) -> usize {
        match self {
            Self::Blake2b256_128 | Self::Blake2s128 | Self::Blake3_256_128 | Self::HmacSha256_128 => 16,
            Self::HmacSha224 | Self::HmacSha3_224 => 28,
            Self::Blake2b256 | Self::Blake2s256 | Self::Blake3_256 | Self::HmacSha256 | Self::HmacSha3_256 => 32,
        }
    }
}

/// Hashes plain contents with the secret of one repository. It is made once: each message starts from a copy of a
/// state that has taken in the key already.
#[derive(Clone)]
pub struct ContentHasher {
    algorithm: HashAlgorithm,
    keyed: Keyed,
}

#[derive(Clone)]
enum Keyed {
    Blake2b {
        one: Blake2bMac<U32>,
        /// Where the processor has instructions for it.
        lanes: Option<Box<Lanes>>,
    },
    Blake2s128(Blake2sMac<U16>),
    Blake2s256(Blake2sMac<U32>),
    Blake3(Zeroizing<[u8; blake3::KEY_LEN]>),
    Sha2(Box<sha2_mac::Key>),
    Sha3_224(Box<SimpleHmac<Sha3_224>>),
    Sha3_256(Box<SimpleHmac<Sha3_256>>),
}

impl ContentHasher {
    /// What stretches a secret that is too short for BLAKE3.
    const BLAKE3_STRETCH: &'static str = "kopia blake3 derived key v1";

    /// A hasher keyed with `secret`, which is 32 bytes in every repository Kopia makes.
    ///
    /// An empty secret is refused, and one longer than the algorithm takes: 64 bytes for BLAKE2b, 32 for BLAKE2s.
    pub fn new(algorithm: HashAlgorithm, secret: &[u8]) -> Result<Self, FormatError> {
        let bad = || FormatError::BadHashSecret {
            algorithm: algorithm.name(),
            len: secret.len(),
        };
        if secret.is_empty() {
            return Err(bad());
        }
        let keyed = match algorithm {
            HashAlgorithm::Blake2b256_128 | HashAlgorithm::Blake2b256 => {
                let one = Blake2bMac::new_from_slice(secret).map_err(|_| bad())?;
                let lanes = Lanes::new(secret, kernel::instructions()).map(Box::new);
                Keyed::Blake2b { one, lanes }
            }
            HashAlgorithm::Blake2s128 => Keyed::Blake2s128(KeyInit::new_from_slice(secret).map_err(|_| bad())?),
            HashAlgorithm::Blake2s256 => Keyed::Blake2s256(KeyInit::new_from_slice(secret).map_err(|_| bad())?),
            HashAlgorithm::Blake3_256 | HashAlgorithm::Blake3_256_128 => {
                let key = match secret.first_chunk() {
                    Some(key) => *key,
                    None => blake3::derive_key(Self::BLAKE3_STRETCH, secret),
                };
                Keyed::Blake3(Zeroizing::new(key))
            }
            HashAlgorithm::HmacSha256 | HashAlgorithm::HmacSha256_128 => {
                Keyed::Sha2(Box::new(sha2_mac::Key::new(sha2_mac::HMAC_SHA256, secret)))
            }
            HashAlgorithm::HmacSha224 => Keyed::Sha2(Box::new(sha2_mac::Key::new(sha2_mac::HMAC_SHA224, secret))),
            HashAlgorithm::HmacSha3_224 => {
                Keyed::Sha3_224(Box::new(KeyInit::new_from_slice(secret).map_err(|_| bad())?))
            }
            HashAlgorithm::HmacSha3_256 => {
                Keyed::Sha3_256(Box::new(KeyInit::new_from_slice(secret).map_err(|_| bad())?))
            }
        };
        Ok(Self { algorithm, keyed })
    }

    /// Which hash this is.
    pub fn algorithm(&self) -> HashAlgorithm {
        self.algorithm
    }

    /// How many messages [`MultiBuffer`] takes side by side on this machine: with fewer, some lanes do nothing.
    pub fn lanes(&self) -> usize {
        match &self.keyed {
            Keyed::Blake2b { lanes: Some(lanes), .. } => lanes.count(),
            _ => 1,
        }
    }

    /// The hash of one plain content. The letter before the content's name is not part of the message.
    pub fn hash(&self, message: &[u8]) -> ContentHash {
        self.hash_pieces(&[message])
    }

    /// The hash of a plain content that lies in several pieces.
    pub fn hash_pieces(&self, pieces: &[&[u8]]) -> ContentHash {
        match &self.keyed {
            Keyed::Blake2b { one, .. } => self.kept(&finish(one.clone(), pieces)),
            Keyed::Blake2s128(mac) => self.kept(&finish(mac.clone(), pieces)),
            Keyed::Blake2s256(mac) => self.kept(&finish(mac.clone(), pieces)),
            Keyed::Blake3(key) => {
                let mut state = blake3::Hasher::new_keyed(key);
                for piece in pieces {
                    state.update(piece);
                }
                self.kept(state.finalize().as_bytes())
            }
            Keyed::Sha2(key) => {
                let mut state = sha2_mac::Context::with_key(key);
                pieces.iter().for_each(|piece| state.update(piece));
                self.kept(state.sign().as_ref())
            }
            Keyed::Sha3_224(mac) => self.kept(&finish(SimpleHmac::clone(mac), pieces)),
            Keyed::Sha3_256(mac) => self.kept(&finish(SimpleHmac::clone(mac), pieces)),
        }
    }

    /// The hashes of several contents, each in pieces, in their order. BLAKE2b takes them in lanes and refills a lane when
    /// its message ends, so many messages in one call are several times as fast as one by one; the others gain nothing.
    /// Where messages come and go, [`MultiBuffer`] keeps the lanes full from one to the next.
    pub fn hash_many(&self, messages: &[&[&[u8]]]) -> Vec<ContentHash> {
        let mut buffers = MultiBuffer::new(self);
        messages
            .iter()
            .enumerate()
            .for_each(|message| buffers.put(Numbered(message)));
        let mut hashes = vec![None; messages.len()];
        while let Some((Numbered((number, _)), hash)) = buffers.pop() {
            hashes[number] = Some(hash);
        }
        let hashes = hashes.into_iter();
        hashes.map(|hash| hash.expect("what is put in comes out")).collect()
    }

    /// As much of a digest as the algorithm's name keeps.
    fn kept(&self, digest: &[u8]) -> ContentHash {
        ContentHash::new(&digest[..self.algorithm.output_len()]).expect("no algorithm keeps nothing, or over 32 bytes")
    }
}

/// A message and its place in the order.
struct Numbered<'a>((usize, &'a &'a [&'a [u8]]));

impl Pieces for Numbered<'_> {
    fn piece(&self, index: usize) -> Option<&[u8]> {
        self.0.1.get(index).copied()
    }
}

/// Feeds one message to a keyed state and takes the digest out.
fn finish<M: Update + FixedOutput>(mut state: M, pieces: &[&[u8]]) -> blake2::digest::Output<M> {
    pieces.iter().for_each(|piece| state.update(piece));
    state.finalize_fixed()
}

impl fmt::Debug for ContentHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContentHasher")
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn secret() -> Vec<u8> {
        (0..32).collect()
    }

    #[test]
    fn every_hash_is_what_kopia_makes() {
        let vectors = [
            ("BLAKE2B-256-128", "bc2cf927f9ed52cc29116e6a5cfdbdf9"),
            (
                "BLAKE2B-256",
                "bc2cf927f9ed52cc29116e6a5cfdbdf96a7250f85db66887b13652596bf40d61",
            ),
            ("BLAKE2S-128", "1f946dc212a39570bc06fd378517a91e"),
            (
                "BLAKE2S-256",
                "9eb0cbcd6be5835f87e6c7d7f9bfcb07454a311777a671f274222bab4c191dea",
            ),
            ("BLAKE3-256-128", "23278c18c8c9fe0fbfadfb940af5f08d"),
            (
                "BLAKE3-256",
                "23278c18c8c9fe0fbfadfb940af5f08d3fd1802bf919dd6d77ebd211a19fbe29",
            ),
            ("HMAC-SHA256-128", "53c40272a70c15ca4ee0af4df1f155fd"),
            (
                "HMAC-SHA256",
                "53c40272a70c15ca4ee0af4df1f155fd6c41e00ce2307d8987ecd4bb36a7e990",
            ),
            (
                "HMAC-SHA224",
                "37f5f97c60a525c95aa82d8b17f759224536bf18a922d52f0311df41",
            ),
            (
                "HMAC-SHA3-224",
                "3ad0789a45fa11d480688d11c59d27147ba7460753e1b87d89117a07",
            ),
            (
                "HMAC-SHA3-256",
                "e6d520deb05cf56101c5bbbc508af68ee30d077975a59ed8a70523d8ea84e11e",
            ),
        ];
        assert_eq!(vectors.len(), HashAlgorithm::ALL.len());
        for (name, expected) in vectors {
            let algorithm = HashAlgorithm::from_name(name).unwrap();
            let hash = ContentHasher::new(algorithm, &secret()).unwrap().hash(b"hello");
            assert_eq!(hash.to_string(), expected, "{name}");
            assert_eq!(hash.as_bytes().len(), algorithm.output_len(), "{name}");
            assert_eq!(algorithm.name(), name);
        }
    }

    #[test]
    fn an_unknown_name_is_repeated_in_the_error() {
        let error = HashAlgorithm::from_name("MD5").unwrap_err();
        assert_eq!(error.to_string(), "unknown content hash \"MD5\"");
        let error = HashAlgorithm::from_name(&"x".repeat(5000)).unwrap_err();
        assert!(error.to_string().len() < 120);
    }

    #[test]
    fn secrets_that_kopia_never_makes_are_refused_or_hashed_but_do_not_panic() {
        for algorithm in HashAlgorithm::ALL {
            assert!(ContentHasher::new(algorithm, b"").is_err());
            for len in [1, 31, 32] {
                assert!(
                    ContentHasher::new(algorithm, &vec![7; len]).is_ok(),
                    "{algorithm:?} {len}"
                );
            }
        }
        let refused = |algorithm, len| ContentHasher::new(algorithm, &vec![7; len]).is_err();
        assert!(!refused(HashAlgorithm::Blake2b256, 64));
        assert!(refused(HashAlgorithm::Blake2b256, 65));
        assert!(refused(HashAlgorithm::Blake2s128, 33));
        assert!(!refused(HashAlgorithm::HmacSha224, 1000));
    }

    #[test]
    fn blake3_takes_the_first_32_bytes_of_a_longer_secret() {
        let long = ContentHasher::new(HashAlgorithm::Blake3_256, &[&secret()[..], b"more"].concat()).unwrap();
        let short = ContentHasher::new(HashAlgorithm::Blake3_256, &secret()).unwrap();
        assert_eq!(long.hash(b"hello"), short.hash(b"hello"));
    }

    #[test]
    fn nothing_secret_is_printed() {
        let hasher = ContentHasher::new(HashAlgorithm::HmacSha3_256, &secret()).unwrap();
        assert_eq!(format!("{hasher:?}"), "ContentHasher { algorithm: HmacSha3_256, .. }");
    }

    proptest! {
        #[test]
        fn many_at_once_and_in_pieces_are_the_same_as_one_by_one(
            lens in prop::collection::vec(
                (prop_oneof![0usize..5, 120usize..140, 250usize..260, 0usize..5000], 0usize..=5000),
                0..40,
            ),
        ) {
            let bytes: Vec<u8> = (0..5000u32).map(|i| (i * 31 % 251) as u8).collect();
            let messages: Vec<&[u8]> = lens.iter().map(|(len, _)| &bytes[..*len]).collect();
            let pieces: Vec<[&[u8]; 2]> = lens
                .iter()
                .map(|(len, at)| bytes[..*len].split_at(*at.min(len)).into())
                .collect();
            let in_pieces: Vec<&[&[u8]]> = pieces.iter().map(|pieces| &pieces[..]).collect();
            for algorithm in HashAlgorithm::ALL {
                let hasher = ContentHasher::new(algorithm, &secret()).unwrap();
                let single: Vec<_> = messages.iter().map(|message| hasher.hash(message)).collect();
                prop_assert_eq!(hasher.hash_many(&in_pieces), single);
            }
        }
    }
}
