//! `roadstead render DIR` of a kustomization: what `kustomize build` prints, without kustomize.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use bytes::Bytes;
use clap::{Args as ClapArgs, ValueEnum};
use k8s_object::ObjectId;
use roadstead_kustomize::{
    Entry, Error, Files, HelmOptions, Kustomizer, Limits, NAMES, Options, Order, Plan,
};
use roadstead_render::{Reading, outermost};

use crate::args::Global;
use crate::output;
use crate::shell::Outcome;
use crate::verbs::elsewhere::Elsewhere;

/// How a kustomization is built.
#[derive(Debug, ClapArgs)]
#[command(next_help_heading = "Kustomizations")]
pub(crate) struct KustomizeArgs {
    /// Which files a kustomization may read
    #[arg(
        long,
        value_enum,
        value_name = "WHICH",
        default_value = "LoadRestrictionsRootOnly"
    )]
    load_restrictor: Restrictor,
    /// The order of objects, where the kustomization says none
    #[arg(long, value_enum, value_name = "ORDER", default_value = "legacy")]
    reorder: Reorder,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Restrictor {
    /// Those in its own folder and below
    #[value(name = "LoadRestrictionsRootOnly")]
    RootOnly,
    /// Any of the repository
    #[value(name = "LoadRestrictionsNone")]
    None,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Reorder {
    /// By kind, what others need first
    Legacy,
    /// As they are listed
    None,
}

/// Is this a folder with a kustomization?
pub(crate) fn is_kustomization(path: &Path) -> bool {
    NAMES.iter().any(|name| path.join(name).is_file())
}

/// Builds and prints it.
pub(crate) fn run(path: &Path, args: &KustomizeArgs, names: bool, global: &Global) -> Outcome {
    let (disk, folder) = Disk::around(path)?;
    let root = disk.root.clone();
    let options = Options {
        order: match args.reorder {
            Reorder::Legacy => Order::Legacy,
            Reorder::None => Order::Input,
        },
        anywhere: args.load_restrictor == Restrictor::None,
        helm: Some(HelmOptions {
            kube_version: roadstead_render::KUBE_VERSION.to_owned(),
            ..HelmOptions::default()
        }),
        ..Options::default()
    };
    let cannot = |error: Error| {
        let error = shown(error, &root);
        anyhow!("{error}").context(format!("{} cannot be built", path.display()))
    };
    let kustomizer = with_elsewhere(disk, &folder, cannot)?;
    let built = kustomizer.build(&folder, &options).map_err(cannot)?;
    for warning in &built.warnings {
        output::remark(global.quiet, format!("warning: {warning}"));
    }
    if names {
        let ids = built.objects.iter().map(|one| ObjectId::of(&one.value));
        let ids: String = ids.flatten().map(|id| id.readable() + "\n").collect();
        output::print(&ids)?;
    } else {
        output::print(&built.to_text())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Reads the kustomization until nothing is missing of what it is built from and lies elsewhere.
fn with_elsewhere(
    disk: Disk,
    folder: &str,
    cannot: impl Fn(Error) -> anyhow::Error,
) -> anyhow::Result<Kustomizer> {
    let mut disk = disk;
    let mut elsewhere: Option<Elsewhere> = None;
    loop {
        let remotes = elsewhere.as_ref().map(|found| found.remotes.clone());
        let files = Arc::new(disk.clone());
        let kustomizer = Kustomizer::new(files, remotes.unwrap_or_default(), Limits::default());
        let needs = match kustomizer.plan(folder) {
            Ok(needs) => needs,
            // it is told by the build, with all that is known by then
            Err(_) if elsewhere.is_none() => return Ok(kustomizer),
            Err(error) => return Err(cannot(error)),
        };
        if needs.is_empty() {
            return Ok(kustomizer);
        }
        let mut found = match elsewhere.take() {
            Some(found) => found,
            None => Elsewhere::open()?,
        };
        if !found.fetch(&needs)? {
            return Ok(kustomizer);
        }
        disk.charts.clone_from(&found.charts);
        elsewhere = Some(found);
    }
}

/// An error with its file as it is seen from here.
fn shown(mut error: Error, root: &Path) -> Error {
    if let Some(place) = &mut error.place {
        let whole = root.join(&place.file);
        let here = std::env::current_dir().and_then(|here| here.canonicalize());
        let near = here
            .ok()
            .and_then(|here| Some(whole.strip_prefix(here).ok()?.to_owned()));
        place.file = near.unwrap_or(whole).display().to_string();
    }
    error
}

/// The files that kustomizations in a folder are built from, by their paths from the repository's root, and the folder's own
/// path; nothing if there is no kustomization.
pub(crate) fn read(
    path: &Path,
    reading: &Reading,
) -> anyhow::Result<Option<(String, BTreeMap<String, Bytes>)>> {
    if !path.is_dir() {
        return Ok(None);
    }
    let (disk, folder) = Disk::around(path)?;
    let files: Arc<dyn Files> = Arc::new(disk);
    let Some(Plan {
        folders,
        files: beside,
        ..
    }) = reading.plan(&files, &folder, &BTreeMap::new())
    else {
        return Ok(None);
    };
    if folders.is_empty() {
        return Ok(None);
    }
    let paths = |all: BTreeSet<(String, String)>| all.into_iter().map(|(_, path)| path);
    let mut all: BTreeSet<String> = paths(folders).collect();
    all.insert(folder.clone());
    let mut out = BTreeMap::new();
    for one in outermost(&all, &paths(beside).collect()) {
        let mut below = files.below(&one);
        if matches!(files.entry(&one), Some(Entry::File(_))) {
            below = vec![one];
        }
        for file in below {
            let bytes = files
                .read(&file)
                .map_err(|problem| anyhow!("failed to read {file}: {problem}"))?;
            out.insert(file, bytes);
        }
    }
    Ok(Some((folder, out)))
}

/// The tree around a folder: its Git repository, or else all that there is, with the charts that were fetched for it.
#[derive(Clone)]
struct Disk {
    root: PathBuf,
    charts: BTreeMap<String, Bytes>,
}

impl Disk {
    /// The tree, and the folder's path in it.
    fn around(path: &Path) -> anyhow::Result<(Self, String)> {
        let failed = || format!("failed to read {}", path.display());
        let folder = path.canonicalize().with_context(failed)?;
        let mut above = folder.ancestors();
        let root = above.find(|folder| folder.join(".git").exists());
        let root = root.unwrap_or(Path::new("/")).to_owned();
        let inner = folder.strip_prefix(&root).unwrap_or(&folder).to_str();
        let inner = inner.ok_or_else(|| anyhow!("{} is not UTF-8", path.display()))?;
        let inner = inner.to_owned();
        let charts = BTreeMap::new();
        Ok((Self { root, charts }, inner))
    }

    fn collect(&self, folder: &Path, into: &mut Vec<String>) {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        for entry in entries {
            let path = entry.path();
            if entry.file_name() == ".git" {
                continue;
            }
            // a link to a folder is not followed: it could lead round
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                self.collect(&path, into);
            } else if path.is_file() {
                let name = path.strip_prefix(&self.root).ok().and_then(Path::to_str);
                into.extend(name.map(str::to_owned));
            }
        }
    }
}

impl Files for Disk {
    fn entry(&self, path: &str) -> Option<Entry> {
        if let Some(found) = self.charts.entry(path).filter(|_| !path.is_empty()) {
            return Some(found);
        }
        let real = self.root.join(path).canonicalize().ok()?;
        let inner = real.strip_prefix(&self.root).ok()?.to_str()?.to_owned();
        if real.is_dir() {
            return Some(Entry::Folder(inner));
        }
        real.is_file().then_some(Entry::File(inner))
    }

    fn read(&self, path: &str) -> Result<Bytes, String> {
        if let Some(bytes) = self.charts.get(path) {
            return Ok(bytes.clone());
        }
        let read = std::fs::read(self.root.join(path));
        read.map(Bytes::from).map_err(|error| error.to_string())
    }

    fn below(&self, folder: &str) -> Vec<String> {
        let mut all = self.charts.below(folder);
        self.collect(&self.root.join(folder), &mut all);
        all.sort();
        all
    }
}
