//! The map room: where a repository is, from what the user wrote.

use std::path::PathBuf;

use crate::exit::WrongUse;

/// The folder that a path or a `file:` URL names.
///
/// # Errors
/// For what is no place on this machine.
pub(crate) fn folder(url: &str) -> Result<PathBuf, WrongUse> {
    let wrong = |why: &str| WrongUse(format!("--repo {url:?} {why}"));
    if url.is_empty() {
        return Err(wrong("is empty: give a path"));
    }
    let Some((scheme, rest)) = url.split_once("://") else {
        return Ok(PathBuf::from(url));
    };
    match scheme {
        "file" => {
            let path = rest.strip_prefix("localhost").unwrap_or(rest);
            if !path.starts_with('/') {
                return Err(wrong("names another machine, or lacks a slash: write file:///path"));
            }
            percent_decoded(path).ok_or_else(|| wrong("has a % that two hexadecimal digits do not follow"))
        }
        // Such a URL may hold a key: it is not repeated.
        "s3" | "gs" | "azblob" => Err(WrongUse(format!(
            "--repo {scheme}://...: buckets are not in this build yet; a repository can be in a folder only (a path, or file:///path)"
        ))),
        _ => Err(WrongUse(format!(
            "--repo {scheme}://...: no such kind of place is known; a repository can be in a folder (a path, or file:///path)"
        ))),
    }
}

fn percent_decoded(path: &str) -> Option<PathBuf> {
    use std::os::unix::ffi::OsStringExt;
    let mut decoded = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte == b'%' {
            let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
            if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return None;
            }
            decoded.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &rest[2..];
        } else {
            decoded.push(byte);
        }
    }
    Some(PathBuf::from(std::ffi::OsString::from_vec(decoded)))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn paths_and_file_urls_name_folders() {
        for (url, path) in [
            ("/backup", "/backup"),
            ("backup", "backup"),
            ("./a b%20", "./a b%20"),
            ("file:///backup/a%20b", "/backup/a b"),
            ("file://localhost/backup", "/backup"),
        ] {
            assert_eq!(folder(url).unwrap(), Path::new(path), "{url}");
        }
    }

    #[test]
    fn what_is_no_folder_is_refused_with_a_reason() {
        for (url, why) in [
            ("", "empty"),
            ("s3://bucket/prefix", "not in this build yet"),
            ("gs://bucket", "folder only"),
            ("azblob://container", "folder only"),
            ("ftp://there", "no such kind"),
            ("file://there/path", "another machine"),
            ("file:///a%2", "hexadecimal"),
            ("file:///a%+1", "hexadecimal"),
        ] {
            let said = folder(url).unwrap_err().to_string();
            assert!(said.contains(why), "{url}: {said}");
        }
    }

    #[test]
    fn keys_in_urls_are_not_repeated() {
        let said = folder("s3://user:secret@bucket").unwrap_err().to_string();
        assert!(!said.contains("secret"), "{said}");
    }
}
