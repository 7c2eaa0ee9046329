//! The front desk: reads what is wanted, has it done, and says how it ended.

mod arguments;
mod blob_kinds;
mod command;
mod context;
mod default_repository;
mod exit;
mod figures;
mod interrupt;
mod location;
mod logging;
mod output;
mod pantry;
mod password;
mod progress;
mod prompt;
mod table;
mod whoami;

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser;
use windlass_repo_format::kernel::{self, Instructions};

use crate::arguments::Arguments;
use crate::context::Context;
use crate::exit::{Exit, WrongUse};
use crate::interrupt::Interrupt;

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return exit::of_parsing(&error),
    };
    let json = arguments.global.json;
    let ended = run(arguments);
    match ended {
        Ok(exit) => exit.into(),
        Err(error) => exit::report(&error, json).into(),
    }
}

fn run(arguments: Arguments) -> anyhow::Result<Exit> {
    logging::start(&arguments.global.log_level)?;
    raise_open_files();
    limit_instructions()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.context("cannot start the threads that wait for the storage")?;
    let entered = runtime.enter();
    let interrupt = Interrupt::watch().context("cannot listen for Ctrl-C")?;
    let context = Context::new(arguments.global, interrupt);
    let ended = arguments.noun.run(&context);
    drop(entered);
    runtime.shutdown_background();
    ended
}

/// `WINDLASS_CPU` leaves aside instructions that the processor has, for measuring and testing what others do.
fn limit_instructions() -> anyhow::Result<()> {
    let most = match std::env::var("WINDLASS_CPU").ok().as_deref() {
        None | Some("") => return Ok(()),
        Some("scalar") => Instructions::Baseline,
        Some("avx2") => Instructions::Avx2,
        Some(other) => return Err(WrongUse(format!("WINDLASS_CPU is {other:?}; it can be avx2 or scalar")).into()),
    };
    kernel::limit(most);
    Ok(())
}

/// As many files may be open as the system allows: many are read at the same time.
fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
}
