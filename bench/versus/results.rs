//! The scoreboard: what was measured, by kind of data, work and program, and the medians of it.

use serde::Serialize;

use crate::budgets::Verdict;
use crate::contestant::{Program, Work};
use crate::data::{Kind, Source};
use crate::machine::Machine;
use windlass_bench::measure::Run;

/// Everything of one call of `versus`.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// When it began.
    pub date: String,
    /// How `versus` was called.
    pub command: String,
    /// What it ran on.
    pub machine: Machine,
    /// The programs' own words for their versions.
    pub versions: Vec<String>,
    /// What else has to be known to read the figures.
    pub remarks: Vec<String>,
    /// One table per kind of data.
    pub tables: Vec<Table>,
}

/// What was measured with one kind of data.
#[derive(Debug, Serialize)]
pub(crate) struct Table {
    pub kind: Kind,
    pub source: Source,
    /// Contents of the repository that is opened.
    pub contents: Option<u64>,
    pub rows: Vec<Row>,
    pub verdicts: Vec<Verdict>,
}

/// One piece of work by one program.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub work: Work,
    pub program: Program,
    /// Timed rounds, in order.
    pub runs: Vec<Run>,
    /// The run in little memory, whose time does not count.
    pub confined: Option<Run>,
    /// The median of the time that counts, in seconds, for who reads this elsewhere.
    pub median_seconds: Option<f64>,
}

impl Table {
    /// The row of a program, new if it has none.
    pub(crate) fn row_mut(&mut self, work: Work, program: Program) -> &mut Row {
        let place = self
            .rows
            .iter()
            .position(|row| (row.work, row.program) == (work, program));
        let place = place.unwrap_or_else(|| {
            self.rows.push(Row {
                work,
                program,
                runs: Vec::new(),
                confined: None,
                median_seconds: None,
            });
            self.rows.len() - 1
        });
        &mut self.rows[place]
    }

    /// The row of a program, if it took part.
    pub(crate) fn row(&self, work: Work, program: Program) -> Option<&Row> {
        self.rows.iter().find(|row| (row.work, row.program) == (work, program))
    }

    /// The median time of a program at some work, in seconds.
    pub(crate) fn seconds(&self, work: Work, program: Program) -> Option<f64> {
        self.row(work, program)?.seconds()
    }

    /// How many times as fast a program is as another one.
    pub(crate) fn ratio(&self, work: Work, program: Program, peer: Program) -> Option<f64> {
        Some(self.seconds(work, peer)? / self.seconds(work, program)?)
    }

    /// GiB of the source, holes included.
    pub(crate) fn gib(&self) -> f64 {
        self.source.bytes as f64 / f64::from(1 << 30)
    }
}

impl Row {
    /// The median of the time that counts for this work, in seconds.
    pub(crate) fn seconds(&self) -> Option<f64> {
        if self.work.counts_synced() {
            self.median(|run| run.synced_seconds)
        } else {
            self.median(|run| run.wall_seconds)
        }
    }

    /// The median of something over the timed rounds; nothing if one of them failed, or none was run.
    pub(crate) fn median(&self, of: impl Fn(&Run) -> f64) -> Option<f64> {
        let well = self.runs.iter().all(|run| run.failure.is_none());
        well.then(|| median(self.runs.iter().map(of).collect())).flatten()
    }

    /// The most anonymous memory that was seen in any run, in bytes.
    pub(crate) fn peak_bytes(&self) -> Option<u64> {
        self.runs.iter().chain(&self.confined).map(|run| run.peak_bytes).max()
    }

    /// Why a timed round failed, if one did.
    pub(crate) fn failure(&self) -> Option<&str> {
        self.runs.iter().find_map(|run| run.failure.as_deref())
    }
}

/// The middle one, or the mean of the two in the middle.
fn median(mut figures: Vec<f64>) -> Option<f64> {
    figures.sort_by(f64::total_cmp);
    let (half, count) = (figures.len() / 2, figures.len());
    match count {
        0 => None,
        _ if count % 2 == 1 => Some(figures[half]),
        _ => Some(f64::midpoint(figures[half - 1], figures[half])),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::{Row, Table, median};
    use crate::contestant::{Program, Work};
    use crate::data::{Kind, Source};
    use windlass_bench::measure::Run;

    pub(crate) fn run(seconds: f64) -> Run {
        Run {
            wall_seconds: seconds,
            synced_seconds: seconds + 1.0,
            cpu_seconds: seconds * 2.0,
            peak_bytes: 100 << 20,
            traffic: None,
            failure: None,
            output: Vec::new(),
        }
    }

    pub(crate) fn table(kind: Kind, rows: &[(Work, Program, f64)]) -> Table {
        let rows = rows.iter().map(|(work, program, seconds)| Row {
            work: *work,
            program: *program,
            runs: vec![run(*seconds)],
            confined: Some(run(*seconds)),
            median_seconds: None,
        });
        Table {
            kind,
            source: Source {
                folder: "source".into(),
                files: 65,
                bytes: 5 << 30,
            },
            contents: None,
            rows: rows.collect(),
            verdicts: Vec::new(),
        }
    }

    #[test]
    fn a_median_is_in_the_middle_and_one_failure_spoils_it() {
        assert_eq!(median(vec![9.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 2.0]), Some(3.0));
        assert_eq!(median(Vec::new()), None);
        let mut table = table(
            Kind::Large,
            &[(Work::First, Program::Kopia, 4.0), (Work::Restore, Program::Kopia, 4.0)],
        );
        assert_eq!(
            table.seconds(Work::First, Program::Kopia),
            Some(5.0),
            "snapshots count until they are on the disk"
        );
        assert_eq!(
            table.seconds(Work::Restore, Program::Kopia),
            Some(4.0),
            "restores do not"
        );
        table.row_mut(Work::First, Program::Kopia).runs.push(Run {
            failure: Some("no".to_owned()),
            ..run(1.0)
        });
        assert_eq!(table.seconds(Work::First, Program::Kopia), None);
    }
}
