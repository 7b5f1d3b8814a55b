//! Small kustomizations from their files to what they build to. What is built is what the real kustomize prints
//! (`cargo xtask conformance kustomize --cases`); what is refused is said in our own words.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use roadstead_kustomize::{Files, Kustomizer, Layer, Limits, Options, Order, Remote};

type Tree = BTreeMap<String, Bytes>;

/// Files from a text: `== path` before each.
fn files(text: &str) -> Tree {
    let text = format!("\n{text}");
    let parts = text.split("\n== ").skip(1);
    parts
        .map(|part| {
            let (path, content) = part.split_once('\n').unwrap_or((part, ""));
            let content = match content {
                "" => String::new(),
                content => format!("{content}\n"),
            };
            (path.trim().to_owned(), Bytes::from(content))
        })
        .collect()
}

fn build(tree: Tree, root: &str, options: &Options) -> Result<String, String> {
    let files: Arc<dyn Files> = Arc::new(tree);
    let kustomizer = Kustomizer::new(files, BTreeMap::new(), Limits::default());
    let built = kustomizer.build(root, options);
    built
        .map(|built| built.to_text())
        .map_err(|error| error.to_string())
}

#[test]
fn every_case_comes_out_as_it_stands() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let update = std::env::var_os("UPDATE_EXPECT").is_some();
    let mut wrong = Vec::new();
    let mut count = 0;
    let mut entries: Vec<_> = std::fs::read_dir(folder).unwrap().flatten().collect();
    entries.sort_by_key(std::fs::DirEntry::path);
    for entry in entries {
        let text = std::fs::read_to_string(entry.path()).unwrap();
        let (input, expected) = text.split_once("\n=> ").unwrap();
        let got = match build(files(input), "", &Options::default()) {
            Ok(text) => format!("built\n{text}"),
            Err(error) => format!("refused\n{error}\n"),
        };
        count += 1;
        if got == expected {
            continue;
        }
        if update {
            std::fs::write(entry.path(), format!("{input}\n=> {got}")).unwrap();
        } else {
            let name = entry.file_name();
            wrong.push(format!("{}:\n{got}", name.to_string_lossy()));
        }
    }
    assert!(count > 20, "{count} cases");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

const BASE: &str = "\
== app/kustomization.yaml
resources: [web.yaml]
== app/web.yaml
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 1
  template:
    spec:
      containers:
      - {name: a, image: nginx}
== extra/kustomization.yaml
apiVersion: kustomize.config.k8s.io/v1alpha1
kind: Component
namePrefix: x-
";

fn layer(place: &str, fields: &str) -> Layer {
    Layer {
        place: place.to_owned(),
        fields: serde_json::from_str(fields).expect("a map"),
    }
}

const OVER: &str = r#"{
    "components": ["../extra"],
    "images": [{"name": "nginx", "newTag": "2"}],
    "replicas": [{"name": "web", "count": 3}],
    "patches": [{
        "patch": "- {op: add, path: /metadata/labels, value: {a: b}}",
        "target": {"kind": "Deployment"}
    }]
}"#;

#[test]
fn an_app_puts_changes_over_a_root_without_files() {
    let mut options = Options {
        layers: vec![layer("spec.render.kustomize", OVER)],
        ..Options::default()
    };
    let got = build(files(BASE), "app", &options).unwrap();
    for wanted in ["name: x-web", "image: nginx:2", "replicas: 3", "a: b"] {
        assert!(got.contains(wanted), "{wanted}\n{got}");
    }
    // the second stands above the first
    let second = r#"{"images": [{"name": "nginx", "newTag": "3"}], "nameSuffix": "-eu"}"#;
    options.layers.push(layer("overlay \"eu\"", second));
    let got = build(files(BASE), "app", &options).unwrap();
    for wanted in ["name: x-web-eu", "image: nginx:3"] {
        assert!(got.contains(wanted), "{wanted}\n{got}");
    }

    options.layers = vec![layer("spec.render.kustomize", OVER)];
    let bad = r#"{"replicas": [{"name": "wob", "count": 3}]}"#;
    for (place, wanted) in [
        (
            "spec.render.kustomize",
            "spec.render.kustomize.replicas[0]: ",
        ),
        ("overlay \"eu\"", "overlay \"eu\": replicas[0]: "),
    ] {
        options.layers.truncate(1);
        options.layers.push(layer(place, bad));
        let error = build(files(BASE), "app", &options).unwrap_err();
        assert!(error.starts_with(wanted), "{error}");
        assert!(error.contains("Deployment.v1.apps/x-web"), "{error}");
    }
}

#[test]
fn layers_are_what_a_kustomization_above_would_be() {
    let above = format!(
        "{BASE}== app/above/kustomization.yaml\nresources: [../../app]\nnamespace: there\ncomponents: [../../extra]\n\
         images: [{{name: nginx, digest: \"sha256:ab\"}}]\nlabels: [{{pairs: {{a: b}}, includeSelectors: true}}]\n\
         commonAnnotations: {{c: d}}\n"
    );
    // a folder that holds the one that it builds on would go round
    let above = above
        .replace("app/above/", "above/")
        .replace("../../", "../");
    let fields = r#"{
        "namespace": "there", "components": ["../extra"],
        "images": [{"name": "nginx", "digest": "sha256:ab"}],
        "labels": [{"pairs": {"a": "b"}, "includeSelectors": true}],
        "commonAnnotations": {"c": "d"}
    }"#;
    let options = Options {
        layers: vec![layer("spec.render.kustomize", fields)],
        ..Options::default()
    };
    let ours = build(files(BASE), "app", &options).unwrap();
    let theirs = build(files(&above), "above", &Options::default()).unwrap();
    assert_eq!(ours, theirs);
}

#[test]
fn what_a_root_reads_is_known_before_it_is_built() {
    let text = "\
== apps/web/over/kustomization.yaml
resources: [../base, ../../../lib/net, https://x.example/a.yaml]
components:
- git@x.example:o/r//c?ref=v1
configMapGenerator:
- {name: c, files: [k=../shared.txt]}
helmCharts:
- {name: redis, version: 1.x, repo: https://charts.example}
== apps/web/base/kustomization.yaml
resources: [a.yaml]
== apps/web/shared.txt
x
== lib/net/kustomization.yaml
resources: [broken
";
    let tree: Arc<dyn Files> = Arc::new(files(text));
    let kustomizer = Kustomizer::new(tree, BTreeMap::new(), Limits::default());
    let plan = kustomizer.reads(&["apps/web/over", "nowhere"]);
    let names = |all: &std::collections::BTreeSet<(String, String)>| {
        all.iter().map(|(_, path)| path.clone()).collect::<Vec<_>>()
    };
    assert_eq!(
        names(&plan.folders),
        ["apps/web/base", "apps/web/over", "lib/net"]
    );
    assert_eq!(names(&plan.files), ["apps/web/shared.txt"]);
    let needs: Vec<&str> = plan.needs.iter().map(|need| need.address()).collect();
    assert_eq!(
        needs,
        [
            "https://x.example/a.yaml",
            "git@x.example:o/r//c?ref=v1",
            "apps/web/over/charts/redis-1.x/redis"
        ]
    );
    assert!(
        plan.problem
            .is_some_and(|p| p.to_string().contains("lib/net"))
    );
}

#[test]
fn objects_keep_the_order_of_the_text_where_it_is_wanted() {
    let text = "\
== kustomization.yaml
resources: [b.yaml]
== b.yaml
apiVersion: v1
kind: Service
metadata: {name: s}
---
apiVersion: v1
kind: Namespace
metadata: {name: n}
";
    let options = Options {
        order: Order::Input,
        ..Options::default()
    };
    let as_listed = build(files(text), "", &options).unwrap();
    let by_kind = build(files(text), "", &Options::default()).unwrap();
    assert!(as_listed.find("Service") < as_listed.find("Namespace"));
    assert!(by_kind.find("Service") > by_kind.find("Namespace"));
}

#[test]
fn remote_bases_are_asked_for_and_then_used() {
    let address = "https://github.com/o/r//app?ref=v1";
    let text = format!("== kustomization.yaml\nresources: [\"{address}\"]\nnamePrefix: a-\n");
    let tree: Arc<dyn Files> = Arc::new(files(&text));
    let alone = Kustomizer::new(Arc::clone(&tree), BTreeMap::new(), Limits::default());
    let needs = alone.plan("").unwrap();
    assert_eq!(needs.len(), 1);
    assert_eq!(needs[0].address(), address);
    let error = alone
        .build("", &Options::default())
        .unwrap_err()
        .to_string();
    assert!(error.contains("was not fetched"), "{error}");
    let remote = Remote::Folder {
        files: Arc::new(files(BASE)),
        path: "app".to_owned(),
    };
    let remotes = BTreeMap::from([(address.to_owned(), remote)]);
    let whole = Kustomizer::new(tree, remotes, Limits::default());
    assert_eq!(whole.plan("").unwrap(), Vec::new());
    let text = whole.build("", &Options::default()).unwrap().to_text();
    assert!(text.contains("name: a-web"), "{text}");
}

#[test]
fn what_is_remembered_comes_out_as_what_is_built_anew() {
    let text = format!(
        "{BASE}== one/kustomization.yaml\nresources: [../app]\nnamePrefix: one-\n\
         == two/kustomization.yaml\nresources: [../app]\nnameSuffix: -two\n"
    );
    let tree: Arc<dyn Files> = Arc::new(files(&text));
    let shared = Kustomizer::new(Arc::clone(&tree), BTreeMap::new(), Limits::default());
    for root in ["one", "two", "one"] {
        let fresh = Kustomizer::new(Arc::clone(&tree), BTreeMap::new(), Limits::default());
        let options = Options::default();
        let wanted = fresh.build(root, &options).unwrap();
        assert_eq!(shared.build(root, &options).unwrap(), wanted, "{root}");
    }
}

#[test]
fn bounds_hold() {
    let limits = Limits {
        kustomizations: 1,
        ..Limits::default()
    };
    let text = format!("{BASE}== kustomization.yaml\nresources: [app]\n");
    let tree: Arc<dyn Files> = Arc::new(files(&text));
    let small = Kustomizer::new(tree, BTreeMap::new(), limits);
    let error = small.build("", &Options::default()).unwrap_err();
    assert!(error.to_string().contains("more than 1 kustomizations"));
}

#[test]
fn charts_are_rendered_by_our_own_engine() {
    let text = "\
== kustomization.yaml
namespace: shop
helmCharts:
- name: c
  releaseName: r
  valuesInline: {a: {b: 2}}
== charts/c/Chart.yaml
apiVersion: v2
name: c
version: 1.0.0
== charts/c/values.yaml
a: {b: 1, c: 3}
== charts/c/templates/x.yaml
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ .Release.Name }}
  namespace: {{ .Release.Namespace }}
data: {b: \"{{ .Values.a.b }}\", c: \"{{ .Values.a.c }}\"}
";
    let refused = build(files(text), "", &Options::default()).unwrap_err();
    assert!(
        refused.contains("charts are not rendered here"),
        "{refused}"
    );
    let options = Options {
        helm: Some(roadstead_kustomize::HelmOptions::default()),
        ..Options::default()
    };
    let got = build(files(text), "", &options).unwrap();
    assert_eq!(
        got,
        "apiVersion: v1\ndata:\n  b: \"2\"\n  c: \"3\"\nkind: ConfigMap\nmetadata:\n  name: r\n  namespace: shop\n"
    );
}

/// Numbers that are the same every time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % sides.max(1) as u64).unwrap_or(0)
    }
}

#[test]
fn broken_texts_are_refused_and_never_panic() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut entries: Vec<_> = std::fs::read_dir(folder).unwrap().flatten().collect();
    entries.sort_by_key(std::fs::DirEntry::path);
    let bits = [
        "null",
        "{}",
        "[]",
        "~",
        "*a",
        "&a ",
        "<<: ",
        "$patch: delete",
        "- ",
        "\n",
        "  ",
        "\"",
        "!!int ",
        "[name=",
        "*",
        "/",
        "-1",
        "999999999999",
        "metadata",
        "\u{feff}",
        "|",
        "%",
        ".",
    ];
    let (mut built, mut refused) = (0, 0);
    for entry in entries {
        let text = std::fs::read_to_string(entry.path()).unwrap();
        let (input, _) = text.split_once("\n=> ").unwrap();
        for seed in 1..=60_u64 {
            let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let mut chars: Vec<char> = input.chars().collect();
            for _ in 0..=dice.roll(3) {
                let at = dice.roll(chars.len());
                let end = (at + dice.roll(12)).min(chars.len());
                let new = bits[dice.roll(bits.len())];
                let new = if dice.roll(4) == 0 { "" } else { new };
                chars.splice(at..end, new.chars());
            }
            let broken: String = chars.into_iter().collect();
            println!("{} seed {seed}", entry.file_name().to_string_lossy());
            match build(files(&broken), "", &Options::default()) {
                Ok(_) => built += 1,
                Err(_) => refused += 1,
            }
        }
    }
    assert!(
        built > 100 && refused > 100,
        "{built} built, {refused} refused"
    );
}
