//! The alarm room: Ctrl-C and its relatives, heard once to stop cleanly and twice to stop at once.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::signal::unix::{SignalKind, signal};

use crate::exit::Exit;

/// Hears the signals that ask the program to end.
#[derive(Clone, Debug)]
pub(crate) struct Interrupt {
    stop: Arc<AtomicBool>,
    heeded: Arc<AtomicBool>,
}

impl Interrupt {
    /// Begins to listen. To be called inside a runtime.
    pub(crate) fn watch() -> std::io::Result<Self> {
        let interrupt = Self {
            stop: Arc::default(),
            heeded: Arc::default(),
        };
        let ignored = ignored_signals();
        for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()] {
            // Who started us under `nohup`, or in the background of a script, does not want us to hear it.
            if ignored & (1 << (kind.as_raw_value() - 1)) != 0 {
                continue;
            }
            let (mut signals, interrupt) = (signal(kind)?, interrupt.clone());
            tokio::spawn(async move {
                while signals.recv().await.is_some() {
                    interrupt.heard()
                }
            });
        }
        Ok(interrupt)
    }

    /// The flag that the first signal sets from now on, for work that looks at it and ends by itself.
    pub(crate) fn heed(&self) -> Arc<AtomicBool> {
        self.heeded.store(true, Ordering::SeqCst);
        self.stop.clone()
    }

    /// Whether the work was asked to end.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    fn heard(&self) {
        let is_second = self.stop.swap(true, Ordering::SeqCst);
        if is_second || !self.heeded.load(Ordering::SeqCst) {
            crate::progress::say("windlass: interrupted");
            std::process::exit(Exit::Failed as i32);
        }
        crate::progress::say("Stopping; a second Ctrl-C stops at once.");
    }
}

/// The signals that our parent chose to ignore for us, as bits.
fn ignored_signals() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0)
}
