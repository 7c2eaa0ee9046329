//! Bad lines and busy servers: what was asked for comes all the same, or the failure says why.

use std::time::{Duration, Instant};

use windlass_buckets::{S3, S3Options};
use windlass_mover::storage::{BlobRange, PutOptions, Storage, StorageError};

use crate::proxy::{Fate, Proxy};
use crate::world::{World, impatient, noise, said};

/// A folder of the bucket, seen directly and through a proxy.
struct Line {
    direct: S3,
    proxied: S3,
    proxy: Proxy,
    _world: World,
}

impl Line {
    async fn with(plan: impl Fn(u32) -> Fate + Send + Sync + 'static) -> Option<Self> {
        let world = World::with_bucket(false)?;
        let options = world.options();
        let direct = S3::open(&options, impatient()).await.expect("the server is there");
        let proxy = Proxy::before(&world.server.authority(), plan).await;
        let through = S3Options {
            endpoint: Some(proxy.endpoint()),
            ..options
        };
        let proxied = S3::open(&through, impatient()).await.expect("the server is there");
        Some(Self {
            direct,
            proxied,
            proxy,
            _world: world,
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_goes_on_where_the_line_broke() {
    // The first connection opens the storage and is used on; those after it break too.
    let Some(line) = Line::with(|number| if number < 6 { Fate::CutDown(3 << 20) } else { Fate::Good }).await else {
        return;
    };
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

#[tokio::test(flavor = "multi_thread")]
async fn a_put_whose_line_breaks_is_made_again() {
    let Some(line) = Line::with(|number| if number < 4 { Fate::CutUp(1 << 20) } else { Fate::Good }).await else {
        return;
    };
    for (name, len) in [("pshort", 5 << 20), ("plong", 30 << 20)] {
        let (id, body) = (name.into(), noise(len));
        line.proxied
            .put(&id, body.clone(), &PutOptions::default())
            .await
            .unwrap();
        assert!(line.direct.read(&id, BlobRange::Whole).await.unwrap() == body, "{name}");
    }
    assert!(line.proxy.connections() >= 5, "the line never broke");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_put_that_may_not_replace_knows_what_it_has_made_itself() {
    // The second connection does what it is asked for, and the answer is lost.
    let busy = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    let Some(line) = Line::with(move |number| match number {
        0 => Fate::Answer(busy),
        1 => Fate::CutDown(600),
        2 => Fate::Deaf,
        _ => Fate::Good,
    })
    .await
    else {
        return;
    };
    let (id, body) = ("kopia.repository".into(), noise(1000));
    let absent = PutOptions {
        only_if_absent: true,
        ..PutOptions::default()
    };
    let before = line.proxy.connections();
    line.proxied.put(&id, body.clone(), &absent).await.unwrap();
    assert!(line.proxy.connections() > before, "no answer was lost");
    let other = line.proxied.put(&id, noise(1001), &absent).await;
    assert!(matches!(other, Err(StorageError::AlreadyExists { .. })), "{other:?}");
    assert_eq!(line.direct.read(&id, BlobRange::Whole).await.unwrap(), body);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_asks_for_patience_gets_it() {
    const SLOW_DOWN: &str = "HTTP/1.1 503 Slow Down\r\ncontent-type: application/xml\r\ncontent-length: 109\r\n\
        connection: close\r\n\r\n<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>SlowDown</Code>\
        <Message>Reduce your rate</Message></Error>\n";
    const TOO_MANY: &str =
        "HTTP/1.1 429 Too Many Requests\r\nretry-after: 2\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    const BROKEN: &str = "HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    let fates = [Fate::Answer(SLOW_DOWN), Fate::Answer(TOO_MANY), Fate::Answer(BROKEN)];
    let begun = Instant::now();
    let Some(line) = Line::with(move |number| fates.get(number as usize).copied().unwrap_or(Fate::Good)).await else {
        return;
    };
    assert!(
        begun.elapsed() >= Duration::from_secs(2),
        "the pause that was asked for was not kept"
    );
    assert_eq!(
        line.proxy.connections(),
        4,
        "one try for each answer, and one that succeeded"
    );
    line.proxied
        .put(&"p1".into(), noise(10), &PutOptions::default())
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_answer_is_waited_for() {
    let Some(line) = Line::with(|_| Fate::Late(Duration::from_millis(700))).await else {
        return;
    };
    let (id, body) = ("p1".into(), noise(100));
    line.proxied
        .put(&id, body.clone(), &PutOptions::default())
        .await
        .unwrap();
    assert_eq!(line.proxied.read(&id, BlobRange::Whole).await.unwrap(), body);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_stays_broken_is_given_up_at_the_deadline() {
    let Some(line) = Line::with(|number| {
        if number == 0 {
            Fate::CutDown(2000)
        } else {
            Fate::CutDown(1)
        }
    })
    .await
    else {
        return;
    };
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
    assert!(
        said.contains("cannot read s3://") && said.contains("p1") && said.contains("endpoint"),
        "{said}"
    );
}
