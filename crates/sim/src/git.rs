//! A repository: a list of commits, each with what every App's folder holds.

use std::collections::BTreeMap;

use base_json::Digest;
use bytes::Bytes;

/// What one App's folder holds at one commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) version: u32,
    /// The image cannot be pulled.
    pub(crate) bad: bool,
    pub(crate) replicas: u32,
    /// How many ConfigMaps there are.
    pub(crate) configs: u32,
    /// Is there a second Deployment?
    pub(crate) worker: bool,
    /// Is there a hook before, or after, the objects?
    pub(crate) before: bool,
    pub(crate) after: bool,
    /// A Job among the objects.
    pub(crate) job: bool,
    /// A file that nobody can parse.
    pub(crate) broken: bool,
}

impl Content {
    pub(crate) fn first() -> Self {
        Self {
            version: 1,
            bad: false,
            replicas: 2,
            configs: 2,
            worker: true,
            before: false,
            after: false,
            job: false,
            broken: false,
        }
    }

    fn deployment(&self, name: &str) -> String {
        let kind = if self.bad { "bad" } else { "good" };
        format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: {name}\nspec:\n  replicas: {}\n  selector:\n    matchLabels: {{run: {name}}}\n  template:\n    metadata:\n      labels: {{run: {name}}}\n    spec:\n      containers:\n      - name: main\n        image: registry/{kind}:{}\n",
            self.replicas, self.version
        )
    }

    fn job(&self, name: &str, hook: Option<&str>) -> String {
        let annotations = hook.map_or(String::new(), |phase| {
            format!("  annotations: {{roadstead.dev/hook: {phase}}}\n")
        });
        format!(
            "apiVersion: batch/v1\nkind: Job\nmetadata:\n  name: {name}\n{annotations}spec:\n  template:\n    spec:\n      restartPolicy: Never\n      containers:\n      - name: main\n        image: registry/job:{}\n",
            self.version
        )
    }

    /// The files below a path.
    pub(crate) fn files(&self, path: &str) -> BTreeMap<String, Bytes> {
        let mut files = BTreeMap::new();
        let mut put = |name: String, text: String| {
            files.insert(format!("{path}/{name}"), Bytes::from(text));
        };
        put("web.yaml".to_owned(), self.deployment("web"));
        if self.worker {
            put("worker.yaml".to_owned(), self.deployment("worker"));
        }
        for n in 0..self.configs {
            let value = self.version / (n + 1);
            put(
                format!("config-{n}.yaml"),
                format!(
                    "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: config-{n}\ndata:\n  value: \"{value}\"\n"
                ),
            );
        }
        if self.before {
            put(
                "before.yaml".to_owned(),
                self.job("before", Some("PreSync")),
            );
        }
        if self.after {
            put("after.yaml".to_owned(), self.job("after", Some("PostSync")));
        }
        if self.job {
            put("once.yaml".to_owned(), self.job("once", None));
        }
        if self.broken {
            put("broken.yaml".to_owned(), "a: [1,\nb: 2\n".to_owned());
        }
        files
    }

    /// The digest of the files below a path.
    pub(crate) fn digest(&self, path: &str) -> Digest {
        let mut all = base_json::Map::new();
        for (name, bytes) in self.files(path) {
            all.insert(name, Digest::of(&bytes).to_string().into());
        }
        Digest::of_value(&base_json::Value::Object(all))
    }
}

/// A commit.
#[derive(Debug, Clone)]
pub(crate) struct GitCommit {
    pub(crate) id: String,
    pub(crate) at: i64,
    pub(crate) apps: BTreeMap<String, Content>,
}

/// The repository.
#[derive(Debug, Default)]
pub(crate) struct Git {
    pub(crate) commits: Vec<GitCommit>,
    /// Until when it cannot be reached.
    pub(crate) away_until: u64,
}

impl Git {
    pub(crate) fn commit(&mut self, at: i64, apps: BTreeMap<String, Content>) -> String {
        let id = Digest::of(format!("commit {} {apps:?}", self.commits.len()).as_bytes()).hex();
        let id = id.get(..40).unwrap_or(&id).to_owned();
        self.commits.push(GitCommit {
            id: id.clone(),
            at,
            apps,
        });
        id
    }

    pub(crate) fn head(&self) -> Option<&GitCommit> {
        self.commits.last()
    }

    pub(crate) fn find(&self, id: &str) -> Option<&GitCommit> {
        self.commits.iter().find(|commit| commit.id == id)
    }
}
