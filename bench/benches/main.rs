//! The speedway: every part of Windlass alone, each stage of the pipeline by its own stopwatch, and the whole way there and
//! back from memory to memory.
//!
//! ```text
//! cargo bench                     # all of it, some minutes
//! cargo bench -- "seal|hash"      # what matches
//! cargo bench -- --test           # everything once with next to no data: whether it still runs
//! ```
//!
//! Bytes are decimal: 1 GB/s is 10^9 bytes per second. A name that ends in `avx2` or `baseline` was measured with better
//! instructions left aside, as far as the code is ours; the crates below choose for themselves.

mod format;
mod material;
mod mover;

criterion::criterion_group! {
    name = format_benches;
    config = material::brief();
    targets = format::splitting::bench, format::hashing::bench, format::sealing::bench, format::compression::bench,
        format::index::bench, format::packing::bench, format::directories::bench
}

criterion::criterion_group! {
    name = mover_benches;
    config = material::brief().measurement_time(material::FOR_LONG_ONES);
    targets = mover::reading::bench, mover::storing::bench, mover::stages::bench, mover::pipeline::bench,
        mover::fetching::bench
}

criterion::criterion_main!(format_benches, mover_benches);
