//! The policy-set room: all policies of a repository, and which of them hold where.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{EffectivePolicy, Policy, PolicyTarget};
use crate::FormatError;
use crate::identity::Source;

/// All policies of a repository.
#[derive(Clone, Debug, Default)]
pub struct PolicySet {
    policies: BTreeMap<PolicyTarget, Policy>,
}

impl PolicySet {
    /// Adds the policy of a manifest, given as its labels and data. To be called in the order of the manifests'
    /// `modified` times: of several for one target the last one holds. A manifest of another type is passed over.
    ///
    /// # Errors
    /// [`FormatError::Json`] when the data of a policy cannot be read.
    pub fn add(&mut self, labels: &BTreeMap<String, String>, data: &[u8]) -> Result<(), FormatError> {
        if let Some(target) = PolicyTarget::from_labels(labels) {
            self.insert(target, Policy::decode(data)?);
        }
        Ok(())
    }

    /// Adds a policy; gives back the one it replaces.
    pub fn insert(&mut self, target: PolicyTarget, policy: Policy) -> Option<Policy> {
        self.policies.insert(target, policy)
    }

    /// The policy for exactly this target.
    pub fn defined(&self, target: &PolicyTarget) -> Option<&Policy> {
        self.policies.get(target)
    }

    /// All policies with their targets.
    pub fn iter(&self) -> impl Iterator<Item = (&PolicyTarget, &Policy)> {
        self.policies.iter()
    }

    /// What holds for the root directory of a source.
    pub fn effective(&self, source: &Source) -> EffectivePolicy {
        EffectivePolicy::merge(self.applying(source))
    }

    /// What holds for the root directory of a source and for the directories below it.
    pub fn place(&self, source: &Source) -> PolicyPlace {
        let inherited: Vec<&Policy> = self.applying(source).collect();
        let effective = Arc::new(EffectivePolicy::merge(inherited.iter().copied()));

        let mut found: Vec<(Vec<&str>, &Policy)> = Vec::new();
        for (target, policy) in &self.policies {
            if let PolicyTarget::Path(user, host, path) = target
                && *user == source.user_name
                && *host == source.host
                && let Some(relative) = path_below(&source.path, path)
            {
                found.push((names(relative).collect(), policy));
            }
        }
        // Sorted by names, each directory comes right before those below it.
        found.sort_by(|one, other| one.0.cmp(&other.0));
        let mut around: Vec<usize> = Vec::new();
        let mut below = BTreeMap::new();
        for (number, (names, policy)) in found.iter().enumerate() {
            while around.pop_if(|outer| !names.starts_with(&found[*outer].0)).is_some() {}
            around.push(number);
            let nearest_first = around.iter().rev().map(|place| found[*place].1);
            let defined = Defined {
                effective: Arc::new(EffectivePolicy::merge(nearest_first.chain(inherited.iter().copied()))),
                policy: Arc::new((*policy).clone()),
            };
            below.insert(names.join("/"), defined);
        }
        PolicyPlace {
            effective,
            defined: None,
            below: Some(Below {
                path: String::new(),
                policies: Arc::new(below),
            })
            .filter(|below| !below.policies.is_empty()),
        }
    }

    /// The policies that apply to a source, the most specific first.
    fn applying<'a>(&'a self, source: &'a Source) -> impl Iterator<Item = &'a Policy> {
        let Source { host, user_name, path } = source;
        let paths =
            ancestors(path).map(move |path| PolicyTarget::Path(user_name.clone(), host.clone(), path.to_owned()));
        let wider = [
            PolicyTarget::User(user_name.clone(), host.clone()),
            PolicyTarget::Host(host.clone()),
            PolicyTarget::Global,
        ];
        paths.chain(wider).filter_map(|target| self.policies.get(&target))
    }
}

/// A directory during a walk, as far as policies know it: what holds in it, and what may differ further below.
#[derive(Clone, Debug)]
pub struct PolicyPlace {
    effective: Arc<EffectivePolicy>,
    defined: Option<Arc<Policy>>,
    /// `None` where no directory further below has a policy.
    below: Option<Below>,
}

/// Policies by path below the root of a source.
#[derive(Clone, Debug)]
struct Below {
    /// The directory this is the view of.
    path: String,
    policies: Arc<BTreeMap<String, Defined>>,
}

#[derive(Clone, Debug)]
struct Defined {
    effective: Arc<EffectivePolicy>,
    policy: Arc<Policy>,
}

impl PolicyPlace {
    /// What holds in this directory; the same `Arc` wherever nothing differs.
    pub fn effective(&self) -> &Arc<EffectivePolicy> {
        &self.effective
    }

    /// The policy for exactly this directory, if there is one and it lies below the root of the source: what of it
    /// concerns ignore rules holds unmerged, see [`crate::ignore::IgnoreRules::below`].
    pub fn defined(&self) -> Option<&Policy> {
        self.defined.as_deref()
    }

    /// The directory `name` in this one.
    pub fn enter(&self, name: &str) -> Self {
        let inherited = || Self {
            effective: Arc::clone(&self.effective),
            defined: None,
            below: None,
        };
        let Some(Below { path, policies }) = &self.below else {
            return inherited();
        };
        let path = if path.is_empty() {
            name.to_owned()
        } else {
            format!("{path}/{name}")
        };
        let mut place = match policies.get(&path) {
            Some(Defined { effective, policy }) => Self {
                effective: Arc::clone(effective),
                defined: Some(Arc::clone(policy)),
                below: None,
            },
            None => inherited(),
        };
        let inside = format!("{path}/");
        if policies
            .range(inside.clone()..)
            .next()
            .is_some_and(|(other, _)| other.starts_with(&inside))
        {
            place.below = Some(Below {
                path,
                policies: Arc::clone(policies),
            });
        }
        place
    }

    /// The directory at a path relative to this one, names separated by `/`.
    pub fn for_child(&self, relative: &str) -> Self {
        names(relative)
            .filter(|name| *name != ".")
            .fold(self.clone(), |place, name| place.enter(name))
    }
}

/// A path and its parents, the longest first; `/` comes last for absolute paths.
fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(path), |path| match path.rfind('/') {
        Some(0) if path.len() > 1 => Some("/"),
        Some(0) | None => None,
        Some(slash) => Some(&path[..slash]),
    })
}

/// The names in a path, needless slashes left out.
fn names(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|name| !name.is_empty())
}

/// The part of `path` strictly below `root`.
fn path_below<'a>(root: &str, path: &'a str) -> Option<&'a str> {
    let rest = path.strip_prefix(root)?;
    let rest = if root.ends_with('/') {
        rest
    } else {
        rest.strip_prefix('/')?
    };
    (!rest.is_empty()).then_some(rest)
}
