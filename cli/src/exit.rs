//! The way out: how a run ended, as a code for scripts and as words for people.

use std::error::Error;
use std::io;
use std::process::ExitCode;

use serde_json::json;
use windlass_mover::MoverError;
use windlass_mover::storage::StorageError;
use windlass_repo_format::id::BlobId;

use crate::figures::shown;

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// All was done.
    Done = 0,
    /// It was not done.
    Failed = 1,
    /// What was asked for makes no sense.
    WrongUse = 2,
    /// It was done, but something could not be kept or restored.
    Partial = 3,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// What was asked for makes no sense; says why.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct WrongUse(pub String);

/// The password does not open the repository.
#[derive(Debug, thiserror::Error)]
#[error("wrong password for the repository at {location} (or its blob kopia.repository is damaged){more}")]
pub(crate) struct WrongPassword {
    /// Where the repository is.
    pub location: String,
    /// What else has to be said; empty, or with what separates it.
    pub more: String,
}

/// The disk that something is restored to is full, or cannot be written to.
#[derive(Debug, thiserror::Error)]
#[error("the restore to {target} ended before its end")]
pub(crate) struct TargetUnusable {
    /// Where it goes.
    pub target: String,
    /// Which file it was, and what the system said.
    pub source: MoverError,
}

/// The command was interrupted and has cleaned up.
#[derive(Debug, thiserror::Error)]
#[error("interrupted")]
pub(crate) struct Interrupted;

/// Prints what clap has to say, which may also be the help that was asked for.
pub(crate) fn of_parsing(error: &clap::Error) -> ExitCode {
    let json = std::env::args_os().any(|argument| argument == "--json");
    if json && error.use_stderr() {
        let text = error.to_string();
        let first = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
        print_json(first, &[]);
    }
    // Where this cannot be written to, nothing can.
    let _ = error.print();
    if error.use_stderr() { Exit::WrongUse } else { Exit::Done }.into()
}

/// Tells a person, or a script, why it did not work.
pub(crate) fn report(error: &anyhow::Error, json: bool) -> Exit {
    let find = |is: fn(&(dyn Error + 'static)) -> bool| error.chain().any(is);
    if find(is_broken_pipe) {
        // Who reads our output has seen enough (`windlass snapshot ls ID | head`).
        return Exit::Failed;
    }
    let exit = if find(|cause| cause.is::<WrongUse>()) {
        Exit::WrongUse
    } else {
        Exit::Failed
    };
    let causes: Vec<String> = error
        .chain()
        .skip(1)
        .map(|cause| shown(cause.to_string().as_bytes()))
        .collect();
    let first = shown(error.to_string().as_bytes());
    if json {
        print_json(&first, &causes);
    } else {
        let mut text = first;
        for cause in &causes {
            // A lower cause that is already part of the text is not told twice.
            if !text.ends_with(cause.as_str()) {
                text = format!("{text}: {cause}");
            }
        }
        crate::progress::say(&format!("windlass: {text}"));
        for hint in hints(error) {
            crate::progress::say(&format!("  {hint}"));
        }
    }
    exit
}

fn print_json(error: &str, causes: &[String]) {
    println!("{}", json!({ "error": error, "causes": causes }));
}

fn is_broken_pipe(cause: &(dyn Error + 'static)) -> bool {
    let io = cause.downcast_ref::<io::Error>();
    io.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// What the user can do about it, where that is known.
fn hints(error: &anyhow::Error) -> Vec<&'static str> {
    let restoring = error.chain().any(|cause| cause.is::<TargetUnusable>());
    let mut hints = Vec::new();
    for cause in error.chain() {
        if let Some(error) = cause.downcast_ref::<StorageError>() {
            hints.extend(storage_hint(error));
        }
        match cause.downcast_ref::<MoverError>() {
            Some(MoverError::NoSuchSnapshot { .. }) => {
                hints.push("`windlass snapshot list --all` shows all snapshots with their IDs.");
            }
            Some(MoverError::NoSuchEntry { .. }) => {
                hints.push("`windlass snapshot ls ID` shows what is in a snapshot.");
            }
            Some(MoverError::Blob { blob, .. }) if is_index(blob) => hints.push(
                "If a copy of the repository has this blob, put it back. Else `windlass repo verify --repair` gives it another name and writes what was in it anew.",
            ),
            Some(MoverError::Index { .. }) => hints.push(
                "An index says what cannot be; `windlass repo verify` says how far, and `windlass repo recover-index` writes what is missing anew.",
            ),
            Some(MoverError::Manifest { .. }) => {
                hints.push("`windlass repo verify` says whether more than this is damaged.");
            }
            Some(MoverError::Content { .. } | MoverError::WrongContent { .. } | MoverError::PackShort { .. }) => {
                hints.push("The repository is damaged; `windlass repo verify` says how far.");
            }
            Some(MoverError::ContentMissing { .. } | MoverError::PackNotIndexed { .. }) => {
                hints.push("If an index was lost, `windlass repo recover-index` rebuilds it from the packs.");
            }
            Some(MoverError::Spill { .. }) => hints.push("Make room there, or name another folder in TMPDIR."),
            Some(MoverError::PasswordChangeInterrupted { .. }) => hints.push(
                "If nobody is changing it right now: `windlass repo change-password` finishes it, with the old password as the present one and the same new one again.",
            ),
            Some(MoverError::AlreadyARepository { .. }) => hints.push(
                "Choose an empty folder, or use what is there: every other command opens it with --repo.",
            ),
            Some(MoverError::PackMissing { .. }) => hints.push(
                "If a copy of the repository has this pack, put it back; `windlass repo verify` says which files suffer without it.",
            ),
            Some(MoverError::File { source, .. }) if !restoring => hints.extend(file_hint(source)),
            _ => {}
        }
        if cause.is::<TargetUnusable>() {
            hints.push(
                "Make room there, or make it writable, and run the same command with --overwrite changed: it goes on from there.",
            );
        }
        if cause.is::<WrongPassword>() {
            hints.push("Check --password-file, WINDLASS_PASSWORD and KOPIA_PASSWORD; upper and lower case count, and so do spaces.");
        }
    }
    hints.dedup();
    hints
}

fn is_index(blob: &BlobId) -> bool {
    blob.as_str().starts_with('x') || blob.as_str().starts_with('n')
}

fn storage_hint(error: &StorageError) -> Option<&'static str> {
    match error {
        StorageError::NoSpace { .. } => Some(
            "Make room where the repository is and run the same command again: what was stored already is not stored twice.",
        ),
        StorageError::Denied { .. } => {
            Some("You need to be allowed to read and write the repository's folder and everything in it.")
        }
        StorageError::ReadOnly { .. } => Some("Mount the file system so that it can be written to."),
        StorageError::NoStorage { .. } => {
            Some("Is the disk mounted and the path right? `windlass repo init` makes a new repository there.")
        }
        _ => None,
    }
}

fn file_hint(error: &io::Error) -> Option<&'static str> {
    match error.kind() {
        io::ErrorKind::PermissionDenied => Some("Run it as a user who is allowed to."),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Some("Make room there and run the same command again.")
        }
        _ => None,
    }
}
