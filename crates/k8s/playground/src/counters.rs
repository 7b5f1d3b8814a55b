//! What those outside asked of a cluster.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// How often something was asked, and how often it changed anything.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Requests that the server took up, refused ones included; dry runs are not counted.
    pub requests: u64,
    /// Those that changed the stored object.
    pub changes: u64,
}

/// What those outside asked of a cluster since it was made, or since the counters were last reset. What its own
/// controllers write is not in it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Reads by verb: `get`, `list`, `watch`, `discover`.
    pub reads: BTreeMap<String, u64>,
    /// Writes by verb: `create`, `apply`, `patch`, `update`, `delete`.
    pub writes: BTreeMap<String, Tally>,
    /// Writes by object, as `group/Kind/namespace/name`, or `group/resource/namespace/name` when they came over HTTP.
    pub objects: BTreeMap<String, Tally>,
    /// Requests that a fault answered.
    pub faults: u64,
}

impl Counters {
    /// All writes together.
    pub fn all_writes(&self) -> Tally {
        self.writes
            .values()
            .fold(Tally::default(), |sum, tally| Tally {
                requests: sum.requests + tally.requests,
                changes: sum.changes + tally.changes,
            })
    }

    pub(crate) fn read(&mut self, verb: &'static str) {
        *self.reads.entry(verb.to_owned()).or_default() += 1;
    }

    pub(crate) fn write(&mut self, verb: &'static str, object: String, changed: bool) {
        for tally in [
            self.writes.entry(verb.to_owned()).or_default(),
            self.objects.entry(object).or_default(),
        ] {
            tally.requests += 1;
            tally.changes += u64::from(changed);
        }
    }
}
