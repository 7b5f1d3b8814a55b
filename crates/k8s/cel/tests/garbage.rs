//! Nonsense is refused or run within bounds, and never breaks anything.

use std::sync::Arc;

use k8s_cel::{Decl, Environment, Schema, value};
use serde_json::json;

fn run(text: &str) -> Result<u64, String> {
    let schema = Schema::new(&json!({"type": "object", "properties": {
        "a": {"type": "string"}, "n": {"type": "integer"}, "l": {"type": "array", "items": {"type": "integer"}}}}));
    let object = json!({"a": "x", "n": 1, "l": [1, 2]});
    let decl = Decl::of(&schema, true).expect("a type");
    let environment = Environment::new(Arc::new(decl), false);
    let program = environment.compile(text)?;
    let this = value(&object, &schema);
    Ok(program.run(Some(this.clone()), Some(this), 1_000_000).cost)
}

fn refused(text: &str, why: &str) {
    let said = run(text).expect_err("it is refused");
    assert!(said.contains(why), "{said}");
}

#[test]
fn depth_is_bounded() {
    for open in ["(", "[", "{1:", "!(", "-(", "f(", "a[", "[?", "true?"] {
        assert!(run(&open.repeat(5000)).is_err(), "{open}");
    }
    let limit = "expression recursion limit exceeded: 250";
    refused(&format!("{}1{}", "(".repeat(300), ")".repeat(300)), limit);
    refused(&format!("1{}", " + 1".repeat(300)), limit);
    refused(&format!("self{}", ".a".repeat(300)), limit);
    assert_eq!(run(&format!("true{}", " && true".repeat(3000))), Ok(0));
}

#[test]
fn size_is_bounded() {
    let limit = "expression code point size exceeds limit: size: 100001, limit 100000";
    refused(&"a".repeat(100_001), limit);
    let chain = format!("self.?a{}", ".optMap(x, x)".repeat(60));
    refused(&chain, "expression is too large");
}

#[test]
fn work_is_bounded() {
    for text in [
        "lists.range(100000000000)".to_owned(),
        "lists.range(1000).map(x, lists.range(1000).map(y, lists.range(1000)))".to_owned(),
        "lists.range(900000).distinct()".to_owned(),
        format!(
            "'x'{}.size()",
            ".replace('', 'xxxxxxxxxxxxxxxx')".repeat(60)
        ),
        "'%.999999999f %.99999999e'.format([1.5, 1.5])".to_owned(),
        "lists.range(100000).map(x, 'aaaaaaaaaaaaaaaaaaaaaaaa').join('bbbbbbbbbbbbbbbbbb')"
            .to_owned(),
        "'aaaaaaaaaaaaaaaaaaaaaaaaaaaaa'.matches('(a*)*(a*)*(a*)*b')".to_owned(),
        "self.a.matches(self.a + '((((a{1000}){1000}){1000}){1000})')".to_owned(),
        "quantity('1e2147483647')".to_owned(),
        "quantity('1e-2147483647').add(quantity('1e99999999'))".to_owned(),
    ] {
        let _ = run(&text);
    }
}

#[test]
fn random_tokens_never_break() {
    const TOKENS: &[&str] = &[
        "self",
        ".",
        "a",
        "l",
        "[",
        "]",
        "(",
        ")",
        "{",
        "}",
        "?",
        ":",
        ",",
        "+",
        "-",
        "*",
        "/",
        "%",
        "&&",
        "||",
        "!",
        "==",
        "!=",
        "<",
        "in",
        "1",
        "1u",
        "1.5",
        "'x'",
        "b'x'",
        "null",
        "true",
        "has",
        "all",
        "map",
        "filter",
        "exists",
        "x",
        "size",
        "optMap",
        "sortBy",
        "transformMap",
        "format",
        "'%s'",
        "matches",
        "'('",
        " ",
        "\n",
        "é",
        "\"",
        "'''",
        "r'",
        "0x",
        "\\",
        "`",
        "@",
        "duration('1h')",
        "timestamp('x')",
        "quantity('1')",
        "dyn",
        "type",
        "int",
        "[?",
        ".?",
        "[1, 2]",
        "oldSelf",
    ];
    let mut state = 42_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % 1_000_003).unwrap_or_default()
    };
    for _ in 0..20_000 {
        let text: String = (0..next() % 24)
            .map(|_| TOKENS[next() % TOKENS.len()])
            .collect();
        let _ = run(&text);
    }
}
