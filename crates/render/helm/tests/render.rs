//! Small charts from their files to what `helm template` prints, and to what is said when they are broken.

use std::collections::BTreeMap;

use roadstead_helm::{
    Capabilities, Chart, Diagnostics, Dialect, HelmVersion, KubeVersion, Layer, Limits, Policy,
    Release, RenderInput, Rendered, Show,
};

/// Files from a text: `== path` before each.
fn files(text: &str) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for part in text.split("== ").skip(1) {
        let (path, content) = part.split_once('\n').unwrap_or((part, ""));
        files.insert(path.trim().to_owned(), content.as_bytes().to_vec());
    }
    files
        .entry("Chart.yaml".to_owned())
        .or_insert_with(|| b"apiVersion: v2\nname: c\nversion: 1.2.3\n".to_vec());
    files
}

fn render_with(
    text: &str,
    layers: &[Layer],
    dialect: Dialect,
    change: impl FnOnce(&mut RenderInput<'_>),
) -> Result<Rendered, Diagnostics> {
    let limits = Limits::default();
    let compiled = Chart::from_files(&files(text), &limits)?.compile(dialect, limits)?;
    let kube = KubeVersion::parse("1.34.2").expect("a version");
    let capabilities = Capabilities::new(kube, &["x.example/v1/Thing"], HelmVersion::of(dialect));
    let mut input = RenderInput::new(layers, capabilities);
    input.release = Release::install("rel", "ns");
    change(&mut input);
    compiled.render(&input)
}

fn render(text: &str, layers: &[Layer], dialect: Dialect) -> Result<Rendered, Diagnostics> {
    render_with(text, layers, dialect, |_| {})
}

fn check(text: &str, set: &str, wanted: &str) {
    let layers: Vec<Layer> = set
        .split_whitespace()
        .map(|set| Layer::Set(set.to_owned()))
        .collect();
    for dialect in [Dialect::HELM_3, Dialect::HELM_4] {
        let printed = match render(text, &layers, dialect) {
            Ok(rendered) => rendered.to_text(&Show::all()),
            Err(error) => panic!("Helm {dialect}: {error}"),
        };
        // Helm 4 keeps the blank lines at the end of documents, Helm 3 does not.
        let wanted = if dialect.is_3() {
            wanted.replace("~\n", "")
        } else {
            wanted.replace('~', "")
        };
        assert_eq!(printed.trim_end(), wanted.trim_end(), "Helm {dialect}");
    }
}

/// What is said in Helm's words of each version, and in ours.
fn refused(text: &str, three: &str, four: &str, ours: &str) {
    for (dialect, wanted) in [(Dialect::HELM_3, three), (Dialect::HELM_4, four)] {
        let error = render(text, &[], dialect).expect_err("it renders");
        assert_eq!(error.helm_compat(), wanted, "Helm {dialect}");
        assert_eq!(error.to_string(), ours, "Helm {dialect}");
    }
}

#[test]
fn documents_come_in_the_order_of_their_kinds_and_hooks_last() {
    check(
        "== templates/b.yaml
kind: Deployment
replicas: {{ .Values.n }}
---
kind: Namespace
metadata:
  name: {{ .Release.Namespace }}
== templates/a.yaml
kind: Job
metadata:
  annotations:
    helm.sh/hook: pre-install, post-upgrade
    helm.sh/hook-weight: \"-5\"
---
kind: Job
metadata:
  annotations:
    helm.sh/hook: no-such-hook
== templates/_lib.tpl
{{ define \"unused\" }}x{{ end }}
== templates/NOTES.txt
Thank you.
== crds/x.yaml
kind: CustomResourceDefinition
== values.yaml
n: 1
",
        "n=3",
        "---
# Source: c/crds/x.yaml
kind: CustomResourceDefinition

---
# Source: c/templates/b.yaml
kind: Namespace
metadata:
  name: ns
~
---
# Source: c/templates/b.yaml
kind: Deployment
replicas: 3
---
# Source: c/templates/a.yaml
kind: Job
metadata:
  annotations:
    helm.sh/hook: pre-install, post-upgrade
    helm.sh/hook-weight: \"-5\"
"
        .replace("-5\"\n", "-5\"")
        .as_str(),
    );
}

#[test]
fn charts_in_a_chart_take_part_under_their_names() {
    let text = "== Chart.yaml
apiVersion: v2
name: c
version: 1.2.3
dependencies:
- {name: kid, version: 1.x.x, condition: kid.enabled}
- {name: kid, version: 1.x.x, alias: twin, tags: [twins], import-values: [{child: out, parent: got}]}
== charts/kid/Chart.yaml
apiVersion: v2
name: kid
version: 1.0.0
== charts/kid/values.yaml
own: 1
out: {a: b}
== charts/kid/templates/a.yaml
kid: {{ .Chart.Name }} {{ .Values.own }} {{ .Values.global.g }} {{ .Template.Name }}
== templates/a.yaml
parent: {{ .Values.got }}
== values.yaml
global: {g: 7}
tags: {twins: true}
kid: {enabled: true}
";
    let layers = |set: &str| [Layer::Set(set.to_owned())];
    for dialect in [Dialect::HELM_3, Dialect::HELM_4] {
        let sources = |set: &str| -> Vec<String> {
            let rendered = render(text, &layers(set), dialect).unwrap();
            rendered
                .manifests
                .iter()
                .map(|it| {
                    it.text
                        .lines()
                        .next()
                        .unwrap_or("")
                        .chars()
                        .take(50)
                        .collect()
                })
                .filter(|line: &String| line.starts_with("kid"))
                .collect()
        };
        assert_eq!(
            sources("twin.own=2"),
            [
                "kid: kid 1 7 c/charts/kid/templates/a.yaml",
                "kid: twin 2 7 c/charts/twin/templates/a.yaml"
            ]
        );
        assert_eq!(
            sources("kid.enabled=false"),
            ["kid: twin 1 7 c/charts/twin/templates/a.yaml"]
        );
        assert_eq!(
            sources("tags.twins=false"),
            ["kid: kid 1 7 c/charts/kid/templates/a.yaml"]
        );
    }
}

#[test]
fn nulls_of_defaults_stay_in_helm_3_even_beside_charts() {
    let text = "== Chart.yaml
apiVersion: v2
name: c
version: 1.2.3
dependencies:
- {name: kid, version: 1.x.x}
== charts/kid/Chart.yaml
name: kid
version: 1.0.0
== templates/a.yaml
{{ toYaml .Values.m }}
== values.yaml
m: {a: null, b: 1}
";
    let rendered = |dialect| {
        render(text, &[], dialect).unwrap().manifests[0]
            .text
            .clone()
    };
    assert_eq!(rendered(Dialect::HELM_3), "a: null\nb: 1");
    assert_eq!(rendered(Dialect::HELM_4), "b: 1\n");
}

#[test]
fn what_one_template_changes_the_next_one_sees() {
    check(
        "== templates/a.yaml
seen: {{ .Values.kid.x }}
== charts/kid/Chart.yaml
name: kid
version: 1.0.0
== charts/kid/templates/z.yaml
a: {{ .Values.x }}
== charts/kid/values.yaml
x: 1
",
        "",
        "---
# Source: c/charts/kid/templates/z.yaml
a: 1
~
---
# Source: c/templates/a.yaml
seen: 1
",
    );
}

#[test]
fn missing_values_are_nothing_and_what_is_below_them_an_error() {
    check(
        "== templates/a.yaml\na: x{{ .Values.missing }}|{{ tpl \"{{ .Values.missing }}\" . }}|\n",
        "",
        "---\n# Source: c/templates/a.yaml\na: x||\n",
    );
    refused(
        "== templates/a.yaml
{{ define \"deep\" -}}
x: {{ .Values.server.image.tag }}
{{- end }}
a: 1
{{ include \"deep\" . }}
== values.yaml
server: {}
",
        "template: c/templates/a.yaml:5:3: executing \"c/templates/a.yaml\" at <include \"deep\" .>: error calling include: template: c/templates/a.yaml:2:13: executing \"deep\" at <.Values.server.image.tag>: nil pointer evaluating interface {}.tag",
        "c/templates/a.yaml:5:3\n  executing \"c/templates/a.yaml\" at <include \"deep\" .>:\n    error calling include:\nc/templates/a.yaml:2:13\n  executing \"deep\" at <.Values.server.image.tag>:\n    nil pointer evaluating interface {}.tag",
        "c/templates/a.yaml:2:14: nil pointer evaluating interface {}.tag
  2 | x: {{ .Values.server.image.tag }}
    |              ^
  from c/templates/a.yaml:2:14: .Values.server.image.tag in \"deep\"
  from c/templates/a.yaml:5:4: include \"deep\" . in \"c/templates/a.yaml\"
  .Values.server.image.tag has no line of its own; .Values.server is set at values.yaml:1",
    );
}

#[test]
fn refusals_of_charts_are_told_with_their_place() {
    refused(
        "== templates/a.yaml\na: 1\nb: {{ required \"set .Values.b\" .Values.b }}\n",
        "execution error at (c/templates/a.yaml:2:6): set .Values.b",
        "execution error at (c/templates/a.yaml:2:6): set .Values.b",
        "c/templates/a.yaml:2:7: set .Values.b
  2 | b: {{ required \"set .Values.b\" .Values.b }}
    |       ^
  from c/templates/a.yaml:2:7: required \"set .Values.b\" .Values.b in \"c/templates/a.yaml\"
  .Values.b is set nowhere",
    );
    refused(
        "== templates/a.yaml\na: 1\n{{ if }}\n",
        "parse error at (c/templates/a.yaml:2): missing value for if",
        "parse error at (c/templates/a.yaml:2): missing value for if",
        "c/templates/a.yaml:2:7: missing value for if
  2 | {{ if }}
    |       ^",
    );
    refused(
        "== templates/a.yaml\nkind: A\n---\na: [\n",
        "YAML parse error on c/templates/a.yaml: error converting YAML to JSON: yaml: line 1: did not find expected node content",
        "YAML parse error on c/templates/a.yaml: error converting YAML to JSON: yaml: line 1: did not find expected node content",
        "c/templates/a.yaml: what was rendered is no manifest: did not find expected node content
  in what was rendered:
  3 | a: [",
    );
}

#[test]
fn schemas_name_the_chart_the_path_and_the_layer() {
    let text = "== values.yaml
replicas: one
== values.schema.json
{\"properties\": {\"replicas\": {\"type\": \"integer\"}}}
";
    let error = render(text, &[], Dialect::HELM_4).unwrap_err();
    assert_eq!(
        error.helm_compat(),
        "values don't meet the specifications of the schema(s) in the following chart(s):\nc:\n- at '/replicas': got string, want integer"
    );
    assert_eq!(
        error.to_string(),
        "values.yaml:1: .Values.replicas does not fit values.schema.json: got string, want integer
  .Values.replicas is set at values.yaml:1"
    );
    let set = [Layer::Set("replicas=2".to_owned())];
    assert!(render(text, &set, Dialect::HELM_4).is_ok());
    let skipped = render_with(text, &[], Dialect::HELM_4, |input| input.skip_schema = true);
    assert!(skipped.is_ok());
}

#[test]
fn settings_are_checked() {
    let text = "== Chart.yaml\nname: c\nversion: 1.2.3\nkubeVersion: \">= 1.99\"\n";
    let error = render(text, &[], Dialect::HELM_4).unwrap_err();
    assert_eq!(
        error.helm_compat(),
        "chart requires kubeVersion: >= 1.99 which is incompatible with Kubernetes v1.34.2"
    );
    let error = render_with("", &[], Dialect::HELM_3, |input| {
        input.release = Release::install("Not_A_Name", "ns");
    })
    .unwrap_err();
    assert!(error.helm_compat().starts_with("release name check failed"));
}

#[test]
fn hostile_charts_are_stopped() {
    let stopped = |text: &str| {
        let error = render(text, &[], Dialect::HELM_4).unwrap_err();
        error.all()[0].code.as_str().to_owned() + ": " + &error.all()[0].message
    };
    let endless = stopped(
        "== templates/a.yaml\n{{ define \"a\" }}{{ include \"a\" . }}{{ end }}{{ include \"a\" . }}\n",
    );
    assert!(endless.contains("nested reference name"), "{endless}");
    let endless = stopped(
        "== templates/a.yaml\n{{ define \"a\" }}{{ template \"a\" . }}{{ end }}{{ template \"a\" . }}\n",
    );
    assert!(
        endless.contains("exceeded maximum template depth"),
        "{endless}"
    );
    let slow =
        stopped("== templates/a.yaml\n{{ range 100000 }}{{ range 100000 }}{{ end }}{{ end }}\n");
    assert!(slow.starts_with("limit:"), "{slow}");
    let late = render_with(
        "== templates/a.yaml\n{{ range 100000 }}{{ . }}{{ end }}\n",
        &[],
        Dialect::HELM_4,
        |input| input.expired = Some(&|| true),
    );
    assert!(late.unwrap_err().to_string().contains("deadline"));
}

#[test]
fn renders_are_the_same_in_any_order_and_on_any_thread() {
    let text = "== templates/a.yaml
{{ range $k, $v := .Values }}{{ $k }}: {{ $v }}
{{ end }}== values.yaml
a: 1
b: {c: d}
";
    let limits = Limits::default();
    let compiled = Chart::from_files(&files(text), &limits)
        .unwrap()
        .compile(Dialect::HELM_4, limits)
        .unwrap();
    let one = |number: usize| {
        let layers = [Layer::Set(format!("n{number}={number}"))];
        let kube = KubeVersion::parse("1.34.2").unwrap();
        let capabilities = Capabilities::new::<&str>(kube, &[], HelmVersion::of(Dialect::HELM_4));
        let input = RenderInput {
            policy: Policy::Forbid,
            ..RenderInput::new(&layers, capabilities)
        };
        compiled.render(&input).unwrap().to_text(&Show::all())
    };
    let alone: Vec<String> = (0..20).map(one).collect();
    std::thread::scope(|scope| {
        for begin in 0..4 {
            let (one, alone) = (&one, &alone);
            scope.spawn(move || {
                for step in 0..20 {
                    let number = (begin * 7 + step * 3) % 20;
                    assert_eq!(one(number), alone[number]);
                }
            });
        }
    });
}
