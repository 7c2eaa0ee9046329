//! Company: others write into the same repository, delete what is in it, and leave very many indexes behind.

use std::sync::Arc;

use bytes::Bytes;
use windlass_mover::blocking::block_on;
use windlass_mover::storage::{Counting, PutOptions, Storage};
use windlass_mover::{Repository, snapshots};
use windlass_repo_format::id::ContentId;
use windlass_repo_format::index::{IndexEntry, encode_v2};

use crate::world::{Dice, World, noise, read_bytes, read_tree, snapshot_of};

/// Publishes index entries as another program would.
fn publish(world: &World, entries: &mut [IndexEntry]) {
    let repository = world.open();
    entries.sort_by_key(|entry| entry.id);
    let payload = encode_v2(entries).unwrap();
    let nonce = [world.open().index_summary().blobs as u8; 12];
    let (blob, bytes) = repository
        .sealer()
        .seal_blob("xn0_", "s0123456789abcdef0123456789abcdef-c1", &nonce, &payload);
    block_on(world.memory.put(&blob, Bytes::from(bytes), &PutOptions::default())).unwrap();
}

#[test]
fn two_writers_at_the_same_time_do_not_disturb_each_other() {
    let world = World::new();
    for number in 0..20 {
        world.file(format!("shared{number}"), noise(number, 200_000));
    }
    let other = World::new();
    for number in 0..20 {
        other.file(format!("own{number}"), noise(50 + number, 100_000));
        other.file(format!("shared{number}"), noise(number, 200_000));
    }
    let (first, second) = (world.open(), world.open());
    for round in 0..4 {
        world.clock.advance(jiff::SignedDuration::from_mins(1));
        world.file("changing", noise(round, 300_000));
        other.file("changing", noise(round, 300_000));
        let (one, two) = std::thread::scope(|scope| {
            let one = scope.spawn(|| snapshot_of(&first, &world.options()).unwrap());
            let two = scope.spawn(|| snapshot_of(&second, &other.options()).unwrap());
            (one.join().unwrap(), two.join().unwrap())
        });
        let fresh = world.open();
        for (report, files) in [(one, 22), (two, 42)] {
            let tree = read_tree(&fresh, report.manifest.root_entry.as_ref().unwrap()).unwrap();
            assert_eq!(tree.len(), files);
            assert_eq!(tree[&b"shared7"[..]].bytes, noise(7, 200_000));
            assert_eq!(tree[&b"changing"[..]].bytes, noise(round, 300_000));
        }
    }
    let all = block_on(snapshots::list(&world.open(), None)).unwrap();
    assert_eq!(all.len(), 8);
    // What one has stored the other finds, once it has looked.
    let late = world.snapshot_with(&second, &world.options_rereading());
    assert!(late.written.new_bytes < 5_000);
}

#[test]
fn a_content_that_was_deleted_is_written_again_with_a_later_time() {
    let world = World::new();
    let bytes = noise(9, 50_000);
    world.file("file", &bytes);
    let repository = world.open();
    let first = world.snapshot(&repository);
    let tree = world.tree(&first);
    let id = tree[&b"file"[..]].entry.object.unwrap().content();
    let live = repository.locate(&id).unwrap();
    // Deleted by somebody whose clock is far ahead.
    let deleted = IndexEntry {
        deleted: true,
        timestamp: live.timestamp + 1_000_000,
        ..live.clone()
    };
    publish(&world, &mut [deleted.clone()]);
    let fresh = world.open();
    assert!(fresh.locate(&id).unwrap().deleted);
    assert_eq!(
        block_on(fresh.read_content(&id)).unwrap(),
        bytes,
        "still readable until maintenance"
    );
    let again = world.snapshot_with(&fresh, &world.options_rereading());
    assert_eq!(again.root(), first.root());
    let written = world.open().locate(&id).unwrap();
    assert!(!written.deleted);
    assert_ne!(written.pack, live.pack);
    assert!(
        written.timestamp > deleted.timestamp,
        "or the deletion would win over it"
    );
    assert_eq!(world.tree(&again), tree);
}

#[test]
fn an_earlier_folder_that_cannot_be_read_costs_only_reading() {
    let world = World::new();
    world
        .file("sub/a", noise(1, 1000))
        .file("sub/b", noise(2, 1000))
        .file("c", noise(3, 1000));
    let repository = world.open();
    let first = world.snapshot(&repository);
    let folder = world.tree(&first)[&b"sub"[..]].entry.object.unwrap().content();
    // An index says that the folder is now in a pack which is not there.
    let live = repository.locate(&folder).unwrap();
    let lost = IndexEntry {
        pack: "q00000000000000000000000000000000-s0".into(),
        timestamp: live.timestamp + 5,
        ..live
    };
    publish(&world, &mut [lost]);
    world.file("sub/d", "new, so that the folder is another one now");
    let second = world.snapshot(&world.open());
    assert_eq!(
        (
            second.manifest.stats.cached_files,
            second.manifest.stats.non_cached_files
        ),
        (1, 3)
    );
    assert_eq!(world.tree(&second).len(), 6);
}

/// Writes so many contents that an index of each few is a blob of its own.
fn write_many(repository: &Repository, sessions: u32, each: u32) -> Vec<(ContentId, Vec<u8>)> {
    let mut written = Vec::new();
    for session_number in 0..sessions {
        let session = repository.write_session().unwrap();
        for number in 0..each {
            let plain = [session_number.to_be_bytes(), number.to_be_bytes()].concat();
            written.push((block_on(session.write_content(None, &plain, None)).unwrap(), plain));
        }
        block_on(session.flush()).unwrap();
    }
    written
}

fn live_contents(repository: &Repository) -> usize {
    let mut live = 0;
    let counted = repository.each_live_content(|_| {
        live += 1;
        Ok(())
    });
    counted.unwrap();
    live
}

#[test]
fn hundreds_of_indexes_are_searched_as_few() {
    let world = World::new();
    let writer = world.open();
    let written = write_many(&writer, 300, 7);
    let fresh = world.open();
    assert!(fresh.index_summary().blobs >= 300);
    for repository in [&writer, &fresh] {
        for (id, plain) in &written {
            assert_eq!(block_on(repository.read_content(id)).unwrap(), *plain);
        }
        let live = live_contents(repository);
        assert!(live >= written.len() && live < written.len() + 10);
    }
    // A look for news reads only what is new.
    let storage = Arc::new(Counting::new(world.memory.clone()));
    let watching = world.open_through(storage.clone()).unwrap();
    let before = storage.counts();
    write_many(&writer, 1, 1);
    // The same contents as before, and so nothing new; one more:
    let session = writer.write_session().unwrap();
    block_on(session.write_content(None, b"news", None)).unwrap();
    block_on(session.flush()).unwrap();
    block_on(watching.refresh()).unwrap();
    assert_eq!(storage.counts().reads - before.reads, 1);
}

#[test]
fn large_indexes_are_kept_in_files_and_found_in_them() {
    let world = World::new();
    let writer = world.open();
    // Some 35 bytes an entry: beyond what stays in memory; and twelve of them, so that they are merged.
    let written = write_many(&writer, 12, 32_000);
    let fresh = world.open();
    let dice = Dice::new(1);
    for repository in [&writer, &fresh] {
        for _ in 0..2_000 {
            let (id, plain) = &written[dice.below(written.len() as u64) as usize];
            assert_eq!(block_on(repository.read_content(id)).unwrap(), *plain);
        }
        let live = live_contents(repository);
        assert!(live >= written.len());
    }
}

#[test]
fn what_others_wrote_is_seen_before_the_indexes_grow_old() {
    let world = World::new();
    world.file("a", noise(1, 200_000)).file("b", noise(2, 200_000));
    let ours = world.open();
    let theirs = world.open();
    let first = world.snapshot(&theirs);
    // Ours was opened before; the snapshot looks again by itself.
    let second = world.snapshot(&ours);
    assert_eq!(second.root(), first.root());
    assert_eq!((second.bytes_read, second.manifest.stats.cached_files), (0, 2));
    assert_eq!(
        read_bytes(&ours, world.tree(&first)[&b"b"[..]].entry.object.unwrap()).unwrap(),
        noise(2, 200_000)
    );
}
