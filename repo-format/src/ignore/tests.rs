//! What the real Kopia kept of the trees in `golden/ignore`, and the same asked of these rules.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use base64::Engine;
use proptest::prelude::*;
use serde::Deserialize;

use super::*;
use crate::identity::Source;
use crate::policy::{Policy, PolicyPlace, PolicySet, PolicyTarget, default_global_policy};

#[derive(Deserialize)]
struct Golden {
    trees: BTreeMap<String, Vec<String>>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    kept: BTreeSet<String>,
    kept_as_root: Option<BTreeSet<String>>,
    #[serde(default)]
    asked_as_root: bool,
    #[serde(default)]
    bad_directories: Vec<String>,
    tree: Option<Tree>,
    #[serde(default)]
    files: BTreeMap<String, Text>,
    #[serde(default)]
    policies: BTreeMap<String, Policy>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Tree {
    Named(String),
    Own(Vec<String>),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Text {
    Plain(String),
    Runs { runs: Vec<(String, usize)> },
    Bytes { base64: String },
}

impl Text {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Plain(text) => text.clone().into_bytes(),
            Self::Runs { runs } => runs
                .iter()
                .flat_map(|(text, count)| text.repeat(*count).into_bytes())
                .collect(),
            Self::Bytes { base64 } => base64::engine::general_purpose::STANDARD.decode(base64).unwrap(),
        }
    }
}

/// A directory of a case; a file has bytes, a link the length of its target.
enum Entry {
    Directory,
    File(Vec<u8>),
    Link(usize),
}

fn entries(golden: &Golden, case: &Case) -> BTreeMap<String, Entry> {
    let tree = match &case.tree {
        None => &golden.trees["usual"],
        Some(Tree::Named(name)) => &golden.trees[name],
        Some(Tree::Own(tree)) => tree,
    };
    let mut entries = BTreeMap::new();
    for path in tree {
        if let Some((path, target)) = path.split_once('@') {
            entries.insert(path.to_owned(), Entry::Link(target.len()));
        } else if let Some(path) = path.strip_suffix('/') {
            entries.insert(path.to_owned(), Entry::Directory);
        } else {
            let size = path
                .rsplit('/')
                .next()
                .and_then(|name| name.strip_prefix('s')?.parse().ok());
            entries.insert(path.clone(), Entry::File(vec![b's'; size.unwrap_or(0)]));
        }
    }
    for (path, text) in &case.files {
        for (slash, _) in path.match_indices('/') {
            entries.insert(path[..slash].to_owned(), Entry::Directory);
        }
        entries.insert(path.clone(), Entry::File(text.bytes()));
    }
    entries
}

/// Walks a case the way a snapshot does.
struct Walk<'a> {
    entries: &'a BTreeMap<String, Entry>,
    kept: BTreeSet<String>,
    bad: Vec<String>,
}

impl Walk<'_> {
    fn file(&self, directory: &str, name: &str) -> Option<&[u8]> {
        let path = if directory.is_empty() {
            name.to_owned()
        } else {
            format!("{directory}/{name}")
        };
        match self.entries.get(&path)? {
            Entry::File(bytes) => Some(bytes),
            _ => None,
        }
    }

    fn enter(&mut self, directory: &str, rules: IgnoreRules, place: &PolicyPlace) -> Result<(), FormatError> {
        if rules.ignore_cache_dirs() && self.file(directory, CACHE_DIR_TAG).is_some_and(is_cache_dir_tag) {
            return Ok(());
        }
        let mut rules = rules;
        for name in rules.dot_files().to_vec() {
            if let Some(bytes) = self.file(directory, &name) {
                rules.add_dot_file(bytes)?;
            }
        }
        let rules = Arc::new(rules);
        for (path, entry) in self.entries {
            let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
            if parent != directory {
                continue;
            }
            let size = match entry {
                Entry::Directory => None,
                Entry::File(bytes) => Some(bytes.len()),
                Entry::Link(length) => Some(*length),
            };
            let too_large = rules
                .max_file_size()
                .zip(size)
                .is_some_and(|(most, size)| size as u64 > most);
            if too_large || rules.is_ignored(path.as_bytes(), size.is_none()) {
                continue;
            }
            if size.is_some() {
                self.kept.insert(path.clone());
                continue;
            }
            let place = place.enter(name);
            let below = IgnoreRules::below(&rules, path.as_bytes(), place.defined().map(|policy| &policy.files));
            match below.and_then(|below| self.enter(path, below, &place)) {
                Ok(()) => _ = self.kept.insert(format!("{path}/")),
                Err(_) => self.bad.push(path.clone()),
            }
        }
        Ok(())
    }
}

/// Walks the case `at` a path below the root of its source, or as the root itself if that is empty.
fn walk(golden: &Golden, case: &Case, at: &str) -> (BTreeSet<String>, Vec<String>) {
    let prefixed = |path: &str| {
        [at, path]
            .iter()
            .filter(|part| !part.is_empty())
            .copied()
            .collect::<Vec<_>>()
            .join("/")
    };
    let mut entries: BTreeMap<String, Entry> = entries(golden, case)
        .into_iter()
        .map(|(path, entry)| (prefixed(&path), entry))
        .collect();
    if !at.is_empty() {
        entries.insert(at.to_owned(), Entry::Directory);
    }
    let mut policies = PolicySet::default();
    policies.insert(PolicyTarget::Global, default_global_policy());
    for (path, policy) in &case.policies {
        let path = format!("/source/{}", prefixed(path));
        policies.insert(
            PolicyTarget::Path("u".into(), "h".into(), path.trim_end_matches('/').into()),
            policy.clone(),
        );
    }
    let place = policies.place(&Source {
        host: "h".into(),
        user_name: "u".into(),
        path: "/source".into(),
    });
    let mut walk = Walk {
        entries: &entries,
        kept: BTreeSet::new(),
        bad: Vec::new(),
    };
    if IgnoreRules::root(&place.effective().files)
        .and_then(|rules| walk.enter("", rules, &place))
        .is_err()
    {
        walk.bad.push(at.to_owned());
    }
    let below = |path: &String| match path.strip_prefix(at) {
        Some(rest) => rest.trim_start_matches('/').to_owned(),
        None => path.clone(),
    };
    let kept = walk.kept.iter().map(below).filter(|path| !path.is_empty()).collect();
    (kept, walk.bad.iter().map(below).collect())
}

#[test]
fn kopia_keeps_the_same_files() {
    let golden: Golden = serde_json::from_slice(include_bytes!("../../golden/ignore/cases.json")).unwrap();
    let mut wrong = 0;
    for case in &golden.cases {
        let as_root = case.kept_as_root.as_ref().unwrap_or(&case.kept);
        let ways = [("case", &case.kept), ("", as_root)];
        let ways = &ways[..1 + usize::from(case.asked_as_root)];
        for (at, expected) in ways.iter().copied() {
            let (kept, bad) = walk(&golden, case, at);
            if kept != *expected || bad != case.bad_directories {
                wrong += 1;
                let differing: Vec<_> = kept.symmetric_difference(expected).take(20).collect();
                let rules: Vec<String> = case
                    .files
                    .iter()
                    .map(|(path, text)| {
                        format!(
                            "{path}={:?}",
                            String::from_utf8_lossy(&text.bytes())
                                .chars()
                                .take(100)
                                .collect::<String>()
                        )
                    })
                    .collect();
                eprintln!(
                    "{:?} at {at:?}, rules {rules:?}, policies {:?}: differs in {differing:?}, bad {bad:?}",
                    case.name,
                    case.policies.keys()
                );
            }
        }
    }
    assert_eq!(wrong, 0, "of {} cases", golden.cases.len());
}

#[test]
fn a_rule_of_many_stars_takes_no_time_to_speak_of() {
    let mut rules = IgnoreRules::default();
    rules.add_dot_file("*a".repeat(2_000).as_bytes()).unwrap();
    rules.add_dot_file(("**/".repeat(1_000) + "x").as_bytes()).unwrap();
    assert!(!rules.is_ignored("a/".repeat(1_000).as_bytes(), true));
}

proptest! {
    #[test]
    fn any_bytes_can_be_rules_and_paths(file in proptest::collection::vec(any::<u8>(), 0..60), path in proptest::collection::vec(any::<u8>(), 0..20)) {
        let mut rules = IgnoreRules::default();
        let _ = rules.add_dot_file(&file);
        rules.is_ignored(&path, true);
    }

    #[test]
    fn a_name_without_wildcards_matches_itself_only(name in "[a-z]{1,5}", other in "[a-z]{1,5}") {
        let mut rules = IgnoreRules::default();
        rules.add_dot_file(name.as_bytes()).unwrap();
        let below = format!("d0/{name}");
        prop_assert!(rules.is_ignored(name.as_bytes(), false) && rules.is_ignored(below.as_bytes(), false));
        prop_assert_eq!(rules.is_ignored(other.as_bytes(), false), name == other);
    }
}
