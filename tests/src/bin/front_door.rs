//! The front door: every check there is, in order, with what it needs installed first. `tests/run` starts it.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use windlass_tests::{FRONT_DOOR, Need, peers, workspace};

/// What the trial of one bench ends with.
const A_BENCH_RAN: &str = "Success";

/// How many checks passed and failed. A stage that is neither a test binary nor the benches counts as one check.
#[derive(Default)]
struct Tally {
    passed: u64,
    failed: u64,
}

impl Tally {
    /// Runs one stage, passes on what it prints, and counts it. Every stage runs, whatever became of those before.
    fn stage(&mut self, title: &str, command: &mut Command) {
        println!("\n== {title}");
        let begun = Instant::now();
        command
            .current_dir(workspace())
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let (mut passed, mut failed) = (0, 0);
        let ended = command.spawn().and_then(|mut child| {
            let output = child.stdout.take().expect("standard output was asked to be a pipe");
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                println!("{line}");
                if let Some(result) = line.strip_prefix("test result: ") {
                    passed += counted(result, "passed");
                    failed += counted(result, "failed");
                } else if line == A_BENCH_RAN {
                    passed += 1;
                }
            }
            child.wait()
        });
        let well = match &ended {
            Ok(status) => status.success(),
            Err(error) => {
                println!("cannot start it: {error}");
                false
            }
        };
        if passed + failed == 0 || (!well && failed == 0) {
            *(if well { &mut passed } else { &mut failed }) += 1;
        }
        self.passed += passed;
        self.failed += failed;
        println!(
            "-- {title}: {passed} passed, {failed} failed, {} s",
            begun.elapsed().as_secs()
        );
    }
}

/// The number before a word in cargo's line of results.
fn counted(result: &str, word: &str) -> u64 {
    let mut words = result.split([' ', ';', '.']).filter(|word| !word.is_empty()).peekable();
    while let Some(number) = words.next() {
        if words.peek() == Some(&word) {
            return number.parse().unwrap_or_default();
        }
    }
    0
}

fn cargo(arguments: &str) -> Command {
    let mut command = Command::new("cargo");
    command.args(arguments.split_whitespace());
    command
}

/// Where cargo puts the built program.
fn target_folder() -> std::path::PathBuf {
    let named = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), std::path::PathBuf::from);
    workspace().join(named)
}

/// The rooms with `unsafe` and those who lean on them, by package.
const WATCHED: [(&str, &[&str]); 2] = [
    ("windlass-repo-format", &["kernel::", "hashing::"]),
    ("windlass-mover", &["io::", "mapped::", "repository::", "pipeline::"]),
];

/// The tests of the rooms with `unsafe`, and of those who lean on them, with every access to memory watched: nothing is used after
/// it was freed, nothing leaks. What the kernel does with memory is not seen. Built without optimisation into a folder of its own;
/// the runtime comes with the compiler, which wants to be asked in this way.
fn memory_errors(package: &str, rooms: &[&str], scale: &str) -> Command {
    let mut command = cargo(
        "test --quiet --lib --target=x86_64-unknown-linux-gnu \
         --config=profile.dev.package.windlass-mover.opt-level=0 \
         --config=profile.dev.package.windlass-repo-format.opt-level=0 \
         --config=profile.dev.package.\"*\".opt-level=0",
    );
    command
        .arg(format!("--package={package}"))
        .arg("--")
        .args(rooms)
        .env("CARGO_TARGET_DIR", target_folder().join("sanitized"))
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTFLAGS", "-Zsanitizer=address")
        .env(FRONT_DOOR, scale);
    command
}

fn prepare(peers_recipes: &Path) -> Result<std::path::PathBuf, String> {
    let announce = |name: &str| println!("== building {name}, once");
    peers::build_missing(peers_recipes, announce)?;
    peers::cargo_deny(announce)
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let scale = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => "run",
        ["full"] => "full",
        _ => {
            eprintln!("usage: tests/run [full]");
            return ExitCode::from(2);
        }
    };
    if let Some(why) = [Need::Root, Need::Mounts].into_iter().find_map(Need::missing) {
        println!(
            "tests/run {why}, or some stories cannot be told: run it as root, in a container if you like.\n\
             `cargo test --workspace` runs anywhere, and says what it skips.\n0 passed, 1 failed"
        );
        return ExitCode::FAILURE;
    }
    let begun = Instant::now();
    let deny = match prepare(&workspace().join("tests/peers")) {
        Ok(deny) => deny,
        Err(error) => {
            println!("{error}\n0 passed, 1 failed");
            return ExitCode::FAILURE;
        }
    };
    let program = target_folder().join("debug/windlass");
    let mut tally = Tally::default();
    tally.stage("formatting", &mut cargo("fmt --all --check"));
    tally.stage(
        "clippy",
        &mut cargo("clippy --quiet --workspace --all-targets -- -D warnings"),
    );
    let mut doc = cargo("doc --quiet --workspace --no-deps");
    tally.stage("documentation", doc.env("RUSTDOCFLAGS", "-D warnings"));
    let mut dependencies = Command::new(deny);
    tally.stage(
        "dependencies",
        dependencies.args(["--log-level=error", "check", "licenses", "bans", "sources"]),
    );
    tally.stage("the program", &mut cargo("build --quiet --package=windlass"));
    let mut tests = cargo("test --workspace --no-fail-fast"); // doc-tests are among them
    tally.stage("tests", tests.env(FRONT_DOOR, scale).env("WINDLASS_BINARY", &program));
    // Built as the tests are, so that nothing but the benches themselves has to be: the figures are not looked at.
    tally.stage("benches", &mut cargo("bench --workspace --profile=dev -- --test"));
    for (package, rooms) in WATCHED {
        tally.stage(
            &format!("memory errors in {package}"),
            &mut memory_errors(package, rooms, scale),
        );
    }
    println!(
        "\n{} passed, {} failed ({} s)",
        tally.passed,
        tally.failed,
        begun.elapsed().as_secs()
    );
    if tally.failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
