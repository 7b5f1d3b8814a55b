//! The plain renderer: manifests as they stand in files.

use std::collections::BTreeMap;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use k8s_object::{Gvk, ObjectId};
use roadstead_model::{AppSpec, PlainRenderer};
use serde_json::Value;

use crate::{Origin, RenderError};

/// One object and where it was written.
#[derive(Debug, Clone, PartialEq)]
pub struct Rendered {
    /// The object as it was written.
    pub object: Value,
    /// Where.
    pub origin: Origin,
}

/// How to render.
#[derive(Debug, Clone, Default)]
pub struct RenderSettings<'a> {
    /// The folder or file in the tree; empty for all of it.
    pub path: &'a str,
    /// What to take and leave out.
    pub plain: PlainRenderer,
    /// Where objects live that name no namespace; only used to see that two are the same.
    pub namespace: &'a str,
    /// The namespace that every object is put into, if any.
    pub force_namespace: &'a str,
    /// How much a tree may hold.
    pub limits: Limits,
}

/// How much a tree may hold, so that a hostile one cannot stop the hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one manifest.
    pub file_bytes: usize,
    /// Bytes of all manifests.
    pub total_bytes: usize,
    /// Objects.
    pub objects: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            file_bytes: 10 << 20,
            total_bytes: 64 << 20,
            objects: 20_000,
        }
    }
}

impl<'a> RenderSettings<'a> {
    /// The settings of an App; its first input is rendered.
    pub fn of(spec: &'a AppSpec) -> Self {
        Self {
            path: spec.inputs.first().map_or("", |input| input.path.as_str()),
            plain: spec.render.plain.clone(),
            namespace: &spec.namespace,
            force_namespace: &spec.force_namespace,
            limits: Limits::default(),
        }
    }
}

const MANIFESTS: [&str; 3] = [".yaml", ".yml", ".json"];

/// Renders the files of a tree, by their paths from its root. The objects come in the order of files and documents.
pub fn render<B: AsRef<[u8]>>(
    files: &BTreeMap<String, B>,
    settings: &RenderSettings<'_>,
) -> Result<Vec<Rendered>, RenderError> {
    let path = settings.path.trim_matches('/');
    let path = if path == "." {
        ""
    } else {
        path.strip_prefix("./").unwrap_or(path)
    };
    let below = below(files, path);
    if below.is_empty() {
        return Err(RenderError::NoPath {
            path: path.to_owned(),
            near: near(files, path),
        });
    }
    let include = globs(&settings.plain.include, "include")?;
    let exclude = globs(&settings.plain.exclude, "exclude")?;
    let wanted = |relative: &str| {
        !hidden(relative)
            && (settings.plain.include.is_empty() || include.is_match(relative))
            && !exclude.is_match(relative)
    };
    for (_, file, _) in below.iter().filter(|(relative, _, _)| wanted(relative)) {
        other_renderer(file)?;
    }
    let manifest = |relative: &str| MANIFESTS.iter().any(|end| relative.ends_with(end));
    let taken: Vec<_> = below
        .iter()
        .filter(|(relative, _, _)| manifest(relative) && wanted(relative))
        .collect();
    if taken.is_empty() {
        return Err(RenderError::NoManifests {
            path: path.to_owned(),
            seen: below.len(),
        });
    }
    let (mut out, mut total) = (Vec::new(), 0);
    for (_, file, bytes) in taken {
        total += bytes.len();
        if bytes.len() > settings.limits.file_bytes {
            return Err(RenderError::FileTooLarge {
                file: (*file).to_owned(),
                size: bytes.len(),
                limit: settings.limits.file_bytes,
            });
        }
        let too_much = |what, limit| RenderError::TooMuch {
            path: path.to_owned(),
            what,
            limit,
        };
        if total > settings.limits.total_bytes {
            return Err(too_much("bytes of manifests", settings.limits.total_bytes));
        }
        let documents =
            base_yaml::parse_file(bytes, file).map_err(|error| unshown(error, bytes))?;
        for document in documents {
            let origin = Origin {
                file: (*file).to_owned(),
                line: document.line,
                document: document.index,
                item: None,
            };
            flatten(document.value, origin, &mut out)?;
            if out.len() > settings.limits.objects {
                return Err(too_much("objects", settings.limits.objects));
            }
        }
    }
    if out.is_empty() {
        return Err(RenderError::NoManifests {
            path: path.to_owned(),
            seen: below.len(),
        });
    }
    refuse_duplicates(&out, settings)?;
    Ok(out)
}

/// Takes the excerpt off where the file may hold a Secret: what it shows is kept in a status for all to read.
fn unshown(mut error: base_yaml::YamlError, bytes: &[u8]) -> base_yaml::YamlError {
    let word = b"Secret";
    if bytes.windows(word.len()).any(|window| window == word) {
        "(not shown: the file holds a Secret)".clone_into(&mut error.excerpt);
    }
    error
}

type Found<'f> = (&'f str, &'f str, &'f [u8]);

/// The files at or below a path: relative path, path from the root, content.
fn below<'f, B: AsRef<[u8]>>(files: &'f BTreeMap<String, B>, path: &str) -> Vec<Found<'f>> {
    files
        .iter()
        .filter_map(|(file, bytes)| {
            let relative = if path.is_empty() {
                file.as_str()
            } else if file == path {
                file.rsplit('/').next().unwrap_or(file)
            } else {
                file.strip_prefix(path)?.strip_prefix('/')?
            };
            Some((relative, file.as_str(), bytes.as_ref()))
        })
        .collect()
}

/// A folder or file whose path differs in case or is the same further down.
fn near<B>(files: &BTreeMap<String, B>, path: &str) -> Option<String> {
    let wanted = path.to_lowercase();
    let mut folders = files.keys().flat_map(|file| {
        let ends = file.match_indices('/').map(|(at, _)| at);
        ends.chain([file.len()]).map(|end| &file[..end])
    });
    folders
        .find(|folder| {
            let folder = folder.to_lowercase();
            folder == wanted || folder.ends_with(&format!("/{wanted}"))
        })
        .map(str::to_owned)
}

fn hidden(relative: &str) -> bool {
    relative.split('/').any(|part| part.starts_with('.'))
}

fn globs(patterns: &[String], field: &'static str) -> Result<GlobSet, RenderError> {
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        let error = |error: globset::Error| RenderError::Glob {
            field,
            glob: pattern.clone(),
            problem: error.kind().to_string(),
        };
        let glob = GlobBuilder::new(pattern)
            .literal_separator(true)
            .build()
            .map_err(error)?;
        set.add(glob);
        // a folder's name stands for everything in it
        if !pattern.contains(['*', '?', '[', '{']) {
            let inside = format!("{}/**", pattern.trim_end_matches('/'));
            set.add(GlobBuilder::new(&inside).build().map_err(error)?);
        }
    }
    set.build().map_err(|error| RenderError::Glob {
        field,
        glob: patterns.join(", "),
        problem: error.to_string(),
    })
}

fn other_renderer(file: &str) -> Result<(), RenderError> {
    let (what, hint) = match file.rsplit('/').next().unwrap_or(file) {
        "kustomization.yaml" | "kustomization.yml" | "Kustomization" => (
            "Kustomization",
            "point the input's path at this folder, or name it in spec.render.kustomize.path, or leave the file out with \
             spec.render.plain.exclude",
        ),
        "Chart.yaml" => (
            "Helm chart",
            "point the input's path at this folder, or leave the folder out with spec.render.plain.exclude",
        ),
        _ => return Ok(()),
    };
    let file = file.to_owned();
    Err(RenderError::OtherRenderer { file, what, hint })
}

pub(crate) fn flatten(
    value: Value,
    origin: Origin,
    out: &mut Vec<Rendered>,
) -> Result<(), RenderError> {
    if value.is_object() && k8s_object::is_list(&value) {
        for (index, item) in k8s_object::list_items(value).into_iter().enumerate() {
            let item_origin = Origin {
                item: Some(index),
                ..origin.clone()
            };
            flatten(item, item_origin, out)?;
        }
        return Ok(());
    }
    if let Some(problem) = problem_of(&value) {
        return Err(RenderError::NotAnObject { origin, problem });
    }
    other_kind(&value, &origin)?;
    out.push(Rendered {
        object: value,
        origin,
    });
    Ok(())
}

/// Some kinds look like objects and are another renderer's input, whatever their file is called.
fn other_kind(value: &Value, origin: &Origin) -> Result<(), RenderError> {
    let gvk = Gvk::of(value);
    if gvk.is_some_and(|gvk| gvk.group == "kustomize.config.k8s.io") {
        let folder = origin
            .file
            .rsplit_once('/')
            .map_or("", |(folder, _)| folder);
        return other_renderer(&format!("{folder}/kustomization.yaml")).map_err(
            |error| match error {
                RenderError::OtherRenderer { what, hint, .. } => RenderError::OtherRenderer {
                    file: origin.file.clone(),
                    what,
                    hint,
                },
                other => other,
            },
        );
    }
    Ok(())
}

fn problem_of(value: &Value) -> Option<String> {
    let Value::Object(map) = value else {
        let what = match value {
            Value::Array(_) => "a list",
            Value::String(_) => "a text",
            _ => "a single value",
        };
        return Some(format!(
            "document is {what}, not a Kubernetes object; if the file is no manifest, leave it out with \
             spec.render.plain.exclude"
        ));
    };
    let text = |key: &str| map.get(key).and_then(Value::as_str).unwrap_or_default();
    let missing: Vec<&str> = ["apiVersion", "kind"]
        .into_iter()
        .filter(|key| text(key).is_empty())
        .collect();
    if !missing.is_empty() {
        return Some(format!(
            "document has no {}; if the file is no manifest, leave it out with spec.render.plain.exclude",
            missing.join(" and no ")
        ));
    }
    let kind = text("kind");
    let metadata = match map.get("metadata") {
        Some(Value::Object(metadata)) => metadata,
        Some(Value::Null) | None => return Some(format!("{kind} has no metadata.name")),
        Some(_) => return Some(format!("{kind}: metadata is not a map")),
    };
    for field in ["name", "generateName", "namespace"] {
        if metadata
            .get(field)
            .is_some_and(|value| !value.is_string() && !value.is_null())
        {
            return Some(format!("{kind}: metadata.{field} is not a text; quote it"));
        }
    }
    let has = |field: &str| {
        let value = metadata.get(field).and_then(Value::as_str);
        value.is_some_and(|value| !value.is_empty())
    };
    if !has("name") && !has("generateName") {
        return Some(format!("{kind} has no metadata.name"));
    }
    for field in ["labels", "annotations"] {
        match metadata.get(field) {
            None | Some(Value::Null) => {}
            Some(Value::Object(entries)) => {
                if let Some((key, _)) = entries.iter().find(|(_, v)| !v.is_string() && !v.is_null())
                {
                    return Some(format!(
                        "{kind}: metadata.{field}[{key:?}] is not a text; quote it"
                    ));
                }
            }
            Some(_) => return Some(format!("{kind}: metadata.{field} is not a map")),
        }
    }
    None
}

pub(crate) fn refuse_duplicates(
    objects: &[Rendered],
    settings: &RenderSettings<'_>,
) -> Result<(), RenderError> {
    let mut seen: BTreeMap<ObjectId, &Origin> = BTreeMap::new();
    for rendered in objects {
        let Some(mut id) = ObjectId::of(&rendered.object) else {
            continue;
        };
        if !settings.force_namespace.is_empty() {
            settings.force_namespace.clone_into(&mut id.namespace);
        } else if id.namespace.is_empty() {
            settings.namespace.clone_into(&mut id.namespace);
        }
        if let Some(first) = seen.insert(id.clone(), &rendered.origin) {
            return Err(RenderError::Duplicate {
                object: Box::new(id),
                first: Box::new(first.clone()),
                second: Box::new(rendered.origin.clone()),
            });
        }
    }
    Ok(())
}
