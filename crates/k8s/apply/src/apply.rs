//! Server-side apply, and the tracking of every other write.

use std::sync::OnceLock;

use serde_json::Value;

use crate::error::{ApplyError, Conflict};
use crate::fieldpath::{FieldSet, same_value};
use crate::managed::{self, Entry, Managed, Operation};
use crate::schema::{Ty, TypeRef, validate};
use crate::typed::{self, Comparison, Emptied};

/// The annotation in which kubectl keeps what it applied last.
pub const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Kubernetes' limit on the size of all annotations of an object.
const MAX_ANNOTATIONS: usize = 256 * 1024;

/// More managers of plain updates than this are merged, oldest first.
const MAX_UPDATE_MANAGERS: usize = 10;

const ANCIENT: &str = "ancient-changes";
const BEFORE_FIRST_APPLY: &str = "before-first-apply";

/// How to apply.
#[derive(Debug, Clone)]
pub struct ApplyOptions<'a> {
    /// The field manager; empty is `unknown`.
    pub manager: &'a str,
    /// Take fields that others own with other values.
    pub force: bool,
    /// The subresource written through; empty for the object itself.
    pub subresource: &'a str,
    /// The time to write into changed entries, as RFC 3339 in whole seconds and UTC.
    pub now: &'a str,
    /// The object's type.
    pub schema: TypeRef,
    /// Fields that a write here never sets (`status` of the object itself, `spec` of its status).
    pub reset_fields: Option<&'a FieldSet>,
}

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
}

/// Applies a configuration to an object, or makes the object from it.
///
/// Returns the merged object with its managedFields. Where nothing changed it is equal to `live`, times included,
/// unless the manager came to share or give up fields.
pub fn apply(
    live: Option<&Value>,
    config: &Value,
    options: &ApplyOptions<'_>,
) -> Result<Value, ApplyError> {
    let api_version = k8s_object::api_version(config);
    if let Some(expected) = live.map(k8s_object::api_version)
        && expected != api_version
    {
        return Err(ApplyError::Version {
            found: api_version.to_owned(),
            expected: expected.to_owned(),
        });
    }
    if managed::raw(config).is_some_and(|raw| !raw.is_null()) {
        return Err(ApplyError::ManagedFieldsPresent);
    }
    let ty = options.schema.ty();
    let typed = |what, errors: Vec<_>| {
        if errors.is_empty() {
            Ok(())
        } else {
            Err(ApplyError::Typed {
                what,
                object: name_of(config),
                errors,
            })
        }
    };
    typed("patch", validate(config, ty))?;

    let mut managed = match live {
        Some(live) => Managed::of(live)?,
        None => Managed::default(),
    };
    let mut as_stored = !managed.entries.is_empty();
    let empty = Value::Object(serde_json::Map::new());
    if let (true, Some(live)) = (managed.entries.is_empty(), live) {
        // what was there before anybody applied belongs to somebody
        let options = UpdateOptions {
            manager: BEFORE_FIRST_APPLY,
            subresource: options.subresource,
            now: options.now,
            schema: options.schema.clone(),
            reset_fields: options.reset_fields,
        };
        managed = update(
            &empty,
            &managed::without(live),
            managed,
            api_version,
            &options,
        );
    }
    as_stored &= !reconcile(&mut managed, ty);

    let attempt = Attempt {
        base: live.unwrap_or(&empty),
        config,
        options,
    };
    let result = if options.manager == "kubectl" {
        attempt
            .run(managed.clone(), options.force)
            .or_else(|conflicts| {
                let left = not_last_applied(attempt.base, conflicts, options);
                if left.is_empty() {
                    attempt.run(managed, true)
                } else {
                    Err(left)
                }
            })
    } else {
        attempt.run(managed, options.force)
    };
    let outcome = result.map_err(ApplyError::Conflicts)?;
    let renew = options.manager == "kubectl"
        && k8s_object::annotation(
            outcome.object.as_ref().unwrap_or(attempt.base),
            LAST_APPLIED,
        )
        .is_some_and(|last| !last.is_empty());
    if let (None, true, true, false, Some(live)) =
        (&outcome.object, outcome.same_owner, as_stored, renew, live)
    {
        return Ok(live.clone());
    }
    let mut object = outcome
        .object
        .unwrap_or_else(|| managed::without(attempt.base));
    if renew {
        renew_last_applied(&mut object, config);
    }
    outcome.managed.write(&mut object);
    Ok(object)
}

/// Returns a written object with its managedFields, after a create, update or patch by anybody who does not apply.
///
/// `new` may carry managedFields of its own, as a client sends them back; `[]` or `[{}]` clears them.
pub fn track_update(live: Option<&Value>, new: &Value, options: &UpdateOptions<'_>) -> Value {
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
    let mut object = managed::without(new);
    let created = live.is_none_or(|live| k8s_object::uid(live).is_empty());
    let managed = if managed.entries.is_empty() && !created {
        // nobody applied to it and nobody tracks it
        managed
    } else {
        let base = live.map_or_else(|| Value::Object(serde_json::Map::new()), managed::without);
        update(
            &base,
            &object,
            managed,
            k8s_object::api_version(new),
            options,
        )
    };
    managed.write(&mut object);
    object
}

fn is_reset(entries: &[Value]) -> bool {
    match entries {
        [] => true,
        [one] => one.as_object().is_some_and(|entry| entry.is_empty()),
        _ => false,
    }
}

/// Fields that nobody ever owns.
fn never_owned() -> &'static FieldSet {
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

fn manager_name(name: &str) -> &str {
    if name.is_empty() { "unknown" } else { name }
}

fn name_of(object: &Value) -> String {
    format!(
        "{}/{}; {}, Kind={}",
        k8s_object::namespace(object),
        k8s_object::name(object),
        k8s_object::api_version(object),
        k8s_object::kind(object)
    )
}

/// Tracks a write from `old` to `new`, neither of which has managedFields.
fn update(
    old: &Value,
    new: &Value,
    mut managed: Managed,
    api_version: &str,
    options: &UpdateOptions<'_>,
) -> Managed {
    let ty = options.schema.ty();
    reconcile(&mut managed, ty);
    let mut difference = typed::compare(old, new, ty);
    if let Some(reset) = options.reset_fields {
        difference = difference.without(reset);
    }
    take_from(&mut managed, &difference);
    let own = difference
        .modified
        .union(&difference.added)
        .difference(never_owned());
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
    managed
}

/// Brings entries in line with the type; tells whether any changed.
fn reconcile(managed: &mut Managed, ty: Ty<'_>) -> bool {
    let mut changed = false;
    for entry in &mut managed.entries {
        changed |= typed::reconcile(&mut entry.fields, ty);
    }
    changed
}

/// Lets managers lose what was changed or removed; those left with nothing go.
fn take_from(managed: &mut Managed, difference: &Comparison) {
    let changed = difference.modified.union(&difference.added);
    for entry in &mut managed.entries {
        if !changed.is_empty() {
            entry.fields = entry.fields.difference(&changed);
        }
        if !difference.removed.is_empty() {
            entry.fields = entry.fields.difference(&difference.removed);
        }
    }
    managed.entries.retain(|entry| !entry.fields.is_empty());
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

/// One try of an apply.
struct Attempt<'a> {
    /// The live object, with its managedFields, or an empty one.
    base: &'a Value,
    config: &'a Value,
    options: &'a ApplyOptions<'a>,
}

struct Outcome {
    /// The merged object; `None` where it is the live one.
    object: Option<Value>,
    managed: Managed,
    /// Nobody gained or lost a field.
    same_owner: bool,
}

impl Attempt<'_> {
    /// Merges, removes what is no longer applied, and moves ownership.
    fn run(&self, mut managed: Managed, force: bool) -> Result<Outcome, Vec<Conflict>> {
        let ty = self.options.schema.ty();
        let mut fields = typed::field_set(self.config, ty);
        if let Some(reset) = self.options.reset_fields {
            fields = fields.recursive_difference(reset);
        }
        let mut entry = Entry {
            manager: manager_name(self.options.manager).to_owned(),
            operation: Operation::Apply,
            api_version: k8s_object::api_version(self.config).to_owned(),
            time: None,
            subresource: self.options.subresource.to_owned(),
            fields,
        };
        let mut last = FieldSet::new();
        let mut same_owner = false;
        if let Some(at) = managed.position(entry.identity()) {
            let old = managed.entries.swap_remove(at);
            same_owner = old.api_version == entry.api_version;
            last = old.fields;
            entry.time = old.time;
        }
        let keeps_all = last.is_subset(&entry.fields);
        let mut object = None;
        if !(keeps_all && typed::is_covered(self.base, self.config, ty)) {
            let base = managed::without(self.base);
            let merged =
                typed::merge(Some(&base), Some(self.config), ty).unwrap_or_else(|| base.clone());
            let merged = if keeps_all {
                merged
            } else {
                prune(merged, &managed, &entry, &last, ty)
            };
            let mut difference = typed::compare(&base, &merged, ty);
            if let Some(reset) = self.options.reset_fields {
                difference = difference.without(reset);
            }
            if !force {
                let conflicts = conflicts(&managed, &difference);
                if !conflicts.is_empty() {
                    return Err(conflicts);
                }
            }
            take_from(&mut managed, &difference);
            // the order of lists counts here, where it does not for ownership
            if !same_value(&base, &merged) {
                entry.time = Some(self.options.now.to_owned());
                object = Some(merged);
            }
        }
        entry.fields = entry.fields.difference(never_owned());
        same_owner &= object.is_none() && entry.fields == last;
        if !entry.fields.is_empty() {
            managed.put(entry);
        }
        Ok(Outcome {
            object,
            managed,
            same_owner,
        })
    }
}

fn conflicts(managed: &Managed, difference: &Comparison) -> Vec<Conflict> {
    let changed = difference.modified.union(&difference.added);
    let mut conflicts: Vec<Conflict> = Vec::new();
    for entry in &managed.entries {
        let paths = entry.fields.intersection(&changed).paths();
        conflicts.extend(paths.into_iter().map(|path| Conflict::new(entry, path)));
    }
    // stable, so the fields of one manager keep their order
    conflicts.sort_by(|a, b| a.rank().cmp(&b.rank()));
    conflicts
}

/// Removes what the manager applied last time, does not apply now, and nobody else owns.
fn prune(merged: Value, others: &Managed, own: &Entry, last: &FieldSet, ty: Ty<'_>) -> Value {
    let last = typed::with_named_parents(last, ty);
    let everything = typed::with_named_parents(&typed::field_set(&merged, ty), ty);
    let left = |removed: &FieldSet| {
        let pruned = typed::remove(merged.clone(), removed, ty, Emptied::Null);
        typed::with_named_parents(&typed::field_set(&pruned, ty), ty)
    };
    let owned = others
        .entries
        .iter()
        .fold(own.fields.clone(), |all, entry| all.union(&entry.fields));
    let owned = typed::with_named_parents(&owned, ty);
    // a removed list item takes unowned fields along; what is owned comes back with all that leads to it
    let kept = left(&last).union(&owned);
    let kept = left(&everything.difference(&kept));
    let gone = everything.difference(&kept).intersection(&last);
    typed::remove(merged, &gone, ty, Emptied::Hollow)
}

/// Leaves out the conflicts with what kubectl applied client-side and nobody changed since.
fn not_last_applied(
    base: &Value,
    conflicts: Vec<Conflict>,
    options: &ApplyOptions<'_>,
) -> Vec<Conflict> {
    let last = k8s_object::annotation(base, LAST_APPLIED)
        .and_then(|text| serde_json::from_str::<Value>(text).ok())
        .filter(|last| k8s_object::api_version(last) == k8s_object::api_version(base));
    let Some(last) = last else {
        return conflicts;
    };
    let ty = options.schema.ty();
    if !validate(&last, ty).is_empty() {
        return conflicts;
    }
    let difference = typed::compare(&last, base, ty);
    let allowed = typed::field_set(&last, ty)
        .difference(&difference.modified)
        .difference(&difference.added)
        .difference(&difference.removed);
    conflicts
        .into_iter()
        .filter(|conflict| !allowed.has(&conflict.path.0))
        .collect()
}

/// Keeps kubectl's annotation in step with what it applies server-side.
fn renew_last_applied(object: &mut Value, config: &Value) {
    let mut config = managed::without(config);
    if let Some(annotations) = config
        .pointer_mut("/metadata/annotations")
        .and_then(Value::as_object_mut)
    {
        annotations.remove(LAST_APPLIED);
    }
    let text = format!("{config}\n");
    let size: usize = k8s_object::annotations(object)
        .filter(|(key, _)| *key != LAST_APPLIED)
        .map(|(key, value)| key.len() + value.len())
        .sum();
    if size + LAST_APPLIED.len() + text.len() <= MAX_ANNOTATIONS {
        k8s_object::set_annotation(object, LAST_APPLIED, &text);
    } else if let Some(annotations) = object
        .pointer_mut("/metadata/annotations")
        .and_then(Value::as_object_mut)
    {
        annotations.remove(LAST_APPLIED);
    }
}
