//! From a document's tree to values with Go's types, as go-yaml version 3 decodes it.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;

use crate::any::Any;
use crate::budget::Budget;
use crate::input;
use crate::number::{self, Num};
use crate::problem::{Problem, Result};
use crate::resolve::{Resolved, Stack, resolve};
use crate::scan::Style;
use crate::syntax::{go_quote, go_syntax};
use crate::tree::{Kind, Node, Reader, Tree};
use crate::{GoError, MAX_DEPTH};

/// go-yaml names every pair of keys that are the same; that many are enough.
const MAX_ERRORS: usize = 1000;

/// Reads the first document.
pub(crate) fn first(bytes: &[u8]) -> std::result::Result<Any, GoError> {
    let input = input::read(bytes);
    let mut reader = Reader::new(&input.text, Stack::V3, MAX_DEPTH);
    let mut tree = Tree::default();
    let found = reader.document(&mut tree);
    input.check(reader.position())?;
    let go = |problem: Box<Problem>| problem.go(Stack::V3);
    if !found.map_err(go)? {
        return Ok(Any::Null);
    }
    let mut decoder = Decoder {
        tree: &tree,
        budget: Budget::go(),
        errors: Vec::new(),
        merged: None,
    };
    let value = decoder.value(0, 0).map_err(go)?;
    if decoder.errors.is_empty() {
        return Ok(value);
    }
    let text = format!("yaml: unmarshal errors:\n  {}", decoder.errors.join("\n  "));
    Err(GoError::plain(text))
}

struct Decoder<'a, 't> {
    tree: &'a Tree<'t>,
    budget: Budget,
    errors: Vec<String>,
    /// The keys that a merge may not set, while one goes on.
    merged: Option<BTreeSet<String>>,
}

/// A map while it is being made.
struct Making {
    fields: Vec<(Any, Any)>,
    places: BTreeMap<String, usize>,
    /// Are all keys strings?
    strings: bool,
}

impl Making {
    fn set(&mut self, key: Any, value: Any) {
        let shown = shown(&key);
        match self.places.get(&shown) {
            Some(place) => self.fields[*place].1 = value,
            None => {
                // what is not a number is never the same as another
                if shown != "Float(NaN)" {
                    self.places.insert(shown, self.fields.len());
                }
                self.fields.push((key, value));
            }
        }
    }
}

fn shown(key: &Any) -> String {
    format!("{key:?}")
}

impl Decoder<'_, '_> {
    fn value(&mut self, index: u32, depth: usize) -> Result<Any> {
        let tree = self.tree;
        let node = tree.get(index);
        self.budget.count(node)?;
        if depth > MAX_DEPTH {
            let problem = format!("nesting is deeper than {MAX_DEPTH} levels");
            return Err(Problem::at(problem, node.mark()));
        }
        match node.kind {
            Kind::Scalar => scalar(node),
            Kind::Sequence => {
                let mut items = Vec::new();
                for item in tree.inner(index) {
                    items.push(self.value(item, depth + 1)?);
                }
                Ok(Any::List(items))
            }
            Kind::Mapping => {
                let mut making = Making {
                    fields: Vec::new(),
                    places: BTreeMap::new(),
                    strings: self.keys_are_strings(index),
                };
                self.mapping(index, depth, &mut making)?;
                Ok(Any::Map(making.fields))
            }
            Kind::Alias => {
                self.budget.follow(index, node)?;
                let value = self.value(tree.target(index), depth)?;
                self.budget.back();
                Ok(value)
            }
        }
    }

    fn keys_are_strings(&self, mapping: u32) -> bool {
        let tree = self.tree;
        tree.inner(mapping).step_by(2).all(|key| {
            let key = match tree.get(key).kind {
                Kind::Alias => tree.target(key),
                _ => key,
            };
            let node = tree.get(key);
            node.kind == Kind::Scalar && matches!(tag(node), "!!str" | "!!merge")
        })
    }

    /// Complains about keys that stand twice, pair by pair.
    fn check_keys(&mut self, mapping: u32) -> bool {
        let tree = self.tree;
        let mut groups: BTreeMap<(u8, &str), Vec<u32>> = BTreeMap::new();
        for key in tree.inner(mapping).step_by(2) {
            let node = tree.get(key);
            groups
                .entry((node.kind as u8, node.text.as_ref()))
                .or_default()
                .push(key);
        }
        groups.retain(|_, keys| keys.len() > 1);
        if groups.is_empty() {
            return true;
        }
        let mut pairs: Vec<(u32, u32)> = Vec::new();
        for keys in groups.values() {
            for (at, first) in keys.iter().enumerate() {
                let others = keys[at + 1..].iter().map(|other| (*first, *other));
                pairs.extend(others.take(MAX_ERRORS));
                if pairs.len() > MAX_ERRORS {
                    break;
                }
            }
        }
        pairs.sort_unstable();
        for (first, other) in pairs {
            if self.errors.len() < MAX_ERRORS {
                let (first, other) = (tree.get(first), tree.get(other));
                self.errors.push(format!(
                    "line {}: mapping key {} already defined at line {}",
                    other.line + 1,
                    go_quote(&other.text),
                    first.line + 1
                ));
            }
        }
        false
    }

    fn mapping(&mut self, index: u32, depth: usize, making: &mut Making) -> Result<()> {
        if !self.check_keys(index) {
            return Ok(());
        }
        let tree = self.tree;
        let mut merged = self.merged.take();
        let mut merge = None;
        let mut inner = tree.inner(index);
        while let (Some(key), Some(value)) = (inner.next(), inner.next()) {
            if is_merge(tree.get(key)) {
                merge = Some(value);
                continue;
            }
            let Some(name) = self.key(key, depth, making.strings)? else {
                continue;
            };
            if let Some(merged) = &mut merged
                && !merged.insert(shown(&name))
            {
                continue;
            }
            if matches!(name, Any::Map(_) | Any::List(_)) {
                let problem = format!("invalid map key: {}", go_syntax(&name, Stack::V3));
                return Err(Problem::at(problem, tree.get(key).mark()));
            }
            let found = self.value(value, depth + 1)?;
            making.set(name, found);
        }
        self.merged = merged;
        if let Some(value) = merge {
            self.merge(index, value, depth, making)?;
        }
        Ok(())
    }

    /// A key; in a map of strings its text, and none if it is null.
    fn key(&mut self, index: u32, depth: usize, strings: bool) -> Result<Option<Any>> {
        let found = self.value(index, depth + 1)?;
        if !strings {
            return Ok(Some(found));
        }
        let tree = self.tree;
        let node = match tree.get(index).kind {
            Kind::Alias => tree.get(tree.target(index)),
            _ => tree.get(index),
        };
        Ok(match found {
            Any::Null => None,
            found @ (Any::Str(_) | Any::Bytes(_) | Any::Map(_) | Any::List(_)) => Some(found),
            _ => Some(Any::Str(node.text.clone().into_owned())),
        })
    }

    /// Takes in the fields that the map itself does not have; of several maps, the first that has one counts.
    fn merge(&mut self, parent: u32, value: u32, depth: usize, making: &mut Making) -> Result<()> {
        let tree = self.tree;
        let outermost = self.merged.is_none();
        if outermost {
            let mut own = BTreeSet::new();
            for key in tree.inner(parent).step_by(2) {
                let name = self.value(key, depth + 1)?;
                own.insert(shown(&name));
            }
            self.merged = Some(own);
        }
        let node = tree.get(value);
        if node.kind == Kind::Sequence {
            for item in tree.inner(value) {
                self.merge_one(item, depth, making, node)?;
            }
        } else {
            self.merge_one(value, depth, making, node)?;
        }
        if outermost {
            self.merged = None;
        }
        Ok(())
    }

    fn merge_one(
        &mut self,
        index: u32,
        depth: usize,
        making: &mut Making,
        whole: &Node<'_>,
    ) -> Result<()> {
        let tree = self.tree;
        let node = tree.get(index);
        let alias = node.kind == Kind::Alias;
        let target = if alias { tree.target(index) } else { index };
        if tree.get(target).kind != Kind::Mapping {
            let problem = "map merge requires map or sequence of maps as the value";
            return Err(Problem::at(problem, whole.mark()));
        }
        self.budget.count(node)?;
        if alias {
            self.budget.follow(index, node)?;
            self.budget.count(tree.get(target))?;
        }
        if depth > MAX_DEPTH {
            let problem = format!("nesting is deeper than {MAX_DEPTH} levels");
            return Err(Problem::at(problem, node.mark()));
        }
        self.mapping(target, depth + 1, making)?;
        if alias {
            self.budget.back();
        }
        Ok(())
    }
}

fn is_merge(node: &Node<'_>) -> bool {
    node.kind == Kind::Scalar && node.text == "<<" && tag(node) == "!!merge"
}

/// The short tag that go-yaml gives a scalar when it reads it.
fn tag<'n>(node: &'n Node<'_>) -> &'n str {
    match node.tag.as_deref() {
        Some(tag) if tag != "!" => match tag.strip_prefix("tag:yaml.org,2002:") {
            Some("str") => "!!str",
            Some("merge") => "!!merge",
            Some("int") => "!!int",
            Some("float") => "!!float",
            Some("bool") => "!!bool",
            Some("null") => "!!null",
            Some("timestamp") => "!!timestamp",
            Some("binary") => "!!binary",
            _ => tag,
        },
        _ if node.style != Style::Plain => "!!str",
        _ if node.text == "<<" => "!!merge",
        _ => resolved_tag(&resolve(&node.text, Stack::V3, true)),
    }
}

pub(crate) fn resolved_tag(found: &Resolved) -> &'static str {
    match found {
        Resolved::Null => "!!null",
        Resolved::Bool(_) => "!!bool",
        Resolved::Num(Num::Float(_)) => "!!float",
        Resolved::Num(_) => "!!int",
        Resolved::Time(_) => "!!timestamp",
        Resolved::Str => "!!str",
    }
}

fn scalar(node: &Node<'_>) -> Result<Any> {
    scalar_of(tag(node), &node.text).map_err(|problem| Problem::at(problem, node.mark()))
}

/// The value of a scalar with this short tag.
pub(crate) fn scalar_of(wanted: &str, text: &str) -> std::result::Result<Any, String> {
    let string = || Ok(Any::Str(text.to_owned()));
    let found = match wanted {
        "!!str" => return string(),
        "!!binary" => return binary(text),
        "!!bool" | "!!int" | "!!float" | "!!null" | "!!timestamp" => {
            resolve(text, Stack::V3, wanted == "!!timestamp")
        }
        _ => return string(),
    };
    Ok(match (wanted, found) {
        ("!!float", Resolved::Num(Num::Int(int))) => Any::Float(number::as_float(int)),
        (_, found) if resolved_tag(&found) == wanted => match found {
            Resolved::Null => Any::Null,
            Resolved::Bool(flag) => Any::Bool(flag),
            Resolved::Num(Num::Int(int)) => Any::Int(int),
            Resolved::Num(Num::Uint(int)) => Any::Uint(int),
            Resolved::Num(Num::Float(float)) => Any::Float(float),
            Resolved::Time(time) => Any::Time(time),
            Resolved::Str => Any::Str(text.to_owned()),
        },
        (_, found) => {
            let kind = resolved_tag(&found);
            return Err(format!("cannot decode {kind} `{text}` as a {wanted}"));
        }
    })
}

fn binary(text: &str) -> std::result::Result<Any, String> {
    let packed: String = text.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
    match base64::engine::general_purpose::STANDARD.decode(packed) {
        Ok(bytes) => Ok(match String::from_utf8(bytes) {
            Ok(text) => Any::Str(text),
            Err(error) => Any::Bytes(error.into_bytes()),
        }),
        Err(_) => Err("!!binary value contains invalid base64 data".to_owned()),
    }
}
