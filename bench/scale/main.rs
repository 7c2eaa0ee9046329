//! `scale`: what Windlass does in little memory with more files, entries and contents than anybody has on this disk.
//!
//! ```text
//! cargo run --release -p windlass-bench --bin scale -- --files 10000000 --entries 1000000 --contents 75000000
//! ```
//!
//! Each case is made, the real program works with it in a memory cgroup without swap, and a table says what it took. Files
//! are hard links to a few: they cost neither inodes nor blocks, and the program cannot tell. The contents of the
//! repository exist in its indexes only, which are such as Kopia compacts them to; no pack is there, so it can be opened and
//! written to, and nothing in it can be read.

mod cases;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use serde::Serialize;
use windlass_bench::measure::{Allowance, Call, Run, Stopwatch};
use windlass_bench::room::Building;
use windlass_bench::{Result, disk, stop};

use crate::cases::Case;

const PASSWORD: &str = "scale";

/// Run Windlass on very many files and contents, in little memory
#[derive(Debug, Parser)]
#[command(name = "scale", max_term_width = 100)]
struct Arguments {
    /// So many files, 1,000 in a folder
    #[arg(long, value_name = "N", default_value_t = 0)]
    files: u64,

    /// So many files in one folder
    #[arg(long, value_name = "N", default_value_t = 0)]
    entries: u64,

    /// A repository with so many contents
    #[arg(long, value_name = "N", default_value_t = 0)]
    contents: u64,

    /// Where to work: all lies on the disk of this folder
    #[arg(long, value_name = "DIR", default_value_os_t = std::env::temp_dir())]
    folder: PathBuf,

    /// The program
    #[arg(long, value_name = "PATH")]
    windlass: PathBuf,

    /// Memory of the cgroup, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 256)]
    confine: u64,

    /// Write what was measured to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// One thing that was done.
#[derive(Debug, Serialize)]
struct Row {
    case: String,
    work: &'static str,
    cap_bytes: Option<u64>,
    met: bool,
    run: Run,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("scale: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether everything was done in the memory that was given.
fn run(arguments: &Arguments) -> Result<bool> {
    stop::heed()?;
    disk::make(&arguments.folder)?;
    let place = tempfile::Builder::new()
        .prefix("windlass-scale-")
        .tempdir_in(&arguments.folder);
    let place = place.map_err(|error| format!("cannot make a folder in {}: {error}", arguments.folder.display()))?;
    let folder = std::path::absolute(place.path()).map_err(|error| format!("where is this? {error}"))?;
    let windlass = std::path::absolute(&arguments.windlass).map_err(|error| format!("where is this? {error}"))?;
    let watch = Stopwatch {
        building: Building::find(),
        folder,
    };
    let cap_bytes = watch.building.as_ref().map(|_| arguments.confine << 20);
    match &watch.building {
        Some(building) => println!("memory: {}", building.describe()),
        None => println!("memory: no cgroup can be made here: nothing is confined"),
    }
    println!("\n| case | work | wall s | CPU s | peak MiB | cap MiB | |");
    println!("| --- | --- | --- | --- | --- | --- | --- |");
    let mut rows = Vec::new();
    for case in [
        Case::Files(arguments.files),
        Case::Entries(arguments.entries),
        Case::Contents(arguments.contents),
    ] {
        if case.size() == 0 {
            continue;
        }
        let corner = watch.folder.join("case");
        disk::make(&corner)?;
        case.make(&corner, PASSWORD)?;
        if case.needs_a_repository() {
            watch.prepare(&call(&windlass, &corner, &["repo", "init", "--hash=BLAKE2B-256-128"]))?;
        }
        disk::sync(&corner)?;
        for (work, words) in case.works() {
            if disk::may_drop_caches() {
                disk::drop_caches()?;
            }
            let allowance = Allowance {
                memory_bytes: cap_bytes,
                time: None,
            };
            let run = watch.measure(&call(&windlass, &corner, words), allowance)?;
            let row = Row {
                case: case.title(),
                work,
                cap_bytes,
                met: run.failure.is_none() && run.peak_bytes < arguments.confine << 20,
                run,
            };
            println!("{}", row.markdown());
            rows.push(row);
            write_json(arguments, &rows)?; // after each: what was measured is not lost
        }
        disk::remove(&corner)?;
    }
    Ok(rows.iter().all(|row| row.met))
}

/// A command with what it needs to find repository, password and home; it works in the corner of its case.
fn call(windlass: &Path, corner: &Path, words: &[&str]) -> Call {
    let inside = |word: &&str| match word.strip_prefix("./") {
        Some(name) => corner.join(name).into(),
        None => word.into(),
    };
    Call {
        program: windlass.to_owned(),
        arguments: words.iter().map(inside).collect(),
        environment: vec![
            ("HOME".into(), corner.into()),
            ("TMPDIR".into(), corner.into()),
            ("WINDLASS_REPO".into(), corner.join(cases::REPOSITORY).into()),
            ("WINDLASS_PASSWORD".into(), PASSWORD.into()),
        ],
    }
}

impl Row {
    fn markdown(&self) -> String {
        let mib = |bytes: u64| bytes >> 20;
        let verdict = match (&self.run.failure, self.met) {
            (Some(failure), _) => failure.as_str(),
            (None, true) => "met",
            (None, false) => "**missed**",
        };
        format!(
            "| {} | {} | {:.2} | {:.2} | {} | {} | {verdict} |",
            self.case,
            self.work,
            self.run.wall_seconds,
            self.run.cpu_seconds,
            mib(self.run.peak_bytes),
            self.cap_bytes.map_or("none".to_owned(), |cap| mib(cap).to_string()),
        )
    }
}

fn write_json(arguments: &Arguments, rows: &[Row]) -> Result<()> {
    let Some(path) = &arguments.json else { return Ok(()) };
    let text = serde_json::to_string_pretty(rows).expect("figures and names can be written as JSON");
    std::fs::write(path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))
}
