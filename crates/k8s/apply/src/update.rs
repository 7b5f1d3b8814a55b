//! The tracking of every write that is no apply, and the moving of ownership.

use std::borrow::Cow;
use std::sync::OnceLock;

use serde_json::Value;

use crate::error::ApplyError;
use crate::fieldpath::FieldSet;
use crate::managed::{self, Entry, Managed, Operation};
use crate::schema::TypeRef;
use crate::typed::{self, Comparison};
use crate::versions::{Kind, Versions};

/// More managers of plain updates than this are merged, oldest first.
const MAX_UPDATE_MANAGERS: usize = 10;

const ANCIENT: &str = "ancient-changes";

/// How to track a write.
#[derive(Debug, Clone)]
pub struct UpdateOptions<'a> {
    /// The field manager; empty is `unknown`.
    pub manager: &'a str,
    /// The subresource written through; empty for the object itself.
    pub subresource: &'a str,
    /// The time to write into changed entries, as RFC 3339 in whole seconds and UTC.
    pub now: &'a str,
    /// The object's type.
    pub schema: TypeRef,
    /// Fields that a write here never sets.
    pub reset_fields: Option<&'a FieldSet>,
    /// The kind's other versions; without them, every entry's paths are taken to be of this one.
    pub versions: Option<&'a dyn Versions>,
}

/// Returns a written object with its managedFields, after a create, update or patch by anybody who does not apply.
///
/// `new` may carry managedFields of its own, as a client sends them back; `[]` or `[{}]` clears them.
pub fn track_update(live: Option<&Value>, new: &Value, options: &UpdateOptions<'_>) -> Value {
    let mut object = new.clone();
    track_update_in(live, &mut object, options);
    object
}

/// Does the same in place.
pub fn track_update_in(live: Option<&Value>, new: &mut Value, options: &UpdateOptions<'_>) {
    let of_live = || {
        live.and_then(|live| Managed::of(live).ok())
            .unwrap_or_default()
    };
    let managed = if options.subresource.is_empty() {
        match managed::raw(new) {
            Some(Value::Array(entries)) if is_reset(entries) => Managed::default(),
            _ => match Managed::of(new) {
                Ok(managed) if !managed.entries.is_empty() => managed,
                _ => of_live(),
            },
        }
    } else {
        of_live()
    };
    if let Some(meta) = k8s_object::meta_mut(new) {
        meta.remove("managedFields");
    }
    let created = live.is_none_or(|live| k8s_object::uid(live).is_empty());
    let managed = if managed.entries.is_empty() && !created {
        // nobody applied to it and nobody tracks it
        managed
    } else {
        let base = live.map_or_else(|| Value::Object(serde_json::Map::new()), managed::without);
        let api_version = k8s_object::api_version(new);
        // what cannot be tracked is let pass, as Kubernetes does
        update(&base, new, managed, api_version, options).unwrap_or_default()
    };
    managed.write(new);
}

fn is_reset(entries: &[Value]) -> bool {
    match entries {
        [] => true,
        [one] => one.as_object().is_some_and(|entry| entry.is_empty()),
        _ => false,
    }
}

/// Fields that nobody ever owns.
pub(crate) fn never_owned() -> &'static FieldSet {
    static SET: OnceLock<FieldSet> = OnceLock::new();
    SET.get_or_init(|| {
        FieldSet::of_fields(&[
            "apiVersion",
            "kind",
            "metadata",
            "metadata.name",
            "metadata.namespace",
            "metadata.creationTimestamp",
            "metadata.selfLink",
            "metadata.uid",
            "metadata.clusterName",
            "metadata.generation",
            "metadata.managedFields",
            "metadata.resourceVersion",
        ])
    })
}

pub(crate) fn manager_name(name: &str) -> &str {
    if name.is_empty() { "unknown" } else { name }
}

/// Tracks a write from `old` to `new`, neither of which has managedFields.
pub(crate) fn update(
    old: &Value,
    new: &Value,
    mut managed: Managed,
    api_version: &str,
    options: &UpdateOptions<'_>,
) -> Result<Managed, ApplyError> {
    let kind = Kind {
        api_version,
        schema: &options.schema,
        others: options.versions,
    };
    reconcile(&mut managed, old, kind)?;
    let change = Change::of(old, new, kind, options.reset_fields, &managed, false)?;
    change.take_from(&mut managed);
    let mut own = change.into_own().touched;
    own.subtract(never_owned());
    if !own.is_empty() {
        let mut entry = Entry {
            manager: manager_name(options.manager).to_owned(),
            operation: Operation::Update,
            api_version: api_version.to_owned(),
            time: Some(options.now.to_owned()),
            subresource: options.subresource.to_owned(),
            fields: own,
        };
        if let Some(at) = managed.position(entry.identity()) {
            entry.fields = entry.fields.union(&managed.entries[at].fields);
        }
        managed.put(entry);
    }
    cap(&mut managed);
    Ok(managed)
}

/// Brings entries in line with their version's type, and drops those of versions that are gone; tells whether any
/// changed.
pub(crate) fn reconcile(
    managed: &mut Managed,
    live: &Value,
    kind: Kind<'_>,
) -> Result<bool, ApplyError> {
    let mut changed = false;
    let mut left = Vec::with_capacity(managed.entries.len());
    for mut entry in std::mem::take(&mut managed.entries) {
        let Some(schema) = kind.schema(&entry.api_version) else {
            changed = true;
            continue;
        };
        kind.convert(Cow::Borrowed(live), &entry.api_version, String::new)?;
        changed |= typed::reconcile(&mut entry.fields, schema.ty());
        left.push(entry);
    }
    managed.entries = left;
    Ok(changed)
}

/// What a write changes, in each version that somebody owns fields in; the write's own is the first.
pub(crate) struct Change {
    versions: Vec<Touched>,
    /// Each version stands for all of them.
    alike: bool,
}

/// What a write changes in one version.
pub(crate) struct Touched {
    api_version: String,
    /// What it sets anew or otherwise.
    pub(crate) touched: FieldSet,
    removed: FieldSet,
}

impl Change {
    /// `applied` says that the new object is what an apply made of the old one.
    pub(crate) fn of(
        old: &Value,
        new: &Value,
        kind: Kind<'_>,
        reset: Option<&FieldSet>,
        managed: &Managed,
        applied: bool,
    ) -> Result<Self, ApplyError> {
        let at = |api_version: &str, old: &Value, new: &Value, schema: &TypeRef| {
            let ty = match applied {
                true => schema.ty().of_applied(),
                false => schema.ty(),
            };
            let mut found: Comparison = typed::compare(old, new, ty);
            if let Some(reset) = reset {
                found = found.without(reset);
            }
            Touched {
                api_version: api_version.to_owned(),
                touched: found.modified.union(&found.added),
                removed: found.removed,
            }
        };
        let mut versions = vec![at(kind.api_version, old, new, kind.schema)];
        for entry in &managed.entries {
            let api_version = entry.api_version.as_str();
            if kind.others.is_none() || versions.iter().any(|one| one.api_version == api_version) {
                continue;
            }
            let Some(schema) = kind.schema(api_version) else {
                continue;
            };
            let convert = |object, which| {
                kind.convert(Cow::Borrowed(object), api_version, || {
                    format!("failed to convert {which} object: ")
                })
            };
            let (old, new) = (convert(old, "old")?, convert(new, "new")?);
            versions.push(at(api_version, &old, &new, &schema));
        }
        Ok(Self {
            versions,
            alike: kind.others.is_none(),
        })
    }

    fn into_own(mut self) -> Touched {
        self.versions.swap_remove(0)
    }

    /// What it changes for somebody who owns fields in a version.
    pub(crate) fn seen_in(&self, api_version: &str) -> Option<&Touched> {
        if self.alike {
            return self.versions.first();
        }
        self.versions
            .iter()
            .find(|one| one.api_version == api_version)
    }

    /// Lets managers lose what was changed or removed; those left with nothing go.
    pub(crate) fn take_from(&self, managed: &mut Managed) {
        for entry in &mut managed.entries {
            let Some(seen) = self.seen_in(&entry.api_version) else {
                continue;
            };
            for gone in [&seen.touched, &seen.removed] {
                entry.fields.subtract(gone);
            }
        }
        managed.entries.retain(|entry| !entry.fields.is_empty());
    }
}

/// Merges the oldest managers of updates into one per version, until few enough are left.
fn cap(managed: &mut Managed) {
    let mut updaters: Vec<usize> = (0..managed.entries.len())
        .filter(|at| managed.entries[*at].operation == Operation::Update)
        .collect();
    let mut count = updaters.len();
    if count <= MAX_UPDATE_MANAGERS {
        return;
    }
    updaters.sort_by(|a, b| {
        let (a, b) = (&managed.entries[*a], &managed.entries[*b]);
        a.time
            .cmp(&b.time)
            .then_with(|| a.identity().cmp(&b.identity()))
    });
    let mut buckets: Vec<Entry> = Vec::new();
    let mut first_of: Vec<(String, usize)> = Vec::new();
    let mut gone = vec![false; managed.entries.len()];
    for at in updaters {
        if count <= MAX_UPDATE_MANAGERS {
            break;
        }
        let entry = &managed.entries[at];
        let version = entry.api_version.clone();
        let Some((_, first)) = first_of.iter().find(|(v, _)| *v == version) else {
            first_of.push((version, at));
            continue;
        };
        let bucket = match buckets.iter_mut().position(|b| b.api_version == version) {
            Some(bucket) => bucket,
            None => {
                let first_entry = &managed.entries[*first];
                gone[*first] = true;
                buckets.push(Entry {
                    manager: ANCIENT.to_owned(),
                    operation: Operation::Update,
                    api_version: version,
                    time: first_entry.time.clone(),
                    subresource: String::new(),
                    fields: first_entry.fields.clone(),
                });
                buckets.len() - 1
            }
        };
        buckets[bucket].fields = buckets[bucket].fields.union(&entry.fields);
        buckets[bucket].time.clone_from(&entry.time);
        gone[at] = true;
        count -= 1;
    }
    let mut at = 0;
    managed.entries.retain(|_| {
        at += 1;
        !gone[at - 1]
    });
    for bucket in buckets {
        managed.put(bucket);
    }
}
