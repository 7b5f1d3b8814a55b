//! The first value of a definition that its type cannot hold, in the words of Go's decoder.

use serde_json::Value;

/// What a field holds.
#[derive(Clone, Copy)]
enum Holds {
    Text,
    /// A text of a named type.
    Named(&'static str),
    Flag,
    Int,
    Float,
    Texts,
    /// A list of anything.
    Things,
    One(&'static Type),
    Many(&'static Type),
    Map(&'static Type),
    /// A schema, or a flag.
    OrBool,
    /// A schema, or several.
    OrList,
}

/// A struct of Go.
struct Type {
    name: &'static str,
    fields: &'static [(&'static str, Holds)],
}

use Holds::{Flag, Float, Int, Many, Map, Named, One, OrBool, OrList, Text, Texts, Things};

static DEFINITION: Type = Type {
    name: "CustomResourceDefinition",
    fields: &[("spec", One(&SPEC))],
};

static SPEC: Type = Type {
    name: "CustomResourceDefinitionSpec",
    fields: &[
        ("group", Text),
        ("names", One(&NAMES)),
        ("scope", Named("v1.ResourceScope")),
        ("versions", Many(&VERSION)),
        ("conversion", One(&CONVERSION)),
        ("preserveUnknownFields", Flag),
    ],
};

static CONVERSION: Type = Type {
    name: "CustomResourceConversion",
    fields: &[("strategy", Named("v1.ConversionStrategyType"))],
};

static NAMES: Type = Type {
    name: "CustomResourceDefinitionNames",
    fields: &[
        ("plural", Text),
        ("singular", Text),
        ("shortNames", Texts),
        ("kind", Text),
        ("listKind", Text),
        ("categories", Texts),
    ],
};

static VERSION: Type = Type {
    name: "CustomResourceDefinitionVersion",
    fields: &[
        ("name", Text),
        ("served", Flag),
        ("storage", Flag),
        ("deprecated", Flag),
        ("deprecationWarning", Text),
        ("schema", One(&VALIDATION)),
        ("subresources", One(&SUBRESOURCES)),
        ("additionalPrinterColumns", Many(&COLUMN)),
        ("selectableFields", Many(&SELECTABLE)),
    ],
};

static VALIDATION: Type = Type {
    name: "CustomResourceValidation",
    fields: &[("openAPIV3Schema", One(&SCHEMA))],
};

static SUBRESOURCES: Type = Type {
    name: "CustomResourceSubresources",
    fields: &[("scale", One(&SCALE))],
};

static SCALE: Type = Type {
    name: "CustomResourceSubresourceScale",
    fields: &[
        ("specReplicasPath", Text),
        ("statusReplicasPath", Text),
        ("labelSelectorPath", Text),
    ],
};

static COLUMN: Type = Type {
    name: "CustomResourceColumnDefinition",
    fields: &[
        ("name", Text),
        ("type", Text),
        ("format", Text),
        ("description", Text),
        ("priority", Int),
        ("jsonPath", Text),
    ],
};

static SELECTABLE: Type = Type {
    name: "SelectableField",
    fields: &[("jsonPath", Text)],
};

static RULE: Type = Type {
    name: "ValidationRule",
    fields: &[
        ("rule", Text),
        ("message", Text),
        ("messageExpression", Text),
        ("reason", Named("v1.FieldValueErrorReason")),
        ("fieldPath", Text),
        ("optionalOldSelf", Flag),
    ],
};

static DOCS: Type = Type {
    name: "ExternalDocumentation",
    fields: &[("description", Text), ("url", Text)],
};

static SCHEMA: Type = Type {
    name: "JSONSchemaProps",
    fields: &[
        ("id", Text),
        ("$schema", Text),
        ("$ref", Text),
        ("description", Text),
        ("type", Text),
        ("format", Text),
        ("title", Text),
        ("maximum", Float),
        ("exclusiveMaximum", Flag),
        ("minimum", Float),
        ("exclusiveMinimum", Flag),
        ("maxLength", Int),
        ("minLength", Int),
        ("pattern", Text),
        ("maxItems", Int),
        ("minItems", Int),
        ("uniqueItems", Flag),
        ("multipleOf", Float),
        ("enum", Things),
        ("maxProperties", Int),
        ("minProperties", Int),
        ("required", Texts),
        ("items", OrList),
        ("allOf", Many(&SCHEMA)),
        ("oneOf", Many(&SCHEMA)),
        ("anyOf", Many(&SCHEMA)),
        ("not", One(&SCHEMA)),
        ("properties", Map(&SCHEMA)),
        ("additionalProperties", OrBool),
        ("patternProperties", Map(&SCHEMA)),
        ("additionalItems", OrBool),
        ("definitions", Map(&SCHEMA)),
        ("externalDocs", One(&DOCS)),
        ("nullable", Flag),
        ("x-kubernetes-preserve-unknown-fields", Flag),
        ("x-kubernetes-embedded-resource", Flag),
        ("x-kubernetes-int-or-string", Flag),
        ("x-kubernetes-list-map-keys", Texts),
        ("x-kubernetes-list-type", Text),
        ("x-kubernetes-map-type", Text),
        ("x-kubernetes-validations", Many(&RULE)),
    ],
};

/// What is said of a value that is neither a schema nor a flag.
const NEITHER: &str = "boolean or JSON schema expected";

/// The same where an object that is already read is converted, as server-side apply does: only what is read on its own, as the schemas of
/// items and of further properties are, is decoded; its path begins there.
pub(crate) fn converted_misfit(definition: &Value) -> Option<String> {
    let problem = misfit(definition)?;
    if problem == NEITHER {
        return Some(problem);
    }
    let start = "Go struct field JSONSchemaProps.";
    let (before, rest) = problem.split_once(start)?;
    let (path, kind) = rest.split_once(" of type ")?;
    let parts: Vec<&str> = path.split('.').collect();
    let outermost = parts
        .iter()
        .position(|part| matches!(*part, "items" | "additionalProperties"))?;
    Some(format!(
        "{before}{start}{} of type {kind}",
        parts[outermost + 1..].join(".")
    ))
}

/// Finds the first value of a definition that does not fit.
pub(crate) fn misfit(definition: &Value) -> Option<String> {
    inside(definition, &DEFINITION, "")
}

fn inside(value: &Value, ty: &Type, path: &str) -> Option<String> {
    let map = value.as_object()?;
    ty.fields.iter().find_map(|(field, holds)| {
        let value = map.get(*field).filter(|value| !value.is_null())?;
        let path = if path.is_empty() {
            (*field).to_owned()
        } else {
            format!("{path}.{field}")
        };
        holding(value, *holds, ty, &path)
    })
}

fn holding(value: &Value, holds: Holds, owner: &Type, path: &str) -> Option<String> {
    let refuse = |value: &Value, wanted: &str| {
        let found = match value {
            Value::Null => return None,
            Value::Bool(_) => "bool".to_owned(),
            Value::Number(number) if wanted.starts_with("int") => format!("number {number}"),
            Value::Number(_) => "number".to_owned(),
            Value::String(_) => "string".to_owned(),
            Value::Array(_) => "array".to_owned(),
            Value::Object(_) => "object".to_owned(),
        };
        Some(format!(
            "json: cannot unmarshal {found} into Go struct field {}.{path} of type {wanted}",
            owner.name
        ))
    };
    match (holds, value) {
        (Text | Named(_), Value::String(_))
        | (Flag, Value::Bool(_))
        | (Float, Value::Number(_))
        | (OrBool, Value::Bool(_)) => None,
        (Int, Value::Number(number)) if number.is_i64() => None,
        (Texts, Value::Array(list)) => list
            .iter()
            .filter(|value| !value.is_string())
            .find_map(|value| refuse(value, "string")),
        (Things, Value::Array(_)) => None,
        (One(ty), Value::Object(_)) => inside(value, ty, path),
        (OrBool | OrList, Value::Object(_)) => inside(value, &SCHEMA, path),
        (Many(ty), Value::Array(list)) => list.iter().find_map(|value| match value {
            Value::Object(_) => inside(value, ty, path),
            other => refuse(other, &format!("v1.{}", ty.name)),
        }),
        (OrList, Value::Array(list)) => list.iter().find_map(|value| inside(value, &SCHEMA, path)),
        (Map(ty), Value::Object(map)) => map.values().find_map(|value| match value {
            Value::Object(_) => inside(value, ty, path),
            other => refuse(other, &format!("v1.{}", ty.name)),
        }),
        (Text, value) => refuse(value, "string"),
        (Named(name), value) => refuse(value, name),
        (Flag, value) => refuse(value, "bool"),
        (Int, value) => refuse(
            value,
            if path.ends_with("priority") {
                "int32"
            } else {
                "int64"
            },
        ),
        (Float, value) => refuse(value, "float64"),
        (Texts, value) => refuse(value, "[]string"),
        (Things, value) => refuse(value, "[]v1.JSON"),
        (One(ty), value) => refuse(value, &format!("v1.{}", ty.name)),
        (Many(ty), value) => refuse(value, &format!("[]v1.{}", ty.name)),
        (Map(ty), value) => refuse(value, &format!("map[string]v1.{}", ty.name)),
        (OrBool, _) => Some(NEITHER.to_owned()),
        // anything else is read as none
        (OrList, _) => None,
    }
}
