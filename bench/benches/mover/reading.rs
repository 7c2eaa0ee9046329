//! How fast a large file comes in: both engines, several reads ahead, from memory and from the disk.

use std::fs::File;
use std::path::Path;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput};
use windlass_mover::io::{BufferPool, EngineChoice, EngineSettings, ReadAhead, probe};

use super::workshop::{file_len, folder_in_memory, folder_on_disk};
use crate::material::{EXTENT_LEN, noise};

/// As the pipeline does it.
const READS_AHEAD: usize = 8;

pub(crate) fn bench(criterion: &mut Criterion) {
    let bytes = noise(file_len(), 14);
    let mut group = criterion.benchmark_group("read ahead");
    group.throughput(Throughput::BytesDecimal(bytes.len() as u64));
    for (place, folder) in [("memory", folder_in_memory()), ("disk", folder_on_disk())] {
        let path = folder.path().join("large");
        let written = std::fs::write(&path, &bytes).and_then(|()| File::open(&path)?.sync_all());
        written.expect("there is room for a large file");
        for (name, choice) in [("uring", EngineChoice::Uring), ("threads", EngineChoice::Threads)] {
            engine(&mut group, &format!("{name}/{place}"), choice, &path);
        }
    }
}

fn engine(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, choice: EngineChoice, path: &Path) {
    let pool = BufferPool::new(2 * READS_AHEAD, EXTENT_LEN);
    let settings = EngineSettings {
        pool: Some(pool.clone()),
        ..EngineSettings::default()
    };
    let engine = match probe(choice, &settings) {
        Ok((engine, _)) => engine,
        Err(error) => return eprintln!("{name} is left out: {error}"),
    };
    group.bench_function(name, |bencher| {
        bencher.iter(|| {
            let file = File::open(path).expect("it was written a moment ago");
            let extents = ReadAhead::new(engine.clone(), pool.clone(), file, READS_AHEAD);
            let extents = extents.expect("a file has a length");
            let read: usize = extents.map(|extent| extent.expect("it can be read").bytes.len()).sum();
            assert_eq!(read, file_len());
        });
    });
}
