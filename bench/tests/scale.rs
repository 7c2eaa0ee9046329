//! Whether `scale` still goes from its cases to its table, and whether memory stays where it is when there is more of everything.

use std::process::Command;

use windlass_tests::{Need, World, command, program};

/// More memory than the smaller case took: what the kernel counts in batches, and what an allocator happens to keep.
const GROWTH_MAX: u64 = 48 << 20;

#[test]
fn ten_times_as_many_files_and_contents_take_no_more_memory() {
    let Some(world) = World::with(&[] as &[Need]) else {
        return;
    };
    let peaks = |files: u32, contents: u32| -> Vec<u64> {
        let (folder, json) = (world.path("work"), world.path("report.json"));
        let mut scale = Command::new(env!("CARGO_BIN_EXE_scale"));
        scale
            .args([format!("--files={files}"), format!("--entries={files}")])
            .arg(format!("--contents={contents}"))
            .arg("--windlass")
            .arg(program())
            .arg("--folder")
            .arg(&folder)
            .arg("--json")
            .arg(&json);
        command::run(&mut scale, &[]).succeeds();
        assert_eq!(
            std::fs::read_dir(folder).unwrap().count(),
            0,
            "something was left behind"
        );
        let rows = std::fs::read(json).unwrap();
        let rows: serde_json::Value = serde_json::from_slice(&rows).unwrap();
        let rows = rows.as_array().unwrap();
        rows.iter()
            .map(|row| row["run"]["peak_bytes"].as_u64().unwrap())
            .collect()
    };
    let (few, many) = (peaks(2_000, 20_000), peaks(20_000, 200_000));
    assert_eq!((few.len(), many.len()), (13, 13));
    for (few, many) in few.iter().zip(&many) {
        assert!(*many > 0 && *many < few + GROWTH_MAX, "{few} bytes became {many}");
    }
}
