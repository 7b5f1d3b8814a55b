//! The functions that belong to Helm's engine itself: they need the templates, the cluster, or the engine's own errors.

use std::sync::{Arc, LazyLock};

use roadstead_template::{
    Call, Callee, Error, ErrorKind, FuncError, Function, Functions, Purity, Signature, Str,
    TemplateCall, Type, Value, strconv,
};

use crate::Dialect;

const STR: Signature = Signature::fixed(&[Type::Str]);
const STR_ANY: Signature = Signature::fixed(&[Type::Str, Type::Any]);
const FOUR: Signature = Signature::fixed(&[Type::Str, Type::Str, Type::Str, Type::Str]);

/// What stands around the message of `fail` and `required` until it is reported.
pub(crate) const WARN_START: &str = "HELM_ERR_START";
pub(crate) const WARN_END: &str = "HELM_ERR_END";

const ENGINE: [Function; 5] = [
    Function::template("include", STR_ANY, include),
    Function::template("tpl", STR_ANY, tpl),
    Function::pure("required", STR_ANY, required),
    Function::pure("fail", STR, fail),
    Function::native("lookup", FOUR, Purity::Lookup, lookup),
];

/// Every function that a dialect's templates may call.
pub(crate) fn table(dialect: Dialect) -> Arc<Functions> {
    static TABLES: LazyLock<[Arc<Functions>; 2]> =
        LazyLock::new(|| [make(Dialect::HELM_3), make(Dialect::HELM_4)]);
    Arc::clone(&TABLES[usize::from(dialect.is_4())])
}

fn make(_dialect: Dialect) -> Arc<Functions> {
    Arc::new(Functions::new(ENGINE))
}

fn text(args: &[Value], index: usize) -> Str {
    args.get(index)
        .and_then(Value::as_str)
        .cloned()
        .unwrap_or_default()
}

fn value(args: &[Value], index: usize) -> Value {
    args.get(index).cloned().unwrap_or_default()
}

fn include(_: &mut Call<'_>, args: &[Value]) -> Result<TemplateCall, FuncError> {
    Ok(TemplateCall {
        what: Callee::Name(text(args, 0)),
        data: value(args, 1),
        then: None,
    })
}

fn tpl(_: &mut Call<'_>, args: &[Value]) -> Result<TemplateCall, FuncError> {
    Ok(TemplateCall {
        what: Callee::Text {
            name: Str::from_static("gotpl"),
            text: text(args, 0),
        },
        data: value(args, 1),
        then: Some(after_tpl),
    })
}

fn after_tpl(what: &Callee, result: Result<Str, Box<Error>>) -> Result<Value, FuncError> {
    match result {
        Ok(output) => Ok(Value::Str(without_no_value(output))),
        Err(error) => {
            let quoted = match what {
                Callee::Text { text, .. } => strconv::quote(text),
                Callee::Name(name) => strconv::quote(name),
            };
            let quoted = String::from_utf8_lossy(&quoted).into_owned();
            let message = if error.kind() == ErrorKind::Parse {
                format!("cannot parse template {quoted}: {}", error.go())
            } else {
                format!(
                    "error during tpl function execution for {quoted}: {}",
                    error.go()
                )
            };
            Err(FuncError::template(message, error))
        }
    }
}

const NO_VALUE: &[u8] = b"<no value>";

fn without_no_value(text: Str) -> Str {
    let mut rest: &[u8] = &text;
    let mut out = Vec::new();
    while let Some(at) = rest
        .windows(NO_VALUE.len())
        .position(|window| window == NO_VALUE)
    {
        out.extend_from_slice(&rest[..at]);
        rest = &rest[at + NO_VALUE.len()..];
    }
    if rest.len() == text.len() {
        return text;
    }
    out.extend_from_slice(rest);
    Str::from(out)
}

fn required(_: &mut Call<'_>, args: &[Value]) -> Result<Value, FuncError> {
    let value = value(args, 1);
    let missing = match &value {
        Value::Nil | Value::Invalid => true,
        Value::Str(text) => text.is_empty(),
        _ => false,
    };
    if missing {
        return Err(refusal(&text(args, 0)));
    }
    Ok(value)
}

fn fail(_: &mut Call<'_>, args: &[Value]) -> Result<Value, FuncError> {
    Err(refusal(&text(args, 0)))
}

fn refusal(message: &Str) -> FuncError {
    FuncError::new(format!("{WARN_START}{}{WARN_END}", message.to_text()))
}

fn lookup(call: &mut Call<'_>, args: &[Value]) -> Result<Value, FuncError> {
    let [version, kind, namespace, name] = [0, 1, 2, 3].map(|at| text(args, at));
    call.host().lookup(
        &version.to_text(),
        &kind.to_text(),
        &namespace.to_text(),
        &name.to_text(),
    )
}
