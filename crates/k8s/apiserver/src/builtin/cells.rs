//! Cells of tables that are computed, as kubectl's users know them.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::world::since;

type CellOf = fn(&Value, Timestamp) -> Value;

/// Finds a function by the name that the table of kinds gives it.
pub(super) fn of(name: &str) -> Option<CellOf> {
    Some(match name {
        "none" => |_, _| json!("<none>"),
        "node_status" => |o, _| json!(node_status(o)),
        "node_roles" => |o, _| json!(node_roles(o)),
        "node_internal_ip" => |o, _| json!(node_address(o, "InternalIP")),
        "node_external_ip" => |o, _| json!(node_address(o, "ExternalIP")),
        "node_os" => |o, _| or_unknown(&o["status"]["nodeInfo"]["osImage"]),
        "node_kernel" => |o, _| or_unknown(&o["status"]["nodeInfo"]["kernelVersion"]),
        "node_runtime" => |o, _| or_unknown(&o["status"]["nodeInfo"]["containerRuntimeVersion"]),
        "pod_ready" => |o, now| json!(super::cells_pod::pod(o, now).ready),
        "pod_status" => |o, now| json!(super::cells_pod::pod(o, now).status),
        "pod_restarts" => |o, now| json!(super::cells_pod::pod(o, now).restarts),
        "pod_ip" => |o, _| or_none(&o["status"]["podIP"]),
        "pod_node" => |o, _| or_none(&o["spec"]["nodeName"]),
        "pod_nominated" => |o, _| or_none(&o["status"]["nominatedNodeName"]),
        "pod_gates" => |o, _| json!(super::cells_pod::gates(o)),
        "template_containers" => |o, _| json!(container_names(&o["template"]["spec"])),
        "template_images" => |o, _| json!(container_images(&o["template"]["spec"])),
        "template_labels" => |o, _| json!(pairs(&o["template"]["metadata"]["labels"])),
        "containers" => |o, _| json!(container_names(&o["spec"]["template"]["spec"])),
        "images" => |o, _| json!(container_images(&o["spec"]["template"]["spec"])),
        "cron_containers" => |o, _| json!(container_names(cron_pod(o))),
        "cron_images" => |o, _| json!(container_images(cron_pod(o))),
        "map_selector" => |o, _| json!(pairs(&o["spec"]["selector"])),
        "selector" => |o, _| json!(label_selector(&o["spec"]["selector"])),
        "policy_selector" => |o, _| json!(label_selector(&o["spec"]["podSelector"])),
        "node_selector" => |o, _| json!(pairs(&o["spec"]["template"]["spec"]["nodeSelector"])),
        "current_replicas" => |o, _| json!(number(&o["status"]["replicas"])),
        "ready_replicas" => |o, _| json!(number(&o["status"]["readyReplicas"])),
        "updated_replicas" => |o, _| json!(number(&o["status"]["updatedReplicas"])),
        "available_replicas" => |o, _| json!(number(&o["status"]["availableReplicas"])),
        "deployment_ready" => |o, _| {
            let wanted = o["spec"]["replicas"].as_i64().unwrap_or(1);
            json!(format!(
                "{}/{wanted}",
                number(&o["status"]["readyReplicas"])
            ))
        },
        "hpa_replicas" => |o, _| json!(number(&o["status"]["currentReplicas"])),
        "parent_ref" => |o, _| json!(parent_ref(&o["spec"]["parentRef"])),
        "cidrs" => |o, _| {
            let all: Vec<String> = items(&o["spec"]["cidrs"]).map(text).collect();
            json!(all.join(","))
        },
        "csi_audiences" => |o, _| match o["spec"]["tokenRequests"].as_array() {
            None => json!("<unset>"),
            Some(all) => {
                let all: Vec<String> = all.iter().map(|one| text(&one["audience"])).collect();
                json!(all.join(","))
            }
        },
        "csi_modes" => |o, _| {
            let all: Vec<String> = items(&o["spec"]["volumeLifecycleModes"])
                .map(text)
                .collect();
            or_none(&json!(all.join(",")))
        },
        "mutations" => |o, _| json!(items(&o["spec"]["mutations"]).count()),
        "missing_level" => |o, _| match condition(o, "Dangling") {
            Some(found) => found["status"].clone(),
            None => json!("?"),
        },
        "claim_state" => |o, _| json!(claim_state(o)),
        "component_status" => {
            |o, _| match items(&o["conditions"]).find(|one| one["type"] == "Healthy") {
                Some(one) if one["status"] == "True" => json!("Healthy"),
                Some(one) if one["status"] == "False" => json!("Unhealthy"),
                _ => json!("Unknown"),
            }
        }
        "component_message" => |o, _| json!(text(&o["conditions"][0]["message"])),
        "component_error" => |o, _| json!(text(&o["conditions"][0]["error"])),
        "desired_scheduled" => |o, _| json!(number(&o["status"]["desiredNumberScheduled"])),
        "current_scheduled" => |o, _| json!(number(&o["status"]["currentNumberScheduled"])),
        "number_ready" => |o, _| json!(number(&o["status"]["numberReady"])),
        "updated_scheduled" => |o, _| json!(number(&o["status"]["updatedNumberScheduled"])),
        "number_available" => |o, _| json!(number(&o["status"]["numberAvailable"])),
        "controller" => |o, _| json!(controller(o)),
        "service_ip" => |o, _| or_none(&o["spec"]["clusterIP"]),
        "service_external" => |o, _| json!(service_external(o)),
        "service_ports" => |o, _| json!(service_ports(o)),
        "endpoints" => |o, _| json!(endpoints(o)),
        "slice_ports" => |o, _| {
            let ports = items(&o["ports"]).map(|port| text(&port["port"]));
            json!(first_three(ports.collect(), "<unset>"))
        },
        "slice_endpoints" => |o, _| {
            let found = items(&o["endpoints"]).flat_map(|one| items(&one["addresses"]).map(text));
            json!(first_three(found.collect(), "<unset>"))
        },
        "event_last" => |o, now| json!(event_last(o, now)),
        "event_first" => |o, now| json!(event_first(o, now)),
        "event_object" => |o, _| {
            let about = either(&o["involvedObject"], &o["regarding"]);
            json!(format!(
                "{}/{}",
                text(&about["kind"]).to_lowercase(),
                text(&about["name"])
            ))
        },
        "event_source" => |o, _| json!(event_source(o)),
        "event_message" => |o, _| json!(text(either(&o["message"], &o["note"])).trim()),
        "event_count" => |o, _| {
            let count = o["series"]["count"].as_i64().or(o["count"].as_i64());
            let count = count.or(o["deprecatedCount"].as_i64()).unwrap_or(0);
            json!(count.max(1))
        },
        "data_count" => |o, _| {
            let count = |value: &Value| value.as_object().map_or(0, serde_json::Map::len);
            json!(count(&o["data"]) + count(&o["binaryData"]))
        },
        "access_modes" => |o, _| json!(access_modes(&o["spec"]["accessModes"])),
        "claim_modes" => |o, _| {
            let bound = !text(&o["spec"]["volumeName"]).is_empty();
            json!(if bound {
                access_modes(&o["status"]["accessModes"])
            } else {
                String::new()
            })
        },
        "claim_capacity" => |o, _| {
            let bound = !text(&o["spec"]["volumeName"]).is_empty();
            json!(if bound {
                text(&o["status"]["capacity"]["storage"])
            } else {
                String::new()
            })
        },
        "volume_status" => |o, _| {
            let ends = o["metadata"].get("deletionTimestamp").is_some();
            json!(if ends {
                "Terminating".to_owned()
            } else {
                text(&o["status"]["phase"])
            })
        },
        "volume_claim" => |o, _| {
            let claim = &o["spec"]["claimRef"];
            json!(if claim.is_null() {
                String::new()
            } else {
                format!("{}/{}", text(&claim["namespace"]), text(&claim["name"]))
            })
        },
        "attributes_class" => |o, _| match o["spec"]["volumeAttributesClassName"].as_str() {
            Some(class) => json!(class),
            None => json!("<unset>"),
        },
        "quota_requests" => |o, _| json!(quota(o, false)),
        "quota_limits" => |o, _| json!(quota(o, true)),
        "job_status" => |o, _| json!(job_status(o)),
        "job_completions" => |o, _| json!(job_completions(o)),
        "job_duration" => |o, now| json!(job_duration(o, now)),
        "cron_zone" => |o, _| or_none(&o["spec"]["timeZone"]),
        "cron_suspend" => |o, _| {
            json!(if o["spec"]["suspend"] == json!(true) {
                "True"
            } else {
                "False"
            })
        },
        "cron_active" => |o, _| json!(items(&o["status"]["active"]).count()),
        "cron_last" => |o, now| match o["status"]["lastScheduleTime"].as_str() {
            Some(at) => json!(since(Some(at), now)),
            None => json!("<none>"),
        },
        "hpa_reference" => |o, _| {
            let target = &o["spec"]["scaleTargetRef"];
            json!(format!(
                "{}/{}",
                text(&target["kind"]),
                text(&target["name"])
            ))
        },
        "hpa_targets" => |o, _| json!(hpa_targets(o)),
        "hpa_min" => |o, _| match o["spec"]["minReplicas"].as_i64() {
            Some(min) => json!(min.to_string()),
            None => json!("<unset>"),
        },
        "ingress_class" => |o, _| or_none(&o["spec"]["ingressClassName"]),
        "ingress_hosts" => |o, _| {
            let hosts = items(&o["spec"]["rules"]).map(|rule| text(&rule["host"]));
            let hosts: Vec<String> = hosts.filter(|host| !host.is_empty()).collect();
            json!(first_three(hosts, "*"))
        },
        "ingress_address" => |o, _| json!(ingress_addresses(&o["status"]["loadBalancer"])),
        "ingress_ports" => |o, _| {
            let tls = items(&o["spec"]["tls"]).next().is_some();
            json!(if tls { "80, 443" } else { "80" })
        },
        "ingress_parameters" => |o, _| {
            let parameters = &o["spec"]["parameters"];
            if parameters.is_null() {
                return json!("<none>");
            }
            let kind = match parameters["apiGroup"].as_str() {
                Some(group) if !group.is_empty() => {
                    format!("{}.{group}", text(&parameters["kind"]))
                }
                _ => text(&parameters["kind"]),
            };
            json!(format!("{kind}/{}", text(&parameters["name"])))
        },
        "min_available" => |o, _| json!(or(&o["spec"]["minAvailable"], "N/A")),
        "max_unavailable" => |o, _| json!(or(&o["spec"]["maxUnavailable"], "N/A")),
        "allowed_disruptions" => |o, _| json!(number(&o["status"]["disruptionsAllowed"])),
        "role_ref" => |o, _| {
            let role = &o["roleRef"];
            json!(format!("{}/{}", text(&role["kind"]), text(&role["name"])))
        },
        "subject_users" => |o, _| json!(subjects(o, "User")),
        "subject_groups" => |o, _| json!(subjects(o, "Group")),
        "subject_accounts" => |o, _| json!(subjects(o, "ServiceAccount")),
        "storage_class_name" => |o, _| {
            let name = k8s_object::name(o);
            let default = "storageclass.kubernetes.io/is-default-class";
            json!(match k8s_object::annotation(o, default) {
                Some("true") => format!("{name} (default)"),
                _ => name.to_owned(),
            })
        },
        "allow_expansion" => |o, _| json!(o["allowVolumeExpansion"] == json!(true)),
        "csi_drivers" => |o, _| json!(items(&o["spec"]["drivers"]).count()),
        "global_default" => |o, _| json!(o["globalDefault"] == json!(true)),
        "api_service" => |o, _| {
            let service = &o["spec"]["service"];
            json!(if service.is_null() {
                "Local".to_owned()
            } else {
                format!("{}/{}", text(&service["namespace"]), text(&service["name"]))
            })
        },
        "api_available" => |o, _| json!(api_available(o)),
        "webhooks" => |o, _| json!(items(&o["webhooks"]).count()),
        "validations" => |o, _| json!(items(&o["spec"]["validations"]).count()),
        "param_kind" => |o, _| {
            let kind = &o["spec"]["paramKind"];
            json!(if kind.is_null() {
                "<unset>".to_owned()
            } else {
                format!("{}/{}", text(&kind["apiVersion"]), text(&kind["kind"]))
            })
        },
        "param_ref" => |o, _| json!(or(&o["spec"]["paramRef"]["name"], "<unset>")),
        "csr_duration" => |o, _| match o["spec"]["expirationSeconds"].as_i64() {
            Some(seconds) => json!(crate::age_text(seconds)),
            None => json!("<none>"),
        },
        "csr_condition" => |o, _| {
            let mut texts: Vec<String> = items(&o["status"]["conditions"])
                .map(|condition| text(&condition["type"]))
                .collect();
            if texts.is_empty() {
                texts.push("Pending".to_owned());
            }
            if !text(&o["status"]["certificate"]).is_empty() {
                texts.push("Issued".to_owned());
            }
            json!(texts.join(","))
        },
        _ => return None,
    })
}

pub(super) fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

pub(super) fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

pub(super) fn number(value: &Value) -> i64 {
    value.as_i64().unwrap_or(0)
}

fn or(value: &Value, missing: &str) -> String {
    match value {
        Value::Null => missing.to_owned(),
        value => text(value),
    }
}

fn or_none(value: &Value) -> Value {
    json!(match text(value) {
        text if text.is_empty() => "<none>".to_owned(),
        text => text,
    })
}

fn or_unknown(value: &Value) -> Value {
    json!(match text(value) {
        text if text.is_empty() => "<unknown>".to_owned(),
        text => text,
    })
}

fn either<'a>(one: &'a Value, other: &'a Value) -> &'a Value {
    if one.is_null() { other } else { one }
}

fn parent_ref(parent: &Value) -> String {
    if parent.is_null() {
        return "<none>".to_owned();
    }
    let mut resource = text(&parent["resource"]);
    let group = text(&parent["group"]);
    if !group.is_empty() {
        resource = format!("{resource}.{group}");
    }
    let parts = [
        resource.to_lowercase(),
        text(&parent["namespace"]),
        text(&parent["name"]),
    ];
    let parts = parts.into_iter().filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join("/")
}

fn claim_state(claim: &Value) -> String {
    let ends = claim["metadata"].get("deletionTimestamp").is_some();
    let status = &claim["status"];
    let mut states = Vec::new();
    if ends {
        states.push("deleted");
    }
    if !status["allocation"].is_null() {
        states.push("allocated");
        if items(&status["reservedFor"]).next().is_some() {
            states.push("reserved");
        }
    } else if !ends {
        states.push("pending");
    }
    states.join(",")
}

fn pairs(map: &Value) -> String {
    let pairs: Vec<String> = map
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={}", text(value)))
        .collect();
    if pairs.is_empty() {
        "<none>".to_owned()
    } else {
        pairs.join(",")
    }
}

fn label_selector(value: &Value) -> String {
    serde_json::from_value::<k8s_object::LabelSelector>(value.clone())
        .ok()
        .filter(|selector| !selector.is_empty())
        .map_or_else(|| "<none>".to_owned(), |selector| selector.to_string())
}

fn first_three(all: Vec<String>, none: &str) -> String {
    if all.is_empty() {
        return none.to_owned();
    }
    let shown = all[..all.len().min(3)].join(",");
    if all.len() > 3 {
        format!("{shown} + {} more...", all.len() - 3)
    } else {
        shown
    }
}

fn container_names(spec: &Value) -> String {
    let names: Vec<String> = items(&spec["containers"])
        .map(|one| text(&one["name"]))
        .collect();
    names.join(",")
}

fn container_images(spec: &Value) -> String {
    let images: Vec<String> = items(&spec["containers"])
        .map(|one| text(&one["image"]))
        .collect();
    images.join(",")
}

fn cron_pod(object: &Value) -> &Value {
    &object["spec"]["jobTemplate"]["spec"]["template"]["spec"]
}

fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    items(&object["status"]["conditions"]).find(|condition| condition["type"] == kind)
}

fn node_status(object: &Value) -> String {
    let mut status = match condition(object, "Ready").map(|ready| text(&ready["status"])) {
        Some(ready) if ready == "True" => "Ready".to_owned(),
        Some(ready) if ready == "False" => "NotReady".to_owned(),
        Some(_) => "NotReady".to_owned(),
        None => "Unknown".to_owned(),
    };
    if object["spec"]["unschedulable"] == json!(true) {
        status.push_str(",SchedulingDisabled");
    }
    status
}

fn node_roles(object: &Value) -> String {
    let mut roles: Vec<String> = Vec::new();
    for (key, value) in k8s_object::labels(object) {
        if let Some(role) = key.strip_prefix("node-role.kubernetes.io/") {
            roles.push(role.to_owned());
        } else if key == "kubernetes.io/role" && !value.is_empty() {
            roles.push(value.to_owned());
        }
    }
    roles.retain(|role| !role.is_empty());
    roles.sort();
    roles.dedup();
    if roles.is_empty() {
        "<none>".to_owned()
    } else {
        roles.join(",")
    }
}

fn node_address(object: &Value, kind: &str) -> String {
    items(&object["status"]["addresses"])
        .find(|address| address["type"] == kind)
        .map_or_else(|| "<none>".to_owned(), |address| text(&address["address"]))
}

fn controller(object: &Value) -> String {
    items(&object["metadata"]["ownerReferences"])
        .find(|owner| owner["controller"] == json!(true))
        .map_or_else(
            || "<none>".to_owned(),
            |owner| {
                let api_version = text(&owner["apiVersion"]);
                let group = api_version.rsplit_once('/').map_or("", |(group, _)| group);
                let kind = text(&owner["kind"]).to_lowercase();
                let name = text(&owner["name"]);
                if group.is_empty() {
                    format!("{kind}/{name}")
                } else {
                    format!("{kind}.{group}/{name}")
                }
            },
        )
}

fn ingress_addresses(balancer: &Value) -> String {
    let found: Vec<String> = items(&balancer["ingress"])
        .map(|one| text(either(&one["ip"], &one["hostname"])))
        .filter(|address| !address.is_empty())
        .collect();
    found.join(",")
}

fn service_external(object: &Value) -> String {
    let external: Vec<String> = items(&object["spec"]["externalIPs"]).map(text).collect();
    let none = |text: String, none: &str| {
        if text.is_empty() {
            none.to_owned()
        } else {
            text
        }
    };
    match object["spec"]["type"].as_str().unwrap_or("ClusterIP") {
        "LoadBalancer" => {
            let balancer = ingress_addresses(&object["status"]["loadBalancer"]);
            let all: Vec<String> = std::iter::once(balancer)
                .filter(|text| !text.is_empty())
                .chain(external)
                .collect();
            none(all.join(","), "<pending>")
        }
        "ExternalName" => text(&object["spec"]["externalName"]),
        _ => none(external.join(","), "<none>"),
    }
}

fn service_ports(object: &Value) -> String {
    let ports: Vec<String> = items(&object["spec"]["ports"])
        .map(|port| {
            let (number, protocol) = (text(&port["port"]), or(&port["protocol"], "TCP"));
            match port["nodePort"].as_i64().filter(|port| *port > 0) {
                Some(node_port) => format!("{number}:{node_port}/{protocol}"),
                None => format!("{number}/{protocol}"),
            }
        })
        .collect();
    if ports.is_empty() {
        "<none>".to_owned()
    } else {
        ports.join(",")
    }
}

fn endpoints(object: &Value) -> String {
    let mut all = Vec::new();
    for subset in items(&object["subsets"]) {
        for address in items(&subset["addresses"]) {
            let ip = text(&address["ip"]);
            let mut ports = items(&subset["ports"]).peekable();
            if ports.peek().is_none() {
                all.push(ip.clone());
            }
            for port in ports {
                all.push(format!("{ip}:{}", text(&port["port"])));
            }
        }
    }
    first_three(all, "<none>")
}

fn event_last(object: &Value, now: Timestamp) -> String {
    let first = either(
        &object["firstTimestamp"],
        &object["deprecatedFirstTimestamp"],
    );
    let first = either(first, &object["eventTime"]);
    let series = &object["series"];
    let last = if series.is_object() {
        &series["lastObservedTime"]
    } else {
        either(&object["lastTimestamp"], &object["deprecatedLastTimestamp"])
    };
    since(either(last, first).as_str(), now)
}

fn event_first(object: &Value, now: Timestamp) -> String {
    let first = either(
        &object["firstTimestamp"],
        &object["deprecatedFirstTimestamp"],
    );
    since(either(first, &object["eventTime"]).as_str(), now)
}

fn event_source(object: &Value) -> String {
    let source = either(&object["source"], &object["deprecatedSource"]);
    let (component, host) = (text(&source["component"]), text(&source["host"]));
    if component.is_empty() {
        return text(either(
            &object["reportingComponent"],
            &object["reportingController"],
        ));
    }
    if host.is_empty() {
        component
    } else {
        format!("{component}, {host}")
    }
}

fn access_modes(list: &Value) -> String {
    let modes: Vec<String> = items(list)
        .map(|mode| match mode.as_str() {
            Some("ReadWriteOnce") => "RWO".to_owned(),
            Some("ReadOnlyMany") => "ROX".to_owned(),
            Some("ReadWriteMany") => "RWX".to_owned(),
            Some("ReadWriteOncePod") => "RWOP".to_owned(),
            _ => text(mode),
        })
        .collect();
    modes.join(",")
}

fn quota(object: &Value, limits: bool) -> String {
    let texts: Vec<String> = object["status"]["hard"]
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(name, _)| name.starts_with("limits.") == limits)
        .map(|(name, hard)| {
            let used = or(&object["status"]["used"][name], "0");
            format!("{name}: {used}/{}", text(hard))
        })
        .collect();
    texts.join(", ")
}

fn job_status(object: &Value) -> String {
    let is = |kind: &str| condition(object, kind).is_some_and(|found| found["status"] == "True");
    match () {
        () if is("Complete") => "Complete",
        () if is("Failed") => "Failed",
        () if object["metadata"].get("deletionTimestamp").is_some() => "Terminating",
        () if is("Suspended") => "Suspended",
        () if is("FailureTarget") => "FailureTarget",
        () if is("SuccessCriteriaMet") => "SuccessCriteriaMet",
        () => "Running",
    }
    .to_owned()
}

fn job_completions(object: &Value) -> String {
    let done = number(&object["status"]["succeeded"]);
    match object["spec"]["completions"].as_i64() {
        Some(wanted) => format!("{done}/{wanted}"),
        None => match object["spec"]["parallelism"].as_i64() {
            Some(parallelism) if parallelism > 1 => format!("{done}/1 of {parallelism}"),
            _ => format!("{done}/1"),
        },
    }
}

fn job_duration(object: &Value, now: Timestamp) -> String {
    let Some(start) = object["status"]["startTime"].as_str() else {
        return String::new();
    };
    let failed = condition(object, "Failed").map(|failed| &failed["lastTransitionTime"]);
    let end = failed
        .unwrap_or(&object["status"]["completionTime"])
        .as_str()
        .and_then(|end| end.parse::<Timestamp>().ok());
    since(Some(start), end.unwrap_or(now))
}

fn hpa_targets(object: &Value) -> String {
    // the older form has one
    if let Some(wanted) = object["spec"]["targetCPUUtilizationPercentage"].as_i64() {
        let now = object["status"]["currentCPUUtilizationPercentage"].as_i64();
        let now = now.map_or_else(|| "<unknown>".to_owned(), |now| format!("{now}%"));
        return format!("cpu: {now}/{wanted}%");
    }
    let metrics: Vec<&Value> = items(&object["spec"]["metrics"]).collect();
    if metrics.is_empty() {
        return "<none>".to_owned();
    }
    let current: Vec<&Value> = items(&object["status"]["currentMetrics"]).collect();
    let texts = metrics.iter().enumerate().map(|(index, metric)| {
        let resource = &metric["resource"];
        let name = text(&resource["name"]);
        let now = current.get(index).map(|now| &now["resource"]["current"]);
        if let Some(wanted) = resource["target"]["averageUtilization"].as_i64() {
            let now = now
                .and_then(|now| now["averageUtilization"].as_i64())
                .map_or_else(|| "<unknown>".to_owned(), |now| format!("{now}%"));
            return format!("{name}: {now}/{wanted}%");
        }
        let wanted = either(
            &resource["target"]["averageValue"],
            &resource["target"]["value"],
        );
        let now = now
            .map(|now| text(&now["averageValue"]))
            .filter(|now| !now.is_empty())
            .unwrap_or_else(|| "<unknown>".to_owned());
        format!("{name}: {now}/{}", text(wanted))
    });
    first_three(texts.collect(), "<none>").replace(',', ", ")
}

fn subjects(object: &Value, kind: &str) -> String {
    let names: Vec<String> = items(&object["subjects"])
        .filter(|subject| subject["kind"] == kind)
        .map(|subject| match kind {
            "ServiceAccount" => {
                format!("{}/{}", text(&subject["namespace"]), text(&subject["name"]))
            }
            _ => text(&subject["name"]),
        })
        .collect();
    names.join(", ")
}

fn api_available(object: &Value) -> String {
    match condition(object, "Available") {
        Some(available) if available["status"] == "True" => "True".to_owned(),
        Some(available) => format!(
            "{} ({})",
            text(&available["status"]),
            text(&available["reason"])
        ),
        None => "Unknown".to_owned(),
    }
}
