//! What is asked of a server: so many requests from so many connections, each of which waits for its answer.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::connection::{Connection, Place};
use super::servers::{Server, worked};
use crate::bench::figures::percentile;

pub(super) const JSON: &str = "application/json";
pub(super) const APPLY: &str = "application/apply-patch+yaml";

/// How much a connection reads at a time.
pub(super) const ROOM: usize = 128 << 10;
/// An answer or an event that takes longer means that the figures are worth nothing.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// What one run of one deed found.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found {
    /// Answers, or events that arrived, a second.
    pub(super) rate: f64,
    /// Milliseconds from sending to having all of it.
    pub(super) p50: f64,
    pub(super) p99: f64,
    /// Microseconds that the server's processes worked for each.
    pub(super) work: f64,
    /// Microseconds that the load itself worked for each.
    pub(super) own: f64,
}

/// Both clocks before a run.
pub(super) struct Start {
    server: f64,
    own: f64,
    at: Instant,
}

impl Start {
    pub(super) fn now(server: &Server) -> Self {
        Self {
            server: server.worked(),
            own: worked("self"),
            at: Instant::now(),
        }
    }

    pub(super) fn found(&self, server: &Server, took: &[f64]) -> Found {
        let seconds = self.at.elapsed().as_secs_f64();
        let count = took.len() as f64;
        Found {
            rate: count / seconds,
            p50: percentile(took, 50),
            p99: percentile(took, 99),
            work: (server.worked() - self.server) * 1e6 / count,
            own: (worked("self") - self.own) * 1e6 / count,
        }
    }
}

/// An object with a pod template, as deliveries have them; no controller acts on it.
pub(super) fn object(namespace: &str, name: &str, image: &str) -> Value {
    let container = |name: &str, port: u16| {
        json!({
            "name": name, "image": image, "imagePullPolicy": "IfNotPresent",
            "args": ["--listen", format!("0.0.0.0:{port}"), "--log-format=json"],
            "env": [
                {"name": "MODE", "value": "production"},
                {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "tokens", "key": name}}},
            ],
            "ports": [{"name": "http", "containerPort": port, "protocol": "TCP"}],
            "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}},
            "volumeMounts": [{"name": "settings", "mountPath": "/etc/settings", "readOnly": true}],
        })
    };
    let labels = json!({"app.kubernetes.io/name": "web", "app.kubernetes.io/instance": name});
    json!({
        "apiVersion": "batch/v1", "kind": "CronJob",
        "metadata": {"name": name, "namespace": namespace, "labels": labels, "annotations": {"team": "shop"}},
        "spec": {
            "schedule": "0 3 * * *", "suspend": true, "concurrencyPolicy": "Forbid",
            "jobTemplate": {"spec": {"backoffLimit": 3, "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "restartPolicy": "OnFailure", "serviceAccountName": "default",
                    "containers": [container("web", 8080), container("sidecar", 9090)],
                    "volumes": [{"name": "settings", "configMap": {"name": "settings"}}],
                },
            }}},
        },
    })
}

pub(super) fn jobs(namespace: &str) -> String {
    format!("/apis/batch/v1/namespaces/{namespace}/cronjobs")
}

/// The request that applies an object.
pub(super) fn apply(place: &Place, namespace: &str, name: &str, image: &str) -> Vec<u8> {
    let path = format!("{}/{name}?fieldManager=bench&force=true", jobs(namespace));
    let body = object(namespace, name, image).to_string();
    place.request("PATCH", &path, APPLY, body.as_bytes())
}

/// Asks once, outside of any figure.
pub(super) async fn ask(place: &Place, request: &[u8]) -> anyhow::Result<(u16, Value)> {
    let mut connection = Connection::open(place, ROOM).await?;
    let (code, body) = connection.ask_whole(request).await?;
    Ok((code, serde_json::from_slice(&body).unwrap_or_default()))
}

/// Sends requests from so many connections, each with one under way; every answer must have one of these codes and at least
/// so many bytes.
pub(super) async fn requests(
    server: &Server,
    connections: usize,
    requests: Vec<Vec<u8>>,
    expected: (&'static [u16], usize),
) -> anyhow::Result<Found> {
    let requests: Rc<[Vec<u8>]> = requests.into();
    let next = Rc::new(Cell::new(0_usize));
    let took = Rc::new(RefCell::new(Vec::with_capacity(requests.len())));
    let mut open = Vec::new();
    for _ in 0..connections {
        open.push(Connection::open(&server.place, ROOM).await?);
    }
    let mut tasks = JoinSet::new();
    let start = Start::now(server);
    for mut connection in open {
        let (requests, next, took) = (requests.clone(), next.clone(), took.clone());
        tasks.spawn_local(async move {
            loop {
                let number = next.get();
                let Some(request) = requests.get(number) else {
                    return anyhow::Ok(());
                };
                next.set(number + 1);
                let sent = Instant::now();
                let asked = tokio::time::timeout(PATIENCE, connection.ask(request));
                let (code, bytes) = asked.await.context("no answer came")??;
                if !expected.0.contains(&code) || bytes < expected.1 {
                    bail!("a request is answered with {code} and {bytes} bytes");
                }
                let ms = sent.elapsed().as_secs_f64() * 1e3;
                took.borrow_mut().push(ms);
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    let took = took.take();
    Ok(start.found(server, &took))
}
