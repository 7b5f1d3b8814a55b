//! The text of an expression, places in it, and what is wrong with it.

/// A line, counted from one, and a column in code points, counted from zero. `NOWHERE` is what has no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Location {
    /// The line, from 1; -1 is nowhere.
    pub line: i32,
    /// The column in code points, from 0; -1 is nowhere.
    pub column: i32,
}

pub(crate) const NOWHERE: Location = Location {
    line: -1,
    column: -1,
};

/// One thing that is wrong with an expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub location: Location,
    /// What.
    pub message: String,
}

/// An expression's text by code points.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) chars: Vec<char>,
    lines: Vec<usize>,
}

/// The most that is reported of one expression.
const MOST: usize = 100;
/// A line longer than this is not shown.
const LONGEST_SNIPPET: usize = 16384;

impl Source {
    pub(crate) fn new(text: &str) -> Source {
        let chars: Vec<char> = text.chars().collect();
        let mut lines = vec![0];
        lines.extend(
            chars
                .iter()
                .enumerate()
                .filter(|(_, c)| **c == '\n')
                .map(|(i, _)| i + 1),
        );
        Source { chars, lines }
    }

    pub(crate) fn location(&self, offset: usize) -> Location {
        let line = self.lines.partition_point(|start| *start <= offset).max(1);
        let column = offset - self.lines.get(line - 1).copied().unwrap_or_default();
        Location {
            line: i32::try_from(line).unwrap_or(i32::MAX),
            column: i32::try_from(column).unwrap_or(i32::MAX),
        }
    }

    pub(crate) fn text(&self, from: usize, to: usize) -> String {
        let to = to.min(self.chars.len());
        self.chars[from.min(to)..to].iter().collect()
    }

    fn snippet(&self, line: i32) -> Option<String> {
        let line = usize::try_from(line).ok()?.checked_sub(1)?;
        let start = *self.lines.get(line)?;
        if self.chars.is_empty() {
            return None;
        }
        let end = self
            .lines
            .get(line + 1)
            .map_or(self.chars.len(), |next| next - 1);
        Some(self.text(start, end))
    }

    /// All problems in the words that cel-go uses, in the order of their places.
    pub(crate) fn show(&self, problems: &[Problem]) -> String {
        let mut sorted: Vec<&Problem> = problems.iter().take(MOST).collect();
        sorted.sort_by_key(|p| p.location);
        let mut lines: Vec<String> = sorted.iter().map(|p| self.show_one(p)).collect();
        if problems.len() > MOST {
            lines.push(format!(
                "{} more errors were truncated",
                problems.len() - MOST
            ));
        }
        lines.join("\n")
    }

    fn show_one(&self, problem: &Problem) -> String {
        let Location { line, column } = problem.location;
        let mut out = format!("ERROR: <input>:{line}:{}: {}", column + 1, problem.message);
        let Some(snippet) = self.snippet(line).filter(|s| s.len() <= LONGEST_SNIPPET) else {
            return out;
        };
        let snippet = snippet.replace('\t', " ");
        let mut chars = snippet.chars();
        let mut caret = String::new();
        for c in chars
            .by_ref()
            .take(usize::try_from(column).unwrap_or_default())
        {
            caret.push(if c.len_utf8() > 1 { '\u{ff0e}' } else { '.' });
        }
        caret.push(match chars.next() {
            Some(c) if c.len_utf8() > 1 => '\u{ff3e}',
            _ => '^',
        });
        out.push_str(&format!("\n | {snippet}\n | {caret}"));
        out
    }
}
