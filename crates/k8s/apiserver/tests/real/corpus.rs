//! Definitions and custom objects of real projects: this server and the real kube-apiserver say the same of each.
//!
//! `ROADSTEAD_CORPUS` names a folder with them, or they lie in `../shared/corpus` beside the repository; without them, or where
//! kube-apiserver is not built, nothing is compared.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use api_transcript::{Answered, Ours, Respond, Step, differences, hide};
use oracle_cluster::RealCluster;
use serde_json::{Value, json};

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

fn root() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../../shared/corpus");
    let given = std::env::var_os("ROADSTEAD_CORPUS").map(PathBuf::from);
    let mut known = given.into_iter().chain([
        beside,
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../../../shared/corpus"),
    ]);
    known.find(|path| path.is_dir())
}

/// Every object in the plain YAML files below a folder.
fn objects(folder: &Path, out: &mut Vec<Value>) {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return;
    };
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            objects(&path, out);
            continue;
        }
        if !path
            .extension()
            .is_some_and(|ending| ending == "yaml" || ending == "yml")
        {
            continue;
        }
        let Ok(text) = std::fs::read_to_string(&path) else {
            continue;
        };
        if !text.contains("apiVersion:") || !text.contains("kind:") {
            continue;
        }
        // a template, or no YAML
        let Ok(documents) = base_yaml::parse_documents(&text, "file") else {
            continue;
        };
        out.extend(documents.into_iter().map(|document| document.value));
    }
}

fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or("")
}

fn shown(answered: &Answered, definition: bool) -> Value {
    let mut body: Value = serde_json::from_slice(&answered.body).unwrap_or_default();
    if definition && answered.status == 201 {
        body = json!({"spec": body["spec"]});
    }
    let warnings: Vec<&str> = answered
        .headers
        .iter()
        .filter(|(name, _)| name == "warning")
        .map(|(_, value)| value.as_str())
        .collect();
    if let Some(map) = body.as_object_mut().filter(|_| answered.status >= 400) {
        // the order of what is wrong changes from run to run
        map.remove("message");
    }
    let mut warnings: Vec<String> = warnings.into_iter().map(str::to_owned).collect();
    warnings.sort();
    let mut out = json!({"status": answered.status, "body": body, "warnings": warnings});
    hide(&mut out);
    out
}

#[test]
fn definitions_of_the_corpus_are_served_alike() {
    let Some(root) = root() else { return };
    let started = RealCluster::start_with(|settings| {
        settings.controllers = false;
        settings.scheduler = false;
    });
    let Some(real) = started.expect("a control plane") else {
        return;
    };
    let ours = Ours::new().expect("a server");
    let mut all = Vec::new();
    objects(&root, &mut all);
    let mut definitions: BTreeMap<String, Value> = BTreeMap::new();
    for object in &all {
        if object["kind"] == "CustomResourceDefinition"
            && object["apiVersion"] == "apiextensions.k8s.io/v1"
        {
            definitions
                .entry(name(object).to_owned())
                .or_insert_with(|| object.clone());
        }
    }
    let mut wrong = Vec::new();
    let mut both = |path: &str, object: &Value, definition: bool| {
        let step = Step::post(path, object);
        let theirs = shown(
            &Respond::send(real.admin(), &step).expect("asks"),
            definition,
        );
        let found = shown(&ours.send(&step).expect("asks"), definition);
        let mut places = Vec::new();
        differences("", &theirs, &found, &mut places);
        for (place, theirs, found) in places {
            wrong.push(format!(
                "{path} {}: {place}\n    real: {theirs}\n    ours: {found}",
                name(object)
            ));
        }
        theirs["status"].as_u64()
    };
    let namespace =
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "corpus"}});
    both("/api/v1/namespaces", &namespace, false);
    let mut paths: BTreeMap<(String, String), (String, bool)> = BTreeMap::new();
    for definition in definitions.values() {
        if both(DEFINITIONS, definition, true) != Some(201) {
            continue;
        }
        let spec = &definition["spec"];
        for version in spec["versions"].as_array().into_iter().flatten() {
            if version["served"] != json!(true) {
                continue;
            }
            let api_version = format!(
                "{}/{}",
                spec["group"].as_str().unwrap_or(""),
                version["name"].as_str().unwrap_or("")
            );
            let namespaced = spec["scope"] != "Cluster";
            let below = if namespaced { "/namespaces/corpus" } else { "" };
            let plural = spec["names"]["plural"].as_str().unwrap_or("");
            let path = format!("/apis/{api_version}{below}/{plural}");
            let kind = spec["names"]["kind"].as_str().unwrap_or("").to_owned();
            paths.insert((api_version, kind), (path, namespaced));
        }
    }
    // the real one serves a definition a while after it has it
    let mut ready = BTreeMap::new();
    let patience = std::time::Instant::now() + std::time::Duration::from_secs(20);
    for (path, _) in paths.values() {
        while !ready.contains_key(path) {
            let answer = real.admin().send("GET", path, &[], b"").expect("asks");
            if answer.status == 200 {
                ready.insert(path.clone(), ());
            }
            if std::time::Instant::now() > patience {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }
    let mut count = 0;
    for object in &all {
        let text = |field: &str| object[field].as_str().unwrap_or("").to_owned();
        let Some((path, namespaced)) = paths.get(&(text("apiVersion"), text("kind"))) else {
            continue;
        };
        if !ready.contains_key(path) {
            continue;
        }
        let mut object = object.clone();
        if let Some(meta) = object["metadata"].as_object_mut() {
            meta.remove("namespace");
            if *namespaced {
                meta.insert("namespace".to_owned(), json!("corpus"));
            }
        }
        count += 1;
        both(path, &object, false);
    }
    println!(
        "{} definitions and {count} custom objects compared, {} places differ",
        definitions.len(),
        wrong.len()
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
