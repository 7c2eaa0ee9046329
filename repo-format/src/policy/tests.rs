//! What the real Kopia stores and shows of policies (`golden/policy`), and the same asked of these.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde::Deserialize;
use serde_json::Value;

use super::*;
use crate::FormatError;
use crate::identity::Source;

#[derive(Deserialize)]
struct Golden {
    created: Value,
    labels: Vec<String>,
    cases: Vec<Case>,
}

/// Policies by level (`global`, `host`, `user` or a path) and what Kopia shows for some paths.
#[derive(Deserialize)]
struct Case {
    policies: BTreeMap<String, Value>,
    shown: BTreeMap<String, Policy>,
}

fn golden() -> Golden {
    serde_json::from_slice(include_bytes!("../../golden/policy/cases.json")).unwrap()
}

fn target(level: &str) -> PolicyTarget {
    match level {
        "global" => PolicyTarget::Global,
        "host" => PolicyTarget::Host("h".into()),
        "user" => PolicyTarget::User("u".into(), "h".into()),
        path => PolicyTarget::Path("u".into(), "h".into(), path.into()),
    }
}

fn source(path: &str) -> Source {
    Source {
        host: "h".into(),
        user_name: "u".into(),
        path: path.into(),
    }
}

fn set_of(case: &Case) -> PolicySet {
    let manifests: Vec<_> = case
        .policies
        .iter()
        .map(|(level, policy)| (target(level).labels(), policy.to_string()))
        .collect();
    let mut set = PolicySet::default();
    for (labels, data) in &manifests {
        set.add(labels, data.as_bytes()).unwrap();
    }
    set
}

#[test]
fn kopia_merges_the_same_way() {
    for (number, case) in golden().cases.iter().enumerate() {
        let set = set_of(case);
        for (path, shown) in &case.shown {
            // What is shown has been merged already, with all built-in values that apply.
            let shown = Policy {
                no_parent: true,
                ..shown.clone()
            };
            let expected = EffectivePolicy::merge([&shown]);
            assert_eq!(
                set.effective(&source(path)),
                expected,
                "case {number}, {path}: {:?}",
                case.policies
            );
        }
    }
}

#[test]
fn a_walk_finds_what_a_source_of_its_own_would_get() {
    for case in &golden().cases {
        let set = set_of(case);
        let root = set.place(&source("/"));
        for path in ["a", "a/b", "a/b/c", "a/c", "b", "a/bc/d"] {
            let expected = set.effective(&source(&format!("/{path}")));
            assert_eq!(
                **root.for_child(path).effective(),
                expected,
                "{path}: {:?}",
                case.policies
            );
        }
        assert_eq!(root.for_child("a/b").defined(), set.defined(&target("/a/b")));
    }
}

#[test]
fn directories_without_policies_share_one_answer() {
    let mut set = PolicySet::default();
    set.insert(target("/s/a/b"), Policy::default());
    let root = set.place(&source("/s"));
    assert!(std::sync::Arc::ptr_eq(
        root.effective(),
        root.for_child("x/y").effective()
    ));
    assert!(std::sync::Arc::ptr_eq(root.effective(), root.enter("a").effective()));
    assert!(!std::sync::Arc::ptr_eq(
        root.effective(),
        root.for_child("a/b").effective()
    ));
    assert!(root.for_child("a/b").defined().is_some() && root.for_child("a/b/c").defined().is_none());
}

#[test]
fn a_policy_far_down_a_path_does_no_harm() {
    let mut set = PolicySet::default();
    set.insert(target(&"/a".repeat(100_000)), Policy::default());
    set.insert(target("/a-b"), Policy::default());
    set.insert(
        target("/a/a"),
        Policy {
            no_parent: true,
            ..Policy::default()
        },
    );
    let root = set.place(&source("/"));
    assert!(root.for_child("a/a").defined().is_some() && root.for_child("a").defined().is_none());
    assert_eq!(root.for_child("a/a/a").effective().files.dot_ignore_files, [""; 0]);
}

#[test]
fn the_policy_of_a_new_repository_is_that_of_kopia() {
    let created = golden().created;
    assert_eq!(serde_json::to_value(default_global_policy()).unwrap(), created);
    assert_eq!(
        Policy::decode(created.to_string().as_bytes()).unwrap(),
        default_global_policy()
    );
    assert_eq!(
        EffectivePolicy::merge([]),
        EffectivePolicy::merge([&default_global_policy()])
    );
}

#[test]
fn what_kopia_stored_is_written_back_as_it_was() {
    for case in golden().cases {
        for stored in case.policies.into_values() {
            let policy = Policy::decode(stored.to_string().as_bytes()).unwrap();
            assert_eq!(serde_json::from_slice::<Value>(&policy.encode()).unwrap(), stored);
        }
    }
}

#[test]
fn sections_are_written_in_the_order_of_kopia() {
    let expected = r#"{"retention":{},"files":{},"errorHandling":{},"scheduling":{},"compression":{},"metadataCompression":{},"splitter":{},"actions":{},"osSnapshots":{"volumeShadowCopy":{}},"logging":{"directories":{},"entries":{}},"upload":{}}"#;
    assert_eq!(String::from_utf8(Policy::default().encode()).unwrap(), expected);
}

#[test]
fn null_leaves_the_default_and_unknown_keys_stay() {
    let text =
        r#"{"files":null,"retention":{"keepLatest":null,"new":[1]},"noParent":null,"newer":{"x":null},"files2":1}"#;
    let policy = Policy::decode(text.as_bytes()).unwrap();
    assert_eq!(policy.files, FilesPolicy::default());
    assert_eq!(policy.retention.keep_latest, None);
    let again: Value = serde_json::from_slice(&policy.encode()).unwrap();
    assert_eq!(
        (&again["newer"], &again["retention"]["new"][0]),
        (&serde_json::json!({"x": null}), &1.into())
    );
}

#[test]
fn a_policy_of_another_shape_is_refused() {
    for text in [
        "",
        "[]",
        "null1",
        r#"{"files":1}"#,
        r#"{"retention":{"keepLatest":"1"}}"#,
        r#"{"files":{"ignore":["a"}"#,
    ] {
        assert!(
            matches!(Policy::decode(text.as_bytes()), Err(FormatError::Json { .. })),
            "{text}"
        );
    }
}

#[test]
fn labels_are_those_of_kopia() {
    for line in golden().labels {
        let labels: BTreeMap<String, String> = line
            .split(' ')
            .filter_map(|label| label.split_once(':'))
            .map(|(name, value)| (name.into(), value.into()))
            .collect();
        let target = PolicyTarget::from_labels(&labels).unwrap();
        assert_eq!(target.labels(), labels);
    }
    assert_eq!(
        PolicyTarget::from_labels(&BTreeMap::from([("type".into(), "snapshot".into())])),
        None
    );
}

#[test]
fn compression_goes_by_size_and_extension() {
    let mut compression = EffectiveCompression {
        compressor: Some("zstd".into()),
        only_compress: vec![],
        never_compress: vec![".gz".into()],
        min_size: 10,
        max_size: 20,
    };
    assert_eq!(compression.compressor_for("a.txt", 10), Some("zstd"));
    assert_eq!(compression.compressor_for("a.txt", 9), None);
    assert_eq!(compression.compressor_for("a.txt", 21), None);
    assert_eq!(compression.compressor_for("a.gz", 15), None);
    compression.only_compress = vec![".gz".into()];
    assert_eq!(compression.compressor_for("a.gz", 15), Some("zstd"));
    assert_eq!(compression.compressor_for("a.txt", 15), None);
    compression.compressor = None;
    assert_eq!(compression.compressor_for("a.gz", 15), None);
}

proptest! {
    #[test]
    fn any_bytes_can_be_tried(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Policy::decode(&bytes);
    }

    #[test]
    fn targets_survive_a_round_trip(user in ".{0,9}", host in ".{0,9}", path in ".{0,9}") {
        for target in [PolicyTarget::Global, PolicyTarget::Host(host.clone()), PolicyTarget::User(user.clone(), host.clone()), PolicyTarget::Path(user, host, path)] {
            prop_assert_eq!(PolicyTarget::from_labels(&target.labels()), Some(target));
        }
    }
}
