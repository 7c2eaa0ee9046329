//! The harbour: repositories in a bucket, written by Windlass and by Kopia's own S3 client in turn.

use std::process::Command;

use windlass_tests::command::run;
use windlass_tests::{Listing, Need, SeaweedFs, Shape, Slack, Tree, World};

/// Small files, a file longer than a pack, and whatever else trees have.
fn grow(world: &World, name: &str) -> Tree {
    let tree = Tree::sized(&world.path(name), 7, &[0, 10, 3000, 200_000]);
    let long: Vec<u8> = (0..30_000_000_u32)
        .map(|place| (place.wrapping_mul(2_654_435_761) >> 11) as u8)
        .collect();
    tree.file("long", &long);
    tree
}

#[test]
fn kopia_verifies_and_restores_what_windlass_put_into_a_bucket_and_writes_beside_it() {
    let Some(world) = World::with(&[Need::Root, Need::Kopia, Need::SeaweedFs]) else {
        return;
    };
    let server = SeaweedFs::shared();
    for (bucket, behind, prefix) in [
        ("harbour", "/one", "one/"),
        ("harbour-raw", "/two-?raw-prefix=true", "two-"),
        ("harbour-top", "", ""),
    ] {
        server.make_bucket(bucket);
        let windlass = world.windlass_in_bucket(&server, &format!("{bucket}{behind}"), "password");
        let kopia = world.kopia_in_bucket(&server, bucket, prefix, "password");
        let source = grow(&world, &format!("source-of-{bucket}"));
        windlass.init(&Shape::default());
        let refused = windlass.try_run(&["repo", "init"]).exits_with(1);
        assert!(refused.stderr.contains("a repository"), "{}", refused.stderr);

        let made = windlass.snapshot(source.root(), &[]);
        kopia.connect();
        kopia.verify_all();
        let wanted = Listing::of(source.root());
        let restored = world.path("restored");
        kopia.restore(&made.id, &restored);
        wanted
            .as_stored()
            .assert_same(&Listing::of(&restored), Slack::RESTORED_BY_KOPIA);
        std::fs::remove_dir_all(&restored).expect("what was restored is ours");

        source.file("added", b"by hand, between the two");
        let beside = kopia.snapshot(source.root(), &[]);
        assert!(
            beside.cached > 0,
            "Kopia knows what Windlass has read: {:?}",
            beside.json
        );
        windlass.verify_all();
        windlass.restore(&beside.id, &restored);
        Listing::of(source.root()).assert_same(&Listing::of(&restored), Slack::RESTORED_BY_WINDLASS);
        std::fs::remove_dir_all(&restored).expect("what was restored is ours");

        let last = windlass.snapshot(source.root(), &[]);
        assert_eq!(last.root, beside.root, "the same tree is the same object");
        let status = windlass.status();
        assert_eq!(status["snapshots"], 3, "{status}");
        kopia.verify_all();
    }
}

#[test]
fn windlass_works_in_a_bucket_that_kopia_made() {
    let Some(world) = World::with(&[Need::Root, Need::Kopia, Need::SeaweedFs]) else {
        return;
    };
    let server = SeaweedFs::shared();
    server.make_bucket("quay");
    let kopia = world.kopia_in_bucket(&server, "quay", "k/", "password");
    kopia.create(&Shape::default());
    let source = grow(&world, "source");
    let made = kopia.snapshot(source.root(), &[]);
    let windlass = world.windlass_in_bucket(&server, "quay/k", "password");
    let restored = world.path("restored");
    windlass.restore(&made.id, &restored);
    Listing::of(source.root()).assert_same(&Listing::of(&restored), Slack::RESTORED_BY_WINDLASS);
    windlass.change_password("another");
    // Kopia keeps what it once knew; another client has to ask.
    let stranger = world.kopia_in_bucket(&server, "quay", "k/", "password");
    assert_ne!(stranger.try_connect().code, Some(0), "the old password opens nothing");
    world.kopia_in_bucket(&server, "quay", "k/", "another").connect();
    windlass.delete(&made.id);
    assert!(windlass.snapshots().is_empty());
}

#[test]
fn a_bucket_that_cannot_be_used_is_refused_with_advice_and_without_secrets() {
    let Some(world) = World::with(&[Need::SeaweedFs]) else {
        return;
    };
    let server = SeaweedFs::shared();
    server.make_bucket("pier");
    let url = format!("--repo=s3://pier/x?endpoint={}", server.endpoint());
    let windlass = world.windlass(&world.path("unused"), "password");
    let try_with = |url: &str, key: Option<(&str, &str)>| {
        let mut command: Command = windlass.nameless(&[url, "repo", "init", "--log-level=trace"]);
        command
            .env("WINDLASS_PASSWORD", "password")
            .env("AWS_EC2_METADATA_DISABLED", "true");
        if let Some((key, secret)) = key {
            command
                .env("AWS_ACCESS_KEY_ID", key)
                .env("AWS_SECRET_ACCESS_KEY", secret);
        }
        let outcome = run(&mut command, &[]);
        let said = outcome.stderr.clone() + &String::from_utf8_lossy(&outcome.stdout);
        assert!(!said.contains("hidden"), "a secret was said: {said}");
        (outcome, said)
    };
    let right = Some((SeaweedFs::ACCESS_KEY, SeaweedFs::SECRET_KEY));
    let nowhere = url.replace("s3://pier", "s3://nowhere");
    let silent = url.replace(&server.authority(), "127.0.0.1:9");
    for (url, key, words) in [
        (
            &url,
            None,
            &["cannot make a repository at s3://pier/x/", "AWS_ACCESS_KEY_ID"][..],
        ),
        (
            &url,
            Some((SeaweedFs::ACCESS_KEY, "hidden")),
            &["cannot open", "check the access key"],
        ),
        (&nowhere, right, &["no bucket", "s3://nowhere/x/", "make it first"]),
        (&silent, right, &["cannot open", "127.0.0.1:9", "is the endpoint right"]),
    ] {
        let (outcome, said) = try_with(url, key);
        outcome.exits_with(1);
        for word in words {
            assert!(said.contains(word), "{word}: {said}");
        }
    }
    let (outcome, _) = try_with(&url, right);
    outcome.succeeds();
    // With each request goes a token, which no log may show; this server may like it or not.
    let url = url.replace("pier/x", "pier/y");
    let mut command = windlass.nameless(&[&url, "repo", "init", "--log-level=trace,aws_smithy_runtime=trace"]);
    command
        .env("WINDLASS_PASSWORD", "password")
        .env("AWS_SESSION_TOKEN", "hidden-token");
    command
        .env("AWS_ACCESS_KEY_ID", SeaweedFs::ACCESS_KEY)
        .env("AWS_SECRET_ACCESS_KEY", SeaweedFs::SECRET_KEY);
    let said = run(&mut command, &[]).stderr;
    assert!(!said.contains("hidden"), "{said}");
}
