//! Go's `text/template`: compiled once, executed many times.
//!
//! Templates mean what Go 1.26 makes of them, error texts included; Go itself is the oracle of the tests. What differs is
//! what must: fuel, memory, output and depth are bounded ([`Limits`]), and what a render sees of the world comes through
//! one trait ([`Host`]).
//!
//! This crate knows neither Helm nor its functions, and does no I/O.

mod builtin;
mod call;
mod code;
mod compile;
mod error;
pub mod fmt;
mod functions;
mod host;
mod limits;
mod machine;
mod parse;
mod set;
pub mod strconv;
mod text;
mod types;
mod value;

pub use call::{
    Body, Call, Callee, Calling, FuncError, Function, Method, Native, Purity, Signature, Site,
    TemplateCall, Then,
};
pub use error::{Error, ErrorKind, Frame, Limit, Place};
pub use functions::Functions;
pub use host::{Host, Nowhere, Policy};
pub use limits::Limits;
pub use machine::Machine;
pub use set::{MissingKey, Set, TextCache, Unit};
pub use text::Str;
pub use types::{IntKind, Kind, Type};
pub use value::{Field, Int, List, MAX_DEPTH, Map, Object, Scope, Underlying, Value};
