//! The world: one temporary folder for all that a story makes, gone when the story ends.

use std::cell::Cell;
use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use crate::account::{Account, NOBODY};
use crate::kopia::Provider;
use crate::{Azurite, FakeGcs, Kopia, Need, SeaweedFs, Windlass, peers, windlass};

/// A place for one story.
#[derive(Debug)]
pub struct World {
    folder: tempfile::TempDir,
    homes: Cell<u32>,
}

impl World {
    /// A new world, if this machine has all that is needed. If not, the reason has been printed: `skipped: why`.
    ///
    /// # Panics
    /// When something is missing and `tests/run` said that nothing may be; when no folder can be made.
    #[track_caller]
    pub fn with(needs: &[Need]) -> Option<Self> {
        if !Need::all_met(needs) {
            return None;
        }
        let folder = tempfile::Builder::new().prefix("windlass-tests-").tempdir();
        Some(Self {
            folder: folder.expect("a temporary folder can be made"),
            homes: Cell::new(0),
        })
    }

    /// The path of something in this world; nothing is made there.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A Kopia with a home, a cache and a connection of its own: user `u` on host `h`. It is not connected yet.
    pub fn kopia(&self, repository: &Path, password: &str) -> Kopia {
        let repository = Provider::Folder(repository.to_owned());
        Kopia::new(Account::Caller, self.home("kopia"), repository, password)
    }

    /// A Kopia whose repository is in a bucket of that server; Kopia puts `prefix` before each name as it is.
    pub fn kopia_in_bucket(&self, server: &SeaweedFs, bucket: &str, prefix: &str, password: &str) -> Kopia {
        let repository = Provider::Other(vec![
            "s3".to_owned(),
            format!("--bucket={bucket}"),
            format!("--prefix={prefix}"),
            format!("--endpoint={}", server.authority()),
            "--disable-tls".to_owned(),
            "--region=us-east-1".to_owned(),
            format!("--access-key={}", SeaweedFs::ACCESS_KEY),
            format!("--secret-access-key={}", SeaweedFs::SECRET_KEY),
        ]);
        Kopia::new(Account::Caller, self.home("kopia"), repository, password)
    }

    /// A Windlass whose repository is in a bucket of that server, named as a user names it: `BUCKET/PREFIX?MORE`. Its
    /// credentials are in a file.
    pub fn windlass_in_bucket(&self, server: &SeaweedFs, bucket_and_more: &str, password: &str) -> Windlass {
        let home = self.home("windlass");
        let credentials = home.join("credentials");
        let (key, secret) = (SeaweedFs::ACCESS_KEY, SeaweedFs::SECRET_KEY);
        let text = format!("[default]\naws_access_key_id={key}\naws_secret_access_key={secret}\n");
        std::fs::write(&credentials, text).expect("the home is ours");
        let (endpoint, file) = (server.endpoint(), credentials.display());
        let join = if bucket_and_more.contains('?') { '&' } else { '?' };
        let url = format!("s3://{bucket_and_more}{join}endpoint={endpoint}&path-style=true&credentials-file={file}");
        Windlass::new(Account::Caller, home, Path::new(&url), password)
    }

    /// A Kopia whose repository is in a container of that server, which must speak TLS.
    pub fn kopia_at_azure(&self, server: &Azurite, container: &str, prefix: &str, password: &str) -> Kopia {
        let (repository, environment) = server.for_kopia(container, prefix);
        let kopia = Kopia::new(Account::Caller, self.home("kopia"), repository, password);
        kopia.with_environment(environment)
    }

    /// A Kopia whose repository is in a bucket of that server.
    pub fn kopia_at_google(&self, server: &FakeGcs, bucket: &str, prefix: &str, password: &str) -> Kopia {
        let (repository, environment) = server.for_kopia(bucket, prefix);
        let kopia = Kopia::new(Account::Caller, self.home("kopia"), repository, password);
        kopia.with_environment(environment)
    }

    /// A Windlass whose repository is in a container of that server, which must speak TLS; named `CONTAINER/PREFIX`.
    pub fn windlass_at_azure(&self, server: &Azurite, place: &str, password: &str) -> Windlass {
        let (endpoint, account, key) = (server.endpoint(), Azurite::ACCOUNT, server.key_file());
        let (key, certificate) = (key.display(), server.certificate());
        let url = format!(
            "azblob://{place}?account={account}&endpoint={endpoint}&account-key-file={key}&ca-bundle={}",
            certificate.display()
        );
        self.windlass(Path::new(&url), password)
    }

    /// A Windlass whose repository is in a bucket of that server, named `BUCKET/PREFIX`.
    pub fn windlass_at_google(&self, server: &FakeGcs, place: &str, password: &str) -> Windlass {
        let (endpoint, key) = (server.endpoint(), server.key_file());
        let url = format!("gs://{place}?endpoint={endpoint}&credentials-file={}", key.display());
        self.windlass(Path::new(&url), password)
    }

    /// A Windlass with a home of its own.
    pub fn windlass(&self, repository: &Path, password: &str) -> Windlass {
        Windlass::new(Account::Caller, self.home("windlass"), repository, password)
    }

    /// A Kopia and a Windlass with one repository, whose password is `password`.
    pub fn both(&self, repository: &Path) -> (Kopia, Windlass) {
        (
            self.kopia(repository, "password"),
            self.windlass(repository, "password"),
        )
    }

    /// The same Kopia, run by a user without any rights. Takes root.
    pub fn nobodys_kopia(&self, repository: &Path, password: &str) -> Kopia {
        let home = self.home("nobodys-kopia");
        let account = Account::nobody(&peers::program("kopia"), home.join("program"));
        Kopia::new(account, home, Provider::Folder(repository.to_owned()), password)
    }

    /// A Windlass that is run by a user without any rights. Takes root.
    pub fn nobodys_windlass(&self, repository: &Path, password: &str) -> Windlass {
        let home = self.home("nobodys-windlass");
        let account = Account::nobody(windlass::program(), home.join("program"));
        Windlass::new(account, home, repository, password)
    }

    /// A folder that belongs to nobody. Everybody may look into this world from now on. Takes root.
    pub fn nobodys_folder(&self, name: &str) -> PathBuf {
        let (world, folder) = (self.folder.path(), self.path(name));
        std::fs::set_permissions(world, Permissions::from_mode(0o755)).expect("the world's folder is ours");
        std::fs::create_dir(&folder).expect("the world's folder is ours");
        chown(&folder, Some(NOBODY), Some(NOBODY)).expect("root may give folders away");
        folder
    }

    fn home(&self, of: &str) -> PathBuf {
        self.homes.set(self.homes.get() + 1);
        let home = self.path(&format!("home-of-{of}-{}", self.homes.get()));
        std::fs::create_dir(&home).expect("the world's folder is ours and each home has its own number");
        home
    }
}
