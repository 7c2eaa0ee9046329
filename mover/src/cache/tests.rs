//! The proving room of the larder: whatever happens to its files, nobody gets other bytes than were kept.

mod repositories;

use std::os::unix::fs::symlink;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

const KEY: [u8; 32] = [7; 32];
/// One body that stays in memory, and one that is mapped.
const LENS: [usize; 2] = [150, (BODY_IN_MEMORY_MAX + 5000) as usize];

fn settings(folder: &TempDir, bytes_max: u64) -> CacheSettings {
    CacheSettings {
        folder: folder.path().join("caches"),
        bytes_max,
        metadata: false,
    }
}

fn cache(folder: &TempDir, bytes_max: u64) -> Cache {
    Cache::new(&settings(folder, bytes_max), &[1, 2], KEY)
}

fn body(len: usize, seed: u8) -> Vec<u8> {
    (0..len).map(|place| (place / 7) as u8 ^ place as u8 ^ seed).collect()
}

fn found(cache: &Cache, name: &str) -> Option<Vec<u8>> {
    cache.find(name).map(|kept| kept.as_ref().to_vec())
}

/// Puts other bytes in the place of a file of the cache, as somebody who may do everything.
fn overwrite(path: &Path, bytes: &[u8]) {
    let _ = fs::remove_file(path);
    fs::write(path, bytes).unwrap();
}

fn files(cache: &Cache) -> Vec<String> {
    let names = fs::read_dir(&cache.folder).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| name != TAG.0).collect();
    names.sort_unstable();
    names
}

fn set_age(cache: &Cache, name: &str, age: Duration) {
    let file = File::open(cache.folder.join(name)).unwrap();
    file.set_modified(SystemTime::now() - age).unwrap();
}

#[test]
fn what_was_kept_is_found_by_the_next_run_of_the_same_repository_alone() {
    let folder = TempDir::new().unwrap();
    for len in LENS {
        cache(&folder, 1 << 30).keep("xn0_a", &body(len, 1));
        let next = cache(&folder, 1 << 30);
        let kept = next.find("xn0_a").unwrap();
        assert_eq!(matches!(kept, Kept::Mapped(_)), len > 1000);
        assert!(kept.as_ref() == body(len, 1));
        assert!(next.find("xn0_b").is_none());
        // The same file for a repository with another key is damage, and goes.
        let other = Cache::new(&settings(&folder, 1 << 30), &[1, 2], [8; 32]);
        assert!(other.find("xn0_a").is_none() && next.find("xn0_a").is_none());
        next.keep("xn0_a", &body(len, 1));
    }
    let usage = cache(&folder, 1 << 30).usage();
    assert_eq!(usage.files, 1);
    assert_eq!(usage.bytes, (LENS[1] + TRAILER_LEN) as u64);
    assert!(usage.folder.ends_with("caches/0102"));
}

#[test]
fn only_the_user_can_look_into_it_and_nobody_writes_to_its_files() {
    let folder = TempDir::new().unwrap();
    let cache = cache(&folder, 1 << 20);
    cache.keep("x", b"index");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&cache.folder), 0o700);
    assert_eq!(mode(cache.folder.parent().unwrap()), 0o700);
    assert_eq!(mode(&cache.folder.join("x")), 0o400);
    let tag = fs::read(cache.folder.join("CACHEDIR.TAG")).unwrap();
    assert!(tag.starts_with(b"Signature: 8a477f597d28d172789f06886806bc55"));
}

#[test]
fn damage_of_any_byte_is_a_file_that_is_not_there() {
    for len in LENS {
        let folder = TempDir::new().unwrap();
        let cache = cache(&folder, 1 << 30);
        let body = body(len, 3);
        cache.keep("xn0_a", &body);
        let path = cache.folder.join("xn0_a");
        let good = fs::read(&path).unwrap();
        // Each byte of a short file and of the end of a long one, and some of its body.
        let places = (0..good.len()).filter(|place| len < 1000 || good.len() - place <= 80 || place % 100_003 == 0);
        for place in places {
            for bit in [0x01, 0x80] {
                let mut damaged = good.clone();
                damaged[place] ^= bit;
                overwrite(&path, &damaged);
                assert!(cache.find("xn0_a").is_none(), "byte {place} of {}", good.len());
                assert!(!path.exists(), "it is not tried again");
            }
        }
        let lens = (0..good.len()).filter(|cut| len < 1000 || good.len() - cut <= 80 || cut % 100_003 == 0);
        for cut in lens {
            overwrite(&path, &good[..cut]);
            assert!(cache.find("xn0_a").is_none(), "cut to {cut} of {}", good.len());
        }
        for more in [1, 8, TRAILER_LEN, 5000] {
            overwrite(&path, &[&good[..], &vec![0; more]].concat());
            assert!(cache.find("xn0_a").is_none(), "longer by {more}");
        }
        // A hole of a terabyte is not looked through.
        overwrite(&path, &good);
        fs::OpenOptions::new()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len(1 << 40)
            .unwrap();
        assert!(cache.find("xn0_a").is_none());
        // A good file under the name of another.
        overwrite(&cache.folder.join("xn0_b"), &good);
        assert!(cache.find("xn0_b").is_none());
        cache.keep("xn0_a", &body);
        assert!(found(&cache, "xn0_a") == Some(body));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_in_the_place_of_a_file_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..400), tail: bool) {
        let folder = TempDir::new().unwrap();
        let cache = cache(&folder, 1 << 20);
        cache.keep("x", b"index");
        let mut bytes = bytes;
        if tail {
            // With an end that promises the right length.
            let len = bytes.len() as u64;
            bytes.extend(len.to_le_bytes());
            bytes.extend(MARK);
            bytes.extend([0; 32]);
        }
        overwrite(&cache.folder.join("x"), &bytes);
        prop_assert!(cache.find("x").is_none());
    }
}

#[test]
fn what_is_no_file_is_not_opened() {
    let folder = TempDir::new().unwrap();
    let cache = cache(&folder, 1 << 20);
    cache.keep("good", b"index");
    let at = |name: &str| cache.folder.join(name);
    symlink(at("good"), at("link")).unwrap();
    fs::create_dir(at("folder")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, at("pipe"), rustix::fs::Mode::RWXU).unwrap();
    for name in ["link", "folder", "pipe"] {
        assert!(cache.find(name).is_none(), "{name}");
    }
    cache.keep("folder", b"another");
    assert!(cache.find("folder").is_none(), "it is in the way and stays");
    assert_eq!(found(&cache, "good").unwrap(), b"index");
}

#[test]
fn a_name_from_a_storage_leads_to_no_other_folder() {
    let folder = TempDir::new().unwrap();
    let cache = cache(&folder, 1 << 20);
    cache.keep("x", b"index");
    let before = files(&cache);
    for name in [
        "",
        ".",
        "..",
        "../x",
        "a/b",
        "/tmp/x",
        ".new-x",
        "a\0b",
        "a.b",
        "ä",
        &"x".repeat(201),
    ] {
        cache.keep(name, b"index");
        assert!(cache.find(name).is_none(), "{name:?}");
    }
    assert_eq!(files(&cache), before);
    assert_eq!(fs::read_dir(folder.path().join("caches")).unwrap().count(), 1);
}

#[test]
fn the_limit_is_kept_and_what_was_not_used_for_longest_goes_first() {
    let folder = TempDir::new().unwrap();
    let each = 1000 + TRAILER_LEN as u64;
    let first = cache(&folder, 10 * each);
    for number in 0..10u8 {
        let name = format!("x{number}");
        first.keep(&name, &body(1000, number));
        set_age(&first, &name, Duration::from_secs(3600 * u64::from(20 - number) + 60));
    }
    assert_eq!(files(&first).len(), 10);
    let next = cache(&folder, 10 * each);
    // The oldest is used, so it is the youngest now.
    assert!(next.find("x0").is_some());
    next.keep("new", &body(1000, 99));
    assert_eq!(files(&next), ["new", "x0", "x3", "x4", "x5", "x6", "x7", "x8", "x9"]);
    assert!(next.usage().bytes <= 10 * each);
    for number in 0..30u8 {
        next.keep(&format!("y{number}"), &body(1000, number));
        assert!(next.usage().bytes <= 10 * each);
    }
    assert!(
        next.find("x0").is_some() && next.find("new").is_some(),
        "what is in use stays"
    );
    assert!(next.find("y7").is_some(), "there was room");
    assert!(
        next.find("y29").is_none(),
        "nothing that is in use goes for something new"
    );
    next.keep("huge", &body(20_000, 1));
    assert!(next.find("huge").is_none());
}

#[test]
fn a_limit_that_was_made_smaller_is_kept_too() {
    let folder = TempDir::new().unwrap();
    let large = cache(&folder, 1 << 20);
    for number in 0..20u8 {
        let name = format!("x{number}");
        large.keep(&name, &body(1000, number));
        set_age(&large, &name, Duration::from_secs(86_400 * u64::from(number + 1)));
    }
    let small = cache(&folder, 5000);
    small.keep("new", &body(1000, 1));
    assert!(small.usage().bytes <= 5000);
    assert!(small.find("new").is_some() && small.find("x0").is_some() && small.find("x19").is_none());
    let nothing = cache(&folder, 0);
    nothing.keep("newer", b"");
    assert!(nothing.find("newer").is_none());
}

#[test]
fn what_a_killed_program_left_goes_after_a_day() {
    let folder = TempDir::new().unwrap();
    let first = cache(&folder, 1 << 20);
    first.keep("x", b"index");
    for (name, age) in [(".new-old", 25), (".new-young", 23)] {
        overwrite(&first.folder.join(name), b"half of");
        set_age(&first, name, Duration::from_secs(3600 * age));
    }
    cache(&folder, 1 << 20).keep("y", b"another");
    assert_eq!(files(&first), [".new-young", "x", "y"]);
}

#[test]
fn where_nothing_can_be_kept_the_work_goes_on() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("caches"), b"a file in the way").unwrap();
    let cache = cache(&folder, 1 << 20);
    cache.keep("x", b"index");
    assert!(cache.find("x").is_none());
    assert!(cache.is_unwritable.load(Ordering::Relaxed), "it is not tried again");
    assert_eq!(cache.usage().files, 0);
}

#[test]
fn a_file_that_is_removed_while_it_is_mapped_can_still_be_read() {
    let folder = TempDir::new().unwrap();
    let cache = cache(&folder, 1 << 30);
    let body = body(LENS[1], 5);
    cache.keep("x", &body);
    let kept = cache.find("x").unwrap();
    // As another program does that makes room, or keeps the same again.
    fs::remove_file(cache.folder.join("x")).unwrap();
    cache.keep("x", &body);
    assert!(kept.as_ref() == body);
}

#[test]
fn many_at_once_get_what_was_kept_or_nothing() {
    let folder = TempDir::new().unwrap();
    let each = 3000;
    // Room for half of what all keep, so that files go while others want them.
    let bytes_max = 8 * each;
    std::thread::scope(|scope| {
        for worker in 0..4u8 {
            let folder = &folder;
            scope.spawn(move || {
                let mut hits = 0;
                for round in 0..150u32 {
                    // Each round as a program of its own.
                    let cache = cache(folder, bytes_max);
                    let number = (round * 7 + u32::from(worker) * 5) % 16;
                    let name = format!("x{number}");
                    let body = body(2900 + number as usize, number as u8);
                    match found(&cache, &name) {
                        Some(kept) => {
                            assert!(kept == body);
                            hits += 1;
                        }
                        None => cache.keep(&name, &body),
                    }
                    if let Ok(file) = File::open(cache.folder.join(format!("x{}", (number + 3) % 16))) {
                        let _ = file.set_modified(SystemTime::now() - Duration::from_secs(7200));
                    }
                    if round % 10 == 0 {
                        // Somebody damages a file under the eyes of the others.
                        let other = format!("x{}", (number + 5) % 16);
                        let _ = fs::rename(cache.folder.join(&name), cache.folder.join(other));
                    }
                }
                assert!(hits > 0);
            });
        }
    });
    let left = cache(&folder, bytes_max);
    assert!(files(&left).iter().all(|name| !name.starts_with(UNFINISHED)));
}
