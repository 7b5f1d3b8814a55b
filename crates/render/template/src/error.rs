//! What can go wrong, with its place.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// A bound of ours that a render reached. Go has no such bounds, so the words are our own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// Too many steps.
    Fuel(u64),
    /// Took too long.
    Deadline,
    /// Values of too many bytes.
    Memory(usize),
    /// One string of too many bytes.
    String(usize),
    /// Output of too many bytes.
    Output(usize),
    /// Templates within templates within templates.
    Frames(usize),
    /// Texts parsed within texts.
    Texts(usize),
    /// Too much cryptography.
    Crypto(u32),
    /// Values nested too deep to be walked.
    Depth(usize),
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Limit::Fuel(fuel) => write!(f, "rendering takes more than {fuel} steps"),
            Limit::Deadline => f.write_str("rendering takes longer than its deadline"),
            Limit::Memory(bytes) => write!(f, "rendering makes more than {bytes} bytes of values"),
            Limit::String(bytes) => write!(f, "a string would be longer than {bytes} bytes"),
            Limit::Output(bytes) => write!(f, "a template's output is longer than {bytes} bytes"),
            Limit::Frames(depth) => write!(f, "templates call each other more than {depth} deep"),
            Limit::Texts(depth) => write!(
                f,
                "texts are parsed as templates within each other more than {depth} deep"
            ),
            Limit::Crypto(calls) => write!(
                f,
                "rendering makes more than {calls} keys, certificates and password hashes"
            ),
            Limit::Depth(depth) => write!(f, "a value nests more than {depth} deep"),
        }
    }
}

/// A place in a template file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The name that the file was parsed under.
    pub file: Arc<str>,
    /// The line, from 1.
    pub line: usize,
    /// The column in bytes, from 1; Go's texts count it from 0.
    pub column: usize,
    /// The bytes of the file that are meant; empty if nothing more is known than where it begins.
    pub span: Range<usize>,
}

/// What sort of error it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The text is no template.
    Parse,
    /// Executing failed as it does in Go.
    Execute,
    /// No template of that name.
    Missing,
    /// A bound was reached.
    Limit(Limit),
    /// The render's policy forbids a function that was called.
    Policy,
}

/// One template on the way to an error: who called whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The template that was being executed.
    pub template: Arc<str>,
    /// Where in it.
    pub place: Place,
    /// The piece of the template there, as Go prints it.
    pub context: Arc<str>,
}

/// An error of a template, with Go's text and with its parts.
#[derive(Debug, Clone)]
pub struct Error {
    pub(crate) kind: ErrorKind,
    pub(crate) go: String,
    pub(crate) message: String,
    pub(crate) place: Option<Place>,
    pub(crate) stack: Vec<Frame>,
}

impl Error {
    /// What sort it is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The whole text as Go prints it: `template: NAME:LINE:COLUMN: executing "NAME" at <…>: …`.
    pub fn go(&self) -> &str {
        &self.go
    }

    /// What went wrong in the innermost template, without the place.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Where it went wrong.
    pub fn place(&self) -> Option<&Place> {
        self.place.as_ref()
    }

    /// The templates on the way, the innermost first.
    pub fn stack(&self) -> &[Frame] {
        &self.stack
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.go)
    }
}

impl std::error::Error for Error {}
