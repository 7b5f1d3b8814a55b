//! Flux's source- and kustomize-controller, and Argo CD's gitops-engine agent, keep an app of a Git repository.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;

use git_host::GitHost;
use k8s_playground::Config;
use oracle_cluster::{Lifetime, Process, Tools};
use serde_json::{Value, json};

use crate::served::{Served, run, tools, until};

const WEB: &str = "apps/v1/namespaces/shop/deployments/web";

/// A cluster, a repository with an app, and who keeps it.
struct Ground {
    served: Served,
    tools: Tools,
    host: GitHost,
}

fn port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

fn app(image: &str, more: bool) -> String {
    let mut objects = vec![
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}),
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "shop"},
            "spec": {
                "replicas": 2,
                "selector": {"matchLabels": {"app": "web"}},
                "template": {
                    "metadata": {"labels": {"app": "web"}},
                    "spec": {"containers": [{"name": "web", "image": image, "ports": [{"containerPort": 80}]}]},
                },
            },
        }),
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "shop"},
            "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]},
        }),
    ];
    if more {
        objects.push(json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "more", "namespace": "shop"},
            "data": {"key": "value"},
        }));
    }
    let objects: Vec<String> = objects.iter().map(base_yaml::to_string).collect();
    objects.join("---\n")
}

impl Ground {
    fn new(names: &[&str]) -> Option<Self> {
        let tools = tools(names)?;
        let served = Served::start(Config::default());
        let host = GitHost::on(Ipv4Addr::LOCALHOST, served.folder.path()).unwrap();
        let ground = Self {
            served,
            tools,
            host,
        };
        std::fs::create_dir_all(ground.repository().join("apps")).unwrap();
        ground.git(&["init", "-q", "-b", "main"]);
        ground.commit("web:1", true);
        Some(ground)
    }

    fn repository(&self) -> PathBuf {
        self.served.folder.path().join("repository")
    }

    fn git(&self, args: &[&str]) {
        let mut git = Command::new("git");
        git.args(["-c", "user.name=test", "-c", "user.email=test@localhost"]);
        run(git.args(args).current_dir(self.repository()), true);
    }

    fn commit(&self, image: &str, more: bool) {
        std::fs::write(self.repository().join("apps/all.yaml"), app(image, more)).unwrap();
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "-m", "an app"]);
    }

    fn kubectl(&self, args: &[&str]) {
        let mut kubectl = Command::new(self.tools.path("kubectl"));
        kubectl.arg("--kubeconfig").arg(self.served.kubeconfig());
        kubectl
            .arg("--cache-dir")
            .arg(self.served.folder.path().join("cache"));
        run(kubectl.args(args), true);
    }

    fn spawn(&self, name: &str, variables: &[&str], args: &[String]) -> Process {
        // env becomes the program: the process stays the same
        let mut all = vec![format!("KUBECONFIG={}", self.served.kubeconfig().display())];
        all.extend(variables.iter().map(|&variable| variable.to_owned()));
        all.push(self.tools.path(name).display().to_string());
        all.extend_from_slice(args);
        let log = self.served.folder.path().join(format!("{name}.log"));
        Process::start(name, Path::new("/usr/bin/env"), &all, &log, Lifetime::Tied).unwrap()
    }

    fn get(&self, path: &str) -> Option<Value> {
        let group = if path.starts_with("v1/") {
            "api"
        } else {
            "apis"
        };
        let answer = self
            .served
            .client()
            .get(&format!("/{group}/{path}"))
            .unwrap();
        (answer.status == 200).then(|| answer.json().unwrap())
    }

    fn image(&self) -> Value {
        let web = self.get(WEB).unwrap_or_default();
        web["spec"]["template"]["spec"]["containers"][0]["image"].clone()
    }

    /// Patches an object, or deletes it if there is no patch.
    fn meddle(&self, path: &str, patch: Option<&Value>) {
        let (path, client) = (format!("/{path}"), self.served.client());
        let answer = match patch {
            None => client.send("DELETE", &path, &[], &[]),
            Some(patch) => {
                let headers = [("Content-Type", "application/merge-patch+json")];
                client.send("PATCH", &path, &headers, patch.to_string().as_bytes())
            }
        };
        let answer = answer.unwrap();
        assert!(
            answer.status < 300,
            "{}",
            String::from_utf8_lossy(&answer.body)
        );
    }

    /// What anybody who keeps an app does; `ask` says that it should look now.
    fn story(&self, words: &dyn Fn() -> String, ask: &dyn Fn()) {
        let wait = |what: &str, is: &dyn Fn() -> Result<(), String>| {
            until(what, || is().map_err(|last| format!("{last}\n{}", words())));
        };
        let is = |found: Value, wanted: Value| {
            (found == wanted)
                .then_some(())
                .ok_or(format!("{found} instead of {wanted}"))
        };
        wait("the app", &|| is(self.image(), json!("web:1")));
        wait("its pods", &|| {
            let web = self.get(WEB).unwrap_or_default();
            is(web["status"]["readyReplicas"].clone(), json!(2))
        });
        wait("the Service", &|| {
            self.get("v1/namespaces/shop/services/web")
                .map(drop)
                .ok_or_else(String::new)
        });
        wait("the ConfigMap", &|| {
            self.get("v1/namespaces/shop/configmaps/more")
                .map(drop)
                .ok_or_else(String::new)
        });

        self.commit("web:2", false);
        ask();
        wait("the new image", &|| is(self.image(), json!("web:2")));
        wait("the end of what left Git", &|| {
            self.get("v1/namespaces/shop/configmaps/more")
                .map_or(Ok(()), |map| Err(map.to_string()))
        });

        // somebody else's hand
        let scaled = json!({"spec": {"replicas": 5}});
        self.meddle(&format!("apis/{WEB}"), Some(&scaled));
        ask();
        wait("the old scale", &|| {
            let web = self.get(WEB).unwrap_or_default();
            is(web["spec"]["replicas"].clone(), json!(2))
        });
        self.meddle("api/v1/namespaces/shop/services/web", None);
        ask();
        wait("the Service again", &|| {
            self.get("v1/namespaces/shop/services/web")
                .map(drop)
                .ok_or_else(String::new)
        });
    }
}

/// The folder of a module's source, as a module below `oracle/` pins it.
fn source_of(module: &str, path: &str) -> Option<PathBuf> {
    let oracle = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../oracle");
    let found = Command::new("go")
        .args(["list", "-mod=readonly", "-m", "-f", "{{.Dir}}", path])
        .current_dir(oracle.join(module))
        .env("GOWORK", "off")
        .output();
    let Ok(found) = found else {
        eprintln!("skipped: go is not on the PATH, and knows where {path} lies");
        return None;
    };
    assert!(
        found.status.success(),
        "{}",
        String::from_utf8_lossy(&found.stderr)
    );
    Some(String::from_utf8(found.stdout).unwrap().trim().into())
}

#[test]
fn flux_keeps_an_app() {
    let modules = [
        ("flux-source", "github.com/fluxcd/source-controller"),
        ("flux-kustomize", "github.com/fluxcd/kustomize-controller"),
    ];
    let sources = modules.map(|(module, path)| source_of(module, path));
    let [Some(source), Some(kustomize)] = sources else {
        return;
    };
    let Some(ground) = Ground::new(&["kubectl", "flux-source", "flux-kustomize"]) else {
        return;
    };
    for module in [source, kustomize] {
        let definitions = module.join("config/crd/bases").display().to_string();
        ground.kubectl(&["apply", "--server-side", "-f", &definitions]);
    }
    ground.kubectl(&["create", "namespace", "flux-system"]);
    let variables = ["RUNTIME_NAMESPACE=flux-system"];
    let common = || {
        [
            "--metrics-addr=0".to_owned(),
            format!("--health-addr=127.0.0.1:{}", port()),
            "--watch-all-namespaces=true".to_owned(),
            "--enable-leader-election=false".to_owned(),
            "--log-level=info".to_owned(),
        ]
    };
    let storage = ground.served.folder.path().join("storage");
    std::fs::create_dir(&storage).unwrap();
    let address = format!("127.0.0.1:{}", port());
    let mut flags = common().to_vec();
    flags.push(format!("--storage-path={}", storage.display()));
    flags.push(format!("--storage-addr={address}"));
    flags.push(format!("--storage-adv-addr={address}"));
    let source = ground.spawn("flux-source", &variables, &flags);
    let kustomize = ground.spawn("flux-kustomize", &variables, &common());
    let nouns = [
        json!({
            "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository",
            "metadata": {"name": "app", "namespace": "flux-system"},
            "spec": {"url": ground.host.url(Ipv4Addr::LOCALHOST, "repository"), "ref": {"branch": "main"}, "interval": "1h"},
        }),
        json!({
            "apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization",
            "metadata": {"name": "app", "namespace": "flux-system"},
            "spec": {
                "sourceRef": {"kind": "GitRepository", "name": "app"}, "path": "./apps",
                "interval": "1h", "prune": true, "wait": true, "timeout": "1m",
            },
        }),
    ];
    let file = ground.served.folder.path().join("nouns.json");
    let nouns = nouns.map(|noun| noun.to_string()).join("\n---\n");
    std::fs::write(&file, nouns).unwrap();
    ground.kubectl(&["apply", "-f", &file.display().to_string()]);
    let words = || format!("{}\n{}", source.last_words(), kustomize.last_words());
    let asked = std::cell::Cell::new(0);
    let ask = || {
        asked.set(asked.get() + 1);
        let annotation = format!("reconcile.fluxcd.io/requestedAt=time-{}", asked.get());
        for noun in ["gitrepository/app", "kustomization/app"] {
            ground.kubectl(&[
                "annotate",
                "--namespace=flux-system",
                "--overwrite",
                noun,
                &annotation,
            ]);
        }
    };
    ground.story(&words, &ask);
    let noun = "kustomize.toolkit.fluxcd.io/v1/namespaces/flux-system/kustomizations/app";
    until("the Kustomization to be ready", || {
        let found = ground.get(noun).unwrap_or_default();
        let conditions = found["status"]["conditions"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let ready = conditions
            .iter()
            .any(|one| one["type"] == "Ready" && one["status"] == "True");
        ready.then_some(()).ok_or(found["status"].to_string())
    });
    // it takes what it made with it
    ground.kubectl(&[
        "delete",
        "--namespace=flux-system",
        "kustomization/app",
        "--timeout=60s",
    ]);
    until("the end of the app", || {
        ground.get(WEB).map_or(Ok(()), |web| Err(web.to_string()))
    });
}

#[test]
fn the_gitops_engine_keeps_an_app() {
    let Some(ground) = Ground::new(&["kubectl", "gitops-engine"]) else {
        return;
    };
    // it takes a repository that it did not make itself only so
    let variables = [
        "GIT_CONFIG_COUNT=1",
        "GIT_CONFIG_KEY_0=safe.directory",
        "GIT_CONFIG_VALUE_0=*",
    ];
    let args = [
        ground.repository().display().to_string(),
        "--path=apps".to_owned(),
        "--default-namespace=default".to_owned(),
        "--resync-seconds=2".to_owned(),
        format!("--port={}", port()),
    ];
    let agent = ground.spawn("gitops-engine", &variables, &args);
    ground.story(&|| agent.last_words(), &|| ());
}
