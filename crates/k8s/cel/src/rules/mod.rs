//! `x-kubernetes-validations`: rules compiled with a CustomResourceDefinition, and run on its objects.
//!
//! [`compile`] says what the API server says of a definition's rules, [`validate`] what it says of an object.

mod compile;
mod correlate;
mod field_path;
mod validate;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde_json::Value as Json;

use crate::program::Program;
use crate::schema::{Rule, Schema};

pub use compile::{RuleCost, compile, compile_stored, costs};
pub use validate::{Validation, validate};

/// What one call of an expression may cost.
pub const PER_CALL_LIMIT: u64 = 1_000_000;
/// What all rules of one object may cost.
pub const RUNTIME_BUDGET: i64 = 10_000_000;
/// What one expression may cost by its estimate.
pub const STATIC_LIMIT: u64 = 10_000_000;
/// What all rules of a definition may cost by their estimates.
pub const STATIC_TOTAL_LIMIT: u64 = 100_000_000;
/// The longest message that an expression may make, in bytes.
pub const LONGEST_MESSAGE: usize = 5 * 1024;

/// The kinds of errors, in the words of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// `FieldValueInvalid`.
    Invalid,
    /// `FieldValueRequired`.
    Required,
    /// `FieldValueForbidden`.
    Forbidden,
    /// `FieldValueDuplicate`.
    Duplicate,
    /// `FieldValueNotSupported`.
    NotSupported,
    /// `InternalError`.
    Internal,
}

impl Kind {
    /// The reason of a cause in a Status.
    pub fn reason(self) -> &'static str {
        match self {
            Kind::Invalid => "FieldValueInvalid",
            Kind::Required => "FieldValueRequired",
            Kind::Forbidden => "FieldValueForbidden",
            Kind::Duplicate => "FieldValueDuplicate",
            Kind::NotSupported => "FieldValueNotSupported",
            Kind::Internal => "InternalError",
        }
    }

    fn words(self) -> &'static str {
        match self {
            Kind::Invalid => "Invalid value",
            Kind::Required => "Required value",
            Kind::Forbidden => "Forbidden",
            Kind::Duplicate => "Duplicate value",
            Kind::NotSupported => "Unsupported value",
            Kind::Internal => "Internal error",
        }
    }
}

/// One thing that is wrong, and with which field.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldError {
    /// What kind of mistake it is.
    pub kind: Kind,
    /// The field; `<nil>` is the whole object.
    pub field: String,
    /// The value that is wrong, where it is shown.
    pub value: Option<Json>,
    /// What is wrong with it.
    pub detail: String,
}

impl FieldError {
    /// The error without its field, as the message of a cause has it.
    pub fn body(&self) -> String {
        let mut out = String::from(self.kind.words());
        if matches!(
            self.kind,
            Kind::Invalid | Kind::Duplicate | Kind::NotSupported
        ) && let Some(value) = &self.value
        {
            match value {
                Json::String(text) => out.push_str(&format!(": {}", crate::show::quote(text))),
                Json::Number(n) if !n.is_i64() && !n.is_u64() => {
                    let shown = crate::show::general(n.as_f64().unwrap_or_default());
                    out.push_str(&format!(": {shown}"));
                }
                Json::Null => out.push_str(": null"),
                other => out.push_str(&format!(": {other}")),
            }
        }
        if !self.detail.is_empty() {
            out.push_str(": ");
            out.push_str(&self.detail);
        }
        out
    }
}

/// As the API server writes it.
impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.body())
    }
}

/// The rules of a schema, ready to run. It can be shared among threads.
#[derive(Debug)]
pub struct Compiled {
    schema: Arc<Schema>,
    root: Option<Node>,
}

impl Compiled {
    /// The schema that the rules belong to.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// Are there any rules?
    pub fn is_empty(&self) -> bool {
        self.root.is_none()
    }
}

/// The rules of one schema and of those below it.
#[derive(Debug)]
struct Node {
    schema: Arc<Schema>,
    root: bool,
    rules: Vec<CompiledRule>,
    items: Option<Box<Node>>,
    additional: Option<Box<Node>>,
    properties: BTreeMap<String, Node>,
    all_of: Vec<Node>,
}

#[derive(Debug)]
struct CompiledRule {
    rule: Rule,
    /// None where the rule is empty.
    program: Option<Result<Program, String>>,
    message: Option<Result<Program, String>>,
    field_path: String,
}

/// A field below another; none is the whole.
fn child(path: Option<&str>, name: &str) -> String {
    match path {
        Some(path) => format!("{path}.{name}"),
        None => name.to_owned(),
    }
}

fn keyed(path: Option<&str>, key: &str) -> String {
    format!("{}[{key}]", path.unwrap_or_default())
}
