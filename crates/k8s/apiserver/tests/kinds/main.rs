//! Every built-in kind, in the least form and with optional parts, as the real kube-apiserver fills it in and refuses it.
//!
//! `bodies.yaml` holds what is sent, `bodies.real.json` and `refusals.real.json` what kube-apiserver answered. Where it is built
//! (`cargo xtask oracle build`) it is asked again; `UPDATE_EXPECT=1` writes its answers anew.

mod conflicts;
mod discovery;
mod mask;
mod mutate;
mod servers;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use k8s_apiserver::{Apply, Catalog, FieldValidation, Predictor};
use oracle_cluster::RealCluster;
use serde_json::{Value, json};

use mutate::Case;
use servers::{Ask, Ours, Sent};

/// Where what is sent lives.
const NAMESPACE: &str = "kinds";

/// How many broken bodies are recorded.
const RECORDED: usize = 1000;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kinds")
}

fn text(object: &Value, pointer: &str) -> String {
    let found = object.pointer(pointer).and_then(Value::as_str);
    found.unwrap_or_default().to_owned()
}

fn title(object: &Value) -> String {
    format!(
        "{} {} {}",
        text(object, "/apiVersion"),
        text(object, "/kind"),
        text(object, "/metadata/name")
    )
}

/// The path of a kind's objects; `None` for a kind that this server does not know.
fn path_of(catalog: &Catalog, object: &Value) -> Option<String> {
    let api_version = text(object, "/apiVersion");
    let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
    let def = catalog.by_kind(group, version, &text(object, "/kind"))?;
    let root = if group.is_empty() { "/api" } else { "/apis" };
    let space = if def.namespaced {
        let own = text(object, "/metadata/namespace");
        let own = if own.is_empty() { NAMESPACE } else { &own };
        format!("namespaces/{own}/")
    } else {
        String::new()
    };
    Some(format!("{root}/{api_version}/{space}{}", def.plural))
}

fn bodies() -> Vec<Value> {
    let text = std::fs::read_to_string(folder().join("bodies.yaml")).expect("the bodies");
    let documents = base_yaml::parse_documents(&text, "bodies.yaml").expect("the bodies");
    documents
        .into_iter()
        .map(|document| document.value)
        .collect()
}

/// What every server has before.
fn prepare(server: &dyn Ask, namespace: &str) {
    let namespace_ =
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
    server.ask(&Sent::json(
        "POST",
        "/api/v1/namespaces".to_owned(),
        &namespace_,
    ));
    let account =
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}});
    let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts");
    server.ask(&Sent::json("POST", path, &account));
}

fn ask(server: &dyn Ask, sent: &Sent) -> Value {
    let mut found = server.ask(sent);
    mask::hide(&mut found);
    found
}

/// Creates everything, and reads it back.
fn create_all(server: &dyn Ask) -> BTreeMap<String, Value> {
    prepare(server, NAMESPACE);
    // limits and quotas would reach into other bodies
    prepare(server, "aside");
    let catalog = Catalog::kubernetes();
    let mut out = BTreeMap::new();
    for body in bodies() {
        let Some(path) = path_of(&catalog, &body) else {
            panic!("{} is not served", title(&body));
        };
        let made = ask(server, &Sent::json("POST", path.clone(), &body));
        let one = format!("{path}/{}", text(&body, "/metadata/name"));
        let read = ask(server, &Sent::json("GET", one, &Value::Null));
        out.insert(title(&body), json!({"created": made, "read": read}));
    }
    out
}

fn real() -> Option<RealCluster> {
    let started = RealCluster::start_with(|settings| {
        settings.controllers = false;
        settings.scheduler = false;
    });
    started.expect("a control plane")
}

fn recorded(name: &str) -> BTreeMap<String, Value> {
    let text = std::fs::read_to_string(folder().join(name))
        .unwrap_or_else(|error| panic!("{name}: {error}: UPDATE_EXPECT=1 writes it"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Holds what was answered against what is recorded, or records it.
fn record(name: &str, found: &BTreeMap<String, Value>) {
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        let lines: Vec<String> = found
            .iter()
            .map(|(title, answer)| format!("{}: {answer}", json!(title)))
            .collect();
        let text = format!("{{\n{}\n}}\n", lines.join(",\n"));
        std::fs::write(folder().join(name), text).expect("writes");
        return;
    }
    verdict(&recorded(name), found);
}

/// Where the codes differ the messages say all.
fn compare(expected: &Value, found: &Value, places: &mut Vec<String>) {
    let pair = |key: &str| (&expected[key], &found[key]);
    for key in ["created", "read"] {
        if !pair(key).0.is_null() {
            compare(pair(key).0, pair(key).1, places);
            if !places.is_empty() || key == "read" {
                return;
            }
        }
    }
    if by_chance(&expected["message"], &found["message"]) {
        return;
    }
    if pair("code").0 == pair("code").1 {
        mask::differences("", expected, found, places);
        return;
    }
    let said = |answer: &Value| {
        let message = [&answer["message"], &answer["body"]["message"]];
        let message = message.into_iter().find_map(Value::as_str);
        let causes = answer["details"]["causes"].to_string();
        format!(
            "{} {} {causes}",
            answer["code"],
            message.unwrap_or_default()
        )
    };
    places.push(format!("real: {}\n  ours: {}", said(expected), said(found)));
}

/// The real one walks over a map in any order, and stops at a field that it does not know: what it has not come by is not told.
fn by_chance(real: &Value, ours: &Value) -> bool {
    let lines = |message: &Value| -> Option<Vec<String>> {
        let message = message.as_str()?;
        let (_, problems) = message
            .strip_prefix("failed to create typed patch object ")?
            .split_once("): ")?;
        Some(
            problems
                .trim_start_matches("errors:")
                .lines()
                .map(|line| line.trim().to_owned())
                .collect(),
        )
    };
    let (Some(real), Some(ours)) = (lines(real), lines(ours)) else {
        return false;
    };
    let stopped = real
        .iter()
        .any(|line| line.ends_with("field not declared in schema"));
    (stopped || real.len() == ours.len()) && real.iter().all(|line| ours.contains(line))
}

/// Finds what differs, each with where it does.
fn differing(expected: &BTreeMap<String, Value>, found: &BTreeMap<String, Value>) -> Vec<String> {
    let mut wrong = Vec::new();
    for (title, expected) in expected {
        let mut places = Vec::new();
        let found = found.get(title).cloned().unwrap_or_default();
        compare(expected, &found, &mut places);
        if !places.is_empty() {
            wrong.push(format!("{title}\n  {}", places.join("\n  ")));
        }
    }
    wrong
}

/// Fails with all differences.
fn verdict(expected: &BTreeMap<String, Value>, found: &BTreeMap<String, Value>) {
    let wrong = differing(expected, found);
    assert!(
        wrong.is_empty(),
        "{} of {} differ\n{}",
        wrong.len(),
        expected.len(),
        wrong.join("\n")
    );
}

#[test]
fn kube_apiserver_fills_in_as_it_did() {
    if let Some(real) = real() {
        record("bodies.real.json", &create_all(&real));
    }
}

#[test]
fn this_server_fills_in_as_kube_apiserver_does() {
    verdict(&recorded("bodies.real.json"), &create_all(&Ours::new()));
}

/// What is compared of an answer.
fn finish(mut found: Value) -> Value {
    if found["code"].as_u64().is_some_and(|code| code < 300) {
        // what is taken is compared as a whole, but for who wrote what
        let meta = found.pointer_mut("/body/metadata");
        if let Some(meta) = meta.and_then(Value::as_object_mut) {
            meta.remove("managedFields");
        }
        // status is a controller's
        if let Some(body) = found["body"].as_object_mut() {
            body.remove("status");
        }
    }
    mutate::shown(&found)
}

/// Asks for everything that is broken; nothing is kept.
fn break_all(server: &dyn Ask, cases: &[Case]) -> BTreeMap<String, Value> {
    let catalog = Catalog::kubernetes();
    cases
        .iter()
        .filter_map(|case| {
            let path = path_of(&catalog, &case.original)?;
            let name = text(&case.original, "/metadata/name");
            let mut revision = String::new();
            if case.is_update() {
                let one = Sent::json("GET", format!("{path}/{name}"), &Value::Null);
                revision = text(&server.ask(&one), "/body/metadata/resourceVersion");
            }
            let found = ask(server, &case.sent(&path, &revision));
            Some((case.title.clone(), finish(found)))
        })
        .collect()
}

fn cases(count: usize, seed: u64) -> Vec<Case> {
    mutate::cases(&bodies(), count, seed, false)
}

#[test]
fn kube_apiserver_refuses_as_it_did() {
    if let Some(real) = real() {
        create_all(&real);
        record("refusals.real.json", &break_all(&real, &cases(RECORDED, 1)));
    }
}

fn titles(text: &str) -> Vec<&str> {
    text.lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .collect()
}

/// `differences.txt` names what is answered otherwise; it may only become shorter.
#[test]
fn this_server_refuses_as_kube_apiserver_does() {
    let ours = Ours::new();
    create_all(&ours);
    let mut expected = recorded("refusals.real.json");
    let found = break_all(&ours, &cases(RECORDED, 1));
    let path = folder().join("differences.txt");
    let differs = |title: &str| {
        let mut places = Vec::new();
        compare(&expected[title], &found[title], &mut places);
        !places.is_empty()
    };
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        let lines: Vec<&str> = expected
            .keys()
            .map(String::as_str)
            .filter(|title| differs(title))
            .collect();
        let old = std::fs::read_to_string(&path).unwrap_or_default();
        let head: Vec<&str> = old.lines().filter(|line| line.starts_with('#')).collect();
        let text = format!("{}\n{}\n", head.join("\n"), lines.join("\n"));
        std::fs::write(path, text).expect("writes");
        return;
    }
    let known = std::fs::read_to_string(path).expect("the known differences");
    let known = titles(&known);
    let stale: Vec<&&str> = known.iter().filter(|title| !differs(title)).collect();
    assert!(stale.is_empty(), "no longer different: {stale:#?}");
    expected.retain(|title, _| !known.contains(&title.as_str()));
    verdict(&expected, &found);
}

/// What the library predicts of an apply, with no server, is what the real one answers.
#[test]
fn applies_are_predicted() {
    let ours = Ours::new();
    create_all(&ours);
    let expected = recorded("refusals.real.json");
    let known = std::fs::read_to_string(folder().join("differences.txt")).expect("differences");
    let known = titles(&known);
    let catalog = std::sync::Arc::new(Catalog::kubernetes());
    let predictor = Predictor::new(std::sync::Arc::clone(&catalog), jiff::Timestamp::now())
        .expect("a predictor");
    let (mut wanted, mut found) = (BTreeMap::new(), BTreeMap::new());
    for case in cases(RECORDED, 1) {
        if !case.is_apply() || known.contains(&case.title.as_str()) {
            continue;
        }
        let path = path_of(&catalog, &case.original).expect("is served");
        let name = text(&case.original, "/metadata/name");
        let live = ours.ask(&Sent::json("GET", format!("{path}/{name}"), &Value::Null));
        let live = (live["code"] == 200).then(|| live["body"].clone());
        let apply = Apply {
            manager: "t",
            force: true,
            field_validation: FieldValidation::Warn,
        };
        let mut answer = match predictor.apply(live.as_ref(), case.body(), apply) {
            Ok(body) => json!({"code": 200, "body": body}),
            Err(status) => json!({"code": status.code, "body": status.to_value()}),
        };
        mask::hide(&mut answer);
        found.insert(case.title.clone(), finish(answer));
        wanted.insert(case.title.clone(), expected[&case.title].clone());
    }
    assert!(wanted.len() >= 300, "{} pairs", wanted.len());
    verdict(&wanted, &found);
}

/// `K8S_REFUSALS_CASES`, `K8S_REFUSALS_SEED`, `K8S_REFUSALS_CORPUS` (a folder of manifests) and `K8S_REFUSALS_MIXED` say what is asked.
#[test]
fn other_seeds_are_refused_alike() {
    let number = |name: &str, or: u64| {
        let text = std::env::var(name).ok();
        text.map_or(or, |text| {
            text.parse()
                .unwrap_or_else(|_| panic!("{name} wants a number"))
        })
    };
    let count = usize::try_from(number("K8S_REFUSALS_CASES", 0)).expect("fits");
    if count == 0 {
        return;
    }
    let mut bodies = bodies();
    if let Some(folder) = std::env::var_os("K8S_REFUSALS_CORPUS") {
        bodies.extend(mutate::manifests(Path::new(&folder)));
        let catalog = Catalog::kubernetes();
        bodies.retain(|body| path_of(&catalog, body).is_some());
    }
    let Some(real) = real() else { return };
    let mixed = std::env::var_os("K8S_REFUSALS_MIXED").is_some();
    let cases = mutate::cases(&bodies, count, number("K8S_REFUSALS_SEED", 1), mixed);
    let ours = Ours::new();
    for server in [&real as &dyn Ask, &ours] {
        create_all(server);
    }
    let (expected, found) = (break_all(&real, &cases), break_all(&ours, &cases));
    let wrong = differing(&expected, &found);
    // `cargo xtask conformance refusals` reads this line
    println!(
        "refusals: {} of {} pairs differ",
        wrong.len(),
        expected.len()
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
