//! The identity room: whose snapshots these are, and how a user may name them.

/// What is backed up: a path as seen by a user of a host. Snapshots with the same source form one history.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Source {
    /// Host name, see [`host_name`].
    pub host: String,
    /// User name, see [`user_name`].
    pub user_name: String,
    /// Path, usually absolute, see [`clean_path`].
    pub path: String,
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}@{}:{}", self.user_name, self.host, self.path)
    }
}

/// A user's way to say which sources are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceArgument {
    /// All sources of the repository: `(global)`.
    Global,
    /// All sources of a host: `@host`.
    Host(String),
    /// All sources of a user on a host: `user@host`; user, host.
    User(String, String),
    /// One source: `user@host:path` or a path.
    Path(Source),
}

/// The user name a client uses where none was set: that of the operating system, `nobody` if it is unknown.
pub fn user_name(os_user: Option<&str>) -> String {
    os_user.filter(|user| !user.is_empty()).unwrap_or("nobody").to_owned()
}

/// The host name a client uses where none was set: that of the machine up to its first dot, in lower case, `nohost` if
/// it is unknown.
pub fn host_name(raw: Option<&str>) -> String {
    let first = raw.unwrap_or("").split('.').next().unwrap_or("");
    if first.is_empty() {
        "nohost".to_owned()
    } else {
        first.to_lowercase()
    }
}

/// Makes a path absolute against the working directory and takes `.`, `..` and needless slashes out of it; symbolic
/// links are not followed.
pub fn clean_path(working_directory: &str, path: &str) -> String {
    let mut names: Vec<&str> = Vec::new();
    let from = if path.starts_with('/') { "" } else { working_directory };
    for name in from.split('/').chain(path.split('/')) {
        match name {
            "" | "." => {}
            ".." => {
                names.pop();
            }
            name => names.push(name),
        }
    }
    format!("/{}", names.join("/"))
}

/// Reads a source as a user types it; `None` for an empty text and for a user without a host.
///
/// What stands before the first `@`, between it and the first `:`, and behind that, is taken as it is: the path of
/// `user@host:path` is neither made absolute nor cleaned. A text that begins with `@` and has a `:` is a path.
pub fn parse_source(
    text: &str,
    default_user: &str,
    default_host: &str,
    working_directory: &str,
) -> Option<SourceArgument> {
    if text == "(global)" {
        return Some(SourceArgument::Global);
    }
    if text.is_empty() {
        return None;
    }
    match (text.find('@'), text.find(':')) {
        (Some(at @ 1..), Some(colon)) if at < colon => {
            let (user_name, host) = (text[..at].to_owned(), text[at + 1..colon].to_owned());
            let path = text[colon + 1..].to_owned();
            Some(if path.is_empty() {
                SourceArgument::User(user_name, host)
            } else {
                SourceArgument::Path(Source { host, user_name, path })
            })
        }
        (Some(at), None) => {
            let (user, host) = (text[..at].to_owned(), text[at + 1..].to_owned());
            match (user.is_empty(), host.is_empty()) {
                (_, true) => None,
                (true, false) => Some(SourceArgument::Host(host)),
                (false, false) => Some(SourceArgument::User(user, host)),
            }
        }
        _ => Some(SourceArgument::Path(Source {
            host: default_host.to_owned(),
            user_name: default_user.to_owned(),
            path: clean_path(working_directory, text),
        })),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Golden {
        arguments: Vec<(String, Option<String>)>,
        hosts: Vec<(String, Client)>,
        users: Vec<(Account, Client)>,
    }

    #[derive(Deserialize)]
    struct Client {
        hostname: String,
        username: String,
    }

    #[derive(Deserialize)]
    struct Account {
        uid: u32,
    }

    fn golden() -> Golden {
        serde_json::from_slice(include_bytes!("../golden/identity/cases.json")).unwrap()
    }

    #[test]
    fn kopia_takes_an_argument_for_the_same_source() {
        for (argument, expected) in golden().arguments {
            let found = parse_source(&argument, "u", "h", "/tmp/work").map(|source| match source {
                SourceArgument::Global => "(global)".to_owned(),
                SourceArgument::Host(host) => format!("@{host}"),
                SourceArgument::User(user, host) => format!("{user}@{host}"),
                SourceArgument::Path(source) => source.to_string(),
            });
            assert_eq!(found, expected, "{argument:?}");
        }
        assert_eq!(parse_source("", "u", "h", "/tmp/work"), None);
    }

    #[test]
    fn kopia_has_the_same_name_for_a_machine() {
        for (raw, client) in golden().hosts {
            assert_eq!(host_name(Some(&raw)), client.hostname);
        }
        assert_eq!(host_name(None), "nohost");
        assert_eq!(host_name(Some("")), "nohost");
    }

    #[test]
    fn kopia_has_the_same_name_for_a_user() {
        for (account, client) in golden().users {
            // What the user database of the machine that was asked says; 12345 is not in it.
            let known = match account.uid {
                0 => Some("root"),
                65534 => Some("nobody"),
                _ => None,
            };
            assert_eq!(user_name(known), client.username, "{}", account.uid);
        }
    }

    proptest! {
        #[test]
        fn a_clean_path_stays_as_it_is(path in "[a./~ ]{0,30}", from in "/[ab/]{0,10}") {
            let clean = clean_path(&from, &path);
            prop_assert!(clean.starts_with('/') && (clean == "/" || !clean.ends_with('/')));
            prop_assert_eq!(clean_path("/elsewhere", &clean), clean);
        }

        #[test]
        fn any_argument_can_be_read(text in any::<String>()) {
            parse_source(&text, "u", "h", "/");
        }
    }
}
