//! The Common Expression Language as kube-apiserver 1.36 runs it in CustomResourceDefinitions.
//!
//! It has the parser, the checker with Kubernetes' types and libraries, the evaluator, and the two cost models: what an
//! expression can cost at most, by its schema, and what a run did cost. Values, error texts and costs are those of the real
//! one, which is the oracle of the tests. Nothing here reads a clock, a file or the environment.
//!
//! | Part | What |
//! |---|---|
//! | [`rules`] | `x-kubernetes-validations`: compiled with a definition, run on its objects |
//! | [`Environment`], [`Program`] | one expression over `self` and `oldSelf` |
//! | [`Schema`], [`Decl`] | OpenAPI schemas and the types that expressions see |
//! | [`Value`] | what expressions are made of; objects are looked at where they lie |
//!
//! ```
//! use k8s_cel::rules::{RUNTIME_BUDGET, compile, validate};
//! use serde_json::json;
//!
//! let schema = json!({"type": "object", "properties": {"spec": {
//!     "type": "object",
//!     "properties": {"replicas": {"type": "integer"}},
//!     "x-kubernetes-validations": [{"rule": "self.replicas >= oldSelf.replicas", "message": "may not shrink"}],
//! }}});
//! let compiled = compile(&schema, "openAPIV3Schema").expect("the rules are sound");
//! let (old, new) = (json!({"spec": {"replicas": 3}}), json!({"spec": {"replicas": 1}}));
//! let said = validate(&compiled, &new, Some(&old), RUNTIME_BUDGET);
//! assert_eq!(said.errors[0].to_string(), "spec: Invalid value: may not shrink");
//! ```
//!
//! What it does not do: messages of Protocol Buffers (`google.protobuf.Int64Value{…}`), authorization checks, which no
//! CustomResourceDefinition can make, and a locale other than English in `format`.

mod ast;
mod checker;
mod cost_actual;
mod cost_static;
mod declarations;
mod escape;
mod eval;
mod formats;
mod functions;
mod lexer;
mod libraries;
mod literal;
mod macros;
mod parser;
mod plan;
mod program;
mod regexes;
pub mod rules;
mod schema;
mod show;
mod source;
mod time;
mod types;
mod unify;
mod validators;
mod value;
mod views;

pub use cost_static::Range;
pub use escape::{escape, unescape};
pub use libraries::{Format, Object, Quantity, Url, Version};
pub use program::{Environment, Outcome, Program, value};
pub use schema::{Decl, Rule, Schema};
pub use source::{Location, Problem};
pub use time::Timestamp;
pub use types::Type;
pub use value::{Cancelled, Key, List, Map, Text, Value};
