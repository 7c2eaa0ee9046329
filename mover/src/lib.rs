//! Moves folders and volumes in and out of a repository: storage, bulk file I/O and the pipelines between them.

pub mod blocking;
pub mod cache;
pub mod clock;
mod descent;
pub mod diff;
mod error;
mod fetch;
pub mod io;
pub mod maintenance;
mod mapped;
mod patience;
mod pipeline;
pub mod random;
pub mod recover;
pub mod repair;
pub mod repository;
pub mod restore;
#[cfg(test)]
mod sample;
pub mod snapshot;
pub mod snapshots;
pub mod storage;
pub mod verify;

pub use error::{MoverError, Result};
pub use repository::{Identity, Repository};
