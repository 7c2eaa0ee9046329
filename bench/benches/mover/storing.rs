//! How fast packs go out: a whole pack is put into a folder, durable when it is there, in memory and on the disk.

use std::sync::Arc;

use criterion::{BatchSize, Criterion, Throughput};
use windlass_mover::blocking::block_on;
use windlass_mover::io::AlignedBuffer;
use windlass_mover::storage::filesystem::Sharding;
use windlass_mover::storage::{FileSystem, PutOptions, Storage};
use windlass_repo_format::id::BlobId;

use super::workshop::{folder_in_memory, folder_on_disk};
use crate::material::{KIB, MIB, amount, noise};

pub(crate) fn bench(criterion: &mut Criterion) {
    let bytes = noise(amount(20 * MIB, 64 * KIB), 15);
    let mut buffer = AlignedBuffer::new(bytes.len());
    buffer.room_mut()[..bytes.len()].copy_from_slice(&bytes);
    buffer.set_len(bytes.len());
    let pack = buffer.into_bytes();
    let mut group = criterion.benchmark_group("store a pack");
    group.throughput(Throughput::BytesDecimal(pack.len() as u64));
    for (place, folder) in [
        ("folder in memory", folder_in_memory()),
        ("folder on disk", folder_on_disk()),
    ] {
        let storage = FileSystem::create(folder.path(), Sharding::default()).expect("the folder is new");
        let storage: Arc<dyn Storage> = Arc::new(storage);
        let mut number = 0;
        let mut next_id = || {
            number += 1;
            BlobId::new(format!("p{number:032x}-0123456789abcdef123"))
        };
        group.bench_function(place, |bencher| {
            bencher.iter_batched(
                || {
                    let id = next_id();
                    Removed(storage.clone(), id)
                },
                |stored| {
                    let put = block_on(storage.put(&stored.1, pack.clone(), &PutOptions::default()));
                    put.expect("there is room for a pack");
                    stored
                },
                BatchSize::PerIteration,
            );
        });
    }
}

/// A blob that is taken away again behind the clock's back, so that the disk does not fill up.
struct Removed(Arc<dyn Storage>, BlobId);

impl Drop for Removed {
    fn drop(&mut self) {
        block_on(self.0.delete(&self.1)).expect("what was put can be deleted");
    }
}
