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
    /// Reads the policies among manifests, given as labels and data in the order of their `modified` times: of several
    /// for one target the last one holds. Manifests of other types are passed over.
    ///
    /// # Errors
    /// [`FormatError::Json`] when the data of a policy cannot be read.
    pub fn from_manifests<'a>(
        manifests: impl IntoIterator<Item = (&'a BTreeMap<String, String>, &'a [u8])>,
    ) -> Result<Self, FormatError> {
        let mut set = Self::default();
        for (labels, data) in manifests {
            if let Some(target) = PolicyTarget::from_labels(labels) {
                set.insert(target, Policy::decode(data)?);
            }
        }
        Ok(set)
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
        let mut below = Node::default();
        for (target, policy) in &self.policies {
            let PolicyTarget::Path(user, host, path) = target else {
                continue;
            };
            if *user == source.user_name
                && *host == source.host
                && let Some(relative) = path_below(&source.path, path)
            {
                below.insert(relative, policy);
            }
        }
        let inherited: Vec<&Policy> = self.applying(source).collect();
        below.seal(&inherited)
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
    below: Option<Arc<BTreeMap<String, PolicyPlace>>>,
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
        if let Some(child) = self.below.as_ref().and_then(|below| below.get(name)) {
            return child.clone();
        }
        Self {
            effective: Arc::clone(&self.effective),
            defined: None,
            below: None,
        }
    }

    /// The directory at a path relative to this one, names separated by `/`.
    pub fn for_child(&self, relative: &str) -> Self {
        let names = relative.split('/').filter(|name| !name.is_empty() && *name != ".");
        names.fold(self.clone(), |place, name| place.enter(name))
    }
}

/// Policies by path below a source, before they are merged.
#[derive(Default)]
struct Node<'a> {
    policy: Option<&'a Policy>,
    below: BTreeMap<&'a str, Node<'a>>,
}

impl<'a> Node<'a> {
    fn insert(&mut self, relative: &'a str, policy: &'a Policy) {
        let mut node = self;
        for name in relative.split('/').filter(|name| !name.is_empty()) {
            node = node.below.entry(name).or_default();
        }
        node.policy = Some(policy);
    }

    /// Merges the policies of the children into what they inherit, the most specific first.
    fn seal(self, inherited: &[&'a Policy]) -> PolicyPlace {
        self.seal_with(inherited, &Arc::new(EffectivePolicy::merge(inherited.iter().copied())))
    }

    fn seal_with(self, inherited: &[&'a Policy], effective: &Arc<EffectivePolicy>) -> PolicyPlace {
        let below = self.below.into_iter().map(|(name, child)| {
            let place = match child.policy {
                Some(policy) => {
                    let applying: Vec<&Policy> = std::iter::once(policy).chain(inherited.iter().copied()).collect();
                    child.seal(&applying)
                }
                None => child.seal_with(inherited, effective),
            };
            (name.to_owned(), place)
        });
        let below: BTreeMap<String, PolicyPlace> = below.collect();
        PolicyPlace {
            effective: Arc::clone(effective),
            defined: self.policy.cloned().map(Arc::new),
            below: Some(below).filter(|below| !below.is_empty()).map(Arc::new),
        }
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
