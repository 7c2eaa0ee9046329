//! Bytes from anywhere, and what the decoders make of them.
//!
//! A [`Target`] is a decoder with an oracle: it must not panic, loop, or hold more memory than a small multiple of its input, and
//! what it makes of the bytes must be right: encoded and decoded again it is the same, or it is what a plain twin makes of them.
//!
//! `cargo test` runs every target over its seeds, which are Kopia's own files, and over random and damaged bytes: for a moment
//! under `tests/run`, for longer under `tests/run full`. An engine that is guided by coverage can be put in front of [`Target::run`].

pub mod allocation;
pub mod bytes;
pub mod naive;
pub mod seeds;
pub mod targets;

use allocation::{Allowance, weigh};

/// A decoder with an oracle.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// What it is called: on the command line, and as a folder of findings.
    pub name: &'static str,
    /// What it may hold.
    pub allowance: Allowance,
    /// Decodes, and checks. Panics when something is wrong.
    pub check: fn(&[u8]),
    /// The golden files it begins with, and what is put before each of them.
    pub seeds: &'static [(&'static [u8], &'static str)],
}

impl Target {
    /// Runs the target over one input, with its memory weighed.
    ///
    /// # Panics
    /// When the decoder, or the oracle, finds something wrong.
    pub fn run(&self, input: &[u8]) {
        targets::prepare();
        weigh(self.allowance, input.len(), || (self.check)(input));
    }
}

/// The target of this name.
pub fn named(name: &str) -> Option<Target> {
    targets::ALL.iter().copied().find(|target| target.name == name)
}
