//! The format_blob room.
