//! The map type that has methods: `.Values`, and the dot of every file.

use roadstead_template::{Call, FuncError, Map, Method, Signature, Type, Value};

use super::super::values::coalesce;
use crate::Dialect;

/// The type, as Go names it.
pub(crate) fn values_type(dialect: Dialect) -> Type {
    if dialect.is_3() {
        Type::Named("chartutil.Values", &Type::DICT)
    } else {
        Type::Named("common.Values", &Type::DICT)
    }
}

/// What templates may call on it.
pub(crate) const METHODS: &[Method] = &[
    Method {
        name: "AsMap",
        signature: Signature::fixed(&[]),
        call: as_map,
    },
    Method {
        name: "PathValue",
        signature: Signature::fixed(&[Type::Str]),
        call: path_value,
    },
    Method {
        name: "Table",
        signature: Signature::fixed(&[Type::Str]),
        call: table,
    },
    Method {
        name: "YAML",
        signature: Signature::fixed(&[]),
        call: yaml,
    },
];

fn receiver(value: &Value) -> Map {
    value.as_map().unwrap_or_default()
}

fn text(args: &[Value]) -> String {
    args.first()
        .and_then(Value::as_str)
        .map_or_else(String::new, |text| text.to_text().into_owned())
}

fn as_map(this: &Value, _: &mut Call<'_>, _: &[Value]) -> Result<Value, FuncError> {
    Ok(this.clone())
}

fn path_value(this: &Value, _: &mut Call<'_>, args: &[Value]) -> Result<Value, FuncError> {
    let path = text(args);
    if path.is_empty() {
        return Err(FuncError::new("YAML path cannot be empty"));
    }
    coalesce::path_value(&receiver(this), &path).ok_or_else(|| {
        let key = path.rsplit('.').next().unwrap_or(&path);
        FuncError::new(format!("{key:?} is not a value"))
    })
}

fn table(this: &Value, _: &mut Call<'_>, args: &[Value]) -> Result<Value, FuncError> {
    let path = text(args);
    let mut map = receiver(this);
    for name in path.split('.') {
        match map.get(name.as_bytes()) {
            Some(Value::Map(inner)) => map = inner,
            _ => return Err(FuncError::new(format!("{name:?} is not a table"))),
        }
    }
    Ok(Value::Map(map))
}

fn yaml(this: &Value, call: &mut Call<'_>, _: &[Value]) -> Result<Value, FuncError> {
    let json = crate::values::frozen::to_json(this);
    let text = base_yaml::go::to_yaml(&json).map_err(|error| FuncError::new(error.to_string()))?;
    call.allocate(text.len())?;
    Ok(Value::from(text))
}
