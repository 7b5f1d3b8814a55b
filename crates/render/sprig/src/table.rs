//! Signatures that many functions share.

use roadstead_template::{Signature, Type};

pub(crate) const NONE: Signature = Signature::fixed(&[]);
pub(crate) const ANY: Signature = Signature::fixed(&[Type::Any]);
pub(crate) const ANYS: Signature = Signature::variadic(&[Type::Any]);
pub(crate) const ANY_ANY: Signature = Signature::fixed(&[Type::Any, Type::Any]);
pub(crate) const ANY_ANYS: Signature = Signature::variadic(&[Type::Any, Type::Any]);
pub(crate) const STR: Signature = Signature::fixed(&[Type::Str]);
pub(crate) const STR_STR: Signature = Signature::fixed(&[Type::Str, Type::Str]);
pub(crate) const STR_STR_STR: Signature = Signature::fixed(&[Type::Str, Type::Str, Type::Str]);
pub(crate) const STR_ANY: Signature = Signature::fixed(&[Type::Str, Type::Any]);
pub(crate) const INT: Signature = Signature::fixed(&[Type::INT]);
pub(crate) const INT_STR: Signature = Signature::fixed(&[Type::INT, Type::Str]);
