//! A chart's dependencies that do not lie in its `charts/` folder.

use std::collections::BTreeMap;

use base_json::Value;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// A chart that another one names in its `dependencies`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependency {
    /// The chart's name.
    pub name: String,
    /// The version or range that is asked for; the exact one where a lock file says it.
    pub version: String,
    /// Where: `https://…`, `oci://…` or `file://…`.
    pub repository: String,
}

/// A dependency as it was resolved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pinned {
    /// The chart's name.
    pub name: String,
    /// Where it came from.
    pub repository: String,
    /// Which version and archive, `6.7.1@sha256:…`.
    pub revision: String,
}

impl Dependency {
    /// The dependencies of a chart's files that are missing from its `charts/` folder. What cannot be read is left to
    /// the renderer, whose errors name the line.
    pub fn missing(files: &BTreeMap<String, Bytes>) -> Vec<Self> {
        let read = |name: &str| -> Option<Value> {
            let text = std::str::from_utf8(files.get(name)?).ok()?;
            let documents = base_yaml::parse_documents(text, name).ok()?;
            documents.into_iter().next().map(|one| one.value)
        };
        let list = |name: &str| {
            read(name).and_then(|mut value| Some(value.get_mut("dependencies")?.take()))
        };
        let wanted = list("Chart.yaml").or_else(|| list("requirements.yaml"));
        let locked = list("Chart.lock").or_else(|| list("requirements.lock"));
        let text = |value: &Value, key: &str| {
            let value = value.get(key).and_then(Value::as_str);
            value.unwrap_or_default().to_owned()
        };
        let every = |list: &Option<Value>| {
            let list = list.as_ref().and_then(Value::as_array).cloned();
            list.unwrap_or_default()
        };
        let locked = every(&locked);
        let mut out = Vec::new();
        for one in every(&wanted) {
            let (name, repository) = (text(&one, "name"), text(&one, "repository"));
            if name.is_empty() || repository.is_empty() || present(files, &name) {
                continue;
            }
            let lock = locked.iter().find(|lock| text(lock, "name") == name);
            let version = lock.map_or_else(|| text(&one, "version"), |lock| text(lock, "version"));
            out.push(Self {
                name,
                version,
                repository,
            });
        }
        out
    }
}

/// Is a chart of that name in `charts/`, as a folder or as an archive?
fn present(files: &BTreeMap<String, Bytes>, name: &str) -> bool {
    let folder = format!("charts/{name}/");
    let archive = format!("charts/{name}-");
    files.keys().any(|file| {
        file.starts_with(&folder)
            || file.strip_prefix(&archive).is_some_and(|rest| {
                rest.ends_with(".tgz") && rest.starts_with(|c: char| c.is_ascii_digit() || c == 'v')
            })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_is_missing() {
        let chart = "dependencies:\n- {name: redis, version: 1.x, repository: https://r}\n- {name: common, version: '2', repository: 'file://../common'}\n- {name: there, version: '3', repository: https://r}\n- {name: own, version: '1'}\n";
        let lock = "dependencies:\n- {name: redis, version: 1.4.2, repository: https://r}\n";
        let files = [
            ("Chart.yaml", chart),
            ("Chart.lock", lock),
            ("charts/there-3.0.0.tgz", ""),
        ];
        let files: BTreeMap<String, Bytes> = files
            .into_iter()
            .map(|(name, text)| (name.to_owned(), Bytes::from(text)))
            .collect();
        let found = Dependency::missing(&files);
        let found: Vec<String> = found
            .iter()
            .map(|d| format!("{} {} {}", d.name, d.version, d.repository))
            .collect();
        assert_eq!(
            found,
            ["redis 1.4.2 https://r", "common 2 file://../common"]
        );
    }
}
