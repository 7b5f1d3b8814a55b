//! Custom resources: a definition becomes resources like any other.

mod check;
mod decode;
mod defaults;
mod inner;
mod internal;
mod paths;
mod schema;
mod structure;

use std::sync::{Arc, OnceLock};

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::resource::ServedVersion;
use crate::{Column, ResourceDef, Scale, Schema, jsonpath, structural, world};

pub(crate) use check::{check, unknown_formats};
pub(crate) use decode::{converted_misfit, misfit};

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

/// What its resources offer, in the order in which Kubernetes names it.
const VERBS: [&str; 8] = [
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "create",
    "update",
    "watch",
];

/// Turns a definition into the resources that it serves, one per served version.
pub(crate) fn resources(definition: &Value) -> Vec<ResourceDef> {
    let spec = &definition["spec"];
    // what was taken counts, whatever is wanted now
    let names = &definition["status"]["acceptedNames"];
    let (group, kind, plural) = (
        text(&spec["group"]),
        text(&names["kind"]),
        text(&names["plural"]),
    );
    if group.is_empty()
        || kind.is_empty()
        || plural.is_empty()
        || !is_true(definition, "Established")
    {
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
        def.verbs = VERBS.map(str::to_owned).to_vec();
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
    let schema_of = |version: &Value| version["schema"]["openAPIV3Schema"].clone();
    let first = versions.first().map(schema_of);
    let differ = versions
        .iter()
        .any(|version| Some(schema_of(version)) != first);
    for def in &mut out {
        def.several_forms = differ;
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
        made.description = match text(&column["description"]) {
            "" => format!("Custom resource definition column (in JSONPath format): {path}"),
            own => own.to_owned(),
        };
        made.priority = column["priority"]
            .as_i64()
            .and_then(|priority| i32::try_from(priority).ok())
            .unwrap_or(0);
        out.push(made);
    }
    out
}

/// Is this condition true?
pub(crate) fn is_true(definition: &Value, kind: &str) -> bool {
    condition(definition, kind).is_some_and(|condition| condition["status"] == json!("True"))
}

fn condition<'a>(definition: &'a Value, kind: &str) -> Option<&'a Value> {
    definition["status"]["conditions"]
        .as_array()?
        .iter()
        .find(|condition| condition["type"] == json!(kind))
}

/// Writes a condition; its time changes with its state only.
fn set_condition(definition: &mut Value, now: &str, wanted: [&str; 4]) {
    let [kind, status, reason, message] = wanted;
    let since = condition(definition, kind)
        .filter(|before| before["status"] == json!(status))
        .map_or_else(|| json!(now), |before| before["lastTransitionTime"].clone());
    let made = json!({
        "type": kind, "status": status, "reason": reason, "message": message,
        "lastTransitionTime": since,
    });
    if !definition["status"]["conditions"].is_array() {
        definition["status"]["conditions"] = json!([]);
    }
    if let Some(list) = definition["status"]["conditions"].as_array_mut() {
        match list.iter_mut().find(|known| known["type"] == json!(kind)) {
            Some(known) => *known = made,
            None => list.push(made),
        }
    }
}

/// Fills in what a definition shows: names, what was stored, and the conditions that say whether it is served. `others` are
/// the definitions beside it.
pub(crate) fn settle(definition: &mut Value, others: &[Value], now: Timestamp) {
    inner::tidy(definition);
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
    if !definition["spec"].is_object() {
        return;
    }
    let names = &mut definition["spec"]["names"];
    let kind = text(&names["kind"]).to_owned();
    if !kind.is_empty() {
        if text(&names["singular"]).is_empty() {
            names["singular"] = json!(kind.to_lowercase());
        }
        if text(&names["listKind"]).is_empty() {
            names["listKind"] = json!(format!("{kind}List"));
        }
    }
    if definition["spec"].get("conversion").is_none() {
        definition["spec"]["conversion"] = json!({"strategy": "None"});
    }
    let now = world::time_text(now);
    if !definition["status"].is_object() {
        definition["status"] = json!({});
    }
    let mut stored = definition["status"]["storedVersions"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let wanted = structure::parts(&definition["spec"], "versions")
        .iter()
        .find(|version| version["storage"] == json!(true))
        .map(|version| json!(text(&version["name"])));
    if let Some(version) = wanted.filter(|version| !stored.contains(version)) {
        stored.push(version);
    }
    definition["status"]["storedVersions"] = Value::Array(stored);
    if ends {
        return;
    }
    accept_names(definition, others, &now);
    match structure_problem(definition) {
        Some((status, reason, message)) => set_condition(
            definition,
            &now,
            ["NonStructuralSchema", status, reason, &message],
        ),
        None => {
            if let Some(list) = definition["status"]["conditions"].as_array_mut() {
                list.retain(|known| known["type"] != json!("NonStructuralSchema"));
            }
        }
    }
}

/// Takes the names that are free, and says which are not.
fn accept_names(definition: &mut Value, others: &[Value], now: &str) {
    let group = definition["spec"]["group"].clone();
    let wanted = definition["spec"]["names"].clone();
    let mut accepted = definition["status"]
        .get("acceptedNames")
        .filter(|names| names.is_object())
        .cloned()
        .unwrap_or_else(|| json!({"plural": "", "kind": ""}));
    let (mut resources, mut kinds) = (Vec::new(), Vec::new());
    for other in others {
        if other["spec"]["group"] == group
            && k8s_object::name(other) != k8s_object::name(definition)
        {
            let names = &other["status"]["acceptedNames"];
            resources.extend([text(&names["plural"]), text(&names["singular"])]);
            resources.extend(structural::texts(names.get("shortNames")));
            kinds.extend([text(&names["kind"]), text(&names["listKind"])]);
        }
    }
    let taken = |name: &str, own: &str, used: &[&str]| name != own && used.contains(&name);
    let in_use = |name: &str| format!("{name:?} is already in use");
    let mut refused: Option<(&str, String)> = None;
    for (field, reason, used) in [
        ("plural", "PluralConflict", &resources),
        ("singular", "SingularConflict", &resources),
        ("shortNames", "ShortNamesConflict", &resources),
        ("kind", "KindConflict", &kinds),
        ("listKind", "ListKindConflict", &kinds),
    ] {
        if field == "shortNames" {
            let own = structural::texts(accepted.get(field));
            let problems: Vec<String> = structural::texts(wanted.get(field))
                .into_iter()
                .filter(|name| !own.contains(name) && used.contains(name))
                .map(in_use)
                .collect();
            match problems.as_slice() {
                [] => copy(&wanted, &mut accepted, field),
                [one] => refused = Some((reason, one.clone())),
                many => refused = Some((reason, format!("[{}]", many.join(", ")))),
            }
        } else if taken(text(&wanted[field]), text(&accepted[field]), used) {
            refused = Some((reason, in_use(text(&wanted[field]))));
        } else {
            copy(&wanted, &mut accepted, field);
        }
    }
    copy(&wanted, &mut accepted, "categories");
    definition["status"]["acceptedNames"] = accepted;
    let served = is_true(definition, "Established");
    match refused {
        Some((reason, message)) => {
            set_condition(
                definition,
                now,
                ["NamesAccepted", "False", reason, &message],
            );
            if condition(definition, "Established").is_none() {
                let why = [
                    "Established",
                    "False",
                    "NotAccepted",
                    "not all names are accepted",
                ];
                set_condition(definition, now, why);
            }
        }
        None => {
            let fine = ["NamesAccepted", "True", "NoConflicts", "no conflicts found"];
            set_condition(definition, now, fine);
            if !served {
                let fine = [
                    "Established",
                    "True",
                    "InitialNamesAccepted",
                    "the initial names have been accepted",
                ];
                set_condition(definition, now, fine);
            }
        }
    }
}

fn copy(from: &Value, to: &mut Value, field: &str) {
    let Some(map) = to.as_object_mut() else {
        return;
    };
    match from.get(field).filter(|value| !value.is_null()) {
        Some(value) => map.insert(field.to_owned(), value.clone()),
        None => map.remove(field),
    };
}

/// Where the schemas are not structural; a definition of old may be so.
fn structure_problem(definition: &Value) -> Option<(&'static str, &'static str, String)> {
    let mut errors = Vec::new();
    if definition["spec"]["preserveUnknownFields"] == json!(true) {
        let at = "spec.preserveUnknownFields";
        errors.push(crate::FieldError::invalid(at, json!(true), "must be false"));
    }
    for (index, version) in structure::parts(&definition["spec"], "versions")
        .iter()
        .enumerate()
    {
        let schema = &version["schema"]["openAPIV3Schema"];
        if !schema.is_object() {
            continue;
        }
        if let Some(why) = structure::unsupported(schema) {
            let name = text(&version["name"]);
            let message = format!("failed to check validation schema for version {name}: {why}");
            return Some(("Unknown", "StructuralError", message));
        }
        let at = format!("spec.versions[{index}].schema.openAPIV3Schema");
        errors.extend(structure::check(schema, &at));
    }
    let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
    match texts.as_slice() {
        [] => None,
        [one] => Some(("True", "Violations", one.clone())),
        many => Some(("True", "Violations", format!("[{}]", many.join(", ")))),
    }
}

/// Says that a definition ends, and how far that is.
pub(crate) fn ending(definition: &mut Value, now: Timestamp, done: bool) {
    let now = world::time_text(now);
    let wanted = if done {
        [
            "Terminating",
            "True",
            "InstanceDeletionInProgress",
            "CustomResource deletion is in progress",
        ]
    } else {
        [
            "Terminating",
            "True",
            "InstanceDeletionPending",
            "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon",
        ]
    };
    if definition["status"].is_object() {
        set_condition(definition, &now, wanted);
    }
}
