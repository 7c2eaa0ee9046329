//! The splitter room.
