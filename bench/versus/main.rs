//! `versus`: Windlass, its peers and plain copies do the same work on the same disk in turn, and the budgets are judged.
//!
//! ```text
//! cargo run --release -p windlass-bench --bin versus -- --quick
//! ```
//!
//! It makes its own data, needs Kopia and restic where `tests/run` puts them (and builds them if they are not there), drops caches
//! before each run if it is root, and removes all it made.

mod budgets;
mod contestant;
mod data;
mod machine;
mod race;
mod report;
mod results;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use clap::{Parser, ValueEnum};
use windlass_bench::measure::Stopwatch;
use windlass_bench::room::Building;
use windlass_bench::{Result, disk, stop};
use windlass_tests::{peers, workspace};

use crate::budgets::Terms;
use crate::contestant::Program;
use crate::data::Kind;
use crate::machine::Machine;
use crate::race::Race;
use crate::results::Report;

/// Run Windlass, Kopia, restic, cp and dd beside each other
#[derive(Debug, Parser)]
#[command(name = "versus", max_term_width = 100)]
struct Arguments {
    /// A tenth of the data, one round
    #[arg(long)]
    quick: bool,

    /// This fraction of the data
    #[arg(long, value_name = "FRACTION", conflicts_with = "quick")]
    scale: Option<f64>,

    /// How often everything is done; medians are taken [default: 3, with --quick 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rounds: Option<u32>,

    /// Only these kinds of data
    #[arg(long, value_name = "NAME", value_enum, value_delimiter = ',')]
    only: Vec<Kind>,

    /// Only these programs
    #[arg(long, value_name = "NAME", value_enum, value_delimiter = ',')]
    programs: Vec<Program>,

    /// Where to work: data, repositories and restores all lie on the disk of this folder
    #[arg(long, value_name = "DIR", default_value_os_t = std::env::temp_dir())]
    folder: PathBuf,

    /// The program to be judged [default: the release build of this workspace, brought up to date]
    #[arg(long, value_name = "PATH")]
    windlass: Option<PathBuf>,

    /// Memory, in MiB, of the round behind the timed ones, in which each program is confined; 0 for no such round
    #[arg(long, value_name = "MIB", default_value_t = 256)]
    confine: u64,

    /// Contents of the repository that is opened [default: 1000000, with --quick a tenth]
    #[arg(long, value_name = "N")]
    contents: Option<u64>,

    /// Leave the caches as they are
    #[arg(long)]
    warm: bool,

    /// Leave the data where it is
    #[arg(long)]
    keep: bool,

    /// Write everything that was measured to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// Write the tables to this file, too
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
}

impl Arguments {
    fn scale(&self) -> f64 {
        self.scale.unwrap_or(if self.quick { 0.1 } else { 1.0 })
    }

    fn rounds(&self) -> u32 {
        self.rounds.unwrap_or(if self.quick { 1 } else { 3 })
    }

    fn contents(&self) -> u64 {
        self.contents.unwrap_or(((1e6 * self.scale()) as u64).max(1))
    }

    fn kinds(&self) -> Vec<Kind> {
        chosen(&self.only)
    }

    fn programs(&self) -> Vec<Program> {
        chosen(&self.programs)
    }
}

/// What was asked for, in the order of the tables; everything where nothing was.
fn chosen<T: ValueEnum + Copy + PartialEq>(asked: &[T]) -> Vec<T> {
    let all = T::value_variants().iter().copied();
    all.filter(|one| asked.is_empty() || asked.contains(one)).collect()
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("versus: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    stop::heed()?;
    let (kinds, programs) = (arguments.kinds(), arguments.programs());
    if programs.contains(&Program::Kopia) || programs.contains(&Program::Restic) {
        peers::build_missing(&workspace().join("tests/peers"), |name| {
            eprintln!("building {name}, once")
        })?;
    }
    let windlass = match &arguments.windlass {
        Some(windlass) => std::path::absolute(windlass).map_err(|error| format!("{}: {error}", windlass.display()))?,
        None => build_windlass()?,
    };
    disk::make(&arguments.folder)?;
    let workplace = tempfile::Builder::new()
        .prefix("windlass-versus-")
        .tempdir_in(&arguments.folder);
    let mut workplace =
        workplace.map_err(|error| format!("cannot make a folder in {}: {error}", arguments.folder.display()))?;
    workplace.disable_cleanup(arguments.keep);
    let folder = std::path::absolute(workplace.path()).map_err(|error| format!("where is this? {error}"))?;
    let watch = Stopwatch {
        building: Building::find(),
        folder,
    };
    let mut report = Report {
        date: format!("{:.0}", jiff::Timestamp::now()),
        command: std::env::args().collect::<Vec<_>>().join(" "),
        machine: Machine::this(&watch.folder),
        versions: versions(&programs, &windlass, &watch),
        remarks: remarks(arguments, &watch),
        tables: Vec::new(),
    };
    eprint!("{}", report.markdown());
    eprintln!(
        "- works in {}{}",
        watch.folder.display(),
        if arguments.keep { ", which is kept" } else { "" }
    );
    assert_room(arguments, &kinds, &programs, &watch.folder)?;
    let race = Race {
        watch: &watch,
        windlass: &windlass,
        programs: &programs,
        rounds: arguments.rounds(),
        cap_bytes: cap(arguments, &watch),
        cold: is_cold(arguments),
        contents: arguments.contents(),
    };
    for kind in kinds {
        eprintln!("{}: making the data", kind.name());
        let source = kind.grow(&watch.folder.join("data"), arguments.scale())?;
        let mut table = race.run(kind, source)?;
        let terms = Terms {
            machine: &report.machine,
            cap_bytes: race.cap_bytes,
        };
        table.verdicts = budgets::judge(&table, terms);
        println!("\n{}", table.markdown());
        report.tables.push(table);
        write_files(arguments, &report)?; // after each kind: what was measured is not lost
    }
    if arguments.keep {
        return Ok(());
    }
    let removed = workplace.close();
    removed.map_err(|error| format!("cannot remove {}: {error}", watch.folder.display()))
}

fn is_cold(arguments: &Arguments) -> bool {
    !arguments.warm && disk::may_drop_caches()
}

fn cap(arguments: &Arguments, watch: &Stopwatch) -> Option<u64> {
    let asked = (arguments.confine > 0).then_some(arguments.confine << 20);
    asked.filter(|_| watch.building.is_some())
}

fn remarks(arguments: &Arguments, watch: &Stopwatch) -> Vec<String> {
    let caches = match (arguments.warm, is_cold(arguments)) {
        (_, true) => "dropped before each run",
        (true, _) => "left as they are",
        (false, false) => "left as they are: only root may drop them",
    };
    let memory = watch.building.as_ref().map_or(
        "peak RssAnon of the one process, looked at every 10 ms: no memory cgroup can be made here, so nothing is confined",
        Building::describe,
    );
    vec![
        format!(
            "{} of the data, medians of {} rounds",
            arguments.scale(),
            arguments.rounds()
        ),
        format!("caches: {caches}"),
        format!("memory: {memory}"),
        match cap(arguments, watch) {
            Some(cap) => format!(
                "confined: one more run in {} MiB without swap, which does not count for times",
                cap >> 20
            ),
            None => "confined: not tried".to_owned(),
        },
    ]
}

/// The programs' own words, one line each.
fn versions(programs: &[Program], windlass: &Path, watch: &Stopwatch) -> Vec<String> {
    let mut versions = Vec::new();
    let mut ask = |name: &str, program: &Path, argument: &str| {
        let mut command = Command::new(program);
        command.arg(argument).current_dir(&watch.folder);
        let said = command.env("KOPIA_CHECK_FOR_UPDATES", "false").output();
        let said = said
            .map(|said| String::from_utf8_lossy(&said.stdout).into_owned())
            .unwrap_or_default();
        versions.push(format!(
            "{name}: {}",
            said.lines().next().unwrap_or("does not say its version")
        ));
    };
    ask("windlass", windlass, "--version");
    if programs.contains(&Program::Kopia) {
        ask("kopia", &peers::program("kopia"), "--version");
    }
    if programs.contains(&Program::Restic) {
        ask("restic", &peers::program("restic"), "version");
    }
    versions
}

/// Builds the program as it ships, and says where it is.
fn build_windlass() -> Result<PathBuf> {
    eprintln!("building windlass");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    let target = workspace().join(target);
    let mut build = Command::new(cargo);
    build
        .args(["build", "--release", "--quiet", "--package=windlass"])
        .current_dir(workspace())
        .env("CARGO_TARGET_DIR", &target);
    match build.status() {
        Ok(status) if status.success() => Ok(target.join("release/windlass")),
        ended => Err(format!("building windlass ended with {ended:?}")),
    }
}

/// Refuses to begin what the disk cannot hold: the data, a repository of each program, and one restore; all restores and
/// copies of what has many files.
fn assert_room(arguments: &Arguments, kinds: &[Kind], programs: &[Program], folder: &Path) -> Result<()> {
    let size = |kind: &Kind| kind.disk_bytes(arguments.scale());
    let shared = kinds.contains(&Kind::Large) && kinds.contains(&Kind::Single);
    let data: u64 = kinds.iter().map(size).sum::<u64>() - if shared { size(&Kind::Single) } else { 0 };
    let repositories = programs.iter().filter(|program| program.keeps_a_repository()).count() as u64;
    let largest = kinds.iter().map(size).max().unwrap_or_default();
    let rounds = u64::from(arguments.rounds()) + 1;
    let copies = kinds.iter().filter(|kind| kind.counts_files()).map(size).sum::<u64>() * rounds;
    let kept = copies * (programs.len() as u64 + 1);
    let (needed, free) = (data + largest * (repositories + 1) + kept, disk::free_bytes(folder)?);
    if needed > free {
        let gib = |bytes: u64| bytes as f64 / f64::from(1 << 30);
        return Err(format!(
            "{} has {:.1} GiB free, and this takes about {:.1}: try --quick, --only, or another --folder",
            folder.display(),
            gib(free),
            gib(needed)
        ));
    }
    Ok(())
}

fn write_files(arguments: &Arguments, report: &Report) -> Result<()> {
    let json = || serde_json::to_string_pretty(report).expect("figures and names can be written as JSON");
    let texts = [
        (&arguments.json, &json as &dyn Fn() -> String),
        (&arguments.markdown, &|| report.markdown()),
    ];
    for (path, text) in texts {
        if let Some(path) = path {
            let written = std::fs::write(path, text());
            written.map_err(|error| format!("cannot write {}: {error}", path.display()))?;
        }
    }
    Ok(())
}
