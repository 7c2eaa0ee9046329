//! The narrow house: where few files may be open, a tree with more levels than that is still backed up and restored.

use std::process::Command;

use windlass_tests::{Shape, Tree, Windlass, World, command};

const LEVELS: usize = 1200;

/// Runs Windlass where no process may have more files open than this, whatever it asks for.
fn run_with_open_files(windlass: &Windlass, most: u32, arguments: &[&str]) -> command::Outcome {
    let plain = windlass.command(arguments);
    let mut limited = Command::new("sh");
    limited
        .args([
            "-c",
            &format!("ulimit -Sn {most} && ulimit -Hn {most} && exec \"$0\" \"$@\""),
        ])
        .arg(plain.get_program())
        .args(plain.get_args())
        .current_dir(windlass.home());
    command::run(&mut limited, &[])
}

#[test]
fn a_tree_deeper_than_the_limit_of_open_files() {
    let Some(world) = World::with(&[]) else { return };
    let windlass = world.windlass(&world.path("repository"), "password");
    windlass.init(&Shape::default());
    let tree = Tree::grow(&world.path("source"));
    // Files before and behind each folder in the order of the walk, and a folder beside it.
    for level in (0..LEVELS).step_by(100).chain([LEVELS - 1]) {
        let below = "d/".repeat(level);
        for name in ["a", "b/file", "e/file", "f"] {
            tree.file(format!("{below}{name}"), format!("{level} {name}").as_bytes());
        }
    }
    let source = tree.root().to_str().expect("paths of worlds are text");
    for most in [64, 256] {
        let create = ["snapshot", "create", source, "--json"];
        let made = run_with_open_files(&windlass, most, &create).succeeds().json();
        assert_eq!(
            (&made["errorCount"], &made["files"]),
            (&0.into(), &(13 * 4).into()),
            "{made}"
        );
        let id = made["id"].as_str().expect("a snapshot has an id");
        let target = world.path(&format!("restored-{most}"));
        let target = target.to_str().expect("paths of worlds are text");
        run_with_open_files(&windlass, most, &["snapshot", "restore", id, target]).succeeds();
        let compared = Command::new("diff").args(["-r", source, target]).status();
        assert!(compared.is_ok_and(|status| status.success()), "not all came back");
    }
}
