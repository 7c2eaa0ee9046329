//! The entrance hall: a repository is made here, and opened here.

use std::sync::{Arc, OnceLock, RwLock};

use bytes::Bytes;
use windlass_repo_format::FormatError;
use windlass_repo_format::encryption::{EncryptionAlgorithm, NONCE_LEN};
use windlass_repo_format::format_blob::{
    BLOB_CONFIG_NAME, BlobConfig, FORMAT_BLOB_NAME, FormatBlob, FormatKey, FormatVersion, KeyDerivation,
    RepositoryFormat, UnknownMembers, derive_application_key,
};
use windlass_repo_format::hashing::HashAlgorithm;
use windlass_repo_format::id::BlobId;
use windlass_repo_format::maintenance::MaintenanceParams;
use windlass_repo_format::policy::{PolicyTarget, default_global_policy};
use windlass_repo_format::sealing::Sealer;
use windlass_repo_format::splitter::SplitterAlgorithm;
use zeroize::Zeroizing;

use super::manifests::labels;
use super::session::put_options;
use super::{Identity, IndexView, Inner, Repository};
use crate::cache::{Cache, CacheSettings, KEY_PURPOSE};
use crate::clock::{Clock, SystemClock};
use crate::error::{MoverError, Result};
use crate::random::{RandomSource, SystemRandom};
use crate::storage::{BlobRange, PutOptions, Storage, StorageError};

/// Kopia's readers look at this only to show it.
const TOOL: &str = "https://github.com/kopia/kopia";

/// What opens a repository.
#[derive(Clone, Debug)]
pub enum Unlock {
    /// The password; the key is derived from it, which takes 0.2 s and 64 MiB.
    Password(Zeroizing<String>),
    /// The key that was derived before.
    Key(FormatKey),
}

/// Everything from outside that a repository works with.
#[derive(Clone)]
pub struct OpenOptions {
    /// Who works with the repository.
    pub identity: Identity,
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
    /// Where nonces, names and padding come from.
    pub random: Arc<dyn RandomSource>,
    /// Where what was read may be kept for the next time; `None` to keep nothing.
    pub cache: Option<CacheSettings>,
}

impl OpenOptions {
    /// The system's clock and randomness, and no cache.
    pub fn new(identity: Identity) -> Self {
        Self {
            identity,
            clock: Arc::new(SystemClock),
            random: Arc::new(SystemRandom),
            cache: None,
        }
    }
}

/// What a new repository is to be like. Everything else is as Kopia chooses it.
#[derive(Clone, Debug)]
pub struct CreateOptions {
    /// How contents are named.
    pub hash: HashAlgorithm,
    /// How contents are sealed.
    pub encryption: EncryptionAlgorithm,
    /// How files are cut into contents.
    pub splitter: SplitterAlgorithm,
    /// Version 2 or 3.
    pub version: FormatVersion,
    /// Percentage of Reed-Solomon parity, 0 for none.
    pub ecc_overhead_percent: u8,
    /// How the key is derived from the password.
    pub key_derivation: KeyDerivation,
}

impl Default for CreateOptions {
    /// What a repository made by hand gets: the fastest hash, and Kopia's defaults for the rest.
    fn default() -> Self {
        Self {
            hash: HashAlgorithm::Blake3_256_128,
            encryption: EncryptionAlgorithm::Aes256GcmHmacSha256,
            splitter: SplitterAlgorithm::DEFAULT,
            version: FormatVersion::V3,
            ecc_overhead_percent: 0,
            key_derivation: KeyDerivation::Scrypt65536_8_1,
        }
    }
}

impl Repository {
    /// Opens the repository in a storage: reads its settings and its indexes.
    ///
    /// # Errors
    /// When there is none, the password is wrong, or this build lacks a feature that the repository requires; and
    /// [`MoverError::PasswordChangeInterrupted`] where [`Repository::finish_password_change`] is needed first.
    pub async fn open(storage: Arc<dyn Storage>, unlock: Unlock, options: OpenOptions) -> Result<Self> {
        let repository = Self::unread(storage, unlock, options).await?;
        repository.refresh().await?;
        Ok(repository)
    }

    /// Opens a repository as if the index blobs that cannot be opened were not there: to look what is left, and to repair
    /// it.
    ///
    /// # Errors
    /// As [`Repository::open`].
    pub async fn open_damaged(storage: Arc<dyn Storage>, unlock: Unlock, options: OpenOptions) -> Result<Self> {
        let repository = Self::unread(storage, unlock, options).await?;
        repository.inner.left_out.get_or_init(Default::default);
        repository.refresh().await?;
        Ok(repository)
    }

    /// A repository whose indexes have not been read.
    async fn unread(storage: Arc<dyn Storage>, unlock: Unlock, options: OpenOptions) -> Result<Self> {
        let stored = StoredSettings::read(&*storage).await?;
        let key = unlock.key(&stored.format_blob);
        let format = stored.format(&*storage, &key)?;
        let blob_config = stored.blob_config(&*storage, &key)?;
        let format_blob = stored.format_blob;
        Self::assemble(storage, options, format_blob, format, blob_config, key)
    }

    pub(super) fn assemble(
        storage: Arc<dyn Storage>,
        options: OpenOptions,
        format_blob: FormatBlob,
        format: RepositoryFormat,
        blob_config: BlobConfig,
        key: FormatKey,
    ) -> Result<Self> {
        let sealer = Sealer::new(&format).map_err(MoverError::Settings)?;
        let splitter = SplitterAlgorithm::from_name(&format.splitter).map_err(MoverError::Settings)?;
        let index = RwLock::new(Arc::new(IndexView::empty(options.clock.now())));
        let OpenOptions {
            identity,
            clock,
            random,
            cache,
        } = options;
        let cache = cache.map(|settings| {
            let unique_id = &format_blob.unique_id;
            let key = derive_application_key(&format, &key, unique_id, KEY_PURPOSE);
            Cache::new(&settings, unique_id, key)
        });
        let inner = Inner {
            storage,
            clock,
            random,
            identity,
            format_blob,
            format,
            blob_config,
            key,
            sealer,
            splitter,
            index,
            left_out: OnceLock::new(),
            cache,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Makes a repository in an empty storage and opens it.
    ///
    /// # Errors
    /// When a repository, or what may be the rest of one, is already there.
    pub async fn create(
        storage: Arc<dyn Storage>,
        password: &str,
        create: &CreateOptions,
        options: OpenOptions,
    ) -> Result<Self> {
        refuse_to_overwrite(&*storage).await?;
        if !matches!(create.version, FormatVersion::V2 | FormatVersion::V3) {
            return Err(MoverError::BadOption {
                option: "format version",
                value: create.version.number().to_string(),
                reason: "new repositories have version 2 or 3",
            });
        }
        let random = || {
            let mut bytes = [0; 32];
            options.random.fill(&mut bytes);
            bytes
        };
        let mut format = RepositoryFormat::new_default(random(), random());
        format.hash = create.hash;
        format.encryption = create.encryption;
        format.splitter = create.splitter.name().to_owned();
        format.version = create.version;
        format.ecc_overhead_percent = create.ecc_overhead_percent;
        format.validate().map_err(MoverError::Settings)?;
        let unique_id = random().to_vec();
        let key = create.key_derivation.derive(password, &unique_id);
        let blob_config = BlobConfig::default();
        let format_blob = FormatBlob {
            tool: TOOL.to_owned(),
            build_version: concat!("windlass-", env!("CARGO_PKG_VERSION")).to_owned(),
            build_info: String::new(),
            sealed_format: format.seal(&unique_id, &key, &nonce(&*options.random)),
            unique_id,
            key_derivation: create.key_derivation,
            unknown: UnknownMembers::default(),
        };
        let repository = Self::assemble(storage, options, format_blob, format, blob_config, key)?;
        repository.write_settings(true).await?;
        repository.refresh().await?;
        repository.write_first_manifests().await?;
        Ok(repository)
    }

    /// Writes the two blobs that hold the settings, in the order that Kopia keeps: what explains a half-made
    /// repository comes first.
    pub(super) async fn write_settings(&self, only_if_absent: bool) -> Result<()> {
        let inner = &self.inner;
        let nonce = nonce(&*inner.random);
        let config = inner.blob_config.seal(&inner.format_blob.unique_id, &inner.key, &nonce);
        for (blob, bytes) in [
            (BLOB_CONFIG_NAME, config),
            (FORMAT_BLOB_NAME, inner.format_blob.encode()),
        ] {
            let blob = BlobId::from(blob);
            let options = PutOptions {
                only_if_absent,
                ..put_options(&blob, &inner.blob_config, inner.clock.now())
            };
            let put = inner.storage.put(&blob, Bytes::from(bytes), &options).await;
            match put {
                Ok(_) => {}
                Err(StorageError::AlreadyExists { .. }) => {
                    let location = inner.storage.location();
                    return Err(MoverError::AlreadyARepository {
                        location,
                        found: format!("blob {blob}"),
                    });
                }
                Err(source) => return Err(self.storage_error("write", &blob, source)),
            }
        }
        Ok(())
    }

    /// What Kopia also writes into a new repository: who maintains it, and the policy for everything.
    async fn write_first_manifests(&self) -> Result<()> {
        let session = self.write_session()?;
        let maintenance = MaintenanceParams::owned_by(&self.identity().user, &self.identity().host);
        let labels = labels(&[("type", MaintenanceParams::MANIFEST_TYPE)]);
        session.put_manifest(
            labels,
            self.manifest_data(MaintenanceParams::MANIFEST_TYPE, &maintenance)?,
        );
        let policy = self.manifest_data(PolicyTarget::MANIFEST_TYPE, &default_global_policy())?;
        session.put_manifest(PolicyTarget::Global.labels(), policy);
        session.flush().await
    }
}

/// The two blobs that hold the settings, as they are stored.
pub(super) struct StoredSettings {
    pub format_blob: FormatBlob,
    /// Sealed; `None` where there is no such blob, which means that nothing is configured.
    blob_config: Option<Bytes>,
}

impl StoredSettings {
    pub(super) async fn read(storage: &dyn Storage) -> Result<Self> {
        let format_blob = match storage.read(&FORMAT_BLOB_NAME.into(), BlobRange::Whole).await {
            Ok(bytes) => FormatBlob::parse(&bytes).map_err(bad_format)?,
            Err(StorageError::NotFound { .. }) => {
                return Err(MoverError::NotARepository {
                    location: storage.location(),
                });
            }
            Err(source) => return Err(failed(storage, "cannot read blob kopia.repository", source)),
        };
        let blob_config = match storage.read(&BLOB_CONFIG_NAME.into(), BlobRange::Whole).await {
            Ok(bytes) => Some(bytes),
            Err(StorageError::NotFound { .. }) => None,
            Err(source) => return Err(failed(storage, "cannot read blob kopia.blobcfg", source)),
        };
        Ok(Self {
            format_blob,
            blob_config,
        })
    }

    /// The settings, unless an upgrade holds the repository. A key that opens only the other blob is the new one of a
    /// change of the password that was not finished.
    pub(super) fn format(&self, storage: &dyn Storage, key: &FormatKey) -> Result<RepositoryFormat> {
        let format = match RepositoryFormat::unseal(&self.format_blob, key) {
            Err(FormatError::WrongPassword) if self.blob_config.is_some() && self.unseal_blob_config(key).is_ok() => {
                return Err(MoverError::PasswordChangeInterrupted {
                    location: storage.location(),
                    opened: BLOB_CONFIG_NAME.into(),
                    other: FORMAT_BLOB_NAME.into(),
                });
            }
            unsealed => unsealed.map_err(bad_format)?,
        };
        format.refuse_while_locked().map_err(MoverError::UpgradeLocked)?;
        Ok(format)
    }

    /// What is configured for blobs, with the key that opens the format.
    pub(super) fn blob_config(&self, storage: &dyn Storage, key: &FormatKey) -> Result<BlobConfig> {
        self.unseal_blob_config(key).map_err(|source| match source {
            FormatError::BlobConfigNotAuthentic => MoverError::PasswordChangeInterrupted {
                location: storage.location(),
                opened: FORMAT_BLOB_NAME.into(),
                other: BLOB_CONFIG_NAME.into(),
            },
            source => MoverError::Blob {
                blob: BLOB_CONFIG_NAME.into(),
                source,
            },
        })
    }

    fn unseal_blob_config(&self, key: &FormatKey) -> std::result::Result<BlobConfig, FormatError> {
        let sealed = self.blob_config.as_deref();
        sealed.map_or(Ok(BlobConfig::default()), |sealed| {
            BlobConfig::unseal(sealed, &self.format_blob.unique_id, key)
        })
    }
}

impl Unlock {
    pub(super) fn key(self, format_blob: &FormatBlob) -> FormatKey {
        match self {
            Self::Key(key) => key,
            Self::Password(password) => format_blob.derive_key(&password),
        }
    }
}

fn bad_format(source: FormatError) -> MoverError {
    MoverError::Blob {
        blob: FORMAT_BLOB_NAME.into(),
        source,
    }
}

pub(super) fn nonce(random: &dyn RandomSource) -> [u8; NONCE_LEN] {
    let mut nonce = [0; NONCE_LEN];
    random.fill(&mut nonce);
    nonce
}

fn failed(storage: &dyn Storage, doing: &str, source: StorageError) -> MoverError {
    MoverError::Storage {
        doing: doing.to_owned(),
        location: storage.location(),
        source,
    }
}

/// A new repository is made only where no blob is: a lost format blob must not be covered by a new one.
async fn refuse_to_overwrite(storage: &dyn Storage) -> Result<()> {
    use futures_util::StreamExt;
    let mut blobs = storage.list("");
    match blobs.next().await {
        None => Ok(()),
        Some(Ok(found)) => Err(MoverError::AlreadyARepository {
            location: storage.location(),
            found: format!("blob {}", found.id),
        }),
        Some(Err(source)) => Err(failed(storage, "cannot list the blobs", source)),
    }
}
