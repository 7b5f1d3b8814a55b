//! What is written reads back; no text makes the reader panic.

use base_json::{Map, Value};
use proptest::prelude::*;

fn number() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        // a float without a fraction is written, and so read, as an integer
        any::<f64>()
            .prop_filter("finite with a fraction", |f| f.is_finite()
                && f.fract() != 0.0)
            .prop_map(Value::from),
    ]
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "\\PC{0,12}",
        "[ \\n\\t:#'\"\\-a-c,\\[\\]{}&*!|>%@`?~=.0-9_+xobeEny]{0,14}",
        "(yes|no|on|off|null|~|true|0x1f|0o7|017|1_0|1e3|\\.inf|<<|=|2001-01-01|12:30)",
        "([a-z ]{0,30}\\n){0,4}[a-z ]{0,4}",
        "[a-z ]{60,200}",
        ".{0,6}",
    ]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        number(),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map(text(), inner, 0..5)
                .prop_map(|map| Value::Object(map.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn reads_what_it_writes(value in value()) {
        let text = base_yaml::to_string(&value);
        let documents = base_yaml::parse_documents(&text, "t.yaml")
            .unwrap_or_else(|error| panic!("{}\n{text}", error.report()));
        let found = documents.into_iter().next().map_or(Value::Null, |document| document.value);
        prop_assert_eq!(found, value, "{}", text);
    }

    #[test]
    fn no_text_is_too_odd(text in "[ \\n\\t:#'\"\\-a-c,\\[\\]{}&*!|>%@`?~=.0-9<]{0,60}") {
        if let Err(error) = base_yaml::parse_documents(&text, "t.yaml") {
            prop_assert!(error.line >= 1 && error.column >= 1);
            prop_assert!(!error.report().is_empty());
        }
    }
}
