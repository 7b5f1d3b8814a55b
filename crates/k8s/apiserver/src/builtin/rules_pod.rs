//! What Kubernetes refuses of pods beyond the table: what hangs on several fields, and what may not change.

use serde_json::{Value, json};

use super::rules::{items, text};
use super::rules_parts::{environment, handlers, host_ports, mounts, privileges};
use super::rules_resources::{requirements, tolerations};
use crate::FieldError;

pub(super) fn pod_spec(spec: &Value, path: &str, errors: &mut Vec<FieldError>) {
    if items(&spec["containers"]).next().is_none() {
        errors.push(FieldError::required(format!("{path}.containers"), ""));
    }
    tolerations(&spec["tolerations"], &format!("{path}.tolerations"), errors);
    let mut volumes = std::collections::BTreeSet::new();
    for (index, volume) in items(&spec["volumes"]).enumerate() {
        let before = errors.len();
        super::rules_parts::volume(volume, &format!("{path}.volumes[{index}]"), errors);
        if errors.len() == before && super::rules_parts::fits_table(volume) {
            volumes.insert(text(&volume["name"]));
        }
    }
    host_ports(
        items(&spec["containers"]),
        &format!("{path}.containers"),
        errors,
    );
    let mut names = std::collections::BTreeSet::new();
    for list in ["containers", "initContainers"] {
        for (index, container) in items(&spec[list]).enumerate() {
            let at = format!("{path}.{list}[{index}]");
            let name = text(&container["name"]);
            if !name.is_empty() && !names.insert(name) {
                errors.push(FieldError::duplicate(format!("{at}.name"), json!(name)));
            }
            container_rules(spec, container, &at, &volumes, errors);
            if list == "initContainers" {
                // they run one after the other, and are not told apart here
                let at = format!("{path}.{list}");
                host_ports(std::iter::once(container), &at, errors);
            }
        }
    }
}

fn container_rules(
    spec: &Value,
    container: &Value,
    at: &str,
    volumes: &std::collections::BTreeSet<&str>,
    errors: &mut Vec<FieldError>,
) {
    handlers(container, at, errors);
    let mut ports = std::collections::BTreeSet::new();
    for (index, port) in items(&container["ports"]).enumerate() {
        let name = text(&port["name"]);
        if !name.is_empty()
            && crate::registry::words::port_name(name).is_empty()
            && !ports.insert(name)
        {
            let at = format!("{at}.ports[{index}].name");
            errors.push(FieldError::duplicate(at, json!(name)));
        }
        if spec["hostNetwork"] == json!(true)
            && port["hostPort"].is_number()
            && port["hostPort"] != port["containerPort"]
        {
            errors.push(FieldError::invalid(
                format!("{at}.ports[{index}].hostPort"),
                port["hostPort"].clone(),
                "must match `containerPort` when `hostNetwork` is true",
            ));
        }
    }
    environment(container, at, errors);
    mounts(container, at, volumes, errors);
    privileges(container, at, errors);
    requirements(&container["resources"], &format!("{at}.resources"), errors);
}

pub(super) fn pod(new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    pod_spec(&new["spec"], "spec", &mut errors);
    if let Some(old) = old {
        for list in ["containers", "initContainers"] {
            let count = |pod: &Value| items(&pod["spec"][list]).count();
            if count(new) != count(old) {
                let detail = "pod updates may not add or remove containers";
                errors.push(FieldError::forbidden(format!("spec.{list}"), detail));
                return errors;
            }
        }
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
