//! Telling states of an object apart without reading it in full.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use k8s_object::{Gvk, ObjectId};
use roadstead_model::AppKey;

use crate::app::AppSync;

/// What tells one state of an object from another.
#[derive(serde::Deserialize)]
pub(super) struct Head<'a> {
    #[serde(borrow, rename = "apiVersion")]
    api_version: Cow<'a, str>,
    #[serde(borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    metadata: HeadMeta<'a>,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct HeadMeta<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow, default)]
    namespace: Cow<'a, str>,
    #[serde(borrow)]
    uid: Cow<'a, str>,
    #[serde(borrow)]
    resource_version: Cow<'a, str>,
}

impl<'a> Head<'a> {
    /// `None` for what is to be read in full.
    pub(super) fn of(bytes: &'a [u8]) -> Option<Self> {
        let head: Self = serde_json::from_slice(bytes).ok()?;
        let told = !head.metadata.uid.is_empty() && !head.metadata.resource_version.is_empty();
        (told && head.kind != "Namespace").then_some(head)
    }

    pub(super) fn revision(&self) -> &str {
        &self.metadata.resource_version
    }

    pub(super) fn id(&self) -> ObjectId {
        let gvk = Gvk::new(&self.api_version, &self.kind);
        ObjectId {
            group: gvk.group,
            kind: gvk.kind,
            namespace: self.metadata.namespace.to_string(),
            name: self.metadata.name.to_string(),
        }
    }
}

/// Has every App that has to do with an object taken this state of it in?
pub(super) fn is_known(
    index: &BTreeMap<ObjectId, BTreeSet<AppKey>>,
    apps: &BTreeMap<AppKey, AppSync>,
    id: &ObjectId,
    head: &Head<'_>,
) -> bool {
    let Some(keys) = index.get(id).filter(|keys| !keys.is_empty()) else {
        return false;
    };
    keys.iter().all(|key| {
        let obj = apps.get(key).and_then(|app| app.objects.get(id));
        obj.is_some_and(|obj| {
            obj.live.as_ref().is_some_and(|live| {
                live.uid == head.metadata.uid && live.revision == head.metadata.resource_version
            }) && obj.verdict().is_some()
        })
    })
}
