//! The rounds: crash points are visited, and the same seed visits the same ones.

use windlass_faults::explore::{Plan, Report, explore, seed};
use windlass_faults::scenarios;
use windlass_tests::scale;

fn sound(report: &Report) {
    println!("{report}");
    assert_eq!(report.broken, 0, "{report}");
}

#[test]
fn drawn_crash_points_of_all_scenarios_keep_the_rules() {
    let wanted = scale(1_000, 10_000);
    let report = explore(&Plan::new(seed(1), wanted));
    sound(&report);
    assert!(report.points >= wanted);
    assert_eq!(
        report.by_scenario.len(),
        scenarios::all().len(),
        "every scenario was visited"
    );
    assert!(report.snapshots > report.points, "{report}");
    assert!(report.pairs() > 250, "{report}");
}

#[test]
fn every_crash_point_of_short_histories_keeps_the_rules() {
    let names: &[&str] = if scale(0, 1) == 0 {
        &["first-snapshot"]
    } else {
        &["first-snapshot", "index-recovery", "late-index"]
    };
    for name in names {
        let plan = Plan {
            exhaustive: true,
            ..Plan::new(seed(1), 0).only(scenarios::named(name).expect("there is such a scenario"))
        };
        let report = explore(&plan);
        sound(&report);
        assert!(report.points > 200, "{report}");
    }
}

#[test]
fn a_seed_plays_the_same_again() {
    let visit = |seed| {
        let report = explore(&Plan::new(seed, 440));
        let Report {
            points,
            snapshots,
            waited,
            broken,
            states,
            ..
        } = report;
        (points, snapshots, waited, broken, states)
    };
    assert_eq!(visit(7), visit(7));
    assert_ne!(visit(7).1, visit(8).1);
}
