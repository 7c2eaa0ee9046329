//! The race: all programs do the same work in turn, round by round, each under the same conditions.
//!
//! In each round, every piece of work is done by one program after the other (A B A B over the rounds), so that a machine that drifts
//! drifts for all. Before each run all writes are synced and all caches dropped. Behind the timed rounds comes one in which every
//! program is confined to little memory: it goes backwards, so that each restore finds the snapshot of the timed rounds.
//!
//! Where there are many files, nothing is removed before the end: ext4 without a journal passes every inode that was removed
//! in the last minutes each time it looks for a free one, and a restore that follows takes ten times as long.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::contestant::{Contestant, Program, Work};
use crate::data::{Kind, Source};
use crate::results::Table;
use windlass_bench::many_contents::mint;
use windlass_bench::measure::{Allowance, Run, Stopwatch};
use windlass_bench::traffic::Traffic;
use windlass_bench::{Result, disk};

/// What is the same in all races.
#[derive(Debug)]
pub(crate) struct Race<'a> {
    pub watch: &'a Stopwatch,
    /// The program that is judged.
    pub windlass: &'a Path,
    pub programs: &'a [Program],
    pub rounds: u32,
    /// Memory of the round behind the timed ones, in bytes; without it there is none.
    pub cap_bytes: Option<u64>,
    /// Whether caches are dropped before each run.
    pub cold: bool,
    /// Contents of the repository that is opened.
    pub contents: u64,
}

#[derive(Clone, Copy, Debug)]
enum Round {
    Timed(u32),
    Confined(u64),
}

impl Race<'_> {
    /// Runs all rounds with one kind of data. Homes and repositories are gone afterwards.
    pub(crate) fn run(&self, kind: Kind, source: Source) -> Result<Table> {
        let corner = self.watch.folder.join("corner");
        disk::make(&corner)?;
        let mut contestants = self.contestants(kind, &corner);
        let mut table = Table {
            kind,
            source,
            contents: None,
            rows: Vec::new(),
            verdicts: Vec::new(),
        };
        if kind == Kind::Open {
            table.contents = Some(self.contents);
            contestants = self.meet_at_large_repository(contestants, &corner, &table.source)?;
        }
        let works = Work::with(kind);
        for round in 1..=self.rounds {
            for work in works {
                self.in_turn(*work, Round::Timed(round), &mut contestants, &mut table)?;
            }
        }
        if let Some(cap) = self.cap_bytes {
            for work in works.iter().rev() {
                self.in_turn(*work, Round::Confined(cap), &mut contestants, &mut table)?;
            }
        }
        for row in &mut table.rows {
            row.median_seconds = row.seconds();
        }
        table.rows.sort_by_key(|row| (row.work, row.program));
        disk::remove(&corner)?;
        Ok(table)
    }

    fn contestants(&self, kind: Kind, corner: &Path) -> Vec<Contestant> {
        let takes_part = |program: &&Program| Work::with(kind).iter().any(|work| program.does(kind, *work));
        let programs = self.programs.iter().filter(takes_part);
        programs
            .map(|program| Contestant::new(*program, self.windlass, corner))
            .collect()
    }

    /// Everybody opens the same repository, in which there is one snapshot.
    fn meet_at_large_repository(
        &self,
        contestants: Vec<Contestant>,
        corner: &Path,
        source: &Source,
    ) -> Result<Vec<Contestant>> {
        let repository = corner.join("large-repository");
        eprintln!("open: making a repository with {} contents", self.contents);
        mint(&repository, Contestant::password(), self.contents)?;
        let maker = Contestant::new(Program::Windlass, self.windlass, corner).with_repository(&repository);
        maker.connect(self.watch)?;
        let snapshot = maker.work(Kind::Open, Work::First, &source.folder, corner);
        let snapshot = snapshot.expect("only a restore needs a snapshot");
        self.watch.prepare(&snapshot)?;
        let mut met = Vec::new();
        for contestant in contestants {
            let contestant = contestant.with_repository(&repository);
            contestant.connect(self.watch)?;
            met.push(contestant);
        }
        Ok(met)
    }

    /// One piece of work by one program after the other.
    fn in_turn(&self, work: Work, round: Round, contestants: &mut [Contestant], table: &mut Table) -> Result<()> {
        let kind = table.kind;
        for contestant in contestants.iter_mut().filter(|one| one.program.does(kind, work)) {
            let median = table.seconds(work, contestant.program);
            let Some(run) = self.once(work, round, contestant, &table.source, kind, median)? else {
                continue;
            };
            say(kind, work, round, self.rounds, contestant.program, &run);
            let row = table.row_mut(work, contestant.program);
            match round {
                Round::Timed(_) => row.runs.push(run),
                Round::Confined(_) => row.confined = Some(run),
            }
        }
        Ok(())
    }

    /// One run; none where there is nothing to restore, because the snapshot failed.
    fn once(
        &self,
        work: Work,
        round: Round,
        contestant: &mut Contestant,
        source: &Source,
        kind: Kind,
        median: Option<f64>,
    ) -> Result<Option<Run>> {
        let target = self.target();
        self.away_with(&target, kind)?;
        if work.wants_empty() {
            contestant.prepare(self.watch)?;
        }
        if work == Work::Open {
            contestant.forget_cache()?;
        }
        let Some(call) = contestant.work(kind, work, &source.folder, &target) else {
            return Ok(None);
        };
        disk::sync(&self.watch.folder)?;
        if self.cold {
            disk::drop_caches()?;
        }
        let allowance = match round {
            Round::Timed(_) => Allowance::default(),
            Round::Confined(cap) => Allowance {
                memory_bytes: Some(cap),
                time: Some(Duration::from_secs_f64(60.0 + 10.0 * median.unwrap_or(60.0))),
            },
        };
        let mut run = self.watch.measure(&call, allowance)?;
        if run.failure.is_none() {
            self.check(work, round, contestant, source, &target, &mut run)?;
        }
        self.away_with(&target, kind)?;
        if work == Work::First && !contestant.program.does(kind, Work::Restore) {
            contestant.clear()?; // nobody needs its repository any longer, and the disk has an end
        }
        Ok(Some(run))
    }

    /// A program that was quick because it did something else has failed. What was restored is compared in the first round.
    fn check(
        &self,
        work: Work,
        round: Round,
        contestant: &mut Contestant,
        source: &Source,
        target: &Path,
        run: &mut Run,
    ) -> Result<()> {
        let copies = !contestant.program.keeps_a_repository();
        if matches!(work, Work::First | Work::Next) {
            contestant.made(&run.output)?;
            run.traffic = Traffic::told(&run.output);
        }
        if (copies || work == Work::Restore) && matches!(round, Round::Timed(1)) {
            run.failure = disk::assert_same(&source.folder, target).err();
        }
        run.output = Vec::new();
        Ok(())
    }

    /// Removes what was restored, at once or in the end.
    fn away_with(&self, target: &Path, kind: Kind) -> Result<()> {
        if !kind.counts_files() {
            return disk::remove(target);
        }
        let aside = self.watch.folder.join("aside");
        disk::make(&aside)?;
        disk::set_aside(target, &aside)
    }

    /// Where restores and copies go.
    fn target(&self) -> PathBuf {
        self.watch.folder.join("target")
    }
}

fn say(kind: Kind, work: Work, round: Round, rounds: u32, program: Program, run: &Run) {
    let round = match round {
        Round::Timed(round) => format!("round {round} of {rounds}"),
        Round::Confined(_) => "confined".to_owned(),
    };
    let result = run.failure.as_ref().map_or_else(
        || {
            format!(
                "{:.2} s, synced {:.2} s, {:.2} CPU s, {:.0} MiB",
                run.wall_seconds,
                run.synced_seconds,
                run.cpu_seconds,
                run.peak_bytes as f64 / f64::from(1 << 20)
            )
        },
        |failure| format!("failed: {failure}"),
    );
    eprintln!(
        "{}, {round}, {}, {}: {result}",
        kind.name(),
        work.title(),
        program.name()
    );
}
