//! The stopwatch: one program is run once, and its time, processor time and memory are taken.
//!
//! Processor time is what the kernel has counted for the process when it has ended and nobody has waited for it yet
//! (`/proc/PID/stat`, in ticks of mostly 10 ms): user and system, all threads, those of io_uring included, and children that it
//! waited for. What the kernel does later for pages that were left dirty is nobody's.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
use serde::Serialize;

use crate::room::{Building, Room};
use crate::traffic::Traffic;
use crate::{Result, disk, stop};

const SAMPLING: Duration = Duration::from_millis(10);
/// Moves the shell into the control group and turns it into the program.
const ENTER: &str = "echo $$ > \"$1\" && shift && exec \"$@\"";

/// How a program is called.
#[derive(Clone, Debug)]
pub struct Call {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// All its variables, besides `PATH`.
    pub environment: Vec<(OsString, OsString)>,
}

/// What was measured in one run.
#[derive(Clone, Debug, Serialize)]
pub struct Run {
    /// Until the program ended, in seconds.
    pub wall_seconds: f64,
    /// Until all it wrote was on the disk, in seconds.
    pub synced_seconds: f64,
    /// User and system time of the program, in seconds.
    pub cpu_seconds: f64,
    /// The most anonymous memory that was seen, in bytes.
    pub peak_bytes: u64,
    /// How it read and wrote, in the words of a program that says so.
    pub traffic: Option<Traffic>,
    /// Why it does not count, if it does not.
    pub failure: Option<String>,
    /// What it wrote to standard output.
    #[serde(skip)]
    pub output: Vec<u8>,
}

/// Where programs are measured, and how.
#[derive(Debug)]
pub struct Stopwatch {
    /// Lies on the disk that all work on; output is kept here.
    pub folder: PathBuf,
    /// Where control groups can be made, if anywhere.
    pub building: Option<Building>,
}

/// What a run may take.
#[derive(Clone, Copy, Debug, Default)]
pub struct Allowance {
    /// Memory in bytes, without swap.
    pub memory_bytes: Option<u64>,
    /// After this it is ended.
    pub time: Option<Duration>,
}

impl Stopwatch {
    /// Runs a program to its end and until its writes are on the disk.
    pub fn measure(&self, call: &Call, allowance: Allowance) -> Result<Run> {
        stop::check()?;
        let room = self
            .building
            .as_ref()
            .map(|building| building.room(allowance.memory_bytes));
        let room = room
            .transpose()
            .map_err(|error| format!("cannot make a control group: {error}"))?;
        let mut command = self.command(call, room.as_ref())?;
        let began = Instant::now();
        let mut child = command
            .spawn()
            .map_err(|error| format!("cannot start {}: {error}", call.program.display()))?;
        let id = Pid::from_child(&child);
        stop::child_is(Some(id));
        let ended = AtomicBool::new(false);
        let (waited, wall, peak_bytes) = std::thread::scope(|scope| {
            let watcher = scope.spawn(|| watch(id, room.as_ref(), began, allowance.time, &ended));
            // It is looked at once more before it is gone for good.
            let waited = waitid(WaitId::Pid(id), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT);
            let wall = began.elapsed();
            ended.store(true, Ordering::Relaxed);
            let peak = watcher.join().expect("who watches does not fail");
            (waited, wall, peak)
        });
        let cpu_seconds = cpu_seconds(id);
        stop::child_is(None);
        let status = waited.map_err(std::io::Error::from).and_then(|_| child.wait());
        let status = status.map_err(|error| format!("cannot wait for {}: {error}", call.program.display()))?;
        let syncing = Instant::now();
        disk::sync(&self.folder)?;
        let synced = wall + syncing.elapsed();
        stop::check()?;
        let failure = (!status.success()).then(|| self.failure(status, wall, allowance));
        Ok(Run {
            wall_seconds: wall.as_secs_f64(),
            synced_seconds: synced.as_secs_f64(),
            cpu_seconds,
            peak_bytes,
            traffic: None,
            failure,
            output: fs::read(self.folder.join("output")).unwrap_or_default(),
        })
    }

    fn command(&self, call: &Call, room: Option<&Room>) -> Result<Command> {
        let mut command = match room {
            None => Command::new(&call.program),
            Some(room) => {
                let mut command = Command::new("sh");
                command.args(["-c", ENTER, "sh"]).arg(room.door()).arg(&call.program);
                command
            }
        };
        let output = |name: &str| {
            let path = self.folder.join(name);
            File::create(&path).map_err(|error| format!("cannot make {}: {error}", path.display()))
        };
        command
            .args(&call.arguments)
            .current_dir(&self.folder)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .envs(call.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(output("output")?)
            .stderr(output("errors")?);
        Ok(command)
    }

    fn failure(&self, status: std::process::ExitStatus, wall: Duration, allowance: Allowance) -> String {
        if allowance.time.is_some_and(|time| wall >= time) {
            return format!("not done after {} s", wall.as_secs());
        }
        if status.code().is_none() && allowance.memory_bytes.is_some() {
            return "out of memory".to_owned();
        }
        let errors = fs::read(self.folder.join("errors")).unwrap_or_default();
        let errors = String::from_utf8_lossy(&errors);
        let last = errors.lines().rev().find(|line| !line.trim().is_empty());
        format!("{status}: {}", last.unwrap_or("it said nothing"))
    }

    /// Runs a program that has to succeed and is not measured.
    pub fn prepare(&self, call: &Call) -> Result<Vec<u8>> {
        let run = self.measure(call, Allowance::default())?;
        match run.failure {
            None => Ok(run.output),
            Some(failure) => Err(format!("{} {:?}: {failure}", call.program.display(), call.arguments)),
        }
    }
}

/// Looks at the memory of a program until it has ended, and ends it when its time is up.
fn watch(id: Pid, room: Option<&Room>, began: Instant, time: Option<Duration>, ended: &AtomicBool) -> u64 {
    let mut peak = 0;
    loop {
        let now = room.map_or_else(|| anonymous_bytes_of(id), Room::anonymous_bytes);
        peak = peak.max(now.unwrap_or_default());
        if ended.load(Ordering::Relaxed) {
            return peak;
        }
        if time.is_some_and(|time| began.elapsed() >= time) {
            stop::kill_child();
        }
        std::thread::sleep(SAMPLING);
    }
}

/// Without a control group: what one process has, its children not counted.
fn anonymous_bytes_of(id: Pid) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", id.as_raw_nonzero())).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse().ok()?;
    Some(kilobytes << 10)
}

/// Processor time of a process that has ended and was not waited for, and of its children that it waited for.
fn cpu_seconds(id: Pid) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", id.as_raw_nonzero())).unwrap_or_default();
    let ticks = cpu_ticks(&stat).unwrap_or_default();
    ticks as f64 / rustix::param::clock_ticks_per_second() as f64
}

/// The name of the program, in brackets, may hold anything; `utime`, `stime`, `cutime` and `cstime` are 11 words behind it.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, behind) = stat.rsplit_once(") ")?;
    let mut words = behind.split(' ').skip(11);
    (0..4).map(|_| words.next()?.parse::<u64>().ok()).sum()
}

/// An option whose value is a path: `--name=path`.
pub fn option(name: &str, value: &Path) -> OsString {
    let mut option = OsString::from(name);
    option.push("=");
    option.push(value);
    option
}

#[cfg(test)]
mod tests {
    use super::{Allowance, Call, Stopwatch, cpu_ticks};
    use crate::room::Building;

    fn call(script: &str) -> Call {
        Call {
            program: "sh".into(),
            arguments: ["-c", script].map(Into::into).into(),
            environment: Vec::new(),
        }
    }

    #[test]
    fn processor_time_is_found_behind_any_name() {
        let stat = "7 (a ) b) Z 1 7 7 0 -1 4227084 1 0 0 0 30 4 5 6 20 0 1 0 99 0 0";
        assert_eq!(cpu_ticks(stat), Some(45));
        assert_eq!(cpu_ticks("7 (cut) Z 1 7"), None);
    }

    #[test]
    fn what_a_program_took_is_seen_and_what_failed_says_why() {
        let folder = tempfile::tempdir().unwrap();
        for building in [None, Building::find()] {
            let watch = Stopwatch {
                folder: folder.path().to_owned(),
                building,
            };
            // Sixteen MiB of text, some work, and a while in which it can be seen.
            let busy = "a=0123456789abcdef; i=0; while [ $i -lt 20 ]; do a=$a$a; i=$((i+1)); done; \
                        while [ $i -lt 100000 ]; do i=$((i+1)); done; sleep 0.2; echo ${#a}";
            let run = watch.measure(&call(busy), Allowance::default()).unwrap();
            assert_eq!((run.failure, &run.output[..]), (None, &b"16777216\n"[..]));
            assert!(
                run.cpu_seconds > 0.02 && run.cpu_seconds < run.wall_seconds,
                "{}",
                run.cpu_seconds
            );
            assert!((16 << 20..200 << 20).contains(&run.peak_bytes), "{}", run.peak_bytes);
            let run = watch
                .measure(&call("echo no >&2; exit 7"), Allowance::default())
                .unwrap();
            assert_eq!(run.failure.as_deref(), Some("exit status: 7: no"));
            let hurry = Allowance {
                time: Some(std::time::Duration::from_millis(200)),
                ..Allowance::default()
            };
            let run = watch.measure(&call("exec sleep 60"), hurry).unwrap();
            assert_eq!(run.failure.as_deref(), Some("not done after 0 s"));
        }
    }
}
