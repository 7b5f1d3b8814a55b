//! The agent's manifests, with what one cluster needs put in.
//!
//! What they look like is the chart's business: the plain manifests that it makes are in here, and are changed in the
//! places that differ from cluster to cluster.

use std::collections::BTreeMap;

use anyhow::{anyhow, bail};
use serde_json::{Value, json};

const FULL: &str = include_str!("../../../../../deploy/agent.yaml");
const LIMITED: &str = include_str!("../../../../../deploy/agent-limited.yaml");

/// The names that stand in the manifests for what is put in.
const SPACE: &str = "roadstead-agent";
const PROJECT: &str = "project-name";
const TARGET: &str = "namespace-name";

/// Where the agent may write, and what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Limits {
    /// The namespaces of each Project.
    projects: BTreeMap<String, Vec<String>>,
    /// Groups and resources; empty for the usual ones.
    kinds: Vec<(String, String)>,
}

impl Limits {
    /// Reads `PROJECT:NAMESPACE` and `[GROUP/]RESOURCE`.
    pub(crate) fn parse(allow: &[String], kinds: &[String]) -> anyhow::Result<Self> {
        let mut projects: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for text in allow {
            let (project, namespace) = text
                .split_once(':')
                .filter(|(project, namespace)| is_name(project) && is_name(namespace))
                .ok_or_else(|| anyhow!("--allow {text:?} is not PROJECT:NAMESPACE"))?;
            projects
                .entry(project.to_owned())
                .or_default()
                .push(namespace.to_owned());
        }
        let mut found = Vec::new();
        for text in kinds {
            let (group, resource) = text.split_once('/').unwrap_or(("", text));
            let lower = |text: &str| {
                text.chars()
                    .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c))
            };
            if resource.is_empty() || !lower(resource) || !lower(group) {
                bail!(
                    "--kind {text:?} is not [GROUP/]RESOURCE; the resource is the plural in lower case, such as \
                     apps/deployments (`kubectl api-resources` lists them)"
                );
            }
            found.push((group.to_owned(), resource.to_owned()));
        }
        Ok(Self {
            projects,
            kinds: found,
        })
    }

    fn rules(&self, verbs: &[&str]) -> Vec<Value> {
        let rule = |(group, resource): &(String, String)| json!({ "apiGroups": [group], "resources": [resource], "verbs": verbs });
        self.kinds.iter().map(rule).collect()
    }
}

fn is_name(text: &str) -> bool {
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !text.is_empty()
        && text.len() <= 63
        && text.chars().all(good)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// What one cluster's manifests say.
pub(crate) struct Manifests<'a> {
    pub(crate) url: &'a str,
    pub(crate) ca_pem: &'a str,
    pub(crate) name: &'a str,
    pub(crate) token: &'a str,
    pub(crate) namespace: &'a str,
    pub(crate) image: Option<&'a str>,
    pub(crate) https_proxy: Option<&'a str>,
    pub(crate) no_proxy: &'a str,
    /// In PEM; empty for none.
    pub(crate) extra_cas: &'a str,
    pub(crate) limits: Option<&'a Limits>,
}

/// The same as values of the chart.
pub(crate) fn values(of: &Manifests<'_>) -> Value {
    let mut values = json!({
        "hub": { "url": of.url, "ca": of.ca_pem },
        "cluster": { "name": of.name },
        "join": { "token": of.token },
    });
    if let Some(image) = of.image {
        let (repository, rest) = split_image(image);
        values["image"] = json!({ "repository": repository });
        match rest {
            Some(digest) if digest.starts_with("sha256:") => {
                values["image"]["digest"] = json!(digest)
            }
            Some(tag) => values["image"]["tag"] = json!(tag),
            None => {}
        }
    }
    let proxy = [
        ("https", of.https_proxy.unwrap_or_default()),
        ("noProxy", of.no_proxy),
        ("extraCAs", of.extra_cas),
    ];
    for (key, value) in proxy.iter().filter(|(_, value)| !value.is_empty()) {
        values["proxy"][key] = json!(value);
    }
    if let Some(limits) = of.limits {
        let projects = limits.projects.iter();
        let projects: Vec<Value> = projects
            .map(|(name, namespaces)| json!({ "name": name, "namespaces": namespaces }))
            .collect();
        values["rbac"] = json!({ "mode": "limited", "limited": { "projects": projects } });
        if !limits.kinds.is_empty() {
            let kinds = limits.kinds.iter();
            let kinds: Vec<Value> = kinds
                .map(|(group, resource)| json!({ "apiGroups": [group], "resources": [resource] }))
                .collect();
            values["rbac"]["limited"]["kinds"] = Value::from(kinds);
        }
    }
    values
}

/// Repository, and tag or digest.
fn split_image(image: &str) -> (&str, Option<&str>) {
    if let Some((repository, digest)) = image.split_once('@') {
        return (repository, Some(digest));
    }
    match image.rsplit_once(':') {
        // a colon before a slash is of a port
        Some((repository, tag)) if !tag.contains('/') => (repository, Some(tag)),
        _ => (image, None),
    }
}

impl Manifests<'_> {
    /// All documents, as YAML.
    pub(crate) fn text(&self) -> anyhow::Result<String> {
        let (text, file) = match self.limits {
            None => (FULL, "agent.yaml"),
            Some(_) => (LIMITED, "agent-limited.yaml"),
        };
        let mut out = String::new();
        for document in base_yaml::parse_documents(text, file)? {
            for mut object in self.copies(document.value) {
                self.put_in(&mut object);
                out.push_str("---\n");
                out.push_str(&base_yaml::to_string(&object));
            }
        }
        Ok(out)
    }

    /// What there is for each Project, and for each of its namespaces.
    fn copies(&self, object: Value) -> Vec<Value> {
        let Some(limits) = self.limits else {
            return vec![object];
        };
        let text = object.to_string();
        let own_role = text.contains("\"impersonate\"");
        if !text.contains(PROJECT) || own_role {
            return vec![object];
        }
        let mut copies = Vec::new();
        for (project, namespaces) in &limits.projects {
            let places: &[String] = if text.contains(TARGET) {
                namespaces
            } else {
                &[String::new()]
            };
            for namespace in places {
                let mut copy = object.clone();
                replace(&mut copy, &|text| {
                    text.replace(PROJECT, project).replace(TARGET, namespace)
                });
                copies.push(copy);
            }
        }
        copies
    }

    fn put_in(&self, object: &mut Value) {
        let kind = k8s_object::kind(object).to_owned();
        if kind == "Namespace" {
            object["metadata"]["name"] = json!(self.namespace);
        } else if k8s_object::namespace(object) == SPACE {
            object["metadata"]["namespace"] = json!(self.namespace);
        }
        for subject in object
            .get_mut("subjects")
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            subject["namespace"] = json!(self.namespace);
        }
        match kind.as_str() {
            "Secret" => object["stringData"] = json!({ "token": self.token }),
            "ConfigMap" => {
                object["data"] = json!({ "hub-ca.pem": self.ca_pem });
                if !self.extra_cas.is_empty() {
                    object["data"]["extra-cas.pem"] = json!(self.extra_cas);
                }
            }
            "NetworkPolicy" => self.network_policy(object),
            "Deployment" => self.deployment(object),
            "Role" | "ClusterRole" => self.role(object),
            _ => {}
        }
    }

    fn deployment(&self, object: &mut Value) {
        let container = &mut object["spec"]["template"]["spec"]["containers"][0];
        if let Some(image) = self.image {
            container["image"] = json!(image);
        }
        let Some(args) = container["args"].as_array_mut() else {
            return;
        };
        for arg in args.iter_mut() {
            let text = arg.as_str().unwrap_or_default();
            if text.starts_with("--hub=") {
                *arg = json!(format!("--hub={}", self.url));
            } else if text.starts_with("--name=") {
                *arg = json!(format!("--name={}", self.name));
            }
        }
        if let Some(proxy) = self.https_proxy {
            args.push(json!(format!("--https-proxy={proxy}")));
        }
        if !self.no_proxy.is_empty() {
            args.push(json!(format!("--no-proxy={}", self.no_proxy)));
        }
        if !self.extra_cas.is_empty() {
            args.push(json!("--extra-ca=/etc/roadstead/trust/extra-cas.pem"));
        }
    }

    /// Lets the agent out to the ports of its hub and its proxy, whatever they are.
    fn network_policy(&self, object: &mut Value) {
        let rules = object["spec"]["egress"].as_array_mut();
        let Some(ports) = rules
            .and_then(|rules| rules.last_mut())
            .and_then(|rule| rule["ports"].as_array_mut())
        else {
            return;
        };
        for url in [Some(self.url), self.https_proxy].into_iter().flatten() {
            let wanted = port(url).map(|port| json!({ "protocol": "TCP", "port": port }));
            ports.extend(wanted.filter(|wanted| !ports.contains(wanted)));
        }
    }

    fn role(&self, object: &mut Value) {
        let Some(limits) = self.limits else {
            return;
        };
        let Some(rules) = object.get_mut("rules").and_then(Value::as_array_mut) else {
            return;
        };
        for rule in rules.iter_mut() {
            let names = |rule: &Value| rule["verbs"] == json!(["impersonate"]);
            if names(rule) {
                let accounts = limits.projects.keys();
                let accounts: Vec<String> = accounts
                    .map(|project| format!("{SPACE}-project-{project}"))
                    .collect();
                rule["resourceNames"] = json!(accounts);
            }
            if rule["resources"] == json!(["namespaces"]) && rule["verbs"] == json!(["delete"]) {
                rule["resourceNames"] = json!([self.namespace]);
            }
        }
        if limits.kinds.is_empty() {
            return;
        }
        // the rules about what is delivered, which are those with watch
        let writes = |rule: &Value| {
            rule["verbs"].as_array().is_some_and(|verbs| {
                verbs.contains(&json!("create")) && verbs.contains(&json!("watch"))
            })
        };
        let reads = |rule: &Value| {
            rule["verbs"] == json!(["get", "list", "watch"])
                && rule["resources"] != json!(["namespaces"])
        };
        let written = rules.iter().any(writes);
        let read = rules.iter().any(reads);
        rules.retain(|rule| !writes(rule) && !reads(rule));
        if written {
            rules.extend(limits.rules(&[
                "get", "list", "watch", "create", "update", "patch", "delete",
            ]));
        } else if read {
            rules.extend(limits.rules(&["get", "list", "watch"]));
        }
    }
}

/// The port that a URL names.
fn port(url: &str) -> Option<u16> {
    let authority = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = authority.split('/').next()?;
    authority.rsplit_once(':')?.1.parse().ok()
}

fn replace(value: &mut Value, with: &impl Fn(&str) -> String) {
    match value {
        Value::String(text) => *text = with(text),
        Value::Array(list) => list.iter_mut().for_each(|item| replace(item, with)),
        Value::Object(map) => map.values_mut().for_each(|item| replace(item, with)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of<'a>(limits: Option<&'a Limits>) -> Manifests<'a> {
        Manifests {
            url: "https://hub.test:30443",
            ca_pem: "PEM",
            name: "eu-1",
            token: "rs1.a.b.c",
            namespace: "elsewhere",
            image: Some("registry.test:5000/roadstead:2"),
            https_proxy: Some("http://proxy.test:3128"),
            no_proxy: "10.0.0.0/8,.local",
            extra_cas: "MORE",
            limits,
        }
    }

    fn objects(manifests: &Manifests<'_>) -> Vec<Value> {
        let text = manifests.text().expect("manifests");
        let documents = base_yaml::parse_documents(&text, "out.yaml").expect("YAML");
        documents
            .into_iter()
            .map(|document| document.value)
            .collect()
    }

    fn one<'a>(objects: &'a [Value], kind: &str, name: &str) -> &'a Value {
        let mut found = objects
            .iter()
            .filter(|object| k8s_object::kind(object) == kind && k8s_object::name(object) == name);
        found.next().unwrap_or_else(|| panic!("no {kind} {name}"))
    }

    #[test]
    fn everything_of_one_cluster_is_put_in() {
        let objects = objects(&of(None));
        let deployment = one(&objects, "Deployment", "roadstead-agent");
        let container = &deployment["spec"]["template"]["spec"]["containers"][0];
        assert_eq!(container["image"], "registry.test:5000/roadstead:2");
        let args = container["args"].as_array().expect("args");
        for wanted in [
            "--hub=https://hub.test:30443",
            "--name=eu-1",
            "--https-proxy=http://proxy.test:3128",
            "--no-proxy=10.0.0.0/8,.local",
            "--extra-ca=/etc/roadstead/trust/extra-cas.pem",
        ] {
            assert!(args.contains(&json!(wanted)), "{wanted} not in {args:?}");
        }
        assert_eq!(
            one(&objects, "Secret", "roadstead-agent-join")["stringData"]["token"],
            "rs1.a.b.c"
        );
        assert_eq!(
            one(&objects, "ConfigMap", "roadstead-agent-trust")["data"]["hub-ca.pem"],
            "PEM"
        );
        let trust = &one(&objects, "ConfigMap", "roadstead-agent-trust")["data"];
        assert_eq!(trust["extra-cas.pem"], "MORE");
        let policy = one(&objects, "NetworkPolicy", "roadstead-agent");
        let ports = policy["spec"]["egress"][1]["ports"].as_array();
        let ports: Vec<&Value> = ports
            .into_iter()
            .flatten()
            .map(|one| &one["port"])
            .collect();
        assert_eq!(ports, [443, 6443, 8443, 30443, 3128]);
        for object in &objects {
            let cluster_wide = ["Namespace", "ClusterRole", "ClusterRoleBinding"]
                .contains(&k8s_object::kind(object));
            let expected = if cluster_wide { "" } else { "elsewhere" };
            assert_eq!(k8s_object::namespace(object), expected, "{object}");
        }
        let text = Value::from(objects).to_string();
        for left in ["hub.example.com", "rs1.TOKEN", "HUB-CA", "cluster-name"] {
            assert!(!text.contains(left), "{left} is left");
        }
    }

    #[test]
    fn limits_name_each_namespace_of_each_project() {
        let allow = ["shop:web", "shop:api", "ops:tools"].map(str::to_owned);
        let limits = Limits::parse(
            &allow,
            &["apps/deployments".to_owned(), "services".to_owned()],
        )
        .expect("limits");
        let objects = objects(&of(Some(&limits)));
        let text = Value::from(objects.clone()).to_string();
        assert!(!text.contains(PROJECT) && !text.contains(TARGET), "{text}");
        let roles = objects
            .iter()
            .filter(|object| k8s_object::kind(object) == "Role");
        let mut roles: Vec<String> = roles
            .map(|role| format!("{}/{}", k8s_object::namespace(role), k8s_object::name(role)))
            .collect();
        roles.sort();
        assert_eq!(
            roles,
            [
                "api/roadstead-agent-project-shop",
                "elsewhere/roadstead-agent",
                "tools/roadstead-agent-project-ops",
                "web/roadstead-agent-project-shop"
            ]
        );
        let role = one(&objects, "Role", "roadstead-agent-project-ops");
        let written = [
            "get", "list", "watch", "create", "update", "patch", "delete",
        ];
        assert_eq!(
            role["rules"][1],
            json!({"apiGroups": ["apps"], "resources": ["deployments"], "verbs": written})
        );
        assert_eq!(role["rules"].as_array().map(Vec::len), Some(3), "{role}");
        let whole = one(&objects, "ClusterRole", "roadstead-agent").to_string();
        assert!(
            !whole.contains("\"*\"") && !whole.contains("create"),
            "{whole}"
        );
        let accounts = objects
            .iter()
            .filter(|object| k8s_object::kind(object) == "ServiceAccount")
            .count();
        assert_eq!(accounts, 3);
        assert!(text.contains("--impersonate-projects"));
        for wrong in [&["shop"][..], &["shop:"], &["Shop:web"]] {
            let wrong: Vec<String> = wrong.iter().map(|text| (*text).to_owned()).collect();
            assert!(Limits::parse(&wrong, &[]).is_err(), "{wrong:?}");
        }
        assert!(Limits::parse(&allow, &["Deployment".to_owned()]).is_err());
    }

    #[test]
    fn values_say_the_same() {
        let limits = Limits::parse(&["shop:web".to_owned()], &[]).expect("limits");
        let values = values(&of(Some(&limits)));
        assert_eq!(
            values["image"],
            json!({"repository": "registry.test:5000/roadstead", "tag": "2"})
        );
        assert_eq!(
            values["rbac"]["limited"]["projects"],
            json!([{"name": "shop", "namespaces": ["web"]}])
        );
        assert_eq!(
            values["proxy"],
            json!({"https": "http://proxy.test:3128", "noProxy": "10.0.0.0/8,.local", "extraCAs": "MORE"})
        );
        assert_eq!(port("https://hub.test"), None);
        assert_eq!(port("http://jo:pw@proxy.test:3128/"), Some(3128));
        assert_eq!(port("proxy.test:3128"), Some(3128));
        assert_eq!(split_image("a/b@sha256:1"), ("a/b", Some("sha256:1")));
        assert_eq!(split_image("host:5000/b"), ("host:5000/b", None));
    }
}
