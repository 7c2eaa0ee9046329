//! The json room.
