//! What a controller works with: the API server, the time, and the cluster's own state.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::api::{Api, Refusal, time_text};
use crate::config::{Config, Span};
use crate::dice::Dice;
use crate::index::Index;
use crate::key::{EVENT, Key, Kind};
use crate::life::Life;
use crate::queue::{Queue, Work, after};

/// The name under which workload controllers write.
pub(crate) const MANAGER: &str = "kube-controller-manager";
/// The name under which pods' nodes write.
pub(crate) const KUBELET: &str = "kubelet";
/// The name under which pods are bound to nodes.
pub(crate) const SCHEDULER: &str = "kube-scheduler";

/// What a simulated cluster knows beside its objects. All of it follows from the objects, the seed and the time.
pub(crate) struct State {
    pub(crate) dice: Dice,
    pub(crate) index: Index,
    pub(crate) queue: Queue,
    /// Pods that are on their way somewhere; settled ones are not here.
    pub(crate) lives: BTreeMap<Key, Life>,
    /// Namespaces that are being removed.
    pub(crate) terminating: BTreeSet<String>,
    /// Events by when they expire.
    pub(crate) events: VecDeque<(Timestamp, Key)>,
    /// How many pod addresses were given out.
    pub(crate) pod_addresses: u32,
    /// How many load balancers got an address.
    pub(crate) balancers: u32,
}

impl State {
    pub(crate) fn new(dice: Dice) -> Self {
        Self {
            dice,
            index: Index::default(),
            queue: Queue::default(),
            lives: BTreeMap::new(),
            terminating: BTreeSet::new(),
            events: VecDeque::new(),
            pod_addresses: 0,
            balancers: 0,
        }
    }
}

/// A controller's view of its cluster, for as long as it does one thing.
pub(crate) struct Cx<'a> {
    pub(crate) api: &'a dyn Api,
    pub(crate) now: Timestamp,
    pub(crate) config: &'a Config,
    pub(crate) state: &'a mut State,
}

impl Cx<'_> {
    pub(crate) fn now_text(&self) -> String {
        time_text(self.now)
    }

    pub(crate) fn get(&self, key: &Key) -> Option<Value> {
        self.api.get(key.kind(), key.namespace(), key.name())
    }

    /// Reads what an object owns, of one kind; those that have gone since are left out.
    pub(crate) fn children(&self, owner: &Value, kind: Kind<'_>) -> Vec<Value> {
        let uid = k8s_object::uid(owner);
        self.state
            .index
            .children(uid)
            .iter()
            .filter(|key| key.is(kind))
            .filter_map(|key| self.get(key))
            .filter(|child| controller_uid(child) == Some(uid))
            .collect()
    }

    /// Takes over objects that nobody controls and that the owner selects, as it does once, when it is new.
    pub(crate) fn adopt(&mut self, owner: &Value, kind: Kind<'_>) -> Result<(), Refusal> {
        let seen = owner.pointer("/status/observedGeneration").is_some();
        let selector = owner.pointer("/spec/selector").cloned();
        let selector = selector.and_then(|selector| {
            // a ReplicationController selects by labels and nothing else
            let selector = if k8s_object::kind(owner) == "ReplicationController" {
                json!({ "matchLabels": selector })
            } else {
                selector
            };
            serde_json::from_value::<k8s_object::LabelSelector>(selector).ok()
        });
        let Some(selector) = selector.filter(|selector| !seen && !selector.is_empty()) else {
            return Ok(());
        };
        for mut child in self.api.list(kind, k8s_object::namespace(owner)) {
            let selected = selector.matches(|key| k8s_object::label(&child, key));
            if !selected || is_leaving(&child) || controller_uid(&child).is_some() {
                continue;
            }
            let owners = owned_by(owner);
            match child.pointer_mut("/metadata/ownerReferences") {
                Some(Value::Array(known)) => {
                    known.extend(owners.as_array().cloned().unwrap_or_default())
                }
                _ => child["metadata"]["ownerReferences"] = owners,
            }
            let child = self.api.update(MANAGER, &child)?;
            // The controller that asked goes on at once, before the change has come back to the index.
            let head: crate::index::Head = serde_json::from_value(child).unwrap_or_default();
            self.state.index.change(None, Some(&head));
        }
        Ok(())
    }

    /// Names the object that controls this one.
    #[expect(clippy::unused_self, reason = "it reads as the opposite of `children`")]
    pub(crate) fn controller_of(&self, object: &Value) -> Option<Key> {
        let owner = list(object, "/metadata/ownerReferences")
            .iter()
            .find(|owner| owner["controller"] == json!(true))?;
        let kind = Kind::new(text(owner, "/apiVersion"), text(owner, "/kind"));
        let namespace = k8s_object::namespace(object);
        Some(Key::new(kind, namespace, text(owner, "/name")))
    }

    /// Looks at an object again after some milliseconds.
    pub(crate) fn again_in(&mut self, key: &Key, ms: u64) {
        let at = after(self.now, ms);
        self.again_at(key, at);
    }

    /// Looks at an object again at a moment.
    pub(crate) fn again_at(&mut self, key: &Key, at: Timestamp) {
        self.state.queue.add_at(at, Work::Reconcile(key.clone()));
    }

    /// Draws a delay.
    pub(crate) fn draw(&mut self, span: Span) -> u64 {
        self.state.dice.within(span)
    }

    /// Writes a status unless it is what the object has; the object is then as the server answers.
    pub(crate) fn set_status(
        &self,
        manager: &str,
        object: &mut Value,
        status: Value,
    ) -> Result<(), Refusal> {
        if object.get("status") == Some(&status) {
            return Ok(());
        }
        if let Some(map) = object.as_object_mut() {
            map.insert("status".to_owned(), status);
        }
        *object = self.api.update_status(manager, object)?;
        Ok(())
    }

    /// Writes an Event, or counts it up if the same was written before.
    pub(crate) fn event(&mut self, component: &str, about: &Value, event: Said<'_>) {
        if !self.config.events
            || self
                .state
                .terminating
                .contains(k8s_object::namespace(about))
        {
            return;
        }
        let Said {
            warning,
            reason,
            message,
        } = event;
        let namespace = match k8s_object::namespace(about) {
            "" => "default",
            namespace => namespace,
        };
        let uid = k8s_object::uid(about);
        let digest = base_json::Digest::of(format!("{uid} {reason} {message}").as_bytes());
        let name = format!("{}.{}", k8s_object::name(about), &digest.hex()[..16]);
        let now = self.now_text();
        if let Some(mut known) = self.api.get(EVENT, namespace, &name) {
            let count = known["count"].as_i64().unwrap_or(1) + 1;
            known["count"] = json!(count);
            known["lastTimestamp"] = json!(now);
            // An Event that cannot be written is lost, as it is everywhere.
            let _ = self.api.update(component, &known);
            return;
        }
        let event = json!({
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": namespace},
            "involvedObject": {
                "apiVersion": k8s_object::api_version(about),
                "kind": k8s_object::kind(about),
                "namespace": k8s_object::namespace(about),
                "name": k8s_object::name(about),
                "uid": uid,
            },
            "type": if warning { "Warning" } else { "Normal" },
            "reason": reason,
            "message": message,
            "source": {"component": component},
            "reportingComponent": component,
            "reportingInstance": "",
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        });
        if self.api.create(component, event).is_ok() {
            let expires = after(self.now, self.config.timings.event_ttl_ms);
            if self.state.events.is_empty() {
                self.state.queue.add_at(expires, Work::ExpireEvents);
            }
            let key = Key::new(EVENT, namespace, &name);
            self.state.events.push_back((expires, key));
        }
    }

    /// Removes the Events that are too old.
    pub(crate) fn expire_events(&mut self) -> Result<(), Refusal> {
        while let Some((expires, key)) = self.state.events.front() {
            if *expires > self.now {
                let expires = *expires;
                self.state.queue.add_at(expires, Work::ExpireEvents);
                return Ok(());
            }
            match self
                .api
                .delete(key, "", k8s_cluster::Propagation::Background, true)
            {
                Ok(()) | Err(Refusal::NotFound(_)) => {}
                Err(other) => return Err(other),
            }
            self.state.events.pop_front();
        }
        Ok(())
    }
}

/// What an Event says.
#[derive(Clone, Copy)]
pub(crate) struct Said<'a> {
    pub(crate) warning: bool,
    pub(crate) reason: &'a str,
    pub(crate) message: &'a str,
}

impl<'a> Said<'a> {
    pub(crate) fn normal(reason: &'a str, message: &'a str) -> Self {
        Self {
            warning: false,
            reason,
            message,
        }
    }

    pub(crate) fn warning(reason: &'a str, message: &'a str) -> Self {
        Self {
            warning: true,
            reason,
            message,
        }
    }
}

/// The uid of the object that controls this one.
pub(crate) fn controller_uid(object: &Value) -> Option<&str> {
    object
        .pointer("/metadata/ownerReferences")?
        .as_array()?
        .iter()
        .find(|owner| owner["controller"] == json!(true))?["uid"]
        .as_str()
}

/// A reference to an object that controls what it is put on.
pub(crate) fn owned_by(owner: &Value) -> Value {
    json!([{
        "apiVersion": k8s_object::api_version(owner),
        "kind": k8s_object::kind(owner),
        "name": k8s_object::name(owner),
        "uid": k8s_object::uid(owner),
        "controller": true,
        "blockOwnerDeletion": true,
    }])
}

pub(crate) fn is_leaving(object: &Value) -> bool {
    object
        .pointer("/metadata/deletionTimestamp")
        .is_some_and(|at| !at.is_null())
}

pub(crate) fn number(object: &Value, pointer: &str) -> Option<i64> {
    object.pointer(pointer)?.as_i64()
}

pub(crate) fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

pub(crate) fn list<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    object
        .pointer(pointer)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// The status as a map, to be changed and written back.
pub(crate) fn status_of(object: &Value) -> Map<String, Value> {
    object
        .get("status")
        .and_then(Value::as_object)
        .cloned()
        .unwrap_or_default()
}

/// A number or a percentage of `total`, as `maxSurge` and its like have it.
pub(crate) fn share_of(value: Option<&Value>, default: &Value, total: i64, up: bool) -> i64 {
    let value = value.filter(|value| !value.is_null()).unwrap_or(default);
    let percent = value
        .as_str()
        .and_then(|text| text.strip_suffix('%')?.trim().parse::<i64>().ok());
    match percent {
        Some(percent) => {
            let exact = total.saturating_mul(percent);
            let rounded = if up { exact.saturating_add(99) } else { exact };
            rounded / 100
        }
        None => value.as_i64().unwrap_or(0),
    }
}

/// A condition to set.
pub(crate) struct Condition<'a> {
    pub(crate) kind: &'a str,
    pub(crate) holds: bool,
    pub(crate) reason: &'a str,
    pub(crate) message: &'a str,
}

/// Sets a condition; its transition time moves only when its status does. `extra` goes in as it is.
pub(crate) fn set_condition(
    status: &mut Map<String, Value>,
    condition: &Condition<'_>,
    now: &str,
    extra: &[(&str, Value)],
) {
    let Condition {
        kind,
        holds,
        reason,
        message,
    } = condition;
    let mut entry = Map::new();
    entry.insert("type".to_owned(), json!(kind));
    let holds = if *holds { "True" } else { "False" };
    entry.insert("status".to_owned(), json!(holds));
    if !reason.is_empty() {
        entry.insert("reason".to_owned(), json!(reason));
    }
    if !message.is_empty() {
        entry.insert("message".to_owned(), json!(message));
    }
    for (name, value) in extra {
        entry.insert((*name).to_owned(), value.clone());
    }
    let conditions = status
        .entry("conditions")
        .or_insert_with(|| Value::Array(Vec::new()));
    if !conditions.is_array() {
        *conditions = Value::Array(Vec::new());
    }
    let Some(conditions) = conditions.as_array_mut() else {
        return;
    };
    let known = conditions.iter_mut().find(|known| known["type"] == *kind);
    let since = known
        .as_ref()
        .filter(|known| known["status"] == holds)
        .map_or_else(|| json!(now), |known| known["lastTransitionTime"].clone());
    entry.insert("lastTransitionTime".to_owned(), since);
    match known {
        Some(known) => *known = Value::Object(entry),
        None => conditions.push(Value::Object(entry)),
    }
}

/// Finds a condition.
pub(crate) fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    list(object, "/status/conditions")
        .iter()
        .find(|condition| condition["type"] == kind)
}
