//! Rendered objects before overlays: normalised, and in their namespaces.

use std::collections::{BTreeMap, BTreeSet};

use k8s_object::{GroupKind, Gvk};
use roadstead_model::{AppKey, AppSpec};
use roadstead_render::{Origin, Rendered};
use roadstead_target::Uses;
use serde_json::Value;

use crate::object::{Namespaces, normalise, place};
use crate::{InputError, Scopes};

/// What one rendering came to.
#[derive(Debug)]
pub(crate) struct Objects {
    pub(crate) base: Vec<Base>,
    scopes: Scopes,
    /// The kind that each CustomResourceDefinition defines, by the definition's name.
    pub(crate) defines: BTreeMap<String, GroupKind>,
    pub(crate) warnings: Vec<String>,
}

#[derive(Debug)]
pub(crate) struct Base {
    pub(crate) object: Value,
    pub(crate) origin: Origin,
    /// Holds expressions, so that it differs from cluster to cluster.
    pub(crate) varies: bool,
    /// Why it cannot be placed, whatever the cluster.
    pub(crate) refused: Option<InputError>,
}

/// The namespaces that an App's objects go into.
pub(crate) fn namespaces<'a>(spec: &'a AppSpec, app: &'a AppKey) -> Namespaces<'a> {
    Namespaces {
        fill: &spec.namespace,
        force: &spec.force_namespace,
        project: &app.project,
    }
}

impl Objects {
    /// Takes in what was rendered; `substitute`: expressions in it are replaced for each cluster.
    pub(crate) fn new(
        rendered: Vec<Rendered>,
        substitute: bool,
        namespaces: &Namespaces<'_>,
    ) -> Self {
        let mut scopes = Scopes::builtin();
        let mut defines = BTreeMap::new();
        for one in &rendered {
            scopes.learn(&one.object);
            let text = |pointer: &str| one.object.pointer(pointer).and_then(Value::as_str);
            if let (Some(group), Some(kind)) = (text("/spec/group"), text("/spec/names/kind")) {
                let name = k8s_object::name(&one.object).to_owned();
                defines.insert(name, GroupKind::new(group, kind));
            }
        }
        let mut unknown = BTreeSet::new();
        let base: Vec<Base> = rendered
            .into_iter()
            .map(|one| {
                let mut object = one.object;
                let kind = Gvk::of(&object).map(|gvk| gvk.group_kind());
                if let Some(kind) = kind.filter(|kind| scopes.namespaced(kind).is_none()) {
                    unknown.insert(kind);
                }
                normalise(&mut object);
                Base {
                    varies: substitute && Uses::touches(&object),
                    object,
                    origin: one.origin,
                    refused: None,
                }
            })
            .collect();
        let warnings = unknown.into_iter().map(|kind| {
            format!("kind {kind} is not known here: its objects are taken to live in a namespace")
        });
        let mut objects = Self {
            warnings: warnings.collect(),
            base: Vec::new(),
            scopes,
            defines,
        };
        // once for all inputs; what varies is placed after its expressions are replaced
        objects.base = base
            .into_iter()
            .map(|mut base| {
                if !base.varies {
                    let placed = objects.place(&mut base.object, &base.origin, namespaces);
                    base.refused = placed.err();
                }
                base
            })
            .collect();
        objects
    }

    /// Puts an object into its namespace.
    pub(crate) fn place(
        &self,
        object: &mut Value,
        origin: &Origin,
        namespaces: &Namespaces<'_>,
    ) -> Result<bool, InputError> {
        place(object, &self.scopes, namespaces).map_err(|problem| InputError::at(origin, problem))
    }
}
