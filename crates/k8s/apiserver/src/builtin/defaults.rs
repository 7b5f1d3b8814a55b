//! Defaults that hang on more than one field. All others stand in the table of types.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::DefaultFn;

/// Where a DaemonSet counts its templates.
const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

/// Counts a DaemonSet's templates: nobody but the server does.
pub(crate) fn count_templates(old: &Value, new: &mut Value) {
    let before = &old["metadata"]["annotations"][TEMPLATE_GENERATION];
    let count: i64 = before
        .as_str()
        .and_then(|text| text.parse().ok())
        .unwrap_or(1);
    let changed = old.pointer("/spec/template") != new.pointer("/spec/template")
        || old.pointer("/spec/updateStrategy") != new.pointer("/spec/updateStrategy");
    let count = count + i64::from(changed);
    k8s_object::set_annotation(new, TEMPLATE_GENERATION, &count.to_string());
}

/// Finds the defaults of a kind.
pub(super) fn of(group: &str, kind: &str) -> Option<DefaultFn> {
    let function: fn(&mut Value) = match (group, kind) {
        ("", "Namespace") => namespace,
        ("", "Node") => node,
        ("", "Pod") => pod,
        ("", "PodTemplate") => inner_template,
        ("", "ReplicationController") => replication_controller,
        ("", "Service") => service,
        ("", "Secret") => secret,
        ("", "LimitRange") => limit_range,
        ("", "PersistentVolume") => |object| {
            if let Some(spec) = part(object, "spec") {
                set(spec, "persistentVolumeReclaimPolicy", json!("Retain"));
                set(spec, "volumeMode", json!("Filesystem"));
            }
        },
        ("", "PersistentVolumeClaim") => claim,
        ("apps", "DaemonSet") => |object| {
            if let Some(spec) = part(object, "spec") {
                inner_template(spec);
                rolling(spec, "updateStrategy", json!(1), json!(0));
            }
            if let Some(meta) = part(object, "metadata") {
                set(meta, "annotations", json!({}));
                set(&mut meta["annotations"], TEMPLATE_GENERATION, json!("1"));
            }
        },
        ("apps", "Deployment") => |object| {
            if let Some(spec) = part(object, "spec") {
                inner_template(spec);
                rolling(spec, "strategy", json!("25%"), json!("25%"));
            }
        },
        ("apps", "ReplicaSet") => |object| {
            if let Some(spec) = part(object, "spec") {
                inner_template(spec);
            }
        },
        ("apps", "StatefulSet") => stateful_set,
        ("batch", "Job") => job,
        ("batch", "CronJob") => |object| {
            if let Some(spec) = object.pointer_mut("/spec/jobTemplate/spec") {
                inner_template(spec);
            }
        },
        ("autoscaling", "HorizontalPodAutoscaler") => autoscaler,
        ("networking.k8s.io", "NetworkPolicy") => network_policy,
        _ => return None,
    };
    Some(Arc::new(function))
}

/// How long a pod is given to end: nothing if it never ran or has ended.
pub(super) fn pod_grace(pod: &Value) -> i64 {
    let ended = matches!(
        pod["status"]["phase"].as_str(),
        Some("Succeeded" | "Failed")
    );
    let scheduled = pod["spec"]["nodeName"]
        .as_str()
        .is_some_and(|node| !node.is_empty());
    if ended || !scheduled {
        return 0;
    }
    pod["spec"]["terminationGracePeriodSeconds"]
        .as_i64()
        .unwrap_or(30)
}

fn set(object: &mut Value, field: &str, value: Value) {
    if let Some(map) = object.as_object_mut() {
        map.entry(field).or_insert(value);
    }
}

fn part<'a>(object: &'a mut Value, field: &str) -> Option<&'a mut Value> {
    object.get_mut(field).filter(|part| part.is_object())
}

fn each<'a>(object: &'a mut Value, field: &str) -> impl Iterator<Item = &'a mut Value> + use<'a> {
    object
        .get_mut(field)
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
}

fn is_empty(value: Option<&Value>) -> bool {
    match value {
        Some(Value::Array(items)) => items.is_empty(),
        Some(Value::Object(map)) => map.is_empty(),
        Some(Value::Null) | None => true,
        Some(_) => false,
    }
}

/// A namespace's finalizer belongs to nobody.
pub(super) fn namespace_finalizer(object: &mut Value) {
    if object["metadata"].get("deletionTimestamp").is_none() {
        set(&mut object["spec"], "finalizers", json!(["kubernetes"]));
    }
}

fn namespace(object: &mut Value) {
    let name = k8s_object::name(object).to_owned();
    k8s_object::set_label(object, "kubernetes.io/metadata.name", &name);
}

fn node(object: &mut Value) {
    let Some(status) = part(object, "status") else {
        return;
    };
    if let Some(capacity) = status.get("capacity").cloned() {
        set(status, "allocatable", capacity);
    }
}

fn inner_template(object: &mut Value) {
    if let Some(inner) = part(object, "template") {
        template(inner);
    }
}

/// Fills in a pod template, or a pod: both have `spec`.
fn template(object: &mut Value) {
    let Some(spec) = part(object, "spec") else {
        return;
    };
    match (
        spec.get("serviceAccountName").cloned(),
        spec.get("serviceAccount").cloned(),
    ) {
        (Some(name), _) => spec["serviceAccount"] = name,
        (None, Some(name)) => spec["serviceAccountName"] = name,
        _ => {}
    }
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        each(spec, list).for_each(pull_policy);
    }
    each(spec, "volumes").for_each(volume);
}

/// The newest image is pulled always, one with another tag or a digest if it is not there.
fn pull_policy(container: &mut Value) {
    let image = container["image"].as_str().unwrap_or_default();
    let policy = pull_policy_of(image);
    set(container, "imagePullPolicy", json!(policy));
}

fn pull_policy_of(image: &str) -> &'static str {
    let name = image.rsplit('/').next().unwrap_or_default();
    let repository = image.split(['@', ':']).next().unwrap_or_default();
    let fits = repository.len() <= 255
        && repository
            .split('/')
            .all(|part| part.starts_with(|c: char| c.is_ascii_alphanumeric()))
        && repository.bytes().all(|byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-/".contains(&byte)
        });
    let latest = fits
        && !image.contains('@')
        && !name.is_empty()
        && name.split_once(':').is_none_or(|(_, tag)| tag == "latest");
    if latest { "Always" } else { "IfNotPresent" }
}

fn volume(volume: &mut Value) {
    let Some(map) = volume.as_object_mut() else {
        return;
    };
    if map.keys().all(|key| key == "name") {
        map.insert("emptyDir".to_owned(), json!({}));
    }
    if let Some(image) = part(volume, "image") {
        let policy = pull_policy_of(image["reference"].as_str().unwrap_or_default());
        set(image, "pullPolicy", json!(policy));
    }
}

/// A limit without a request is the request.
fn limits_are_requests(container: &mut Value) {
    let Some(limits) = container
        .pointer("/resources/limits")
        .and_then(Value::as_object)
        .filter(|limits| !limits.is_empty())
        .cloned()
    else {
        return;
    };
    set(&mut container["resources"], "requests", json!({}));
    for (name, value) in limits {
        set(&mut container["resources"]["requests"], &name, value);
    }
}

fn pod(object: &mut Value) {
    template(object);
    if let Some(spec) = part(object, "spec") {
        let host = spec["hostNetwork"] == json!(true);
        for list in ["initContainers", "containers"] {
            for container in each(spec, list) {
                limits_are_requests(container);
                for port in each(container, "ports").filter(|_| host) {
                    if let Some(number) = port.get("containerPort").cloned() {
                        set(port, "hostPort", number);
                    }
                }
            }
        }
        set(spec, "enableServiceLinks", json!(true));
    }
}

/// What admission plugins put into a pod; nobody owns it.
pub(super) fn pod_admission(object: &mut Value) {
    if let Some(spec) = part(object, "spec") {
        set(spec, "preemptionPolicy", json!("PreemptLowerPriority"));
        set(spec, "priority", json!(0));
        set(spec, "serviceAccountName", json!("default"));
        let account = spec["serviceAccountName"].clone();
        set(spec, "serviceAccount", account);
        let tolerations = json!([
            {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300},
            {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300},
        ]);
        set(spec, "tolerations", tolerations);
    }
    if !object["status"].is_object() {
        object["status"] = json!({});
    }
    set(&mut object["status"], "phase", json!("Pending"));
    let class = qos_class(&object["spec"]);
    set(&mut object["status"], "qosClass", json!(class));
}

fn qos_class(spec: &Value) -> &'static str {
    let containers = ["containers", "initContainers"]
        .into_iter()
        .flat_map(|list| spec[list].as_array().into_iter().flatten());
    let (mut any, mut all) = (false, true);
    for container in containers {
        let resources = &container["resources"];
        any |= ["limits", "requests"].iter().any(|part| {
            resources[*part]
                .as_object()
                .is_some_and(|map| map.contains_key("cpu") || map.contains_key("memory"))
        });
        all &= ["cpu", "memory"].iter().all(|name| {
            let limit = &resources["limits"][*name];
            !limit.is_null() && *limit == resources["requests"][*name]
        });
    }
    match (any, all) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

fn replication_controller(object: &mut Value) {
    let labels = object.pointer("/spec/template/metadata/labels").cloned();
    if let Some(labels) = labels.filter(|labels| !is_empty(Some(labels))) {
        if let Some(spec) = part(object, "spec") {
            set(spec, "selector", labels.clone());
        }
        if let Some(meta) = part(object, "metadata") {
            set(meta, "labels", labels);
        }
    }
    if let Some(spec) = part(object, "spec") {
        inner_template(spec);
    }
}

fn service(object: &mut Value) {
    let Some(spec) = part(object, "spec") else {
        return;
    };
    if spec["sessionAffinity"] == "None"
        && let Some(map) = spec.as_object_mut()
    {
        map.remove("sessionAffinityConfig");
    }
    if spec["sessionAffinity"] == "ClientIP" {
        let config = &mut spec["sessionAffinityConfig"];
        if config["clientIP"]["timeoutSeconds"].is_null() {
            config["clientIP"]["timeoutSeconds"] = json!(10800);
        }
    }
    if spec["type"] == "ClusterIP" && !is_empty(spec.get("externalIPs")) {
        set(spec, "externalTrafficPolicy", json!("Cluster"));
    }
    for port in each(spec, "ports") {
        if let Some(number) = port.get("port").cloned()
            && port
                .get("targetPort")
                .is_none_or(|target| target == "" || *target == json!(0))
        {
            port["targetPort"] = number;
        }
    }
}

fn limit_range(object: &mut Value) {
    let Some(spec) = part(object, "spec") else {
        return;
    };
    for item in each(spec, "limits").filter(|item| item["type"] == "Container") {
        for (from, to) in [
            ("max", "default"),
            ("default", "defaultRequest"),
            ("min", "defaultRequest"),
        ] {
            for (name, value) in item[from].as_object().cloned().into_iter().flatten() {
                set(item, to, json!({}));
                set(&mut item[to], &name, value);
            }
        }
    }
}

/// The older name of the source and the newer say the same.
fn claim(object: &mut Value) {
    let Some(spec) = part(object, "spec") else {
        return;
    };
    match (
        spec.get("dataSource").cloned(),
        spec.get("dataSourceRef").cloned(),
    ) {
        (Some(source), None) => set(spec, "dataSourceRef", source),
        (None, Some(source)) if source.get("namespace").is_none() => {
            set(spec, "dataSource", source)
        }
        _ => {}
    }
}

/// How many pods are replaced at once, where they are replaced one by one.
fn rolling(spec: &mut Value, field: &str, unavailable: Value, surge: Value) {
    let Some(strategy) = part(spec, field).filter(|own| own["type"] == "RollingUpdate") else {
        return;
    };
    set(strategy, "rollingUpdate", json!({}));
    set(
        &mut strategy["rollingUpdate"],
        "maxUnavailable",
        unavailable,
    );
    set(&mut strategy["rollingUpdate"], "maxSurge", surge);
}

fn stateful_set(object: &mut Value) {
    let Some(spec) = part(object, "spec") else {
        return;
    };
    set(spec, "updateStrategy", json!({}));
    if let Some(strategy) = part(spec, "updateStrategy") {
        if strategy["type"].as_str().unwrap_or_default().is_empty() {
            strategy["type"] = json!("RollingUpdate");
            set(strategy, "rollingUpdate", json!({}));
        }
        // one that names its type alone is given no partition
        if strategy["type"] == "RollingUpdate"
            && let Some(rolling) = part(strategy, "rollingUpdate")
        {
            set(rolling, "partition", json!(0));
        }
    }
    inner_template(spec);
    for template in each(spec, "volumeClaimTemplates") {
        set(template, "apiVersion", json!("v1"));
        set(template, "kind", json!("PersistentVolumeClaim"));
    }
}

fn job(object: &mut Value) {
    let labels = object.pointer("/spec/template/metadata/labels").cloned();
    if let Some(labels) = labels.filter(|labels| !is_empty(Some(labels)))
        && let Some(meta) = part(object, "metadata")
    {
        set(meta, "labels", labels);
    }
    let Some(spec) = part(object, "spec") else {
        return;
    };
    if spec.get("completions").is_none() && spec.get("parallelism").is_none() {
        set(spec, "completions", json!(1));
    }
    let limit = if spec.get("backoffLimitPerIndex").is_some() {
        i32::MAX
    } else {
        6
    };
    let replaced = if spec.get("podFailurePolicy").is_some() {
        "Failed"
    } else {
        "TerminatingOrFailed"
    };
    for (field, value) in [
        ("parallelism", json!(1)),
        ("backoffLimit", json!(limit)),
        ("completionMode", json!("NonIndexed")),
        ("suspend", json!(false)),
        ("podReplacementPolicy", json!(replaced)),
        ("manualSelector", json!(false)),
    ] {
        set(spec, field, value);
    }
    inner_template(spec);
}

/// A job's pods are found by its uid; nobody owns what says so.
pub(super) fn job_selector(object: &mut Value) {
    let (uid, name) = (
        k8s_object::uid(object).to_owned(),
        k8s_object::name(object).to_owned(),
    );
    let same =
        object.pointer("/metadata/labels") == object.pointer("/spec/template/metadata/labels");
    let Some(spec) = part(object, "spec") else {
        return;
    };
    if spec["manualSelector"] == json!(true) || !spec["template"].is_object() {
        return;
    }
    if spec.get("selector").is_none() {
        spec["selector"] = json!({"matchLabels": {"batch.kubernetes.io/controller-uid": uid}});
        for (key, value) in [
            ("batch.kubernetes.io/controller-uid", &uid),
            ("batch.kubernetes.io/job-name", &name),
            ("controller-uid", &uid),
            ("job-name", &name),
        ] {
            k8s_object::set_label(&mut spec["template"], key, value);
        }
        let labels = spec["template"]["metadata"]["labels"].clone();
        if same {
            object["metadata"]["labels"] = labels;
        }
    }
}

fn autoscaler(object: &mut Value) {
    let Some(spec) = part(object, "spec") else {
        return;
    };
    let cpu = json!([{"type": "Resource", "resource": {"name": "cpu",
        "target": {"type": "Utilization", "averageUtilization": 80}}}]);
    set(spec, "metrics", cpu);
    let Some(behavior) = part(spec, "behavior") else {
        return;
    };
    let percent = json!({"type": "Percent", "value": 100, "periodSeconds": 15});
    if let Some(up) = part(behavior, "scaleUp") {
        set(up, "stabilizationWindowSeconds", json!(0));
        let pods = json!({"type": "Pods", "value": 4, "periodSeconds": 15});
        set(up, "policies", json!([pods, percent]));
    }
    if let Some(down) = part(behavior, "scaleDown") {
        set(down, "policies", json!([percent]));
    }
}

fn network_policy(object: &mut Value) {
    set(object, "spec", json!({}));
    let Some(spec) = part(object, "spec") else {
        return;
    };
    let types = if is_empty(spec.get("egress")) {
        json!(["Ingress"])
    } else {
        json!(["Ingress", "Egress"])
    };
    set(spec, "policyTypes", types);
}

fn secret(object: &mut Value) {
    let Some(plain) = object
        .as_object_mut()
        .and_then(|map| map.remove("stringData"))
    else {
        return;
    };
    if let Value::Object(plain) = plain {
        use base64::Engine as _;
        if !object["data"].is_object() && !plain.is_empty() {
            object["data"] = json!({});
        }
        for (key, value) in plain {
            let text = value.as_str().unwrap_or_default();
            object["data"][key] = json!(base64::engine::general_purpose::STANDARD.encode(text));
        }
    }
}
