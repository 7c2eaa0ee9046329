//! Turbulence: lines of Azure and Google that break, servers that are busy. What was asked for comes all the same.

use std::time::{Duration, Instant};

use windlass_buckets::{Cloud, CloudOptions, Provider};
use windlass_mover::storage::{BlobRange, PutOptions, Storage, StorageError};

use crate::proxy::{Fate, Proxy};
use crate::world::{World, noise, open, said};

/// A folder of the bucket, seen directly and through a proxy.
struct Line {
    direct: Cloud,
    proxied: Cloud,
    proxy: Proxy,
    _world: World,
}

impl Line {
    async fn with(world: World, plan: impl Fn(u32) -> Fate + Send + Sync + 'static) -> Self {
        let options = world.options();
        let direct = open(&options).await;
        let proxy = Proxy::before(&world.authority(), plan).await;
        let through = CloudOptions {
            endpoint: Some(proxy.endpoint()),
            ..options
        };
        let proxied = open(&through).await;
        Self {
            direct,
            proxied,
            proxy,
            _world: world,
        }
    }
}

const ABSENT: PutOptions = PutOptions {
    retention: None,
    checksum: false,
    only_if_absent: true,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_read_goes_on_where_the_line_broke() {
    for world in World::each() {
        // The first connection opens the storage and is used on; those after it break too.
        let plan = |number| if number < 6 { Fate::CutDown(3 << 20) } else { Fate::Good };
        let line = Line::with(world, plan).await;
        let (id, body) = ("p1".into(), noise(24 << 20));
        line.direct
            .put(&id, body.clone(), &PutOptions::default())
            .await
            .unwrap();
        let read = line.proxied.read(&id, BlobRange::Whole).await.unwrap();
        assert!(read == body, "the bytes were put together wrongly");
        assert!(line.proxy.connections() >= 6, "the line never broke");
        let down = line.proxy.bytes_down();
        assert!(
            down < body.len() as u64 + (1 << 20),
            "what had come already was fetched again: {down} bytes"
        );
        let (offset, len) = (1 << 20, 20 << 20);
        let part = line.proxied.read(&id, BlobRange::Part { offset, len }).await.unwrap();
        assert!(part == body.slice(1 << 20..21 << 20));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_put_whose_line_breaks_is_made_again() {
    for world in World::each() {
        let plan = |number| if number < 4 { Fate::CutUp(1 << 20) } else { Fate::Good };
        let line = Line::with(world, plan).await;
        for (name, len) in [("pshort", 5 << 20), ("plong", 30 << 20)] {
            let (id, body) = (name.into(), noise(len));
            let put = line
                .proxied
                .put(&id, body.clone(), &PutOptions::default())
                .await
                .unwrap();
            assert_eq!(line.direct.metadata(&id).await.unwrap(), put, "{name}");
            assert!(line.direct.read(&id, BlobRange::Whole).await.unwrap() == body, "{name}");
        }
        assert!(line.proxy.connections() >= 5, "the line never broke");
    }
}

/// An empty list, with which a storage opens, and the end of the connection.
const NOTHING_OF_AZURE: &str = "HTTP/1.1 200 OK\r\ncontent-length: 66\r\nconnection: close\r\n\r\n\
    <EnumerationResults><Blobs/><NextMarker/></EnumerationResults>    ";
const NOTHING_OF_GOOGLE: &str = "HTTP/1.1 200 OK\r\ncontent-length: 39\r\nconnection: close\r\n\r\n\
    <ListBucketResult></ListBucketResult>  ";

#[tokio::test(flavor = "multi_thread")]
async fn a_put_that_may_not_replace_knows_what_it_has_made_itself() {
    for world in World::each() {
        let nothing = match world.options().provider {
            Provider::Azure => NOTHING_OF_AZURE,
            Provider::Google => NOTHING_OF_GOOGLE,
        };
        // The second connection does what it is asked for, and the answer is lost.
        let plan = move |number| match number {
            0 => Fate::Answer(nothing),
            1 => Fate::Deaf,
            _ => Fate::Good,
        };
        let line = Line::with(world, plan).await;
        let (id, body) = ("kopia.repository".into(), noise(1000));
        line.proxied.put(&id, body.clone(), &ABSENT).await.unwrap();
        assert!(line.proxy.connections() > 2, "no answer was lost");
        let other = line.proxied.put(&id, noise(1001), &ABSENT).await;
        assert!(matches!(other, Err(StorageError::AlreadyExists { .. })), "{other:?}");
        assert_eq!(line.direct.read(&id, BlobRange::Whole).await.unwrap(), body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_asks_for_patience_gets_it() {
    const BUSY: &str = "HTTP/1.1 503 Server Busy\r\nx-ms-error-code: ServerBusy\r\ncontent-length: 0\r\n\
        connection: close\r\n\r\n";
    const TOO_MANY: &str =
        "HTTP/1.1 429 Too Many Requests\r\nretry-after: 2\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    const BROKEN: &str = "HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    let fates = [Fate::Answer(BUSY), Fate::Answer(TOO_MANY), Fate::Answer(BROKEN)];
    for world in World::each() {
        let begun = Instant::now();
        let plan = move |number: u32| fates.get(number as usize).copied().unwrap_or(Fate::Good);
        let line = Line::with(world, plan).await;
        let took = begun.elapsed();
        assert!(
            took >= Duration::from_secs(2),
            "the pause that was asked for was not kept: {took:?}"
        );
        let connections = line.proxy.connections();
        assert_eq!(connections, 4, "one try for each answer, and one that succeeded");
        line.proxied
            .put(&"p1".into(), noise(10), &PutOptions::default())
            .await
            .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_answer_is_waited_for() {
    for world in World::each() {
        let line = Line::with(world, |_| Fate::Late(Duration::from_millis(700))).await;
        let (id, body) = ("p1".into(), noise(100));
        line.proxied
            .put(&id, body.clone(), &PutOptions::default())
            .await
            .unwrap();
        assert_eq!(line.proxied.read(&id, BlobRange::Whole).await.unwrap(), body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_stays_broken_is_given_up_at_the_deadline() {
    for world in World::each() {
        let plan = |number| {
            if number == 0 {
                Fate::CutDown(2000)
            } else {
                Fate::CutDown(1)
            }
        };
        let line = Line::with(world, plan).await;
        // What is left of the first connection is used up here.
        let id = "p1".into();
        line.direct
            .put(&id, noise(1 << 20), &PutOptions::default())
            .await
            .unwrap();
        let begun = Instant::now();
        let error = line.proxied.read(&id, BlobRange::Whole).await.unwrap_err();
        let took = begun.elapsed();
        assert!(took < Duration::from_secs(30), "{took:?}");
        assert!(!error.is_permanent(), "another day it may work: {error:?}");
        let said = said(&error);
        assert!(said.contains("cannot read") && said.contains("box/folder-"), "{said}");
        assert!(said.contains("p1") && said.contains("endpoint"), "{said}");
    }
}
