//! Whether a value can be passed where a type is wanted.

use crate::code::Constant;
use crate::types::Type;
use crate::value::{Underlying, Value};

/// The value as the parameter takes it, or what Go says about it.
pub(super) fn check(value: Value, ty: &Type) -> Result<Value, String> {
    // what nearly all arguments are
    match (&value, ty) {
        (Value::Str(_), Type::Str)
        | (Value::Float(_), Type::Float64)
        | (Value::Bool(_), Type::Bool) => {
            return Ok(value);
        }
        (Value::Int(int), Type::Int(kind)) if int.kind() == *kind => return Ok(value),
        (_, Type::Any | Type::Reflect) => return Ok(value),
        _ => {}
    }
    let from = match &value {
        Value::Invalid => {
            return match Constant::nil_of(ty) {
                Some(nil) => Ok(nil.value()),
                None => Err(format!("invalid value; expected {ty}")),
            };
        }
        Value::Nil => {
            return Err(format!(
                "wrong type for value; expected {ty}; got interface {{}}"
            ));
        }
        value => value.ty().unwrap_or(Type::Any),
    };
    if ty.accepts(&from) {
        return Ok(value);
    }
    if let Value::Object(object) = &value {
        let name = object.type_name();
        if let Type::Object(wanted) = ty {
            let implements = *wanted == "error" && object.is_error();
            if implements || !object.is_nil() && name.strip_prefix('*') == Some(wanted) {
                return Ok(value);
            }
        }
        // a named map or slice can stand for an unnamed one, and a pointer to one as well
        let inside = match object.underlying() {
            Underlying::Map(map) => Some((map.ty(), Value::Map(map))),
            Underlying::List(list) => Some((list.ty(), Value::List(list))),
            _ => None,
        };
        if let Some((made_of, inside)) = inside
            && matches!(ty, Type::Slice(_) | Type::Map(_))
            && made_of.underlying() == ty
            && !object.is_nil()
        {
            return Ok(inside);
        }
        if name.starts_with('*') && object.is_nil() {
            let accepts =
                matches!(ty, Type::Object(wanted) if name.strip_prefix('*') == Some(wanted));
            if accepts {
                return Err(format!("dereference of nil pointer of type {ty}"));
            }
        }
    }
    Err(format!(
        "wrong type for value; expected {ty}; got {}",
        value.type_name()
    ))
}
