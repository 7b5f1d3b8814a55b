//! The same against a real API server, and what only a real one does.

use std::sync::Mutex;
use std::time::Duration;

use futures_util::StreamExt;
use k8s_cluster::contract::{Harness, Trouble, run};
use k8s_cluster::{
    Call, Cluster, ClusterError, ErrorKind, Reply, WatchEvent, WatchSpec, WatchStream,
};
use k8s_object::{Gvk, ObjectId};
use oracle_cluster::{Client, Held, RealCluster, wait_until};
use roadstead_cluster_kube::KubeCluster;
use serde_json::{Value, json};

const JSON: &str = "application/json";
const PATIENCE: Duration = Duration::from_secs(60);
const REFUSE: &str = "contract.example.org/refuse";
const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
const FLOW: &str = "/apis/flowcontrol.apiserver.k8s.io/v1";
const ADMISSION: &str = "/apis/admissionregistration.k8s.io/v1";

fn make(admin: &Client, path: &str, object: &Value) {
    admin
        .put_through("POST", path, JSON, object)
        .unwrap_or_else(|error| panic!("{error:#}"));
}

/// Lets a user do everything without being exempt from flow control.
fn may_do_everything(admin: &Client, user: &str) {
    let object = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": user.replace(':', "-")},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
    });
    make(
        admin,
        "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
        &object,
    );
}

async fn cluster_of(real: &RealCluster, user: &str) -> KubeCluster {
    let path = real.folder().join(format!("{user}.kubeconfig"));
    let kubeconfig = real.kubeconfig_for(user, "").expect("a kubeconfig");
    std::fs::write(&path, kubeconfig).expect("writes");
    KubeCluster::from_kubeconfig(&path, None)
        .await
        .expect("a client")
}

/// A real cluster under the contract. Its troubles are real too: flow control that refuses, a webhook that cannot be
/// reached, an API server that is gone.
struct Real {
    plane: Mutex<RealCluster>,
    admin: Client,
    user: Client,
    /// What keeps flow control busy.
    held: Mutex<Option<Held>>,
    cluster: KubeCluster,
}

impl Real {
    async fn start() -> Option<Self> {
        let plane = RealCluster::start().expect("a control plane")?;
        let admin = plane.admin().clone();
        may_do_everything(&admin, "contract");
        refuse_by_policy(&admin);
        let real = Self {
            user: plane.client("contract", "").expect("a client"),
            cluster: cluster_of(&plane, "contract").await,
            plane: Mutex::new(plane),
            admin,
            held: Mutex::default(),
        };
        let refused = json!({"metadata": {"name": "refused", "annotations": {REFUSE: "x"}}});
        real.until("the policy to refuse", 422, &refused);
        Some(real)
    }

    /// Waits until a dry run of a create by the user is answered so.
    fn until(&self, what: &str, code: u16, object: &Value) {
        let path = format!("{CONFIG_MAPS}?dryRun=All");
        let body = object.to_string();
        wait_until(what, PATIENCE, || {
            let answer =
                self.user
                    .send("POST", &path, &[("Content-Type", JSON)], body.as_bytes())?;
            Ok((answer.status == code).then_some(()))
        })
        .unwrap_or_else(|error| panic!("{error:#}"));
    }

    /// Of a level with no share at all one request is still let through: once that one is kept waiting, all others are refused.
    fn until_refused(&self) {
        let held = wait_until("flow control to refuse", PATIENCE, || {
            let held = self.user.hold(CONFIG_MAPS)?;
            std::thread::sleep(Duration::from_millis(100));
            let refused = self.user.get(CONFIG_MAPS)?.status == 429;
            Ok(refused.then_some(held))
        });
        let held = held.unwrap_or_else(|error| panic!("{error:#}"));
        *self.held.lock().expect("a lock") = Some(held);
    }

    fn make_trouble(&self, trouble: Trouble) {
        let usual = json!({"metadata": {"name": "usual"}});
        match trouble {
            Trouble::None => {
                self.held.lock().expect("a lock").take();
                let mut plane = self.plane.lock().expect("a lock");
                if plane.find("kube-apiserver").is_none() {
                    plane
                        .start_api_server()
                        .expect("the API server starts again");
                }
                for path in [
                    format!("{FLOW}/flowschemas/contract"),
                    format!("{FLOW}/prioritylevelconfigurations/contract"),
                    format!("{ADMISSION}/validatingwebhookconfigurations/contract"),
                ] {
                    // most of the time there is none
                    let _ = self.admin.send("DELETE", &path, &[], &[]);
                }
                self.until("everything to be well", 201, &usual);
            }
            Trouble::TooMany => {
                refuse_by_flow_control(&self.admin);
                self.until_refused();
            }
            Trouble::Errors => {
                fail_by_webhook(&self.admin);
                self.until("the webhook to fail", 500, &usual);
            }
            Trouble::Offline => self.plane.lock().expect("a lock").kill_api_server(),
        }
    }
}

fn refuse_by_policy(admin: &Client) {
    let policies = format!("{ADMISSION}/validatingadmissionpolicies");
    let expression = format!(
        "!has(object.metadata.annotations) || !('{REFUSE}' in object.metadata.annotations)"
    );
    let policy = json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": "contract"},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {"resourceRules": [{
                "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["configmaps"],
            }]},
            "validations": [{"expression": expression, "message": "it says so itself"}],
        },
    });
    make(admin, &policies, &policy);
    let binding = json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": "contract"},
        "spec": {"policyName": "contract", "validationActions": ["Deny"]},
    });
    make(
        admin,
        &format!("{ADMISSION}/validatingadmissionpolicybindings"),
        &binding,
    );
}

fn refuse_by_flow_control(admin: &Client) {
    let level = json!({
        "apiVersion": "flowcontrol.apiserver.k8s.io/v1",
        "kind": "PriorityLevelConfiguration",
        "metadata": {"name": "contract"},
        "spec": {"type": "Limited", "limited": {
            "nominalConcurrencyShares": 0, "lendablePercent": 0, "borrowingLimitPercent": 0,
            "limitResponse": {"type": "Reject"},
        }},
    });
    make(
        admin,
        &format!("{FLOW}/prioritylevelconfigurations"),
        &level,
    );
    let schema = json!({
        "apiVersion": "flowcontrol.apiserver.k8s.io/v1",
        "kind": "FlowSchema",
        "metadata": {"name": "contract"},
        "spec": {
            "matchingPrecedence": 2,
            "priorityLevelConfiguration": {"name": "contract"},
            "rules": [{
                "subjects": [{"kind": "User", "user": {"name": "contract"}}],
                "resourceRules": [{
                    "verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"], "clusterScope": true,
                }],
                "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
            }],
        },
    });
    make(admin, &format!("{FLOW}/flowschemas"), &schema);
}

fn fail_by_webhook(admin: &Client) {
    let webhook = json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "contract"},
        "webhooks": [{
            "name": "contract.example.org",
            "clientConfig": {"url": "https://127.0.0.1:1/"},
            "rules": [{
                "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["configmaps"],
            }],
            "failurePolicy": "Fail",
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
        }],
    });
    make(
        admin,
        &format!("{ADMISSION}/validatingwebhookconfigurations"),
        &webhook,
    );
}

#[async_trait::async_trait]
impl Harness for Real {
    fn cluster(&self) -> &dyn Cluster {
        &self.cluster
    }

    async fn settle(&self) {
        tokio::time::sleep(Duration::from_millis(300)).await;
    }

    async fn next(&self, watch: &mut WatchStream) -> Option<Result<WatchEvent, ClusterError>> {
        let next = tokio::time::timeout(Duration::from_secs(10), watch.next());
        next.await.ok().flatten()
    }

    async fn trouble(&self, trouble: Trouble) -> bool {
        tokio::task::block_in_place(|| self.make_trouble(trouble));
        true
    }

    async fn forget(&self) -> bool {
        tokio::task::block_in_place(|| self.plane.lock().expect("a lock").forget()).is_ok()
    }

    fn refused_by_admission(&self, namespace: &str) -> Option<Value> {
        Some(json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "refused", "namespace": namespace, "annotations": {REFUSE: "x"}},
        }))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_cluster_holds_the_contract() {
    let Some(real) = Real::start().await else {
        return;
    };
    let done = run(&real)
        .await
        .unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!(done.len(), 31, "{done:?}");
}

fn map(name: &str) -> ObjectId {
    ObjectId {
        group: String::new(),
        kind: "ConfigMap".to_owned(),
        namespace: "default".to_owned(),
        name: name.to_owned(),
    }
}

fn apply(name: &str) -> Call {
    let object = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "default", "labels": {"of": "real"}},
    });
    Call::Apply {
        object: object.to_string().into(),
        manager: "real".to_owned(),
        force: false,
        dry_run: false,
    }
}

/// A token of a service account that ends with the Secret it is bound to.
fn token(admin: &Client, bound: &str) -> String {
    let secret = json!({"metadata": {"name": bound}});
    let secrets = "/api/v1/namespaces/default/secrets";
    let made = admin.put_through("POST", secrets, JSON, &secret);
    let made = made.expect("a secret");
    let request = json!({"spec": {"boundObjectRef": {
        "kind": "Secret", "apiVersion": "v1", "name": bound, "uid": made["metadata"]["uid"],
    }}});
    let path = "/api/v1/namespaces/default/serviceaccounts/default/token";
    let made = admin.put_through("POST", path, JSON, &request);
    let made = made.expect("a token");
    made["status"]["token"].as_str().expect("text").to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rotated_credentials_are_taken_up_at_once() {
    let Some(real) = RealCluster::start().expect("a control plane") else {
        return;
    };
    let admin = real.admin();
    may_do_everything(admin, "system:serviceaccount:default:default");
    let (file, path) = (real.folder().join("token"), real.folder().join("rotated"));
    let kubeconfig = real.kubeconfig_with(&json!({"tokenFile": file}));
    std::fs::write(&path, kubeconfig).expect("writes");
    std::fs::write(&file, token(admin, "first")).expect("writes");
    let cluster = KubeCluster::from_kubeconfig(&path, None).await;
    let cluster = cluster.expect("a client");
    cluster.call(apply("a")).await.expect("the first token");

    let second = token(admin, "second");
    let secret = "/api/v1/namespaces/default/secrets/first";
    admin.send("DELETE", secret, &[], &[]).expect("deletes");
    let user = real.client_with_token(&std::fs::read_to_string(&file).expect("reads"));
    let user = user.expect("a client");
    wait_until("the first token to end", PATIENCE, || {
        Ok((user.get(CONFIG_MAPS)?.status == 401).then_some(()))
    })
    .expect("it ends");
    let refused = cluster.call(apply("b")).await.expect_err("an old token");
    assert_eq!(refused.kind, ErrorKind::Unauthorized, "{refused}");
    // what did not help is not tried again at once
    tokio::time::sleep(Duration::from_secs(6)).await;
    std::fs::write(&file, second).expect("writes");
    cluster.call(apply("b")).await.expect("the second token");

    // a certificate in the kubeconfig, in place of the token
    let other = real.kubeconfig_for("contract", "").expect("a kubeconfig");
    may_do_everything(admin, "contract");
    std::fs::write(&path, other).expect("writes");
    std::fs::write(&file, "nothing any more").expect("writes");
    let secret = "/api/v1/namespaces/default/secrets/second";
    admin.send("DELETE", secret, &[], &[]).expect("deletes");
    tokio::time::sleep(Duration::from_secs(6)).await;
    let gone = async || cluster.call(apply("c")).await.map(drop);
    for _ in 0..100 {
        gone().await.expect("one of the two");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    drop(real);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rights_are_those_of_whom_it_acts_as() {
    let Some(real) = RealCluster::start().expect("a control plane") else {
        return;
    };
    may_do_everything(real.admin(), "contract");
    let cluster = cluster_of(&real, "contract").await;
    let limited = cluster
        .acting_as("system:serviceaccount:default:default", &[])
        .expect("a name");
    cluster.call(apply("a")).await.expect("our own rights");
    let refused = limited.call(apply("a")).await.expect_err("no rights");
    assert_eq!(refused.kind, ErrorKind::Forbidden);
    for word in [
        "system:serviceaccount:default:default",
        "cannot patch resource \"configmaps\"",
        "in the namespace \"default\"",
    ] {
        assert!(refused.message.contains(word), "{refused}");
    }
    may_do_everything(real.admin(), "system:serviceaccount:default:default");
    for attempt in 0.. {
        match limited.call(apply("a")).await {
            Ok(_) => break,
            Err(error) if attempt > 50 => panic!("{error}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
        }
    }
    let reply = limited.call(Call::Get {
        gvk: Gvk::new("v1", "ConfigMap"),
        id: map("a"),
    });
    assert!(matches!(reply.await, Ok(Reply::Object(_))));
    assert!(cluster.acting_as("no\nname", &[]).is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_streams_no_lists_is_asked_for_pages() {
    let started = RealCluster::start_with(|settings| {
        settings.controllers = false;
        settings.scheduler = false;
        settings
            .api_flags
            .push("--feature-gates=WatchList=false".to_owned());
    });
    let Some(real) = started.expect("a control plane") else {
        return;
    };
    may_do_everything(real.admin(), "contract");
    let cluster = cluster_of(&real, "contract").await;
    let path = "/api/v1/configmaps?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&timeoutSeconds=1";
    let answer = real.admin().get(path).expect("an answer");
    assert_eq!(answer.status, 422, "it streams lists");
    for number in 0..450 {
        cluster
            .call(apply(&format!("m{number}")))
            .await
            .expect("applies");
    }
    let spec = WatchSpec {
        gvk: Gvk::new("v1", "ConfigMap"),
        labels: "of=real".to_owned(),
        from: String::new(),
    };
    let mut watch = cluster.watch(spec).await.expect("a watch");
    let mut seen = 0;
    loop {
        let event = tokio::time::timeout(PATIENCE, watch.next()).await;
        match event.expect("in time").expect("goes on").expect("no error") {
            WatchEvent::Applied(_) => seen += 1,
            WatchEvent::Synced(_) => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(seen, 450);
    cluster.call(apply("later")).await.expect("applies");
    let event = tokio::time::timeout(PATIENCE, watch.next()).await;
    let event = event.expect("in time").expect("goes on").expect("no error");
    assert!(matches!(event, WatchEvent::Applied(_)), "{event:?}");
}
