//! What the programs of this crate share: one run of a program, measured and confined, and repositories made without files.

pub mod disk;
pub mod many_contents;
pub mod measure;
pub mod room;
pub mod stop;
pub mod traffic;

/// Everything that goes wrong here ends the run, with words for the person who started it.
pub type Result<T> = std::result::Result<T, String>;
