//! What Kubernetes' decoder says of a body that does not fit its Go types.

use serde_json::Value;

use super::{Quantity, QuantityError, Scalar, Shape, Ty, TypeRef};

/// Finds the first value that the type cannot hold, in the words of Go's decoder; `None` if all fit.
pub fn decode_problem(value: &Value, ty: &TypeRef) -> Option<String> {
    problem(value, ty.ty(), None, &mut Vec::new(), false)
}

/// The same where an object that is already read is converted, as server-side apply does: numbers that are too large lose their
/// upper bits.
pub fn convert_problem(value: &Value, ty: &TypeRef) -> Option<String> {
    problem(value, ty.ty(), None, &mut Vec::new(), true)
}

/// Cuts whole numbers to the bits that their type has.
pub fn wrap_numbers(value: &mut Value, ty: &TypeRef) {
    wrap(value, ty.ty());
}

fn wrap(value: &mut Value, ty: Ty<'_>) {
    match (ty.shape(), value) {
        (Shape::Scalar(Scalar::Int32), value) => {
            if let Some(number) = value.as_i64()
                && i32::try_from(number).is_err()
            {
                #[expect(clippy::cast_possible_truncation, reason = "as Go converts")]
                let cut = number as i32;
                *value = cut.into();
            }
        }
        (Shape::Struct { .. } | Shape::Map { .. }, Value::Object(map)) => {
            for (key, value) in map {
                wrap(value, ty.below(key));
            }
        }
        (Shape::List { item, .. }, Value::Array(items)) => {
            items.iter_mut().for_each(|value| wrap(value, ty.at(*item)));
        }
        _ => {}
    }
}

/// The struct and field that a value stands in, with the name of its type if Go has one of its own.
#[derive(Clone, Copy)]
struct Owner<'a> {
    name: &'a str,
    named: Option<&'a str>,
}

fn problem<'a>(
    value: &Value,
    ty: Ty<'a>,
    owner: Option<Owner<'a>>,
    path: &mut Vec<&'a str>,
    converting: bool,
) -> Option<String> {
    if value.is_null() {
        return None;
    }
    let misfit = |path: &[&str]| Some(misfit(value, ty, owner, path));
    match (ty.shape(), value) {
        (Shape::Any, _) => None,
        (Shape::Scalar(scalar), _) => match fits(*scalar, value) {
            Fit::Yes => None,
            Fit::No if converting && value.is_number() => value.is_f64().then(|| match scalar {
                Scalar::Int32 => "cannot convert float64 to int32".to_owned(),
                _ => "cannot convert float64 to int64".to_owned(),
            }),
            Fit::As(wanted) if converting => Some(worded(&found(ty, value), None, path, wanted)),
            Fit::Says(text) if converting && *scalar == Scalar::Bytes => {
                Some(format!("error decoding from json: {text}"))
            }
            Fit::No => misfit(path),
            Fit::As(wanted) => Some(worded(&found(ty, value), owner, path, wanted)),
            Fit::Says(text) => Some(text),
        },
        (Shape::Struct { .. }, Value::Object(map)) => {
            let own = name_of(ty);
            map.iter().find_map(|(key, value)| {
                let field = ty.declared(key)?;
                let length = path.len();
                path.extend(field.kept.within.as_deref());
                path.push(&field.name);
                let owner = Owner {
                    name: own,
                    named: field.kept.named.as_deref(),
                };
                let found = problem(value, ty.at(field.ty), Some(owner), path, converting);
                path.truncate(length);
                found
            })
        }
        (Shape::Map { element, .. }, Value::Object(map)) => {
            let owner = owner.map(|owner| inner(owner, "map[string]"));
            map.values()
                .find_map(|value| problem(value, ty.at(*element), owner, path, converting))
        }
        (Shape::List { item, .. }, Value::Array(items)) => {
            let owner = owner.map(|owner| inner(owner, "[]"));
            items
                .iter()
                .find_map(|value| problem(value, ty.at(*item), owner, path, converting))
        }
        // what Go keeps as it comes; a map of its own has a name
        (Shape::Map { element, .. }, _)
            if matches!(ty.at(*element).shape(), Shape::Any)
                && owner.is_none_or(|owner| owner.named.is_none()) =>
        {
            None
        }
        (Shape::Struct { .. } | Shape::Map { .. } | Shape::List { .. }, _) => misfit(path),
    }
}

fn inner<'a>(owner: Owner<'a>, prefix: &str) -> Owner<'a> {
    Owner {
        named: owner.named.and_then(|named| named.strip_prefix(prefix)),
        ..owner
    }
}

fn name_of(ty: Ty<'_>) -> &str {
    let name = ty
        .id
        .and_then(|id| ty.schema.types[id.0 as usize].name.as_deref());
    name.unwrap_or_default()
        .rsplit('.')
        .next()
        .unwrap_or_default()
}

enum Fit {
    Yes,
    No,
    /// It is read as a type of another name.
    As(&'static str),
    /// Types that read themselves have their own words.
    Says(String),
}

fn fits(scalar: Scalar, value: &Value) -> Fit {
    let yes = |fits: bool| if fits { Fit::Yes } else { Fit::No };
    match scalar {
        Scalar::String => yes(value.is_string()),
        Scalar::Bool => yes(value.is_boolean()),
        Scalar::Double => yes(value.is_number()),
        Scalar::Int32 => yes(value.as_i64().is_some_and(|n| i32::try_from(n).is_ok())),
        Scalar::Int64 => yes(value.is_i64()),
        Scalar::Bytes => match value.as_str() {
            Some(text) => match base64_problem(text) {
                Some(at) => Fit::Says(format!("illegal base64 data at input byte {at}")),
                None => Fit::Yes,
            },
            None => Fit::No,
        },
        Scalar::Quantity => {
            let text = match value {
                Value::String(text) => text.trim().to_owned(),
                other => other.to_string(),
            };
            if text.is_empty() {
                return Fit::Says(QuantityError::Form.to_string());
            }
            match text.parse::<Quantity>() {
                Ok(_) => Fit::Yes,
                Err(error) => Fit::Says(error.to_string()),
            }
        }
        Scalar::IntOrString => match value {
            Value::String(_) => Fit::Yes,
            Value::Number(number) if number.as_i64().is_some_and(|n| i32::try_from(n).is_ok()) => {
                Fit::Yes
            }
            _ => Fit::As("int32"),
        },
        Scalar::Time | Scalar::MicroTime => match value {
            Value::String(_) => Fit::Yes,
            _ => Fit::As("string"),
        },
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn found(ty: Ty<'_>, value: &Value) -> String {
    match (ty.shape(), value) {
        (
            Shape::Scalar(Scalar::Int32 | Scalar::Int64 | Scalar::IntOrString),
            Value::Number(number),
        ) => format!("number {number}"),
        _ => kind(value).to_owned(),
    }
}

fn misfit(value: &Value, ty: Ty<'_>, owner: Option<Owner<'_>>, path: &[&str]) -> String {
    let wanted = match owner.and_then(|owner| owner.named) {
        Some(named) => named.to_owned(),
        None => go_type(ty),
    };
    worded(&found(ty, value), owner, path, &wanted)
}

fn worded(found: &str, owner: Option<Owner<'_>>, path: &[&str], wanted: &str) -> String {
    match owner {
        Some(owner) => format!(
            "json: cannot unmarshal {found} into Go struct field {}.{} of type {wanted}",
            owner.name,
            path.join(".")
        ),
        None => format!("json: cannot unmarshal {found} into Go value of type {wanted}"),
    }
}

/// What Go calls a type: `int32`, `[]v1.Container`, `map[string]string`.
fn go_type(ty: Ty<'_>) -> String {
    match ty.shape() {
        Shape::Scalar(scalar) => match scalar {
            Scalar::String => "string",
            Scalar::Bytes => "[]uint8",
            Scalar::Int32 => "int32",
            Scalar::Int64 => "int64",
            Scalar::Double => "float64",
            Scalar::Bool => "bool",
            Scalar::Quantity => "resource.Quantity",
            Scalar::Time => "v1.Time",
            Scalar::MicroTime => "v1.MicroTime",
            Scalar::IntOrString => "intstr.IntOrString",
        }
        .to_owned(),
        Shape::List { item, .. } => format!("[]{}", go_type(ty.at(*item))),
        Shape::Map { element, .. } => format!("map[string]{}", go_type(ty.at(*element))),
        Shape::Struct { .. } => {
            let name = ty
                .id
                .and_then(|id| ty.schema.types[id.0 as usize].name.as_deref())
                .unwrap_or_default();
            let mut parts = name.rsplitn(3, '.');
            let (own, version) = (parts.next(), parts.next());
            format!(
                "{}.{}",
                version.unwrap_or_default(),
                own.unwrap_or_default()
            )
        }
        Shape::Any => "interface {}".to_owned(),
    }
}

/// Where a text stops being base64.
fn base64_problem(text: &str) -> Option<usize> {
    let text: Vec<u8> = text
        .bytes()
        .filter(|byte| !matches!(byte, b'\n' | b'\r'))
        .collect();
    let letters = text
        .iter()
        .take_while(|byte| byte.is_ascii_alphanumeric() || b"+/".contains(byte))
        .count();
    let pads = text[letters..]
        .iter()
        .take_while(|byte| **byte == b'=')
        .count();
    if letters + pads < text.len() {
        return Some(letters + pads);
    }
    // a group without its end is refused where it begins
    if pads == 0 {
        return (!letters.is_multiple_of(4)).then_some(letters / 4 * 4);
    }
    (!text.len().is_multiple_of(4) || pads > 2).then_some(letters)
}
