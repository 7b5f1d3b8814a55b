//! Templates of pieces that mean something, executed within small limits.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use roadstead_template::{
    Callee, FuncError, Function, Functions, Limits, Machine, Map, MissingKey, Nowhere, Scope, Set,
    Signature, Str, TemplateCall, TextCache, Type, Unit, Value,
};

const PIECES: &[&str] = &[
    "{{",
    "}}",
    "{{- ",
    " -}}",
    " ",
    " ",
    " ",
    "(",
    ")",
    " | ",
    ".",
    "$",
    "$x",
    "{{$x := ",
    "{{$x = ",
    "1",
    "-2",
    "2.5",
    "\"a\"",
    "\"%v %d %*.*f %[2]q\"",
    "'c'",
    "1i",
    "nil",
    "true",
    "{{end}}",
    "{{else}}",
    "{{break}}",
    "{{continue}}",
    ".a",
    ".l",
    ".m",
    ".m.a",
    ".s",
    ".n",
    "$.l",
    "printf ",
    "print ",
    "index ",
    "slice ",
    "len ",
    "html ",
    "js ",
    "urlquery ",
    "and ",
    "or ",
    "not ",
    "eq ",
    "ne ",
    "lt ",
    "le ",
    "gt ",
    "ge ",
    "call ",
    "list ",
    "set ",
    "include ",
    "tpl ",
    "\"x\" ",
    "{{if .a}}",
    "{{range $i, $e := .l}}",
    "{{range .m}}",
    "{{range 9}}",
    "{{with .m}}",
    "{{define \"x\"}}",
    "{{template \"x\" .}}",
    "{{include \"x\" .}}",
    "{{tpl .t .}}",
    "{{.}}",
    "text",
    "\n",
];

fn text(value: &Value) -> Str {
    value.as_str().cloned().unwrap_or_default()
}

fuzz_target!(|input: &[u8]| {
    let source: String = input
        .iter()
        .map(|byte| PIECES[usize::from(*byte) % PIECES.len()])
        .collect();
    let two = Signature::fixed(&[Type::Str, Type::Any]);
    let functions = Arc::new(Functions::new([
        Function::pure("list", Signature::variadic(&[Type::Any]), |_, args| {
            Ok(Value::list(args.to_vec()))
        }),
        Function::pure(
            "set",
            Signature::fixed(&[Type::DICT, Type::Str, Type::Any]),
            |_, args| {
                let map = args[0].as_map().unwrap_or_default();
                if !map.insert(text(&args[1]), args[2].clone()) {
                    return Err(FuncError::new("assignment to entry in nil map"));
                }
                Ok(Value::Map(map))
            },
        ),
        Function::template("include", two, |_, args| {
            Ok(TemplateCall {
                what: Callee::Name(text(&args[0])),
                data: args[1].clone(),
                then: None,
            })
        }),
        Function::template("tpl", two, |_, args| {
            let what = Callee::Text {
                name: Str::from_static("tpl"),
                text: text(&args[0]),
            };
            Ok(TemplateCall {
                what,
                data: args[1].clone(),
                then: None,
            })
        }),
    ]));
    let Ok(unit) = Unit::parse("t", source.as_str(), &functions) else {
        return;
    };
    let mut set = Set::new(&functions).with_missing_key(MissingKey::Zero);
    set.add(&Arc::new(unit));
    let _scope = Scope::enter();
    let data = Map::new();
    let inner = Value::dict([("a", Value::from(true)), ("b", Value::Nil)]);
    for (key, value) in [
        ("a", Value::from("A")),
        (
            "l",
            Value::list(vec![
                Value::int(1),
                Value::from("x"),
                Value::Nil,
                inner.clone(),
            ]),
        ),
        ("m", inner),
        ("s", Value::str(vec![0xff, b'h', 0xc3])),
        ("n", Value::from(3.0)),
        ("t", Value::from("{{.s}}{{include \"x\" .m}}")),
    ] {
        assert!(data.insert(key, value));
    }
    let limits = Limits {
        fuel: 50_000,
        memory: 8 << 20,
        string: 1 << 20,
        output: 1 << 20,
        ..Limits::default()
    };
    let (mut host, cache) = (Nowhere, TextCache::default());
    let mut machine = Machine::new(&set, &mut host, limits, &cache);
    if let Err(error) = machine.execute("t", Value::Map(data)) {
        assert!(!error.go().is_empty());
    }
});
