//! Types and kinds of values.

use roadstead_template::{Function, Value};

use crate::table::{ANY, ANY_ANY, STR_ANY};
use crate::values::{any, deep_equal, text};

pub(crate) const ROWS: &[Function] = &[
    Function::pure("typeOf", ANY, |_, args| {
        Ok(Value::from(any(args, 0).type_name().as_ref()))
    }),
    Function::pure("typeIs", STR_ANY, |_, args| {
        Ok((*text(args, 0) == *any(args, 1).type_name().as_bytes()).into())
    }),
    Function::pure("typeIsLike", STR_ANY, |_, args| {
        let name = any(args, 1).type_name();
        let name = name.as_bytes();
        let wanted = text(args, 0);
        let pointed = name.strip_prefix(b"*").is_some_and(|name| *wanted == *name);
        Ok((*wanted == *name || pointed).into())
    }),
    Function::pure("kindOf", ANY, |_, args| {
        Ok(Value::from(any(args, 0).kind().name()))
    }),
    Function::pure("kindIs", STR_ANY, |_, args| {
        Ok((*text(args, 0) == *any(args, 1).kind().name().as_bytes()).into())
    }),
    Function::pure("deepEqual", ANY_ANY, |_, args| {
        Ok(deep_equal(any(args, 0), any(args, 1))?.into())
    }),
];
