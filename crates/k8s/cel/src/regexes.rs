//! Regular expressions as Go's `regexp` reads them.

pub(crate) use regex::bytes::Regex;

use crate::value::{Value, list, text};

/// Compiles a pattern; what is wrong otherwise, in Go's words.
pub(crate) fn compile(pattern: &str) -> Result<Regex, String> {
    base_regexp::compile(pattern.as_bytes()).map(|compiled| compiled.regex)
}

/// A match, which lies between characters.
fn found<'a>(subject: &'a str, at: &regex::bytes::Match<'_>) -> &'a str {
    subject.get(at.range()).unwrap_or_default()
}

pub(crate) fn find<'a>(regex: &Regex, subject: &str) -> Value<'a> {
    let first = regex.find(subject.as_bytes());
    text(first.map_or("", |at| found(subject, &at)))
}

pub(crate) fn find_all<'a>(regex: &Regex, subject: &str, count: i64) -> Value<'a> {
    let most = usize::try_from(count).unwrap_or(usize::MAX);
    let all = regex.find_iter(subject.as_bytes()).take(most);
    list(all.map(|at| text(found(subject, &at))).collect())
}
