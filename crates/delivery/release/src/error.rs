//! What can be wrong with a Release, and with the variant of one input.

use roadstead_render::{Origin, RenderError};
use roadstead_target::ExpressionError;

/// A Release that cannot be made for any cluster.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// The tree cannot be rendered.
    #[error(transparent)]
    Render(#[from] RenderError),
    /// An expression in a manifest or an overlay cannot be read.
    #[error("{place}: {problem}")]
    Expression {
        /// The manifest or overlay.
        place: String,
        /// What is wrong.
        problem: ExpressionError,
    },
}

impl BuildError {
    /// The line with a caret, where there is text to point at.
    pub fn excerpt(&self) -> Option<&str> {
        match self {
            Self::Render(error) => error.excerpt(),
            Self::Expression { .. } => None,
        }
    }
}

/// An input that has no variant: the clusters with this input are set aside, no other is touched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{message}", place(.origin.as_ref()))]
pub struct InputError {
    /// What is wrong.
    pub message: String,
    /// The manifest that it concerns, if it is one.
    pub origin: Option<Origin>,
}

fn place(origin: Option<&Origin>) -> String {
    origin
        .map(|origin| format!("{origin}: "))
        .unwrap_or_default()
}

impl InputError {
    pub(crate) fn at(origin: &Origin, message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            origin: Some(origin.clone()),
        }
    }

    pub(crate) fn plain(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            origin: None,
        }
    }
}
