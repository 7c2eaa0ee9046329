//! To be written: nothing here yet.
