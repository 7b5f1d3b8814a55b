//! How much work a schema makes of some values, counted before it is done.
//!
//! A schema that branches into itself makes work that doubles with each level of the values, and the validator has no bound.
//! So its way is walked here first, without looking at what it would find.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// How many steps a schema may take over the values of one chart: some seconds at worst, thousands of times what real
/// ones take.
const MOST: u32 = 2_000_000;

/// How deep schemas may lead into each other on one value; one that goes on for ever is found by the validator itself.
const MOST_DEEP: u32 = 200;

/// Whether checking values takes no more than so much.
pub(super) fn bearable(schema: &Value, values: &Value) -> bool {
    let mut named = BTreeMap::new();
    names(schema, &mut named, 0);
    Walk {
        root: schema,
        named,
        left: MOST,
    }
    .visit(schema, values, 0)
    .is_some()
}

/// Finds the parts of a schema that have names to refer to.
fn names<'a>(schema: &'a Value, named: &mut BTreeMap<&'a str, &'a Value>, depth: u32) {
    if depth > MOST_DEEP {
        return;
    }
    match schema {
        Value::Object(map) => {
            for key in ["$anchor", "$dynamicAnchor", "$id", "id"] {
                if let Some(Value::String(name)) = map.get(key) {
                    named.insert(name.trim_start_matches('#'), schema);
                }
            }
            map.values().for_each(|part| names(part, named, depth + 1));
        }
        Value::Array(list) => list.iter().for_each(|part| names(part, named, depth + 1)),
        _ => {}
    }
}

struct Walk<'a> {
    root: &'a Value,
    named: BTreeMap<&'a str, &'a Value>,
    left: u32,
}

impl<'a> Walk<'a> {
    /// Nothing, when it is too much.
    fn visit(&mut self, schema: &'a Value, value: &Value, depth: u32) -> Option<()> {
        self.left = self.left.checked_sub(1)?;
        let Value::Object(schema) = schema else {
            return Some(());
        };
        if depth > MOST_DEEP {
            return Some(());
        }
        for (keyword, part) in schema {
            match keyword.as_str() {
                "allOf" | "anyOf" | "oneOf" => {
                    for part in part.as_array().into_iter().flatten() {
                        self.visit(part, value, depth + 1)?;
                    }
                }
                "not" | "if" | "then" | "else" | "unevaluatedProperties" | "unevaluatedItems" => {
                    self.visit(part, value, depth + 1)?
                }
                "$ref" | "$dynamicRef" | "$recursiveRef" => {
                    if let Some(part) = part.as_str().and_then(|to| self.resolve(to)) {
                        self.visit(part, value, depth + 1)?;
                    }
                }
                "dependentSchemas" | "dependencies" => {
                    for part in part.as_object().into_iter().flat_map(Map::values) {
                        self.visit(part, value, depth + 1)?;
                    }
                }
                _ => self.children(keyword, part, value)?,
            }
        }
        Some(())
    }

    /// What a keyword asks of what lies in a map or list.
    fn children(&mut self, keyword: &str, part: &'a Value, value: &Value) -> Option<()> {
        match (keyword, value) {
            ("properties", Value::Object(map)) => {
                for (name, part) in part.as_object().into_iter().flatten() {
                    if let Some(inner) = map.get(name) {
                        self.visit(part, inner, 0)?;
                    }
                }
            }
            ("patternProperties", Value::Object(map)) => {
                for part in part.as_object().into_iter().flat_map(Map::values) {
                    for inner in map.values() {
                        self.visit(part, inner, 0)?;
                    }
                }
            }
            ("additionalProperties" | "propertyNames", Value::Object(map)) => {
                for inner in map.values() {
                    self.visit(part, inner, 0)?;
                }
            }
            ("items" | "prefixItems" | "additionalItems" | "contains", Value::Array(list)) => {
                for (index, inner) in list.iter().enumerate() {
                    match part {
                        Value::Array(parts) => {
                            if let Some(part) = parts.get(index) {
                                self.visit(part, inner, 0)?;
                            }
                        }
                        part => self.visit(part, inner, 0)?,
                    }
                }
            }
            _ => {}
        }
        Some(())
    }

    fn resolve(&self, to: &str) -> Option<&'a Value> {
        let (file, fragment) = to.split_once('#').unwrap_or((to, ""));
        let base = if file.is_empty() {
            self.root
        } else {
            self.named.get(file)?
        };
        if fragment.is_empty() {
            return Some(base);
        }
        if fragment.starts_with('/') {
            return base.pointer(&fragment.replace("%25", "%"));
        }
        self.named.get(fragment).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn work_that_doubles_is_refused() {
        let mut deep = json!(1);
        for _ in 0..40 {
            deep = json!({"a": deep});
        }
        let inner = json!({"properties": {"a": {"$ref": "#"}}});
        assert!(bearable(&inner, &deep));
        assert!(!bearable(&json!({"anyOf": [inner, inner]}), &deep));
        let mut defs = Map::new();
        for level in 0..40 {
            let next = json!({"$ref": format!("#/$defs/l{}", level + 1)});
            defs.insert(format!("l{level}"), json!({"anyOf": [next, next]}));
        }
        defs.insert("l40".to_owned(), json!(true));
        let ladder = json!({"$ref": "#/$defs/l0", "$defs": defs});
        assert!(!bearable(&ladder, &json!(1)));
        assert!(bearable(&json!({"$ref": "#"}), &json!(1)));
    }
}
