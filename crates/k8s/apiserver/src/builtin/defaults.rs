//! The defaults that matter: what Kubernetes fills in and clients wait to see.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::DefaultFn;

/// Finds the defaults of a kind.
pub(super) fn of(group: &str, kind: &str) -> Option<DefaultFn> {
    let function: fn(&mut Value) = match (group, kind) {
        ("", "Namespace") => namespace,
        ("", "Node") => node,
        ("", "Pod") => pod,
        ("", "PodTemplate") => inner_template,
        ("", "ReplicationController") => replication_controller,
        ("", "Service") => service,
        ("", "Endpoints") => |object| {
            for subset in each(object, "subsets") {
                each(subset, "ports").for_each(|port| set(port, "protocol", json!("TCP")));
            }
        },
        ("", "Secret") => secret,
        ("", "PersistentVolume") => |object| {
            if let Some(spec) = part(object, "spec") {
                set(spec, "persistentVolumeReclaimPolicy", json!("Retain"));
                set(spec, "volumeMode", json!("Filesystem"));
            }
            phase(object, "Pending");
        },
        ("", "PersistentVolumeClaim") => |object| {
            if let Some(spec) = part(object, "spec") {
                set(spec, "volumeMode", json!("Filesystem"));
            }
            phase(object, "Pending");
        },
        ("apps", "Deployment") => deployment,
        ("apps", "ReplicaSet") => |object| {
            if let Some(spec) = part(object, "spec") {
                set(spec, "replicas", json!(1));
                inner_template(spec);
            }
        },
        ("apps", "StatefulSet") => stateful_set,
        ("apps", "DaemonSet") => daemon_set,
        ("batch", "Job") => job,
        ("batch", "CronJob") => cron_job,
        ("autoscaling", "HorizontalPodAutoscaler") => |object| {
            if let Some(spec) = part(object, "spec") {
                set(spec, "minReplicas", json!(1));
                let cpu = json!([{"type": "Resource", "resource": {"name": "cpu",
                    "target": {"type": "Utilization", "averageUtilization": 80}}}]);
                set(spec, "metrics", cpu);
            }
        },
        ("networking.k8s.io", "NetworkPolicy") => network_policy,
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") => binding,
        ("discovery.k8s.io", "EndpointSlice") => |object| {
            for port in each(object, "ports") {
                set(port, "name", json!(""));
                set(port, "protocol", json!("TCP"));
            }
        },
        ("storage.k8s.io", "StorageClass") => |object| {
            set(object, "reclaimPolicy", json!("Delete"));
            set(object, "volumeBindingMode", json!("Immediate"));
        },
        ("storage.k8s.io", "CSIDriver") => |object| {
            if let Some(spec) = part(object, "spec") {
                for (field, value) in [
                    ("attachRequired", json!(true)),
                    ("podInfoOnMount", json!(false)),
                    ("storageCapacity", json!(false)),
                    ("fsGroupPolicy", json!("ReadWriteOnceWithFSType")),
                    ("volumeLifecycleModes", json!(["Persistent"])),
                    ("requiresRepublish", json!(false)),
                    ("seLinuxMount", json!(false)),
                ] {
                    set(spec, field, value);
                }
            }
        },
        ("scheduling.k8s.io", "PriorityClass") => {
            |object| set(object, "preemptionPolicy", json!("PreemptLowerPriority"))
        }
        ("certificates.k8s.io", "CertificateSigningRequest") => |object| {
            if object.get("status").is_none() {
                object["status"] = json!({});
            }
        },
        (
            "admissionregistration.k8s.io",
            "MutatingWebhookConfiguration" | "ValidatingWebhookConfiguration",
        ) => webhooks,
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

fn set_if_empty(object: &mut Value, field: &str, value: Value) {
    if let Some(map) = object.as_object_mut()
        && map.get(field).is_none_or(|old| old == "")
    {
        map.insert(field.to_owned(), value);
    }
}

fn part<'a>(object: &'a mut Value, field: &str) -> Option<&'a mut Value> {
    object.get_mut(field).filter(|part| part.is_object())
}

fn each<'a>(object: &'a mut Value, field: &str) -> impl Iterator<Item = &'a mut Value> + use<'a> {
    each_in(object, &[field])
}

fn each_in<'a>(
    object: &'a mut Value,
    path: &[&str],
) -> impl Iterator<Item = &'a mut Value> + use<'a> {
    let mut at = Some(object);
    for field in path {
        at = at.and_then(|object| object.get_mut(*field));
    }
    at.and_then(Value::as_array_mut).into_iter().flatten()
}

fn phase(object: &mut Value, phase: &str) {
    if !object["status"].is_object() {
        object["status"] = json!({});
    }
    set_if_empty(&mut object["status"], "phase", json!(phase));
}

fn namespace(object: &mut Value) {
    let ends = object["metadata"].get("deletionTimestamp").is_some();
    if !object["spec"].is_object() {
        object["spec"] = json!({});
    }
    if !ends {
        set(&mut object["spec"], "finalizers", json!(["kubernetes"]));
    }
    phase(object, "Active");
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
    for (field, value) in [
        ("restartPolicy", json!("Always")),
        ("dnsPolicy", json!("ClusterFirst")),
        ("schedulerName", json!("default-scheduler")),
    ] {
        set_if_empty(spec, field, value);
    }
    set(spec, "terminationGracePeriodSeconds", json!(30));
    set(spec, "securityContext", json!({}));
    match (
        spec.get("serviceAccountName").cloned(),
        spec.get("serviceAccount").cloned(),
    ) {
        (Some(name), None) => spec["serviceAccount"] = name,
        (None, Some(name)) => spec["serviceAccountName"] = name,
        _ => {}
    }
    let host = spec["hostNetwork"] == json!(true);
    for list in ["initContainers", "containers"] {
        each(spec, list).for_each(|one| container(one, host));
    }
    each(spec, "volumes").for_each(volume);
}

fn container(container: &mut Value, host: bool) {
    let image = container["image"].as_str().unwrap_or_default();
    let name = image.rsplit('/').next().unwrap_or_default();
    let latest = match name.split_once('@') {
        Some(_) => false,
        None => name.split_once(':').is_none_or(|(_, tag)| tag == "latest"),
    };
    let policy = if latest { "Always" } else { "IfNotPresent" };
    set_if_empty(container, "imagePullPolicy", json!(policy));
    set_if_empty(
        container,
        "terminationMessagePath",
        json!("/dev/termination-log"),
    );
    set_if_empty(container, "terminationMessagePolicy", json!("File"));
    set(container, "resources", json!({}));
    for port in each(container, "ports") {
        set_if_empty(port, "protocol", json!("TCP"));
        if host && let Some(number) = port.get("containerPort").cloned() {
            set(port, "hostPort", number);
        }
    }
    for entry in each(container, "env") {
        if let Some(field) = entry.pointer_mut("/valueFrom/fieldRef") {
            set(field, "apiVersion", json!("v1"));
        }
        if let Some(field) = entry.pointer_mut("/valueFrom/resourceFieldRef") {
            set(field, "divisor", json!("0"));
        }
    }
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let Some(probe) = part(container, probe) else {
            continue;
        };
        set(probe, "timeoutSeconds", json!(1));
        set(probe, "periodSeconds", json!(10));
        set(probe, "successThreshold", json!(1));
        set(probe, "failureThreshold", json!(3));
        handler(probe);
    }
    if let Some(lifecycle) = part(container, "lifecycle") {
        for hook in ["postStart", "preStop"] {
            if let Some(hook) = part(lifecycle, hook) {
                handler(hook);
            }
        }
    }
    limits_are_requests(container);
}

fn handler(handler: &mut Value) {
    if let Some(get) = part(handler, "httpGet") {
        set(get, "path", json!("/"));
        set(get, "scheme", json!("HTTP"));
    }
    if let Some(grpc) = part(handler, "grpc") {
        set(grpc, "service", json!(""));
    }
}

/// A limit without a request is the request.
fn limits_are_requests(container: &mut Value) {
    let Some(limits) = container
        .pointer("/resources/limits")
        .and_then(Value::as_object)
        .cloned()
    else {
        return;
    };
    if limits.is_empty() {
        return;
    }
    set(&mut container["resources"], "requests", json!({}));
    for (name, value) in limits {
        set(&mut container["resources"]["requests"], &name, value);
    }
}

fn volume(volume: &mut Value) {
    let Some(map) = volume.as_object_mut() else {
        return;
    };
    if map.keys().all(|key| key == "name") {
        map.insert("emptyDir".to_owned(), json!({}));
    }
    for (source, field, value) in [
        ("secret", "defaultMode", json!(420)),
        ("configMap", "defaultMode", json!(420)),
        ("projected", "defaultMode", json!(420)),
        ("downwardAPI", "defaultMode", json!(420)),
        ("hostPath", "type", json!("")),
    ] {
        if let Some(source) = part(volume, source) {
            set(source, field, value);
        }
    }
    if let Some(downward) = part(volume, "downwardAPI") {
        for item in each(downward, "items") {
            if let Some(field) = part(item, "fieldRef") {
                set(field, "apiVersion", json!("v1"));
            }
        }
    }
    for source in each_in(volume, &["projected", "sources"]) {
        if let Some(token) = part(source, "serviceAccountToken") {
            set(token, "expirationSeconds", json!(3600));
        }
        for item in each_in(source, &["downwardAPI", "items"]) {
            if let Some(field) = part(item, "fieldRef") {
                set(field, "apiVersion", json!("v1"));
            }
        }
    }
}

fn pod(object: &mut Value) {
    template(object);
    if let Some(spec) = part(object, "spec") {
        set(spec, "enableServiceLinks", json!(true));
        set(spec, "preemptionPolicy", json!("PreemptLowerPriority"));
        set(spec, "priority", json!(0));
        set_if_empty(spec, "serviceAccountName", json!("default"));
        set_if_empty(spec, "serviceAccount", spec_account(spec));
        let tolerations = json!([
            {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300},
            {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300},
        ]);
        set(spec, "tolerations", tolerations);
    }
    phase(object, "Pending");
    let class = qos_class(&object["spec"]);
    set(&mut object["status"], "qosClass", json!(class));
}

fn spec_account(spec: &Value) -> Value {
    spec["serviceAccountName"].clone()
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
    let Some(spec) = part(object, "spec") else {
        return;
    };
    set(spec, "replicas", json!(1));
    inner_template(spec);
    if let Some(labels) = labels {
        set(spec, "selector", labels);
    }
}

fn service(object: &mut Value) {
    if !object["status"].is_object() {
        object["status"] = json!({"loadBalancer": {}});
    }
    let Some(spec) = part(object, "spec") else {
        return;
    };
    set_if_empty(spec, "type", json!("ClusterIP"));
    set_if_empty(spec, "sessionAffinity", json!("None"));
    let kind = spec["type"].as_str().unwrap_or_default().to_owned();
    if kind != "ExternalName" {
        set(spec, "internalTrafficPolicy", json!("Cluster"));
    }
    if matches!(kind.as_str(), "NodePort" | "LoadBalancer") {
        set(spec, "externalTrafficPolicy", json!("Cluster"));
    }
    if kind == "LoadBalancer" {
        set(spec, "allocateLoadBalancerNodePorts", json!(true));
    }
    if spec["sessionAffinity"] == "ClientIP" {
        set(
            spec,
            "sessionAffinityConfig",
            json!({"clientIP": {"timeoutSeconds": 10800}}),
        );
    }
    for port in each(spec, "ports") {
        set_if_empty(port, "protocol", json!("TCP"));
        if let Some(number) = port.get("port").cloned()
            && port
                .get("targetPort")
                .is_none_or(|target| target == "" || *target == json!(0))
        {
            port["targetPort"] = number;
        }
    }
}

fn secret(object: &mut Value) {
    set_if_empty(object, "type", json!("Opaque"));
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

fn deployment(object: &mut Value) {
    let Some(spec) = part(object, "spec") else {
        return;
    };
    set(spec, "replicas", json!(1));
    set(spec, "revisionHistoryLimit", json!(10));
    set(spec, "progressDeadlineSeconds", json!(600));
    set(spec, "strategy", json!({}));
    let strategy = &mut spec["strategy"];
    set_if_empty(strategy, "type", json!("RollingUpdate"));
    if strategy["type"] == "RollingUpdate" {
        set(strategy, "rollingUpdate", json!({}));
        set(
            &mut strategy["rollingUpdate"],
            "maxUnavailable",
            json!("25%"),
        );
        set(&mut strategy["rollingUpdate"], "maxSurge", json!("25%"));
    }
    inner_template(spec);
}

fn stateful_set(object: &mut Value) {
    let Some(spec) = part(object, "spec") else {
        return;
    };
    set_if_empty(spec, "podManagementPolicy", json!("OrderedReady"));
    set(spec, "replicas", json!(1));
    set(spec, "revisionHistoryLimit", json!(10));
    set(spec, "updateStrategy", json!({}));
    let strategy = &mut spec["updateStrategy"];
    set_if_empty(strategy, "type", json!("RollingUpdate"));
    if strategy["type"] == "RollingUpdate" {
        set(strategy, "rollingUpdate", json!({}));
        set(&mut strategy["rollingUpdate"], "partition", json!(0));
    }
    let keep = json!({"whenDeleted": "Retain", "whenScaled": "Retain"});
    set(spec, "persistentVolumeClaimRetentionPolicy", keep);
    for claim in each(spec, "volumeClaimTemplates") {
        set(claim, "apiVersion", json!("v1"));
        set(claim, "kind", json!("PersistentVolumeClaim"));
        if let Some(spec) = part(claim, "spec") {
            set(spec, "volumeMode", json!("Filesystem"));
        }
        phase(claim, "Pending");
    }
    inner_template(spec);
}

fn daemon_set(object: &mut Value) {
    let Some(spec) = part(object, "spec") else {
        return;
    };
    set(spec, "revisionHistoryLimit", json!(10));
    set(spec, "updateStrategy", json!({}));
    let strategy = &mut spec["updateStrategy"];
    set_if_empty(strategy, "type", json!("RollingUpdate"));
    if strategy["type"] == "RollingUpdate" {
        set(strategy, "rollingUpdate", json!({}));
        set(&mut strategy["rollingUpdate"], "maxUnavailable", json!(1));
        set(&mut strategy["rollingUpdate"], "maxSurge", json!(0));
    }
    inner_template(spec);
}

fn job_spec(spec: &mut Value) {
    if spec.get("completions").is_none() && spec.get("parallelism").is_none() {
        set(spec, "completions", json!(1));
    }
    set(spec, "parallelism", json!(1));
    set(spec, "backoffLimit", json!(6));
    set(spec, "completionMode", json!("NonIndexed"));
    set(spec, "suspend", json!(false));
    set(spec, "podReplacementPolicy", json!("TerminatingOrFailed"));
    if spec.get("podFailurePolicy").is_some() {
        spec["podReplacementPolicy"] = json!("Failed");
    }
    set(spec, "manualSelector", json!(false));
    inner_template(spec);
}

fn job(object: &mut Value) {
    let (uid, name) = (
        k8s_object::uid(object).to_owned(),
        k8s_object::name(object).to_owned(),
    );
    let Some(spec) = part(object, "spec") else {
        return;
    };
    job_spec(spec);
    if spec["manualSelector"] == json!(true) || spec.get("selector").is_some() {
        return;
    }
    // a job's pods are found by its uid
    for (key, value) in [
        ("batch.kubernetes.io/controller-uid", &uid),
        ("batch.kubernetes.io/job-name", &name),
        ("controller-uid", &uid),
        ("job-name", &name),
    ] {
        if spec["template"].is_object() {
            k8s_object::set_label(&mut spec["template"], key, value);
        }
    }
    spec["selector"] = json!({"matchLabels": {"batch.kubernetes.io/controller-uid": uid}});
}

fn cron_job(object: &mut Value) {
    let Some(spec) = part(object, "spec") else {
        return;
    };
    set_if_empty(spec, "concurrencyPolicy", json!("Allow"));
    set(spec, "suspend", json!(false));
    set(spec, "successfulJobsHistoryLimit", json!(3));
    set(spec, "failedJobsHistoryLimit", json!(1));
    if let Some(inner) = spec.pointer_mut("/jobTemplate/spec") {
        inner_template(inner);
    }
}

fn network_policy(object: &mut Value) {
    let Some(spec) = part(object, "spec") else {
        return;
    };
    let egress = spec.get("egress").is_some();
    let types = if egress {
        json!(["Ingress", "Egress"])
    } else {
        json!(["Ingress"])
    };
    set(spec, "policyTypes", types);
    for side in ["ingress", "egress"] {
        for rule in each(spec, side) {
            each(rule, "ports").for_each(|port| set(port, "protocol", json!("TCP")));
        }
    }
}

fn binding(object: &mut Value) {
    if let Some(role) = part(object, "roleRef") {
        set_if_empty(role, "apiGroup", json!("rbac.authorization.k8s.io"));
    }
    for subject in each(object, "subjects") {
        if matches!(subject["kind"].as_str(), Some("User" | "Group")) {
            set_if_empty(subject, "apiGroup", json!("rbac.authorization.k8s.io"));
        }
    }
}

fn webhooks(object: &mut Value) {
    let mutating = object["kind"] == "MutatingWebhookConfiguration";
    for hook in each(object, "webhooks") {
        for (field, value) in [
            ("failurePolicy", json!("Fail")),
            ("matchPolicy", json!("Equivalent")),
            ("namespaceSelector", json!({})),
            ("objectSelector", json!({})),
            ("timeoutSeconds", json!(10)),
        ] {
            set(hook, field, value);
        }
        if mutating {
            set(hook, "reinvocationPolicy", json!("Never"));
        }
        each(hook, "rules").for_each(|rule| set(rule, "scope", json!("*")));
        if let Some(service) = hook.pointer_mut("/clientConfig/service") {
            set(service, "port", json!(443));
        }
    }
}
