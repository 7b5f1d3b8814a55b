//! A document as go-yaml version 3 gives it in a `yaml.Node`: styles, tags and places, before anything is decoded.

use crate::decode3::{resolved_tag, scalar_of};
use crate::emit::fits_plain;
use crate::input;
use crate::resolve::{Resolved, Stack, resolve};
use crate::scan::Style;
use crate::tree::{Kind, Reader, Tree};
use crate::{GoError, MAX_DEPTH, any::Any};

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeKind {
    /// A text.
    Scalar,
    /// `*name`.
    Alias,
    /// A list.
    Sequence,
    /// A map.
    Mapping,
}

/// How a scalar is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScalarStyle {
    /// Without quotes.
    Plain,
    /// In single quotes.
    Single,
    /// In double quotes.
    Double,
    /// `|`
    Literal,
    /// `>`
    Folded,
}

/// The nodes of one document; number 0 is its root.
#[derive(Debug, Clone, Copy)]
pub struct Nodes<'a, 't> {
    tree: &'a Tree<'t>,
}

/// Reads the first document and shows its nodes; none if there is no document.
pub fn nodes<T>(bytes: &[u8], show: impl FnOnce(Option<Nodes<'_, '_>>) -> T) -> Result<T, GoError> {
    let input = input::read(bytes);
    let mut reader = Reader::new(&input.text, Stack::V3, MAX_DEPTH);
    let mut tree = Tree::default();
    let found = reader.document(&mut tree);
    input.check(reader.position())?;
    let found = found.map_err(|problem| problem.go(Stack::V3))?;
    Ok(show(found.then_some(Nodes { tree: &tree })))
}

impl<'a> Nodes<'a, '_> {
    /// What a node is.
    pub fn kind(&self, node: u32) -> NodeKind {
        match self.tree.get(node).kind {
            Kind::Scalar => NodeKind::Scalar,
            Kind::Alias => NodeKind::Alias,
            Kind::Sequence => NodeKind::Sequence,
            Kind::Mapping => NodeKind::Mapping,
        }
    }

    /// A scalar's text.
    pub fn text(&self, node: u32) -> &'a str {
        &self.tree.get(node).text
    }

    /// How a scalar is written.
    pub fn style(&self, node: u32) -> ScalarStyle {
        match self.tree.get(node).style {
            Style::Plain => ScalarStyle::Plain,
            Style::Single => ScalarStyle::Single,
            Style::Double => ScalarStyle::Double,
            Style::Literal => ScalarStyle::Literal,
            Style::Folded => ScalarStyle::Folded,
        }
    }

    /// Is a collection written in brackets?
    pub fn flow(&self, node: u32) -> bool {
        self.tree.get(node).flow
    }

    /// The short tag that is written at the node, if one is.
    pub fn written_tag(&self, node: u32) -> Option<String> {
        let tag = self.tree.get(node).tag.as_deref()?;
        match tag.strip_prefix("tag:yaml.org,2002:") {
            Some(short) => Some(format!("!!{short}")),
            None if tag == "!" || tag.is_empty() => None,
            None => Some(tag.to_owned()),
        }
    }

    /// The line, from 1.
    pub fn line(&self, node: u32) -> u32 {
        self.tree.get(node).line + 1
    }

    /// The column, from 1.
    pub fn column(&self, node: u32) -> u32 {
        self.tree.get(node).column + 1
    }

    /// What is inside: items, or keys and values in turns.
    pub fn inner(&self, node: u32) -> impl Iterator<Item = u32> + use<'a, '_> {
        self.tree.inner(node)
    }

    /// What an alias names.
    pub fn target(&self, alias: u32) -> u32 {
        self.tree.target(alias)
    }
}

/// The short tag of a plain scalar without a tag.
pub fn tag_v3(text: &str) -> &'static str {
    resolved_tag(&resolve(text, Stack::V3, true))
}

/// The value of a scalar with this short tag; the error is Go's.
pub fn scalar_v3(tag: &str, text: &str) -> Result<Any, String> {
    scalar_of(tag, text)
}

/// Can a text stand without quotes in block style?
pub fn plain_fits(text: &str) -> bool {
    fits_plain(text)
}

/// Does go-yaml version 2 read a one-line text as something that is no string?
pub fn reads_as_other(text: &str) -> bool {
    if text.is_empty() || text.contains('\n') {
        return false;
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/' | ':');
    if text.chars().all(plain)
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && !text.ends_with(':')
    {
        return resolve(text, Stack::V2, false) != Resolved::Str;
    }
    match crate::decode::first(text.as_bytes(), false) {
        Ok(value) => !value.is_string(),
        Err(_) => false,
    }
}
