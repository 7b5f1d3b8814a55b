//! What a resource's schema is used for: unknown fields, patches by key, field ownership, defaults.

use std::sync::{Arc, LazyLock};

use jiff::Timestamp;
use k8s_apply::fieldpath::FieldSet;
use k8s_apply::patch::PatchError;
use k8s_apply::schema::TypeRef;
use k8s_apply::{ApplyError, ApplyOptions, UpdateOptions, Versions};
use k8s_object::Gvk;
use serde_json::{Value, json};

use crate::resource::ServedVersion;
use crate::{
    Cause, Details, FieldError, FieldProblem, ResourceDef, Schema, Status, structural, world,
};

/// Returns the type of a resource's objects.
pub(crate) fn type_of(def: &ResourceDef) -> TypeRef {
    def.typed
        .get_or_init(|| match &def.schema {
            Schema::None => TypeRef::deduced(),
            Schema::Builtin => TypeRef::builtin_or_deduced(&Gvk {
                group: def.group.clone(),
                version: def.version.clone(),
                kind: def.kind.clone(),
            }),
            Schema::Json(schema) => TypeRef::from_crd_schema(schema),
        })
        .clone()
}

/// The versions of a custom resource differ in nothing but their name and what their schemas say.
#[derive(Debug)]
struct Served<'a>(&'a [ServedVersion]);

impl Versions for Served<'_> {
    fn schema(&self, api_version: &str) -> Option<TypeRef> {
        let version = self.0.iter().find(|one| one.api_version == api_version)?;
        let typed = version.typed.get_or_init(|| match &version.schema {
            Schema::Json(schema) => TypeRef::from_crd_schema(schema),
            Schema::None | Schema::Builtin => TypeRef::deduced(),
        });
        Some(typed.clone())
    }

    fn convert(&self, object: &Value, api_version: &str) -> Value {
        let mut object = object.clone();
        if let Some(map) = object.as_object_mut() {
            map.insert("apiVersion".to_owned(), api_version.into());
        }
        object
    }
}

fn versions<'a>(served: &'a Served<'a>) -> Option<&'a dyn Versions> {
    (!served.0.is_empty()).then_some(served as &dyn Versions)
}

/// Drops what decoding into a typed object drops: nulls, and emptiness that is the same as absence.
pub(crate) fn drop_empty(def: &ResourceDef, object: &mut Value) {
    match &def.schema {
        Schema::Builtin => k8s_apply::schema::drop_empty(object, &type_of(def)),
        Schema::Json(schema) if def.custom => structural::drop_nulls(object, Some(schema)),
        _ => {}
    }
}

/// Writes what a typed object always shows; with `inner` only what belongs to who wrote the part that holds it.
pub(crate) fn write_empty(def: &ResourceDef, object: &mut Value, inner: bool) {
    if matches!(def.schema, Schema::Builtin) {
        k8s_apply::schema::write_empty(object, &type_of(def), inner);
    }
}

/// Says what of a body its Go type cannot hold.
pub(crate) fn decode_problem(def: &ResourceDef, object: &Value) -> Option<String> {
    matches!(def.schema, Schema::Builtin)
        .then(|| k8s_apply::schema::decode_problem(object, &type_of(def)))
        .flatten()
}

/// Says what of an applied object cannot be converted; cuts numbers that are too large, as converting does.
pub(crate) fn convert_problem(def: &ResourceDef, object: &mut Value) -> Option<String> {
    if !matches!(def.schema, Schema::Builtin) {
        return None;
    }
    let ty = type_of(def);
    let problem = k8s_apply::schema::convert_problem(object, &ty);
    if problem.is_none() {
        k8s_apply::schema::wrap_numbers(object, &ty);
    }
    problem
}

/// Says what of a configuration server-side apply cannot type.
pub(crate) fn apply_problem(def: &ResourceDef, wanted: &Value) -> Option<String> {
    has_types(def)
        .then(|| k8s_apply::schema::apply_problem(wanted, &type_of(def)))
        .flatten()
}

/// Is what is applied held against types before anything else?
fn has_types(def: &ResourceDef) -> bool {
    def.custom || matches!(def.schema, Schema::Builtin)
}

/// Removes fields that the schema does not know; returns their paths. What is embedded must have metadata of the right types.
pub(crate) fn prune(def: &ResourceDef, object: &mut Value) -> Result<Vec<String>, String> {
    match &def.schema {
        Schema::None => Ok(Vec::new()),
        Schema::Json(schema) if def.custom => {
            if let Some(problem) = object.get("metadata").and_then(structural::meta_misfit) {
                return Err(problem);
            }
            let found = structural::coerce(object, schema, true).map_err(|e| e.to_string())?;
            // its own metadata is read first, what is embedded last
            let (mut unknown, embedded): (Vec<_>, Vec<_>) = found
                .into_iter()
                .partition(|path| path.starts_with("metadata."));
            unknown.extend(structural::prune(object, schema));
            unknown.extend(embedded);
            Ok(unknown)
        }
        _ => {
            let ty = type_of(def);
            let unknown = k8s_apply::schema::unknown_fields(object, &ty);
            if !unknown.is_empty() {
                k8s_apply::schema::prune(object, &ty);
            }
            Ok(unknown)
        }
    }
}

/// Makes what was stored under another schema into what this one says: a version or a definition may have changed since.
pub(crate) fn renew(def: &ResourceDef, object: &mut Value) {
    if let Schema::Json(schema) = &def.schema
        && def.custom
    {
        structural::prune(object, schema);
        structural::drop_nulls(object, Some(schema));
        structural::default(object, schema);
    }
}

/// Fills in defaults.
pub(crate) fn default(def: &ResourceDef, object: &mut Value) {
    match &def.schema {
        Schema::Json(schema) => structural::default(object, schema),
        Schema::Builtin => k8s_apply::schema::set_defaults(object, &type_of(def)),
        Schema::None => {}
    }
    if let Some(default) = &def.default {
        default(object);
    }
}

/// Checks an object against its schema. What was wrong before and did not change is let pass.
pub(crate) fn validate(
    def: &ResourceDef,
    new: &Value,
    old: Option<&Value>,
    subresource: &str,
) -> Vec<FieldError> {
    let Schema::Json(schema) = &def.schema else {
        return Vec::new();
    };
    let lists = |errors: &mut Vec<FieldError>| {
        let clean = old.is_none_or(|old| structural::validate_lists(old, schema).is_empty());
        if clean {
            errors.extend(structural::validate_lists(new, schema));
        }
    };
    let mut errors = Vec::new();
    if !def.custom {
        errors.extend(structural::validate(new, old, schema));
        lists(&mut errors);
        return errors;
    }
    if subresource == "status" {
        let own = schema.get("properties").and_then(|all| all.get("status"));
        if let (Some(status), Some(own)) = (new.get("status"), own) {
            let before = old.and_then(|old| old.get("status"));
            errors.extend(structural::validate_at(status, before, own, "status"));
        }
    } else {
        errors.extend(structural::validate(new, old, schema));
    }
    if let Some(scale) = &def.scale {
        if subresource != "status" {
            replicas(new, &scale.spec_replicas, &mut errors);
        }
        replicas(new, &scale.status_replicas, &mut errors);
        if let Some(Err((_, why))) = plain(new, &scale.selector, "string") {
            errors.push(FieldError::invalid(&scale.selector, json!(""), why));
        }
    }
    if subresource != "status" {
        errors.extend(structural::validate_embedded(new, schema, false));
    }
    lists(&mut errors);
    let compiled = def
        .rules
        .get_or_init(|| Arc::new(k8s_cel::rules::compile_stored(schema)));
    if compiled.is_empty() {
        return errors;
    }
    // rules count on what they look at having its type and size
    let blocks = |error: &FieldError| {
        matches!(
            error.problem,
            FieldProblem::NotSupported
                | FieldProblem::Required
                | FieldProblem::TooLong
                | FieldProblem::TooMany
                | FieldProblem::TypeInvalid
        )
    };
    if errors.iter().any(blocks) {
        let why = "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation";
        errors.push(FieldError::invalid("<nil>", Value::Null, why));
    } else {
        let budget = k8s_cel::rules::RUNTIME_BUDGET;
        let found = k8s_cel::rules::validate(compiled, new, old, budget);
        errors.extend(found.errors.into_iter().map(FieldError::from));
    }
    errors
}

/// What stands at a plain path, if it has this type.
fn plain<'a>(
    object: &'a Value,
    path: &str,
    wanted: &str,
) -> Option<Result<&'a Value, (&'a Value, String)>> {
    if path.is_empty() {
        return None;
    }
    let mut at = object;
    let mut walked = String::new();
    for name in path.trim_start_matches('.').split('.') {
        let Some(map) = at.as_object() else {
            let why = format!(
                "{walked} accessor error: {} is of the type {}, expected map[string]interface{{}}",
                go_value(at),
                go_type(at)
            );
            return Some(Err((at, why)));
        };
        walked = format!("{walked}.{name}");
        at = map.get(name)?;
    }
    let fits = match wanted {
        "int64" => at.is_i64(),
        _ => at.is_string(),
    };
    if fits {
        return Some(Ok(at));
    }
    let why = format!(
        "{walked} accessor error: {} is of the type {}, expected {wanted}",
        go_value(at),
        go_type(at)
    );
    Some(Err((at, why)))
}

/// A value as Go's `%v` has it.
fn go_value(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() => base_yaml::go::format_g(float),
            _ => number.to_string(),
        },
        Value::Array(list) => {
            let items: Vec<String> = list.iter().map(go_value).collect();
            format!("[{}]", items.join(" "))
        }
        Value::Object(map) => {
            let mut fields: Vec<_> = map.iter().collect();
            fields.sort_by_key(|(name, _)| name.as_str());
            let fields: Vec<String> = fields
                .into_iter()
                .map(|(name, value)| format!("{name}:{}", go_value(value)))
                .collect();
            format!("map[{}]", fields.join(" "))
        }
        Value::Bool(flag) => flag.to_string(),
    }
}

fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

fn replicas(object: &Value, path: &str, errors: &mut Vec<FieldError>) {
    match plain(object, path, "int64") {
        None => {}
        Some(Err((_, why))) => errors.push(FieldError::invalid(path, json!(0), why)),
        Some(Ok(value)) => {
            let count = value.as_i64().unwrap_or(0);
            if count < 0 {
                let why = "should be a non-negative integer";
                errors.push(FieldError::invalid(path, value.clone(), why));
            } else if i32::try_from(count).is_err() {
                let why = format!("should be less than or equal to {}", i32::MAX);
                errors.push(FieldError::invalid(path, value.clone(), why));
            }
        }
    }
}

/// What a write to this part never sets.
fn reset_fields(def: &ResourceDef, subresource: &str) -> Option<&'static FieldSet> {
    static MAIN: LazyLock<FieldSet> = LazyLock::new(|| FieldSet::of_fields(&["status"]));
    static STATUS: LazyLock<FieldSet> =
        LazyLock::new(|| FieldSet::of_fields(&["spec", "metadata.labels"]));
    static CUSTOM: LazyLock<FieldSet> = LazyLock::new(|| {
        FieldSet::of_fields(&[
            "spec",
            "metadata.labels",
            "metadata.annotations",
            "metadata.finalizers",
            "metadata.ownerReferences",
        ])
    });
    match subresource {
        "" if def.status_subresource => Some(&MAIN),
        "status" if def.custom => Some(&CUSTOM),
        "status" => Some(&STATUS),
        _ => None,
    }
}

/// Notes in managedFields who wrote what.
pub(crate) fn track_update(
    def: &ResourceDef,
    old: Option<&Value>,
    new: &mut Value,
    manager: &str,
    subresource: &str,
    now: Timestamp,
) {
    let reset = reset_fields(def, subresource);
    let served = Served(&def.versions);
    k8s_apply::track_update_in(
        old,
        new,
        &UpdateOptions {
            manager,
            subresource,
            now: &world::time_text(now),
            schema: type_of(def),
            reset_fields: reset,
            versions: versions(&served),
        },
    );
}

/// A configuration that a manager applies.
pub(crate) struct Applied<'a> {
    pub(crate) wanted: &'a Value,
    pub(crate) manager: &'a str,
    pub(crate) force: bool,
    pub(crate) subresource: &'a str,
}

/// Merges what a manager wants into an object; `None` where that changes nothing.
pub(crate) fn apply(
    def: &ResourceDef,
    name: &str,
    live: Option<&Value>,
    applied: &Applied<'_>,
    now: Timestamp,
) -> Result<Option<Value>, Status> {
    let reset = reset_fields(def, applied.subresource);
    let served = Served(&def.versions);
    // what has types was held against them when it came
    let apply = match has_types(def) {
        true => k8s_apply::apply_typed,
        false => k8s_apply::apply_change,
    };
    apply(
        live,
        applied.wanted,
        &ApplyOptions {
            manager: applied.manager,
            force: applied.force,
            subresource: applied.subresource,
            now: &world::time_text(now),
            schema: type_of(def),
            reset_fields: reset,
            versions: versions(&served),
        },
    )
    .map_err(|error| match error {
        ApplyError::Conflicts(conflicts) => {
            let causes = conflicts
                .iter()
                .map(|conflict| Cause {
                    reason: "FieldManagerConflict".to_owned(),
                    message: conflict.cause(),
                    field: conflict.path.to_string(),
                })
                .collect();
            let message = ApplyError::Conflicts(conflicts).to_string();
            Status::new(409, "Conflict", message).about(Details {
                causes,
                ..Details::default()
            })
        }
        ApplyError::ManagedFieldsPresent | ApplyError::Version { .. } => {
            Status::bad_request(error.to_string())
        }
        // what was sent does not fit its type
        ApplyError::Typed { .. } | ApplyError::Convert { .. } => Status::new(500, "", tell(&error)),
        ApplyError::Managed(inner) => Status::internal(format_args!(
            "managed fields of {} {name:?} cannot be read: {inner}",
            def.group_resource()
        )),
    })
}

/// Merges a strategic patch.
pub(crate) fn strategic(def: &ResourceDef, old: &Value, patch: &Value) -> Result<Value, Status> {
    if def.custom {
        return Err(Status::unsupported_media_type(&[
            "application/json-patch+json",
            "application/merge-patch+json",
            "application/apply-patch+yaml",
        ]));
    }
    k8s_apply::patch::strategic_merge(old, patch, &type_of(def)).map_err(patch_error)
}

/// Applies RFC 6902 operations.
pub(crate) fn json_patch(old: &Value, operations: &Value) -> Result<Value, Status> {
    if !operations.is_array() {
        return Err(undecoded(operations, "[]handlers.jsonPatchOp"));
    }
    k8s_apply::patch::json_patch(old, operations).map_err(patch_error)
}

/// What a patch cannot be decoded into.
pub(crate) fn undecoded(patch: &Value, wanted: &str) -> Status {
    let found = match patch {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    Status::bad_request(format!(
        "error decoding patch: json: cannot unmarshal {found} into Go value of type {wanted}"
    ))
}

fn patch_error(error: PatchError) -> Status {
    match error {
        PatchError::JsonSyntax(cause) => {
            Status::bad_request(format!("error decoding patch: {cause}"))
        }
        PatchError::JsonOperation { .. } => Status::unprocessable_patch(),
        PatchError::TooManyOperations(count) => Status::new(
            413,
            "RequestEntityTooLarge",
            format!("The allowed maximum operations in a JSON patch is 10000, got {count}"),
        ),
        PatchError::Strategic { .. } => Status::bad_request(error.to_string()),
    }
}

/// An error with its causes, in one text.
fn tell(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    text
}
