//! The list of targets, and the oracles they share.

mod compressions;
mod decisions;
mod indexes;
mod objects;
mod packs;
mod repositories;
mod settings;
mod trees;

use std::fmt::Debug;

use crate::Target;
use crate::allocation::Allowance;

/// Every target.
pub const ALL: &[Target] = &[
    Target {
        name: "format-blob",
        allowance: Allowance::USUAL,
        check: settings::format_blob,
        seeds: &[
            (b"\0", "format/default/kopia.repository"),
            (b"\0", "format/pbkdf2/kopia.repository"),
        ],
    },
    Target {
        name: "repository-format",
        allowance: Allowance::USUAL,
        check: settings::repository_format,
        seeds: &[(settings::A_FORMAT, "")],
    },
    Target {
        name: "blob-config",
        allowance: Allowance::USUAL,
        check: settings::blob_config,
        seeds: &[(b"", "format/default/kopia.blobcfg"), (settings::A_CONFIG, "")],
    },
    Target {
        name: "pack",
        allowance: Allowance::USUAL,
        check: packs::pack,
        seeds: &[(b"", "pack/"), (b"", "index/v2-value16.bin"), (b"", "index/v1.bin")],
    },
    Target {
        name: "index-v1",
        allowance: Allowance::USUAL,
        check: indexes::v1,
        seeds: &[(b"", "index/v1.bin")],
    },
    Target {
        name: "index-v2",
        allowance: Allowance::USUAL,
        check: indexes::v2,
        seeds: &[(b"", "index/v2*")],
    },
    Target {
        name: "epoch-names",
        allowance: Allowance::USUAL,
        check: indexes::epoch_names,
        seeds: &[(b"", "index/active-sets.json"), (b"", "index/v1-blobs.txt")],
    },
    Target {
        name: "compaction-log",
        allowance: Allowance::USUAL,
        check: indexes::compaction_log,
        seeds: &[(b"", "index/v1-compaction-log.json")],
    },
    Target {
        name: "manifests",
        // A gzip stream inflates to a thousand times its length.
        allowance: Allowance {
            per_byte: 12_000,
            fixed: 1 << 20,
        },
        check: trees::manifests,
        seeds: &[(b"\0", "manifest/"), (trees::A_BATCH, "")],
    },
    Target {
        name: "directory",
        allowance: Allowance::USUAL,
        check: trees::directory,
        seeds: &[(b"\x07", "directory/")],
    },
    Target {
        name: "snapshot-manifest",
        allowance: Allowance::USUAL,
        check: trees::snapshot_manifest,
        seeds: &[(trees::A_SNAPSHOT, "")],
    },
    Target {
        name: "indirect-object",
        allowance: Allowance::USUAL,
        check: objects::indirect,
        seeds: &[(b"\x05", "object/")],
    },
    Target {
        name: "ids",
        allowance: Allowance::USUAL,
        check: objects::ids,
        seeds: &[(b"", "object/whole.json")],
    },
    Target {
        name: "error-correction",
        allowance: Allowance::USUAL,
        check: packs::error_correction,
        seeds: &[
            (b"\x0a\0\0\0", "ecc/10-small.bin"),
            (b"\x32\0\0\0", "ecc/50-small.bin"),
            (b"\x01\0\0\0", "ecc/1-small.bin"),
        ],
    },
    Target {
        name: "compression-deflate",
        allowance: compressions::ALLOWANCE,
        check: compressions::deflate,
        seeds: &[
            (b"", "compression/deflate-default.bin"),
            (b"", "compression/deflate-best*"),
        ],
    },
    Target {
        name: "compression-gzip",
        allowance: compressions::ALLOWANCE,
        check: compressions::gzip,
        seeds: &[(b"", "compression/gzip*"), (b"", "compression/pgzip*")],
    },
    Target {
        name: "compression-zstd",
        allowance: compressions::ALLOWANCE,
        check: compressions::zstd,
        seeds: &[(b"", "compression/zstd*")],
    },
    Target {
        name: "compression-s2",
        allowance: compressions::ALLOWANCE,
        check: compressions::s2,
        seeds: &[(b"", "compression/s2*")],
    },
    Target {
        name: "compression-lz4",
        allowance: compressions::ALLOWANCE,
        check: compressions::lz4,
        seeds: &[(b"", "compression/lz4*")],
    },
    Target {
        name: "ignore-rules",
        allowance: Allowance::USUAL,
        check: decisions::ignore_rules,
        seeds: &[(decisions::SOME_RULES, "")],
    },
    Target {
        name: "policies",
        allowance: Allowance::USUAL,
        check: decisions::policies,
        seeds: &[(decisions::A_POLICY, ""), (decisions::POLICIES, "")],
    },
    Target {
        name: "retention",
        allowance: Allowance::USUAL,
        check: decisions::retention,
        seeds: &[(decisions::SNAPSHOTS, "")],
    },
    Target {
        name: "maintenance",
        allowance: Allowance::USUAL,
        check: decisions::maintenance,
        seeds: &[(b"", "maintenance/case.json"), (b"", "maintenance/kopia.maintenance")],
    },
    Target {
        name: "repository",
        allowance: Allowance {
            per_byte: 12_000,
            fixed: 8 << 20,
        },
        check: repositories::open,
        seeds: &[
            (b"\x01\0\x40", "index/v2-value16.bin"),
            (b"\x02\0\x40", "manifest/deletion*"),
        ],
    },
];

/// Makes what is made once, so that it is not weighed: deriving a key takes 64 MiB.
pub fn prepare() {
    repositories::settings();
}

/// What was decoded is encoded, decoded and encoded again: both encodings are the same.
fn settles<T, E: Debug>(first: T, encode: impl Fn(&T) -> Vec<u8>, decode: impl Fn(&[u8]) -> Result<T, E>) {
    let once = encode(&first);
    let again = match decode(&once) {
        Ok(again) => again,
        Err(error) => panic!("what was encoded cannot be decoded: {error:?}: {}", once.escape_ascii()),
    };
    let twice = encode(&again);
    assert!(
        once == twice,
        "encoded differently the second time:\n{}\n{}",
        once.escape_ascii(),
        twice.escape_ascii()
    );
}
