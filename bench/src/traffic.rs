//! The tell-tale: how a program says that it has read and written, in the JSON that a snapshot prints.

use serde::Serialize;

/// How files were read and packs written in one run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Traffic {
    /// The most requests that the kernel had at a time.
    pub in_flight_max: u64,
    /// How many it had on average when one began.
    pub in_flight_mean: f64,
    /// Of the bytes of files that were read, the share that did not go through the page cache.
    pub direct_share: f64,
    /// Of the bytes that the engine read, the share in registered buffers.
    pub registered_share: f64,
    /// Of the bytes that were written, the share that did not go through the page cache.
    pub direct_write_share: f64,
}

impl Traffic {
    /// What the output of `snapshot create --json` tells; nothing where it tells nothing.
    pub fn told(output: &[u8]) -> Option<Self> {
        let told: serde_json::Value = serde_json::from_slice(output).ok()?;
        let (reads, writes) = (&told["reads"], &told["writes"]);
        let direct = reads["directBytes"].as_f64()?;
        let registered = reads["registeredBytes"].as_f64()?;
        let written = writes["directBytes"].as_f64()?;
        let share = |part: f64, all: f64| if all > 0.0 { part / all } else { 0.0 };
        Some(Self {
            in_flight_max: reads["inFlightMax"].as_u64()?,
            in_flight_mean: reads["inFlightMean"].as_f64()?,
            direct_share: share(direct, told["bytesRead"].as_f64()?),
            registered_share: share(registered, registered + reads["plainBytes"].as_f64()?),
            direct_write_share: share(written, written + writes["cachedBytes"].as_f64()?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Traffic;

    #[test]
    fn shares_are_of_all_bytes_and_silence_is_no_figure() {
        let told = br#"{"bytesRead": 400, "reads": {"directBytes": 300, "cachedBytes": 50, "registeredBytes": 150,
            "plainBytes": 150, "inFlightMax": 8, "inFlightMean": 5.5}, "writes": {"directBytes": 90, "cachedBytes": 10}}"#;
        let traffic = Traffic {
            in_flight_max: 8,
            in_flight_mean: 5.5,
            direct_share: 0.75,
            registered_share: 0.5,
            direct_write_share: 0.9,
        };
        assert_eq!(Traffic::told(told), Some(traffic));
        for silent in [&b"{\"id\": 1, \"reads\": null}"[..], b"no JSON", b""] {
            assert_eq!(Traffic::told(silent), None);
        }
    }
}
