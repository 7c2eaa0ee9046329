//! Where the stories take place: a server, its buckets, and folders in them.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use windlass_buckets::{Patience, S3, S3Options};
use windlass_mover::storage::StorageError;
use windlass_tests::{Need, SeaweedFs};

/// A server and a file with its credentials.
pub(crate) struct World {
    pub(crate) server: Arc<SeaweedFs>,
    pub(crate) home: tempfile::TempDir,
    bucket: String,
}

/// Gives every bucket and every folder a name of its own.
pub(crate) fn number() -> u32 {
    static LAST: AtomicU32 = AtomicU32::new(0);
    LAST.fetch_add(1, Ordering::Relaxed)
}

/// Nobody waits five minutes in a test.
pub(crate) fn impatient() -> Patience {
    Patience {
        deadline: Duration::from_secs(20),
        first_pause: Duration::from_millis(20),
        longest_pause: Duration::from_millis(500),
        silence_max: Duration::from_secs(10),
    }
}

/// Bytes that repeat nowhere.
pub(crate) fn noise(len: usize) -> bytes::Bytes {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let words = std::iter::repeat_with(|| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 24) as u8
    });
    words.take(len).collect()
}

impl World {
    /// A bucket of its own, which locks objects or does not.
    pub(crate) fn with_bucket(locks: bool) -> Option<Self> {
        if !Need::all_met(&[Need::SeaweedFs]) {
            return None;
        }
        let world = Self {
            server: SeaweedFs::shared(),
            home: tempfile::tempdir().expect("a temporary folder can be made"),
            bucket: format!("bucket-{}", number()),
        };
        if locks {
            world.server.make_locking_bucket(&world.bucket);
        } else {
            world.server.make_bucket(&world.bucket);
        }
        let (key, secret) = (SeaweedFs::ACCESS_KEY, SeaweedFs::SECRET_KEY);
        let text = format!("[default]\naws_access_key_id={key}\naws_secret_access_key={secret}\n");
        std::fs::write(world.credentials(), text).expect("the folder is ours");
        Some(world)
    }

    pub(crate) fn credentials(&self) -> PathBuf {
        self.home.path().join("credentials")
    }

    /// A folder of the bucket that nobody has used yet.
    pub(crate) fn options(&self) -> S3Options {
        S3Options {
            bucket: self.bucket.clone(),
            prefix: format!("folder-{}/", number()),
            endpoint: Some(self.server.endpoint()),
            region: Some("us-east-1".to_owned()),
            credentials_file: Some(self.credentials()),
            ..S3Options::default()
        }
    }

    /// The storage there.
    pub(crate) async fn storage(&self) -> S3 {
        S3::open(&self.options(), impatient())
            .await
            .expect("the server of the tests does it")
    }
}

/// An error and all its causes, as a user sees them.
pub(crate) fn said(error: &StorageError) -> String {
    let mut text = error.to_string();
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        text += &format!(": {cause}");
        next = cause.source();
    }
    text
}
