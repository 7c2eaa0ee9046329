//! The label: what machine the figures are from.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde::Serialize;

use crate::contestant::MASKS;

/// What has to be known of a machine to compare its figures with another's.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Machine {
    /// As the processor calls itself, with family and model, since guests are often told little.
    pub processor: String,
    /// How many threads run at the same moment.
    pub cores: usize,
    /// What the processor can do of what our kernels and the ciphers look for.
    pub features: Vec<String>,
    /// Whether AVX-512 is there and nobody has masked it.
    pub uses_avx512: bool,
    /// Variables that mask features.
    pub masks: Vec<String>,
    /// Memory in GiB.
    pub memory_gib: f64,
    /// Kernel name and release.
    pub kernel: String,
    /// File system and device that was worked on.
    pub disk: String,
}

const FEATURES: [&str; 9] = [
    "sha_ni",
    "avx2",
    "gfni",
    "vaes",
    "vpclmulqdq",
    "avx512f",
    "avx512bw",
    "avx512vl",
    "avx512_vbmi2",
];

impl Machine {
    /// This machine, and the disk that a folder lies on.
    pub(crate) fn this(folder: &Path) -> Self {
        let about = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let fact = |key: &str| {
            let line = about
                .lines()
                .find(|line| line.split(':').next().unwrap_or_default().trim() == key);
            line.and_then(|line| line.split_once(": "))
                .map_or_else(|| "?".to_owned(), |(_, value)| value.to_owned())
        };
        let flags = fact("flags");
        let has = |flag: &str| flags.split(' ').any(|word| word == flag);
        let features: Vec<String> = FEATURES
            .into_iter()
            .filter(|flag| has(flag))
            .map(str::to_owned)
            .collect();
        let masks: Vec<String> = MASKS
            .into_iter()
            .filter_map(|mask| Some(format!("{mask}={}", std::env::var(mask).ok()?)))
            .collect();
        let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let memory = memory.lines().find_map(|line| line.strip_prefix("MemTotal:"));
        let memory = memory.and_then(|size| size.trim().trim_end_matches(" kB").parse::<f64>().ok());
        let kernel = rustix::system::uname();
        let (name, release) = (kernel.sysname().to_string_lossy(), kernel.release().to_string_lossy());
        Self {
            processor: format!(
                "{}, family {} model {}",
                fact("model name"),
                fact("cpu family"),
                fact("model")
            ),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            uses_avx512: has("avx512f") && has("avx512bw") && masks.is_empty(),
            features,
            masks,
            memory_gib: memory.unwrap_or_default() / f64::from(1 << 20),
            kernel: format!("{name} {release}"),
            disk: disk(folder),
        }
    }

    /// One line.
    pub(crate) fn describe(&self) -> String {
        format!(
            "{}, {} cores ({}){}, {:.0} GiB, {}, {}",
            self.processor,
            self.cores,
            self.features.join(" "),
            self.masks.iter().map(|mask| format!(", {mask}")).collect::<String>(),
            self.memory_gib,
            self.kernel,
            self.disk,
        )
    }
}

/// The file system below a folder and the device below that.
fn disk(folder: &Path) -> String {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let found = fs::metadata(folder).ok().and_then(|about| {
        let (major, minor) = (rustix::fs::major(about.dev()), rustix::fs::minor(about.dev()));
        let number = format!("{major}:{minor}");
        let line = mounts.lines().find(|line| line.split(' ').nth(2) == Some(&number))?;
        let mut system = line.split_once(" - ")?.1.split(' ');
        let (kind, device) = (system.next()?, system.next()?);
        let turns = fs::read_to_string(format!("/sys/dev/block/{number}/queue/rotational")).ok();
        let turns = match turns.as_deref().map(str::trim) {
            Some("1") => " (says it rotates)",
            Some(_) => " (does not rotate)",
            None => "",
        };
        Some(format!("{kind} on {device}{turns}"))
    });
    found.unwrap_or_else(|| "unknown disk".to_owned())
}
