//! The repacking: contents of packs that are mostly empty move into full ones; the emptied packs go later.
//!
//! Holds about 40 bytes for each pack.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};

use jiff::SignedDuration;
use windlass_repo_format::pack::PackClass;

use super::Work;
use super::carry::Porter;
use super::report::{Kept, Outcome, Stats, Tally};
use crate::error::Result;
use crate::repository::Frozen;

/// A pack of which less than so many hundredths of the largest length are named by an index is short.
const SHORT_PERCENT: u64 = 60;

/// How much of a pack is named by an index.
#[derive(Clone, Copy, Debug, Default)]
struct Use {
    /// Bytes of contents, deleted ones that can still be read included.
    named: u64,
    /// Bytes of live ones among them.
    live: u64,
    is_metadata: bool,
}

/// Writes the live contents of short packs into new ones.
pub(super) fn rewrite(work: &Work<'_>, kept: &mut Vec<Kept>) -> Result<Outcome> {
    let frozen = work.repository.frozen()?;
    let hashes = RandomState::new();
    let short = short_packs(work, &frozen, &hashes)?;
    if short.is_empty() {
        return Ok(Outcome::Nothing(
            "no two packs of a kind are so empty that their contents would take fewer".to_owned(),
        ));
    }
    let (mut wanted, mut young) = (Tally::default(), Tally::default());
    let mut porter = Porter::new(work)?;
    frozen.each(|_, entry| {
        work.check_not_cancelled()?;
        work.progress.count(0);
        if entry.deleted || !short.contains(&hashes.hash_one(&entry.pack)) {
            return Ok(());
        }
        let bytes = u64::from(entry.packed_len.bytes());
        let age = SignedDuration::from_secs(work.start.as_second().saturating_sub(entry.timestamp));
        if age < work.safety.rewrite_age_min {
            young.add(bytes);
            return Ok(());
        }
        wanted.add(bytes);
        porter.push(entry)
    })?;
    let carried = porter.finish()?;
    kept.push(Kept {
        why: "contents of short packs that are too young to be moved",
        tally: young,
    });
    if wanted.count == 0 {
        return Ok(Outcome::Nothing(
            "the contents of short packs are too young to be moved".to_owned(),
        ));
    }
    Ok(Outcome::Done(Stats::RewriteContents {
        to_rewrite_content_count: wanted.count,
        to_rewrite_content_size: wanted.bytes,
        rewritten_content_count: carried.count,
        rewritten_content_size: carried.bytes,
        retained_content_count: young.count,
        retained_content_size: young.bytes,
    }))
}

/// The packs to be emptied, by the hashes of their names. Two names that share a hash are one pack here, which moves too
/// much or too little and loses nothing.
fn short_packs(work: &Work<'_>, frozen: &Frozen, hashes: &RandomState) -> Result<HashSet<u64>> {
    let largest = u64::from(work.repository.format().max_pack_size);
    let mut packs: HashMap<u64, Use> = HashMap::new();
    frozen.each(|_, entry| {
        work.check_not_cancelled()?;
        let pack = packs.entry(hashes.hash_one(&entry.pack)).or_default();
        let bytes = u64::from(entry.packed_len.bytes());
        pack.named += bytes;
        pack.live += if entry.deleted { 0 } else { bytes };
        pack.is_metadata = entry.pack.as_str().starts_with(PackClass::Metadata.letter());
        Ok(())
    })?;
    packs.retain(|_, pack| pack.named < largest * SHORT_PERCENT / 100 && pack.live > 0);
    for is_metadata in [false, true] {
        let of_class = packs.values().filter(|pack| pack.is_metadata == is_metadata);
        let (count, bytes) = of_class.fold((0u64, 0u64), |(count, bytes), pack| (count + 1, bytes + pack.live));
        // One pack alone would be written again for nothing, and again the next time; so would two that fill two.
        if count <= bytes.div_ceil(largest.max(1)) {
            packs.retain(|_, pack| pack.is_metadata != is_metadata);
        }
    }
    Ok(packs.into_keys().collect())
}
