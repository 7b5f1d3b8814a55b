//! Compares what runs with what stands in Git, object by object, with the API server's own apply as the judge.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail};
use serde_json::{Value, json};

use super::tools::text;
use super::world::{CLUSTERS, World};

const HOOKS: [&str; 3] = [
    "roadstead.dev/hook",
    "argocd.argoproj.io/hook",
    "helm.sh/hook",
];

/// Compares every object of every App in every cluster; returns how many there are.
pub(super) fn compare(world: &World) -> anyhow::Result<usize> {
    let mut count = 0;
    let mut wrong = Vec::new();
    for (number, (cluster, _, region)) in CLUSTERS.iter().enumerate() {
        for (app, namespace) in &world.repository.apps {
            let mut objects = in_git(world, app, region)?;
            // a hook is made once for a Release, and may be gone
            objects.retain(|object| {
                let annotations = &object["metadata"]["annotations"];
                !HOOKS.iter().any(|hook| annotations[*hook].is_string())
            });
            if objects.is_empty() {
                bail!("{app} has no objects in Git");
            }
            count += objects.len();
            for difference in different(world, number, namespace, objects)? {
                wrong.push(format!("{cluster}: {app}: {difference}"));
            }
        }
    }
    if !wrong.is_empty() {
        bail!(
            "{} objects are not as in Git:\n{}",
            wrong.len(),
            wrong.join("\n")
        );
    }
    Ok(count)
}

/// An App's objects, without the hub: read from the files, or rendered by the real helm.
fn in_git(world: &World, app: &str, region: &str) -> anyhow::Result<Vec<Value>> {
    let folder = world.repository.folder().join("apps").join(app);
    let mut objects = Vec::new();
    if folder.join("Chart.yaml").is_file() {
        let values = folder.join(format!("regions/{region}.yaml"));
        let (folder, values) = (folder.display().to_string(), values.display().to_string());
        let text = world
            .helm
            .run(&["template", app, &folder, "--values", &values], None)?;
        read(&text, app, &mut objects)?;
        return Ok(objects);
    }
    let entries = std::fs::read_dir(&folder)
        .with_context(|| format!("failed to read {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        let file = path.display().to_string();
        if file.ends_with(".yaml") {
            let text = std::fs::read_to_string(&path)?;
            read(&text, &file, &mut objects)?;
        }
    }
    // what the App's overlay says
    if app == "shop" {
        for object in &mut objects {
            if object["kind"] == "ConfigMap" {
                object["data"]["region"] = json!(region);
            }
            object["metadata"]["labels"]["region"] = json!(region);
            if object["kind"] == "Deployment" && object["metadata"]["name"] == "api" {
                let variable = json!([{"name": "REGION", "value": region}]);
                object["spec"]["template"]["spec"]["containers"][0]["env"] = variable;
            }
        }
    }
    Ok(objects)
}

fn read(text: &str, file: &str, objects: &mut Vec<Value>) -> anyhow::Result<()> {
    let documents = base_yaml::parse_documents(text, file)?;
    objects.extend(documents.into_iter().map(|document| document.value));
    Ok(())
}

/// Says how objects differ from what they would be if somebody else applied those in Git over them now.
fn different(
    world: &World,
    number: usize,
    namespace: &str,
    objects: Vec<Value>,
) -> anyhow::Result<Vec<String>> {
    let mut by_namespace: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for object in objects {
        let namespace = match text(&object, "/metadata/namespace") {
            "" => namespace,
            own => own,
        };
        let same = by_namespace.entry(namespace.to_owned()).or_default();
        same.push(object);
    }
    let mut out = Vec::new();
    for (namespace, objects) in by_namespace {
        let space = format!("--namespace={namespace}");
        let list = json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string();
        let kubectl = world.in_cluster(number);
        let get = [&space, "get", "--ignore-not-found", "-o", "json", "-f", "-"];
        let live = by_name(&kubectl.run(&get, Some(&list))?)?;
        let apply = [
            &space,
            "apply",
            "--server-side",
            "--force-conflicts",
            "--dry-run=server",
            "--field-manager=e2e",
            "-o",
            "json",
            "-f",
            "-",
        ];
        let applied = by_name(&kubectl.run(&apply, Some(&list))?)?;
        for object in &objects {
            let name = name(object);
            let (live, applied) = (live.get(&name), applied.get(&name));
            let mut places = Vec::new();
            match (live, applied) {
                (Some(live), Some(applied)) => differences("", live, applied, &mut places),
                _ => places.push("is not there".to_owned()),
            }
            if !places.is_empty() {
                out.push(format!("{name} in {namespace}: {}", places.join(", ")));
            }
        }
    }
    Ok(out)
}

fn name(object: &Value) -> String {
    let part = |pointer| text(object, pointer);
    format!(
        "{} {} {}",
        part("/apiVersion"),
        part("/kind"),
        part("/metadata/name")
    )
}

/// What kubectl printed: a list, one object, or nothing.
fn by_name(printed: &str) -> anyhow::Result<BTreeMap<String, Value>> {
    if printed.trim().is_empty() {
        return Ok(BTreeMap::new());
    }
    let printed: Value = serde_json::from_str(printed).context("no JSON from kubectl")?;
    let objects = match printed["items"].as_array() {
        Some(items) => items.clone(),
        None => vec![printed],
    };
    Ok(objects
        .into_iter()
        .map(|object| (name(&object), bare(object)))
        .collect())
}

/// Without what changes by itself.
fn bare(mut object: Value) -> Value {
    if let Some(metadata) = object["metadata"].as_object_mut() {
        for field in ["managedFields", "resourceVersion", "generation"] {
            metadata.remove(field);
        }
    }
    if let Some(object) = object.as_object_mut() {
        object.remove("status");
    }
    object
}

fn differences(path: &str, live: &Value, applied: &Value, places: &mut Vec<String>) {
    match (live, applied) {
        (Value::Object(a), Value::Object(b)) => {
            let keys: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for key in keys {
                let (a, b) = (a.get(key), b.get(key));
                if a != b {
                    let none = Value::Null;
                    let path = format!("{path}.{key}");
                    differences(&path, a.unwrap_or(&none), b.unwrap_or(&none), places);
                }
            }
        }
        _ if live == applied => {}
        _ => places.push(format!("{path} is {live}, in Git {applied}")),
    }
}
