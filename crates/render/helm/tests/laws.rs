//! Laws: the same input gives the same bytes, on one thread and on many, in any order, warm and cold.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use roadstead_helm::{
    Capabilities, Chart, Compiled, Dialect, HelmVersion, KubeVersion, Layer, Limits, Policy,
    RenderInput, Show,
};
use serde_json::{Value, json};

/// Everything that could hold on to something: charts that come and go, values that templates change, texts that are
/// templates, what is random.
const FILES: &[(&str, &str)] = &[
    (
        "Chart.yaml",
        "apiVersion: v2\nname: c\nversion: 1.0.0\ndependencies:\n- {name: kid, version: 1.x.x, condition: kid.enabled}\n- {name: kid, version: 1.x.x, alias: twin, tags: [twins]}\n",
    ),
    (
        "values.yaml",
        "kid: {enabled: false}\ntags: {twins: true}\ntext: '{{ .Release.Name }}-{{ .Values.n }}'\nlist: [c, a, b]\nmap: {z: 1, y: {x: 2}}\n",
    ),
    (
        "templates/_h.tpl",
        "{{ define \"c.name\" }}{{ .Chart.Name }}-{{ .Values.n | default \"none\" }}{{ end }}",
    ),
    (
        "templates/a.yaml",
        "kind: A\nname: {{ include \"c.name\" . }}\ntext: {{ tpl .Values.text . }}\npassword: {{ randAlphaNum 16 }}\n{{- range $k, $v := .Values.map }}\n{{ $k }}: {{ $v | toYaml | nindent 2 }}\n{{- end }}\n{{- $_ := set .Values \"changed\" (.Values.list | sortAlpha | join \"-\") }}\n",
    ),
    (
        "templates/b.yaml",
        "kind: B\nchanged: {{ .Values.changed | default \"not yet\" }}\nall: {{ .Values | toJson | sha256sum }}\nid: {{ uuidv4 }}\n{{- if .Values.fail }}\n{{ fail (printf \"refused %v\" .Values.n) }}\n{{- end }}\n",
    ),
    (
        "charts/kid/Chart.yaml",
        "apiVersion: v2\nname: kid\nversion: 1.2.3\n",
    ),
    ("charts/kid/values.yaml", "own: 1\n"),
    (
        "charts/kid/templates/k.yaml",
        "kind: K\nname: {{ .Chart.Name }}\nown: {{ .Values.own }}\nglobal: {{ .Values.global | toJson }}\nseed: {{ randNumeric 8 }}\n",
    ),
];

fn compiled(dialect: Dialect) -> Arc<Compiled> {
    let files: BTreeMap<String, Vec<u8>> = FILES
        .iter()
        .map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec()))
        .collect();
    let limits = Limits::default();
    let chart = Chart::from_files(&files, &limits).expect("a chart");
    chart.compile(dialect, limits).expect("it compiles")
}

/// What comes out, or what is said.
fn outcome(compiled: &Compiled, values: &Value) -> String {
    let layers = [Layer::Inline {
        name: "given".to_owned(),
        values: values.as_object().cloned().unwrap_or_default(),
    }];
    let kube = KubeVersion::parse("1.34.2").expect("a version");
    let helm = HelmVersion::of(compiled.dialect());
    let input = RenderInput {
        policy: Policy::Seeded,
        seed: [7; 32],
        ..RenderInput::new(&layers, Capabilities::new::<&str>(kube, &[], helm))
    };
    match compiled.render(&input) {
        Ok(rendered) => rendered.to_text(&Show::all()),
        Err(error) => format!("{error}\n{}", error.helm_compat()),
    }
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        (-1e9..1e9).prop_map(|number: f64| json!(number)),
        "[a-z{}. \"':0-9\\n-]{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-z]{1,4}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn values() -> impl Strategy<Value = Value> {
    let some = (any::<bool>(), any::<bool>(), 0..20_u8, value(), value());
    some.prop_map(|(kid, twins, fail, n, map)| {
        let map = if map.is_object() { map } else { json!({ "k": map }) };
        json!({
            "kid": {"enabled": kid, "own": n}, "tags": {"twins": twins}, "fail": fail == 0, "n": n, "map": map,
            "global": {"g": fail},
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn the_same_bytes_on_one_thread_and_on_many_in_any_order(
        sets in prop::collection::vec(values(), 1..10),
        threads in 2..5_usize,
        turn in 0..10_usize,
        dialect in prop_oneof![Just(Dialect::HELM_3), Just(Dialect::HELM_4)],
    ) {
        // each alone, with a chart that has rendered nothing before
        let alone: Vec<String> = sets.iter().map(|set| outcome(&compiled(dialect), set)).collect();
        let shared = compiled(dialect);
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..threads)
                .map(|thread| {
                    let (shared, sets, alone) = (&shared, &sets, &alone);
                    scope.spawn(move || {
                        for step in 0..2 * sets.len() {
                            let forth = (step + thread * turn) % sets.len();
                            let at = if thread % 2 == 0 { forth } else { sets.len() - 1 - forth };
                            assert_eq!(outcome(shared, &sets[at]), alone[at], "{}", sets[at]);
                        }
                    })
                })
                .collect();
            for worker in workers {
                worker.join().expect("all are the same");
            }
        });
    }
}
