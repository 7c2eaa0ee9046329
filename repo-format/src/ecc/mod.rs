//! The ecc room.
