//! What an App reads besides the files at its input's path, and how that is found before it is rendered.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

use roadstead_kustomize::{Entry, Files, Kustomizer, Limits, NAMES, Plan, Remote, join, within};
use roadstead_model::{AppSpec, KustomizeChanges, PlainRenderer};

/// How an input of an App is read.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reading {
    /// The files at its path, whatever they are.
    Files,
    /// The same, and where a kustomization stands there, what it is built from.
    #[default]
    Detect,
    /// What kustomizations are built from.
    Kustomize {
        /// Their folders, relative to the input's path.
        folders: BTreeSet<String>,
        /// Components that are put over them, relative to each.
        components: BTreeSet<String>,
    },
}

impl Reading {
    /// How an App reads the input of this number.
    pub fn of(spec: &AppSpec, number: usize) -> Self {
        let render = &spec.render;
        if number > 0 || render.helm.is_some() || render.plain != PlainRenderer::default() {
            return Self::Files;
        }
        let overlays = spec.overlays.iter().filter_map(|o| o.kustomize.as_ref());
        let own = render.kustomize.as_ref().map(|own| &own.changes);
        let all: Vec<&KustomizeChanges> = own.into_iter().chain(overlays).collect();
        if all.is_empty() {
            return Self::Detect;
        }
        let mut folders: BTreeSet<String> =
            [own.map(|own| own.path.clone()).unwrap_or_default()].into();
        let said = all.iter().map(|changes| &changes.path);
        folders.extend(said.filter(|path| !path.is_empty()).cloned());
        let components = all.iter().flat_map(|changes| &changes.components);
        Self::Kustomize {
            folders,
            components: components.cloned().collect(),
        }
    }

    /// What is read, as a text: readings of one path that are the same have the same text.
    pub fn key(&self, path: &str) -> String {
        let mut key = path.to_owned();
        match self {
            Self::Detect => {}
            Self::Files => key.push_str("\nfiles"),
            Self::Kustomize {
                folders,
                components,
            } => {
                key.push_str("\nkustomize");
                for folder in folders {
                    let _ = write!(key, "\n{folder}");
                }
                for component in components {
                    let _ = write!(key, "\n+{component}");
                }
            }
        }
        key
    }

    /// What the kustomizations at a path are built from; nothing where there is none. An expression in a folder's path
    /// stands for every kustomization from there on down.
    pub fn plan(
        &self,
        files: &Arc<dyn Files>,
        path: &str,
        fetched: &BTreeMap<String, Remote>,
    ) -> Option<Plan> {
        let mut roots = BTreeSet::new();
        match self {
            Self::Files => return None,
            Self::Detect => {
                let chart = join(path, "Chart.yaml")?;
                let is_chart = matches!(files.entry(&chart), Some(Entry::File(_)));
                let here = join(path, "")?;
                if is_chart || !stands_at(files, &here) {
                    return None;
                }
                roots.insert(here);
            }
            Self::Kustomize {
                folders,
                components,
            } => {
                for folder in folders {
                    roots.extend(expand(files, path, folder));
                }
                let built = roots.clone();
                for component in components {
                    for root in &built {
                        roots.extend(expand(files, root, component));
                    }
                }
            }
        }
        let kustomizer = Kustomizer::new(Arc::clone(files), fetched.clone(), Limits::default());
        let roots: Vec<&str> = roots.iter().map(String::as_str).collect();
        Some(kustomizer.reads(&roots))
    }
}

/// The folders that a path may stand for.
fn expand(files: &Arc<dyn Files>, from: &str, path: &str) -> BTreeSet<String> {
    let Some(at) = path.find("${") else {
        return join(from, path).into_iter().collect();
    };
    let fixed = path[..at].rsplit_once('/').map_or("", |(fixed, _)| fixed);
    let Some(fixed) = join(from, fixed) else {
        return BTreeSet::new();
    };
    let below = files.below(&fixed).into_iter();
    below
        .filter_map(|file| {
            let (folder, name) = file.rsplit_once('/').unwrap_or(("", &file));
            NAMES.contains(&name).then(|| folder.to_owned())
        })
        .collect()
}

fn stands_at(files: &Arc<dyn Files>, folder: &str) -> bool {
    NAMES.iter().any(|name| {
        let file = join(folder, name).and_then(|file| files.entry(&file));
        matches!(file, Some(Entry::File(_)))
    })
}

/// Of folders and files those that lie in no other of the folders.
pub fn outermost(folders: &BTreeSet<String>, files: &BTreeSet<String>) -> Vec<String> {
    let outer = |path: &&String| {
        let mut others = folders.iter().filter(|folder| folder != path);
        !others.any(|folder| within(path, folder))
    };
    let all = folders.iter().chain(files.difference(folders));
    all.filter(outer).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn set(all: &[&str]) -> BTreeSet<String> {
        all.iter().map(|one| (*one).to_owned()).collect()
    }

    #[test]
    fn what_lies_in_another_folder_is_not_read_twice() {
        for (folders, files, expected) in [
            (
                &["a", "a/b", "ab"][..],
                &["a/x", "c/y"][..],
                &["a", "ab", "c/y"][..],
            ),
            (&["", "a"], &["x"], &[""]),
            (&[], &["x"], &["x"]),
        ] {
            assert_eq!(
                outermost(&set(folders), &set(files)),
                expected,
                "{folders:?}"
            );
        }
    }

    #[test]
    fn an_expression_stands_for_every_kustomization_below() {
        let names = [
            "a/base",
            "a/over/eu",
            "a/over/us/x",
            "parts/tls",
            "parts/no",
        ];
        let files = names.map(|name| {
            (
                format!("{name}/kustomization.yaml"),
                Bytes::from("namePrefix: x\n"),
            )
        });
        let files: Arc<dyn Files> = Arc::new(BTreeMap::from(files));
        let reading = Reading::Kustomize {
            folders: set(&["base", "over/${cluster.labels.region}"]),
            components: set(&["../../../parts/t${cluster.name}"]),
        };
        let plan = reading.plan(&files, "a", &BTreeMap::new()).expect("a plan");
        let found: Vec<&str> = plan.folders.iter().map(|(_, path)| path.as_str()).collect();
        assert_eq!(
            found,
            [
                "a/base",
                "a/over/eu",
                "a/over/us/x",
                "parts/no",
                "parts/tls"
            ]
        );
        assert!(
            Reading::Files
                .plan(&files, "a/base", &BTreeMap::new())
                .is_none()
        );
        assert!(
            Reading::Detect
                .plan(&files, "a", &BTreeMap::new())
                .is_none()
        );
        assert!(
            Reading::Detect
                .plan(&files, "a/base", &BTreeMap::new())
                .is_some()
        );
    }
}
