//! Which resources there are.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::ResourceDef;
use crate::http::{Documents, VersionDocument};

/// Resources by group, version and plural name. Cheap to share between servers.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    // group → version
    groups: BTreeMap<String, BTreeMap<String, Arc<Version>>>,
    // the order in which groups were added: discovery shows it
    order: Vec<String>,
    pub(crate) documents: Documents,
}

/// The resources of one version, and their document; catalogues share it until one of them changes it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Version {
    resources: BTreeMap<String, Arc<ResourceDef>>,
    document: VersionDocument,
}

impl Version {
    /// Changes the resources; the document is made anew.
    fn change(this: &mut Arc<Self>) -> &mut BTreeMap<String, Arc<ResourceDef>> {
        let own = Arc::make_mut(this);
        own.document = VersionDocument::default();
        &mut own.resources
    }
}

impl Catalog {
    /// Makes an empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a resource, or replaces it.
    pub fn add(&mut self, def: ResourceDef) {
        self.add_shared(Arc::new(def));
    }

    /// Adds a resource that is shared already.
    pub fn add_shared(&mut self, def: Arc<ResourceDef>) {
        self.documents = Documents::default();
        if !self.groups.contains_key(&def.group) {
            self.order.push(def.group.clone());
        }
        let version = self
            .groups
            .entry(def.group.clone())
            .or_default()
            .entry(def.version.clone())
            .or_default();
        Version::change(version).insert(def.plural.clone(), def);
    }

    /// Adds resources.
    #[must_use]
    pub fn with(mut self, defs: impl IntoIterator<Item = ResourceDef>) -> Self {
        for def in defs {
            self.add(def);
        }
        self
    }

    /// Takes away every version of a resource.
    pub fn remove(&mut self, group: &str, plural: &str) {
        self.documents = Documents::default();
        if let Some(versions) = self.groups.get_mut(group) {
            for version in versions.values_mut() {
                if version.resources.contains_key(plural) {
                    Version::change(version).remove(plural);
                }
            }
            versions.retain(|_, version| !version.resources.is_empty());
            if versions.is_empty() {
                self.groups.remove(group);
                self.order.retain(|name| name != group);
            }
        }
    }

    /// Finds a resource by its path.
    pub fn get(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<ResourceDef>> {
        self.groups.get(group)?.get(version)?.resources.get(plural)
    }

    /// Finds a resource in its preferred version.
    pub fn preferred(&self, group: &str, plural: &str) -> Option<&Arc<ResourceDef>> {
        self.versions(group)
            .into_iter()
            .find_map(|version| self.get(group, version, plural))
    }

    /// Finds a resource by its kind; an empty version means the preferred one.
    pub fn by_kind(&self, group: &str, version: &str, kind: &str) -> Option<&Arc<ResourceDef>> {
        self.versions(group)
            .into_iter()
            .filter(|candidate| version.is_empty() || *candidate == version)
            .find_map(|candidate| {
                self.groups
                    .get(group)?
                    .get(candidate)?
                    .resources
                    .values()
                    .find(|def| def.kind == kind)
            })
    }

    /// Returns the groups, in the order they were added.
    pub fn groups(&self) -> impl Iterator<Item = &str> {
        self.order.iter().map(String::as_str)
    }

    /// Returns a group's versions, the preferred one first.
    pub fn versions(&self, group: &str) -> Vec<&str> {
        let mut versions: Vec<&str> = self
            .groups
            .get(group)
            .into_iter()
            .flat_map(|versions| versions.keys().map(String::as_str))
            .collect();
        versions.sort_by(|a, b| version_rank(b).cmp(&version_rank(a)).then(a.cmp(b)));
        versions
    }

    /// Returns the resources of a version, by plural name.
    pub fn resources(&self, group: &str, version: &str) -> impl Iterator<Item = &Arc<ResourceDef>> {
        self.groups
            .get(group)
            .and_then(|versions| versions.get(version))
            .into_iter()
            .flat_map(|version| version.resources.values())
    }

    /// Returns where the document of a version is kept.
    pub(crate) fn version_document(&self, group: &str, version: &str) -> Option<&VersionDocument> {
        Some(&self.groups.get(group)?.get(version)?.document)
    }

    /// Returns every resource once, in its preferred version.
    pub fn all(&self) -> impl Iterator<Item = &Arc<ResourceDef>> {
        self.groups().flat_map(move |group| {
            let mut seen = std::collections::BTreeSet::new();
            self.versions(group)
                .into_iter()
                .flat_map(move |version| self.resources(group, version))
                .filter(move |def| seen.insert(def.plural.clone()))
        })
    }

    /// Does this group and version exist?
    pub fn has(&self, group: &str, version: &str) -> bool {
        self.groups
            .get(group)
            .is_some_and(|versions| versions.contains_key(version))
    }

    /// Is there such a group?
    pub fn has_group(&self, group: &str) -> bool {
        self.groups.contains_key(group)
    }
}

/// Ranks versions as Kubernetes does: stable before beta before alpha, higher numbers first.
fn version_rank(version: &str) -> (u8, u32, u32) {
    let parse = || -> Option<(u8, u32, u32)> {
        let rest = version.strip_prefix('v')?;
        let digits = rest.find(|c: char| !c.is_ascii_digit());
        let Some(end) = digits else {
            return Some((3, rest.parse().ok()?, 0));
        };
        let major = rest[..end].parse().ok()?;
        let (rank, minor) = if let Some(minor) = rest[end..].strip_prefix("beta") {
            (2, minor)
        } else {
            (1, rest[end..].strip_prefix("alpha")?)
        };
        Some((rank, major, minor.parse().ok()?))
    };
    parse().unwrap_or((0, 0, 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stable_and_newest_version_is_preferred() {
        let mut catalog = Catalog::new();
        for version in ["v1alpha1", "v2beta1", "v1", "v2", "v2beta2", "odd"] {
            catalog.add(ResourceDef::new("g", version, "Kind", "kinds", true));
        }
        assert_eq!(
            catalog.versions("g"),
            ["v2", "v1", "v2beta2", "v2beta1", "v1alpha1", "odd"]
        );
        assert_eq!(
            catalog.preferred("g", "kinds").map(|def| &*def.version),
            Some("v2")
        );
        catalog.remove("g", "kinds");
        assert!(!catalog.has_group("g"));
    }
}
