//! Templates of pieces that mean something, parsed and compiled; what errors say must point into the text.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use roadstead_template::{Functions, Unit};

const PIECES: &[&str] = &[
    "{{",
    "}}",
    "{{- ",
    " -}}",
    " ",
    "\n",
    "(",
    ")",
    "|",
    ".",
    "$",
    "$x",
    " := ",
    " = ",
    ",",
    "1",
    "2.5",
    "\"a\"",
    "`b`",
    "'c'",
    "1i",
    "if ",
    "with ",
    "range ",
    "{{end}}",
    "{{else}}",
    "{{else if .x}}",
    "define ",
    "block ",
    "template ",
    "{{break}}",
    "{{continue}}",
    "nil",
    "true",
    "/*",
    "*/",
    ".a",
    ".b.c",
    "printf ",
    "index ",
    "and ",
    "or ",
    "eq ",
    "é",
    "\\",
    "@",
    "text",
    "{{if .a}}",
    "{{range $i, $e := .a}}",
    "{{with .a}}",
    "{{define \"x\"}}",
    "{{template \"x\" .}}",
    "{{block \"y\" .}}",
];

fuzz_target!(|input: &[u8]| {
    let text: String = input
        .iter()
        .map(|byte| PIECES[usize::from(*byte) % PIECES.len()])
        .collect();
    if let Err(error) = Unit::parse("t", text.as_str(), &Arc::new(Functions::default())) {
        let place = error.place().expect("a place");
        assert!(place.span.end <= text.len(), "{error}");
    }
});
