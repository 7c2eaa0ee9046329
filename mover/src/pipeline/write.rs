//! The writing stage: full packs come in and go out into the repository's storage.
//!
//! Budget: the speed of the storage; a folder takes 1 GB/s or what its disk can, and 2 GB/s where it is in memory (bench
//! `store a pack`). Holds one pack per thread; waits for the storage.

use crossbeam_channel::Receiver;
use windlass_repo_format::pack::ClosedPack;

use super::event::Control;
use super::profile::Meter;
use crate::blocking::block_on;
use crate::repository::WriteSession;

/// Stores packs until there are no more.
pub(crate) fn write(session: &WriteSession, packs: &Receiver<ClosedPack>, control: &Control, meter: &Meter<'_>) {
    while let Ok(pack) = meter.input(|| packs.recv()) {
        meter.pass(pack.bytes.len() as u64);
        if control.has_failed() {
            continue;
        }
        let span = tracing::info_span!("write", pack = %pack.id, bytes = pack.bytes.len());
        let _entered = span.enter();
        if let Err(error) = block_on(session.store_pack(pack)) {
            control.fail(session, error);
        }
    }
}
