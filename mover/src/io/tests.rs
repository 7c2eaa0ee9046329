//! The proving ground of the plumbing: both engines must do the same.

use std::collections::HashSet;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crossbeam_channel::unbounded;
use tempfile::TempDir;

use super::*;

/// Every engine this machine has, each with registered and with plain buffers where that makes a difference.
fn engines(pool: &BufferPool) -> Vec<Arc<dyn Engine>> {
    let settings = |pool| EngineSettings {
        pool,
        depth: 8,
        threads: 3,
    };
    let mut engines = vec![probe(EngineChoice::Threads, &settings(None)).unwrap().0];
    for pool in [Some(pool.clone()), None] {
        match probe(EngineChoice::Uring, &settings(pool)) {
            Ok((engine, _)) => engines.push(engine),
            Err(error) => eprintln!("only threads are tested: {error:?}"),
        }
    }
    engines
}

/// A directory on the disk, and one in memory where there is one.
fn directories() -> Vec<TempDir> {
    let shared_memory = Path::new("/dev/shm");
    let in_memory = shared_memory
        .is_dir()
        .then(|| tempfile::tempdir_in(shared_memory).unwrap());
    [tempfile::tempdir().unwrap()].into_iter().chain(in_memory).collect()
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len as u32)
        .map(|place| (place.wrapping_mul(2_654_435_761) >> 15) as u8)
        .collect()
}

fn written(directory: &Path, bytes: &[u8]) -> PathBuf {
    let path = directory.join(format!("{}-bytes", bytes.len()));
    fs::write(&path, bytes).unwrap();
    path
}

fn opened(path: &Path) -> File {
    File::open(path).unwrap()
}

/// All that a reader gives; its extents must follow each other.
fn collect(reader: ReadAhead) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    for extent in reader {
        let extent = extent?;
        assert_eq!(extent.offset, all.len() as u64, "extents follow each other");
        assert!(!extent.bytes.is_empty(), "an extent has bytes");
        all.extend_from_slice(&extent.bytes);
    }
    Ok(all)
}

fn wait_for_all(pool: &BufferPool) {
    let start = std::time::Instant::now();
    while pool.free() < pool.count() {
        assert!(start.elapsed().as_secs() < 20, "buffers are missing: {pool:?}");
        std::thread::yield_now();
    }
}

#[test]
fn files_are_read_as_the_standard_library_reads_them() {
    let pool = BufferPool::new(5, 64 << 10);
    let sizes = [
        0,
        1,
        4095,
        4096,
        4097,
        65_536,
        (256 << 10) - 1,
        256 << 10,
        (256 << 10) + 1,
        1 << 20,
        (3 << 20) + 17,
    ];
    for directory in directories() {
        for size in sizes {
            let path = written(directory.path(), &pattern(size));
            let wanted = fs::read(&path).unwrap();
            for engine in engines(&pool) {
                for depth in [1, 4, 100] {
                    let reader = ReadAhead::new(Arc::clone(&engine), pool.clone(), opened(&path), depth).unwrap();
                    assert!(
                        collect(reader).unwrap() == wanted,
                        "{size} bytes, {engine:?}, depth {depth}"
                    );
                }
            }
        }
    }
    wait_for_all(&pool);
}

#[test]
fn a_part_of_a_file_ends_where_the_part_or_the_file_ends() {
    let pool = BufferPool::new(5, 64 << 10);
    let directory = tempfile::tempdir().unwrap();
    let bytes = pattern((1 << 20) + 100);
    let path = written(directory.path(), &bytes);
    let end = bytes.len() as u64;
    for engine in engines(&pool) {
        for range in [
            0..0,
            5..5,
            0..1,
            0..end,
            0..end - 1,
            4096..700_000,
            4097..700_000,
            65_536..u64::MAX,
            end..end + 9,
            end + 1..u64::MAX,
        ] {
            let reader = ReadAhead::within(Arc::clone(&engine), pool.clone(), opened(&path), 3, range.clone()).unwrap();
            let mut all = Vec::new();
            for extent in reader {
                let extent = extent.unwrap();
                assert_eq!(extent.offset, range.start + all.len() as u64);
                all.extend_from_slice(&extent.bytes);
            }
            let wanted = &bytes[range.start.min(end) as usize..range.end.min(end) as usize];
            assert!(all == wanted, "{range:?}, {engine:?}: {} bytes", all.len());
        }
    }
}

#[test]
fn holes_are_zeros() {
    let pool = BufferPool::new(4, 64 << 10);
    for directory in directories() {
        let path = directory.path().join("sparse");
        let file = File::create(&path).unwrap();
        file.write_all_at(b"here", 3_000_000).unwrap();
        file.write_all_at(b"and there", 900_001).unwrap();
        file.set_len(5_000_001).unwrap();
        for engine in engines(&pool) {
            let reader = ReadAhead::new(engine, pool.clone(), opened(&path), 3).unwrap();
            assert!(collect(reader).unwrap() == fs::read(&path).unwrap());
        }
    }
}

#[test]
fn readers_of_several_files_share_a_small_pool() {
    let pool = BufferPool::new(3, 32 << 10);
    let directory = tempfile::tempdir().unwrap();
    let paths: Vec<PathBuf> = (0..6)
        .map(|number| written(directory.path(), &pattern(700_000 + number)))
        .collect();
    for engine in engines(&pool) {
        std::thread::scope(|scope| {
            for path in &paths {
                let (engine, pool) = (Arc::clone(&engine), pool.clone());
                scope.spawn(move || {
                    let reader = ReadAhead::new(engine, pool, opened(path), 4).unwrap();
                    assert!(collect(reader).unwrap() == fs::read(path).unwrap());
                });
            }
        });
    }
    wait_for_all(&pool);
}

#[test]
fn a_reader_that_is_dropped_gives_everything_back() {
    let pool = BufferPool::new(8, 64 << 10);
    let directory = tempfile::tempdir().unwrap();
    let path = written(directory.path(), &pattern(2 << 20));
    for engine in engines(&pool) {
        for taken in 0..5 {
            let mut reader = ReadAhead::new(Arc::clone(&engine), pool.clone(), opened(&path), 6).unwrap();
            let extents: Vec<_> = reader.by_ref().take(taken).collect();
            drop(reader);
            assert_eq!(extents.len(), taken);
        }
        wait_for_all(&pool);
    }
}

#[test]
fn a_file_that_grows_is_read_to_its_new_end() {
    let pool = BufferPool::new(4, 64 << 10);
    let bytes = pattern(2_000_003);
    for directory in directories() {
        for (before, engine) in engines(&pool)
            .into_iter()
            .flat_map(|engine| [(1 << 20, engine.clone()), (1_000_001, engine)])
        {
            let path = written(directory.path(), &bytes[..before]);
            let mut reader = ReadAhead::new(engine, pool.clone(), opened(&path), 3).unwrap();
            let first = reader.next().unwrap().unwrap();
            let mut appending = OpenOptions::new().append(true).open(&path).unwrap();
            appending.write_all(&bytes[before..]).unwrap();
            let mut all = first.bytes.to_vec();
            drop(first);
            for extent in reader {
                all.extend_from_slice(&extent.unwrap().bytes);
            }
            assert!(all == bytes, "{} of {} bytes", all.len(), bytes.len());
        }
    }
}

#[test]
fn a_file_that_shrinks_is_read_to_its_new_end() {
    let pool = BufferPool::new(4, 64 << 10);
    let bytes = pattern(3 << 20);
    for directory in directories() {
        for engine in engines(&pool) {
            let path = written(directory.path(), &bytes);
            let mut reader = ReadAhead::new(engine, pool.clone(), opened(&path), 2).unwrap();
            let mut all = reader.next().unwrap().unwrap().bytes.to_vec();
            OpenOptions::new()
                .write(true)
                .open(&path)
                .unwrap()
                .set_len(1_234_567)
                .unwrap();
            for extent in reader {
                all.extend_from_slice(&extent.unwrap().bytes);
            }
            assert!(all == bytes[..1_234_567], "{} bytes", all.len());
        }
    }
}

/// An engine before another one, which changes requests or answers them itself.
#[derive(Debug)]
struct Meddling {
    inner: Arc<dyn Engine>,
    meddle: fn(ReadRequest) -> Option<ReadRequest>,
}

impl Engine for Meddling {
    fn kind(&self) -> EngineKind {
        self.inner.kind()
    }
    fn describe(&self) -> String {
        self.inner.describe()
    }
    fn submit_read(&self, request: ReadRequest) {
        if let Some(request) = (self.meddle)(request) {
            self.inner.submit_read(request);
        }
    }
    fn submit_write(&self, request: WriteRequest) {
        self.inner.submit_write(request);
    }
    fn traffic(&self) -> &Traffic {
        self.inner.traffic()
    }
}

fn refuse(request: ReadRequest, errno: rustix::io::Errno) {
    let completion = Completion {
        tag: request.tag,
        buffer: request.buffer,
        result: Err(errno.into()),
    };
    let _ = request.done.send(completion);
}

/// Reads a file on the disk, where O_DIRECT is tried, with an engine that meddles.
fn read_meddling(bytes: &[u8], meddle: fn(ReadRequest) -> Option<ReadRequest>) -> Vec<io::Result<Vec<u8>>> {
    let pool = BufferPool::new(6, 64 << 10);
    let directory = tempfile::tempdir().unwrap();
    let path = written(directory.path(), bytes);
    let read = |inner| {
        let engine = Arc::new(Meddling { inner, meddle });
        let outcome = ReadAhead::new(engine, pool.clone(), opened(&path), 4).and_then(collect);
        wait_for_all(&pool);
        outcome
    };
    engines(&pool).into_iter().map(read).collect()
}

#[test]
fn a_disk_that_refuses_direct_reads_is_read_through_the_cache() {
    let bytes = pattern(1_000_001);
    let from_the_start = read_meddling(&bytes, |request| {
        refuse(request, rustix::io::Errno::INVAL);
        None
    });
    let from_the_middle = read_meddling(&bytes, |request| match request.offset {
        ..300_000 => Some(request),
        _ => {
            refuse(request, rustix::io::Errno::INVAL);
            None
        }
    });
    for outcome in from_the_start.into_iter().chain(from_the_middle) {
        assert!(outcome.unwrap() == bytes);
    }
}

#[test]
fn a_short_read_is_not_yet_the_end() {
    let bytes = pattern(1_000_001);
    let outcomes = read_meddling(&bytes, |request| {
        let len = if request.tag == 2 { 8192 } else { request.len };
        Some(ReadRequest { len, ..request })
    });
    for outcome in outcomes {
        assert!(outcome.unwrap() == bytes);
    }
}

#[test]
fn a_broken_disk_is_an_error_and_the_end() {
    let pool = BufferPool::new(6, 64 << 10);
    let directory = tempfile::tempdir().unwrap();
    let path = written(directory.path(), &pattern(1 << 20));
    for inner in engines(&pool) {
        let meddle = |request: ReadRequest| match request.offset {
            ..200_000 => Some(request),
            _ => {
                refuse(request, rustix::io::Errno::IO);
                None
            }
        };
        let engine = Arc::new(Meddling { inner, meddle });
        let mut reader = ReadAhead::new(engine, pool.clone(), opened(&path), 4).unwrap();
        let good = reader.by_ref().take_while(Result::is_ok).count();
        assert!(reader.next().is_none(), "an error is the end");
        if reader.is_direct() {
            assert_eq!(good, 4, "what came before the error is given");
        }
        drop(reader);
        wait_for_all(&pool);
    }
}

/// A request's way through an engine.
fn ask(engine: &dyn Engine, submit: impl FnOnce(&dyn Engine, Sender<Completion>)) -> Completion {
    let (done, completions) = unbounded();
    submit(engine, done);
    let completion = completions.recv().expect("every request completes");
    assert!(completions.recv().is_err(), "and only once");
    completion
}

fn read_request(file: File, offset: u64, len: usize, done: Sender<Completion>) -> ReadRequest {
    ReadRequest {
        file: Arc::new(file),
        offset,
        len,
        buffer: AlignedBuffer::new(8192),
        tag: 7,
        done,
    }
}

#[test]
fn what_cannot_be_done_is_an_error_of_the_system() {
    let pool = BufferPool::new(1, 1);
    let directory = tempfile::tempdir().unwrap();
    let path = written(directory.path(), b"123");
    let write_only = || OpenOptions::new().write(true).open(&path).unwrap();
    for engine in engines(&pool) {
        for (file, offset, len, wanted) in [
            (opened(directory.path()), 0, 100, rustix::io::Errno::ISDIR),
            (write_only(), 0, 100, rustix::io::Errno::BADF),
        ] {
            let read = ask(&*engine, |engine, done| {
                engine.submit_read(read_request(file, offset, len, done))
            });
            let error = read.result.unwrap_err();
            assert_eq!(rustix::io::Errno::from_io_error(&error), Some(wanted), "{engine:?}");
            assert!(read.buffer.is_empty());
        }
        for (offset, len) in [(u64::MAX, 1), (i64::MAX as u64, 1), (0, 8193)] {
            let read = ask(&*engine, |engine, done| {
                engine.submit_read(read_request(opened(&path), offset, len, done))
            });
            assert_eq!(
                read.result.unwrap_err().kind(),
                io::ErrorKind::InvalidInput,
                "{offset} {len}"
            );
        }
        let end = ask(&*engine, |engine, done| {
            engine.submit_read(read_request(opened(&path), 3, 10, done))
        });
        assert_eq!(end.result.unwrap(), 0);
        let all = ask(&*engine, |engine, done| {
            engine.submit_read(read_request(opened(&path), 0, 8192, done))
        });
        assert_eq!((all.tag, all.buffer.as_slice()), (7, &b"123"[..]));
    }
}

#[test]
fn what_is_written_is_there() {
    let pool = BufferPool::new(4, 64 << 10);
    for directory in directories() {
        for (number, engine) in engines(&pool).into_iter().enumerate() {
            let bytes = pattern(1_000_003);
            let path = directory.path().join(format!("written-{number}"));
            let file = Arc::new(File::create_new(&path).unwrap());
            let (done, completions) = unbounded();
            for (number, part) in bytes.chunks(pool.buffer_len()).enumerate() {
                let mut buffer = pool.take();
                buffer.room_mut()[..part.len()].copy_from_slice(part);
                buffer.set_len(part.len());
                engine.submit_write(WriteRequest {
                    file: Arc::clone(&file),
                    offset: (number * pool.buffer_len()) as u64,
                    buffer,
                    tag: part.len() as u64,
                    done: done.clone(),
                });
                if number >= 3 {
                    // One buffer stays free for the next turn; the others wait in the kernel or in the channel.
                    let completion = completions.recv().unwrap();
                    assert_eq!(completion.result.unwrap() as u64, completion.tag);
                }
            }
            drop((done, engine));
            assert!(
                completions
                    .iter()
                    .all(|completion| completion.result.unwrap() as u64 == completion.tag)
            );
            assert!(fs::read(&path).unwrap() == bytes);
        }
    }
}

#[test]
fn a_full_disk_is_told() {
    let pool = BufferPool::new(1, 1);
    for engine in engines(&pool) {
        let mut buffer = AlignedBuffer::new(4096);
        buffer.set_len(4096);
        let full = ask(&*engine, |engine, done| {
            engine.submit_write(WriteRequest {
                file: Arc::new(OpenOptions::new().write(true).open("/dev/full").unwrap()),
                offset: 0,
                buffer,
                tag: 0,
                done,
            });
        });
        assert_eq!(
            full.result.unwrap_err().kind(),
            io::ErrorKind::StorageFull,
            "{engine:?}"
        );
    }
}

#[test]
fn an_engine_that_is_dropped_finishes_what_it_was_given() {
    let pool = BufferPool::new(40, 4096);
    let directory = tempfile::tempdir().unwrap();
    let file = Arc::new(opened(&written(directory.path(), &pattern(1 << 20))));
    for engine in engines(&pool) {
        let (done, completions) = unbounded();
        for tag in 0..40 {
            engine.submit_read(ReadRequest {
                file: Arc::clone(&file),
                offset: tag * 4096,
                len: 4096,
                buffer: pool.take(),
                tag,
                done: done.clone(),
            });
        }
        drop((engine, done));
        let tags: Vec<u64> = completions
            .iter()
            .map(|completion| {
                assert_eq!(completion.result.unwrap(), 4096);
                completion.tag
            })
            .collect();
        assert_eq!((tags.len(), tags.into_iter().collect::<HashSet<_>>().len()), (40, 40));
    }
    assert_eq!(pool.free(), 40);
}

#[test]
fn many_threads_ask_one_engine() {
    let pool = BufferPool::new(20, 4096);
    let directory = tempfile::tempdir().unwrap();
    let bytes = pattern(1 << 20);
    let file = Arc::new(opened(&written(directory.path(), &bytes)));
    for engine in engines(&pool) {
        std::thread::scope(|scope| {
            for thread in 0..4u64 {
                let (engine, pool, file, bytes) = (&engine, &pool, &file, &bytes);
                scope.spawn(move || {
                    let (done, completions) = unbounded();
                    for turn in 0..500 {
                        let offset = (thread * 500 + turn) * 409 % (1 << 20);
                        engine.submit_read(ReadRequest {
                            file: Arc::clone(file),
                            offset,
                            len: 409,
                            buffer: pool.take(),
                            tag: offset,
                            done: done.clone(),
                        });
                        let got = completions.recv().unwrap();
                        let wanted = &bytes[got.tag as usize..];
                        assert_eq!(got.buffer.as_slice(), &wanted[..wanted.len().min(409)]);
                    }
                });
            }
        });
    }
}

#[test]
fn the_choice_is_explained() {
    let pool = BufferPool::new(2, 4096);
    let settings = EngineSettings {
        pool: Some(pool.clone()),
        ..EngineSettings::default()
    };
    let (engine, why) = probe(EngineChoice::Threads, &settings).unwrap();
    assert_eq!(
        (engine.kind(), why.as_str()),
        (EngineKind::Threads, "8 threads: asked for")
    );
    let (engine, why) = probe(EngineChoice::Auto, &settings).unwrap();
    match engine.kind() {
        EngineKind::Uring => assert!(
            why.starts_with("io_uring") && why.ends_with("a test read went well"),
            "{why}"
        ),
        EngineKind::Threads => assert!(why.contains("io_uring cannot be used here: "), "{why}"),
    }
    assert_eq!(pool.free(), 2, "registering gives the buffers back");
}

#[test]
fn reads_made_together_are_those_of_the_standard_library() {
    let pool = BufferPool::new(1, 1);
    let sizes = [0, 1, 100, 4095, 4096, 4097, 65_537, 256 << 10];
    for engine in engines(&pool) {
        // Fewer at a time than there are.
        let Some(mut together) = engine.together(3) else {
            assert_eq!(engine.kind(), EngineKind::Threads);
            continue;
        };
        for directory in directories() {
            for room_len in [1, 4096, 300_000] {
                let wanted: Vec<Vec<u8>> = sizes.iter().map(|size| pattern(*size)).collect();
                let paths = wanted.iter().map(|bytes| written(directory.path(), bytes));
                let files: Vec<File> = paths.map(|path| opened(&path)).collect();
                let mut rooms = vec![vec![0; room_len]; files.len()];
                let pairs = files.iter().zip(&mut rooms);
                let mut reads: Vec<FirstRead<'_>> = pairs.map(|(file, room)| FirstRead::new(file, room)).collect();
                together.read(&mut reads);
                for (read, wanted) in reads.iter().zip(&wanted) {
                    let mut twin = vec![0; room_len];
                    let came = read.file.read_at(&mut twin, 0).unwrap();
                    assert_eq!(read.result.as_ref().ok(), Some(&came), "{} bytes", wanted.len());
                    assert!(read.room[..came] == wanted[..came] && twin == read.room);
                }
            }
        }
        together.read(&mut []);
        let (folder, directory) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let good = opened(&written(folder.path(), b"here"));
        let bad = opened(directory.path());
        let mut rooms = [[0; 8]; 2];
        let [first, second] = &mut rooms;
        let mut reads = [FirstRead::new(&bad, first), FirstRead::new(&good, second)];
        together.read(&mut reads);
        let error = reads[0].result.as_ref().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::IsADirectory);
        assert_eq!(
            reads[1].result.as_ref().ok(),
            Some(&4),
            "one that fails takes none with it"
        );
        assert_eq!(&reads[1].room[..5], b"here\0");
    }
}

#[test]
fn an_engine_says_what_it_did() {
    let pool = BufferPool::new(8, 64 << 10);
    let directory = tempfile::tempdir().unwrap();
    let len = (2 << 20) + 5;
    let path = written(directory.path(), &pattern(len));
    for (number, engine) in engines(&pool).into_iter().enumerate() {
        let reader = ReadAhead::new(Arc::clone(&engine), pool.clone(), opened(&path), 6).unwrap();
        let is_direct = reader.is_direct();
        collect(reader).unwrap();
        let seen = engine.traffic().figures();
        assert_eq!(seen.direct_bytes + seen.cached_bytes, len as u64, "{seen:?}");
        if is_direct {
            assert!(
                seen.reads >= 33 && seen.in_flight_max >= 1 && seen.in_flight_max <= 8,
                "{seen:?}"
            );
            assert!(
                seen.in_flight_mean >= 1.0 && seen.in_flight_mean <= seen.in_flight_max as f64,
                "{seen:?}"
            );
            assert!(seen.direct_bytes >= 2 << 20, "{seen:?}");
            // The engines are: threads, io_uring with the pool, io_uring without.
            let registered = seen.registered_bytes > 0;
            assert!(number == 1 || !registered, "{seen:?}");
            assert!(seen.registered_bytes + seen.plain_bytes >= 2 << 20, "{seen:?}");
        }
    }
}
