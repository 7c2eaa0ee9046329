//! The epoch room.
