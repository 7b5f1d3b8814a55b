//! The hub as a noun of its own: what it is, its backup, and the rotation of its key.

use std::io::Read as _;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use base_store::Store as _;
use bytes::Bytes;
use http::{Response, StatusCode, header};
use k8s_apiserver::{
    Body, Column, ListOptions, ResourceDef, Status, SubresourceHandler, SubresourceRequest,
    SubresourceResponse, VirtualList, VirtualRequest,
};
use roadstead_model::{GROUP, Time, VERSION};
use roadstead_store_sqlite::SqliteStore;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::clock::commit_id;
use crate::identity::Identity;
use crate::listing;
use crate::metrics::Metrics;
use crate::orders::Orders;

/// The name of the one object.
const NAME: &str = "hub";
/// How many bytes of a backup are read at once, and how many such pieces wait for a slow reader.
const PIECE: usize = 256 << 10;
const PIECES: usize = 4;

/// The hub itself.
pub(crate) struct Itself {
    pub(crate) identity: Arc<Identity>,
    pub(crate) sqlite: Arc<SqliteStore>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) orders: Arc<Orders>,
    pub(crate) url: String,
    pub(crate) folder: PathBuf,
    pub(crate) sealed: bool,
    pub(crate) since: Time,
}

/// The resource `hubs`.
pub(crate) fn resource() -> ResourceDef {
    let mut def = ResourceDef::new(GROUP, VERSION, "Hub", "hubs", false);
    "hub".clone_into(&mut def.singular);
    def.verbs = vec!["get".to_owned(), "list".to_owned()];
    "This hub: its version, its keys, what it holds. Never stored; `backup` hands out everything that it is."
        .clone_into(&mut def.description);
    def.columns = vec![
        Column::name(),
        Column::path("URL", "string", ".status.url"),
        Column::path("Version", "string", ".status.version"),
        Column::path("Agents", "integer", ".status.agents"),
        Column::path("Epoch", "integer", ".status.epoch"),
        Column::path("Revision", "integer", ".status.revision"),
        Column::path("Records", "integer", ".status.store.records"),
        Column::path("Sealed", "boolean", ".status.sealed"),
        Column::path("Started", "date", ".status.startedAt"),
        Column::path("Order key", "string", ".status.orderKey").wide(),
        Column::path("Keys", "integer", ".status.keys").wide(),
        Column::path("CA ends", "string", ".status.caNotAfter").wide(),
        Column::path("Id", "string", ".status.id").wide(),
    ];
    def.subresources = vec!["backup".to_owned(), "rotate-key".to_owned()];
    def
}

impl Itself {
    fn shown(&self) -> Result<Value, Status> {
        let stats = self
            .sqlite
            .stats()
            .map_err(|error| Status::new(500, "InternalError", error.to_string()))?;
        let keys = self.identity.order_keys();
        let ca = roadstead_wire::pki::certificate_validity(&self.identity.ca.certificate_pem());
        Ok(json!({
            "apiVersion": format!("{GROUP}/{VERSION}"),
            "kind": "Hub",
            "metadata": { "name": NAME },
            "status": {
                "id": self.identity.hub_id,
                "url": self.url,
                "version": env!("CARGO_PKG_VERSION"),
                "startedAt": self.since,
                "epoch": self.identity.epoch,
                "revision": stats.revision.0,
                "oldestRevision": stats.oldest.0,
                "agents": self.metrics.connected.get(),
                "orders": self.orders.len(),
                "orderKey": keys.key.public().id(),
                "keys": keys.set.ids().len(),
                "trustedKeys": keys.set.ids(),
                "caNotAfter": ca.ok().map(|validity| validity.until),
                "sealed": self.sealed,
                "store": {
                    "records": stats.keys,
                    "bytes": stats.bytes,
                    "contents": stats.blobs,
                    "contentBytes": stats.blob_bytes,
                },
            },
        }))
    }

    /// Everything that the hub is, its keys included, as one stream.
    async fn backup(&self) -> Result<SubresourceResponse, Status> {
        let path = self
            .folder
            .join(format!("backup-{:016x}.tmp", commit_id() as u64));
        let (sqlite, to) = (Arc::clone(&self.sqlite), path.clone());
        let temporary = Temporary(path);
        let made = tokio::task::spawn_blocking(move || sqlite.backup(&to, |_| {})).await;
        let made = made
            .map_err(|_| crate::api::ending())?
            .map_err(|error| Status::new(500, "InternalError", told(&error)))?;
        let mut file = std::fs::File::open(&temporary.0).map_err(|error| {
            Status::new(500, "InternalError", format!("the backup is gone: {error}"))
        })?;
        crate::audit::say(format!(
            "a backup of {} bytes at revision {}, keys included",
            made.bytes, made.revision
        ));
        let (sender, receiver) = mpsc::channel(PIECES);
        tokio::task::spawn_blocking(move || {
            // it is removed when it was read, or when nobody reads any more
            let _temporary = temporary;
            loop {
                let mut piece = vec![0; PIECE];
                match file.read(&mut piece) {
                    Ok(0) => return,
                    Ok(some) => {
                        piece.truncate(some);
                        if sender.blocking_send(Bytes::from(piece)).is_err() {
                            return;
                        }
                    }
                    Err(error) => {
                        // the length was promised: whoever reads sees that it is too short
                        tracing::error!(%error, "failed to read the backup while it was sent");
                        return;
                    }
                }
            }
        });
        let response = Response::builder()
            .status(StatusCode::OK)
            .header(header::CONTENT_TYPE, "application/octet-stream")
            .header(header::CONTENT_LENGTH, made.bytes)
            .header("roadstead-revision", made.revision.0)
            .header("roadstead-epoch", made.epoch)
            .body(Body::Stream(Box::pin(Pieces(receiver))))
            .map_err(|error| Status::new(500, "InternalError", error.to_string()))?;
        Ok(SubresourceResponse::Raw(response))
    }

    async fn rotate(&self) -> Result<SubresourceResponse, Status> {
        let identity = Arc::clone(&self.identity);
        let id = tokio::task::spawn_blocking(move || identity.rotate())
            .await
            .map_err(|_| crate::api::ending())?
            .map_err(|error| Status::new(500, "InternalError", told(&error)))?;
        let message = format!("orders are signed with the new key {id} from now on");
        tracing::warn!(key = %id, "the key that orders are signed with was rotated");
        crate::audit::say(message.clone());
        // each session sends its order once more, so that its agent asks for the keys it does not know
        self.orders.sign_again();
        Ok(SubresourceResponse::Object(json!({
            "message": message,
            "key": id,
            "keys": self.identity.order_keys().set.ids(),
        })))
    }
}

/// An error with its causes.
fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    text
}

/// A file that goes when nobody needs it any more.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        // one that was never made is no trouble, and one that stays is removed at the next start
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Removes what a hub that was killed while it handed out a backup left behind.
pub(crate) fn remove_left_over(folder: &std::path::Path) {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("backup-") && (name.ends_with(".tmp") || name.ends_with(".tmp.part")) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

struct Pieces(mpsc::Receiver<Bytes>);

impl futures_core::Stream for Pieces {
    type Item = Bytes;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        self.0.poll_recv(cx)
    }
}

#[async_trait::async_trait]
impl k8s_apiserver::VirtualResource for Itself {
    async fn get(&self, request: &VirtualRequest) -> Result<Value, Status> {
        if request.name != NAME {
            return Err(Status::not_found(&resource(), &request.name));
        }
        self.shown()
    }

    async fn list(&self, _: &VirtualRequest, options: &ListOptions) -> Result<VirtualList, Status> {
        let revision = self.sqlite.revision().to_string();
        Ok(listing::page(vec![self.shown()?], options, revision))
    }
}

#[async_trait::async_trait]
impl SubresourceHandler for Itself {
    async fn handle(&self, request: SubresourceRequest) -> Result<SubresourceResponse, Status> {
        if request.name != NAME {
            return Err(Status::not_found(&resource(), &request.name));
        }
        // both are writes for who may do them: a role that reads everything must not get the keys
        match (request.subresource.as_str(), &request.method) {
            ("backup", &http::Method::POST) => self.backup().await,
            ("rotate-key", &http::Method::POST) => self.rotate().await,
            _ => Err(Status::method_not_allowed()),
        }
    }
}
