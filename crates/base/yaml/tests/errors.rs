//! What is refused, and where the caret points.

use base_yaml::{parse_documents, parse_file};

fn check(text: &str, expected: &str) {
    let found = match parse_documents(text, "a.yaml") {
        Ok(documents) => documents
            .iter()
            .map(|d| format!("{}@{} {}", d.index, d.line, d.value))
            .collect::<Vec<_>>()
            .join("\n"),
        Err(error) => error.report(),
    };
    assert_eq!(found, expected, "{text:?}");
}

#[test]
fn documents_know_their_line() {
    check(
        "a: 1\n---\n# note\n\nb: 2\n---\n---\n--- \nc: 3\n...\n",
        "0@1 {\"a\":1}\n1@5 {\"b\":2}\n4@9 {\"c\":3}",
    );
    check("", "");
    check("# only a comment\n", "");
    check("\u{feff}a: 1\r\nb:\r\n- 2\r\n", "0@1 {\"a\":1,\"b\":[2]}");
    check("a: |\r\n  x\r\n  y\r\n", "0@1 {\"a\":\"x\\ny\\n\"}");
    check("a:\t1\nb:\t\tx\n", "0@1 {\"a\":1,\"b\":\"x\"}");
}

#[test]
fn mistakes_have_a_place() {
    check(
        "a: 1\nb: 2\na: 3\n",
        "a.yaml:3:1: duplicate key \"a\": it stands in line 1 already\n3 | a: 3\n  | ^",
    );
    check(
        "spec:\n  on: 1\n  yes: 2\n",
        "a.yaml:3:3: duplicate key \"true\": it stands in line 2 already\n3 |   yes: 2\n  |   ^",
    );
    check(
        "a: .inf\n",
        "a.yaml:1:4: .inf has no form in JSON; quote it if it is meant as text\n1 | a: .inf\n  |    ^",
    );
    check(
        "~: 1\n",
        "a.yaml:1:1: null cannot be a key; quote it if it is meant as text\n1 | ~: 1\n  | ^",
    );
    check(
        "[a]: 1\n",
        "a.yaml:1:1: a map or a list cannot be a key\n1 | [a]: 1\n  | ^",
    );
    check(
        "a: \u{7}b\n",
        "a.yaml:1:4: control character U+0007 is not allowed\n1 | a:  b\n  |    ^",
    );
    check(
        "a: &x [*x]\n",
        "a.yaml:1:8: an anchor's value contains itself\n1 | a: &x [*x]\n  |        ^",
    );
    check(
        "x: 1\n<<: 3\n",
        "a.yaml:2:5: merge key << needs a map or a list of maps\n2 | <<: 3\n  |     ^",
    );
    check(
        "a: !!int b\n",
        "a.yaml:1:4: \"b\" is not a !!int\n1 | a: !!int b\n  |    ^",
    );
}

#[test]
fn an_anchor_ends_with_its_document() {
    let error = parse_documents("a: &x 1\n---\nb: *x\n", "a.yaml").unwrap_err();
    assert_eq!((error.line, error.column), (3, 4));
}

#[test]
fn aliases_expand_to_a_bounded_size() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..10 {
        let before = format!("*a{}", level - 1);
        let items = vec![before; 10].join(", ");
        text.push_str(&format!("a{level}: &a{level} [{items}]\n"));
    }
    let error = parse_documents(&text, "a.yaml").unwrap_err();
    assert_eq!(
        error.message,
        "aliases expand to more than 16 MiB; write the values out, or split the file"
    );
}

#[test]
fn nesting_is_bounded() {
    for text in [
        "[".repeat(100_000),
        "- ".repeat(5_000),
        "{a: ".repeat(100_000),
    ] {
        let error = parse_documents(&text, "a.yaml").unwrap_err();
        assert!(
            error.message.contains("nesting is deeper than 120 levels")
                || error.message.contains("recursion"),
            "{error}"
        );
    }
}

#[test]
fn a_long_line_is_cut_around_the_place() {
    let text = format!("a: \"{}\" b: c\n", "x".repeat(500));
    let error = parse_documents(&text, "a.yaml").unwrap_err();
    let lines: Vec<&str> = error.excerpt.lines().collect();
    assert!(
        lines.iter().all(|line| line.chars().count() < 120),
        "{}",
        error.excerpt
    );
}

#[test]
fn json_files_are_strict() {
    let check = |bytes: &[u8], expected: &str| {
        let found = match parse_file(bytes, "a.json") {
            Ok(documents) => format!("{documents:?}"),
            Err(error) => error.to_string(),
        };
        assert_eq!(found, expected);
    };
    check(b"{\"a\": 1,\n \"a\": 2}", "a.json:2:4: duplicate key \"a\"");
    check(b"{} {}", "a.json:1:4: trailing characters");
    check(b"\xff{}", "a.json:1:1: text is not UTF-8");
    check(b"", "[]");
    assert_eq!(
        parse_file(b"\n\n{\"a\": yes}", "a.json").unwrap_err().line,
        3
    );
    assert_eq!(
        parse_file(b"\n\n{\"a\": 1}", "a.json").expect("json")[0].line,
        3
    );
    assert_eq!(
        parse_file(b"a: b\nc: \xff", "a.yaml")
            .unwrap_err()
            .to_string(),
        "a.yaml:2:4: text is not UTF-8"
    );
}

#[test]
fn one_long_line_is_read_in_linear_time() {
    let text = format!("[{}{{}}]", "{\"a\": [1]}, ".repeat(100_000));
    let documents = parse_documents(&text, "a.yaml").expect("read");
    assert_eq!(documents[0].value.as_array().map(Vec::len), Some(100_001));
}

#[test]
fn a_mistake_has_go_s_words_too() {
    let check = |text: &str, expected: &str| {
        let error = base_yaml::go::unmarshal(text.as_bytes()).unwrap_err();
        assert_eq!(
            error.text,
            format!("error converting YAML to JSON: {expected}")
        );
        let ours = parse_documents(text, "a.yaml").unwrap_err();
        if let Some(go) = ours.go {
            assert_eq!(go.text, expected);
        }
    };
    check(
        "a: 1\nb: c: d\n",
        "yaml: line 2: mapping values are not allowed in this context",
    );
    check(
        "a:\n  b: 1\n c: 2\n",
        "yaml: line 2: did not find expected key",
    );
    check("a: [1\n", "yaml: line 1: did not find expected ',' or ']'");
    check("a: \"x\n", "yaml: line 2: found unexpected end of stream");
    check(
        "a:\n\tb: 1\n",
        "yaml: line 2: found character that cannot start any token",
    );
    check("a: *x\n", "yaml: unknown anchor 'x' referenced");
    check("a: \u{7}\n", "yaml: control characters are not allowed");
    check("a: .inf\n", "json: unsupported value: +Inf");
}

#[test]
fn three_modes_for_a_key_that_stands_twice() {
    let text = "a: 1\nb: {a: 2, a: 3}\na: 4\n";
    assert_eq!(
        base_yaml::go::unmarshal(text.as_bytes())
            .expect("the last counts")
            .to_string(),
        r#"{"a":4,"b":{"a":3}}"#
    );
    assert_eq!(
        base_yaml::go::unmarshal_strict(text.as_bytes())
            .unwrap_err()
            .text,
        "error converting YAML to JSON: yaml: unmarshal errors:\n  line 2: key \"a\" already set in map\n  line 3: key \"a\" already set in map"
    );
    assert_eq!(
        parse_documents(text, "a.yaml").unwrap_err().to_string(),
        "a.yaml:2:11: duplicate key \"a\": it stands in line 2 already"
    );
    assert_eq!(
        base_yaml::go::unmarshal_v3(text.as_bytes())
            .unwrap_err()
            .text,
        "yaml: unmarshal errors:\n  line 3: mapping key \"a\" already defined at line 1"
    );
}

#[test]
fn odd_shapes_are_read_in_linear_time() {
    let many = 60_000;
    for text in [
        "{a: b, ".repeat(many),
        "[a, ".repeat(100) + &"b, ".repeat(many),
        "a: [".repeat(many),
        "? ".repeat(many),
        "- - - -\n".repeat(many),
        "&a ".repeat(many),
        "!a ".repeat(many),
        "a: &b *b\n".repeat(many),
        "'".repeat(many),
        "\"\\\n".repeat(many),
        "a:\n".repeat(many),
        " \n".repeat(many),
        "# c\n\t".repeat(many),
        "1: a\n'1': b\n".repeat(many / 10),
        "%TAG !a! b\n".repeat(many / 10),
    ] {
        let _ = parse_documents(&text, "a.yaml");
        let _ = base_yaml::go::unmarshal(text.as_bytes());
        let _ = base_yaml::go::unmarshal_strict(text.as_bytes());
        let _ = base_yaml::go::unmarshal_v3(text.as_bytes());
    }
}
