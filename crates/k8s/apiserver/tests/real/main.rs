//! The same requests to this server and to the real kube-apiserver, and the same answers.
//!
//! `tests/real/scripts/NAME.txt` holds the requests and `NAME.real.json` what kube-apiserver answered, without what differs from run to
//! run. Where it is built (`cargo xtask oracle build`) it is asked again; `UPDATE_EXPECT=1` writes its answers anew.
//! `differences.txt` names where this server answers otherwise, and why. `cargo xtask conformance api` plays any such folder.

mod corpus;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use api_transcript::{Known, Ours, compare, play, scripts};
use oracle_cluster::RealCluster;
use serde_json::{Value, json};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/real/scripts")
}

fn recorded(name: &str) -> BTreeMap<String, Value> {
    let path = folder().join(format!("{name}.real.json"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}.real.json: {error}"))
}

#[test]
fn kube_apiserver_answers_as_it_did() {
    let started = RealCluster::start_with(|settings| {
        settings.controllers = false;
        settings.scheduler = false;
    });
    let Some(real) = started.expect("a control plane") else {
        return;
    };
    let mut wrong = Vec::new();
    for (name, steps) in scripts(&folder()).expect("the scripts") {
        let found = play(&name, &steps, real.admin()).expect("plays");
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            let text = format!("{:#}\n", json!(found));
            std::fs::write(folder().join(format!("{name}.real.json")), text).expect("writes");
        } else {
            let all = compare(&name, &steps, &recorded(&name), &found);
            wrong.extend(all.iter().map(ToString::to_string));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn this_server_answers_as_kube_apiserver_does() {
    let mut known = Known::read(&folder()).expect("differences.txt");
    let server = Ours::new().expect("a server");
    let mut wrong = Vec::new();
    for (name, steps) in scripts(&folder()).expect("the scripts") {
        let found = play(&name, &steps, &server).expect("plays");
        let expected = recorded(&name);
        for step in &steps {
            let title = &step.title;
            assert!(
                expected.contains_key(title),
                "{name}: {title}: not recorded yet: UPDATE_EXPECT=1"
            );
        }
        for one in compare(&name, &steps, &expected, &found) {
            if !known.covers(&one) {
                wrong.push(one.to_string());
            }
        }
    }
    for stale in known.stale() {
        wrong.push(format!(
            "differences.txt names what no longer differs: {stale}"
        ));
    }
    assert!(
        wrong.is_empty(),
        "{} differ\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}
