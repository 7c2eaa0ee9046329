//! The drill ground.
