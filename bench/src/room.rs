//! The memory room: a control group for one program, so that its memory can be counted and limited apart from all others'.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Where control groups with memory can be made here, tried once.
#[derive(Clone, Debug)]
pub struct Building {
    above: PathBuf,
    version: Version,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

/// A control group for one run of one program, gone when this goes.
#[derive(Debug)]
pub struct Room {
    folder: PathBuf,
    version: Version,
}

impl Building {
    /// The place where groups can be made: below the group of this process, or beside it where the kernel does not let processes
    /// and groups live in one.
    pub fn find() -> Option<Self> {
        let own = fs::read_to_string("/proc/self/cgroup").ok()?;
        let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
        let places = candidates(&own, &mounts);
        places.into_iter().find(|place| {
            let Ok(room) = place.room(Some(1 << 30)) else {
                return false;
            };
            room.anonymous_bytes().is_some()
        })
    }

    /// What is said of it in the report.
    pub fn describe(&self) -> &'static str {
        match self.version {
            Version::One => "peak anonymous memory of a memory cgroup (v1) per run, looked at every 10 ms",
            Version::Two => "peak anonymous memory of a memory cgroup (v2) per run, looked at every 10 ms",
        }
    }

    /// A new group, without swap if it has a limit.
    pub fn room(&self, limit_bytes: Option<u64>) -> std::io::Result<Room> {
        static ROOMS: AtomicU32 = AtomicU32::new(0);
        let number = ROOMS.fetch_add(1, Ordering::Relaxed);
        let folder = self.above.join(format!("versus-{}-{number}", std::process::id()));
        fs::create_dir(&folder)?;
        let room = Room {
            folder,
            version: self.version,
        };
        if let Some(limit) = limit_bytes {
            room.limit(limit)?;
        }
        Ok(room)
    }
}

impl Room {
    /// The file that takes the number of a process which moves in.
    pub fn door(&self) -> PathBuf {
        self.folder.join("cgroup.procs")
    }

    fn limit(&self, bytes: u64) -> std::io::Result<()> {
        let bytes = bytes.to_string();
        match self.version {
            Version::One => {
                fs::write(self.folder.join("memory.limit_in_bytes"), &bytes)?;
                // The kernel may have been built without a count of swap; then this keeps it from being used.
                let _ = fs::write(self.folder.join("memory.memsw.limit_in_bytes"), &bytes);
                let _ = fs::write(self.folder.join("memory.swappiness"), "0");
            }
            Version::Two => {
                fs::write(self.folder.join("memory.max"), &bytes)?;
                let _ = fs::write(self.folder.join("memory.swap.max"), "0");
            }
        }
        Ok(())
    }

    /// Anonymous memory of all who live here, in bytes. The kernel counts in batches: some hundred KiB may be missing.
    pub fn anonymous_bytes(&self) -> Option<u64> {
        let key = match self.version {
            Version::One => "total_rss ",
            Version::Two => "anon ",
        };
        let statistics = fs::read_to_string(self.folder.join("memory.stat")).ok()?;
        let line = statistics.lines().find_map(|line| line.strip_prefix(key))?;
        line.trim().parse().ok()
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        for _ in 0..100 {
            if fs::remove_dir(&self.folder).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10)); // who has just ended may not have moved out yet
        }
        eprintln!("cannot remove the control group {}", self.folder.display());
    }
}

/// From `/proc/self/cgroup` and `/proc/self/mountinfo` to the places that may do.
fn candidates(own: &str, mounts: &str) -> Vec<Building> {
    let mut places = Vec::new();
    for line in own.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next()) else {
            continue;
        };
        if controllers.is_empty() {
            if let Some(folder) = folder_of(mounts, path, |kind, _| kind == "cgroup2") {
                let beside = folder.parent().map(Path::to_owned);
                places.extend([Some(folder), beside].into_iter().flatten().map(|above| Building {
                    above,
                    version: Version::Two,
                }));
            }
        } else if controllers.split(',').any(|name| name == "memory") {
            let memory =
                |kind: &str, options: &str| kind == "cgroup" && options.split(',').any(|name| name == "memory");
            places.extend(folder_of(mounts, path, memory).map(|above| Building {
                above,
                version: Version::One,
            }));
        }
    }
    places
}

/// Where a control group can be found among the mounted file systems.
fn folder_of(mounts: &str, path: &str, is_it: impl Fn(&str, &str) -> bool) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let (mount, system) = line.split_once(" - ")?;
        let mut system = system.split(' ');
        let (kind, options) = (system.next()?, system.nth(1)?);
        let mut mount = mount.split(' ').skip(3);
        let (root, point) = (mount.next()?, mount.next()?);
        let below = Path::new(path).strip_prefix(root).ok()?;
        is_it(kind, options).then(|| Path::new(point).join(below))
    })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::{Version, candidates};

    const ONE: &str = "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n\
                       36 31 0:33 / /sys/fs/cgroup/devices rw,relatime - cgroup cgroup rw,devices\n";
    const TWO: &str = "41 31 0:38 / /sys/fs/cgroup rw,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";

    fn places(own: &str, mounts: &str) -> Vec<(Version, PathBuf)> {
        let found = candidates(own, mounts).into_iter();
        found.map(|place| (place.version, place.above)).collect()
    }

    #[test]
    fn groups_are_looked_for_where_either_version_of_them_is_mounted() {
        let one = (Version::One, PathBuf::from("/sys/fs/cgroup/memory/jobs/7"));
        assert_eq!(places("5:devices:/x\n4:memory:/jobs/7\n", ONE), [one]);
        let two = ["/sys/fs/cgroup/user/7", "/sys/fs/cgroup/user"].map(|path| (Version::Two, PathBuf::from(path)));
        assert_eq!(places("0::/user/7\n", TWO), two);
        assert_eq!(places("0::/user/7\n", ONE), []);
        assert_eq!(places("4:memory:/jobs/7\n", TWO), []);
    }
}
