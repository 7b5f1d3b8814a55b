//! A document as a tree of nodes, before anything is made of its scalars.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::parse::{Event, Parser, Properties};
use crate::problem::{Problem, Result};
use crate::resolve::Stack;
use crate::scan::{Mark, Style};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Scalar,
    Alias,
    Sequence,
    /// Keys and values in turns.
    Mapping,
}

#[derive(Debug)]
pub(crate) struct Node<'t> {
    pub(crate) kind: Kind,
    pub(crate) style: Style,
    pub(crate) tag: Option<Box<str>>,
    /// Is it a collection in brackets?
    pub(crate) flow: bool,
    /// A scalar's text, or an alias's name.
    pub(crate) text: Cow<'t, str>,
    pub(crate) line: u32,
    pub(crate) column: u32,
    /// The next node of the same parent; 0 is none.
    next: u32,
    /// The first node inside, or what an alias names.
    inner: u32,
}

impl Node<'_> {
    pub(crate) fn mark(&self) -> Mark {
        Mark {
            index: 0,
            line: self.line,
            column: self.column,
        }
    }

    /// Does go-yaml look at the text to find out what it stands for?
    pub(crate) fn implicit(&self) -> bool {
        match &self.tag {
            None => self.style == Style::Plain,
            Some(tag) => tag.as_ref() == "!",
        }
    }
}

/// One document's nodes; the first is the root.
#[derive(Debug, Default)]
pub(crate) struct Tree<'t> {
    nodes: Vec<Node<'t>>,
}

impl<'t> Tree<'t> {
    pub(crate) fn get(&self, index: u32) -> &Node<'t> {
        &self.nodes[index as usize]
    }

    /// What an alias names.
    pub(crate) fn target(&self, alias: u32) -> u32 {
        self.get(alias).inner
    }

    pub(crate) fn inner(&self, index: u32) -> Inner<'_, 't> {
        Inner {
            tree: self,
            next: self.get(index).inner,
        }
    }
}

/// Walks over what is inside of a collection.
pub(crate) struct Inner<'a, 't> {
    tree: &'a Tree<'t>,
    next: u32,
}

impl Iterator for Inner<'_, '_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        let index = self.next;
        if index == 0 {
            return None;
        }
        self.next = self.tree.get(index).next;
        Some(index)
    }
}

/// Reads a text document by document.
pub(crate) struct Reader<'t> {
    parser: Parser<'t>,
    depth: usize,
    anchors: BTreeMap<&'t str, u32>,
    open: Vec<Open>,
}

struct Open {
    node: u32,
    last: u32,
}

impl<'t> Reader<'t> {
    /// Collections may nest as deep as this.
    pub(crate) fn new(text: &'t str, stack: Stack, depth: usize) -> Self {
        Self {
            parser: Parser::new(text, stack),
            depth,
            anchors: BTreeMap::new(),
            open: Vec::new(),
        }
    }

    /// How far the text was looked at, in bytes.
    pub(crate) fn position(&self) -> usize {
        self.parser.position()
    }

    /// Reads the next document into a tree, and says where it starts; false at the end of the text.
    pub(crate) fn document(&mut self, tree: &mut Tree<'t>) -> Result<bool> {
        tree.nodes.clear();
        self.anchors.clear();
        self.open.clear();
        if matches!(self.parser.next()?.0, Event::StreamEnd) {
            return Ok(false);
        }
        loop {
            let (event, mark) = self.parser.next()?;
            let collection = match event {
                Event::Alias(name) => {
                    let Some(target) = self.anchors.get(name).copied() else {
                        let problem = format!("unknown anchor '{name}' referenced");
                        return Err(Problem::at(problem, mark));
                    };
                    let index = self.add(tree, Kind::Alias, Properties::default(), mark)?;
                    let node = &mut tree.nodes[index as usize];
                    node.inner = target;
                    node.text = Cow::Borrowed(name);
                    None
                }
                Event::Scalar {
                    properties,
                    text,
                    style,
                } => {
                    let index = self.add(tree, Kind::Scalar, properties, mark)?;
                    let node = &mut tree.nodes[index as usize];
                    node.text = text;
                    node.style = style;
                    None
                }
                Event::SequenceStart(p) => Some(self.add(tree, Kind::Sequence, p, mark)?),
                Event::MappingStart(p) => Some(self.add(tree, Kind::Mapping, p, mark)?),
                Event::SequenceEnd | Event::MappingEnd => {
                    self.open.pop();
                    None
                }
                Event::DocumentStart | Event::DocumentEnd | Event::StreamEnd => {
                    return Err(Problem::at("a document ends inside of a value", mark));
                }
            };
            if let Some(node) = collection {
                self.open.push(Open { node, last: 0 });
            }
            if self.open.is_empty() {
                self.parser.next()?;
                return Ok(true);
            }
        }
    }

    fn add(
        &mut self,
        tree: &mut Tree<'t>,
        kind: Kind,
        properties: Properties<'t>,
        mark: Mark,
    ) -> Result<u32> {
        if self.open.len() > self.depth {
            let problem = format!("nesting is deeper than {} levels", self.depth);
            return Err(Problem::at(problem, mark));
        }
        let index = u32::try_from(tree.nodes.len())
            .map_err(|_| Problem::at("document has too many values", mark))?;
        if let Some(open) = self.open.last_mut() {
            let before = if open.last == 0 { open.node } else { open.last };
            let first = open.last == 0;
            open.last = index;
            let node = &mut tree.nodes[before as usize];
            if first {
                node.inner = index;
            } else {
                node.next = index;
            }
        }
        if let Some(name) = properties.anchor {
            self.anchors.insert(name, index);
        }
        tree.nodes.push(Node {
            kind,
            style: Style::Plain,
            tag: properties.tag,
            flow: properties.flow,
            text: Cow::Borrowed(""),
            line: mark.line,
            column: mark.column,
            next: 0,
            inner: 0,
        });
        Ok(index)
    }
}
