//! The stop room: Ctrl-C ends the program that is being measured, and then this one, which takes its data away.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use rustix::process::{Pid, Signal, kill_process};

use crate::Result;

static STOPPED: AtomicBool = AtomicBool::new(false);
/// The child that is being measured and has not been waited for, so that its number is still its own.
static CHILD: Mutex<Option<Pid>> = Mutex::new(None);

/// Says which child runs now.
pub fn child_is(child: Option<Pid>) {
    *CHILD.lock().unwrap_or_else(PoisonError::into_inner) = child;
}

/// Ends the child that runs now, if there is one.
pub fn kill_child() {
    if let Some(child) = *CHILD.lock().unwrap_or_else(PoisonError::into_inner) {
        // It may just have ended by itself.
        let _ = kill_process(child, Signal::KILL);
    }
}

/// An error once somebody has pressed Ctrl-C: asked wherever something long begins.
pub fn check() -> Result<()> {
    if STOPPED.load(Ordering::Relaxed) {
        return Err("stopped".to_owned());
    }
    Ok(())
}

/// Heeds Ctrl-C and a polite request to end from now on; the second one ends at once and leaves the data behind.
pub fn heed() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("cannot wait for Ctrl-C: {error}"))?;
    std::thread::spawn(move || {
        runtime.block_on(async {
            let mut terminations = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).ok();
            loop {
                let terminated = async {
                    match &mut terminations {
                        Some(terminations) => terminations.recv().await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    _ = tokio::signal::ctrl_c() => {}
                    _ = terminated => {}
                }
                if STOPPED.swap(true, Ordering::Relaxed) {
                    std::process::exit(130);
                }
                kill_child();
            }
        });
    });
    Ok(())
}
