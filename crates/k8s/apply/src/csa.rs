//! Ownership handed from managers that wrote by update to one that applies.

use serde_json::Value;

use crate::apply::LAST_APPLIED;
use crate::fieldpath::{FieldSet, PathElement};
use crate::managed::{self, Entry, Managed, Operation};
use crate::schema::TypeRef;

/// Hands what the managers `from` own by update or apply to the applier `to`.
///
/// So a later apply by `to` removes what it leaves out, as if it had applied everything before. Entries of
/// subresources stay as they are. kubectl's annotation, if kubectl is among `from`, is handed over with its field.
pub fn adopt_managers(live: &Value, from: &[&str], to: &str, schema: &TypeRef) -> Value {
    let Ok(mut managed) = Managed::of(live) else {
        return live.clone();
    };
    let mut taken = FieldSet::new();
    let mut api_version = None;
    let mut time: Option<String> = None;
    managed.entries.retain(|entry| {
        let ours = entry.subresource.is_empty()
            && ((from.contains(&entry.manager.as_str()) && entry.manager != to)
                || (entry.manager == to
                    && entry.operation == Operation::Update
                    && from.contains(&to)));
        if ours {
            taken = taken.union(&entry.fields);
            time = time.take().max(entry.time.clone());
            api_version.get_or_insert_with(|| entry.api_version.clone());
        }
        !ours
    });
    let Some(api_version) = api_version else {
        return live.clone();
    };
    // kubectl's annotation is not part of what anybody applies, so it would vanish with the first apply
    if from.contains(&"kubectl-client-side-apply") {
        taken = taken.difference(&FieldSet::from_iter([crate::fieldpath::Path(vec![
            PathElement::field("metadata"),
            PathElement::field("annotations"),
            PathElement::field(LAST_APPLIED),
        ])]));
    }
    let _ = schema;
    let mut entry = Entry {
        manager: to.to_owned(),
        operation: Operation::Apply,
        api_version,
        time,
        subresource: String::new(),
        fields: taken,
    };
    if let Some(at) = managed.position(entry.identity()) {
        let old = managed.entries.swap_remove(at);
        entry.fields = entry.fields.union(&old.fields);
        entry.api_version = old.api_version;
        entry.time = entry.time.max(old.time);
    }
    managed.put(entry);
    let mut object = managed::without(live);
    managed.write(&mut object);
    object
}
