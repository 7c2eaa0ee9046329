//! The packing and writing stages: sealed contents come in, full packs go out into the repository's storage.
//!
//! Budget of packing: 10 GB/s on one core (a copy); holds the open packs. Budget of writing: the speed of the storage;
//! holds one pack per thread; waits for the storage.

use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender};
use windlass_repo_format::pack::ClosedPack;

use super::buffers::Buffers;
use super::event::{Control, Packable};
use crate::blocking::block_on;
use crate::repository::WriteSession;

/// Puts contents into packs until there are no more.
pub(crate) fn pack(
    session: &WriteSession,
    contents: &Receiver<Packable>,
    packs: &Sender<ClosedPack>,
    buffers: &Arc<Buffers>,
    control: &Control,
) {
    for content in contents {
        if control.has_failed() {
            continue;
        }
        let appended = session.append(content.about, &content.sealed);
        buffers.give(content.sealed);
        match appended {
            Ok(None) => {}
            // Nobody listens only when every writer has failed, and then the reason is known.
            Ok(Some(full)) => drop(packs.send(full)),
            Err(error) => control.fail(session, error),
        }
    }
}

/// Stores packs until there are no more.
pub(crate) fn write(session: &WriteSession, packs: &Receiver<ClosedPack>, control: &Control) {
    for pack in packs {
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
