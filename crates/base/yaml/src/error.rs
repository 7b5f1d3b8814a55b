//! A mistake in a text, with its place.

/// A text that is not YAML (or JSON), or that holds what this reader refuses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}:{column}: {message}")]
pub struct YamlError {
    /// The file's name as it was given.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// What is wrong there.
    pub message: String,
    /// The line with a caret below the place.
    pub excerpt: String,
}

const WIDTH: usize = 100;

impl YamlError {
    pub(crate) fn new(
        text: &str,
        file: &str,
        line: usize,
        column: usize,
        message: impl Into<String>,
    ) -> Self {
        Self {
            file: file.to_owned(),
            line,
            column,
            message: message.into(),
            excerpt: excerpt(text, line, column),
        }
    }

    /// Writes the message and the excerpt below it.
    pub fn report(&self) -> String {
        format!("{self}\n{}", self.excerpt)
    }
}

fn excerpt(text: &str, line: usize, column: usize) -> String {
    let source = text.lines().nth(line.saturating_sub(1)).unwrap_or_default();
    // a long line is cut around the place, so that an excerpt never floods a terminal
    let first = column.saturating_sub(1).saturating_sub(WIDTH / 2);
    let first = if column <= WIDTH { 0 } else { first };
    let shown: String = source
        .chars()
        .skip(first)
        .take(WIDTH)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let number = line.to_string();
    let gutter = " ".repeat(number.len());
    let space = " ".repeat(column.saturating_sub(1).saturating_sub(first));
    format!("{number} | {}\n{gutter} | {space}^", shown.trim_end())
}
