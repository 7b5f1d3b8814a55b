//! The rules that the schemas of a definition keep.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::defaults;
use super::structure::{self, any, kind, parts, properties, unsupported};
use crate::FieldError;
use crate::structural::{self, META_FIELDS, is_set, texts};

/// What is looked at; an update is not held to what the definition did not keep before.
#[derive(Debug, Clone, Copy)]
pub(super) struct Strictness {
    /// Types must be those of OpenAPI.
    pub(super) types: bool,
    /// Schemas must be structural.
    pub(super) structural: bool,
    /// Defaults must hold no unknown fields.
    pub(super) pruned: bool,
    /// Members of sets must be atomic.
    pub(super) atomic_sets: bool,
    /// Keys of lists must be there.
    pub(super) list_keys: bool,
    /// Rules are compiled: they are new, or stand in a schema that changed.
    pub(super) rules: bool,
}

const RULES: &str = "x-kubernetes-validations";

const TYPES: [&str; 6] = ["array", "boolean", "integer", "number", "object", "string"];

/// Checks one schema of a definition; `path` ends with `openAPIV3Schema`.
pub(super) fn check(
    schema: &Value,
    status: bool,
    strict: Strictness,
    path: &str,
) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if status {
        root_for_status(schema, path, &mut errors);
    }
    if is_set(schema, "nullable") {
        errors.push(FieldError::forbidden(
            format!("{path}.nullable"),
            "nullable cannot be true at the root",
        ));
    }
    let mut unreadable = None;
    if strict.structural {
        unreadable = unsupported(schema);
        if unreadable.is_none() {
            let found = structure::check(schema, path);
            if found.is_empty() {
                defaults::check(schema, strict.pruned, path, &mut errors);
            }
            errors.extend(found);
        }
    }
    let place = Place {
        strict,
        root: true,
        inside_meta: false,
        no_defaults: None,
    };
    open_api(schema, path, place, &mut errors);
    if errors.is_empty() {
        if let Some(why) = unreadable {
            errors.push(FieldError::invalid(path, json!(""), why));
        } else if strict.structural
            && strict.rules
            && any(schema, &|schema| !parts(schema, RULES).is_empty())
            && let Err(found) = k8s_cel::rules::compile(schema, path)
        {
            errors.extend(found.into_iter().map(|error| {
                let error = FieldError::from(error);
                let shown = error.value.as_ref().and_then(super::internal::rule);
                match shown {
                    Some(shown) => super::internal::invalid(&error.path, &shown, &error.detail),
                    None => error,
                }
            }));
        }
    }
    errors
}

/// Where a status has a subresource its schema is taken from the root's properties, and nothing at the root may get lost.
fn root_for_status(schema: &Value, path: &str, errors: &mut Vec<FieldError>) {
    const LOST: [&str; 15] = [
        "nullable",
        "default",
        "enum",
        "maxProperties",
        "minProperties",
        "allOf",
        "oneOf",
        "anyOf",
        "not",
        "additionalProperties",
        "x-kubernetes-embedded-resource",
        "x-kubernetes-int-or-string",
        "x-kubernetes-list-map-keys",
        "x-kubernetes-list-type",
        "x-kubernetes-map-type",
    ];
    const KEPT: &str = "[Description Type Format Title Maximum ExclusiveMaximum Minimum ExclusiveMinimum MaxLength MinLength Pattern MaxItems MinItems UniqueItems MultipleOf Required Items Properties ExternalDocs Example XPreserveUnknownFields XValidations]";
    if !kind(schema).is_empty() && kind(schema) != "object" {
        errors.push(FieldError::invalid(
            format!("{path}.type"),
            json!(kind(schema)),
            "only \"object\" is allowed as the type at the root of the schema if the status subresource is enabled",
        ));
        return;
    }
    let lost = LOST.iter().any(|field| {
        schema
            .get(*field)
            .is_some_and(|value| !value.is_null() && value != &json!(false) && value != &json!([]))
    });
    if lost {
        let why = format!(
            "only {KEPT} fields are allowed at the root of the schema if the status subresource is enabled"
        );
        let shown = super::internal::schema(schema);
        errors.push(super::internal::invalid(path, &shown, &why));
    }
}

#[derive(Clone, Copy)]
struct Place {
    strict: Strictness,
    root: bool,
    inside_meta: bool,
    /// Why there may be no defaults.
    no_defaults: Option<&'static str>,
}

fn is_there(schema: &Value, field: &str) -> bool {
    schema.get(field).is_some_and(|value| match value {
        Value::Null => false,
        Value::Object(map) => !map.is_empty(),
        Value::String(text) => !text.is_empty(),
        _ => true,
    })
}

fn open_api(schema: &Value, path: &str, place: Place, errors: &mut Vec<FieldError>) {
    if !schema.is_object() {
        return;
    }
    standard(schema, path, place, errors);
    if is_set(schema, "uniqueItems") {
        errors.push(FieldError::forbidden(
            format!("{path}.uniqueItems"),
            "uniqueItems cannot be set to true since the runtime complexity becomes quadratic",
        ));
    }
    let inner = Place {
        root: false,
        ..place
    };
    let rest = schema
        .get("additionalProperties")
        .filter(|rest| !rest.is_null());
    if let Some(rest) = rest {
        let at = format!("{path}.additionalProperties");
        if properties(schema).next().is_some() && rest != &json!(true) {
            let why = "additionalProperties and properties are mutual exclusive";
            errors.push(FieldError::forbidden(at.clone(), why));
        }
        let mut place = inner;
        if place.inside_meta {
            place.no_defaults = Some("inside additionalProperties applying to object metadata");
        }
        open_api(rest, &at, place, errors);
    }
    let embedded = is_set(schema, "x-kubernetes-embedded-resource");
    for (name, property) in properties(schema) {
        let mut own = inner;
        if (place.root || embedded) && META_FIELDS.contains(&name.as_str()) {
            own.inside_meta = true;
            if place.root {
                own.no_defaults = Some(match name.as_str() {
                    "apiVersion" => "in top-level apiVersion",
                    "kind" => "in top-level kind",
                    _ => "in top-level metadata",
                });
            }
        }
        open_api(property, &format!("{path}.properties[{name}]"), own, errors);
    }
    if let Some(not) = schema.get("not") {
        open_api(not, &format!("{path}.not"), inner, errors);
    }
    for junctor in ["allOf", "oneOf", "anyOf"] {
        for (index, part) in parts(schema, junctor).iter().enumerate() {
            open_api(part, &format!("{path}.{junctor}[{index}]"), inner, errors);
        }
    }
    match schema.get("items") {
        Some(Value::Array(list)) => {
            for (index, part) in list.iter().enumerate() {
                open_api(part, &format!("{path}.items[{index}]"), inner, errors);
            }
        }
        Some(items) => open_api(items, &format!("{path}.items"), inner, errors),
        None => {}
    }
    extensions(schema, path, place.strict, errors);
    rules(schema, path, errors);
}

fn standard(schema: &Value, path: &str, place: Place, errors: &mut Vec<FieldError>) {
    let kind = kind(schema);
    if place.strict.types && !kind.is_empty() && !TYPES.contains(&kind) {
        let at = format!("{path}.type");
        errors.push(FieldError::not_supported(at, json!(kind), &TYPES));
    }
    if let Some(reason) = place.no_defaults
        && schema.get("default").is_some_and(|value| !value.is_null())
    {
        errors.push(FieldError::forbidden(
            format!("{path}.default"),
            format!("must not be set {reason}"),
        ));
    }
    for field in [
        "id",
        "additionalItems",
        "patternProperties",
        "definitions",
        "dependencies",
        "$ref",
    ] {
        if is_there(schema, field) {
            let why = format!("{field} is not supported");
            errors.push(FieldError::forbidden(format!("{path}.{field}"), why));
        }
    }
    if kind == "null" {
        errors.push(FieldError::forbidden(
            format!("{path}.type"),
            "type cannot be set to null, use nullable as an alternative",
        ));
    }
    if !parts(schema, "items").is_empty() {
        errors.push(FieldError::forbidden(
            format!("{path}.items"),
            "items must be a schema object and not an array",
        ));
    }
    if place.inside_meta && is_set(schema, "x-kubernetes-embedded-resource") {
        errors.push(FieldError::forbidden(
            format!("{path}.x-kubernetes-embedded-resource"),
            "must not be used inside of resource meta",
        ));
    }
}

fn wants(
    schema: &Value,
    wanted: &str,
    mark: &str,
    path: &str,
    errors: &mut Vec<FieldError>,
) -> bool {
    let kind = kind(schema);
    if kind == wanted {
        return true;
    }
    let at = format!("{path}.type");
    let why = format!("must be {wanted} if {mark} is specified");
    errors.push(if kind.is_empty() {
        FieldError::required(at, why)
    } else {
        FieldError::invalid(at, json!(kind), why)
    });
    false
}

fn word<'a>(schema: &'a Value, field: &str) -> Option<&'a str> {
    schema.get(field).and_then(Value::as_str)
}

fn extensions(schema: &Value, path: &str, strict: Strictness, errors: &mut Vec<FieldError>) {
    if schema.get("x-kubernetes-preserve-unknown-fields") == Some(&json!(false)) {
        errors.push(FieldError::invalid(
            format!("{path}.x-kubernetes-preserve-unknown-fields"),
            json!(false),
            "must be true or undefined",
        ));
    }
    if let Some(map_type) = word(schema, "x-kubernetes-map-type") {
        wants(schema, "object", "x-kubernetes-map-type", path, errors);
        const KNOWN: [&str; 2] = ["atomic", "granular"];
        if !KNOWN.contains(&map_type) {
            let at = format!("{path}.x-kubernetes-map-type");
            errors.push(FieldError::not_supported(at, json!(map_type), &KNOWN));
        }
    }
    let list_type = word(schema, "x-kubernetes-list-type");
    if let Some(list_type) = list_type {
        let is_list = wants(schema, "array", "x-kubernetes-list-type", path, errors);
        let items = schema.get("items").filter(|items| items.is_object());
        if is_list
            && list_type == "set"
            && strict.atomic_sets
            && let Some(items) = items
        {
            set_items(items, path, errors);
        }
        const KNOWN: [&str; 3] = ["atomic", "set", "map"];
        if !KNOWN.contains(&list_type) {
            let at = format!("{path}.x-kubernetes-list-type");
            errors.push(FieldError::not_supported(at, json!(list_type), &KNOWN));
        }
    }
    let keys = texts(schema.get("x-kubernetes-list-map-keys"));
    if !keys.is_empty() && list_type != Some("map") {
        let at = format!("{path}.x-kubernetes-list-type");
        let why = "must be map if x-kubernetes-list-map-keys is non-empty";
        errors.push(match list_type {
            None => FieldError::required(at, why),
            Some(other) => FieldError::invalid(at, json!(other), why),
        });
    }
    if list_type == Some("map") {
        map_items(schema, &keys, path, errors);
    }
    if strict.list_keys {
        list_keys(schema, path, errors);
    }
}

fn is_atomic_member(items: &Value) -> bool {
    match kind(items) {
        "array" => word(items, "x-kubernetes-list-type").is_none_or(|kind| kind == "atomic"),
        "object" => word(items, "x-kubernetes-map-type") == Some("atomic"),
        _ => true,
    }
}

fn set_items(items: &Value, path: &str, errors: &mut Vec<FieldError>) {
    if is_atomic_member(items) {
        return;
    }
    let mark = if kind(items) == "array" {
        "x-kubernetes-list-type"
    } else {
        "x-kubernetes-map-type"
    };
    let shown = items
        .get("x-kubernetes-list-type")
        .cloned()
        .unwrap_or_default();
    errors.push(FieldError::invalid(
        format!("{path}.items.{mark}"),
        shown,
        "must be atomic as item of a list with x-kubernetes-list-type=set",
    ));
}

fn map_items(schema: &Value, keys: &[&str], path: &str, errors: &mut Vec<FieldError>) {
    let at = format!("{path}.x-kubernetes-list-map-keys");
    if keys.is_empty() {
        let why = "must not be empty if x-kubernetes-list-type is map";
        errors.push(FieldError::required(at.clone(), why));
    }
    let items_at = format!("{path}.items");
    let Some(items) = schema.get("items") else {
        let why = "must have a schema if x-kubernetes-list-type is map";
        errors.push(FieldError::required(items_at, why));
        return;
    };
    if !items.is_object() {
        let why = "must only have a single schema if x-kubernetes-list-type is map";
        let shown = super::internal::items(items);
        errors.push(super::internal::invalid(&items_at, &shown, why));
        return;
    }
    if kind(items) != "object" {
        errors.push(FieldError::invalid(
            format!("{path}.items.type"),
            json!(kind(items)),
            "must be object if parent array's x-kubernetes-list-type is map",
        ));
        return;
    }
    let mut seen = BTreeSet::new();
    for key in keys {
        let property = items.get("properties").and_then(|all| all.get(*key));
        match property {
            Some(property) if matches!(kind(property), "array" | "object") => {
                errors.push(FieldError::invalid(
                    format!("{path}.items.properties[{key}].type"),
                    json!(kind(items)),
                    "must be a scalar type if parent array's x-kubernetes-list-type is map",
                ));
            }
            Some(_) => {}
            None => errors.push(FieldError::invalid(
                at.clone(),
                json!(keys),
                "entries must all be names of item properties",
            )),
        }
        if !seen.insert(*key) {
            let why = "must not contain duplicate entries";
            errors.push(FieldError::invalid(at.clone(), json!(keys), why));
        }
    }
}

fn list_keys(schema: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let Some(items) = schema.get("items").filter(|items| items.is_object()) else {
        return;
    };
    let Some(list_type @ ("set" | "map")) = word(schema, "x-kubernetes-list-type") else {
        return;
    };
    if is_set(items, "nullable") {
        errors.push(FieldError::forbidden(
            format!("{path}.items.nullable"),
            format!("cannot be nullable when x-kubernetes-list-type is {list_type}"),
        ));
    }
    if list_type == "set" {
        return;
    }
    let required = texts(items.get("required"));
    for key in texts(schema.get("x-kubernetes-list-map-keys")) {
        let Some(property) = items.get("properties").and_then(|all| all.get(key)) else {
            continue;
        };
        let at = format!("{path}.items.properties[{key}]");
        let default = property.get("default").filter(|value| !value.is_null());
        if !required.contains(&key) && default.is_none() {
            errors.push(FieldError::required(
                format!("{at}.default"),
                "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property",
            ));
        }
        if is_set(property, "nullable") {
            errors.push(FieldError::forbidden(
                format!("{at}.nullable"),
                "this property is in x-kubernetes-list-map-keys, so it cannot be nullable",
            ));
        }
    }
}

/// Checks the parts of rules that are no expressions.
fn rules(schema: &Value, path: &str, errors: &mut Vec<FieldError>) {
    const REASONS: [&str; 4] = [
        "FieldValueDuplicate",
        "FieldValueForbidden",
        "FieldValueInvalid",
        "FieldValueRequired",
    ];
    for (index, rule) in parts(schema, "x-kubernetes-validations").iter().enumerate() {
        let at = |field: &str| format!("{path}.x-kubernetes-validations[{index}].{field}");
        let text = |field: &str| word(rule, field).unwrap_or("");
        let breaks = |text: &str| text.contains(['\n', '\r']);
        let mut refuse = |field: &str, why: &str| {
            errors.push(FieldError::invalid(at(field), json!(text(field)), why));
        };
        let (own, message) = (text("rule").trim(), text("message").trim());
        let mut required = Vec::new();
        if own.is_empty() {
            required.push(("rule", "rule is not specified"));
        } else if !text("message").is_empty() && message.is_empty() {
            refuse("message", "must be non-empty if specified");
        } else if breaks(message) {
            refuse("message", "must not contain line breaks");
        } else if breaks(own) && message.is_empty() {
            let why = "message must be specified if rule contains line breaks";
            required.push(("message", why));
        }
        let field = text("fieldPath");
        if !field.is_empty() && field.trim().is_empty() {
            refuse("fieldPath", "must be non-empty if specified");
        }
        if breaks(field) {
            refuse("fieldPath", "must not contain line breaks");
        }
        if !field.is_empty() && super::paths::find(field, schema, true).is_err() {
            refuse("fieldPath", "must be a valid path");
        }
        let expression = text("messageExpression");
        if !expression.is_empty() && expression.trim().is_empty() {
            let why = "messageExpression must be non-empty if specified";
            required.push(("messageExpression", why));
        }
        if let Some(reason) = word(rule, "reason")
            && !REASONS.contains(&reason)
        {
            let error = FieldError::not_supported(at("reason"), json!(reason), &REASONS);
            errors.push(error);
        }
        for (field, why) in required {
            errors.push(FieldError::required(at(field), why));
        }
    }
}

/// Do the members of every set count as wholes?
pub(super) fn keeps_atomic_sets(schema: &Value) -> bool {
    !any(schema, &|schema| {
        let items = schema.get("items").filter(|items| items.is_object());
        word(schema, "x-kubernetes-list-type") == Some("set")
            && items.is_some_and(|items| !is_atomic_member(items))
    })
}

/// Are all keys of lists there?
pub(super) fn keeps_list_keys(schema: &Value) -> bool {
    !any(schema, &|schema| {
        let mut errors = Vec::new();
        list_keys(schema, "", &mut errors);
        !errors.is_empty()
    })
}

/// Are all types those of OpenAPI?
pub(super) fn keeps_types(schema: &Value) -> bool {
    !any(schema, &|schema| {
        !kind(schema).is_empty() && !TYPES.contains(&kind(schema))
    })
}

/// Is a schema structural?
pub(super) fn is_structural(schema: &Value) -> bool {
    unsupported(schema).is_none() && structure::check(schema, "").is_empty()
}

/// Do its defaults hold nothing that it does not know?
pub(super) fn keeps_pruned_defaults(schema: &Value) -> bool {
    !is_structural(schema) || {
        let mut errors = Vec::new();
        defaults::check(schema, true, "", &mut errors);
        let unpruned = |error: &FieldError| error.detail == defaults::UNKNOWN;
        !errors.iter().any(unpruned)
    }
}

/// Collects the formats that nothing checks.
pub(super) fn unknown_formats(schema: &Value, out: &mut Vec<String>) {
    let format = word(schema, "format").unwrap_or("");
    let own = [kind(schema)];
    let types: &[&str] = if is_set(schema, "x-kubernetes-int-or-string") {
        &["integer", "string"]
    } else if own[0].is_empty() {
        &[]
    } else {
        &own
    };
    if !format.is_empty()
        && !structural::format_is_supported(types, format)
        && !out.iter().any(|known| known == format)
    {
        out.push(format.to_owned());
    }
    for inner in structure::below(schema) {
        unknown_formats(inner, out);
    }
}
