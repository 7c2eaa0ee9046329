//! The proving room of the epochs: against the index blobs that the real Kopia loads for the same listings.

use proptest::prelude::*;
use serde::Deserialize;

use super::*;

/// A listing, and what Kopia makes of it. For some listings with ranges beyond the write epoch it crashes.
#[derive(Deserialize)]
struct Case {
    name: String,
    blobs: Vec<String>,
    #[serde(default)]
    write_epoch: u64,
    #[serde(default)]
    active: Vec<String>,
    #[serde(default)]
    panics: bool,
}

fn cases() -> Vec<Case> {
    serde_json::from_str(include_str!("../../golden/index/active-sets.json")).unwrap()
}

fn state<'a>(names: impl IntoIterator<Item = &'a str>) -> EpochState {
    EpochState::from_blobs(names.into_iter().map(|name| (name.into(), 10, Timestamp::UNIX_EPOCH)))
}

fn active(state: &EpochState) -> Vec<String> {
    let mut active: Vec<String> = state.active_index_blobs().iter().map(BlobId::to_string).collect();
    active.sort();
    active
}

#[test]
fn the_active_set_is_the_one_that_kopia_loads() {
    let cases = cases();
    let mut compared = 0;
    for case in &cases {
        let state = state(case.blobs.iter().map(String::as_str));
        let active = active(&state);
        if case.panics {
            assert!(
                state.first_epoch_after_ranges() > state.write_epoch() + 2,
                "{}",
                case.name
            );
            continue;
        }
        assert_eq!(state.write_epoch(), case.write_epoch, "{}: {:?}", case.name, case.blobs);
        assert_eq!(active, case.active, "{}: {:?}", case.name, case.blobs);
        compared += 1;
    }
    assert!(compared > 150, "the table has to be worth its name");
}

#[test]
fn the_order_of_a_listing_does_not_matter() {
    for case in cases() {
        let backwards = state(case.blobs.iter().rev().map(String::as_str));
        assert_eq!(
            active(&backwards),
            active(&state(case.blobs.iter().map(String::as_str))),
            "{}",
            case.name
        );
    }
}

#[test]
fn names_say_what_a_blob_is() {
    use IndexBlobName::*;
    let table = [
        ("xn0_ab-s1-c1", Some(Uncompacted { epoch: 0 })),
        ("xn12_ab--c1", Some(Uncompacted { epoch: 12 })),
        ("xn012_ab-s1-c1", None),
        ("xn+1_ab", None),
        ("xn_ab", None),
        ("xn5", None),
        ("xs3_ab-s1-c2", Some(Compacted { epoch: 3 })),
        ("xs_ab", None),
        ("xr0_7_ab-s1-c1", Some(Range { first: 0, last: 7 })),
        ("xr7_0_ab-s1-c1", None),
        ("xr0_-1_ab", None),
        ("xr0_7", None),
        ("xe4", Some(Marker { epoch: 4 })),
        ("xe9223372036854775808", None),
        ("xe", None),
        ("xw1795438962", Some(Watermark { seconds: 1_795_438_962 })),
        ("xw-5", Some(Watermark { seconds: -5 })),
        ("xwoops", None),
        ("x", None),
        ("xé", None),
        ("xz1_ab", None),
        ("", None),
        ("n0123-s1", Some(Legacy)),
        ("p0123-s1", None),
    ];
    for (name, expected) in table {
        assert_eq!(IndexBlobName::parse(name), expected, "{name}");
    }
}

#[test]
fn names_that_we_make_say_what_was_meant() {
    let suffix = index_blob_suffix("s0123456789abcdef147", 2);
    assert_eq!(suffix, "s0123456789abcdef147-c2");
    let parse = |prefix: String| IndexBlobName::parse(&format!("{prefix}ab-{suffix}")).unwrap();
    assert_eq!(
        parse(uncompacted_blob_prefix(7)),
        IndexBlobName::Uncompacted { epoch: 7 }
    );
    assert_eq!(parse(single_blob_prefix(7)), IndexBlobName::Compacted { epoch: 7 });
    assert_eq!(
        parse(range_blob_prefix(0, 7)),
        IndexBlobName::Range { first: 0, last: 7 }
    );
    assert_eq!(epoch_marker(7).as_str(), "xe7");
    assert_eq!(watermark_blob(1_795_438_962).as_str(), "xw1795438962");
}

#[test]
fn the_largest_watermark_counts() {
    assert_eq!(state(["xn0_ab-s1-c1"]).deletion_watermark(), None);
    assert_eq!(
        state(["xw9", "xw100", "xw20", "xwoops"]).deletion_watermark(),
        Some(100)
    );
}

/// Uncompacted blobs of epoch 0: length, and the second at which they were written.
fn epoch_of(blobs: &[(u64, i64)]) -> EpochState {
    let blob = |(number, &(len, second)): (usize, &(u64, i64))| {
        let id = format!("xn0_{number:032x}-s1-c1").into();
        (id, len, Timestamp::from_second(second).unwrap())
    };
    EpochState::from_blobs(blobs.iter().enumerate().map(blob))
}

#[test]
fn an_epoch_ends_when_it_is_old_enough_and_full_enough() {
    let day = SignedDuration::from_hours(24);
    let table = [
        ("no blob", vec![], false),
        ("one blob has no span", vec![(1000, 86_400)], false),
        ("old and many", vec![(1, 0), (1, 5), (1, 86_400)], true),
        ("old and large", vec![(500, 0), (500, 86_400)], true),
        ("old, neither many nor large", vec![(1, 0), (1, 86_400)], false),
        (
            "many and large, too young",
            vec![(500, 0), (500, 5), (500, 86_399)],
            false,
        ),
    ];
    for (name, blobs, expected) in table {
        assert_eq!(epoch_of(&blobs).should_advance(day, 3, 1000), expected, "{name}");
    }
}

#[test]
fn only_settled_epochs_are_compacted_oldest_first() {
    let next = |names: &[&str]| state(names.iter().copied()).next_to_compact();
    assert_eq!(next(&["xn0_ab-s1-c1"]), None);
    assert_eq!(next(&["xe1"]), None);
    assert_eq!(next(&["xe2"]), Some(0));
    assert_eq!(next(&["xe3", "xs0_ab-s1-c1"]), Some(1));
    assert_eq!(next(&["xe3", "xs0_ab-s1-c2"]), Some(0), "half a set is none");
    assert_eq!(next(&["xe4", "xr0_1_ab-s1-c1"]), Some(2));
    assert_eq!(next(&["xe3", "xr0_1_ab-s1-c1"]), None);
    assert_eq!(next(&["xe9223372036854775807"]), Some(0));
}

#[test]
fn a_range_is_due_when_it_covers_enough_epochs() {
    let next = |names: &[&str], frequency| state(names.iter().copied()).next_range(frequency);
    assert_eq!(next(&["xe1"], 1), None);
    assert_eq!(next(&["xe2"], 1), None);
    assert_eq!(next(&["xe3"], 1), Some((0, 1)));
    assert_eq!(next(&["xe8"], 7), None);
    assert_eq!(next(&["xe9"], 7), Some((0, 7)));
    assert_eq!(next(&["xe9", "xr0_5_ab-s1-c1"], 2), None);
    assert_eq!(next(&["xe10", "xr0_5_ab-s1-c1"], 2), Some((6, 8)));
}

#[test]
fn a_range_set_takes_what_counts_for_its_epochs() {
    let state = state([
        "xe9",
        "xr0_3_aa-s1-c1",
        "xs4_bb-s1-c1",
        "xn4_cc-s1-c1",
        "xn5_dd-s1-c1",
        "xn8_ee-s1-c1",
    ]);
    let between: Vec<&str> = state.index_blobs_between(4, 7).map(|blob| blob.id.as_str()).collect();
    assert_eq!(between, ["xs4_bb-s1-c1", "xn5_dd-s1-c1"]);
}

#[test]
fn what_others_have_superseded_is_cleaned_up_a_while_later() {
    let listed = |blobs: &[(&str, i64)]| {
        let blobs = blobs.iter().map(|(name, second)| {
            let modified = Timestamp::from_second(*second).unwrap();
            (BlobId::from(*name), 10, modified)
        });
        EpochState::from_blobs(blobs)
    };
    let state = listed(&[
        ("xe1", 1),
        ("xe2", 2),
        ("xe3", 3),
        ("xe4", 4),
        ("xw5", 10),
        ("xw6", 11),
        ("xw7", 12),
        ("xn0_aa-s1-c1", 1),
        ("xn1_aa-s1-c1", 2),
        ("xn2_aa-s1-c1", 3),
        ("xn3_aa-s1-c1", 20),
        ("xn4_aa-s1-c1", 30),
        ("xs0_bb-s1-c2", 10),
        ("xs0_cc-s1-c2", 11),
        ("xs1_bb-s1-c2", 10),
        ("xs2_bb-s1-c1", 11),
        ("xs3_bb-s1-c1", 1),
    ]);
    let before = |second| Timestamp::from_second(second).unwrap();
    let names = |blobs: Vec<&ListedBlob>| blobs.iter().map(|blob| blob.id.to_string()).collect::<Vec<_>>();
    assert_eq!(state.storage_time(), Some(before(30)));
    assert_eq!(names(state.stale_markers().collect()), ["xe1", "xe2"]);
    assert_eq!(names(state.stale_watermarks(before(11)).collect()), ["xw5"]);
    assert_eq!(names(state.stale_watermarks(before(100)).collect()), ["xw5", "xw6"]);
    assert!(
        state.superseded(before(11)).next().is_none(),
        "one blob of each set is too young"
    );
    let superseded = names(state.superseded(before(12)).collect());
    assert_eq!(
        superseded,
        ["xn0_aa-s1-c1", "xn2_aa-s1-c1"],
        "half a set replaces nothing, nor one of an open epoch"
    );
    assert_eq!(listed(&[("xn0_aa-s1-c1", 1), ("xe5", 1)]).storage_time(), None);
}

proptest! {
    #[test]
    fn any_listing_is_sorted_out_without_panic(names in prop::collection::vec("x[nsrew][0-9]{1,20}(_[0-9]{1,20})?_[ab]{0,2}(-s?[ab])?(-c?[0-9]{1,20})?", 0..40)) {
        let state = state(names.iter().map(String::as_str));
        let active = state.active_index_blobs();
        prop_assert!(active.len() <= names.len());
        let _ = (state.next_to_compact(), state.next_range(0), state.should_advance(SignedDuration::ZERO, 0, 0));
    }

    #[test]
    fn a_chain_of_ranges_has_no_gap(ranges in prop::collection::vec((0u64..8, 0u64..5), 0..20)) {
        let names: Vec<String> = ranges.iter().map(|(first, width)| format!("{}ab-s1-c1", range_blob_prefix(*first, first + width))).collect();
        let state = state(names.iter().map(String::as_str));
        let mut next = 0;
        for range in state.ranges() {
            prop_assert_eq!(range.first, next);
            next = range.last + 1;
        }
        // Any way from epoch 0 on, followed blindly, ends no later.
        let mut reach = std::collections::BTreeSet::from([0]);
        for _ in 0..ranges.len() {
            for (first, width) in &ranges {
                if reach.contains(first) {
                    reach.insert(first + width + 1);
                }
            }
        }
        prop_assert_eq!(next, reach.last().copied().unwrap());
    }
}
