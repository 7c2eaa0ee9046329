//! The snapshot room: what a snapshot knows of itself, and the directory tree it points at.

pub mod checkpointed;
pub mod directory_reader;
pub mod directory_writer;
pub mod entry;
pub mod manifest;
pub mod mode;
pub mod summary;

pub use checkpointed::{checkpointed_name, is_checkpointed_name};
pub use directory_reader::DirectoryReader;
pub use directory_writer::DirectoryWriter;
pub use entry::{DirEntry, EntryKind, same_time};
pub use manifest::{SnapshotManifest, SnapshotStats, SourceInfo};
pub use mode::GoMode;
pub use summary::{DirectorySummary, EntryError, SummaryBuilder};

#[cfg(test)]
mod golden_tests;
#[cfg(test)]
mod property_tests;
