//! Watches: one raw object at a time.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::Method;
use http_body_util::BodyExt;
use k8s_cluster::{ClusterError, ErrorKind, Reply, WatchEvent, WatchSpec, WatchStream};
use serde_json::Value;
use tokio::sync::mpsc::Sender;

use crate::{Inner, error, page, path};

/// How many objects a page of an initial list holds, where the server cannot stream it.
const PAGE: u32 = 200;
/// The longest line that is believed: far beyond what a cluster stores.
const MAX_LINE: usize = 32 << 20;
/// The server ends a watch after so many seconds; it is then taken up where it was.
const SECONDS: u32 = 280;

/// A watch that says nothing for so long is dead.
const SILENCE: Duration = Duration::from_secs(SECONDS as u64 + 30);

type Item = Result<WatchEvent, ClusterError>;

/// Nobody listens any more.
struct Left;

enum End {
    Left,
    Closed,
    Failed(ClusterError),
    /// The server does not stream initial lists.
    NoStreaming,
}

impl From<Left> for End {
    fn from(_: Left) -> Self {
        Self::Left
    }
}

impl From<ClusterError> for End {
    fn from(error: ClusterError) -> Self {
        Self::Failed(error)
    }
}

/// Tells that the server has taken the watch on.
type Opened = Option<tokio::sync::oneshot::Sender<()>>;

pub(crate) async fn start(
    cluster: Arc<Inner>,
    spec: WatchSpec,
) -> Result<WatchStream, ClusterError> {
    cluster.kind(&spec.gvk)?;
    let (sender, mut receiver) = tokio::sync::mpsc::channel::<Item>(16);
    let (opened, taken) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        let end = tokio::select! {
            end = follow(&cluster, spec, &sender, Some(opened)) => end,
            () = sender.closed() => Err(End::Left),
        };
        if let Err(End::Failed(error)) = end {
            // if nobody listens any more, nobody minds
            drop(sender.send(Err(error)).await);
        }
    });
    if taken.await.is_err()
        && let Some(Err(error)) = receiver.recv().await
    {
        return Err(error);
    }
    let stream = futures_util::stream::unfold(receiver, |mut receiver| async move {
        let item = receiver.recv().await?;
        Some((item, receiver))
    });
    Ok(Box::pin(stream))
}

async fn follow(
    cluster: &Inner,
    mut spec: WatchSpec,
    to: &Sender<Item>,
    mut opened: Opened,
) -> Result<(), End> {
    if spec.from.is_empty() {
        let turn = cluster.listing.acquire().await;
        match stream(cluster, &spec, true, to, turn.ok(), &mut opened).await {
            Err(End::NoStreaming) => {}
            other => return other,
        }
        let turn = cluster.listing.acquire().await;
        spec.from = list(cluster, &spec, to, &mut opened).await?;
        drop(turn);
        send(to, WatchEvent::Synced(spec.from.clone())).await?;
    }
    stream(cluster, &spec, false, to, None, &mut opened).await
}

async fn send(to: &Sender<Item>, event: WatchEvent) -> Result<(), Left> {
    to.send(Ok(event)).await.map_err(|_| Left)
}

/// Sends everything that exists in pages; returns where to go on.
async fn list(
    cluster: &Inner,
    spec: &WatchSpec,
    to: &Sender<Item>,
    opened: &mut Opened,
) -> Result<String, End> {
    let kind = cluster.kind(&spec.gvk)?;
    let mut next = String::new();
    loop {
        let query = [
            ("labelSelector", spec.labels.clone()),
            ("limit", PAGE.to_string()),
            ("continue", next),
        ];
        let answer = cluster
            .get(&path::list(&spec.gvk, &kind, "", &query))
            .await?;
        let Reply::Page {
            items,
            token,
            revision,
        } = page(&spec.gvk, &answer.body)?
        else {
            return Err(End::Closed);
        };
        tell(opened);
        for item in items {
            send(to, WatchEvent::Applied(item)).await?;
        }
        if token.is_empty() {
            return Ok(revision);
        }
        next = token;
    }
}

async fn stream(
    cluster: &Inner,
    spec: &WatchSpec,
    initial: bool,
    to: &Sender<Item>,
    mut turn: Option<tokio::sync::SemaphorePermit<'_>>,
    opened: &mut Opened,
) -> Result<(), End> {
    let kind = cluster.kind(&spec.gvk)?;
    let mut query = vec![
        ("watch", "1".to_owned()),
        ("allowWatchBookmarks", "true".to_owned()),
        ("labelSelector", spec.labels.clone()),
        ("timeoutSeconds", SECONDS.to_string()),
        ("resourceVersion", spec.from.clone()),
    ];
    if initial {
        query.push(("sendInitialEvents", "true".to_owned()));
        query.push(("resourceVersionMatch", "NotOlderThan".to_owned()));
    }
    let path = path::list(&spec.gvk, &kind, "", &query);
    let response = cluster.open(Method::GET, &path, "", Vec::new()).await?;
    let (head, mut body) = response.into_parts();
    if !head.status.is_success() {
        let whole = body
            .collect()
            .await
            .map_err(|source| error::transport(&source))?;
        let error = error::of_answer(head.status, &head.headers, &whole.to_bytes());
        if initial && matches!(error.kind, ErrorKind::Invalid { .. }) {
            return Err(End::NoStreaming);
        }
        return Err(End::Failed(error));
    }
    tell(opened);
    let begun = tokio::time::Instant::now();
    let mut rest = BytesMut::new();
    loop {
        // the server ends the watch before this: if it does not, the connection is dead and nobody said so
        let frame = tokio::time::timeout(SILENCE, body.frame()).await;
        let frame = frame.map_err(|_| {
            ClusterError::new(
                ErrorKind::Unavailable,
                format!("the watch of {} has been silent for too long", spec.gvk),
            )
        })?;
        let Some(frame) = frame else {
            break;
        };
        let frame = frame.map_err(|source| error::transport(&source))?;
        let Some(data) = frame.data_ref() else {
            continue;
        };
        let mut from = rest.len();
        rest.extend_from_slice(data);
        while let Some(end) = rest[from..].iter().position(|byte| *byte == b'\n') {
            let line = rest.split_to(from + end + 1);
            from = 0;
            if let Some(event) = event(&line)? {
                // the list is over: another may begin
                if matches!(event, WatchEvent::Synced(_)) {
                    turn = None;
                }
                send(to, event).await?;
            }
        }
        if rest.len() > MAX_LINE {
            return Err(End::Failed(ClusterError::new(
                ErrorKind::Other,
                format!("one event of {} is larger than {MAX_LINE} bytes", spec.gvk),
            )));
        }
    }
    drop(turn);
    if begun.elapsed() < Duration::from_secs(SECONDS.into()) {
        return Err(End::Failed(ClusterError::new(
            ErrorKind::Unavailable,
            format!("the watch of {} was ended before its time", spec.gvk),
        )));
    }
    Err(End::Closed)
}

fn tell(opened: &mut Opened) {
    if let Some(opened) = opened.take() {
        // whoever started the watch may have left
        let _ = opened.send(());
    }
}

fn event(line: &[u8]) -> Result<Option<WatchEvent>, ClusterError> {
    if line.iter().all(u8::is_ascii_whitespace) {
        return Ok(None);
    }
    // most events are handed on as they came
    if let Some((kind, object)) = taken_apart(line) {
        match kind {
            b"ADDED" | b"MODIFIED" => return Ok(Some(WatchEvent::Applied(object))),
            b"DELETED" => return Ok(Some(WatchEvent::Deleted(object))),
            _ => {}
        }
    }
    let mut event = crate::parse(line)?;
    let object = event.get_mut("object").map(Value::take).unwrap_or_default();
    let revision = || {
        object
            .pointer("/metadata/resourceVersion")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let bytes = || Bytes::from(object.to_string());
    Ok(match event.get("type").and_then(Value::as_str) {
        Some("ADDED" | "MODIFIED") => Some(WatchEvent::Applied(bytes())),
        Some("DELETED") => Some(WatchEvent::Deleted(bytes())),
        Some("BOOKMARK") => {
            let last = k8s_object::annotation(&object, "k8s.io/initial-events-end") == Some("true");
            Some(if last {
                WatchEvent::Synced(revision())
            } else {
                WatchEvent::Bookmark(revision())
            })
        }
        Some("ERROR") => {
            return Err(ClusterError::from_status(&object, ""));
        }
        _ => None,
    })
}

/// The type of an event and its object, where they are written as kube-apiserver writes them.
fn taken_apart(line: &[u8]) -> Option<(&[u8], Bytes)> {
    let rest = line.strip_prefix(b"{\"type\":\"")?;
    let end = rest.iter().position(|byte| *byte == b'"')?;
    let (kind, rest) = rest.split_at(end);
    let object = rest.strip_prefix(b"\",\"object\":")?;
    let object = object.trim_ascii_end().strip_suffix(b"}")?;
    // whoever reads it tells whether it is an object
    object
        .starts_with(b"{")
        .then(|| (kind, Bytes::copy_from_slice(object)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_taken_apart() {
        let check = |line: &str, expected: Option<WatchEvent>| {
            assert_eq!(event(line.as_bytes()).expect(line), expected);
        };
        let object = r#"{"kind":"ConfigMap","data":{"a":"}"}}"#;
        let applied = WatchEvent::Applied(Bytes::from(object));
        let line = format!("{{\"type\":\"MODIFIED\",\"object\":{object}}}\n");
        check(&line, Some(applied));
        let line = format!("{{\"type\":\"DELETED\",\"object\":{object}}}");
        check(&line, Some(WatchEvent::Deleted(Bytes::from(object))));
        // in another order it is read in full
        let line = format!("{{\"object\":{object},\"type\":\"ADDED\"}}");
        let Some(WatchEvent::Applied(found)) = event(line.as_bytes()).expect("read") else {
            panic!("{line} is no addition");
        };
        let read = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).expect("JSON");
        assert_eq!(read(&found), read(object.as_bytes()));
        check(
            r#"{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"7"}}}"#,
            Some(WatchEvent::Bookmark("7".to_owned())),
        );
        assert!(event(b"nonsense").is_err());
    }
}
