//! Which value before belongs to which value now.

use serde_json::Value as Json;

use crate::schema::Schema;

/// A value with the one that it was.
#[derive(Clone, Copy, Debug)]
pub(super) struct Correlated<'a> {
    pub(super) new: &'a Json,
    pub(super) old: &'a Json,
    pub(super) schema: &'a Schema,
}

impl<'a> Correlated<'a> {
    pub(super) fn key(self, name: &str) -> Option<Correlated<'a>> {
        let (new, old) = (self.new.get(name)?, self.old.get(name)?);
        if !self.new.is_object() || !self.old.is_object() {
            return None;
        }
        let property = self.schema.properties.as_ref().and_then(|p| p.get(name));
        let additional = self.schema.additional.as_ref();
        let schema = match property {
            Some(schema) => schema,
            None => additional?.schema.as_ref()?,
        };
        Some(Correlated { new, old, schema })
    }

    pub(super) fn index(self, at: usize) -> Option<Correlated<'a>> {
        let new = self.new.as_array()?.get(at)?;
        let old = correlate(self.schema, self.old.as_array()?, new)?;
        Some(Correlated {
            new,
            old,
            schema: self.schema.items.as_ref()?,
        })
    }

    /// Is it as it was?
    pub(super) fn unchanged(self) -> bool {
        match (self.new, self.old) {
            (Json::Null, Json::Null) => true,
            (Json::Array(new), Json::Array(old)) => {
                if new.len() != old.len() {
                    return false;
                }
                let keyed = self.schema.list_type.as_deref() == Some("map");
                for at in 0..new.len() {
                    match self.index(at) {
                        Some(child) if child.unchanged() => {}
                        Some(_) => return false,
                        None if keyed => return false,
                        None => return new == old,
                    }
                }
                true
            }
            (Json::Object(new), Json::Object(old)) => {
                new.len() == old.len()
                    && new
                        .keys()
                        .all(|name| self.key(name).is_some_and(Correlated::unchanged))
            }
            (new, old) => new == old,
        }
    }
}

/// The element of a list of type map that has the keys of another.
pub(super) fn correlate<'a>(schema: &Schema, old: &'a [Json], element: &Json) -> Option<&'a Json> {
    if schema.ty != "array"
        || schema.list_type.as_deref() != Some("map")
        || schema.list_keys.is_empty()
    {
        return None;
    }
    let keys = |element: &Json| -> Option<Vec<String>> {
        let object = element.as_object()?;
        schema
            .list_keys
            .iter()
            .map(|key| match object.get(key)? {
                Json::Null | Json::Array(_) | Json::Object(_) => None,
                scalar => Some(scalar.to_string()),
            })
            .collect()
    };
    let wanted = keys(element)?;
    old.iter().find(|old| keys(old).as_ref() == Some(&wanted))
}
