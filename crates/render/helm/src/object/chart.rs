//! `.Chart`: a map with Go's field names in Helm 4, a Go struct in Helm 3.

use std::any::Any;

use roadstead_template::{Field, FuncError, Map, Object, Str, Type, Underlying, Value};
use serde_json::Value as Json;

use crate::Dialect;
use crate::deps::REWRITTEN;
use crate::load::{Dependency, Maintainer, Metadata};
use crate::values::frozen::Frozen;

/// A chart's metadata under the name that it has where it takes part, with the dependencies that are left.
pub(crate) fn chart(
    metadata: &Metadata,
    name: &str,
    dependencies: &[&Dependency],
    is_root: bool,
    dialect: Dialect,
) -> Value {
    let three = dialect.is_3();
    let mut fields = fields(metadata, name, dependencies, three);
    if three {
        return Value::object(Chart {
            metadata: Value::object(Struct {
                name: "chart.Metadata",
                fields,
            }),
            is_root,
        });
    }
    fields.push(Entry::plain("IsRoot", is_root.into()));
    Value::dict(fields.into_iter().map(|entry| (entry.name, entry.value)))
}

/// A field with its name in JSON; one that is empty is left out there.
#[derive(Clone)]
struct Entry {
    name: &'static str,
    json: &'static str,
    value: Value,
    keep_empty: bool,
}

impl Entry {
    fn new(name: &'static str, json: &'static str, value: Value) -> Self {
        Self {
            name,
            json,
            value,
            keep_empty: false,
        }
    }

    fn plain(name: &'static str, value: Value) -> Self {
        Self::new(name, name, value)
    }
}

fn fields(
    metadata: &Metadata,
    name: &str,
    dependencies: &[&Dependency],
    three: bool,
) -> Vec<Entry> {
    let text = |text: &str| Value::from(text);
    let maintainers = metadata.maintainers.iter().flatten();
    let annotations = match &metadata.annotations {
        None => Value::Map(Map::nil(Type::Map(&Type::Str))),
        Some(annotations) => Value::Map(Map::typed(
            Type::Map(&Type::Str),
            annotations
                .iter()
                .map(|(key, value)| (Str::from(key.as_str()), text(value)))
                .collect(),
        )),
    };
    vec![
        Entry::new("Name", "name", text(name)),
        Entry::new("Home", "home", text(&metadata.home)),
        Entry::new(
            "Sources",
            "sources",
            texts(metadata.sources.as_deref(), three),
        ),
        Entry::new("Version", "version", text(&metadata.version)),
        Entry::new("Description", "description", text(&metadata.description)),
        Entry::new(
            "Keywords",
            "keywords",
            texts(metadata.keywords.as_deref(), three),
        ),
        Entry::new(
            "Maintainers",
            "maintainers",
            list(
                maintainers.map(|it| maintainer(it, three)),
                three,
                "[]*chart.Maintainer",
            ),
        ),
        Entry::new("Icon", "icon", text(&metadata.icon)),
        Entry::new("APIVersion", "apiVersion", text(&metadata.api_version)),
        Entry::new("Condition", "condition", text(&metadata.condition)),
        Entry::new("Tags", "tags", text(&metadata.tags)),
        Entry::new("AppVersion", "appVersion", text(&metadata.app_version)),
        Entry::new("Deprecated", "deprecated", metadata.deprecated.into()),
        Entry::new("Annotations", "annotations", annotations),
        Entry::new("KubeVersion", "kubeVersion", text(&metadata.kube_version)),
        Entry::new(
            "Dependencies",
            "dependencies",
            list(
                dependencies.iter().map(|it| dependency(it, three)),
                three,
                "[]*chart.Dependency",
            ),
        ),
        Entry::new("Type", "type", text(&metadata.kind)),
    ]
}

/// A `[]string`: a list of anything in Helm 4, nil where there is none in Helm 3.
fn texts(list: Option<&[String]>, three: bool) -> Value {
    let items = list.unwrap_or_default().iter().map(|it| it.as_str());
    match (three, list) {
        (true, None) => Value::List(roadstead_template::List::nil(Type::STRINGS)),
        (true, Some(_)) => Value::strings(items),
        (false, _) => Value::list(items.map(Value::from).collect()),
    }
}

fn list(items: impl Iterator<Item = Value>, three: bool, name: &'static str) -> Value {
    let items: Vec<Value> = items.collect();
    if !three {
        return Value::list(items);
    }
    let ty = Type::Named(name, &Type::LIST);
    if items.is_empty() {
        return Value::List(roadstead_template::List::nil(ty));
    }
    Value::List(roadstead_template::List::typed(ty, items))
}

fn maintainer(of: &Maintainer, three: bool) -> Value {
    structure(
        "*chart.Maintainer",
        vec![
            Entry::new("Name", "name", of.name.as_str().into()),
            Entry::new("Email", "email", of.email.as_str().into()),
            Entry::new("URL", "url", of.url.as_str().into()),
        ],
        three,
    )
}

fn dependency(of: &Dependency, three: bool) -> Value {
    let imports: Vec<Value> = of
        .import_values
        .iter()
        .flatten()
        .map(|import| match import {
            Json::Object(map) if map.contains_key(REWRITTEN) => Value::Map(Map::typed(
                Type::Map(&Type::Str),
                map.iter()
                    .filter(|(key, _)| key.as_str() != REWRITTEN)
                    .map(|(key, value)| {
                        let value = value.as_str().unwrap_or("");
                        (Str::from(key.as_str()), Value::from(value))
                    })
                    .collect(),
            )),
            other => Frozen::of(other).thaw(false),
        })
        .collect();
    let always = |name, json, value| Entry {
        keep_empty: true,
        ..Entry::new(name, json, value)
    };
    structure(
        "*chart.Dependency",
        vec![
            always("Name", "name", of.name.as_str().into()),
            Entry::new("Version", "version", of.version.as_str().into()),
            always("Repository", "repository", of.repository.as_str().into()),
            Entry::new("Condition", "condition", of.condition.as_str().into()),
            Entry::new("Tags", "tags", texts(of.tags.as_deref(), three)),
            Entry::new("Enabled", "enabled", of.enabled.into()),
            Entry::new("ImportValues", "import-values", Value::list(imports)),
            Entry::new("Alias", "alias", of.alias.as_str().into()),
        ],
        three,
    )
}

fn structure(name: &'static str, fields: Vec<Entry>, three: bool) -> Value {
    if three {
        Value::object(Struct { name, fields })
    } else {
        Value::dict(fields.into_iter().map(|entry| (entry.name, entry.value)))
    }
}

/// A Go struct, or a pointer to one.
struct Struct {
    name: &'static str,
    fields: Vec<Entry>,
}

impl Object for Struct {
    fn type_name(&self) -> &'static str {
        self.name
    }

    fn underlying(&self) -> Underlying {
        Underlying::Struct(
            self.fields
                .iter()
                .map(|entry| Field::new(entry.name, entry.value.clone()))
                .collect(),
        )
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn field(&self, name: &str) -> Option<Value> {
        let entry = self.fields.iter().find(|entry| entry.name == name)?;
        Some(entry.value.clone())
    }

    fn json(&self) -> Result<Value, FuncError> {
        Ok(Value::dict(
            self.fields
                .iter()
                .filter(|entry| entry.keep_empty || entry.value.truth())
                .map(|entry| (entry.json, entry.value.clone())),
        ))
    }
}

/// Helm 3's `.Chart`: the metadata, whose fields count as its own, and one field more.
struct Chart {
    metadata: Value,
    is_root: bool,
}

impl Object for Chart {
    fn type_name(&self) -> &'static str {
        "struct { chart.Metadata; IsRoot bool }"
    }

    fn underlying(&self) -> Underlying {
        Underlying::Struct(vec![
            Field::new("Metadata", self.metadata.clone()),
            Field::new("IsRoot", self.is_root.into()),
        ])
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn field(&self, name: &str) -> Option<Value> {
        match name {
            "IsRoot" => Some(self.is_root.into()),
            "Metadata" => Some(self.metadata.clone()),
            name => self.metadata.downcast::<Struct>()?.field(name),
        }
    }

    fn json(&self) -> Result<Value, FuncError> {
        let Some(metadata) = self.metadata.downcast::<Struct>() else {
            return Ok(Value::Nil);
        };
        let fields = metadata.json()?;
        if let Value::Map(map) = &fields {
            // It was made just now, so it is not nil.
            let _ = map.insert("IsRoot", self.is_root.into());
        }
        Ok(fields)
    }
}
