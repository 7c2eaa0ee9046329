//! The expedition: scenarios are played, broken off at every moment or at drawn ones, and what is left is examined.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::check::{Broken, Crash, Rule};
use crate::crashes::{Choice, Moment, moments};
use crate::dice::{Dice, part};
use crate::history::History;
use crate::mutants::Mutant;
use crate::scenarios::{self, Scenario};
use crate::trees::causes;
use crate::world::World;

/// So many histories are played before it is asked again whether these are enough.
const ROUNDS_AT_ONCE_MAX: u64 = 256;
/// Broken rules that are told; the rest is counted.
const BROKEN_MAX: usize = 10;

/// The environment variable with the seed of a run.
pub const SEED: &str = "WINDLASS_SEED";

/// The seed that was asked for in the environment, else this one.
///
/// # Panics
/// When what was asked for is no number.
pub fn seed(default: u64) -> u64 {
    let asked = std::env::var(SEED).ok();
    asked.map_or(default, |text| {
        let number = text
            .strip_prefix("0x")
            .map_or_else(|| text.parse(), |hex| u64::from_str_radix(hex, 16));
        number.unwrap_or_else(|_| panic!("{SEED}={text} is no number"))
    })
}

/// What an expedition is to do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The seed of everything.
    pub seed: u64,
    /// The scenarios, played in turn.
    pub scenarios: Vec<&'static dyn Scenario>,
    /// At least so many crash points, unless all there are were visited.
    pub points: u64,
    /// Every crash point of one history of each scenario, however many there are.
    pub exhaustive: bool,
    /// A rule of the writers that is broken on purpose.
    pub mutant: Option<Mutant>,
    /// At the first broken rule it ends.
    pub stop_at_first: bool,
    /// The first history that is played, by number: to play one again.
    pub first_round: u64,
}

impl Plan {
    /// All scenarios, drawn crash points.
    pub fn new(seed: u64, points: u64) -> Self {
        Self {
            seed,
            scenarios: scenarios::all(),
            points,
            exhaustive: false,
            mutant: None,
            stop_at_first: false,
            first_round: 0,
        }
    }

    /// Only this one.
    pub fn only(self, scenario: &'static dyn Scenario) -> Self {
        Self {
            scenarios: vec![scenario],
            ..self
        }
    }
}

/// What an expedition has seen.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// Histories that were played.
    pub histories: u64,
    /// Crash points that were examined.
    pub points: u64,
    /// How many of each scenario.
    pub by_scenario: BTreeMap<&'static str, u64>,
    /// Different pairs of the operation at hand (which, how far) and the stage of a scenario.
    pub states: BTreeSet<(String, &'static str, &'static str)>,
    /// Snapshots that were read.
    pub snapshots: u64,
    /// Crash points at which something could not be had until lists had caught up.
    pub waited: u64,
    /// How many rules were broken.
    pub broken: u64,
    /// The first of them, with all that is needed to see it again.
    pub first_broken: Vec<(Rule, String)>,
    /// How long it took.
    pub took: Duration,
}

impl Report {
    /// Different (operation, stage) pairs.
    pub fn pairs(&self) -> usize {
        self.states.len()
    }

    fn add(&mut self, other: Self) {
        self.histories += other.histories;
        self.points += other.points;
        for (name, points) in other.by_scenario {
            *self.by_scenario.entry(name).or_default() += points;
        }
        self.states.extend(other.states);
        self.snapshots += other.snapshots;
        self.waited += other.waited;
        self.broken += other.broken;
        let room = BROKEN_MAX.saturating_sub(self.first_broken.len());
        self.first_broken.extend(other.first_broken.into_iter().take(room));
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} crash points of {} histories, {} different (operation, stage) states, {} snapshots read, in {:.1} s; seed {SEED}={}",
            self.points,
            self.histories,
            self.pairs(),
            self.snapshots,
            self.took.as_secs_f64(),
            self.seed
        )?;
        writeln!(
            f,
            "{} of them had to wait for lists that lagged out of order; {} broke a rule",
            self.waited, self.broken
        )?;
        for (name, points) in &self.by_scenario {
            let states = self.states.iter().filter(|(_, scenario, _)| scenario == name).count();
            writeln!(f, "  {name}: {points} crash points, {states} states")?;
        }
        for (_, broken) in &self.first_broken {
            writeln!(f, "{broken}")?;
        }
        Ok(())
    }
}

/// Plays, breaks off, examines. Uses every core; the result follows from the plan alone.
pub fn explore(plan: &Plan) -> Report {
    let begun = Instant::now();
    let mut report = Report {
        seed: plan.seed,
        ..Report::default()
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut round = plan.first_round;
    loop {
        let missing = plan.points.saturating_sub(report.points);
        let at_once = if plan.exhaustive {
            plan.scenarios.len() as u64
        } else {
            let each = plan.scenarios.iter().map(|scenario| scenario.points_per_history());
            let usual = each.max().unwrap_or(1).max(1);
            let most = if plan.stop_at_first {
                plan.scenarios.len() as u64
            } else {
                ROUNDS_AT_ONCE_MAX
            };
            missing.div_ceil(usual).min(most)
        };
        for part in play_rounds(plan, round, at_once, cores) {
            report.add(part);
        }
        round += at_once;
        let ends = plan.exhaustive || report.points >= plan.points || (plan.stop_at_first && report.broken > 0);
        if ends {
            report.took = begun.elapsed();
            return report;
        }
    }
}

fn play_rounds(plan: &Plan, first: u64, count: u64, cores: usize) -> Vec<Report> {
    let next = AtomicUsize::new(0);
    let done: Mutex<BTreeMap<usize, Report>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let turn = next.fetch_add(1, Ordering::Relaxed);
                    if turn as u64 >= count {
                        return;
                    }
                    let report = play(plan, first + turn as u64);
                    done.lock().unwrap_or_else(PoisonError::into_inner).insert(turn, report);
                }
            });
        }
    });
    let done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.into_values().collect()
}

/// One history, and its crash points.
fn play(plan: &Plan, round: u64) -> Report {
    let scenario = plan.scenarios[(round % plan.scenarios.len() as u64) as usize];
    let seed = part(plan.seed, round);
    let world = World::new(seed, plan.mutant);
    let mut report = Report {
        histories: 1,
        ..Report::default()
    };
    let again = format!(
        "scenario {}, history {round}: {SEED}={} crash-points --scenario {} --history {round}",
        scenario.name(),
        plan.seed,
        scenario.name()
    );
    if let Err(error) = scenario.play(&world) {
        report.broken += 1;
        report.first_broken.push((
            Rule::GoesOn,
            format!("{again}\n    the writer failed: {}", causes(&error)),
        ));
        return report;
    }
    let history = world.logbook.history();
    let moments = moments(&history);
    let dice = Dice::new(part(seed, 1));
    let mut examine = |moment: &Moment, choice: &Choice| {
        let crash = Crash {
            world: &world,
            history: &history,
            moment,
            choice,
            seed: dice.number(),
        };
        let checked = crash.check();
        note(&mut report, scenario.name(), &crash, checked, &again, &history);
    };
    if plan.exhaustive {
        for moment in &moments {
            for choice in moment.choices() {
                examine(moment, &choice);
            }
        }
    } else if !moments.is_empty() {
        // Each stretch of a history is visited as often as any other.
        let points = scenario.points_per_history() as usize;
        for point in 0..points {
            let stretch = moments.len().div_ceil(points);
            let place = (point * moments.len() / points + dice.place(stretch)) % moments.len();
            let moment = &moments[place];
            examine(moment, &moment.draw(&dice));
        }
    }
    report
}

fn note(
    report: &mut Report,
    scenario: &'static str,
    crash: &Crash<'_>,
    checked: Result<crate::check::Seen, Broken>,
    again: &str,
    history: &History,
) {
    report.points += 1;
    *report.by_scenario.entry(scenario).or_default() += 1;
    let stage = crash.expected().stage;
    report.states.insert((crash.moment.operation.clone(), scenario, stage));
    match checked {
        Ok(seen) => {
            report.snapshots += seen.snapshots;
            report.waited += u64::from(seen.waited);
        }
        Err(broken) => {
            report.broken += 1;
            if report.first_broken.len() < BROKEN_MAX {
                let text = format!(
                    "{again}\n    {broken}\n    after event {} ({}, {stage}), {:?}\n    {}",
                    crash.moment.place,
                    crash.moment.operation,
                    crash.choice,
                    history.around(crash.moment.place)
                );
                report.first_broken.push((broken.rule, text));
            }
        }
    }
}
