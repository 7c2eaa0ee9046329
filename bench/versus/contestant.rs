//! The contestants: how each program is told to do each piece of work, with a home, a cache and a repository of its own.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use serde::Serialize;
use windlass_tests::peers;

use crate::data::Kind;
use windlass_bench::measure::{Call, Stopwatch, option};
use windlass_bench::{Result, disk};

const PASSWORD: &str = "versus";

/// A program, and how it is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Program {
    /// Windlass with the algorithms that Kopia takes by default
    Windlass,
    /// Windlass with its own default hash, BLAKE3
    WindlassBlake3,
    /// As `windlass`, reading with the engine of plain threads (large files only)
    WindlassThreads,
    /// Kopia with its defaults
    Kopia,
    /// restic with its defaults
    Restic,
    /// `cp -a`
    Cp,
    /// `dd` with O_DIRECT on both sides, file by file (large files only)
    Dd,
}

/// What is done and measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Work {
    /// Opening an empty repository: mostly the derivation of the key.
    Empty,
    /// First snapshot; for `cp` and `dd`, a copy of the same bytes.
    First,
    /// A snapshot when nothing has changed since the last one.
    Next,
    /// Restore into a new folder; for `cp` and `dd`, a copy of the same bytes.
    Restore,
    /// Opening a repository with many contents, the caches of the program and the system empty.
    Open,
    /// The same, with what the program keeps in a cache of its own.
    OpenAgain,
}

/// One program at work in its own corner.
#[derive(Debug)]
pub(crate) struct Contestant {
    pub program: Program,
    binary: PathBuf,
    home: PathBuf,
    repository: PathBuf,
    /// The snapshot to be restored.
    snapshot: Option<String>,
}

impl Program {
    /// As it is called on the command line and in tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Windlass => "windlass",
            Self::WindlassBlake3 => "windlass-blake3",
            Self::WindlassThreads => "windlass-threads",
            Self::Kopia => "kopia",
            Self::Restic => "restic",
            Self::Cp => "cp",
            Self::Dd => "dd",
        }
    }

    /// Whether it is the program that is being judged.
    pub(crate) fn is_windlass(self) -> bool {
        matches!(self, Self::Windlass | Self::WindlassBlake3 | Self::WindlassThreads)
    }

    /// Whether it has a repository.
    pub(crate) fn keeps_a_repository(self) -> bool {
        !matches!(self, Self::Cp | Self::Dd)
    }

    /// Whether it takes part.
    pub(crate) fn does(self, kind: Kind, work: Work) -> bool {
        let large = matches!(kind, Kind::Large | Kind::Single);
        match (self, work) {
            (Self::Windlass | Self::Kopia, _) => true,
            (Self::WindlassBlake3 | Self::Restic, _) => !matches!(work, Work::Open | Work::OpenAgain),
            (Self::WindlassThreads, _) => large && work == Work::First,
            (Self::Cp, Work::First | Work::Restore) => true,
            (Self::Dd, Work::First | Work::Restore) => large,
            (Self::Cp | Self::Dd, _) => false,
        }
    }
}

impl Work {
    /// What is done with a kind of data, in order.
    pub(crate) fn with(kind: Kind) -> &'static [Self] {
        match kind {
            Kind::Large | Kind::Mixed | Kind::Huge => &[Self::First, Self::Next, Self::Restore],
            Kind::Single | Kind::Sparse => &[Self::First, Self::Restore],
            Kind::Small => &[Self::Empty, Self::First, Self::Next, Self::Restore],
            Kind::Open => &[Self::Open, Self::OpenAgain],
        }
    }

    /// As it is called in tables.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Empty => "open an empty repository",
            Self::First => "first snapshot",
            Self::Next => "nothing changed",
            Self::Restore => "restore",
            Self::Open => "open, no cache",
            Self::OpenAgain => "open, own cache kept",
        }
    }

    /// Whether the time that counts goes on until the writes are on the disk.
    pub(crate) fn counts_synced(self) -> bool {
        matches!(self, Self::First | Self::Next)
    }

    /// Whether it begins with a new repository.
    pub(crate) fn wants_empty(self) -> bool {
        matches!(self, Self::Empty | Self::First)
    }
}

/// The words of a command.
fn words<const N: usize>(words: [&dyn AsRef<OsStr>; N]) -> Vec<OsString> {
    words.map(|word| word.as_ref().to_owned()).into()
}

impl Contestant {
    /// A contestant that works below `corner`.
    pub(crate) fn new(program: Program, windlass: &Path, corner: &Path) -> Self {
        let binary = match program {
            Program::Kopia | Program::Restic => peers::program(program.name()),
            Program::Cp => "cp".into(),
            Program::Dd => "sh".into(),
            _ => windlass.to_owned(),
        };
        Self {
            program,
            binary,
            home: corner.join(format!("{}-home", program.name())),
            repository: corner.join(format!("{}-repository", program.name())),
            snapshot: None,
        }
    }

    /// Works with a repository that others have made.
    pub(crate) fn with_repository(mut self, repository: &Path) -> Self {
        repository.clone_into(&mut self.repository);
        self
    }

    /// Removes what it has, home and repository.
    pub(crate) fn clear(&mut self) -> Result<()> {
        self.snapshot = None;
        disk::remove(&self.home)?;
        disk::remove(&self.repository)
    }

    /// Makes a new, empty repository.
    pub(crate) fn prepare(&mut self, watch: &Stopwatch) -> Result<()> {
        if !self.program.keeps_a_repository() {
            return Ok(());
        }
        self.clear()?;
        disk::make(&self.home)?;
        let arguments = match self.program {
            Program::Kopia => {
                disk::make(&self.repository)?;
                self.kopia_connection("create")
            }
            Program::Restic => words([&"init"]),
            Program::WindlassBlake3 => words([&"repo", &"init"]),
            _ => words([&"repo", &"init", &"--hash=BLAKE2B-256-128"]),
        };
        watch.prepare(&self.call(arguments)).map(drop)
    }

    /// Gets ready to use the repository that is there.
    pub(crate) fn connect(&self, watch: &Stopwatch) -> Result<()> {
        disk::make(&self.home)?;
        if self.program == Program::Kopia {
            watch.prepare(&self.call(self.kopia_connection("connect")))?;
        }
        Ok(())
    }

    /// Empties the cache that the program keeps for itself.
    pub(crate) fn forget_cache(&self) -> Result<()> {
        disk::remove(&self.home.join("cache"))
    }

    fn kopia_connection(&self, verb: &str) -> Vec<OsString> {
        let mut arguments = words([&"repository", &verb, &"filesystem"]);
        arguments.push(option("--path", &self.repository));
        arguments.push(option("--cache-directory", &self.home.join("cache")));
        arguments.extend(words([
            &"--override-hostname=h",
            &"--override-username=u",
            &"--no-persist-credentials",
        ]));
        arguments
    }

    /// How a piece of work is done; nothing where there is no snapshot to restore.
    pub(crate) fn work(&self, kind: Kind, work: Work, source: &Path, target: &Path) -> Option<Call> {
        let sparse = kind == Kind::Sparse;
        let mut arguments = match (self.program, work) {
            (Program::Cp, _) => words([&"-a", &"--reflink=never", &source, &target]),
            (Program::Dd, _) => copy_directly(source, target),
            (Program::Restic, Work::First | Work::Next) => words([&"backup", &source]),
            (Program::Restic, Work::Restore) => {
                let inside = format!("latest:{}", source.display());
                words([&"restore", &inside, &"--target", &target])
            }
            (Program::Restic, _) => words([&"snapshots"]),
            (_, Work::First | Work::Next) => words([&"snapshot", &"create", &source, &"--json"]),
            (_, Work::Restore) => words([&"snapshot", &"restore", self.snapshot.as_ref()?, &target]),
            (_, _) => words([&"snapshot", &"list", &"--all", &"--json"]),
        };
        if work == Work::Restore && sparse && self.program.keeps_a_repository() {
            let holes = if self.program == Program::Kopia {
                "--write-sparse-files"
            } else {
                "--sparse"
            };
            arguments.push(holes.into());
        }
        if self.program == Program::WindlassThreads {
            arguments.push("--engine=threads".into());
        }
        Some(self.call(arguments))
    }

    /// Remembers which snapshot was made, from what the program printed.
    pub(crate) fn made(&mut self, output: &[u8]) -> Result<()> {
        if matches!(self.program, Program::Restic | Program::Cp | Program::Dd) {
            return Ok(());
        }
        let printed: Option<serde_json::Value> = serde_json::from_slice(output).ok();
        let id = printed.as_ref().and_then(|printed| printed["id"].as_str());
        let id = id.ok_or_else(|| format!("{} did not say which snapshot it made", self.program.name()))?;
        self.snapshot = Some(id.to_owned());
        Ok(())
    }

    /// A command with what it needs to find repository, password and home.
    fn call(&self, mut arguments: Vec<OsString>) -> Call {
        let mut environment: Vec<(OsString, OsString)> = vec![
            ("HOME".into(), self.home.clone().into()),
            ("TMPDIR".into(), self.home.clone().into()),
        ];
        let mut set = |name: &str, value: &dyn AsRef<OsStr>| environment.push((name.into(), value.as_ref().to_owned()));
        match self.program {
            Program::Kopia => {
                arguments.push(option("--config-file", &self.home.join("config")));
                arguments.push(option("--log-dir", &self.home.join("logs")));
                arguments.extend(words([
                    &"--no-progress",
                    &"--disable-file-logging",
                    &"--no-auto-maintenance",
                ]));
                set("KOPIA_PASSWORD", &PASSWORD);
                set("KOPIA_CHECK_FOR_UPDATES", &"false");
            }
            Program::Restic => {
                set("RESTIC_REPOSITORY", &self.repository);
                set("RESTIC_PASSWORD", &PASSWORD);
                set("RESTIC_CACHE_DIR", &self.home.join("cache"));
            }
            Program::Cp | Program::Dd => {}
            _ => {
                set("WINDLASS_REPO", &self.repository);
                set("WINDLASS_PASSWORD", &PASSWORD);
                set("XDG_CACHE_HOME", &self.home.join("cache"));
                for mask in MASKS {
                    if let Some(value) = std::env::var_os(mask) {
                        set(mask, &value);
                    }
                }
            }
        }
        Call {
            program: self.binary.clone(),
            arguments,
            environment,
        }
    }

    /// The password of every repository here.
    pub(crate) fn password() -> &'static str {
        PASSWORD
    }
}

/// Variables that keep Windlass and its cryptographic library from using all the processor can do.
pub(crate) const MASKS: [&str; 2] = ["WINDLASS_CPU", "OPENSSL_ia32cap"];

/// A shell that copies the files of a folder, one after the other, past the system's cache.
fn copy_directly(source: &Path, target: &Path) -> Vec<OsString> {
    const COPY: &str = "mkdir -p \"$2\" && cd \"$1\" && find . -type f | while read -r file; do \
                        mkdir -p \"$2/${file%/*}\" && \
                        dd if=\"$file\" of=\"$2/$file\" bs=4M iflag=direct oflag=direct status=none || exit 1; done";
    words([&"-c", &COPY, &"sh", &source, &target])
}
