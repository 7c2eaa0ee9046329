//! The pack room.
