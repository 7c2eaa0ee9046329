//! The logbook: what the parts of the program report, on standard error.

use std::io::{self, Write};

use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::exit::WrongUse;

/// Begins to log what `filter` lets through.
pub(crate) fn start(filter: &str) -> Result<(), WrongUse> {
    let targets: Targets = filter.parse().map_err(|_| {
        WrongUse(format!(
            "--log-level {filter:?}: write error, warn, info, debug, trace or off"
        ))
    })?;
    let colours = io::IsTerminal::is_terminal(&io::stderr()) && std::env::var_os("NO_COLOR").is_none();
    let lines = tracing_subscriber::fmt::layer().with_writer(|| Line).with_ansi(colours);
    tracing_subscriber::registry().with(targets).with(lines).init();
    Ok(())
}

/// A line of the log, kept apart from a progress bar.
struct Line;

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        crate::progress::aside(|| io::stderr().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
