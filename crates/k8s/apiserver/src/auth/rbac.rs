//! RBAC over the roles and bindings that stand in the same server.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use base_store::{Revision, Watch, WatchItem};
use k8s_object::LabelSelector;
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::{Attributes, Authorizer, Decision, Rule};
use crate::{
    Admission, AdmissionRequest, ListOptions, Patch, Registry, Status, UserInfo, WriteOptions,
};

const GROUP: &str = "rbac.authorization.k8s.io";

/// Role-based access control; members of `system:masters` may do everything.
#[derive(Default)]
pub struct Rbac {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    watch: Option<Watch>,
    index: Arc<Index>,
}

#[derive(Debug, Clone, PartialEq)]
struct Subject {
    kind: String,
    name: String,
}

#[derive(Debug, Default)]
struct Binding {
    name: String,
    namespace: String,
    role_kind: String,
    role_name: String,
    subjects: Vec<Subject>,
}

#[derive(Debug, Default)]
struct ClusterRole {
    rules: Vec<Rule>,
    labels: BTreeMap<String, String>,
    aggregates: Vec<LabelSelector>,
}

/// Roles and bindings, ready to be asked.
#[derive(Debug, Default)]
struct Index {
    roles: BTreeMap<(String, String), Vec<Rule>>,
    cluster_roles: BTreeMap<String, ClusterRole>,
    bindings: Vec<Binding>,
}

impl Rbac {
    /// Makes one; it reads its objects when it is first asked, and follows their changes.
    pub fn new() -> Self {
        Self::default()
    }

    fn index(&self, registry: &Registry) -> Result<Arc<Index>, Status> {
        let mut state = self.state.lock();
        let mut stale = state.watch.is_none();
        while let Some(item) = state.watch.as_mut().and_then(Watch::try_next) {
            match item {
                WatchItem::Commit(_) => stale = true,
                WatchItem::Progress(_) => {}
                WatchItem::Compacted(_) => {
                    state.watch = None;
                    stale = true;
                }
            }
        }
        if stale {
            if state.watch.is_none() {
                state.watch = Some(follow(registry, registry.revision())?);
            }
            state.index = Arc::new(Index::read(registry)?);
        }
        Ok(Arc::clone(&state.index))
    }
}

fn follow(registry: &Registry, from: Revision) -> Result<Watch, Status> {
    registry
        .store()
        .watch(&format!("{}{GROUP}/", registry.prefix()), from)
        .map_err(Status::internal)
}

fn texts(value: &Value) -> Vec<String> {
    value
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|text| text.as_str().map(str::to_owned))
        .collect()
}

fn rules(object: &Value) -> Vec<Rule> {
    object["rules"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|rule| Rule {
            verbs: texts(&rule["verbs"]),
            groups: texts(&rule["apiGroups"]),
            resources: texts(&rule["resources"]),
            names: texts(&rule["resourceNames"]),
            paths: texts(&rule["nonResourceURLs"]),
        })
        .collect()
}

fn binding(object: &Value) -> Binding {
    let namespace = k8s_object::namespace(object);
    Binding {
        name: k8s_object::name(object).to_owned(),
        namespace: namespace.to_owned(),
        role_kind: object["roleRef"]["kind"]
            .as_str()
            .unwrap_or_default()
            .to_owned(),
        role_name: object["roleRef"]["name"]
            .as_str()
            .unwrap_or_default()
            .to_owned(),
        subjects: object["subjects"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|subject| {
                let name = subject["name"].as_str().unwrap_or_default();
                let kind = subject["kind"].as_str().unwrap_or_default();
                let own = subject["namespace"].as_str().unwrap_or(namespace);
                Subject {
                    kind: if kind == "ServiceAccount" {
                        "User"
                    } else {
                        kind
                    }
                    .to_owned(),
                    name: if kind == "ServiceAccount" {
                        format!("system:serviceaccount:{own}:{name}")
                    } else {
                        name.to_owned()
                    },
                }
            })
            .collect(),
    }
}

impl Binding {
    fn binds(&self, user: &UserInfo) -> bool {
        self.subjects
            .iter()
            .any(|subject| match subject.kind.as_str() {
                "User" => subject.name == "*" || subject.name == user.name,
                "Group" => user.in_group(&subject.name),
                _ => false,
            })
    }

    fn describe(&self) -> String {
        if self.namespace.is_empty() {
            format!("ClusterRoleBinding {:?}", self.name)
        } else {
            format!("RoleBinding \"{}/{}\"", self.name, self.namespace)
        }
    }
}

impl Index {
    fn read(registry: &Registry) -> Result<Self, Status> {
        let mut out = Self::default();
        let list = |plural: &str| -> Result<Vec<Value>, Status> {
            let def = registry.resource(GROUP, plural)?;
            Ok(registry
                .list(&def, "", &ListOptions::default())?
                .values()
                .collect())
        };
        for role in list("roles")? {
            let key = (
                k8s_object::namespace(&role).to_owned(),
                k8s_object::name(&role).to_owned(),
            );
            out.roles.insert(key, rules(&role));
        }
        for role in list("clusterroles")? {
            let aggregates = role["aggregationRule"]["clusterRoleSelectors"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|selector| serde_json::from_value(selector.clone()).ok())
                .collect();
            out.cluster_roles.insert(
                k8s_object::name(&role).to_owned(),
                ClusterRole {
                    rules: rules(&role),
                    labels: k8s_object::labels(&role)
                        .map(|(key, value)| (key.to_owned(), value.to_owned()))
                        .collect(),
                    aggregates,
                },
            );
        }
        for plural in ["clusterrolebindings", "rolebindings"] {
            out.bindings.extend(list(plural)?.iter().map(binding));
        }
        Ok(out)
    }

    /// A cluster role's rules, with those of the roles that it gathers.
    fn cluster_role(&self, name: &str) -> Vec<&Rule> {
        let Some(role) = self.cluster_roles.get(name) else {
            return Vec::new();
        };
        let mut out: Vec<&Rule> = role.rules.iter().collect();
        for (other, gathered) in &self.cluster_roles {
            if other != name
                && role
                    .aggregates
                    .iter()
                    .any(|selector| selector.matches_map(&gathered.labels))
            {
                // one that gathers itself brings its own gathered rules, one step deep
                out.extend(&gathered.rules);
                for (third, deeper) in &self.cluster_roles {
                    if third != other
                        && gathered
                            .aggregates
                            .iter()
                            .any(|selector| selector.matches_map(&deeper.labels))
                    {
                        out.extend(&deeper.rules);
                    }
                }
            }
        }
        out
    }

    /// Every rule that holds for somebody in a namespace, with the binding that brings it.
    fn rules_for<'a>(
        &'a self,
        user: &'a UserInfo,
        namespace: &'a str,
    ) -> impl Iterator<Item = (&'a Rule, &'a Binding)> {
        self.bindings
            .iter()
            .filter(move |binding| {
                (binding.namespace.is_empty() || binding.namespace == namespace)
                    && binding.binds(user)
            })
            .flat_map(move |binding| {
                let rules = if binding.role_kind == "ClusterRole" {
                    self.cluster_role(&binding.role_name)
                } else {
                    self.roles
                        .get(&(binding.namespace.clone(), binding.role_name.clone()))
                        .into_iter()
                        .flatten()
                        .collect()
                };
                rules.into_iter().map(move |rule| (rule, binding))
            })
    }
}

fn has(list: &[String], wanted: &str) -> bool {
    list.iter().any(|one| one == "*" || one == wanted)
}

fn allows(rule: &Rule, wanted: &Attributes) -> bool {
    if !has(&rule.verbs, &wanted.verb) {
        return false;
    }
    if wanted.resource.is_empty() {
        return rule.paths.iter().any(|path| {
            path == "*"
                || *path == wanted.path
                || path
                    .strip_suffix('*')
                    .is_some_and(|prefix| wanted.path.starts_with(prefix))
        });
    }
    let resource = rule.resources.iter().any(|one| {
        if one == "*" {
            return true;
        }
        match (one.split_once('/'), wanted.subresource.as_str()) {
            (None, "") => *one == wanted.resource,
            (None, _) | (Some(_), "") => false,
            (Some((resource, subresource)), own) => {
                (resource == "*" || resource == wanted.resource) && subresource == own
            }
        }
    });
    has(&rule.groups, &wanted.group)
        && resource
        && (rule.names.is_empty() || rule.names.contains(&wanted.name))
}

#[async_trait]
impl Authorizer for Rbac {
    async fn authorize(
        &self,
        registry: &Registry,
        user: &UserInfo,
        attributes: &Attributes,
    ) -> Result<Decision, Status> {
        if user.in_group("system:masters") {
            return Ok(Decision::allow(""));
        }
        let index = self.index(registry)?;
        for (rule, binding) in index.rules_for(user, &attributes.namespace) {
            // a binding in a namespace says nothing about paths
            let about_path = attributes.resource.is_empty();
            if (!about_path || binding.namespace.is_empty()) && allows(rule, attributes) {
                return Ok(Decision::allow(format!(
                    "RBAC: allowed by {} of {} {:?} to {}",
                    binding.describe(),
                    binding.role_kind,
                    binding.role_name,
                    if user.name.is_empty() {
                        "User \"\"".to_owned()
                    } else {
                        format!("User {:?}", user.name)
                    }
                )));
            }
        }
        Ok(Decision::deny(""))
    }

    async fn rules(
        &self,
        registry: &Registry,
        user: &UserInfo,
        namespace: &str,
    ) -> Result<Option<Vec<Rule>>, Status> {
        if user.in_group("system:masters") {
            return super::AllowAll.rules(registry, user, namespace).await;
        }
        let index = self.index(registry)?;
        let mut out: Vec<Rule> = Vec::new();
        for (rule, binding) in index.rules_for(user, namespace) {
            if (rule.paths.is_empty() || binding.namespace.is_empty()) && !out.contains(rule) {
                out.push(rule.clone());
            }
        }
        Ok(Some(out))
    }
}

/// Makes the cluster roles and bindings that every cluster has: `cluster-admin`, `admin`, `edit`, `view`, discovery.
pub fn bootstrap_rbac(registry: &Registry) -> Result<(), Status> {
    let read = json!(["get", "list", "watch"]);
    let write = json!(["create", "delete", "deletecollection", "patch", "update"]);
    let groups = json!([
        "",
        "apps",
        "batch",
        "autoscaling",
        "networking.k8s.io",
        "policy",
        "discovery.k8s.io"
    ]);
    let paths = json!([
        "/api",
        "/api/*",
        "/apis",
        "/apis/*",
        "/healthz",
        "/livez",
        "/openapi",
        "/openapi/*",
        "/readyz",
        "/version",
        "/version/"
    ]);
    let workloads = json!([
        "bindings",
        "configmaps",
        "controllerrevisions",
        "cronjobs",
        "daemonsets",
        "deployments",
        "deployments/scale",
        "deployments/status",
        "endpoints",
        "endpointslices",
        "events",
        "horizontalpodautoscalers",
        "ingresses",
        "jobs",
        "jobs/status",
        "limitranges",
        "namespaces",
        "networkpolicies",
        "persistentvolumeclaims",
        "poddisruptionbudgets",
        "pods",
        "pods/log",
        "pods/status",
        "replicasets",
        "replicasets/scale",
        "replicationcontrollers",
        "resourcequotas",
        "serviceaccounts",
        "services",
        "statefulsets",
        "statefulsets/scale",
    ]);
    let writable: Value = workloads
        .as_array()
        .into_iter()
        .flatten()
        .filter(|name| *name != "namespaces" && *name != "resourcequotas" && *name != "limitranges")
        .cloned()
        .collect();
    let rbac_rules = json!({"apiGroups": [GROUP], "resources": ["roles", "rolebindings"], "verbs": ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]});
    let view = json!({"apiGroups": groups, "resources": workloads, "verbs": read});
    let edit = json!({"apiGroups": groups, "resources": writable, "verbs": write});
    let secrets = json!({"apiGroups": [""], "resources": ["secrets"], "verbs": ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]});
    let roles = [
        (
            "cluster-admin",
            json!([
                {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]},
                {"nonResourceURLs": ["*"], "verbs": ["*"]},
            ]),
        ),
        ("view", json!([view])),
        ("edit", json!([view, edit, secrets])),
        ("admin", json!([view, edit, secrets, rbac_rules])),
        (
            "system:discovery",
            json!([{"nonResourceURLs": paths, "verbs": ["get"]}]),
        ),
        (
            "system:basic-user",
            json!([
                {"apiGroups": ["authorization.k8s.io"], "resources": ["selfsubjectaccessreviews", "selfsubjectrulesreviews"], "verbs": ["create"]},
                {"apiGroups": ["authentication.k8s.io"], "resources": ["selfsubjectreviews"], "verbs": ["create"]},
            ]),
        ),
        (
            "system:public-info-viewer",
            json!([{"nonResourceURLs": ["/healthz", "/livez", "/readyz", "/version", "/version/"], "verbs": ["get"]}]),
        ),
    ];
    let bindings = [
        ("cluster-admin", json!(["system:masters"])),
        ("system:discovery", json!(["system:authenticated"])),
        ("system:basic-user", json!(["system:authenticated"])),
        (
            "system:public-info-viewer",
            json!(["system:authenticated", "system:unauthenticated"]),
        ),
    ];
    let options = WriteOptions {
        force: true,
        ..WriteOptions::manager("bootstrap")
    };
    let role_def = registry.resource(GROUP, "clusterroles")?;
    for (name, rules) in roles {
        let role = json!({"metadata": {"name": name, "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"}}, "rules": rules});
        registry.patch(&role_def, "", name, &Patch::Apply(role), &options)?;
    }
    let binding_def = registry.resource(GROUP, "clusterrolebindings")?;
    for (name, groups) in bindings {
        let subjects: Vec<Value> = texts(&groups)
            .iter()
            .map(|group| json!({"apiGroup": GROUP, "kind": "Group", "name": group}))
            .collect();
        let binding = json!({
            "metadata": {"name": name, "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"}},
            "roleRef": {"apiGroup": GROUP, "kind": "ClusterRole", "name": name}, "subjects": subjects,
        });
        registry.patch(&binding_def, "", name, &Patch::Apply(binding), &options)?;
    }
    Ok(())
}

/// Keeps callers from granting what they do not hold: a Role may hold only rules that its writer has, and a binding
/// may name only a role whose rules its writer has, or that it may `bind`. Put it into
/// [`Config::admission`](crate::Config) beside the authorizer.
impl Admission for Rbac {
    fn admit(
        &self,
        registry: &Registry,
        request: &AdmissionRequest<'_>,
        new: Option<&mut Value>,
    ) -> Result<(), Status> {
        let (Some(new), GROUP) = (new, request.def.group.as_str()) else {
            return Ok(());
        };
        let user = request.user;
        if user.in_group("system:masters") {
            return Ok(());
        }
        let index = self.index(registry)?;
        let held: Vec<&Rule> = index
            .rules_for(user, request.namespace)
            .map(|(rule, _)| rule)
            .collect();
        let may = |verb: &str, resource: &str, name: &str| {
            let wanted = Attributes {
                verb: verb.to_owned(),
                group: GROUP.to_owned(),
                resource: resource.to_owned(),
                name: name.to_owned(),
                ..Attributes::default()
            };
            held.iter().any(|rule| allows(rule, &wanted))
        };
        let granted: Vec<Rule> = match request.def.plural.as_str() {
            "roles" | "clusterroles" => {
                let before = request.old.map(rules).unwrap_or_default();
                if rules(new) == before
                    && new.get("aggregationRule")
                        == request.old.and_then(|old| old.get("aggregationRule"))
                    || may("escalate", &request.def.plural, request.name)
                {
                    return Ok(());
                }
                if new.get("aggregationRule").is_some() {
                    // what it gathers later is not known now
                    vec![Rule {
                        verbs: vec!["*".to_owned()],
                        groups: vec!["*".to_owned()],
                        resources: vec!["*".to_owned()],
                        ..Rule::default()
                    }]
                } else {
                    rules(new)
                }
            }
            "rolebindings" | "clusterrolebindings" => {
                let own = binding(new);
                let plural = if own.role_kind == "ClusterRole" {
                    "clusterroles"
                } else {
                    "roles"
                };
                if may("bind", plural, &own.role_name) {
                    return Ok(());
                }
                if plural == "clusterroles" {
                    index
                        .cluster_role(&own.role_name)
                        .into_iter()
                        .cloned()
                        .collect()
                } else {
                    let key = (request.namespace.to_owned(), own.role_name.clone());
                    index.roles.get(&key).cloned().unwrap_or_default()
                }
            }
            _ => return Ok(()),
        };
        let missing: Vec<String> = granted
            .iter()
            .filter(|rule| !covered(rule, &held))
            .map(describe)
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        let why = format!(
            "user {:?} (groups={:?}) is attempting to grant RBAC permissions not currently held:\n{}",
            user.name,
            user.groups,
            missing.join("\n")
        );
        Err(Status::forbidden(request.def, request.name, &why))
    }
}

/// Is every single right of a rule held?
fn covered(rule: &Rule, held: &[&Rule]) -> bool {
    let any = [String::new()];
    let or_any = |list: &[String]| {
        if list.is_empty() {
            any.to_vec()
        } else {
            list.to_vec()
        }
    };
    if !rule.paths.is_empty() {
        return rule.verbs.iter().all(|verb| {
            rule.paths.iter().all(|path| {
                held.iter().any(|own| {
                    has(&own.verbs, verb)
                        && own.paths.iter().any(|known| {
                            known == path
                                || known
                                    .strip_suffix('*')
                                    .is_some_and(|start| path.starts_with(start))
                        })
                })
            })
        });
    }
    rule.verbs.iter().all(|verb| {
        rule.groups.iter().all(|group| {
            rule.resources.iter().all(|resource| {
                or_any(&rule.names).iter().all(|name| {
                    held.iter().any(|own| {
                        has(&own.verbs, verb)
                            && has(&own.groups, group)
                            && own.resources.iter().any(|known| {
                                known == "*"
                                    || known == resource
                                    || known.strip_prefix("*/").is_some_and(|below| {
                                        resource
                                            .split_once('/')
                                            .is_some_and(|(_, sub)| sub == below)
                                    })
                            })
                            && (own.names.is_empty()
                                || (!name.is_empty() && own.names.contains(name)))
                    })
                })
            })
        })
    })
}

fn describe(rule: &Rule) -> String {
    let mut parts = Vec::new();
    for (label, list) in [
        ("APIGroups", &rule.groups),
        ("Resources", &rule.resources),
        ("ResourceNames", &rule.names),
        ("NonResourceURLs", &rule.paths),
        ("Verbs", &rule.verbs),
    ] {
        if !list.is_empty() {
            parts.push(format!("{label}:{list:?}"));
        }
    }
    format!("{{{}}}", parts.join(", "))
}
