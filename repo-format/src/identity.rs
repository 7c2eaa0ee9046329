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

/// Reads a source as a user types it; `None` when it cannot be one.
pub fn parse_source(
    text: &str,
    default_user: &str,
    default_host: &str,
    working_directory: &str,
) -> Option<SourceArgument> {
    if text == "(global)" {
        return Some(SourceArgument::Global);
    }
    let at = text.find('@');
    let colon = text.find(':');
    match (at, colon) {
        (Some(at), Some(colon)) if at < colon && colon + 1 < text.len() => Some(SourceArgument::Path(Source {
            user_name: text[..at].to_owned(),
            host: text[at + 1..colon].to_owned(),
            path: text[colon + 1..].to_owned(),
        })),
        (Some(at), None) => {
            let (user, host) = (text[..at].to_owned(), text[at + 1..].to_owned());
            Some(if user.is_empty() {
                SourceArgument::Host(host)
            } else {
                SourceArgument::User(user, host)
            })
        }
        _ if text.is_empty() => None,
        _ => Some(SourceArgument::Path(Source {
            user_name: default_user.to_owned(),
            host: default_host.to_owned(),
            path: clean_path(working_directory, text),
        })),
    }
}
