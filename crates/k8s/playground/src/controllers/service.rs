//! Services: an address, and the pods behind it.

use serde_json::{Map, Value, json};

use crate::api::Refusal;
use crate::cx::{Cx, MANAGER, is_leaving, list, number, owned_by, share_of, status_of, text};
use crate::key::{AUTOSCALER, DISRUPTION_BUDGET, ENDPOINT_SLICE, Key, POD, SERVICE};
use crate::{pods, queue::after};

const SERVICE_NAME: &str = "kubernetes.io/service-name";
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
const SLICES: &str = "endpointslice-controller.k8s.io";

/// Gives a load balancer its address, and every Service its endpoints. Cluster addresses and node ports come from the
/// API server.
pub(crate) fn reconcile(cx: &mut Cx<'_>, key: &Key) -> Result<(), Refusal> {
    let Some(mut service) = cx.get(key).filter(|service| !is_leaving(service)) else {
        return Ok(());
    };
    if text(&service, "/spec/type") == "LoadBalancer"
        && list(&service, "/status/loadBalancer/ingress").is_empty()
    {
        let created = crate::api::read_time(service.pointer("/metadata/creationTimestamp"));
        let due = after(
            created.unwrap_or(cx.now),
            cx.config.timings.provision.least_ms,
        );
        if due > cx.now {
            cx.again_at(key, due);
        } else {
            cx.state.balancers += 1;
            let last = cx.state.balancers % 253 + 1;
            let mut status = status_of(&service);
            // 198.51.100.0/24 is set aside for examples (RFC 5737).
            let ingress = json!([{"ip": format!("198.51.100.{last}"), "ipMode": "VIP"}]);
            status.insert("loadBalancer".to_owned(), json!({"ingress": ingress}));
            cx.set_status(MANAGER, &mut service, Value::Object(status))?;
        }
    }
    let pods = cx.api.list(POD, key.namespace());
    endpoints(cx, &service, &pods)
}

fn selects(selector: &Map<String, Value>, object: &Value) -> bool {
    selector
        .iter()
        .all(|(key, value)| k8s_object::label(object, key) == value.as_str())
}

/// The number of a port that may be named.
fn target_port(pod: &Value, port: &Value) -> Option<i64> {
    match port.get("targetPort") {
        Some(Value::String(name)) => list(pod, "/spec/containers")
            .iter()
            .flat_map(|container| list(container, "/ports"))
            .find(|known| known["name"] == json!(name))?["containerPort"]
            .as_i64(),
        Some(Value::Number(number)) if number.as_i64() != Some(0) => number.as_i64(),
        _ => port["port"].as_i64(),
    }
}

/// Writes the EndpointSlice of a Service that selects pods.
fn endpoints(cx: &mut Cx<'_>, service: &Value, pods: &[Value]) -> Result<(), Refusal> {
    let Some(selector) = service
        .pointer("/spec/selector")
        .and_then(Value::as_object)
        .filter(|selector| !selector.is_empty())
    else {
        return Ok(());
    };
    let namespace = k8s_object::namespace(service);
    let name = k8s_object::name(service);
    let behind: Vec<&Value> = pods
        .iter()
        .filter(|pod| selects(selector, pod) && !pods::has_ended(pod))
        .filter(|pod| !text(pod, "/status/podIP").is_empty())
        .collect();
    let endpoints: Vec<Value> = behind
        .iter()
        .map(|pod| {
            let serving = pods::is_ready(pod);
            let leaving = is_leaving(pod);
            json!({
                "addresses": [text(pod, "/status/podIP")],
                "conditions": {
                    "ready": serving && !leaving,
                    "serving": serving,
                    "terminating": leaving,
                },
                "nodeName": text(pod, "/spec/nodeName"),
                "targetRef": {
                    "kind": "Pod",
                    "namespace": namespace,
                    "name": k8s_object::name(pod),
                    "uid": k8s_object::uid(pod),
                },
            })
        })
        .collect();
    let ports: Vec<Value> = list(service, "/spec/ports")
        .iter()
        .map(|port| {
            let number = match behind.first() {
                Some(pod) => target_port(pod, port),
                None => port["targetPort"].as_i64().or(port["port"].as_i64()),
            };
            let protocol = match text(port, "/protocol") {
                "" => "TCP",
                protocol => protocol,
            };
            json!({"name": text(port, "/name"), "port": number, "protocol": protocol})
        })
        .collect();
    let known = cx.children(service, ENDPOINT_SLICE).into_iter().next();
    let Some(mut slice) = known else {
        let slice = json!({
            "apiVersion": ENDPOINT_SLICE.api_version,
            "kind": ENDPOINT_SLICE.kind,
            "metadata": {
                "name": format!("{name}-{}", cx.state.dice.suffix(5)),
                "namespace": namespace,
                "labels": {SERVICE_NAME: name, MANAGED_BY: SLICES},
                "ownerReferences": owned_by(service),
            },
            "addressType": "IPv4",
            "endpoints": endpoints,
            "ports": ports,
        });
        return cx.api.create(MANAGER, slice).map(|_| ());
    };
    if slice["endpoints"] == json!(endpoints) && slice["ports"] == json!(ports) {
        return Ok(());
    }
    slice["endpoints"] = json!(endpoints);
    slice["ports"] = json!(ports);
    cx.api.update(MANAGER, &slice).map(|_| ())
}

/// Looks at everything in a namespace that selects pods: Services, disruption budgets, autoscalers.
pub(crate) fn selectors(cx: &mut Cx<'_>, namespace: &str) -> Result<(), Refusal> {
    let services = cx.api.list(SERVICE, namespace);
    let budgets = cx.api.list(DISRUPTION_BUDGET, namespace);
    if !services.is_empty() || !budgets.is_empty() {
        let pods = cx.api.list(POD, namespace);
        for service in services.iter().filter(|service| !is_leaving(service)) {
            endpoints(cx, service, &pods)?;
        }
        for budget in budgets {
            count(cx, budget, &pods)?;
        }
    }
    for scaler in cx.api.list(AUTOSCALER, namespace) {
        super::plain::autoscaler(cx, &Key::of(&scaler))?;
    }
    Ok(())
}

/// Counts the pods of a disruption budget.
pub(crate) fn budget(cx: &mut Cx<'_>, key: &Key) -> Result<(), Refusal> {
    let Some(budget) = cx.get(key).filter(|budget| !is_leaving(budget)) else {
        return Ok(());
    };
    let pods = cx.api.list(POD, key.namespace());
    count(cx, budget, &pods)
}

fn count(cx: &mut Cx<'_>, mut budget: Value, pods: &[Value]) -> Result<(), Refusal> {
    let selector: k8s_object::LabelSelector = budget
        .pointer("/spec/selector")
        .and_then(|selector| serde_json::from_value(selector.clone()).ok())
        .unwrap_or_default();
    let pods: Vec<&Value> = pods
        .iter()
        .filter(|pod| pods::is_active(pod) && selector.matches(|key| k8s_object::label(pod, key)))
        .collect();
    let number_of = |len: usize| i64::try_from(len).unwrap_or(0);
    let expected = number_of(pods.len());
    let healthy = number_of(pods.iter().filter(|pod| pods::is_ready(pod)).count());
    let none = Value::from(0);
    let desired = match budget.pointer("/spec/minAvailable") {
        Some(least) if !least.is_null() => share_of(Some(least), &none, expected, true),
        _ => {
            let most = budget.pointer("/spec/maxUnavailable");
            expected - share_of(most, &none, expected, true)
        }
    };
    let allowed = (healthy - desired).max(0);
    let mut status = status_of(&budget);
    for (field, number) in [
        (
            "observedGeneration",
            number(&budget, "/metadata/generation").unwrap_or(0),
        ),
        ("expectedPods", expected),
        ("currentHealthy", healthy),
        ("desiredHealthy", desired),
        ("disruptionsAllowed", allowed),
    ] {
        status.insert(field.to_owned(), json!(number));
    }
    let condition = crate::cx::Condition {
        kind: "DisruptionAllowed",
        holds: allowed > 0,
        reason: if allowed > 0 {
            "SufficientPods"
        } else {
            "InsufficientPods"
        },
        message: "",
    };
    let now = cx.now_text();
    crate::cx::set_condition(&mut status, &condition, &now, &[]);
    cx.set_status(MANAGER, &mut budget, Value::Object(status))
}
