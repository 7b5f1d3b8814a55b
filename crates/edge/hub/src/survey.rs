//! What only a cluster can know before an App comes to it: which of its objects are there already, and whose they are.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use base_json::Digest;
use bytes::Bytes;
use k8s_object::ObjectId;
use roadstead_dispatch::{Existing, Survey, Surveyed, Variant};
use roadstead_model::{AppKey, AppSpec, ClusterId};
use roadstead_plan::{ClusterState, Next, Plan};
use roadstead_wire::DetailKind;
use tokio::task::JoinSet;

use crate::gateway::Details;

/// How many clusters one plan asks at most; those that get the same can be hundreds.
const MOST_CLUSTERS: usize = 100;
/// How many of them at once.
const ABREAST: usize = 16;
/// How long one plan asks; agents of an earlier version never answer.
const PATIENCE: Duration = Duration::from_secs(20);
/// How many objects one question names at most.
const MOST_OBJECTS: usize = 200;
/// And how many bytes of objects, unless one alone is larger.
const MOST_BYTES: usize = 512 << 10;

/// What is to be asked of each cluster, by its name.
pub(crate) type Questions = BTreeMap<String, (ClusterId, Arc<Vec<Survey>>)>;

/// Makes the questions of a plan: for each cluster to which objects are new, what becomes of those that exist there.
pub(crate) fn questions(
    plan: &Plan,
    app: &AppKey,
    spec: &AppSpec,
    clusters: &[(ClusterId, ClusterState)],
    variant: &dyn Fn(&Digest) -> Option<Variant>,
    fetch: &dyn Fn(&Digest) -> Option<Bytes>,
) -> Questions {
    let by_name: BTreeMap<&str, &(ClusterId, ClusterState)> = clusters
        .iter()
        .map(|known| (known.1.name.as_str(), known))
        .collect();
    let mut out = Questions::new();
    for group in plan.groups.iter().filter(|group| group.leaves.is_none()) {
        let created: BTreeSet<&ObjectId> =
            group.changes.created.iter().map(|new| &new.id).collect();
        if created.is_empty() {
            continue;
        }
        // the clusters of a group have the same new objects
        let next =
            group
                .clusters
                .iter()
                .find_map(|name| match by_name.get(name.as_str())?.1.next {
                    Next::Variant(next) => Some(next),
                    _ => None,
                });
        let Some(list) = next.and_then(|next| variant(&next)) else {
            continue;
        };
        let wanted = list
            .lasting()
            .filter(|object| created.contains(&object.id))
            .filter_map(|object| {
                let bytes = fetch(&object.digest)?;
                let mut value = serde_json::from_slice(&bytes).ok()?;
                crate::plan::mask(&mut value);
                let surveyed = Surveyed {
                    id: object.id.clone(),
                    version: object.version.clone(),
                    object: value,
                };
                Some((surveyed, bytes.len()))
            });
        let parts = Arc::new(parts(app, spec, wanted));
        for name in &group.clusters {
            if let Some((id, _)) = by_name.get(name.as_str()) {
                out.insert(name.clone(), (id.clone(), Arc::clone(&parts)));
            }
        }
    }
    out
}

/// Several questions of a bounded size in the place of one that could have any.
fn parts(
    app: &AppKey,
    spec: &AppSpec,
    wanted: impl Iterator<Item = (Surveyed, usize)>,
) -> Vec<Survey> {
    let empty = || Survey {
        app: app.clone(),
        adopt: spec.adopt.clone(),
        takes_over_from: spec
            .takes_over_from
            .iter()
            .map(|name| AppKey::new(app.project.clone(), name.clone()))
            .collect(),
        ignore: spec.sync.ignore_differences.clone(),
        objects: Vec::new(),
    };
    let (mut out, mut last, mut bytes) = (Vec::new(), empty(), 0);
    for (object, size) in wanted {
        let full = last.objects.len() >= MOST_OBJECTS || bytes + size > MOST_BYTES;
        if full && !last.objects.is_empty() {
            out.push(std::mem::replace(&mut last, empty()));
            bytes = 0;
        }
        bytes += size;
        last.objects.push(object);
    }
    if !last.objects.is_empty() {
        out.push(last);
    }
    out
}

/// Asks, and gives what each cluster answered or why it did not.
pub(crate) async fn ask(
    details: &Arc<Details>,
    questions: Questions,
) -> BTreeMap<String, Result<Vec<Existing>, String>> {
    let begun = Instant::now();
    let mut out = BTreeMap::new();
    let mut waiting = JoinSet::new();
    for (at, (name, (id, parts))) in questions.into_iter().enumerate() {
        if at >= MOST_CLUSTERS {
            let why = format!("a plan asks {MOST_CLUSTERS} clusters at most");
            out.insert(name, Err(why));
            continue;
        }
        if begun.elapsed() > PATIENCE {
            let why = format!("others took more than {} s to answer", PATIENCE.as_secs());
            out.insert(name, Err(why));
            continue;
        }
        if waiting.len() >= ABREAST
            && let Some(Ok((name, answer))) = waiting.join_next().await
        {
            out.insert(name, answer);
        }
        let details = Arc::clone(details);
        waiting.spawn(async move { (name, one(&details, &id, &parts).await) });
    }
    while let Some(ended) = waiting.join_next().await {
        if let Ok((name, answer)) = ended {
            out.insert(name, answer);
        }
    }
    out
}

async fn one(
    details: &Details,
    cluster: &ClusterId,
    parts: &[Survey],
) -> Result<Vec<Existing>, String> {
    let mut out = Vec::new();
    for part in parts {
        let Some(first) = part.objects.first().map(|object| object.id.clone()) else {
            continue;
        };
        let kind = DetailKind::Survey(Box::new(part.clone()));
        let bytes = details.ask(cluster, kind, first).await?;
        let found: Vec<Existing> = serde_json::from_slice(&bytes)
            .map_err(|error| format!("its agent's answer cannot be read: {error}"))?;
        out.extend(found);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(sizes: &[usize], expected: &[usize]) {
        let wanted = sizes.iter().enumerate().map(|(number, size)| {
            let id = ObjectId {
                group: String::new(),
                kind: "ConfigMap".to_owned(),
                namespace: "shop".to_owned(),
                name: number.to_string(),
            };
            let surveyed = Surveyed {
                id,
                version: "v1".to_owned(),
                object: json!({}),
            };
            (surveyed, *size)
        });
        let app = AppKey::new("p", "shop");
        let spec: AppSpec = serde_json::from_value(
            json!({"inputs": [{"source": "git"}], "targets": [{"name": "all"}]}),
        )
        .expect("a spec");
        let parts = parts(&app, &spec, wanted);
        let found: Vec<usize> = parts.iter().map(|part| part.objects.len()).collect();
        assert_eq!(found, expected, "{sizes:?}");
    }

    #[test]
    fn questions_are_bounded() {
        check(&[], &[]);
        check(&[10, 10], &[2]);
        check(&[MOST_BYTES * 2, 1, MOST_BYTES], &[1, 1, 1]);
        check(&[1; MOST_OBJECTS + 1], &[MOST_OBJECTS, 1]);
    }
}
