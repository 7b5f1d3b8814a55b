//! What the loop listens to beside its hub: watches of the cluster, and contents on their way.

use std::collections::BTreeMap;
use std::sync::Arc;

use base_json::Digest;
use bytes::Bytes;
use futures_util::StreamExt as _;
use k8s_cluster::{Cluster, WatchSpec};
use roadstead_sync::Input;
use roadstead_wire::{AgentClient, ContentError, Want};
use tokio::sync::mpsc;

use crate::hub::chain;
use crate::shell::Event;

/// Watches one kind, and hands on what it hears, until the watch ends.
pub(crate) async fn follow(
    cluster: Arc<dyn Cluster>,
    spec: WatchSpec,
    number: u64,
    to: mpsc::Sender<Event>,
) {
    let gvk = spec.gvk.clone();
    let error = match cluster.watch(spec).await {
        Err(error) => Some(error),
        Ok(mut stream) => loop {
            match stream.next().await {
                None => break None,
                Some(Err(error)) => break Some(error),
                Some(Ok(event)) => {
                    let input = Input::Watch {
                        gvk: gvk.clone(),
                        event,
                    };
                    if to.send(Event::Watch(number, input)).await.is_err() {
                        return;
                    }
                }
            }
        },
    };
    drop(
        to.send(Event::Watch(number, Input::WatchEnded { gvk, error }))
            .await,
    );
}

/// Fetches contents, and hands on what came and what did not.
pub(crate) async fn fetched(
    mut client: AgentClient,
    wants: Vec<Want>,
    bases: BTreeMap<Digest, Bytes>,
    to: mpsc::Sender<Event>,
) {
    let mut missing: Vec<Digest> = wants.iter().map(|want| want.digest).collect();
    let mut reason = "the hub did not send it".to_owned();
    let mut next = wants;
    // a patch that does not fit is asked for again, whole
    while !next.is_empty() {
        let wants = std::mem::take(&mut next);
        let mut stream = match client.fetch(&wants).await {
            Ok(stream) => stream,
            Err(error) => {
                reason = chain(&error);
                break;
            }
        };
        loop {
            let fetched = match stream.next().await {
                Ok(Some(fetched)) => fetched,
                Ok(None) => break,
                Err(error) => {
                    reason = chain(&error);
                    break;
                }
            };
            let digest = fetched.digest;
            match fetched.resolve(|base| bases.get(base).map(|bytes| bytes.to_vec())) {
                Ok(bytes) => {
                    missing.retain(|wanted| *wanted != digest);
                    let input = Input::Blobs(vec![(digest, Bytes::from(bytes))]);
                    if to.send(Event::Input(input)).await.is_err() {
                        return;
                    }
                }
                Err(ContentError::Refused { reason: why, .. }) => reason = why,
                Err(error) => {
                    reason = chain(&error);
                    if wants
                        .iter()
                        .any(|want| want.digest == digest && want.base.is_some())
                    {
                        next.push(Want::whole(digest));
                    }
                }
            }
        }
    }
    if !missing.is_empty() {
        tracing::warn!(count = missing.len(), %reason, "content is missing");
        let input = Input::BlobsFailed {
            digests: missing,
            reason,
        };
        drop(to.send(Event::Input(input)).await);
    }
}
