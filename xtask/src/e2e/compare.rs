//! Compares what runs with what stands in Git, object by object, with the API server's own apply as the judge.

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
            let mut wanted = 0;
            for object in in_git(world, app, region)? {
                let hooked = HOOKS
                    .iter()
                    .any(|hook| object["metadata"]["annotations"][*hook].is_string());
                // a hook is made once for a Release, and may be gone
                if hooked {
                    continue;
                }
                wanted += 1;
                if let Some(difference) = different(world, number, namespace, &object)? {
                    wrong.push(format!("{cluster}: {app}: {difference}"));
                }
            }
            if wanted == 0 {
                bail!("{app} has no objects in Git");
            }
            count += wanted;
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

/// Says how an object differs from what it would be if somebody else applied the one in Git over it now.
fn different(
    world: &World,
    number: usize,
    namespace: &str,
    object: &Value,
) -> anyhow::Result<Option<String>> {
    let kind = text(object, "/kind").to_owned();
    let name = text(object, "/metadata/name").to_owned();
    let namespace = match text(object, "/metadata/namespace") {
        "" => namespace,
        own => own,
    };
    let group = text(object, "/apiVersion").split_once('/');
    let resource = match group {
        Some((group, _)) => format!("{}.{group}", kind.to_lowercase()),
        None => kind.to_lowercase(),
    };
    let Some(live) = world.object(number, namespace, &resource, &name)? else {
        return Ok(Some(format!("{kind} {namespace}/{name} is not there")));
    };
    let space = format!("--namespace={namespace}");
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
    let applied = world
        .in_cluster(number)
        .run(&apply, Some(&object.to_string()))?;
    let applied: Value = serde_json::from_str(&applied)?;
    let (live, applied) = (bare(live), bare(applied));
    if live == applied {
        return Ok(None);
    }
    let mut places = Vec::new();
    differences("", &live, &applied, &mut places);
    Ok(Some(format!(
        "{kind} {namespace}/{name}: {}",
        places.join(", ")
    )))
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
        _ => places.push(format!("{path} is {live}, in Git {applied}")),
    }
}
