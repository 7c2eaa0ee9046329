//! Windlass: the built program, called as a user calls it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::Value;

use crate::account::Account;
use crate::command::{Outcome, run, run_measured};
use crate::{Kind, Listing, Shape};

/// One user of the built program, with one repository.
#[derive(Debug)]
pub struct Windlass {
    account: Account,
    home: PathBuf,
    repository: PathBuf,
    peak_memory: AtomicU64,
}

/// A snapshot as Windlass prints it.
#[derive(Clone, Debug)]
pub struct WindlassSnapshot {
    /// The manifest's id.
    pub id: String,
    /// The object id of the root entry.
    pub root: String,
    /// Files and links taken over from the last snapshot without reading them.
    pub cached: u64,
    /// All that was printed.
    pub json: Value,
}

impl WindlassSnapshot {
    #[track_caller]
    fn from_json(json: Value) -> Self {
        let text = |key: &str| {
            json[key]
                .as_str()
                .unwrap_or_else(|| panic!("no {key} in {json}"))
                .to_owned()
        };
        let (id, root) = (text("id"), text("root"));
        let cached = json["cachedFiles"].as_u64().unwrap_or_default();
        Self { id, root, cached, json }
    }

    /// Checks that no file of this tree was read: all are cached, links counted or not. Files whose names are not UTF-8 may have been
    /// read, since the last snapshot knows them by another name.
    #[track_caller]
    pub fn assert_all_cached(&self, tree: &Listing) {
        let files = tree.count(|kind| matches!(kind, Kind::File { .. }));
        let links = tree.count(|kind| matches!(kind, Kind::Link { .. }));
        let renamed = tree.renamed();
        let enough = |all: u64| (all - renamed..=all).contains(&self.cached);
        assert!(
            enough(files) || enough(files + links),
            "of {files} files and {links} links: {}",
            self.json
        );
    }
}

impl Windlass {
    pub(crate) fn new(account: Account, home: PathBuf, repository: &Path, password: &str) -> Self {
        account.own(&home);
        let windlass = Self {
            account,
            home,
            repository: repository.to_owned(),
            peak_memory: AtomicU64::new(0),
        };
        std::fs::write(windlass.password_file(), password).expect("the home is ours");
        windlass
    }

    fn password_file(&self) -> PathBuf {
        self.home.join("password")
    }

    /// Runs a command to its end, whatever that end is, in a home of its own and with nothing of the caller's environment.
    pub fn try_run(&self, arguments: &[&str]) -> Outcome {
        let (outcome, peak) = run_measured(&mut self.command(arguments));
        self.peak_memory.fetch_max(peak, Ordering::Relaxed);
        outcome
    }

    /// The most memory that any run of a command had, in bytes, mapped files included.
    pub fn peak_memory(&self) -> u64 {
        self.peak_memory.load(Ordering::Relaxed)
    }

    /// A command that is yet to be run.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.nameless(&[]);
        command
            .arg(format!("--repo={}", self.repository.display()))
            .arg(format!("--password-file={}", self.password_file().display()))
            .args(arguments);
        command
    }

    /// A command that is yet to be run, and that says neither which repository is meant nor what its password is.
    pub fn nameless(&self, arguments: &[&str]) -> Command {
        let mut command = self.account.command(program());
        command
            .args(arguments)
            .current_dir(&self.home)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", &self.home)
            .env("TMPDIR", &self.home);
        for passed_on in ["WINDLASS_CPU", "RUST_BACKTRACE"] {
            if let Some(value) = std::env::var_os(passed_on) {
                command.env(passed_on, value);
            }
        }
        command
    }

    /// The home of this user.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// Runs a command that must succeed.
    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> Outcome {
        self.try_run(arguments).succeeds()
    }

    /// Makes the repository.
    #[track_caller]
    pub fn init(&self, shape: &Shape) {
        let options = shape.windlass_arguments();
        let mut arguments = vec!["repo", "init"];
        arguments.extend(options.iter().map(String::as_str));
        self.run(&arguments);
    }

    /// What Windlass says of the repository.
    #[track_caller]
    pub fn status(&self) -> Value {
        self.run(&["repo", "status", "--json"]).json()
    }

    /// Takes a snapshot as user `u` on host `h`, which is who the Kopia of these tests is. Every file must be read; the
    /// exit code must be 3 where the format cannot keep what a user would miss (a name), and 0 elsewhere.
    #[track_caller]
    pub fn snapshot(&self, tree: &Path, options: &[&str]) -> WindlassSnapshot {
        let outcome = self.try_snapshot(tree, options);
        let json = outcome.json();
        let losses = json["notKept"].as_object().into_iter().flatten();
        let lost = losses.filter(|(_, kind)| kind["isLoss"] == true).count();
        assert_eq!(json["errorCount"], 0, "{json}");
        outcome.exits_with(if lost > 0 { 3 } else { 0 });
        WindlassSnapshot::from_json(json)
    }

    /// Tries to take a snapshot; what could not be kept shows in the exit code.
    pub fn try_snapshot(&self, tree: &Path, options: &[&str]) -> Outcome {
        run(&mut self.snapshot_command(tree, options), &[])
    }

    /// A command that takes a snapshot, yet to be run.
    pub fn snapshot_command(&self, tree: &Path, options: &[&str]) -> Command {
        let tree = tree.to_str().expect("paths of worlds are text");
        let source = format!("--source=u@h:{tree}");
        let mut arguments = vec!["snapshot", "create", tree, &source, "--json"];
        arguments.extend(options);
        self.command(&arguments)
    }

    /// All snapshots of all sources.
    #[track_caller]
    pub fn snapshots(&self) -> Vec<WindlassSnapshot> {
        let listed = self.run(&["snapshot", "list", "--all", "--json"]).json();
        let listed = listed.as_array().expect("a list of snapshots is printed").clone();
        listed.into_iter().map(WindlassSnapshot::from_json).collect()
    }

    /// The listed snapshot with this id.
    #[track_caller]
    pub fn listed(&self, id: &str) -> WindlassSnapshot {
        let snapshots = self.snapshots();
        let found = snapshots.iter().find(|snapshot| snapshot.id == id);
        found
            .unwrap_or_else(|| panic!("Windlass lists {snapshots:?}, but not {id}"))
            .clone()
    }

    /// Restores a snapshot.
    #[track_caller]
    pub fn restore(&self, id: &str, target: &Path) {
        self.run(&[
            "snapshot",
            "restore",
            id,
            target.to_str().expect("paths of worlds are text"),
        ]);
    }

    /// Deletes a snapshot.
    #[track_caller]
    pub fn delete(&self, id: &str) {
        self.run(&["snapshot", "delete", id]);
    }

    /// Reads, decrypts and hashes again every content, and reads every file of every snapshot.
    #[track_caller]
    pub fn verify_all(&self) {
        self.run(&["repo", "verify"]);
        self.run(&["snapshot", "verify", "--files-percent", "100"]);
    }

    /// Writes the indexes anew from the packs.
    #[track_caller]
    pub fn recover_index(&self) {
        self.run(&["repo", "recover-index"]);
    }

    /// Changes the password, also for this user's later commands.
    #[track_caller]
    pub fn change_password(&self, new: &str) {
        let file = self.home.join("new-password");
        std::fs::write(&file, new).expect("the home is ours");
        self.run(&[
            "repo",
            "change-password",
            "--new-password-file",
            file.to_str().expect("paths of worlds are text"),
        ]);
        std::fs::rename(file, self.password_file()).expect("the home is ours");
    }
}

/// The folder that holds the workspace.
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("this crate lies in the workspace")
}

/// The built program: the one named by `WINDLASS_BINARY` (as `tests/run` does, which has just built it), else the one beside this
/// test, brought up to date first. (Cargo hands a test only the programs of its own package.)
pub fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        if let Some(named) = std::env::var_os("WINDLASS_BINARY") {
            return PathBuf::from(named);
        }
        let test = std::env::current_exe().expect("a running test has a path");
        let profile = test.ancestors().nth(2).expect("a test lies in TARGET/PROFILE/deps");
        let target = profile.parent().expect("a test lies in TARGET/PROFILE/deps");
        let mut build = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        build
            .args(["build", "--package=windlass"])
            .current_dir(workspace())
            .env("CARGO_TARGET_DIR", target);
        if profile.ends_with("release") {
            build.arg("--release");
        }
        run(&mut build, &[]).succeeds();
        profile.join("windlass")
    })
}
