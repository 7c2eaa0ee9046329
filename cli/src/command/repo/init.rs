//! The foundry: `repo init`.

use clap::Args;
use clap::builder::PossibleValuesParser;
use serde_json::json;
use windlass_mover::repository::CreateOptions;
use windlass_repo_format::encryption::EncryptionAlgorithm;
use windlass_repo_format::format_blob::FormatVersion;
use windlass_repo_format::hashing::HashAlgorithm;
use windlass_repo_format::splitter::SplitterAlgorithm;

use super::settings;
use crate::context::{Context, about_password_file};
use crate::exit::Exit;
use crate::output;

const EXAMPLES: &str = "\
A repository that has been made can be used by Kopia and Velero too. A folder that holds a repository, or blobs of what \
may have been one, is never overwritten. All choices but the password are for good.

Examples:
    windlass repo init --repo /mnt/backup
    windlass repo init --repo /mnt/backup --password-file ~/.windlass-password
    windlass repo init --repo /mnt/usb --ecc 5
    windlass repo init --repo /mnt/velero --hash BLAKE2B-256-128";

/// `windlass repo init`.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Init {
    /// How contents get their names; all are of the same strength against accidents
    #[arg(long, value_name = "HASH", hide_possible_values = true, default_value = default().hash.name(),
        value_parser = PossibleValuesParser::new(HashAlgorithm::ALL.map(HashAlgorithm::name)))]
    hash: String,

    /// How contents are encrypted
    #[arg(long, value_name = "CIPHER", default_value = default().encryption.name(),
        value_parser = PossibleValuesParser::new(EncryptionAlgorithm::ALL.map(EncryptionAlgorithm::name)))]
    encryption: String,

    /// How files are cut into contents
    #[arg(long, value_name = "SPLITTER", hide_possible_values = true, default_value = default().splitter.name(),
        value_parser = PossibleValuesParser::new(SplitterAlgorithm::ALL.map(SplitterAlgorithm::name)))]
    splitter: String,

    /// Version of the format: 3, or 2 for Kopia 0.9 and 0.10
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(i64).range(2..=3))]
    format_version: i64,

    /// Add so many percent of error correction, for disks that lose bits (1 to 100)
    #[arg(long, value_name = "PERCENT", default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=100))]
    ecc: u8,
}

fn default() -> CreateOptions {
    CreateOptions::default()
}

impl Init {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let create = CreateOptions {
            hash: HashAlgorithm::from_name(&self.hash)?,
            encryption: EncryptionAlgorithm::from_name(&self.encryption)?,
            splitter: SplitterAlgorithm::from_name(&self.splitter)?,
            version: FormatVersion::from_number(self.format_version).expect("clap has checked the range"),
            ecc_overhead_percent: self.ecc,
            ..CreateOptions::default()
        };
        let place = context.place()?;
        let _finish = context.interrupt.heed();
        let repository = context.create_at(&place, &create)?;
        if context.options.json {
            let mut made = settings::json(&repository);
            made["passwordFile"] = json!(context.own_password_file(&place));
            output::json(&made)?;
            return Ok(Exit::Done);
        }
        let mut text = format!(
            "A new repository has been made.\n\n{}",
            settings::facts(&repository).render("  ")
        );
        if let Some(file) = context.own_password_file(&place) {
            text += &about_password_file(&file);
        } else {
            text += "\nWithout its password nobody can read it, you neither: keep the password where a lost disk does not \
                     take it along.\n";
        }
        text += &format!(
            "\nNext, back up a folder:\n\n  windlass snapshot create{} FOLDER\n",
            context.repo_words()
        );
        output::text(&text)?;
        Ok(Exit::Done)
    }
}
