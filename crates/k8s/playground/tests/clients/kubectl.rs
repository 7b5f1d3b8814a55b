//! The real kubectl against a simulated cluster.

use std::process::Command;

use k8s_playground::Config;

use crate::served::Served;

struct Kubectl(Served);

impl Kubectl {
    fn run(&self, words: &str, expected: bool) -> String {
        let out = Command::new("kubectl")
            .args(["--server", &self.0.url, "--cache-dir"])
            .arg(self.0.folder.path().join("cache"))
            .args(words.split_whitespace())
            .env("KUBECONFIG", "/dev/null")
            .current_dir(self.0.folder.path())
            .output()
            .unwrap();
        let text = format!(
            "{}{}",
            String::from_utf8_lossy(&out.stdout),
            String::from_utf8_lossy(&out.stderr)
        );
        assert_eq!(out.status.success(), expected, "kubectl {words}:\n{text}");
        text
    }

    /// Runs kubectl and looks for words in what it says.
    fn says(&self, words: &str, expected: &[&str]) {
        let text = self.run(words, true);
        for expected in expected {
            assert!(
                text.contains(expected),
                "kubectl {words}: no {expected:?} in\n{text}"
            );
        }
    }
}

const WEB: &str = r#"
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: "web:1"}]}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, ports: [{port: 80}]}
"#;

const ONCE: &str = r#"
apiVersion: batch/v1
kind: Job
metadata: {name: once, namespace: shop}
spec: {template: {spec: {restartPolicy: Never, containers: [{name: once, image: "once:1"}]}}}
"#;

#[test]
fn kubectl_sees_a_cluster_that_lives() {
    if Command::new("kubectl")
        .arg("version")
        .arg("--client")
        .output()
        .is_err()
    {
        eprintln!("kubectl is not here: nothing was checked");
        return;
    }
    let served = Served::start(Config::default());
    std::fs::write(served.folder.path().join("web.yaml"), WEB).unwrap();
    std::fs::write(served.folder.path().join("once.yaml"), ONCE).unwrap();
    story(&Kubectl(served));
}

fn story(kubectl: &Kubectl) {
    kubectl.says("get nodes", &["node-1", "node-3", "Ready", "v1.36.3"]);
    kubectl.says("apply -f web.yaml", &["deployment.apps/web created"]);
    kubectl.says(
        "rollout status deployment/web -n shop --timeout=20s",
        &["successfully rolled out"],
    );
    kubectl.says("get deployment web -n shop", &["3/3"]);
    kubectl.says("get pods -n shop -o wide", &["1/1", "Running", "10.244."]);
    kubectl.says("get endpointslices -n shop", &["web-", "10.244."]);
    kubectl.says("apply -f web.yaml", &["deployment.apps/web unchanged"]);
    kubectl.says("set image deployment/web web=web:2 -n shop", &["updated"]);
    kubectl.says(
        "rollout status deployment/web -n shop --timeout=20s",
        &["successfully rolled out"],
    );
    kubectl.says("rollout history deployment/web -n shop", &["1 ", "2 "]);
    kubectl.says(
        "set image deployment/web web=web:missing -n shop",
        &["updated"],
    );
    kubectl.run("rollout status deployment/web -n shop --timeout=3s", false);
    kubectl.says(
        "describe pods -n shop --show-events",
        &[
            "ImagePullBackOff",
            "Failed to pull image",
            "Successfully assigned",
        ],
    );
    kubectl.says(
        "describe deployment web -n shop",
        &["NewReplicaSet", "Scaled up replica set"],
    );
    kubectl.says("rollout undo deployment/web -n shop", &["rolled back"]);
    kubectl.says(
        "rollout status deployment/web -n shop --timeout=20s",
        &["successfully rolled out"],
    );
    kubectl.says("scale deployment/web --replicas=1 -n shop", &["scaled"]);
    kubectl.says(
        "wait deployment/web -n shop --for=jsonpath={.status.replicas}=1 --timeout=20s",
        &["condition met"],
    );
    kubectl.says("apply -f once.yaml", &["job.batch/once created"]);
    kubectl.says(
        "wait job/once -n shop --for=condition=complete --timeout=20s",
        &["condition met"],
    );
    kubectl.says("delete namespace shop --timeout=20s", &["deleted"]);
    kubectl.run("get namespace shop", false);
}
