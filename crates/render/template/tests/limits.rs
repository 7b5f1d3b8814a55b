//! No template runs away, whatever it says: each bound has its own error, with its place.

mod support;

use std::any::Any;
use std::sync::Arc;

use proptest::prelude::*;
use roadstead_template::{
    ErrorKind, FuncError, Host, Limit, Limits, MAX_DEPTH, Machine, Map, MissingKey, Nowhere,
    Policy, Scope, Set, Site, TextCache, Unit, Value,
};
use serde_json::json;
use support::{functions, one, render, render_within, value};

fn limit(text: &str, limits: Limits) -> Limit {
    let error =
        render_within(&one(text, &json!({"s": "text", "l": [1, 2, 3]})), limits).expect_err(text);
    assert!(error.place().is_some(), "{error}");
    match error.kind() {
        ErrorKind::Limit(limit) => limit,
        other => panic!("{text}: {other:?}: {error}"),
    }
}

#[test]
fn fuel_ends_long_loops() {
    let text = "{{range 1000000000}}{{range 1000000000}}{{$x := 1}}{{end}}{{end}}";
    assert_eq!(
        limit(
            text,
            Limits {
                fuel: 100_000,
                ..Limits::default()
            }
        ),
        Limit::Fuel(100_000)
    );
}

#[test]
fn output_has_a_bound() {
    let text = "{{range 1000000000}}0123456789{{end}}";
    assert_eq!(
        limit(
            text,
            Limits {
                output: 10_000,
                ..Limits::default()
            }
        ),
        Limit::Output(10_000)
    );
    let text = "{{printf \"%20000d\" 1}}";
    assert_eq!(
        limit(
            text,
            Limits {
                output: 10_000,
                ..Limits::default()
            }
        ),
        Limit::Output(10_000)
    );
}

#[test]
fn a_string_has_a_bound() {
    let text = "{{$x := printf \"%1000d\" 1}}{{range 100}}{{$x = printf \"%s%s\" $x $x}}{{end}}";
    assert!(matches!(
        limit(text, Limits::default()),
        Limit::String(_) | Limit::Memory(_)
    ));
    let text = "{{$x := printf \"%1000000d%1000000d%1000000d%1000000d%1000000d%1000000d%1000000d%1000000d%1000000d%1000000d\
                %1000000d%1000000d%1000000d%1000000d%1000000d%1000000d%1000000d%1000000d\" 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1}}";
    assert!(matches!(limit(text, Limits::default()), Limit::String(_)));
}

#[test]
fn memory_has_a_bound() {
    let text = "{{range 1000000}}{{$x := printf \"%1000d\" 1}}{{end}}";
    assert_eq!(
        limit(
            text,
            Limits {
                memory: 1 << 20,
                ..Limits::default()
            }
        ),
        Limit::Memory(1 << 20)
    );
}

#[test]
fn a_list_that_doubles_itself_cannot_be_printed() {
    let text = "{{$x := list}}{{range 60}}{{$x = list $x $x}}{{end}}{{$x}}";
    assert!(matches!(limit(text, Limits::default()), Limit::Output(_)));
    let text = "{{$x := list}}{{range 60}}{{$x = list $x $x}}{{end}}{{$y := print $x}}";
    assert!(matches!(limit(text, Limits::default()), Limit::String(_)));
}

#[test]
fn a_value_in_itself_cannot_be_printed() {
    let text = "{{$d := dict}}{{$_ := set $d \"self\" $d}}{{$d}}";
    assert_eq!(limit(text, Limits::default()), Limit::Depth(MAX_DEPTH));
    let text = "{{$d := dict}}{{$_ := set $d \"self\" (list $d)}}{{printf \"%#v\" $d}}";
    assert_eq!(limit(text, Limits::default()), Limit::Depth(MAX_DEPTH));
}

#[test]
fn values_nested_a_million_deep_are_dropped() {
    let request = one(
        "{{$x := list}}{{range 300000}}{{$x = list $x}}{{end}}{{len $x}}",
        &json!(null),
    );
    assert_eq!(render(&request).expect("output"), b"1");
    let request = one(
        "{{$x := dict}}{{range 300000}}{{$x = dict \"a\" $x}}{{end}}{{len $x}}",
        &json!(null),
    );
    assert_eq!(render(&request).expect("output"), b"1");
}

#[test]
fn a_ring_of_maps_ends_with_its_scope() {
    let inner = Map::new();
    let seen = {
        let _scope = Scope::enter();
        let outer = Map::new();
        assert!(inner.insert("outer", Value::Map(outer.clone())));
        assert!(outer.insert("inner", Value::Map(inner.clone())));
        outer
    };
    assert!(inner.is_empty() && seen.is_empty());
}

#[test]
fn templates_that_call_themselves_end() {
    // as deep as in Go, on a thread with a small stack
    let run = || {
        let error = render(&one(
            "{{define \"a\"}}{{template \"a\" .}}{{end}}{{template \"a\" .}}",
            &json!(1),
        ));
        let error = error.expect_err("too deep");
        assert_eq!(error.message(), "exceeded maximum template depth (100000)");
        let error = render(&one(
            "{{define \"a\"}}x{{include \"a\" .}}{{end}}{{include \"a\" .}}",
            &json!(1),
        ));
        let error = error.expect_err("too deep");
        assert!(
            error.message().contains("nested reference name: a"),
            "{}",
            error.message()
        );
        assert_eq!(error.stack().len(), 64);
    };
    std::thread::Builder::new()
        .stack_size(256 << 10)
        .spawn(run)
        .expect("a thread")
        .join()
        .expect("no overflow");
    let text = "{{define \"a\"}}{{tpl \"{{include \\\"a\\\" .}}\" .}}{{end}}{{include \"a\" .}}";
    assert_eq!(limit(text, Limits::default()), Limit::Texts(64));
    let text = "{{define \"a\"}}{{include \"b\" .}}{{end}}{{define \"b\"}}{{template \"a\" .}}{{end}}{{include \"a\" .}}";
    assert_eq!(
        limit(
            text,
            Limits {
                frames: 500,
                ..Limits::default()
            }
        ),
        Limit::Frames(500)
    );
}

#[test]
fn nesting_has_a_bound() {
    // what is allowed to nest fits a stack of half the usual size
    std::thread::Builder::new()
        .stack_size(1 << 20)
        .spawn(nest)
        .expect("a thread")
        .join()
        .expect("no overflow");
}

fn nest() {
    for (open, close) in [
        ("{{if 1}}", "{{end}}"),
        ("{{range 1}}", "{{end}}"),
        ("{{with 1}}", "{{end}}"),
    ] {
        assert!(
            render(&one(
                &format!("{}x{}", open.repeat(500), close.repeat(500)),
                &json!(1)
            ))
            .is_ok()
        );
        let deep = render(&one(
            &format!("{}{}", open.repeat(100_000), close.repeat(100_000)),
            &json!(1),
        ));
        assert_eq!(
            deep.expect_err("too deep").message(),
            "max nesting depth exceeded"
        );
    }
    let parens = |count: usize| {
        one(
            &format!("{{{{{}1{}}}}}", "(".repeat(count), ")".repeat(count)),
            &json!(1),
        )
    };
    assert_eq!(render(&parens(500)).expect("output"), b"1");
    assert_eq!(
        render(&parens(100_000)).expect_err("too deep").message(),
        "max expression depth exceeded"
    );
    let chain = format!(
        "{{{{if 0}}}}{}{{{{else}}}}x{{{{end}}}}",
        "{{else if 0}}".repeat(500)
    );
    assert_eq!(render(&one(&chain, &json!(1))).expect("output"), b"x");
    let blocks = "{{block \"a\" .}}".repeat(100_000);
    assert!(render(&one(&blocks, &json!(1))).is_err());
}

#[test]
fn many_of_a_kind_cost_their_number_only() {
    // each of these took minutes if names were looked for one after the other
    let many = 60_000;
    let text: String = (0..many)
        .map(|n| format!("{{{{define \"{n}\"}}}}x{{{{end}}}}"))
        .collect();
    assert!(Unit::parse("t", text, &functions()).is_ok());
    let text: String = (0..many)
        .map(|n| format!("{{{{$v{n} := 1}}}}{{{{$v0}}}}"))
        .collect();
    assert!(Unit::parse("t", text, &functions()).is_ok());
}

/// A host whose time is up after so many questions.
struct Impatient(u32);

impl Host for Impatient {
    fn policy(&self) -> Policy {
        Policy::Forbid
    }
    fn now(&mut self, function: &str, _: &Site<'_>) -> Result<i128, FuncError> {
        Err(FuncError::policy(function))
    }
    fn random(&mut self, function: &str, _: &Site<'_>, _: &mut [u8]) -> Result<(), FuncError> {
        Err(FuncError::policy(function))
    }
    fn expired(&mut self) -> bool {
        self.0 = self.0.saturating_sub(1);
        self.0 == 0
    }
    fn as_any(&mut self) -> &mut dyn Any {
        self
    }
}

#[test]
fn the_deadline_is_looked_at() {
    let functions = functions();
    let mut set = Set::new(&functions).with_missing_key(MissingKey::Zero);
    set.add(&Arc::new(
        Unit::parse("t", "{{range 100000000}}{{end}}", &functions).expect("a template"),
    ));
    let (mut host, cache) = (Impatient(5), TextCache::default());
    let mut machine = Machine::new(&set, &mut host, Limits::default(), &cache);
    let error = machine.execute("t", Value::Nil).expect_err("too late");
    assert_eq!(error.kind(), ErrorKind::Limit(Limit::Deadline));
    assert!(machine.fuel_used() < 10_000);
}

#[test]
fn errors_have_places_and_the_way_to_them() {
    let request = json!({
        "files": [
            {"name": "a.yaml", "text": "x\n  {{ include \"b\" .m }}"},
            {"name": "b.tpl", "text": "{{define \"b\"}}\n{{ template \"c\" . }}{{end}}{{define \"c\"}}\n   {{ upper .n.o.p }}{{end}}"},
        ],
        "execute": "a.yaml", "data": {"m": {"n": null}},
    });
    let error = render(&request).expect_err("a nil pointer");
    assert_eq!(error.kind(), ErrorKind::Execute);
    assert_eq!(error.message(), "nil pointer evaluating interface {}.o");
    let place = error.place().expect("a place");
    assert_eq!((&*place.file, place.line, place.column), ("b.tpl", 3, 15));
    let text = request["files"][1]["text"].as_str().expect("text");
    assert_eq!(&text[place.span.clone()], ".o.p");
    let stack: Vec<_> = error
        .stack()
        .iter()
        .map(|stop| (&*stop.template, stop.place.line, &*stop.context))
        .collect();
    assert_eq!(
        stack,
        [
            ("c", 3, ".n.o.p"),
            ("b", 2, "."),
            ("a.yaml", 2, "include \"b\" .m")
        ]
    );
    let error = render(&one("a\n{{ .s | nofunc }}", &json!(null))).expect_err("no such function");
    let place = error.place().expect("a place");
    assert_eq!(
        (error.kind(), place.line, place.column),
        (ErrorKind::Parse, 2, 9)
    );
}

#[test]
fn a_set_can_be_used_by_many_threads_and_layers_stay_apart() {
    fn shared<T: Send + Sync>(_: &T) {}
    let functions = functions();
    let mut set = Set::new(&functions);
    set.add(&Arc::new(
        Unit::parse(
            "t",
            "{{template \"x\"}}{{define \"x\"}}one{{end}}",
            &functions,
        )
        .expect("a template"),
    ));
    shared(&set);
    let mut above = set.overlay();
    above.add(&Arc::new(
        Unit::parse("u", "{{define \"x\"}}two{{end}}", &functions).expect("a template"),
    ));
    let run = |set: &Set| {
        let (mut host, cache) = (Nowhere, TextCache::default());
        let mut machine = Machine::new(set, &mut host, Limits::default(), &cache);
        machine.execute("t", Value::Nil).expect("output")
    };
    assert_eq!(run(&above), b"two");
    assert_eq!(run(&set), b"one");
    assert!(above.contains("u") && !set.contains("u"));
}

#[test]
fn a_machine_goes_on_after_an_error() {
    let functions = functions();
    let mut set = Set::new(&functions);
    set.add(&Arc::new(
        Unit::parse(
            "bad",
            "a{{range list 1 2}}{{with 1}}{{fail \"x\"}}{{end}}{{end}}",
            &functions,
        )
        .expect("a template"),
    ));
    set.add(&Arc::new(
        Unit::parse("good", "{{$x := .}}{{$x}}", &functions).expect("a template"),
    ));
    let (mut host, cache) = (Nowhere, TextCache::default());
    let mut machine = Machine::new(&set, &mut host, Limits::default(), &cache);
    assert!(machine.execute("bad", Value::Nil).is_err());
    assert_eq!(
        machine.execute("good", value(&json!("y"))).expect("output"),
        b"y"
    );
    let missing = machine
        .execute("none", Value::Nil)
        .expect_err("no such template");
    assert_eq!(missing.kind(), ErrorKind::Missing);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_text_panics(text in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Unit::parse("t", text, &functions());
    }

    #[test]
    fn no_template_panics(pieces in proptest::collection::vec(proptest::sample::select(vec![
        "{{", "}}", "{{-", "-}}", " ", "\n", "(", ")", "|", ".", "$", "$x", ":=", "=", ",", "1", "2.5", "\"a\"", "`b`", "'c'", "1i",
        "if", "with", "range", "end", "else", "define", "block", "template", "break", "continue", "nil", "true", "/*", "*/", ".a",
        ".l", ".m", "printf", "\"%*d\"", "index", "slice", "len", "eq", "and", "or", "call", "upper", "list", "dict", "set",
        "include", "tpl", "é", "\\", "@", "{{if .l}}", "{{range .l}}", "{{end}}", "{{.}}", "{{define \"a\"}}", "{{template \"a\" .}}",
    ]), 0..40)) {
        let limits = Limits { fuel: 100_000, ..Limits::default() };
        let data = json!({"l": [1, "a", null], "m": {"a": 1}, "a": {"$": "bytes", "v": "aGk="}});
        let _ = render_within(&one(&pieces.concat(), &data), limits);
        let _ = render_within(&one(&pieces.join(" "), &data), limits);
    }
}
