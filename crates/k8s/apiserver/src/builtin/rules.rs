//! What Kubernetes refuses beyond types: required parts, fields that never change.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::{FieldError, ValidateFn};

type Rule = fn(&Value, Option<&Value>) -> Vec<FieldError>;

/// Finds the rules of a kind.
pub(super) fn of(group: &str, kind: &str) -> Option<ValidateFn> {
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
        ("batch", "Job") => job,
        ("batch", "CronJob") => cron_job,
        ("rbac.authorization.k8s.io", "RoleBinding") => |new, old| binding(new, old, true),
        ("rbac.authorization.k8s.io", "ClusterRoleBinding") => |new, old| binding(new, old, false),
        ("rbac.authorization.k8s.io", "Role" | "ClusterRole") => role,
        ("networking.k8s.io", "Ingress") => ingress,
        ("autoscaling", "HorizontalPodAutoscaler") => autoscaler,
        ("storage.k8s.io", "StorageClass") => |new, old| {
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
        },
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
    Some(Arc::new(rule))
}

const IMMUTABLE: &str = "field is immutable";

fn fixed(new: &Value, old: Option<&Value>, paths: &[&str]) -> Vec<FieldError> {
    let Some(old) = old else { return Vec::new() };
    paths
        .iter()
        .filter_map(|path| {
            let pointer = format!("/{}", path.replace('.', "/"));
            let (before, after) = (old.pointer(&pointer), new.pointer(&pointer));
            (before != after)
                .then(|| FieldError::invalid(*path, after.cloned().unwrap_or_default(), IMMUTABLE))
        })
        .collect()
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn pod_spec(spec: &Value, path: &str, errors: &mut Vec<FieldError>) {
    if items(&spec["containers"]).next().is_none() {
        errors.push(FieldError::required(format!("{path}.containers"), ""));
    }
    let mut names = std::collections::BTreeSet::new();
    for list in ["initContainers", "containers"] {
        for (index, container) in items(&spec[list]).enumerate() {
            let at = format!("{path}.{list}[{index}]");
            let name = text(&container["name"]);
            if name.is_empty() {
                errors.push(FieldError::required(format!("{at}.name"), ""));
            } else if !names.insert(name) {
                errors.push(FieldError::duplicate(format!("{at}.name"), json!(name)));
            }
            if text(&container["image"]).is_empty() {
                errors.push(FieldError::required(format!("{at}.image"), ""));
            }
            for (port_index, port) in items(&container["ports"]).enumerate() {
                let number = port["containerPort"].as_i64().unwrap_or(0);
                if !(1..=65_535).contains(&number) {
                    errors.push(FieldError::invalid(
                        format!("{at}.ports[{port_index}].containerPort"),
                        json!(number),
                        "must be between 1 and 65535, inclusive",
                    ));
                }
            }
            let policy = text(&container["imagePullPolicy"]);
            let known = ["Always", "IfNotPresent", "Never"];
            if !known.contains(&policy) {
                errors.push(FieldError::not_supported(
                    format!("{at}.imagePullPolicy"),
                    json!(policy),
                    &known,
                ));
            }
        }
    }
    let known = ["Always", "OnFailure", "Never"];
    if !known.contains(&text(&spec["restartPolicy"])) {
        errors.push(FieldError::not_supported(
            format!("{path}.restartPolicy"),
            spec["restartPolicy"].clone(),
            &known,
        ));
    }
}

fn pod(new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    pod_spec(&new["spec"], "spec", &mut errors);
    if let Some(old) = old {
        // images, deadlines, tolerations and what the scheduler sets may change
        let settle = |pod: &Value| {
            let mut spec = pod["spec"].clone();
            if let Some(map) = spec.as_object_mut() {
                for field in [
                    "activeDeadlineSeconds",
                    "tolerations",
                    "nodeName",
                    "terminationGracePeriodSeconds",
                    "ephemeralContainers",
                    "schedulingGates",
                    "priority",
                ] {
                    map.remove(field);
                }
            }
            for list in ["containers", "initContainers"] {
                for container in spec[list].as_array_mut().into_iter().flatten() {
                    container["image"] = json!("");
                    container["resources"] = json!({});
                }
                if spec[list].is_null()
                    && let Some(map) = spec.as_object_mut()
                {
                    map.remove(list);
                }
            }
            spec
        };
        if settle(new) != settle(old) {
            errors.push(FieldError::forbidden(
                "spec",
                "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)",
            ));
        }
    }
    errors
}

fn template(new: &Value, path: &str, errors: &mut Vec<FieldError>) {
    pod_spec(&new["spec"], &format!("{path}.spec"), errors);
}

fn selector_matches(new: &Value, errors: &mut Vec<FieldError>) {
    let selector = &new["spec"]["selector"];
    if selector.is_null() {
        errors.push(FieldError::required("spec.selector", ""));
        return;
    }
    let labels = &new["spec"]["template"]["metadata"]["labels"];
    match serde_json::from_value::<k8s_object::LabelSelector>(selector.clone()) {
        Ok(selector) if selector.is_empty() => errors.push(FieldError::invalid(
            "spec.selector",
            json!({}),
            "empty selector is invalid for deployment",
        )),
        Ok(selector) => {
            if !selector.matches(|key| labels.get(key)?.as_str()) {
                errors.push(FieldError::invalid(
                    "spec.template.metadata.labels",
                    if labels.is_null() {
                        json!({})
                    } else {
                        labels.clone()
                    },
                    "`selector` does not match template `labels`",
                ));
            }
        }
        Err(error) => errors.push(FieldError::invalid(
            "spec.selector",
            selector.clone(),
            error.to_string(),
        )),
    }
}

fn not_negative(new: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let pointer = format!("/{}", path.replace('.', "/"));
    if let Some(value) = new.pointer(&pointer)
        && value.as_i64().is_some_and(|value| value < 0)
    {
        errors.push(FieldError::invalid(
            path,
            value.clone(),
            "must be greater than or equal to 0",
        ));
    }
}

fn only_restarting(new: &Value, errors: &mut Vec<FieldError>) {
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
    not_negative(new, "spec.replicas", &mut errors);
    selector_matches(new, &mut errors);
    template(&new["spec"]["template"], "spec.template", &mut errors);
    only_restarting(new, &mut errors);
    errors.extend(fixed(new, old, &["spec.selector"]));
    let strategy = &new["spec"]["strategy"];
    if text(&strategy["type"]) == "Recreate" && !strategy["rollingUpdate"].is_null() {
        errors.push(FieldError::forbidden(
            "spec.strategy.rollingUpdate",
            "may not be specified when strategy `type` is 'Recreate'",
        ));
    }
    errors
}

fn stateful_set(new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    not_negative(new, "spec.replicas", &mut errors);
    selector_matches(new, &mut errors);
    template(&new["spec"]["template"], "spec.template", &mut errors);
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

fn job_restarts(spec: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let policy = &spec["template"]["spec"]["restartPolicy"];
    if policy == "Always" {
        errors.push(FieldError::new(
            format!("{path}.template.spec.restartPolicy"),
            crate::FieldProblem::Required,
            None,
            "valid values: \"OnFailure\", \"Never\"",
        ));
    }
}

fn job(new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    template(&new["spec"]["template"], "spec.template", &mut errors);
    job_restarts(&new["spec"], "spec", &mut errors);
    for path in ["spec.parallelism", "spec.completions", "spec.backoffLimit"] {
        not_negative(new, path, &mut errors);
    }
    // a suspended job's template may change where scheduling is concerned
    let suspended = old.is_some_and(|old| old["spec"]["suspend"] == json!(true));
    errors.extend(fixed(new, old, &["spec.completionMode", "spec.selector"]));
    if new["spec"]["completionMode"] != "Indexed" {
        errors.extend(fixed(new, old, &["spec.completions"]));
    }
    if !suspended {
        errors.extend(fixed(new, old, &["spec.template"]));
    }
    errors
}

fn cron_job(new: &Value, _old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let schedule = text(&new["spec"]["schedule"]);
    if schedule.is_empty() {
        errors.push(FieldError::required("spec.schedule", ""));
    } else if !schedule.starts_with('@') && schedule.split_whitespace().count() != 5 {
        errors.push(FieldError::invalid(
            "spec.schedule",
            json!(schedule),
            format!(
                "expected exactly 5 fields, found {}: [{}]",
                schedule.split_whitespace().count(),
                schedule.split_whitespace().collect::<Vec<_>>().join(" ")
            ),
        ));
    }
    let known = ["Allow", "Forbid", "Replace"];
    if !known.contains(&text(&new["spec"]["concurrencyPolicy"])) {
        errors.push(FieldError::not_supported(
            "spec.concurrencyPolicy",
            new["spec"]["concurrencyPolicy"].clone(),
            &known,
        ));
    }
    let inner = &new["spec"]["jobTemplate"]["spec"];
    template(
        &inner["template"],
        "spec.jobTemplate.spec.template",
        &mut errors,
    );
    job_restarts(inner, "spec.jobTemplate.spec", &mut errors);
    errors
}

fn service(new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let spec = &new["spec"];
    let known = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
    let kind = text(&spec["type"]);
    if !known.contains(&kind) {
        errors.push(FieldError::not_supported("spec.type", json!(kind), &known));
    }
    let headless = spec["clusterIP"] == "None";
    let mut ports = items(&spec["ports"]).peekable();
    if ports.peek().is_none() && !headless && kind != "ExternalName" {
        errors.push(FieldError::required("spec.ports", ""));
    }
    let many = items(&spec["ports"]).count() > 1;
    for (index, port) in ports.enumerate() {
        let number = port["port"].as_i64().unwrap_or(0);
        if !(1..=65_535).contains(&number) {
            errors.push(FieldError::invalid(
                format!("spec.ports[{index}].port"),
                json!(number),
                "must be between 1 and 65535, inclusive",
            ));
        }
        if many && text(&port["name"]).is_empty() {
            errors.push(FieldError::required(
                format!("spec.ports[{index}].name"),
                "",
            ));
        }
    }
    if let Some(old) = old {
        let before = text(&old["spec"]["clusterIP"]);
        let had_one = old["spec"]["type"] != "ExternalName" && !before.is_empty();
        if had_one && kind != "ExternalName" && spec["clusterIP"] != before {
            errors.push(FieldError::invalid(
                "spec.clusterIPs[0]",
                json!([spec["clusterIP"]]),
                "may not change once set",
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
    let fits = |key: &str| {
        !key.is_empty()
            && key
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
    };
    let keys = data.as_object().into_iter().flatten().map(|(key, _)| key);
    keys.filter(|key| !fits(key))
        .map(|key| {
            FieldError::invalid(
                format!("{path}[{key}]"),
                json!(key),
                "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')",
            )
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

fn ingress(new: &Value, _: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let known = ["Exact", "Prefix", "ImplementationSpecific"];
    for (rule_index, rule) in items(&new["spec"]["rules"]).enumerate() {
        for (index, path) in items(&rule["http"]["paths"]).enumerate() {
            let at = format!("spec.rules[{rule_index}].http.paths[{index}].pathType");
            match path["pathType"].as_str() {
                None => errors.push(FieldError::required(at, "pathType must be specified")),
                Some(kind) if !known.contains(&kind) => {
                    errors.push(FieldError::not_supported(at, json!(kind), &known));
                }
                Some(_) => {}
            }
        }
    }
    errors
}

fn autoscaler(new: &Value, _: Option<&Value>) -> Vec<FieldError> {
    let spec = &new["spec"];
    let number = |field: &str| spec[field].as_i64().unwrap_or(0);
    let (least, most) = (
        spec["minReplicas"].as_i64().unwrap_or(1),
        number("maxReplicas"),
    );
    let mut errors = Vec::new();
    if least < 1 {
        let detail = "must be greater than or equal to 1";
        errors.push(FieldError::invalid(
            "spec.minReplicas",
            json!(least),
            detail,
        ));
    }
    if spec["maxReplicas"].is_null() {
        let detail = "must be set and greater than 0";
        errors.push(FieldError::required("spec.maxReplicas", detail));
    } else if most < 1 {
        let detail = "must be greater than 0";
        errors.push(FieldError::invalid("spec.maxReplicas", json!(most), detail));
    }
    if most < least {
        let detail = "must be greater than or equal to `minReplicas`";
        errors.push(FieldError::invalid("spec.maxReplicas", json!(most), detail));
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
        _ => &[],
    };
    for key in required {
        if new["data"].get(*key).is_none() {
            errors.push(FieldError::required(format!("data[{key}]"), ""));
        }
    }
    errors
}

fn claim(new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if items(&new["spec"]["accessModes"]).next().is_none() {
        errors.push(FieldError::required(
            "spec.accessModes",
            "at least 1 access mode is required",
        ));
    }
    let size = new.pointer("/spec/resources/requests/storage");
    if size.is_none() {
        errors.push(FieldError::required("spec.resources[storage]", ""));
    }
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
    }
    errors
}

fn binding(new: &Value, old: Option<&Value>, namespaced: bool) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if let Some(old) = old
        && old["roleRef"] != new["roleRef"]
    {
        errors.push(FieldError::invalid(
            "roleRef",
            new["roleRef"].clone(),
            "cannot change roleRef",
        ));
    }
    if text(&new["roleRef"]["name"]).is_empty() {
        errors.push(FieldError::required("roleRef.name", ""));
    }
    for (index, subject) in items(&new["subjects"]).enumerate() {
        let kind = text(&subject["kind"]);
        if !["ServiceAccount", "User", "Group"].contains(&kind) {
            errors.push(FieldError::not_supported(
                format!("subjects[{index}].kind"),
                json!(kind),
                &["ServiceAccount", "User", "Group"],
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
