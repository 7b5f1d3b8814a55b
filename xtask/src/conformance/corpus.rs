//! Charts below a folder: every outermost folder that holds a `Chart.yaml`, and every archive.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// A chart as it lies on disk.
#[derive(Debug, Clone)]
pub(super) struct Found {
    /// Its path from the corpus, as reports name it.
    pub(super) name: String,
    pub(super) path: PathBuf,
    pub(super) content: Content,
}

/// What was read.
#[derive(Debug, Clone)]
pub(super) enum Content {
    /// A folder's files by their paths.
    Folder(BTreeMap<String, Vec<u8>>),
    Archive(Vec<u8>),
}

/// Finds every chart below a folder, in the order of their paths.
pub(super) fn find(root: &Path) -> Result<Vec<Found>> {
    let mut found = Vec::new();
    walk(root, root, &mut found)?;
    found.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(found)
}

fn walk(root: &Path, folder: &Path, found: &mut Vec<Found>) -> Result<()> {
    let name = |path: &Path| {
        let relative = path.strip_prefix(root).unwrap_or(path).to_string_lossy();
        if relative.is_empty() {
            ".".to_owned()
        } else {
            relative.into_owned()
        }
    };
    if folder.join("Chart.yaml").is_file() {
        let mut files = BTreeMap::new();
        read(folder, folder, &mut files)?;
        found.push(Found {
            name: name(folder),
            path: folder.to_owned(),
            content: Content::Folder(files),
        });
        return Ok(());
    }
    let entries = fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            walk(root, &path, found)?;
        } else if path.extension().is_some_and(|it| it == "tgz") {
            found.push(Found {
                name: name(&path),
                content: Content::Archive(fs::read(&path)?),
                path,
            });
        }
    }
    Ok(())
}

/// Reads a folder's files; links are followed, as Helm does.
fn read(root: &Path, folder: &Path, files: &mut BTreeMap<String, Vec<u8>>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            read(root, &path, files)?;
        } else {
            let relative = path.strip_prefix(root)?.to_string_lossy().into_owned();
            files.insert(relative, fs::read(&path)?);
        }
    }
    Ok(())
}

/// Writes a chart's files below a folder.
pub(super) fn write(files: &BTreeMap<String, Vec<u8>>, folder: &Path) -> Result<()> {
    for (path, content) in files {
        let path = folder.join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(path, content)?;
    }
    Ok(())
}
