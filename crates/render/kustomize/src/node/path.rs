//! Paths of replacements: `spec.containers.[name=a].image`, with `*`, numbers and escaped dots.

use roadstead_sprig::go::regexp::Regexp;

use super::fns::{index, is_list_index, split_index};
use super::{Id, Kind, Node, Step, Tree};
use crate::diag::Fault;

/// Splits a path at a delimiter that no backslash stands before.
pub(crate) fn split(path: &str, delimiter: char) -> Vec<String> {
    let mut parts: Vec<&str> = path.split(delimiter).collect();
    if parts.len() > 1 && parts[0].is_empty() {
        parts.remove(0);
    }
    let mut out: Vec<String> = Vec::new();
    for part in parts {
        match out.last_mut() {
            Some(last) if last.ends_with('\\') => {
                last.pop();
                last.push(delimiter);
                last.push_str(part);
            }
            _ => out.push(part.to_owned()),
        }
    }
    out
}

/// Splits a path, but not in brackets.
pub(crate) fn smart_split(path: &str, delimiter: char) -> Vec<String> {
    let parts = split(path, delimiter);
    let mut out = Vec::new();
    let mut parts = parts.into_iter();
    while let Some(part) = parts.next() {
        if !part.starts_with('[') || part.ends_with(']') {
            out.push(part);
            continue;
        }
        let mut whole = part;
        for more in parts.by_ref() {
            whole.push(delimiter);
            whole.push_str(&more);
            if more.ends_with(']') {
                break;
            }
        }
        if whole.contains('=') {
            out.push(whole);
        } else {
            out.push(whole.trim_matches(['[', ']']).to_owned());
        }
    }
    out
}

/// What a missing part is made as, if it is made at all.
fn next_kind(next: Option<&String>, last: Kind) -> Kind {
    match next {
        None => last,
        Some(next) if next.is_empty() => last,
        Some(next) if is_list_index(next) || index(next).is_some_and(|i| i >= 0) => Kind::Seq,
        Some(_) => Kind::Map,
    }
}

/// What a path came to inside of a text that holds YAML or JSON is changed in a copy that nobody writes back.
pub(crate) enum Found {
    /// Nodes of the document.
    Here(Vec<Id>),
    /// So many nodes of a text.
    Inside(usize),
}

impl Tree {
    /// Everything that a path names, made where `create` says as what.
    pub(crate) fn matching(
        &mut self,
        at: Id,
        path: &[String],
        create: Option<Kind>,
    ) -> Step<Found> {
        if path.len() > super::MAX_DEPTH {
            return Err(Fault::new(format!("the path has {} parts", path.len())));
        }
        let mut out = Vec::new();
        let mut inside = 0;
        self.match_into(at, path, create, &mut out, &mut inside)?;
        if out.is_empty() && inside > 0 {
            return Ok(Found::Inside(inside));
        }
        Ok(Found::Here(out))
    }

    fn match_into(
        &mut self,
        at: Id,
        path: &[String],
        create: Option<Kind>,
        out: &mut Vec<Id>,
        inside: &mut usize,
    ) -> Step<()> {
        let Some((part, rest)) = path.split_first() else {
            out.push(at);
            return Ok(());
        };
        if let Some(number) = index(part).filter(|&i| i >= 0) {
            let number = usize::try_from(number).unwrap_or(usize::MAX);
            let count = self.items(at)?.len();
            if count == number
                && let Some(create) = create
            {
                let made = self.add(Node::new(next_kind(rest.first(), create)));
                self.append(at, made)?;
            }
            let items = self.items(at)?;
            let Some(&item) = items.get(number) else {
                let text = format!(
                    "index {number} is asked for, but there are {} items",
                    items.len()
                );
                return Err(self.fault_at(at, text));
            };
            return self.match_into(item, rest, create, out, inside);
        }
        if is_list_index(part) {
            return self.match_items(at, part, rest, create, out, inside);
        }
        if part == "*" {
            for item in self.items(at)?.to_vec() {
                self.match_into(item, rest, create, out, inside)?;
            }
            return Ok(());
        }
        let mut field = self.get_field(at, part)?;
        if field.is_none() {
            let Some(create) = create else {
                return Ok(());
            };
            let made = self.add(Node::new(next_kind(rest.first(), create)));
            self.set_field(at, part, made)?;
            field = Some(made);
        }
        let Some(field) = field else { return Ok(()) };
        if self.get(field).kind == Kind::Scalar && !rest.is_empty() {
            let text = self.text(field).clone();
            if let Some(mut part) = super::parse_one(text.as_bytes())? {
                let root = part.root;
                match part.matching(root, rest, create)? {
                    Found::Here(found) => *inside += found.len(),
                    Found::Inside(count) => *inside += count,
                }
            } else if !text.is_empty() {
                let root = Node {
                    tag: super::Tag::Null,
                    ..Node::scalar("null")
                };
                let mut part = Tree::new(root);
                match part.matching(0, rest, create)? {
                    Found::Here(found) => *inside += found.len(),
                    Found::Inside(count) => *inside += count,
                }
            }
            return Ok(());
        }
        self.match_into(field, rest, create, out, inside)
    }

    fn match_items(
        &mut self,
        at: Id,
        part: &str,
        rest: &[String],
        create: Option<Kind>,
        out: &mut Vec<Id>,
        inside: &mut usize,
    ) -> Step<()> {
        let (name, pattern) = split_index(part)?;
        let regex = Regexp::new(pattern.as_bytes())
            .map_err(|error| Fault::new(format!("{part:?} in a path: {error}")))?;
        // what was just made is looked for once more
        for again in [false, true] {
            let before = out.len() + *inside;
            for item in self.items(at)?.to_vec() {
                if name.is_empty() {
                    if regex.is_match(self.shown(item).as_bytes()) {
                        out.push(item);
                    }
                    continue;
                }
                let Some(value) = self.field(item, name) else {
                    continue;
                };
                if regex.is_match(self.shown(value).as_bytes()) {
                    self.match_into(item, rest, create, out, inside)?;
                }
            }
            if out.len() + *inside > before || create.is_none() || again {
                break;
            }
            let value = self.add(Node::scalar(pattern));
            let made = if name.is_empty() {
                value
            } else {
                let key = self.add(Node::scalar(name));
                let mut map = Node::new(Kind::Map);
                map.inner = vec![key, value];
                self.add(map)
            };
            self.append(at, made)?;
        }
        Ok(())
    }

    fn append(&mut self, list: Id, item: Id) -> Step<()> {
        self.want(list, Kind::Seq)?;
        self.get_mut(list).inner.push(item);
        Ok(())
    }

    /// A node as it is written, for patterns to match.
    fn shown(&self, id: Id) -> String {
        super::to_text(self, id).trim().to_owned()
    }

    fn fault_at(&self, id: Id, text: String) -> Fault {
        let node = self.get(id);
        Fault::new(text).at(node.line, node.column)
    }
}

/// Splits a field's path at slashes.
pub(crate) fn split_path(path: &str) -> Vec<String> {
    split(path, '/')
}
