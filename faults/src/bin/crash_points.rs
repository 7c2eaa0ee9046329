//! The long march: as many crash points as one asks for.

use std::process::ExitCode;

use clap::Parser;
use windlass_faults::explore::{Plan, explore, seed};
use windlass_faults::scenarios;

/// Breaks runs off at so many moments, and examines what is left.
#[derive(Debug, Parser)]
struct Arguments {
    /// How many crash points.
    #[arg(default_value_t = 1_000_000)]
    points: u64,
    /// Only this scenario.
    #[arg(long)]
    scenario: Option<String>,
    /// Begin with the history of this number, as a report names it.
    #[arg(long)]
    history: Option<u64>,
    /// Every crash point of one history of each scenario, instead of drawn ones.
    #[arg(long)]
    exhaustive: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let points = if arguments.history.is_some() {
        1
    } else {
        arguments.points
    };
    let mut plan = Plan {
        exhaustive: arguments.exhaustive,
        first_round: arguments.history.unwrap_or(0),
        ..Plan::new(seed(1), points)
    };
    if let Some(name) = &arguments.scenario {
        let Some(scenario) = scenarios::named(name) else {
            let names: Vec<&str> = scenarios::all().iter().map(|scenario| scenario.name()).collect();
            eprintln!("there is no scenario {name}: it is one of {}", names.join(", "));
            return ExitCode::from(2);
        };
        plan = plan.only(scenario);
    }
    let report = explore(&plan);
    print!("{report}");
    if report.broken == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
