//! What came out of helm beside what came out of us.

use serde_json::Value;

use super::random::{Rules, differing};

/// One document with the line that names its template.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Document {
    pub(super) source: String,
    pub(super) text: String,
}

/// Cuts helm's output at the lines that it puts before each document.
pub(super) fn documents(output: &str) -> Vec<Document> {
    let mut out: Vec<Document> = Vec::new();
    let mut lines = output.split_inclusive('\n').peekable();
    while let Some(line) = lines.next() {
        let source = lines
            .peek()
            .and_then(|next| next.strip_prefix("# Source: "))
            .map(|source| source.trim_end().to_owned());
        match (line.trim_end_matches('\n'), source) {
            ("---", Some(source)) => {
                lines.next();
                out.push(Document {
                    source,
                    text: String::new(),
                });
            }
            _ => {
                if let Some(last) = out.last_mut() {
                    last.text.push_str(line);
                }
            }
        }
    }
    out
}

/// How two outputs compare.
#[derive(Debug, Default)]
pub(super) struct Comparison {
    /// The whole output is the same, byte for byte, random fields aside.
    pub(super) bytes: bool,
    /// Each object is the same, random fields aside.
    pub(super) objects: bool,
    pub(super) documents: usize,
    pub(super) documents_equal: usize,
    /// Fields that are random with helm itself.
    pub(super) random: usize,
    /// What differs, in words.
    pub(super) differences: Vec<String>,
    /// Random fields that the list does not name.
    pub(super) unlisted: Vec<String>,
}

/// Compares our output with two runs of helm.
pub(super) fn compare(real: &str, again: &str, ours: &str, rules: &Rules) -> Comparison {
    let (real_docs, again_docs, our_docs) = (documents(real), documents(again), documents(ours));
    let mut result = Comparison {
        bytes: true,
        objects: true,
        documents: real_docs.len(),
        ..Comparison::default()
    };
    if real_docs.len() != our_docs.len() {
        result.objects = false;
        let names = |docs: &[Document]| docs.iter().map(|it| it.source.clone()).collect::<Vec<_>>();
        let (real, ours) = (names(&real_docs), names(&our_docs));
        let missing: Vec<_> = real.iter().filter(|it| !ours.contains(it)).collect();
        let more: Vec<_> = ours.iter().filter(|it| !real.contains(it)).collect();
        result.differences.push(format!(
            "{} documents, not {}; missing: {missing:?}, too many: {more:?}",
            ours.len(),
            real.len()
        ));
    }
    for (index, real) in real_docs.iter().enumerate() {
        let again = again_docs.get(index).unwrap_or(real);
        match our_docs.get(index) {
            Some(ours) => document(real, again, ours, rules, &mut result),
            None => result.objects = false,
        }
    }
    // What stands around documents counts as well: the whole must be the same if its parts are.
    result.bytes = result.documents_equal == real_docs.len() && real_docs.len() == our_docs.len();
    if result.bytes && result.random == 0 && real != ours {
        result.bytes = false;
        result
            .differences
            .push("the framing of documents".to_owned());
    }
    result
}

fn document(
    real: &Document,
    again: &Document,
    ours: &Document,
    rules: &Rules,
    result: &mut Comparison,
) {
    if real == ours {
        result.documents_equal += 1;
        return;
    }
    if real.source != ours.source {
        result.objects = false;
        result.differences.push(format!(
            "{} stands where {} should",
            ours.source, real.source
        ));
        return;
    }
    let object = |text: &str| base_yaml::go::unmarshal(text.as_bytes()).unwrap_or(Value::Null);
    let (mut one, other, mut own) = (object(&real.text), object(&again.text), object(&ours.text));
    let kind = one["kind"].as_str().unwrap_or_default().to_owned();
    let mut listed = true;
    for path in differing(&one, &other) {
        if rules.allow(&kind, &path) {
            result.random += 1;
            for value in [&mut one, &mut own] {
                if let Some(value) = value.pointer_mut(&path) {
                    *value = Value::String("(random)".to_owned());
                }
            }
        } else {
            listed = false;
            result
                .unlisted
                .push(format!("{}: {kind} {path}", real.source));
        }
    }
    let paths = differing(&one, &own);
    if !paths.is_empty() {
        result.objects = false;
        let shown: Vec<String> = paths
            .iter()
            .take(3)
            .map(|path| {
                let value = |of: &Value| {
                    of.pointer(path)
                        .map_or("nothing".to_owned(), |it| shorten(&it.to_string()))
                };
                format!("{path}: {} instead of {}", value(&own), value(&one))
            })
            .collect();
        result.differences.push(format!(
            "{}: {} fields differ: {}",
            real.source,
            paths.len(),
            shown.join("; ")
        ));
    } else if listed && same_but_random(&real.text, &again.text, &ours.text) {
        result.documents_equal += 1;
    } else {
        let line = real
            .text
            .lines()
            .zip(ours.text.lines())
            .position(|(real, ours)| real != ours);
        let shown = line.map_or("its end".to_owned(), |line| {
            let at = |text: &str| shorten(text.lines().nth(line).unwrap_or_default());
            format!(
                "line {}: {:?} instead of {:?}",
                line + 1,
                at(&ours.text),
                at(&real.text)
            )
        });
        result.differences.push(format!(
            "{}: same object, other bytes at {shown}",
            real.source
        ));
    }
}

/// Whether texts are the same but where two runs of helm differ.
fn same_but_random(real: &str, again: &str, ours: &str) -> bool {
    let lines = |text: &str| text.split('\n').map(str::to_owned).collect::<Vec<_>>();
    let (real, again, ours) = (lines(real), lines(again), lines(ours));
    real.len() == again.len()
        && real.len() == ours.len()
        && real
            .iter()
            .zip(&again)
            .zip(&ours)
            .all(|((real, again), ours)| {
                if real == again {
                    return real == ours;
                }
                let common = real
                    .bytes()
                    .zip(again.bytes())
                    .take_while(|(one, other)| one == other);
                // Chance may make the beginnings of two random values the same.
                let common = &real.as_bytes()[..common.count()];
                let word = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
                let fixed = common
                    .iter()
                    .rposition(|byte| !word(byte))
                    .map_or(0, |at| at + 1);
                ours.as_bytes().starts_with(&real.as_bytes()[..fixed])
            })
}

fn shorten(text: &str) -> String {
    if text.chars().count() <= 100 {
        return text.to_owned();
    }
    let start: String = text.chars().take(100).collect();
    format!("{start}…")
}

/// The first place that an error names: `chart/templates/x.yaml:3`, or a line of YAML.
pub(super) fn place(error: &str) -> Option<String> {
    let bytes = error.as_bytes();
    for (at, _) in error.match_indices(':') {
        let digits = error[at + 1..]
            .bytes()
            .take_while(u8::is_ascii_digit)
            .count();
        if digits == 0 {
            continue;
        }
        let name = |byte: &u8| byte.is_ascii_alphanumeric() || b"_./-".contains(byte);
        let begin = bytes[..at]
            .iter()
            .rposition(|byte| !name(byte))
            .map_or(0, |it| it + 1);
        if error[begin..at].contains('.') || error[begin..at] == *"gotpl" {
            return Some(error[begin..at + 1 + digits].to_owned());
        }
    }
    let at = error.find("yaml: line ")?;
    let rest = &error[at..];
    let end = rest.find(": ").map_or(rest.len(), |it| it);
    let end = rest[end + 1..]
        .find(':')
        .map_or(rest.len(), |it| end + 1 + it);
    Some(rest[..end].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_are_cut_and_compared() {
        let real = "---\n# Source: a/b.yaml\nkind: Secret\ndata:\n  p: abc\n---\n# Source: a/c.yaml\nx: 1\n";
        let again = real.replace("abc", "xyz");
        let ours = real.replace("abc", "qqq");
        let rules = Rules::read();
        let same = compare(real, &again, &ours, &rules);
        assert!(same.bytes && same.objects, "{same:?}");
        assert_eq!((same.documents, same.random), (2, 1));
        // what is not random with helm is never left out
        let other = compare(real, real, &ours, &rules);
        assert!(!other.bytes && !other.objects);
        let quoted = compare(real, real, &real.replace("x: 1", "x: 0x1"), &rules);
        assert!(!quoted.bytes && quoted.objects, "{quoted:?}");
    }

    #[test]
    fn places_are_found() {
        for (error, wanted) in [
            (
                "execution error at (c/templates/a.yaml:3:5): no",
                Some("c/templates/a.yaml:3"),
            ),
            (
                "c/templates/a.yaml:1:13\n  executing",
                Some("c/templates/a.yaml:1"),
            ),
            (
                "YAML parse error on c/a.yaml: error converting YAML to JSON: yaml: line 7: did not",
                Some("yaml: line 7"),
            ),
            ("nothing", None),
        ] {
            assert_eq!(place(error).as_deref(), wanted, "{error}");
        }
    }
}
