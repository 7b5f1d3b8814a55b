//! A document as a graph of nodes, with the tags and styles that decide what a scalar is written as.
//!
//! kustomize changes documents as `yaml.Node`s: a scalar has a text, a tag and a style, and only when it is written does it
//! show whether it is a string. One node may hang at several places (labels that one transformer sets do), so that a later
//! change shows at all of them. Nodes are numbers in a vector here, which keeps both.

mod emit;
mod fns;
mod path;
mod read;
mod value;

use std::sync::Arc;

pub(crate) use emit::to_text;
pub(crate) use fns::{ElementSetter, tagged};
pub(crate) use path::{Found, smart_split, split_path};
pub(crate) use read::{parse, parse_one};

use crate::diag::Fault;

/// How deep changes may nest what they make: deeper than any document may be that is read.
pub(crate) const MAX_DEPTH: usize = 256;

/// A node's number.
pub(crate) type Id = u32;

/// What a step came to.
pub(crate) type Step<T> = Result<T, Fault>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Scalar,
    Seq,
    Map,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Tag {
    /// None: a plain scalar is what its text looks like.
    None,
    Str,
    Int,
    Bool,
    Float,
    Null,
    Map,
    Seq,
    Other(Arc<str>),
}

impl Tag {
    pub(crate) fn of(short: &str) -> Self {
        match short {
            "" => Self::None,
            "!!str" => Self::Str,
            "!!int" => Self::Int,
            "!!bool" => Self::Bool,
            "!!float" => Self::Float,
            "!!null" => Self::Null,
            "!!map" => Self::Map,
            "!!seq" => Self::Seq,
            other => Self::Other(other.into()),
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        match self {
            Self::None => "",
            Self::Str => "!!str",
            Self::Int => "!!int",
            Self::Bool => "!!bool",
            Self::Float => "!!float",
            Self::Null => "!!null",
            Self::Map => "!!map",
            Self::Seq => "!!seq",
            Self::Other(tag) => tag,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    Plain,
    Single,
    Double,
    Literal,
    Folded,
    /// A collection in brackets.
    Flow,
}

impl Style {
    pub(crate) fn quoted(self) -> bool {
        matches!(
            self,
            Self::Single | Self::Double | Self::Literal | Self::Folded
        )
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    pub(crate) kind: Kind,
    pub(crate) tag: Tag,
    pub(crate) style: Style,
    /// Is the tag written whatever the text looks like?
    pub(crate) tagged: bool,
    /// A null that a merge keeps.
    pub(crate) keep: bool,
    pub(crate) text: Arc<str>,
    /// Items, or keys and values in turns.
    pub(crate) inner: Vec<Id>,
    /// Where it stands in its file, from 1; 0 if it was made.
    pub(crate) line: u32,
    pub(crate) column: u32,
}

impl Node {
    pub(crate) fn new(kind: Kind) -> Self {
        Self {
            kind,
            tag: Tag::None,
            style: Style::Plain,
            tagged: false,
            keep: false,
            text: "".into(),
            inner: Vec::new(),
            line: 0,
            column: 0,
        }
    }

    /// A scalar that is what its text looks like.
    pub(crate) fn scalar(text: impl Into<Arc<str>>) -> Self {
        Self {
            text: text.into(),
            ..Self::new(Kind::Scalar)
        }
    }

    /// A scalar that is a string, whatever it looks like.
    pub(crate) fn string(text: impl Into<Arc<str>>) -> Self {
        let text = text.into();
        let style = if text.contains('\n') {
            Style::Literal
        } else {
            Style::Plain
        };
        Self {
            tag: Tag::Str,
            style,
            ..Self::scalar(text)
        }
    }

    pub(crate) fn is_null(&self) -> bool {
        self.tag == Tag::Null
    }

    /// Null, or a collection without anything in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.is_null() || self.kind != Kind::Scalar && self.inner.is_empty()
    }

    /// kustomize's idea of a string: a tag that says so, or none at all.
    pub(crate) fn is_stringy(&self) -> bool {
        self.kind == Kind::Scalar && matches!(self.tag, Tag::Str | Tag::None)
    }
}

/// One document's nodes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Tree {
    nodes: Vec<Node>,
    pub(crate) root: Id,
}

impl Tree {
    pub(crate) fn new(root: Node) -> Self {
        Self {
            nodes: vec![root],
            root: 0,
        }
    }

    pub(crate) fn get(&self, id: Id) -> &Node {
        &self.nodes[id as usize]
    }

    pub(crate) fn get_mut(&mut self, id: Id) -> &mut Node {
        &mut self.nodes[id as usize]
    }

    pub(crate) fn add(&mut self, node: Node) -> Id {
        let id = Id::try_from(self.nodes.len()).unwrap_or(Id::MAX);
        self.nodes.push(node);
        id
    }

    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(crate) fn text(&self, id: Id) -> &Arc<str> {
        &self.get(id).text
    }

    /// Copies what hangs below a node of another tree into this one; a node that hangs at two places becomes two.
    pub(crate) fn take(&mut self, other: &Self, id: Id) -> Id {
        let mut node = other.get(id).clone();
        node.inner = node.inner.iter().map(|&i| self.take(other, i)).collect();
        self.add(node)
    }

    /// How many levels hang below a node, itself included.
    pub(crate) fn depth(&self, id: Id) -> usize {
        let inner = self.get(id).inner.iter();
        1 + inner.map(|&i| self.depth(i)).max().unwrap_or(0)
    }

    /// Cuts a node with what hangs below it out as a tree of its own.
    pub(crate) fn part(&self, id: Id) -> Self {
        let mut out = Self {
            nodes: Vec::new(),
            root: 0,
        };
        out.root = out.take(self, id);
        out
    }

    /// Drops nodes that nothing hangs on any more, if they are many; what hangs at several places still does.
    pub(crate) fn tidy(&mut self) {
        fn walk(tree: &Tree, id: Id, map: &mut Vec<Id>, out: &mut Vec<Node>) -> Id {
            let known = map[id as usize];
            if known != Id::MAX {
                return known;
            }
            let mut node = tree.get(id).clone();
            let new = Id::try_from(out.len()).unwrap_or(Id::MAX);
            map[id as usize] = new;
            out.push(Node::new(Kind::Scalar));
            node.inner = node
                .inner
                .iter()
                .map(|&i| walk(tree, i, map, out))
                .collect();
            out[new as usize] = node;
            new
        }
        let mut map = vec![Id::MAX; self.nodes.len()];
        let mut out = Vec::with_capacity(self.nodes.len());
        let root = walk(self, self.root, &mut map, &mut out);
        self.nodes = out;
        self.root = root;
    }
}
