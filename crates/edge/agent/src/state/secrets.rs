//! The state in Secrets of the agent's own namespace, so that it is found again on whatever node the agent comes up.
//!
//! ```text
//! NAME-identity       key, certificate, CA, the hub's keys, the cluster's id: one Secret, one write
//! NAME-records-N      packs of records
//! NAME-content-N      packs of contents
//! ```
//!
//! Each write names the version of the Secret that it replaces. So of two agents that both believe they lead, one is
//! told so by the API server before it acts on what it could not keep.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use k8s_cluster::{Call, Cluster, ClusterError, ErrorKind, Propagation, Reply};
use k8s_object::{Gvk, ObjectId};
use roadstead_model::ClusterId;
use roadstead_sync::Persisted;
use roadstead_wire::keys::KeySet;
use serde_json::{Map, Value, json};

use super::pack::{Class, Layout, PackId, Write};
use super::{Changes, Identity, StateError};

/// The label by which the Secrets of one agent are found.
const LABEL: &str = "roadstead.dev/agent-state";
/// The annotation that names the process that wrote a Secret last.
const WRITER: &str = "roadstead.dev/written-by";
const MANAGER: &str = "roadstead-agent";
/// How many Secrets are read at once: a few megabytes at most.
const PAGE: u32 = 8;
/// How often a write is tried again that found another version than the one it knew.
const ATTEMPTS: usize = 4;

/// A Secret as it was seen last.
#[derive(Debug, Clone)]
struct Seen {
    uid: String,
    revision: String,
    writer: String,
}

/// The state in Secrets.
pub(crate) struct SecretState {
    cluster: Arc<dyn Cluster>,
    namespace: String,
    name: String,
    /// Names this process.
    holder: String,
    identity: Option<(Seen, Map<String, Value>)>,
    layout: Layout,
    seen: BTreeMap<String, Seen>,
    /// What the layout has and the cluster not yet.
    queue: VecDeque<Write>,
}

fn gvk() -> Gvk {
    Gvk::new("v1", "Secret")
}

fn seen(object: &Value) -> Seen {
    let revision = object.pointer("/metadata/resourceVersion");
    Seen {
        uid: k8s_object::uid(object).to_owned(),
        revision: revision
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned(),
        writer: k8s_object::annotation(object, WRITER)
            .unwrap_or_default()
            .to_owned(),
    }
}

fn bytes_of(object: &Value, key: &str) -> Option<Vec<u8>> {
    BASE64.decode(object.get("data")?.get(key)?.as_str()?).ok()
}

impl SecretState {
    /// Looks at nothing yet.
    pub(crate) fn new(
        cluster: Arc<dyn Cluster>,
        namespace: &str,
        name: &str,
        holder: &str,
    ) -> Self {
        Self {
            cluster,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            holder: holder.to_owned(),
            identity: None,
            layout: Layout::default(),
            seen: BTreeMap::new(),
            queue: VecDeque::new(),
        }
    }

    fn id(&self, name: &str) -> ObjectId {
        ObjectId {
            group: String::new(),
            kind: "Secret".to_owned(),
            namespace: self.namespace.clone(),
            name: name.to_owned(),
        }
    }

    fn failed(&self, step: &'static str, name: &str, error: ClusterError) -> StateError {
        StateError {
            step,
            place: format!("Secret {}/{name}", self.namespace),
            taken: false,
            source: error.into(),
        }
    }

    fn taken(&self, name: &str, by: &str) -> StateError {
        let text = format!(
            "{} writes it too: two agents use one identity, and this one stops",
            if by.is_empty() { "somebody" } else { by }
        );
        StateError {
            step: "write",
            place: format!("Secret {}/{name}", self.namespace),
            taken: true,
            source: text.into(),
        }
    }

    fn identity_name(&self) -> String {
        format!("{}-identity", self.name)
    }

    fn pack_name(&self, (class, number): PackId) -> String {
        let class = match class {
            Class::Records => "records",
            Class::Content => "content",
        };
        format!("{}-{class}-{number}", self.name)
    }

    fn pack_of(&self, name: &str) -> Option<PackId> {
        let rest = name.strip_prefix(&self.name)?.strip_prefix('-')?;
        let (class, number) = rest.split_once('-')?;
        let class = match class {
            "records" => Class::Records,
            "content" => Class::Content,
            _ => return None,
        };
        Some((class, number.parse().ok()?))
    }

    async fn get(&self, name: &str) -> Result<Option<Value>, StateError> {
        let call = Call::Get {
            gvk: gvk(),
            id: self.id(name),
        };
        match self.cluster.call(call).await {
            Ok(Reply::Object(bytes)) => serde_json::from_slice(&bytes).map(Some).map_err(|error| {
                let error = ClusterError::new(ErrorKind::Unavailable, error.to_string());
                self.failed("read", name, error)
            }),
            Ok(_) => Ok(None),
            Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.failed("read", name, error)),
        }
    }

    /// Writes a Secret over the version that was seen last, or makes it.
    async fn put(
        &self,
        name: &str,
        kind: &str,
        data: &Map<String, Value>,
        before: Option<Seen>,
    ) -> Result<Seen, StateError> {
        let mut before = before;
        for _ in 0..ATTEMPTS {
            let call = match &before {
                None => Call::Create {
                    object: json!({
                        "apiVersion": "v1",
                        "kind": "Secret",
                        "metadata": {
                            "name": name,
                            "namespace": self.namespace,
                            "labels": { LABEL: self.name },
                            "annotations": { WRITER: self.holder },
                        },
                        "type": kind,
                        "data": data,
                    })
                    .to_string()
                    .into(),
                    manager: MANAGER.to_owned(),
                },
                Some(seen) => Call::Merge {
                    gvk: gvk(),
                    id: self.id(name),
                    patch: json!({
                        "metadata": {
                            "resourceVersion": seen.revision,
                            "annotations": { WRITER: self.holder },
                        },
                        "data": data,
                    })
                    .to_string()
                    .into(),
                    manager: MANAGER.to_owned(),
                },
            };
            match self.cluster.call(call).await {
                Ok(Reply::Object(bytes)) => {
                    let object: Value = serde_json::from_slice(&bytes).unwrap_or_default();
                    return Ok(seen(&object));
                }
                Ok(_) => {
                    let error = ClusterError::new(ErrorKind::Other, "the answer is no object");
                    return Err(self.failed("write", name, error));
                }
                Err(error) if error.kind == ErrorKind::NotFound && before.is_some() => {
                    tracing::warn!(
                        secret = name,
                        "somebody removed a Secret of the agent's state; it is made again"
                    );
                    before = None;
                }
                Err(error) if error.kind == ErrorKind::Conflict => {
                    // it may be our own write whose answer was lost, or somebody's note on it
                    let Some(object) = self.get(name).await? else {
                        before = None;
                        continue;
                    };
                    let found = seen(&object);
                    if object.get("data").and_then(Value::as_object) == Some(data) {
                        return Ok(found);
                    }
                    let known = before.as_ref().map(|before| before.writer.as_str());
                    if found.writer != self.holder && known != Some(found.writer.as_str()) {
                        return Err(self.taken(name, &found.writer));
                    }
                    before = Some(found);
                }
                Err(error) => return Err(self.failed("write", name, error)),
            }
        }
        let error = ClusterError::new(ErrorKind::Conflict, "it changes again and again");
        Err(self.failed("write", name, error))
    }

    async fn load_identity(&mut self) -> Result<(), StateError> {
        if self.identity.is_none()
            && let Some(object) = self.get(&self.identity_name()).await?
        {
            let data = object.get("data").and_then(Value::as_object);
            self.identity = Some((seen(&object), data.cloned().unwrap_or_default()));
        }
        Ok(())
    }

    fn part(&self, key: &str) -> Option<String> {
        let (_, data) = self.identity.as_ref()?;
        let bytes = BASE64.decode(data.get(key)?.as_str()?).ok()?;
        String::from_utf8(bytes).ok()
    }

    async fn put_identity(&mut self, parts: &[(&str, &[u8])]) -> Result<(), StateError> {
        self.load_identity().await?;
        let before = self.identity.clone();
        let mut data = before
            .as_ref()
            .map(|(_, data)| data.clone())
            .unwrap_or_default();
        for (key, value) in parts {
            data.insert((*key).to_owned(), Value::from(BASE64.encode(value)));
        }
        if before.as_ref().is_some_and(|(_, before)| *before == data) {
            return Ok(());
        }
        let name = self.identity_name();
        let kind = "roadstead.dev/agent-identity";
        let before = before.map(|(seen, _)| seen);
        let seen = self.put(&name, kind, &data, before).await?;
        self.identity = Some((seen, data));
        Ok(())
    }

    /// The key that is or will be the agent's own, if one was made.
    pub(crate) async fn key_pem(&mut self) -> Result<Option<String>, StateError> {
        self.load_identity().await?;
        Ok(self.part("key.pem"))
    }

    /// Keeps the key.
    pub(crate) async fn keep_key(&mut self, pem: &str) -> Result<(), StateError> {
        self.put_identity(&[("key.pem", pem.as_bytes())]).await
    }

    /// Who the agent is; `None` before it has joined.
    pub(crate) async fn identity(&mut self) -> Result<Option<Identity>, StateError> {
        self.load_identity().await?;
        let (Some(cluster), Some(certificate_pem), Some(key_pem), Some(ca_pem), Some(keys)) = (
            self.part("cluster"),
            self.part("cert.pem"),
            self.part("key.pem"),
            self.part("ca.pem"),
            self.part("keys.json"),
        ) else {
            return Ok(None);
        };
        let keys = KeySet::from_json(keys.as_bytes()).map_err(|error| StateError {
            step: "read",
            place: format!(
                "Secret {}/{}, keys.json",
                self.namespace,
                self.identity_name()
            ),
            taken: false,
            source: error.into(),
        })?;
        Ok(Some(Identity {
            cluster: ClusterId(cluster.trim().to_owned()),
            certificate_pem,
            key_pem,
            ca_pem,
            keys,
        }))
    }

    /// Keeps who the agent is.
    pub(crate) async fn keep_identity(&mut self, identity: &Identity) -> Result<(), StateError> {
        let keys = identity.keys.to_json();
        self.put_identity(&[
            ("key.pem", identity.key_pem.as_bytes()),
            ("cert.pem", identity.certificate_pem.as_bytes()),
            ("ca.pem", identity.ca_pem.as_bytes()),
            ("keys.json", &keys),
            ("cluster", identity.cluster.0.as_bytes()),
        ])
        .await
    }

    /// Reads everything that was kept for the machine. What cannot be understood counts as not there: the hub and the
    /// cluster know enough to make it again.
    pub(crate) async fn records(&mut self) -> Result<Persisted, StateError> {
        let mut packs: Vec<(PackId, Bytes)> = Vec::new();
        let mut token = String::new();
        self.seen.clear();
        self.queue.clear();
        loop {
            let call = Call::List {
                gvk: gvk(),
                labels: format!("{LABEL}={}", self.name),
                fields: format!("metadata.namespace={}", self.namespace),
                limit: PAGE,
                token: std::mem::take(&mut token),
            };
            let reply = self.cluster.call(call).await;
            let (items, next) = match reply {
                Ok(Reply::Page { items, token, .. }) => (items, token),
                Ok(_) => (Vec::new(), String::new()),
                Err(error) => return Err(self.failed("list", "*", error)),
            };
            for item in items {
                let object: Value = serde_json::from_slice(&item).unwrap_or_default();
                let name = k8s_object::name(&object).to_owned();
                let Some(id) = self.pack_of(&name) else {
                    continue;
                };
                self.seen.insert(name, seen(&object));
                packs.push((id, bytes_of(&object, "pack").unwrap_or_default().into()));
            }
            if next.is_empty() {
                break;
            }
            token = next;
        }
        let (layout, records, writes, unreadable) = Layout::load(packs);
        for (id, error) in unreadable {
            tracing::warn!(secret = %self.pack_name(id), %error, "a Secret of the agent's state is damaged; what it held is made again");
        }
        self.layout = layout;
        self.queue = writes.into();
        self.flush().await?;
        Ok(records)
    }

    /// Takes in changes, then writes what is not written yet: an error leaves the rest for the next call.
    pub(crate) async fn keep(&mut self, changes: Changes) -> Result<(), StateError> {
        if !changes.is_empty() {
            self.queue.extend(self.layout.change(changes));
        }
        self.flush().await
    }

    async fn flush(&mut self) -> Result<(), StateError> {
        while let Some(write) = self.queue.front().cloned() {
            let name = self.pack_name(write.pack);
            let before = self.seen.get(&name).cloned();
            match &write.bytes {
                Some(bytes) => {
                    let mut data = Map::new();
                    data.insert("pack".to_owned(), Value::from(BASE64.encode(bytes)));
                    let seen = self
                        .put(&name, "roadstead.dev/agent-state", &data, before)
                        .await?;
                    self.seen.insert(name, seen);
                }
                None => {
                    if let Some(before) = before {
                        let call = Call::Delete {
                            gvk: gvk(),
                            id: self.id(&name),
                            uid: before.uid,
                            propagation: Propagation::Background,
                        };
                        match self.cluster.call(call).await {
                            Ok(_) => {}
                            Err(error)
                                if matches!(
                                    error.kind,
                                    ErrorKind::NotFound | ErrorKind::Conflict
                                ) => {}
                            Err(error) => return Err(self.failed("remove", &name, error)),
                        }
                        self.seen.remove(&name);
                    }
                }
            }
            self.queue.pop_front();
        }
        Ok(())
    }
}
