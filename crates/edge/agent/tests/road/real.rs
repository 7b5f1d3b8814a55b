//! The agent on a real API server: what it is refused there, and what others applied before it came.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base_json::{Value, json};
use k8s_cluster::{Call, Cluster, Reply};
use k8s_object::{Gvk, ObjectId};
use oracle_cluster::{Client, RealCluster, wait_until};
use roadstead_cluster_kube::KubeCluster;
use roadstead_dispatch::{AppReport, AppState, Existing, Survey, Surveyed};
use roadstead_model::{Adopt, AdoptFrom, AppKey};
use roadstead_wire::{DetailKind, DetailRequest};

use crate::hub::{Hub, agent_on, cluster, get, start};

const JSON: &str = "application/json";
const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
const ADMISSION: &str = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";
/// A busy machine is slow.
const PATIENCE: Duration = Duration::from_secs(120);

fn make(admin: &Client, path: &str, object: &Value) {
    admin
        .put_through("POST", path, JSON, object)
        .unwrap_or_else(|error| panic!("{error:#}"));
}

async fn cluster_of(real: &RealCluster, user: &str) -> Arc<dyn Cluster> {
    let path = real.folder().join(format!("{user}.kubeconfig"));
    let kubeconfig = real.kubeconfig_for(user, "").expect("a kubeconfig");
    std::fs::write(&path, kubeconfig).expect("writes");
    let cluster = KubeCluster::from_kubeconfig(&path, None).await;
    Arc::new(cluster.expect("a client"))
}

fn may(admin: &Client, user: &str, rules: &Value) {
    let group = "rbac.authorization.k8s.io";
    make(
        admin,
        &format!("{RBAC}/clusterroles"),
        &json!({"apiVersion": format!("{group}/v1"), "kind": "ClusterRole", "metadata": {"name": user}, "rules": rules}),
    );
    make(
        admin,
        &format!("{RBAC}/clusterrolebindings"),
        &json!({
            "apiVersion": format!("{group}/v1"), "kind": "ClusterRoleBinding", "metadata": {"name": user},
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": user},
            "subjects": [{"apiGroup": group, "kind": "User", "name": user}],
        }),
    );
}

fn key(name: &str) -> AppKey {
    AppKey::new("p", name)
}

fn map(namespace: &str, value: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": namespace}, "data": {"k": value}})
}

fn well() -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "well", "namespace": "shop"},
        "spec": {"clusterIP": "None", "ports": [{"port": 80}]}})
}

fn namespace(admin: &Client, name: &str) {
    let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
    make(admin, "/api/v1/namespaces", &object);
}

fn said(report: &AppReport) -> String {
    let problems = report
        .problems
        .iter()
        .map(|problem| problem.message.as_str());
    let all: Vec<&str> = problems.chain([report.message.as_str()]).collect();
    all.join("\n")
}

/// Delivers an App for each case beside one that is well; each says why it cannot get on, and that one gets on.
async fn check(hub: &Hub, sequence: u64, cases: &[(&str, Value, &[&str])]) {
    let mut entries = BTreeMap::new();
    for (name, object, _) in cases {
        let mut entry = hub.entry(std::slice::from_ref(object));
        // those that wait for something are told at once, and fail when their time is over
        entry.options.wait_timeout.0 = 20_000;
        entries.insert(key(name), entry);
    }
    entries.insert(key("well"), hub.entry(&[well()]));
    hub.order.send_replace((sequence, entries));
    hub.until_of(&key("well"), "well", PATIENCE, |report| {
        report.state == AppState::Healthy
    })
    .await;
    for (name, _, words) in cases {
        let what = format!("{name}: {words:?}");
        let report = hub
            .until_of(&key(name), &what, PATIENCE, |report| {
                let said = said(report);
                words.iter().all(|words| said.contains(words))
            })
            .await;
        assert_ne!(report.state, AppState::Healthy, "{name}");
    }
    let reports = hub.reports.borrow();
    assert_eq!(reports[&key("well")].state, AppState::Healthy);
}

fn webhook(name: &str, url: &str, namespace: &str) -> Value {
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": name},
        "webhooks": [{
            "name": format!("{name}.example.org"),
            "clientConfig": {"url": url},
            "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["configmaps"]}],
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
            "failurePolicy": "Fail", "sideEffects": "None", "admissionReviewVersions": ["v1"], "timeoutSeconds": 1,
        }],
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_real_cluster_refuses_is_named_and_the_others_go_on() {
    let Some(real) = RealCluster::start().expect("a control plane") else {
        return;
    };
    let admin = real.admin().clone();
    let everything = json!([{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]);
    may(&admin, "agent", &everything);
    for name in ["full", "hooked", "silent", "ending"] {
        namespace(&admin, name);
    }
    let quota = json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "few"},
        "spec": {"hard": {"count/configmaps": "1"}}});
    make(&admin, "/api/v1/namespaces/full/resourcequotas", &quota);
    // nobody listens there, and nobody answers there
    make(
        &admin,
        ADMISSION,
        &webhook("refuses", "https://127.0.0.1:1/", "hooked"),
    );
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("https://{}/", silent.local_addr().expect("an address"));
    make(&admin, ADMISSION, &webhook("silent", &url, "silent"));
    let mut stays = map("ending", "1");
    stays["metadata"]["name"] = json!("stays");
    stays["metadata"]["finalizers"] = json!(["example.org/never"]);
    make(&admin, "/api/v1/namespaces/ending/configmaps", &stays);
    admin
        .send("DELETE", "/api/v1/namespaces/ending", &[], &[])
        .expect("asked");
    wait_until("the quota and the hooks", PATIENCE, || {
        let refused = |namespace: &str| {
            let path = format!("/api/v1/namespaces/{namespace}/configmaps?dryRun=All");
            let headers = [("Content-Type", JSON)];
            let body = map(namespace, "1").to_string();
            let answer = admin.send("POST", &path, &headers, body.as_bytes());
            answer.is_ok_and(|answer| answer.status >= 400)
        };
        Ok((refused("full") && refused("hooked") && refused("silent")).then_some(()))
    })
    .expect("refused");

    let folder = tempfile::tempdir().expect("a folder");
    let (hub, url, token) = start().await;
    let cluster = cluster_of(&real, "agent").await;
    let agent = agent_on(Arc::clone(&cluster), folder.path(), &url, Some(token));
    let widget = json!({"apiVersion": "example.org/v1", "kind": "Widget", "metadata": {"name": "w", "namespace": "shop"}});
    let cases: [(&str, Value, &[&str]); 6] = [
        (
            "unknown",
            widget,
            &["Widget shop/w", "does not know example.org/v1"],
        ),
        (
            "large",
            map("shop", &"x".repeat(1 << 21)),
            &["ConfigMap shop/a", "Too long"],
        ),
        (
            "quota",
            map("full", "1"),
            &["ConfigMap full/a", "exceeded quota: few"],
        ),
        (
            "hooked",
            map("hooked", "1"),
            &[
                "ConfigMap hooked/a",
                "refuses.example.org",
                "connection refused",
            ],
        ),
        (
            "silent",
            map("silent", "1"),
            &[
                "ConfigMap silent/a",
                "silent.example.org",
                "deadline exceeded",
            ],
        ),
        (
            "ending",
            map("ending", "1"),
            &["ending", "being terminated"],
        ),
    ];
    check(&hub, 1, &cases).await;
    agent.stop().await;

    // rights without one verb
    let some = json!([
        {"apiGroups": ["*"], "resources": ["*"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": [""], "resources": ["services", "namespaces"], "verbs": ["*"]},
        {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["create", "update", "delete"]},
    ]);
    may(&admin, "limited", &some);
    let cluster = cluster_of(&real, "limited").await;
    let agent = agent_on(cluster, folder.path(), &url, None);
    let words: &[&str] = &[
        "ConfigMap shop/a",
        "cannot patch resource",
        "in the namespace \"shop\"",
        "bound to limited",
        "{apiGroups: [\"\"], resources: [\"configmaps\"], verbs: [\"patch\"]}",
    ];
    check(&hub, 2, &[("rights", map("shop", "1"), words)]).await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_api_server_that_cannot_be_asked_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let (hub, url, token) = start().await;
    hub.order(1, &[map("shop", "1")]);
    let nowhere = KubeCluster::at("http://127.0.0.1:1".parse().expect("a URL")).expect("a client");
    let agent = agent_on(Arc::new(nowhere), folder.path(), &url, Some(token));
    let report = hub
        .until("told", |report| report.message.contains("does not answer"))
        .await;
    assert_eq!(report.state, AppState::Waiting);
    agent.stop().await;
    let Some(real) = RealCluster::start().expect("a control plane") else {
        return;
    };
    // as one does whose certificate has ended: the API server knows nobody of that name any more
    let path = real.folder().join("nobody.kubeconfig");
    let kubeconfig = real.kubeconfig_with(&json!({"token": "ended"}));
    std::fs::write(&path, kubeconfig).expect("writes");
    let cluster = KubeCluster::from_kubeconfig(&path, None).await;
    let agent = agent_on(
        Arc::new(cluster.expect("a client")),
        folder.path(),
        &url,
        None,
    );
    hub.until("told", |report| report.message.contains("Unauthorized"))
        .await;
    agent.stop().await;
}

async fn put(cluster: &dyn Cluster, call: Call) {
    match cluster.call(call).await {
        Ok(Reply::Object(_)) => {}
        other => panic!("{other:?}"),
    }
}

fn web(name: &str) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": "shop"},
        "spec": {"replicas": 0, "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "main", "image": "i:1"}]}}}})
}

/// Before anything is taken over the agent says whose it is and what that would change, as the test then sees it change.
async fn surveyed(hub: &Hub, tools: &[(&str, Option<AdoptFrom>)]) {
    let objects = tools.iter().map(|(name, _)| Surveyed {
        id: format!("apps/Deployment/shop/{name}")
            .parse()
            .expect("an id"),
        version: "v1".to_owned(),
        object: web(name),
    });
    let mut survey = Survey {
        app: key("plan"),
        adopt: Adopt::From(vec![
            AdoptFrom::Kubectl,
            AdoptFrom::Helm,
            AdoptFrom::Argocd,
            AdoptFrom::Flux,
        ]),
        takes_over_from: Vec::new(),
        ignore: Vec::new(),
        objects: objects.collect(),
    };
    let first = survey.objects[0].id.clone();
    let mut answers = hub.answers.subscribe();
    let mut found = Vec::new();
    for id in [71, 72] {
        hub.detail.send_replace(Some(DetailRequest {
            id,
            kind: DetailKind::Survey(Box::new(survey.clone())),
            object: first.clone(),
        }));
        let of = |answer: &&roadstead_wire::Answer| answer.id == id;
        let came = answers.wait_for(|answers| answers.iter().any(|answer| of(&answer)));
        let came = tokio::time::timeout(PATIENCE, came).await.expect("in time");
        let came = came.expect("answers");
        let answer = came.iter().find(of).expect("there");
        let bytes = answer.outcome.as_ref().expect("an answer");
        found = serde_json::from_slice::<Vec<Existing>>(bytes).expect("what exists");
        if id == 71 {
            for (found, (name, _)) in found.iter().zip(tools) {
                assert_eq!(found.refused, "", "{name}");
                assert_eq!(found.unknown, "", "{name}");
                assert_eq!(found.fields, [".spec.minReadySeconds"], "{name}");
                assert!(!found.managers.is_empty(), "{name}");
            }
            assert_eq!(found.len(), tools.len());
            survey.adopt = Adopt::Unowned;
        }
    }
    for (found, (name, tool)) in found.iter().zip(tools) {
        assert_eq!(
            found.refused.is_empty(),
            tool.is_none(),
            "{name}: {}",
            found.refused
        );
    }
}

/// What tools applied is taken over: nothing of the pods changes, and what Git leaves out goes.
async fn adopts(cluster: Arc<dyn Cluster>) {
    let create = |object: Value, manager: &str| Call::Create {
        object: object.to_string().into(),
        manager: manager.to_owned(),
    };
    let space = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}});
    put(cluster.as_ref(), create(space, "somebody")).await;
    let mut entries = BTreeMap::new();
    let (hub, url, token) = start().await;
    let last = "kubectl.kubernetes.io/last-applied-configuration";
    let tools = [
        (
            "kubectl-client",
            "kubectl-client-side-apply",
            false,
            json!({"annotations": {last: "{}"}}),
            None,
        ),
        ("kubectl-server", "kubectl", true, json!({}), None),
        (
            "helm",
            "helm",
            false,
            json!({"annotations": {"meta.helm.sh/release-name": "helm"}}),
            Some(AdoptFrom::Helm),
        ),
        (
            "helm4",
            "helm",
            true,
            json!({"annotations": {"meta.helm.sh/release-name": "helm4"}}),
            Some(AdoptFrom::Helm),
        ),
        (
            "argocd",
            "argocd-controller",
            true,
            json!({"annotations": {"argocd.argoproj.io/tracking-id": "a:apps/Deployment:shop/argocd"}}),
            Some(AdoptFrom::Argocd),
        ),
        (
            "flux",
            "kustomize-controller",
            true,
            json!({"labels": {"kustomize.toolkit.fluxcd.io/name": "flux"}}),
            Some(AdoptFrom::Flux),
        ),
    ];
    let mut before = BTreeMap::new();
    for (name, manager, applies, meta, tool) in &tools {
        let mut object = web(name);
        object["spec"]["minReadySeconds"] = json!(5);
        for (field, marks) in meta.as_object().expect("a map") {
            object["metadata"][field] = marks.clone();
        }
        if *name == "kubectl-client" {
            let text = object.to_string();
            object["metadata"]["annotations"][last] = json!(text);
        }
        put(
            cluster.as_ref(),
            if *applies {
                Call::Apply {
                    object: object.to_string().into(),
                    manager: (*manager).to_owned(),
                    force: true,
                    dry_run: false,
                }
            } else {
                create(object, manager)
            },
        )
        .await;
        let id: ObjectId = format!("apps/Deployment/shop/{name}")
            .parse()
            .expect("an id");
        let patch = json!({"spec": {"revisionHistoryLimit": 3}});
        let call = Call::Merge {
            gvk: Gvk::new("apps/v1", "Deployment"),
            id: id.clone(),
            patch: patch.to_string().into(),
            manager: "kubectl-patch".to_owned(),
        };
        put(cluster.as_ref(), call).await;
        let live = get(cluster.as_ref(), "apps/v1", &id.to_string()).await;
        before.insert(*name, live.expect("there"));
        let mut entry = hub.entry(&[web(name)]);
        if let Some(tool) = tool {
            // unless it is said, what belongs to a tool stays with it
            entries.insert(key(&format!("{name}-refused")), entry.clone());
            entry.adopt = Adopt::From(vec![*tool]);
        }
        entries.insert(key(name), entry);
    }
    let folder = tempfile::tempdir().expect("a folder");
    let agent = agent_on(Arc::clone(&cluster), folder.path(), &url, Some(token));
    let (refused, taken): (BTreeMap<_, _>, _) = entries
        .into_iter()
        .partition(|(app, _)| app.name.ends_with("-refused"));
    hub.order.send_replace((1, refused.clone()));
    for app in refused.keys() {
        let report = hub
            .until_of(app, "refused", PATIENCE, |report| {
                report.state == AppState::Failed
            })
            .await;
        let name = app.to_string();
        for words in ["belongs to", name.as_str()] {
            assert!(report.message.contains(words), "{}", report.message);
        }
    }
    let names = tools.each_ref().map(|(name, .., tool)| (*name, *tool));
    surveyed(&hub, &names).await;
    hub.order.send_replace((2, taken));
    for (name, ..) in &tools {
        hub.until_of(&key(name), "taken over", PATIENCE, |report| {
            report.state == AppState::Healthy
        })
        .await;
        let id = format!("apps/Deployment/shop/{name}");
        let live = get(cluster.as_ref(), "apps/v1", &id).await.expect("there");
        let before = &before[name];
        assert_eq!(live["metadata"]["uid"], before["metadata"]["uid"], "{name}");
        assert_eq!(
            live["spec"]["template"], before["spec"]["template"],
            "{name}: a pod would restart"
        );
        assert!(
            live["spec"]["minReadySeconds"].as_i64().unwrap_or(0) == 0,
            "{name}: {live:#}"
        );
        assert_eq!(live["spec"]["revisionHistoryLimit"], 3, "{name}");
        let managers: Vec<&str> = live["metadata"]["managedFields"]
            .as_array()
            .expect("entries")
            .iter()
            .filter(|entry| entry["subresource"].is_null())
            .filter_map(|entry| entry["manager"].as_str())
            .filter(|manager| !["kube-controller-manager", "kubectl-patch"].contains(manager))
            .collect();
        assert_eq!(managers, ["roadstead"], "{name}: {live:#}");
        for mark in [
            last,
            "meta.helm.sh/release-name",
            "argocd.argoproj.io/tracking-id",
        ] {
            assert_eq!(k8s_object::annotation(&live, mark), None, "{name}: {mark}");
        }
        assert_eq!(
            k8s_object::label(&live, "kustomize.toolkit.fluxcd.io/name"),
            None,
            "{name}"
        );
    }
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_others_applied_is_taken_over_on_a_simulated_cluster() {
    adopts(Arc::new(cluster())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_others_applied_is_taken_over_on_a_real_api_server() {
    let Some(real) = RealCluster::start().expect("a control plane") else {
        return;
    };
    may(
        real.admin(),
        "agent",
        &json!([{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]),
    );
    adopts(cluster_of(&real, "agent").await).await;
}
