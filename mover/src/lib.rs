//! Moves folders and volumes in and out of a repository: storage, bulk file I/O and the pipelines between them.

pub mod clock;
mod error;
pub mod io;
pub mod mapped;
pub mod random;
pub mod storage;

pub use error::StorageError;
