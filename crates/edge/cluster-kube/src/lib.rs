//! A real cluster behind the cluster trait.
//!
//! `kube` is transport only: it reads kubeconfigs and service accounts, does TLS, tokens and proxies. Paths, bodies and
//! errors are handled here as raw JSON, one object at a time, so that no list of parsed objects is ever held.
//! It keeps a cache of which kinds the cluster serves, and nothing else. It is the only importer of kube.

mod connection;
mod discovery;
mod error;
mod path;
mod rights;
mod watch;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use http_body_util::BodyExt;
use k8s_cluster::{
    ApiResource, Call, Cluster, ClusterError, ErrorKind, Propagation, Reply, WatchSpec, WatchStream,
};
use k8s_object::{Gvk, ObjectId};
use kube::client::Body;
use serde_json::{Value, json};

use crate::connection::{Connection, Origin};

/// A cluster could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The kubeconfig cannot be read or lacks something.
    #[error("failed to read kubeconfig {path:?}")]
    Kubeconfig {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: Box<kube::config::KubeconfigError>,
    },
    /// This process runs in no pod with a service account.
    #[error(
        "failed to read the service account of this pod; outside of a cluster, name a kubeconfig"
    )]
    InCluster(#[source] Box<kube::config::InClusterError>),
    /// The client cannot be made.
    #[error("failed to make a client for the API server")]
    Client(#[source] Box<kube::Error>),
    /// No such user can be named in a request.
    #[error("{name:?} cannot be the name of a user or group to act as")]
    User {
        /// The name.
        name: String,
    },
}

/// A cluster that is reached over HTTPS.
///
/// Credentials that the API server refuses are read again from where they came from, so tokens and certificates can be
/// rotated below it.
#[derive(Clone)]
pub struct KubeCluster {
    inner: Arc<Inner>,
}

#[derive(Clone)]
pub(crate) struct Inner {
    connection: Arc<Connection>,
    kinds: Arc<RwLock<BTreeMap<Gvk, Kind>>>,
    /// One initial list at a time keeps the memory small, here and in the API server.
    listing: Arc<tokio::sync::Semaphore>,
    /// On whose behalf it asks.
    acting: HeaderMap,
}

#[derive(Debug, Clone)]
pub(crate) struct Kind {
    pub(crate) plural: String,
    pub(crate) namespaced: bool,
}

/// An answer that has been read to its end.
pub(crate) struct Answer {
    pub(crate) body: Bytes,
}

impl KubeCluster {
    /// Reads a kubeconfig; `None` takes its current context.
    pub async fn from_kubeconfig(path: &Path, context: Option<&str>) -> Result<Self, SetupError> {
        let origin = Origin::Kubeconfig {
            path: path.to_owned(),
            context: context.map(str::to_owned),
        };
        let client = origin.client().await?;
        Ok(Self::new(Connection::new(origin, client)))
    }

    /// Uses the service account of the pod that this process runs in.
    pub fn in_cluster() -> Result<Self, SetupError> {
        let client = connection::in_cluster()?;
        Ok(Self::new(Connection::new(Origin::InCluster, client)))
    }

    /// Speaks to an API server at a plain URL, without credentials: for tests and for a proxy on this machine.
    pub fn at(url: http::Uri) -> Result<Self, SetupError> {
        let client = connection::at(&url)?;
        Ok(Self::new(Connection::new(Origin::Fixed(url), client)))
    }

    fn new(connection: Connection) -> Self {
        Self {
            inner: Arc::new(Inner {
                connection: Arc::new(connection),
                kinds: Arc::default(),
                listing: Arc::new(tokio::sync::Semaphore::new(1)),
                acting: HeaderMap::new(),
            }),
        }
    }

    /// The same cluster, asked on behalf of another user, such as `system:serviceaccount:shop:deployer`, with that
    /// user's rights alone. Our own user needs the right to impersonate it. A service account brings its groups.
    pub fn acting_as(&self, user: &str, groups: &[&str]) -> Result<Self, SetupError> {
        let value = |text: &str| {
            HeaderValue::from_str(text).map_err(|_| SetupError::User {
                name: text.to_owned(),
            })
        };
        let mut acting = HeaderMap::new();
        acting.insert(HeaderName::from_static("impersonate-user"), value(user)?);
        for group in groups {
            acting.append(HeaderName::from_static("impersonate-group"), value(group)?);
        }
        let inner = Inner {
            acting,
            ..Inner::clone(&self.inner)
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// The same cluster over the same connections, asked with the rights of a service account. Groups are those that
    /// the API server gives every service account.
    pub fn impersonating(&self, namespace: &str, account: &str) -> Self {
        let user = format!("system:serviceaccount:{namespace}:{account}");
        // a name that is no header's value is no name of an account either: the API server refuses this one
        self.acting_as(&user, &[]).unwrap_or_else(|_| {
            let mut acting = HeaderMap::new();
            let anonymous = HeaderValue::from_static("system:anonymous");
            acting.insert(HeaderName::from_static("impersonate-user"), anonymous);
            let inner = Inner {
                acting,
                ..Inner::clone(&self.inner)
            };
            Self {
                inner: Arc::new(inner),
            }
        })
    }
}

#[async_trait::async_trait]
impl Cluster for KubeCluster {
    async fn call(&self, call: Call) -> Result<Reply, ClusterError> {
        let itself = match &call {
            Call::Get { id, .. } | Call::Merge { id, .. } | Call::Delete { id, .. } => {
                id.group.is_empty() && id.kind == "Namespace"
            }
            _ => false,
        };
        self.inner.call(call).await.map_err(|mut error| {
            // a namespace that was asked for itself is an object like any other
            if itself && error.kind == ErrorKind::NamespaceMissing {
                error.kind = ErrorKind::NotFound;
            }
            error
        })
    }

    async fn watch(&self, spec: WatchSpec) -> Result<WatchStream, ClusterError> {
        self.inner.ready().await?;
        watch::start(Arc::clone(&self.inner), spec).await
    }
}

impl Inner {
    /// Sends a request; the answer's body has not been read yet.
    pub(crate) async fn open(
        &self,
        method: Method,
        path: &str,
        content_type: &'static str,
        body: Vec<u8>,
    ) -> Result<http::Response<Body>, ClusterError> {
        self.open_as(accept(path), method, path, content_type, body)
            .await
    }

    async fn open_as(
        &self,
        accept: &'static str,
        method: Method,
        path: &str,
        content_type: &'static str,
        body: Vec<u8>,
    ) -> Result<http::Response<Body>, ClusterError> {
        let mut headers = self.acting.clone();
        headers.insert(http::header::ACCEPT, HeaderValue::from_static(accept));
        if !body.is_empty() {
            let value = HeaderValue::from_static(content_type);
            headers.insert(http::header::CONTENT_TYPE, value);
        }
        self.connection
            .open(method, path, headers, Bytes::from(body))
            .await
    }

    /// Sends a request and reads the answer; anything but success is an error.
    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        content_type: &'static str,
        body: Vec<u8>,
    ) -> Result<Answer, ClusterError> {
        self.ask_as(accept(path), method, path, content_type, body)
            .await
    }

    async fn ask_as(
        &self,
        accept: &'static str,
        method: Method,
        path: &str,
        content_type: &'static str,
        body: Vec<u8>,
    ) -> Result<Answer, ClusterError> {
        let response = self
            .open_as(accept, method, path, content_type, body)
            .await?;
        let (head, body) = response.into_parts();
        let body = tokio::time::timeout(connection::PATIENCE, body.collect())
            .await
            .map_err(|_| error::silent())?
            .map_err(|source| error::transport(&source))?
            .to_bytes();
        if head.status.is_success() {
            Ok(Answer { body })
        } else {
            Err(error::of_answer(head.status, &head.headers, &body))
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Answer, ClusterError> {
        self.ask(Method::GET, path, "", Vec::new()).await
    }

    /// Learns the kinds, unless they are known.
    pub(crate) async fn ready(&self) -> Result<(), ClusterError> {
        let empty = self
            .kinds
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .is_empty();
        if empty {
            self.discover().await?;
        }
        Ok(())
    }

    pub(crate) fn kind(&self, gvk: &Gvk) -> Result<Kind, ClusterError> {
        let kinds = self.kinds.read().unwrap_or_else(PoisonError::into_inner);
        kinds.get(gvk).cloned().ok_or_else(|| {
            ClusterError::new(
                ErrorKind::UnknownKind,
                format!("the cluster does not serve {gvk}"),
            )
        })
    }

    async fn discover(&self) -> Result<Reply, ClusterError> {
        let (version, resources) = discovery::discover(self).await?;
        let kinds = resources.iter().map(|resource: &ApiResource| {
            let kind = Kind {
                plural: resource.plural.clone(),
                namespaced: resource.namespaced,
            };
            (resource.gvk.clone(), kind)
        });
        *self.kinds.write().unwrap_or_else(PoisonError::into_inner) = kinds.collect();
        Ok(Reply::Discovered { version, resources })
    }

    fn path_of(&self, gvk: &Gvk, id: &ObjectId) -> Result<String, ClusterError> {
        let kind = self.kind(gvk)?;
        Ok(path::object(gvk, &kind, &id.namespace, &id.name))
    }

    async fn call(&self, call: Call) -> Result<Reply, ClusterError> {
        if call == Call::Discover {
            return self.discover().await;
        }
        self.ready().await?;
        match call {
            Call::Discover => self.discover().await,
            Call::Get { gvk, id } => {
                let answer = self.get(&self.path_of(&gvk, &id)?).await?;
                Ok(Reply::Object(answer.body))
            }
            Call::List {
                gvk,
                labels,
                fields,
                limit,
                token,
            } => {
                let kind = self.kind(&gvk)?;
                let (namespace, fields) = path::namespace_of(&fields);
                let query = [
                    ("labelSelector", labels),
                    ("fieldSelector", fields),
                    (
                        "limit",
                        if limit == 0 {
                            String::new()
                        } else {
                            limit.to_string()
                        },
                    ),
                    ("continue", token),
                ];
                let path = path::list(&gvk, &kind, &namespace, &query);
                let answer = self.get(&path).await?;
                page(&gvk, &answer.body)
            }
            Call::Names {
                gvk,
                namespace,
                limit,
                token,
            } => {
                let kind = self.kind(&gvk)?;
                let limit = match limit {
                    0 => String::new(),
                    limit => limit.to_string(),
                };
                let query = [("limit", limit), ("continue", token)];
                let path = path::list(&gvk, &kind, &namespace, &query);
                let answer = self
                    .ask_as(NAMES, Method::GET, &path, "", Vec::new())
                    .await?;
                names(&answer.body)
            }
            Call::Apply {
                object,
                manager,
                force,
                dry_run,
            } => {
                let (gvk, id) = identity(&object)?;
                let query = [
                    ("fieldManager", manager),
                    ("force", force.to_string()),
                    (
                        "dryRun",
                        if dry_run {
                            "All".to_owned()
                        } else {
                            String::new()
                        },
                    ),
                ];
                let path = format!("{}{}", self.path_of(&gvk, &id)?, path::query(&query));
                let answer = self
                    .ask(
                        Method::PATCH,
                        &path,
                        "application/apply-patch+yaml",
                        object.to_vec(),
                    )
                    .await?;
                Ok(Reply::Object(answer.body))
            }
            Call::Create { object, manager } => {
                let (gvk, id) = identity(&object)?;
                let kind = self.kind(&gvk)?;
                let path = path::list(&gvk, &kind, &id.namespace, &[("fieldManager", manager)]);
                let answer = self
                    .ask(Method::POST, &path, "application/json", object.to_vec())
                    .await?;
                Ok(Reply::Object(answer.body))
            }
            Call::Merge {
                gvk,
                id,
                patch,
                manager,
            } => {
                let query = path::query(&[("fieldManager", manager)]);
                let path = format!("{}{query}", self.path_of(&gvk, &id)?);
                let answer = self
                    .ask(
                        Method::PATCH,
                        &path,
                        "application/merge-patch+json",
                        patch.to_vec(),
                    )
                    .await?;
                Ok(Reply::Object(answer.body))
            }
            Call::Delete {
                gvk,
                id,
                uid,
                propagation,
            } => {
                let mut options = json!({
                    "apiVersion": "v1",
                    "kind": "DeleteOptions",
                    "propagationPolicy": match propagation {
                        Propagation::Background => "Background",
                        Propagation::Foreground => "Foreground",
                        Propagation::Orphan => "Orphan",
                    },
                });
                if !uid.is_empty() {
                    options["preconditions"] = json!({ "uid": uid });
                }
                let path = self.path_of(&gvk, &id)?;
                let body = options.to_string().into_bytes();
                let answer = self
                    .ask(Method::DELETE, &path, "application/json", body)
                    .await?;
                // a Status says that it is gone; the object itself says that it goes
                let answer: Value = parse(&answer.body)?;
                let pending = k8s_object::kind(&answer) != "Status"
                    && answer.pointer("/metadata/deletionTimestamp").is_some();
                Ok(Reply::Deleted { pending })
            }
        }
    }
}

/// Asks for what a list says of its objects' names, without what else there is of them. A server that cannot do so
/// sends the objects.
const NAMES: &str =
    "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";

/// The names in a list, whatever else is in it.
fn names(body: &[u8]) -> Result<Reply, ClusterError> {
    #[derive(serde::Deserialize)]
    struct List {
        #[serde(default)]
        metadata: Continue,
        // a server may say null of a list without items
        #[serde(default)]
        items: Option<Vec<Item>>,
    }
    #[derive(Default, serde::Deserialize)]
    struct Continue {
        #[serde(default, rename = "continue")]
        token: String,
    }
    #[derive(serde::Deserialize)]
    struct Item {
        metadata: Named,
    }
    #[derive(serde::Deserialize)]
    struct Named {
        name: String,
    }
    let list: List = serde_json::from_slice(body).map_err(|source| {
        ClusterError::new(
            ErrorKind::Unavailable,
            format!("the API server's list is no list: {source}"),
        )
    })?;
    Ok(Reply::Names {
        names: list
            .items
            .into_iter()
            .flatten()
            .map(|item| item.metadata.name)
            .collect(),
        token: list.metadata.token,
    })
}

fn accept(path: &str) -> &'static str {
    if path == "/api" || path == "/apis" {
        discovery::ACCEPT
    } else {
        "application/json"
    }
}

pub(crate) fn parse(body: &[u8]) -> Result<Value, ClusterError> {
    serde_json::from_slice(body).map_err(|source| {
        ClusterError::new(
            ErrorKind::Unavailable,
            format!("the API server's answer is no JSON: {source}"),
        )
    })
}

fn identity(object: &[u8]) -> Result<(Gvk, ObjectId), ClusterError> {
    let object = serde_json::from_slice::<Value>(object).unwrap_or_default();
    Gvk::of(&object).zip(ObjectId::of(&object)).ok_or_else(|| {
        ClusterError::new(
            ErrorKind::Invalid {
                fields: vec!["apiVersion, kind or metadata.name".to_owned()],
            },
            "the object has no apiVersion, kind or name",
        )
    })
}

/// Takes a list apart; its items are told their kind, which the API server leaves out.
pub(crate) fn page(gvk: &Gvk, body: &[u8]) -> Result<Reply, ClusterError> {
    let mut list = parse(body)?;
    let items = match list.get_mut("items").map(Value::take) {
        Some(Value::Array(items)) => items,
        _ => Vec::new(),
    };
    let items = items.into_iter().map(|mut item| {
        if let Some(map) = item.as_object_mut() {
            map.insert("apiVersion".to_owned(), Value::from(gvk.api_version()));
            map.insert("kind".to_owned(), Value::from(gvk.kind.as_str()));
        }
        Bytes::from(item.to_string())
    });
    let text = |key: &str| {
        list.pointer(&format!("/metadata/{key}"))
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    Ok(Reply::Page {
        items: items.collect(),
        token: text("continue"),
        revision: text("resourceVersion"),
    })
}
