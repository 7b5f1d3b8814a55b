//! Defaults and choices.

use roadstead_template::{Function, Signature, Type, Value};

use crate::table::{ANY, ANY_ANYS, ANYS};
use crate::values::{any, is_empty, rest};

pub(crate) const ROWS: &[Function] = &[
    Function::pure("hello", Signature::fixed(&[]), |_, _| {
        Ok(Value::from("Hello!"))
    }),
    Function::pure("default", ANY_ANYS, |_, args| {
        // Only the first of the given counts.
        let given = any(args, 1);
        Ok(any(args, usize::from(!is_empty(given))).clone())
    }),
    Function::pure("empty", ANY, |_, args| Ok(is_empty(any(args, 0)).into())),
    Function::pure("coalesce", ANYS, |_, args| {
        let full = args.iter().find(|value| !is_empty(value));
        Ok(full.cloned().unwrap_or_default())
    }),
    Function::pure("all", ANYS, |_, args| {
        Ok(rest(args, 0).iter().all(|value| !is_empty(value)).into())
    }),
    Function::pure("any", ANYS, |_, args| {
        Ok(rest(args, 0).iter().any(|value| !is_empty(value)).into())
    }),
    Function::pure(
        "ternary",
        Signature::fixed(&[Type::Any, Type::Any, Type::Bool]),
        |_, args| {
            let yes = matches!(any(args, 2), Value::Bool(true));
            Ok(any(args, usize::from(!yes)).clone())
        },
    ),
];
