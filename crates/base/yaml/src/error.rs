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
    /// What Go's library says of it, if it is the syntax that is wrong.
    pub go: Option<Box<GoError>>,
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
            go: None,
        }
    }

    pub(crate) fn with_go(mut self, go: GoError) -> Self {
        self.go = Some(Box::new(go));
        self
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

/// A mistake in Go's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct GoError {
    /// What Go's library says, its own prefixes included.
    pub text: String,
    /// The line and column of the mistake, from 1, where they are known. They may be nearer to it than Go's own line.
    pub place: Option<(usize, usize)>,
}

impl GoError {
    pub(crate) fn plain(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            place: None,
        }
    }

    pub(crate) fn at(text: impl Into<String>, line: usize, column: usize) -> Self {
        Self {
            text: text.into(),
            place: Some((line, column)),
        }
    }

    /// Puts a step before the text, as Go wraps errors.
    pub fn within(mut self, step: &str) -> Self {
        self.text.insert_str(0, ": ");
        self.text.insert_str(0, step);
        self
    }

    /// The same mistake with file and excerpt, for people.
    pub fn in_file(&self, text: &str, file: &str) -> YamlError {
        let (line, column) = self.place.unwrap_or((1, 1));
        let message = self.text.strip_prefix("yaml: ").unwrap_or(&self.text);
        YamlError::new(text, file, line, column, message)
    }
}
