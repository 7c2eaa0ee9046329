//! The trial of the checker: writers that break a rule on purpose are found out, each for what it did.

use windlass_faults::check::Rule;
use windlass_faults::explore::{Plan, explore, seed};
use windlass_faults::mutants::Mutant;
use windlass_faults::scenarios;

/// So many crash points are tried at most before a mutant must have been found.
const POINTS: u64 = 2_000;

fn caught(mutant: Mutant, by: &[Rule]) {
    let plan = Plan {
        mutant: Some(mutant),
        stop_at_first: true,
        ..Plan::new(seed(1), POINTS)
    };
    let report = explore(&plan);
    println!("{mutant:?}:\n{report}");
    assert!(
        report.broken > 0,
        "{mutant:?} was not found at {} crash points",
        report.points
    );
    let (rule, text) = &report.first_broken[0];
    assert!(by.contains(rule), "{mutant:?} was found for another reason:\n{text}");
}

#[test]
fn an_index_before_its_packs_is_found_out() {
    caught(Mutant::IndexBeforePacks, &[Rule::Whole]);
}

#[test]
fn an_index_before_the_manifest_is_found_out() {
    caught(Mutant::IndexBeforeManifest, &[Rule::Opens, Rule::Listed, Rule::Whole]);
}

#[test]
fn a_marker_that_goes_too_early_is_found_out() {
    caught(Mutant::MarkerGoneEarly, &[Rule::Spared]);
}

#[test]
fn an_epoch_that_is_not_asked_for_again_is_found_out() {
    caught(Mutant::EpochNotAskedAgain, &[Rule::Kept]);
}

#[test]
fn an_index_that_nobody_waits_for_is_found_out() {
    caught(Mutant::IndexNotAwaited, &[Rule::Kept, Rule::Spared]);
}

#[test]
fn every_mutant_has_its_trial() {
    let here = include_str!("mutants.rs");
    for mutant in Mutant::ALL {
        assert!(here.contains(&format!("Mutant::{mutant:?},")), "{mutant:?}");
    }
}

#[test]
fn without_a_mutant_nothing_is_found() {
    let report =
        explore(&Plan::new(seed(1), 200).only(scenarios::named("late-index").expect("there is such a scenario")));
    assert_eq!(report.broken, 0, "{report}");
}
