//! The customer: what a user types, what is said, and the exit code that a script goes by. No other program is needed here.

use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;
use windlass_tests::command::{Outcome, run, says};
use windlass_tests::{Listing, Seed, Shape, Slack, Tree, Windlass, World};

/// A user with a repository and a small folder.
struct Scene {
    world: World,
    windlass: Windlass,
    tree: Tree,
}

impl Scene {
    fn set() -> Option<Self> {
        let world = World::with(&[])?;
        let windlass = world.windlass(&world.path("repository"), "password");
        let tree = Tree::grow(&world.path("source"));
        tree.file("letters/first", b"dear");
        tree.file("second", b"hello\n");
        Some(Self { world, windlass, tree })
    }

    fn with_repository() -> Option<Self> {
        let scene = Self::set()?;
        scene.windlass.init(&Shape::default());
        Some(scene)
    }

    fn source(&self) -> &str {
        self.tree.root().to_str().expect("paths of worlds are text")
    }

    /// Runs a command that names no repository.
    fn nameless(&self, arguments: &[&str]) -> Outcome {
        run(&mut self.windlass.nameless(arguments), &[])
    }
}

#[test]
fn the_first_snapshot_makes_a_repository_and_says_what_to_do_next() {
    let Some(scene) = Scene::set() else { return };
    says(
        &scene.nameless(&["snapshot", "list"]).exits_with(1),
        &["snapshot create"],
    );
    says(
        &scene.nameless(&["snapshot", "create", "/nonexistent"]).exits_with(1),
        &["/nonexistent"],
    );
    let data = scene.windlass.home().join(".local/share/windlass");
    assert!(!data.exists(), "a repository was made for nothing");

    let made = scene.nameless(&["snapshot", "create", scene.source()]).succeeds();
    let password = data.join("password");
    let text = |path: &Path| path.to_str().expect("paths of worlds are text").to_owned();
    says(&made, &[&text(&data.join("repository")), &text(&password), "COPY"]);
    let mode = fs::metadata(&password)
        .expect("the password was written")
        .permissions()
        .mode();
    assert_eq!(mode & 0o7777, 0o600);

    let made = made.text();
    let pasted = made
        .lines()
        .find(|line| line.contains("windlass snapshot restore"))
        .expect("it says how to restore");
    let words: Vec<&str> = pasted.split_whitespace().collect();
    let restored = scene.world.path("restored");
    scene
        .nameless(&["snapshot", "restore", words[3], &text(&restored)])
        .succeeds();
    Listing::of(scene.tree.root()).assert_same(&Listing::of(&restored), Slack::RESTORED_BY_WINDLASS);
    says(
        &scene.nameless(&["snapshot", "list"]).succeeds(),
        &["default repository", scene.source()],
    );
    let again = scene
        .nameless(&["snapshot", "create", scene.source(), "--json"])
        .succeeds()
        .json();
    assert_eq!(
        (&again["cachedFiles"], &again["repository"]["isNew"]),
        (&Value::from(2), &Value::from(false))
    );
}

#[test]
fn the_default_repository_knows_its_new_password() {
    let Some(scene) = Scene::set() else { return };
    scene.nameless(&["repo", "init"]).succeeds();
    let new = scene.world.path("new");
    fs::write(&new, "another\n").expect("the world is ours");
    let new = new.to_str().expect("paths of worlds are text");
    // What is in the environment is for other repositories.
    let mut change = scene
        .windlass
        .nameless(&["repo", "change-password", "--new-password-file", new]);
    run(change.env("WINDLASS_PASSWORD", "of another repository"), &[]).succeeds();
    scene.nameless(&["snapshot", "create", scene.source()]).succeeds();
    let kept = fs::read_to_string(scene.windlass.home().join(".local/share/windlass/password"));
    assert_eq!(kept.expect("the password is kept"), "another\n");
}

#[test]
fn wrong_use_exits_2_and_says_what_is_right() {
    let Some(scene) = Scene::with_repository() else { return };
    let source = scene.source();
    for (arguments, words) in [
        (&["snapshot", "create"][..], &["PATH"][..]),
        (&["snapshot", "invent"], &["invent"]),
        (&["snapshot", "create", source, "--tag", "colour"], &["KEY:VALUE"]),
        (
            &["snapshot", "create", source, "--tag", "a:1", "--tag", "a:2"],
            &["twice"],
        ),
        (
            &["snapshot", "create", source, "--compression", "best"],
            &["zstd-fastest"],
        ),
        (&["snapshot", "create", source, "--source", "ann"], &["user@host:path"]),
        (&["snapshot", "create", source, "--memory", "much"], &["256MiB"]),
        (&["snapshot", "create", source, "--block-device"], &["block device"]),
        (&["snapshot", "create", "/dev/null"], &["/dev/null"]),
        (&["snapshot", "show", "/a"], &["ID"]),
        (&["repo", "init", "--hash", "MD5"], &["BLAKE3-256"]),
        (&["repo", "verify", "--sample", "101"], &["0 to 100"]),
        (&["--log-level", "loud", "repo", "status"], &["--log-level"]),
    ] {
        says(&scene.windlass.try_run(arguments).exits_with(2), words);
    }
    for (url, why) in [
        ("s3://name:hidden@bucket/prefix", "must hold no credentials"),
        ("s3://bucket?secret-access-key=hidden", "must hold no secrets"),
        ("s3://bucket?colour=hidden", "no such parameter"),
        ("ftp://name:hidden@there", "no such kind of place"),
    ] {
        let refused = scene.nameless(&["--repo", url, "snapshot", "list"]).exits_with(2);
        assert!(!refused.stderr.contains("hidden"), "{}", refused.stderr);
        says(&refused, &[why]);
    }
    let silent = scene
        .nameless(&["--repo", "/nonexistent", "snapshot", "list"])
        .exits_with(1);
    says(&silent, &["/nonexistent"]);
    let repository = format!("--repo=file://{}", scene.world.path("repository").display());
    says(
        &scene.nameless(&[&repository, "repo", "status"]).exits_with(2),
        &["--password-file", "WINDLASS_PASSWORD"],
    );
    let mut by_environment = scene.windlass.nameless(&[&repository, "repo", "status"]);
    run(by_environment.env("KOPIA_PASSWORD", "password"), &[]).succeeds();
    run(by_environment.env("WINDLASS_PASSWORD", "wrong"), &[]).exits_with(1);
}

#[test]
fn failures_are_json_where_json_was_asked_for() {
    let Some(scene) = Scene::with_repository() else { return };
    for (arguments, code) in [
        (&["snapshot", "show", "ffff", "--json"][..], 1),
        (&["snapshot", "create", "/nonexistent", "--json"], 1),
        (&["snapshot", "create", scene.source(), "--source", "ann", "--json"], 2),
        (&["snapshot", "invent", "--json"], 2),
    ] {
        let failed = scene.windlass.try_run(arguments).exits_with(code).json();
        assert!(
            failed["error"].as_str().is_some_and(|error| !error.is_empty()),
            "{failed}"
        );
        assert!(failed["causes"].is_array(), "{failed}");
    }
}

#[test]
fn a_snapshot_is_listed_shown_looked_into_compared_and_deleted() {
    let Some(scene) = Scene::with_repository() else { return };
    let windlass = &scene.windlass;
    let first = windlass.snapshot(
        scene.tree.root(),
        &["--tag", "colour:light:blue", "--description", "the first"],
    );
    scene.tree.file("second", b"hello again\n");
    scene.tree.file("third", b"");
    let second = windlass.snapshot(scene.tree.root(), &[]);

    let shown = windlass.run(&["snapshot", "show", &first.id[..8], "--json"]).json();
    assert_eq!(shown["tags"]["tag:colour"], "light:blue");
    assert_eq!(shown["description"], "the first");
    assert_eq!(shown["source"]["userName"], "u");
    assert_eq!(shown["root"], first.root.as_str());
    assert_eq!((&shown["files"], &shown["bytes"]), (&Value::from(2), &Value::from(10)));

    let listed = windlass.run(&["snapshot", "ls", &first.root, "--recursive"]).text();
    assert_eq!(listed, "letters/\nletters/first\nsecond\n");
    let listed = windlass
        .run(&["snapshot", "ls", &format!("{}/letters", first.id), "--json"])
        .json();
    assert_eq!(listed["entries"][0]["path"], "first");
    assert_eq!(listed["entries"][0]["size"], 4);
    let read = windlass
        .run(&["snapshot", "cat", &format!("{}/second", first.id)])
        .text();
    assert_eq!(read, "hello\n");
    windlass
        .try_run(&["snapshot", "cat", &format!("{}/letters", first.id)])
        .exits_with(2);
    windlass
        .try_run(&["snapshot", "cat", &format!("{}/fourth", first.id)])
        .exits_with(1);

    let changes = windlass
        .run(&["snapshot", "diff", &first.id, &second.id, "--json"])
        .json();
    assert_eq!(
        (&changes["added"], &changes["removed"]),
        (&Value::from(1), &Value::from(0))
    );
    let second_changed = changes["changes"]
        .as_array()
        .expect("changes are a list")
        .iter()
        .find(|change| change["path"] == "second");
    assert_eq!(second_changed.expect("it has changed")["content"], true);

    let refused = windlass
        .try_run(&["snapshot", "delete", &first.id, "ffff"])
        .exits_with(1);
    says(&refused, &["ffff"]);
    assert_eq!(windlass.snapshots().len(), 2, "all or none are deleted");
    windlass.delete(&first.id);
    assert_eq!(windlass.snapshots().len(), 1);
    let ours = windlass
        .run(&[
            "--override-username=u",
            "--override-hostname=h",
            "snapshot",
            "list",
            "--json",
        ])
        .json();
    assert_eq!(ours[0]["id"], second.id.as_str());
    let others = windlass
        .run(&["--override-username=v", "snapshot", "list", "--json"])
        .json();
    assert_eq!(others, Value::Array(Vec::new()));
}

#[test]
fn names_that_cannot_be_kept_exit_3_and_special_files_do_not() {
    let Some(scene) = Scene::with_repository() else { return };
    scene.tree.special("fifo", rustix::fs::FileType::Fifo);
    let made = scene.windlass.snapshot(scene.tree.root(), &[]);
    assert_eq!(made.json["notKept"]["fifos"]["count"], 1);
    scene
        .tree
        .file(OsStr::from_bytes(b"bad-\xff"), b"kept under another name");
    let made = scene.windlass.try_snapshot(scene.tree.root(), &[]).exits_with(3).json();
    assert_eq!(made["notKept"]["namesNotUtf8"]["count"], 1);
    let made = scene
        .windlass
        .try_run(&["snapshot", "create", scene.source()])
        .exits_with(3);
    says(&made, &["not UTF-8", "bad-\u{fffd}", "fifo,"]);
}

/// Waits until something has come true.
#[track_caller]
fn wait_until(what: &str, mut is_true: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_true() {
        assert!(began.elapsed() < Duration::from_secs(60), "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_stopped_snapshot_is_kept_as_far_as_it_came_and_the_next_one_goes_on() {
    let Some(scene) = Scene::with_repository() else { return };
    let (windlass, source) = (&scene.windlass, scene.source());
    let mut seed = Seed::new(7);
    for number in 0..24 {
        scene.tree.file(format!("large/{number:02}"), &seed.bytes(16 << 20));
    }
    // One thread, so that it takes some time; a pack in the repository shows that it is under way.
    let mut command = windlass.command(&["snapshot", "create", source, "--parallel", "1", "--json"]);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    let packs = scene.world.path("repository/p");
    wait_until("packs are written", || packs.exists());
    let id = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(id, rustix::process::Signal::TERM).expect("it is our child");
    let mut printed = String::new();
    child
        .stdout
        .take()
        .expect("it is a pipe")
        .read_to_string(&mut printed)
        .expect("JSON is text");
    assert_eq!(child.wait().expect("it is our child").code(), Some(1), "{printed}");
    let stopped: Value = serde_json::from_str(&printed).expect("a stopped snapshot is told as JSON, too");
    assert_eq!(stopped["incomplete"], "canceled");

    let listed = windlass.snapshots();
    assert_eq!(listed[0].json["incomplete"], "canceled");
    windlass.verify_all();
    let next = windlass.run(&["snapshot", "create", source, "--json"]).json();
    assert_eq!(next["incomplete"], Value::Null);
    let number = |json: &Value, key: &str| json[key].as_u64().expect("a number");
    let stored_before = number(&stopped, "newBytes");
    assert!(stored_before > 0, "{stopped}");
    let total = 24 * (16 << 20) + 10;
    let stored_in_all = stored_before + number(&next, "newBytes");
    // Directories and manifests are stored by both.
    assert!(
        stored_in_all < total + (1 << 20),
        "{stored_in_all} bytes were stored of {total}"
    );
    let restored = scene.world.path("restored");
    windlass.restore(next["id"].as_str().expect("a snapshot has an id"), &restored);
    Listing::of(scene.tree.root()).assert_same(&Listing::of(&restored), Slack::RESTORED_BY_WINDLASS);
}

#[test]
fn a_repository_whose_indexes_are_lost_is_not_taken_for_an_empty_one() {
    let Some(scene) = Scene::with_repository() else { return };
    let made = scene.windlass.snapshot(scene.tree.root(), &[]);
    fs::remove_dir_all(scene.world.path("repository/x")).expect("the repository is ours");
    for command in [
        &["snapshot", "list", "--all"][..],
        &["snapshot", "verify"],
        &["repo", "verify"],
        &["snapshot", "create", scene.source()],
    ] {
        says(&scene.windlass.try_run(command).exits_with(1), &["recover-index"]);
    }
    scene.windlass.recover_index();
    assert_eq!(scene.windlass.listed(&made.id).root, made.root);
    scene.windlass.verify_all();
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure_to_talk_about() {
    let Some(scene) = Scene::with_repository() else { return };
    for number in 0..3000 {
        scene
            .tree
            .file(format!("many/a-name-that-is-not-short-at-all-{number}"), b"");
    }
    let made = scene.windlass.snapshot(scene.tree.root(), &[]);
    let mut command = scene.windlass.command(&["snapshot", "ls", "--recursive", &made.id]);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    drop(child.stdout.take());
    let mut said = String::new();
    child
        .stderr
        .take()
        .expect("it is a pipe")
        .read_to_string(&mut said)
        .expect("words are text");
    assert_eq!(
        (child.wait().expect("it is our child").code(), said.as_str()),
        (Some(1), "")
    );
}

#[test]
fn status_tells_what_was_chosen_and_what_there_is() {
    let Some(scene) = Scene::set() else { return };
    scene.windlass.init(&Shape {
        hash: "BLAKE3-256-128",
        splitter: "FIXED-1M",
        format_version: 2,
        ecc_percent: 3,
        ..Shape::default()
    });
    scene.windlass.snapshot(scene.tree.root(), &[]);
    let status = scene.windlass.status();
    for (key, value) in [
        ("hash", "BLAKE3-256-128"),
        ("splitter", "FIXED-1M"),
        ("encryption", "AES256-GCM-HMAC-SHA256"),
    ] {
        assert_eq!(status[key], value);
    }
    assert_eq!(
        (&status["formatVersion"], &status["ecc"]["overheadPercent"]),
        (&Value::from(2), &Value::from(3))
    );
    assert_eq!(status["snapshots"], 1);
    assert_eq!(status["epochs"]["writeEpoch"], 0);
    assert_eq!(status["maintenance"]["full"]["next"], Value::Null);
    assert!(
        status["maintenance"]["owner"]
            .as_str()
            .is_some_and(|owner| owner.contains('@')),
        "{status}"
    );
    assert!(
        status["blobs"]["kinds"]["dataPacks"]["bytes"]
            .as_u64()
            .is_some_and(|bytes| bytes > 0),
        "{status}"
    );
    assert!(
        status["engine"].as_str().is_some_and(|engine| !engine.is_empty()),
        "{status}"
    );
    for shell in ["bash", "zsh", "fish"] {
        says(&scene.nameless(&["completions", shell]).succeeds(), &["snapshot"]);
    }
}
