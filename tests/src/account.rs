//! The account room: who runs a program. The caller does, or nobody: a user who owns nothing but what was made for him.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// User and group of nobody.
pub const NOBODY: u32 = 65_534;

/// Who runs a program.
#[derive(Debug)]
pub(crate) enum Account {
    /// Whoever runs the tests.
    Caller,
    /// Nobody, with a copy of the program: the original may lie where only its owner can go.
    Nobody {
        /// The copy.
        program: PathBuf,
    },
}

impl Account {
    /// Nobody, for one program, which is copied to this path. Takes root.
    pub(crate) fn nobody(program: &Path, copy: PathBuf) -> Self {
        fs::copy(program, &copy).unwrap_or_else(|error| panic!("cannot copy {}: {error}", program.display()));
        fs::set_permissions(&copy, Permissions::from_mode(0o755)).expect("the copy is ours");
        Self::Nobody { program: copy }
    }

    /// A program, to be started by this user.
    pub(crate) fn command(&self, program: &Path) -> Command {
        match self {
            Self::Caller => Command::new(program),
            Self::Nobody { program } => {
                let mut command = Command::new(program);
                command.uid(NOBODY).gid(NOBODY);
                command
            }
        }
    }

    /// Makes a file or folder that the caller has made this user's own.
    pub(crate) fn own(&self, path: &Path) {
        if matches!(self, Self::Nobody { .. }) {
            chown(path, Some(NOBODY), Some(NOBODY)).expect("root may give folders away");
        }
    }

    /// Whether this user may set owners.
    pub(crate) fn is_root(&self) -> bool {
        matches!(self, Self::Caller) && rustix::process::geteuid().is_root()
    }
}
