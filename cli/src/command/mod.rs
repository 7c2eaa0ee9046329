//! The directory board: every command, by its noun.

mod completions;
mod inspection;
mod repo;
mod snapshot;

use clap::Subcommand;

use crate::context::Context;
use crate::exit::Exit;

/// What is to be done, by what it is done to.
#[derive(Debug, Subcommand)]
pub(crate) enum Noun {
    /// Make, look at, check and repair a repository
    #[command(subcommand)]
    Repo(repo::Repo),
    /// Make, find, compare and restore snapshots
    #[command(subcommand, visible_alias = "snap")]
    Snapshot(snapshot::Snapshot),
    /// Print a script that completes commands in your shell
    Completions(completions::Completions),
}

impl Noun {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        match self {
            Self::Repo(repo) => repo.run(context),
            Self::Snapshot(snapshot) => snapshot.run(context),
            Self::Completions(completions) => completions.run(),
        }
    }
}
