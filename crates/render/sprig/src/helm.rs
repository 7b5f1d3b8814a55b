//! What Helm itself adds: templates that call templates, demands, and a look into the cluster.

use roadstead_template::{
    Call, Callee, Error, ErrorKind, FuncError, Function, Purity, Signature, Str, TemplateCall,
    Type, Value, strconv,
};

use crate::go::unicode::{find, replace};
use crate::objects::version_value;
use crate::semver::{Constraints, Version};
use crate::table::{STR, STR_ANY, STR_STR};
use crate::values::{Outcome, any, failed, text};

/// What Helm puts before a message of `fail` and `required`; with [`MESSAGE_END`] it finds it again in Go's long error.
pub const MESSAGE_START: &str = "HELM_ERR_START";

/// What Helm puts behind such a message.
pub const MESSAGE_END: &str = "HELM_ERR_END";

/// What Go writes for a value that is missing; Helm erases it from what templates write.
pub const NO_VALUE: &[u8] = b"<no value>";

/// The name that Helm's set of templates has, and each text that `tpl` executes.
pub const SET_NAME: &str = "gotpl";

const LOOKUP: Signature = Signature::fixed(&[Type::Str, Type::Str, Type::Str, Type::Str]);

pub(crate) const ROWS: &[Function] = &[
    Function::template("include", STR_ANY, |_, args| {
        Ok(TemplateCall {
            what: Callee::Name(text(args, 0)),
            data: any(args, 1).clone(),
            then: None,
        })
    }),
    Function::template("tpl", STR_ANY, |_, args| {
        Ok(TemplateCall {
            what: Callee::Text {
                name: Str::from_static(SET_NAME),
                text: text(args, 0),
            },
            data: any(args, 1).clone(),
            then: Some(tpl_result),
        })
    }),
    Function::pure("required", STR_ANY, |_, args| {
        let value = any(args, 1);
        let missing = match value {
            Value::Str(text) => text.is_empty(),
            other => other.is_untyped_nil(),
        };
        if missing {
            return Err(message(&text(args, 0)));
        }
        Ok(value.clone())
    }),
    Function::pure("fail", STR, |_, args| Err(message(&text(args, 0)))),
    Function::native("lookup", LOOKUP, Purity::Lookup, lookup),
    Function::pure("semver", STR, |_, args| {
        Version::parse(&text(args, 0))
            .map(version_value)
            .map_err(failed)
    }),
    Function::pure("semverCompare", STR_STR, |_, args| {
        let constraints = Constraints::parse(&text(args, 0)).map_err(failed)?;
        let version = Version::parse(&text(args, 1)).map_err(failed)?;
        Ok(constraints.check(&version).into())
    }),
];

fn message(text: &Str) -> FuncError {
    failed(format!("{MESSAGE_START}{}{MESSAGE_END}", text.to_text()))
}

fn lookup(call: &mut Call<'_>, args: &[Value]) -> Outcome {
    let [version, kind, namespace, name] = [0, 1, 2, 3].map(|at| text(args, at));
    call.host().lookup(
        &version.to_text(),
        &kind.to_text(),
        &namespace.to_text(),
        &name.to_text(),
    )
}

/// What `tpl` makes of its text's output or error.
fn tpl_result(what: &Callee, result: Result<Str, Box<Error>>) -> Outcome {
    match result {
        Ok(output) if find(&output, NO_VALUE).is_none() => Ok(output.into()),
        Ok(output) => Ok(Value::str(replace(&output, NO_VALUE, b""))),
        Err(error) => {
            let source = match what {
                Callee::Text { text, .. } | Callee::Name(text) => strconv::quote(text),
            };
            let source = String::from_utf8_lossy(&source).into_owned();
            // An error without a way is of the text itself: nothing was executed yet.
            let own = error.kind() == ErrorKind::Parse && error.stack().is_empty();
            let start = if own {
                "cannot parse template"
            } else {
                "error during tpl function execution for"
            };
            let message = format!("{start} {source}: {}", error.go());
            Err(FuncError::template(message, error))
        }
    }
}
