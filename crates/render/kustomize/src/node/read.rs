//! From a text to nodes, with aliases and merge keys resolved.

use base_yaml::go::{self, NodeKind, Nodes, ScalarStyle};

use super::{Id, Kind, Node, Step, Style, Tag, Tree};
use crate::diag::Fault;

/// How many nodes a document may have once its aliases are followed.
const MAX_NODES: usize = 1_000_000;

/// Reads a file's documents; those that say nothing are left out.
pub(crate) fn parse(bytes: &[u8]) -> Step<Vec<Tree>> {
    let text = String::from_utf8_lossy(bytes);
    if bytes.len() != text.len() || std::str::from_utf8(bytes).is_err() {
        // go-yaml has its own words and place for it
        parse_at(bytes, 0)?;
    }
    let text = text.replace("\r\n", "\n");
    let mut out = Vec::new();
    let mut line = 0;
    for part in split(&text)? {
        if let Some(tree) = parse_at(part.as_bytes(), line)? {
            out.push(tree);
        }
        line += u32::try_from(part.matches('\n').count()).unwrap_or(0) + 1;
    }
    let single = out.len() == 1 && split(&text)?.len() == 1;
    if single && let Some(items) = wrapped(&out[0]) {
        return Ok(items);
    }
    Ok(out)
}

/// Splits at lines that begin with `---`; such a line may hold a comment, and nothing else.
fn split(text: &str) -> Step<Vec<String>> {
    let mut out = Vec::new();
    if text.is_empty() {
        return Ok(out);
    }
    let mut begin = 0;
    let mut from = 0;
    let mut number = 1;
    while let Some(at) = text[from..].find("\n---").map(|at| from + at) {
        let rest = &text[at + 4..];
        let Some(end) = rest.find('\n') else { break };
        number += text[from..=at].matches('\n').count();
        let after = rest[..end].trim();
        if !after.is_empty() && !after.starts_with('#') {
            let line = u32::try_from(number).unwrap_or(0);
            let text = format!("a line that begins with --- holds {after:?} besides");
            return Err(Fault::new(text).at(line, 1));
        }
        out.push(text[begin..=at].to_owned());
        begin = at + 4 + end + 1;
        number += 1;
        from = begin;
    }
    out.push(text[begin..].to_owned());
    Ok(out)
}

/// The items of a `List`.
fn wrapped(tree: &Tree) -> Option<Vec<Tree>> {
    let kind = tree.field(tree.root, "kind")?;
    if !matches!(&**tree.text(kind), "List" | "ResourceList") {
        return None;
    }
    let items = tree.field(tree.root, "items");
    if items.is_none() && tree.field(tree.root, "functionConfig").is_none() {
        return None;
    }
    let items = items.map_or(&[][..], |items| &tree.get(items).inner);
    Some(items.iter().map(|&item| tree.part(item)).collect())
}

/// Reads the first document of a text.
pub(crate) fn parse_one(bytes: &[u8]) -> Step<Option<Tree>> {
    parse_at(bytes, 0)
}

fn parse_at(bytes: &[u8], line: u32) -> Step<Option<Tree>> {
    let read = go::nodes(bytes, |nodes| {
        let nodes = nodes?;
        let mut reader = Reader {
            nodes,
            tree: Tree {
                nodes: Vec::new(),
                root: 0,
            },
            open: Vec::new(),
            line,
        };
        Some(reader.node(0).map(|root| {
            let mut tree = reader.tree;
            tree.root = root;
            tree
        }))
    });
    match read {
        Err(error) => {
            let (at, column) = error.place.unwrap_or((0, 0));
            let at = if at == 0 { 0 } else { at + line as usize };
            let narrow = |n: usize| u32::try_from(n).unwrap_or(0);
            Err(Fault::new(error.text).at(narrow(at), narrow(column)))
        }
        Ok(None) => Ok(None),
        Ok(Some(Err(fault))) => Err(fault),
        Ok(Some(Ok(tree))) if tree.get(tree.root).is_null() => Ok(None),
        Ok(Some(Ok(tree))) => Ok(Some(tree)),
    }
}

struct Reader<'a, 't> {
    nodes: Nodes<'a, 't>,
    tree: Tree,
    /// Aliases that are being followed, and what they stand in.
    open: Vec<u32>,
    /// Lines before the document.
    line: u32,
}

impl Reader<'_, '_> {
    fn node(&mut self, at: u32) -> Step<Id> {
        let nodes = self.nodes;
        let place = (nodes.line(at) + self.line, nodes.column(at));
        if self.tree.len() >= MAX_NODES {
            let text = format!("the document has more than {MAX_NODES} values");
            return Err(Fault::new(text).at(place.0, place.1));
        }
        if self.open.len() > base_yaml::MAX_DEPTH || self.open.contains(&at) {
            let text = "the document holds itself, or nests too deep";
            return Err(Fault::new(text).at(place.0, place.1));
        }
        self.open.push(at);
        let done = self.inside(at, place);
        self.open.pop();
        done
    }

    fn inside(&mut self, at: u32, (line, column): (u32, u32)) -> Step<Id> {
        let nodes = self.nodes;
        let written = nodes.written_tag(at);
        let tagged = written.is_some();
        let mut node = match nodes.kind(at) {
            NodeKind::Alias => return self.node(nodes.target(at)),
            NodeKind::Scalar => {
                let text = nodes.text(at);
                let style = match nodes.style(at) {
                    ScalarStyle::Plain => Style::Plain,
                    ScalarStyle::Single => Style::Single,
                    ScalarStyle::Double => Style::Double,
                    ScalarStyle::Literal => Style::Literal,
                    ScalarStyle::Folded => Style::Folded,
                };
                let tag = match written {
                    Some(tag) => Tag::of(&tag),
                    None if style.quoted() => Tag::Str,
                    None if text == "<<" => Tag::of("!!merge"),
                    None => Tag::of(go::tag_v3(text)),
                };
                Node {
                    tag,
                    style,
                    ..Node::scalar(text)
                }
            }
            kind => {
                let (kind, tag) = match kind {
                    NodeKind::Sequence => (Kind::Seq, Tag::Seq),
                    _ => (Kind::Map, Tag::Map),
                };
                let tag = written.map_or(tag, |tag| Tag::of(&tag));
                let style = if nodes.flow(at) {
                    Style::Flow
                } else {
                    Style::Plain
                };
                let inner = match kind {
                    Kind::Map => self.fields(at)?,
                    _ => {
                        let mut inner = Vec::new();
                        for item in nodes.inner(at) {
                            inner.push(self.node(item)?);
                        }
                        inner
                    }
                };
                Node {
                    tag,
                    style,
                    inner,
                    ..Node::new(kind)
                }
            }
        };
        node.tagged = tagged;
        node.line = line;
        node.column = column;
        Ok(self.tree.add(node))
    }

    /// A map's own fields, then those that it merges in and does not have.
    fn fields(&mut self, at: u32) -> Step<Vec<Id>> {
        let nodes = self.nodes;
        let mut inner = Vec::new();
        let mut merge = None;
        let mut cleared = false;
        let mut walk = nodes.inner(at);
        while let (Some(key), Some(value)) = (walk.next(), walk.next()) {
            let named = nodes.kind(key) == NodeKind::Scalar && nodes.text(key) == "<<";
            let merges = named
                && nodes.style(key) == ScalarStyle::Plain
                && nodes.written_tag(key).is_none_or(|tag| tag == "!!merge");
            if merges {
                if merge.is_some() {
                    let text = "a map holds two merge keys";
                    let line = nodes.line(key) + self.line;
                    return Err(Fault::new(text).at(line, nodes.column(key)));
                }
                merge = Some(value);
            }
            if named && !cleared {
                cleared = true;
                continue;
            }
            let key = self.node(key)?;
            let value = self.node(value)?;
            inner.push(key);
            inner.push(value);
        }
        let Some(merge) = merge else {
            return Ok(inner);
        };
        let own: Vec<_> = inner
            .iter()
            .step_by(2)
            .map(|&key| self.tree.text(key).clone())
            .collect();
        let mut merged: Vec<(Id, Id)> = Vec::new();
        for source in self.sources(merge)? {
            let source = self.node(source)?;
            let fields = self.tree.get(source).inner.clone();
            for field in fields.chunks_exact(2) {
                let name = self.tree.text(field[0]).clone();
                if own.contains(&name) {
                    continue;
                }
                let known = merged
                    .iter_mut()
                    .find(|(key, _)| *self.tree.text(*key) == name);
                match known {
                    Some(known) => *known = (field[0], field[1]),
                    None => merged.push((field[0], field[1])),
                }
            }
        }
        inner.extend(merged.into_iter().flat_map(|(key, value)| [key, value]));
        Ok(inner)
    }

    /// The maps that a merge key names; a later one counts more.
    fn sources(&self, at: u32) -> Step<Vec<u32>> {
        let nodes = self.nodes;
        let fail = |text: &str, at: u32| {
            Err(Fault::new(text.to_owned()).at(nodes.line(at) + self.line, nodes.column(at)))
        };
        match nodes.kind(at) {
            NodeKind::Mapping => Ok(vec![at]),
            NodeKind::Alias if nodes.kind(nodes.target(at)) == NodeKind::Mapping => {
                Ok(vec![nodes.target(at)])
            }
            NodeKind::Alias => fail("a merge key names what is no map", at),
            NodeKind::Sequence => {
                let mut out = Vec::new();
                for item in nodes.inner(at) {
                    if nodes.kind(item) == NodeKind::Sequence {
                        return fail("a merge key holds a list in a list", item);
                    }
                    let mut more = self.sources(item)?;
                    more.append(&mut out);
                    out = more;
                }
                Ok(out)
            }
            NodeKind::Scalar => fail("a merge key wants a map, or a list of maps", at),
        }
    }
}
