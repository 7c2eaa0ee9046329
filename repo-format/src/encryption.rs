//! The encryption room.
