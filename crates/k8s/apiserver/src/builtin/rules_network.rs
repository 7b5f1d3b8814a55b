//! What Kubernetes refuses of Services, Ingresses and NetworkPolicies beyond the table.

use serde_json::{Value, json};

use super::rules::{IMMUTABLE, fixed, items, items_of, text};
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
    let mut on_nodes = std::collections::BTreeSet::new();
    for (index, port) in items(&spec["ports"]).enumerate() {
        let on_node = port["nodePort"].as_i64().unwrap_or(0);
        if on_node != 0 && !on_nodes.insert((text(&port["protocol"]), on_node)) {
            let at = format!("spec.ports[{index}].nodePort");
            errors.push(FieldError::duplicate(at, json!(on_node)));
        }
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
    let address = text(&spec["clusterIP"]);
    let form = crate::registry::words::Form::Address;
    let problems = form.problems(address);
    if !address.is_empty() && !headless && !problems.is_empty() {
        for problem in problems {
            let at = "spec.clusterIPs[0]";
            errors.push(FieldError::invalid(at, json!(address), problem));
        }
        return errors;
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
    if !service.is_object() {
        return;
    }
    let place = format!("{at}.service.port");
    let (name, number) = (text(&service["port"]["name"]), &service["port"]["number"]);
    match (name.is_empty(), number.as_i64().unwrap_or(0)) {
        (true, 0) => errors.push(FieldError::required(at, "port name or number is required")),
        (false, 0) => {
            for problem in crate::registry::words::port_name(name) {
                errors.push(FieldError::invalid(
                    format!("{place}.name"),
                    json!(name),
                    problem,
                ));
            }
        }
        (false, _) => {
            let detail = "cannot set both port name & port number";
            errors.push(FieldError::invalid(at, json!(""), detail));
        }
        (true, number) if !(1..=65_535).contains(&number) => {
            let detail = "must be between 1 and 65535, inclusive";
            errors.push(FieldError::invalid(
                format!("{place}.number"),
                json!(number),
                detail,
            ));
        }
        _ => {}
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
        host(
            text(&rule["host"]),
            &format!("spec.rules[{rule_index}].host"),
            &mut errors,
        );
        for (index, path) in items(&rule["http"]["paths"]).enumerate() {
            let at = format!("spec.rules[{rule_index}].http.paths[{index}].pathType");
            if path["pathType"].is_null() {
                errors.push(FieldError::required(at, "pathType must be specified"));
                continue;
            }
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
                Some(kind) if !known.contains(&kind) => {
                    errors.push(FieldError::not_supported(at, json!(kind), &known));
                }
                _ => {}
            }
        }
    }
    errors
}

/// A name that requests come with; a star stands for its first part.
fn host(host: &str, at: &str, errors: &mut Vec<FieldError>) {
    if host.is_empty() {
        return;
    }
    if host.parse::<std::net::IpAddr>().is_ok() {
        let detail = "must be a DNS name, not an IP address";
        errors.push(FieldError::invalid(at, json!(host), detail));
    }
    let form = crate::registry::words::Form::Subdomain;
    if host.contains('*') {
        let rest = host.strip_prefix("*.").unwrap_or_default();
        if host.len() > 253 {
            let detail = "must be no more than 253 characters";
            errors.push(FieldError::invalid(at, json!(host), detail));
        }
        if !form.problems(rest).is_empty() {
            let detail = "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character (e.g. '*.example.com', regex used for validation is '\\*\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
            errors.push(FieldError::invalid(at, json!(host), detail));
        }
        return;
    }
    for problem in form.problems(host) {
        errors.push(FieldError::invalid(at, json!(host), problem));
    }
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
    let types = &new["spec"]["policyTypes"];
    if items(types).count() > 2 {
        let detail = "may not specify more than two policyTypes";
        errors.push(FieldError::invalid(
            "spec.policyTypes",
            types.clone(),
            detail,
        ));
        return errors;
    }
    for (index, name) in items(types).enumerate() {
        let known = ["Ingress", "Egress"];
        if !known.contains(&text(name)) {
            let at = format!("spec.policyTypes[{index}]");
            errors.push(FieldError::not_supported(at, name.clone(), &known));
        }
    }
    errors
}

pub(super) fn ingress_class(new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = fixed(new, old, &["spec.controller"]);
    let parameters = &new["spec"]["parameters"];
    if !parameters.is_object() {
        return errors;
    }
    let at = |field: &str| format!("spec.parameters.{field}");
    let space = &parameters["namespace"];
    match text(&parameters["scope"]) {
        "Namespace" if space.is_null() => {
            let detail = "`parameters.scope` is set to 'Namespace'";
            errors.push(FieldError::required(at("namespace"), detail));
        }
        "Cluster" if !space.is_null() => {
            let detail = "`parameters.scope` is set to 'Cluster'";
            errors.push(FieldError::forbidden(at("namespace"), detail));
        }
        _ => {}
    }
    errors
}

pub(super) fn ip_address(new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let name = k8s_object::name(new);
    if !name.is_empty() {
        for problem in crate::registry::words::Form::Address.problems(name) {
            errors.push(FieldError::invalid("metadata.name", json!(name), problem));
        }
    }
    if new["spec"]["parentRef"].is_null() {
        errors.push(FieldError::required("spec.parentRef", ""));
    }
    errors.extend(fixed(new, old, &["spec.parentRef"]));
    errors
}

pub(super) fn service_cidr(new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let at = "spec.cidrs";
    let list =
        |object: &Value| -> Vec<Value> { items(&object["spec"]["cidrs"]).cloned().collect() };
    let after = list(new);
    let mut errors = Vec::new();
    let Some(before) = old.map(list) else {
        networks(&after, at, &mut errors);
        return errors;
    };
    let first = |errors: &mut Vec<FieldError>, index: usize| {
        if before[index] != after[index] {
            let at = format!("{at}[{index}]");
            errors.push(FieldError::invalid(at, after[index].clone(), IMMUTABLE));
        }
    };
    match (before.len(), after.len()) {
        (a, b) if a == b => (0..a).for_each(|index| first(&mut errors, index)),
        (1, 2) => {
            first(&mut errors, 0);
            networks(&after, at, &mut errors);
        }
        _ => {
            let shown = new["spec"]["cidrs"].clone();
            errors.push(FieldError::invalid(at, shown, IMMUTABLE));
        }
    }
    errors
}

fn networks(list: &[Value], at: &str, errors: &mut Vec<FieldError>) {
    if list.is_empty() {
        errors.push(FieldError::required(at, "at least one CIDR required"));
    } else if list.len() > 2 {
        let detail = "may only hold up to 2 values";
        errors.push(FieldError::invalid(at, json!({"CIDRs": list}), detail));
        return;
    }
    for (index, network) in list.iter().enumerate() {
        for problem in crate::registry::words::Form::Network.problems(text(network)) {
            let at = format!("{at}[{index}]");
            errors.push(FieldError::invalid(at, network.clone(), problem));
        }
    }
    if let [one, other] = list
        && text(one).contains(':') == text(other).contains(':')
    {
        let detail = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64";
        errors.push(FieldError::invalid(at, json!(list), detail));
    }
}

pub(super) fn endpoints(new: &Value, _: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (index, subset) in items(&new["subsets"]).enumerate() {
        let at = format!("subsets[{index}]");
        let missing = |list: &str| items(&subset[list]).next().is_none();
        if missing("addresses") && missing("notReadyAddresses") {
            let detail = "must specify `addresses` or `notReadyAddresses`";
            errors.push(FieldError::required(at.clone(), detail));
        }
        let many = items(&subset["ports"]).count() > 1;
        for (port, entry) in items(&subset["ports"]).enumerate() {
            if many && text(&entry["name"]).is_empty() {
                let place = format!("{at}.ports[{port}].name");
                errors.push(FieldError::required(place, ""));
            }
        }
    }
    errors
}
