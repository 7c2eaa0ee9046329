//! The map room: where a repository is, from what the user wrote.

use std::fmt;
use std::path::PathBuf;

use windlass_buckets::Address;

use crate::exit::WrongUse;

/// A place where a repository is, or is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Location {
    /// A folder of this machine.
    Folder(PathBuf),
    /// A bucket somewhere.
    Bucket(Box<Address>),
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(path) => path.display().fmt(f),
            Self::Bucket(address) => f.write_str(&address.location()),
        }
    }
}

/// The place that a path or a URL names.
///
/// # Errors
/// For what is no place where a repository can be. What may be a key is not repeated.
pub(crate) fn locate(url: &str) -> Result<Location, WrongUse> {
    if Address::is_meant_by(url) {
        let address = Address::parse(url).map_err(|error| WrongUse(format!("--repo: {error}")))?;
        return Ok(Location::Bucket(Box::new(address)));
    }
    folder(url).map(Location::Folder)
}

fn folder(url: &str) -> Result<PathBuf, WrongUse> {
    let wrong = |why: &str| WrongUse(format!("--repo {url:?} {why}"));
    if url.is_empty() {
        return Err(wrong("is empty: give a path"));
    }
    let Some((scheme, rest)) = url.split_once("://") else {
        return Ok(PathBuf::from(url));
    };
    if scheme != "file" {
        // Such a URL may hold a key: it is not repeated.
        return Err(WrongUse(format!(
            "--repo {scheme}://...: no such kind of place is known; a repository can be in a folder (a path, or \
             file:///path) or in a bucket ({BUCKETS})"
        )));
    }
    let path = rest.strip_prefix("localhost").unwrap_or(rest);
    if !path.starts_with('/') {
        return Err(wrong("names another machine, or lacks a slash: write file:///path"));
    }
    percent_decoded(path).ok_or_else(|| wrong("has a % that two hexadecimal digits do not follow"))
}

/// How buckets are named.
const BUCKETS: &str = "s3://BUCKET/PREFIX, gs://BUCKET/PREFIX, azblob://CONTAINER/PREFIX";

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
    fn urls_of_buckets_name_buckets() {
        let location = locate("s3://bucket/prefix?endpoint=http://127.0.0.1:8333").unwrap();
        assert_eq!(location.to_string(), "s3://bucket/prefix/ at http://127.0.0.1:8333");
        assert_eq!(locate("/backup").unwrap(), Location::Folder("/backup".into()));
    }

    #[test]
    fn keys_in_urls_are_not_repeated() {
        for url in [
            "s3://user:secret@bucket",
            "s3://bucket?endpoint=http://user:secret@there",
            "ftp://user:secret@there",
        ] {
            let said = locate(url).unwrap_err().to_string();
            assert!(said.contains("--repo") && !said.contains(":secret"), "{said}");
        }
    }
}
