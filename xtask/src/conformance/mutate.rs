//! Values and charts changed in ways that follow from their names alone, so that every run has the same cases.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// A small generator of numbers that are the same in every run.
pub(super) struct Dice(u64);

impl Dice {
    /// Begins from a name.
    pub(super) fn of(name: &str) -> Self {
        let mut state = 0xcbf2_9ce4_8422_2325_u64;
        for byte in name.bytes() {
            state = (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        Self(state | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below a bound.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}

/// Paths of all values that are no maps, or are empty ones.
pub(super) fn leaves(values: &Map<String, Value>) -> Vec<(Vec<String>, Value)> {
    fn walk(path: &mut Vec<String>, map: &Map<String, Value>, out: &mut Vec<(Vec<String>, Value)>) {
        for (key, value) in map {
            path.push(key.clone());
            match value {
                Value::Object(inner) if !inner.is_empty() => walk(path, inner, out),
                other => out.push((path.clone(), other.clone())),
            }
            path.pop();
        }
    }
    let mut out = Vec::new();
    walk(&mut Vec::new(), values, &mut out);
    out
}

/// Paths of all maps that are not empty.
pub(super) fn tables(values: &Map<String, Value>) -> Vec<Vec<String>> {
    fn walk(path: &mut Vec<String>, map: &Map<String, Value>, out: &mut Vec<Vec<String>>) {
        for (key, value) in map {
            if let Value::Object(inner) = value
                && !inner.is_empty()
            {
                path.push(key.clone());
                out.push(path.clone());
                walk(path, inner, out);
                path.pop();
            }
        }
    }
    let mut out = Vec::new();
    walk(&mut Vec::new(), values, &mut out);
    out
}

fn set(values: &mut Map<String, Value>, path: &[String], value: Value) {
    let Some((last, above)) = path.split_last() else {
        return;
    };
    let mut map = values;
    for key in above {
        let next = map.entry(key.clone()).or_insert_with(|| json!({}));
        if !next.is_object() {
            *next = json!({});
        }
        let Value::Object(inner) = next else { return };
        map = inner;
    }
    map.insert(last.clone(), value);
}

/// Value sets near a chart's defaults: switches turned, numbers and strings changed, things taken away.
pub(super) fn value_sets(name: &str, defaults: &Map<String, Value>) -> Vec<(String, Value)> {
    let leaves = leaves(defaults);
    if leaves.is_empty() {
        return Vec::new();
    }
    let mut sets = Vec::new();
    // every switch of one parity is turned
    for parity in 0..2 {
        let mut values = Map::new();
        let switches = leaves.iter().filter(|(_, value)| value.is_boolean());
        for (index, (path, value)) in switches.enumerate() {
            if index % 4 == parity {
                set(&mut values, path, json!(value != &json!(true)));
            }
        }
        sets.push((format!("switches-{parity}"), Value::Object(values)));
    }
    for round in 0..2 {
        let mut dice = Dice::of(&format!("{name}/{round}"));
        let mut values = Map::new();
        for _ in 0..(leaves.len() / 8).clamp(4, 40) {
            let (path, value) = &leaves[dice.below(leaves.len())];
            let changed = match value {
                Value::Bool(it) => json!(!it),
                Value::Number(_) => {
                    [json!(1), json!(1_000_000), json!(0), json!(2.5)][dice.below(4)].clone()
                }
                Value::String(text) => match dice.below(6) {
                    0 => json!(""),
                    1 => json!("a \"quoted\": value"),
                    2 => json!("yes"),
                    3 => json!("0123"),
                    4 => json!("line one\nline two\n"),
                    _ => json!(format!("{text}x")),
                },
                Value::Array(_) => match dice.below(3) {
                    0 => json!(["one", "two"]),
                    1 => json!([{"name": "one", "value": 1}]),
                    _ => json!([]),
                },
                Value::Object(_) => json!({"key": "value", "number": 7, "no": "y"}),
                Value::Null => json!("set"),
            };
            set(&mut values, path, changed);
        }
        sets.push((format!("changed-{round}"), Value::Object(values)));
    }
    let mut dice = Dice::of(&format!("{name}/null"));
    let mut values = Map::new();
    for _ in 0..6 {
        let (path, _) = &leaves[dice.below(leaves.len())];
        set(&mut values, path, Value::Null);
    }
    sets.push(("nulls".to_owned(), Value::Object(values)));
    sets
}

/// A chart that is broken in one way.
pub(super) struct Broken {
    pub(super) name: String,
    /// The whole chart, if a file of it is changed.
    pub(super) files: Option<BTreeMap<String, Vec<u8>>>,
    pub(super) values: Option<Value>,
    pub(super) raw_values: Option<String>,
    pub(super) set: Option<String>,
}

impl Broken {
    fn values(name: impl Into<String>, values: Value) -> Self {
        Self {
            name: name.into(),
            files: None,
            values: Some(values),
            raw_values: None,
            set: None,
        }
    }

    fn files(name: impl Into<String>, files: BTreeMap<String, Vec<u8>>) -> Self {
        Self {
            name: name.into(),
            files: Some(files),
            values: None,
            raw_values: None,
            set: None,
        }
    }
}

/// What is put into a template to break it.
const SNIPPETS: &[(&str, &str)] = &[
    ("nil", "{{ .Values.conformance.missing.deeper }}"),
    ("include", "{{ include \"conformance.nope\" . }}"),
    ("fail", "{{ fail \"refused for a reason\" }}"),
    (
        "required",
        "{{ required \"this value is needed\" .Values.conformanceMissing }}",
    ),
    ("function", "{{ nopeFunction 1 }}"),
    ("unclosed", "{{ if .Values }}"),
    ("end", "{{ end }}"),
    ("lexer", "{{ \"open }}"),
    ("type", "{{ upper 3 }}"),
    ("args", "{{ trunc }}"),
    ("range", "{{ range 3.5 }}{{ end }}"),
    ("compare", "{{ if gt \"a\" 1 }}{{ end }}"),
    ("regex", "{{ mustRegexMatch \"(\" \"x\" }}"),
    ("tpl", "{{ tpl \"{{ .x.y.z }}\" . }}"),
    ("tplparse", "{{ tpl \"{{ if }}\" . }}"),
    ("yaml", "conformance: [unclosed\n"),
    ("yamltab", "conformance:\n\t- tab\n"),
    ("yamlmap", "conformance: a: b\n"),
    ("index", "{{ index .Values \"a\" \"b\" \"c\" }}"),
    ("field", "{{ .Chart.Nope }}"),
    ("method", "{{ .Capabilities.APIVersions.Nope }}"),
    ("variable", "{{ $undefined }}"),
    ("template", "{{ template \"conformance.nope\" . }}"),
    ("fromyaml", "{{ (fromYaml \"a: b: c\").Error.x.y }}"),
];

/// Ways to break a chart, some of many: which ones follows from its name.
pub(super) fn broken(
    name: &str,
    files: &BTreeMap<String, Vec<u8>>,
    defaults: &Map<String, Value>,
) -> Vec<Broken> {
    let mut dice = Dice::of(&format!("{name}/broken"));
    let mut out = Vec::new();
    let tables = tables(defaults);
    if !tables.is_empty() {
        // a map where none may be, and the other way round
        let path = &tables[dice.below(tables.len())];
        let mut values = Map::new();
        let wrong = [json!("text"), json!(7), json!(["list"]), json!(true)][dice.below(4)].clone();
        set(&mut values, path, wrong);
        out.push(Broken::values(
            format!("type of {}", path.join(".")),
            Value::Object(values),
        ));
        let path = &tables[dice.below(tables.len())];
        let mut values = Map::new();
        set(&mut values, path, Value::Null);
        out.push(Broken::values(
            format!("null {}", path.join(".")),
            Value::Object(values),
        ));
    }
    let leaves = leaves(defaults);
    if !leaves.is_empty() {
        let (path, value) = &leaves[dice.below(leaves.len())];
        let mut values = Map::new();
        let wrong = if value.is_string() {
            json!({"a": 1})
        } else {
            json!("wrong")
        };
        set(&mut values, path, wrong);
        out.push(Broken::values(
            format!("type of {}", path.join(".")),
            Value::Object(values),
        ));
    }
    let templates: Vec<&String> = files
        .keys()
        .filter(|path| {
            path.starts_with("templates/") && (path.ends_with(".yaml") || path.ends_with(".tpl"))
        })
        .collect();
    if !templates.is_empty() {
        for _ in 0..2 {
            let path = templates[dice.below(templates.len())];
            let (what, snippet) = SNIPPETS[dice.below(SNIPPETS.len())];
            let mut changed = files.clone();
            if let Some(content) = changed.get_mut(path) {
                let lines = content.iter().filter(|&&byte| byte == b'\n').count();
                let at = dice.below(lines + 1);
                *content = insert(content, at, snippet);
            }
            out.push(Broken::files(format!("{what} in {path}"), changed));
        }
    }
    match dice.below(4) {
        0 => {
            let mut changed = files.clone();
            changed.insert("values.yaml".to_owned(), b"a: b\n c: d: e\n".to_vec());
            out.push(Broken::files("values.yaml is no YAML", changed));
        }
        1 => {
            let mut changed = files.clone();
            changed.insert(
                "Chart.yaml".to_owned(),
                b"apiVersion: v2\nname: broken\nversion: not a version\n".to_vec(),
            );
            out.push(Broken::files("Chart.yaml without a version", changed));
        }
        2 => out.push(Broken {
            name: "values file is no YAML".to_owned(),
            files: None,
            values: None,
            raw_values: Some("a:\n  - b\n c: {\n".to_owned()),
            set: None,
        }),
        _ => out.push(Broken {
            name: "--set without a value".to_owned(),
            files: None,
            values: None,
            raw_values: None,
            set: Some("a.b[0=c".to_owned()),
        }),
    }
    out
}

fn insert(content: &[u8], line: usize, snippet: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut lines = content.split_inclusive(|&byte| byte == b'\n');
    for part in lines.by_ref().take(line) {
        out.extend_from_slice(part);
    }
    if !out.is_empty() && !out.ends_with(b"\n") {
        out.push(b'\n');
    }
    out.extend_from_slice(snippet.as_bytes());
    out.push(b'\n');
    for part in lines {
        out.extend_from_slice(part);
    }
    out
}
