//! Paths through a tree: symbolic links, odd names, and bounds.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use gix::ObjectId;
use gix::objs::tree::EntryKind;

use crate::SourceError;
use crate::clone::{Clone, TreeEntry};

/// Links followed on the way to one path, as Linux allows.
const MOST_LINKS: usize = 40;

/// Folders inside folders.
const DEEPEST: usize = 200;

/// One file as a walk finds it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Found {
    pub(crate) id: ObjectId,
    pub(crate) executable: bool,
}

/// What a walk found below a path.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    pub(crate) files: BTreeMap<String, Found>,
    pub(crate) warnings: Vec<String>,
}

/// Walks one commit's tree.
pub(crate) struct Walk<'a> {
    clone: &'a Clone,
    repo: &'a gix::Repository,
    commit: &'a str,
    root: ObjectId,
    trees: HashMap<ObjectId, Rc<Vec<TreeEntry>>>,
    limit: usize,
    visited: usize,
}

/// Where a path leads, with no link left in it.
enum Place {
    Folder(Stack),
    File(Found),
    Submodule(String),
}

/// The folders from the root to here: name and tree.
#[derive(Clone)]
struct Stack {
    root: ObjectId,
    below: Vec<(String, ObjectId)>,
}

impl Stack {
    fn tree(&self) -> ObjectId {
        self.below.last().map_or(self.root, |(_, id)| *id)
    }

    fn path(&self) -> String {
        let names: Vec<_> = self.below.iter().map(|(name, _)| name.as_str()).collect();
        names.join("/")
    }

    fn join(&self, name: &str) -> String {
        join(&self.path(), name)
    }
}

fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() {
        name.to_owned()
    } else {
        format!("{folder}/{name}")
    }
}

/// Brings a path that people write into the form "a/b", and refuses one that could leave the tree.
pub(crate) fn clean(path: &str) -> Result<String, SourceError> {
    let outside = || SourceError::PathOutside {
        path: path.to_owned(),
    };
    if path.starts_with('/') {
        return Err(outside());
    }
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => return Err(outside()),
            part => parts.push(part),
        }
    }
    Ok(parts.join("/"))
}

impl<'a> Walk<'a> {
    pub(crate) fn new(
        clone: &'a Clone,
        repo: &'a gix::Repository,
        commit: &'a str,
        root: ObjectId,
    ) -> Self {
        Self {
            clone,
            repo,
            commit,
            root,
            trees: HashMap::new(),
            limit: clone.limits.files,
            visited: 0,
        }
    }

    /// Lists every file at or below a path that [`clean`] made.
    pub(crate) fn list(&mut self, path: &str) -> Result<Listing, SourceError> {
        let mut listing = Listing::default();
        match self.resolve(path)? {
            Place::File(found) => {
                let name = path.rsplit('/').next().unwrap_or(path);
                listing.files.insert(name.to_owned(), found);
            }
            Place::Folder(stack) => {
                let mut active = vec![stack.path()];
                self.collect(path, &stack, "", &mut active, &mut listing)?;
            }
            Place::Submodule(at) => listing.warnings.push(submodule(&at)),
        }
        Ok(listing)
    }

    /// Is a path a folder? `None` if there is nothing, or nothing that can be read.
    pub(crate) fn is_folder(&mut self, path: &str) -> Option<bool> {
        let start = Stack {
            root: self.root,
            below: Vec::new(),
        };
        match self.follow(start, path, &mut 0).ok()?? {
            Place::Folder(_) => Some(true),
            Place::File(_) => Some(false),
            Place::Submodule(_) => None,
        }
    }

    /// Finds one file.
    pub(crate) fn file(&mut self, path: &str) -> Result<Found, SourceError> {
        match self.resolve(path)? {
            Place::File(found) => Ok(found),
            Place::Folder(_) | Place::Submodule(_) => Err(self.missing(path)),
        }
    }

    fn resolve(&mut self, path: &str) -> Result<Place, SourceError> {
        let start = Stack {
            root: self.root,
            below: Vec::new(),
        };
        match self.follow(start, path, &mut 0)? {
            Some(place) => Ok(place),
            None => Err(self.missing(path)),
        }
    }

    /// Follows a path from a folder; `None` when something on the way is not there.
    fn follow(
        &mut self,
        from: Stack,
        path: &str,
        links: &mut usize,
    ) -> Result<Option<Place>, SourceError> {
        let mut stack = from;
        let mut todo: Vec<String> = path.split('/').rev().map(str::to_owned).collect();
        // The first link on the way is the one to name: it is what people wrote.
        let mut first: Option<(String, String)> = None;
        while let Some(part) = todo.pop() {
            match part.as_str() {
                "" | "." => continue,
                ".." => {
                    if stack.below.pop().is_none() {
                        let (path, target) = first.unwrap_or_default();
                        return Err(SourceError::LinkOutside { path, target });
                    }
                    continue;
                }
                _ => {}
            }
            let entries = self.entries(stack.tree())?;
            let Some(entry) = entries.iter().find(|e| e.name == part.as_bytes()) else {
                return Ok(None);
            };
            let is_last = todo.iter().all(|p| p.is_empty() || p == ".");
            match entry.kind {
                EntryKind::Tree => {
                    if stack.below.len() >= DEEPEST {
                        return Err(SourceError::FileName {
                            path: stack.join(&part),
                            reason: format!("it lies more than {DEEPEST} folders deep"),
                        });
                    }
                    stack.below.push((part, entry.id));
                }
                EntryKind::Link => {
                    let at = stack.join(&part);
                    let target = self.target(entry.id, &at)?;
                    let first = first.get_or_insert((at, target.clone()));
                    *links += 1;
                    if *links > MOST_LINKS {
                        let (path, target) = first.clone();
                        return Err(SourceError::LinkLoop { path, target });
                    }
                    if target.starts_with('/') {
                        let (path, target) = first.clone();
                        return Err(SourceError::LinkOutside { path, target });
                    }
                    todo.extend(target.split('/').rev().map(str::to_owned));
                }
                EntryKind::Commit => {
                    return Ok(is_last.then(|| Place::Submodule(stack.join(&part))));
                }
                EntryKind::Blob | EntryKind::BlobExecutable => {
                    return Ok(is_last.then_some(Place::File(Found {
                        id: entry.id,
                        executable: entry.kind == EntryKind::BlobExecutable,
                    })));
                }
            }
        }
        Ok(Some(Place::Folder(stack)))
    }

    fn collect(
        &mut self,
        input: &str,
        stack: &Stack,
        prefix: &str,
        active: &mut Vec<String>,
        listing: &mut Listing,
    ) -> Result<(), SourceError> {
        let too_many = |limit| SourceError::TooManyFiles {
            path: input.to_owned(),
            limit,
        };
        // Links can lead to one folder many times over: what is visited counts, not what exists.
        self.visited += 1;
        if self.visited > self.limit.saturating_add(1) {
            return Err(too_many(self.limit));
        }
        for entry in self.entries(stack.tree())?.iter() {
            let name = file_name(entry, &stack.path())?;
            let key = join(prefix, &name);
            let place = match entry.kind {
                EntryKind::Link => {
                    let at = stack.join(&name);
                    let target = self.target(entry.id, &at)?;
                    match self.follow(stack.clone(), &name, &mut 0)? {
                        Some(Place::Folder(to)) if active.contains(&to.path()) => {
                            return Err(SourceError::LinkLoop { path: at, target });
                        }
                        Some(place) => place,
                        None => return Err(SourceError::LinkBroken { path: at, target }),
                    }
                }
                EntryKind::Tree => {
                    let mut below = stack.clone();
                    below.below.push((name, entry.id));
                    Place::Folder(below)
                }
                EntryKind::Commit => Place::Submodule(stack.join(&name)),
                EntryKind::Blob | EntryKind::BlobExecutable => Place::File(Found {
                    id: entry.id,
                    executable: entry.kind == EntryKind::BlobExecutable,
                }),
            };
            match place {
                Place::File(found) => {
                    if listing.files.len() >= self.limit {
                        return Err(too_many(self.limit));
                    }
                    if listing.files.insert(key.clone(), found).is_some() {
                        return Err(SourceError::FileName {
                            path: stack.join(&key),
                            reason: "it is there twice".into(),
                        });
                    }
                }
                Place::Folder(to) => {
                    if active.len() >= DEEPEST {
                        return Err(SourceError::FileName {
                            path: to.path(),
                            reason: format!("it lies more than {DEEPEST} folders deep"),
                        });
                    }
                    active.push(to.path());
                    self.collect(input, &to, &key, active, listing)?;
                    active.pop();
                }
                Place::Submodule(at) => listing.warnings.push(submodule(&at)),
            }
        }
        Ok(())
    }

    fn entries(&mut self, id: ObjectId) -> Result<Rc<Vec<TreeEntry>>, SourceError> {
        if let Some(entries) = self.trees.get(&id) {
            return Ok(entries.clone());
        }
        let entries = Rc::new(self.clone.tree(self.repo, id)?);
        self.trees.insert(id, entries.clone());
        Ok(entries)
    }

    fn target(&self, id: ObjectId, at: &str) -> Result<String, SourceError> {
        let size = self.clone.blob_size(self.repo, id)?;
        // Linux refuses longer targets, so none was ever made in good faith.
        if size > 4096 {
            return Err(SourceError::FileTooLarge {
                path: at.to_owned(),
                size,
                limit: 4096,
            });
        }
        String::from_utf8(self.clone.blob(self.repo, id)?).map_err(|_| SourceError::FileName {
            path: at.to_owned(),
            reason: "the link's target is not UTF-8".into(),
        })
    }

    fn missing(&mut self, path: &str) -> SourceError {
        let near = self.near(path).unwrap_or_default();
        SourceError::PathMissing {
            path: path.to_owned(),
            commit: self.commit.to_owned(),
            near,
        }
    }

    /// Looks for paths that look alike, over a bounded number of entries.
    fn near(&mut self, path: &str) -> Result<Vec<String>, SourceError> {
        const MOST: usize = 5_000;
        let last = path.rsplit('/').next().unwrap_or(path);
        let mut open = std::collections::VecDeque::from([(String::new(), self.root)]);
        let mut scored = Vec::new();
        let mut looked = 0;
        while let Some((folder, id)) = open.pop_front() {
            for entry in self.entries(id)?.iter() {
                looked += 1;
                let Ok(name) = std::str::from_utf8(&entry.name) else {
                    continue;
                };
                let candidate = join(&folder, name);
                let score = distance(&candidate, path);
                if score <= (path.chars().count() / 3).max(2) || name == last {
                    scored.push((score, candidate.clone()));
                }
                if entry.kind == EntryKind::Tree {
                    open.push_back((candidate, entry.id));
                }
            }
            if looked > MOST {
                break;
            }
        }
        scored.sort();
        scored.truncate(3);
        Ok(scored.into_iter().map(|(_, path)| path).collect())
    }
}

fn submodule(at: &str) -> String {
    format!("submodule {at:?} is not followed: its files are not part of the input")
}

fn file_name(entry: &TreeEntry, folder: &str) -> Result<String, SourceError> {
    let shown = || join(folder, &String::from_utf8_lossy(&entry.name));
    let reason = match std::str::from_utf8(&entry.name) {
        Err(_) => "it is not UTF-8",
        // Git itself makes no such names; a hand-made tree can hold them.
        Ok("" | "." | "..") => "it is no name that a file may have",
        Ok(name) if name.contains(['/', '\0']) => "it is no name that a file may have",
        Ok(name) => return Ok(name.to_owned()),
    };
    Err(SourceError::FileName {
        path: shown(),
        reason: reason.into(),
    })
}

/// Counts the single-character edits between two texts (Levenshtein).
pub(crate) fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measures_distance() {
        for (a, b, expected) in [
            ("", "", 0),
            ("abc", "", 3),
            ("", "abc", 3),
            ("kitten", "sitting", 3),
            ("apps/shop", "app/shop", 1),
            ("ä", "a", 1),
        ] {
            assert_eq!(distance(a, b), expected, "{a} {b}");
        }
    }

    #[test]
    fn cleans_paths() {
        for (path, expected) in [
            ("", Some("")),
            (".", Some("")),
            ("./a//b/", Some("a/b")),
            ("a/b", Some("a/b")),
            ("a b/ü", Some("a b/ü")),
            ("/a", None),
            ("../a", None),
            ("a/../b", None),
            ("..", None),
        ] {
            assert_eq!(clean(path).ok().as_deref(), expected, "{path}");
        }
    }
}
