//! The kernel room: the few loops that want instructions which the compiler does not choose, and `unsafe` to reach them.
//!
//! Every kernel has a twin in safe code and gives the same answer. Which one runs is chosen once, by what the processor has
//! and [`limit`] leaves of it.
#![expect(
    unsafe_code,
    reason = "vectors are loaded through pointers, by functions for which the processor was asked"
)]

pub(crate) mod blake2b;
pub(crate) mod buzhash;
#[cfg(target_arch = "x86_64")]
mod turn;

use std::sync::atomic::{AtomicU8, Ordering};

/// Instruction sets that kernels exist for, each containing the ones before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Instructions {
    /// What every processor of the target has.
    Baseline,
    /// AVX2, since 2013.
    Avx2,
    /// AVX-512 with what the processors of 2019 and later have of it: F, BW, VL, VBMI and GFNI.
    Avx512,
}

static LIMIT: AtomicU8 = AtomicU8::new(u8::MAX);

/// Leaves aside what the processor has beyond `most`, for measuring and testing. It counts for what is made afterwards.
pub fn limit(most: Instructions) {
    LIMIT.store(most as u8, Ordering::Relaxed);
}

/// The best instructions that may be used on this processor.
pub fn instructions() -> Instructions {
    let best = detected();
    match LIMIT.load(Ordering::Relaxed) {
        0 => Instructions::Baseline,
        1 => best.min(Instructions::Avx2),
        _ => best,
    }
}

#[cfg(target_arch = "x86_64")]
fn detected() -> Instructions {
    let avx512 = is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512vbmi")
        && is_x86_feature_detected!("gfni");
    if avx512 {
        Instructions::Avx512
    } else if is_x86_feature_detected!("avx2") {
        Instructions::Avx2
    } else {
        Instructions::Baseline
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn detected() -> Instructions {
    Instructions::Baseline
}
