//! YAML as Helm reads it, and as a Go struct takes it in.
//!
//! Helm's reader turns YAML into JSON and that into Go values. Where Go wants a string, numbers and booleans become one;
//! names of fields are found without regard to case; the first value of a wrong type is what the error is about.

use serde_json::{Map, Value};

/// Why a YAML text was not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// In Helm's words.
    pub(crate) helm: String,
    /// In ours.
    pub(crate) message: String,
    /// The line, from 1; 0 if it is not known.
    pub(crate) line: usize,
    /// The column, from 1; 0 if it is not known.
    pub(crate) column: usize,
}

impl Failure {
    /// A value of a type that Go does not put where it stands.
    fn of_type(text: String) -> Self {
        Self {
            helm: format!(
                "error unmarshaling JSON: while decoding JSON: json: cannot unmarshal {text}"
            ),
            message: format!("cannot read {text}"),
            line: 0,
            column: 0,
        }
    }
}

/// Reads the first document of a text; nothing is null.
pub(crate) fn read(bytes: &[u8]) -> Result<Value, Failure> {
    base_yaml::go::unmarshal(bytes).map_err(|error| {
        let (mut line, column) = error.place.unwrap_or_default();
        let text = error
            .text
            .strip_prefix("error converting YAML to JSON: ")
            .unwrap_or(&error.text);
        let mut message = text.strip_prefix("yaml: ").unwrap_or(text);
        // Go's own line, where no better one is known.
        if let Some((number, rest)) = message
            .strip_prefix("line ")
            .and_then(|rest| rest.split_once(": "))
            && let Ok(number) = number.parse()
        {
            message = rest;
            line = if line == 0 { number } else { line };
        }
        Failure {
            message: message.to_owned(),
            line,
            column,
            helm: error.text,
        }
    })
}

/// Reads the first document into a map with floats for all numbers, as Helm holds values.
pub(crate) fn read_map(bytes: &[u8]) -> Result<Map<String, Value>, Failure> {
    match read(bytes)? {
        Value::Null => Ok(Map::new()),
        Value::Object(map) => Ok(map
            .into_iter()
            .map(|(key, value)| (key, crate::values::strvals::floats(value)))
            .collect()),
        other => Err(Failure::of_type(format!(
            "{} into Go value of type map[string]interface {{}}",
            json_type(&other)
        ))),
    }
}

/// What Go's JSON reader calls the type of a value.
pub(crate) fn json_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// A Go type that YAML is read into.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Type {
    Text,
    Bool,
    Any,
    List(&'static Type),
    Map(&'static Type),
    Struct(&'static Struct),
    /// A time; kept as text.
    Time,
}

/// A Go struct: its name, and its fields by their JSON names.
#[derive(Debug)]
pub(crate) struct Struct {
    pub(crate) name: &'static str,
    pub(crate) fields: &'static [(&'static str, Type)],
}

/// How a package is called in Go's type names; the place of `{}`.
fn go_name(of: Type, package: &str) -> String {
    match of {
        Type::Text => "string".to_owned(),
        Type::Bool => "bool".to_owned(),
        Type::Any => "interface {}".to_owned(),
        Type::List(Type::Struct(of)) => format!("[]*{package}.{}", of.name),
        Type::List(of) => format!("[]{}", go_name(*of, package)),
        Type::Map(of) => format!("map[string]{}", go_name(*of, package)),
        Type::Struct(of) if of.name.is_empty() => {
            let fields: Vec<String> = of
                .fields
                .iter()
                .map(|(name, of)| {
                    let mut field = name.to_string();
                    if let Some(first) = field.get_mut(..1) {
                        first.make_ascii_uppercase();
                    }
                    format!("{field} {} \"json:\\\"{name}\\\"\"", go_name(*of, package))
                })
                .collect();
            format!("struct {{ {} }}", fields.join("; "))
        }
        Type::Struct(of) => format!("{package}.{}", of.name),
        Type::Time => "time.Time".to_owned(),
    }
}

/// As [`fit`], where the value is needed afterwards.
pub(crate) fn fit_ref(value: &Value, to: Type, package: &str) -> Result<Value, Failure> {
    // Only what the type names is copied.
    let pruned = match (to, value) {
        (Type::Struct(of), Value::Object(map)) => Value::Object(
            map.iter()
                .filter(|(key, _)| {
                    of.fields
                        .iter()
                        .any(|(name, _)| name.eq_ignore_ascii_case(key))
                })
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect(),
        ),
        (_, other) => other.clone(),
    };
    fit(pruned, to, package)
}

/// Fits a value to a type, as `sigs.k8s.io/yaml` and Go's JSON reader do. Fields that the type does not have are dropped.
pub(crate) fn fit(value: Value, to: Type, package: &str) -> Result<Value, Failure> {
    let mut fitter = Fitter {
        package,
        path: Vec::new(),
        within: None,
        first: None,
    };
    let fitted = fitter.fit(value, to);
    match fitter.first {
        None => Ok(fitted),
        Some(failure) => Err(failure),
    }
}

struct Fitter<'a> {
    package: &'a str,
    path: Vec<&'static str>,
    within: Option<&'static str>,
    first: Option<Failure>,
}

impl Fitter<'_> {
    fn fit(&mut self, value: Value, to: Type) -> Value {
        match (to, value) {
            (_, Value::Null) => Value::Null,
            (Type::Any, value) => crate::values::strvals::floats(value),
            (Type::Text | Type::Time, Value::String(text)) => Value::String(text),
            (Type::Text, Value::Bool(it)) => Value::String(it.to_string()),
            (Type::Text, Value::Number(number)) => Value::String(number_text(&number)),
            (Type::Bool, Value::Bool(it)) => Value::Bool(it),
            (Type::List(of), Value::Array(list)) => {
                Value::Array(list.into_iter().map(|item| self.fit(item, *of)).collect())
            }
            (Type::Map(of), Value::Object(map)) => Value::Object(
                map.into_iter()
                    .map(|(key, item)| (key, self.fit(item, *of)))
                    .collect(),
            ),
            (Type::Struct(of), Value::Object(map)) => self.fields(map, of),
            (to, value) => {
                self.refuse(&value, to);
                Value::Null
            }
        }
    }

    fn fields(&mut self, map: Map<String, Value>, of: &'static Struct) -> Value {
        let mut out = Map::new();
        let outer = self.within.replace(of.name);
        for (key, item) in map {
            let field = of.fields.iter().find(|(name, _)| *name == key).or_else(|| {
                of.fields
                    .iter()
                    .find(|(name, _)| name.eq_ignore_ascii_case(&key))
            });
            let Some(&(name, to)) = field else { continue };
            self.path.push(name);
            let item = self.fit(item, to);
            self.path.pop();
            // A null leaves what an earlier spelling of the same name has set.
            if !item.is_null() {
                out.insert(name.to_owned(), item);
            }
        }
        self.within = outer;
        Value::Object(out)
    }

    fn refuse(&mut self, value: &Value, to: Type) {
        let to = go_name(to, self.package);
        let what = json_type(value);
        let text = match self.within {
            Some(within) if !self.path.is_empty() => format!(
                "{what} into Go struct field {within}.{} of type {to}",
                self.path.join(".")
            ),
            _ => format!("{what} into Go value of type {to}"),
        };
        self.first.get_or_insert_with(|| Failure::of_type(text));
    }
}

/// A number as the string that Go makes of it.
fn number_text(number: &serde_json::Number) -> String {
    if number.is_f64() {
        number
            .as_f64()
            .map_or_else(String::new, base_yaml::go::format_g)
    } else {
        number.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const PERSON: Struct = Struct {
        name: "Person",
        fields: &[
            ("name", Type::Text),
            ("old", Type::Bool),
            ("tags", Type::List(&Type::Text)),
            ("notes", Type::Map(&Type::Text)),
            ("friends", Type::List(&Type::Struct(&FRIEND))),
            ("rest", Type::Any),
        ],
    };
    const FRIEND: Struct = Struct {
        name: "Friend",
        fields: &[("name", Type::Text)],
    };

    fn check(value: Value, wanted: Result<Value, &str>) {
        let fitted = fit(value, Type::Struct(&PERSON), "p").map_err(|failure| {
            failure
                .helm
                .strip_prefix(
                    "error unmarshaling JSON: while decoding JSON: json: cannot unmarshal ",
                )
                .unwrap()
                .to_owned()
        });
        assert_eq!(fitted, wanted.map_err(str::to_owned));
    }

    #[test]
    fn values_are_fitted_as_go_does() {
        check(
            json!({"NAME": 1.10, "unknown": {}}),
            Ok(json!({"name": "1.1"})),
        );
        check(
            json!({"name": true, "tags": [1, null, "x"], "notes": {"a": 1e21, "b": null}, "rest": [1]}),
            Ok(
                json!({"name": "true", "tags": ["1", null, "x"], "notes": {"a": "1e+21", "b": null}, "rest": [1.0]}),
            ),
        );
        check(
            json!({"old": 1}),
            Err("number into Go struct field Person.old of type bool"),
        );
        check(
            json!({"friends": [{"name": []}], "name": {}}),
            Err("array into Go struct field Friend.friends.name of type string"),
        );
        check(
            json!({"friends": ["x"]}),
            Err("string into Go struct field Person.friends of type p.Friend"),
        );
        check(
            json!({"friends": "x"}),
            Err("string into Go struct field Person.friends of type []*p.Friend"),
        );
        check(
            json!({"tags": [[]]}),
            Err("array into Go struct field Person.tags of type string"),
        );
        check(json!("x"), Err("string into Go value of type p.Person"));
    }
}
