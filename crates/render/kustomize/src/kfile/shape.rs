//! Which fields there are, and of which types; names are found whatever their case.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::Part;

/// What stands somewhere.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Shape {
    Str,
    Bool,
    Int,
    /// Anything.
    Any,
    /// A map of anything.
    Object,
    /// A map of strings.
    Strs,
    List(&'static Shape),
    Map(&'static [(&'static str, Shape)]),
}

use Shape::{Any, Bool, Int, List, Object, Str, Strs};

/// What becomes of fields that nobody knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// They are errors.
    Strict,
    /// They are left out.
    Loose,
}

const STRINGS: Shape = List(&Str);
const META: Shape = Shape::Map(&[
    ("name", Str),
    ("namespace", Str),
    ("labels", Strs),
    ("annotations", Strs),
]);
const SPEC: Shape = Shape::Map(&[
    ("group", Str),
    ("version", Str),
    ("kind", Str),
    ("path", Str),
    ("create", Bool),
]);
pub(crate) const SPECS: Shape = List(&SPEC);
const LABELS: Shape = List(&Shape::Map(&[
    ("pairs", Strs),
    ("includeSelectors", Bool),
    ("includeTemplates", Bool),
    ("fields", SPECS),
]));
pub(crate) const SELECTOR: Shape = Shape::Map(&[
    ("group", Str),
    ("version", Str),
    ("kind", Str),
    ("name", Str),
    ("namespace", Str),
    ("annotationSelector", Str),
    ("labelSelector", Str),
]);
const PATCH_OPTIONS: Shape = Shape::Map(&[("allowNameChange", Bool), ("allowKindChange", Bool)]);
const PATCH: Shape = Shape::Map(&[
    ("path", Str),
    ("patch", Str),
    ("target", SELECTOR),
    ("options", PATCH_OPTIONS),
]);
const IMAGE: Shape = Shape::Map(&[
    ("name", Str),
    ("newName", Str),
    ("tagSuffix", Str),
    ("newTag", Str),
    ("digest", Str),
]);
const FIELD_OPTIONS: Shape = Shape::Map(&[
    ("delimiter", Str),
    ("index", Int),
    ("encoding", Str),
    ("create", Bool),
]);
const SOURCE: Shape = Shape::Map(&[
    ("group", Str),
    ("version", Str),
    ("kind", Str),
    ("name", Str),
    ("namespace", Str),
    ("fieldPath", Str),
    ("options", FIELD_OPTIONS),
]);
const TARGETS: Shape = List(&Shape::Map(&[
    ("select", SELECTOR),
    ("reject", List(&SELECTOR)),
    ("fieldPaths", STRINGS),
    ("options", FIELD_OPTIONS),
]));
pub(crate) const REPLACEMENT: Shape = Shape::Map(&[
    ("path", Str),
    ("source", SOURCE),
    ("targets", TARGETS),
    ("sourceValue", Str),
]);
const REPLICA: Shape = Shape::Map(&[("name", Str), ("count", Int)]);
const VAR: Shape = Shape::Map(&[
    ("name", Str),
    (
        "objref",
        Shape::Map(&[
            ("apiVersion", Str),
            ("group", Str),
            ("version", Str),
            ("kind", Str),
            ("name", Str),
            ("namespace", Str),
        ]),
    ),
    ("fieldref", Shape::Map(&[("fieldPath", Str)])),
]);
const SORT: Shape = Shape::Map(&[
    ("order", Str),
    (
        "legacySortOptions",
        Shape::Map(&[("orderFirst", STRINGS), ("orderLast", STRINGS)]),
    ),
]);
const GENERATOR_OPTIONS: Shape = Shape::Map(&[
    ("labels", Strs),
    ("annotations", Strs),
    ("disableNameSuffixHash", Bool),
    ("immutable", Bool),
]);
const CONFIG_MAP: Shape = Shape::Map(&[
    ("namespace", Str),
    ("name", Str),
    ("behavior", Str),
    ("literals", STRINGS),
    ("files", STRINGS),
    ("envs", STRINGS),
    ("env", Str),
    ("options", GENERATOR_OPTIONS),
]);
const SECRET: Shape = Shape::Map(&[
    ("namespace", Str),
    ("name", Str),
    ("behavior", Str),
    ("literals", STRINGS),
    ("files", STRINGS),
    ("envs", STRINGS),
    ("env", Str),
    ("options", GENERATOR_OPTIONS),
    ("type", Str),
]);
const HELM_CHART: Shape = Shape::Map(&[
    ("name", Str),
    ("version", Str),
    ("repo", Str),
    ("releaseName", Str),
    ("namespace", Str),
    ("additionalValuesFiles", STRINGS),
    ("valuesFile", Str),
    ("valuesInline", Object),
    ("valuesMerge", Str),
    ("includeCRDs", Bool),
    ("skipHooks", Bool),
    ("apiVersions", STRINGS),
    ("kubeVersion", Str),
    ("nameTemplate", Str),
    ("skipTests", Bool),
    ("debug", Bool),
    ("devel", Bool),
]);
const OLD_HELM_CHART: Shape = Shape::Map(&[
    ("chartName", Str),
    ("chartVersion", Str),
    ("chartRepoUrl", Str),
    ("chartHome", Str),
    ("chartRepoName", Str),
    ("helmBin", Str),
    ("helmHome", Str),
    ("values", Str),
    ("valuesLocal", Object),
    ("valuesMerge", Str),
    ("releaseName", Str),
    ("releaseNamespace", Str),
    ("extraArgs", STRINGS),
]);

impl Shape {
    /// A kustomization file.
    pub(crate) const KUSTOMIZATION: Self = Self::Map(&[
        ("kind", Str),
        ("apiVersion", Str),
        ("metadata", META),
        ("openapi", Strs),
        ("namePrefix", Str),
        ("nameSuffix", Str),
        ("namespace", Str),
        ("commonLabels", Strs),
        ("labels", LABELS),
        ("commonAnnotations", Strs),
        ("patchesStrategicMerge", STRINGS),
        ("patchesJson6902", List(&PATCH)),
        ("patches", List(&PATCH)),
        ("images", List(&IMAGE)),
        ("imageTags", List(&IMAGE)),
        ("replacements", List(&REPLACEMENT)),
        ("replicas", List(&REPLICA)),
        ("vars", List(&VAR)),
        ("sortOptions", SORT),
        ("resources", STRINGS),
        ("components", STRINGS),
        ("crds", STRINGS),
        ("bases", STRINGS),
        ("configMapGenerator", List(&CONFIG_MAP)),
        ("secretGenerator", List(&SECRET)),
        (
            "helmGlobals",
            Self::Map(&[("chartHome", Str), ("configHome", Str)]),
        ),
        ("helmCharts", List(&HELM_CHART)),
        ("helmChartInflationGenerator", List(&OLD_HELM_CHART)),
        ("generatorOptions", GENERATOR_OPTIONS),
        ("configurations", STRINGS),
        ("generators", STRINGS),
        ("transformers", STRINGS),
        ("validators", STRINGS),
        ("buildMetadata", STRINGS),
    ]);

    /// A file of field paths.
    pub(crate) const CONFIGURATION: Self = Self::Map(&[
        ("namePrefix", SPECS),
        ("nameSuffix", SPECS),
        ("namespace", SPECS),
        ("commonLabels", SPECS),
        ("labels", SPECS),
        ("templateLabels", SPECS),
        ("commonAnnotations", SPECS),
        (
            "nameReference",
            List(&Self::Map(&[
                ("group", Str),
                ("version", Str),
                ("kind", Str),
                ("fieldSpecs", SPECS),
            ])),
        ),
        ("varReference", SPECS),
        ("images", SPECS),
        ("replicas", SPECS),
    ]);

    /// What configures a built-in generator or transformer, all kinds of them together.
    pub(crate) const PLUGIN: Self = Self::Map(&[
        ("metadata", META),
        ("labels", Strs),
        ("annotations", Strs),
        ("fieldSpecs", SPECS),
        ("unsetOnly", Bool),
        ("setRoleBindingSubjects", Str),
        ("prefix", Str),
        ("suffix", Str),
        ("imageTag", IMAGE),
        ("replica", REPLICA),
        ("paths", STRINGS),
        ("patches", Str),
        ("path", Str),
        ("patch", Str),
        ("jsonOp", Str),
        ("target", SELECTOR),
        ("options", Any),
        ("replacements", List(&REPLACEMENT)),
        ("value", Str),
        (
            "targets",
            List(&Self::Map(&[
                ("selector", SELECTOR),
                ("fieldPath", Str),
                ("filePathPosition", Int),
            ])),
        ),
        ("targetFilePath", Str),
    ]);

    /// What a generator of ConfigMaps or Secrets is configured with.
    pub(crate) const DATA_GENERATOR: Self = SECRET;

    /// A chart with the globals beside it.
    pub(crate) const CHART: Self = HELM_CHART;

    /// A replacement.
    pub(crate) const REPLACEMENT: Self = REPLACEMENT;
}

/// Why a value is not what is wanted, and where.
pub(crate) type Misfit = (Vec<Part>, String);

/// Reads a value of a shape.
pub(crate) fn read<T: DeserializeOwned>(
    value: Value,
    shape: &Shape,
    mode: Mode,
) -> Result<T, Misfit> {
    let mut at = Vec::new();
    let fitted = match fit(value, shape, mode, &mut at) {
        Ok(fitted) => fitted.unwrap_or_else(|| Value::Object(Map::new())),
        Err(text) => return Err((at, text)),
    };
    serde_json::from_value(fitted).map_err(|error| (Vec::new(), error.to_string()))
}

/// Makes a value fit a shape; nothing is left of null.
fn fit(
    value: Value,
    shape: &Shape,
    mode: Mode,
    at: &mut Vec<Part>,
) -> Result<Option<Value>, String> {
    let found = match &value {
        Value::Null => return Ok(None),
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    };
    let wanted = match (shape, value) {
        (Str, value @ Value::String(_))
        | (Bool, value @ Value::Bool(_))
        | (Any, value)
        | (Object, value @ Value::Object(_)) => return Ok(Some(value)),
        (Int, Value::Number(number)) => {
            let whole = number
                .as_f64()
                .filter(|f| f.fract() == 0.0 && f.abs() < 1e15);
            #[expect(
                clippy::cast_possible_truncation,
                reason = "a whole number below 10^15"
            )]
            let int = number.as_i64().or(whole.map(|f| f as i64));
            match int {
                Some(int) => return Ok(Some(int.into())),
                None => "an integer",
            }
        }
        (Strs, Value::Object(map)) => {
            let mut out = Map::new();
            for (name, value) in map {
                at.push(Part::Field(name.clone()));
                let text = fit(value, &Str, mode, at)?;
                at.pop();
                out.insert(name, text.unwrap_or_else(|| Value::String(String::new())));
            }
            return Ok(Some(Value::Object(out)));
        }
        (List(inner), Value::Array(items)) => {
            let mut out = Vec::new();
            for (number, item) in items.into_iter().enumerate() {
                at.push(Part::Index(number));
                let empty = match inner {
                    Str => Value::String(String::new()),
                    _ => Value::Object(Map::new()),
                };
                out.push(fit(item, inner, mode, at)?.unwrap_or(empty));
                at.pop();
            }
            return Ok(Some(Value::Array(out)));
        }
        (Shape::Map(fields), Value::Object(map)) => {
            let mut out = Map::new();
            for (name, value) in map {
                let known = fields.iter().find(|(known, _)| *known == name);
                let folded = || fields.iter().find(|(known, _)| same(known, &name));
                at.push(Part::Field(name.clone()));
                match known.or_else(folded) {
                    Some((known, shape)) => {
                        if let Some(value) = fit(value, shape, mode, at)? {
                            out.insert((*known).to_owned(), value);
                        }
                    }
                    None if mode == Mode::Loose => {}
                    None => return Err(unknown(&name, fields)),
                }
                at.pop();
            }
            return Ok(Some(Value::Object(out)));
        }
        (Str, _) => "a string",
        (Bool, _) => "true or false",
        (Int, _) => "an integer",
        (List(_), _) => "a list",
        (Shape::Map(_) | Strs | Object, _) => "a map",
    };
    Err(format!("expected {wanted}, found {found}"))
}

fn same(a: &str, b: &str) -> bool {
    // Go folds two letters beyond ASCII into k and s
    let fold = |c: char| match c {
        '\u{212a}' => 'k',
        '\u{17f}' => 's',
        c => c.to_ascii_lowercase(),
    };
    a.chars().map(fold).eq(b.chars().map(fold))
}

fn unknown(name: &str, fields: &[(&str, Shape)]) -> String {
    let near = fields.iter().min_by_key(|(known, _)| distance(known, name));
    match near {
        Some((near, _)) if distance(near, name) <= 1 + near.len() / 4 => {
            format!("there is no field {name:?}; did you mean {near:?}?")
        }
        _ => format!("there is no field {name:?}"),
    }
}

/// How many letters differ.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut corner = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let cost = usize::from(!x.eq_ignore_ascii_case(y));
            let next = (corner + cost).min(row[j] + 1).min(row[j + 1] + 1);
            corner = row[j + 1];
            row[j + 1] = next;
        }
    }
    row[b.len()]
}
