//! The window: how far long work has come, as a bar on a terminal and as lines elsewhere.

use std::collections::VecDeque;
use std::io::{self, IsTerminal, Write};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::figures::{count, duration, size, things};

/// How often a bar is drawn.
const DRAW_EVERY: Duration = Duration::from_millis(100);
/// How often a line is printed where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);
/// The rate is that of so much time.
const WINDOW: Duration = Duration::from_secs(10);

/// How far work has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reading {
    /// Bytes that are done.
    pub bytes: u64,
    /// Bytes there will be, as far as is known; zero where it is not.
    pub bytes_expected: u64,
    /// Things that are done: files, contents.
    pub items: u64,
    /// Things that failed.
    pub failures: u64,
}

/// Shows the progress of work until it is dropped.
pub(crate) struct Meter {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Meter {
    /// Begins to show; `item` is what is counted ("file"). With `quiet`, nothing is shown.
    pub(crate) fn start(quiet: bool, item: &'static str, read: impl Fn() -> Reading + Send + 'static) -> Self {
        if quiet {
            return Self {
                stop: None,
                thread: None,
            };
        }
        let (stop, stopped) = channel();
        let show = move || {
            if io::stderr().is_terminal() {
                draw(&stopped, item, &read);
            } else {
                print(&stopped, item, &read);
            }
        };
        // Work that nobody sees is better than no work.
        let thread = thread::Builder::new().name("progress".to_owned()).spawn(show).ok();
        Self {
            stop: Some(stop),
            thread,
        }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            // A panic in there has been printed.
            let _ = thread.join();
        }
    }
}

fn screen() -> &'static MultiProgress {
    static SCREEN: OnceLock<MultiProgress> = OnceLock::new();
    SCREEN.get_or_init(MultiProgress::new)
}

/// Does something with standard error while no bar is in the way.
pub(crate) fn aside<R>(print: impl FnOnce() -> R) -> R {
    screen().suspend(print)
}

/// Prints a line on standard error.
pub(crate) fn say(line: &str) {
    // Where this cannot be written to, nobody reads.
    let _ = aside(|| writeln!(io::stderr(), "{line}"));
}

fn is_over(stopped: &Receiver<()>, pause: Duration) -> bool {
    stopped.recv_timeout(pause) != Err(RecvTimeoutError::Timeout)
}

fn draw(stopped: &Receiver<()>, item: &str, read: &impl Fn() -> Reading) {
    let style = |template: &str| {
        let style = ProgressStyle::with_template(template).expect("the template is written here and tried by a test");
        style.progress_chars("=> ")
    };
    let (with_end, without) = (style(WITH_END), style(WITHOUT_END));
    let bar = screen().add(ProgressBar::no_length());
    let mut pace = Pace::default();
    while !is_over(stopped, DRAW_EVERY) {
        let reading = read();
        let rate = pace.note(Instant::now(), reading.bytes);
        bar.set_message(describe(&reading, item, rate));
        if reading.bytes_expected > reading.bytes {
            bar.set_style(with_end.clone());
            bar.set_length(reading.bytes_expected);
        } else {
            bar.set_style(without.clone());
        }
        bar.set_position(reading.bytes);
    }
    bar.finish_and_clear();
}

const WITH_END: &str = "[{bar:24}] {percent:>3}%  {wide_msg}";
const WITHOUT_END: &str = "{spinner} {wide_msg}";

fn print(stopped: &Receiver<()>, item: &str, read: &impl Fn() -> Reading) {
    let mut pace = Pace::default();
    pace.note(Instant::now(), read().bytes);
    while !is_over(stopped, LINE_EVERY) {
        let reading = read();
        let rate = pace.note(Instant::now(), reading.bytes);
        say(&describe(&reading, item, rate));
    }
}

/// The reading as a line.
fn describe(reading: &Reading, item: &str, bytes_per_second: Option<f64>) -> String {
    let mut parts = Vec::new();
    let left = reading.bytes_expected.saturating_sub(reading.bytes);
    parts.push(if left > 0 {
        format!("{} of {}", size(reading.bytes), size(reading.bytes_expected))
    } else {
        size(reading.bytes)
    });
    parts.push(things(reading.items, item));
    if let Some(rate) = bytes_per_second.filter(|rate| *rate >= 1.0) {
        parts.push(format!("{}/s", size(rate as u64)));
        if left > 0 {
            let seconds = (left as f64 / rate).min(1e9);
            parts.push(format!("{} left", duration(Duration::from_secs_f64(seconds))));
        }
    }
    if reading.failures > 0 {
        parts.push(format!("{} failed", count(reading.failures)));
    }
    parts.join("  ")
}

/// The rate of the last seconds.
#[derive(Default)]
struct Pace {
    seen: VecDeque<(Instant, u64)>,
}

impl Pace {
    /// Notes how much is done now and gives the rate in bytes per second, if enough time has passed to know it.
    fn note(&mut self, now: Instant, bytes: u64) -> Option<f64> {
        self.seen.push_back((now, bytes));
        while self.seen.len() > 2 && now.duration_since(self.seen[1].0) >= WINDOW {
            self.seen.pop_front();
        }
        let (then, before) = self.seen[0];
        let time = now.duration_since(then);
        let moved = bytes.saturating_sub(before);
        (time >= Duration::from_millis(500)).then(|| moved as f64 / time.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_can_be_drawn() {
        for template in [WITH_END, WITHOUT_END] {
            ProgressStyle::with_template(template).unwrap();
        }
    }

    #[test]
    fn a_line_tells_what_is_known() {
        let mut reading = Reading {
            bytes: 1 << 20,
            bytes_expected: 0,
            items: 1234,
            failures: 0,
        };
        assert_eq!(describe(&reading, "file", None), "1.0 MiB  1,234 files");
        reading.bytes_expected = 121 << 20;
        let rate = Some(f64::from(1 << 20));
        assert_eq!(
            describe(&reading, "file", rate),
            "1.0 MiB of 121.0 MiB  1,234 files  1.0 MiB/s  2:00 left"
        );
        reading.failures = 2;
        assert_eq!(
            describe(&reading, "file", Some(0.0)),
            "1.0 MiB of 121.0 MiB  1,234 files  2 failed"
        );
    }

    #[test]
    fn the_rate_is_that_of_the_last_seconds() {
        let start = Instant::now();
        let mut pace = Pace::default();
        assert_eq!(pace.note(start, 0), None);
        assert_eq!(pace.note(start + Duration::from_secs(1), 100), Some(100.0));
        for second in 2..100 {
            pace.note(start + Duration::from_secs(second), 100);
        }
        assert_eq!(pace.note(start + Duration::from_secs(100), 100), Some(0.0));
        assert!(pace.seen.len() < 14);
    }
}
