//! The key cabinet: where a password is found.

use std::fs;
use std::io;
use std::path::Path;

use anyhow::Context as _;
use zeroize::Zeroizing;

use crate::exit::WrongUse;
use crate::prompt;

/// A password, wiped from memory when it is no longer needed.
pub(crate) type Password = Zeroizing<String>;

/// The password of a repository: from the file that was named, else from the repository's own file, else from the
/// environment, else from the person at the terminal.
pub(crate) fn find(named: Option<&Path>, own: Option<&Path>, question: &Question) -> anyhow::Result<Password> {
    if let Some(file) = named {
        return read(file);
    }
    if let Some(file) = own.filter(|file| file.exists()) {
        return read(file);
    }
    if let Some(password) = ["WINDLASS_PASSWORD", "KOPIA_PASSWORD"]
        .into_iter()
        .find_map(from_environment)
    {
        return password;
    }
    question.ask()
}

/// What a person is asked.
pub(crate) struct Question {
    /// The line before the cursor.
    pub text: String,
    /// Ask twice, because a typing error would lock the person out.
    pub twice: bool,
    /// What to say where there is nobody to ask.
    pub missing: &'static str,
}

impl Question {
    /// Asks.
    pub(crate) fn ask(&self) -> anyhow::Result<Password> {
        if !prompt::is_possible() {
            return Err(WrongUse(self.missing.to_owned()).into());
        }
        let first = prompt::secret(&self.text)?;
        if first.is_empty() {
            return Err(WrongUse("an empty password is none".to_owned()).into());
        }
        if self.twice && *prompt::secret("The same once more: ")? != *first {
            return Err(WrongUse("the two passwords are not the same".to_owned()).into());
        }
        Ok(first)
    }
}

/// A password in an environment variable; an empty one does not count.
pub(crate) fn from_environment(name: &str) -> Option<anyhow::Result<Password>> {
    let value = std::env::var_os(name).filter(|value| !value.is_empty())?;
    let text = value
        .into_string()
        .map_err(|_| WrongUse(format!("{name} is not UTF-8")).into());
    Some(text.map(Zeroizing::new))
}

/// Reads a password file. One line end behind the password does not belong to it.
pub(crate) fn read(file: &Path) -> anyhow::Result<Password> {
    /// No password is that long; somebody named the wrong file.
    const LEN_MAX: u64 = 64 << 10;
    let doing = || format!("cannot read the password file {}", file.display());
    let mut bytes = Zeroizing::new(Vec::new());
    let opened = fs::File::open(file).with_context(doing)?;
    io::Read::read_to_end(&mut io::Read::take(opened, LEN_MAX + 1), &mut bytes).with_context(doing)?;
    if bytes.len() as u64 > LEN_MAX {
        return Err(WrongUse(format!("{} is too long for a password", file.display())).into());
    }
    let text = std::str::from_utf8(&bytes);
    let text = text.map_err(|_| WrongUse(format!("the password in {} is not UTF-8", file.display())))?;
    let text = text.strip_suffix('\n').unwrap_or(text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.is_empty() {
        return Err(WrongUse(format!("the password file {} is empty", file.display())).into());
    }
    Ok(Zeroizing::new(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_from(bytes: &[u8]) -> anyhow::Result<Password> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), bytes).unwrap();
        read(file.path())
    }

    #[test]
    fn one_line_end_does_not_belong_to_the_password() {
        for (bytes, password) in [
            (&b"secret"[..], "secret"),
            (b"secret\n", "secret"),
            (b"secret\r\n", "secret"),
            (b"secret\n\n", "secret\n"),
            (b" two words ", " two words "),
            ("third \u{e9}".as_bytes(), "third \u{e9}"),
        ] {
            assert_eq!(*read_from(bytes).unwrap(), password);
        }
    }

    #[test]
    fn what_is_no_password_is_refused() {
        for bytes in [&b""[..], b"\n", b"\xff", &[b'a'; (64 << 10) + 1]] {
            assert!(read_from(bytes).unwrap_err().is::<WrongUse>());
        }
        assert!(read(Path::new("/nonexistent/password")).is_err());
    }
}
