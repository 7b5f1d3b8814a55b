//! Kustomizations as an App's renderer.

use std::collections::BTreeMap;
use std::sync::Arc;

use base_json::Digest;
use bytes::Bytes;
use roadstead_kustomize::{
    Error, Files, HelmOptions, Kustomizer, Layer, Limits, NAMES, Options, Order, Remote,
};
use roadstead_model::{
    AppKey, AppSpec, KustomizeRenderer, LoadRestrictor, PlainRenderer, RandomPolicy, ReleaseId,
};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::chart::{root, seed};
use crate::plain::{flatten, refuse_duplicates};
use crate::{Fetched, Inputs, Origin, RenderError, RenderSettings, Rendered};

/// What a kustomization gets for one target input.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct KustomizeInput {
    /// Its folder, relative to the input's path.
    pub path: String,
    /// What stands above it, with the places that say so.
    pub layers: Vec<(String, Map<String, Value>)>,
}

impl KustomizeInput {
    /// The digest of the canonical JSON: inputs with one digest build the same.
    pub fn digest(&self) -> Digest {
        Digest::of(&base_json::canonical_of(self).unwrap_or_default())
    }
}

/// Kustomizations of one tree; what they have in common is built once.
pub struct Kustomization {
    kustomizer: Kustomizer,
    files: Arc<BTreeMap<String, Bytes>>,
    spec: AppSpec,
    kustomize: KustomizeRenderer,
    /// The first input's path, with a slash behind it.
    root: String,
    helm: HelmOptions,
}

impl Kustomization {
    /// Is the first input a kustomization? It is where the App says so, and, where it says nothing else, where one stands at
    /// its path or an overlay names the folder of one.
    pub fn wanted(spec: &AppSpec, inputs: &Inputs) -> Result<bool, RenderError> {
        if spec.render.kustomize.is_some() {
            return Ok(true);
        }
        let root = root(spec);
        let path = || root.trim_end_matches('/').to_owned();
        let silent = spec.render.plain == PlainRenderer::default() && spec.render.helm.is_none();
        if silent && stands_at(&inputs.first, &root) {
            if inputs.first.contains_key(&format!("{root}Chart.yaml")) {
                return Err(RenderError::Ambiguous { path: path() });
            }
            return Ok(true);
        }
        let mut changed = spec.overlays.iter().filter_map(|overlay| {
            let changes = overlay.kustomize.as_ref()?;
            Some((overlay, changes))
        });
        match changed.next() {
            None => Ok(false),
            // an overlay that names a folder says where one is
            Some((_, changes)) if silent && !changes.path.is_empty() => Ok(true),
            Some((overlay, _)) => Err(RenderError::NotBuilt {
                overlay: overlay.name.clone(),
                path: path(),
            }),
        }
    }

    /// Takes the files of an App.
    pub fn of(
        app: &AppKey,
        spec: &AppSpec,
        release: ReleaseId,
        inputs: &Inputs,
    ) -> Result<Self, RenderError> {
        let root = root(spec);
        let kustomize = spec.render.kustomize.clone().unwrap_or_default();
        let paths = spec.overlays.iter().filter_map(|o| o.kustomize.as_ref());
        let mut paths = paths.map(|changes| &changes.path);
        let fixed = &kustomize.changes.path;
        if !fixed.contains("${") && paths.all(String::is_empty) {
            let folder = folder(&root, fixed);
            if !stands_at(&inputs.first, &folder) {
                return Err(RenderError::NoKustomization {
                    path: folder.trim_end_matches('/').to_owned(),
                });
            }
        }
        let files = Arc::new(inputs.first.clone());
        let fetched = inputs.fetched.iter().map(|(address, found)| {
            let remote = match found {
                Fetched::File(bytes) => Remote::File(bytes.clone()),
                Fetched::Folder { files, path } => Remote::Folder {
                    files: Arc::clone(files) as Arc<dyn Files>,
                    path: path.clone(),
                },
            };
            (address.clone(), remote)
        });
        let tree = Arc::clone(&files) as Arc<dyn Files>;
        let helm = HelmOptions {
            kube_version: crate::KUBE_VERSION.to_owned(),
            seed: seed(inputs, app, release, RandomPolicy::Seeded),
            now: i128::from(inputs.now_ms) * 1_000_000,
            ..HelmOptions::default()
        };
        Ok(Self {
            kustomizer: Kustomizer::new(tree, fetched.collect(), Limits::default()),
            files,
            spec: spec.clone(),
            kustomize,
            root,
            helm,
        })
    }

    /// Builds it: the objects, and what is to be warned of.
    pub fn build(
        &self,
        input: &KustomizeInput,
    ) -> Result<(Vec<Rendered>, Vec<String>), RenderError> {
        let folder = folder(&self.root, &input.path);
        let path = folder.trim_end_matches('/');
        if input.path.starts_with('/') || input.path.split('/').any(|part| part == "..") {
            return Err(RenderError::Kustomization {
                problem: format!("{:?} leaves the input", input.path),
            });
        }
        if !stands_at(&self.files, &folder) {
            let path = path.to_owned();
            return Err(RenderError::NoKustomization { path });
        }
        let layers = input.layers.iter().map(|(place, fields)| Layer {
            place: place.clone(),
            fields: fields.clone(),
        });
        let options = Options {
            order: Order::Legacy,
            anywhere: self.kustomize.load_restrictor == LoadRestrictor::None,
            helm: Some(self.helm.clone()),
            metadata: self.kustomize.build_metadata.clone(),
            layers: layers.collect(),
        };
        let built = self.kustomizer.build(path, &options);
        let built = built.map_err(|error| self.refused(error))?;
        let mut out = Vec::with_capacity(built.objects.len());
        for object in built.objects {
            let origin = Origin {
                // what was made has no place of its own
                file: match object.file.as_str() {
                    "" => format!("{folder}kustomization.yaml"),
                    file => file.to_owned(),
                },
                line: object.line.max(1),
                document: 0,
                item: None,
            };
            flatten(object.value, origin, &mut out)?;
        }
        if out.is_empty() {
            let path = path.to_owned();
            return Err(RenderError::NothingBuilt { path });
        }
        refuse_duplicates(&out, &RenderSettings::of(&self.spec))?;
        Ok((out, built.warnings))
    }

    /// Takes over what is wrong. No line is shown of a file that may hold a Secret, since this is kept in a status for all
    /// to read.
    fn refused(&self, mut error: Error) -> RenderError {
        let file = error.place.as_ref().and_then(|p| self.files.get(&p.file));
        let open = file.is_some_and(|bytes| {
            let text = String::from_utf8_lossy(bytes);
            !text.to_ascii_lowercase().contains("secret")
        });
        if !open {
            error.excerpt = None;
        }
        RenderError::Kustomization {
            problem: error.to_string(),
        }
    }
}

impl std::fmt::Debug for Kustomization {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kustomization")
            .field("root", &self.root)
            .finish_non_exhaustive()
    }
}

/// A folder below another, both with a slash behind them.
fn folder(root: &str, path: &str) -> String {
    let parts = path.split('/').filter(|part| !matches!(*part, "" | "."));
    parts.fold(root.to_owned(), |folder, part| format!("{folder}{part}/"))
}

/// Does a kustomization stand in a folder?
fn stands_at(files: &BTreeMap<String, Bytes>, folder: &str) -> bool {
    let mut names = NAMES.iter();
    names.any(|name| files.contains_key(&format!("{folder}{name}")))
}
