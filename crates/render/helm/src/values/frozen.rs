//! Values at rest: shared between threads and renders, and turned into the values of templates when one needs them.

use std::sync::Arc;

use roadstead_template::{Map, Str, Value};

/// A tree of values that nobody changes. Strings are shared with every value that is made of it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Frozen {
    Nil,
    Bool(bool),
    Int(i64),
    Float(f64),
    Str(Str),
    List(Vec<Frozen>),
    Map(Table),
}

/// A map at rest, sorted by its keys.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Table(Arc<Vec<(Str, Frozen)>>);

impl Table {
    pub(crate) fn of(map: &serde_json::Map<String, serde_json::Value>) -> Self {
        // serde_json keeps its keys sorted by bytes
        Self(Arc::new(
            map.iter()
                .map(|(key, value)| (Str::from(key.as_str()), Frozen::of(value)))
                .collect(),
        ))
    }

    /// Freezes a map of templates.
    pub(crate) fn freeze(map: &Map) -> Self {
        map.with(|entries| {
            Self(Arc::new(
                entries
                    .iter()
                    .map(|(key, value)| (key.clone(), Frozen::freeze(value)))
                    .collect(),
            ))
        })
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Str, &Frozen)> {
        self.0.iter().map(|(key, value)| (key, value))
    }

    /// Makes a new map of it; with `clean`, without what is nil in it or in maps below.
    pub(crate) fn thaw(&self, clean: bool) -> Map {
        self.iter()
            .filter(|(_, value)| !(clean && **value == Frozen::Nil))
            .map(|(key, value)| (key.clone(), value.thaw(clean)))
            .collect()
    }
}

impl Frozen {
    pub(crate) fn of(value: &serde_json::Value) -> Self {
        match value {
            serde_json::Value::Null => Self::Nil,
            serde_json::Value::Bool(it) => Self::Bool(*it),
            serde_json::Value::Number(number) if number.is_f64() => {
                Self::Float(number.as_f64().unwrap_or_default())
            }
            serde_json::Value::Number(number) => match number.as_i64() {
                Some(int) => Self::Int(int),
                None => Self::Float(number.as_f64().unwrap_or_default()),
            },
            serde_json::Value::String(text) => Self::Str(Str::from(text.as_str())),
            serde_json::Value::Array(list) => Self::List(list.iter().map(Self::of).collect()),
            serde_json::Value::Object(map) => Self::Map(Table::of(map)),
        }
    }

    fn freeze(value: &Value) -> Self {
        match value {
            Value::Bool(it) => Self::Bool(*it),
            Value::Int(int) => Self::Int(int.as_i64()),
            Value::Float(float) => Self::Float(*float),
            Value::Str(text) => Self::Str(text.clone()),
            Value::List(list) => Self::List(list.items().iter().map(Self::freeze).collect()),
            Value::Map(map) => Self::Map(Table::freeze(map)),
            _ => Self::Nil,
        }
    }

    /// Makes a new value of it; see [`Table::thaw`].
    pub(crate) fn thaw(&self, clean: bool) -> Value {
        match self {
            Self::Nil => Value::Nil,
            Self::Bool(it) => Value::Bool(*it),
            Self::Int(int) => Value::int64(*int),
            Self::Float(float) => Value::Float(*float),
            Self::Str(text) => Value::Str(text.clone()),
            // maps within lists are not cleaned
            Self::List(list) => Value::list(list.iter().map(|item| item.thaw(false)).collect()),
            Self::Map(table) => Value::Map(table.thaw(clean)),
        }
    }
}

/// Copies maps and lists, so that changes of one copy are not seen in the other.
pub(crate) fn deep_copy(value: &Value) -> Value {
    match value {
        Value::Map(map) => Value::Map(deep_copy_map(map)),
        Value::List(list) => Value::list(list.items().iter().map(deep_copy).collect()),
        other => other.clone(),
    }
}

pub(crate) fn deep_copy_map(map: &Map) -> Map {
    map.with(|entries| {
        entries
            .iter()
            .map(|(key, value)| (key.clone(), deep_copy(value)))
            .collect()
    })
}

/// Bytes as the text that Go's JSON writer makes of them: each invalid one becomes U+FFFD.
pub(crate) fn lossy(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        out.push_str(chunk.valid());
        out.extend(chunk.invalid().iter().map(|_| '\u{fffd}'));
    }
    out
}

/// What a value is as JSON, for schemas.
pub(crate) fn to_json(value: &Value) -> serde_json::Value {
    match value {
        Value::Bool(it) => (*it).into(),
        Value::Int(int) => int.as_i64().into(),
        Value::Float(float) => (*float).into(),
        Value::Str(text) => lossy(text).into(),
        Value::List(list) => list.items().iter().map(to_json).collect(),
        Value::Map(map) => serde_json::Value::Object(map_to_json(map)),
        _ => serde_json::Value::Null,
    }
}

pub(crate) fn map_to_json(map: &Map) -> serde_json::Map<String, serde_json::Value> {
    map.with(|entries| {
        entries
            .iter()
            .map(|(key, value)| (key.to_text().into_owned(), to_json(value)))
            .collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_thaw_as_they_were_frozen() {
        let json = json!({"a": null, "b": [1.5, {"c": null}], "m": {"n": null, "o": 1}});
        let serde_json::Value::Object(map) = &json else {
            panic!()
        };
        let table = Table::of(map);
        assert_eq!(to_json(&Value::Map(table.thaw(false))), json);
        assert_eq!(
            to_json(&Value::Map(table.thaw(true))),
            json!({"b": [1.5, {"c": null}], "m": {"o": 1}})
        );
        assert_eq!(Table::freeze(&table.thaw(false)), table);
    }
}
