//! The lobby: from what was said on the command line to an open repository.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use futures_util::StreamExt;
use tracing::warn;
use windlass_mover::blocking::block_on;
use windlass_mover::cache::CacheSettings;
use windlass_mover::random::SystemRandom;
use windlass_mover::repository::{CreateOptions, OpenOptions, Unlock};
use windlass_mover::storage::filesystem::Sharding;
use windlass_mover::storage::{FileSystem, Storage, StorageError};
use windlass_mover::{Identity, MoverError, Repository};
use windlass_repo_format::FormatError;
use windlass_repo_format::format_blob::FORMAT_BLOB_NAME;
use windlass_repo_format::pack::PackClass;

use crate::arguments::GlobalOptions;
use crate::default_repository::DefaultRepository;
use crate::exit::WrongPassword;
use crate::figures::quoted;
use crate::interrupt::Interrupt;
use crate::location::{Location, locate};
use crate::pantry;
use crate::password::{self, Password, Question};
use crate::progress::say;
use crate::whoami;

/// What every command has at hand.
#[derive(Debug)]
pub(crate) struct Context {
    /// The options of every command.
    pub options: GlobalOptions,
    /// Who we are.
    pub identity: Identity,
    /// Hears Ctrl-C.
    pub interrupt: Interrupt,
}

/// Where the repository is.
#[derive(Debug)]
pub(crate) struct Place {
    /// Its folder, or its bucket.
    pub location: Location,
    /// Set when no repository was named.
    pub default: Option<DefaultRepository>,
}

/// A repository and its password, before the one is tried on the other.
#[derive(Clone)]
pub(crate) struct Closed<'a> {
    place: &'a Place,
    storage: Arc<dyn Storage>,
    password: Password,
}

impl Closed<'_> {
    /// Finishes a change of the password that ended between its two blobs.
    pub(crate) fn finish_password_change(self, identity: &Identity, new: &str) -> anyhow::Result<()> {
        let options = OpenOptions::new(identity.clone());
        let old = Unlock::Password(self.password);
        block_on(Repository::finish_password_change(self.storage, old, new, options))?;
        Ok(())
    }
}

impl Context {
    pub(crate) fn new(options: GlobalOptions, interrupt: Interrupt) -> Self {
        let identity = whoami::identity(
            options.override_username.as_deref(),
            options.override_hostname.as_deref(),
        );
        Self {
            options,
            identity,
            interrupt,
        }
    }

    /// Where the repository is, whether or not there is one.
    pub(crate) fn place(&self) -> anyhow::Result<Place> {
        Ok(match &self.options.repo {
            Some(url) => Place {
                location: match locate(url)? {
                    Location::Folder(folder) => Location::Folder(whoami::absolute(&folder)?),
                    bucket => bucket,
                },
                default: None,
            },
            None => {
                let default = DefaultRepository::locate()?;
                Place {
                    location: Location::Folder(default.folder()),
                    default: Some(default),
                }
            }
        })
    }

    /// Says something that is not the result; programs do not want to hear it.
    pub(crate) fn note(&self, line: &str) {
        if !self.options.json {
            say(line);
        }
    }

    /// Opens the repository.
    pub(crate) fn open(&self) -> anyhow::Result<Repository> {
        self.open_at(&self.place()?)
    }

    /// Opens the repository and keeps nothing of it, nor uses what was kept: for who asks whether the storage has it all.
    pub(crate) fn open_uncached(&self) -> anyhow::Result<Repository> {
        self.open_by(
            self.closed_at(&self.place()?)?,
            None,
            async |storage, unlock, options| Repository::open(storage, unlock, options).await,
        )
    }

    /// Opens the repository at a place.
    pub(crate) fn open_at(&self, place: &Place) -> anyhow::Result<Repository> {
        self.open_closed(self.closed_at(place)?)
    }

    /// The repository at a place, not opened yet, with the password that it is to be opened with.
    pub(crate) fn closed_at<'a>(&self, place: &'a Place) -> anyhow::Result<Closed<'a>> {
        if let Some(default) = &place.default {
            let missing = || MoverError::NotARepository {
                location: place.location.to_string(),
            };
            if !default.exists() {
                return Err(missing()).context(
                    "no repository is named (--repo, WINDLASS_REPO), and the default one has not been made yet; the \
                     first `windlass snapshot create` makes it",
                );
            }
            self.note(&format!("Using the default repository {}", place.location));
        }
        Ok(Closed {
            place,
            storage: open_storage(place)?,
            password: self.password(place, false)?,
        })
    }

    /// Opens the repository as if index blobs that cannot be opened were not there. Not with a cache either.
    pub(crate) fn open_damaged(&self) -> anyhow::Result<Repository> {
        self.open_by(
            self.closed_at(&self.place()?)?,
            None,
            async |storage, unlock, options| Repository::open_damaged(storage, unlock, options).await,
        )
    }

    /// Opens what was found.
    pub(crate) fn open_closed(&self, closed: Closed<'_>) -> anyhow::Result<Repository> {
        let cache = pantry::settings(&self.options, &closed.place.location)?;
        self.open_by(closed, cache, async |storage, unlock, options| {
            Repository::open(storage, unlock, options).await
        })
    }

    fn open_by(
        &self,
        closed: Closed<'_>,
        cache: Option<CacheSettings>,
        open: impl AsyncFnOnce(Arc<dyn Storage>, Unlock, OpenOptions) -> Result<Repository, MoverError>,
    ) -> anyhow::Result<Repository> {
        let Closed {
            place,
            storage,
            password,
        } = closed;
        let options = OpenOptions {
            cache,
            ..OpenOptions::new(self.identity.clone())
        };
        let opened = open(storage, Unlock::Password(password), options);
        let repository = block_on(opened).map_err(|error| explained(error, place))?;
        for unknown in repository.format().warnings() {
            // Those without which nobody may go on have been refused.
            let (feature, message) = (&unknown.feature, &unknown.if_not_understood.message);
            warn!(
                feature,
                message, "the repository uses a feature that this program does not know"
            );
        }
        Ok(repository)
    }

    /// Makes a repository at a place and opens it.
    pub(crate) fn create_at(&self, place: &Place, create: &CreateOptions) -> anyhow::Result<Repository> {
        let site = Site::find(place)?;
        if let Some(default) = &place.default
            && self.options.password_file.is_none()
        {
            default.make_password(&SystemRandom)?;
        }
        let password = self.password(place, true)?;
        let storage = site.prepare().with_context(|| cannot_make(&place.location))?;
        let options = OpenOptions {
            cache: pantry::settings(&self.options, &place.location)?,
            ..OpenOptions::new(self.identity.clone())
        };
        let repository = block_on(Repository::create(storage, &password, create, options))?;
        if let Some(file) = self.own_password_file(place) {
            // Said at once: what comes next may fail, and the password is needed all the same.
            let (folder, file) = (&place.location, file.display());
            self.note(&format!(
                "Made the default repository {folder}; its password is in {file}"
            ));
        }
        Ok(repository)
    }

    /// The password file of the default repository, where that is the one in use and knows its own password.
    pub(crate) fn own_password_file(&self, place: &Place) -> Option<PathBuf> {
        let default = place
            .default
            .as_ref()
            .filter(|_| self.options.password_file.is_none())?;
        Some(default.password_file())
    }

    /// What a command that is shown to the user for pasting needs, so that it finds the same repository.
    pub(crate) fn repo_words(&self) -> String {
        let mut words = String::new();
        if let Some(repo) = self
            .options
            .repo
            .as_ref()
            .filter(|_| std::env::var_os("WINDLASS_REPO").is_none())
        {
            words += &format!(" --repo {}", quoted(repo));
        }
        if let Some(file) = &self.options.password_file {
            words += &format!(" --password-file {}", quoted(&file.to_string_lossy()));
        }
        words
    }

    fn password(&self, place: &Place, is_new: bool) -> anyhow::Result<Password> {
        let own = place.default.as_ref().map(DefaultRepository::password_file);
        let text = if is_new {
            "New password of the repository"
        } else {
            "Password of the repository"
        };
        let question = Question {
            text: format!("{text} at {}: ", place.location),
            twice: is_new,
            missing: "no password is given and there is no terminal to ask: give --password-file, or set WINDLASS_PASSWORD",
        };
        password::find(self.options.password_file.as_deref(), own.as_deref(), &question)
    }
}

/// What has to be known of a password file that nobody asked for.
pub(crate) fn about_password_file(file: &Path) -> String {
    format!(
        "\nIts password is random and is in the file\n\n  {}\n\nKEEP A COPY OF THAT FILE IN ANOTHER PLACE (a password manager, \
         a sheet of paper): should this disk be lost and the\nrepository be saved, nobody can read it without the \
         password, you neither.\n",
        file.display()
    )
}

/// A repository that has packs always has an index too: of its settings, if of nothing else. Without one it looks as
/// empty as a new repository, and must not be taken for one.
pub(crate) fn refuse_lost_index(repository: &Repository) -> anyhow::Result<()> {
    if repository.index_summary().entries > 0 {
        return Ok(());
    }
    for class in PackClass::ALL {
        let prefix = class.letter().to_string();
        if block_on(repository.storage().list(&prefix).next()).is_some() {
            let location = repository.storage().location();
            bail!(
                "the indexes of the repository at {location} are lost: it has packs, and nothing says what is in them; \
                 `windlass repo recover-index` writes new indexes"
            );
        }
    }
    Ok(())
}

fn open_storage(place: &Place) -> anyhow::Result<Arc<dyn Storage>> {
    let opening = || format!("cannot open the repository at {}", place.location);
    match &place.location {
        Location::Folder(folder) => {
            let storage = FileSystem::open(folder).with_context(opening)?;
            if storage.sharding_is_guess() && has_format_blob(&storage) {
                warn!(folder = %folder.display(), "no .shards file; blobs are kept in folders of 3 and 3 letters");
            }
            Ok(Arc::new(storage))
        }
        Location::Bucket(address) => block_on(address.open()).with_context(opening),
    }
}

fn has_format_blob(storage: &dyn Storage) -> bool {
    block_on(storage.metadata(&FORMAT_BLOB_NAME.into())).is_ok()
}

fn cannot_make(location: &Location) -> String {
    format!("cannot make a repository at {location}")
}

/// Where a new repository is to be, with nothing in it: a new repository must not change how blobs that are there already
/// are found.
enum Site<'a> {
    Folder(&'a Path),
    Bucket(Arc<dyn Storage>),
}

impl<'a> Site<'a> {
    fn find(place: &'a Place) -> anyhow::Result<Self> {
        let location = &place.location;
        match location {
            Location::Folder(folder) => {
                if folder.exists() && !folder.is_dir() {
                    bail!("{}: it is not a folder", cannot_make(location));
                }
                if folder.exists() {
                    refuse_to_touch(&*open_storage(place)?, location)?;
                }
                Ok(Self::Folder(folder))
            }
            Location::Bucket(address) => {
                let storage = block_on(address.open()).with_context(|| cannot_make(location))?;
                refuse_to_touch(&*storage, location)?;
                Ok(Self::Bucket(storage))
            }
        }
    }

    fn prepare(self) -> Result<Arc<dyn Storage>, StorageError> {
        Ok(match self {
            Self::Folder(folder) => Arc::new(FileSystem::create(folder, Sharding::default())?),
            Self::Bucket(storage) => storage,
        })
    }
}

fn refuse_to_touch(storage: &dyn Storage, location: &Location) -> anyhow::Result<()> {
    let first = match block_on(storage.list("").next()) {
        None => return Ok(()),
        Some(first) => first.with_context(|| format!("cannot look into {location}"))?,
    };
    let found = if has_format_blob(storage) {
        "a repository".to_owned()
    } else {
        format!("blob {}", first.id)
    };
    let location = location.to_string();
    Err(MoverError::AlreadyARepository { location, found }.into())
}

/// Says plainly what the usual mistake is.
fn explained(error: MoverError, place: &Place) -> anyhow::Error {
    let MoverError::Blob {
        source: FormatError::WrongPassword,
        ..
    } = error
    else {
        return error.into();
    };
    let waiting = place.default.as_ref().map(DefaultRepository::new_password_file);
    let more = waiting.filter(|file| file.exists()).map(|file| {
        let file = file.display();
        format!("; a change of the password was interrupted, so try --password-file {file}")
    });
    let error = WrongPassword {
        location: place.location.to_string(),
        more: more.unwrap_or_default(),
    };
    error.into()
}
