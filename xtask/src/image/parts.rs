//! The list of parts of a program (CycloneDX 1.5), from what cargo itself knows.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context as _, bail};
use serde_json::{Value, json};

/// The list.
#[derive(Default)]
pub(super) struct Parts {
    pub(super) json: Vec<u8>,
    pub(super) count: usize,
}

/// Lists what the program is made of for one target: its packages, and those that build them.
pub(super) fn list(root: &Path, target: &str, time: i64) -> anyhow::Result<Parts> {
    let out = crate::cargo()
        .current_dir(root)
        .args([
            "metadata",
            "--locked",
            "--format-version=1",
            "--filter-platform",
            target,
        ])
        .output()
        .context("failed to run cargo metadata")?;
    if !out.status.success() {
        bail!(
            "cargo metadata failed: {}",
            String::from_utf8_lossy(&out.stderr)
        );
    }
    let metadata: Value =
        serde_json::from_slice(&out.stdout).context("cargo metadata is no JSON")?;
    let sums = checksums(&std::fs::read_to_string(root.join("Cargo.lock"))?);
    made(&metadata, &sums, time)
}

/// The checksums of packages, by name and version.
fn checksums(lock: &str) -> BTreeMap<(String, String), String> {
    let mut sums = BTreeMap::new();
    for block in lock.split("[[package]]") {
        let field = |name: &str| {
            let line = block
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(" = "));
            line.map(|text| text.trim_matches('"').to_owned())
        };
        if let (Some(name), Some(version), Some(sum)) =
            (field("name"), field("version"), field("checksum"))
        {
            sums.insert((name, version), sum);
        }
    }
    sums
}

fn made(
    metadata: &Value,
    sums: &BTreeMap<(String, String), String>,
    time: i64,
) -> anyhow::Result<Parts> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let packages: BTreeMap<String, Value> = list(&metadata["packages"])
        .into_iter()
        .map(|package| (text(&package["id"]), package))
        .collect();
    let mut uses: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for node in list(&metadata["resolve"]["nodes"]) {
        let deps = list(&node["deps"]).into_iter().filter(|dep| {
            // what only tests use is no part
            list(&dep["dep_kinds"])
                .iter()
                .any(|kind| kind["kind"] != "dev")
        });
        uses.insert(
            text(&node["id"]),
            deps.map(|dep| text(&dep["pkg"])).collect(),
        );
    }
    let root = packages
        .iter()
        .find(|(_, package)| package["name"] == "roadstead")
        .map(|(id, _)| id.clone())
        .context("there is no package roadstead")?;
    let mut reached = BTreeSet::new();
    let mut next = vec![root.clone()];
    while let Some(id) = next.pop() {
        if reached.insert(id.clone()) {
            next.extend(uses.get(&id).cloned().unwrap_or_default());
        }
    }
    let name = |id: &str| -> (String, String) {
        let package = &packages[id];
        (text(&package["name"]), text(&package["version"]))
    };
    let reference = |id: &str| {
        let (name, version) = name(id);
        format!("pkg:cargo/{name}@{version}")
    };
    let component = |id: &str, kind: &str| {
        let (name, version) = name(id);
        let mut part = json!({
            "type": kind,
            "bom-ref": reference(id),
            "purl": reference(id),
            "name": name,
            "version": version,
        });
        let package = &packages[id];
        if let Some(license) = package["license"].as_str() {
            part["licenses"] = json!([{ "expression": license.replace('/', " OR ") }]);
        }
        if let Some(sum) = sums.get(&(name, version)) {
            part["hashes"] = json!([{ "alg": "SHA-256", "content": sum }]);
        }
        part
    };
    let parts: Vec<&String> = reached.iter().filter(|id| **id != root).collect();
    let mut components: Vec<Value> = parts.iter().map(|id| component(id, "library")).collect();
    components.sort_by_key(|part| text(&part["purl"]));
    let mut dependencies: Vec<Value> = reached
        .iter()
        .map(|id| {
            let on: BTreeSet<String> = uses
                .get(id)
                .into_iter()
                .flatten()
                .map(|id| reference(id))
                .collect();
            json!({ "ref": reference(id), "dependsOn": on })
        })
        .collect();
    dependencies.sort_by_key(|one| text(&one["ref"]));
    let json = json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "timestamp": roadstead_model::Time(time.saturating_mul(1000)).seconds(),
            "component": component(&root, "application"),
        },
        "components": components,
        "dependencies": dependencies,
    });
    Ok(Parts {
        json: base_json::canonical(&json),
        count: components.len(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_what_is_built_in_and_not_what_only_tests_use() {
        let package = |name: &str| json!({"id": name, "name": name, "version": "1.0.0", "license": "MIT/Apache-2.0"});
        let uses = |name: &str, kind: Value| json!({"pkg": name, "dep_kinds": [{"kind": kind}]});
        let metadata = json!({
            "packages": [package("roadstead"), package("a"), package("b"), package("c"), package("d")],
            "resolve": { "nodes": [
                {"id": "roadstead", "deps": [uses("a", Value::Null), uses("c", json!("dev"))]},
                {"id": "a", "deps": [uses("b", json!("build"))]},
                {"id": "b", "deps": []}, {"id": "c", "deps": []}, {"id": "d", "deps": []},
            ] },
        });
        let lock = "[[package]]\nname = \"a\"\nversion = \"1.0.0\"\nchecksum = \"ff\"\n";
        let parts = made(&metadata, &checksums(lock), 0).unwrap();
        let list: Value = serde_json::from_slice(&parts.json).unwrap();
        let names: Vec<&str> = list["components"]
            .as_array()
            .unwrap()
            .iter()
            .map(|part| part["name"].as_str().unwrap())
            .collect();
        assert_eq!(names, ["a", "b"]);
        assert_eq!(list["components"][0]["hashes"][0]["content"], "ff");
        assert_eq!(
            list["components"][0]["licenses"][0]["expression"],
            "MIT OR Apache-2.0"
        );
        assert_eq!(
            list["dependencies"][2],
            json!({"ref": "pkg:cargo/roadstead@1.0.0", "dependsOn": ["pkg:cargo/a@1.0.0"]})
        );
    }
}
