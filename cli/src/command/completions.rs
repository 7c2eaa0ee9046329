//! The drill hall: what a shell learns about our commands.

use clap::{Args, CommandFactory};

use crate::arguments::Arguments;
use crate::exit::Exit;
use crate::output;

const EXAMPLES: &str = "\
Examples:
    windlass completions bash > ~/.local/share/bash-completion/completions/windlass
    windlass completions zsh > ~/.zfunc/_windlass
    windlass completions fish > ~/.config/fish/completions/windlass.fish";

/// `windlass completions`.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Completions {
    /// Which shell
    shell: clap_complete::Shell,
}

impl Completions {
    pub(crate) fn run(self) -> anyhow::Result<Exit> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Arguments::command(), "windlass", &mut script);
        output::text(&String::from_utf8(script)?)?;
        Ok(Exit::Done)
    }
}
