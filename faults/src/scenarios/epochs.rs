//! The calendar: epochs advance and are compacted, as Kopia's maintenance does it, while others write.

use std::sync::Arc;

use bytes::Bytes;
use jiff::SignedDuration;
use windlass_mover::blocking::block_on;
use windlass_mover::clock::ManualClock;
use windlass_mover::repository::Unlock;
use windlass_mover::storage::{PutOptions, Storage};
use windlass_mover::{MoverError, Repository};
use windlass_repo_format::epoch::{EPOCH_MARKER_BODY, epoch_marker, index_blob_suffix, single_blob_prefix};
use windlass_repo_format::format_blob::FormatKey;
use windlass_repo_format::index::encode_v2;

use super::Scenario;
use super::one_writer::skewed;
use crate::dice::Dice;
use crate::world::{Manner, World, open_options};

/// Kopia lets an epoch last a day at least.
const EPOCH: SignedDuration = SignedDuration::from_hours(25);

/// Two epochs begin and the old one is compacted while an index is on its way.
#[derive(Debug)]
pub(super) struct LateIndex;

impl Scenario for LateIndex {
    fn name(&self) -> &'static str {
        "late-index"
    }

    fn play(&self, world: &World) -> Result<(), MoverError> {
        world.change("a");
        let writer = world.writer(1, skewed(world))?;
        world.snapshot(&writer, "a")?;
        world.change("a");
        world.begin_here();
        world.stage("an index that comes late");
        let mover = Mover::new(world);
        let interruption = async move {
            for epoch in 1..=2 {
                mover.clock.advance(EPOCH);
                let _ = mover.begin(epoch).await;
            }
            mover.clock.advance(SignedDuration::from_mins(30));
            let _ = mover.compact(0).await;
            mover.clock.advance(SignedDuration::from_mins(30));
        };
        writer.interrupt("put xn", Box::new(|| Box::pin(interruption)));
        world.snapshot(&writer, "a")?;
        world.stage("after it");
        world.pass(SignedDuration::from_mins(30));
        world.change("a");
        world.snapshot(&world.writer(3, skewed(world))?, "a")?;
        Ok(())
    }
}

/// Epochs begin and are compacted between snapshots.
#[derive(Debug)]
pub(super) struct MovingOn;

impl Scenario for MovingOn {
    fn name(&self) -> &'static str {
        "epochs-move-on"
    }

    fn play(&self, world: &World) -> Result<(), MoverError> {
        world.change("a");
        let writer = world.writer(1, skewed(world))?;
        world.snapshot(&writer, "a")?;
        world.begin_here();
        let mover = Mover::new(world);
        for epoch in 1..=4 {
            world.pass(EPOCH);
            world.stage("an epoch begins");
            block_on(mover.begin(epoch))?;
            if epoch >= 2 {
                world.pass(SignedDuration::from_mins(30));
                world.stage("an epoch is compacted");
                block_on(mover.compact(epoch - 2))?;
            }
            world.pass(SignedDuration::from_mins(30));
            if world.dice.once_in(2) {
                world.change("a");
            }
            world.stage("a snapshot between epochs");
            world.snapshot(&writer, "a")?;
        }
        Ok(())
    }
}

/// Does to epochs what Kopia's maintenance does.
#[derive(Debug)]
struct Mover {
    storage: Arc<dyn Storage>,
    clock: Arc<ManualClock>,
    key: FormatKey,
    dice: Dice,
}

impl Mover {
    fn new(world: &World) -> Self {
        let [(key, _), _] = world.keys();
        Self {
            storage: world.storage(2, Manner::default()),
            clock: world.clock.clone(),
            key,
            dice: Dice::new(world.dice.number()),
        }
    }

    async fn begin(&self, epoch: u64) -> Result<(), MoverError> {
        let body = Bytes::from_static(EPOCH_MARKER_BODY);
        self.put(&epoch_marker(epoch), body).await
    }

    async fn put(&self, id: &windlass_repo_format::id::BlobId, body: Bytes) -> Result<(), MoverError> {
        let put = self.storage.put(id, body, &PutOptions::default()).await;
        put.map(drop).map_err(|source| MoverError::Storage {
            doing: format!("cannot write blob {id}"),
            location: self.storage.location(),
            source,
        })
    }

    /// Writes all that is known into the one blob that stands for an epoch: more than Kopia would, and no less.
    async fn compact(&self, epoch: u64) -> Result<(), MoverError> {
        let options = open_options(self.clock.clone(), self.dice.number());
        let repository = Repository::open(self.storage.clone(), Unlock::Key(self.key.clone()), options).await?;
        let mut entries = Vec::new();
        repository.each_live_content(|entry| {
            entries.push(entry);
            Ok(())
        })?;
        let payload = encode_v2(&entries).map_err(|source| MoverError::NotWritable {
            what: "a compacted index".to_owned(),
            source,
        })?;
        let set = format!("s{:016x}", self.dice.number());
        let suffix = index_blob_suffix(&set, 1);
        let mut nonce = [0; 12];
        nonce.copy_from_slice(&self.dice.bytes(12));
        let (blob, sealed) = repository
            .sealer()
            .seal_blob(&single_blob_prefix(epoch), &suffix, &nonce, &payload);
        self.put(&blob, sealed.into()).await
    }
}
