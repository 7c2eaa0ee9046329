//! The command room: programs are started, and what came of them is kept with the words that started them.

use std::ffi::OsStr;
use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// Nothing that is run here takes so long, unless it hangs.
const LONGEST: Duration = Duration::from_mins(20);

/// What a program did, and how it had been called.
#[derive(Debug)]
pub struct Outcome {
    /// The program's name and arguments, for messages.
    pub command: String,
    /// The exit code; absent when a signal ended the program.
    pub code: Option<i32>,
    /// Everything it wrote to standard output.
    pub stdout: Vec<u8>,
    /// Everything it wrote to standard error.
    pub stderr: String,
}

impl Outcome {
    /// The outcome, if the exit code is this one.
    ///
    /// # Panics
    /// When it is another: the message holds the command and all it wrote.
    #[track_caller]
    pub fn exits_with(self, code: i32) -> Self {
        assert!(
            self.code == Some(code),
            "{}\nended with {:?}, not {code}\n{}\n{}",
            self.command,
            self.code,
            String::from_utf8_lossy(&self.stdout),
            self.stderr
        );
        self
    }

    /// The outcome, if all went well.
    #[track_caller]
    pub fn succeeds(self) -> Self {
        self.exits_with(0)
    }

    /// Standard output as text.
    #[track_caller]
    pub fn text(&self) -> String {
        String::from_utf8(self.stdout.clone())
            .unwrap_or_else(|error| panic!("{} did not write text: {error}", self.command))
    }

    /// Standard output as one JSON value.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.stdout)
            .unwrap_or_else(|error| panic!("{} did not write JSON: {error}\n{}", self.command, self.text()))
    }
}

/// Checks that a program said all these words, on whichever stream.
///
/// # Panics
/// When it did not, or when it panicked.
#[track_caller]
pub fn says(outcome: &Outcome, words: &[&str]) {
    let said = format!("{}{}", outcome.stderr, String::from_utf8_lossy(&outcome.stdout));
    for word in words {
        assert!(
            said.contains(word),
            "{} does not say {word:?}:\n{said}",
            outcome.command
        );
    }
    assert!(!said.contains("panicked"), "{said}");
}

/// Runs a prepared command to its end, with these bytes as its standard input.
///
/// # Panics
/// When it cannot be started at all.
#[track_caller]
pub fn run(command: &mut Command, stdin: &[u8]) -> Outcome {
    run_beside(command, stdin, |_| ()).0
}

/// Runs a prepared command to its end, and says how much memory it had at most, in bytes, mapped files included.
///
/// # Panics
/// When it cannot be started at all.
#[track_caller]
pub fn run_measured(command: &mut Command) -> (Outcome, u64) {
    run_beside(command, &[], peak_memory)
}

/// The high-water mark of a program's memory, in bytes. Returns when the program has ended; what it took in its last
/// milliseconds may be missed.
fn peak_memory(id: u32) -> u64 {
    let (status, mut peak) = (format!("/proc/{id}/status"), 0);
    loop {
        let status = std::fs::read_to_string(&status).unwrap_or_default();
        let Some(mark) = status.lines().find_map(|line| line.strip_prefix("VmHWM:")) else {
            return peak; // a program that has ended has no memory
        };
        let kilobytes = mark.trim().trim_end_matches(" kB").parse::<u64>();
        peak = peak.max(kilobytes.expect("the system counts in kB") << 10);
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Runs a command while something is done with its process id.
#[track_caller]
fn run_beside<T: Send>(command: &mut Command, stdin: &[u8], beside: impl FnOnce(u32) -> T + Send) -> (Outcome, T) {
    let words: Vec<&OsStr> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .collect();
    let words = words
        .iter()
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ");
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start {words}: {error}"));
    let mut input = child.stdin.take().expect("standard input was asked to be a pipe");
    let id = child.id();
    let (ended, end) = mpsc::channel::<()>();
    let (output, beside, hung) = std::thread::scope(|scope| {
        // A program that hangs must not keep all that would follow from being told.
        let hung = scope.spawn(move || {
            let hung = end.recv_timeout(LONGEST) == Err(mpsc::RecvTimeoutError::Timeout);
            if hung {
                let process = i32::try_from(id).ok().and_then(Pid::from_raw);
                let _ = kill_process(process.expect("a child has an id"), Signal::KILL);
            }
            hung
        });
        scope.spawn(move || {
            // A program that ends without reading its input is judged by its exit code, not by the broken pipe.
            let _ = input.write_all(stdin);
        });
        let beside = scope.spawn(move || beside(id));
        let output = child.wait_with_output();
        drop(ended);
        (output, beside.join(), hung.join())
    });
    assert!(
        !hung.expect("who waits does not fail"),
        "{words} took {LONGEST:?} and was ended"
    );
    let output = output.unwrap_or_else(|error| panic!("cannot wait for {words}: {error}"));
    let outcome = Outcome {
        command: words,
        code: output.status.code(),
        stdout: output.stdout,
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    };
    (outcome, beside.expect("who watches a program does not fail"))
}

/// A program that is running; killed when this goes.
#[derive(Debug)]
pub struct Running(Child);

impl Running {
    /// Starts a program that says nothing to anybody.
    ///
    /// # Panics
    /// When it cannot be started.
    #[track_caller]
    pub fn start(command: &mut Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let started = command.spawn();
        Self(started.unwrap_or_else(|error| panic!("{command:?} cannot be started: {error}")))
    }

    /// Kills the program as soon as something has become true.
    ///
    /// # Panics
    /// When the program ends before, or it takes five minutes.
    #[track_caller]
    pub fn kill_once(mut self, is_so: impl Fn() -> bool) {
        let began = Instant::now();
        while !is_so() {
            let ended = self.0.try_wait().expect("a child can be waited for");
            assert!(ended.is_none(), "it ended by itself: {ended:?}");
            assert!(began.elapsed() < Duration::from_mins(5), "it takes too long");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Running {
    /// Kills the program at once, as a power cut does; false when it had ended already.
    ///
    /// # Panics
    /// When the program is not a child that can be waited for.
    pub fn kill_now(&mut self) -> bool {
        let ended = self.0.try_wait().expect("a child can be waited for");
        if ended.is_none() {
            let _ = self.0.kill(); // it may end in this very moment
            let _ = self.0.wait();
        }
        ended.is_none()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended meanwhile.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
