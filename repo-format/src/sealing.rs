//! The sealing room: all a content or a blob goes through on its way into storage (hash, encrypt, guard) and back.

use std::ops::Range;
use std::sync::Arc;

use crate::FormatError;
use crate::ecc::EccCodec;
use crate::encryption::{ContentEncryptor, NONCE_LEN, OVERHEAD};
use crate::format_blob::RepositoryFormat;
use crate::hashing::ContentHasher;
use crate::id::{BlobId, ContentHash};

/// The algorithms and keys of one repository, ready for use. Cheap to clone, shared by threads.
///
/// What goes into storage is `guard(nonce || ciphertext || tag)`: the error correction, where a repository has it,
/// comes after the encryption.
#[derive(Clone, Debug)]
pub struct Sealer(Arc<Stages>);

#[derive(Debug)]
struct Stages {
    hasher: ContentHasher,
    encryptor: ContentEncryptor,
    guard: Option<EccCodec>,
}

impl Sealer {
    /// What the format asks for; refused when a key or the overhead of the error correction is out of its range.
    pub fn new(format: &RepositoryFormat) -> Result<Self, FormatError> {
        let guard = match format.ecc_overhead_percent {
            0 => None,
            percent => Some(EccCodec::new(percent)?),
        };
        Ok(Self(Arc::new(Stages {
            hasher: ContentHasher::new(format.hash, format.secret.as_bytes())?,
            encryptor: ContentEncryptor::new(format.encryption, format.master_key.as_bytes())?,
            guard,
        })))
    }

    /// The keyed hash of some plain bytes.
    pub fn hash(&self, plain: &[u8]) -> ContentHash {
        self.0.hasher.hash(plain)
    }

    /// The hasher itself, for many messages at once.
    pub fn hasher(&self) -> &ContentHasher {
        &self.0.hasher
    }

    /// Appends `plain` to `out` as it lies in storage, [`Sealer::sealed_len`] bytes. The pair of `iv` and `nonce` must
    /// never have been used for other bytes. For a content the `iv` is [`ContentHash::iv`] of its hash; for the local
    /// index of a pack it is the whole hash.
    pub fn seal_into(&self, iv: &[u8], nonce: &[u8; NONCE_LEN], plain: &[u8], out: &mut Vec<u8>) {
        self.seal_pieces_into(iv, nonce, &[plain], out);
    }

    /// As [`Sealer::seal_into`], of plain bytes that lie in several pieces.
    pub fn seal_pieces_into(&self, iv: &[u8], nonce: &[u8; NONCE_LEN], plain: &[&[u8]], out: &mut Vec<u8>) {
        let Some(guard) = &self.0.guard else {
            return self.0.encryptor.seal_into(iv, nonce, plain, out);
        };
        let mut sealed = Vec::new();
        self.0.encryptor.seal_into(iv, nonce, plain, &mut sealed);
        guard.encode_into(&sealed, out);
    }

    /// The plain bytes of what [`Sealer::seal_into`] stored under `iv`. That they are authentic is all that is known:
    /// as in Kopia, the hash is not made again.
    ///
    /// # Errors
    /// [`FormatError::NotAuthentic`] when the bytes were changed or sealed otherwise, and
    /// [`FormatError::EccBeyondRepair`] when parity cannot make good what was lost.
    pub fn open(&self, iv: &[u8], stored: &[u8]) -> Result<Vec<u8>, FormatError> {
        let mut plain = Vec::new();
        match &self.0.guard {
            None => self.0.encryptor.open_into(iv, stored, &mut plain)?,
            Some(guard) => self.0.encryptor.open_into(iv, &guard.decode(stored)?, &mut plain)?,
        }
        Ok(plain)
    }

    /// How many plain bytes so many bytes of storage hold, where that can be told before they are opened: without error
    /// correction.
    pub fn plain_len(&self, stored_len: usize) -> Option<usize> {
        match &self.0.guard {
            None => stored_len.checked_sub(OVERHEAD),
            Some(_) => None,
        }
    }

    /// As [`Sealer::open`], onto memory with room for exactly [`Sealer::plain_len`] bytes; refused where that is not known.
    /// After an error nothing is to be made of what is there.
    pub fn open_onto(&self, iv: &[u8], stored: &[u8], out: &mut [u8]) -> Result<(), FormatError> {
        match &self.0.guard {
            None => self.0.encryptor.open_onto(iv, stored, out),
            Some(_) => Err(FormatError::NotAuthentic { what: "sealed data" }),
        }
    }

    /// How many bytes of storage so many plain bytes take.
    pub fn sealed_len(&self, plain_len: usize) -> usize {
        let sealed = plain_len + OVERHEAD;
        self.0.guard.as_ref().map_or(sealed, |guard| guard.encoded_len(sealed))
    }

    /// Seals a whole blob (index, session marker, log) and names it `prefix || hex(hash)`, followed by `-suffix` unless
    /// the suffix is empty. `nonce` must be fresh.
    pub fn seal_blob(&self, prefix: &str, suffix: &str, nonce: &[u8; NONCE_LEN], plain: &[u8]) -> (BlobId, Vec<u8>) {
        let hash = self.hash(plain);
        let mut stored = Vec::with_capacity(self.sealed_len(plain.len()));
        self.seal_into(hash.iv(), nonce, plain, &mut stored);
        (blob_name(prefix, &hash, suffix), stored)
    }

    /// The bytes that [`Sealer::seal_blob_in_place`] needs in front of the plain ones and behind them; `None` with error
    /// correction, which needs them all anew.
    pub fn room_around(&self) -> Option<(usize, usize)> {
        self.0.guard.is_none().then_some((NONCE_LEN, OVERHEAD - NONCE_LEN))
    }

    /// As [`Sealer::seal_blob`], where the plain bytes lie: `room` has [`Sealer::room_around`] them. For blobs that are too
    /// large to be held twice.
    ///
    /// # Panics
    /// With error correction, or when there is less room than that.
    pub fn seal_blob_in_place(&self, prefix: &str, suffix: &str, nonce: &[u8; NONCE_LEN], room: &mut [u8]) -> BlobId {
        let (front, back) = self.room_around().expect("without error correction there is room");
        let hash = self.hash(&room[front..room.len() - back]);
        self.0.encryptor.seal_in_place(hash.iv(), nonce, room);
        blob_name(prefix, &hash, suffix)
    }

    /// The plain bytes of a whole blob. Its initialisation vector is in its name, so a renamed blob cannot be opened.
    ///
    /// # Errors
    /// [`FormatError::BlobNameWithoutHash`] when the name is not that of a sealed blob, else
    /// [`FormatError::SealedBlob`] around what [`Sealer::open`] says.
    pub fn open_blob(&self, blob: &BlobId, stored: &[u8]) -> Result<Vec<u8>, FormatError> {
        let iv = blob_iv(blob).ok_or_else(|| FormatError::BlobNameWithoutHash { blob: blob.clone() })?;
        self.open(&iv, stored).map_err(|source| FormatError::SealedBlob {
            blob: blob.clone(),
            source: Box::new(source),
        })
    }

    /// As [`Sealer::open_blob`], where the stored bytes lie: gives the range of the plain ones among them. After an error they
    /// mean nothing any more. For blobs that are too large to be held twice; with error correction the blob is.
    ///
    /// # Errors
    /// As [`Sealer::open_blob`].
    pub fn open_blob_in_place(&self, blob: &BlobId, stored: &mut [u8]) -> Result<Range<usize>, FormatError> {
        let iv = blob_iv(blob).ok_or_else(|| FormatError::BlobNameWithoutHash { blob: blob.clone() })?;
        let opened = match &self.0.guard {
            None => self.0.encryptor.open_in_place(&iv, stored),
            Some(_) => self.open(&iv, stored).map(|plain| {
                stored[..plain.len()].copy_from_slice(&plain);
                0..plain.len()
            }),
        };
        opened.map_err(|source| FormatError::SealedBlob {
            blob: blob.clone(),
            source: Box::new(source),
        })
    }
}

fn blob_name(prefix: &str, hash: &ContentHash, suffix: &str) -> BlobId {
    let name = match suffix {
        "" => format!("{prefix}{hash}"),
        suffix => format!("{prefix}{hash}-{suffix}"),
    };
    BlobId::from(name)
}

/// The last 32 hexadecimal digits before the first dash.
fn blob_iv(blob: &BlobId) -> Option<[u8; 16]> {
    let name = blob.as_str();
    let (name, _) = name.split_once('-').unwrap_or((name, ""));
    let digits = name.as_bytes().last_chunk::<32>()?;
    let mut iv = [0; 16];
    hex::decode_to_slice(digits, &mut iv).ok()?;
    Some(iv)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::hashing::HashAlgorithm;

    fn format(hash: HashAlgorithm, ecc_overhead_percent: u8) -> RepositoryFormat {
        RepositoryFormat {
            hash,
            ecc_overhead_percent,
            ..RepositoryFormat::new_default([1; 32], [2; 32])
        }
    }

    #[test]
    fn the_vector_of_a_blob_is_in_its_name_up_to_the_first_dash() {
        let iv = |name: &str| blob_iv(&BlobId::from(name)).map(hex::encode);
        let tail = "00112233445566778899aabbccddeeff";
        for name in [
            format!("xn0_{tail}-s0123456789abcdef147-c1"),
            format!("xr0_7_feedfeed{tail}"),
            format!("s{tail}-sabc"),
            tail.to_owned(),
        ] {
            assert_eq!(iv(&name).as_deref(), Some(tail), "{name}");
        }
        for name in [
            "",
            "-",
            "xn0_0011",
            &format!("xn0_{}", &tail[1..]),
            &format!("xn0-{tail}"),
        ] {
            assert_eq!(iv(name), None, "{name}");
        }
        // Cut within a character of several bytes.
        assert_eq!(iv(&format!("é{}", &tail[1..])), None);
    }

    #[test]
    fn a_renamed_blob_cannot_be_opened() {
        let sealer = Sealer::new(&format(HashAlgorithm::Blake3_256, 0)).unwrap();
        let (blob, stored) = sealer.seal_blob("xn3_", "s00-c2", &[9; 12], b"index");
        assert!(blob.as_str().starts_with("xn3_") && blob.as_str().ends_with("-s00-c2"));
        assert_eq!(sealer.open_blob(&blob, &stored).unwrap(), b"index");

        let renamed = BlobId::from(blob.as_str().replace(['0', '1'], "2"));
        let error = sealer.open_blob(&renamed, &stored).unwrap_err();
        assert!(error.to_string().contains(renamed.as_str()), "{error}");
    }

    #[test]
    fn too_much_error_correction_is_refused() {
        assert!(Sealer::new(&format(HashAlgorithm::Blake2b256, 101)).is_err());
    }

    #[test]
    fn guarded_bytes_survive_damage() {
        let sealer = Sealer::new(&format(HashAlgorithm::HmacSha224, 10)).unwrap();
        let (blob, mut stored) = sealer.seal_blob("xn0_", "", &[9; 12], &[5; 9000]);
        let last = stored.len() - 1;
        stored[last] ^= 0xff;
        assert_eq!(sealer.open_blob(&blob, &stored).unwrap(), [5; 9000]);
    }

    proptest! {
        #[test]
        fn blobs_of_every_hash_survive_a_round_trip(
            plain in prop::collection::vec(any::<u8>(), 0..3000),
            hash in prop::sample::select(&HashAlgorithm::ALL[..]),
            percent in prop::sample::select(&[0u8, 2, 10, 100][..]),
        ) {
            let sealer = Sealer::new(&format(hash, percent)).unwrap();
            let (blob, mut stored) = sealer.seal_blob("xs2_", "sabc", &[3; 12], &plain);
            prop_assert_eq!(stored.len(), sealer.sealed_len(plain.len()));
            prop_assert_eq!(&sealer.open_blob(&blob, &stored).unwrap(), &plain);
            if let Some(len) = sealer.plain_len(stored.len()) {
                let mut onto = vec![0; len];
                sealer.open_onto(&blob_iv(&blob).unwrap(), &stored, &mut onto).unwrap();
                prop_assert_eq!(&onto, &plain);
                onto.push(0);
                prop_assert!(sealer.open_onto(&blob_iv(&blob).unwrap(), &stored, &mut onto).is_err());
            }
            prop_assert_eq!(sealer.plain_len(stored.len()).is_some(), percent == 0);
            if let Some((front, back)) = sealer.room_around() {
                let mut room = [vec![0xee; front], plain.clone(), vec![0xee; back]].concat();
                prop_assert_eq!(&sealer.seal_blob_in_place("xs2_", "sabc", &[3; 12], &mut room), &blob);
                prop_assert_eq!(&room, &stored);
            }
            let place = sealer.open_blob_in_place(&blob, &mut stored).unwrap();
            prop_assert_eq!(&stored[place], &plain);
        }
    }
}
