//! The encryption room: what seals contents and whole blobs, one key per initialisation vector.

use std::fmt;
use std::ops::Range;

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

    /// Appends the plain bytes, which may lie in several pieces, to `out`, sealed: [`OVERHEAD`] bytes more than they were.
    /// The pair of `iv` and `nonce` must never have been used for other bytes.
    pub fn seal_into(&self, iv: &[u8], nonce: &[u8; NONCE_LEN], plain: &[&[u8]], out: &mut Vec<u8>) {
        let key = self.content_key(iv);
        out.reserve(plain.iter().map(|piece| piece.len()).sum::<usize>() + OVERHEAD);
        out.extend_from_slice(nonce);
        let start = out.len();
        plain.iter().for_each(|piece| out.extend_from_slice(piece));
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let tag = key
            .seal_in_place_separate_tag(nonce, Aad::from(iv), &mut out[start..])
            .expect("a content is far below the 64 GiB that one nonce may seal");
        out.extend_from_slice(tag.as_ref());
    }

    /// Appends the plain bytes of `sealed` to `out`. When they were not sealed under `iv` with this key, or were
    /// changed since, `out` stays as it was and the error is [`FormatError::NotAuthentic`].
    pub fn open_into(&self, iv: &[u8], sealed: &[u8], out: &mut Vec<u8>) -> Result<(), FormatError> {
        let start = out.len();
        out.resize(start + sealed.len().saturating_sub(OVERHEAD), 0);
        let opened = self.open_onto(iv, sealed, &mut out[start..]);
        if opened.is_err() {
            out.truncate(start);
        }
        opened
    }

    /// As [`ContentEncryptor::open_into`], onto memory that has room for exactly the plain bytes: [`OVERHEAD`] fewer than
    /// `sealed` has. After an error nothing is to be made of what is there.
    pub fn open_onto(&self, iv: &[u8], sealed: &[u8], out: &mut [u8]) -> Result<(), FormatError> {
        let bad = FormatError::NotAuthentic { what: "sealed data" };
        let Some((nonce, rest)) = sealed.split_first_chunk() else {
            return Err(bad);
        };
        let Some((ciphertext, tag)) = rest.split_last_chunk::<TAG_LEN>() else {
            return Err(bad);
        };
        if ciphertext.len() != out.len() {
            return Err(bad);
        }
        let key = self.content_key(iv);
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let opened = key.open_separate_gather(nonce, Aad::from(iv), ciphertext, tag, out);
        opened.map_err(|_| bad)
    }

    /// Opens `sealed` where it lies, and says which of its bytes are the plain ones. When it was not sealed under `iv`
    /// with this key, or was changed since, its bytes mean nothing any more.
    ///
    /// # Errors
    /// [`FormatError::NotAuthentic`].
    pub fn open_in_place(&self, iv: &[u8], sealed: &mut [u8]) -> Result<Range<usize>, FormatError> {
        let bad = FormatError::NotAuthentic { what: "sealed data" };
        let Some((nonce, rest)) = sealed.split_first_chunk_mut() else {
            return Err(bad);
        };
        let nonce = Nonce::assume_unique_for_key(*nonce);
        match self.content_key(iv).open_in_place(nonce, Aad::from(iv), rest) {
            Ok(plain) => Ok(NONCE_LEN..NONCE_LEN + plain.len()),
            Err(_) => Err(bad),
        }
    }

    /// Seals plain bytes where they lie: `room` holds them with [`NONCE_LEN`] bytes free in front and the rest of
    /// [`OVERHEAD`] behind, and then what [`ContentEncryptor::seal_into`] would have appended.
    ///
    /// # Panics
    /// When `room` has fewer than [`OVERHEAD`] bytes.
    pub fn seal_in_place(&self, iv: &[u8], nonce: &[u8; NONCE_LEN], room: &mut [u8]) {
        let (front, rest) = room.split_at_mut(NONCE_LEN);
        let (plain, tag_at) = rest.split_at_mut(rest.len() - TAG_LEN);
        front.copy_from_slice(nonce);
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let tag = self
            .content_key(iv)
            .seal_in_place_separate_tag(nonce, Aad::from(iv), plain)
            .expect("an index is far below the 64 GiB that one nonce may seal");
        tag_at.copy_from_slice(tag.as_ref());
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

#[cfg(test)]
mod tests {
    use aes_gcm::Aes256Gcm;
    use aes_gcm::aead::{Aead, KeyInit, Payload};
    use proptest::prelude::*;

    use super::*;

    fn master_key() -> Vec<u8> {
        (0..32).collect()
    }

    fn iv() -> Vec<u8> {
        (0xa0..0xb0).collect()
    }

    const NONCE: [u8; 12] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11];

    fn encryptor(algorithm: EncryptionAlgorithm) -> ContentEncryptor {
        ContentEncryptor::new(algorithm, &master_key()).unwrap()
    }

    fn sealed(algorithm: EncryptionAlgorithm, plain: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        encryptor(algorithm).seal_into(&iv(), &NONCE, &[plain], &mut out);
        out
    }

    #[test]
    fn keys_are_what_kopia_derives() {
        let secret = derive_key(&master_key(), b"encryption", b"");
        assert_eq!(
            hex::encode(*secret),
            "e1f9e09d980a7ab1c7eea06c06e0a3bced0c4fa3b29ccd7e3f12e6f91ff3efe7"
        );
        let encryptor = encryptor(EncryptionAlgorithm::Aes256GcmHmacSha256);
        assert_eq!(
            hex::encode(hmac::sign(&encryptor.key_maker, &iv()).as_ref()),
            "81ca1d607b3a6601b0d6dbc73e62ce36360754c75091ca60443ea82404f33f72"
        );
    }

    #[test]
    fn sealed_bytes_are_what_kopia_makes() {
        let vectors = [
            (
                "AES256-GCM-HMAC-SHA256",
                "000102030405060708090a0bc866f331cea192e8e62d1d7ed1dbe8453d60349ab0",
            ),
            (
                "CHACHA20-POLY1305-HMAC-SHA256",
                "000102030405060708090a0babcb13e4226814d231360d559455fe39ac1043ce83",
            ),
        ];
        assert_eq!(vectors.len(), EncryptionAlgorithm::ALL.len());
        for (name, expected) in vectors {
            let algorithm = EncryptionAlgorithm::from_name(name).unwrap();
            assert_eq!(hex::encode(sealed(algorithm, b"hello")), expected);
            assert_eq!(algorithm.name(), name);
        }
        assert!(EncryptionAlgorithm::from_name("NONE").is_err());
    }

    #[test]
    fn damage_anywhere_is_noticed_and_leaves_the_output_alone() {
        for algorithm in EncryptionAlgorithm::ALL {
            let whole = sealed(algorithm, b"hello");
            let refused = |iv: &[u8], bytes: &[u8]| {
                let mut out = b"before".to_vec();
                let error = encryptor(algorithm).open_into(iv, bytes, &mut out).unwrap_err();
                assert!(matches!(error, FormatError::NotAuthentic { .. }));
                assert_eq!(out, b"before");
                let error = encryptor(algorithm).open_in_place(iv, &mut bytes.to_vec()).unwrap_err();
                assert!(matches!(error, FormatError::NotAuthentic { .. }));
            };
            for at in 0..whole.len() {
                let mut damaged = whole.clone();
                damaged[at] ^= 1;
                refused(&iv(), &damaged);
                refused(&iv(), &whole[..at]);
            }
            refused(&iv()[1..], &whole);
        }
    }

    #[test]
    fn no_master_key_is_no_encryption() {
        assert!(ContentEncryptor::new(EncryptionAlgorithm::Aes256GcmHmacSha256, b"").is_err());
    }

    proptest! {
        #[test]
        fn another_implementation_seals_the_same(
            plain in prop::collection::vec(any::<u8>(), 0..2000),
            iv in prop::collection::vec(any::<u8>(), 1..33),
            nonce: [u8; 12],
        ) {
            let encryptor = encryptor(EncryptionAlgorithm::Aes256GcmHmacSha256);
            let mut ours = b"before".to_vec();
            encryptor.seal_into(&iv, &nonce, &[&plain], &mut ours);
            prop_assert_eq!(ours.len(), 6 + plain.len() + OVERHEAD);

            let key = hmac::sign(&encryptor.key_maker, &iv);
            let oracle = Aes256Gcm::new_from_slice(key.as_ref()).unwrap();
            let theirs = oracle.encrypt(&nonce.into(), Payload { msg: &plain, aad: &iv }).unwrap();
            prop_assert_eq!(&ours[6 + NONCE_LEN..], &theirs[..]);

            let mut opened = Vec::new();
            encryptor.open_into(&iv, &ours[6..], &mut opened).unwrap();
            prop_assert_eq!(opened, plain);
        }

        #[test]
        fn what_was_sealed_opens(plain in prop::collection::vec(any::<u8>(), 0..2000), iv: [u8; 16], nonce: [u8; 12]) {
            for algorithm in EncryptionAlgorithm::ALL {
                let mut sealed = Vec::new();
                encryptor(algorithm).seal_into(&iv, &nonce, &[&plain], &mut sealed);
                let mut opened = Vec::new();
                encryptor(algorithm).open_into(&iv, &sealed, &mut opened).unwrap();
                prop_assert_eq!(&opened, &plain);
                let place = encryptor(algorithm).open_in_place(&iv, &mut sealed).unwrap();
                prop_assert_eq!(&sealed[place], &plain);
            }
        }
    }
}
