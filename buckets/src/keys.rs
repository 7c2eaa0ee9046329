//! The label room: from the names of blobs to the keys of a bucket, and back.

use windlass_repo_format::id::BlobId;

/// Kopia keeps the storage classes of a bucket under this name, beside the blobs.
const STORAGE_CONFIG_NAME: &str = ".storageconfig";

/// What stands before the name of each blob in its key. Kopia calls it prefix, and appends names to it as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Keys(String);

impl Keys {
    /// Keys that begin with exactly this.
    pub(crate) fn new(prefix: impl Into<String>) -> Self {
        Self(prefix.into())
    }

    /// The key of a blob, or the beginning of the keys of blobs that begin with `name`.
    pub(crate) fn key(&self, name: &str) -> String {
        format!("{}{name}", self.0)
    }

    /// The blob with this key; `None` for what is no blob: the mark of a folder, what lies deeper, and Kopia's own
    /// settings for the bucket.
    pub(crate) fn blob(&self, key: &str) -> Option<BlobId> {
        let name = key.strip_prefix(&self.0)?;
        let is_blob = !name.is_empty() && !name.contains('/') && name != STORAGE_CONFIG_NAME;
        is_blob.then(|| BlobId::from(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_blobs_right_below_the_prefix_are_blobs() {
        let keys = Keys::new("cluster/");
        assert_eq!(keys.key("p1"), "cluster/p1");
        assert_eq!(keys.blob("cluster/p1"), Some("p1".into()));
        for other in [
            "cluster/",
            "p1",
            "cluster/deeper/p1",
            "cluster/.storageconfig",
            "other/p1",
        ] {
            assert_eq!(keys.blob(other), None, "{other}");
        }
        assert_eq!(Keys::new("raw-").blob("raw-p1"), Some("p1".into()));
    }
}
