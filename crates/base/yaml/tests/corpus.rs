//! Compares reading and writing of real files, whole and broken, with Go's libraries.

mod support;

use base_json::{Value, json};
use support::{Dice, Tally, ask, corpus, oracle};

fn read(text: &str) -> Result<Value, String> {
    base_yaml::go::yaml_to_json(text.as_bytes()).map_err(|error| error.text)
}

fn strict(text: &str) -> Result<Value, String> {
    base_yaml::go::yaml_to_json_strict(text.as_bytes()).map_err(|error| error.text)
}

fn read3(text: &str) -> Result<Value, String> {
    let found = base_yaml::go::unmarshal_v3(text.as_bytes());
    found
        .map(|value| support::typed(&value))
        .map_err(|error| error.text)
}

/// The files as they are, and document by document.
fn texts() -> Vec<String> {
    let mut out = Vec::new();
    for (_, text) in corpus() {
        if text.contains("\n---") {
            out.extend(text.split("\n---").map(str::to_owned));
        }
        out.push(text);
    }
    out
}

fn compare_reading(
    name: &str,
    kind: &str,
    texts: &[String],
    f: fn(&str) -> Result<Value, String>,
    allowed: usize,
) {
    let Some(program) = oracle() else { return };
    let requests: Vec<Value> = texts.iter().map(|text| json!({kind: text})).collect();
    let answers = ask(&program, &requests);
    let mut tally = Tally::default();
    for ((text, request), answer) in texts.iter().zip(&requests).zip(&answers) {
        tally.reading(request, answer, f(text));
    }
    tally.finish(name, allowed);
}

#[test]
fn reads_real_files_as_go_does() {
    compare_reading("corpus", "read", &texts(), read, 0);
}

#[test]
fn reads_real_files_strictly_as_go_does() {
    compare_reading("corpus, strict", "strict", &texts(), strict, 0);
}

#[test]
fn reads_real_files_as_version_3_does() {
    compare_reading("corpus, version 3", "v3", &texts(), read3, 0);
}

#[test]
fn writes_real_files_as_go_does() {
    let Some(program) = oracle() else { return };
    let values: Vec<Value> = texts()
        .iter()
        .filter_map(|text| read(text).ok())
        .filter(|value| !value.is_null())
        .collect();
    for kind in ["marshal", "pretty", "marshal3"] {
        let requests: Vec<Value> = values.iter().map(|value| json!({kind: value})).collect();
        let mut tally = Tally::default();
        for ((value, request), answer) in values.iter().zip(&requests).zip(ask(&program, &requests))
        {
            let found = match kind {
                "marshal" => base_yaml::go::to_yaml(value),
                "pretty" => base_yaml::go::to_yaml_v3(value, 2),
                _ => base_yaml::go::to_yaml_v3(value, 4),
            };
            tally.writing(request, &answer, found.map_err(|error| error.text));
        }
        tally.finish(&format!("corpus, {kind}"), 0);
    }
}

/// Breaks a text in one place or a few, as people and programs do.
fn mutate(text: &str, dice: &mut Dice) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    if lines.is_empty() {
        lines.push(String::new());
    }
    for _ in 0..=dice.roll(2) {
        let at = dice.roll(lines.len());
        let line = &mut lines[at];
        let chars: Vec<char> = line.chars().collect();
        let place = dice.roll(chars.len() + 1);
        let put = |extra: &str| -> String {
            let (before, after) = chars.split_at(place);
            before.iter().collect::<String>() + extra + &after.iter().collect::<String>()
        };
        match dice.roll(16) {
            0 => {
                *line = put(dice.pick(&[
                    ":", "-", "[", "]", "{", "}", ",", "#", "&", "*", "!", "|", ">", "'", "\"",
                    "%", "@", "`", "?", "\\", "~", "<<",
                ]))
            }
            1 => {
                *line = put(dice.pick(&[
                    ": ", " :", " #", "- ", "? ", ", ", "\t", "  ", "&a ", "*a ", "!!int ", "--- ",
                    "... ",
                ]))
            }
            2 => {
                let (a, b) = chars.split_at(place);
                *line = a.iter().chain(b.iter().skip(1)).collect();
            }
            3 => *line = format!("{}{line}", dice.pick(&[" ", "  ", "\t", "   "])),
            4 => *line = line.strip_prefix(' ').unwrap_or(line).to_owned(),
            5 => *line = line.strip_prefix("  ").unwrap_or(line).to_owned(),
            6 => {
                lines.remove(at);
                if lines.is_empty() {
                    lines.push(String::new());
                }
            }
            7 => {
                let copy = lines[at].clone();
                let to = dice.roll(lines.len());
                lines.insert(to, copy);
            }
            8 => lines.truncate(at + 1),
            9 => *line = chars[..place].iter().collect(),
            10 => {
                let other = dice.roll(lines.len());
                lines.swap(at, other);
            }
            11 => lines.insert(
                at,
                dice.pick(&[
                    "---",
                    "...",
                    "# note",
                    "",
                    "\t",
                    "  ",
                    "- a",
                    "a: b",
                    "%YAML 1.1",
                    "? a",
                    ": b",
                    "{a: b",
                    "[a",
                    "\"x",
                    "'y",
                ])
                .to_owned(),
            ),
            12 => {
                *line = put(dice.pick(&[
                    "\u{7}",
                    "\u{85}",
                    "\u{2028}",
                    "\u{feff}",
                    "é",
                    "\u{1f600}",
                    "\u{7f}",
                ]))
            }
            13 => {
                *line = line.replacen(
                    ": ",
                    dice.pick(&[":", " : ", ":\t", ": : ", ": - ", ": |", ": >-\n"]),
                    1,
                )
            }
            14 => *line = line.replacen("- ", dice.pick(&["-", "  - ", "-\t", "- - ", "-- "]), 1),
            _ => *line = line.replace('"', dice.pick(&["", "'", "\\\"", "\"\""])),
        }
    }
    let mut out = lines.join("\n");
    if dice.roll(8) > 0 {
        out.push('\n');
    }
    out
}

fn mutations(seed: u64, of_each: usize) -> Vec<String> {
    let mut dice = Dice(seed);
    let files = corpus();
    let small: Vec<&String> = files
        .iter()
        .map(|(_, text)| text)
        .filter(|text| text.len() < 6000)
        .collect();
    small
        .iter()
        .flat_map(|text| {
            (0..of_each)
                .map(|_| mutate(text, &mut dice))
                .collect::<Vec<_>>()
        })
        .collect()
}

#[test]
fn refuses_what_go_refuses() {
    let of_each = std::env::var("MUTATIONS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(3);
    compare_reading("mutations", "read", &mutations(1, of_each), read, 0);
    compare_reading(
        "mutations, strict",
        "strict",
        &mutations(2, of_each),
        strict,
        0,
    );
    compare_reading(
        "mutations, version 3",
        "v3",
        &mutations(3, of_each),
        read3,
        0,
    );
}
