//! The order of application.

use std::collections::BTreeMap;

use k8s_object::{GroupKind, kind_rank};
use roadstead_dispatch::{Phase, VariantObject};

/// Puts what others stand on before them, then sorts by (phase, wave, kind rank, namespace, name).
///
/// A Namespace comes no later than what lives in it, and a CustomResourceDefinition no later than its kind's objects,
/// whatever their own annotations say: otherwise the sync could never get there.
pub(crate) fn arrange(objects: &mut [VariantObject], defines: &BTreeMap<String, GroupKind>) {
    let mut namespaces: BTreeMap<String, (Phase, i32)> = BTreeMap::new();
    let mut kinds: BTreeMap<GroupKind, (Phase, i32)> = BTreeMap::new();
    for object in objects
        .iter()
        .filter(|object| object.phase != Phase::SyncFail)
    {
        let at = (object.phase, object.wave);
        if !object.id.namespace.is_empty() {
            let first = namespaces.entry(object.id.namespace.clone()).or_insert(at);
            *first = at.min(*first);
        }
        let first = kinds.entry(object.id.group_kind()).or_insert(at);
        *first = at.min(*first);
    }
    for object in objects.iter_mut().filter(|object| !object.hook) {
        let needed = match (object.id.group.as_str(), object.id.kind.as_str()) {
            ("", "Namespace") => namespaces.get(&object.id.name),
            ("apiextensions.k8s.io", "CustomResourceDefinition") => defines
                .get(&object.id.name)
                .and_then(|kind| kinds.get(kind)),
            _ => None,
        };
        if let Some(needed) = needed
            && *needed < (object.phase, object.wave)
        {
            (object.phase, object.wave) = *needed;
        }
    }
    objects.sort_by_cached_key(|object| {
        let rank = kind_rank(&object.id.group_kind());
        let id = &object.id;
        (
            (object.phase, object.wave, rank),
            (id.namespace.clone(), id.name.clone()),
            (id.group.clone(), id.kind.clone()),
        )
    });
}
