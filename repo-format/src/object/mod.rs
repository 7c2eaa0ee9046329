//! The object room: how the parts of a long object are listed, and how parts written side by side become one object.

mod concatenation;
mod indirect;

pub use concatenation::{PartObject, PartRange, Parts, concatenate, part_lengths};
pub use indirect::{IndirectEntry, IndirectReader, IndirectWriter, encode_indirect};
#[cfg(test)]
pub(crate) use indirect::{decode_indirect, total_len};
