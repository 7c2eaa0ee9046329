//! The airfield: repositories at Google's and Azure's, written by Windlass and by Kopia's own clients in turn.

use windlass_tests::{Azurite, FakeGcs, Kopia, Listing, Need, Shape, Slack, Tree, Windlass, World};

/// Windlass makes a repository, Kopia restores and writes on, Windlass restores that; then the other way round.
fn in_turn(world: &World, [ours, theirs]: [(Windlass, Kopia); 2]) {
    let source = Tree::sized(&world.path("source"), 7, &[0, 10, 3000, 200_000]);
    let long: Vec<u8> = (0..30_000_000_u32)
        .map(|place| (place.wrapping_mul(2_654_435_761) >> 11) as u8)
        .collect();
    source.file("long", &long);
    let restored = world.path("restored");
    let gone = || std::fs::remove_dir_all(&restored).expect("what was restored is ours");

    let (windlass, kopia) = ours;
    windlass.init(&Shape::default());
    let refused = windlass.try_run(&["repo", "init"]).exits_with(1);
    assert!(refused.stderr.contains("a repository"), "{}", refused.stderr);
    let made = windlass.snapshot(source.root(), &[]);
    kopia.connect();
    kopia.verify_all();
    kopia.restore(&made.id, &restored);
    let wanted = Listing::of(source.root());
    wanted
        .as_stored()
        .assert_same(&Listing::of(&restored), Slack::RESTORED_BY_KOPIA);
    gone();
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
    gone();
    let last = windlass.snapshot(source.root(), &[]);
    assert_eq!(last.root, beside.root, "the same tree is the same object");
    kopia.verify_all();

    let (windlass, kopia) = theirs;
    kopia.create(&Shape::default());
    let made = kopia.snapshot(source.root(), &[]);
    windlass.restore(&made.id, &restored);
    Listing::of(source.root()).assert_same(&Listing::of(&restored), Slack::RESTORED_BY_WINDLASS);
    windlass.delete(&made.id);
    assert!(windlass.snapshots().is_empty());
}

#[test]
fn windlass_and_kopia_share_a_container_of_azure() {
    let Some(world) = World::with(&[Need::Root, Need::Kopia, Need::Azurite, Need::OpenSsl]) else {
        return;
    };
    let server = Azurite::start_with_tls();
    server.make_container("box");
    let pair = |folder: &str| {
        let windlass = world.windlass_at_azure(&server, &format!("box/{folder}"), "password");
        let kopia = world.kopia_at_azure(&server, "box", &format!("{folder}/"), "password");
        (windlass, kopia)
    };
    in_turn(&world, [pair("ours"), pair("theirs")]);
}

#[test]
fn windlass_and_kopia_share_a_bucket_of_google() {
    let Some(world) = World::with(&[Need::Root, Need::Kopia, Need::FakeGcs]) else {
        return;
    };
    let server = FakeGcs::start();
    server.make_bucket("box");
    let pair = |folder: &str| {
        let windlass = world.windlass_at_google(&server, &format!("box/{folder}"), "password");
        let kopia = world.kopia_at_google(&server, "box", &format!("{folder}/"), "password");
        (windlass, kopia)
    };
    in_turn(&world, [pair("ours"), pair("theirs")]);
}
