//! The printer: tables for people in Markdown, everything for programs in JSON.

use std::fmt::Write;

use crate::contestant::{Program, Work};
use crate::results::{Report, Row, Table};

const PEERS: [Program; 4] = [Program::Kopia, Program::Restic, Program::Cp, Program::Dd];
const MIB: f64 = 1_048_576.0;

impl Report {
    /// All of it as Markdown.
    pub(crate) fn markdown(&self) -> String {
        let mut text = format!("# versus\n\n- date: {}\n- command: `{}`\n", self.date, self.command);
        let _ = writeln!(text, "- machine: {}", self.machine.describe()); // writing to a string does not fail
        for line in self.versions.iter().chain(&self.remarks) {
            let _ = writeln!(text, "- {line}");
        }
        for table in &self.tables {
            text += "\n";
            text += &table.markdown();
        }
        text
    }
}

impl Table {
    /// The figures, and what became of the promises.
    pub(crate) fn markdown(&self) -> String {
        let mut text = format!("## {}\n\n{}\n\n", self.kind.name(), self.about());
        let header = [
            "work",
            "program",
            "until exit",
            "until synced",
            "speed",
            "processor",
            "peak MiB",
            "confined",
            "x kopia",
            "x restic",
            "x cp",
            "x dd",
        ];
        let rows: Vec<Vec<String>> = self.rows.iter().map(|row| self.cells(row)).collect();
        text += &aligned(&header, &rows);
        if self.verdicts.is_empty() {
            return text;
        }
        let rows = self.verdicts.iter().map(|verdict| {
            let met = match verdict.met {
                Some(true) => "met",
                Some(false) => "**missed**",
                None => "not judged",
            };
            vec![
                verdict.what.clone(),
                verdict.budget.clone(),
                verdict.measured.clone(),
                met.to_owned(),
            ]
        });
        text += "\n";
        text += &aligned(&["windlass", "budget", "measured", ""], &rows.collect::<Vec<_>>());
        text
    }

    fn about(&self) -> String {
        match self.contents {
            Some(contents) => format!("A repository with {contents} contents, whose snapshots are listed."),
            None => format!(
                "{} files, {:.2} GiB. Speeds and the columns `x` are by the time until {}.",
                self.source.files,
                self.gib(),
                "synced for snapshots, until exit for the rest"
            ),
        }
    }

    fn cells(&self, row: &Row) -> Vec<String> {
        let mut cells = vec![self.title(row).to_owned(), row.program.name().to_owned()];
        if let Some(failure) = row.failure() {
            cells.extend([format!("failed: {}", failure.replace('|', "/")), String::new()]);
        } else {
            cells.push(spread(row, |run| run.wall_seconds));
            cells.push(spread(row, |run| run.synced_seconds));
        }
        cells.push(self.speed(row));
        cells.push(self.processor(row));
        cells.push(
            row.peak_bytes()
                .map_or_else(String::new, |peak| format!("{:.0}", peak as f64 / MIB)),
        );
        cells.push(match &row.confined {
            None => String::new(),
            Some(run) => match &run.failure {
                None => format!("{:.2} s", run.wall_seconds),
                Some(failure) => failure.replace('|', "/"),
            },
        });
        cells.extend(PEERS.map(|peer| {
            let ratio = self.ratio(row.work, row.program, peer).filter(|_| peer != row.program);
            ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}"))
        }));
        cells
    }

    fn title(&self, row: &Row) -> &'static str {
        if row.program.keeps_a_repository() {
            row.work.title()
        } else if row.work == Work::First {
            "copy, beside snapshots"
        } else {
            "copy, beside restores"
        }
    }

    fn speed(&self, row: &Row) -> String {
        let Some(seconds) = row.seconds() else {
            return String::new();
        };
        match row.work {
            Work::Empty | Work::Open | Work::OpenAgain => String::new(),
            _ if self.kind.counts_files() => format!("{:.0} files/s", self.source.files as f64 / seconds),
            Work::Next => String::new(), // no bytes are moved
            _ => format!("{:.0} MB/s", self.source.bytes as f64 / 1e6 / seconds),
        }
    }

    fn processor(&self, row: &Row) -> String {
        let Some(used) = row.median(|run| run.cpu_seconds) else {
            return String::new();
        };
        match row.work {
            Work::Empty | Work::Open | Work::OpenAgain => format!("{used:.2} s"),
            _ if self.kind.counts_files() => format!("{:.0} µs/file", used * 1e6 / self.source.files as f64),
            Work::Next => format!("{used:.2} s"),
            _ => format!("{:.2} s/GiB", used / self.gib()),
        }
    }
}

/// The median, and the shortest and the longest where there were several rounds.
fn spread(row: &Row, of: impl Fn(&windlass_bench::measure::Run) -> f64) -> String {
    let Some(median) = row.median(&of) else {
        return String::new();
    };
    if row.runs.len() < 2 {
        return format!("{median:.2} s");
    }
    let figures = row.runs.iter().map(of);
    let (least, most) = figures.fold((f64::MAX, f64::MIN), |(least, most), figure| {
        (least.min(figure), most.max(figure))
    });
    format!("{median:.2} s ({least:.2}-{most:.2})")
}

/// A table that can be read as it is, too.
fn aligned(header: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells
            .chain([header[column].chars().count(), 3])
            .max()
            .unwrap_or_default()
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let cells = cells.zip(&widths).map(|(cell, width)| format!(" {cell:width$} |"));
        format!("|{}\n", cells.collect::<String>())
    };
    let mut text = line(&mut header.iter().copied());
    let rules: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
    text += &line(&mut rules.iter().map(String::as_str));
    for row in rows {
        text += &line(&mut row.iter().map(String::as_str));
    }
    text
}

#[cfg(test)]
mod tests {
    use crate::contestant::{Program, Work};
    use crate::data::Kind;
    use crate::results::tests::table;

    #[test]
    fn a_table_says_how_many_times_as_fast() {
        let mut table = table(
            Kind::Large,
            &[
                (Work::First, Program::Windlass, 4.0),
                (Work::First, Program::Kopia, 24.0),
            ],
        );
        let text = table.markdown();
        assert!(text.contains("| first snapshot | windlass | 4.00 s"), "{text}");
        assert!(text.contains("1074 MB/s"), "{text}");
        assert!(text.contains("1.60 s/GiB"), "{text}");
        assert!(text.contains("| 5.00    |"), "{text}");
        let row = table.row_mut(Work::First, Program::Windlass);
        row.runs[0].failure = Some("out of | memory".to_owned());
        assert!(table.markdown().contains("failed: out of / memory"));
    }
}
