//! Parts of a definition as Kubernetes shows them inside of its errors: under the names of its internal types.

use serde_json::{Map, Value, json};

const TEXTS: [(&str, &str); 7] = [
    ("ID", "id"),
    ("Schema", "$schema"),
    ("Description", "description"),
    ("Type", "type"),
    ("Format", "format"),
    ("Title", "title"),
    ("Pattern", "pattern"),
];

fn get<'a>(value: &'a Value, field: &str) -> Option<&'a Value> {
    value.get(field).filter(|value| !value.is_null())
}

fn flag(value: &Value, field: &str) -> Value {
    json!(value.get(field) == Some(&Value::Bool(true)))
}

fn as_is(value: &Value, field: &str) -> Value {
    get(value, field).cloned().unwrap_or_default()
}

fn or_bool(value: &Value, field: &str) -> Value {
    match get(value, field) {
        None => Value::Null,
        Some(Value::Bool(allows)) => json!({"Allows": allows, "Schema": null}),
        Some(inner) => json!({"Allows": true, "Schema": schema(inner)}),
    }
}

fn map_of(value: &Value, field: &str) -> Value {
    match get(value, field).and_then(Value::as_object) {
        None => Value::Null,
        Some(map) => map
            .iter()
            .map(|(name, inner)| (name.clone(), schema(inner)))
            .collect::<Map<_, _>>()
            .into(),
    }
}

fn list_of(value: &Value, field: &str) -> Value {
    match get(value, field).and_then(Value::as_array) {
        None => Value::Null,
        Some(list) => list.iter().map(schema).collect(),
    }
}

/// A schema.
pub(super) fn schema(value: &Value) -> Value {
    let mut out = Map::new();
    let mut put = |name: &str, value: Value| {
        out.insert(name.to_owned(), value);
    };
    for (name, field) in TEXTS {
        put(
            name,
            json!(value.get(field).and_then(Value::as_str).unwrap_or("")),
        );
    }
    for (name, field) in [
        ("Ref", "$ref"),
        ("Default", "default"),
        ("Maximum", "maximum"),
        ("Minimum", "minimum"),
        ("MaxLength", "maxLength"),
        ("MinLength", "minLength"),
        ("MaxItems", "maxItems"),
        ("MinItems", "minItems"),
        ("MultipleOf", "multipleOf"),
        ("Enum", "enum"),
        ("MaxProperties", "maxProperties"),
        ("MinProperties", "minProperties"),
        ("Required", "required"),
        ("Example", "example"),
        (
            "XPreserveUnknownFields",
            "x-kubernetes-preserve-unknown-fields",
        ),
        ("XListMapKeys", "x-kubernetes-list-map-keys"),
        ("XListType", "x-kubernetes-list-type"),
        ("XMapType", "x-kubernetes-map-type"),
    ] {
        put(name, as_is(value, field));
    }
    for (name, field) in [
        ("Nullable", "nullable"),
        ("ExclusiveMaximum", "exclusiveMaximum"),
        ("ExclusiveMinimum", "exclusiveMinimum"),
        ("UniqueItems", "uniqueItems"),
        ("XEmbeddedResource", "x-kubernetes-embedded-resource"),
        ("XIntOrString", "x-kubernetes-int-or-string"),
    ] {
        put(name, flag(value, field));
    }
    put(
        "Items",
        match get(value, "items") {
            None => Value::Null,
            Some(Value::Array(list)) => {
                json!({"Schema": null, "JSONSchemas": list.iter().map(schema).collect::<Vec<_>>()})
            }
            Some(inner) => json!({"Schema": schema(inner), "JSONSchemas": null}),
        },
    );
    for (name, field) in [("AllOf", "allOf"), ("OneOf", "oneOf"), ("AnyOf", "anyOf")] {
        put(name, list_of(value, field));
    }
    put("Not", get(value, "not").map(schema).unwrap_or_default());
    for (name, field) in [
        ("Properties", "properties"),
        ("PatternProperties", "patternProperties"),
        ("Definitions", "definitions"),
    ] {
        put(name, map_of(value, field));
    }
    put(
        "AdditionalProperties",
        or_bool(value, "additionalProperties"),
    );
    put("AdditionalItems", or_bool(value, "additionalItems"));
    put("Dependencies", as_is(value, "dependencies"));
    put(
        "ExternalDocs",
        get(value, "externalDocs").map_or(Value::Null, |docs| {
            json!({"Description": docs["description"].as_str().unwrap_or(""), "URL": docs["url"].as_str().unwrap_or("")})
        }),
    );
    put(
        "XValidations",
        match get(value, "x-kubernetes-validations").and_then(Value::as_array) {
            None => Value::Null,
            Some(rules) => rules.iter().map(rule).collect(),
        },
    );
    Value::Object(out)
}

/// A validation rule.
pub(super) fn rule(rule: &Value) -> Value {
    let text = |field: &str| rule.get(field).and_then(Value::as_str).unwrap_or("");
    json!({
        "Rule": text("rule"), "Message": text("message"), "MessageExpression": text("messageExpression"),
        "Reason": as_is(rule, "reason"), "FieldPath": text("fieldPath"), "OptionalOldSelf": as_is(rule, "optionalOldSelf"),
    })
}

/// The versions, without what all of them have alike: that stands beside them.
pub(super) fn versions(versions: &[Value], alike: impl Fn(&str) -> bool) -> Value {
    let one = |version: &Value| {
        let own = |field: &str| get(version, field).filter(|_| !alike(field));
        let columns = own("additionalPrinterColumns").and_then(Value::as_array);
        let fields = own("selectableFields").and_then(Value::as_array);
        json!({
            "Name": version["name"].as_str().unwrap_or(""),
            "Served": flag(version, "served"), "Storage": flag(version, "storage"),
            "Deprecated": flag(version, "deprecated"), "DeprecationWarning": as_is(version, "deprecationWarning"),
            "Schema": own("schema").map_or(Value::Null, |inner| json!({
                "OpenAPIV3Schema": get(inner, "openAPIV3Schema").map(schema).unwrap_or_default(),
            })),
            "Subresources": own("subresources").map_or(Value::Null, subresources),
            "AdditionalPrinterColumns": columns.map_or(Value::Null, |list| list.iter().map(column).collect()),
            "SelectableFields": fields.map_or(Value::Null, |list| {
                list.iter().map(|field| json!({"JSONPath": field["jsonPath"].as_str().unwrap_or("")})).collect()
            }),
        })
    };
    versions.iter().map(one).collect()
}

fn subresources(value: &Value) -> Value {
    let scale = get(value, "scale").map_or(Value::Null, |scale| {
        json!({
            "SpecReplicasPath": scale["specReplicasPath"].as_str().unwrap_or(""),
            "StatusReplicasPath": scale["statusReplicasPath"].as_str().unwrap_or(""),
            "LabelSelectorPath": as_is(scale, "labelSelectorPath"),
        })
    });
    json!({"Status": get(value, "status").map_or(Value::Null, |_| json!({})), "Scale": scale})
}

fn column(column: &Value) -> Value {
    let text = |field: &str| column.get(field).and_then(Value::as_str).unwrap_or("");
    json!({
        "Name": text("name"), "Type": text("type"), "Format": text("format"), "Description": text("description"),
        "Priority": column.get("priority").cloned().unwrap_or(json!(0)), "JSONPath": text("jsonPath"),
    })
}
