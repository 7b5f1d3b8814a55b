//! What API servers would say to a plan: of the clusters that get the same and run the same Kubernetes, one is asked.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use base_json::Digest;
use bytes::Bytes;
use k8s_object::ObjectId;
use roadstead_dispatch::{Surveyed, Trial, Tried, Variant};
use roadstead_model::{AppKey, AppSpec, ClusterId, ConflictPolicy};
use roadstead_plan::{Check, ClusterState, Next, Plan};
use roadstead_wire::DetailKind;
use tokio::task::JoinSet;

use crate::gateway::Details;

/// How many clusters one plan asks at most.
const MOST_ASKED: usize = 50;
/// How many objects one question names at most, and how many bytes of objects, unless one alone is larger.
const MOST_OBJECTS: usize = 200;
const MOST_BYTES: usize = 512 << 10;
/// How long one plan asks.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is known of a cluster that may be asked.
pub(crate) struct Asking {
    pub(crate) connected: bool,
    /// Its Kubernetes, such as `v1.36.3`; empty if its agent has not told.
    pub(crate) version: String,
}

/// What is to be asked of each cluster, by its name.
pub(crate) type Trials = BTreeMap<String, (ClusterId, Vec<Trial>)>;

/// Finds the groups of a plan that an API server can confirm, notes them in it, and makes the questions.
pub(crate) fn trials(
    plan: &mut Plan,
    app: &AppKey,
    spec: &AppSpec,
    clusters: &[(ClusterId, ClusterState)],
    asking: &BTreeMap<ClusterId, Asking>,
    variant: &dyn Fn(&Digest) -> Option<Variant>,
    fetch: &dyn Fn(&Digest) -> Option<Bytes>,
) -> Trials {
    let by_name: BTreeMap<&str, &(ClusterId, ClusterState)> = clusters
        .iter()
        .map(|known| (known.1.name.as_str(), known))
        .collect();
    let (mut checks, mut out) = (Vec::new(), Trials::new());
    for group in &plan.groups {
        let created = group.changes.created.iter().map(|new| &new.id);
        let changed = group.changes.changed.iter().map(|changed| &changed.id);
        let wanted: BTreeSet<&ObjectId> = created.chain(changed).collect();
        if group.leaves.is_some() || wanted.is_empty() {
            continue;
        }
        let mut alike: BTreeMap<(Digest, String), Check> = BTreeMap::new();
        for name in &group.clusters {
            let Some((id, state)) = by_name.get(name.as_str()) else {
                continue;
            };
            let Next::Variant(next) = state.next else {
                continue;
            };
            let known = asking.get(id);
            let minor = known.map_or_else(String::new, |known| minor(&known.version));
            let check = alike.entry((next, minor.clone())).or_insert_with(|| Check {
                minor,
                unknown: "no agent is connected".to_owned(),
                ..Check::default()
            });
            check.clusters.push(name.clone());
            let free = check.asked.is_empty() && out.len() < MOST_ASKED;
            if !free || known.is_none_or(|known| !known.connected) {
                continue;
            }
            let Some(list) = variant(&next) else {
                continue;
            };
            check.asked.clone_from(name);
            check.unknown.clear();
            let questions = questions(app, spec, &list, &wanted, fetch);
            out.insert(name.clone(), (id.clone(), questions));
        }
        checks.extend(alike.into_values());
    }
    plan.checks = checks;
    out
}

/// `1.36` of `v1.36.3`.
fn minor(version: &str) -> String {
    let mut parts = version.trim_start_matches('v').split('.');
    match (parts.next(), parts.next()) {
        (Some(major), Some(minor)) => {
            let digits: String = minor.chars().take_while(char::is_ascii_digit).collect();
            format!("{major}.{digits}")
        }
        _ => String::new(),
    }
}

/// The objects of one cluster, in questions of a bounded size. Secrets are not tried: their values stay where they are.
fn questions(
    app: &AppKey,
    spec: &AppSpec,
    list: &Variant,
    wanted: &BTreeSet<&ObjectId>,
    fetch: &dyn Fn(&Digest) -> Option<Bytes>,
) -> Vec<Trial> {
    let empty = || Trial {
        app: app.clone(),
        force: spec.sync.conflict == ConflictPolicy::Force,
        ignore: spec.sync.ignore_differences.clone(),
        objects: Vec::new(),
    };
    let (mut out, mut last, mut bytes) = (Vec::new(), empty(), 0);
    for object in list.lasting() {
        let secret = object.id.group.is_empty() && object.id.kind == "Secret";
        if secret || object.once || !wanted.contains(&object.id) {
            continue;
        }
        let Some(content) = fetch(&object.digest) else {
            continue;
        };
        let Ok(value) = serde_json::from_slice(&content) else {
            continue;
        };
        let full = last.objects.len() >= MOST_OBJECTS || bytes + content.len() > MOST_BYTES;
        if full && !last.objects.is_empty() {
            out.push(std::mem::replace(&mut last, empty()));
            bytes = 0;
        }
        bytes += content.len();
        last.objects.push(Surveyed {
            id: object.id.clone(),
            version: object.version.clone(),
            object: value,
        });
    }
    if !last.objects.is_empty() {
        out.push(last);
    }
    out
}

/// Asks all at once, and gives what each cluster answered or why it did not.
pub(crate) async fn ask(
    details: &Arc<Details>,
    trials: Trials,
) -> BTreeMap<String, Result<Vec<Tried>, String>> {
    let begun = Instant::now();
    let mut waiting = JoinSet::new();
    for (name, (id, parts)) in trials {
        let details = Arc::clone(details);
        waiting.spawn(async move {
            let mut out = Vec::new();
            for part in parts {
                if begun.elapsed() > PATIENCE {
                    let why = format!("it took more than {} s to answer", PATIENCE.as_secs());
                    return (name, Err(why));
                }
                match one(&details, &id, part).await {
                    Ok(tried) => out.extend(tried),
                    Err(why) => return (name, Err(why)),
                }
            }
            (name, Ok(out))
        });
    }
    let mut out = BTreeMap::new();
    while let Some(ended) = waiting.join_next().await {
        if let Ok((name, answer)) = ended {
            out.insert(name, answer);
        }
    }
    out
}

async fn one(details: &Details, cluster: &ClusterId, part: Trial) -> Result<Vec<Tried>, String> {
    let Some(first) = part.objects.first().map(|object| object.id.clone()) else {
        return Ok(Vec::new());
    };
    let kind = DetailKind::Trial(Box::new(part));
    let bytes = details.ask(cluster, kind, first).await?;
    serde_json::from_slice(&bytes)
        .map_err(|error| format!("its agent's answer cannot be read: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minor_version_is_read_as_servers_write_it() {
        assert_eq!(minor("v1.36.3"), "1.36");
        assert_eq!(minor("v1.31+"), "1.31");
        assert_eq!(minor("v1.30.4-gke.12"), "1.30");
        assert_eq!(minor(""), "");
    }
}
