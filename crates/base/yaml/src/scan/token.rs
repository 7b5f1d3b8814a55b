//! What the scanner hands on.

use std::borrow::Cow;

/// A place in the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Mark {
    /// Characters before it.
    pub(crate) index: u32,
    /// The line, from 0.
    pub(crate) line: u32,
    /// The column in characters, from 0.
    pub(crate) column: u32,
}

/// How a scalar is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    Plain,
    Single,
    Double,
    Literal,
    Folded,
}

/// A tag's handle and what follows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tag {
    pub(crate) handle: String,
    pub(crate) suffix: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Tok<'t> {
    StreamStart,
    StreamEnd,
    Version(u8, u8),
    TagDirective(Box<Tag>),
    DocumentStart,
    DocumentEnd,
    BlockSequenceStart,
    BlockMappingStart,
    BlockEnd,
    FlowSequenceStart,
    FlowSequenceEnd,
    FlowMappingStart,
    FlowMappingEnd,
    BlockEntry,
    FlowEntry,
    Key,
    Value,
    Alias(&'t str),
    Anchor(&'t str),
    Tag(Box<Tag>),
    Scalar(Cow<'t, str>, Style),
}

#[derive(Debug, Clone)]
pub(crate) struct Token<'t> {
    pub(crate) tok: Tok<'t>,
    pub(crate) start: Mark,
    pub(crate) end: Mark,
}
