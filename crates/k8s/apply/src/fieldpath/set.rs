//! Sets of paths, kept as a trie.

use std::cmp::Ordering;
use std::fmt;

use super::PathElement;

/// A set of paths into an object.
///
/// A path may be a member itself, or only lead to members below it, or both.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldSet {
    // sorted by element; a node is a member or has members below it, never neither
    pub(crate) nodes: Vec<Node>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) element: PathElement,
    pub(crate) member: bool,
    pub(crate) children: FieldSet,
}

/// A path into an object; it prints as kubectl prints it: `.spec.containers[name="a"].image`.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Path(pub Vec<PathElement>);

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|element| element.fmt(f))
    }
}

impl FieldSet {
    /// Makes an empty set.
    pub const fn new() -> Self {
        Self { nodes: Vec::new() }
    }

    /// Makes a set of paths of plain fields, each written with dots: `metadata.name`.
    pub fn of_fields(paths: &[&str]) -> Self {
        let mut set = Self::new();
        for path in paths {
            let path: Vec<PathElement> = path.split('.').map(PathElement::field).collect();
            set.insert(&path);
        }
        set
    }

    /// Is nothing in it?
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Counts the members.
    pub fn len(&self) -> usize {
        self.nodes
            .iter()
            .map(|node| usize::from(node.member) + node.children.len())
            .sum()
    }

    /// Adds a path; the empty path is ignored.
    pub fn insert(&mut self, path: &[PathElement]) {
        let Some((first, rest)) = path.split_first() else {
            return;
        };
        let at = match self.find(first) {
            Ok(at) => at,
            Err(at) => {
                self.nodes.insert(
                    at,
                    Node {
                        element: first.clone(),
                        member: false,
                        children: Self::new(),
                    },
                );
                at
            }
        };
        if rest.is_empty() {
            self.nodes[at].member = true;
        } else {
            self.nodes[at].children.insert(rest);
        }
    }

    /// Is this path a member?
    pub fn has(&self, path: &[PathElement]) -> bool {
        let Some((first, rest)) = path.split_first() else {
            return false;
        };
        self.get(first).is_some_and(|node| {
            if rest.is_empty() {
                node.member
            } else {
                node.children.has(rest)
            }
        })
    }

    fn find(&self, element: &PathElement) -> Result<usize, usize> {
        self.nodes
            .binary_search_by(|node| node.element.cmp(element))
    }

    pub(crate) fn get(&self, element: &PathElement) -> Option<&Node> {
        self.find(element).ok().map(|at| &self.nodes[at])
    }

    pub(crate) fn get_field(&self, name: &str) -> Option<&Node> {
        self.nodes
            .binary_search_by(|node| match &node.element {
                PathElement::Field(field) => (**field).cmp(name),
                _ => Ordering::Greater,
            })
            .ok()
            .map(|at| &self.nodes[at])
    }

    /// Adds a node behind all others; [`FieldSet::sort`] must follow unless elements came in order.
    pub(crate) fn push(&mut self, element: PathElement, member: bool, children: Self) {
        if member || !children.is_empty() {
            self.nodes.push(Node {
                element,
                member,
                children,
            });
        }
    }

    pub(crate) fn sort(&mut self) {
        self.nodes.sort_by(|a, b| a.element.cmp(&b.element));
        // nodes of the same element become one
        if self.nodes.windows(2).any(|w| w[0].element == w[1].element) {
            let mut merged: Vec<Node> = Vec::with_capacity(self.nodes.len());
            for node in std::mem::take(&mut self.nodes) {
                match merged.last_mut() {
                    Some(last) if last.element == node.element => {
                        last.member |= node.member;
                        last.children = last.children.union(&node.children);
                    }
                    _ => merged.push(node),
                }
            }
            self.nodes = merged;
        }
    }

    /// Returns what is in either.
    pub fn union(&self, other: &Self) -> Self {
        if self.is_empty() {
            return other.clone();
        }
        if other.is_empty() {
            return self.clone();
        }
        let mut out = Vec::with_capacity(self.nodes.len().max(other.nodes.len()));
        zip(&self.nodes, &other.nodes, |a, b| match (a, b) {
            (Some(a), Some(b)) => out.push(Node {
                element: a.element.clone(),
                member: a.member || b.member,
                children: a.children.union(&b.children),
            }),
            (Some(one), None) | (None, Some(one)) => out.push(one.clone()),
            (None, None) => {}
        });
        Self { nodes: out }
    }

    /// Returns what is in both.
    pub fn intersection(&self, other: &Self) -> Self {
        let mut out = Self::new();
        zip(&self.nodes, &other.nodes, |a, b| {
            if let (Some(a), Some(b)) = (a, b) {
                let children = a.children.intersection(&b.children);
                if (a.member && b.member) || !children.is_empty() {
                    out.push(a.element.clone(), a.member && b.member, children);
                }
            }
        });
        out
    }

    /// Is anything a member of both?
    pub fn meets(&self, other: &Self) -> bool {
        let mut meets = false;
        zip(&self.nodes, &other.nodes, |a, b| {
            if let (Some(a), Some(b)) = (a, b) {
                meets = meets || a.member && b.member || a.children.meets(&b.children);
            }
        });
        meets
    }

    /// Returns what is in this one and not in the other, member by member.
    pub fn difference(&self, other: &Self) -> Self {
        let mut out = self.clone();
        out.subtract(other);
        out
    }

    /// Returns what is in this one and neither a member of the other nor below one.
    pub fn recursive_difference(&self, other: &Self) -> Self {
        let mut out = self.clone();
        out.subtract_recursively(other);
        out
    }

    /// Takes away what is in the other, member by member.
    pub fn subtract(&mut self, other: &Self) {
        self.take_away(other, false);
    }

    /// Takes away the members of the other, and all that is below them.
    pub fn subtract_recursively(&mut self, other: &Self) {
        self.take_away(other, true);
    }

    fn take_away(&mut self, other: &Self, recursive: bool) {
        let mut others = other.nodes.iter().peekable();
        if others.peek().is_none() {
            return;
        }
        self.nodes.retain_mut(|node| {
            let gone = loop {
                match others.peek().map(|gone| gone.element.cmp(&node.element)) {
                    None | Some(Ordering::Greater) => return true,
                    Some(Ordering::Less) => others.next(),
                    Some(Ordering::Equal) => break others.next(),
                };
            };
            let Some(gone) = gone else { return true };
            if recursive && gone.member {
                return false;
            }
            node.children.take_away(&gone.children, recursive);
            node.member &= !gone.member;
            node.member || !node.children.is_empty()
        });
    }

    /// Are all members of this one members of the other?
    pub fn is_subset(&self, other: &Self) -> bool {
        let mut subset = true;
        zip(&self.nodes, &other.nodes, |a, b| match (a, b) {
            (Some(a), Some(b)) => {
                subset = subset && (!a.member || b.member) && a.children.is_subset(&b.children);
            }
            (Some(_), None) => subset = false,
            _ => {}
        });
        subset
    }

    /// Returns the members: at each level those that end there, then those below.
    pub fn paths(&self) -> Vec<Path> {
        let mut out = Vec::with_capacity(self.len());
        self.collect(&mut Vec::new(), &mut out);
        out
    }

    fn collect(&self, prefix: &mut Vec<PathElement>, out: &mut Vec<Path>) {
        for node in self.nodes.iter().filter(|node| node.member) {
            let mut path = prefix.clone();
            path.push(node.element.clone());
            out.push(Path(path));
        }
        for node in &self.nodes {
            if !node.children.is_empty() {
                prefix.push(node.element.clone());
                node.children.collect(prefix, out);
                prefix.pop();
            }
        }
    }
}

impl FromIterator<Path> for FieldSet {
    fn from_iter<I: IntoIterator<Item = Path>>(paths: I) -> Self {
        let mut set = Self::new();
        for path in paths {
            set.insert(&path.0);
        }
        set
    }
}

fn zip<'a>(a: &'a [Node], b: &'a [Node], mut f: impl FnMut(Option<&'a Node>, Option<&'a Node>)) {
    let (mut a, mut b) = (a.iter().peekable(), b.iter().peekable());
    loop {
        let order = match (a.peek(), b.peek()) {
            (None, None) => return,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(a), Some(b)) => a.element.cmp(&b.element),
        };
        match order {
            Ordering::Less => f(a.next(), None),
            Ordering::Greater => f(None, b.next()),
            Ordering::Equal => f(a.next(), b.next()),
        }
    }
}
