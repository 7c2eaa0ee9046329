//! The replay: every target over its seeds, over what they become when they are damaged, and over random bytes.

use std::time::{Duration, Instant};

use windlass_fuzz::{Target, named, seeds, targets};
use windlass_mover::random::{RandomSource, SeededRandom};

/// So many inputs are enough but for `tests/run full`: they are the same on every machine, so that what is new in a change is
/// what fails with it.
const INPUTS_MAX: u64 = 20_000;

fn inputs_max() -> u64 {
    let asked = std::env::var("WINDLASS_TESTS").unwrap_or_default();
    if asked == "full" { u64::MAX } else { INPUTS_MAX }
}

/// How long each target gets after its seeds: little by `cargo test`, 5 s by `tests/run`, a minute by `tests/run full`.
fn moment() -> Duration {
    let asked = std::env::var("WINDLASS_TESTS").unwrap_or_default();
    Duration::from_millis(match asked.as_str() {
        "" => 400,
        "full" => 60_000,
        _ => 5_000,
    })
}

struct Dice(SeededRandom);

impl Dice {
    fn below(&self, end: usize) -> usize {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        (u64::from_le_bytes(bytes) % end.max(1) as u64) as usize
    }

    fn bytes(&self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.0.fill(&mut bytes);
        bytes
    }

    /// Damages bytes: turns bits, cuts, doubles, and puts others in between.
    fn damage(&self, seed: &[u8], other: &[u8]) -> Vec<u8> {
        let mut bytes = seed.to_vec();
        for _ in 0..=self.below(4) {
            let (at, len) = (self.below(bytes.len()), 1 + self.below(16));
            match self.below(6) {
                0 | 1 if !bytes.is_empty() => bytes[at] ^= 1 << self.below(8),
                2 => bytes.truncate(at),
                3 => drop(bytes.splice(at..at, self.bytes(len))),
                4 if !bytes.is_empty() => drop(bytes.drain(at..(at + len).min(bytes.len()))),
                _ => {
                    let from = self.below(other.len());
                    let piece = other[from..(from + len * 8).min(other.len())].to_vec();
                    bytes.splice(at..at, piece);
                }
            }
        }
        bytes
    }
}

/// Runs one input; says which it was when it fails.
fn run(target: &Target, input: &[u8]) {
    let ran = std::panic::catch_unwind(|| target.run(input));
    assert!(
        ran.is_ok(),
        "{} fails on {} bytes: {}",
        target.name,
        input.len(),
        input[..input.len().min(2000)].escape_ascii()
    );
}

fn replay(target: &Target) {
    let seeds = seeds::of(target);
    assert!(!seeds.is_empty(), "{} has no seed", target.name);
    seeds.iter().for_each(|seed| run(target, seed));
    run(target, &[]);
    let dice = Dice(SeededRandom::new(target.name.bytes().map(u64::from).sum()));
    let (begun, moment, mut runs) = (Instant::now(), moment(), 0_u64);
    while (begun.elapsed() < moment && runs < inputs_max()) || runs < 100 {
        let (seed, other) = (&seeds[dice.below(seeds.len())], &seeds[dice.below(seeds.len())]);
        let input = match dice.below(4) {
            0 => dice.bytes(dice.below(300)),
            _ => dice.damage(seed, other),
        };
        run(target, &input);
        runs += 1;
    }
    println!("{}: {} seeds, {runs} other inputs", target.name, seeds.len());
}

#[test]
fn every_target_stands_its_seeds_and_what_they_become() {
    targets::ALL.iter().for_each(replay);
}

#[test]
fn there_are_enough_targets_and_each_has_a_name_of_its_own() {
    assert!(targets::ALL.len() >= 12);
    for target in targets::ALL {
        assert_eq!(
            named(target.name).map(|found| found.check as usize),
            Some(target.check as usize)
        );
    }
}
