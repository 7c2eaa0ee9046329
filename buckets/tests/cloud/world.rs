//! The hangar: a server of each kind, its bucket, and folders in it.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use windlass_buckets::{Cloud, CloudOptions, Patience, Provider};
use windlass_mover::storage::StorageError;
use windlass_tests::{Azurite, FakeGcs, Need};

enum Server {
    Azure(Azurite),
    Google(FakeGcs),
}

/// A server with a bucket.
pub(crate) struct World(Server);

const BUCKET: &str = "box";

/// Nobody waits five minutes in a test.
pub(crate) const IMPATIENT: Patience = Patience {
    deadline: Duration::from_secs(20),
    first_pause: Duration::from_millis(20),
    longest_pause: Duration::from_millis(500),
    silence_max: Duration::from_secs(10),
};

/// Bytes that repeat nowhere.
pub(crate) fn noise(len: usize) -> bytes::Bytes {
    let byte = |place: u64| ((place + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(17) >> 24) as u8;
    (0..len as u64).map(byte).collect()
}

impl World {
    pub(crate) fn azure() -> Option<Self> {
        if !Need::all_met(&[Need::Azurite]) {
            return None;
        }
        let server = Azurite::start();
        server.make_container(BUCKET);
        Some(Self(Server::Azure(server)))
    }

    pub(crate) fn google() -> Option<Self> {
        if !Need::all_met(&[Need::FakeGcs]) {
            return None;
        }
        let server = FakeGcs::start();
        server.make_bucket(BUCKET);
        Some(Self(Server::Google(server)))
    }

    /// Each kind that is there.
    pub(crate) fn each() -> impl Iterator<Item = Self> {
        [Self::azure, Self::google].into_iter().filter_map(|make| make())
    }

    pub(crate) fn authority(&self) -> String {
        match &self.0 {
            Server::Azure(server) => server.authority(),
            Server::Google(server) => server.authority(),
        }
    }

    pub(crate) fn credentials(&self) -> PathBuf {
        match &self.0 {
            Server::Azure(server) => server.key_file(),
            Server::Google(server) => server.key_file(),
        }
    }

    /// A folder of the bucket that nobody has used yet.
    pub(crate) fn options(&self) -> CloudOptions {
        static LAST: AtomicU32 = AtomicU32::new(0);
        let (provider, account) = match &self.0 {
            Server::Azure(_) => (Provider::Azure, Some(Azurite::ACCOUNT.to_owned())),
            Server::Google(_) => (Provider::Google, None),
        };
        CloudOptions {
            prefix: format!("folder-{}/", LAST.fetch_add(1, Ordering::Relaxed)),
            endpoint: Some(format!("http://{}", self.authority())),
            account,
            credentials_file: Some(self.credentials()),
            ..CloudOptions::new(provider, BUCKET)
        }
    }
}

/// The storage there.
pub(crate) async fn open(options: &CloudOptions) -> Cloud {
    let opened = Cloud::open(options, IMPATIENT).await;
    opened.expect("the server of the tests does it")
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
