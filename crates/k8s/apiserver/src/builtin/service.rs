//! Addresses and node ports of Services.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::{FieldError, ListOptions, Registry, Status};

impl Registry {
    /// Gives a Service its cluster address and node ports, and takes back what its type no longer has.
    pub(crate) fn allocate_service(
        &self,
        service: &mut Value,
        old: Option<&Value>,
    ) -> Result<(), Status> {
        let kind = service["spec"]["type"]
            .as_str()
            .unwrap_or("ClusterIP")
            .to_owned();
        if kind == "ExternalName" {
            if let Some(spec) = service["spec"].as_object_mut() {
                spec.remove("clusterIP");
                spec.remove("clusterIPs");
            }
            return Ok(());
        }
        if !service["spec"].is_object() {
            return Ok(());
        }
        if let Some(old) = old {
            for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
                if service["spec"].get(field).is_none()
                    && let Some(value) = old["spec"].get(field)
                {
                    service["spec"][field] = value.clone();
                }
            }
            leave_type(service, old);
            keep_node_ports(service, old);
        }
        self.address_families(service)?;
        let needs_address = service["spec"].get("clusterIP").is_none_or(|ip| ip == "");
        let needs_ports = matches!(kind.as_str(), "NodePort" | "LoadBalancer");
        let asked = service["spec"]["clusterIP"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let asked = (old.is_none() && !needs_address && asked != "None").then_some(asked);
        if needs_address || needs_ports || asked.is_some() {
            let (addresses, ports) = self.taken(service)?;
            if let Some(asked) = asked
                && addresses.contains(&asked)
            {
                let def = self.resource("", "services")?;
                let error = FieldError::invalid(
                    "spec.clusterIPs",
                    json!([asked]),
                    format!("failed to allocate IP {asked}: provided IP is already allocated"),
                );
                return Err(Status::invalid(&def, k8s_object::name(service), &[error]));
            }
            if needs_address {
                let address = self.free(&addresses, |random| {
                    let network = &self.config().service_network;
                    format!(
                        "{network}.{}.{}",
                        (random >> 8) & 0xff,
                        1 + (random & 0xff) % 254
                    )
                })?;
                service["spec"]["clusterIP"] = json!(address);
            }
            if needs_ports {
                self.node_ports(service, ports)?;
            }
        }
        if service["spec"].get("clusterIPs").is_none() {
            service["spec"]["clusterIPs"] = json!([service["spec"]["clusterIP"]]);
        }
        Ok(())
    }

    /// Says of which families a Service's addresses are: this cluster has those of IPv4 alone.
    fn address_families(&self, service: &mut Value) -> Result<(), Status> {
        let spec = &mut service["spec"];
        let selects = spec["selector"]
            .as_object()
            .is_some_and(|selector| !selector.is_empty());
        // nobody routes to it, so it may name what the cluster has not
        let free = spec["clusterIP"] == "None" && !selects;
        if spec["ipFamilyPolicy"].is_null() {
            spec["ipFamilyPolicy"] = json!(if free {
                "RequireDualStack"
            } else {
                "SingleStack"
            });
        }
        let mut families: Vec<String> = spec["ipFamilies"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|family| family.as_str().map(str::to_owned))
            .collect();
        let policy = spec["ipFamilyPolicy"].as_str().unwrap_or_default();
        let mut errors = Vec::new();
        if policy == "SingleStack" && families.len() > 1 {
            errors.push(FieldError::invalid(
                "spec.ipFamilyPolicy",
                json!(policy),
                "must be 'RequireDualStack' or 'PreferDualStack' when multiple IP families are specified",
            ));
        } else if free {
            if families.is_empty() {
                families.push("IPv4".to_owned());
            }
            if policy != "SingleStack" && families.len() == 1 {
                let other = if families[0] == "IPv4" {
                    "IPv6"
                } else {
                    "IPv4"
                };
                families.push(other.to_owned());
            }
        } else {
            if policy == "RequireDualStack" {
                errors.push(FieldError::invalid(
                    "spec.ipFamilyPolicy",
                    json!(policy),
                    "this cluster is not configured for dual-stack services",
                ));
            }
            for (index, family) in families.iter().enumerate() {
                if family == "IPv6" {
                    errors.push(FieldError::invalid(
                        format!("spec.ipFamilies[{index}]"),
                        json!(family),
                        "not configured on this cluster",
                    ));
                }
            }
            if families.is_empty() {
                families.push("IPv4".to_owned());
            }
        }
        if !errors.is_empty() {
            let def = self.resource("", "services")?;
            return Err(Status::invalid(&def, k8s_object::name(service), &errors));
        }
        service["spec"]["ipFamilies"] = json!(families);
        Ok(())
    }

    fn node_ports(&self, service: &mut Value, mut taken: BTreeSet<String>) -> Result<(), Status> {
        let count = service["spec"]["ports"].as_array().map_or(0, Vec::len);
        for index in 0..count {
            if service["spec"]["ports"][index]["nodePort"]
                .as_i64()
                .unwrap_or(0)
                != 0
            {
                continue;
            }
            // the same port has the same node port, whatever it speaks
            let ports = service["spec"]["ports"].as_array();
            let number = &service["spec"]["ports"][index]["port"];
            let same = ports
                .into_iter()
                .flatten()
                .filter(|port| port["port"] == *number)
                .filter_map(|port| port["nodePort"].as_u64())
                .find(|port| *port != 0);
            if let Some(same) = same {
                service["spec"]["ports"][index]["nodePort"] = json!(same);
                continue;
            }
            let port = self.free(&taken, |random| {
                (30_000 + u32::from(random) % 2_768).to_string()
            })?;
            service["spec"]["ports"][index]["nodePort"] = json!(port.parse::<u32>().unwrap_or(0));
            taken.insert(port);
        }
        Ok(())
    }

    fn free(
        &self,
        taken: &BTreeSet<String>,
        make: impl Fn(u16) -> String,
    ) -> Result<String, Status> {
        let mut bytes = [0_u8; 2];
        self.config().entropy.fill(&mut bytes);
        let start = u16::from_le_bytes(bytes);
        (0..=u16::MAX)
            .map(|step| make(start.wrapping_add(step)))
            .find(|candidate| !taken.contains(candidate))
            .ok_or_else(|| Status::internal("failed to allocate a serviceIP: range is full"))
    }

    fn taken(&self, own: &Value) -> Result<(BTreeSet<String>, BTreeSet<String>), Status> {
        let def = self.resource("", "services")?;
        let (mut addresses, mut ports) = (BTreeSet::new(), BTreeSet::new());
        for service in self.list(&def, "", &ListOptions::default())?.values() {
            if k8s_object::uid(&service) == k8s_object::uid(own) {
                continue;
            }
            addresses.extend(service["spec"]["clusterIP"].as_str().map(str::to_owned));
            let list = service["spec"]["ports"].as_array();
            ports.extend(
                list.into_iter()
                    .flatten()
                    .filter_map(|port| Some(port["nodePort"].as_i64()?.to_string())),
            );
        }
        Ok((addresses, ports))
    }
}

/// Takes away what only the old type has, unless somebody changed it.
fn leave_type(service: &mut Value, old: &Value) {
    let has_ports = |service: &Value| match service["spec"]["type"].as_str() {
        Some("NodePort") => true,
        Some("LoadBalancer") => service["spec"]["allocateLoadBalancerNodePorts"] != false,
        _ => false,
    };
    let balanced = |service: &Value| service["spec"]["type"] == "LoadBalancer";
    let node_ports = |service: &Value| -> BTreeSet<Option<i64>> {
        let ports = service["spec"]["ports"].as_array().into_iter().flatten();
        ports.map(|port| port["nodePort"].as_i64()).collect()
    };
    if has_ports(old) && !has_ports(service) && node_ports(old) == node_ports(service) {
        let ports = service["spec"]["ports"].as_array_mut();
        for port in ports.into_iter().flatten() {
            port.as_object_mut().map(|port| port.remove("nodePort"));
        }
    }
    if balanced(old)
        && !balanced(service)
        && let Some(spec) = service["spec"].as_object_mut()
    {
        for field in [
            "allocateLoadBalancerNodePorts",
            "loadBalancerClass",
            "healthCheckNodePort",
        ] {
            if spec.get(field) == old["spec"].get(field) {
                spec.remove(field);
            }
        }
    }
}

/// A port that does not say keeps the node port that the same port had.
fn keep_node_ports(service: &mut Value, old: &Value) {
    let kind = service["spec"]["type"].as_str().unwrap_or_default();
    if !matches!(kind, "NodePort" | "LoadBalancer") {
        return;
    }
    let before = old["spec"]["ports"].as_array().cloned().unwrap_or_default();
    for port in service["spec"]["ports"]
        .as_array_mut()
        .into_iter()
        .flatten()
    {
        if port.get("nodePort").is_none()
            && let Some(same) = before
                .iter()
                .find(|same| same["port"] == port["port"] && same["protocol"] == port["protocol"])
            && let Some(node_port) = same.get("nodePort")
        {
            port["nodePort"] = node_port.clone();
        }
    }
}
