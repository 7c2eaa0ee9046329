//! The sample tray: what the benches work on, the same bytes on every machine, and how long one of them may take.

use std::time::Duration;

use criterion::Criterion;
use windlass_mover::random::{RandomSource, SeededRandom};
use windlass_repo_format::kernel::{self, Instructions};
use windlass_repo_format::splitter::{ChunkSize, SplitterAlgorithm};

pub(crate) const KIB: usize = 1 << 10;
pub(crate) const MIB: usize = 1 << 20;
/// What an engine reads at a time, so the pieces in which a chunk comes.
pub(crate) const EXTENT_LEN: usize = MIB;

/// How long to measure what takes a good part of a second.
pub(crate) const FOR_LONG_ONES: Duration = Duration::from_secs(2);

/// A hundred benches in some minutes: one is measured for about a second.
pub(crate) fn brief() -> Criterion {
    Criterion::default()
        .without_plots()
        .sample_size(10)
        .nresamples(5_000)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_millis(700))
}

/// Whether everything runs once, to see that it runs. Criterion takes a call without `--bench` as such, too.
fn is_trial() -> bool {
    let has = |word| std::env::args().any(|argument| argument == word);
    has("--test") || !has("--bench")
}

/// How much to work on: so much, or next to nothing in a trial.
pub(crate) fn amount(measured: usize, trial: usize) -> usize {
    if is_trial() { trial } else { measured }
}

/// Bytes that no compressor shrinks and no two of which, in blocks, are the same.
pub(crate) fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; len];
    SeededRandom::new(seed).fill(&mut bytes);
    bytes
}

/// Lines of a log: structured, and shrunk to a third or a quarter by the usual compressors.
pub(crate) fn text(len: usize) -> Vec<u8> {
    const WORDS: [&str; 16] = [
        "accepted",
        "backup",
        "cannot",
        "client",
        "closed",
        "connection",
        "folder",
        "from",
        "opened",
        "pack",
        "reading",
        "refused",
        "restored",
        "snapshot",
        "volume",
        "written",
    ];
    let mut bytes = Vec::with_capacity(len + 256);
    let draws = noise((len / 16).max(256), 7);
    for (line, draw) in draws.chunks_exact(8).cycle().enumerate() {
        if bytes.len() >= len {
            break;
        }
        let number = u32::from_le_bytes([draw[0], draw[1], draw[2], draw[3]]);
        let word = |place: usize| WORDS[usize::from(draw[place] & 15)];
        bytes.extend_from_slice(
            format!(
                "2026-11-23T{:02}:{:02}:{:02}Z {} {} {number:08x} {} {}\n",
                line / 3600 % 24,
                line / 60 % 60,
                line % 60,
                word(4),
                word(5),
                word(6),
                word(7)
            )
            .as_bytes(),
        );
    }
    bytes.truncate(len);
    bytes
}

/// Bytes cut as the default splitter cuts them (into small chunks in a trial), each chunk in the pieces in which it is read.
pub(crate) fn chunks(bytes: &[u8]) -> Vec<Vec<&[u8]>> {
    let trial = SplitterAlgorithm::Buzhash(ChunkSize::K128);
    let mut splitter = if is_trial() { trial } else { SplitterAlgorithm::DEFAULT }.start();
    let (mut chunks, mut chunk) = (Vec::new(), Vec::new());
    for mut piece in bytes.chunks(EXTENT_LEN) {
        while let Some(cut) = splitter.next_cut(piece) {
            let (end, rest) = piece.split_at(cut);
            chunk.push(end);
            chunks.push(std::mem::take(&mut chunk));
            piece = rest;
        }
        chunk.push(piece);
    }
    chunks.push(chunk);
    chunks
}

/// Lets `each` measure with all instructions this processor has, and with less, under a name for each.
pub(crate) fn each_instructions(mut each: impl FnMut(&str)) {
    let best = kernel::instructions();
    let sets = [
        (Instructions::Baseline, "baseline"),
        (Instructions::Avx2, "avx2"),
        (Instructions::Avx512, "avx512"),
    ];
    for (set, name) in sets.into_iter().filter(|(set, _)| *set <= best) {
        kernel::limit(set);
        each(name);
    }
    kernel::limit(best);
}
