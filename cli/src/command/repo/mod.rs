//! The caretaker's room: commands on a repository as a whole.

mod change_password;
mod init;
mod maintain;
mod recover_index;
mod settings;
mod status;
mod verify;

use clap::Subcommand;

use crate::context::Context;
use crate::exit::Exit;

/// `windlass repo`.
#[derive(Debug, Subcommand)]
pub(crate) enum Repo {
    /// Make a repository
    Init(init::Init),
    /// Show what a repository is like and how big it has become
    Status(status::Status),
    /// Check that everything in a repository is there and unharmed
    Verify(verify::Verify),
    /// Remove what nobody needs any more, and keep a repository quick
    Maintain(maintain::Maintain),
    /// Give a repository another password
    ChangePassword(change_password::ChangePassword),
    /// Write the indexes anew from the packs
    RecoverIndex(recover_index::RecoverIndex),
}

impl Repo {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        match self {
            Self::Init(init) => init.run(context),
            Self::Status(status) => status.run(context),
            Self::Verify(verify) => verify.run(context),
            Self::Maintain(maintain) => maintain.run(context),
            Self::ChangePassword(change) => change.run(context),
            Self::RecoverIndex(recover) => recover.run(context),
        }
    }
}
