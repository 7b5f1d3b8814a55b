//! What an embedder adds: its own kinds, virtual resources, subresources, rights, audit.

use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use crate::common::{call, send, send_as};
use async_trait::async_trait;
use base_store::memory::MemoryStore;
use base_store::{Revision, Store};
use k8s_apiserver::{
    Admission, AdmissionRequest, AuditRecord, Catalog, Column, EventKind, EventSource, Extensions,
    FieldError, ListOptions, NamespacePolicy, ObjectWatch, Rbac, Registry, ResourceDef, Schema,
    Server, Status, SubresourceHandler, SubresourceRequest, SubresourceResponse, UserInfo,
    VirtualList, VirtualRequest, VirtualResource, WatchEvent, WatchOptions, bootstrap_rbac,
};
use serde_json::{Value, json};

const GROUP: &str = "fleet.example";

struct Assignments;

#[async_trait]
impl VirtualResource for Assignments {
    async fn get(&self, request: &VirtualRequest) -> Result<Value, Status> {
        Ok(assignment(&request.namespace, &request.name))
    }

    async fn list(
        &self,
        request: &VirtualRequest,
        options: &ListOptions,
    ) -> Result<VirtualList, Status> {
        let all = (0..100).map(|index| assignment(&request.namespace, &format!("a{index:02}")));
        let skip: usize = options.continue_token.parse().unwrap_or(0);
        let mut items: Vec<Value> = all
            .filter(|object| options.selector.matches(object))
            .skip(skip)
            .collect();
        let remaining = items.len().saturating_sub(options.limit);
        items.truncate(options.limit.max(1));
        Ok(VirtualList {
            items,
            resource_version: "7".to_owned(),
            continue_token: if remaining > 0 {
                (skip + options.limit).to_string()
            } else {
                String::new()
            },
            remaining: Some(remaining),
        })
    }

    async fn watch(
        &self,
        request: &VirtualRequest,
        options: &WatchOptions,
    ) -> Result<ObjectWatch, Status> {
        if options.resource_version != "7" {
            return Err(Status::expired("too old resource version"));
        }
        let mut def = ResourceDef::new(GROUP, "v1", "Assignment", "assignments", true);
        def.columns.truncate(1);
        let object = assignment(&request.namespace, "a05");
        let event = WatchEvent::new(EventKind::Modified, &object, Revision(8));
        Ok(ObjectWatch::from_source(
            Arc::new(def),
            One(Some(event)),
            Revision(7),
            false,
        ))
    }
}

/// One event, then the end.
struct One(Option<WatchEvent>);

impl EventSource for One {
    fn poll_next(&mut self, _cx: &mut Context<'_>) -> Poll<Result<Option<WatchEvent>, Status>> {
        Poll::Ready(Ok(self.0.take()))
    }
}

fn assignment(namespace: &str, name: &str) -> Value {
    json!({
        "apiVersion": "fleet.example/v1", "kind": "Assignment",
        "metadata": {"name": name, "namespace": namespace, "labels": {"even": (name.ends_with(['0', '2', '4', '6', '8'])).to_string()}},
        "status": {"phase": "Applied"},
    })
}

struct Plan;

#[async_trait]
impl SubresourceHandler for Plan {
    async fn handle(&self, request: SubresourceRequest) -> Result<SubresourceResponse, Status> {
        if request.method != http::Method::POST {
            return Err(Status::method_not_allowed());
        }
        let body = request.object()?;
        Ok(SubresourceResponse::Coded(
            201,
            json!({"kind": "Plan", "for": format!("{}/{}", request.namespace, request.name), "by": request.user.name,
                "revision": body["revision"], "depth": request.query.get("depth")}),
        ))
    }
}

struct Stamp;

impl Admission for Stamp {
    fn admit(
        &self,
        _registry: &Registry,
        request: &AdmissionRequest<'_>,
        new: Option<&mut Value>,
    ) -> Result<(), Status> {
        if request.def.kind != "App" {
            return Ok(());
        }
        match new {
            Some(new) if request.operation == "create" => {
                k8s_object::set_annotation(new, "fleet.example/made-by", &request.user.name);
                Ok(())
            }
            None if request.user.name == "bob" => Err(Status::forbidden(
                request.def,
                request.name,
                "bob deletes nothing",
            )),
            _ => Ok(()),
        }
    }
}

type Log = Arc<Mutex<Vec<String>>>;

fn hub() -> (Server, Log) {
    let schema = json!({
        "type": "object", "required": ["spec"], "properties": {"spec": {"$ref": "#/$defs/Spec"}, "status": {"type": "object", "additionalProperties": true}},
        "$defs": {"Spec": {"type": "object", "required": ["path"], "properties": {
            "path": {"type": "string", "minLength": 1}, "wave": {"type": ["integer", "null"], "minimum": 0},
            "onLeave": {"type": "string", "enum": ["Keep", "Remove"], "default": "Keep"}}}},
    });
    let mut project = ResourceDef::new(GROUP, "v1", "Project", "projects", false);
    project.schema = Schema::None;
    let mut app = ResourceDef::new(GROUP, "v1", "App", "apps", true);
    app.schema = Schema::from_json_schema(&schema);
    app.custom = true;
    app.status_subresource = true;
    app.subresources = vec!["plan".to_owned()];
    app.short_names = vec!["ap".to_owned()];
    app.selectable_fields = vec!["spec.path".to_owned()];
    app.columns = vec![
        Column::name(),
        Column::path("Path", "string", ".spec.path"),
        Column::compute("Waves", "integer", |object, _| {
            json!(object["spec"]["wave"].as_i64().unwrap_or(0) + 1)
        })
        .wide(),
        Column::age(),
    ];
    app.validate = Some(Arc::new(|new, _| {
        if new["spec"]["path"] == json!("/") {
            vec![FieldError::forbidden("spec.path", "the root is too much")]
        } else {
            Vec::new()
        }
    }));
    let mut assignments = ResourceDef::new(GROUP, "v1", "Assignment", "assignments", true);
    assignments.verbs = ["get", "list", "watch"].map(str::to_owned).to_vec();
    assignments
        .columns
        .insert(1, Column::path("Phase", "string", ".status.phase"));
    let catalog = Catalog::essentials().with([project, app, assignments]);
    let log = Log::default();
    let mut config = crate::common::config();
    config.namespaces = NamespacePolicy::Resource {
        group: GROUP.to_owned(),
        plural: "projects".to_owned(),
    };
    let rbac = Arc::new(Rbac::new());
    config.admission = vec![Arc::new(Stamp), Arc::clone(&rbac) as _];
    let sink = Arc::clone(&log);
    config.audit = Some(Arc::new(move |record: &AuditRecord<'_>| {
        let by = record
            .impersonated_by
            .map_or(String::new(), |by| format!(" by {}", by.name));
        sink.lock().expect("not poisoned").push(format!(
            "{}{by} {} {}/{} {} {}",
            record.user.name,
            record.verb,
            record.resource,
            record.subresource,
            record.name,
            record.code
        ));
    }));
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let registry = Registry::open(store, "k/", Arc::new(catalog), Arc::new(config)).expect("opens");
    bootstrap_rbac(&registry).expect("writes roles");
    let extensions = Extensions::new()
        .authorizer(rbac)
        .virtual_resource(GROUP, "assignments", Arc::new(Assignments))
        .subresource(GROUP, "apps", "plan", Arc::new(Plan));
    (Server::with(registry, Arc::new(extensions)), log)
}

const APPS: &str = "/apis/fleet.example/v1/namespaces/team/apps";

fn app(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "fleet.example/v1", "kind": "App", "metadata": {"name": name}, "spec": spec})
}

#[tokio::test]
async fn own_kinds_are_served_like_kubernetes_own() {
    let (server, _) = hub();
    let (code, missing) = call(&server, "POST", APPS, app("a", json!({"path": "x"}))).await;
    assert_eq!(
        (code, &missing["message"]),
        (404, &json!("projects.fleet.example \"team\" not found"))
    );
    let (code, _) = call(
        &server,
        "POST",
        "/apis/fleet.example/v1/projects",
        json!({"metadata": {"name": "team"}}),
    )
    .await;
    assert_eq!(code, 201);
    let (code, made) = call(
        &server,
        "POST",
        APPS,
        app("a", json!({"path": "x", "wave": null})),
    )
    .await;
    assert_eq!(
        (code, &made["spec"]["onLeave"]),
        (201, &json!("Keep")),
        "{made}"
    );
    assert_eq!(
        made["metadata"]["annotations"]["fleet.example/made-by"],
        json!("admin")
    );
    for (spec, expected) in [
        (json!({}), "spec.path: Required value"),
        (
            json!({"path": ""}),
            "spec.path in body should be at least 1 chars long",
        ),
        (
            json!({"path": "/"}),
            "spec.path: Forbidden: the root is too much",
        ),
        (
            json!({"path": "x", "wave": -1}),
            "spec.wave in body should be greater than or equal to 0",
        ),
        (
            json!({"path": "x", "onLeave": "Burn"}),
            "supported values: \"Keep\", \"Remove\"",
        ),
    ] {
        let (code, answer) = call(&server, "POST", APPS, app("b", spec)).await;
        let text = answer["message"].as_str().expect("a text");
        assert!(code == 422 && text.contains(expected), "{code} {text}");
    }
    let accept = ("accept", "application/json;as=Table;v=v1;g=meta.k8s.io");
    let (_, _, text) = send(&server, "GET", APPS, &[accept], "").await;
    let table: Value = serde_json::from_str(&text).expect("is JSON");
    assert_eq!(table["rows"][0]["cells"], json!(["a", "x", 1, "0s"]));
    let (_, found) = call(
        &server,
        "GET",
        &format!("{APPS}?fieldSelector=spec.path%3Dy"),
        Value::Null,
    )
    .await;
    assert_eq!(found["items"], json!([]));
    // it wants a resourceVersion, as custom resources do
    let (code, bare) = call(
        &server,
        "PUT",
        &format!("{APPS}/a"),
        app("a", json!({"path": "y"})),
    )
    .await;
    assert_eq!(code, 422);
    assert!(
        bare["message"]
            .to_string()
            .contains("must be specified for an update"),
        "{bare}"
    );
    assert!(
        server
            .registry()
            .store()
            .get("k/fleet.example/apps/team/a", base_store::At::Newest)
            .expect("reads")
            .is_some()
    );
}

#[tokio::test]
async fn virtual_resources_and_subresources_are_the_embedders() {
    let (server, _) = hub();
    let all = "/apis/fleet.example/v1/namespaces/team/assignments";
    let (_, page) = call(
        &server,
        "GET",
        &format!("{all}?limit=2&labelSelector=even%3Dtrue"),
        Value::Null,
    )
    .await;
    assert_eq!(
        page["metadata"],
        json!({"resourceVersion": "7", "continue": "2", "remainingItemCount": 48})
    );
    assert_eq!(page["items"][1]["metadata"]["name"], json!("a02"));
    let accept = ("accept", "application/json;as=Table;v=v1;g=meta.k8s.io");
    let (_, _, text) = send(&server, "GET", &format!("{all}/a01"), &[accept], "").await;
    assert!(text.contains("\"cells\":[\"a01\",\"Applied\","), "{text}");
    assert_eq!(
        call(&server, "DELETE", &format!("{all}/a01"), Value::Null)
            .await
            .0,
        405
    );
    let (code, _, text) = send(
        &server,
        "GET",
        &format!("{all}?watch=1&resourceVersion=7"),
        &[accept],
        "",
    )
    .await;
    assert!(
        code == 200
            && text.contains("\"type\":\"MODIFIED\"")
            && text.contains("\"cells\":[\"a05\"]"),
        "{text}"
    );
    let (_, _, text) = send(
        &server,
        "GET",
        &format!("{all}?watch=1&resourceVersion=1"),
        &[],
        "",
    )
    .await;
    assert!(text.contains("\"type\":\"ERROR\""), "{text}");

    let (code, plan) = call(
        &server,
        "POST",
        &format!("{APPS}/a/plan?depth=2"),
        json!({"revision": "main"}),
    )
    .await;
    assert_eq!(
        (code, plan),
        (
            201,
            json!({"kind": "Plan", "for": "team/a", "by": "admin", "revision": "main", "depth": "2"})
        )
    );
    assert_eq!(
        call(&server, "GET", &format!("{APPS}/a/plan"), Value::Null)
            .await
            .0,
        405
    );
    let (_, list) = call(&server, "GET", "/apis/fleet.example/v1", Value::Null).await;
    let names: Vec<&str> = list["resources"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|entry| entry["name"].as_str())
        .collect();
    assert_eq!(
        names,
        [
            "apps",
            "apps/plan",
            "apps/status",
            "assignments",
            "projects"
        ]
    );
}

#[tokio::test]
async fn rights_follow_roles_and_are_recorded() {
    let (server, log) = hub();
    call(
        &server,
        "POST",
        "/apis/fleet.example/v1/projects",
        json!({"metadata": {"name": "team"}}),
    )
    .await;
    let bob = UserInfo::new("bob", &["system:authenticated", "devs"]);
    let ask = |user: UserInfo,
               method: &'static str,
               uri: String,
               headers: Vec<(&'static str, &'static str)>| {
        let server = server.clone();
        async move { send_as(&server, &user, method, &uri, &headers, "").await }
    };
    let (code, _, text) = ask(bob.clone(), "GET", APPS.to_owned(), vec![]).await;
    assert_eq!(code, 403);
    assert!(text.contains(r#"apps.fleet.example is forbidden: User \"bob\" cannot list resource \"apps\" in API group \"fleet.example\" in the namespace \"team\""#), "{text}");
    let rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/team";
    let role = json!({"metadata": {"name": "dev"}, "rules": [
        {"apiGroups": [GROUP], "resources": ["apps"], "verbs": ["list", "delete"]},
        {"apiGroups": [GROUP], "resources": ["apps/plan"], "verbs": ["create"], "resourceNames": ["a"]}]});
    assert_eq!(
        call(&server, "POST", &format!("{rbac}/roles"), role)
            .await
            .0,
        201
    );
    let binding = json!({"metadata": {"name": "devs"}, "roleRef": {"kind": "Role", "name": "dev"}, "subjects": [{"kind": "Group", "name": "devs"}]});
    assert_eq!(
        call(&server, "POST", &format!("{rbac}/rolebindings"), binding)
            .await
            .0,
        201
    );
    for (method, uri, code) in [
        ("GET", APPS.to_owned(), 200),
        ("GET", format!("{APPS}/a"), 403),
        ("POST", format!("{APPS}/a/plan"), 201),
        ("POST", format!("{APPS}/b/plan"), 403),
        ("GET", APPS.replace("team", "other"), 403),
        ("GET", "/apis/fleet.example/v1/apps".to_owned(), 403),
        ("GET", "/version".to_owned(), 200),
        ("GET", "/secret-path".to_owned(), 403),
    ] {
        assert_eq!(
            ask(bob.clone(), method, uri.clone(), vec![]).await.0,
            code,
            "{method} {uri}"
        );
    }
    // admission has the last word
    call(&server, "POST", APPS, app("a", json!({"path": "x"}))).await;
    let (code, _, text) = ask(bob.clone(), "DELETE", format!("{APPS}/a"), vec![]).await;
    assert!(
        code == 403 && text.contains("bob deletes nothing"),
        "{text}"
    );
    // a binding that goes takes the right with it
    call(
        &server,
        "DELETE",
        &format!("{rbac}/rolebindings/devs"),
        Value::Null,
    )
    .await;
    assert_eq!(
        ask(bob.clone(), "GET", APPS.to_owned(), vec![]).await.0,
        403
    );

    // acting as another
    log.lock().expect("not poisoned").clear();
    let (code, _, text) = ask(
        bob,
        "GET",
        APPS.to_owned(),
        vec![("impersonate-user", "alice")],
    )
    .await;
    assert!(code == 403 && text.contains(r#"users \"alice\" is forbidden: User \"bob\" cannot impersonate resource \"users\""#), "{text}");
    let as_bob = vec![
        ("impersonate-user", "bob"),
        ("impersonate-group", "system:masters"),
    ];
    assert_eq!(
        ask(UserInfo::admin(), "GET", APPS.to_owned(), as_bob)
            .await
            .0,
        200
    );
    let nobody = vec![("impersonate-group", "system:masters")];
    assert_eq!(
        ask(UserInfo::admin(), "GET", APPS.to_owned(), nobody)
            .await
            .0,
        400
    );
    assert_eq!(
        *log.lock().expect("not poisoned"),
        [
            "bob list apps/  403",
            "bob by admin list apps/  200",
            "admin list apps/  400"
        ]
    );
}

#[tokio::test]
async fn definitions_and_their_objects_go_together() {
    let server = crate::common::server();
    let crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let definition = include_str!("../transcripts/files/widgets.yaml");
    let yaml = ("content-type", "application/yaml");
    assert_eq!(
        send(&server, "POST", crds, &[yaml], definition).await.0,
        201
    );
    let widgets = "/apis/shop.example/v1/namespaces/default/widgets";
    let widget =
        json!({"metadata": {"name": "w", "finalizers": ["example.com/hold"]}, "spec": {"size": 1}});
    assert_eq!(call(&server, "POST", widgets, widget).await.0, 201);
    // a second server over the same store knows the kind
    let registry = server.registry();
    let other = Registry::open(
        Arc::clone(registry.store()),
        "",
        Arc::new(Catalog::kubernetes()),
        Arc::clone(registry.config()),
    )
    .expect("opens");
    assert!(other.resource("shop.example", "widgets").is_ok());

    let one = format!("{crds}/widgets.shop.example");
    call(&server, "DELETE", &one, Value::Null).await;
    let (code, waits) = call(&server, "GET", &one, Value::Null).await;
    assert_eq!(
        (code, waits["metadata"]["deletionTimestamp"].is_string()),
        (200, true)
    );
    let another = json!({"metadata": {"name": "x"}, "spec": {"size": 1}});
    assert_eq!(call(&server, "POST", widgets, another).await.0, 405);
    call(
        &server,
        "PATCH",
        &format!("{widgets}/w"),
        json!({"metadata": {"finalizers": null}}),
    )
    .await;
    k8s_apiserver::collect_garbage(registry).expect("collects");
    assert_eq!(call(&server, "GET", &one, Value::Null).await.0, 404);
    assert_eq!(call(&server, "GET", widgets, Value::Null).await.0, 404);
}

#[tokio::test]
async fn nobody_grants_what_they_do_not_hold() {
    let (server, _) = hub();
    call(
        &server,
        "POST",
        "/apis/fleet.example/v1/projects",
        json!({"metadata": {"name": "team"}}),
    )
    .await;
    let rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/team";
    let write = json!({"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles", "rolebindings"], "verbs": ["create"]});
    let own = json!({"apiGroups": [GROUP], "resources": ["apps"], "verbs": ["get", "list"]});
    let role = json!({"metadata": {"name": "lead"}, "rules": [write, own]});
    assert_eq!(
        call(&server, "POST", &format!("{rbac}/roles"), role)
            .await
            .0,
        201
    );
    let binding = |name: &str, kind: &str, role: &str| json!({"metadata": {"name": name}, "roleRef": {"kind": kind, "name": role}, "subjects": [{"kind": "User", "name": "bob"}]});
    assert_eq!(
        call(
            &server,
            "POST",
            &format!("{rbac}/rolebindings"),
            binding("lead", "Role", "lead")
        )
        .await
        .0,
        201
    );
    let bob = UserInfo::new("bob", &["system:authenticated"]);
    let role = |name: &str, group: &str, verbs: Value| json!({"metadata": {"name": name}, "rules": [{"apiGroups": [group], "resources": ["apps"], "verbs": verbs}]});
    for (plural, body, code, expected) in [
        (
            "roles",
            role("reader", GROUP, json!(["get"])),
            201,
            "reader",
        ),
        (
            "roles",
            role("writer", GROUP, json!(["get", "delete"])),
            403,
            r#"is attempting to grant RBAC permissions not currently held"#,
        ),
        (
            "roles",
            role("all", "*", json!(["*"])),
            403,
            "not currently held",
        ),
        (
            "rolebindings",
            binding("x", "Role", "reader"),
            201,
            "reader",
        ),
        (
            "rolebindings",
            binding("y", "ClusterRole", "cluster-admin"),
            403,
            "not currently held",
        ),
    ] {
        let headers = [("content-type", "application/json")];
        let uri = format!("{rbac}/{plural}");
        let (found, _, text) =
            send_as(&server, &bob, "POST", &uri, &headers, &body.to_string()).await;
        assert_eq!(found, code, "{text}");
        assert!(text.contains(expected), "{text}");
    }
}
