//! Small kustomizations from their files to what they build to. What is built is what the real kustomize prints
//! (`cargo xtask conformance kustomize --cases`); what is refused is said in our own words.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use roadstead_kustomize::{
    Extra, Files, ImageChange, Kustomizer, Limits, Options, Order, PatchChange, Remote,
};

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

#[test]
fn an_app_puts_changes_over_a_root_without_files() {
    let options = Options {
        extra: Extra {
            components: vec!["../extra".to_owned()],
            images: vec![ImageChange {
                name: "nginx".to_owned(),
                new_tag: "2".to_owned(),
                ..ImageChange::default()
            }],
            replicas: BTreeMap::from([("web".to_owned(), 3)]),
            patches: vec![PatchChange {
                patch: "- {op: add, path: /metadata/labels, value: {a: b}}".to_owned(),
                target: BTreeMap::from([("kind".to_owned(), "Deployment".to_owned())]),
            }],
        },
        ..Options::default()
    };
    let got = build(files(BASE), "app", &options).unwrap();
    for wanted in ["name: x-web", "image: nginx:2", "replicas: 3", "a: b"] {
        assert!(got.contains(wanted), "{wanted}\n{got}");
    }
    let mut bad = options;
    bad.extra.replicas = BTreeMap::from([("wob".to_owned(), 3)]);
    let error = build(files(BASE), "app", &bad).unwrap_err();
    assert!(
        error.contains("spec.render.kustomize.replicas[0]"),
        "{error}"
    );
    assert!(error.contains("Deployment.v1.apps/x-web"), "{error}");
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
