//! The time sheets of stages, as a table for people and for programs.

use serde_json::{Value, json};
use windlass_mover::snapshot::StageProfile;

use crate::figures::{duration, size};
use crate::table::{Align, Table};

/// What each stage did with its time: the one that waits least is what the run is bound by.
pub(super) fn table(stages: &[StageProfile]) -> String {
    let right = |name| (name, Align::Right);
    let mut table = Table::new(&[
        ("STAGE", Align::Left),
        right("THREADS"),
        right("BUSY"),
        right("WAITED FOR INPUT"),
        right("WAITED FOR OUTPUT"),
        right("BYTES"),
    ]);
    for stage in stages {
        table.row(vec![
            stage.stage.to_owned(),
            stage.threads.to_string(),
            duration(stage.busy),
            duration(stage.waiting_for_input),
            duration(stage.waiting_for_output),
            if stage.bytes > 0 {
                size(stage.bytes)
            } else {
                String::new()
            },
        ]);
    }
    format!("\nStages, all threads of each together:\n{}", table.render("  "))
}

/// The same for programs.
pub(super) fn json(stages: &[StageProfile]) -> Value {
    let stage = |stage: &StageProfile| {
        json!({
            "stage": stage.stage,
            "threads": stage.threads,
            "busySeconds": stage.busy.as_secs_f64(),
            "waitingForInputSeconds": stage.waiting_for_input.as_secs_f64(),
            "waitingForOutputSeconds": stage.waiting_for_output.as_secs_f64(),
            "bytes": stage.bytes,
        })
    };
    stages.iter().map(stage).collect()
}
