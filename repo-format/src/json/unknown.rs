//! The attic room: members of a JSON object that this build does not know, kept for the programs that do.

use std::fmt;

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::value::RawValue;
use zeroize::Zeroizing;

/// Members of a JSON object that this build does not know. They are written again as they were found, in their order
/// and behind the known ones, so that changing something else does not take them from the program that needs them.
///
/// They may be secrets: their values are never printed, and wiped when dropped.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct UnknownMembers(Vec<(String, Zeroizing<String>)>);

impl UnknownMembers {
    /// The names of the members, in the order in which they were found.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Keeps one more member, with its value as JSON.
    pub(crate) fn keep(&mut self, name: String, value: Box<RawValue>) {
        self.0.push((name, Zeroizing::new(Box::<str>::from(value).into())));
    }
}

impl fmt::Debug for UnknownMembers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}

/// As a map, to be flattened into the object that the members were found in.
impl Serialize for UnknownMembers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            let value: &RawValue = serde_json::from_str(value).expect("the text was taken from a JSON value");
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}
