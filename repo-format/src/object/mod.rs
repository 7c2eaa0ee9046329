//! The object room.
