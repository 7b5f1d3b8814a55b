//! What Kubernetes refuses of volumes, claims, their classes and limits beyond the table.

use k8s_apply::schema::Quantity;
use serde_json::{Value, json};

use super::rules::{fixed, items, items_of, text};
use crate::FieldError;

fn amount(value: &Value) -> Option<Quantity> {
    value.as_str().and_then(|text| text.parse().ok())
}

pub(super) fn claim(new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if let Some(old) = old {
        let bound = old["status"]["phase"] == "Bound";
        let settle = |claim: &Value| {
            let mut spec = claim["spec"].clone();
            if let Some(map) = spec.as_object_mut() {
                map.remove("volumeAttributesClassName");
                if bound {
                    map.remove("resources");
                }
                // binding sets it, once
                if old["spec"]["volumeName"].is_null() {
                    map.remove("volumeName");
                }
            }
            spec
        };
        if settle(new) != settle(old) {
            errors.push(FieldError::forbidden(
                "spec",
                "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims",
            ));
        }
        let size = |value: &Value| amount(value).map_or(0, |amount| amount.billionths());
        let asked = |claim: &Value| size(&claim["spec"]["resources"]["requests"]["storage"]);
        let held = size(&old["status"]["capacity"]["storage"]);
        if asked(new) < asked(old) && asked(new) <= held {
            errors.push(FieldError::forbidden(
                "spec.resources.requests.storage",
                "field can not be less than status.capacity",
            ));
        }
        let mode = |claim: &Value| claim["spec"]["volumeMode"].clone();
        if mode(new) != mode(old) {
            let detail = super::rules::IMMUTABLE;
            errors.push(FieldError::invalid("volumeMode", mode(new), detail));
        }
    }
    errors
}

/// What a volume is made of: everything that is no property of any volume.
fn source(volume: &Value) -> Value {
    let mut spec = volume["spec"].clone();
    if let Some(map) = spec.as_object_mut() {
        for field in [
            "accessModes",
            "capacity",
            "claimRef",
            "mountOptions",
            "nodeAffinity",
            "persistentVolumeReclaimPolicy",
            "storageClassName",
            "volumeAttributesClassName",
            "volumeMode",
        ] {
            map.remove(field);
        }
    }
    spec
}

pub(super) fn volume(new: &Value, _: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let spec = &new["spec"];
    modes(&spec["accessModes"], "spec.accessModes", &mut errors);
    let capacity = &spec["capacity"];
    if capacity["storage"].is_null() || items_of(capacity) > 1 {
        errors.push(FieldError::not_supported(
            "spec.capacity",
            capacity.clone(),
            &["storage"],
        ));
    }
    for (name, value) in capacity.as_object().into_iter().flatten() {
        let Some(amount) = amount(value) else {
            continue;
        };
        let at = format!("spec.capacity[{name}]");
        if amount.is_negative() {
            let whole = i64::try_from(amount.billionths() / 1_000_000_000).unwrap_or(i64::MIN);
            let detail = "must be a valid resource quantity";
            errors.push(FieldError::invalid(at.clone(), json!(whole), detail));
        }
        if amount.is_zero() || amount.is_negative() {
            let detail = "must be greater than zero";
            errors.push(FieldError::invalid(at, value.clone(), detail));
        }
    }
    match items_of(&source(new)) {
        0 => errors.push(FieldError::required("spec", "must specify a volume type")),
        1 => {}
        _ => {
            let source = source(new);
            let names = source.as_object().into_iter().flatten().skip(1);
            errors.extend(names.map(|(name, _)| {
                let detail = "may not specify more than 1 volume type";
                FieldError::forbidden(format!("spec.{name}"), detail)
            }));
        }
    }
    errors
}

pub(super) fn volume_changes(new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let Some(old) = old else { return Vec::new() };
    let mut errors = Vec::new();
    if source(new) != source(old) {
        errors.push(FieldError::forbidden(
            "spec.persistentvolumesource",
            "spec.persistentvolumesource is immutable after creation",
        ));
    }
    let mode = |volume: &Value| volume["spec"]["volumeMode"].clone();
    let there = !new["spec"].is_null();
    if there && mode(new) != mode(old) {
        let detail = super::rules::IMMUTABLE;
        errors.push(FieldError::invalid("volumeMode", mode(new), detail));
    }
    errors
}

/// One mode shares a volume with no other.
fn modes(list: &Value, at: &str, errors: &mut Vec<FieldError>) {
    let known = ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce"];
    let all = || items(list).map(text);
    if all().any(|mode| mode == "ReadWriteOncePod") && all().any(|mode| known.contains(&mode)) {
        let detail = "may not use ReadWriteOncePod with other access modes";
        errors.push(FieldError::forbidden(at, detail));
    }
}

pub(super) fn storage_class(new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    fixed(
        new,
        old,
        &[
            "provisioner",
            "parameters",
            "reclaimPolicy",
            "volumeBindingMode",
        ],
    )
}

pub(super) fn volume_attachment(new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let source = &new["spec"]["source"];
    let detail = "must specify exactly one of inlineVolumeSpec and persistentVolumeName";
    match (&source["inlineVolumeSpec"], &source["persistentVolumeName"]) {
        (Value::Null, Value::Null) => {
            errors.push(FieldError::required("spec.source", detail));
        }
        (Value::Null, name) => {
            let (name, at) = (text(name), "spec.source.persistentVolumeName");
            if name.is_empty() {
                let detail = "must specify non empty persistentVolumeName";
                errors.push(FieldError::required(at, detail));
            }
            for problem in crate::registry::words::Form::Subdomain.problems(name) {
                errors.push(FieldError::invalid(at, json!(name), problem));
            }
        }
        (_, Value::Null) => {}
        _ => errors.push(FieldError::forbidden("spec.source", detail)),
    }
    errors.extend(fixed(new, old, &["spec"]));
    errors
}

pub(super) fn csi_node(new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let Some(old) = old else { return Vec::new() };
    // how many volumes fit may change
    let settle = |driver: &Value| {
        let mut driver = driver.clone();
        if let Some(map) = driver.as_object_mut() {
            map.remove("allocatable");
        }
        driver
    };
    let mut errors = Vec::new();
    for before in items(&old["spec"]["drivers"]) {
        let mut all = items(&new["spec"]["drivers"]);
        if let Some(now) = all.find(|now| now["name"] == before["name"])
            && settle(now) != settle(before)
        {
            let detail = super::rules::IMMUTABLE;
            errors.push(FieldError::invalid("spec.drivers", now.clone(), detail));
        }
    }
    errors
}

const STANDARD: [&str; 5] = ["cpu", "memory", "ephemeral-storage", "storage", "pods"];

/// The name of what is limited.
fn resource_name(kind: &str, name: &str, at: &str, errors: &mut Vec<FieldError>) {
    let problems = crate::registry::words::qualified(name);
    let sound = problems.is_empty();
    for problem in problems {
        errors.push(FieldError::invalid(at, json!(name), problem));
    }
    if name.contains('/') {
        return;
    }
    let counted = [
        "configmaps",
        "limits.cpu",
        "limits.ephemeral-storage",
        "limits.memory",
        "persistentvolumeclaims",
        "replicationcontrollers",
        "requests.cpu",
        "requests.ephemeral-storage",
        "requests.memory",
        "requests.storage",
        "resourcequotas",
        "secrets",
        "services",
        "services.loadbalancers",
        "services.nodeports",
    ];
    let huge = name.starts_with("hugepages-");
    let standard = huge || STANDARD.contains(&name) || counted.contains(&name);
    if sound && !standard {
        let detail = "must be a standard resource type or fully qualified";
        errors.push(FieldError::invalid(at, json!(name), detail));
    }
    let in_pods = huge || STANDARD[..3].contains(&name);
    if matches!(kind, "Pod" | "Container") && !in_pods {
        let detail = "must be a standard resource for containers";
        errors.push(FieldError::invalid(at, json!(name), detail));
    }
}

pub(super) fn limit_range(new: &Value, _: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut kinds = std::collections::BTreeSet::new();
    for (index, limit) in items(&new["spec"]["limits"]).enumerate() {
        let at = |field: &str| format!("spec.limits[{index}].{field}");
        let kind = text(&limit["type"]);
        let known = ["Pod", "Container", "PersistentVolumeClaim"];
        if crate::registry::words::qualified(kind).is_empty()
            && !kind.contains('/')
            && !known.contains(&kind)
        {
            let detail = "must be a standard limit type or fully qualified";
            errors.push(FieldError::invalid(at("type"), json!(kind), detail));
        }
        if !kinds.insert(kind) {
            errors.push(FieldError::duplicate(at("type"), json!(kind)));
        }
        for field in [
            "max",
            "min",
            "default",
            "defaultRequest",
            "maxLimitRequestRatio",
        ] {
            if kind == "Pod" && field.starts_with("default") {
                if items_of(&limit[field]) > 0 {
                    let detail = "may not be specified when `type` is 'Pod'";
                    errors.push(FieldError::forbidden(at(field), detail));
                }
                continue;
            }
            for (name, _) in limit[field].as_object().into_iter().flatten() {
                let place = format!("{}[{name}]", at(field));
                resource_name(kind, name, &place, &mut errors);
            }
        }
        let bounded = |field: &str| !limit[field]["storage"].is_null();
        if kind == "PersistentVolumeClaim" && !bounded("min") && !bounded("max") {
            errors.push(FieldError::required(
                at("limits"),
                "either minimum or maximum storage value is required, but neither was provided",
            ));
        }
        ranges(limit, index, &mut errors);
    }
    errors
}

/// No limit lies outside of another.
fn ranges(limit: &Value, index: usize, errors: &mut Vec<FieldError>) {
    // what is compared, where it is said, and whose value is shown
    let pairs = [
        ("min", "max", "min", "min", "min", "max"),
        (
            "min",
            "defaultRequest",
            "defaultRequest",
            "defaultRequest",
            "min",
            "default request",
        ),
        (
            "defaultRequest",
            "max",
            "defaultRequest",
            "defaultRequest",
            "default request",
            "max",
        ),
        (
            "defaultRequest",
            "default",
            "defaultRequest",
            "defaultRequest",
            "default request",
            "default limit",
        ),
        ("min", "default", "default", "min", "min", "default"),
        ("default", "max", "default", "max", "default", "max"),
    ];
    for (low, high, place, shown, low_word, high_word) in pairs {
        for (name, lower) in limit[low].as_object().into_iter().flatten() {
            let upper = &limit[high][name];
            if let (Some(least), Some(most)) = (amount(lower), amount(upper))
                && least > most
            {
                errors.push(FieldError::invalid(
                    format!("spec.limits[{index}].{place}[{name}]"),
                    limit[shown][name].clone(),
                    format!(
                        "{low_word} value {} is greater than {high_word} value {}",
                        text(lower),
                        text(upper)
                    ),
                ));
            }
        }
    }
}
