//! The shard plan: how many shards, how long, for which overhead and which length.

use super::{CRC_LEN, LENGTH_LEN};

/// Shards of an input too short for the ordinary ones.
pub(super) const SMALL_DATA: usize = 6;
pub(super) const SMALL_PARITY: usize = 2;

/// What follows from the overhead alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// The longest shard, in bytes.
    pub(super) shard_max: usize,
    pub(super) data: usize,
    pub(super) parity: usize,
}

/// How one input is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) data: usize,
    pub(super) parity: usize,
    /// The length of a shard without its checksum, in bytes.
    pub(super) shard: usize,
    pub(super) blocks: usize,
    pub(super) keeps_padding: bool,
}

impl Plan {
    /// `None` unless `percent` is 1 to 100. Kopia's arithmetic, step by step: some steps in 32-bit floats.
    pub(super) fn for_overhead(percent: u8) -> Option<Self> {
        let shard_max: u16 = match percent {
            1 => 1024,
            2 => 512,
            3 => 256,
            4..=6 => 128,
            7..=100 => 64,
            _ => return None,
        };
        // What the checksums leave for parity.
        let overhead = (f32::from(percent) - 100.0 * CRC_LEN as f32 / f32::from(shard_max)).max(0.01);
        let share_of = |count: u8, share: f32| (f64::from(count) * f64::from(share)).floor() as usize;
        let mut data = 128;
        let mut parity = share_of(128, overhead / 100.0).clamp(1, 128);
        if parity == 1 {
            parity = 2;
            data = share_of(2, 100.0 / overhead).clamp(128, 254);
        }
        Some(Self {
            shard_max: usize::from(shard_max),
            data,
            parity,
        })
    }

    /// How an input of `len` bytes is cut.
    pub(super) fn for_input(&self, len: usize) -> Layout {
        let len = LENGTH_LEN + len;
        if len <= self.small_input_max() {
            single(SMALL_DATA, SMALL_PARITY, len.div_ceil(SMALL_DATA))
        } else if len <= self.data * self.shard_max {
            single(self.data, self.parity, len.div_ceil(self.data))
        } else {
            self.several(len.div_ceil(self.data * self.shard_max))
        }
    }

    /// How the input was cut of which `len` bytes are stored.
    pub(super) fn for_stored(&self, len: usize) -> Layout {
        let small_shard = self.small_input_max().div_ceil(SMALL_DATA);
        let small_max = (SMALL_DATA + SMALL_PARITY) * (CRC_LEN + small_shard);
        let block_max = (self.data + self.parity) * (CRC_LEN + self.shard_max);
        let shard = |shards: usize| len.div_ceil(shards).max(CRC_LEN + 1) - CRC_LEN;
        if len <= small_max {
            single(SMALL_DATA, SMALL_PARITY, shard(SMALL_DATA + SMALL_PARITY))
        } else if len <= block_max {
            single(self.data, self.parity, shard(self.data + self.parity))
        } else {
            self.several(len.div_ceil(block_max))
        }
    }

    fn small_input_max(&self) -> usize {
        2 * CRC_LEN * (self.data + self.parity)
    }

    fn several(&self, blocks: usize) -> Layout {
        Layout {
            data: self.data,
            parity: self.parity,
            shard: self.shard_max,
            blocks,
            keeps_padding: false,
        }
    }
}

fn single(data: usize, parity: usize, shard: usize) -> Layout {
    Layout {
        data,
        parity,
        shard,
        blocks: 1,
        keeps_padding: true,
    }
}

impl Layout {
    /// The length of all parity shards with their checksums, in bytes.
    pub(super) fn parity_area_len(&self) -> usize {
        self.blocks * self.parity * (CRC_LEN + self.shard)
    }

    /// The length of everything that is stored for an input of `len` bytes.
    pub(super) fn stored_len(&self, len: usize) -> usize {
        let data = if self.keeps_padding {
            self.data * self.shard
        } else {
            LENGTH_LEN + len
        };
        self.parity_area_len() + data + CRC_LEN * data.div_ceil(self.shard)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_those_seen_in_repositories_of_kopia() {
        for (percent, shard_max, data, parity) in [
            (1, 1024, 254, 2),
            (2, 512, 164, 2),
            (3, 256, 139, 2),
            (6, 128, 128, 3),
            (10, 64, 128, 4),
            (50, 64, 128, 56),
            (100, 64, 128, 120),
        ] {
            let expected = Plan {
                shard_max,
                data,
                parity,
            };
            assert_eq!(Plan::for_overhead(percent), Some(expected), "{percent} %");
        }
        assert_eq!(Plan::for_overhead(0), None);
        assert_eq!(Plan::for_overhead(101), None);
    }

    #[test]
    fn what_was_cut_for_an_input_is_found_again_from_the_stored_length() {
        for percent in 1..=100 {
            let plan = Plan::for_overhead(percent).unwrap();
            let block = plan.data * plan.shard_max;
            let edges = [0, plan.small_input_max(), block, 2 * block, 3 * block];
            for len in edges.iter().flat_map(|edge| edge.saturating_sub(600)..edge + 600) {
                let layout = plan.for_input(len);
                assert_eq!(
                    plan.for_stored(layout.stored_len(len)),
                    layout,
                    "{percent} %, {len} bytes"
                );
            }
        }
    }
}
