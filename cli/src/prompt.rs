//! The whispering room: a secret is asked for at the terminal and not shown.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};

use anyhow::Context as _;
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use crate::exit::Interrupted;

/// Whether somebody sits at the terminal and can be asked.
pub(crate) fn is_possible() -> bool {
    use std::io::IsTerminal;
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Asks for a line that is not shown while it is typed.
pub(crate) fn secret(question: &str) -> anyhow::Result<Zeroizing<String>> {
    let typed = ask(question).context("cannot ask for a password at the terminal (/dev/tty)")?;
    typed.ok_or_else(|| Interrupted.into())
}

fn ask(question: &str) -> io::Result<Option<Zeroizing<String>>> {
    let mut terminal = OpenOptions::new().read(true).write(true).open("/dev/tty")?;
    let quiet = Quiet::new(&terminal)?;
    terminal.write_all(question.as_bytes())?;
    let line = read_line(&terminal);
    terminal.write_all(b"\n")?;
    drop(quiet);
    line
}

/// A terminal that shows nothing and hands over each key at once; as it was again when this is dropped.
///
/// Keys that would stop the program are read as keys: it must not end while the terminal is like this.
struct Quiet {
    terminal: File,
    before: Termios,
}

impl Quiet {
    fn new(terminal: &File) -> io::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut quiet = before.clone();
        quiet.local_modes -= LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG | LocalModes::IEXTEN;
        quiet.special_codes[SpecialCodeIndex::VMIN] = 1;
        quiet.special_codes[SpecialCodeIndex::VTIME] = 0;
        let terminal = terminal.try_clone()?;
        tcsetattr(&terminal, OptionalActions::Flush, &quiet)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        // There is nobody to tell, and nothing else to try.
        let _ = tcsetattr(&self.terminal, OptionalActions::Flush, &self.before);
    }
}

/// The line that was typed; `None` when it was given up.
fn read_line(mut keys: impl Read) -> io::Result<Option<Zeroizing<String>>> {
    const LEN_MAX: usize = 64 << 10;
    let mut line = Zeroizing::new(Vec::with_capacity(256));
    let mut key = [0];
    // One at a time: what is typed behind the line is for whoever asks next.
    while keys.read(&mut key)? == 1 {
        match key[0] {
            b'\r' | b'\n' => break,
            3 | 28 => return Ok(None),
            4 if line.is_empty() => return Ok(None),
            8 | 127 => {
                // A character may be several bytes.
                while line.pop().is_some_and(|byte| byte & 0xC0 == 0x80) {}
            }
            21 => line.clear(),
            _ if line.len() == LEN_MAX => return Err(io::Error::other("the line is too long")),
            byte => line.push(byte),
        }
    }
    let text = String::from_utf8(line.to_vec());
    let text = text.map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "what was typed is not UTF-8"))?;
    Ok(Some(Zeroizing::new(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_can_be_corrected_while_it_is_typed() {
        for (keys, line) in [
            (&b"secret\rrest"[..], Some("secret")),
            (b"secret\n", Some("secret")),
            (b"secret", Some("secret")),
            (b"sex\x7fcret\r", Some("secret")),
            (b"\x7fa\r", Some("a")),
            ("x\u{e9}\u{8}y\r".as_bytes(), Some("xy")),
            (b"wrong\x15right\r", Some("right")),
            (b"\r", Some("")),
            (b"abc\x03", None),
            (b"\x04", None),
            (b"", Some("")),
        ] {
            assert_eq!(
                read_line(keys).unwrap().as_deref().map(String::as_str),
                line,
                "{keys:?}"
            );
        }
        assert!(read_line(&b"\xff\r"[..]).is_err());
    }
}
