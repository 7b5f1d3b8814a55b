//! The Common Expression Language exactly as kube-apiserver 1.36 runs it in CustomResourceDefinitions.

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
