//! Which kinds the hub serves, and what people call them.

use std::sync::Arc;

use anyhow::anyhow;
use serde_json::Value;

use super::{API, Ask, Client, escape, is_missing};
use crate::shell::Hinted;

/// A kind that the hub serves.
#[derive(Debug, Clone)]
pub(crate) struct Kind {
    /// Where it is served: `/apis/group/version`.
    pub(crate) base: String,
    /// Its group; empty for Kubernetes' core.
    pub(crate) group: String,
    /// `group/version`.
    pub(crate) api_version: String,
    /// The kind.
    pub(crate) kind: String,
    /// The plural.
    pub(crate) plural: String,
    /// The singular.
    pub(crate) singular: String,
    /// Short names.
    pub(crate) short: Vec<String>,
    /// Does it live in a Project?
    pub(crate) namespaced: bool,
    /// What can be done with it.
    pub(crate) verbs: Vec<String>,
}

impl Kind {
    fn is_called(&self, name: &str) -> bool {
        self.plural == name
            || self.singular == name
            || self.short.iter().any(|short| short == name)
            || self.kind.eq_ignore_ascii_case(name)
            || name.split_once('.').is_some_and(|(plural, group)| {
                group == self.group && (plural == self.plural || plural == self.singular)
            })
    }

    /// The URL's path of all of them in a Project (`None`: everywhere), or of one.
    pub(crate) fn path(&self, project: Option<&str>, name: Option<&str>) -> String {
        let mut path = self.base.clone();
        if self.namespaced
            && let Some(project) = project
        {
            path.push_str("/namespaces/");
            path.push_str(&escape(project));
        }
        path.push('/');
        path.push_str(&self.plural);
        if let Some(name) = name {
            path.push('/');
            path.push_str(&escape(name));
        }
        path
    }

    /// How the object is named to people: `app.roadstead.dev/guestbook`.
    pub(crate) fn readable(&self, name: &str) -> String {
        if self.group.is_empty() {
            format!("{}/{name}", self.singular)
        } else {
            format!("{}.{}/{name}", self.singular, self.group)
        }
    }
}

/// A kind and the names that were given for it.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// The kind.
    pub(crate) kind: Kind,
    /// Without names: all of them.
    pub(crate) names: Vec<String>,
}

impl Client {
    /// The kinds of one group and version.
    pub(crate) async fn kinds(&self, base: &str) -> anyhow::Result<Arc<Vec<Kind>>> {
        if let Some(known) = self.kinds.lock().await.get(base) {
            return Ok(Arc::clone(known));
        }
        let answer = self.ask(Ask::get(base)).await?;
        let kinds = Arc::new(read(base, &answer));
        self.kinds
            .lock()
            .await
            .insert(base.to_owned(), Arc::clone(&kinds));
        Ok(kinds)
    }

    /// Finds a kind by what people call it.
    pub(crate) async fn kind_called(&self, name: &str) -> anyhow::Result<Kind> {
        let wanted = name.to_lowercase();
        // a cluster's own API server has none of them, and may be looked at all the same
        let own = match self.kinds(API).await {
            Err(error) if is_missing(&error) => Arc::default(),
            own => own?,
        };
        if let Some(kind) = own.iter().find(|kind| kind.is_called(&wanted)) {
            return Ok(kind.clone());
        }
        if let Ok(core) = self.kinds("/api/v1").await
            && let Some(kind) = core.iter().find(|kind| kind.is_called(&wanted))
        {
            return Ok(kind.clone());
        }
        let known: Vec<&str> = own.iter().map(|kind| kind.plural.as_str()).collect();
        Err(Hinted {
            error: anyhow!("the hub has no kind {name:?}"),
            hint: format!("the kinds are {}", known.join(", ")),
        }
        .into())
    }

    /// Finds the kind of an object.
    pub(crate) async fn kind_of(&self, api_version: &str, kind: &str) -> anyhow::Result<Kind> {
        let base = if api_version.contains('/') {
            format!("/apis/{api_version}")
        } else {
            format!("/api/{api_version}")
        };
        let known = match self.kinds(&base).await {
            Ok(known) => known,
            Err(error) if is_missing(&error) => Arc::default(),
            Err(error) => return Err(error),
        };
        match known.iter().find(|found| found.kind == kind) {
            Some(found) => Ok(found.clone()),
            None => Err(anyhow!(
                "the hub has no kind {kind} in {api_version}; deliver it to clusters with an App"
            )),
        }
    }

    /// Reads `KIND`, `KIND NAME…`, `KIND,KIND` or `KIND/NAME…`.
    pub(crate) async fn targets(&self, words: &[String]) -> anyhow::Result<Vec<Target>> {
        let Some(first) = words.first() else {
            return Ok(Vec::new());
        };
        if first.contains('/') {
            let mut out = Vec::new();
            for word in words {
                let (kind, name) = word
                    .split_once('/')
                    .filter(|(_, name)| !name.is_empty())
                    .ok_or_else(|| anyhow!("{word:?} is not of the form KIND/NAME"))?;
                out.push(Target {
                    kind: self.kind_called(kind).await?,
                    names: vec![name.to_owned()],
                });
            }
            return Ok(out);
        }
        let mut out = Vec::new();
        for kind in first.split(',').filter(|kind| !kind.is_empty()) {
            out.push(Target {
                kind: self.kind_called(kind).await?,
                names: words[1..].to_vec(),
            });
        }
        Ok(out)
    }
}

fn read(base: &str, answer: &Value) -> Vec<Kind> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let texts = |value: &Value| -> Vec<String> {
        let items = value.as_array().into_iter().flatten();
        items.map(text).collect()
    };
    let api_version = text(&answer["groupVersion"]);
    let group = api_version
        .split_once('/')
        .map(|(group, _)| group.to_owned())
        .unwrap_or_default();
    let resources = answer["resources"].as_array().into_iter().flatten();
    resources
        .filter(|resource| !text(&resource["name"]).contains('/'))
        .map(|resource| Kind {
            base: base.to_owned(),
            group: group.clone(),
            api_version: api_version.clone(),
            kind: text(&resource["kind"]),
            plural: text(&resource["name"]),
            singular: match text(&resource["singularName"]) {
                singular if singular.is_empty() => text(&resource["kind"]).to_lowercase(),
                singular => singular,
            },
            short: texts(&resource["shortNames"]),
            namespaced: resource["namespaced"] == true,
            verbs: texts(&resource["verbs"]),
        })
        .collect()
}
