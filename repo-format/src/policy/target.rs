//! The policy-target room: what a policy is for, and the labels its manifest carries.

use std::collections::BTreeMap;

/// What one policy is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PolicyTarget {
    /// Everything in the repository.
    Global,
    /// All sources of a host.
    Host(String),
    /// All sources of a user on a host: user, host.
    User(String, String),
    /// A directory and what lies below it: user, host, path.
    Path(String, String, String),
}

impl PolicyTarget {
    /// The value of the label `type` of every policy manifest.
    pub const MANIFEST_TYPE: &str = "policy";

    /// The labels of the manifest that holds the policy.
    pub fn labels(&self) -> BTreeMap<String, String> {
        let (kind, host, user, path) = match self {
            Self::Global => ("global", None, None, None),
            Self::Host(host) => ("host", Some(host), None, None),
            Self::User(user, host) => ("user", Some(host), Some(user), None),
            Self::Path(user, host, path) => ("path", Some(host), Some(user), Some(path)),
        };
        let mut labels = BTreeMap::from([
            ("type".to_owned(), Self::MANIFEST_TYPE.to_owned()),
            ("policyType".to_owned(), kind.to_owned()),
        ]);
        for (label, value) in [("hostname", host), ("username", user), ("path", path)] {
            if let Some(value) = value {
                labels.insert(label.to_owned(), value.clone());
            }
        }
        labels
    }

    /// What the policy of a manifest with these labels is for; `None` when they are not those of a policy.
    pub fn from_labels(labels: &BTreeMap<String, String>) -> Option<Self> {
        let label = |name: &str| labels.get(name).cloned();
        if label("type")? != Self::MANIFEST_TYPE {
            return None;
        }
        match label("policyType")?.as_str() {
            "global" => Some(Self::Global),
            "host" => Some(Self::Host(label("hostname")?)),
            "user" => Some(Self::User(label("username")?, label("hostname")?)),
            "path" => Some(Self::Path(label("username")?, label("hostname")?, label("path")?)),
            _ => None,
        }
    }
}
