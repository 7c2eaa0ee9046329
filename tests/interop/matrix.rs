//! The matrix: every choice a repository can be created with, one at a time against the defaults, and a dozen pairs; in both directions.

use windlass_tests::{Listing, Need, Shape, Slack, Tree, World};

/// Kopia creates and writes; Windlass reads, restores, verifies, and adds a snapshot in which nothing is read again.
/// Then, where Windlass can create such a repository, the other way round.
#[track_caller]
fn both_directions(shape: Shape) {
    let Some(world) = World::with(&[Need::Root, Need::Kopia]) else {
        return;
    };
    let source = world.path("source");
    Tree::small(&source, 3, shape.chunk_bytes_average());
    let wanted = Listing::of(&source);
    from_kopia_to_windlass(&world, &shape, &source, &wanted);
    if shape.can_be_created_by_windlass() {
        from_windlass_to_kopia(&world, &shape, &source, &wanted);
    }
}

#[track_caller]
fn from_kopia_to_windlass(world: &World, shape: &Shape, source: &std::path::Path, wanted: &Listing) {
    let (kopia, windlass) = world.both(&world.path("made-by-kopia"));
    kopia.create(shape);
    let theirs = kopia.snapshot(source, &[]);
    let gone = world.path("gone");
    Tree::sized(&gone, 4, &[1000, 2000]);
    kopia.delete(&kopia.snapshot(&gone, &[]).id);
    kopia.maintain();
    assert_eq!(windlass.listed(&theirs.id).root, theirs.root);
    let restored = world.path("restored-by-windlass");
    windlass.restore(&theirs.id, &restored);
    wanted.assert_same(&Listing::of(&restored), Slack::RESTORED_BY_WINDLASS);
    windlass.verify_all();
    if shape.format_version >= 2 {
        let ours = windlass.snapshot(source, &[]);
        assert_eq!(ours.root, theirs.root);
        ours.assert_all_cached(wanted);
        let again = kopia.snapshot(source, &[]);
        assert_eq!((again.root, again.not_cached), (theirs.root, 0));
    }
}

#[track_caller]
fn from_windlass_to_kopia(world: &World, shape: &Shape, source: &std::path::Path, wanted: &Listing) {
    let (kopia, windlass) = world.both(&world.path("made-by-windlass"));
    windlass.init(shape);
    let ours = windlass.snapshot(source, &["--compression", shape.compression]);
    kopia.connect();
    kopia.verify_all();
    let restored = world.path("restored-by-kopia");
    kopia.restore(&ours.id, &restored);
    wanted.assert_same(&Listing::of(&restored), Slack::RESTORED_BY_KOPIA);
    let theirs = kopia.snapshot_read_again(source);
    assert_eq!((theirs.root, theirs.cached), (ours.root, 0));
}

/// One test for each row: its name and what differs from the defaults.
macro_rules! rows {
    ($($name:ident { $($field:ident: $value:expr),* })*) => {$(
        #[test]
        fn $name() {
            both_directions(Shape { $($field: $value,)* ..Shape::default() });
        }
    )*};
}

const CHACHA20: &str = "CHACHA20-POLY1305-HMAC-SHA256";
const AES256: &str = "AES256-GCM-HMAC-SHA256";
const PBKDF2: &str = "pbkdf2-sha256-600000";

mod hashes {
    use super::*;
    rows! {
        blake2b_256_128 { hash: "BLAKE2B-256-128" }
        blake2b_256 { hash: "BLAKE2B-256" }
        blake2s_128 { hash: "BLAKE2S-128" }
        blake2s_256 { hash: "BLAKE2S-256" }
        blake3_256_128 { hash: "BLAKE3-256-128" }
        blake3_256 { hash: "BLAKE3-256" }
        hmac_sha224 { hash: "HMAC-SHA224" }
        hmac_sha256 { hash: "HMAC-SHA256" }
        hmac_sha256_128 { hash: "HMAC-SHA256-128" }
        hmac_sha3_224 { hash: "HMAC-SHA3-224" }
        hmac_sha3_256 { hash: "HMAC-SHA3-256" }
    }
}

mod encryptions {
    use super::*;
    rows! {
        aes256 { encryption: AES256 }
        chacha20 { encryption: CHACHA20 }
    }
}

mod splitters {
    use super::*;
    rows! {
        fixed { splitter: "FIXED" }
        fixed_128k { splitter: "FIXED-128K" }
        fixed_256k { splitter: "FIXED-256K" }
        fixed_512k { splitter: "FIXED-512K" }
        fixed_1m { splitter: "FIXED-1M" }
        fixed_2m { splitter: "FIXED-2M" }
        fixed_4m { splitter: "FIXED-4M" }
        fixed_8m { splitter: "FIXED-8M" }
        dynamic { splitter: "DYNAMIC" }
        buzhash_128k { splitter: "DYNAMIC-128K-BUZHASH" }
        buzhash_256k { splitter: "DYNAMIC-256K-BUZHASH" }
        buzhash_512k { splitter: "DYNAMIC-512K-BUZHASH" }
        buzhash_1m { splitter: "DYNAMIC-1M-BUZHASH" }
        buzhash_2m { splitter: "DYNAMIC-2M-BUZHASH" }
        buzhash_4m { splitter: "DYNAMIC-4M-BUZHASH" }
        buzhash_8m { splitter: "DYNAMIC-8M-BUZHASH" }
        rabinkarp_128k { splitter: "DYNAMIC-128K-RABINKARP" }
        rabinkarp_256k { splitter: "DYNAMIC-256K-RABINKARP" }
        rabinkarp_512k { splitter: "DYNAMIC-512K-RABINKARP" }
        rabinkarp_1m { splitter: "DYNAMIC-1M-RABINKARP" }
        rabinkarp_2m { splitter: "DYNAMIC-2M-RABINKARP" }
        rabinkarp_4m { splitter: "DYNAMIC-4M-RABINKARP" }
        rabinkarp_8m { splitter: "DYNAMIC-8M-RABINKARP" }
    }
}

mod formats {
    use super::*;
    rows! {
        version_1 { format_version: 1 }
        version_1_compressed { format_version: 1, compression: "zstd" }
        version_2 { format_version: 2 }
        version_3 { format_version: 3 }
        pbkdf2 { key_derivation: PBKDF2 }
    }
}

mod error_correction {
    use super::*;
    rows! {
        one_percent { ecc_percent: 1 }
        three_percent { ecc_percent: 3 }
        ten_percent { ecc_percent: 10 }
        hundred_percent { ecc_percent: 100 }
    }
}

mod compressors {
    use super::*;
    rows! {
        gzip { compression: "gzip" }
        gzip_best_speed { compression: "gzip-best-speed" }
        gzip_best_compression { compression: "gzip-best-compression" }
        zstd { compression: "zstd" }
        zstd_fastest { compression: "zstd-fastest" }
        zstd_better { compression: "zstd-better-compression" }
        zstd_best { compression: "zstd-best-compression" }
        s2_default { compression: "s2-default" }
        s2_better { compression: "s2-better" }
        s2_parallel_4 { compression: "s2-parallel-4" }
        s2_parallel_8 { compression: "s2-parallel-8" }
        pgzip { compression: "pgzip" }
        pgzip_best_speed { compression: "pgzip-best-speed" }
        pgzip_best_compression { compression: "pgzip-best-compression" }
        lz4 { compression: "lz4" }
        deflate_default { compression: "deflate-default" }
        deflate_best_speed { compression: "deflate-best-speed" }
        deflate_best_compression { compression: "deflate-best-compression" }
    }
}

mod pairs {
    use super::*;
    rows! {
        blake3_256_and_chacha20 { hash: "BLAKE3-256", encryption: CHACHA20 }
        sha224_and_ecc { hash: "HMAC-SHA224", ecc_percent: 10 }
        sha3_256_and_zstd { hash: "HMAC-SHA3-256", compression: "zstd" }
        blake2s_256_and_version_2 { hash: "BLAKE2S-256", format_version: 2 }
        version_1_and_chacha20 { format_version: 1, encryption: CHACHA20 }
        version_1_and_sha256 { format_version: 1, hash: "HMAC-SHA256" }
        version_1_and_pbkdf2 { format_version: 1, key_derivation: PBKDF2 }
        version_2_and_ecc { format_version: 2, ecc_percent: 2 }
        ecc_and_zstd { ecc_percent: 50, compression: "zstd-fastest" }
        chacha20_and_ecc { encryption: CHACHA20, ecc_percent: 6 }
        rabinkarp_and_s2 { splitter: "DYNAMIC-1M-RABINKARP", compression: "s2-default" }
        fixed_and_deflate { splitter: "FIXED-128K", compression: "deflate-default" }
        buzhash_8m_and_ecc { splitter: "DYNAMIC-8M-BUZHASH", ecc_percent: 10 }
        sha3_224_and_fixed_8m { hash: "HMAC-SHA3-224", splitter: "FIXED-8M" }
    }
}
