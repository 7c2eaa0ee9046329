//! Whether `versus` still goes from its data to its tables: with next to no data, so the figures mean nothing.

use std::process::Command;

use windlass_tests::{Need, World, command, program};

#[test]
fn all_programs_do_all_work_and_everything_is_judged_and_removed() {
    let Some(world) = World::with(&[Need::Kopia]) else {
        return;
    };
    let (folder, json) = (world.path("work"), world.path("report.json"));
    let mut versus = Command::new(env!("CARGO_BIN_EXE_versus"));
    versus
        .args([
            "--only=small,open",
            "--scale=0.001",
            "--rounds=1",
            "--confine=0",
            "--warm",
        ])
        .args(["--programs=windlass,kopia,cp", "--contents=200"])
        .arg("--windlass")
        .arg(program())
        .arg("--folder")
        .arg(&folder)
        .arg("--json")
        .arg(&json);
    let printed = command::run(&mut versus, &[]).succeeds().text();
    assert!(printed.contains("## small") && printed.contains("## open"), "{printed}");
    let report = std::fs::read(json).unwrap();
    let report: serde_json::Value = serde_json::from_slice(&report).unwrap();
    let (mut rows, mut verdicts) = (0, 0);
    for table in report["tables"].as_array().unwrap() {
        for row in table["rows"].as_array().unwrap() {
            let run = &row["runs"][0];
            assert!(run["failure"].is_null(), "{row}");
            assert!(run["wall_seconds"].as_f64().unwrap() > 0.0, "{row}");
            assert!(
                run["peak_bytes"].as_u64().unwrap() > 0 || row["program"] == "cp",
                "{row}"
            );
            rows += 1;
        }
        for verdict in table["verdicts"].as_array().unwrap() {
            assert!(verdict["met"].is_boolean(), "{verdict}");
            verdicts += 1;
        }
    }
    // Kopia and Windlass: four pieces of work with small files and two with the repository that is opened; two copies by cp.
    assert_eq!((rows, verdicts), (14, 5));
    assert_eq!(
        std::fs::read_dir(folder).unwrap().count(),
        0,
        "something was left behind"
    );
}
