//! The doorplates of the epoch room: what the name of an index blob says.

use std::collections::BTreeMap;

use crate::id::BlobId;

/// What the names of all index blobs, markers and watermarks of a repository with epochs begin with.
pub const INDEX_BLOB_PREFIX: &str = "x";
/// The body of an epoch marker.
pub const EPOCH_MARKER_BODY: &[u8] = b"epoch-marker";
/// The body of a deletion watermark.
pub const WATERMARK_BODY: &[u8] = b"deletion-watermark";

/// What the name of a blob says about its part in the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IndexBlobName {
    /// `xn<E>_<hash>-<session>-c<N>`: written by a client into epoch E.
    Uncompacted {
        /// The epoch it was written in.
        epoch: u64,
    },
    /// `xs<E>_<hash>-<set>-c<N>`: one of the N blobs that together replace all uncompacted ones of epoch E.
    Compacted {
        /// The epoch it replaces.
        epoch: u64,
    },
    /// `xr<A>_<B>_<hash>-<set>-c<N>`: one of the N blobs that together replace the epochs A to B.
    Range {
        /// The first epoch it covers.
        first: u64,
        /// The last epoch it covers, not before the first.
        last: u64,
    },
    /// `xe<E>`: epoch E has begun.
    Marker {
        /// The epoch.
        epoch: u64,
    },
    /// `xw<T>`: contents deleted until then are gone.
    Watermark {
        /// Unix seconds.
        seconds: i64,
    },
    /// `n<hash>`: an index blob of a repository without epochs.
    Legacy,
}

impl IndexBlobName {
    /// What a blob is by its name; `None` for a blob that has no part in the index.
    pub fn parse(name: &str) -> Option<Self> {
        if name.starts_with('n') {
            return Some(Self::Legacy);
        }
        let kind = name.get(..2)?;
        let rest = &name[2..];
        match kind {
            "xn" => {
                let (digits, _) = rest.split_once('_')?;
                let epoch = number(digits)?;
                // Kopia lists `xn<E>_`, so only the shortest spelling of a number is ever found.
                (digits == epoch.to_string()).then_some(Self::Uncompacted { epoch })
            }
            "xs" => Some(Self::Compacted {
                epoch: leading_number(rest.split('_').next()?)?,
            }),
            "xe" => Some(Self::Marker {
                epoch: leading_number(rest.split('_').next()?)?,
            }),
            "xr" => {
                let mut parts = rest.splitn(3, '_');
                let first = leading_number(parts.next()?)?;
                let last = number(parts.next()?)?;
                parts.next()?;
                (first <= last).then_some(Self::Range { first, last })
            }
            "xw" => rest.parse().ok().map(|seconds| Self::Watermark { seconds }),
            _ => None,
        }
    }
}

/// A number as Kopia reads it, zeros and a plus sign in front included; negative ones make no sense here.
fn number(digits: &str) -> Option<u64> {
    let number: i64 = digits.parse().ok()?;
    u64::try_from(number).ok()
}

/// Kopia drops what stands before the first digit.
fn leading_number(text: &str) -> Option<u64> {
    number(text.trim_start_matches(|letter: char| !letter.is_ascii_digit()))
}

/// What the names of the uncompacted index blobs of one epoch begin with: `xn<E>_`.
pub fn uncompacted_blob_prefix(epoch: u64) -> String {
    format!("xn{epoch}_")
}

/// What the names of the compacted index blobs of one epoch begin with: `xs<E>_`.
pub fn single_blob_prefix(epoch: u64) -> String {
    format!("xs{epoch}_")
}

/// What the names of the index blobs of a range of epochs begin with: `xr<A>_<B>_`.
pub fn range_blob_prefix(first: u64, last: u64) -> String {
    format!("xr{first}_{last}_")
}

/// What follows the hash and a dash in the name of one of `count` index blobs that were written together:
/// `<session>-c<N>`. For compacted sets `session` is the set's own random name, `s` and 16 hexadecimal digits.
pub fn index_blob_suffix(session: &str, count: usize) -> String {
    format!("{session}-c{count}")
}

/// The marker that begins an epoch: `xe<E>`.
pub fn epoch_marker(epoch: u64) -> BlobId {
    format!("xe{epoch}").into()
}

/// The deletion watermark of a time in Unix seconds: `xw<T>`.
pub fn watermark_blob(seconds: i64) -> BlobId {
    format!("xw{seconds}").into()
}

/// The first complete set among blobs of one epoch or range, which come sorted by name. A set is complete as soon as
/// as many blobs have come as the last of them says; a blob whose name says nothing about a set is one by itself.
pub(super) fn complete_set<T>(blobs: Vec<T>, name: impl Fn(&T) -> &str) -> Option<Vec<T>> {
    let mut sets: BTreeMap<String, Vec<T>> = BTreeMap::new();
    for blob in blobs {
        let (set, wanted) = set_of(name(&blob));
        let set = sets.entry(set.to_owned()).or_default();
        set.push(blob);
        if set.len() as u64 == wanted {
            return Some(std::mem::take(set));
        }
    }
    None
}

/// The set that a blob belongs to, and how many blobs that set has.
fn set_of(name: &str) -> (&str, u64) {
    let mut parts = name.split('-');
    let (set, count) = (parts.nth(1), parts.next());
    let set = set.filter(|set| set.starts_with('s'));
    let count = count.and_then(|count| count.strip_prefix('c')).and_then(number);
    set.zip(count).unwrap_or((name, 1))
}
