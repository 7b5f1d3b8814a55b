//! Server-side apply.

use serde_json::Value;

use crate::error::{ApplyError, Conflict};
use crate::fieldpath::{FieldSet, same_value};
use crate::last_applied::{self, LAST_APPLIED};
use crate::managed::{self, Entry, Managed, Operation};
use crate::schema::{Ty, TypeRef, validate};
use crate::typed::{self, Comparison, Emptied};
use crate::update::{UpdateOptions, manager_name, never_owned, reconcile, take_from, update};

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
    let errors = validate(config, ty);
    if !errors.is_empty() {
        return Err(ApplyError::Typed {
            object: name_of(config),
            errors,
        });
    }

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
                let left = last_applied::unexcused(attempt.base, conflicts, &options.schema);
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
    let untouched = outcome.object.is_none() && outcome.same_owner && as_stored && !renew;
    if let (true, Some(live)) = (untouched, live) {
        return Ok(live.clone());
    }
    let mut object = outcome
        .object
        .unwrap_or_else(|| managed::without(attempt.base));
    if renew {
        last_applied::renew(&mut object, config);
    }
    outcome.managed.write(&mut object);
    Ok(object)
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
    let last = typed::with_named_parents(last.clone(), ty);
    let everything = typed::with_named_parents(typed::field_set(&merged, ty), ty);
    let left = |removed: &FieldSet| {
        let pruned = typed::remove(merged.clone(), removed, ty, Emptied::Null);
        typed::with_named_parents(typed::field_set(&pruned, ty), ty)
    };
    let owned = others
        .entries
        .iter()
        .fold(own.fields.clone(), |all, entry| all.union(&entry.fields));
    let owned = typed::with_named_parents(owned, ty);
    // a removed list item takes unowned fields along; what is owned comes back with all that leads to it
    let kept = left(&last).union(&owned);
    let kept = left(&everything.difference(&kept));
    let gone = everything.difference(&kept).intersection(&last);
    typed::remove(merged, &gone, ty, Emptied::Hollow)
}
