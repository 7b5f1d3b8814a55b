//! What the server offers, in both forms, and `/version`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::{Catalog, ResourceDef, VersionInfo, group_version};

fn gvk(group: &str, version: &str, kind: &str) -> Value {
    json!({"group": group, "version": version, "kind": kind})
}

/// Whatever is asked is handed on.
fn proxied() -> Vec<&'static str> {
    vec!["create", "delete", "get", "patch", "update"]
}

/// What a kind is in aggregated discovery: of what is built in only another version than the list's own is told.
fn response_kind(def: &ResourceDef, kind: Value) -> Value {
    let same = kind["group"] == json!(def.group) && kind["version"] == json!(def.version);
    if same && matches!(def.schema, crate::Schema::Builtin) {
        gvk("", "", kind["kind"].as_str().unwrap_or_default())
    } else {
        kind
    }
}

/// What a subresource offers: its name, its kind, its verbs.
fn subresources(def: &ResourceDef) -> Vec<(String, Value, Vec<&'static str>)> {
    let own = || gvk(&def.group, &def.version, &def.kind);
    let mut out = Vec::new();
    for name in &def.subresources {
        let (kind, verbs) = match (def.plural.as_str(), name.as_str()) {
            ("namespaces", "finalize") => (own(), vec!["update"]),
            ("pods", "binding") => (gvk("", "v1", "Binding"), vec!["create"]),
            ("pods", "eviction") => (gvk("policy", "v1", "Eviction"), vec!["create"]),
            ("pods", "log") => (own(), vec!["get"]),
            ("nodes", "proxy") => (gvk("", "v1", "NodeProxyOptions"), proxied()),
            ("pods", "proxy") => (gvk("", "v1", "PodProxyOptions"), proxied()),
            ("services", "proxy") => (gvk("", "v1", "ServiceProxyOptions"), proxied()),
            ("pods", "exec") => (gvk("", "v1", "PodExecOptions"), vec!["create", "get"]),
            ("pods", "attach") => (gvk("", "v1", "PodAttachOptions"), vec!["create", "get"]),
            ("pods", "portforward") => (
                gvk("", "v1", "PodPortForwardOptions"),
                vec!["create", "get"],
            ),
            ("pods", "ephemeralcontainers" | "resize") => (own(), vec!["get", "patch", "update"]),
            ("serviceaccounts", "token") => (
                gvk("authentication.k8s.io", "v1", "TokenRequest"),
                vec!["create"],
            ),
            ("certificatesigningrequests", "approval") => (own(), vec!["get", "patch", "update"]),
            _ => (own(), vec!["create", "get"]),
        };
        out.push((name.clone(), kind, verbs));
    }
    if def.status_subresource {
        out.push(("status".to_owned(), own(), vec!["get", "patch", "update"]));
    }
    if def.scale.is_some() {
        let kind = gvk("autoscaling", "v1", "Scale");
        out.push(("scale".to_owned(), kind, vec!["get", "patch", "update"]));
    }
    // those of custom resources stand as they are: the status first
    if !def.custom {
        out.sort_by(|a, b| a.0.cmp(&b.0));
    }
    out
}

/// Writes aggregated discovery: of the core group, or of all others.
pub(crate) fn aggregated(catalog: &Catalog, core: bool) -> Value {
    let items: Vec<Value> = catalog
        .groups()
        .filter(|group| group.is_empty() == core)
        .map(|group| {
            let versions: Vec<Value> = catalog
                .versions(group)
                .into_iter()
                .map(|version| {
                    let resources: Vec<Value> = catalog
                        .resources(group, version)
                        .map(|def| aggregated_resource(def))
                        .collect();
                    json!({"version": version, "resources": resources, "freshness": "Current"})
                })
                .collect();
            let metadata = if core {
                json!({})
            } else {
                json!({"name": group})
            };
            json!({"metadata": metadata, "versions": versions})
        })
        .collect();
    json!({
        "kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {},
        "items": items,
    })
}

fn aggregated_resource(def: &ResourceDef) -> Value {
    let mut out = json!({
        "resource": def.plural,
        "responseKind": response_kind(def, gvk(&def.group, &def.version, &def.kind)),
        "scope": if def.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": def.singular,
        "verbs": def.verbs,
    });
    if !def.short_names.is_empty() {
        out["shortNames"] = json!(def.short_names);
    }
    if !def.categories.is_empty() {
        out["categories"] = json!(def.categories);
    }
    let below: Vec<Value> = subresources(def)
        .into_iter()
        .map(|(name, kind, verbs)| {
            let kind = response_kind(def, kind);
            json!({"subresource": name, "responseKind": kind, "verbs": verbs})
        })
        .collect();
    if !below.is_empty() {
        out["subresources"] = json!(below);
    }
    out
}

/// Writes the versions of the core group.
pub(crate) fn core_versions(catalog: &Catalog) -> Value {
    json!({
        "kind": "APIVersions", "versions": catalog.versions(""),
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": ""}],
    })
}

/// Writes one group; `None` if there is none.
pub(crate) fn group(catalog: &Catalog, group: &str) -> Option<Value> {
    if group.is_empty() || !catalog.has_group(group) {
        return None;
    }
    let versions: Vec<Value> = catalog
        .versions(group)
        .into_iter()
        .map(|version| json!({"groupVersion": group_version(group, version), "version": version}))
        .collect();
    Some(json!({
        "kind": "APIGroup", "apiVersion": "v1", "name": group,
        "preferredVersion": versions.first(), "versions": versions,
    }))
}

/// Writes every group but the core one.
pub(crate) fn groups(catalog: &Catalog) -> Value {
    let list: Vec<Value> = catalog
        .groups()
        .filter_map(|name| {
            let mut group = group(catalog, name)?;
            if let Some(map) = group.as_object_mut() {
                map.remove("kind");
                map.remove("apiVersion");
            }
            Some(group)
        })
        .collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": list})
}

/// Writes the resources of a version; `None` if there is none.
pub(crate) fn resources(catalog: &Catalog, group: &str, version: &str) -> Option<Value> {
    if !catalog.has(group, version) {
        return None;
    }
    let mut out = Vec::new();
    for def in catalog.resources(group, version) {
        let mut entry = json!({
            "name": def.plural, "singularName": def.singular, "namespaced": def.namespaced,
            "kind": def.kind, "verbs": def.verbs,
        });
        if !def.short_names.is_empty() {
            entry["shortNames"] = json!(def.short_names);
        }
        if !def.categories.is_empty() {
            entry["categories"] = json!(def.categories);
        }
        // what is stored
        if def.offers("create") && !def.review {
            let (mut group, mut version) = (&def.group, &def.storage_version);
            if let Some(hashed) = &def.hashed_version {
                version = hashed;
            }
            let (own_group, own_version);
            if let Some(stored) = &def.stored_as {
                own_group = stored.group.to_owned();
                own_version = stored.version.to_owned();
                (group, version) = (&own_group, &own_version);
            }
            let digest =
                base_json::Digest::of(format!("{group}/{version}/{}", def.kind).as_bytes());
            let hash = STANDARD.encode(&digest.as_bytes()[..8]);
            entry["storageVersionHash"] = json!(hash);
        }
        out.push(entry);
        for (name, kind, verbs) in subresources(def) {
            let mut entry = json!({
                "name": format!("{}/{name}", def.plural), "singularName": "",
                "namespaced": def.namespaced, "kind": kind["kind"], "verbs": verbs,
            });
            if kind["group"] != json!(def.group) || kind["version"] != json!(def.version) {
                entry["group"] = kind["group"].clone();
                entry["version"] = kind["version"].clone();
            }
            out.push(entry);
        }
    }
    let mut document = json!({
        "kind": "APIResourceList", "apiVersion": "v1",
        "groupVersion": group_version(group, version), "resources": out,
    });
    // the oldest group is written without
    if let Some(document) = document.as_object_mut().filter(|_| group.is_empty()) {
        document.remove("apiVersion");
    }
    Some(document)
}

/// Writes `/version`.
pub(crate) fn version(info: &VersionInfo) -> Value {
    let mut parts = info.git_version.trim_start_matches('v').split('.');
    let mut digits = || -> String {
        parts
            .next()
            .unwrap_or_default()
            .chars()
            .take_while(char::is_ascii_digit)
            .collect()
    };
    json!({
        "major": digits(), "minor": digits(), "gitVersion": info.git_version,
        "gitCommit": info.git_commit, "gitTreeState": "clean", "buildDate": info.build_date,
        "goVersion": "none", "compiler": "rustc", "platform": "linux/amd64",
    })
}
