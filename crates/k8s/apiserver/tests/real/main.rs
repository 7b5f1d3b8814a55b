//! The same requests to this server and to the real kube-apiserver, and the same answers.
//!
//! `tests/real/scripts/NAME.txt` holds the requests and `NAME.real.json` what kube-apiserver answered, without what differs from run to
//! run. Where it is built (`cargo xtask oracle build`) it is asked again; `UPDATE_EXPECT=1` writes its answers anew.
//! `differences.txt` names where this server answers otherwise, and why.

mod mask;
mod ours;
mod script;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use oracle_cluster::{Client, RealCluster};
use serde_json::{Value, json};

use script::{Answered, Step};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/real/scripts")
}

fn read(name: &str) -> String {
    std::fs::read_to_string(folder().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Every script, by name.
fn scripts() -> Vec<(String, Vec<Step>)> {
    let mut names: Vec<String> = std::fs::read_dir(folder())
        .expect("the scripts")
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.ends_with(".txt") && name != "differences.txt")
        .collect();
    names.sort();
    let steps = |name: String| {
        let steps = script::parse(&read(&name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        (name.trim_end_matches(".txt").to_owned(), steps)
    };
    names.into_iter().map(steps).collect()
}

/// What every server has before a script begins.
fn prepare(mut send: impl FnMut(&Step) -> Answered, name: &str) {
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
    let account =
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}});
    let accounts = format!("/api/v1/namespaces/{name}/serviceaccounts");
    for (path, object) in [("/api/v1/namespaces", namespace), (&accounts, account)] {
        let answered = send(&Step::post(path, &object));
        assert_eq!(answered.status, 201, "{path}: {:?}", answered.body);
    }
}

fn play(steps: &[Step], mut send: impl FnMut(&Step) -> Answered) -> BTreeMap<String, Value> {
    let mut saved = BTreeMap::new();
    let mut out = BTreeMap::new();
    for step in steps {
        let ready = step.with(&saved);
        let mut answered = send(&ready);
        for _ in 0..200 {
            if step.until.is_none_or(|code| code == answered.status) {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
            answered = send(&ready);
        }
        step.save(&answered, &mut saved);
        out.insert(step.title.clone(), step.shown(&answered));
    }
    out
}

fn ask_real(client: &Client, step: &Step) -> Answered {
    let headers: Vec<(&str, &str)> = step
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let answer = client
        .send(&step.method, &step.path, &headers, &step.body)
        .unwrap_or_else(|error| panic!("{}: {error:#}", step.title));
    Answered {
        status: answer.status,
        headers: answer.headers.into_iter().collect(),
        body: answer.body,
    }
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
    for (name, steps) in scripts() {
        prepare(|step| ask_real(real.admin(), step), &name);
        let found = play(&steps, |step| ask_real(real.admin(), step));
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            let text = format!("{:#}\n", json!(found));
            std::fs::write(folder().join(format!("{name}.real.json")), text).expect("writes");
        } else {
            let expected = recorded(&name);
            for step in &steps {
                compare(
                    &name,
                    step,
                    &expected[&step.title],
                    &found[&step.title],
                    &mut wrong,
                );
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn recorded(name: &str) -> BTreeMap<String, Value> {
    let text = read(&format!("{name}.real.json"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}.real.json: {error}"))
}

fn compare(name: &str, step: &Step, expected: &Value, found: &Value, wrong: &mut Vec<String>) {
    let mut places = Vec::new();
    mask::differences("", expected, found, &mut places);
    for (place, expected, found) in places {
        wrong.push(format!(
            "{name}: {}: {place}\n    real: {expected}\n    ours: {found}",
            step.title
        ));
    }
}

/// `SCRIPT: TITLE: PLACE`, or `SCRIPT: TITLE` for a whole answer; a place covers what is below it.
fn known() -> BTreeSet<String> {
    read("differences.txt")
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .map(|line| {
            line.split(" # ")
                .next()
                .unwrap_or_default()
                .trim()
                .to_owned()
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn this_server_answers_as_kube_apiserver_does() {
    let (known, mut met) = (known(), BTreeSet::new());
    let mut wrong = Vec::new();
    let server = ours::server();
    for (name, steps) in scripts() {
        let handle = tokio::runtime::Handle::current();
        let send =
            |step: &Step| tokio::task::block_in_place(|| handle.block_on(ours::ask(&server, step)));
        prepare(send, &name);
        let found = play(&steps, send);
        let expected = recorded(&name);
        for step in &steps {
            let Some(expected) = expected.get(&step.title) else {
                panic!("{name}: {}: not recorded yet: UPDATE_EXPECT=1", step.title);
            };
            let mut all = Vec::new();
            compare(&name, step, expected, &found[&step.title], &mut all);
            for one in all {
                let head = one.lines().next().unwrap_or_default();
                let covered = known.iter().find(|known| {
                    head.strip_prefix(known.as_str())
                        .is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', ':']))
                });
                match covered {
                    Some(known) => drop(met.insert(known.clone())),
                    None => wrong.push(one),
                }
            }
        }
    }
    for stale in known.difference(&met) {
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
