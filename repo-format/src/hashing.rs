//! The hashing room.
