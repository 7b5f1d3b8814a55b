//! Rules over whole Releases: cycles, ownership, what a Project allows.

use std::collections::BTreeMap;

use base_json::Digest;
use bytes::Bytes;
use k8s_object::ObjectId;
use roadstead_dispatch::Variant;
use roadstead_model::{AppKey, ProjectSpec};

/// Finds the Apps that wait for each other in a circle; each circle is sorted and stands once.
pub fn cycles(apps: &BTreeMap<AppKey, Vec<AppKey>>) -> Vec<Vec<AppKey>> {
    // An App is in a circle when it reaches itself; those that reach each other are one circle.
    let reach: BTreeMap<&AppKey, Vec<&AppKey>> =
        apps.keys().map(|app| (app, reachable(app, apps))).collect();
    let mut out: Vec<Vec<AppKey>> = Vec::new();
    for (app, reached) in &reach {
        if !reached.contains(app) || out.iter().any(|circle| circle.contains(app)) {
            continue;
        }
        let same = reached
            .iter()
            .filter(|other| reach.get(**other).is_some_and(|back| back.contains(app)));
        let mut circle: Vec<AppKey> = same.map(|other| (*other).clone()).collect();
        circle.sort();
        out.push(circle);
    }
    out
}

fn reachable<'a>(from: &AppKey, apps: &'a BTreeMap<AppKey, Vec<AppKey>>) -> Vec<&'a AppKey> {
    let mut seen: std::collections::BTreeSet<&AppKey> = std::collections::BTreeSet::new();
    let mut next: Vec<&AppKey> = apps.get(from).into_iter().flatten().collect();
    while let Some(app) = next.pop() {
        if seen.insert(app) {
            next.extend(apps.get(app).into_iter().flatten());
        }
    }
    seen.into_iter().collect()
}

/// What one App would own on a cluster.
#[derive(Debug, Clone, Copy)]
pub struct Claim<'a> {
    /// The App.
    pub app: &'a AppKey,
    /// Its variant.
    pub variant: &'a Variant,
    /// Apps whose objects it may take over.
    pub takes_over_from: &'a [AppKey],
}

/// An object that two Apps would own on one cluster; the second is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} is owned by App {first}; App {second} cannot own it too (takesOverFrom would hand it over)", .object.readable())]
pub struct Clash {
    /// The object.
    pub object: ObjectId,
    /// The App that has it.
    pub first: AppKey,
    /// The App that is refused.
    pub second: AppKey,
}

/// Finds the objects that several Apps would own on one cluster. Earlier claims come first: the caller puts the Apps
/// that hold objects already before the others. A claim that takes over from the first owner is no clash.
pub fn clashes(claims: &[Claim<'_>]) -> Vec<Clash> {
    let mut owners: BTreeMap<&ObjectId, &Claim<'_>> = BTreeMap::new();
    let mut out = Vec::new();
    for claim in claims {
        for object in &claim.variant.objects {
            match owners.get(&object.id) {
                Some(first) if first.app == claim.app => {}
                Some(first)
                    if claim.takes_over_from.contains(first.app)
                        || first.takes_over_from.contains(claim.app) => {}
                Some(first) => out.push(Clash {
                    object: object.id.clone(),
                    first: first.app.clone(),
                    second: claim.app.clone(),
                }),
                None => {
                    owners.insert(&object.id, claim);
                }
            }
        }
    }
    out.dedup();
    out
}

/// Something that a Project does not allow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Project {project:?} does not allow {what}; {hint}")]
pub struct Violation {
    /// The Project.
    pub project: String,
    /// The object, where it is one.
    pub object: Option<ObjectId>,
    /// What is not allowed.
    pub what: String,
    /// What to do.
    pub hint: &'static str,
}

/// Checks a variant against what its Project may deliver. `fetch` reads an object's bytes, which only Secrets need.
pub fn check_project(
    project: &str,
    spec: &ProjectSpec,
    variant: &Variant,
    fetch: &dyn Fn(&Digest) -> Option<Bytes>,
) -> Vec<Violation> {
    let mut out = Vec::new();
    let mut refuse = |object: Option<&ObjectId>, what: String, hint| {
        out.push(Violation {
            project: project.to_owned(),
            object: object.cloned(),
            what,
            hint,
        });
    };
    let namespace_allowed = |namespace: &str| {
        spec.namespaces
            .iter()
            .any(|pattern| like(pattern, namespace))
    };
    for namespace in &variant.namespaces {
        if !namespace_allowed(namespace) {
            refuse(
                None,
                format!("namespace {namespace:?}"),
                "an admin can add it to spec.namespaces",
            );
        }
    }
    for object in &variant.objects {
        let id = &object.id;
        let kind_allowed = spec
            .kinds
            .iter()
            .any(|kind| like(&kind.group, &id.group) && like(&kind.kind, &id.kind));
        if !kind_allowed {
            refuse(
                Some(id),
                format!("kind {} ({})", id.group_kind(), id.readable()),
                "an admin can add it to spec.kinds",
            );
        }
        // a Project's own nouns live in the hub's namespace of the same name
        let own_noun = id.group == roadstead_model::GROUP && id.namespace == project;
        if !id.namespace.is_empty() && !own_noun && !namespace_allowed(&id.namespace) {
            refuse(
                Some(id),
                format!("namespace {:?} ({})", id.namespace, id.readable()),
                "an admin can add it to spec.namespaces",
            );
        }
        if id.group == roadstead_model::GROUP && !spec.hub {
            refuse(
                Some(id),
                format!("the hub's own nouns ({})", id.readable()),
                "an admin can set spec.hub",
            );
        }
        let secret = id.group.is_empty() && id.kind == "Secret";
        if secret && !spec.plain_secrets && !sealed(fetch(&object.digest)) {
            refuse(
                Some(id),
                format!("plain Secrets ({})", id.readable()),
                "encrypt it with SOPS, or have an admin set spec.plainSecrets",
            );
        }
    }
    out
}

/// Is it a SOPS file? What cannot be read counts as plain.
fn sealed(bytes: Option<Bytes>) -> bool {
    let value = bytes.and_then(|bytes| serde_json::from_slice::<serde_json::Value>(&bytes).ok());
    value.is_some_and(|value| value.pointer("/sops/mac").is_some())
}

/// Does a text match a pattern in which `*` stands for any text?
fn like(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(mut text) = text.strip_prefix(first) else {
        return false;
    };
    let (middle, last) = rest.rsplit_once('*').unwrap_or(("", rest));
    // taking each piece at its first place leaves the most for those behind it
    for piece in middle.split('*') {
        match text.find(piece) {
            Some(at) => text = &text[at + piece.len()..],
            None => return false,
        }
    }
    text.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::like;

    #[test]
    fn patterns() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("a", "a", true),
            ("a", "ab", false),
            ("a*", "ab", true),
            ("*a", "ba", true),
            ("a*b*c", "a-b-c", true),
            ("a*b*c", "ac-b", false),
            ("a*a", "a", false),
            ("*b*b*", "ab", false),
            ("team-*-prod", "team-x-prod", true),
        ] {
            assert_eq!(like(pattern, text), expected, "{pattern} {text}");
        }
    }
}
