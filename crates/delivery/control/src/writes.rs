//! The writes of one look at an App.

use std::collections::BTreeMap;

use base_store::{Expect, Op};
use bytes::Bytes;
use roadstead_model::{AppKey, Time};
use roadstead_rollout::Event;
use serde::Serialize;

use crate::index::Index;
use crate::records::{History, keys};

/// Collects writes under the keys of one App.
pub(crate) struct Writes<'a> {
    pub(crate) app: &'a AppKey,
    pub(crate) now: Time,
    /// By key: the last write of a key counts.
    ops: BTreeMap<String, Op>,
    seen: base_store::Revision,
    events: usize,
}

impl<'a> Writes<'a> {
    pub(crate) fn new(index: &Index, app: &'a AppKey, now: Time) -> Self {
        Self {
            app,
            now,
            ops: BTreeMap::new(),
            seen: index.revision(),
            events: 0,
        }
    }

    pub(crate) fn put<T: Serialize>(&mut self, key: String, value: &T, expect: Expect) {
        // a record serialises: it has text keys and finite numbers
        let value = Bytes::from(serde_json::to_vec(value).unwrap_or_default());
        self.ops.insert(key.clone(), Op::Put { key, value, expect });
    }

    pub(crate) fn delete(&mut self, key: String) {
        let expect = Expect::Any;
        self.ops.insert(key.clone(), Op::Delete { key, expect });
    }

    /// Is this key written already?
    pub(crate) fn has(&self, key: &str) -> bool {
        self.ops.contains_key(key)
    }

    /// Everything, to be committed together.
    pub(crate) fn into_ops(self) -> Vec<Op> {
        self.ops.into_values().collect()
    }

    pub(crate) fn event(&mut self, rollout: u64, event: Event) {
        let key = keys::history(self.app, self.now, self.seen, self.events);
        self.events += 1;
        self.put(key, &History { rollout, event }, Expect::Any);
    }
}
