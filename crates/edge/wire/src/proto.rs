//! The generated code, under one name. Nothing outside this crate sees it.

#[expect(unreachable_pub, reason = "generated")]
#[allow(missing_docs, clippy::all, clippy::pedantic, reason = "generated")]
#[rustfmt::skip]
#[path = "generated/roadstead.v1.rs"]
mod v1;

pub(crate) use v1::*;
