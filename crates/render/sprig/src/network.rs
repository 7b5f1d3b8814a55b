//! Addresses, paths, and the names of hosts.

use roadstead_template::{Call, FuncError, Function, Purity, Signature, Type, Value};

use crate::go::path;
use crate::go::url::Url;
use crate::table::STR;
use crate::values::{NIL_POINTER, Outcome, failed, map, text};

macro_rules! path_row {
    ($name:literal, $mapping:expr) => {
        Function::pure($name, STR, |_, args| {
            const MAPPING: fn(&[u8]) -> Vec<u8> = $mapping;
            Ok(Value::str(MAPPING(&text(args, 0))))
        })
    };
}

pub(crate) const ROWS: &[Function] = &[
    path_row!("base", path::base),
    path_row!("osBase", path::base),
    path_row!("dir", path::dir),
    path_row!("osDir", path::dir),
    path_row!("clean", path::clean),
    path_row!("osClean", path::clean),
    path_row!("ext", |source| path::ext(source).to_vec()),
    path_row!("osExt", |source| path::ext(source).to_vec()),
    Function::pure("isAbs", STR, |_, args| {
        Ok(path::is_abs(&text(args, 0)).into())
    }),
    Function::pure("osIsAbs", STR, |_, args| {
        Ok(path::is_abs(&text(args, 0)).into())
    }),
    Function::pure("urlParse", STR, |_, args| {
        let url = Url::parse(&text(args, 0))
            .map_err(|error| failed(format!("unable to parse url: {error}")))?;
        let info = url.user_info();
        Ok(Value::dict([
            ("scheme", Value::str(&url.scheme[..])),
            ("host", Value::str(&url.host[..])),
            ("hostname", Value::str(url.host_name())),
            ("path", Value::str(&url.path[..])),
            ("query", Value::str(&url.query[..])),
            ("opaque", Value::str(&url.opaque[..])),
            ("fragment", Value::str(&url.fragment[..])),
            ("userinfo", Value::str(info)),
        ]))
    }),
    Function::pure("urlJoin", Signature::fixed(&[Type::DICT]), join),
    Function::native("getHostByName", STR, Purity::Lookup, |call, args| {
        let name = text(args, 0).to_text().into_owned();
        Ok(call.host().resolve(&name)?.into())
    }),
];

fn join(_: &mut Call<'_>, args: &[Value]) -> Outcome {
    let dict = map(args, 0);
    let part = |key: &str| -> Result<Vec<u8>, FuncError> {
        match dict.get(key.as_bytes()) {
            None => Ok(Vec::new()),
            Some(Value::Str(text)) => Ok(text.to_vec()),
            Some(Value::Nil | Value::Invalid) => Err(failed(NIL_POINTER)),
            Some(other) => {
                let kind = other.kind().name();
                Err(failed(format!(
                    "unable to parse {key} key, must be of type string, but {kind} found"
                )))
            }
        }
    };
    let mut url = Url {
        scheme: part("scheme")?,
        host: part("host")?,
        path: part("path")?,
        query: part("query")?,
        opaque: part("opaque")?,
        fragment: part("fragment")?,
        ..Url::default()
    };
    let info = part("userinfo")?;
    if !info.is_empty() {
        let address = [b"proto://", &info[..], b"@host"].concat();
        let parsed = Url::parse(&address)
            .map_err(|error| failed(format!("unable to parse userinfo in dict: {error}")))?;
        url.user = parsed.user;
    }
    Ok(Value::str(url.text()))
}
