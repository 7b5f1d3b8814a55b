//! Reading files: what may be read, kustomization files with the places of their fields, and what has to be fetched.

use std::sync::Arc;

use base_yaml::go::{self, NodeKind, Nodes};
use bytes::Bytes;

use super::{Plan, Run};
use crate::diag::{Error, Fault};
use crate::files::{Entry, Files, Remote, join, within};
use crate::kfile::{Kustomization, Mode, NAMES, Part, Shape, read};
use crate::node::Step;
use crate::plugin;
use crate::remote::Need;

/// A folder of a tree.
#[derive(Clone)]
pub(crate) struct Folder {
    pub(crate) files: Arc<dyn Files>,
    /// The tree's name: empty for the one that is built, an address for a fetched one.
    pub(crate) tree: String,
    pub(crate) path: String,
}

impl Folder {
    /// The name under which a file is spoken of.
    pub(crate) fn shown(&self, path: &str) -> String {
        if self.tree.is_empty() {
            path.to_owned()
        } else {
            format!("{} {path}", self.tree)
        }
    }
}

/// A kustomization file that was read.
pub(crate) struct Kfile {
    /// Its path, as it is spoken of.
    pub(crate) path: String,
    /// Its name.
    pub(crate) name: &'static str,
    pub(crate) bytes: Bytes,
    pub(crate) k: Kustomization,
}

impl Kfile {
    /// Puts a fault to a field of the file.
    pub(crate) fn error(&self, at: &[Part], fault: Fault) -> Error {
        if self.name.is_empty() {
            // it stands in no file
            return Error::from(fault.within(&super::shown_in(&self.path, at)));
        }
        let (line, column) = place(&self.bytes, at);
        let mut error = Error::from(fault).in_file(&self.path, &self.bytes, line, column);
        error.within.push(self.path.clone());
        error
    }
}

/// Why a path cannot be taken.
pub(crate) enum Failure {
    /// It is the path's fault.
    Fault(Fault),
    /// It is something that the path led to.
    Error(Box<Error>),
}

impl Failure {
    /// Puts it to the field that holds the path, if it has no place yet.
    pub(crate) fn error(self, kfile: &Kfile, at: &[Part]) -> Error {
        match self {
            Self::Fault(fault) => kfile.error(at, fault),
            Self::Error(mut error) => {
                error.within.push(kfile.path.clone());
                *error
            }
        }
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Error(Box::new(error))
    }
}

/// The place of a field, or of the nearest thing around it.
fn place(bytes: &[u8], path: &[Part]) -> (u32, u32) {
    let found = go::nodes(bytes, |nodes| nodes.map(|nodes| walk(nodes, path)));
    found.ok().flatten().unwrap_or((0, 0))
}

fn walk(nodes: Nodes<'_, '_>, path: &[Part]) -> (u32, u32) {
    let mut at = 0;
    let mut shown = 0;
    for part in path {
        if nodes.kind(at) == NodeKind::Alias {
            at = nodes.target(at);
        }
        match part {
            Part::Field(name) => {
                let mut inner = nodes.inner(at);
                let mut found = None;
                while let (Some(key), Some(value)) = (inner.next(), inner.next()) {
                    if nodes.text(key).eq_ignore_ascii_case(name) {
                        found = Some((key, value));
                    }
                }
                let Some((key, value)) = found else { break };
                shown = key;
                at = value;
            }
            Part::Index(number) => {
                let Some(item) = nodes.inner(at).nth(*number) else {
                    break;
                };
                at = item;
                shown = item;
            }
        }
    }
    (nodes.line(shown), nodes.column(shown))
}

impl Run<'_> {
    /// Reads the kustomization file of a folder.
    pub(crate) fn kfile(&mut self, folder: &Folder) -> Result<Kfile, Error> {
        self.kustomizations += 1;
        let limits = self.owner.limits;
        if self.kustomizations > limits.kustomizations {
            let text = format!(
                "the build reads more than {} kustomizations",
                limits.kustomizations
            );
            return Err(Error::new(text));
        }
        let mut found = Vec::new();
        for name in NAMES {
            let path = join(&folder.path, name).unwrap_or_default();
            if let Some(Entry::File(real)) = folder.files.entry(&path)
                && (self.options.anywhere || within(&real, &folder.path))
            {
                found.push((*name, path, real));
            }
        }
        let (name, path, real) = match found.len() {
            1 => found.remove(0),
            0 => {
                let shown = folder.shown(&folder.path);
                return Err(
                    Error::new(format!("folder {shown:?} holds no kustomization"))
                        .hint(format!("it would be called {}", NAMES.join(", "))),
                );
            }
            _ => {
                let names: Vec<_> = found.iter().map(|found| found.0).collect();
                let shown = folder.shown(&folder.path);
                let text = format!(
                    "folder {shown:?} holds several kustomizations: {}",
                    names.join(", ")
                );
                return Err(Error::new(text).hint("leave one"));
            }
        };
        let shown = folder.shown(&path);
        let bytes = self
            .read(folder, &real)
            .map_err(|fault| Error::from(fault).in_file(&shown, b"", 0, 0))?;
        let value = go::yaml_to_json(&bytes).map_err(|error| {
            let (line, column) = error.place.unwrap_or((0, 0));
            let narrow = |n: usize| u32::try_from(n).unwrap_or(0);
            Error::new(error.text).in_file(&shown, &bytes, narrow(line), narrow(column))
        })?;
        let wrong = |(at, text): (Vec<Part>, String)| {
            let (line, column) = place(&bytes, &at);
            let last = at.iter().rev().find_map(|part| match part {
                Part::Field(name) => Some(name.as_str()),
                Part::Index(_) => None,
            });
            let text = match last {
                Some(name) if !text.contains(&format!("{name:?}")) => format!("{name}: {text}"),
                _ => text,
            };
            Error::new(text).in_file(&shown, &bytes, line, column)
        };
        let empty = value.is_null();
        let mut k: Kustomization =
            read(value, &Shape::KUSTOMIZATION, Mode::Strict).map_err(wrong)?;
        k.modernize();
        if empty {
            k.kind = "Kustomization".to_owned();
        }
        k.check().map_err(wrong)?;
        Ok(Kfile {
            path: shown,
            name,
            bytes,
            k,
        })
    }

    fn read(&mut self, folder: &Folder, path: &str) -> Step<Bytes> {
        let limits = self.owner.limits;
        let bytes = folder
            .files
            .read(path)
            .map_err(|why| Fault::new(format!("{path:?} cannot be read: {why}")))?;
        self.bytes += bytes.len();
        let over = |what: &str, limit: usize| {
            Err(Fault::new(format!(
                "{what} is larger than {limit} bytes, which is the most that is read"
            )))
        };
        if bytes.len() > limits.file_bytes {
            return over(&format!("{path:?}"), limits.file_bytes);
        }
        if self.bytes > limits.bytes {
            return over("all that the build reads", limits.bytes);
        }
        Ok(bytes)
    }

    /// Reads a file that a kustomization names; gives the name under which it is spoken of too.
    pub(crate) fn load(&mut self, folder: &Folder, path: &str) -> Step<(Bytes, String)> {
        if ["http://", "https://"].iter().any(|s| path.starts_with(s)) {
            return match self.owner.remotes.get(path) {
                Some(Remote::File(bytes)) => Ok((bytes.clone(), path.to_owned())),
                _ => Err(not_fetched(path)),
            };
        }
        let outside = || {
            Fault::new(format!("file {path:?} is not in the tree"))
                .hint("name files relative to the kustomization")
        };
        let full = join(&folder.path, path).ok_or_else(outside)?;
        let real = match folder.files.entry(&full) {
            Some(Entry::File(real)) => real,
            Some(Entry::Folder(_)) => {
                return Err(Fault::new(format!("{path:?} is a folder, not a file")));
            }
            None => {
                let text = format!("there is no file {path:?}");
                return Err(Fault::new(text));
            }
        };
        if !self.options.anywhere && !within(&real, &folder.path) {
            let shown = if folder.path.is_empty() {
                "."
            } else {
                &folder.path
            };
            let text = format!("file {path:?} is not in or below {shown:?}");
            return Err(Fault::new(text).hint(
                "move it there, or make its folder a base: kustomizations read files of their own folder only",
            ));
        }
        let bytes = self.read(folder, &real)?;
        Ok((bytes, folder.shown(&full)))
    }

    /// The folder that a path or an address leads to.
    pub(crate) fn enter(&self, folder: &Folder, path: &str) -> Step<Folder> {
        if path.is_empty() {
            return Err(Fault::new("the path is empty"));
        }
        if let Some(need) = Need::read(path) {
            return match self.owner.remotes.get(need.address()) {
                Some(Remote::Folder { files, path: inner }) => Ok(Folder {
                    files: Arc::clone(files),
                    tree: path.to_owned(),
                    path: inner.clone(),
                }),
                _ => Err(not_fetched(path)),
            };
        }
        let full = join(&folder.path, path);
        let real = full.and_then(|full| match folder.files.entry(&full) {
            Some(Entry::Folder(real)) => Some(real),
            _ => None,
        });
        match real {
            Some(path) => Ok(Folder {
                path,
                ..folder.clone()
            }),
            None => Err(Fault::new(format!(
                "{path:?} is neither a file nor a folder of the tree"
            ))),
        }
    }

    /// Is a path a file, as far as the tree knows?
    pub(crate) fn is_folder(folder: &Folder, path: &str) -> bool {
        let full = join(&folder.path, path);
        let entry = full.and_then(|full| folder.files.entry(&full));
        matches!(entry, Some(Entry::Folder(_)))
    }

    /// Collects what a folder and all that it builds upon read, and what has to be fetched.
    pub(crate) fn reads(&mut self, folder: &Folder, plan: &mut Plan, depth: usize) {
        let here = (folder.tree.clone(), folder.path.clone());
        if depth > self.owner.limits.depth || !plan.folders.insert(here) {
            return;
        }
        let kfile = match self.kfile(folder) {
            Ok(kfile) => kfile,
            Err(error) => {
                plan.problem.get_or_insert(error);
                return;
            }
        };
        let k = &kfile.k;
        let all = [
            &k.resources,
            &k.components,
            &k.generators,
            &k.transformers,
            &k.validators,
        ];
        for path in all.into_iter().flatten() {
            if path.trim().contains('\n') {
                continue;
            }
            match Need::read(path) {
                Some(need) if !self.owner.remotes.contains_key(need.address()) => {
                    plan.needs.insert(need);
                }
                Some(Need::File { .. }) => {}
                None if !Self::is_folder(folder, path) => note_file(folder, path, plan),
                _ => {
                    if let Ok(inner) = self.enter(folder, path) {
                        self.reads(&inner, plan, depth + 1);
                    }
                }
            }
        }
        let files = k.patches.iter().chain(&k.patches_json6902).map(|p| &p.path);
        let mut files: Vec<&str> = files
            .chain(&k.crds)
            .chain(&k.configurations)
            .chain(&k.patches_strategic_merge)
            .chain(k.openapi.get("path"))
            .chain(k.replacements.iter().map(|r| &r.path))
            .map(String::as_str)
            .collect();
        let generators = k.config_map_generator.iter().chain(&k.secret_generator);
        for generator in generators {
            let named = generator.files.iter().chain(&generator.envs);
            files.extend(named.map(|file| file.split_once('=').map_or(&**file, |(_, file)| file)));
        }
        for chart in &k.helm_charts {
            files.push(&chart.values_file);
            files.extend(chart.additional_values_files.iter().map(String::as_str));
            let home = k.helm_globals.as_ref().map_or("", |g| &g.chart_home);
            let Some(root) = join(&folder.path, &plugin::chart_place(chart, home)) else {
                continue;
            };
            if matches!(folder.files.entry(&root), Some(Entry::Folder(_))) {
                plan.folders.insert((folder.tree.clone(), root));
            } else if !chart.repo.is_empty() && folder.tree.is_empty() {
                plan.needs.insert(Need::Chart {
                    repository: chart.repo.clone(),
                    name: chart.name.clone(),
                    version: chart.version.clone(),
                    path: root,
                });
            }
        }
        for path in files {
            let http = path.starts_with("http://") || path.starts_with("https://");
            if !http {
                note_file(folder, path, plan);
            } else if !self.owner.remotes.contains_key(path) {
                plan.needs.insert(Need::File {
                    address: path.to_owned(),
                });
            }
        }
    }
}

/// Notes a file that lies beside the kustomization that names it.
fn note_file(folder: &Folder, path: &str, plan: &mut Plan) {
    if path.is_empty() || path.contains('\n') {
        return;
    }
    let full = join(&folder.path, path).filter(|full| !within(full, &folder.path));
    if let Some(full) = full
        && matches!(folder.files.entry(&full), Some(Entry::File(_)))
    {
        plan.files.insert((folder.tree.clone(), full));
    }
}

fn not_fetched(path: &str) -> Fault {
    Fault::new(format!("remote {path:?} was not fetched")).hint(
        "remote bases are fetched before a build; where that is not done, copy it into the tree",
    )
}
