//! `.Files`: the files of a chart that are no templates.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use roadstead_template::{Call, FuncError, List, Map, Method, Signature, Str, Type, Value};

use super::glob::Glob;
use crate::Dialect;
use crate::load::File;
use crate::values::frozen::lossy;

const FILES: Type = Type::Named("engine.files", &Type::Map(&Type::BYTES));

/// The files of a chart as a map from paths to bytes.
pub(crate) fn files(files: &[File], dialect: Dialect) -> Value {
    let entries = files
        .iter()
        .map(|file| {
            let bytes = Str::from(file.data.clone());
            (
                Str::from(file.path.as_str()),
                Value::List(List::bytes(bytes)),
            )
        })
        .collect();
    let methods = if dialect.is_3() { METHODS_3 } else { METHODS_4 };
    Value::Map(Map::with_methods(FILES, methods, entries))
}

const fn methods(
    lines: fn(&Value, &mut Call<'_>, &[Value]) -> Result<Value, FuncError>,
) -> [Method; 6] {
    const PATH: Signature = Signature::fixed(&[Type::Str]);
    const NONE: Signature = Signature::fixed(&[]);
    [
        Method {
            name: "AsConfig",
            signature: NONE,
            call: as_config,
        },
        Method {
            name: "AsSecrets",
            signature: NONE,
            call: as_secrets,
        },
        Method {
            name: "Get",
            signature: PATH,
            call: get,
        },
        Method {
            name: "GetBytes",
            signature: PATH,
            call: get_bytes,
        },
        Method {
            name: "Glob",
            signature: PATH,
            call: matching,
        },
        Method {
            name: "Lines",
            signature: PATH,
            call: lines,
        },
    ]
}

static METHODS_3: &[Method] = &methods(lines_3);
static METHODS_4: &[Method] = &methods(lines_4);

/// The bytes of a file; nothing, if there is none of that name.
fn bytes(this: &Value, args: &[Value]) -> Option<Str> {
    let name = args.first()?.as_str()?;
    this.as_map()?.get(name)?.as_list()?.as_bytes()
}

fn get(this: &Value, _: &mut Call<'_>, args: &[Value]) -> Result<Value, FuncError> {
    Ok(Value::Str(bytes(this, args).unwrap_or_default()))
}

fn get_bytes(this: &Value, _: &mut Call<'_>, args: &[Value]) -> Result<Value, FuncError> {
    Ok(Value::List(List::bytes(
        bytes(this, args).unwrap_or_default(),
    )))
}

fn matching(this: &Value, call: &mut Call<'_>, args: &[Value]) -> Result<Value, FuncError> {
    let map = this.as_map().unwrap_or_default();
    let pattern = args
        .first()
        .and_then(Value::as_str)
        .cloned()
        .unwrap_or_default();
    let glob = pattern
        .as_text()
        .and_then(|pattern| Glob::parse(pattern).ok())
        .unwrap_or_else(Glob::everything);
    let mut found = std::collections::BTreeMap::new();
    for (name, content) in map.entries() {
        call.spend(1 + name.len() as u64 / 8 * (1 + pattern.len() as u64 / 16))?;
        if name.as_text().is_some_and(|name| glob.matches(name)) {
            found.insert(name, content);
        }
    }
    Ok(Value::Map(Map::with_methods(FILES, map.methods(), found)))
}

fn lines_3(this: &Value, call: &mut Call<'_>, args: &[Value]) -> Result<Value, FuncError> {
    split(bytes(this, args).filter(|bytes| !bytes.is_empty()), call)
}

fn lines_4(this: &Value, call: &mut Call<'_>, args: &[Value]) -> Result<Value, FuncError> {
    let bytes = bytes(this, args);
    if bytes.as_ref().is_some_and(|bytes| bytes.is_empty()) {
        // Helm looks at the last byte without asking whether there is one.
        return Err(FuncError::new("runtime error: index out of range [-1]"));
    }
    split(bytes, call)
}

fn split(text: Option<Str>, call: &mut Call<'_>) -> Result<Value, FuncError> {
    let Some(text) = text else {
        return Ok(Value::strings(Vec::<Str>::new()));
    };
    let end = text.len() - usize::from(text.ends_with(b"\n"));
    call.spend(text.len() as u64 / 16)?;
    call.allocate(text.iter().filter(|&&byte| byte == b'\n').count() * 48)?;
    let (mut lines, mut from) = (Vec::new(), 0);
    for at in 0..=end {
        if at == end || text[at] == b'\n' {
            lines.push(text.slice(from..at));
            from = at + 1;
        }
    }
    Ok(Value::strings(lines))
}

fn as_config(this: &Value, call: &mut Call<'_>, _: &[Value]) -> Result<Value, FuncError> {
    written(this, call, lossy)
}

fn as_secrets(this: &Value, call: &mut Call<'_>, _: &[Value]) -> Result<Value, FuncError> {
    written(this, call, |bytes| STANDARD.encode(bytes))
}

/// The files as YAML, under the last parts of their paths.
fn written(
    this: &Value,
    call: &mut Call<'_>,
    content: impl Fn(&[u8]) -> String,
) -> Result<Value, FuncError> {
    let map = this.as_map().unwrap_or_default();
    let mut out = serde_json::Map::new();
    for (path, file) in map.entries() {
        let bytes = file
            .as_list()
            .and_then(|list| list.as_bytes())
            .unwrap_or_default();
        call.spend(1 + bytes.len() as u64 / 16)?;
        call.allocate(bytes.len() * 2)?;
        let path = lossy(&path);
        let base = path.trim_end_matches('/').rsplit('/').next().unwrap_or("");
        out.insert(base.to_owned(), content(&bytes).into());
    }
    let text = base_yaml::go::to_yaml(&out.into()).unwrap_or_default();
    Ok(Value::from(text.strip_suffix('\n').unwrap_or(&text)))
}
