//! What every [`Cluster`] must do: a suite that a backend runs in its own tests.
//!
//! A backend gives a [`Harness`] and calls [`run`]. The checks make namespaces and definitions whose names begin with
//! `contract-`, and take them away again; they can run against a cluster that is in use.

mod faults;
mod reads;
mod writes;

use bytes::Bytes;
use k8s_object::{Gvk, ObjectId};
use serde_json::{Value, json};

use crate::{Call, Cluster, ClusterError, ErrorKind, Propagation, Reply, WatchEvent, WatchStream};

/// What a [`Harness`] may be asked to make go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// Nothing any more.
    None,
    /// Every request is answered with 429 and a pause.
    TooMany,
    /// Every write is answered with 500.
    Errors,
    /// Nothing answers, and watches break.
    Offline,
}

/// The cluster under test, and what the suite needs beside it.
#[async_trait::async_trait]
pub trait Harness: Send + Sync {
    /// Returns the cluster.
    fn cluster(&self) -> &dyn Cluster;

    /// Gives controllers some time to do what follows from what was asked; the suite asks again if it was not enough.
    async fn settle(&self);

    /// Waits for a watch's next item as long as is sensible; `None` if nothing came.
    async fn next(&self, watch: &mut WatchStream) -> Option<Result<WatchEvent, ClusterError>>;

    /// Makes something go wrong; `false` if it cannot.
    async fn trouble(&self, trouble: Trouble) -> bool;

    /// Makes the cluster forget its history, so that old revisions expire; `false` if it cannot.
    async fn forget(&self) -> bool;

    /// An object in this namespace that admission refuses, if there is such a thing.
    fn refused_by_admission(&self, namespace: &str) -> Option<Value>;
}

/// How often a check looks again for what controllers do.
const LOOKS: usize = 200;

/// A check that failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{check}: {problem}")]
pub struct Failure {
    /// Which check.
    pub check: &'static str,
    /// What was wrong.
    pub problem: String,
}

type Outcome = Result<(), String>;

/// Runs every check and names those that ran; those that need what the harness cannot do are left out.
pub async fn run(harness: &dyn Harness) -> Result<Vec<&'static str>, Failure> {
    let mut done = Vec::new();
    macro_rules! checks {
        ($($module:ident :: $name:ident),* $(,)?) => {$(
            let check = stringify!($name);
            let suite = Suite { harness, namespace: format!("contract-{}", check.replace('_', "-")) };
            suite.begin().await.map_err(|problem| Failure { check, problem })?;
            let outcome = $module::$name(&suite).await;
            harness.trouble(Trouble::None).await;
            suite.end().await;
            if outcome.map_err(|problem| Failure { check, problem })? {
                done.push(check);
            }
        )*};
    }
    checks!(
        writes::apply_creates_and_updates,
        writes::apply_without_change_writes_nothing,
        writes::apply_meets_conflicts,
        writes::apply_drops_what_is_left_out,
        writes::dry_run_writes_nothing,
        writes::create_refuses_what_exists,
        writes::merge_changes_with_a_precondition,
        writes::immutable_fields_are_named,
        writes::invalid_objects_are_refused,
        writes::a_missing_namespace_is_told,
        writes::an_unknown_kind_is_told,
        writes::admission_refuses,
        writes::delete_asks_for_the_uid,
        writes::delete_waits_for_finalizers,
        writes::delete_takes_or_leaves_what_is_owned,
        writes::a_namespace_that_ends_takes_nothing_new,
        writes::large_objects_are_refused,
        reads::get_finds_or_not,
        reads::lists_come_in_pages,
        reads::names_come_in_pages,
        reads::lists_select,
        reads::watch_shows_what_is_and_what_comes,
        reads::watch_goes_on_from_a_revision,
        reads::watch_shows_what_stops_matching,
        reads::old_revisions_expire,
        reads::discovery_follows_definitions,
        reads::watch_shows_drift,
        reads::workloads_tell_their_health,
        faults::throttling_is_told_with_its_pause,
        faults::errors_are_transient,
        faults::a_lost_connection_breaks_watches,
    );
    Ok(done)
}

/// One check's view: a namespace of its own, and short ways to ask.
struct Suite<'a> {
    harness: &'a dyn Harness,
    namespace: String,
}

/// Did it run? `false` when the harness cannot do what it needs.
type Ran = Result<bool, String>;

fn expect<T>(found: Result<T, ClusterError>, what: &str) -> Result<T, String> {
    found.map_err(|error| format!("{what}: {:?}: {error}", error.kind))
}

fn ensure(holds: bool, what: impl FnOnce() -> String) -> Outcome {
    if holds { Ok(()) } else { Err(what()) }
}

fn bytes(object: &Value) -> Bytes {
    base_json::canonical(object).into()
}

fn read(bytes: &[u8]) -> Result<Value, String> {
    serde_json::from_slice(bytes).map_err(|error| format!("not JSON: {error}"))
}

fn revision(object: &Value) -> &str {
    object
        .pointer("/metadata/resourceVersion")
        .and_then(Value::as_str)
        .unwrap_or_default()
}

impl Suite<'_> {
    async fn begin(&self) -> Outcome {
        let namespace =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}});
        expect(self.apply(&namespace).await, "make a namespace")?;
        Ok(())
    }

    /// Waits for controllers until `look` holds.
    async fn eventually(&self, what: &str, look: impl AsyncFn() -> Ran) -> Outcome {
        for _ in 0..LOOKS {
            if look().await? {
                return Ok(());
            }
            self.harness.settle().await;
        }
        Err(format!("{what} did not come true"))
    }

    async fn end(&self) {
        let id = ObjectId {
            group: String::new(),
            kind: "Namespace".to_owned(),
            namespace: String::new(),
            name: self.namespace.clone(),
        };
        let call = Call::Delete {
            gvk: Gvk::new("v1", "Namespace"),
            id,
            uid: String::new(),
            propagation: Propagation::Background,
        };
        // What is left of a check that failed must not hide how it failed.
        let _ = self.call(call).await;
        self.harness.settle().await;
    }

    async fn call(&self, call: Call) -> Result<Reply, ClusterError> {
        self.harness.cluster().call(call).await
    }

    fn map(&self, name: &str, data: Value) -> Value {
        json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": self.namespace},
            "data": data,
        })
    }

    fn id(&self, group: &str, kind: &str, name: &str) -> ObjectId {
        ObjectId {
            group: group.to_owned(),
            kind: kind.to_owned(),
            namespace: self.namespace.clone(),
            name: name.to_owned(),
        }
    }

    async fn object(&self, call: Call) -> Result<Value, ClusterError> {
        match self.call(call).await? {
            Reply::Object(bytes) => serde_json::from_slice(&bytes)
                .map_err(|error| ClusterError::new(ErrorKind::Other, error.to_string())),
            other => Err(ClusterError::new(
                ErrorKind::Other,
                format!("not an object: {other:?}"),
            )),
        }
    }

    async fn apply_as(
        &self,
        object: &Value,
        manager: &str,
        force: bool,
        dry_run: bool,
    ) -> Result<Value, ClusterError> {
        self.object(Call::Apply {
            object: bytes(object),
            manager: manager.to_owned(),
            force,
            dry_run,
        })
        .await
    }

    async fn apply(&self, object: &Value) -> Result<Value, ClusterError> {
        self.apply_as(object, "contract", false, false).await
    }

    async fn get(&self, gvk: &Gvk, id: ObjectId) -> Result<Value, ClusterError> {
        let gvk = gvk.clone();
        self.object(Call::Get { gvk, id }).await
    }

    async fn get_map(&self, name: &str) -> Result<Value, ClusterError> {
        let gvk = Gvk::new("v1", "ConfigMap");
        self.get(&gvk, self.id("", "ConfigMap", name)).await
    }

    async fn delete_map(
        &self,
        name: &str,
        uid: &str,
        propagation: Propagation,
    ) -> Result<bool, ClusterError> {
        let reply = self
            .call(Call::Delete {
                gvk: Gvk::new("v1", "ConfigMap"),
                id: self.id("", "ConfigMap", name),
                uid: uid.to_owned(),
                propagation,
            })
            .await?;
        Ok(matches!(reply, Reply::Deleted { pending: true }))
    }

    /// The kind of the error that this must end in.
    fn kind_of<T>(found: Result<T, ClusterError>, what: &str) -> Result<ErrorKind, String> {
        match found {
            Ok(_) => Err(format!("{what} was allowed")),
            Err(error) if error.message.is_empty() => Err(format!("{what}: no message")),
            Err(error) => Ok(error.kind),
        }
    }
}
