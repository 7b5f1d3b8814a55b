//! From text to trees, with the errors that Go gives.

mod lex;
mod node;
mod number;
mod parser;

pub(crate) use node::{Ast, Branch, Node, NodeId};
pub(crate) use number::Number;
pub(crate) use parser::parse;
