//! Numbers: ranges of formats, bounds, multiples.

use serde_json::{Value, json};

use super::super::is_set;
use super::{Found, Number, is_whole, number};
use crate::FieldProblem;

/// What does not fit the range of a type and format.
fn range(number: Number, types: &[&str], format: &str, what: &str, path: &str) -> Option<String> {
    let [kind] = types else {
        return None;
    };
    let whole = match number {
        Number::Int(int) => Some(int),
        // as a text it has no fraction and fits
        Number::Float(float) if float.fract() == 0.0 && float.abs() < 9.3e18 => Some(float as i64),
        Number::Float(_) => None,
    };
    let fits = match (*kind, format) {
        ("integer", "int32") => whole.is_some_and(|int| i32::try_from(int).is_ok()),
        ("integer", _) => whole.is_some(),
        ("number", "float") => match number {
            Number::Int(_) => true,
            Number::Float(float) => float.abs() <= f64::from(f32::MAX),
        },
        _ => true,
    };
    let format = match (*kind, format) {
        ("integer", "int32" | "int64") | ("number", "float" | "double") => {
            format!("with format {format}")
        }
        _ => "(default format)".to_owned(),
    };
    (!fits).then(|| format!("{what} value must be of type {kind} {format} in {path}"))
}

/// A number as Go's `%v` has it.
fn shown(number: Number) -> String {
    match number {
        Number::Int(int) => int.to_string(),
        Number::Float(float) => base_yaml::go::format_g(float),
    }
}

pub(super) fn check_number(
    number_: Number,
    value: &Value,
    schema: &Value,
    types: &[&str],
    format: &str,
    path: &str,
) -> Found {
    let mut found = Found::default();
    if let Some(text) = range(number_, types, format, "Checked", path) {
        found.plain(text);
    }
    let float = match number_ {
        Number::Int(int) => int as f64,
        Number::Float(float) => float,
    };
    let bound = |name: &str| number(schema.get(name)?);
    let bound_value = |bound: Number| match bound {
        Number::Int(int) => int as f64,
        Number::Float(float) => float,
    };
    if let Some(factor) = bound("multipleOf") {
        let misfit = range(factor, types, format, "MultipleOf", path);
        let native = misfit.is_none();
        let factor = bound_value(factor);
        if let Some(text) = misfit {
            found.plain(text);
        }
        let (fits, positive, factor) = match number_ {
            Number::Int(int) if native => {
                let factor = factor as i64;
                let fits = factor > 0 && int % factor == 0;
                (fits, factor > 0, factor.to_string())
            }
            _ => {
                let times = if factor < 1.0 {
                    1.0 / factor * float
                } else {
                    float / factor
                };
                let text = base_yaml::go::format_g(factor);
                (is_whole(times), factor > 0.0, text)
            }
        };
        if !positive {
            let text = format!("factor MultipleOf declared for {path} must be positive: {factor}");
            found.field(path, FieldProblem::Invalid, Some(json!(factor)), text);
        } else if !fits {
            found.invalid(
                path,
                value.clone(),
                &format!("should be a multiple of {factor}"),
            );
        }
    }
    for (name, mark, what, word) in [
        ("minimum", "exclusiveMinimum", "Minimum boundary", "greater"),
        ("maximum", "exclusiveMaximum", "Maximum boundary", "less"),
    ] {
        let Some(limit) = bound(name) else { continue };
        let exclusive = is_set(schema, mark);
        let misfit = range(limit, types, format, what, path);
        let native = misfit.is_none();
        if let Some(text) = misfit {
            found.plain(text);
        }
        let limit = bound_value(limit);
        let (limit, order) = match number_ {
            Number::Int(int) if native => {
                let limit = limit as i64;
                (limit.to_string(), int.cmp(&limit))
            }
            _ => (
                shown(Number::Float(limit)),
                float
                    .partial_cmp(&limit)
                    .unwrap_or(std::cmp::Ordering::Equal),
            ),
        };
        let beyond = if word == "less" {
            order.is_gt()
        } else {
            order.is_lt()
        };
        if beyond || (exclusive && order.is_eq()) {
            let equal = if exclusive { "" } else { " or equal to" };
            let why = format!("should be {word} than{equal} {limit}");
            found.invalid(path, value.clone(), &why);
        }
    }
    found.fits += 1;
    found
}
