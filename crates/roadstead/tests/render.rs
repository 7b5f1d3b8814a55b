//! `roadstead render` of kustomizations: the built binary, beside the real kustomize where it is at hand.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;

use git_host::GitHost;

const TREE: &[(&str, &str)] = &[
    ("repository/.git/HEAD", "ref: refs/heads/main\n"),
    (
        "repository/base/kustomization.yaml",
        "resources: [web.yaml]\nconfigMapGenerator:\n- name: settings\n  files: [settings.env]\n",
    ),
    ("repository/base/settings.env", "a=b\n"),
    (
        "repository/base/web.yaml",
        "apiVersion: v1\nkind: Service\nmetadata: {name: web}\n---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec:\n  template:\n    spec:\n      containers:\n      - name: web\n        image: web:1\n        envFrom: [{configMapRef: {name: settings}}]\n",
    ),
    (
        "repository/over/kustomization.yaml",
        "namePrefix: x-\nnamespace: here\nresources: [../base]\nimages: [{name: web, newTag: \"2\"}]\n",
    ),
    (
        "repository/beside/kustomization.yaml",
        "resources: [../base/web.yaml]\n",
    ),
    (
        "repository/broken/kustomization.yaml",
        "resources:\n- ../base\npatches:\n- path: gone.yaml\n",
    ),
    (
        "app.yaml",
        "apiVersion: roadstead.dev/v1alpha1\nkind: App\nmetadata: {name: web}\nspec:\n  inputs: [{source: git, path: anywhere}]\n  namespace: web\n  targets: [{name: all}]\n  overlays:\n  - name: eu\n    clusters: {selector: {matchLabels: {region: eu}}}\n    kustomize:\n      replicas: [{name: web, count: \"${cluster.values.n:-4}\"}]\n",
    ),
];

struct Folder(tempfile::TempDir);

impl Folder {
    fn make() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        for (path, text) in TREE {
            let file = folder.path().join(path);
            std::fs::create_dir_all(file.parent().expect("a folder")).expect("made");
            std::fs::write(file, text).expect("written");
        }
        Self(folder)
    }

    /// What a program prints, or else what it complains of.
    fn run(&self, program: &Path, line: &str) -> Result<String, String> {
        let output = Command::new(program)
            .args(line.split(' '))
            .current_dir(self.0.path())
            .env("NO_COLOR", "1")
            .env("XDG_CACHE_HOME", self.0.path().join("cache"))
            .output()
            .expect("it starts");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() {
            Ok(text(&output.stdout))
        } else {
            Err(text(&output.stderr))
        }
    }

    fn git(&self, line: &str) {
        let done = self.run(Path::new("git"), &format!("-C repository {line}"));
        done.expect("git does it");
    }

    fn render(&self, line: &str) -> Result<String, String> {
        let binary = Path::new(env!("CARGO_BIN_EXE_roadstead"));
        self.run(binary, &format!("render {line}"))
    }
}

fn kustomize() -> Option<PathBuf> {
    let built = std::env::home_dir().map(|home| home.join(".cache/roadstead/oracle/bin/kustomize"));
    let found = [Some(PathBuf::from("kustomize")), built]
        .into_iter()
        .flatten();
    let mut found = found.filter(|path| {
        let output = Command::new(path).arg("version").output();
        output.is_ok_and(|output| output.status.success())
    });
    found.next()
}

const OVER: &str = "\
apiVersion: v1
data:
  settings.env: |
    a=b
kind: ConfigMap
metadata:
  name: x-settings-ct8489698h
  namespace: here
---
apiVersion: v1
kind: Service
metadata:
  name: x-web
  namespace: here
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: x-web
  namespace: here
spec:
  template:
    spec:
      containers:
      - envFrom:
        - configMapRef:
            name: x-settings-ct8489698h
        image: web:2
        name: web
";

#[test]
fn a_kustomization_is_printed_as_kustomize_prints_it() {
    let folder = Folder::make();
    let ours = folder.render("repository/over").expect("built");
    assert_eq!(ours, OVER);
    let none = "--load-restrictor LoadRestrictionsNone";
    let beside = folder
        .render(&format!("repository/beside {none}"))
        .expect("built");
    match kustomize() {
        None => println!("skipped: no kustomize in PATH"),
        Some(real) => {
            let theirs = folder.run(&real, "build repository/over").expect("built");
            assert_eq!(ours, theirs);
            let line = format!("build repository/beside {none}");
            assert_eq!(beside, folder.run(&real, &line).expect("built"));
        }
    }
    let listed = folder
        .render("repository/over --reorder none --names")
        .expect("built");
    assert_eq!(
        listed,
        "Service here/x-web\nDeployment here/x-web\nConfigMap here/x-settings-ct8489698h\n"
    );
}

#[test]
fn what_is_wrong_is_told_with_its_place_as_it_is_seen_from_here() {
    let folder = Folder::make();
    let beside = folder.render("repository/beside").expect_err("refused");
    assert!(
        beside.contains("repository/beside/kustomization.yaml:1:13: "),
        "{beside}"
    );
    let broken = folder.render("repository/broken").expect_err("refused");
    for part in [
        "repository/broken/kustomization.yaml:4:3: ",
        "gone.yaml",
        "4 | - path",
    ] {
        assert!(broken.contains(part), "{part:?} is not in {broken}");
    }
}

#[test]
fn an_apps_changes_apply_to_what_is_built_from_a_base_beside() {
    let folder = Folder::make();
    let line = "repository/over --app app.yaml --cluster-labels region=eu";
    let built = folder.render(line).expect("built");
    for part in ["name: x-web", "replicas: 4", "image: web:2"] {
        assert!(built.contains(part), "{part:?} is not in {built}");
    }
    let others = folder
        .render("repository/over --app app.yaml")
        .expect("built");
    assert!(!others.contains("replicas"), "{others}");
}

#[test]
fn bases_of_other_repositories_are_fetched() {
    let folder = Folder::make();
    std::fs::remove_dir_all(folder.0.path().join("repository/.git")).expect("removed");
    folder.git("init -q -b main .");
    folder.git("config user.email a@example.org");
    folder.git("config user.name a");
    folder.git("add -A");
    folder.git("commit -qm Begin");
    folder.git("tag v1");
    let settings = folder.0.path().join("repository/base/settings.env");
    std::fs::write(settings, "a=c\n").expect("written");
    folder.git("commit -qam More");
    let host = GitHost::on(Ipv4Addr::LOCALHOST, folder.0.path()).expect("it serves");
    let url = host.url(Ipv4Addr::LOCALHOST, "repository");
    for (reference, value) in [("v1", "a=b"), ("main", "a=c")] {
        let text = format!("resources: ['{url}//over?ref={reference}']\nnameSuffix: -y\n");
        let own = folder.0.path().join(reference);
        std::fs::create_dir_all(&own).expect("made");
        std::fs::write(own.join("kustomization.yaml"), text).expect("written");
        let ours = folder.render(reference).expect("built");
        assert!(
            ours.contains(value) && ours.contains("x-web-y"),
            "{reference}: {ours}"
        );
        match kustomize() {
            None => println!("skipped: no kustomize in PATH"),
            Some(real) => {
                let theirs = folder.run(&real, &format!("build {reference}"));
                assert_eq!(ours, theirs.expect("built"), "{reference}");
            }
        }
    }
    let text = format!("resources: ['{url}//over?ref=v9']\n");
    let gone = folder.0.path().join("gone");
    std::fs::create_dir_all(&gone).expect("made");
    std::fs::write(gone.join("kustomization.yaml"), text).expect("written");
    let error = folder.render("gone").expect_err("refused");
    assert!(
        error.contains("//over?ref=v9\" cannot be read") && error.contains("there are: main"),
        "{error}"
    );
}
