//! The locksmith: `repo change-password`.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use windlass_mover::MoverError;
use windlass_mover::blocking::block_on;
use windlass_repo_format::format_blob::FORMAT_BLOB_NAME;

use crate::context::Context;
use crate::exit::Exit;
use crate::output;
use crate::password::{self, Password, Question};

const EXAMPLES: &str = "\
The present password is given like for every other command. The new one comes from --new-password-file, else from \
WINDLASS_NEW_PASSWORD, else you are asked. Contents are not encrypted anew: whoever knew the old password and kept a copy \
of the repository's settings can still read it. Every other client has to be told the new password. A change that was \
interrupted is finished by the same command with the same two passwords.

Examples:
    windlass repo change-password --repo /mnt/backup
    windlass repo change-password --repo /mnt/backup --password-file old --new-password-file new";

/// `windlass repo change-password`.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct ChangePassword {
    /// File that holds the new password; a line end behind it does not count
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    new_password_file: Option<PathBuf>,
}

impl ChangePassword {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let place = context.place()?;
        let closed = context.closed_at(&place)?;
        let repository = match context.open_closed(closed.clone()) {
            Err(error) if is_half_done(&error) => None,
            opened => Some(opened?),
        };
        if repository.is_none() {
            context.note("An earlier change of the password ended halfway; this one finishes it.");
        }
        let new = self.new_password()?;
        let _finish = context.interrupt.heed();
        let default = place
            .default
            .as_ref()
            .filter(|_| context.options.password_file.is_none());
        if let Some(default) = default {
            default.prepare_password(&new)?;
        }
        match repository {
            Some(repository) => drop(block_on(repository.change_password(&new))?),
            None => closed.finish_password_change(&context.identity, &new)?,
        }
        if let Some(default) = default {
            default.adopt_password()?;
        }
        let file = default.map(|default| default.password_file());
        if context.options.json {
            output::json(&json!({"location": place.location.to_string(), "passwordFile": file}))?;
        } else {
            let mut text = format!("The password of the repository at {} is changed.\n", place.location);
            if let Some(file) = file {
                text += &format!("It is in {}: keep a copy elsewhere.\n", file.display());
            }
            output::text(&text)?;
        }
        Ok(Exit::Done)
    }

    fn new_password(&self) -> anyhow::Result<Password> {
        if let Some(file) = &self.new_password_file {
            return password::read(file);
        }
        if let Some(password) = password::from_environment("WINDLASS_NEW_PASSWORD") {
            return password;
        }
        let question = Question {
            text: "New password: ".to_owned(),
            twice: true,
            missing: "no new password is given and there is no terminal to ask: give --new-password-file",
        };
        question.ask()
    }
}

/// Whether this password opens the settings and not what belongs to them.
fn is_half_done(error: &anyhow::Error) -> bool {
    let interrupted = error.downcast_ref::<MoverError>();
    matches!(interrupted, Some(MoverError::PasswordChangeInterrupted { opened, .. }) if opened.as_str() == FORMAT_BLOB_NAME)
}
