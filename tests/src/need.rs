//! The need room: what a story cannot be told without, and what happens where it is missing.

use std::process::Command;

use crate::peers;

/// Set by `tests/run` to `run` or `full`: a story that would be skipped fails, and stories with large data are told.
pub const FRONT_DOOR: &str = "WINDLASS_TESTS";

/// Something a story cannot be told without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Device nodes, foreign owners, any mode.
    Root,
    /// The right to mount a file system in memory.
    Mounts,
    /// The real Kopia, built by `tests/run` or by hand.
    Kopia,
    /// A real S3 server, installed by `tests/run`.
    SeaweedFs,
    /// Azurite, which speaks Azure Blob Storage, installed by `tests/run`, with Node.js to run it.
    Azurite,
    /// A server that speaks Google Cloud Storage, built by `tests/run`.
    FakeGcs,
    /// The program `openssl`, which makes certificates.
    OpenSsl,
    /// The time and the room for gigabytes: only `tests/run` asks for such stories.
    FrontDoor,
    /// Go's module cache, which building the peers leaves behind.
    ModuleCache,
}

impl Need {
    /// Why the story cannot be told here, if it cannot.
    pub fn missing(self) -> Option<&'static str> {
        let (there, why) = match self {
            Self::Root => (rustix::process::geteuid().is_root(), "needs root"),
            Self::Mounts => (can_mount(), "needs the right to mount"),
            Self::Kopia => (
                peers::program("kopia").is_file(),
                "needs the real Kopia: tests/run builds it",
            ),
            Self::SeaweedFs => (
                peers::program("weed").is_file(),
                "needs SeaweedFS: tests/run installs it",
            ),
            Self::Azurite => (
                peers::azurite().is_file() && Command::new("node").arg("--version").output().is_ok(),
                "needs Node.js and Azurite: tests/run installs the latter",
            ),
            Self::FakeGcs => (
                peers::program("fake-gcs-server").is_file(),
                "needs fake-gcs-server: tests/run builds it",
            ),
            Self::OpenSsl => (
                Command::new("openssl").arg("version").output().is_ok(),
                "needs the program openssl",
            ),
            Self::FrontDoor => (
                std::env::var_os(FRONT_DOOR).is_some(),
                "moves gigabytes: only tests/run asks for it",
            ),
            Self::ModuleCache => (
                peers::module_cache().is_some(),
                "needs Go's module cache: building the peers leaves one behind",
            ),
        };
        (!there).then_some(why)
    }

    /// Whether all of these are met. If not, says why: `skipped: ...`, or a failure under `tests/run`.
    #[track_caller]
    pub fn all_met(needs: &[Self]) -> bool {
        let Some(why) = needs.iter().find_map(|need| need.missing()) else {
            return true;
        };
        assert!(std::env::var_os(FRONT_DOOR).is_none(), "skipped: {why}");
        println!("skipped: {why}");
        false
    }
}

/// A number for everyday runs and a larger one for `tests/run full`.
pub fn scale(everyday: u64, full: u64) -> u64 {
    if std::env::var(FRONT_DOOR).is_ok_and(|value| value == "full") {
        full
    } else {
        everyday
    }
}

/// Whether a file system can be mounted: tried once, in a namespace of its own that leaves nothing behind.
fn can_mount() -> bool {
    let tried = Command::new("unshare")
        .args(["--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"])
        .output();
    tried.is_ok_and(|tried| tried.status.success())
}
