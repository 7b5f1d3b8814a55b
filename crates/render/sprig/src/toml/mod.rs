//! TOML as BurntSushi's library reads and writes it: Helm's `fromToml` and `toToml`.

mod lex;
mod read;
mod write;

use std::collections::BTreeMap;

pub use read::parse;
pub use write::write;

use crate::go::time::Time;

/// How deep values may nest.
pub const MAX_DEPTH: usize = 500;

/// What was read.
#[derive(Debug, Clone, PartialEq)]
pub enum Toml {
    /// A string.
    String(Vec<u8>),
    /// An `int64`.
    Integer(i64),
    /// A float.
    Float(f64),
    /// `true` and `false`
    Bool(bool),
    /// Dates and times; local ones are in zones of their own names.
    Time(Time),
    /// A list.
    Array(Vec<Toml>),
    /// A table.
    Table(BTreeMap<Vec<u8>, Toml>),
    /// Tables under one name, each made by `[[name]]`.
    Tables(Vec<BTreeMap<Vec<u8>, Toml>>),
}

/// Escapes a string for double quotes.
fn escaped(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 2);
    for &byte in text {
        match byte {
            b'"' | b'\\' => out.extend([b'\\', byte]),
            8 => out.extend(b"\\b"),
            9 => out.extend(b"\\t"),
            10 => out.extend(b"\\n"),
            12 => out.extend(b"\\f"),
            13 => out.extend(b"\\r"),
            0..0x20 | 0x7F => out.extend(format!("\\u{byte:04x}").as_bytes()),
            _ => out.push(byte),
        }
    }
    out
}

/// A key as it is written: bare where it can be.
fn key(text: &[u8]) -> Vec<u8> {
    let bare = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if !text.is_empty() && text.iter().all(bare) {
        return text.to_vec();
    }
    [b"\"", &escaped(text)[..], b"\""].concat()
}

/// Keys with dots between them.
fn dotted<T: AsRef<[u8]>>(keys: &[T]) -> Vec<u8> {
    let parts: Vec<Vec<u8>> = keys.iter().map(|part| key(part.as_ref())).collect();
    parts.join(&b'.')
}
