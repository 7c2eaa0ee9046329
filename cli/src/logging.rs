//! The logbook: what the parts of the program report, on standard error.

use std::io::{self, Write};

use tracing::Level;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::exit::WrongUse;

/// Begins to log what `filter` lets through.
pub(crate) fn start(filter: &str) -> Result<(), WrongUse> {
    let targets = parse(filter).ok_or_else(|| {
        WrongUse(format!(
            "--log-level {filter:?}: write error, warn, info, debug, trace or off, or \"warn,windlass_mover=debug\""
        ))
    })?;
    let colours = io::IsTerminal::is_terminal(&io::stderr()) && std::env::var_os("NO_COLOR").is_none();
    let lines = tracing_subscriber::fmt::layer().with_writer(|| Line).with_ansi(colours);
    let lines = lines.with_filter(filter_fn(|about| may_be_said(about.level(), about.target())));
    tracing_subscriber::registry().with(targets).with(lines).init();
    Ok(())
}

/// Below `info` only our own parts are heard: there the clients of buckets tell whole requests, with what opens the bucket.
fn may_be_said(level: &Level, target: &str) -> bool {
    *level <= Level::INFO || target.starts_with("windlass")
}

fn parse(filter: &str) -> Option<Targets> {
    // A word alone would be taken for a part of the program of which everything is wanted: no error for a level misspelt.
    let is_plain = |part: &str| part.contains('=') || part.trim().parse::<LevelFilter>().is_ok();
    filter.split(',').all(is_plain).then(|| filter.parse().ok())?
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_come_from_our_own_parts_only() {
        assert!(may_be_said(&Level::TRACE, "windlass_mover::io") && may_be_said(&Level::WARN, "aws_config"));
        assert!(!may_be_said(&Level::DEBUG, "aws_smithy_runtime") && !may_be_said(&Level::TRACE, "hyper"));
    }

    #[test]
    fn a_misspelt_level_is_no_level() {
        for right in ["warn", "OFF", "info,windlass_mover=debug", "windlass_mover::io=trace"] {
            assert!(parse(right).is_some(), "{right}");
        }
        for wrong in ["loud", "warn,mover", "warn,windlass_mover=loud"] {
            assert!(parse(wrong).is_none(), "{wrong}");
        }
    }
}
