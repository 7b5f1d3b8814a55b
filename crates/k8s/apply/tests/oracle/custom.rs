//! Custom kinds of random schemas, in several versions, whose schemas change.

use std::borrow::Cow;

use k8s_apply::Versions;
use k8s_apply::schema::{Schemas, TypeRef, openapi_v3_type};
use serde_json::{Map, Value, json};

use crate::support::shapes;
use crate::support::{Rng, mutate};
use crate::{ask, cases, fix_times, rng, same, show, step};

/// Are two objects the same once they are stored? Where Kubernetes has null for a list or map that lost all it had, the server drops it.
fn same_stored(ours: &Value, theirs: &Value) -> bool {
    match (ours, theirs) {
        (Value::Object(a), Value::Object(b)) => {
            let of_both = a.iter().all(|(key, value)| match b.get(key) {
                Some(other) => same_stored(value, other),
                None => value.is_null(),
            });
            of_both
                && b.iter()
                    .all(|(key, value)| value.is_null() || a.contains_key(key))
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same_stored(a, b))
        }
        _ => same(ours, theirs),
    }
}

const V1: &str = "example.com/v1";
const V2: &str = "example.com/v2";
/// A version that was served once.
const GONE: &str = "example.com/v1alpha1";

/// A kind in two versions, in which one field has two names.
#[derive(Debug, Clone)]
struct Shape {
    schemas: [Value; 2],
}

fn called(api_version: &str) -> &'static str {
    if api_version == V1 { "size" } else { "count" }
}

impl Shape {
    fn schema_of(&self, api_version: &str) -> &Value {
        &self.schemas[usize::from(api_version == V2)]
    }

    /// The documents of both versions, as Kubernetes' type converter takes them.
    fn definitions(&self) -> Map<String, Value> {
        let meta = Schemas::builtin()
            .named("meta.v1.ObjectMeta")
            .expect("known");
        let mut all = openapi_v3_type(&meta, "Meta", None);
        for version in [V1, V2] {
            let short = version.rsplit('/').next().expect("one part");
            let mut schema = self.schema_of(version).clone();
            schema["properties"]["metadata"] = json!({"$ref": "#/components/schemas/Meta"});
            schema["x-kubernetes-group-version-kind"] =
                json!([{"group": "example.com", "version": short, "kind": "Shape"}]);
            all.insert(format!("com.example.{short}.Shape"), schema);
        }
        all
    }
}

impl Versions for Shape {
    fn schema(&self, api_version: &str) -> Option<TypeRef> {
        [V1, V2]
            .contains(&api_version)
            .then(|| TypeRef::from_crd_schema(self.schema_of(api_version)))
    }

    fn convert(&self, object: &Value, api_version: &str) -> Value {
        let (before, after) = (called(k8s_object::api_version(object)), called(api_version));
        let mut out = object.clone();
        out["apiVersion"] = api_version.into();
        if let (true, Some(spec)) = (
            before != after,
            out.get_mut("spec").and_then(Value::as_object_mut),
        ) && let Some(field) = spec.remove(before)
        {
            spec.insert(after.to_owned(), field);
        }
        out
    }
}

fn at<'a>(kind: &Shape, object: &'a Value, api_version: &str) -> Cow<'a, Value> {
    if k8s_object::api_version(object) == api_version {
        Cow::Borrowed(object)
    } else {
        Cow::Owned(kind.convert(object, api_version))
    }
}

/// Turns an entry of the object's owners into one of a version that nobody serves any more.
fn retire(rng: &mut Rng, object: &mut Value) {
    let entries = object
        .pointer_mut("/metadata/managedFields")
        .and_then(Value::as_array_mut);
    for entry in entries.into_iter().flatten() {
        if rng.chance(40) {
            entry["apiVersion"] = GONE.into();
        }
    }
}

/// What one step asks for, and what this crate said.
struct Step {
    question: Value,
    kind: Shape,
    now: String,
    ours: Result<Value, String>,
}

fn one_step(
    question: &Value,
    kind: &Shape,
    live: Option<&Value>,
    now: &str,
) -> Result<Value, String> {
    let api_version = question["APIVersion"].as_str().unwrap_or_default();
    let schema = Versions::schema(kind, api_version).expect("served");
    let live = live.map(|live| at(kind, live, api_version));
    let new = &question["New"];
    step(question, live.as_deref(), new, &schema, now, Some(kind))
}

fn history(case: u64) -> Vec<Step> {
    let mut rng = rng(9, case);
    let base = shapes::schema(&mut rng, "size");
    let other = match rng.chance(50) {
        true => shapes::vary(&mut rng, &base),
        false => base.clone(),
    };
    let mut kind = Shape {
        schemas: [base, shapes::rename(&other, "size", "count")],
    };
    let several = rng.chance(60);
    let mut live: Option<Value> = None;
    let mut steps = Vec::new();
    for number in 0..8 {
        if number > 2 && rng.chance(15) {
            kind.schemas = [
                shapes::vary(&mut rng, &kind.schemas[0]),
                shapes::vary(&mut rng, &kind.schemas[1]),
            ];
        }
        let api_version = if several && rng.chance(50) { V2 } else { V1 };
        let now = format!("2001-01-01T00:00:{number:02}Z");
        let is_apply = rng.chance(65);
        let made = shapes::object(&mut rng, kind.schema_of(api_version), api_version);
        let new = match &live {
            Some(live) if !is_apply => mutate(&mut rng, &at(&kind, live, api_version), &made),
            _ => made,
        };
        let mut question = json!({"Op": if is_apply { "apply" } else { "update" }, "Schema": "shape",
            "APIVersion": api_version, "Kind": "Shape", "Served": [V1, V2], "Called": {V1: called(V1), V2: called(V2)},
            "Manager": if is_apply { rng.pick(&["one", "two", "three"]) } else { rng.pick(&["one", "hpa", "edit"]) },
            "Force": rng.chance(45), "New": new});
        if let Some(live) = &mut live {
            if rng.chance(4) {
                retire(&mut rng, live);
            }
            question["Live"] = live.clone();
        }
        if rng.chance(20) {
            question["Reset"] = json!(["status"]);
        } else if rng.chance(10) {
            question["Subresource"] = "status".into();
            question["Reset"] = json!(["spec"]);
        }
        let ours = one_step(&question, &kind, live.as_ref(), &now);
        if let Ok(object) = &ours {
            // it is stored in one version
            let mut object = at(&kind, object, V1).into_owned();
            object["metadata"]["uid"] = "u".into();
            live = Some(object);
        }
        steps.push(Step {
            question,
            kind: kind.clone(),
            now,
            ours,
        });
    }
    steps
}

#[test]
fn random_kinds_in_several_versions_as_kubernetes_does() {
    let (mut steps_done, mut conflicts, mut refused, mut pruned) = (0, 0, 0, 0);
    let count = cases(1200) / 8;
    // in parts, so that the questions of many cases need not be in memory at once
    for part in (0..count).step_by(2000) {
        let steps: Vec<Step> = (part..count.min(part + 2000)).flat_map(history).collect();
        let mut questions = Vec::new();
        for step in &steps {
            questions.push(
                json!({"Op": "schema", "Schema": "shape", "Schemas": step.kind.definitions()}),
            );
            questions.push(step.question.clone());
        }
        let Some(answers) = ask("custom", &questions) else {
            return;
        };
        for (step, answers) in steps.iter().zip(answers.chunks(2)) {
            assert_eq!(answers[0].get("Error"), None, "{}", questions[0]);
            let mut theirs = answers[1].clone();
            let shown = || {
                format!(
                    "{}{}",
                    step.kind.schemas[0],
                    show(&step.question, &step.ours, &answers[1])
                )
            };
            match (&step.ours, theirs.get("Error").and_then(Value::as_str)) {
                (Ok(ours), None) => {
                    fix_times(&mut theirs["Out"], &step.now);
                    let theirs = at(&step.kind, &theirs["Out"], k8s_object::api_version(ours));
                    assert!(same_stored(ours, &theirs), "{}", shown());
                    pruned += usize::from(step.question["Op"] == "apply");
                }
                (Err(ours), Some(error)) if error.starts_with("Apply failed") => {
                    conflicts += 1;
                    assert_eq!(ours, error, "{}", shown());
                }
                (Err(ours), Some(error)) => {
                    refused += 1;
                    assert_eq!(
                        ours.split(':').next(),
                        error.split(':').next(),
                        "{}",
                        shown()
                    );
                }
                _ => panic!("{}", shown()),
            }
            steps_done += 1;
        }
    }
    eprintln!(
        "custom: {steps_done} steps the same, {pruned} applies, {conflicts} conflicts and {refused} refusals among them"
    );
    assert!(
        conflicts > steps_done / 50,
        "too few conflicts to prove anything"
    );
}
