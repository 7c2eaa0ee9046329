//! The reception: everything that can be said on the command line, before anything is done.

use std::path::PathBuf;

use clap::{Args, Parser};

use crate::command::Noun;
use crate::figures;

const ABOUT: &str = "Back up and restore folders into a Kopia repository";

const LONG_ABOUT: &str = "\
Back up and restore folders into a Kopia repository.

The first command makes a repository if there is none, and a snapshot of a folder in it; the next ones list it and bring it back:

    windlass snapshot create ~/documents
    windlass snapshot list
    windlass snapshot restore ID /tmp/documents

The repository is the same that Kopia and Velero use: each of them can open it at any moment, beside this program.";

const AFTER: &str = "\
The repository is named by --repo or by the environment variable WINDLASS_REPO: a path, file:///path, or \
s3://BUCKET/PREFIX?endpoint=http://HOST:PORT&region=REGION, gs://BUCKET/PREFIX, or \
azblob://CONTAINER/PREFIX?account=ACCOUNT. The credentials for a bucket are never in its URL: they come from \
AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, from the shared files of AWS (profile=NAME), or from the machine's role; for \
Google from credentials-file=FILE or GOOGLE_APPLICATION_CREDENTIALS; for Azure from account-key-file=FILE or \
AZURE_STORAGE_KEY; and for both from the machine's role. \
Without either, the default repository in your data folder is used ($XDG_DATA_HOME/windlass or \
~/.local/share/windlass). The first snapshot makes it, with a random password in a file beside it.

The password comes from --password-file, else from WINDLASS_PASSWORD, else from KOPIA_PASSWORD, else you are asked. \
The default repository knows its own password file, which only --password-file comes before.

Exit codes:
  0  done
  1  failed
  2  wrong use
  3  done, but something could not be kept or restored; what it is has been listed";

/// Everything that was said on the command line.
#[derive(Debug, Parser)]
#[command(name = "windlass", version, about = ABOUT, long_about = LONG_ABOUT, after_long_help = AFTER)]
#[command(subcommand_required = true, arg_required_else_help = true, max_term_width = 110)]
pub(crate) struct Arguments {
    /// What holds for every command.
    #[command(flatten)]
    pub global: GlobalOptions,
    /// What is to be done.
    #[command(subcommand)]
    pub noun: Noun,
}

/// The options of every command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Options of every command")]
pub(crate) struct GlobalOptions {
    /// Where the repository is: a path, file:///path, s3://BUCKET/PREFIX, gs://... or azblob://...
    #[arg(
        long,
        value_name = "URL",
        env = "WINDLASS_REPO",
        hide_env_values = true,
        global = true
    )]
    pub repo: Option<String>,

    /// File that holds the password; a line end behind it does not count
    #[arg(long, value_name = "FILE", global = true, value_hint = clap::ValueHint::FilePath)]
    pub password_file: Option<PathBuf>,

    /// Folder where what was read is kept for the next time, or none [default: in your folder for caches]
    ///
    /// Index entries, and of repositories in buckets directories, are kept: in $XDG_CACHE_HOME/windlass, else in
    /// ~/.cache/windlass, in a folder for each repository. It can be removed at any time.
    #[arg(
        long,
        value_name = "DIR|none",
        env = "WINDLASS_CACHE_DIR",
        hide_env_values = true,
        global = true,
        hide_short_help = true,
        value_hint = clap::ValueHint::DirPath
    )]
    pub cache_dir: Option<PathBuf>,

    /// How much of one repository is kept there at most
    #[arg(
        long,
        value_name = "SIZE",
        default_value = "5GiB",
        value_parser = figures::parse_size,
        global = true,
        hide_short_help = true
    )]
    pub cache_size: u64,

    /// Print one JSON value, and nothing else, on standard output
    ///
    /// Failures are printed as an object with "error" and "causes".
    #[arg(long, global = true)]
    pub json: bool,

    /// What is logged on standard error: error, warn, info, debug, trace or off
    ///
    /// Also by part of the program: "warn,windlass_mover=debug".
    #[arg(
        long,
        value_name = "LEVEL",
        env = "WINDLASS_LOG",
        hide_env_values = true,
        default_value = "warn",
        global = true
    )]
    pub log_level: String,

    /// Be this user instead of the one of the operating system
    ///
    /// Snapshots are filed under a user, a host and a path. Kopia has an option of the same name.
    #[arg(long, value_name = "NAME", global = true, hide_short_help = true)]
    pub override_username: Option<String>,

    /// Be this host instead of the one this is
    #[arg(long, value_name = "NAME", global = true, hide_short_help = true)]
    pub override_hostname: Option<String>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_command_says_what_it_is_for_and_gives_an_example() {
        fn check(command: &clap::Command, name: &str) {
            assert!(command.get_about().is_some(), "{name} does not say what it is");
            for child in command.get_subcommands() {
                check(child, &format!("{name} {}", child.get_name()));
            }
            if !command.has_subcommands() {
                let after = command
                    .get_after_long_help()
                    .map(ToString::to_string)
                    .unwrap_or_default();
                assert!(
                    after.contains(&format!("    {name}")),
                    "{name} has no example of itself"
                );
                let undocumented = command.get_arguments().find(|argument| argument.get_help().is_none());
                assert!(undocumented.is_none(), "{name}: {undocumented:?}");
            }
        }
        check(&Arguments::command(), "windlass");
    }
}
