//! The encryption room: what seals contents and whole blobs, one key per initialisation vector.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hmac;
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::FormatError;

/// Bytes of the nonce that leads every sealed byte string.
pub const NONCE_LEN: usize = 12;
/// Bytes of the tag that ends every sealed byte string.
pub const TAG_LEN: usize = 16;
/// How much longer a byte string is once it is sealed: nonce and tag.
pub const OVERHEAD: usize = NONCE_LEN + TAG_LEN;

/// A content encryption by the name the format blob gives it in `encryption`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EncryptionAlgorithm {
    /// AES-256 in Galois counter mode: Kopia's default.
    Aes256GcmHmacSha256,
    /// ChaCha20-Poly1305 of RFC 8439.
    ChaCha20Poly1305HmacSha256,
}

impl EncryptionAlgorithm {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Aes256GcmHmacSha256, Self::ChaCha20Poly1305HmacSha256];

    /// The name in the format blob.
    pub fn name(self) -> &'static str {
        match self {
            Self::Aes256GcmHmacSha256 => "AES256-GCM-HMAC-SHA256",
            Self::ChaCha20Poly1305HmacSha256 => "CHACHA20-POLY1305-HMAC-SHA256",
        }
    }

    /// The algorithm of this name; the error repeats a name that is none.
    pub fn from_name(name: &str) -> Result<Self, FormatError> {
        let known = Self::ALL.into_iter().find(|algorithm| algorithm.name() == name);
        known.ok_or_else(|| FormatError::unknown_algorithm("content encryption", name))
    }
}

/// Seals and opens with the master key of one repository.
///
/// | bytes   | field      | meaning                                                      |
/// |---------|------------|--------------------------------------------------------------|
/// | 0..12   | nonce      | never used twice with one initialisation vector              |
/// | 12..n   | ciphertext | as long as the plain bytes                                   |
/// | n..n+16 | tag        | vouches for the ciphertext and for the initialisation vector |
///
/// The key is `HMAC-SHA256(HKDF(master key, salt "encryption"), iv)`: what was sealed under one name cannot be opened
/// under another.
#[derive(Clone)]
pub struct ContentEncryptor {
    algorithm: EncryptionAlgorithm,
    key_maker: hmac::Key,
}

impl ContentEncryptor {
    /// Kopia gives the purpose as the salt here, and as the info everywhere else.
    const PURPOSE: &'static [u8] = b"encryption";

    /// An encryptor for the master key of a repository, which is 32 bytes in every repository Kopia makes. An empty one
    /// is refused.
    pub fn new(algorithm: EncryptionAlgorithm, master_key: &[u8]) -> Result<Self, FormatError> {
        if master_key.is_empty() {
            return Err(FormatError::NoMasterKey);
        }
        let secret = derive_key(master_key, Self::PURPOSE, b"");
        Ok(Self {
            algorithm,
            key_maker: hmac::Key::new(hmac::HMAC_SHA256, &*secret),
        })
    }

    /// Which encryption this is.
    pub fn algorithm(&self) -> EncryptionAlgorithm {
        self.algorithm
    }

    /// Appends `plain` to `out`, sealed: [`OVERHEAD`] bytes more than it had. The pair of `iv` and `nonce` must never
    /// have been used for other bytes.
    pub fn seal_into(&self, iv: &[u8], nonce: &[u8; NONCE_LEN], plain: &[u8], out: &mut Vec<u8>) {
        let key = self.content_key(iv);
        out.reserve(plain.len() + OVERHEAD);
        out.extend_from_slice(nonce);
        let start = out.len();
        out.extend_from_slice(plain);
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let tag = key
            .seal_in_place_separate_tag(nonce, Aad::from(iv), &mut out[start..])
            .expect("a content is far below the 64 GiB that one nonce may seal");
        out.extend_from_slice(tag.as_ref());
    }

    /// Appends the plain bytes of `sealed` to `out`. When they were not sealed under `iv` with this key, or were
    /// changed since, `out` stays as it was and the error is [`FormatError::NotAuthentic`].
    pub fn open_into(&self, iv: &[u8], sealed: &[u8], out: &mut Vec<u8>) -> Result<(), FormatError> {
        let bad = FormatError::NotAuthentic { what: "sealed data" };
        let Some((nonce, rest)) = sealed.split_first_chunk() else {
            return Err(bad);
        };
        let Some((ciphertext, tag)) = rest.split_last_chunk::<TAG_LEN>() else {
            return Err(bad);
        };
        let key = self.content_key(iv);
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let start = out.len();
        out.resize(start + ciphertext.len(), 0);
        let opened = key.open_separate_gather(nonce, Aad::from(iv), ciphertext, tag, &mut out[start..]);
        opened.map_err(|_| {
            out.truncate(start);
            bad
        })
    }

    fn content_key(&self, iv: &[u8]) -> LessSafeKey {
        let mut key = Zeroizing::new([0; 32]);
        hmac::sign_to_buffer(&self.key_maker, iv, &mut *key).expect("HMAC-SHA256 gives 32 bytes");
        let algorithm = match self.algorithm {
            EncryptionAlgorithm::Aes256GcmHmacSha256 => &AES_256_GCM,
            EncryptionAlgorithm::ChaCha20Poly1305HmacSha256 => &CHACHA20_POLY1305,
        };
        LessSafeKey::new(UnboundKey::new(algorithm, &*key).expect("both algorithms take keys of 32 bytes"))
    }
}

impl fmt::Debug for ContentEncryptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContentEncryptor")
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

/// HKDF with SHA-256: 32 bytes for a purpose.
pub(crate) fn derive_key(material: &[u8], salt: &[u8], info: &[u8]) -> Zeroizing<[u8; 32]> {
    let mut key = Zeroizing::new([0; 32]);
    Hkdf::<Sha256>::new(Some(salt), material)
        .expand(info, &mut *key)
        .expect("32 bytes are far below the limit of HKDF");
    key
}

/// Seals with AES-256-GCM outside of the contents: format blob, blob configuration, maintenance schedule.
pub(crate) fn seal_aes(key: &[u8; 32], nonce: &[u8; NONCE_LEN], plain: &[u8], associated: &[u8]) -> Vec<u8> {
    let mut sealed = Vec::with_capacity(plain.len() + OVERHEAD);
    sealed.extend_from_slice(nonce);
    sealed.extend_from_slice(plain);
    let tag = aes_key(key)
        .seal_in_place_separate_tag(
            Nonce::assume_unique_for_key(*nonce),
            Aad::from(associated),
            &mut sealed[NONCE_LEN..],
        )
        .expect("these blobs are far below the 64 GiB that one nonce may seal");
    sealed.extend_from_slice(tag.as_ref());
    sealed
}

/// Opens what [`seal_aes`] made; `None` when the key, the associated bytes or the sealed bytes are not the same.
pub(crate) fn open_aes(key: &[u8; 32], sealed: &[u8], associated: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (nonce, rest) = sealed.split_first_chunk()?;
    let (ciphertext, tag) = rest.split_last_chunk::<TAG_LEN>()?;
    let mut plain = Zeroizing::new(vec![0; ciphertext.len()]);
    let nonce = Nonce::assume_unique_for_key(*nonce);
    let opened = aes_key(key).open_separate_gather(nonce, Aad::from(associated), ciphertext, tag, &mut plain);
    opened.ok().map(|()| plain)
}

fn aes_key(key: &[u8; 32]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).expect("AES-256 takes keys of 32 bytes"))
}
