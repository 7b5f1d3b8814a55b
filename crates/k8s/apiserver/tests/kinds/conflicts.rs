//! Applies that come upon fields of other managers: `conflicts.real.json` holds what kube-apiserver answered.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_apiserver::{Apply, Catalog, FieldValidation, Predictor};
use serde_json::{Value, json};

use crate::mutate::{leaves, shown};
use crate::servers::{Ask, Ours, Sent};
use crate::{ask, bodies, path_of, prepare, real, record, recorded, text, title, verdict};

/// A conflict that only one of both sees differs too.
fn compare(expected: &BTreeMap<String, Value>, found: &BTreeMap<String, Value>) {
    assert!(expected.len() >= 190, "{} conflicts", expected.len());
    verdict(expected, found);
    assert_eq!(found.len(), expected.len(), "conflicts");
}

/// An apply of something else than others applied.
struct Case {
    title: String,
    path: String,
    name: String,
    body: Value,
}

fn apply(server: &dyn Ask, path: &str, name: &str, how: &str, body: &Value) -> Value {
    let sent = Sent {
        content: "application/apply-patch+yaml",
        ..Sent::json("PATCH", format!("{path}/{name}?{how}"), body)
    };
    ask(server, &sent)
}

/// Lets one manager apply everything, and a second one every other object as well.
fn begin(server: &dyn Ask) {
    prepare(server, crate::NAMESPACE);
    prepare(server, "aside");
    let catalog = Catalog::kubernetes();
    for (at, body) in bodies().iter().enumerate() {
        let Some(path) = path_of(&catalog, body) else {
            continue;
        };
        let name = text(body, "/metadata/name");
        apply(server, &path, &name, "fieldManager=one", body);
        if at % 2 == 0 {
            apply(server, &path, &name, "fieldManager=another", body);
        }
    }
}

/// Up to six applies of each object, each with some of its values changed.
fn cases() -> Vec<Case> {
    let catalog = Catalog::kubernetes();
    let mut out = Vec::new();
    for body in bodies() {
        let Some(path) = path_of(&catalog, &body) else {
            continue;
        };
        let mut places = leaves(&body);
        places.retain(|place| !place.starts_with("/metadata"));
        for number in 0..6_usize.min(places.len()) {
            let (first, step) = (number * places.len() / 6, places.len().div_ceil(number + 1));
            let chosen: Vec<&String> = places.iter().skip(first).step_by(step).collect();
            let mut other = body.clone();
            for place in &chosen {
                if let Some(value) = other.pointer_mut(place) {
                    *value = match &*value {
                        Value::String(text) => json!(format!("{text}x")),
                        Value::Bool(on) => json!(!on),
                        Value::Number(number) => json!(number.as_i64().unwrap_or(0) + 1),
                        other => other.clone(),
                    };
                }
            }
            let chosen: Vec<&str> = chosen.into_iter().map(String::as_str).collect();
            out.push(Case {
                title: format!("{} {}", title(&body), chosen.join(" ")),
                path: path.clone(),
                name: text(&body, "/metadata/name"),
                body: other,
            });
        }
    }
    out
}

fn ask_all(server: &dyn Ask) -> BTreeMap<String, Value> {
    begin(server);
    let mut out = BTreeMap::new();
    for case in cases() {
        let how = "dryRun=All&fieldManager=two";
        let found = apply(server, &case.path, &case.name, how, &case.body);
        // what is no conflict the other tests look at
        if found["code"] == 409 {
            out.insert(case.title, shown(&found));
        }
    }
    out
}

#[test]
fn kube_apiserver_sees_conflicts_as_it_did() {
    if let Some(real) = real() {
        record("conflicts.real.json", &ask_all(&real));
    }
}

#[test]
fn this_server_sees_conflicts_as_kube_apiserver_does() {
    let expected = recorded("conflicts.real.json");
    compare(&expected, &ask_all(&Ours::new()));
}

/// The same without a server.
#[test]
fn conflicts_are_predicted() {
    let expected = recorded("conflicts.real.json");
    let ours = Ours::new();
    begin(&ours);
    let predictor = Predictor::new(Arc::new(Catalog::kubernetes()), jiff::Timestamp::now())
        .expect("a predictor");
    let mut found = BTreeMap::new();
    for case in cases() {
        let path = format!("{}/{}", case.path, case.name);
        let live = ours.ask(&Sent::json("GET", path, &Value::Null));
        let live = (live["code"] == 200).then(|| live["body"].clone());
        let how = Apply {
            manager: "two",
            force: false,
            field_validation: FieldValidation::Warn,
        };
        if let Err(status) = predictor.apply(live.as_ref(), &case.body, how)
            && status.code == 409
        {
            let mut answer = json!({"code": status.code, "body": status.to_value()});
            crate::mask::hide(&mut answer);
            found.insert(case.title, shown(&answer));
        }
    }
    compare(&expected, &found);
}
