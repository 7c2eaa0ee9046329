//! The parity kernel: shards that are sums of multiples of other shards, without multiplying a byte.
//!
//! A multiple is taken apart by the bits of its factor: `f * x` is the sum of `2^k * x` over the bits `k` of `f`. So
//! for every result and every bit the sources whose factor has that bit are added up, and only the eight sums are
//! doubled into place, once per result. Adding is exclusive or of whole words, and sources are added four at a time:
//! all sixteen sums of four sources are made once and looked up by the bits of four factors.

use super::Shards;
use super::field::{POLYNOMIAL, invert, multiply};

/// How many bytes of each shard are worked on at a time: a few vector registers, so that the sums of 128 sources stay
/// in the first level cache.
const COLUMN: usize = 64;
/// So many sources share a table of sums.
const GROUP: usize = 4;

/// A column of a shard, on a cache line of its own.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(64))]
struct Words([u64; COLUMN / 8]);

/// The sums of every choice among the sources of one group.
type Sums = [Words; 1 << GROUP];

/// The memory that adding needs. To be kept from one block to the next.
#[derive(Debug, Default)]
pub(super) struct Scratch(Vec<Sums>);

/// A systematic code: the rows of a Vandermonde matrix, multiplied so that the first `data` rows give the data back.
#[derive(Clone, Debug)]
pub(super) struct ReedSolomon {
    data: usize,
    /// Row by row, one factor per data shard.
    factors: Vec<u8>,
    rows: Rows,
}

impl ReedSolomon {
    pub(super) fn new(data: usize, parity: usize) -> Self {
        assert!(data > 0 && parity > 0 && data + parity <= 256);
        // Row r of the Vandermonde matrix evaluates a polynomial at the point r. So the code takes the polynomial
        // that goes through the data at the points 0, 1, .. and gives its values at the points after them: each
        // factor is a Lagrange basis polynomial at such a point.
        let points = || 0..data as u8;
        let factors = (data..data + parity)
            .flat_map(|row| {
                points().map(move |at| {
                    let others = points().filter(move |point| *point != at);
                    others.fold(1, |product, point| {
                        multiply(product, multiply(row as u8 ^ point, invert(at ^ point)))
                    })
                })
            })
            .collect::<Vec<u8>>();
        let rows = Rows::new(&factors, data);
        Self { data, factors, rows }
    }

    /// The parity shards of a block, both as shards of `shard` bytes in a row.
    pub(super) fn parity_of(&self, data: &[u8], shard: usize, parity: &mut [u8], scratch: &mut Scratch) {
        self.rows.apply(data, shard, parity, scratch);
    }

    /// Computes the lost data shards again and gives their number. There must be as many whole parity shards.
    pub(super) fn rebuild(&self, data: &mut Shards, parity: &Shards) -> usize {
        let shard = data.shard;
        let lost: Vec<usize> = places(&data.lost, true).collect();
        let helpers: Vec<usize> = places(&parity.lost, false).take(lost.len()).collect();
        if lost.is_empty() {
            return 0;
        }
        assert_eq!(lost.len(), helpers.len(), "the caller counted the damage");
        // Lost shards are zeros, so parity that is computed now lacks just what they would have added.
        let factors: Vec<u8> = helpers.iter().flat_map(|row| self.row(*row)).copied().collect();
        let mut scratch = Scratch::default();
        let mut missing = vec![0; helpers.len() * shard];
        Rows::new(&factors, self.data).apply(&data.bytes, shard, &mut missing, &mut scratch);
        for (missing, helper) in missing.chunks_exact_mut(shard).zip(&helpers) {
            let stored = &parity.bytes[helper * shard..][..shard];
            missing
                .iter_mut()
                .zip(stored)
                .for_each(|(missing, stored)| *missing ^= stored);
        }
        let square = helpers
            .iter()
            .flat_map(|row| lost.iter().map(|column| self.row(*row)[*column]))
            .collect();
        let mut rebuilt = vec![0; lost.len() * shard];
        Rows::new(&inverse(square, lost.len()), lost.len()).apply(&missing, shard, &mut rebuilt, &mut scratch);
        for (rebuilt, lost) in rebuilt.chunks_exact(shard).zip(&lost) {
            data.bytes[lost * shard..][..shard].copy_from_slice(rebuilt);
        }
        lost.len()
    }

    fn row(&self, parity: usize) -> &[u8] {
        &self.factors[parity * self.data..][..self.data]
    }
}

/// The places where `flags` is `wanted`.
fn places(flags: &[bool], wanted: bool) -> impl Iterator<Item = usize> {
    flags
        .iter()
        .enumerate()
        .filter(move |(_, flag)| **flag == wanted)
        .map(|(place, _)| place)
}

/// Factors, prepared for adding.
#[derive(Clone, Debug)]
struct Rows {
    sources: usize,
    /// For every result eight lines, the highest bit first: for every group of sources, which of their factors have
    /// that bit.
    choices: Vec<u8>,
}

impl Rows {
    /// `factors` holds, result by result, one factor per source.
    fn new(factors: &[u8], sources: usize) -> Self {
        let choices = factors
            .chunks_exact(sources)
            .flat_map(|row| (0..8).rev().map(move |bit| (row, bit)))
            .flat_map(|(row, bit)| {
                row.chunks(GROUP).map(move |group| {
                    group
                        .iter()
                        .enumerate()
                        .fold(0, |choice, (place, factor)| choice | (factor >> bit & 1) << place)
                })
            })
            .collect();
        Self { sources, choices }
    }

    /// Computes all results from all sources; both lie in a row, `shard` bytes each.
    fn apply(&self, sources: &[u8], shard: usize, results: &mut [u8], scratch: &mut Scratch) {
        assert_eq!(sources.len(), self.sources * shard);
        let groups = self.sources.div_ceil(GROUP);
        assert_eq!(results.len() * 8 * groups, self.choices.len() * shard);
        if scratch.0.len() < groups {
            scratch.0.resize(groups, [Words::default(); 1 << GROUP]);
        }
        let sums = &mut scratch.0[..groups];
        for start in (0..shard).step_by(COLUMN) {
            let end = shard.min(start + COLUMN);
            for (sums, group) in sums.iter_mut().zip(sources.chunks(GROUP * shard)) {
                add_up(sums, group.chunks_exact(shard).map(|source| &source[start..end]));
            }
            let lines = self.choices.chunks_exact(8 * groups);
            for (result, lines) in results.chunks_exact_mut(shard).zip(lines) {
                let mut words = Words::default();
                for line in lines.chunks_exact(groups) {
                    words = words.doubled();
                    for (sums, choice) in sums.iter().zip(line) {
                        words = words.plus(&sums[usize::from(*choice) % sums.len()]);
                    }
                }
                words.write(&mut result[start..end]);
            }
        }
    }
}

/// Fills in the sums of every choice among some sources; absent sources are never chosen.
fn add_up<'a>(sums: &mut Sums, sources: impl Iterator<Item = &'a [u8]>) {
    for (place, source) in sources.enumerate() {
        let words = Words::read(source);
        let (without, with) = sums.split_at_mut(1 << place);
        for (with, without) in with.iter_mut().zip(without) {
            *with = without.plus(&words);
        }
    }
}

impl Words {
    #[inline(always)]
    fn plus(&self, other: &Self) -> Self {
        Self(std::array::from_fn(|index| self.0[index] ^ other.0[index]))
    }

    /// Doubles every byte in the field.
    #[inline(always)]
    fn doubled(&self) -> Self {
        const HIGH: u64 = u64::from_ne_bytes([0x80; 8]);
        const REDUCE: u64 = u64::from_ne_bytes([POLYNOMIAL; 8]);
        Self(self.0.map(|word| {
            let high = word & HIGH;
            // All ones in the bytes whose high bit falls out.
            let carried = (high << 1).wrapping_sub(high >> 7);
            ((word ^ high) << 1) ^ (carried & REDUCE)
        }))
    }

    /// Takes a column, which may be short.
    #[inline(always)]
    fn read(bytes: &[u8]) -> Self {
        let mut column = [0; COLUMN];
        match bytes.try_into() {
            Ok(whole) => column = whole,
            Err(_) => column[..bytes.len()].copy_from_slice(bytes),
        }
        let (words, _) = column.as_chunks::<8>();
        Self(std::array::from_fn(|index| u64::from_ne_bytes(words[index])))
    }

    /// Puts down a column, which may be short.
    #[inline(always)]
    fn write(&self, bytes: &mut [u8]) {
        for (bytes, word) in bytes.chunks_mut(8).zip(self.0) {
            bytes.copy_from_slice(&word.to_ne_bytes()[..bytes.len()]);
        }
    }
}

/// The inverse of a square matrix of `side` rows. A square part of a systematic Vandermonde code always has one.
fn inverse(mut matrix: Vec<u8>, side: usize) -> Vec<u8> {
    let mut inverse = vec![0; side * side];
    for row in 0..side {
        inverse[row * side + row] = 1;
    }
    for column in 0..side {
        let pivot = (column..side)
            .find(|row| matrix[row * side + column] != 0)
            .expect("any data shards can be restored from as many parity shards");
        let scale = invert(matrix[pivot * side + column]);
        for half in [&mut matrix, &mut inverse] {
            for place in 0..side {
                half.swap(pivot * side + place, column * side + place);
                half[column * side + place] = multiply(half[column * side + place], scale);
            }
        }
        for row in (0..side).filter(|row| *row != column) {
            let factor = matrix[row * side + column];
            for half in [&mut matrix, &mut inverse] {
                for place in 0..side {
                    half[row * side + place] ^= multiply(factor, half[column * side + place]);
                }
            }
        }
    }
    inverse
}

#[cfg(test)]
mod tests;
