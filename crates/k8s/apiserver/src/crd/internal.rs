//! Parts of a definition as Kubernetes shows them inside of its errors: under the names of its internal types, in their order.

use serde_json::Value;

use crate::{FieldError, FieldProblem};

/// An error about a part that is shown so.
pub(super) fn invalid(path: &str, shown: &str, why: &str) -> FieldError {
    FieldError::new(path, FieldProblem::Invalid, None, format!("{shown}: {why}"))
}

fn get<'a>(value: &'a Value, field: &str) -> Option<&'a Value> {
    value.get(field).filter(|value| !value.is_null())
}

fn json(value: &Value) -> String {
    base_yaml::go::to_json(value, true)
}

fn list(items: impl Iterator<Item = String>) -> String {
    let items: Vec<String> = items.collect();
    format!("[{}]", items.join(","))
}

/// How a field is written.
#[derive(Clone, Copy)]
enum As {
    /// A text, empty if missing.
    Text,
    /// A flag, false if missing.
    Flag,
    /// A number, 0 if missing.
    Count,
    /// As it is, null if missing.
    Whole,
    One,
    Many,
    Map,
    Items,
    OrBool,
    Docs,
    Rules,
    Schema,
    Status,
    Scale,
    Subresources,
    Columns,
    Fields,
}

const SCHEMA: [(&str, &str, As); 43] = [
    ("ID", "id", As::Text),
    ("Schema", "$schema", As::Text),
    ("Ref", "$ref", As::Whole),
    ("Description", "description", As::Text),
    ("Type", "type", As::Text),
    ("Nullable", "nullable", As::Flag),
    ("Format", "format", As::Text),
    ("Title", "title", As::Text),
    ("Default", "default", As::Whole),
    ("Maximum", "maximum", As::Whole),
    ("ExclusiveMaximum", "exclusiveMaximum", As::Flag),
    ("Minimum", "minimum", As::Whole),
    ("ExclusiveMinimum", "exclusiveMinimum", As::Flag),
    ("MaxLength", "maxLength", As::Whole),
    ("MinLength", "minLength", As::Whole),
    ("Pattern", "pattern", As::Text),
    ("MaxItems", "maxItems", As::Whole),
    ("MinItems", "minItems", As::Whole),
    ("UniqueItems", "uniqueItems", As::Flag),
    ("MultipleOf", "multipleOf", As::Whole),
    ("Enum", "enum", As::Whole),
    ("MaxProperties", "maxProperties", As::Whole),
    ("MinProperties", "minProperties", As::Whole),
    ("Required", "required", As::Whole),
    ("Items", "items", As::Items),
    ("AllOf", "allOf", As::Many),
    ("OneOf", "oneOf", As::Many),
    ("AnyOf", "anyOf", As::Many),
    ("Not", "not", As::One),
    ("Properties", "properties", As::Map),
    ("AdditionalProperties", "additionalProperties", As::OrBool),
    ("PatternProperties", "patternProperties", As::Map),
    ("Dependencies", "dependencies", As::Whole),
    ("AdditionalItems", "additionalItems", As::OrBool),
    ("Definitions", "definitions", As::Map),
    ("ExternalDocs", "externalDocs", As::Docs),
    ("Example", "example", As::Whole),
    (
        "XPreserveUnknownFields",
        "x-kubernetes-preserve-unknown-fields",
        As::Whole,
    ),
    (
        "XEmbeddedResource",
        "x-kubernetes-embedded-resource",
        As::Flag,
    ),
    ("XIntOrString", "x-kubernetes-int-or-string", As::Flag),
    ("XListMapKeys", "x-kubernetes-list-map-keys", As::Whole),
    ("XListType", "x-kubernetes-list-type", As::Whole),
    ("XMapType", "x-kubernetes-map-type", As::Whole),
];

const RULES: (&str, &str, As) = ("XValidations", "x-kubernetes-validations", As::Rules);

const RULE: [(&str, &str, As); 6] = [
    ("Rule", "rule", As::Text),
    ("Message", "message", As::Text),
    ("MessageExpression", "messageExpression", As::Text),
    ("Reason", "reason", As::Whole),
    ("FieldPath", "fieldPath", As::Text),
    ("OptionalOldSelf", "optionalOldSelf", As::Whole),
];

const VERSION: [(&str, &str, As); 9] = [
    ("Name", "name", As::Text),
    ("Served", "served", As::Flag),
    ("Storage", "storage", As::Flag),
    ("Deprecated", "deprecated", As::Flag),
    ("DeprecationWarning", "deprecationWarning", As::Whole),
    ("Schema", "schema", As::Schema),
    ("Subresources", "subresources", As::Subresources),
    (
        "AdditionalPrinterColumns",
        "additionalPrinterColumns",
        As::Columns,
    ),
    ("SelectableFields", "selectableFields", As::Fields),
];

const COLUMN: [(&str, &str, As); 6] = [
    ("Name", "name", As::Text),
    ("Type", "type", As::Text),
    ("Format", "format", As::Text),
    ("Description", "description", As::Text),
    ("Priority", "priority", As::Count),
    ("JSONPath", "jsonPath", As::Text),
];

const SCALE: [(&str, &str, As); 3] = [
    ("SpecReplicasPath", "specReplicasPath", As::Text),
    ("StatusReplicasPath", "statusReplicasPath", As::Text),
    ("LabelSelectorPath", "labelSelectorPath", As::Whole),
];

const SUBRESOURCES: [(&str, &str, As); 2] = [
    ("Status", "status", As::Status),
    ("Scale", "scale", As::Scale),
];

const DOCS: [(&str, &str, As); 2] = [
    ("Description", "description", As::Text),
    ("URL", "url", As::Text),
];

fn object<'a>(
    value: &Value,
    fields: impl IntoIterator<Item = &'a (&'a str, &'a str, As)>,
) -> String {
    let parts: Vec<String> = fields
        .into_iter()
        .map(|(name, field, form)| format!("\"{name}\":{}", write(get(value, field), *form)))
        .collect();
    format!("{{{}}}", parts.join(","))
}

fn write(value: Option<&Value>, form: As) -> String {
    match (value, form) {
        (None, As::Text) => "\"\"".to_owned(),
        (None, As::Flag) => "false".to_owned(),
        (None, As::Count) => "0".to_owned(),
        (None, _) => "null".to_owned(),
        (Some(value), As::Text | As::Flag | As::Count | As::Whole) => json(value),
        (Some(value), As::One) => schema(value),
        (Some(value), As::Many) => list(value.as_array().into_iter().flatten().map(schema)),
        (Some(value), As::Map) => {
            let fields: Vec<String> = value
                .as_object()
                .into_iter()
                .flatten()
                .map(|(name, inner)| format!("{}:{}", json(&name.as_str().into()), schema(inner)))
                .collect();
            format!("{{{}}}", fields.join(","))
        }
        (Some(Value::Array(all)), As::Items) => {
            let all = list(all.iter().map(schema));
            format!("{{\"Schema\":null,\"JSONSchemas\":{all}}}")
        }
        (Some(value), As::Items) => {
            format!("{{\"Schema\":{},\"JSONSchemas\":null}}", schema(value))
        }
        (Some(Value::Bool(allows)), As::OrBool) => {
            format!("{{\"Allows\":{allows},\"Schema\":null}}")
        }
        (Some(value), As::OrBool) => format!("{{\"Allows\":true,\"Schema\":{}}}", schema(value)),
        (Some(value), As::Docs) => object(value, &DOCS),
        (Some(value), As::Rules) => {
            let rules = value.as_array().into_iter().flatten();
            list(rules.map(|rule| object(rule, &RULE)))
        }
        (Some(value), As::Schema) => {
            object(value, &[("OpenAPIV3Schema", "openAPIV3Schema", As::One)])
        }
        (Some(_), As::Status) => "{}".to_owned(),
        (Some(value), As::Scale) => object(value, &SCALE),
        (Some(value), As::Subresources) => object(value, &SUBRESOURCES),
        (Some(value), As::Columns) => {
            let columns = value.as_array().into_iter().flatten();
            list(columns.map(|column| object(column, &COLUMN)))
        }
        (Some(value), As::Fields) => {
            let fields = value.as_array().into_iter().flatten();
            list(fields.map(|field| object(field, &[("JSONPath", "jsonPath", As::Text)])))
        }
    }
}

/// A schema.
pub(super) fn schema(value: &Value) -> String {
    object(value, SCHEMA.iter().chain([&RULES]))
}

/// Items that are no schema.
pub(super) fn items(value: &Value) -> String {
    match value {
        Value::Null => "{\"Schema\":null,\"JSONSchemas\":null}".to_owned(),
        value => write(Some(value), As::Items),
    }
}

/// A rule under the names of its internal type.
pub(super) fn rule(value: &Value) -> Option<String> {
    value.get("Rule")?;
    let parts: Vec<String> = RULE
        .iter()
        .map(|(name, _, _)| format!("\"{name}\":{}", json(&value[*name])))
        .collect();
    Some(format!("{{{}}}", parts.join(",")))
}

/// The versions, without what all of them say alike: that stands beside them.
pub(super) fn versions(versions: &[Value], alike: impl Fn(&str) -> bool) -> String {
    list(versions.iter().map(|version| {
        let mut own = version.clone();
        if let Some(map) = own.as_object_mut() {
            map.retain(|field, _| {
                !matches!(
                    field.as_str(),
                    "schema" | "subresources" | "additionalPrinterColumns" | "selectableFields"
                ) || !alike(field)
            });
        }
        object(&own, &VERSION)
    }))
}
