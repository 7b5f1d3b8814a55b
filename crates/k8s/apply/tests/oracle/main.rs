//! The same questions to Kubernetes' own code (`oracle/smd`, in Go) and to this crate.
//!
//! Runs where `go` is on the PATH. `K8S_APPLY_CASES` sets the number of steps or patches of each test, `K8S_APPLY_SEED` makes them others.

#[path = "../support/any.rs"]
mod any;
mod custom;
mod json_patches;
#[path = "../support/mod.rs"]
mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use any::Documents;
use k8s_apply::fieldpath::FieldSet;
use k8s_apply::patch::{merge_patch, strategic_merge};
use k8s_apply::schema::{Schemas, TypeRef, openapi_v3, openapi_v3_type};
use k8s_apply::{
    ApplyOptions, LAST_APPLIED, UpdateOptions, Versions, adopt_managers, apply, track_update,
};
use k8s_object::Gvk;
use serde_json::{Value, json};
use support::{Rng, generate, mutate};

/// Steps or patches of one test; a history has some eight steps.
fn cases(default: u64) -> u64 {
    std::env::var("K8S_APPLY_CASES")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

/// Numbers for one case of one test.
fn rng(test: u64, case: u64) -> Rng {
    let seed: u64 = std::env::var("K8S_APPLY_SEED")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or_default();
    Rng::new(test ^ seed.rotate_left(32) ^ (case + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// Builds the oracle once; `None` where there is no Go.
fn binary() -> Option<&'static Path> {
    static BINARY: OnceLock<Option<PathBuf>> = OnceLock::new();
    let built = BINARY.get_or_init(|| {
        if Command::new("go").arg("version").output().is_err() {
            eprintln!(
                "SKIPPED: go is not on the PATH, so nothing is compared with Kubernetes' own code"
            );
            return None;
        }
        let binary = Path::new(env!("CARGO_TARGET_TMPDIR")).join("oracle-smd");
        let output = Command::new("go")
            .args(["build", "-o"])
            .arg(&binary)
            .arg(".")
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../oracle/smd"))
            .output()
            .expect("go runs");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        Some(binary)
    });
    built.as_deref()
}

/// Asks the oracle; `None` where there is none.
fn ask(name: &str, questions: &[Value]) -> Option<Vec<Value>> {
    let binary = binary()?;
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (input, output) = (
        folder.join(format!("{name}.in")),
        folder.join(format!("{name}.out")),
    );
    let lines: String = questions.iter().map(|q| format!("{q}\n")).collect();
    std::fs::write(&input, lines).expect("writes the questions");
    let status = Command::new(binary)
        .stdin(std::fs::File::open(&input).expect("reads"))
        .stdout(std::fs::File::create(&output).expect("writes"))
        // it logs what it cannot track, which is compared too
        .stderr(std::fs::File::create(folder.join(format!("{name}.err"))).expect("writes"))
        .status()
        .expect("the oracle runs");
    assert!(status.success());
    let text = std::fs::read_to_string(&output).expect("reads the answers");
    let answers: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("an answer is JSON"))
        .collect();
    assert_eq!(answers.len(), questions.len());
    Some(answers)
}

/// Are two objects the same, where Kubernetes may have null for what lost its last part and we an empty list or map?
fn same(ours: &Value, theirs: &Value) -> bool {
    match (ours, theirs) {
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter()
                    .all(|(key, value)| b.get(key).is_some_and(|other| same(value, other)))
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Value::Object(a), Value::Null) => a.is_empty(),
        (Value::Array(a), Value::Null) => a.is_empty(),
        _ => ours == theirs,
    }
}

/// Sets the times that the oracle took from its clock to the time of the question.
fn fix_times(object: &mut Value, now: &str) {
    let entries = object
        .pointer_mut("/metadata/managedFields")
        .and_then(Value::as_array_mut);
    for entry in entries.into_iter().flatten() {
        if entry["time"]
            .as_str()
            .is_some_and(|time| !time.starts_with("2001"))
        {
            entry["time"] = now.into();
        }
    }
}

fn managed(object: &Value) -> Value {
    object["metadata"]["managedFields"].clone()
}

fn show(question: &Value, ours: &Result<Value, String>, theirs: &Value) -> String {
    format!(
        "\nquestion: {question}\n\nours:   {}\n\ntheirs: {theirs}\n",
        match ours {
            Ok(value) => value.to_string(),
            Err(error) => error.clone(),
        }
    )
}

struct Step {
    now: String,
    ours: Result<Value, String>,
}

/// Takes one step of a history.
fn step(
    question: &Value,
    live: Option<&Value>,
    new: &Value,
    schema: &TypeRef,
    now: &str,
    versions: Option<&dyn Versions>,
) -> Result<Value, String> {
    let text = |key: &str| question[key].as_str().unwrap_or_default();
    let reset: Option<FieldSet> = question["Reset"].as_array().map(|paths| {
        let paths: Vec<&str> = paths.iter().filter_map(Value::as_str).collect();
        FieldSet::of_fields(&paths)
    });
    if text("Op") == "apply" {
        let options = ApplyOptions {
            manager: text("Manager"),
            force: question["Force"] == true,
            subresource: text("Subresource"),
            now,
            schema: schema.clone(),
            reset_fields: reset.as_ref(),
            versions,
        };
        apply(live, new, &options).map_err(|error| error.to_string())
    } else {
        let options = UpdateOptions {
            manager: text("Manager"),
            subresource: text("Subresource"),
            now,
            schema: schema.clone(),
            reset_fields: reset.as_ref(),
            versions,
        };
        Ok(track_update(live, new, &options))
    }
}

/// Makes histories of one kind of object: applies and updates by several managers.
fn histories(
    count: u64,
    seed: u64,
    kinds: &[(&str, &str)],
    schema_name: &str,
    typed: bool,
    schema_of: impl Fn(&Gvk) -> TypeRef,
    make: impl Fn(&mut Rng, &str, &str) -> Value,
) -> (Vec<Value>, Vec<Step>) {
    let (mut questions, mut steps) = (Vec::new(), Vec::new());
    for case in 0..count {
        let mut rng = rng(seed, case);
        let (api_version, kind) = *rng.pick(kinds);
        let schema = schema_of(&Gvk::new(api_version, kind));
        let mut live: Option<Value> = None;
        let length = if rng.chance(5) { 30 } else { 7 };
        for number in 0..length {
            let now = format!("2001-01-01T00:{:02}:{:02}Z", number / 60, number % 60);
            let is_apply = length == 7 && rng.chance(60);
            let new = if is_apply {
                make(&mut rng, api_version, kind)
            } else {
                match &live {
                    None => make(&mut rng, api_version, kind),
                    Some(live) => {
                        let other = make(&mut rng, api_version, kind);
                        mutate(&mut rng, live, &other)
                    }
                }
            };
            let by_kubectl = !is_apply && length == 7 && rng.chance(30);
            let new = if by_kubectl {
                // kubectl's client-side apply, with its annotation
                let config = make(&mut rng, api_version, kind);
                let mut new = merge_patch(live.as_ref().unwrap_or(&json!({})), &config);
                if !new["metadata"]["annotations"].is_object() {
                    new["metadata"]["annotations"] = json!({});
                }
                new["metadata"]["annotations"][LAST_APPLIED] = config.to_string().into();
                new
            } else {
                new
            };
            let mut new = new;
            if !is_apply && rng.chance(8) {
                // a reset, an entry that cannot be read, nothing, or entries of the client's own
                new["metadata"]["managedFields"] = rng
                    .pick(&[
                        json!([{}]),
                        json!([]),
                        json!([{"manager": "x", "operation": "Delete"}]),
                        json!(null),
                        json!([{"manager": "other", "operation": "Update", "apiVersion": api_version,
                            "fieldsType": "FieldsV1", "fieldsV1": {"f:metadata": {"f:labels": {}}}}]),
                    ])
                    .clone();
            }
            let manager = if by_kubectl {
                "kubectl-client-side-apply".to_owned()
            } else if is_apply {
                rng.pick(&["one", "two", "three", "kubectl", ""])
                    .to_string()
            } else if length == 7 {
                rng.pick(&["one", "hpa", "kubectl-edit"]).to_string()
            } else {
                format!("updater-{:02}", rng.below(16))
            };
            let mut question = json!({"Op": if is_apply { "apply" } else { "update" }, "Schema": schema_name, "Typed": typed,
                "APIVersion": api_version, "Kind": kind, "Manager": manager, "Force": rng.chance(40), "New": new});
            if let Some(live) = &live {
                question["Live"] = live.clone();
            }
            if rng.chance(20) {
                question["Reset"] = json!(["status"]);
            } else if rng.chance(10) {
                question["Subresource"] = "status".into();
                question["Reset"] = json!(["spec", "data"]);
            }
            let ours = step(&question, live.as_ref(), &new, &schema, &now, None);
            if let Ok(object) = &ours {
                let mut object = object.clone();
                object["metadata"]["uid"] = "u".into();
                if rng.chance(5) {
                    // an object that nobody tracked
                    object["metadata"]
                        .as_object_mut()
                        .expect("map")
                        .remove("managedFields");
                }
                live = Some(object);
            }
            questions.push(question);
            steps.push(Step { now, ours });
        }
    }
    (questions, steps)
}

fn compare(name: &str, mut questions: Vec<Value>, steps: &[Step], first: &[Value]) {
    let mut all = first.to_vec();
    all.append(&mut questions);
    let Some(answers) = ask(name, &all) else {
        return;
    };
    for (at, answer) in answers[..first.len()].iter().enumerate() {
        assert_eq!(answer.get("Error"), None, "preparation {at}");
    }
    let (mut conflicts, mut refused) = (0, 0);
    for ((question, step), theirs) in all[first.len()..]
        .iter()
        .zip(steps)
        .zip(&answers[first.len()..])
    {
        let mut theirs = theirs.clone();
        match (&step.ours, theirs.get("Error").and_then(Value::as_str)) {
            (Ok(ours), None) => {
                fix_times(&mut theirs["Out"], &step.now);
                assert!(
                    same(ours, &theirs["Out"]),
                    "{}",
                    show(question, &step.ours, &theirs)
                );
            }
            (Err(ours), Some(error)) => {
                if error.starts_with("Apply failed") {
                    conflicts += 1;
                    assert_eq!(ours, error, "{}", show(question, &step.ours, &theirs));
                } else {
                    refused += 1;
                    assert_eq!(ours.split(':').next(), error.split(':').next());
                }
            }
            _ => panic!("{}", show(question, &step.ours, &theirs)),
        }
    }
    eprintln!(
        "{name}: {} steps the same, {conflicts} conflicts and {refused} refusals among them",
        steps.len()
    );
    assert!(
        conflicts > steps.len() / 100,
        "too few conflicts to prove anything"
    );
}

const BUILTIN: &[(&str, &str)] = &[
    ("apps/v1", "Deployment"),
    ("v1", "Service"),
    ("v1", "ConfigMap"),
    ("v1", "Pod"),
];

#[test]
fn builtin_kinds_as_kubernetes_does() {
    let schema = |gvk: &Gvk| Schemas::builtin().lookup(gvk).expect("known").literal();
    let (questions, steps) = histories(
        cases(2000) / 8,
        1,
        BUILTIN,
        "builtin",
        false,
        schema,
        generate,
    );
    compare("builtin", questions, &steps, &[]);
}

#[test]
fn kinds_without_schema_as_kubernetes_does() {
    let schema = |_: &Gvk| TypeRef::deduced();
    let (questions, steps) = histories(
        cases(800) / 8,
        2,
        BUILTIN,
        "deduced",
        false,
        schema,
        generate,
    );
    compare("deduced", questions, &steps, &[]);
}

#[test]
fn custom_kinds_as_kubernetes_does() {
    let gvk = Gvk::new("example.com/v1", "Widget");
    let ty = TypeRef::from_crd_schema(&support::widget_schema());
    let schemas = openapi_v3_type(&ty, "com.example.v1.Widget", Some(&gvk));
    let prepare = json!({"Op": "schema", "Schema": "widget", "Schemas": schemas});
    let kinds = [("example.com/v1", "Widget")];
    let (questions, steps) = histories(
        cases(1600) / 8,
        3,
        &kinds,
        "widget",
        false,
        |_| ty.clone(),
        generate,
    );
    compare("widget", questions, &steps, &[prepare]);
}

/// The OpenAPI document made from the table, read by Kubernetes, means what the table means.
#[test]
fn open_api_of_the_table_means_the_same() {
    let builtin = Schemas::builtin();
    let document = openapi_v3(builtin, "apps", "v1");
    let schemas = &document["components"]["schemas"];
    let prepare = json!({"Op": "schema", "Schema": "ours", "Schemas": schemas});
    let schema = |gvk: &Gvk| builtin.lookup(gvk).expect("known").literal();
    let kinds = [("apps/v1", "Deployment")];
    let (questions, steps) = histories(cases(480) / 8, 7, &kinds, "ours", false, schema, generate);
    compare("openapi", questions, &steps, &[prepare]);
}

/// The API server keeps structs: what they hold even when empty is owned by nobody.
#[test]
fn tracks_typed_objects_as_kubernetes_does() {
    let schema = |gvk: &Gvk| Schemas::builtin().lookup(gvk).expect("known");
    let (questions, steps) = histories(
        cases(960) / 8,
        4,
        BUILTIN,
        "builtin",
        true,
        schema,
        generate,
    );
    let Some(answers) = ask("typed", &questions) else {
        return;
    };
    let mut same = 0;
    for ((question, earlier), theirs) in questions.iter().zip(&steps).zip(&answers) {
        if theirs.get("Error").is_some() {
            continue;
        }
        let mut theirs = theirs.clone();
        fix_times(&mut theirs["Out"], &earlier.now);
        let gvk = Gvk::of(&question["New"]).expect("has a kind");
        let schema = Schemas::builtin().lookup(&gvk).expect("known");
        let live = theirs.get("Live").filter(|live| live.is_object()).cloned();
        let new = theirs
            .get("New")
            .filter(|new| new.is_object())
            .unwrap_or(&question["New"]);
        // an empty list is lost on the way through Kubernetes' structs, and says more than none
        let mut new = new.clone();
        if let Some(entries) = question["New"]["metadata"].get("managedFields") {
            new["metadata"]["managedFields"] = entries.clone();
        }
        let ours = step(question, live.as_ref(), &new, &schema, &earlier.now, None);
        let ok = ours
            .as_ref()
            .is_ok_and(|ours| managed(ours) == managed(&theirs["Out"]));
        assert!(ok, "{}", show(question, &ours, &theirs));
        same += 1;
    }
    eprintln!("typed: {same} steps the same");
    assert!(same > questions.len() / 2);
}

/// Leaves out what Kubernetes loses when it reads its own result: nulls, and directives that it forgot.
fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(map) => map
            .iter()
            .filter(|(key, value)| {
                !value.is_null() && !key.starts_with('$') && value.get("$patch").is_none()
            })
            .map(|(key, value)| (key.clone(), without_nulls(value)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        Value::Array(items) => items
            .iter()
            .filter(|item| item.get("$patch").is_none())
            .map(without_nulls)
            .collect(),
        _ => value.clone(),
    }
}

#[test]
fn strategic_merge_as_kubernetes_does() {
    let documents = Documents::of(EVERYTHING);
    let mut questions = Vec::new();
    for case in 0..cases(1000) {
        let mut rng = rng(5, case);
        let any = rng.chance(30);
        let (api_version, kind) = *rng.pick(if any { EVERYTHING } else { BUILTIN });
        let generate = |rng: &mut Rng, api_version: &str, kind: &str| match any {
            true => documents.generate(rng, api_version, kind),
            false => generate(rng, api_version, kind),
        };
        // what is stored has no nulls; Kubernetes refuses some where they are
        let live = without_nulls(&generate(&mut rng, api_version, kind));
        let other = generate(&mut rng, api_version, kind);
        let (op, new) = if any || rng.chance(50) {
            ("twoway", without_nulls(&mutate(&mut rng, &live, &other)))
        } else {
            (
                "strategic",
                support::strategic_patch(&mut rng, api_version, kind),
            )
        };
        questions.push(
            json!({"Op": op, "APIVersion": api_version, "Kind": kind, "Live": live, "New": new}),
        );
    }
    let Some(answers) = ask("strategic", &questions) else {
        return;
    };
    let mut refused = 0;
    for (question, theirs) in questions.iter().zip(&answers) {
        let gvk = Gvk::new(
            question["APIVersion"].as_str().expect("set"),
            question["Kind"].as_str().expect("set"),
        );
        let schema = Schemas::builtin().lookup(&gvk).expect("known");
        let patch = match theirs.get("New") {
            Some(patch) if !patch.is_null() => patch,
            _ if question["Op"] == "twoway" => &json!({}),
            _ => &question["New"],
        };
        let ours =
            strategic_merge(&question["Live"], patch, &schema).map_err(|error| error.to_string());
        match (&ours, theirs.get("Error")) {
            (Ok(ours_value), None) => assert!(
                without_nulls(ours_value) == without_nulls(&theirs["Out"]),
                "{}",
                show(question, &ours, theirs)
            ),
            (Err(_), Some(_)) => refused += 1,
            _ => panic!("{}", show(question, &ours, theirs)),
        }
    }
    eprintln!(
        "strategic: {} patches the same, {refused} refused by both",
        questions.len()
    );
    assert!(refused < questions.len() / 4);
}

const EVERYTHING: &[(&str, &str)] = &[
    (
        "admissionregistration.k8s.io/v1",
        "ValidatingAdmissionPolicy",
    ),
    (
        "admissionregistration.k8s.io/v1",
        "ValidatingWebhookConfiguration",
    ),
    ("apps/v1", "DaemonSet"),
    ("apps/v1", "ReplicaSet"),
    ("apps/v1", "StatefulSet"),
    ("autoscaling/v2", "HorizontalPodAutoscaler"),
    ("batch/v1", "CronJob"),
    ("batch/v1", "Job"),
    ("certificates.k8s.io/v1", "CertificateSigningRequest"),
    ("coordination.k8s.io/v1", "Lease"),
    ("discovery.k8s.io/v1", "EndpointSlice"),
    ("flowcontrol.apiserver.k8s.io/v1", "FlowSchema"),
    ("networking.k8s.io/v1", "Ingress"),
    ("networking.k8s.io/v1", "NetworkPolicy"),
    ("node.k8s.io/v1", "RuntimeClass"),
    ("policy/v1", "PodDisruptionBudget"),
    ("rbac.authorization.k8s.io/v1", "ClusterRole"),
    ("rbac.authorization.k8s.io/v1", "RoleBinding"),
    ("resource.k8s.io/v1", "ResourceClaim"),
    ("scheduling.k8s.io/v1", "PriorityClass"),
    ("storage.k8s.io/v1", "StorageClass"),
    ("storage.k8s.io/v1", "VolumeAttachment"),
    ("v1", "Endpoints"),
    ("v1", "Event"),
    ("v1", "LimitRange"),
    ("v1", "Namespace"),
    ("v1", "Node"),
    ("v1", "PersistentVolume"),
    ("v1", "PersistentVolumeClaim"),
    ("v1", "Pod"),
    ("v1", "PodTemplate"),
    ("v1", "ReplicationController"),
    ("v1", "ResourceQuota"),
    ("v1", "Secret"),
    ("v1", "ServiceAccount"),
];

/// Every field of the table may stand in these objects.
#[test]
fn every_kind_as_kubernetes_does() {
    let documents = Documents::of(EVERYTHING);
    let schema = |gvk: &Gvk| Schemas::builtin().lookup(gvk).expect("known").literal();
    let make =
        |rng: &mut Rng, api_version: &str, kind: &str| documents.generate(rng, api_version, kind);
    let (questions, steps) = histories(
        cases(1200) / 8,
        8,
        EVERYTHING,
        "builtin",
        false,
        schema,
        make,
    );
    compare("everything", questions, &steps, &[]);
}

#[test]
fn adoption_as_client_go_does() {
    let schema = |gvk: &Gvk| Schemas::builtin().lookup(gvk).expect("known").literal();
    let (_, steps) = histories(
        cases(800) / 8,
        6,
        BUILTIN,
        "builtin",
        false,
        schema,
        generate,
    );
    let from = ["hpa", "kubectl-edit", "nobody"];
    // client-go leaves appliers alone, so none of these is one
    let lives: Vec<&Value> = steps
        .iter()
        .filter_map(|step| step.ours.as_ref().ok())
        .collect();
    let questions: Vec<Value> = lives
        .iter()
        .map(|live| json!({"Op": "csa", "Live": live, "From": from, "Manager": "one"}))
        .collect();
    let Some(answers) = ask("csa", &questions) else {
        return;
    };
    for ((live, question), theirs) in lives.iter().zip(&questions).zip(&answers) {
        let ours = adopt_managers(live, &from, "one", &TypeRef::deduced());
        // client-go keeps the order of entries and the time of one of them
        let entries = |object: &Value| {
            let mut entries: Vec<Value> = managed(object).as_array().cloned().unwrap_or_default();
            entries
                .iter_mut()
                .for_each(|entry| entry["time"] = Value::Null);
            entries.sort_by_key(Value::to_string);
            entries
        };
        assert_eq!(
            entries(&ours),
            entries(&theirs["Out"]),
            "{}",
            show(question, &Ok(ours.clone()), theirs)
        );
    }
}
