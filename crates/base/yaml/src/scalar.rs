//! Which value a scalar stands for, by YAML 1.1 as go-yaml reads it.

use base_json::Value;
use base64::Engine as _;

use crate::number::{self, Num};

/// What a scalar stands for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Scalar {
    Null,
    Bool(bool),
    Num(Num),
    /// Infinite or not a number: a key at most.
    Odd(&'static str),
    Str(String),
    Merge,
}

/// Resolves a plain scalar that has no tag.
pub(crate) fn resolve(text: &str) -> Scalar {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Scalar::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            Scalar::Bool(true)
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            Scalar::Bool(false)
        }
        ".nan" | ".NaN" | ".NAN" => Scalar::Odd(".nan"),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => Scalar::Odd(".inf"),
        "-.inf" | "-.Inf" | "-.INF" => Scalar::Odd("-.inf"),
        "<<" => Scalar::Merge,
        _ => match number::parse(text) {
            Some(number) => Scalar::Num(number),
            None => Scalar::Str(text.to_owned()),
        },
    }
}

/// Resolves a scalar with a tag of YAML's own (`!!int`, `!!str`, …); the error says what does not fit.
pub(crate) fn resolve_tagged(text: &str, tag: &str) -> Result<Scalar, String> {
    let found = resolve(text);
    let misfit = || Err(format!("{text:?} is not a !!{tag}"));
    match (tag, found) {
        ("str" | "timestamp", _) => Ok(Scalar::Str(text.to_owned())),
        ("binary", _) => {
            let packed: String = text.chars().filter(|c| !c.is_whitespace()).collect();
            let bytes = base64::engine::general_purpose::STANDARD.decode(packed);
            match bytes.map(String::from_utf8) {
                Ok(Ok(text)) => Ok(Scalar::Str(text)),
                Ok(Err(_)) => Err("!!binary holds bytes that are not UTF-8".to_owned()),
                Err(_) => Err("!!binary value is not base64".to_owned()),
            }
        }
        ("null", Scalar::Null) => Ok(Scalar::Null),
        ("bool", found @ Scalar::Bool(_)) => Ok(found),
        ("int", found @ Scalar::Num(Num::Int(_) | Num::Uint(_))) => Ok(found),
        ("float", Scalar::Num(number)) => Ok(Scalar::Num(match number {
            Num::Int(int) => Num::Float(int_to_float(int)),
            other => other,
        })),
        ("float", found @ Scalar::Odd(_)) => Ok(found),
        ("null" | "bool" | "int" | "float", _) => misfit(),
        _ => Ok(Scalar::Str(text.to_owned())),
    }
}

#[expect(clippy::cast_precision_loss, reason = "the tag asks for it")]
fn int_to_float(int: i64) -> f64 {
    int as f64
}

impl Scalar {
    /// The JSON value; the error says why there is none.
    pub(crate) fn into_value(self) -> Result<Value, String> {
        Ok(match self {
            Self::Null => Value::Null,
            Self::Bool(flag) => Value::Bool(flag),
            Self::Num(Num::Int(int)) => Value::from(int),
            Self::Num(Num::Uint(int)) => Value::from(int),
            Self::Num(Num::Float(float)) => {
                number::json_of(float).ok_or_else(|| "number is not finite".to_owned())?
            }
            Self::Odd(text) => {
                return Err(format!(
                    "{text} has no form in JSON; quote it if it is meant as text"
                ));
            }
            Self::Str(text) => Value::String(text),
            Self::Merge => Value::String("<<".to_owned()),
        })
    }

    /// The key as a string; the error says why it cannot be one.
    pub(crate) fn into_key(self) -> Result<String, String> {
        Ok(match self {
            Self::Null => {
                return Err("null cannot be a key; quote it if it is meant as text".to_owned());
            }
            Self::Bool(flag) => flag.to_string(),
            Self::Num(Num::Int(int)) => int.to_string(),
            Self::Num(Num::Uint(int)) => {
                return Err(format!(
                    "{int} is too large for a key; quote it if it is meant as text"
                ));
            }
            Self::Num(Num::Float(float)) => number::go_g32(float),
            Self::Odd(text) => text.to_owned(),
            Self::Str(text) => text,
            Self::Merge => "<<".to_owned(),
        })
    }
}
