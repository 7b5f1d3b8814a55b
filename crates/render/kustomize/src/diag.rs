//! What is wrong with a kustomization, and where.

use std::fmt;

/// A place in a file of the tree.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Place {
    /// The file's path in the tree.
    pub file: String,
    /// The line, from 1; 0 if only the file is known.
    pub line: usize,
    /// The column, from 1; 0 if only the line is known.
    pub column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
            if self.column > 0 {
                write!(f, ":{}", self.column)?;
            }
        }
        Ok(())
    }
}

/// Why a kustomization cannot be built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// Where, if it is at a place.
    pub place: Option<Box<Place>>,
    /// What is wrong.
    pub message: String,
    /// The line at that place with a caret below it.
    pub excerpt: Option<Box<str>>,
    /// The objects that it is about or that could have been meant, most likely first.
    pub candidates: Vec<String>,
    /// What to do about it.
    pub hint: Option<Box<str>>,
    /// The kustomizations on the way there, innermost first.
    pub within: Vec<String>,
}

impl std::error::Error for Error {}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        f.write_str(&self.message)?;
        if !self.candidates.is_empty() {
            write!(f, "; candidates: {}", self.candidates.join(", "))?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "; {hint}")?;
        }
        if let [_, outer @ ..] = &self.within[..]
            && !outer.is_empty()
        {
            write!(f, " (built by {})", outer.join(", which is built by "))?;
        }
        if let Some(excerpt) = &self.excerpt {
            write!(f, "\n{excerpt}")?;
        }
        Ok(())
    }
}

impl Error {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            place: None,
            message: message.into(),
            excerpt: None,
            candidates: Vec::new(),
            hint: None,
            within: Vec::new(),
        }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into().into());
        self
    }

    /// Puts it at a place of a file, unless it has one.
    pub(crate) fn in_file(mut self, file: &str, text: &[u8], line: u32, column: u32) -> Self {
        if self.place.is_none() {
            let (line, column) = (line as usize, column as usize);
            self.excerpt = excerpt(text, line, column).map(Into::into);
            self.place = Some(Box::new(Place {
                file: file.to_owned(),
                line,
                column,
            }));
        }
        self
    }
}

/// What is wrong with a document; who knows the file adds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) text: String,
    pub(crate) line: u32,
    pub(crate) column: u32,
    pub(crate) candidates: Vec<String>,
    pub(crate) hint: Option<String>,
}

impl Fault {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            line: 0,
            column: 0,
            candidates: Vec::new(),
            hint: None,
        }
    }

    pub(crate) fn at(mut self, line: u32, column: u32) -> Self {
        (self.line, self.column) = (line, column);
        self
    }

    pub(crate) fn candidates(mut self, ids: impl IntoIterator<Item = String>) -> Self {
        self.candidates.extend(ids.into_iter().take(10));
        self
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Puts a step before the text, and forgets the place, which is in another file.
    pub(crate) fn within(mut self, step: &str) -> Self {
        self.text = format!("{step}: {}", self.text);
        self
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        Self {
            candidates: fault.candidates,
            hint: fault.hint.map(Into::into),
            ..Self::new(fault.text)
        }
    }
}

const WIDTH: usize = 100;

fn excerpt(text: &[u8], line: usize, column: usize) -> Option<String> {
    if line == 0 {
        return None;
    }
    let text = String::from_utf8_lossy(text);
    let source = text.lines().nth(line - 1)?;
    let first = if column <= WIDTH {
        0
    } else {
        column - WIDTH / 2
    };
    let shown: String = source
        .chars()
        .skip(first)
        .take(WIDTH)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let number = line.to_string();
    let gutter = " ".repeat(number.len());
    let space = " ".repeat(column.saturating_sub(1).saturating_sub(first));
    Some(format!(
        "{number} | {}\n{gutter} | {space}^",
        shown.trim_end()
    ))
}
