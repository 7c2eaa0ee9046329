//! The judge: what was promised of each piece of work, and whether it was kept in this run on this machine.

use clap::ValueEnum;
use serde::Serialize;

use crate::contestant::{Program, Work};
use crate::data::Kind;
use crate::machine::Machine;
use crate::results::{Row, Table};
use windlass_bench::traffic::Traffic;

const MIB: f64 = 1_048_576.0;

/// One promise and what became of it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Verdict {
    /// What of.
    pub what: String,
    /// What was promised.
    pub budget: String,
    /// What was measured.
    pub measured: String,
    /// Nothing where it cannot be judged: a peer did not run.
    pub met: Option<bool>,
}

/// What has to be known beyond the table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms<'a> {
    pub machine: &'a Machine,
    /// Memory within which everything has to be done, in bytes, if programs could be confined to it.
    pub cap_bytes: Option<u64>,
}

/// Judges a table by all promises that are about its kind of data.
pub(crate) fn judge(table: &Table, terms: Terms<'_>) -> Vec<Verdict> {
    let mut verdicts = match table.kind {
        Kind::Large => large(table, terms),
        Kind::Single => single(table, terms),
        Kind::Small => small(table),
        Kind::Open => vec![at_least(table, Work::Open, 5.0)],
        Kind::Mixed | Kind::Sparse | Kind::Huge => Vec::new(),
    };
    verdicts.extend(memory(table, terms));
    verdicts
}

fn large(table: &Table, terms: Terms<'_>) -> Vec<Verdict> {
    let mut verdicts = vec![first_of_large(table), processor(table, "", 1.3)];
    if terms.machine.uses_avx512 {
        verdicts.push(processor(table, ", with AVX-512", 0.8));
    }
    verdicts.push(restore_of_large(table));
    verdicts.push(engines(table));
    verdicts.push(engine_at_work(table));
    verdicts
}

/// At least 5 x Kopia, or 0.85 x the copy, whichever is slower.
fn first_of_large(table: &Table) -> Verdict {
    let time = |program| table.seconds(Work::First, program);
    let limit = time(Program::Kopia)
        .zip(time(Program::Dd))
        .map(|(kopia, copy)| (kopia / 5.0).max(copy / 0.85));
    in_time(table, Work::First, "5 x kopia or 0.85 x dd, whichever is slower", limit)
}

/// At least 5 x Kopia and 2 x restic, or 0.85 x the copy.
fn restore_of_large(table: &Table) -> Verdict {
    let time = |program| table.seconds(Work::Restore, program);
    let peers = time(Program::Kopia)
        .zip(time(Program::Restic))
        .map(|(kopia, restic)| (kopia / 5.0).min(restic / 2.0));
    let limit = peers.zip(time(Program::Dd)).map(|(peers, copy)| peers.max(copy / 0.85));
    in_time(table, Work::Restore, "5 x kopia and 2 x restic, or 0.85 x dd", limit)
}

fn in_time(table: &Table, work: Work, budget: &str, limit: Option<f64>) -> Verdict {
    let time = table.seconds(work, Program::Windlass);
    let limit_text = limit.map_or_else(String::new, |limit| format!(" (here {limit:.2} s)"));
    Verdict {
        what: work.title().to_owned(),
        budget: format!("at least {budget}{limit_text}"),
        measured: format!("{}{}", seconds(time), ratios(table, work)),
        met: time.zip(limit).map(|(time, limit)| time <= limit),
    }
}

fn ratios(table: &Table, work: Work) -> String {
    let peers = [Program::Kopia, Program::Restic, Program::Dd];
    let ratios = peers.into_iter().filter_map(|peer| {
        let ratio = table.ratio(work, Program::Windlass, peer)?;
        Some(format!(", {ratio:.2} x {}", peer.name()))
    });
    ratios.collect()
}

fn seconds(time: Option<f64>) -> String {
    time.map_or_else(|| "not measured".to_owned(), |time| format!("{time:.2} s"))
}

/// Processor time of the first snapshot.
fn processor(table: &Table, where_used: &str, limit: f64) -> Verdict {
    let row = table.row(Work::First, Program::Windlass);
    let used = row.and_then(|row| row.median(|run| run.cpu_seconds));
    let used = used.map(|used| used / table.gib());
    Verdict {
        what: format!("first snapshot, processor{where_used}"),
        budget: format!("at most {limit} CPU-s/GiB"),
        measured: used.map_or_else(|| seconds(None), |used| format!("{used:.2} CPU-s/GiB")),
        met: used.map(|used| used <= limit),
    }
}

/// The engine of threads is to be within a quarter of the other one.
fn engines(table: &Table) -> Verdict {
    let ratio = table.ratio(Work::First, Program::WindlassThreads, Program::Windlass);
    Verdict {
        what: "first snapshot, engine of threads".to_owned(),
        budget: "at least 0.75 x the engine that is chosen".to_owned(),
        measured: ratio.map_or_else(|| seconds(None), |ratio| format!("{ratio:.2} x")),
        met: ratio.map(|ratio| ratio >= 0.75),
    }
}

/// The engine that is chosen is to read ahead, past the page cache, into registered buffers; packs are to be written past
/// it, too. The worst of the rounds counts. A disk that is faster than the processor has answered most requests before the
/// next is made, so the greatest number in flight is judged and the mean only shown.
fn engine_at_work(table: &Table) -> Verdict {
    const IN_FLIGHT_MIN: u64 = 4;
    const SHARE_MIN: f64 = 0.9;
    let runs = table.row(Work::First, Program::Windlass).map(|row| &row.runs[..]);
    let told: Option<Vec<Traffic>> = runs.unwrap_or_default().iter().map(|run| run.traffic).collect();
    let told = told.filter(|told| !told.is_empty());
    let least = |of: fn(&Traffic) -> f64| {
        let figures = told.iter().flatten().map(of);
        figures.fold(f64::INFINITY, f64::min)
    };
    let in_flight = told.iter().flatten().map(|traffic| traffic.in_flight_max).min();
    let shares = [
        least(|traffic| traffic.direct_share),
        least(|traffic| traffic.registered_share),
        least(|traffic| traffic.direct_write_share),
    ];
    let [direct, registered, written] = shares.map(|share| share * 100.0);
    Verdict {
        what: "first snapshot, engine at work".to_owned(),
        budget: format!(
            "at least {IN_FLIGHT_MIN} reads in flight; of the bytes at least {:.0} % read past the page cache, into \
             registered buffers, and written past it",
            SHARE_MIN * 100.0
        ),
        measured: in_flight.map_or_else(
            || "not told".to_owned(),
            |most| {
                let mean = least(|traffic| traffic.in_flight_mean);
                format!(
                    "{most} in flight ({mean:.1} on average); {direct:.1} % past it, {registered:.1} % registered, \
                     {written:.1} % written past it"
                )
            },
        ),
        met: in_flight.map(|most| most >= IN_FLIGHT_MIN && shares.iter().all(|share| *share >= SHARE_MIN)),
    }
}

/// One file keeps all cores busy in both directions, or the disk: then the copy is the measure.
fn single(table: &Table, terms: Terms<'_>) -> Vec<Verdict> {
    let cores = terms.machine.cores as f64;
    let busy_or_copying = |work: Work| {
        let row = table.row(work, Program::Windlass);
        let busy = row.and_then(|row| row.median(|run| run.cpu_seconds / run.wall_seconds));
        let copied = table.ratio(work, Program::Windlass, Program::Dd);
        let met = match (busy, copied) {
            (Some(busy), _) if busy >= 0.85 * cores => Some(true),
            (Some(_), Some(copied)) => Some(copied >= 0.85),
            _ => None,
        };
        Verdict {
            what: format!("{} of one file", work.title()),
            budget: format!("at least 0.85 of {cores} cores busy, or 0.85 x dd"),
            measured: busy.map_or_else(
                || seconds(None),
                |busy| format!("{busy:.2} cores{}", ratios(table, work)),
            ),
            met,
        }
    };
    [Work::First, Work::Restore].map(busy_or_copying).into()
}

fn small(table: &Table) -> Vec<Verdict> {
    vec![
        at_least(table, Work::First, 5.0),
        at_least(table, Work::Next, 2.0),
        net_of_key_derivation(table),
        at_least(table, Work::Restore, 3.0),
    ]
}

/// So many times as fast as Kopia.
fn at_least(table: &Table, work: Work, factor: f64) -> Verdict {
    let time = table.seconds(work, Program::Windlass);
    let ratio = table.ratio(work, Program::Windlass, Program::Kopia);
    Verdict {
        what: work.title().to_owned(),
        budget: format!("at least {factor} x kopia"),
        measured: format!("{}{}", seconds(time), ratios(table, work)),
        met: ratio.map(|ratio| ratio >= factor),
    }
}

/// When nothing changed, most of a short run is the derivation of the key. What is taken off on both sides is the shorter time in
/// which one of them opens an empty repository: more would flatter the faster one.
fn net_of_key_derivation(table: &Table) -> Verdict {
    let times = |work| {
        table
            .seconds(work, Program::Windlass)
            .zip(table.seconds(work, Program::Kopia))
    };
    let net = times(Work::Next)
        .zip(times(Work::Empty))
        .map(|((ours, kopias), (our_empty, kopias_empty))| {
            let empty = our_empty.min(kopias_empty);
            (ours - empty, kopias - empty)
        });
    Verdict {
        what: "nothing changed, net of the key derivation".to_owned(),
        budget: "at most a third of kopia's time".to_owned(),
        measured: net.map_or_else(
            || seconds(None),
            |(ours, kopias)| format!("{ours:.2} s to {kopias:.2} s"),
        ),
        met: net.map(|(ours, kopias)| ours <= kopias / 3.0),
    }
}

/// All work is done in little memory, by each way in which Windlass is set up.
fn memory(table: &Table, terms: Terms<'_>) -> Vec<Verdict> {
    let Some(cap) = terms.cap_bytes else {
        return Vec::new();
    };
    let rows_of = |program| {
        table
            .rows
            .iter()
            .filter(move |row| row.program == program)
            .collect::<Vec<_>>()
    };
    let ours = Program::value_variants()
        .iter()
        .copied()
        .filter(|program| program.is_windlass());
    ours.map(|program| (program, rows_of(program)))
        .filter(|(_, rows)| !rows.is_empty())
        .map(|(program, rows)| within(program, &rows, cap))
        .collect()
}

fn within(program: Program, rows: &[&Row], cap: u64) -> Verdict {
    let peak = rows.iter().filter_map(|row| Some((row.peak_bytes()?, row.work))).max();
    let mut measured = peak.map_or_else(
        || "not measured".to_owned(),
        |(peak, work)| format!("peak {:.0} MiB ({})", peak as f64 / MIB, work.title()),
    );
    let mut met = peak.map(|(peak, _)| peak < cap);
    for row in rows {
        let failure = match &row.confined {
            Some(run) => run.failure.as_deref(),
            None => Some("not tried"),
        };
        if let Some(failure) = failure {
            measured += &format!("; {} confined: {failure}", row.work.title());
            met = Some(false);
        }
    }
    Verdict {
        what: format!("memory of {}", program.name()),
        budget: format!("all done within {:.0} MiB, peak below it", cap as f64 / MIB),
        measured,
        met,
    }
}

#[cfg(test)]
mod tests {
    use super::{Terms, judge};
    use crate::contestant::{Program, Work};
    use crate::data::Kind;
    use crate::machine::Machine;
    use crate::results::Table;
    use crate::results::tests::table;
    use windlass_bench::traffic::Traffic;

    fn met(kind: Kind, rows: &[(Work, Program, f64)]) -> Vec<(String, Option<bool>)> {
        let machine = Machine {
            cores: 2,
            ..Machine::default()
        };
        let terms = Terms {
            machine: &machine,
            cap_bytes: None,
        };
        let verdicts = judge(&table(kind, rows), terms);
        verdicts
            .into_iter()
            .map(|verdict| (verdict.what, verdict.met))
            .collect()
    }

    /// The table adds a second to snapshots, for the sync.
    fn large(ours: f64, kopia: f64, dd: f64) -> Option<bool> {
        let first = |program, seconds: f64| (Work::First, program, seconds - 1.0);
        let rows = [(Program::Windlass, ours), (Program::Kopia, kopia), (Program::Dd, dd)];
        met(Kind::Large, &rows.map(|(program, seconds)| first(program, seconds)))[0].1
    }

    #[test]
    fn a_first_snapshot_is_held_to_the_slower_of_two_peers() {
        assert_eq!(large(5.0, 25.0, 2.0), Some(true), "five times Kopia");
        assert_eq!(large(5.1, 25.0, 2.0), Some(false));
        assert_eq!(large(8.0, 25.0, 6.9), Some(true), "0.85 of the copy");
        assert_eq!(large(8.3, 25.0, 6.9), Some(false));
    }

    #[test]
    fn a_restore_is_held_to_both_peers_or_to_the_copy() {
        let restore = |ours: f64, kopia: f64, restic: f64, dd: f64| {
            let rows = [
                (Program::Windlass, ours),
                (Program::Kopia, kopia),
                (Program::Restic, restic),
                (Program::Dd, dd),
            ];
            met(
                Kind::Large,
                &rows.map(|(program, seconds)| (Work::Restore, program, seconds)),
            )[2]
            .1
        };
        assert_eq!(restore(5.0, 25.0, 20.0, 1.0), Some(true));
        assert_eq!(restore(5.0, 25.0, 9.0, 1.0), Some(false), "restic is too near");
        assert_eq!(restore(5.0, 25.0, 9.0, 4.3), Some(true), "but so is the disk's end");
    }

    #[test]
    fn the_shorter_derivation_is_taken_off_both() {
        let net = |ours: f64| {
            let rows = [
                (Work::Empty, Program::Windlass, 0.2),
                (Work::Empty, Program::Kopia, 0.5),
                (Work::Next, Program::Windlass, ours - 1.0),
                (Work::Next, Program::Kopia, 0.7),
            ];
            met(Kind::Small, &rows)[2].1
        };
        assert_eq!(net(0.7), Some(true)); // 0.5 of 1.5
        assert_eq!(net(0.71), Some(false));
    }

    #[test]
    fn an_engine_is_judged_by_its_worst_round() {
        let well = Traffic {
            in_flight_max: 8,
            in_flight_mean: 2.0,
            direct_share: 0.99,
            registered_share: 1.0,
            direct_write_share: 0.98,
        };
        let machine = Machine::default();
        let judged = |told: &[Option<Traffic>]| {
            let mut table = table(Kind::Large, &[]);
            for traffic in told {
                let run = windlass_bench::measure::Run {
                    traffic: *traffic,
                    ..crate::results::tests::run(1.0)
                };
                table.row_mut(Work::First, Program::Windlass).runs.push(run);
            }
            let terms = Terms {
                machine: &machine,
                cap_bytes: None,
            };
            let verdicts = judge(&table, terms);
            verdicts.last().and_then(|verdict| verdict.met)
        };
        assert_eq!(judged(&[Some(well), Some(well)]), Some(true));
        for badly in [
            Traffic {
                in_flight_max: 3,
                ..well
            },
            Traffic {
                direct_share: 0.5,
                ..well
            },
            Traffic {
                registered_share: 0.0,
                ..well
            },
            Traffic {
                direct_write_share: 0.89,
                ..well
            },
        ] {
            assert_eq!(judged(&[Some(well), Some(badly)]), Some(false), "{badly:?}");
        }
        assert_eq!(judged(&[Some(well), None]), None, "one round says nothing");
        assert_eq!(judged(&[]), None);
    }

    #[test]
    fn what_cannot_be_done_in_little_memory_is_missed() {
        let machine = Machine::default();
        let verdict = |table: &Table, cap_bytes| {
            let terms = Terms {
                machine: &machine,
                cap_bytes: Some(cap_bytes),
            };
            judge(table, terms).pop().expect("memory is judged last")
        };
        let mut table = table(
            Kind::Mixed,
            &[
                (Work::First, Program::Windlass, 1.0),
                (Work::First, Program::Kopia, 1.0),
            ],
        );
        assert_eq!(verdict(&table, 256 << 20).met, Some(true));
        assert_eq!(verdict(&table, 100 << 20).met, Some(false), "its peak is not below");
        let row = table.row_mut(Work::First, Program::Windlass);
        row.confined.as_mut().unwrap().failure = Some("out of memory".to_owned());
        let verdict = verdict(&table, 256 << 20);
        assert_eq!(verdict.met, Some(false));
        assert!(verdict.measured.contains("out of memory"), "{}", verdict.measured);
    }

    #[test]
    fn without_a_peer_nothing_is_judged() {
        let judged = met(Kind::Small, &[(Work::First, Program::Windlass, 1.0)]);
        assert!(judged.iter().all(|(_, met)| met.is_none()), "{judged:?}");
    }
}
