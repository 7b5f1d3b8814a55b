//! Ownership handed from managers that wrote by update to one that applies.

use serde_json::Value;

use crate::fieldpath::FieldSet;
use crate::managed::{self, Entry, Managed, Operation};
use crate::schema::TypeRef;
use crate::typed;

/// Hands what the managers `from` own, by update or apply, to the applier `to`.
///
/// So the next apply by `to` removes what it leaves out, as if it had applied everything before; kubectl's annotation
/// of what it applied last goes the same way. Entries of subresources stay, and an object that none of them manages
/// comes back as it is.
pub fn adopt_managers(live: &Value, from: &[&str], to: &str, schema: &TypeRef) -> Value {
    let Ok(mut managed) = Managed::of(live) else {
        return live.clone();
    };
    let mut adopter: Option<Entry> = None;
    let mut found = false;
    managed.entries.retain(|entry| {
        let own = entry.manager == to && entry.operation == Operation::Apply;
        let named = from.contains(&entry.manager.as_str());
        if !entry.subresource.is_empty() || !(own || named) {
            return true;
        }
        found |= named && !own;
        let all = adopter.get_or_insert_with(|| Entry {
            manager: to.to_owned(),
            operation: Operation::Apply,
            fields: FieldSet::new(),
            ..entry.clone()
        });
        if own {
            all.api_version.clone_from(&entry.api_version);
            all.time.clone_from(&entry.time);
        }
        all.fields = all.fields.union(&entry.fields);
        false
    });
    let Some(mut adopter) = adopter.filter(|_| found) else {
        return live.clone();
    };
    typed::reconcile(&mut adopter.fields, schema.ty());
    managed.put(adopter);
    let mut object = managed::without(live);
    managed.write(&mut object);
    object
}
