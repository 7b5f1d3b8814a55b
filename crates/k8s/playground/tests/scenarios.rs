//! Manifests in, time passes, states out: every file in `scenarios/` is one cluster's story.
//!
//! ```text
//! # a comment
//! let NAME {json}                          names a manifest
//! apply NAME [{json}]                      server-side apply of it, patched (RFC 7396)
//! delete API KIND NS NAME [background|foreground|orphan]    `-` is no namespace
//! run MS                                   lets time pass
//! KIND QUERY => expectation                see `ask`
//! ```

#![expect(
    clippy::unwrap_used,
    reason = "a story that cannot be read fails its test"
)]

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::FutureExt;
use jiff::{SignedDuration, Timestamp};
use k8s_cluster::{Call, Cluster, Propagation, Reply};
use k8s_object::{Gvk, ObjectId};
use k8s_playground::{Config, Handle, Playground, VirtualTime};
use serde_json::Value;

struct Story {
    playground: Playground,
    cluster: Handle,
    time: VirtualTime,
    named: BTreeMap<String, Value>,
}

fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Default::default());
    }
    let Some(target) = target.as_object_mut() else {
        return;
    };
    for (key, value) in patch {
        if value.is_null() {
            target.remove(key);
        } else {
            merge(target.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}

fn dash(text: &str) -> String {
    if text == "-" { "" } else { text }.to_owned()
}

impl Story {
    fn new(seed: u64) -> Self {
        let time = VirtualTime::starting_at("2026-01-01T00:00:00Z".parse().unwrap());
        let config = Config {
            seed,
            ..Config::default()
        };
        let playground =
            Playground::new(config, Arc::new(time.clone()), Arc::new(time.clone())).unwrap();
        let cluster = playground.add_cluster("one").unwrap();
        Self {
            playground,
            cluster,
            time,
            named: BTreeMap::new(),
        }
    }

    fn now(&self) -> Timestamp {
        k8s_apiserver::Clock::now(&self.time)
    }

    fn run(&self, ms: i64) {
        let end = self.now() + SignedDuration::from_millis(ms);
        self.playground.run_until(&self.time, end);
    }

    fn call(&self, call: Call) -> Result<Reply, String> {
        self.cluster
            .call(call)
            .now_or_never()
            .expect("a cluster without latency answers at once")
            .map_err(|error| format!("{:?}: {error}", error.kind))
    }

    fn apply(&self, object: &Value) -> Result<(), String> {
        self.call(Call::Apply {
            object: serde_json::to_vec(object).unwrap().into(),
            manager: "test".to_owned(),
            force: true,
            dry_run: false,
        })
        .map(|_| ())
    }

    fn list(&self, api_version: &str, kind: &str, namespace: &str) -> Vec<Value> {
        let reply = self.call(Call::List {
            gvk: Gvk::new(api_version, kind),
            labels: String::new(),
            fields: String::new(),
            limit: 0,
            token: String::new(),
        });
        let Ok(Reply::Page { items, .. }) = reply else {
            panic!("list {kind}: {reply:?}")
        };
        items
            .iter()
            .map(|bytes| serde_json::from_slice::<Value>(bytes).unwrap())
            .filter(|object| k8s_object::namespace(object) == namespace)
            .collect()
    }

    fn get(&self, words: &[&str]) -> Option<Value> {
        let (namespace, name) = (dash(words[2]), words[3]);
        self.list(words[0], words[1], &namespace)
            .into_iter()
            .find(|object| {
                // generated names are given by their beginning
                match name.strip_suffix('*') {
                    Some(start) => k8s_object::name(object).starts_with(start),
                    None => k8s_object::name(object) == name,
                }
            })
    }

    fn ask(&self, words: &[&str]) -> String {
        match words[0] {
            // how many objects of a kind there are in a namespace
            "count" => self
                .list(words[1], words[2], &dash(words[3]))
                .len()
                .to_string(),
            // a part of an object by JSON pointer
            "show" => match self.get(&words[1..]) {
                None => "gone".to_owned(),
                Some(object) => object
                    .pointer(words[5])
                    .map_or("none".to_owned(), Value::to_string),
            },
            "health" => match self.get(&words[1..]) {
                None => "gone".to_owned(),
                Some(object) => {
                    let health = k8s_health::health(&object);
                    format!("{} {}", health.status, health.reason)
                }
            },
            // what keeps the first pod of this name from running
            "problem" => match self.get(&["v1", "Pod", words[1], words[2]]) {
                None => "gone".to_owned(),
                Some(pod) => k8s_health::pod_problem(&pod)
                    .map_or("none".to_owned(), |problem| problem.reason),
            },
            // the distinct values of a pointer over a kind in a namespace, sorted
            "each" => {
                let mut found: Vec<String> = self
                    .list(words[1], words[2], &dash(words[3]))
                    .iter()
                    .map(|object| {
                        object.pointer(words[4]).map_or("none".to_owned(), |value| {
                            value.as_str().map_or(value.to_string(), str::to_owned)
                        })
                    })
                    .collect();
                found.sort();
                found.dedup();
                found.join(" ")
            }
            // the distinct reasons of Events about objects of a kind in a namespace
            "events" => {
                let mut found: Vec<String> = self
                    .list("v1", "Event", words[1])
                    .iter()
                    .filter(|event| event["involvedObject"]["kind"] == *words[2])
                    .map(|event| event["reason"].as_str().unwrap_or("?").to_owned())
                    .collect();
                found.sort();
                found.dedup();
                found.join(" ")
            }
            other => panic!("no such question: {other}"),
        }
    }

    fn tell(&mut self, line: &str) -> Result<(), String> {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        match verb {
            "let" => {
                let (name, json) = rest.split_once(' ').unwrap();
                let value = serde_json::from_str(json).map_err(|error| error.to_string())?;
                self.named.insert(name.to_owned(), value);
                Ok(())
            }
            "apply" => {
                let (name, json) = rest.split_once(' ').unwrap_or((rest, "{}"));
                let patch: Value = serde_json::from_str(json).map_err(|error| error.to_string())?;
                let mut object = self.named.get(name).ok_or("no such name")?.clone();
                merge(&mut object, &patch);
                self.apply(&object)
            }
            "delete" => {
                let words: Vec<&str> = rest.split(' ').collect();
                let gvk = Gvk::new(words[0], words[1]);
                let object = self.get(&words).ok_or("it is not there")?;
                self.call(Call::Delete {
                    id: ObjectId::of(&object).unwrap(),
                    gvk,
                    uid: String::new(),
                    propagation: match words.get(4) {
                        Some(&"foreground") => Propagation::Foreground,
                        Some(&"orphan") => Propagation::Orphan,
                        _ => Propagation::Background,
                    },
                })
                .map(|_| ())
            }
            "run" => {
                self.run(rest.parse().unwrap());
                Ok(())
            }
            other => Err(format!("no such command: {other}")),
        }
    }
}

fn check(file: &str, text: &str) -> usize {
    let mut story = Story::new(7);
    let mut lines: Vec<(usize, String)> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if line.starts_with(' ') {
            // a long manifest goes on
            lines.last_mut().unwrap().1.push_str(line.trim());
        } else if !line.trim().is_empty() && !line.starts_with('#') {
            lines.push((number + 1, line.to_owned()));
        }
    }
    let (mut wrong, mut asked) = (Vec::new(), 0);
    for (number, line) in lines {
        if let Some((question, expected)) = line.split_once(" => ") {
            asked += 1;
            let found = story.ask(&question.split(' ').collect::<Vec<_>>());
            if found != expected.trim() {
                wrong.push(format!(
                    "{file}:{number}: {question} => {found}, not {expected}"
                ));
            }
        } else if let Err(error) = story.tell(&line) {
            panic!("{file}:{number}: {line}: {error}");
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    asked
}

#[test]
fn every_story_goes_as_told() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scenarios");
    let mut failed = Vec::new();
    let mut asked = 0;
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    for path in files {
        let text = std::fs::read_to_string(&path).unwrap();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        match std::panic::catch_unwind(|| check(&name, &text)) {
            Ok(count) => asked += count,
            Err(_) => failed.push(name),
        }
    }
    assert!(failed.is_empty(), "failed: {failed:?}");
    assert!(asked > 50, "only {asked} questions were asked");
}
