//! Values held against their types: what does not fit, what is unknown, what Kubernetes would add.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::{Map, Value};

use super::{ListKind, Scalar, Shape, Ty, TypeId, TypeRef};
use crate::fieldpath::{Path, PathElement};
use crate::typed::{identity, item_element};

/// A place of an object that does not fit its type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypeError {
    /// The place.
    pub path: Path,
    /// What is wrong there.
    pub problem: String,
}

impl fmt::Display for TypeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.0.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.problem)
    }
}

struct Check {
    errors: Vec<TypeError>,
}

/// A place in the object; its path is only written where something is wrong.
#[derive(Clone, Copy)]
struct Place<'a> {
    above: Option<&'a Place<'a>>,
    step: Step<'a>,
}

#[derive(Clone, Copy)]
enum Step<'a> {
    Root,
    Field(&'a str),
    Index(usize),
    Item(Ty<'a>, TypeId, &'a [Box<str>], &'a Value),
}

impl Place<'_> {
    fn path(&self) -> Vec<PathElement> {
        let mut path = self.above.map(Place::path).unwrap_or_default();
        match self.step {
            Step::Root => {}
            Step::Field(name) => path.push(PathElement::field(name)),
            Step::Index(at) => path.push(PathElement::Index(i64::try_from(at).unwrap_or(i64::MAX))),
            Step::Item(ty, item, keys, value) => path.extend(item_element(ty, item, keys, value)),
        }
        path
    }
}

/// Checks a configuration as server-side apply does: declared fields, the form of scalars, keys of lists.
pub(crate) fn validate(value: &Value, ty: Ty<'_>) -> Vec<TypeError> {
    let mut check = Check { errors: Vec::new() };
    let root = Place {
        above: None,
        step: Step::Root,
    };
    check.value(value, ty, &root);
    check.errors
}

impl Check {
    fn error(&mut self, place: &Place<'_>, problem: String) {
        self.errors.push(TypeError {
            path: Path(place.path()),
            problem,
        });
    }

    fn value(&mut self, value: &Value, ty: Ty<'_>, place: &Place<'_>) {
        match (ty.shape(), value) {
            (Shape::Any, _) | (_, Value::Null) => {}
            (Shape::Scalar(scalar), _) => {
                if let Some(expected) = misfit(*scalar, value) {
                    if matches!(expected, "any scalar" | "boolean") {
                        let found = go_print(value);
                        return self.error(place, format!("expected {expected}, got &{{{found}}}"));
                    }
                    if expected == "numeric (int or float)" {
                        let found = go_type(value);
                        return self.error(place, format!("expected {expected}, got {found}"));
                    }
                    let found = go_syntax(value);
                    self.error(
                        place,
                        format!(
                            "expected {expected}, got &value.valueUnstructured{{Value:{found}}}"
                        ),
                    );
                }
            }
            (Shape::List { item, kind }, Value::Array(items)) => {
                self.list(items, ty, *item, kind, place);
            }
            (Shape::List { .. }, _) => {
                self.error(
                    place,
                    format!("expected list, got &{{{}}}", go_print(value)),
                );
            }
            (Shape::Map { .. } | Shape::Struct { .. }, Value::Object(map)) => {
                for (key, value) in map {
                    let below = Place {
                        above: Some(place),
                        step: Step::Field(key),
                    };
                    match ty.below_known(key) {
                        Some(ty) => self.value(value, ty, &below),
                        None if is_open(ty) => {}
                        None => self.error(&below, "field not declared in schema".to_owned()),
                    }
                }
            }
            // what Go keeps as it comes
            (Shape::Map { element, .. }, _) if matches!(ty.at(*element).shape(), Shape::Any) => {}
            (Shape::Map { .. } | Shape::Struct { .. }, _) => {
                self.error(place, format!("expected map, got &{{{}}}", go_print(value)));
            }
        }
    }

    fn list(
        &mut self,
        items: &[Value],
        ty: Ty<'_>,
        item: TypeId,
        kind: &ListKind,
        place: &Place<'_>,
    ) {
        let keys: &[Box<str>] = match kind {
            ListKind::Map(keys) => keys,
            _ => &[],
        };
        let mut seen = BTreeSet::new();
        for (at, value) in items.iter().enumerate() {
            let mut step = Step::Index(at);
            if *kind != ListKind::Atomic {
                step = Step::Item(ty, item, keys, value);
                let known = identity(ty, item, keys, value);
                let fits = known.is_some();
                if !fits || !known.is_none_or(|known| seen.insert(known)) {
                    match item_element(ty, item, keys, value) {
                        Ok(element) => {
                            self.error(place, format!("duplicate entries for key {element}"));
                        }
                        Err(problem) => self.error(place, format!("element {at}: {problem}")),
                    }
                }
                // nobody looks at what comes behind it
                if !fits {
                    return;
                }
            }
            let below = Place {
                above: Some(place),
                step,
            };
            self.value(value, ty.at(item), &below);
        }
    }
}

/// Prints a value as `%v` of Go does.
fn go_print(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(go_print).collect();
            format!("[{}]", items.join(" "))
        }
        Value::Object(map) => {
            let pairs: Vec<String> = map
                .iter()
                .map(|(key, value)| format!("{key}:{}", go_print(value)))
                .collect();
            format!("map[{}]", pairs.join(" "))
        }
        other => other.to_string(),
    }
}

/// Names a value's type as `%T` of Go does.
fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

/// Prints a value as `%#v` of Go does.
fn go_syntax(value: &Value) -> String {
    match value {
        Value::Null => "interface {}(nil)".to_owned(),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(go_syntax).collect();
            format!("[]interface {{}}{{{}}}", items.join(", "))
        }
        Value::Object(map) => {
            let pairs: Vec<String> = map
                .iter()
                .map(|(key, value)| format!("{key:?}:{}", go_syntax(value)))
                .collect();
            format!("map[string]interface {{}}{{{}}}", pairs.join(", "))
        }
        other => other.to_string(),
    }
}

/// Does the document name no field of it? Then server-side apply asks for none.
fn is_open(ty: Ty<'_>) -> bool {
    matches!(ty.shape(), Shape::Struct { fields, .. } if fields.is_empty())
}

/// Names what a scalar should be, if the value is not that.
fn misfit(scalar: Scalar, value: &Value) -> Option<&'static str> {
    let (fits, expected) = match scalar {
        Scalar::String | Scalar::Bytes => (value.is_string(), "string"),
        Scalar::Int32 | Scalar::Int64 | Scalar::Double => {
            (value.is_number(), "numeric (int or float)")
        }
        Scalar::Bool => (value.is_boolean(), "boolean"),
        // nothing is asked of it here; converting the object will tell
        Scalar::IntOrString => (true, ""),
        Scalar::Quantity | Scalar::Time | Scalar::MicroTime => {
            (!value.is_array() && !value.is_object(), "any scalar")
        }
    };
    (!fits).then_some(expected)
}

/// Says what of a configuration server-side apply cannot type; `None` if all fits.
pub fn apply_problem(value: &Value, ty: &TypeRef) -> Option<String> {
    let errors = validate(value, ty.ty());
    match errors.as_slice() {
        [] => None,
        [one] => Some(one.to_string()),
        many => Some(
            many.iter()
                .fold("errors:".to_owned(), |text, one| format!("{text}\n  {one}")),
        ),
    }
}

/// Lists the fields that the type does not know, as field validation writes them: `spec.containers[0].imagee`.
pub fn unknown_fields(value: &Value, ty: &TypeRef) -> Vec<String> {
    let mut found = Vec::new();
    unknown(value, ty.ty(), &mut String::new(), &mut found);
    found
}

fn unknown(value: &Value, ty: Ty<'_>, path: &mut String, found: &mut Vec<String>) {
    let length = path.len();
    match (ty.shape(), value) {
        (Shape::List { item, .. }, Value::Array(items)) => {
            for (at, value) in items.iter().enumerate() {
                path.push_str(&format!("[{at}]"));
                unknown(value, ty.at(*item), path, found);
                path.truncate(length);
            }
        }
        (Shape::Map { .. } | Shape::Struct { .. }, Value::Object(map)) => {
            for (key, value) in map {
                if length > 0 {
                    path.push('.');
                }
                path.push_str(key);
                match ty.below_known(key) {
                    Some(ty) => unknown(value, ty, path, found),
                    None => found.push(path.clone()),
                }
                path.truncate(length);
            }
        }
        _ => {}
    }
}

/// Takes away the fields that the type does not know.
pub fn prune(value: &mut Value, ty: &TypeRef) {
    prune_at(value, ty.ty());
}

fn prune_at(value: &mut Value, ty: Ty<'_>) {
    match (ty.shape(), value) {
        (Shape::List { item, .. }, Value::Array(items)) => {
            items
                .iter_mut()
                .for_each(|value| prune_at(value, ty.at(*item)));
        }
        (Shape::Map { .. } | Shape::Struct { .. }, Value::Object(map)) => {
            map.retain(|key, value| match ty.below_known(key) {
                Some(ty) => {
                    prune_at(value, ty);
                    true
                }
                None => false,
            });
        }
        _ => {}
    }
}

/// Adds the defaults that the type declares where their field is absent: `protocol: TCP`, and what Kubernetes keeps even where it is empty, such as
/// `status: {}`.
///
/// Defaults that Kubernetes computes in code (a Deployment's strategy, a Pod's restart policy) are not in the table.
pub fn fill(value: &mut Value, ty: &TypeRef) {
    fill_at(value, ty.ty());
}

fn fill_at(value: &mut Value, ty: Ty<'_>) {
    match (ty.shape(), value) {
        (Shape::List { item, .. }, Value::Array(items)) => {
            items
                .iter_mut()
                .for_each(|value| fill_at(value, ty.at(*item)));
        }
        (Shape::Struct { fields, .. }, Value::Object(map)) => {
            for field in fields {
                if map.contains_key(&*field.name) {
                    continue;
                }
                let is_struct = matches!(ty.at(field.ty).shape(), Shape::Struct { .. });
                if let Some(default) = &field.default
                    && (!field.present || is_struct)
                {
                    map.insert(field.name.to_string(), default.clone());
                } else if field.present && is_struct {
                    map.insert(field.name.to_string(), Value::Object(Map::new()));
                }
            }
            for (key, value) in map {
                fill_at(value, ty.below(key));
            }
        }
        (Shape::Map { element, .. }, Value::Object(map)) => {
            map.values_mut()
                .for_each(|value| fill_at(value, ty.at(*element)));
        }
        _ => {}
    }
}
