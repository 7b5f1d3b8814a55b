//! What Kubernetes refuses beyond types: required parts, fields that never change.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::{FieldError, ValidateFn};

use super::rules_admission::{budget, priority_level, webhooks};
use super::rules_batch::{cron_job, job, job_changes};
use super::rules_devices::{resource_claim, resource_claim_template, resource_slice};
use super::rules_network::{
    endpoints, ingress, ingress_class, ip_address, network_policy, service, service_cidr,
};
use super::rules_pod::{pod, pod_spec};
use super::rules_scaling::autoscaler;
use super::rules_storage::{
    claim, csi_node, limit_range, storage_class, volume, volume_attachment, volume_changes,
};

type Rule = fn(&Value, Option<&Value>) -> Vec<FieldError>;

/// Finds the rules of a kind.
pub(super) fn of(group: &str, version: &str, kind: &str) -> Option<ValidateFn> {
    let own = by_hand(group, kind);
    let gvk = k8s_object::Gvk {
        group: group.to_owned(),
        version: version.to_owned(),
        kind: kind.to_owned(),
    };
    let table = k8s_apply::schema::Schemas::builtin()
        .lookup(&gvk)
        .map(|ty| super::checks::of(&ty));
    if group == crate::crd::GROUP || (own.is_none() && table.is_none()) {
        return own.map(|own| Arc::new(own) as ValidateFn);
    }
    // an update of these is held against their rules twice, and then against what was
    let changes: Option<Rule> = match (group, kind) {
        ("batch", "Job") => Some(job_changes),
        ("", "PersistentVolume") => Some(volume_changes),
        _ => None,
    };
    // of an update of these nothing is looked at but what may not change
    let only_new = matches!(
        (group, kind),
        ("networking.k8s.io", "ServiceCIDR") | ("resource.k8s.io", "ResourceClaim")
    );
    Some(Arc::new(move |new, old| {
        let mut errors = Vec::new();
        if let Some(table) = table.as_ref().filter(|_| !only_new || old.is_none()) {
            super::checks::run(table, new, "", &mut errors);
        }
        if old.is_some() {
            // what may not change is looked at once
            errors
                .retain(|error: &FieldError| !error.path.starts_with("spec.volumeClaimTemplates"));
        }
        errors.extend(own.map_or_else(Vec::new, |own| own(new, old)));
        if let (Some(changes), Some(_)) = (changes, old) {
            errors.extend(errors.clone());
            errors.extend(changes(new, old));
        }
        errors
    }))
}

fn by_hand(group: &str, kind: &str) -> Option<Rule> {
    let rule: Rule = match (group, kind) {
        ("", "Pod") => pod,
        ("", "Service") => service,
        ("", "ConfigMap") => |new, old| {
            let mut errors = config_keys(new);
            errors.extend(immutable_data(new, old, &["data", "binaryData"]));
            let size = plain_size(&new["data"]) + decoded_size(&new["binaryData"]);
            errors.extend(too_large("[]", size));
            errors
        },
        ("", "Secret") => secret,
        ("", "PersistentVolumeClaim") => claim,
        ("apps", "Deployment" | "ReplicaSet" | "DaemonSet") => workload,
        ("apps", "StatefulSet") => stateful_set,
        ("", "PodTemplate") => |new, _| {
            let mut errors = Vec::new();
            template(&new["template"], "template", &mut errors);
            errors
        },
        ("", "ReplicationController") => |new, _| {
            let mut errors = Vec::new();
            let spec = &new["spec"];
            if items_of(&spec["selector"]) == 0 {
                errors.push(FieldError::required("spec.selector", ""));
            }
            if spec["template"].is_null() {
                errors.push(FieldError::required("spec.template", ""));
            } else {
                let labels = &spec["template"]["metadata"]["labels"];
                let mut wanted = spec["selector"].as_object().into_iter().flatten();
                if !wanted.all(|(key, value)| labels.get(key) == Some(value)) {
                    errors.push(FieldError::invalid(
                        "spec.template.metadata.labels",
                        labels.clone(),
                        "`selector` does not match template `labels`",
                    ));
                }
                template(&spec["template"], "spec.template", &mut errors);
                only_restarting(new, &mut errors);
            }
            errors
        },
        ("apps", "ControllerRevision") => |new, old| {
            let mut errors = Vec::new();
            // of an update it is enough that it may not change
            if new["data"].is_null() && old.is_none() {
                errors.push(FieldError::required("data", "data is mandatory"));
            } else if old.is_none() && !new["data"].is_object() {
                let detail = "data must be a valid JSON object";
                errors.push(FieldError::required("data", detail));
            }
            errors.extend(fixed(new, old, &["data"]));
            errors
        },
        ("storage.k8s.io", "VolumeAttributesClass") => |new, old| {
            let Some(old) = old else { return Vec::new() };
            [
                ("driverName", "updates to driverName are forbidden."),
                ("parameters", "updates to parameters are forbidden."),
            ]
            .into_iter()
            .filter(|(field, _)| new[*field] != old[*field])
            .map(|(field, detail)| FieldError::forbidden(field, detail))
            .collect()
        },
        ("apiregistration.k8s.io", "APIService") => api_service,
        ("networking.k8s.io", "IngressClass") => ingress_class,
        ("node.k8s.io", "RuntimeClass") => |new, old| fixed(new, old, &["handler"]),
        ("storage.k8s.io", "CSIStorageCapacity") => {
            |new, old| fixed(new, old, &["storageClassName", "nodeTopology"])
        }
        ("storage.k8s.io", "VolumeAttachment") => volume_attachment,
        ("resource.k8s.io", "ResourceClaim") => resource_claim,
        ("resource.k8s.io", "ResourceClaimTemplate") => resource_claim_template,
        ("resource.k8s.io", "ResourceSlice") => resource_slice,
        ("networking.k8s.io", "IPAddress") => ip_address,
        ("networking.k8s.io", "ServiceCIDR") => service_cidr,
        ("", "LimitRange") => limit_range,
        ("", "PersistentVolume") => volume,
        ("networking.k8s.io", "NetworkPolicy") => network_policy,
        ("discovery.k8s.io", "EndpointSlice") => |new, old| {
            let mut errors = fixed(new, old, &["addressType"]);
            let mut names = std::collections::BTreeSet::new();
            for (index, port) in items(&new["ports"]).enumerate() {
                let name = text(&port["name"]);
                if !names.insert(name) {
                    let at = format!("ports[{index}].name");
                    errors.push(FieldError::duplicate(at, json!(name)));
                }
            }
            errors
        },
        ("", "Endpoints") => endpoints,
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy") => |new, _| {
            let spec = &new["spec"];
            let missing = |list: &str| items(&spec[list]).next().is_none();
            let detail = "validations or auditAnnotations must contain at least one item";
            if missing("validations") && missing("auditAnnotations") {
                ["spec.validations", "spec.auditAnnotations"]
                    .map(|at| FieldError::required(at, detail))
                    .to_vec()
            } else {
                Vec::new()
            }
        },
        ("policy", "PodDisruptionBudget") => budget,
        (
            "admissionregistration.k8s.io",
            "MutatingWebhookConfiguration" | "ValidatingWebhookConfiguration",
        ) => webhooks,
        ("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration") => priority_level,
        ("storage.k8s.io", "CSINode") => csi_node,
        ("batch", "Job") => job,
        ("batch", "CronJob") => cron_job,
        ("rbac.authorization.k8s.io", "RoleBinding") => |new, old| binding(new, old, true),
        ("rbac.authorization.k8s.io", "ClusterRoleBinding") => |new, old| binding(new, old, false),
        ("rbac.authorization.k8s.io", "Role" | "ClusterRole") => role,
        ("networking.k8s.io", "Ingress") => ingress,
        ("autoscaling", "HorizontalPodAutoscaler") => autoscaler,
        ("storage.k8s.io", "StorageClass") => storage_class,
        ("scheduling.k8s.io", "PriorityClass") => |new, old| {
            let Some(old) = old else { return Vec::new() };
            ["value", "preemptionPolicy"]
                .into_iter()
                .filter(|field| new[*field] != old[*field])
                .map(|field| FieldError::forbidden(field, "may not be changed in an update."))
                .collect()
        },
        ("apiextensions.k8s.io", "CustomResourceDefinition") => crate::crd::check,
        _ => return None,
    };
    Some(rule)
}

pub(super) const IMMUTABLE: &str = "field is immutable";

pub(super) fn fixed(new: &Value, old: Option<&Value>, paths: &[&str]) -> Vec<FieldError> {
    let Some(old) = old else { return Vec::new() };
    paths
        .iter()
        .filter_map(|path| {
            let pointer = format!("/{}", path.replace('.', "/"));
            let (before, after) = (old.pointer(&pointer), new.pointer(&pointer));
            // a text that is gone is an empty one
            let none = match before {
                Some(Value::String(_)) => json!(""),
                _ => Value::Null,
            };
            (before != after)
                .then(|| FieldError::invalid(*path, after.cloned().unwrap_or(none), IMMUTABLE))
        })
        .collect()
}

pub(super) fn items_of(value: &Value) -> usize {
    value.as_object().map_or(0, serde_json::Map::len)
}

pub(super) fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

pub(super) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

pub(super) fn template(new: &Value, path: &str, errors: &mut Vec<FieldError>) {
    pod_spec(&new["spec"], &format!("{path}.spec"), errors);
}

fn selector_matches(new: &Value, kind: &str, errors: &mut Vec<FieldError>) {
    let invalid = match kind {
        "statefulset" => "",
        _ => "invalid label selector",
    };
    let selector = &new["spec"]["selector"];
    let labels = new
        .pointer("/spec/template/metadata/labels")
        .filter(|labels| labels.as_object().is_some_and(|labels| !labels.is_empty()));
    let mismatch = |errors: &mut Vec<FieldError>| {
        errors.push(FieldError::invalid(
            "spec.template.metadata.labels",
            labels.cloned().unwrap_or_default(),
            "`selector` does not match template `labels`",
        ));
    };
    if selector.is_null() {
        if kind != "daemonset" {
            errors.push(FieldError::required("spec.selector", ""));
        }
        // of no selector the real one makes one that matches nothing
        mismatch(errors);
        return;
    }
    let mut problems = Vec::new();
    crate::registry::words::selector(selector, "spec.selector", &mut problems);
    match serde_json::from_value::<k8s_object::LabelSelector>(selector.clone()) {
        Ok(selector) if selector.is_empty() => errors.push(FieldError::invalid(
            "spec.selector",
            json!({}),
            format!("empty selector is invalid for {kind}"),
        )),
        Ok(selector) if problems.is_empty() => {
            let value = |key: &str| labels?.get(key)?.as_str();
            if !selector.matches(value) {
                mismatch(errors);
            }
        }
        _ => errors.push(FieldError::invalid(
            "spec.selector",
            selector.clone(),
            invalid,
        )),
    }
}

fn only_restarting(new: &Value, errors: &mut Vec<FieldError>) {
    if !new["spec"]["template"]["spec"]["activeDeadlineSeconds"].is_null() {
        // of a Deployment it is said of its ReplicaSets
        let kind = match text(&new["kind"]) {
            "Deployment" => "ReplicaSet",
            kind => kind,
        };
        errors.push(FieldError::forbidden(
            "spec.template.spec.activeDeadlineSeconds",
            format!("activeDeadlineSeconds in {kind} is not Supported"),
        ));
    }
    let policy = &new["spec"]["template"]["spec"]["restartPolicy"];
    if policy != "Always" {
        errors.push(FieldError::not_supported(
            "spec.template.spec.restartPolicy",
            policy.clone(),
            &["Always"],
        ));
    }
}

fn workload(new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    // of a ReplicaSet it is said of a Deployment too
    let daemon = new["kind"] == "DaemonSet";
    let kind = if daemon { "daemonset" } else { "deployment" };
    selector_matches(new, kind, &mut errors);
    template(&new["spec"]["template"], "spec.template", &mut errors);
    only_restarting(new, &mut errors);
    errors.extend(fixed(new, old, &["spec.selector"]));
    match text(&new["kind"]) {
        "Deployment" => super::rules_rollout::deployment(&new["spec"], &mut errors),
        "DaemonSet" => {
            super::rules_rollout::daemon_set(&new["spec"]["updateStrategy"], &mut errors);
        }
        _ => {}
    }
    errors
}

/// A StatefulSet's template with the volumes of its claims, which come before its own.
fn with_claims(spec: &Value, errors: &mut Vec<FieldError>) -> Value {
    let mut template = spec["template"].clone();
    let mut volumes = Vec::new();
    for (index, claim) in items(&spec["volumeClaimTemplates"]).enumerate() {
        let at = format!("spec.template.spec.volumes[{index}]");
        let name = text(&claim["metadata"]["name"]);
        if name.is_empty() {
            errors.push(FieldError::required(format!("{at}.name"), ""));
            let place = format!("{at}.persistentVolumeClaim.claimName");
            errors.push(FieldError::required(place, ""));
        } else {
            for problem in crate::registry::words::Form::Label.problems(name) {
                errors.push(FieldError::invalid(
                    format!("{at}.name"),
                    json!(name),
                    problem,
                ));
            }
        }
        volumes.push(json!({"name": name, "persistentVolumeClaim": {"claimName": name}}));
    }
    if !volumes.is_empty() && template["spec"].is_object() {
        let own = items(&template["spec"]["volumes"]);
        let own: Vec<Value> = own
            .filter(|own| volumes.iter().all(|claim| claim["name"] != own["name"]))
            .cloned()
            .collect();
        volumes.extend(own);
        template["spec"]["volumes"] = Value::Array(volumes);
    }
    template
}

fn stateful_set(new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    selector_matches(new, "statefulset", &mut errors);
    super::rules_rollout::stateful_set(&new["spec"]["updateStrategy"], &mut errors);
    let policy = text(&new["spec"]["podManagementPolicy"]);
    if !["OrderedReady", "Parallel"].contains(&policy) {
        errors.push(FieldError::invalid(
            "spec.podManagementPolicy",
            json!(policy),
            "must be 'OrderedReady' or 'Parallel'",
        ));
    }
    let service = text(&new["spec"]["serviceName"]);
    if !service.is_empty() && old.is_none() {
        for problem in crate::registry::words::Form::Label.problems(service) {
            errors.push(FieldError::invalid(
                "spec.serviceName",
                json!(service),
                problem,
            ));
        }
    }
    // a template's labels are looked at twice
    let labels = &new["spec"]["template"]["metadata"]["labels"];
    crate::registry::words::labels(labels, "spec.template.labels", &mut errors);
    let whole = with_claims(&new["spec"], &mut errors);
    template(&whole, "spec.template", &mut errors);
    only_restarting(new, &mut errors);
    if let Some(old) = old {
        let fixed_part = |object: &Value| {
            let mut spec = object["spec"].clone();
            if let Some(map) = spec.as_object_mut() {
                for field in [
                    "replicas",
                    "ordinals",
                    "template",
                    "updateStrategy",
                    "revisionHistoryLimit",
                    "persistentVolumeClaimRetentionPolicy",
                    "minReadySeconds",
                ] {
                    map.remove(field);
                }
            }
            spec
        };
        if fixed_part(new) != fixed_part(old) {
            errors.push(FieldError::forbidden(
                "spec",
                "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden",
            ));
        }
    }
    errors
}

fn immutable_data(new: &Value, old: Option<&Value>, fields: &[&str]) -> Vec<FieldError> {
    let Some(old) = old.filter(|old| old["immutable"] == json!(true)) else {
        return Vec::new();
    };
    let why = "field is immutable when `immutable` is set";
    let mut errors = Vec::new();
    if new["immutable"] != json!(true) {
        errors.push(FieldError::forbidden("immutable", why));
    }
    for field in fields {
        if new[*field] != old[*field] {
            errors.push(FieldError::forbidden(*field, why));
        }
    }
    errors
}

fn key_problems(data: &Value, path: &str) -> Vec<FieldError> {
    let keys = data.as_object().into_iter().flatten().map(|(key, _)| key);
    keys.flat_map(|key| {
        let problems = crate::registry::words::Form::ConfigKey.problems(key);
        let at = format!("{path}[{key}]");
        problems
            .into_iter()
            .map(move |problem| FieldError::invalid(at.clone(), json!(key), problem))
    })
    .collect()
}

fn config_keys(new: &Value) -> Vec<FieldError> {
    let mut errors = key_problems(&new["data"], "data");
    for (key, _) in new["data"].as_object().into_iter().flatten() {
        if new["binaryData"].get(key).is_some() {
            let detail = "duplicate of key present in binaryData";
            errors.push(FieldError::invalid(
                format!("data[{key}]"),
                json!(key),
                detail,
            ));
        }
    }
    errors.extend(key_problems(&new["binaryData"], "binaryData"));
    errors
}

fn role(new: &Value, _: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (index, selector) in items(&new["aggregationRule"]["clusterRoleSelectors"]).enumerate() {
        let at = format!("aggregationRule.clusterRoleSelectors[{index}]");
        let before = errors.len();
        crate::registry::words::selector(selector, &at, &mut errors);
        if errors.len() > before {
            errors.push(FieldError::invalid(
                at,
                Value::Null,
                "invalid label selector.",
            ));
        }
    }
    for (index, rule) in items(&new["rules"]).enumerate() {
        let at = |field: &str| format!("rules[{index}].{field}");
        let missing = |field: &str| items(&rule[field]).next().is_none();
        if missing("verbs") {
            errors.push(FieldError::required(
                at("verbs"),
                "verbs must contain at least one value",
            ));
        }
        if missing("nonResourceURLs") {
            if missing("apiGroups") {
                let detail = "resource rules must supply at least one api group";
                errors.push(FieldError::required(at("apiGroups"), detail));
            }
            if missing("resources") {
                let detail = "resource rules must supply at least one resource";
                errors.push(FieldError::required(at("resources"), detail));
            }
        }
    }
    errors
}

fn api_service(new: &Value, _: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let spec = &new["spec"];
    let (group, version) = (text(&spec["group"]), text(&spec["version"]));
    let wanted = format!("{version}.{group}");
    if k8s_object::name(new) != wanted {
        errors.push(FieldError::invalid(
            "metadata.name",
            json!(k8s_object::name(new)),
            format!("must be `spec.version+\".\"+spec.group`: {wanted:?}"),
        ));
    }
    if !group.is_empty() {
        for problem in crate::registry::words::Form::Subdomain.problems(group) {
            errors.push(FieldError::invalid("spec.group", json!(group), problem));
        }
    }
    if spec["service"].is_null() && spec["insecureSkipTLSVerify"] == json!(true) {
        errors.push(FieldError::invalid(
            "spec.insecureSkipTLSVerify",
            json!(true),
            "local APIServices may not have insecureSkipTLSVerify",
        ));
    }
    if group.is_empty() && version != "v1" {
        let detail = "only v1 may have an empty group and it better be legacy kube";
        errors.push(FieldError::required("spec.group", detail));
    }
    for problem in crate::registry::words::Form::Label1035.problems(version) {
        errors.push(FieldError::invalid("spec.version", json!(version), problem));
    }
    let service = &spec["service"];
    if service.is_object() {
        for field in ["namespace", "name"] {
            if text(&service[field]).is_empty() {
                errors.push(FieldError::required(format!("spec.service.{field}"), ""));
            }
        }
    }
    for (field, most) in [("groupPriorityMinimum", 20_000), ("versionPriority", 1000)] {
        let number = spec[field].as_i64().unwrap_or(0);
        if number <= 0 || number > most {
            errors.push(FieldError::invalid(
                format!("spec.{field}"),
                json!(number),
                format!("must be positive and less than {most}"),
            ));
        }
    }
    errors
}

/// What a ConfigMap or a Secret may hold.
const MAX_DATA: usize = 1024 * 1024;

fn too_large(path: &str, size: usize) -> Option<FieldError> {
    let detail = format!("may not be more than {MAX_DATA} bytes");
    (size > MAX_DATA).then(|| FieldError::new(path, crate::FieldProblem::TooLong, None, detail))
}

fn values(data: &Value) -> impl Iterator<Item = &str> {
    data.as_object()
        .into_iter()
        .flatten()
        .filter_map(|(_, value)| value.as_str())
}

fn plain_size(data: &Value) -> usize {
    values(data).map(str::len).sum()
}

fn decoded_size(data: &Value) -> usize {
    values(data)
        .map(|value| {
            let pad = value.len() - value.trim_end_matches('=').len();
            (value.len() / 4 * 3).saturating_sub(pad)
        })
        .sum()
}

fn secret(new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = fixed(new, old, &["type"]);
    errors.extend(key_problems(&new["data"], "data"));
    errors.extend(immutable_data(new, old, &["data"]));
    errors.extend(too_large("data", decoded_size(&new["data"])));
    let required: &[&str] = match text(&new["type"]) {
        "kubernetes.io/tls" => &["tls.crt", "tls.key"],
        "kubernetes.io/dockerconfigjson" => &[".dockerconfigjson"],
        "kubernetes.io/ssh-auth" => &["ssh-privatekey"],
        "kubernetes.io/dockercfg" => &[".dockercfg"],
        _ => &[],
    };
    let has = |key: &str| new["data"].get(key).is_some();
    if new["type"] == "kubernetes.io/basic-auth" && !has("username") && !has("password") {
        for key in ["username", "password"] {
            errors.push(FieldError::required(format!("data[{key}]"), ""));
        }
    }
    for key in required {
        if !has(key) {
            errors.push(FieldError::required(format!("data[{key}]"), ""));
        }
    }
    errors
}

fn binding(new: &Value, old: Option<&Value>, namespaced: bool) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if let Some(old) = old
        && old["roleRef"] != new["roleRef"]
    {
        let role = &new["roleRef"];
        let text = |field: &str| role[field].as_str().unwrap_or_default();
        errors.push(FieldError::invalid(
            "roleRef",
            json!({"APIGroup": text("apiGroup"), "Kind": text("kind"), "Name": text("name")}),
            "cannot change roleRef",
        ));
    }
    let role = &new["roleRef"];
    let known: &[&str] = &["rbac.authorization.k8s.io"];
    if !known.contains(&text(&role["apiGroup"])) {
        let group = json!(text(&role["apiGroup"]));
        errors.push(FieldError::not_supported("roleRef.apiGroup", group, known));
    }
    let known: &[&str] = if namespaced {
        &["Role", "ClusterRole"]
    } else {
        &["ClusterRole"]
    };
    if !known.contains(&text(&role["kind"])) {
        let kind = json!(text(&role["kind"]));
        errors.push(FieldError::not_supported("roleRef.kind", kind, known));
    }
    for (index, subject) in items(&new["subjects"]).enumerate() {
        let kind = text(&subject["kind"]);
        let name = text(&subject["name"]);
        if name.is_empty() {
            errors.push(FieldError::required(format!("subjects[{index}].name"), ""));
        } else if kind == "ServiceAccount" {
            for problem in crate::registry::words::Form::Subdomain.problems(name) {
                let at = format!("subjects[{index}].name");
                errors.push(FieldError::invalid(at, json!(name), problem));
            }
        }
        if !["ServiceAccount", "User", "Group"].contains(&kind) {
            errors.push(FieldError::not_supported(
                format!("subjects[{index}].kind"),
                json!(kind),
                &["ServiceAccount", "User", "Group"],
            ));
        }
        let group = text(&subject["apiGroup"]);
        let known = match kind {
            "ServiceAccount" => "",
            _ => "rbac.authorization.k8s.io",
        };
        if group != known && ["ServiceAccount", "User", "Group"].contains(&kind) {
            errors.push(FieldError::not_supported(
                format!("subjects[{index}].apiGroup"),
                json!(group),
                &[known],
            ));
        }
        // in a namespace it is the binding's own
        if kind == "ServiceAccount" && !namespaced && text(&subject["namespace"]).is_empty() {
            errors.push(FieldError::required(
                format!("subjects[{index}].namespace"),
                "",
            ));
        }
    }
    errors
}
