//! The caption of one entry: a file, folder or link of a snapshot in words and in JSON.

use serde_json::{Value, json};
use windlass_repo_format::snapshot::{DirEntry, EntryKind};

/// The kind in JSON.
pub(super) fn kind(entry: &DirEntry) -> &str {
    match &entry.kind {
        EntryKind::Directory => "directory",
        EntryKind::File => "file",
        EntryKind::Symlink => "symlink",
        EntryKind::Unknown(other) => other,
    }
}

/// Kind and permissions as `ls` shows them: `drwxr-xr-x`.
pub(super) fn mode(entry: &DirEntry) -> String {
    let bits = entry.mode.to_unix();
    let kind = match &entry.kind {
        EntryKind::Directory => 'd',
        EntryKind::File => '-',
        EntryKind::Symlink => 'l',
        EntryKind::Unknown(_) => '?',
    };
    let mut text = String::from(kind);
    for (shift, special, letters) in [
        (6, 0o4000, ['s', 'S']),
        (3, 0o2000, ['s', 'S']),
        (0, 0o1000, ['t', 'T']),
    ] {
        text.push(if bits >> shift & 4 != 0 { 'r' } else { '-' });
        text.push(if bits >> shift & 2 != 0 { 'w' } else { '-' });
        let runs = bits >> shift & 1 != 0;
        text.push(match (bits & special != 0, runs) {
            (true, true) => letters[0],
            (true, false) => letters[1],
            (false, true) => 'x',
            (false, false) => '-',
        });
    }
    text
}

/// An entry at a path, in JSON.
pub(super) fn json(path: &[u8], entry: &DirEntry) -> Value {
    json!({
        "path": String::from_utf8_lossy(path),
        "type": kind(entry),
        "mode": format!("{:04o}", entry.mode.to_unix()),
        "size": entry.shown_size(),
        "mtime": entry.shown_mtime().to_string(),
        "uid": entry.uid,
        "gid": entry.gid,
        "object": entry.object.map(|object| object.to_string()),
    })
}

#[cfg(test)]
mod tests {
    use windlass_repo_format::snapshot::GoMode;

    use super::*;

    fn entry(kind: EntryKind, mode: u32) -> DirEntry {
        let json = json!({"name": "n", "type": kind.as_str(), "mtime": "2024-01-01T00:00:00Z", "obj": ""});
        let mut entry: DirEntry = serde_json::from_str(&json.to_string()).unwrap();
        entry.mode = GoMode::from_unix_permissions(mode);
        entry
    }

    #[test]
    fn modes_look_like_those_of_ls() {
        for (kind, bits, text) in [
            (EntryKind::Directory, 0o755, "drwxr-xr-x"),
            (EntryKind::File, 0o640, "-rw-r-----"),
            (EntryKind::Symlink, 0o777, "lrwxrwxrwx"),
            (EntryKind::File, 0o4755, "-rwsr-xr-x"),
            (EntryKind::File, 0o2644, "-rw-r-Sr--"),
            (EntryKind::Directory, 0o1777, "drwxrwxrwt"),
            (EntryKind::Directory, 0o1000, "d--------T"),
        ] {
            assert_eq!(mode(&entry(kind, bits)), text);
        }
    }
}
