//! OpenAPI schemas as expressions see them: their types, and how much data of them there can be.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value as Json;

use crate::escape::escape;
use crate::types::Type;

/// The largest request that an API server takes, in bytes.
pub(crate) const MAX_REQUEST: i64 = 3 * 1024 * 1024;

/// A structural schema.
#[derive(Clone, Debug, Default)]
pub struct Schema {
    pub(crate) ty: String,
    pub(crate) format: String,
    pub(crate) nullable: bool,
    pub(crate) int_or_string: bool,
    pub(crate) preserve: bool,
    pub(crate) embedded: bool,
    pub(crate) properties: Option<BTreeMap<String, Arc<Schema>>>,
    pub(crate) additional: Option<Additional>,
    pub(crate) items: Option<Arc<Schema>>,
    pub(crate) list_type: Option<String>,
    pub(crate) map_type: Option<String>,
    pub(crate) list_keys: Vec<String>,
    /// The keys of a list's elements, as expressions write them.
    pub(crate) escaped_keys: Vec<String>,
    pub(crate) max_items: Option<i64>,
    pub(crate) max_length: Option<i64>,
    pub(crate) max_properties: Option<i64>,
    pub(crate) required: Vec<String>,
    pub(crate) longest_enum: Option<i64>,
    pub(crate) has_default: bool,
    pub(crate) all_of: Vec<Arc<Schema>>,
    pub(crate) rules: Vec<Rule>,
    /// The same with the fields that every object has.
    pub(crate) with_meta: Option<Arc<Schema>>,
}

/// What a schema says of properties that it does not name.
#[derive(Clone, Debug)]
pub(crate) struct Additional {
    pub(crate) schema: Option<Arc<Schema>>,
}

/// One entry of `x-kubernetes-validations`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// The expression that must be true.
    pub rule: String,
    /// What to say where it is not.
    pub message: String,
    /// An expression that says it.
    pub message_expression: String,
    /// The kind of the error.
    pub reason: Option<String>,
    /// The field that is to blame, as a JSON path from here.
    pub field_path: String,
    /// Is `oldSelf` an optional value?
    pub optional_old_self: Option<bool>,
}

impl Rule {
    fn read(json: &Json) -> Rule {
        let text = |key: &str| {
            json.get(key)
                .and_then(Json::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        Rule {
            rule: text("rule"),
            message: text("message"),
            message_expression: text("messageExpression"),
            reason: json.get("reason").and_then(Json::as_str).map(str::to_owned),
            field_path: text("fieldPath"),
            optional_old_self: json.get("optionalOldSelf").and_then(Json::as_bool),
        }
    }
}

/// Deeper schemas than this are cut off; the API server refuses bodies that nest so deep.
const DEEPEST: usize = 300;

impl Schema {
    /// Reads an OpenAPI v3 schema as CustomResourceDefinitions have it.
    pub fn new(json: &Json) -> Schema {
        Schema::read(json, 0)
    }

    fn read(json: &Json, depth: usize) -> Schema {
        let text = |key: &str| json.get(key).and_then(Json::as_str).map(str::to_owned);
        let flag = |key: &str| json.get(key).and_then(Json::as_bool).unwrap_or_default();
        let number = |key: &str| json.get(key).and_then(Json::as_i64);
        let words = |key: &str| -> Vec<String> {
            json.get(key)
                .and_then(Json::as_array)
                .into_iter()
                .flatten()
                .filter_map(|v| v.as_str().map(str::to_owned))
                .collect()
        };
        let child = |json: &Json| Arc::new(Schema::read(json, depth + 1));
        let deeper = depth < DEEPEST;
        let list_keys = words("x-kubernetes-list-map-keys");
        let mut schema = Schema {
            ty: text("type").unwrap_or_default(),
            format: text("format").unwrap_or_default(),
            nullable: flag("nullable"),
            int_or_string: flag("x-kubernetes-int-or-string"),
            preserve: flag("x-kubernetes-preserve-unknown-fields"),
            embedded: flag("x-kubernetes-embedded-resource"),
            properties: json
                .get("properties")
                .and_then(Json::as_object)
                .filter(|map| !map.is_empty() && deeper)
                .map(|map| map.iter().map(|(k, v)| (k.clone(), child(v))).collect()),
            additional: match json.get("additionalProperties") {
                Some(schema @ Json::Object(_)) if deeper => Some(Additional {
                    schema: Some(child(schema)),
                }),
                Some(Json::Bool(_)) => Some(Additional { schema: None }),
                _ => None,
            },
            items: json
                .get("items")
                .filter(|items| items.is_object() && deeper)
                .map(child),
            list_type: text("x-kubernetes-list-type"),
            map_type: text("x-kubernetes-map-type"),
            escaped_keys: list_keys
                .iter()
                .map(|key| escape(key).unwrap_or_else(|| key.clone()))
                .collect(),
            list_keys,
            max_items: number("maxItems"),
            max_length: number("maxLength"),
            max_properties: number("maxProperties"),
            required: words("required"),
            longest_enum: json
                .get("enum")
                .and_then(Json::as_array)
                .filter(|all| !all.is_empty())
                .map(|all| {
                    let lengths = all.iter().filter_map(Json::as_str).map(str::len);
                    i64::try_from(lengths.max().unwrap_or_default()).unwrap_or(i64::MAX)
                }),
            has_default: json.get("default").is_some_and(|d| !d.is_null()),
            all_of: json
                .get("allOf")
                .and_then(Json::as_array)
                .filter(|_| deeper)
                .into_iter()
                .flatten()
                .map(child)
                .collect(),
            rules: json
                .get("x-kubernetes-validations")
                .and_then(Json::as_array)
                .into_iter()
                .flatten()
                .map(Rule::read)
                .collect(),
            with_meta: None,
        };
        if schema.embedded || depth == 0 {
            schema.with_meta = Some(Arc::new(schema.add_meta()));
        }
        schema
    }

    /// The schema with `apiVersion`, `kind`, and the names in `metadata`.
    fn add_meta(&self) -> Schema {
        let mut with = self.clone();
        let is = |schema: Option<&Arc<Schema>>, ty: &str| schema.is_some_and(|s| s.ty == ty);
        if let Some(properties) = &self.properties {
            let meta = properties.get("metadata");
            let inner = meta.and_then(|m| m.properties.as_ref());
            if is(properties.get("kind"), "string")
                && is(properties.get("apiVersion"), "string")
                && is(meta, "object")
                && inner.is_some_and(|inner| {
                    is(inner.get("name"), "string") && is(inner.get("generateName"), "string")
                })
            {
                return with;
            }
        }
        let text = Arc::new(Schema {
            ty: "string".into(),
            ..Schema::default()
        });
        let meta = Schema {
            ty: "object".into(),
            properties: Some(BTreeMap::from([
                ("name".into(), text.clone()),
                ("generateName".into(), text.clone()),
            ])),
            ..Schema::default()
        };
        let properties = with.properties.get_or_insert_default();
        properties.insert("kind".into(), text.clone());
        properties.insert("apiVersion".into(), text);
        properties.insert("metadata".into(), Arc::new(meta));
        with
    }

    pub(crate) fn rooted(&self) -> &Schema {
        self.with_meta.as_deref().unwrap_or(self)
    }

    /// The schema of a field, where fields have names or all have the same.
    pub(crate) fn property(&self, name: &str) -> Option<&Schema> {
        if self.embedded || self.properties.is_some() {
            return self
                .properties
                .as_ref()
                .and_then(|p| p.get(name))
                .map(|s| &**s);
        }
        self.additional.as_ref()?.schema.as_deref()
    }

    /// Are there rules in it, or below?
    pub(crate) fn has_rules(&self) -> bool {
        !self.rules.is_empty()
            || self.items.as_ref().is_some_and(|s| s.has_rules())
            || self
                .additional
                .as_ref()
                .and_then(|a| a.schema.as_ref())
                .is_some_and(|s| s.has_rules())
            || self.properties.iter().flatten().any(|(_, s)| s.has_rules())
    }
}

/// The type of data of a schema, and how much of it there can be.
#[derive(Clone, Debug)]
pub struct Decl {
    pub(crate) ty: Type,
    /// The most elements, entries or characters.
    pub(crate) max_elements: i64,
    /// The fewest bytes that it takes as JSON.
    pub(crate) min_size: i64,
    pub(crate) shape: Shape,
}

#[derive(Clone, Debug)]
pub(crate) enum Shape {
    Simple,
    List(Arc<Decl>),
    Map(Arc<Decl>),
    Object(BTreeMap<String, Arc<Decl>>),
}

fn simple(ty: Type, min_size: i64, max_elements: i64) -> Option<Decl> {
    Some(Decl {
        ty,
        max_elements,
        min_size,
        shape: Shape::Simple,
    })
}

impl Decl {
    /// The type of a schema, or none where expressions do not see it. At the root of a resource its metadata's names are seen.
    pub fn of(schema: &Schema, root: bool) -> Option<Decl> {
        if schema.int_or_string {
            let most = match schema.max_length {
                Some(length) => length.max(0).saturating_mul(4),
                None => MAX_REQUEST - 2,
            };
            return simple(Type::Dyn, 1, most);
        }
        let added;
        let schema = match &schema.with_meta {
            Some(with) if root => with,
            None if root => {
                added = schema.add_meta();
                &added
            }
            _ => schema,
        };
        match schema.ty.as_str() {
            "array" => {
                let items = schema.items.as_ref()?;
                let of = Decl::of(items, items.embedded)?;
                let most = schema
                    .max_items
                    .map_or((MAX_REQUEST - 2) / (of.min_size + 1), |most| most.max(0));
                Some(Decl {
                    ty: Type::list(of.ty.clone()),
                    max_elements: most,
                    min_size: 2,
                    shape: Shape::List(Arc::new(of)),
                })
            }
            "object" => Decl::object(schema),
            "string" => Decl::string(schema),
            "boolean" => simple(Type::Bool, 4, 0),
            "number" => simple(Type::Double, 1, 0),
            "integer" => simple(Type::Int, 1, 0),
            _ => None,
        }
    }

    fn object(schema: &Schema) -> Option<Decl> {
        if let Some(values) = schema.additional.as_ref().and_then(|a| a.schema.as_ref()) {
            let of = Decl::of(values, values.embedded)?;
            let most = schema
                .max_properties
                .map_or((MAX_REQUEST - 2) / (of.min_size + 6), |most| most.max(0));
            return Some(Decl {
                ty: Type::map(Type::String, of.ty.clone()),
                max_elements: most,
                min_size: 2,
                shape: Shape::Map(Arc::new(of)),
            });
        }
        let (mut fields, mut min_size) = (BTreeMap::new(), 2);
        for (name, property) in schema.properties.iter().flatten() {
            let Some(decl) = Decl::of(property, property.embedded) else {
                continue;
            };
            if schema.required.contains(name) && !property.has_default {
                min_size += i64::try_from(name.len()).unwrap_or_default() + decl.min_size + 4;
            }
            if let Some(name) = escape(name) {
                fields.insert(name, Arc::new(decl));
            }
        }
        Some(Decl {
            ty: Type::named("object"),
            max_elements: 0,
            min_size,
            shape: Shape::Object(fields),
        })
    }

    fn string(schema: &Schema) -> Option<Decl> {
        match schema.format.as_str() {
            "byte" => simple(
                Type::Bytes,
                2,
                schema
                    .max_length
                    .map_or(MAX_REQUEST - 2, |most| most.max(0)),
            ),
            "duration" => simple(Type::Duration, 3, 32),
            "date" => simple(Type::Timestamp, 12, 12),
            "date-time" => simple(Type::Timestamp, 21, 32),
            _ => {
                let most = match (schema.max_length, schema.longest_enum) {
                    (Some(most), _) => most.max(0).saturating_mul(4),
                    (None, Some(most)) => most,
                    (None, None) => MAX_REQUEST - 2,
                };
                simple(Type::String, 2, most)
            }
        }
    }

    /// The same with a name of its own for each kind of object in it, and what fields these have.
    pub(crate) fn named(&self, name: &str, names: &mut Names) -> Type {
        match &self.shape {
            Shape::Simple => self.ty.clone(),
            Shape::List(of) => Type::list(of.named(&format!("{name}.@idx"), names)),
            Shape::Map(of) => Type::map(Type::String, of.named(&format!("{name}.@elem"), names)),
            Shape::Object(fields) => {
                let fields = fields
                    .iter()
                    .map(|(field, decl)| {
                        (field.clone(), decl.named(&format!("{name}.{field}"), names))
                    })
                    .collect();
                names.insert(name.to_owned(), fields);
                Type::named(name)
            }
        }
    }

    pub(crate) fn step(&self, step: &str) -> Option<&Decl> {
        match (&self.shape, step) {
            (Shape::List(of) | Shape::Map(of), "@items" | "@values") => Some(of),
            (Shape::Map(_), "@keys") => Some(&KEY),
            (Shape::Object(fields), name) => fields.get(name).map(|f| &**f),
            _ => None,
        }
    }
}

/// Keys of maps, of whose length nothing is known.
static KEY: Decl = Decl {
    ty: Type::String,
    max_elements: 0,
    min_size: 2,
    shape: Shape::Simple,
};

/// Named object types with their fields.
pub(crate) type Names = BTreeMap<String, BTreeMap<String, Type>>;
