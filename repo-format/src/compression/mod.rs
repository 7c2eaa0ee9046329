//! The compression room.
