//! Which removals are counted, and which always wait for approval. Plan and agent ask here, so that they agree.

use std::collections::BTreeSet;

use k8s_object::ObjectId;

/// Kinds that are never removed without approval: what is in them cannot be made again.
const PROTECTED: [(&str, &str); 5] = [
    ("", "Namespace"),
    ("apiextensions.k8s.io", "CustomResourceDefinition"),
    ("", "PersistentVolume"),
    ("", "PersistentVolumeClaim"),
    ("apps", "StatefulSet"),
];

/// Is it of a kind that is never removed without approval?
pub fn is_protected(id: &ObjectId) -> bool {
    PROTECTED.contains(&(id.group.as_str(), id.kind.as_str()))
}

/// The hash-suffixed ConfigMaps and Secrets among objects, each by its name without the hash.
///
/// One that replaces another of the same name under another hash is the same thing anew: removing the old one costs
/// nothing and is not counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hashed<'a>(BTreeSet<(&'a str, &'a str, &'a str)>);

impl<'a> Hashed<'a> {
    /// Finds them.
    pub fn among(objects: impl IntoIterator<Item = &'a ObjectId>) -> Self {
        Self(objects.into_iter().filter_map(hashed).collect())
    }

    /// Is one of them the same thing as `old` under another hash?
    pub fn replaces(&self, old: &ObjectId) -> bool {
        hashed(old).is_some_and(|old| self.0.contains(&old))
    }
}

/// The kind, namespace and name without its hash, as kustomize and kubectl put it behind (ten characters of an alphabet
/// without vowels: `EncodeHash` of kubectl).
fn hashed(id: &ObjectId) -> Option<(&str, &str, &str)> {
    if !id.group.is_empty() || !matches!(id.kind.as_str(), "ConfigMap" | "Secret") {
        return None;
    }
    let (base, hash) = id.name.rsplit_once('-')?;
    let letters = |c: char| "bcdfghkmt2456789".contains(c);
    (hash.len() == 10 && hash.chars().all(letters)).then_some((
        id.kind.as_str(),
        id.namespace.as_str(),
        base,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> ObjectId {
        text.parse().expect(text)
    }

    #[test]
    fn only_the_same_name_under_another_hash_is_replaced() {
        let wanted = id("/ConfigMap/shop/web-bcdfghkmt2");
        let hashed = Hashed::among([&wanted]);
        for (old, replaced) in [
            ("/ConfigMap/shop/web-2t8hm4k5gb", true),
            ("/ConfigMap/other/web-2t8hm4k5gb", false),
            ("/Secret/shop/web-2t8hm4k5gb", false),
            ("/ConfigMap/shop/api-2t8hm4k5gb", false),
            ("/ConfigMap/shop/web-settings00", false),
            ("/ConfigMap/shop/web", false),
            ("apps/Deployment/shop/web-2t8hm4k5gb", false),
        ] {
            assert_eq!(hashed.replaces(&id(old)), replaced, "{old}");
        }
    }

    #[test]
    fn what_cannot_be_made_again_is_protected() {
        for (text, protected) in [
            ("/Namespace//shop", true),
            ("/PersistentVolumeClaim/shop/data", true),
            ("apps/StatefulSet/shop/db", true),
            ("example.com/StatefulSet/shop/db", false),
            ("/ConfigMap/shop/web", false),
        ] {
            assert_eq!(is_protected(&id(text)), protected, "{text}");
        }
    }
}
