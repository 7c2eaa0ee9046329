//! The locksmith's room: the repository gets a new password, in two blobs that cannot be written at once.
//!
//! The format blob and the blob configuration are sealed with the key that the password gives. Kopia opens no repository
//! whose two blobs are sealed with different keys, and knows no third state that it opens, so between the two puts the
//! repository opens for nobody. Nothing is lost then: whoever has both passwords holds both halves, and the same change,
//! made again, finishes it.

use std::sync::Arc;

use windlass_repo_format::FormatError;
use windlass_repo_format::format_blob::{BlobConfig, FORMAT_BLOB_NAME, FormatBlob, FormatKey, RepositoryFormat};

use super::opening::{StoredSettings, nonce};
use super::{OpenOptions, Repository, Unlock};
use crate::error::{MoverError, Result};
use crate::storage::Storage;

impl Repository {
    /// Gives the repository a new password. The key that seals contents stays, so no content is touched.
    ///
    /// # Errors
    /// When the repository was made so that its password cannot change. When the storage fails, the change may have
    /// happened, or not, or by half: then [`Repository::finish_password_change`] can tell, and finish it.
    pub async fn change_password(&self, new_password: &str) -> Result<FormatKey> {
        let inner = &self.inner;
        let options = OpenOptions {
            identity: inner.identity.clone(),
            clock: inner.clock.clone(),
            random: inner.random.clone(),
            cache: None,
        };
        let settings = Settings {
            format_blob: &inner.format_blob,
            format: inner.format.clone(),
            blob_config: inner.blob_config.clone(),
        };
        let new = inner.format_blob.derive_key(new_password);
        settings.store(inner.storage.clone(), options, &inner.key, new).await
    }

    /// Changes the password of a repository in which an earlier change ended between its two blobs. `old` is what opens
    /// the format blob. The blob configuration is kept if `new_password` or `old` opens it, as it does when the
    /// passwords are those of the earlier change. If neither does, it becomes the empty one, but only in a storage
    /// where it cannot have said anything.
    ///
    /// # Errors
    /// When `old` does not open the format blob, or the configuration may hold what must not be lost.
    pub async fn finish_password_change(
        storage: Arc<dyn Storage>,
        old: Unlock,
        new_password: &str,
        options: OpenOptions,
    ) -> Result<FormatKey> {
        let stored = StoredSettings::read(&*storage).await?;
        let old = old.key(&stored.format_blob);
        let format = stored.format(&*storage, &old)?;
        let new = stored.format_blob.derive_key(new_password);
        let with_either = [&old, &new].map(|key| stored.blob_config(&*storage, key));
        let blob_config = match with_either {
            [Ok(found), _] | [_, Ok(found)] => found,
            [Err(MoverError::PasswordChangeInterrupted { location, .. }), _] if storage.can_retain() => {
                return Err(MoverError::RetentionUnknown { location });
            }
            [Err(MoverError::PasswordChangeInterrupted { .. }), _] => BlobConfig::default(),
            [Err(error), _] => return Err(error),
        };
        let settings = Settings {
            format_blob: &stored.format_blob,
            format,
            blob_config,
        };
        settings.store(storage, options, &old, new).await
    }
}

/// What is to be sealed with another key.
struct Settings<'a> {
    format_blob: &'a FormatBlob,
    format: RepositoryFormat,
    blob_config: BlobConfig,
}

impl Settings<'_> {
    async fn store(
        self,
        storage: Arc<dyn Storage>,
        options: OpenOptions,
        old: &FormatKey,
        new: FormatKey,
    ) -> Result<FormatKey> {
        let changed = self.format_blob.change_key(old, &new, &nonce(&*options.random));
        let format_blob = changed.map_err(|source| match source {
            FormatError::PasswordChangeDisabled => MoverError::PasswordChange(source),
            source => MoverError::Blob {
                blob: FORMAT_BLOB_NAME.into(),
                source,
            },
        })?;
        let renewed = Repository::assemble(
            storage,
            options,
            format_blob,
            self.format,
            self.blob_config,
            new.clone(),
        )?;
        renewed.write_settings(false).await?;
        Ok(new)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use windlass_repo_format::format_blob::{BLOB_CONFIG_NAME, RetentionMode};
    use zeroize::Zeroizing;

    use super::*;
    use crate::Identity;
    use crate::blocking::block_on;
    use crate::clock::SystemClock;
    use crate::repository::CreateOptions;
    use crate::storage::faulty::{Call, Fault, Operation};
    use crate::storage::filesystem::Sharding;
    use crate::storage::{BlobRange, Faulty, FileSystem, Memory, PutOptions};

    fn options() -> OpenOptions {
        OpenOptions::new(Identity {
            user: "u".to_owned(),
            host: "h".to_owned(),
        })
    }

    fn password(text: &str) -> Unlock {
        Unlock::Password(Zeroizing::new(text.to_owned()))
    }

    fn open(storage: &Arc<dyn Storage>, text: &str) -> Result<Repository> {
        block_on(Repository::open(storage.clone(), password(text), options()))
    }

    fn finish(storage: &Arc<dyn Storage>, old: &str, new: &str) -> Result<FormatKey> {
        let finished = Repository::finish_password_change(storage.clone(), password(old), new, options());
        block_on(finished)
    }

    /// A repository whose password is "old", on a storage with object lock if `period` is more than nothing.
    fn made(storage: Arc<dyn Storage>, period: Duration) -> Repository {
        let create = CreateOptions::default();
        let repository = block_on(Repository::create(storage.clone(), "old", &create, options())).unwrap();
        if !period.is_zero() {
            let config = BlobConfig {
                retention_mode: Some(RetentionMode::Compliance),
                retention_period: period,
                ..BlobConfig::default()
            };
            let sealed = config.seal(&repository.format_blob().unique_id, repository.format_key(), &[7; 12]);
            block_on(storage.put(&BLOB_CONFIG_NAME.into(), sealed.into(), &PutOptions::default())).unwrap();
        }
        open(&storage, "old").unwrap()
    }

    fn memory() -> Arc<dyn Storage> {
        Arc::new(Memory::new(Arc::new(SystemClock)))
    }

    /// The storage after a change from "old" to "new" whose put of `blob` failed, `after` it was done or before.
    fn broken_off(storage: Arc<dyn Storage>, blob: &'static str, after: bool, period: Duration) -> Arc<dyn Storage> {
        made(storage.clone(), period);
        let faulty = Faulty::new(storage.clone(), move |call: &Call<'_>| {
            match call.operation == Operation::Put && call.name == blob {
                true if after => Fault::After(Fault::passing(call)),
                true => Fault::Before(Fault::passing(call)),
                false => Fault::None,
            }
        });
        let repository = open(&(Arc::new(faulty) as Arc<dyn Storage>), "old").unwrap();
        let error = block_on(repository.change_password("new")).unwrap_err();
        assert!(!error.is_permanent(), "{error}");
        storage
    }

    const DAY: Duration = Duration::from_secs(86_400);

    #[test]
    fn a_change_that_fails_at_any_put_can_be_made_again_and_loses_nothing() {
        for (blob, after, halfway) in [
            (BLOB_CONFIG_NAME, false, false),
            (BLOB_CONFIG_NAME, true, true),
            (FORMAT_BLOB_NAME, false, true),
        ] {
            let storage = broken_off(memory(), blob, after, DAY);
            let opened = open(&storage, "old");
            if halfway {
                let interrupted = opened.map(drop).unwrap_err();
                assert!(
                    matches!(&interrupted, MoverError::PasswordChangeInterrupted { opened, .. } if opened.as_str() == FORMAT_BLOB_NAME),
                    "{blob} {after}: {interrupted}"
                );
                let other = open(&storage, "new").map(drop).unwrap_err();
                assert!(
                    matches!(&other, MoverError::PasswordChangeInterrupted { opened, .. } if opened.as_str() == BLOB_CONFIG_NAME),
                    "{blob} {after}: {other}"
                );
                finish(&storage, "old", "new").unwrap();
            } else {
                block_on(opened.unwrap().change_password("new")).unwrap();
            }
            let repository = open(&storage, "new").unwrap();
            assert_eq!(repository.blob_config().retention_period, DAY, "{blob} {after}");
            assert!(open(&storage, "old").is_err());
        }
        // The last put was done and only its answer was lost: so is the change.
        let storage = broken_off(memory(), FORMAT_BLOB_NAME, true, DAY);
        assert_eq!(open(&storage, "new").unwrap().blob_config().retention_period, DAY);
    }

    #[test]
    fn a_change_that_is_finished_may_also_go_back() {
        let storage = broken_off(memory(), FORMAT_BLOB_NAME, false, Duration::ZERO);
        let stranger = finish(&storage, "new", "old").unwrap_err();
        assert!(
            matches!(stranger, MoverError::PasswordChangeInterrupted { .. }),
            "{stranger}"
        );
        finish(&storage, "old", "new").unwrap();
        block_on(open(&storage, "new").unwrap().change_password("old")).unwrap();
        open(&storage, "old").unwrap();
    }

    #[test]
    fn another_new_password_never_drops_an_object_lock() {
        let storage = broken_off(memory(), FORMAT_BLOB_NAME, false, DAY);
        let before = block_on(storage.read(&BLOB_CONFIG_NAME.into(), BlobRange::Whole)).unwrap();
        let error = finish(&storage, "old", "forgotten").unwrap_err();
        assert!(matches!(error, MoverError::RetentionUnknown { .. }), "{error}");
        let after = block_on(storage.read(&BLOB_CONFIG_NAME.into(), BlobRange::Whole)).unwrap();
        assert_eq!(before, after);
    }

    #[test]
    fn in_a_folder_another_new_password_finishes_the_change_too() {
        let directory = tempfile::tempdir().unwrap();
        let folder = FileSystem::create(directory.path().join("r"), Sharding::default()).unwrap();
        let storage = broken_off(Arc::new(folder), FORMAT_BLOB_NAME, false, Duration::ZERO);
        finish(&storage, "old", "third").unwrap();
        assert_eq!(*open(&storage, "third").unwrap().blob_config(), BlobConfig::default());
    }

    #[test]
    fn a_wrong_password_is_still_called_wrong() {
        let storage = broken_off(memory(), FORMAT_BLOB_NAME, false, Duration::ZERO);
        for error in [
            open(&storage, "nonsense").map(drop).unwrap_err(),
            finish(&storage, "nonsense", "new").map(drop).unwrap_err(),
        ] {
            let MoverError::Blob { source, .. } = &error else {
                panic!("{error}");
            };
            assert!(matches!(source, FormatError::WrongPassword), "{error}");
        }
    }
}
