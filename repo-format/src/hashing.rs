//! The hashing room: the keyed hashes a repository may name its contents by.

use std::fmt;

use aws_lc_rs::hmac as sha2_mac;
use blake2::digest::consts::{U16, U32};
use blake2::digest::{FixedOutput, KeyInit, Update};
use blake2::{Blake2bMac, Blake2sMac};
use blake2b_simd::many::{HashManyJob, degree, hash_many};
use hmac::SimpleHmac;
use sha3::{Sha3_224, Sha3_256};
use zeroize::Zeroizing;

use crate::FormatError;
use crate::id::ContentHash;

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
        lanes: blake2b_simd::Params,
    },
    Blake2s128(Blake2sMac<U16>),
    Blake2s256(Blake2sMac<U32>),
    Blake3(Zeroizing<[u8; blake3::KEY_LEN]>),
    Sha2(sha2_mac::Key),
    Sha3_224(SimpleHmac<Sha3_224>),
    Sha3_256(SimpleHmac<Sha3_256>),
}

impl ContentHasher {
    /// What stretches a secret that is too short for BLAKE3.
    const BLAKE3_STRETCH: &'static str = "kopia blake3 derived key v1";
    /// From so many messages on, lanes are faster than one message after the other.
    const LANES_WORTHWHILE: usize = 4;

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
                let mut lanes = blake2b_simd::Params::new();
                lanes.hash_length(32).key(secret);
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
                Keyed::Sha2(sha2_mac::Key::new(sha2_mac::HMAC_SHA256, secret))
            }
            HashAlgorithm::HmacSha224 => Keyed::Sha2(sha2_mac::Key::new(sha2_mac::HMAC_SHA224, secret)),
            HashAlgorithm::HmacSha3_224 => Keyed::Sha3_224(KeyInit::new_from_slice(secret).map_err(|_| bad())?),
            HashAlgorithm::HmacSha3_256 => Keyed::Sha3_256(KeyInit::new_from_slice(secret).map_err(|_| bad())?),
        };
        Ok(Self { algorithm, keyed })
    }

    /// Which hash this is.
    pub fn algorithm(&self) -> HashAlgorithm {
        self.algorithm
    }

    /// The hash of one plain content. The letter before the content's name is not part of the message.
    pub fn hash(&self, message: &[u8]) -> ContentHash {
        match &self.keyed {
            Keyed::Blake2b { one, .. } => self.kept(&finish(one.clone(), message)),
            Keyed::Blake2s128(mac) => self.kept(&finish(mac.clone(), message)),
            Keyed::Blake2s256(mac) => self.kept(&finish(mac.clone(), message)),
            Keyed::Blake3(key) => self.kept(blake3::keyed_hash(key, message).as_bytes()),
            Keyed::Sha2(key) => self.kept(sha2_mac::sign(key, message).as_ref()),
            Keyed::Sha3_224(mac) => self.kept(&finish(mac.clone(), message)),
            Keyed::Sha3_256(mac) => self.kept(&finish(mac.clone(), message)),
        }
    }

    /// The hashes of several contents, in their order. BLAKE2b takes them in lanes and refills a lane when its message
    /// ends, so many messages in one call are up to twice as fast as one by one; the others gain nothing.
    pub fn hash_many(&self, messages: &[&[u8]]) -> Vec<ContentHash> {
        let Keyed::Blake2b { lanes, .. } = &self.keyed else {
            return messages.iter().map(|message| self.hash(message)).collect();
        };
        if messages.len() < Self::LANES_WORTHWHILE || degree() < Self::LANES_WORTHWHILE {
            return messages.iter().map(|message| self.hash(message)).collect();
        }
        let mut jobs: Vec<_> = messages
            .iter()
            .map(|message| HashManyJob::new(lanes, message))
            .collect();
        hash_many(&mut jobs);
        jobs.iter().map(|job| self.kept(job.to_hash().as_bytes())).collect()
    }

    /// As much of a digest as the algorithm's name keeps.
    fn kept(&self, digest: &[u8]) -> ContentHash {
        ContentHash::new(&digest[..self.algorithm.output_len()]).expect("no algorithm keeps nothing, or over 32 bytes")
    }
}

/// Feeds one message to a keyed state and takes the digest out.
fn finish<M: Update + FixedOutput>(mut state: M, message: &[u8]) -> blake2::digest::Output<M> {
    state.update(message);
    state.finalize_fixed()
}

impl fmt::Debug for ContentHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContentHasher")
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}
