//! What the scanner or the parser could not go on with.

use std::borrow::Cow;

use crate::GoError;
use crate::resolve::Stack;
use crate::scan::Mark;

pub(crate) type Result<T> = std::result::Result<T, Box<Problem>>;

/// Who found it, since go-yaml counts their lines differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Finder {
    Scanner,
    Parser,
    /// Text, anchors and values: what go-yaml says without a line.
    Other,
}

#[derive(Debug, Clone)]
pub(crate) struct Problem {
    pub(crate) finder: Finder,
    pub(crate) context: &'static str,
    pub(crate) context_mark: Mark,
    pub(crate) problem: Cow<'static, str>,
    pub(crate) mark: Mark,
}

impl Problem {
    pub(crate) fn scanner(
        context: &'static str,
        context_mark: Mark,
        problem: &'static str,
        mark: Mark,
    ) -> Box<Self> {
        Box::new(Self {
            finder: Finder::Scanner,
            context,
            context_mark,
            problem: Cow::Borrowed(problem),
            mark,
        })
    }

    pub(crate) fn parser(
        context: &'static str,
        context_mark: Mark,
        problem: &'static str,
        mark: Mark,
    ) -> Box<Self> {
        Box::new(Self {
            finder: Finder::Parser,
            context,
            context_mark,
            problem: Cow::Borrowed(problem),
            mark,
        })
    }

    pub(crate) fn at(problem: impl Into<Cow<'static, str>>, mark: Mark) -> Box<Self> {
        Box::new(Self {
            finder: Finder::Other,
            context: "",
            context_mark: Mark::default(),
            problem: problem.into(),
            mark,
        })
    }

    pub(crate) fn other(problem: impl Into<Cow<'static, str>>) -> Box<Self> {
        Self::at(problem, Mark::default())
    }

    /// The words for people: what was being read, and what is wrong.
    pub(crate) fn message(&self) -> String {
        if self.context.is_empty() {
            self.problem.to_string()
        } else {
            format!("{}, {}", self.context, self.problem)
        }
    }

    /// go-yaml's words, with the line that it counts.
    pub(crate) fn go(&self, stack: Stack) -> GoError {
        let scanner = u32::from(self.finder == Finder::Scanner);
        let line = match (stack, self.context_mark.line, self.mark.line) {
            _ if self.finder == Finder::Other => 0,
            (Stack::V2, context, 0) => context,
            (Stack::V2, _, line) => line + scanner,
            (Stack::V3, 0, 0) => 0,
            (Stack::V3, 0, line) => line + scanner,
            (Stack::V3, context, _) => context + scanner,
        };
        let text = if line > 0 {
            format!("yaml: line {line}: {}", self.problem)
        } else {
            format!("yaml: {}", self.problem)
        };
        GoError::at(
            text,
            self.mark.line as usize + 1,
            self.mark.column as usize + 1,
        )
    }
}
