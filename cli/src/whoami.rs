//! The passport office: which user and host this is, and what a path is called, just as Kopia would say.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use windlass_mover::Identity;
use windlass_repo_format::identity::{SourceArgument, clean_path, host_name, parse_source, user_name};
use windlass_repo_format::snapshot::SourceInfo;

use crate::exit::WrongUse;

/// Who we are, unless it is overridden.
pub(crate) fn identity(user: Option<&str>, host: Option<&str>) -> Identity {
    let uname = rustix::system::uname();
    Identity {
        user: user.map_or_else(|| user_name(os_user().as_deref()), str::to_owned),
        host: host.map_or_else(|| host_name(uname.nodename().to_str().ok()), str::to_owned),
    }
}

/// The name that the list of users has for this one; the environment's where it has none, as the released builds of
/// Kopia find it. (A Kopia that was built with C libraries asks these, and says `nobody` where they know no name either.)
fn os_user() -> Option<String> {
    let listed = fs::read("/etc/passwd").ok();
    let listed = listed.and_then(|passwd| name_in(&passwd, rustix::process::getuid().as_raw()));
    let set = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    listed.or_else(|| name_by_environment(set("USER"), set("HOME")))
}

/// Kopia believes the environment only where it also names a home.
fn name_by_environment(user: Option<String>, home: Option<String>) -> Option<String> {
    user.filter(|_| home.is_some())
}

fn name_in(passwd: &[u8], uid: u32) -> Option<String> {
    let uid = uid.to_string();
    let is_number = |field: &[u8]| std::str::from_utf8(field).is_ok_and(|text| text.parse::<i64>().is_ok());
    let found = passwd.split(|byte| *byte == b'\n').find_map(|line| {
        let line = line.trim_ascii();
        let fields: Vec<&[u8]> = line.splitn(7, |byte| *byte == b':').collect();
        let &[name, _, number, group, _, _, _] = fields.as_slice() else {
            return None;
        };
        let is_ours = number == uid.as_bytes() && is_number(group);
        (is_ours && !name.is_empty() && !b"#+-".contains(&name[0])).then_some(name)
    });
    found.and_then(|name| String::from_utf8(name.to_vec()).ok())
}

/// The working directory as the shell calls it, symbolic links and all, if that is where we are.
pub(crate) fn working_directory() -> std::io::Result<PathBuf> {
    let same = |path: &Path| {
        let (here, there) = (fs::metadata(".").ok()?, fs::metadata(path).ok()?);
        Some((here.dev(), here.ino()) == (there.dev(), there.ino()))
    };
    let shells = std::env::var_os("PWD").map(PathBuf::from);
    match shells.filter(|path| path.is_absolute() && same(path) == Some(true)) {
        Some(path) => Ok(path),
        None => std::env::current_dir(),
    }
}

/// A path made absolute and cleaned, without following links. A path that is not UTF-8 only becomes absolute.
pub(crate) fn absolute(path: &Path) -> std::io::Result<PathBuf> {
    let directory = working_directory()?;
    Ok(match (directory.to_str(), path.to_str()) {
        (Some(directory), Some(path)) => clean_path(directory, path).into(),
        _ => directory.join(path),
    })
}

/// The source of a path's snapshots.
pub(crate) fn source_of(path: &Path, identity: &Identity) -> SourceInfo {
    SourceInfo {
        host: identity.host.clone(),
        user_name: identity.user.clone(),
        path: String::from_utf8_lossy(path.as_os_str().as_bytes()).into_owned(),
    }
}

/// Reads a source as a user writes it.
pub(crate) fn source_argument(text: &str, identity: &Identity) -> anyhow::Result<SourceArgument> {
    let directory = working_directory()?;
    let parsed = parse_source(text, &identity.user, &identity.host, &directory.to_string_lossy());
    Ok(parsed.ok_or_else(|| WrongUse(format!("{text:?} is no source: write a path or user@host:path")))?)
}

/// Reads exactly one source: `user@host:path`, or an absolute path of this user and host.
pub(crate) fn one_source(text: &str, identity: &Identity) -> anyhow::Result<SourceInfo> {
    let wrong = || WrongUse(format!("{text:?} does not name one source: write user@host:path"));
    if !text.starts_with('/') && text.find('@').is_none_or(|at| at == 0) {
        return Err(wrong().into());
    }
    match source_argument(text, identity)? {
        SourceArgument::Path(source) if !source.user_name.is_empty() && !source.host.is_empty() => Ok(SourceInfo {
            host: source.host,
            user_name: source.user_name,
            path: source.path,
        }),
        _ => Err(wrong().into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_users_is_read_by_number() {
        let passwd = b"root:x:0:0:root:/root:/bin/sh\n# a remark\n+nis:x:7::::\nann:x:1000:1000::/home/ann:/bin/sh\n";
        assert_eq!(name_in(passwd, 1000).as_deref(), Some("ann"));
        assert_eq!(name_in(passwd, 0).as_deref(), Some("root"));
        assert_eq!(name_in(passwd, 7), None);
        assert_eq!(name_in(passwd, 1), None);
        assert_eq!(name_in(b"", 0), None);
        // Go counts the fields, looks at the group and passes over white space.
        assert_eq!(name_in(b"  ann:x:5:5::/:/bin/sh\r\n", 5).as_deref(), Some("ann"));
        for odd in [
            &b"ann:x:5:5::/"[..],
            b"ann:x:5:::/:/bin/sh",
            b"#ann:x:5:5::/:/bin/sh",
            b":x:5:5::/:/bin/sh",
        ] {
            assert_eq!(name_in(odd, 5), None, "{}", String::from_utf8_lossy(odd));
        }
    }

    #[test]
    fn the_environment_counts_if_it_names_a_home_as_well() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(name_by_environment(some("ann"), some("/home/ann")), some("ann"));
        assert_eq!(name_by_environment(some("ann"), None), None);
        assert_eq!(name_by_environment(None, some("/home/ann")), None);
    }

    #[test]
    fn a_source_needs_all_its_parts() {
        let us = Identity {
            user: "u".to_owned(),
            host: "h".to_owned(),
        };
        let source = one_source("ann@there:a/b", &us).unwrap();
        assert_eq!(
            (source.user_name, source.host, source.path),
            ("ann".to_owned(), "there".to_owned(), "a/b".to_owned())
        );
        assert_eq!(one_source("/a/../b/", &us).unwrap().path, "/b");
        for wrong in ["", "ann@there", "@there", "@:x", "ann@:x", "(global)", "ann"] {
            assert!(one_source(wrong, &us).unwrap_err().is::<WrongUse>(), "{wrong}");
        }
    }
}
