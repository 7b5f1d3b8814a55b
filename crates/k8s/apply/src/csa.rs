//! Ownership handed from managers that wrote by update to one that applies.

use serde_json::Value;

use crate::fieldpath::FieldSet;
use crate::managed::{self, Entry, Managed, Operation};
use crate::schema::TypeRef;
use crate::typed;

/// Hands what kubectl's annotation says that it applied last, and that is there and nobody else owns, to the applier `to`.
///
/// That is for objects whose `managedFields` do not tell: they are older than these, or somebody emptied them.
pub fn adopt_last_applied(live: &Value, to: &str, schema: &TypeRef) -> Value {
    let last = k8s_object::annotation(live, crate::LAST_APPLIED)
        .and_then(|text| serde_json::from_str::<Value>(text).ok())
        .filter(|last| k8s_object::api_version(last) == k8s_object::api_version(live));
    let (Some(mut last), Ok(mut managed)) = (last, Managed::of(live)) else {
        return live.clone();
    };
    if let Some(map) = last.as_object_mut() {
        for key in ["apiVersion", "kind", "status"] {
            map.remove(key);
        }
    }
    if let Some(meta) = k8s_object::meta_mut(&mut last) {
        meta.retain(|key, _| key == "labels" || key == "annotations");
    }
    let ty = schema.ty();
    let mut fields = typed::field_set(&last, ty).intersection(&typed::field_set(live, ty));
    let mut adopter = Entry {
        manager: to.to_owned(),
        operation: Operation::Apply,
        api_version: k8s_object::api_version(live).to_owned(),
        time: None,
        subresource: String::new(),
        fields: FieldSet::new(),
    };
    for entry in &managed.entries {
        if entry.same_manager(&adopter) {
            adopter = entry.clone();
        } else {
            fields = fields.difference(&entry.fields);
        }
    }
    let all = adopter.fields.union(&fields);
    if all == adopter.fields {
        return live.clone();
    }
    adopter.fields = all;
    typed::reconcile(&mut adopter.fields, ty);
    managed.put(adopter);
    let mut object = managed::without(live);
    managed.write(&mut object);
    object
}

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
