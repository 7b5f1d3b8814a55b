//! Merging of maps as mergo does it, oddities included.

use roadstead_template::{Call, FuncError, Limit, MAX_DEPTH, Map, Type, Value};

/// Whether mergo takes a value for empty. Structs never are.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Object(object) if object.kind() == roadstead_template::Kind::Struct => false,
        Value::Object(object) if object.type_name().starts_with('*') => object.is_nil(),
        other => !other.truth(),
    }
}

/// Merges one map into another: missing and empty values are filled, all others kept unless `overwrite` is set. What is
/// taken over is shared with its source. The inner error is mergo's (or what reflection panics with).
pub(crate) fn merge(
    call: &mut Call<'_>,
    into: &Map,
    from: &Map,
    overwrite: bool,
) -> Result<Result<(), String>, FuncError> {
    merge_at(call, into, from, overwrite, 0)
}

fn merge_at(
    call: &mut Call<'_>,
    into: &Map,
    from: &Map,
    overwrite: bool,
    depth: usize,
) -> Result<Result<(), String>, FuncError> {
    if depth > MAX_DEPTH {
        return Err(FuncError::limit(Limit::Depth(MAX_DEPTH)));
    }
    call.spend(from.len() as u64)?;
    for (key, new) in from.entries() {
        let old = into.get(&key);
        if new.is_untyped_nil()
            || matches!(&new, Value::Map(map) if from.elem() != Type::Any && map.is_nil())
        {
            if overwrite && !into.insert(key, new) {
                return Err(FuncError::new("assignment to entry in nil map"));
            }
            continue;
        }
        if let (Value::Map(new), Some(Value::Map(old))) = (&new, &old)
            && !old.is_nil()
            && let Err(message) = merge_at(call, old, new, overwrite, depth + 1)?
        {
            return Ok(Err(message));
        }
        let full = old.as_ref().is_some_and(|old| !is_empty(old));
        if full && matches!((&new, &old), (Value::Map(_), Some(Value::Map(_)))) {
            continue;
        }
        if full && !overwrite {
            continue;
        }
        if into.elem() != Type::Any && new.ty() != Some(into.elem()) {
            return Err(FuncError::new(format!(
                "reflect.Value.SetMapIndex: value of type {} is not assignable to type {}",
                from.elem(),
                into.elem()
            )));
        }
        if !into.insert(key, new) {
            return Err(FuncError::new("assignment to entry in nil map"));
        }
    }
    Ok(Ok(()))
}
