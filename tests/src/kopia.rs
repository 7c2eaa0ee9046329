//! The real Kopia: every command a story gives it, always with a home, a cache and a connection of its own.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::account::Account;
use crate::command::{Outcome, run};
use crate::{Shape, peers};

/// Where a repository is, in Kopia's words.
#[derive(Debug)]
pub(crate) enum Provider {
    /// In a folder.
    Folder(PathBuf),
    /// Elsewhere: the provider's name and its options.
    Other(Vec<String>),
}

impl Provider {
    fn arguments(&self) -> Vec<String> {
        match self {
            Self::Folder(folder) => vec!["filesystem".to_owned(), format!("--path={}", folder.display())],
            Self::Other(arguments) => arguments.clone(),
        }
    }
}

/// One Kopia client: user `u` on host `h`.
#[derive(Debug)]
pub struct Kopia {
    account: Account,
    home: PathBuf,
    repository: Provider,
    environment: Vec<(&'static str, String)>,
    password: RefCell<String>,
}

/// A snapshot as Kopia lists it.
#[derive(Clone, Debug)]
pub struct KopiaSnapshot {
    /// The manifest's id.
    pub id: String,
    /// The object id of the root entry.
    pub root: String,
    /// Files and links taken over from the last snapshot without reading them.
    pub cached: u64,
    /// Files that were read.
    pub not_cached: u64,
    /// Errors met, those not ignored.
    pub errors: u64,
    /// All that is listed.
    pub json: Value,
}

impl Kopia {
    pub(crate) fn new(account: Account, home: PathBuf, repository: Provider, password: &str) -> Self {
        account.own(&home);
        Self {
            account,
            home,
            repository,
            environment: Vec::new(),
            password: RefCell::new(password.to_owned()),
        }
    }

    /// The same with more variables in its environment.
    pub(crate) fn with_environment(self, environment: Vec<(&'static str, String)>) -> Self {
        Self { environment, ..self }
    }

    /// Runs a command to its end, whatever that end is.
    pub fn try_with_input(&self, arguments: &[&str], stdin: &[u8]) -> Outcome {
        run(&mut self.command(arguments), stdin)
    }

    /// A command that is yet to be run.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.account.command(&peers::program("kopia"));
        command
            .args(arguments)
            .arg(format!("--config-file={}", self.home.join("config").display()))
            .arg(format!("--log-dir={}", self.home.join("logs").display()))
            .args(["--no-progress", "--disable-file-logging", "--no-auto-maintenance"])
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", &self.home)
            .envs(self.environment.iter().map(|(name, value)| (*name, value)))
            .env("KOPIA_CHECK_FOR_UPDATES", "false")
            .env("KOPIA_PASSWORD", self.password.borrow().as_str());
        command
    }

    /// Runs a command that must succeed.
    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> Outcome {
        self.try_with_input(arguments, &[]).succeeds()
    }

    fn in_repository(&self, verb: &str, more: &[String]) -> Outcome {
        let provider = self.repository.arguments();
        let cache = format!("--cache-directory={}", self.home.join("cache").display());
        let mut arguments = vec!["repository", verb];
        arguments.extend(provider.iter().map(String::as_str));
        arguments.push(&cache);
        arguments.extend([
            "--override-hostname=h",
            "--override-username=u",
            "--no-persist-credentials",
        ]);
        arguments.extend(more.iter().map(String::as_str));
        self.try_with_input(&arguments, &[])
    }

    /// Creates the repository, connects to it and sets the compressor of the global policy.
    #[track_caller]
    pub fn create(&self, shape: &Shape) {
        if let Provider::Folder(folder) = &self.repository {
            std::fs::create_dir_all(folder).expect("the repository's folder can be made");
            self.account.own(folder);
        }
        self.in_repository("create", &shape.kopia_arguments()).succeeds();
        if shape.compression != "none" {
            self.run(&[
                "policy",
                "set",
                "--global",
                &format!("--compression={}", shape.compression),
            ]);
        }
    }

    /// Connects to the repository.
    #[track_caller]
    pub fn connect(&self) {
        self.try_connect().succeeds();
    }

    /// Tries to connect to the repository.
    pub fn try_connect(&self) -> Outcome {
        self.in_repository("connect", &[])
    }

    /// What Kopia says of the repository.
    #[track_caller]
    pub fn status(&self) -> Value {
        self.run(&["repository", "status", "--json"]).json()
    }

    /// Takes a snapshot of a folder or file; the source is `u@h:` and the path.
    #[track_caller]
    pub fn snapshot(&self, tree: &Path, options: &[&str]) -> KopiaSnapshot {
        let tree = tree.to_str().expect("paths of worlds are text");
        let mut arguments = vec!["snapshot", "create", tree, "--json"];
        arguments.extend(options);
        let made = self.run(&arguments).json();
        self.listed(made["id"].as_str().expect("a snapshot has an id"))
    }

    /// Takes a snapshot with every file read again: the root object id that Kopia itself would give this tree.
    #[track_caller]
    pub fn snapshot_read_again(&self, tree: &Path) -> KopiaSnapshot {
        self.snapshot(tree, &["--force-hash=100"])
    }

    /// Takes a snapshot of a stream.
    #[track_caller]
    pub fn snapshot_of_stream(&self, folder: &str, name: &str, bytes: &[u8]) -> KopiaSnapshot {
        let name = format!("--stdin-file={name}");
        let made = self
            .try_with_input(&["snapshot", "create", folder, &name, "--json"], bytes)
            .succeeds()
            .json();
        self.listed(made["id"].as_str().expect("a snapshot has an id"))
    }

    /// All snapshots of all sources, by start time.
    #[track_caller]
    pub fn snapshots(&self) -> Vec<KopiaSnapshot> {
        let listed = self.run(&["snapshot", "list", "--all", "--incomplete", "--json", "--max-results=0"]);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let number = |value: &Value| value.as_u64().unwrap_or_default();
        let snapshots = listed.json();
        let snapshots = snapshots
            .as_array()
            .into_iter()
            .flatten()
            .map(|snapshot| KopiaSnapshot {
                id: text(&snapshot["id"]),
                root: text(&snapshot["rootEntry"]["obj"]),
                cached: number(&snapshot["stats"]["cachedFiles"]),
                not_cached: number(&snapshot["stats"]["nonCachedFiles"]),
                errors: number(&snapshot["stats"]["errorCount"]),
                json: snapshot.clone(),
            });
        snapshots.collect()
    }

    /// One snapshot.
    ///
    /// # Panics
    /// When Kopia does not list it.
    #[track_caller]
    pub fn listed(&self, id: &str) -> KopiaSnapshot {
        let snapshots = self.snapshots();
        let found = snapshots.iter().find(|snapshot| snapshot.id == id);
        found
            .unwrap_or_else(|| panic!("Kopia lists {snapshots:?}, but not {id}"))
            .clone()
    }

    /// Deletes a snapshot.
    #[track_caller]
    pub fn delete(&self, id: &str) {
        self.run(&["snapshot", "delete", id, "--delete"]);
    }

    /// Restores a snapshot.
    #[track_caller]
    pub fn restore(&self, id: &str, target: &Path) {
        let target = target.to_str().expect("paths of worlds are text");
        let options: &[&str] = if self.account.is_root() {
            &["--no-ignore-permission-errors"]
        } else {
            &[]
        };
        self.run(&[&["snapshot", "restore", id, target], options].concat());
    }

    /// Reads every content, and every file of every snapshot.
    #[track_caller]
    pub fn verify_all(&self) {
        self.run(&["content", "verify", "--full"]);
        self.run(&["snapshot", "verify", "--verify-files-percent=100"]);
    }

    /// Full maintenance without waiting times.
    #[track_caller]
    pub fn maintain(&self) {
        self.run(&["maintenance", "run", "--full", "--safety=none"]);
    }

    /// Writes into the repository that only programs may use it that know this feature, or that others shall warn of it.
    #[track_caller]
    pub fn require_feature(&self, feature: &str, warn_only: bool) {
        let feature = format!("--add-required-feature={feature}");
        let mut arguments = vec!["repository", "set-parameters", &feature];
        arguments.extend(warn_only.then_some("--warn-on-missing-required-feature"));
        let mut command = self.command(&arguments);
        run(command.env("KOPIA_TESTONLY_FLAGS", "1"), &[]).succeeds(); // without it, these options are unknown
    }

    /// Makes epochs as short as Kopia allows, with one set for every so many of them.
    #[track_caller]
    pub fn shorten_epochs(&self, epochs_per_set: u32) {
        self.run(&[
            "repository",
            "set-parameters",
            "--epoch-min-duration=10m",
            "--epoch-advance-on-count=10",
            "--epoch-refresh-frequency=1m",
            "--epoch-cleanup-safety-margin=5m",
            &format!("--epoch-checkpoint-frequency={epochs_per_set}"),
        ]);
    }

    /// Makes this client the owner of maintenance, whoever made the repository.
    #[track_caller]
    pub fn own_maintenance(&self) {
        self.run(&["maintenance", "set", "--owner=me"]);
    }

    /// Writes the indexes anew from the packs.
    #[track_caller]
    pub fn recover_index(&self) {
        self.run(&["index", "recover", "--commit", "--dangerous-commands=enabled"]);
    }

    /// Changes the password, also for this client's later commands.
    #[track_caller]
    pub fn change_password(&self, new: &str) {
        self.run(&["repository", "change-password", &format!("--new-password={new}")]);
        self.password.replace(new.to_owned());
    }

    /// Throws the cache away, so that everything is read from the repository again.
    pub fn forget_cache(&self) {
        let cache = self.home.join("cache");
        if cache.exists() {
            std::fs::remove_dir_all(&cache).expect("the cache is ours");
        }
    }
}
