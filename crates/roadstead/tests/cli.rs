//! The command line as people use it: the built binary against a hub that runs here, session by session.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use regex_lite::Regex;
use roadstead_hub::{Hub, HubConfig};

/// How long something may take that the hub does by itself.
const PATIENCE: Duration = Duration::from_secs(60);

struct Session {
    folder: tempfile::TempDir,
    hub: Hub,
    transcript: String,
}

impl Session {
    async fn start() -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let folder = tempfile::tempdir().expect("a temporary folder");
        let hub = Hub::start(HubConfig {
            data: folder.path().join("data"),
            listen: "127.0.0.1:0".parse().expect("an address"),
            names: vec!["localhost".to_owned(), "127.0.0.1".to_owned()],
            offline_after: Duration::from_secs(90),
            offline_grace: Duration::from_secs(3600),
            beat: Duration::from_secs(30),
            webhook_secret: None,
            seal: None,
            audit_keep: Duration::from_secs(3600),
        })
        .await
        .expect("the hub starts");
        let admin = hub
            .kubeconfig("admin", &["system:masters".to_owned()])
            .expect("a kubeconfig");
        std::fs::write(folder.path().join("kubeconfig"), admin.to_yaml("hub")).expect("written");
        Self {
            folder,
            hub,
            transcript: String::new(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        let dir = self.folder.path().display().to_string();
        std::fs::write(path, text.replace("<dir>", &dir)).expect("written");
    }

    /// Runs the binary; what it said and its exit code.
    async fn run(&self, line: &str) -> (String, i32) {
        let folder = self.folder.path().to_owned();
        let words: Vec<String> = words(line);
        let work = move || {
            let output = Command::new(env!("CARGO_BIN_EXE_roadstead"))
                .args(&words)
                .current_dir(&folder)
                .env_clear()
                .env("ROADSTEAD_KUBECONFIG", folder.join("kubeconfig"))
                .stdin(Stdio::null())
                .output()
                .expect("the binary runs");
            let text = String::from_utf8_lossy(&output.stdout).into_owned()
                + &String::from_utf8_lossy(&output.stderr);
            (text, output.status.code().unwrap_or(-1))
        };
        tokio::task::spawn_blocking(work).await.expect("it ends")
    }

    /// Runs it, and adds it to the transcript.
    async fn say(&mut self, line: &str) {
        let (text, code) = self.run(line).await;
        let text = self.steady(&text);
        let _ = writeln!(self.transcript, "$ roadstead {line}");
        self.transcript.push_str(&text);
        if code != 0 {
            let _ = writeln!(self.transcript, "[exit code {code}]");
        }
        self.transcript.push('\n');
    }

    /// Runs it until it says something.
    async fn wait(&self, line: &str, wanted: &str) {
        let began = Instant::now();
        loop {
            let (text, _) = self.run(line).await;
            if text.contains(wanted) {
                return;
            }
            assert!(
                began.elapsed() < PATIENCE,
                "`roadstead {line}` did not say {wanted:?} but:\n{text}"
            );
            tokio::time::sleep(Duration::from_millis(150)).await;
        }
    }

    /// Takes out what differs from run to run.
    fn steady(&self, text: &str) -> String {
        let replace = |text: String, pattern: &str, by: &str| {
            let pattern = Regex::new(pattern).expect("a pattern");
            pattern.replace_all(&text, by).into_owned()
        };
        let dir = self.folder.path().display().to_string();
        let text = text.replace(&dir, "<dir>");
        let text = text.replace(&self.hub.address().port().to_string(), "<port>");
        let text = replace(text, r"\d{4}-\d\d-\d\dT[0-9:.]+Z", "<time>");
        let text = replace(text, r"\b\d+(s|m\d+s)( ago|\n)", "<age>$2");
        let text = replace(text, r"--token \S+", "--token <token>");
        let text = replace(text, r"--continue \S+", "--continue <token>");
        replace(text, r"sha256:[0-9a-f]{64}", "<digest>")
    }

    fn git(&self, arguments: &[&str]) {
        let output = Command::new("git")
            .args(["-c", "user.name=Ann", "-c", "user.email=ann@example.com"])
            .args(arguments)
            .current_dir(self.path("repo"))
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_AUTHOR_DATE", "2026-01-02T03:04:05Z")
            .env("GIT_COMMITTER_DATE", "2026-01-02T03:04:05Z")
            .output()
            .expect("git runs");
        assert!(output.status.success(), "{output:?}");
    }

    /// A repository with a small App.
    fn repository(&self) {
        self.write(
            "repo/shop/web.yaml",
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: { name: web }\nspec:\n  replicas: 2\n  \
             selector: { matchLabels: { app: web } }\n  template:\n    metadata: { labels: { app: web } }\n    \
             spec: { containers: [{ name: web, image: 'registry.example.com/web:1' }] }\n",
        );
        self.write(
            "repo/shop/secret.yaml",
            "apiVersion: v1\nkind: Secret\nmetadata: { name: key }\nstringData: { key: not-to-be-shown }\n",
        );
        self.git(&["init", "-q", "-b", "main", "."]);
        self.git(&["add", "-A"]);
        self.git(&["commit", "-qm", "Begin"]);
    }
}

/// Splits a line as a shell does, as far as these tests need it.
fn words(line: &str) -> Vec<String> {
    let mut out = vec![String::new()];
    let mut quoted = false;
    for c in line.chars() {
        match c {
            '\'' => quoted = !quoted,
            ' ' if !quoted => out.push(String::new()),
            c => out.last_mut().expect("one word").push(c),
        }
    }
    out
}

const NOUNS: &str = r"
apiVersion: roadstead.dev/v1alpha1
kind: App
metadata: { name: shop }
spec:
  inputs: [{ source: repo, path: shop }]
  namespace: shop
  targets:
    - name: eu
      clusters: { selector: { matchLabels: { region: eu } } }
---
apiVersion: roadstead.dev/v1alpha1
kind: Source
metadata: { name: repo }
spec: { git: { url: 'file://<dir>/repo', branch: main }, interval: 1s }
---
apiVersion: v1
kind: List
items:
  - { apiVersion: roadstead.dev/v1alpha1, kind: Cluster, metadata: { name: eu-1, labels: { region: eu } }, spec: {} }
  - { apiVersion: roadstead.dev/v1alpha1, kind: Cluster, metadata: { name: us-1, labels: { region: us } }, spec: {} }
";

#[tokio::test(flavor = "multi_thread")]
async fn a_first_hour() {
    let mut session = Session::start().await;
    session.repository();
    session.write("nouns.yaml", NOUNS);
    session.say("get apps").await;
    session.say("apply -f nouns.yaml --dry-run").await;
    session.say("apply -f nouns.yaml").await;
    session.say("apply -f nouns.yaml").await;
    session.wait("why shop", "is held").await;
    session.wait("get apps", "set aside").await;
    session.say("get clusters").await;
    session.say("get cl -l region=eu -o name").await;
    session
        .say("get clusters --limit 1 --no-headers -o name")
        .await;
    session.say("get apps,sources").await;
    session.say("get app/shop source/repo -o name").await;
    session.say("get releases").await;
    session.say("get rollouts").await;
    session.say("get tasks -o name").await;
    session.say("get hub/hub -o name").await;
    session.say("rollout status shop").await;
    session.say("rollout history shop").await;
    session.say("why shop").await;
    session.say("why shop --cluster us-1").await;
    session.say("plan shop").await;
    session.say("render repo/shop --names").await;
    session.say("rollout pause shop --reason 'not now'").await;
    session.say("rollout resume shop").await;
    session.say("rollout pin shop 1").await;
    session.say("rollout unpin shop").await;
    session.say("hold shop --reason 'load test'").await;
    session.say("unhold shop").await;
    session
        .say("hold --cluster eu-1 --heal-only --reason repair")
        .await;
    session.say("unhold --cluster eu-1").await;
    session.say("cluster label eu-1 ring=canary region-").await;
    session.say("cluster cordon eu-1").await;
    session.say("cluster uncordon eu-1").await;
    session
        .say("cluster join eu-2 --label region=eu --output command")
        .await;
    session.say("cluster remove us-1").await;
    session.say("cluster remove us-1 --yes").await;
    session.say("get clusters -o name").await;
    session.say("delete app shop").await;
    session.wait("get apps", "no apps").await;
    insta::assert_snapshot!("first_hour", session.transcript);
    session.hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_is_told() {
    let mut session = Session::start().await;
    session.repository();
    session.write("nouns.yaml", NOUNS);
    session.run("apply -f nouns.yaml").await;
    session.wait("get sources", "read at").await;
    let app = |spec: &str| {
        format!(
            "apiVersion: roadstead.dev/v1alpha1\nkind: App\nmetadata:\n  name: bad\nspec:\n{spec}"
        )
    };
    let good = "  inputs: [{ source: repo, path: shop }]\n";
    session.write(
        "field.yaml",
        &app(&format!(
            "{good}  tragets: []\n  targets: [{{ name: all }}]\n"
        )),
    );
    session.write("operator.yaml", &app(&format!(
        "{good}  targets: [{{ name: all, clusters: {{ selector: {{ matchExpressions: [{{ key: a, operator: Within }}] }} }} }}]\n"
    )));
    session.write(
        "syntax.yaml",
        "apiVersion: v1\nkind: Secret\nmetadata:\n  name: x\n data: {}\n",
    );
    session.write(
        "nameless.yaml",
        "---\napiVersion: v1\nkind: Secret\nmetadata: {}\n",
    );
    session.write(
        "deployment.yaml",
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: { name: x }\n",
    );
    session.write(
        "outside.yaml",
        &app("  inputs: [{ source: repo, path: ../shop }]\n  targets: [{ name: all }]\n"),
    );
    for file in [
        "outside",
        "field",
        "operator",
        "syntax",
        "nameless",
        "deployment",
        "missing",
    ] {
        session.say(&format!("apply -f {file}.yaml")).await;
    }
    session.say("get fruit").await;
    session.say("get app none").await;
    session.say("why none").await;
    session.say("why shop --cluster none").await;
    session.say("rollout pause none").await;
    session
        .say("rollout start shop --release 7 --clusters eu-1 --reason fire")
        .await;
    session.say("rollout pin shop 7").await;
    session.say("unhold shop").await;
    session.say("plan none").await;
    session.say("plan shop --revision none").await;
    session.write("edit/web.yaml", "kind: Deployment\nmetadata: [\n");
    session.say("plan shop --path edit").await;
    session.say("render edit").await;
    session.write("twice/a.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: a }\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: { name: a }\n");
    session.say("render twice").await;
    session.say("hold shop").await;
    session.say("get apps --context other").await;
    session.say("get apps --kubeconfig none").await;
    session.say("get apps --kubeconfig=").await;
    insta::assert_snapshot!("bad_input", session.transcript);
    session.hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chart_is_rendered_on_the_spot() {
    let mut session = Session::start().await;
    for (path, text) in [
        (
            "chart/Chart.yaml",
            "apiVersion: v2\nname: shop\nversion: 1.0.0\n",
        ),
        ("chart/values.yaml", "door: green\n"),
        (
            "chart/templates/door.yaml",
            "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ .Release.Name }}\ndata:\n  door: {{ required \"a door has a colour\" .Values.door }}\n",
        ),
        (
            "chart/templates/NOTES.txt",
            "{{ .Release.Name }} of {{ .Release.Namespace }}: look for the {{ .Values.door }} door.\n",
        ),
        (
            "quiet/Chart.yaml",
            "apiVersion: v2\nname: quiet\nversion: 1.0.0\n",
        ),
    ] {
        session.write(path, text);
    }
    session.say("render chart").await;
    session
        .say("render chart --notes --set door=red --release-name corner -n market")
        .await;
    session.say("render chart --set door=null").await;
    session.say("render quiet --notes").await;
    session
        .say("render chart --notes -s templates/door.yaml")
        .await;
    session.say("render chart --kube-version one").await;
    insta::assert_snapshot!("charts", session.transcript);
    session.hub.stop().await;
}

/// A process that ends with its test.
struct Child(std::process::Child);

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Session {
    /// Starts the binary in the background; what it says goes to a file.
    fn spawn(&self, line: &str, log: &str) -> Child {
        let log = std::fs::File::create(self.path(log)).expect("a log");
        let child = Command::new(env!("CARGO_BIN_EXE_roadstead"))
            .args(words(line))
            .current_dir(self.folder.path())
            .env_clear()
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .spawn()
            .expect("the binary runs");
        Child(child)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_joins_and_is_planned_for() {
    let mut session = Session::start().await;
    session.repository();
    session.write("nouns.yaml", NOUNS);
    let _clusters = session.spawn(
        "playground clusters --clusters 1 --prefix real --kubeconfigs kubeconfigs",
        "clusters.log",
    );
    let began = Instant::now();
    let kubeconfig = loop {
        let folder = session.path("kubeconfigs");
        let names = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let mut names = names.map(|one| one.path());
        let is_cluster = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with("real") && name.ends_with(".yaml")
        };
        if let Some(path) = names.find(is_cluster) {
            break path.display().to_string();
        }
        assert!(began.elapsed() < PATIENCE, "no simulated cluster");
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    let (token, _) = session
        .run("cluster join eu-9 --label region=eu --token-only")
        .await;
    let url = session.hub.url();
    let token = token.trim();
    let _agent = session.spawn(
        &format!(
            "agent --hub {url} --name eu-9 --token {token} --kubeconfig {kubeconfig} --state agent"
        ),
        "agent.log",
    );
    session.wait("get cluster eu-9", "Connected").await;
    // the App comes alone: no other cluster may hold its Rollout up
    let shop = NOUNS
        .split("---\napiVersion: v1\n")
        .next()
        .expect("the App");
    session.write("shop.yaml", shop);
    session.run("apply -f shop.yaml").await;
    let (said, code) = {
        session.wait("get rollouts", "shop-1").await;
        session
            .run("rollout status shop --watch --timeout 60s")
            .await
    };
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("Completed 1/1 healthy"), "{said}");
    session.say("plan shop").await;
    session.say("diff shop --cluster eu-9").await;
    let web = std::fs::read_to_string(session.path("repo/shop/web.yaml")).expect("there");
    session.write("edit/web.yaml", &web.replace("web:1", "web:2"));
    session.say("plan shop --path edit").await;
    // what the API server would refuse is refused in its words, and no API server is asked for it
    let cases = [
        ("immutable", web.replace("app: web", "app: other")),
        ("unknown", web.replace("replicas: 2", "replcas: 2")),
        ("typed", web.replace("replicas: 2", "replicas: two")),
    ];
    for (folder, changed) in cases {
        session.write(&format!("{folder}/web.yaml"), &changed);
        session.write(
            &format!("{folder}/secret.yaml"),
            &std::fs::read_to_string(session.path("repo/shop/secret.yaml")).expect("there"),
        );
        session
            .say(&format!("plan shop --predict-only --path {folder}"))
            .await;
        // the cluster's own API server says the same
        session.say(&format!("plan shop --path {folder}")).await;
    }
    session
        .say("rollout start shop --release 1 --clusters eu-9 --reason fire")
        .await;
    session
        .say("hold shop --cluster eu-9 --reason 'look at it'")
        .await;
    session.say("unhold shop --cluster eu-9").await;
    insta::assert_snapshot!("joined", session.transcript);
    session.hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_cannot_be_read_is_told() {
    let session = Session::start().await;
    session.repository();
    let check = async |name: &str, url: &str, branch: &str, path: &str, told: (&str, &str)| {
        let file = format!("{name}.yaml");
        session.write(
            &file,
            &format!(
                "apiVersion: roadstead.dev/v1alpha1\nkind: Source\nmetadata: {{ name: {name} }}\n\
                 spec: {{ git: {{ url: '{url}', branch: {branch} }} }}\n---\n\
                 apiVersion: roadstead.dev/v1alpha1\nkind: App\nmetadata: {{ name: {name} }}\n\
                 spec: {{ inputs: [{{ source: {name}, path: '{path}' }}], targets: [{{ name: all }}] }}\n"
            ),
        );
        let (said, code) = session.run(&format!("apply -f {file}")).await;
        assert_eq!(code, 0, "{said}");
        let (command, expected) = told;
        session.wait(&format!("{command} {name}"), expected).await;
    };
    let repo = "file://<dir>/repo";
    let nowhere = ("get source", "no Git repository at");
    check("nowhere", "file://<dir>/nowhere", "main", "shop", nowhere).await;
    let branch = ("get source", "branch \"mian\" is not in");
    check("branch", repo, "mian", "shop", branch).await;
    let folder = ("why", "path \"shpo\" is not in commit");
    check("folder", repo, "main", "shpo", folder).await;
    session.hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_that_is_away_or_another_is_told() {
    let session = Session::start().await;
    let other = Session::start().await;
    let text = std::fs::read_to_string(session.path("kubeconfig")).expect("there");
    // the other hub's address with this hub's certificates
    let swapped = text.replace(&session.hub.url(), &other.hub.url());
    session.write("swapped", &swapped);
    let (said, code) = session.run("get apps --kubeconfig swapped").await;
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("failed to speak TLS with the hub"), "{said}");
    assert!(
        said.contains("is not signed by the CA in swapped"),
        "{said}"
    );
    other.hub.stop().await;
    let (said, code) = session.run("get apps --kubeconfig swapped").await;
    assert_eq!(code, 1, "{said}");
    assert!(
        said.contains("failed to reach the hub at https://localhost:"),
        "{said}"
    );
    assert!(said.contains("does the hub run?"), "{said}");
    session.hub.stop().await;
}
