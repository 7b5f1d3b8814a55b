//! Cutting what a file rendered to into documents, as each release of Helm does.

use crate::Dialect;

/// The documents of a text and the line that each begins in, from 1. Blank ones are left out.
pub(crate) fn documents(text: &str, dialect: Dialect) -> Vec<(usize, &str)> {
    let cut = if dialect.keeps_document_ends() {
        at_line_starts(text)
    } else {
        with_blanks_around(text)
    };
    let mut lines = LineCounter {
        text,
        at: 0,
        line: 1,
    };
    cut.into_iter()
        .filter(|document| !document.is_empty())
        .map(|document| (lines.line_of(document), document))
        .collect()
}

/// Since 4.2.4: a mark and the blanks behind it go, and what ends a document stays.
fn at_line_starts(text: &str) -> Vec<&str> {
    let text = text.trim_start();
    let (mut out, mut from, mut search) = (Vec::new(), 0, 0);
    while let Some(found) = text[search..].find("---") {
        let at = search + found;
        if at > 0 && !text[..at].ends_with('\n') {
            search = at + 1;
            continue;
        }
        out.push(&text[from..at]);
        let behind = &text[at + 3..];
        from = text.len() - behind.trim_start_matches([' ', '\t']).len();
        search = from;
    }
    out.push(&text[from..]);
    out.into_iter()
        .map(str::trim_start)
        .filter(|document| !document.trim().is_empty())
        .collect()
}

/// Before: all blanks around a mark go with it, so that a mark right behind another one is part of a document.
fn with_blanks_around(text: &str) -> Vec<&str> {
    let text = text.trim();
    let blank = |char: char| matches!(char, ' ' | '\t' | '\n' | '\x0c' | '\r');
    let (mut out, mut from, mut search) = (Vec::new(), 0, 0);
    while let Some(found) = text[search..].find("---") {
        let at = search + found;
        if at > 0 && !(at > from && text[from..at].ends_with('\n')) {
            search = at + 1;
            continue;
        }
        out.push(&text[from..at]);
        from = text.len() - text[at + 3..].trim_start_matches(blank).len();
        search = from;
    }
    out.push(&text[from..]);
    out.into_iter()
        .map(str::trim)
        .filter(|document| !document.is_empty())
        .collect()
}

/// Counts lines up to parts of a text that come in order.
struct LineCounter<'a> {
    text: &'a str,
    at: usize,
    line: usize,
}

impl LineCounter<'_> {
    fn line_of(&mut self, part: &str) -> usize {
        // Parts are slices of the text, so where they begin is known.
        let at = (part.as_ptr() as usize)
            .saturating_sub(self.text.as_ptr() as usize)
            .clamp(self.at, self.text.len());
        self.line += self.text.as_bytes()[self.at..at]
            .iter()
            .filter(|&&byte| byte == b'\n')
            .count();
        self.at = at;
        self.line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, old: &[(usize, &str)], new: &[(usize, &str)]) {
        assert_eq!(documents(text, Dialect::HELM_3), old, "Helm 3: {text:?}");
        assert_eq!(documents(text, Dialect::HELM_4), new, "Helm 4: {text:?}");
        assert_eq!(documents(text, "4.2.3".parse().unwrap()), old, "Helm 4.2.3");
    }

    #[test]
    fn documents_are_cut_as_in_each_release() {
        check("", &[], &[]);
        check("a: 1", &[(1, "a: 1")], &[(1, "a: 1")]);
        check(
            "\n\n---\na: 1\n\n---  \n\nb: 1\n\n",
            &[(4, "a: 1"), (8, "b: 1")],
            &[(4, "a: 1\n\n"), (8, "b: 1\n\n")],
        );
        check("---\n---\na: 1\n", &[(2, "---\na: 1")], &[(3, "a: 1\n")]);
        check(
            "a: 1\n---b: 2\nc: ---\n",
            &[(1, "a: 1"), (2, "b: 2\nc: ---")],
            &[(1, "a: 1\n"), (2, "b: 2\nc: ---\n")],
        );
        check(
            "a: 1\n----\n",
            &[(1, "a: 1"), (2, "-")],
            &[(1, "a: 1\n"), (2, "-\n")],
        );
        check("------\na: 1", &[(1, "---\na: 1")], &[(1, "---\na: 1")]);
        check(
            "a: 1\n  ---\nb: 1",
            &[(1, "a: 1\n  ---\nb: 1")],
            &[(1, "a: 1\n  ---\nb: 1")],
        );
        check("\u{2003}\n---\n\u{a0}\n", &[], &[]);
    }
}
