//! What the demo looks at: the hub's nouns, and what the clusters counted.

use std::collections::BTreeMap;
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use super::fleet::{Fleet, until};
use super::screen::Screen;
use crate::client::{API, Ask};

/// What those outside wrote in one cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Writes {
    /// Writes that changed something.
    pub(crate) changes: u64,
    /// The same by object.
    pub(crate) objects: BTreeMap<String, u64>,
}

impl Fleet {
    /// What was written in a cluster so far.
    pub(crate) async fn writes(&self, cluster: &str) -> anyhow::Result<Writes> {
        let path = format!("/clusters/{cluster}/playground/counters");
        let counters = self.playground.ask(Ask::get(&path)).await?;
        let sum = |map: &Value| {
            map.as_object()
                .into_iter()
                .flatten()
                .map(|(_, t)| t["changes"].as_u64().unwrap_or(0))
                .sum()
        };
        let objects = counters["objects"].as_object().into_iter().flatten();
        Ok(Writes {
            changes: sum(&counters["writes"]),
            objects: objects
                .map(|(key, tally)| (key.clone(), tally["changes"].as_u64().unwrap_or(0)))
                .collect(),
        })
    }

    /// What was written in every cluster so far.
    pub(crate) async fn all_writes(&self) -> anyhow::Result<BTreeMap<String, Writes>> {
        let mut out = BTreeMap::new();
        for member in self.members() {
            out.insert(member.name.clone(), self.writes(&member.name).await?);
        }
        Ok(out)
    }

    /// Breaks or mends a cluster's connection to the world.
    pub(crate) async fn offline(&self, cluster: &str, offline: bool) -> anyhow::Result<()> {
        let path = format!("/clusters/{cluster}/playground/fault");
        let body = json!({ "offline": offline });
        self.playground
            .ask(Ask::send(Method::POST, &path, "application/json", &body))
            .await
            .map(drop)
    }

    /// Reads an object of a cluster; `None` if it is not there.
    pub(crate) async fn object(&self, cluster: &str, path: &str) -> anyhow::Result<Option<Value>> {
        let path = format!("/clusters/{cluster}{path}");
        match self.playground.ask(Ask::get(&path)).await {
            Ok(object) => Ok(Some(object)),
            Err(error) if crate::client::is_missing(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Removes an object of a cluster, as somebody does by hand.
    pub(crate) async fn delete(&self, cluster: &str, path: &str) -> anyhow::Result<()> {
        let path = format!("/clusters/{cluster}{path}");
        self.playground
            .ask(Ask::send(
                Method::DELETE,
                &path,
                "application/json",
                &json!({}),
            ))
            .await
            .map(drop)
    }

    /// The newest Rollout of an App.
    pub(crate) async fn rollout(&self, app: &str) -> anyhow::Result<Option<Value>> {
        let rollouts = self.list("rollouts", true).await?;
        let of = rollouts
            .into_iter()
            .filter(|rollout| rollout["spec"]["app"] == app);
        Ok(of.max_by_key(|rollout| rollout["spec"]["number"].as_u64()))
    }

    /// A Release by its id.
    pub(crate) async fn release(&self, id: &str) -> anyhow::Result<Option<Value>> {
        Ok(self
            .list("releases", true)
            .await?
            .into_iter()
            .find(|release| release["spec"]["id"] == id))
    }

    /// Waits until the newest Rollout of an App is one of this commit and in one of these phases.
    pub(crate) async fn rolled(
        &self,
        app: &str,
        commit: &str,
        phases: &[&str],
        screen: &Screen,
    ) -> anyhow::Result<Value> {
        let what = format!("a Rollout of {app} at {}", &commit[..12]);
        until(&what, Duration::from_secs(90), || async {
            let Some(rollout) = self.rollout(app).await? else {
                return Ok(None);
            };
            let id = rollout["spec"]["release"].as_str().unwrap_or_default();
            let release = self.release(id).await?;
            if release.is_none_or(|release| release["spec"]["commit"] != commit) {
                return Ok(None);
            }
            let status = &rollout["status"];
            screen.moving(&bars(status));
            Ok(phases
                .iter()
                .any(|phase| status["phase"] == *phase)
                .then(|| rollout.clone()))
        })
        .await
    }

    /// All assignments of an App, by cluster.
    pub(crate) async fn assignments(&self, app: &str) -> anyhow::Result<BTreeMap<String, Value>> {
        let path = format!("{API}/namespaces/default/assignments");
        let list = self
            .client
            .ask(Ask::get(&path).with("fieldSelector", format!("spec.app={app}")))
            .await?;
        let items = list["items"].as_array().cloned().unwrap_or_default();
        Ok(items
            .into_iter()
            .map(|item| {
                (
                    item["spec"]["cluster"]
                        .as_str()
                        .unwrap_or_default()
                        .to_owned(),
                    item,
                )
            })
            .collect())
    }

    /// Asks for an action on an App.
    pub(crate) async fn act(
        &self,
        app: &str,
        command: Value,
        reason: &str,
    ) -> anyhow::Result<Value> {
        let path = format!("{API}/namespaces/default/apps/{app}/actions");
        let body = json!({ "command": command, "reason": reason });
        self.client
            .ask(Ask::send(Method::POST, &path, "application/json", &body))
            .await
    }

    /// The first sentence of `why`.
    pub(crate) async fn why(&self, app: &str, cluster: &str) -> anyhow::Result<String> {
        let path = format!("{API}/namespaces/default/apps/{app}/why");
        let answer = self
            .client
            .ask(Ask::get(&path).with("cluster", cluster))
            .await?;
        Ok(answer["answer"][0].as_str().unwrap_or_default().to_owned())
    }
}

/// A Rollout's stages as one line.
fn bars(status: &Value) -> String {
    let stages = status["stages"].as_array().cloned().unwrap_or_default();
    let stage = |stage: &Value| {
        let number = |key: &str| stage[key].as_u64().unwrap_or(0);
        let (clusters, healthy) = (number("clusters"), number("healthy"));
        let width = 12;
        let full = (healthy * width).checked_div(clusters).unwrap_or(0);
        let full = usize::try_from(full).unwrap_or(0);
        let bar = format!(
            "{}{}",
            "█".repeat(full),
            "░".repeat(usize::try_from(width).unwrap_or(0) - full)
        );
        let failed = match number("failed") {
            0 => String::new(),
            failed => format!(" {failed} failed"),
        };
        format!(
            "{} {bar} {healthy}/{clusters}{failed}",
            stage["name"].as_str().unwrap_or_default()
        )
    };
    let shown = stages
        .iter()
        .filter(|stage| stage["clusters"] != 0)
        .map(stage);
    shown.collect::<Vec<_>>().join("   ")
}
