//! The hub's API: nouns as data, assignments as a virtual resource, and what people do as subresources.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_apiserver::{
    Catalog, Column, Config, Extensions, FieldError, FieldProblem, ListOptions, NamespacePolicy,
    Query, Rbac, Registry, ResourceDef, Schema, Server, Status, SubresourceHandler,
    SubresourceRequest, SubresourceResponse, UserInfo, VersionInfo, VirtualList, VirtualRequest,
    VirtualResource,
};
use roadstead_control::{
    AssignmentPage, AssignmentView, Command, CommandRefused, assignment_page, command, why,
};
use roadstead_model::{AppKey, Described, GROUP, Key, VERSION, nouns, value_at};
use roadstead_rollout::By;
use roadstead_wire::DetailKind;
use roadstead_wire::token::{TokenFor, TokenRecord};
use serde_json::{Value, json};

use crate::audit::Auditor;
use crate::brain::Brain;
use crate::clock::{commit_id, now, random};
use crate::gateway::Details;
use crate::identity::Identity;
use crate::itself::Itself;
use crate::shown::FINALIZER;
use crate::tasks::Tasks;

/// A finding as Kubernetes words it: a field that is not there is required, one that is has its value shown.
fn refused(object: &Value, error: &roadstead_model::FieldError) -> FieldError {
    match value_at(object, &error.field) {
        None => FieldError::required(&error.field, &error.message),
        Some(Value::Object(_) | Value::Array(_)) => {
            FieldError::new(&error.field, FieldProblem::Invalid, None, &error.message)
        }
        Some(value) => FieldError::invalid(&error.field, value.clone(), &error.message),
    }
}

/// The kinds of Kubernetes' own that the hub serves beside its nouns.
const BORROWED: &[(&str, &str)] = &[
    ("", "secrets"),
    ("", "configmaps"),
    ("", "events"),
    ("events.k8s.io", "events"),
    ("", "serviceaccounts"),
    ("rbac.authorization.k8s.io", "roles"),
    ("rbac.authorization.k8s.io", "rolebindings"),
    ("rbac.authorization.k8s.io", "clusterroles"),
    ("rbac.authorization.k8s.io", "clusterrolebindings"),
    ("authorization.k8s.io", "selfsubjectaccessreviews"),
    ("authorization.k8s.io", "selfsubjectrulesreviews"),
    ("authorization.k8s.io", "subjectaccessreviews"),
    ("authorization.k8s.io", "localsubjectaccessreviews"),
    ("authentication.k8s.io", "selfsubjectreviews"),
];

fn resource(described: Described) -> ResourceDef {
    let info = described.info;
    let mut def = ResourceDef::new(GROUP, VERSION, info.kind, info.plural, info.namespaced);
    info.singular.clone_into(&mut def.singular);
    def.short_names = info
        .short_names
        .iter()
        .map(|name| (*name).to_owned())
        .collect();
    def.categories = vec!["roadstead".to_owned()];
    info.about.clone_into(&mut def.description);
    def.status_subresource = true;
    def.generation = true;
    def.custom = true;
    let schema = described.schema.to_value();
    def.schema = Schema::from_json_schema(&schema);
    let columns = info.columns.iter().map(|column| {
        let shown = Column::path(column.name, column.kind, column.path);
        if column.wide { shown.wide() } else { shown }
    });
    def.columns = std::iter::once(Column::name())
        .chain(columns)
        .chain([Column::age()])
        .collect();
    let validate = described.validate;
    def.validate = Some(Arc::new(move |new, _| {
        validate(new)
            .into_iter()
            .map(|error| refused(new, &error))
            .collect()
    }));
    match info.kind {
        "App" => {
            def.subresources = ["why", "actions", "history", "plan", "desired"]
                .map(str::to_owned)
                .to_vec();
            // an App stays until its clusters are let go of
            def.default = Some(Arc::new(|object| {
                if !object["metadata"]["deletionTimestamp"].is_null() {
                    return;
                }
                let finalizers = &mut object["metadata"]["finalizers"];
                match finalizers.as_array_mut() {
                    Some(list) if list.iter().any(|name| name == FINALIZER) => {}
                    Some(list) => list.push(json!(FINALIZER)),
                    None => *finalizers = json!([FINALIZER]),
                }
            }));
        }
        "Cluster" => def.subresources = ["join", "objects", "revoke"].map(str::to_owned).to_vec(),
        "Source" => def.subresources = vec!["poll".to_owned()],
        _ => {}
    }
    def
}

fn assignment_resource() -> ResourceDef {
    let mut def = ResourceDef::new(GROUP, VERSION, "Assignment", "assignments", true);
    "assignment".clone_into(&mut def.singular);
    def.short_names = vec!["asg".to_owned()];
    def.verbs = vec!["get".to_owned(), "list".to_owned()];
    "What one cluster should run of one App, and what its agent says of it. Made up on the spot; never stored."
        .clone_into(&mut def.description);
    def.columns = vec![
        Column::name(),
        Column::path("Cluster", "string", ".spec.cluster"),
        Column::path("App", "string", ".spec.app"),
        Column::path("Release", "integer", ".spec.release"),
        Column::path("State", "string", ".status.state"),
        Column::path("Objects", "string", ".status.objects"),
        Column::path("Drift", "integer", ".status.drifted"),
        Column::path("Message", "string", ".status.message"),
        Column::path("Phase", "string", ".spec.phase").wide(),
        Column::path("Commit", "string", ".spec.commit").wide(),
        Column::path("Writes", "integer", ".status.writes").wide(),
        Column::path("Healed", "integer", ".status.healed").wide(),
    ];
    def.selectable_fields = ["spec.cluster", "spec.app", "status.state", "spec.phase"]
        .map(str::to_owned)
        .to_vec();
    def
}

/// Everything that the hub serves.
pub(crate) fn catalog() -> Catalog {
    let kubernetes = Catalog::kubernetes();
    let borrowed = kubernetes
        .all()
        .filter(|def| BORROWED.contains(&(def.group.as_str(), def.plural.as_str())));
    let mut catalog = Catalog::new();
    for def in borrowed {
        catalog.add_shared(Arc::clone(def));
    }
    catalog.with(nouns().into_iter().map(resource)).with([
        assignment_resource(),
        crate::tasks::resource(),
        crate::audit::resource(),
        crate::itself::resource(),
    ])
}

/// The API server's settings.
pub(crate) fn config() -> Config {
    let sleep =
        |duration: Duration| -> k8s_apiserver::Sleep { Box::pin(tokio::time::sleep(duration)) };
    let clock = || jiff::Timestamp::now();
    let mut config = Config::new(clock, sleep, |buffer: &mut [u8]| random(buffer));
    config.namespaces = NamespacePolicy::Resource {
        group: GROUP.to_owned(),
        plural: "projects".to_owned(),
    };
    config.version = VersionInfo {
        git_version: format!("v1.36.0+roadstead-{}", env!("CARGO_PKG_VERSION")),
        ..VersionInfo::default()
    };
    config.audit = Some(Arc::new(crate::audit::note));
    config
}

/// What the handlers share.
#[derive(Clone)]
pub(crate) struct Api {
    pub(crate) registry: Registry,
    pub(crate) brain: Brain,
    pub(crate) identity: Arc<Identity>,
    pub(crate) details: Arc<Details>,
    pub(crate) reader: Arc<crate::reader::Reader>,
    /// What charts draw random texts from.
    pub(crate) seed: [u8; 32],
    pub(crate) asked: Arc<crate::sources::Asked>,
    pub(crate) connections: roadstead_wire::Connections,
    pub(crate) tasks: Arc<Tasks>,
    pub(crate) auditor: Arc<Auditor>,
    pub(crate) itself: Arc<Itself>,
}

/// Puts the server together.
pub(crate) fn server(api: Api) -> Server {
    let registry = api.registry.clone();
    let itself = Arc::clone(&api.itself);
    let virtuals: [(&str, Arc<dyn VirtualResource>); 3] = [
        ("tasks", Arc::clone(&api.tasks) as _),
        ("auditrecords", Arc::clone(&api.auditor) as _),
        ("hubs", Arc::clone(&itself) as _),
    ];
    let tasks = Arc::clone(&api.tasks) as Arc<dyn SubresourceHandler>;
    let shared = Arc::new(api);
    let mut extensions = Extensions::new()
        .authorizer(Arc::new(Rbac::new()))
        .virtual_resource(
            GROUP,
            "assignments",
            Arc::clone(&shared) as Arc<dyn VirtualResource>,
        );
    extensions = extensions.subresource(GROUP, "tasks", "run", tasks);
    for (plural, resource) in virtuals {
        extensions = extensions.virtual_resource(GROUP, plural, resource);
    }
    for name in ["backup", "rotate-key"] {
        let handler = Arc::clone(&itself) as Arc<dyn SubresourceHandler>;
        extensions = extensions.subresource(GROUP, "hubs", name, handler);
    }
    let subresources = [
        ("apps", "why"),
        ("apps", "actions"),
        ("apps", "history"),
        ("apps", "plan"),
        ("apps", "desired"),
        ("clusters", "join"),
        ("clusters", "objects"),
        ("clusters", "revoke"),
        ("sources", "poll"),
    ];
    let extensions = subresources
        .into_iter()
        .fold(extensions, |extensions, (plural, name)| {
            extensions.subresource(
                GROUP,
                plural,
                name,
                Arc::clone(&shared) as Arc<dyn SubresourceHandler>,
            )
        });
    Server::with(registry, Arc::new(extensions))
}

fn assignment(view: &AssignmentView) -> Value {
    let mut labels: BTreeMap<String, String> = view.labels.clone();
    labels.insert("roadstead.dev/app-name".to_owned(), view.app.clone());
    labels.insert("roadstead.dev/cluster".to_owned(), view.cluster.clone());
    let state = match view.state {
        Some(state) => format!("{state:?}"),
        None => "Unknown".to_owned(),
    };
    json!({
        "apiVersion": format!("{GROUP}/{VERSION}"),
        "kind": "Assignment",
        "metadata": {
            "name": format!("{}.{}", view.app, view.cluster),
            "namespace": view.project,
            "labels": labels,
            "creationTimestamp": view.since.seconds(),
        },
        "spec": {
            "cluster": view.cluster,
            "app": view.app,
            "release": view.release,
            "variant": view.variant,
            "commit": view.commit,
            "phase": view.phase,
            "hold": view.hold,
            "since": view.since,
        },
        "status": {
            "state": state,
            "current": view.current,
            "connected": view.connected,
            "outcome": view.outcome,
            "message": view.message,
            "objects": view.objects,
            "writes": view.writes,
            "healed": view.healed,
            "drifted": view.drift.len(),
            "drift": view.drift,
            "problems": view.problems,
            "awaitingApproval": view.awaiting_approval,
            "since": view.state_since,
        },
    })
}

pub(crate) fn ending() -> Status {
    Status::new(503, "ServiceUnavailable", "the hub is ending")
}

/// How many assignments are read at once: whoever decides does other things between two readings.
const AT_ONCE: usize = 1000;

impl Api {
    async fn page(
        &self,
        project: String,
        after: String,
        limit: usize,
    ) -> Result<(AssignmentPage, String), Status> {
        let asked = self.brain.ask(move |index, _| {
            let page = assignment_page(index, &project, &after, limit, now());
            (page, index.revision())
        });
        let (page, revision) = asked.await.ok_or_else(ending)?;
        Ok((page, revision.to_string()))
    }
}

#[async_trait::async_trait]
impl VirtualResource for Api {
    async fn get(&self, request: &VirtualRequest) -> Result<Value, Status> {
        let (project, name) = (request.namespace.clone(), request.name.clone());
        let asked = self.brain.ask(move |index, _| {
            // names may hold dots themselves, so each place to cut is tried
            let mut cuts = name.match_indices('.').map(|(at, _)| name.split_at(at));
            cuts.find_map(|(app, cluster)| {
                let id = index.cluster_id(&cluster[1..])?;
                index.assignment_view(&id, &AppKey::new(project.clone(), app), now())
            })
        });
        let found = asked.await.ok_or_else(ending)?;
        found
            .map(|view| assignment(&view))
            .ok_or_else(|| Status::not_found(&assignment_resource(), &request.name))
    }

    async fn list(
        &self,
        request: &VirtualRequest,
        options: &ListOptions,
    ) -> Result<VirtualList, Status> {
        let most = match options.limit {
            0 => usize::MAX,
            limit => limit,
        };
        let mut list = VirtualList {
            items: Vec::new(),
            resource_version: String::new(),
            continue_token: String::new(),
            remaining: None,
        };
        let mut after = options.continue_token.clone();
        loop {
            let at_once = match options.selector.is_empty() {
                true => AT_ONCE.min(most - list.items.len()),
                false => AT_ONCE,
            };
            let project = request.namespace.clone();
            let (page, revision) = self.page(project, after, at_once).await?;
            if list.resource_version.is_empty() {
                list.resource_version = revision;
            }
            let read = page.views.len();
            for (nth, view) in page.views.iter().enumerate() {
                let value = assignment(view);
                if !options.selector.matches(&value) {
                    continue;
                }
                list.items.push(value);
                if list.items.len() == most {
                    let rest = page.remaining + read - nth - 1;
                    if rest > 0 {
                        list.continue_token =
                            format!("{}/{}/{}", view.project, view.app, view.cluster);
                        // what a selector leaves of the rest is not known without reading it
                        list.remaining = options.selector.is_empty().then_some(rest);
                    }
                    return Ok(list);
                }
            }
            match page.next {
                Some(next) => after = next,
                None => return Ok(list),
            }
        }
    }
}

#[async_trait::async_trait]
impl SubresourceHandler for Api {
    async fn handle(&self, request: SubresourceRequest) -> Result<SubresourceResponse, Status> {
        let get = request.method == http::Method::GET;
        let post = request.method == http::Method::POST;
        match request.subresource.as_str() {
            "why" if get => self.why(&request).await,
            "history" if get => self.history(&request).await,
            "actions" if post => self.act(&request).await,
            "plan" if post => self.plan(&request).await,
            "desired" if get => self.desired(&request).await,
            "join" if post => self.join(&request).await,
            "revoke" if post => self.revoke(&request).await,
            "objects" if get => self.detail(&request).await,
            "poll" if post => {
                self.asked
                    .ask([Key::new(request.namespace.clone(), request.name.clone())]);
                Ok(SubresourceResponse::Object(
                    json!({ "message": "it is polled now" }),
                ))
            }
            _ => Err(Status::method_not_allowed()),
        }
    }
}

pub(crate) fn app_of(request: &SubresourceRequest) -> AppKey {
    AppKey::new(request.namespace.clone(), request.name.clone())
}

pub(crate) fn text(query: &Query, key: &str) -> String {
    query.get(key).to_owned()
}

impl Api {
    async fn why(&self, request: &SubresourceRequest) -> Result<SubresourceResponse, Status> {
        let (app, name) = (app_of(request), text(&request.query, "cluster"));
        let asked = self
            .brain
            .ask(move |index, waiting| {
                let cluster = match name.as_str() {
                    "" => None,
                    name => Some(
                        index
                            .cluster_id(name)
                            .ok_or_else(|| format!("there is no cluster {name:?}"))?,
                    ),
                };
                Ok::<_, String>(why(index, &app, cluster.as_ref(), waiting.get(&app), now()))
            })
            .await;
        let answer = asked
            .ok_or_else(ending)?
            .map_err(|message| Status::new(404, "NotFound", message))?;
        Ok(SubresourceResponse::Object(json!({ "answer": answer })))
    }

    async fn history(&self, request: &SubresourceRequest) -> Result<SubresourceResponse, Status> {
        let prefix = format!("{}{}/", roadstead_control::keys::HISTORY, app_of(request));
        let store = Arc::clone(self.registry.store());
        let read = move || {
            let range = base_store::Range {
                prefix,
                after: None,
                limit: 0,
                at: base_store::At::Newest,
            };
            store.range(&range).map_err(|error| error.to_string())
        };
        let page = tokio::task::spawn_blocking(read)
            .await
            .map_err(|_| ending())?;
        let page = page.map_err(|error| Status::new(500, "InternalError", error))?;
        let items = page
            .entries
            .iter()
            .filter_map(|entry| serde_json::from_slice::<Value>(&entry.value).ok());
        Ok(SubresourceResponse::Object(
            json!({ "items": items.collect::<Vec<_>>() }),
        ))
    }

    async fn act(&self, request: &SubresourceRequest) -> Result<SubresourceResponse, Status> {
        let body = request.object()?;
        let reason = body["reason"].as_str().unwrap_or_default().to_owned();
        let wanted: Command = serde_json::from_value(body["command"].clone())
            .map_err(|error| Status::bad_request(format!("not a command: {error}")))?;
        let app = app_of(request);
        let by = By {
            actor: request.user.name.clone(),
            at: now(),
            reason,
        };
        let mut last = String::new();
        // somebody else may write between the look and the commit
        for _ in 0..5 {
            let (app, by, wanted) = (app.clone(), by.clone(), wanted.clone());
            let made = self
                .brain
                .ask(move |index, _| command(index, &app, &wanted, &by))
                .await
                .ok_or_else(ending)?;
            let (ops, said) = made.map_err(|refused| {
                let (code, reason) = match refused {
                    CommandRefused::NotFound(_) => (404, "NotFound"),
                    CommandRefused::NotNow(_) => (409, "Conflict"),
                    CommandRefused::NoReason => (400, "BadRequest"),
                };
                Status::new(code, reason, refused.to_string())
            })?;
            let store = Arc::clone(self.registry.store());
            let batch = base_store::Batch::new(base_store::CommitId(commit_id()), ops);
            let outcome = tokio::task::spawn_blocking(move || store.commit(batch))
                .await
                .map_err(|_| ending())?;
            match outcome {
                Ok(_) => return Ok(SubresourceResponse::Object(json!({ "message": said }))),
                Err(error @ base_store::CommitError::Conflict { .. }) => {
                    last = error.to_string();
                    tokio::time::sleep(Duration::from_millis(30)).await;
                }
                Err(error) => return Err(Status::new(500, "InternalError", error.to_string())),
            }
        }
        Err(Status::new(
            409,
            "Conflict",
            format!("the Rollout changes too fast; try again ({last})"),
        ))
    }

    async fn join(&self, request: &SubresourceRequest) -> Result<SubresourceResponse, Status> {
        let body = request.object()?;
        let labels: BTreeMap<String, String> = match &body["labels"] {
            Value::Null => BTreeMap::new(),
            labels => serde_json::from_value(labels.clone())
                .map_err(|error| Status::bad_request(format!("labels: {error}")))?,
        };
        let minutes = body["minutes"].as_u64().unwrap_or(60);
        let name = request.name.clone();
        if name == "hub" {
            return Err(Status::bad_request("\"hub\" is the hub itself"));
        }
        let asked = name.clone();
        let existing = self
            .brain
            .ask(move |index, _| index.cluster_id(&asked))
            .await
            .ok_or_else(ending)?;
        let target = match existing {
            Some(id) => TokenFor::Cluster {
                id,
                name: name.clone(),
            },
            None if name.contains('*') => TokenFor::Pattern(name.clone()),
            None => TokenFor::Name(name.clone()),
        };
        let uses = body["uses"]
            .as_u64()
            .map_or(1, |uses| u32::try_from(uses).unwrap_or(u32::MAX));
        let (identity, user) = (Arc::clone(&self.identity), request.user.name.clone());
        let expires_at = now().plus_ms(minutes.saturating_mul(60_000));
        let made = tokio::task::spawn_blocking(move || {
            identity.make_token(|id, hash| TokenRecord {
                id,
                hash,
                target,
                labels,
                uses_left: uses,
                expires_at,
                created_by: user,
            })
        });
        let token = made
            .await
            .map_err(|_| ending())?
            .map_err(|error| Status::new(500, "InternalError", error.to_string()))?;
        crate::audit::say(format!(
            "token {} for {uses} {}, until {expires_at}",
            token.id(),
            if uses == 1 { "use" } else { "uses" },
        ));
        Ok(SubresourceResponse::Object(
            json!({ "token": token.to_string(), "expiresAt": expires_at }),
        ))
    }

    async fn revoke(&self, request: &SubresourceRequest) -> Result<SubresourceResponse, Status> {
        let name = request.name.clone();
        let asked = name.clone();
        let id = self
            .brain
            .ask(move |index, _| index.cluster_id(&asked))
            .await
            .ok_or_else(ending)?;
        let id = id
            .ok_or_else(|| Status::new(404, "NotFound", format!("there is no cluster {name:?}")))?;
        let (identity, cluster) = (Arc::clone(&self.identity), id.clone());
        let revoked = tokio::task::spawn_blocking(move || identity.revoke(&cluster))
            .await
            .map_err(|_| ending())?;
        let revoked =
            revoked.map_err(|error| Status::new(500, "InternalError", error.to_string()))?;
        let leaves = request
            .object()
            .is_ok_and(|body| body["leave"].as_bool() == Some(true));
        // it has to hear it before its connection ends
        let told = leaves && self.details.let_go(&id).await;
        self.connections
            .close_cluster(&id, "the certificate of this cluster was revoked");
        crate::audit::say(match &revoked {
            Some(serial) => format!("certificate {serial} of {id}, and those before it"),
            None => format!("{id} had no certificate"),
        });
        Ok(SubresourceResponse::Object(
            json!({ "revoked": revoked, "told": told }),
        ))
    }

    async fn detail(&self, request: &SubresourceRequest) -> Result<SubresourceResponse, Status> {
        let object = text(&request.query, "object");
        let object = object
            .parse()
            .map_err(|error: k8s_object::ParseIdError| Status::bad_request(error.to_string()))?;
        let kind = if request.query.flag("events") {
            DetailKind::Events
        } else {
            DetailKind::Object
        };
        let name = request.name.clone();
        let asked = name.clone();
        let id = self
            .brain
            .ask(move |index, _| index.cluster_id(&asked))
            .await
            .ok_or_else(ending)?;
        let id = id
            .ok_or_else(|| Status::new(404, "NotFound", format!("there is no cluster {name:?}")))?;
        let unreachable =
            |why: String| Status::new(503, "ServiceUnavailable", format!("cluster {name}: {why}"));
        let bytes = self
            .details
            .ask(&id, kind, object)
            .await
            .map_err(unreachable)?;
        let value = serde_json::from_slice(&bytes)
            .map_err(|error| Status::new(500, "InternalError", error.to_string()))?;
        Ok(SubresourceResponse::Object(value))
    }
}

/// Who a request comes from.
pub(crate) fn user_of(
    peer: &roadstead_wire::PeerInfo,
    headers: &http::HeaderMap,
) -> Result<UserInfo, Status> {
    match &peer.peer {
        roadstead_wire::Peer::FrontProxy(proxies) => crate::front::user(proxies, headers),
        roadstead_wire::Peer::User(user) => {
            let mut groups: Vec<&str> = user.groups.iter().map(String::as_str).collect();
            groups.push("system:authenticated");
            Ok(UserInfo::new(&user.name, &groups))
        }
        roadstead_wire::Peer::Anonymous => Ok(UserInfo::anonymous()),
        roadstead_wire::Peer::Agent(_) => Err(Status::new(
            403,
            "Forbidden",
            "an agent's certificate opens nothing here but its own session",
        )),
    }
}
