//! The lost-property list: what the format cannot hold, counted by kind, so that nobody believes it was kept.

use crate::pipeline::FileKind;

/// So many paths of each kind are kept as examples.
const EXAMPLES_MAX: usize = 20;

/// A kind of thing that a snapshot does not hold, or holds changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LostKind {
    /// A device, fifo or socket: not stored.
    SpecialFile(FileKind),
    /// A file with several names: each name is restored as a file of its own.
    HardLink,
    /// Extended attributes or access control lists: not stored.
    ExtendedAttributes,
    /// A name that is not UTF-8: stored with replacement characters.
    NameNotUtf8,
    /// A name that is not UTF-8 and looks like another one once it is stored: one of the two cannot be restored.
    NameCollides,
    /// A modification time outside the years that can be stored: the nearest one inside is.
    TimeOutOfRange,
    /// A file that was written to while it was read: stored as it was read.
    ChangedWhileRead,
}

impl LostKind {
    /// The kind's name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::SpecialFile(FileKind::Fifo) => "fifos",
            Self::SpecialFile(FileKind::Socket) => "sockets",
            Self::SpecialFile(FileKind::BlockDevice) => "blockDevices",
            Self::SpecialFile(FileKind::CharacterDevice) => "characterDevices",
            Self::SpecialFile(_) => "otherSpecialFiles",
            Self::HardLink => "hardLinks",
            Self::ExtendedAttributes => "extendedAttributes",
            Self::NameNotUtf8 => "namesNotUtf8",
            Self::NameCollides => "namesColliding",
            Self::TimeOutOfRange => "timesOutOfRange",
            Self::ChangedWhileRead => "changedWhileRead",
        }
    }

    /// What it is and what became of it, for so many.
    pub fn text(self, count: u64) -> &'static str {
        let (one, many) = match self {
            Self::SpecialFile(FileKind::Fifo) => ("fifo, not stored", "fifos, not stored"),
            Self::SpecialFile(FileKind::Socket) => ("socket, not stored", "sockets, not stored"),
            Self::SpecialFile(FileKind::BlockDevice) => ("block device, not stored", "block devices, not stored"),
            Self::SpecialFile(FileKind::CharacterDevice) => {
                ("character device, not stored", "character devices, not stored")
            }
            Self::SpecialFile(_) => ("special file, not stored", "special files, not stored"),
            Self::HardLink => (
                "hard link, stored as a separate file",
                "hard links, stored as separate files",
            ),
            Self::ExtendedAttributes => (
                "file with extended attributes, stored without them",
                "files with extended attributes, stored without them",
            ),
            Self::NameNotUtf8 => (
                "name that is not UTF-8, stored with replacement characters",
                "names that are not UTF-8, stored with replacement characters",
            ),
            Self::NameCollides => (
                "name that is not UTF-8 and looks like another name once stored",
                "names that are not UTF-8 and look like another name once stored",
            ),
            Self::TimeOutOfRange => (
                "time that cannot be stored, moved to the nearest one that can",
                "times that cannot be stored, moved to the nearest one that can",
            ),
            Self::ChangedWhileRead => (
                "file that changed while it was read, stored as it was read",
                "files that changed while they were read, stored as they were read",
            ),
        };
        if count == 1 { one } else { many }
    }

    /// Whether something the user would miss is gone, so that the run must not be called a full success.
    pub fn is_loss(self) -> bool {
        matches!(self, Self::NameNotUtf8 | Self::NameCollides)
    }
}

/// How often one kind was met, and where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// How often.
    pub count: u64,
    /// The first few paths from the snapshot's root.
    pub examples: Vec<Vec<u8>>,
}

impl Lost {
    pub(crate) fn add(&mut self, path: &[u8]) {
        self.count += 1;
        if self.examples.len() < EXAMPLES_MAX {
            self.examples.push(path.to_vec());
        }
    }
}
