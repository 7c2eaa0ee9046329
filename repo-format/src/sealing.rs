//! The sealing room.
