//! What is asked of a server: so many requests from so many connections, each of which waits for its answer; and watches.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::connection::{Connection, Place};
use super::servers::{Server, worked};
use crate::bench::figures::percentile;

pub(super) const JSON: &str = "application/json";
pub(super) const APPLY: &str = "application/apply-patch+yaml";

/// How much a connection reads at a time.
const ROOM: usize = 128 << 10;
/// How many connections make the changes of a burst.
const WRITERS: usize = 16;
/// How much a watch reads at a time.
const WATCH_ROOM: usize = 16 << 10;
/// An answer or an event that takes longer means that the figures are worth nothing.
const PATIENCE: Duration = Duration::from_secs(60);

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
struct Start {
    server: f64,
    own: f64,
    at: Instant,
}

impl Start {
    fn now(server: &Server) -> Self {
        Self {
            server: server.worked(),
            own: worked("self"),
            at: Instant::now(),
        }
    }

    fn found(&self, server: &Server, took: &[f64]) -> Found {
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

/// What the watches of one run have seen.
struct Seen {
    watchers: usize,
    /// When each change was sent.
    sent: RefCell<Vec<Instant>>,
    /// Milliseconds from there to each watch.
    took: RefCell<Vec<f64>>,
    all: tokio::sync::Notify,
}

impl Seen {
    /// Notes that a watch that had seen so many changes has now seen so many.
    fn note(&self, told: &mut usize, now_seen: usize) -> anyhow::Result<()> {
        let (now, sent) = (Instant::now(), self.sent.borrow());
        let mut took = self.took.borrow_mut();
        for sent in sent
            .get(*told..now_seen)
            .context("an event that nobody made")?
        {
            took.push(now.duration_since(*sent).as_secs_f64() * 1e3);
        }
        *told = now_seen;
        if took.len() == sent.len() * self.watchers {
            self.all.notify_one();
        }
        Ok(())
    }

    async fn everybody(&self) {
        while self.took.borrow().len() < self.sent.borrow().len() * self.watchers {
            self.all.notified().await;
        }
    }
}

fn count(bytes: &[u8], wanted: u8) -> usize {
    bytes.iter().filter(|byte| **byte == wanted).count()
}

/// Follows a watch on a connection of its own.
async fn follow(mut connection: Connection, seen: Rc<Seen>) -> anyhow::Result<()> {
    // an event ends a line, and so do chunks, whose ends alone have a carriage return
    let (mut lines, mut chunks, mut told) = (0, 0, 0);
    loop {
        let bytes = connection.some().await.context("a watch broke off")?;
        lines += count(bytes, b'\n');
        chunks += count(bytes, b'\r');
        let now_seen = lines.saturating_sub(chunks).max(told);
        seen.note(&mut told, now_seen)?;
    }
}

/// Follows a watch that is one of many on its connection.
async fn follow_stream(mut body: Incoming, seen: Rc<Seen>) -> anyhow::Result<()> {
    let mut told = 0;
    loop {
        let frame = body.frame().await.context("a watch ended")?;
        let frame = frame.context("a watch broke off")?;
        let bytes = frame.data_ref().map_or(&[][..], |bytes| bytes);
        let now_seen = told + count(bytes, b'\n');
        seen.note(&mut told, now_seen)?;
    }
}

/// Opens so many watches on a connection of HTTP/2.
async fn streams(place: &Place, path: &str, watches: usize) -> anyhow::Result<Vec<Incoming>> {
    let stream = super::connection::dial(place, b"h2").await?;
    let (mut sender, connection) = hyper::client::conn::http2::Builder::new(LocalExecutor)
        .handshake::<_, http_body_util::Empty<bytes::Bytes>>(TokioIo::new(stream))
        .await?;
    tokio::task::spawn_local(connection);
    let mut out = Vec::new();
    for _ in 0..watches {
        let uri = format!("https://{}{}{path}", place.address, place.prefix);
        let request = http::Request::get(uri).header("accept", JSON);
        let answer = sender.send_request(request.body(http_body_util::Empty::new())?);
        let answer = answer.await.context("a watch is not answered")?;
        if answer.status() != 200 {
            bail!("a watch is answered with {}", answer.status());
        }
        out.push(answer.into_body());
    }
    Ok(out)
}

/// Everything of the load runs on one thread.
#[derive(Clone, Copy)]
struct LocalExecutor;

impl<F: Future<Output: 'static> + 'static> hyper::rt::Executor<F> for LocalExecutor {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}

/// Lets connections make changes, all at once; gives them back when every change is answered.
async fn write(
    writers: Vec<Connection>,
    requests: Vec<Vec<u8>>,
) -> anyhow::Result<Vec<Connection>> {
    let requests = Rc::new(RefCell::new(requests.into_iter()));
    let mut tasks: JoinSet<anyhow::Result<Connection>> = JoinSet::new();
    for mut writer in writers {
        let requests = requests.clone();
        tasks.spawn_local(async move {
            loop {
                let next = requests.borrow_mut().next();
                let Some(request) = next else {
                    return Ok(writer);
                };
                let (code, _) = writer.ask(&request).await?;
                if code != 200 {
                    bail!("an apply is answered with {code}");
                }
            }
        });
    }
    let mut writers = Vec::new();
    while let Some(writer) = tasks.join_next().await {
        writers.push(writer??);
    }
    Ok(writers)
}

/// What the watches are made to see.
#[derive(Clone, Copy)]
pub(super) struct Changes {
    /// How often changes come.
    pub(super) rounds: usize,
    /// How many come at a time. The next ones come when everybody has seen these.
    pub(super) at_once: usize,
    /// Makes them others than those of earlier runs.
    pub(super) run: usize,
}

/// Opens so many watches, so many on a connection, and makes changes.
pub(super) async fn fan_out(
    server: &Server,
    (watchers, on_each): (usize, usize),
    changes: Changes,
) -> anyhow::Result<Found> {
    let place = &server.place;
    let list = place.get(&format!("{}?limit=1", jobs("bench")));
    let (_, list) = ask(place, &list).await?;
    let revision = list["metadata"]["resourceVersion"].as_str();
    let revision = revision.context("a list without a resourceVersion")?;
    let path = format!(
        "{}?watch=1&resourceVersion={revision}&timeoutSeconds=600",
        jobs("bench")
    );
    let seen = Rc::new(Seen {
        watchers,
        sent: RefCell::default(),
        took: RefCell::default(),
        all: tokio::sync::Notify::new(),
    });
    let mut tasks: JoinSet<anyhow::Result<()>> = JoinSet::new();
    let mut left = watchers;
    while left > 0 {
        let here = left.min(on_each);
        left -= here;
        if on_each == 1 {
            let mut connection = Connection::open(place, WATCH_ROOM).await?;
            connection.begin(&place.get(&path)).await?;
            tasks.spawn_local(follow(connection, seen.clone()));
        } else {
            for body in streams(place, &path, here).await? {
                tasks.spawn_local(follow_stream(body, seen.clone()));
            }
        }
    }
    let mut writers = Vec::new();
    for _ in 0..changes.at_once.min(WRITERS) {
        writers.push(Connection::open(place, ROOM).await?);
    }
    let mut start = None;
    // the first round is to warm up
    for round in 0..=changes.rounds {
        if round == 1 {
            start = Some(Start::now(server));
        }
        let image = format!("web:watched-{}-{on_each}-{round}", changes.run);
        let request = |one| apply(place, "bench", &format!("job-{one}"), &image);
        let requests: Vec<Vec<u8>> = (0..changes.at_once).map(request).collect();
        let now = Instant::now();
        seen.sent.borrow_mut().extend(requests.iter().map(|_| now));
        writers = write(writers, requests).await?;
        tokio::select! {
            () = seen.everybody() => {}
            Some(ended) = tasks.join_next() => ended??,
            () = tokio::time::sleep(PATIENCE) => bail!("an event did not arrive everywhere"),
        }
    }
    let start = start.context("there was no change")?;
    let took = seen.took.borrow();
    let first = watchers * changes.at_once;
    Ok(start.found(server, took.get(first..).unwrap_or_default()))
}
