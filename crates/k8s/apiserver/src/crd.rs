//! Custom resources: a definition becomes resources like any other.

use std::sync::{Arc, OnceLock};

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::resource::ServedVersion;
use crate::{Column, FieldError, ResourceDef, Scale, Schema, jsonpath, world};

/// Holds a definition until its objects are gone.
pub(crate) const CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";
/// The group of definitions.
pub(crate) const GROUP: &str = "apiextensions.k8s.io";
/// Their plural name.
pub(crate) const PLURAL: &str = "customresourcedefinitions";

fn texts(value: &Value) -> Vec<String> {
    value
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|text| text.as_str().map(str::to_owned))
        .collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Turns a definition into the resources that it serves, one per served version.
pub(crate) fn resources(definition: &Value) -> Vec<ResourceDef> {
    let spec = &definition["spec"];
    let names = &spec["names"];
    let (group, kind, plural) = (
        text(&spec["group"]),
        text(&names["kind"]),
        text(&names["plural"]),
    );
    if group.is_empty() || kind.is_empty() || plural.is_empty() {
        return Vec::new();
    }
    let versions = spec["versions"].as_array().map_or(&[][..], Vec::as_slice);
    let storage = versions
        .iter()
        .find(|version| version["storage"] == json!(true))
        .map_or("", |version| text(&version["name"]));
    let ends =
        k8s_object::meta(definition).is_some_and(|meta| meta.contains_key("deletionTimestamp"));
    let mut out = Vec::new();
    for version in versions {
        if version["served"] != json!(true) {
            continue;
        }
        let mut def = ResourceDef::new(
            group,
            text(&version["name"]),
            kind,
            plural,
            text(&spec["scope"]) != "Cluster",
        );
        def.custom = true;
        def.storage_version = storage.to_owned();
        if let Some(singular) = names["singular"].as_str() {
            def.singular = singular.to_owned();
        }
        if let Some(list_kind) = names["listKind"].as_str() {
            def.list_kind = list_kind.to_owned();
        }
        def.short_names = texts(&names["shortNames"]);
        def.categories = texts(&names["categories"]);
        if ends {
            def.verbs.retain(|verb| verb != "create");
        }
        if let Some(schema) = version["schema"].get("openAPIV3Schema") {
            def.schema = Schema::Json(Arc::new(schema.clone()));
            def.description = text(&schema["description"]).to_owned();
        }
        let subresources = &version["subresources"];
        def.status_subresource = subresources.get("status").is_some();
        if let Some(scale) = subresources.get("scale") {
            def.scale = Some(Scale {
                spec_replicas: text(&scale["specReplicasPath"]).to_owned(),
                status_replicas: text(&scale["statusReplicasPath"]).to_owned(),
                selector: text(&scale["labelSelectorPath"]).to_owned(),
            });
        }
        def.selectable_fields = version["selectableFields"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|field| text(&field["jsonPath"]).trim_start_matches('.').to_owned())
            .collect();
        def.columns = columns(&version["additionalPrinterColumns"]);
        if version["deprecated"] == json!(true) {
            def.warning = Some(version["deprecationWarning"].as_str().map_or_else(
                || format!("{}/{} {kind} is deprecated", group, def.version),
                str::to_owned,
            ));
        }
        out.push(def);
    }
    if out.len() > 1 {
        let served: Arc<[ServedVersion]> = out
            .iter()
            .map(|def| ServedVersion {
                api_version: def.api_version(),
                schema: def.schema.clone(),
                typed: OnceLock::new(),
            })
            .collect();
        for def in &mut out {
            def.versions = Arc::clone(&served);
        }
    }
    out
}

fn columns(list: &Value) -> Vec<Column> {
    let mut out = vec![Column::name()];
    let Some(list) = list.as_array().filter(|list| !list.is_empty()) else {
        out.push(Column {
            kind: "date".to_owned(),
            description: "CreationTimestamp is a timestamp representing the server time when this object was created.".to_owned(),
            ..Column::age()
        });
        return out;
    };
    for column in list {
        let path = text(&column["jsonPath"]);
        if !jsonpath::is_valid(path) {
            continue;
        }
        let mut made = Column::path(text(&column["name"]), text(&column["type"]), path);
        made.format = text(&column["format"]).to_owned();
        made.description = text(&column["description"]).to_owned();
        made.priority = column["priority"]
            .as_i64()
            .and_then(|priority| i32::try_from(priority).ok())
            .unwrap_or(0);
        out.push(made);
    }
    out
}

/// Fills in what a stored definition shows: names, and the conditions that say it is served.
pub(crate) fn settle(definition: &mut Value, now: Timestamp) {
    let ends =
        k8s_object::meta(definition).is_some_and(|meta| meta.contains_key("deletionTimestamp"));
    if !ends && let Some(meta) = k8s_object::meta_mut(definition) {
        let list = meta.entry("finalizers").or_insert_with(|| json!([]));
        if let Some(list) = list.as_array_mut()
            && !list.iter().any(|own| own == CLEANUP)
        {
            list.push(json!(CLEANUP));
        }
    }
    if !definition["spec"]["names"].is_object() {
        return;
    }
    let names = &mut definition["spec"]["names"];
    let kind = text(&names["kind"]).to_owned();
    if names.get("singular").is_none() {
        names["singular"] = json!(kind.to_lowercase());
    }
    if names.get("listKind").is_none() {
        names["listKind"] = json!(format!("{kind}List"));
    }
    let names = names.clone();
    if definition["spec"].get("conversion").is_none() {
        definition["spec"]["conversion"] = json!({"strategy": "None"});
    }
    let stored: Vec<Value> = definition["spec"]["versions"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|version| version["storage"] == json!(true))
        .map(|version| version["name"].clone())
        .collect();
    let now = world::time_text(now);
    let condition = |kind: &str, reason: &str, message: &str, before: &Value| {
        let since = before["conditions"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|condition| condition["type"] == json!(kind))
            .map_or_else(
                || json!(now),
                |condition| condition["lastTransitionTime"].clone(),
            );
        json!({
            "type": kind, "status": "True", "reason": reason, "message": message,
            "lastTransitionTime": since,
        })
    };
    let before = definition.get("status").cloned().unwrap_or_default();
    let mut stored_versions = before["storedVersions"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    for version in stored {
        if !stored_versions.contains(&version) {
            stored_versions.push(version);
        }
    }
    definition["status"] = json!({
        "acceptedNames": names,
        "conditions": [
            condition("NamesAccepted", "NoConflicts", "no conflicts found", &before),
            condition("Established", "InitialNamesAccepted", "the initial names have been accepted", &before),
        ],
        "storedVersions": stored_versions,
    });
}

/// Checks a definition.
pub(crate) fn check(new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let spec = &new["spec"];
    let names = &spec["names"];
    for (path, value) in [
        ("spec.group", &spec["group"]),
        ("spec.names.plural", &names["plural"]),
        ("spec.names.kind", &names["kind"]),
    ] {
        if text(value).is_empty() {
            errors.push(FieldError::required(path, ""));
        }
    }
    let expected = format!("{}.{}", text(&names["plural"]), text(&spec["group"]));
    if k8s_object::name(new) != expected {
        errors.push(FieldError::invalid(
            "metadata.name",
            json!(k8s_object::name(new)),
            "must be spec.names.plural+\".\"+spec.group",
        ));
    }
    if !matches!(text(&spec["scope"]), "Cluster" | "Namespaced") {
        errors.push(if spec["scope"].is_null() {
            FieldError::required("spec.scope", "")
        } else {
            FieldError::not_supported(
                "spec.scope",
                spec["scope"].clone(),
                &["Cluster", "Namespaced"],
            )
        });
    }
    let versions = spec["versions"].as_array().map_or(&[][..], Vec::as_slice);
    let stored = versions
        .iter()
        .filter(|version| version["storage"] == json!(true));
    if stored.count() != 1 {
        errors.push(FieldError::invalid(
            "spec.versions",
            spec["versions"].clone(),
            "must have exactly one version marked as storage version",
        ));
    }
    for (index, version) in versions.iter().enumerate() {
        let path = format!("spec.versions[{index}]");
        if text(&version["name"]).is_empty() {
            errors.push(FieldError::required(format!("{path}.name"), ""));
        }
        if version["schema"].get("openAPIV3Schema").is_none() {
            errors.push(FieldError::required(
                format!("{path}.schema.openAPIV3Schema"),
                "schemas are required",
            ));
        }
    }
    if let Some(old) = old {
        for path in ["group", "scope"] {
            if spec[path] != old["spec"][path] {
                errors.push(FieldError::invalid(
                    format!("spec.{path}"),
                    spec[path].clone(),
                    "field is immutable",
                ));
            }
        }
    }
    errors
}
