//! Compares made-up scalars and trees with Go's libraries. `GENERATED` says how many of each; a few thousand otherwise.

mod support;

use base_json::{Map, Value, json};
use base_yaml::go;
use support::{Dice, Tally, ask, oracle};

fn amount() -> usize {
    let given = std::env::var("GENERATED").ok();
    given.and_then(|n| n.parse().ok()).unwrap_or(4000)
}

const WORDS: &[&str] = &[
    "y",
    "Y",
    "yes",
    "Yes",
    "YES",
    "n",
    "no",
    "on",
    "On",
    "off",
    "OFF",
    "true",
    "True",
    "TRUE",
    "false",
    "null",
    "Null",
    "~",
    "",
    ".nan",
    ".NaN",
    ".inf",
    "-.inf",
    "+.Inf",
    "<<",
    "=",
    "-",
    "--",
    "---",
    "...",
    "?",
    ":",
    "0",
    "-0",
    "+0",
    "00",
    "08",
    "017",
    "0o17",
    "-0o17",
    "0x1F",
    "0X1f",
    "-0x1f",
    "0b101",
    "-0b11",
    "0b",
    "0x",
    "1_000",
    "_1",
    "1__0",
    "1e3",
    "1E3",
    "1e+3",
    "1e-3",
    "1.",
    ".5",
    "-.5",
    "+.5",
    "1.5.2",
    "1e",
    "e1",
    "1e400",
    "-1e400",
    "1e-400",
    "12:30",
    "12:30:45",
    "-1:2",
    "1:60",
    "1_0:5",
    "190:20:30.15",
    "2001-01-01",
    "2001-1-1",
    "2001-02-30",
    "2000-02-29",
    "2001-01-01T10:00:00Z",
    "2001-1-1t1:2:3.5+01:30",
    "2001-01-01 10:00:00",
    "2001-01-01  1:2:3,25",
    "2001-01-01 10:00:00Z",
    "2001-01-01T24:00:00Z",
    "2001-01-01T10:00:00-25:00",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "-9223372036854775809",
    "18446744073709551615",
    "18446744073709551616",
    "0x7fffffffffffffff",
    "0xffffffffffffffff",
    "0x10000000000000000",
    "1000000",
    "1e21",
    "123456789.5",
    "0.000001",
    "1e-7",
    "a: b",
    "a:b",
    "a :b",
    "a#b",
    "a #b",
    "#a",
    "- a",
    "-a",
    "? a",
    "?a",
    "&a",
    "*a",
    "!a",
    "!!int 3",
    "|",
    ">",
    "%a",
    "@a",
    "`a",
    "'a'",
    "\"a\"",
    "{a",
    "[a",
    "a}",
    "a]",
    "a,b",
    ",a",
    "a\\b",
    " a",
    "a ",
    "a\n",
    "a\nb",
    "\na",
    "a\n\n",
    "a \nb",
    "a\n b",
    "\n",
    "\n\n",
    " \n",
    "a\tb",
    "\ta",
    "a\t",
    "a\rb",
    "a\u{85}b",
    "\u{85}",
    "a\u{2028}b",
    "\u{2029}",
    "\u{feff}a",
    "a\u{feff}",
    "\u{7f}",
    "\u{a0}",
    "é",
    "日本",
    "\u{1f600}",
    "\u{0}",
    "\u{1b}",
    "\u{fffd}",
    "\u{e000}",
    "null ",
    "true#",
    "1 2",
    "1,2",
    "+",
    "+1",
    "-1",
    "0.",
    "0.0",
    "-0.0",
    "1e1_0",
    "0_1",
    "0o8",
    "0b2",
    "Infinity",
    "NaN",
    "inf",
    "0x1p4",
    "1e3.5",
    "2001-01-01T",
    "~a",
];

const ALPHABETS: &[&str] = &[
    "0123456789",
    "0123456789+-._eExXoObB:",
    "0123456789-T:. Z+,t",
    "abcyYnNoOtTfF~",
    "ab :#-?,[]{}&*!|>'\"%@`\\",
    "ab \n",
    "ab \n\t",
    "a \u{85}\u{2028}\n",
    "aé日\u{1f600} ",
    "a\u{0}\u{7}\u{1b}\u{7f}\r",
    "abc ABC.,_/-:=",
    "<>&\"\\/ab",
];

fn scalar(dice: &mut Dice) -> String {
    match dice.roll(10) {
        0 | 1 => dice.pick(WORDS).to_owned(),
        2 => format!("{}{}", dice.pick(WORDS), dice.pick(WORDS)),
        3 => {
            let words = dice.roll(40);
            let mut out: Vec<String> = Vec::new();
            for _ in 0..words {
                out.push("x".repeat(dice.roll(12)));
            }
            out.join(dice.pick(&[" ", "  ", " ", "\n"]))
        }
        4 => {
            let mut out = String::new();
            for _ in 0..dice.roll(6) {
                out.push_str(dice.pick(&["", " ", "  ", "\t"]));
                out.push_str(&"ab ".repeat(dice.roll(4)));
                out.push('\n');
            }
            out.push_str(dice.pick(&["", "x", " ", "\n"]));
            out
        }
        _ => {
            let alphabet: Vec<char> = ALPHABETS[dice.roll(ALPHABETS.len())].chars().collect();
            let len = dice.roll(14);
            (0..len).map(|_| dice.character(&alphabet)).collect()
        }
    }
}

fn number(dice: &mut Dice) -> Value {
    match dice.roll(6) {
        0 => json!(dice.roll(1000)),
        1 => json!(-1_i64 - i64::try_from(dice.roll(1 << 40)).expect("small")),
        2 => json!(u64::MAX - dice.roll(1 << 40) as u64),
        3 => {
            let bits = (dice.roll(1 << 32) as u64) << 32 | dice.roll(1 << 32) as u64;
            let float = f64::from_bits(bits);
            if float.is_finite() {
                json!(float)
            } else {
                json!(0.5)
            }
        }
        4 => {
            let exponent = i32::try_from(dice.roll(50)).expect("small") - 25;
            json!(10_f64.powi(exponent) * dice.roll(100) as f64)
        }
        _ => json!(dice.roll(1 << 20) as f64 / 8.0),
    }
}

fn tree(dice: &mut Dice, depth: usize) -> Value {
    match dice.roll(if depth == 0 { 5 } else { 12 }) {
        0 => Value::Null,
        1 => json!(dice.roll(2) == 0),
        2 => number(dice),
        3 | 4 => json!(scalar(dice)),
        5..=7 => (0..dice.roll(5)).map(|_| tree(dice, depth - 1)).collect(),
        _ => {
            let mut map = Map::new();
            for _ in 0..dice.roll(6) {
                let key = match dice.roll(12) {
                    0 => scalar(dice),
                    1 => "k".repeat(dice.roll(1100)),
                    2 => number(dice).to_string(),
                    3 => format!("a{}", dice.roll(2000)),
                    4 => format!(
                        "{}{}",
                        dice.pick(&["a", "A", "_", "-", "é", "0"]),
                        dice.roll(12)
                    ),
                    _ => (0..=dice.roll(6))
                        .map(|_| dice.character(&['a', 'b', 'A', '.', '-', '_', '1', '0']))
                        .collect(),
                };
                map.insert(key, tree(dice, depth - 1));
            }
            Value::Object(map)
        }
    }
}

/// Does Go sort these keys in one way only? Its order goes round for some.
fn sorts_in_one_way(value: &Value, stack: go::Stack) -> bool {
    match value {
        Value::Array(items) => items.iter().all(|item| sorts_in_one_way(item, stack)),
        Value::Object(map) => {
            let less = |a: &str, b: &str| go::natural_order(a, b, stack).is_lt();
            let mut keys: Vec<&str> = map.keys().map(String::as_str).collect();
            go::sort_entries(&mut keys, stack, |key| key);
            let ordered = keys.iter().enumerate().all(|(at, key)| {
                keys[at + 1..]
                    .iter()
                    .all(|later| less(key, later) && !less(later, key))
            });
            ordered && map.values().all(|item| sorts_in_one_way(item, stack))
        }
        _ => true,
    }
}

fn write(kind: &str, value: &Value) -> Result<String, String> {
    let found = match kind {
        "marshal" => go::to_yaml(value),
        "pretty" => go::to_yaml_v3(value, 2),
        _ => go::to_yaml_v3(value, 4),
    };
    found.map_err(|error| error.text)
}

fn compare_writing(name: &str, values: &[Value]) {
    let Some(program) = oracle() else { return };
    for (kind, stack) in [
        ("marshal", go::Stack::V2),
        ("pretty", go::Stack::V3),
        ("marshal3", go::Stack::V3),
    ] {
        let values: Vec<&Value> = values
            .iter()
            .filter(|value| sorts_in_one_way(value, stack))
            .collect();
        let requests: Vec<Value> = values.iter().map(|value| json!({kind: value})).collect();
        let mut tally = Tally::default();
        for ((value, request), answer) in values.iter().zip(&requests).zip(ask(&program, &requests))
        {
            tally.writing(request, &answer, write(kind, value));
        }
        tally.finish(&format!("{name}, {kind}"), 0);
    }
}

#[test]
fn writes_scalars_as_go_does() {
    let mut dice = Dice(11);
    let mut values = Vec::new();
    let words = WORDS.iter().map(|word| (*word).to_owned());
    let made: Vec<String> = (0..amount()).map(|_| scalar(&mut dice)).collect();
    for text in words.chain(made) {
        values.push(match dice.roll(5) {
            0 => json!([text]),
            1 => json!({ text: 1 }),
            2 => json!({"a": [[text]]}),
            3 => json!(text)
                .as_str()
                .map_or(Value::Null, |text| json!([[text], text])),
            _ => json!({"k": text, "l": {"m": text}}),
        });
    }
    compare_writing("scalars", &values);
}

#[test]
fn writes_trees_as_go_does() {
    let mut dice = Dice(12);
    let made = (0..amount()).map(|_| tree(&mut dice, 5));
    let values: Vec<Value> = made.filter(|value| !value.is_null()).collect();
    compare_writing("trees", &values);
}

#[test]
fn writes_bytes_as_go_does() {
    let Some(program) = oracle() else { return };
    use base64::Engine as _;
    let mut dice = Dice(13);
    let texts: Vec<Vec<u8>> = (0..amount() / 4)
        .map(|_| {
            let len = dice.roll(130);
            (0..len)
                .map(|_| [b'a', b' ', 0xc3, 0xa9, 0xff, 0xe2, 0x82, 0xac, b'\n'][dice.roll(9)])
                .collect()
        })
        .collect();
    for kind in ["raw", "raw3"] {
        let requests: Vec<Value> = texts
            .iter()
            .map(|text| json!({kind: base64::engine::general_purpose::STANDARD.encode(text)}))
            .collect();
        let mut tally = Tally::default();
        for ((text, request), answer) in texts.iter().zip(&requests).zip(ask(&program, &requests)) {
            let mut writer = if kind == "raw" {
                go::Writer::sigs()
            } else {
                go::Writer::v3(4)
            };
            writer.begin_map(1);
            writer.str("k");
            writer.bytes(text);
            writer.end();
            tally.writing(
                request,
                &answer,
                writer.finish().map_err(|error| error.text),
            );
        }
        tally.finish(&format!("bytes, {kind}"), 0);
    }
}

/// A text as people might write it: scalars in all styles, in all places.
fn document(dice: &mut Dice, indent: usize, depth: usize) -> String {
    let pad = " ".repeat(indent);
    let leaf = |dice: &mut Dice| -> String {
        let text = scalar(dice);
        match dice.roll(7) {
            0 => format!("'{}'", text.replace('\'', "''")),
            1 => format!("\"{text}\""),
            2 => format!(
                "{}\n{pad}  {}",
                dice.pick(&["|", ">", "|-", ">-", "|+", ">+", "|2", ">1-", "| # c"]),
                text.replace('\n', &format!("\n{pad}  "))
            ),
            3 => format!(
                "{} {text}",
                dice.pick(&[
                    "!!str",
                    "!!int",
                    "!!float",
                    "!!bool",
                    "!!null",
                    "!!binary",
                    "!!timestamp",
                    "!x",
                    "!",
                    "!<tag:yaml.org,2002:int>",
                    "&a",
                    "&b",
                    "*a",
                    "*b"
                ])
            ),
            4 => format!("[{text}, {}]", dice.pick(WORDS)),
            5 => format!("{{{text}: {}, b}}", dice.pick(WORDS)),
            _ => text,
        }
    };
    let mut out = String::new();
    for _ in 0..=dice.roll(3) {
        let nested = depth > 0 && dice.roll(3) == 0;
        let value = if nested {
            let inner = indent + dice.roll(3);
            format!(
                "{}\n{}",
                dice.pick(&["", "&a", "# c", "!!map"]),
                document(dice, inner, depth - 1)
            )
        } else {
            leaf(dice) + "\n"
        };
        let key = match dice.roll(8) {
            0 => leaf(dice),
            1 => dice.pick(WORDS).to_owned(),
            2 => "<<".to_owned(),
            _ => dice.pick(&["a", "b", "c d", "1", "'k'"]).to_owned(),
        };
        match dice.roll(6) {
            0 => out.push_str(&format!("{pad}- {value}")),
            1 => out.push_str(&format!("{pad}? {key}\n{pad}: {value}")),
            2 => out.push_str(&format!("{pad}- {key}: {value}")),
            _ => out.push_str(&format!("{pad}{key}: {value}")),
        }
    }
    out
}

#[test]
fn reads_documents_as_go_does() {
    let Some(program) = oracle() else { return };
    let mut dice = Dice(14);
    let mut texts: Vec<String> = WORDS.iter().map(|word| format!("k: {word}\n")).collect();
    for _ in 0..amount() {
        texts.push(match dice.roll(4) {
            0 => format!("k: {}\n", scalar(&mut dice)),
            1 => scalar(&mut dice),
            _ => document(&mut dice, 0, 3),
        });
    }
    for kind in ["read", "strict", "v3"] {
        let requests: Vec<Value> = texts.iter().map(|text| json!({kind: text})).collect();
        let mut tally = Tally::default();
        for ((text, request), answer) in texts.iter().zip(&requests).zip(ask(&program, &requests)) {
            let bytes = text.as_bytes();
            let found = match kind {
                "read" => go::yaml_to_json(bytes),
                "strict" => go::yaml_to_json_strict(bytes),
                _ => go::unmarshal_v3(bytes).map(|value| support::typed(&value)),
            };
            tally.reading(request, &answer, found.map_err(|error| error.text));
        }
        tally.finish(&format!("documents, {kind}"), 0);
    }
}

#[test]
fn writes_floats_as_go_does() {
    let Some(program) = oracle() else { return };
    let mut dice = Dice(15);
    let floats: Vec<f64> = (0..amount())
        .filter_map(|_| number(&mut dice).as_f64())
        .collect();
    let requests: Vec<Value> = floats
        .iter()
        .map(|float| json!({"float": format!("{float:e}")}))
        .collect();
    for (float, answer) in floats.iter().zip(ask(&program, &requests)) {
        assert_eq!(go::json_float(*float).as_deref(), answer["json"].as_str());
        assert_eq!(Some(go::format_g(*float).as_str()), answer["text"].as_str());
    }
}
