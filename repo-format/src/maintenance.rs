//! The maintenance room.
