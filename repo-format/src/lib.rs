//! The Kopia repository as bytes: no I/O, no async, no clock, no randomness. Nonces and times are arguments.

pub mod compression;
pub mod cursor;
pub mod ecc;
pub mod encryption;
pub mod epoch;
mod error;
pub mod format_blob;
pub mod hashing;
pub mod id;
pub mod identity;
pub mod ignore;
pub mod index;
pub mod json;
pub mod kernel;
pub mod maintenance;
pub mod manifest;
pub mod object;
pub mod pack;
pub mod policy;
pub mod quantity;
pub mod retention;
pub mod sealing;
pub mod session;
pub mod snapshot;
pub mod splitter;

pub use error::FormatError;
