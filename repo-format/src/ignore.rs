//! The ignore room.
