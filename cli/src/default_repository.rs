//! The cellar: the repository that is used when none is named, and its password.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::PathBuf;

use anyhow::Context as _;
use windlass_mover::random::RandomSource;
use windlass_repo_format::format_blob::FORMAT_BLOB_NAME;
use zeroize::Zeroizing;

use crate::exit::WrongUse;

/// The repository under the user's data folder.
#[derive(Clone, Debug)]
pub(crate) struct DefaultRepository {
    base: PathBuf,
}

impl DefaultRepository {
    /// Where it is or would be.
    pub(crate) fn locate() -> Result<Self, WrongUse> {
        let absolute = |name| {
            std::env::var_os(name)
                .map(PathBuf::from)
                .filter(|path| path.is_absolute())
        };
        let data = absolute("XDG_DATA_HOME").or_else(|| Some(absolute("HOME")?.join(".local/share")));
        let data = data.ok_or_else(|| {
            WrongUse("no repository is named and HOME is not set: give --repo or set WINDLASS_REPO".to_owned())
        })?;
        Ok(Self {
            base: data.join("windlass"),
        })
    }

    /// The folder of the repository.
    pub(crate) fn folder(&self) -> PathBuf {
        self.base.join("repository")
    }

    /// The file that holds its password.
    pub(crate) fn password_file(&self) -> PathBuf {
        self.base.join("password")
    }

    /// Where a new password waits until the repository has it.
    pub(crate) fn new_password_file(&self) -> PathBuf {
        self.base.join("password.new")
    }

    /// Whether it has been made.
    pub(crate) fn exists(&self) -> bool {
        // Kopia's sharding puts this blob at the top of the folder, under one of two names.
        let names = [format!("{FORMAT_BLOB_NAME}.f"), FORMAT_BLOB_NAME.to_owned()];
        names.iter().any(|name| self.folder().join(name).exists())
    }

    /// Makes the password file (mode 0600) with a random password, unless one is there already.
    pub(crate) fn make_password(&self, random: &dyn RandomSource) -> anyhow::Result<()> {
        if self.password_file().exists() {
            return Ok(());
        }
        let mut bytes = Zeroizing::new([0; 32]);
        random.fill(&mut *bytes);
        let password = Zeroizing::new(hex::encode(*bytes));
        match self.write(&self.password_file(), &password) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            written => written.with_context(|| format!("cannot write {}", self.password_file().display())),
        }
    }

    /// Writes the password that the repository is about to get beside the present one, so that at no moment a crash can
    /// leave the repository with a password that is written nowhere.
    pub(crate) fn prepare_password(&self, password: &str) -> anyhow::Result<()> {
        let path = self.new_password_file();
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => self.write(&path, password),
        }
        .with_context(|| format!("cannot write {}", path.display()))
    }

    /// The prepared password is now the repository's.
    pub(crate) fn adopt_password(&self) -> anyhow::Result<()> {
        let (from, to) = (self.new_password_file(), self.password_file());
        fs::rename(&from, &to)
            .and_then(|()| fs::File::open(&self.base)?.sync_all())
            .with_context(|| format!("cannot rename {} to {}", from.display(), to.display()))
    }

    fn write(&self, path: &PathBuf, password: &str) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.base)?;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(password.as_bytes())?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        fs::File::open(&self.base)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use windlass_mover::random::SeededRandom;

    use super::*;

    #[test]
    fn the_password_is_made_once_and_for_the_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let default = DefaultRepository {
            base: folder.path().join("a/windlass"),
        };
        default.make_password(&SeededRandom::new(1)).unwrap();
        let first = fs::read_to_string(default.password_file()).unwrap();
        assert_eq!(first.trim_end().len(), 64);
        let mode = fs::metadata(default.password_file()).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600);
        default.make_password(&SeededRandom::new(2)).unwrap();
        assert_eq!(fs::read_to_string(default.password_file()).unwrap(), first);
    }

    #[test]
    fn a_new_password_replaces_the_old_one_in_two_steps() {
        let folder = tempfile::tempdir().unwrap();
        let default = DefaultRepository {
            base: folder.path().to_owned(),
        };
        default.make_password(&SeededRandom::new(1)).unwrap();
        default.prepare_password("left by a crash").unwrap();
        default.prepare_password("new").unwrap();
        assert_eq!(
            fs::read_to_string(default.password_file()).unwrap().trim_end().len(),
            64
        );
        default.adopt_password().unwrap();
        assert_eq!(fs::read_to_string(default.password_file()).unwrap(), "new\n");
        assert!(!default.new_password_file().exists());
    }
}
