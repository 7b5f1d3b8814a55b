//! Coalescing: a chart's defaults under the values that are given, for a chart and the charts in it.
//!
//! Maps are changed and shared as Helm changes and shares them: what a chart sees of another one's values follows from
//! which maps they have in common. The rules for null differ between Helm 3 and 4.

use roadstead_template::{Map, Str, Value};

use super::frozen::{Frozen, Table, deep_copy_map};
use crate::Dialect;

/// A chart, as far as its values go.
pub(crate) trait Chart: Sized {
    fn name(&self) -> &str;
    fn values(&self) -> &Table;
    fn children(&self) -> impl Iterator<Item = Self>;
}

/// The key that all charts share.
const GLOBAL: &[u8] = b"global";

/// Values that cannot be put together; in Helm's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mismatch(pub(crate) String);

/// Coalesces values; what was skipped is said in `warnings`.
pub(crate) struct Coalescer<'a> {
    pub(crate) dialect: Dialect,
    /// Keep null instead of deleting what it stands for.
    pub(crate) merge: bool,
    pub(crate) warnings: &'a mut Vec<String>,
}

impl Coalescer<'_> {
    /// The values of a chart and the charts in it: its defaults under a copy of what is given.
    pub(crate) fn values(&mut self, chart: &impl Chart, given: &Map) -> Result<Map, Mismatch> {
        let values = deep_copy_map(given);
        self.chart(chart, &values, "")?;
        Ok(values)
    }

    fn chart(&mut self, chart: &impl Chart, values: &Map, prefix: &str) -> Result<(), Mismatch> {
        let prefix = join(prefix, chart.name());
        self.defaults(chart, values, &prefix);
        for child in chart.children() {
            let name = Str::from(child.name());
            let inner = match values.get(&name) {
                Some(Value::Map(inner)) => inner,
                None => {
                    let inner = Map::new();
                    put(values, name.clone(), Value::Map(inner.clone()));
                    inner
                }
                Some(other) => {
                    return Err(Mismatch(format!(
                        "type mismatch on {}: {}",
                        child.name(),
                        as_bool(&other)
                    )));
                }
            };
            self.globals(&inner, values, &prefix);
            self.chart(&child, &inner, &prefix)?;
        }
        Ok(())
    }

    /// A chart's own defaults under its values.
    fn defaults(&mut self, chart: &impl Chart, values: &Map, prefix: &str) {
        let cleans = self.dialect.is_4();
        for (key, default) in chart.values().iter() {
            match values.get(key) {
                None => {
                    let clean = cleans && !self.merge;
                    if clean && *default == Frozen::Nil {
                        continue;
                    }
                    put(values, key.clone(), default.thaw(clean));
                }
                Some(Value::Nil) if !self.merge => drop(values.remove(key)),
                Some(Value::Map(inner)) => match default {
                    Frozen::Map(table) => {
                        let merge = self.merge
                            || chart
                                .children()
                                .any(|child| child.name().as_bytes() == &**key);
                        let clean = cleans && !merge;
                        self.under(&inner, table, &join(prefix, &key.to_text()), merge, clean);
                    }
                    Frozen::Nil => {}
                    _ => self.warn(format!(
                        "warning: skipped value for {prefix}.{}: Not a table.",
                        key.to_text()
                    )),
                },
                Some(_) => {}
            }
        }
    }

    /// Puts a table of defaults under a map. With `clean`, nil in the defaults counts as absent.
    fn under(&mut self, values: &Map, defaults: &Table, prefix: &str, merge: bool, clean: bool) {
        for (key, default) in defaults.iter() {
            if clean && *default == Frozen::Nil {
                continue;
            }
            match (values.get(key), default) {
                (None, default) => put(values, key.clone(), default.thaw(clean)),
                (Some(Value::Nil), default) if !merge && *default != Frozen::Nil => {
                    values.remove(key);
                }
                (Some(Value::Map(inner)), Frozen::Map(table)) => {
                    self.under(&inner, table, &join(prefix, &key.to_text()), merge, clean);
                }
                (Some(_), Frozen::Map(_)) => self.warn_no_table(prefix, key),
                (Some(Value::Map(_)), default) if *default != Frozen::Nil => {
                    self.warn_table(prefix, key);
                }
                _ => {}
            }
        }
    }

    /// Puts one map under another. The lower one is changed too where the upper one holds null, as in Helm.
    pub(crate) fn tables(&mut self, upper: &Map, lower: &Map, prefix: &str) {
        let non_nil: Vec<Str> = lower
            .entries()
            .into_iter()
            .filter(|(_, value)| !matches!(value, Value::Nil))
            .map(|(key, _)| key)
            .collect();
        for (key, value) in upper.entries() {
            if matches!(value, Value::Nil) {
                put(lower, key, Value::Nil);
            }
        }
        for (key, value) in lower.entries() {
            match (upper.get(&key), value) {
                (Some(Value::Nil), _) if !self.merge && non_nil.contains(&key) => {
                    upper.remove(&key);
                }
                (None, value) => put(upper, key, value),
                (Some(Value::Map(inner)), Value::Map(under)) => {
                    self.tables(&inner, &under, &join(prefix, &key.to_text()));
                }
                (Some(_), Value::Map(_)) => self.warn_no_table(prefix, &key),
                (Some(Value::Map(_)), value) if !matches!(value, Value::Nil) => {
                    self.warn_table(prefix, &key);
                }
                _ => {}
            }
        }
    }

    /// Hands the parent's `global` down; the parent's values win.
    fn globals(&mut self, child: &Map, parent: &Map, prefix: &str) {
        let mut table = |of: &Map, whose: &str| match of.get(GLOBAL) {
            None => Some(Map::new()),
            Some(Value::Map(map)) => Some(map),
            Some(_) => {
                self.warn(format!(
                    "warning: skipping globals because {whose} global is not a table."
                ));
                None
            }
        };
        let Some(to) = table(child, "destination") else {
            return;
        };
        let Some(from) = table(parent, "source") else {
            return;
        };
        for (key, value) in from.entries() {
            let Value::Map(map) = &value else {
                if matches!(to.get(&key), Some(Value::Map(_))) {
                    self.warn(format!("key {} is table. Skipping", key.to_text()));
                } else {
                    put(&to, key, value);
                }
                continue;
            };
            let copy = map.shallow_copy();
            match to.get(&key) {
                None => put(&to, key, Value::Map(copy)),
                Some(Value::Map(own)) => {
                    let mut merging = Coalescer {
                        dialect: self.dialect,
                        merge: true,
                        warnings: self.warnings,
                    };
                    merging.tables(&copy, &own, &join(prefix, &key.to_text()));
                    put(&to, key, Value::Map(copy));
                }
                Some(_) => self.warn(format!(
                    "Conflict: cannot merge map onto non-map for {:?}. Skipping.",
                    key.to_text()
                )),
            }
        }
        put(child, Str::from(GLOBAL), Value::Map(to));
    }

    fn warn(&mut self, warning: String) {
        // Some of them come once for each time that values are put together.
        if !self.warnings.contains(&warning) && self.warnings.len() < 1000 {
            self.warnings.push(warning);
        }
    }

    fn warn_no_table(&mut self, prefix: &str, key: &Str) {
        self.warn(format!(
            "warning: cannot overwrite table with non table for {}",
            join(prefix, &key.to_text())
        ));
    }

    fn warn_table(&mut self, prefix: &str, key: &Str) {
        self.warn(format!(
            "warning: destination for {} is a table. Ignoring non-table value",
            join(prefix, &key.to_text())
        ));
    }
}

/// Sets a key of a map of ours, which is never nil.
pub(crate) fn put(map: &Map, key: impl Into<Str>, value: Value) {
    let _ = map.insert(key, value);
}

fn join(prefix: &str, key: &str) -> String {
    if prefix.is_empty() {
        key.to_owned()
    } else {
        format!("{prefix}.{key}")
    }
}

/// A value as Go's `%t` prints it.
fn as_bool(value: &Value) -> String {
    match value {
        Value::Bool(it) => it.to_string(),
        Value::Nil | Value::Invalid => "%!t(<nil>)".to_owned(),
        Value::Int(int) => format!("%!t(int64={})", int.as_i64()),
        Value::Float(float) => format!("%!t(float64={})", base_yaml::go::format_g(*float)),
        Value::Str(text) => format!("%!t(string={})", text.to_text()),
        Value::List(list) => {
            let items: Vec<String> = list.items().iter().map(as_bool).collect();
            format!("[{}]", items.join(" "))
        }
        _ => "map[]".to_owned(),
    }
}

/// The map at a path of names.
pub(crate) fn table(values: &Map, path: &str) -> Option<Map> {
    let mut map = values.clone();
    for name in path.split('.') {
        match map.get(name.as_bytes()) {
            Some(Value::Map(inner)) => map = inner,
            _ => return None,
        }
    }
    Some(map)
}

/// What stands at a path of names, if it is no map.
pub(crate) fn path_value(values: &Map, path: &str) -> Option<Value> {
    let (map, key) = match path.rsplit_once('.') {
        None => (values.clone(), path),
        Some((path, key)) => (table(values, path)?, key),
    };
    map.get(key.as_bytes())
        .filter(|value| !matches!(value, Value::Map(_)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::frozen::to_json;
    use serde_json::{Value as Json, json};

    #[derive(Clone)]
    struct Plain {
        name: &'static str,
        values: Table,
        children: Vec<Plain>,
    }

    impl Chart for Plain {
        fn name(&self) -> &str {
            self.name
        }
        fn values(&self) -> &Table {
            &self.values
        }
        fn children(&self) -> impl Iterator<Item = Self> {
            self.children.iter().cloned()
        }
    }

    fn plain(name: &'static str, values: Json, children: Vec<Plain>) -> Plain {
        Plain {
            name,
            values: Table::of(values.as_object().unwrap()),
            children,
        }
    }

    fn coalesce(chart: &Plain, given: Json, dialect: Dialect, merge: bool) -> Json {
        let mut warnings = Vec::new();
        let mut coalescer = Coalescer {
            dialect,
            merge,
            warnings: &mut warnings,
        };
        let given = Table::of(given.as_object().unwrap()).thaw(false);
        to_json(&Value::Map(coalescer.values(chart, &given).ok().unwrap()))
    }

    fn check(chart: &Plain, given: Json, three: Json, four: Json) {
        assert_eq!(
            coalesce(chart, given.clone(), Dialect::HELM_3, false),
            three,
            "Helm 3"
        );
        assert_eq!(
            coalesce(chart, given, Dialect::HELM_4, false),
            four,
            "Helm 4"
        );
    }

    #[test]
    fn null_deletes_a_default() {
        let chart = plain(
            "c",
            json!({"a": 1.0, "m": {"x": 1.0, "y": null}, "n": null}),
            vec![],
        );
        check(
            &chart,
            json!({"a": null, "m": {"x": null}, "own": null}),
            json!({"m": {"y": null}, "n": null, "own": null}),
            json!({"m": {}, "own": null}),
        );
        assert_eq!(
            coalesce(&chart, json!({"a": null}), Dialect::HELM_4, true),
            json!({"a": null, "m": {"x": 1.0, "y": null}, "n": null})
        );
    }

    #[test]
    fn a_parent_wins_over_its_child_and_lists_replace() {
        let child = plain(
            "kid",
            json!({"a": 1.0, "b": [1.0], "m": {"x": 1.0}}),
            vec![],
        );
        let chart = plain(
            "c",
            json!({"kid": {"b": [2.0], "m": {"y": 2.0}}}),
            vec![child],
        );
        let wanted = json!({"kid": {
            "a": 7.0, "b": [2.0], "m": {"x": 1.0, "y": 2.0}, "global": {}}});
        check(&chart, json!({"kid": {"a": 7.0}}), wanted.clone(), wanted);
    }

    #[test]
    fn globals_go_down_and_the_parent_wins() {
        let child = plain(
            "kid",
            json!({"global": {"a": "kid", "m": {"k": 1.0, "p": 0.0}}}),
            vec![],
        );
        let chart = plain(
            "c",
            json!({"global": {"a": "parent", "m": {"p": 1.0}}}),
            vec![child],
        );
        let wanted = json!({
            "global": {"a": "parent", "m": {"p": 1.0}},
            "kid": {"global": {"a": "parent", "m": {"k": 1.0, "p": 1.0}}}});
        check(&chart, json!({}), wanted.clone(), wanted);
    }

    #[test]
    fn what_lies_deeper_in_globals_is_shared() {
        let child = plain("kid", json!({"global": {"m": {"n": {"kid": 1.0}}}}), vec![]);
        let chart = plain(
            "c",
            json!({"global": {"m": {"n": {"p": 1.0}}}}),
            vec![child],
        );
        // the copy of `m` is shallow, so what the child has in `n` is seen by the parent
        let both = json!({"m": {"n": {"kid": 1.0, "p": 1.0}}});
        let wanted = json!({"global": both, "kid": {"global": both}});
        check(&chart, json!({}), wanted.clone(), wanted);
    }

    #[test]
    fn a_child_needs_a_table() {
        let chart = plain("c", json!({}), vec![plain("kid", json!({}), vec![])]);
        let mut warnings = Vec::new();
        let mut coalescer = Coalescer {
            dialect: Dialect::HELM_4,
            merge: false,
            warnings: &mut warnings,
        };
        for (value, wanted) in [
            (json!("x"), "type mismatch on kid: %!t(string=x)"),
            (json!(true), "type mismatch on kid: true"),
            (json!(null), "type mismatch on kid: %!t(<nil>)"),
            (json!(1.0), "type mismatch on kid: %!t(float64=1)"),
        ] {
            let given = Table::of(json!({"kid": value}).as_object().unwrap()).thaw(false);
            let mismatch = coalescer.values(&chart, &given).err();
            assert_eq!(mismatch, Some(Mismatch(wanted.to_owned())));
        }
    }
}
