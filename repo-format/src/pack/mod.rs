//! The pack room: sealed contents come in, full pack blobs go out; and from the end of a pack its index comes back.
//!
//! ```text
//! preamble        32 random bytes
//! contents        sealed, one behind the other
//! padding         1 to 4096 random bytes, up to a multiple of 4096
//! local index     sealed: what lies in this pack
//! postamble       where the local index is and what opens it
//! ```
//!
//! Only the contents are needed to read a repository; the rest brings a lost index back.

mod open;
mod postamble;
mod recovery;
#[cfg(test)]
mod tests;

use std::fmt::Write;

use crate::id::{BlobId, ContentId};

pub use open::{ClosedPack, NewContent, OpenPack, PADDING_MAX, PREAMBLE_LEN, PackBody};
pub use postamble::Postamble;
pub use recovery::{TAIL_LEN, open_local_index};

/// The two kinds of packs: data and metadata never share one, so that listing snapshots does not fetch data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PackClass {
    /// Contents without a prefix letter: the bytes of files.
    Data,
    /// Contents with a prefix letter: directories, manifests, lists of parts.
    Metadata,
}

impl PackClass {
    /// Both classes.
    pub const ALL: [Self; 2] = [Self::Data, Self::Metadata];

    /// The class of packs into which a content goes.
    pub fn of(id: &ContentId) -> Self {
        match id.prefix() {
            None => Self::Data,
            Some(_) => Self::Metadata,
        }
    }

    /// What the names of such packs begin with.
    pub fn letter(self) -> char {
        match self {
            Self::Data => 'p',
            Self::Metadata => 'q',
        }
    }
}

/// The name of a new pack: the letter of its class, 32 random hexadecimal digits, a dash and the session.
pub fn pack_blob_id(class: PackClass, random: [u8; 16], session: &str) -> BlobId {
    let mut name = String::with_capacity(34 + session.len());
    name.push(class.letter());
    for byte in random {
        write!(name, "{byte:02x}").expect("a string takes whatever is written");
    }
    name.push('-');
    name.push_str(session);
    name.into()
}
