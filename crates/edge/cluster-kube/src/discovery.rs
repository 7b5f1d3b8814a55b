//! Which kinds the cluster serves.

use k8s_cluster::{ApiResource, ClusterError, Version};
use k8s_object::Gvk;
use serde_json::Value;

use crate::{Inner, parse, path};

/// Asks for everything in one answer; a server that cannot do so sends the old form.
pub(crate) const ACCEPT: &str =
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";

/// Reads the version and every kind.
pub(crate) async fn discover(cluster: &Inner) -> Result<(Version, Vec<ApiResource>), ClusterError> {
    let version = parse(&cluster.get("/version").await?.body)?;
    let mut out = Vec::new();
    for root in ["/api", "/apis"] {
        let answer = parse(&cluster.get(root).await?.body)?;
        if k8s_object::kind(&answer) == "APIGroupDiscoveryList" {
            aggregated(&answer, &mut out);
        } else {
            for (group, version, preferred) in group_versions(&answer) {
                // a group whose own server is away must not hide the others
                if let Ok(answer) = cluster.get(&path::base(&group, &version)).await {
                    legacy(&parse(&answer.body)?, &group, &version, preferred, &mut out);
                }
            }
        }
    }
    let version = Version {
        git_version: text(&version, "gitVersion").to_owned(),
    };
    Ok((version, out))
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn list<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    value
        .get(key)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

fn verbs(resource: &Value) -> Vec<String> {
    list(resource, "verbs")
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}

fn aggregated(answer: &Value, out: &mut Vec<ApiResource>) {
    for group in list(answer, "items") {
        let name = group
            .pointer("/metadata/name")
            .and_then(Value::as_str)
            .unwrap_or_default();
        for (index, version) in list(group, "versions").enumerate() {
            for resource in list(version, "resources") {
                let kind = resource
                    .get("responseKind")
                    .map_or("", |kind| text(kind, "kind"));
                if kind.is_empty() {
                    continue;
                }
                out.push(ApiResource {
                    gvk: Gvk {
                        group: name.to_owned(),
                        version: text(version, "version").to_owned(),
                        kind: kind.to_owned(),
                    },
                    plural: text(resource, "resource").to_owned(),
                    namespaced: text(resource, "scope") == "Namespaced",
                    preferred: index == 0,
                    verbs: verbs(resource),
                });
            }
        }
    }
}

fn group_versions(answer: &Value) -> Vec<(String, String, bool)> {
    let core = list(answer, "versions")
        .filter_map(Value::as_str)
        .enumerate()
        .map(|(index, version)| (String::new(), version.to_owned(), index == 0));
    let groups = list(answer, "groups").flat_map(|group| {
        let preferred = group
            .get("preferredVersion")
            .map_or("", |version| text(version, "version"));
        list(group, "versions").map(move |version| {
            let version = text(version, "version");
            (
                text(group, "name").to_owned(),
                version.to_owned(),
                version == preferred,
            )
        })
    });
    core.chain(groups).collect()
}

fn legacy(answer: &Value, group: &str, version: &str, preferred: bool, out: &mut Vec<ApiResource>) {
    for resource in list(answer, "resources") {
        let plural = text(resource, "name");
        // subresources are no kinds
        if plural.contains('/') {
            continue;
        }
        out.push(ApiResource {
            gvk: Gvk {
                group: group.to_owned(),
                version: version.to_owned(),
                kind: text(resource, "kind").to_owned(),
            },
            plural: plural.to_owned(),
            namespaced: resource
                .get("namespaced")
                .and_then(Value::as_bool)
                .unwrap_or(false),
            preferred,
            verbs: verbs(resource),
        });
    }
}
