//! The primitives: bytes in, bytes out, on one thread and in memory.

pub(crate) mod compression;
pub(crate) mod directories;
pub(crate) mod hashing;
pub(crate) mod index;
pub(crate) mod packing;
pub(crate) mod sealing;
pub(crate) mod splitting;
