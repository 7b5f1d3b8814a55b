//! Server-side apply.

use std::borrow::Cow;

use serde_json::Value;

use crate::error::{ApplyError, Conflict};
use crate::fieldpath::{FieldSet, same_value};
use crate::last_applied::{self, LAST_APPLIED};
use crate::managed::{self, Entry, Managed, Operation};
use crate::schema::{TypeRef, validate};
use crate::typed::{self, Covered, Emptied};
use crate::update::{Change, UpdateOptions, manager_name, never_owned, reconcile, update};
use crate::versions::{Kind, Versions};

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
    /// The kind's other versions; without them, every entry's paths are taken to be of this one.
    pub versions: Option<&'a dyn Versions>,
}

/// Applies a configuration to an object, or makes the object from it.
///
/// Returns the merged object with its managedFields. Where nothing changed it is equal to `live`, times included,
/// unless the manager came to share or give up fields. What the API server would only have to fill in again, inside of a
/// struct that is replaced as one thing (`apiVersion` of a `fieldRef`), counts as not changed.
pub fn apply(
    live: Option<&Value>,
    config: &Value,
    options: &ApplyOptions<'_>,
) -> Result<Value, ApplyError> {
    let changed = apply_change(live, config, options)?;
    Ok(changed.unwrap_or_else(|| live.cloned().unwrap_or_default()))
}

/// Does the same; `None` where nothing changed, which costs no copy of the object.
pub fn apply_change(
    live: Option<&Value>,
    config: &Value,
    options: &ApplyOptions<'_>,
) -> Result<Option<Value>, ApplyError> {
    check_version(live, config)?;
    if managed::raw(config).is_some_and(|raw| !raw.is_null()) {
        return Err(ApplyError::ManagedFieldsPresent);
    }
    let errors = validate(config, options.schema.ty());
    if !errors.is_empty() {
        return Err(ApplyError::Typed {
            object: name_of(config),
            errors,
        });
    }
    merge_typed(live, config, options)
}

fn check_version(live: Option<&Value>, config: &Value) -> Result<(), ApplyError> {
    match live.map(k8s_object::api_version) {
        Some(expected) if expected != k8s_object::api_version(config) => Err(ApplyError::Version {
            found: k8s_object::api_version(config).to_owned(),
            expected: expected.to_owned(),
        }),
        _ => Ok(()),
    }
}

/// Does the same with a configuration that has no managedFields, and with which
/// [`apply_problem`](crate::schema::apply_problem) found nothing wrong.
pub fn apply_typed(
    live: Option<&Value>,
    config: &Value,
    options: &ApplyOptions<'_>,
) -> Result<Option<Value>, ApplyError> {
    check_version(live, config)?;
    merge_typed(live, config, options)
}

fn merge_typed(
    live: Option<&Value>,
    config: &Value,
    options: &ApplyOptions<'_>,
) -> Result<Option<Value>, ApplyError> {
    let api_version = k8s_object::api_version(config);
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
            versions: options.versions,
        };
        managed = update(
            &empty,
            &managed::without(live),
            managed,
            api_version,
            &options,
        )?;
    }
    let kind = Kind {
        api_version,
        schema: &options.schema,
        others: options.versions,
    };
    // an entry of a version that is gone leaves its time
    let is_own = |entry: &&Entry| {
        entry.operation == Operation::Apply
            && entry.manager == manager_name(options.manager)
            && entry.subresource == options.subresource
    };
    let time = managed.entries.iter().find(is_own);
    let time = time.and_then(|entry| entry.time.clone());
    let mut appliers = managed.entries.iter();
    let latest = appliers.rfind(|entry| entry.operation == Operation::Apply);
    let is_latest = latest.as_ref().is_some_and(is_own);
    as_stored &= !reconcile(&mut managed, live.unwrap_or(&empty), kind)?;

    let attempt = Attempt {
        base: live.unwrap_or(&empty),
        config,
        options,
        kind,
        time,
        is_latest,
    };
    // only kubectl tries again
    let again = (options.manager == "kubectl").then(|| managed.clone());
    let outcome = match (attempt.run(managed, options.force), again) {
        (Err(ApplyError::Conflicts(conflicts)), Some(managed)) => {
            let left = last_applied::unexcused(attempt.base, conflicts, &options.schema);
            if !left.is_empty() {
                return Err(ApplyError::Conflicts(left));
            }
            attempt.run(managed, true)?
        }
        (result, _) => result?,
    };
    let renew = options.manager == "kubectl"
        && k8s_object::annotation(
            outcome.object.as_ref().unwrap_or(attempt.base),
            LAST_APPLIED,
        )
        .is_some_and(|last| !last.is_empty());
    let untouched = outcome.object.is_none() && outcome.same_owner && as_stored && !renew;
    if untouched && live.is_some() {
        return Ok(None);
    }
    let mut object = outcome
        .object
        .unwrap_or_else(|| managed::without(attempt.base));
    if renew {
        last_applied::renew(&mut object, config);
    }
    outcome.managed.write(&mut object);
    Ok(Some(object))
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
    kind: Kind<'a>,
    /// When the manager applied last.
    time: Option<String>,
    /// Nobody has applied since.
    is_latest: bool,
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
    fn run(&self, mut managed: Managed, force: bool) -> Result<Outcome, ApplyError> {
        let ty = self.options.schema.ty();
        let mut fields = typed::field_set(self.config, ty);
        if let Some(reset) = self.options.reset_fields {
            fields.subtract_recursively(reset);
        }
        let mut entry = Entry {
            manager: manager_name(self.options.manager).to_owned(),
            operation: Operation::Apply,
            api_version: k8s_object::api_version(self.config).to_owned(),
            time: self.time.clone(),
            subresource: self.options.subresource.to_owned(),
            fields,
        };
        let last = managed
            .position(entry.identity())
            .map(|at| managed.entries.swap_remove(at));
        let same_version = last
            .as_ref()
            .is_some_and(|last| last.api_version == entry.api_version);
        let keeps_all = match &last {
            None => true,
            Some(last) if last.fields.is_empty() => true,
            // in another version it may read otherwise, or not fit at all
            Some(last) => {
                let mut owners = managed.entries.iter().chain([last]);
                let in_one = |owner: &Entry| owner.api_version == entry.api_version;
                (self.kind.others.is_none() || owners.all(in_one))
                    && last.fields.is_subset(&entry.fields)
            }
        };
        let mut object = None;
        let covered = match keeps_all {
            true => typed::covered(self.base, self.config, ty),
            false => Covered::No,
        };
        let nothing_to_do = match covered {
            Covered::Yes => true,
            // who shares the ownership of what is replaced sees it change before it is filled again, and entries are kept in
            // the order of their times
            Covered::Filled => {
                let mut others = managed.entries.iter();
                self.is_latest && !others.any(|other| other.fields.meets(&entry.fields))
            }
            Covered::No => false,
        };
        if !nothing_to_do {
            let base = managed::without(self.base);
            let merged =
                typed::merge(Some(&base), Some(self.config), ty).unwrap_or_else(|| base.clone());
            let merged = match &last {
                Some(last) if !keeps_all => prune(merged, &managed, &entry, last, self.kind)?,
                _ => merged,
            };
            let reset = self.options.reset_fields;
            let change = Change::of(&base, &merged, self.kind, reset, &managed, true)?;
            if !force {
                let conflicts = conflicts(&managed, &change);
                if !conflicts.is_empty() {
                    return Err(ApplyError::Conflicts(conflicts));
                }
            }
            change.take_from(&mut managed);
            // the order of lists counts here, where it does not for ownership
            if !same_value(&base, &merged) {
                entry.time = Some(self.options.now.to_owned());
                object = Some(merged);
            }
        }
        entry.fields.subtract(never_owned());
        let same_owner = same_version
            && object.is_none()
            && last.is_some_and(|last| last.fields == entry.fields);
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

fn conflicts(managed: &Managed, change: &Change) -> Vec<Conflict> {
    let mut conflicts: Vec<Conflict> = Vec::new();
    for entry in &managed.entries {
        let Some(seen) = change.seen_in(&entry.api_version) else {
            continue;
        };
        let paths = entry.fields.intersection(&seen.touched).paths();
        conflicts.extend(paths.into_iter().map(|path| Conflict::new(entry, path)));
    }
    // stable, so the fields of one manager keep their order
    conflicts.sort_by(|a, b| a.rank().cmp(&b.rank()));
    conflicts
}

/// Removes what the manager applied last time, does not apply now, and nobody else owns.
///
/// What was applied last is looked at in the version that it was applied in, and what others own in theirs.
fn prune(
    merged: Value,
    others: &Managed,
    own: &Entry,
    last: &Entry,
    kind: Kind<'_>,
) -> Result<Value, ApplyError> {
    let Some(schema) = kind.schema(&last.api_version) else {
        return Ok(merged);
    };
    let ty = schema.ty();
    let everything = |object: &Value, schema: &TypeRef| {
        typed::with_named_parents(typed::field_set(object, schema.ty()), schema.ty())
    };
    let convert = |object, api_version: &str, what: &str| {
        kind.convert(object, api_version, || {
            format!("failed to prune fields: {what}: ")
        })
    };
    let merged = convert(
        Cow::Owned(merged),
        &last.api_version,
        "failed to convert merged object to last applied version",
    )?
    .into_owned();
    let last_fields = typed::with_named_parents(last.fields.clone(), ty);
    // a removed list item takes unowned fields along; what is owned comes back with all that leads to it
    let mut left = typed::remove(merged.clone(), &last_fields, ty, Emptied::Null);
    let mut all = Cow::Borrowed(&merged);
    for (api_version, owned) in owned_by_version(others, own, &last.api_version, kind) {
        let Some(schema) = kind.schema(api_version) else {
            continue;
        };
        let doing = |which: &str| {
            format!(
                "failed add back owned items: failed to convert {which} object at version {api_version}"
            )
        };
        all = convert(all, api_version, &doing("merged"))?;
        left = convert(Cow::Owned(left), api_version, &doing("pruned"))?.into_owned();
        let owned = typed::with_named_parents(owned, schema.ty());
        let kept = everything(&left, &schema).union(&owned);
        let gone = everything(&all, &schema).difference(&kept);
        left = typed::remove(all.clone().into_owned(), &gone, schema.ty(), Emptied::Null);
    }
    let left = convert(
        Cow::Owned(left),
        &last.api_version,
        "failed add back dangling items: failed to convert pruned object to last applied version",
    )?;
    let gone = everything(&merged, &schema)
        .difference(&everything(&left, &schema))
        .intersection(&last_fields);
    let pruned = typed::remove(merged, &gone, ty, Emptied::Hollow);
    let pruned = kind.convert(Cow::Owned(pruned), &own.api_version, || {
        "failed to prune fields: ".to_owned()
    })?;
    Ok(pruned.into_owned())
}

/// What is owned, version by version, beginning with the one given.
fn owned_by_version<'a>(
    others: &'a Managed,
    own: &'a Entry,
    first: &'a str,
    kind: Kind<'_>,
) -> Vec<(&'a str, FieldSet)> {
    let mut all: Vec<(&str, FieldSet)> = Vec::new();
    for entry in others.entries.iter().chain([own]) {
        let api_version = match kind.others {
            Some(_) => entry.api_version.as_str(),
            None => first,
        };
        match all.iter_mut().find(|(known, _)| *known == api_version) {
            Some((_, fields)) => *fields = fields.union(&entry.fields),
            None => all.push((api_version, entry.fields.clone())),
        }
    }
    all.sort_by_key(|(api_version, _)| *api_version != first);
    all
}
