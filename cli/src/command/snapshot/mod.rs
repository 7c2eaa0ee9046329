//! The archive's counter: commands on snapshots.

mod cat;
mod create;
mod delete;
mod described;
mod diff;
mod entry;
mod list;
mod ls;
mod place;
mod restore;
mod show;
mod stages;
mod verify;

use clap::Subcommand;

use crate::context::Context;
use crate::exit::Exit;

/// `windlass snapshot`.
#[derive(Debug, Subcommand)]
pub(crate) enum Snapshot {
    /// Back up a folder, a file or a device
    Create(Box<create::Create>),
    /// List snapshots
    List(list::List),
    /// Show all that is known of a snapshot
    Show(show::Show),
    /// Delete snapshots
    Delete(delete::Delete),
    /// Show what changed from one snapshot to another
    Diff(diff::Diff),
    /// List what is in a snapshot
    Ls(ls::Ls),
    /// Print a file of a snapshot
    Cat(cat::Cat),
    /// Bring a snapshot, or a part of one, back
    Restore(restore::Restore),
    /// Check that snapshots can be restored
    Verify(verify::Verify),
}

impl Snapshot {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        match self {
            Self::Create(create) => create.run(context),
            Self::List(list) => list.run(context),
            Self::Show(show) => show.run(context),
            Self::Delete(delete) => delete.run(context),
            Self::Diff(diff) => diff.run(context),
            Self::Ls(ls) => ls.run(context),
            Self::Cat(cat) => cat.run(context),
            Self::Restore(restore) => restore.run(context),
            Self::Verify(verify) => verify.run(context),
        }
    }
}
