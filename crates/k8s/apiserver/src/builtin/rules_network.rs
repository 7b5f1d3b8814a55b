//! What Kubernetes refuses of Services, Ingresses and NetworkPolicies beyond the table.

use serde_json::{Value, json};

use super::rules::{items, items_of, text};
use crate::FieldError;

pub(super) fn service(new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let spec = &new["spec"];
    let kind = text(&spec["type"]);
    if kind == "ExternalName" {
        let name = text(&spec["externalName"]);
        if name.is_empty() {
            errors.push(FieldError::required("spec.externalName", ""));
        } else {
            for problem in crate::registry::words::Form::Subdomain.problems(name) {
                errors.push(FieldError::invalid(
                    "spec.externalName",
                    json!(name),
                    problem,
                ));
            }
        }
    }
    let headless = spec["clusterIP"] == "None";
    let mut ports = items(&spec["ports"]).peekable();
    if ports.peek().is_none() && !headless && kind != "ExternalName" {
        errors.push(FieldError::required("spec.ports", ""));
    }
    let many = items(&spec["ports"]).count() > 1;
    let mut names = std::collections::BTreeSet::new();
    let mut seen = std::collections::BTreeSet::new();
    for (index, port) in items(&spec["ports"]).enumerate() {
        let name = text(&port["name"]);
        if !name.is_empty() && !names.insert(name) {
            let at = format!("spec.ports[{index}].name");
            errors.push(FieldError::duplicate(at, json!(name)));
        }
        let number = port["port"].as_i64().unwrap_or(0);
        let protocol = text(&port["protocol"]);
        if !seen.insert((protocol, number)) {
            // the real one prints what it compares
            let whole = format!(
                "{{\"Name\":\"\",\"Protocol\":{},\"AppProtocol\":null,\"Port\":{number},\"TargetPort\":0,\"NodePort\":0}}",
                json!(protocol)
            );
            let at = format!("spec.ports[{index}]");
            errors.push(FieldError::new(
                at,
                crate::FieldProblem::Duplicate,
                None,
                whole,
            ));
        }
    }
    for (index, port) in ports.enumerate() {
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

fn ingress_backend(backend: &Value, at: &str, errors: &mut Vec<FieldError>) {
    let service = &backend["service"];
    if backend.is_object() && service.is_null() && backend["resource"].is_null() {
        let detail = "resource or service backend is required";
        errors.push(FieldError::invalid(at, json!(""), detail));
    }
    if service.is_object()
        && service["port"]["name"].is_null()
        && service["port"]["number"].is_null()
    {
        errors.push(FieldError::required(at, "port name or number is required"));
    }
}

pub(super) fn ingress(new: &Value, _: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let spec = &new["spec"];
    if spec["defaultBackend"].is_null() && items(&spec["rules"]).next().is_none() {
        errors.push(FieldError::invalid(
            "spec",
            Value::Null,
            "either `defaultBackend` or `rules` must be specified",
        ));
    }
    ingress_backend(&spec["defaultBackend"], "spec.defaultBackend", &mut errors);
    for (index, tls) in items(&spec["tls"]).enumerate() {
        for (host_index, host) in items(&tls["hosts"]).enumerate() {
            let host = text(host);
            if !host.starts_with('*') {
                for problem in crate::registry::words::Form::Subdomain.problems(host) {
                    let at = format!("spec.tls[{index}].hosts[{host_index}]");
                    errors.push(FieldError::invalid(at, json!(host), problem));
                }
            }
        }
    }
    let known = ["Exact", "ImplementationSpecific", "Prefix"];
    for (rule_index, rule) in items(&new["spec"]["rules"]).enumerate() {
        for (index, path) in items(&rule["http"]["paths"]).enumerate() {
            let at = format!("spec.rules[{rule_index}].http.paths[{index}].pathType");
            if path["pathType"] != "ImplementationSpecific" && !text(&path["path"]).starts_with('/')
            {
                errors.push(FieldError::invalid(
                    format!("spec.rules[{rule_index}].http.paths[{index}].path"),
                    json!(text(&path["path"])),
                    "must be an absolute path",
                ));
            }
            ingress_backend(
                &path["backend"],
                &format!("spec.rules[{rule_index}].http.paths[{index}].backend"),
                &mut errors,
            );
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

pub(super) fn network_policy(new: &Value, _: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (side, peers) in [("ingress", "from"), ("egress", "to")] {
        for (index, rule) in items(&new["spec"][side]).enumerate() {
            for (peer_index, peer) in items(&rule[peers]).enumerate() {
                let at = format!("spec.{side}[{index}].{peers}[{peer_index}]");
                if items_of(peer) == 0 {
                    errors.push(FieldError::required(at, "must specify a peer"));
                } else if !peer["ipBlock"].is_null() && items_of(peer) > 1 {
                    let detail = "may not specify both ipBlock and another peer";
                    errors.push(FieldError::forbidden(at, detail));
                }
            }
        }
    }
    errors
}
