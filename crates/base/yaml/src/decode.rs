//! From a document's tree to JSON values, as go-yaml version 2 and `sigs.k8s.io/yaml` decode it.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use base_json::{Map, Value};
use base64::Engine as _;

use crate::any::Any;
use crate::budget::Budget;
use crate::input;
use crate::number::{self, Num};
use crate::problem::{Problem, Result};
use crate::resolve::{Resolved, Stack, resolve};
use crate::syntax::go_syntax;
use crate::tree::{Kind, Node, Reader, Tree};
use crate::{Document, GoError, MAX_DEPTH, YamlError};

/// What to do about a key that stands twice, and in whose words to complain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Refused, in our words.
    Ours,
    /// The last value counts, as in `Unmarshal`.
    Last,
    /// Refused, as in `UnmarshalStrict`.
    Strict,
}

/// Reads all documents, strictly.
pub(crate) fn documents(text: &str, file: &str) -> std::result::Result<Vec<Document>, YamlError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    check_characters(text, file)?;
    let mut reader = Reader::new(text, Stack::V2, MAX_DEPTH);
    let mut tree = Tree::default();
    let mut out = Vec::new();
    let mut aliased = 0;
    let mut index = 0;
    let shown = |problem: Box<Problem>| {
        let (line, column) = (
            problem.mark.line as usize + 1,
            problem.mark.column as usize + 1,
        );
        let message = problem.message();
        let message = match problem.problem.as_ref() {
            NO_TOKEN if stands_at_tab(text, line, column) => {
                "a tab stands where a line is indented; use spaces".to_owned()
            }
            _ => message,
        };
        YamlError::new(text, file, line, column, message)
    };
    let syntax = |problem: Box<Problem>| {
        let go = problem.go(Stack::V2);
        shown(problem).with_go(go)
    };
    while reader.document(&mut tree).map_err(syntax)? {
        let mut decoder = Decoder::new(&tree, Mode::Ours, Budget::ours(aliased));
        let value = decoder.value(0, 0).map_err(shown)?;
        aliased = decoder.budget.aliased();
        if !value.is_null() {
            out.push(Document {
                value,
                line: tree.get(0).line as usize + 1,
                index,
            });
        }
        index += 1;
    }
    Ok(out)
}

const NO_TOKEN: &str = "found character that cannot start any token";

fn stands_at_tab(text: &str, line: usize, column: usize) -> bool {
    let line = text.lines().nth(line - 1).unwrap_or_default();
    line.chars().nth(column - 1) == Some('\t')
}

/// Refuses the characters that YAML does, since a parser that lets them through would hand them to every cluster.
fn check_characters(text: &str, file: &str) -> std::result::Result<(), YamlError> {
    let Some(at) = input::find_control(text) else {
        return Ok(());
    };
    let before = &text[..at];
    let line = before.matches('\n').count() + 1;
    let last = before.rsplit('\n').next();
    let column = last.map_or(0, |last| last.chars().count()) + 1;
    let code = text[at..].chars().next().map_or(0, u32::from);
    let message = format!("control character U+{code:04X} is not allowed");
    let go = GoError::at("yaml: control characters are not allowed", line, column);
    Err(YamlError::new(text, file, line, column, message).with_go(go))
}

/// Reads the first document as Go does.
pub(crate) fn first(bytes: &[u8], strict: bool) -> std::result::Result<Value, GoError> {
    let input = input::read(bytes);
    let mut reader = Reader::new(&input.text, Stack::V2, MAX_DEPTH);
    let mut tree = Tree::default();
    let found = reader.document(&mut tree);
    input.check(reader.position())?;
    let go = |problem: Box<Problem>| problem.go(Stack::V2);
    if !found.map_err(go)? {
        return Ok(Value::Null);
    }
    let mode = if strict { Mode::Strict } else { Mode::Last };
    let mut decoder = Decoder::new(&tree, mode, Budget::go());
    let value = decoder.value(0, 0).map_err(go)?;
    decoder.finish()?;
    Ok(value)
}

/// What a scalar stands for.
enum Typed<'a> {
    Null,
    Bool(bool),
    Num(Num),
    Str(Cow<'a, str>),
}

struct Decoder<'a, 't> {
    tree: &'a Tree<'t>,
    mode: Mode,
    budget: Budget,
    /// What go-yaml says together, at the end.
    errors: Vec<(String, usize, usize)>,
    /// What comes up after that, when JSON is made.
    unsupported: Vec<Unsupported>,
}

/// Something that has no form in JSON.
struct Unsupported {
    error: GoError,
    /// Keys are found before values.
    key: bool,
    /// Another value took its place.
    replaced: bool,
}

impl<'a, 't> Decoder<'a, 't> {
    fn new(tree: &'a Tree<'t>, mode: Mode, budget: Budget) -> Self {
        Self {
            tree,
            mode,
            budget,
            errors: Vec::new(),
            unsupported: Vec::new(),
        }
    }

    fn finish(self) -> std::result::Result<(), GoError> {
        if let Some((_, line, column)) = self.errors.first() {
            let (line, column) = (*line, *column);
            let lines: Vec<&str> = self.errors.iter().map(|(text, ..)| text.as_str()).collect();
            let text = format!("yaml: unmarshal errors:\n  {}", lines.join("\n  "));
            return Err(GoError::at(text, line, column));
        }
        let left = self.unsupported.into_iter().filter(|found| !found.replaced);
        match left.min_by_key(|found| !found.key) {
            Some(found) => Err(found.error),
            None => Ok(()),
        }
    }

    fn value(&mut self, index: u32, depth: usize) -> Result<Value> {
        let tree = self.tree;
        let node = tree.get(index);
        self.budget.count(node)?;
        if depth > MAX_DEPTH {
            let problem = format!("nesting is deeper than {MAX_DEPTH} levels");
            return Err(Problem::at(problem, node.mark()));
        }
        match node.kind {
            Kind::Scalar => {
                let typed = self.scalar(node)?;
                self.scalar_value(typed, node)
            }
            Kind::Sequence => {
                let mut items = Vec::new();
                for item in tree.inner(index) {
                    items.push(self.value(item, depth + 1)?);
                }
                Ok(Value::Array(items))
            }
            Kind::Mapping => {
                let mut map = Map::new();
                let mut known = Known::default();
                self.mapping(index, depth, &mut map, &mut known)?;
                Ok(Value::Object(map))
            }
            Kind::Alias => {
                self.budget.follow(index, tree.get(index))?;
                let value = self.value(tree.target(index), depth)?;
                self.budget.back();
                Ok(value)
            }
        }
    }

    fn mapping(
        &mut self,
        index: u32,
        depth: usize,
        map: &mut Map<String, Value>,
        known: &mut Known,
    ) -> Result<()> {
        let tree = self.tree;
        let mut inner = tree.inner(index);
        while let (Some(key), Some(value)) = (inner.next(), inner.next()) {
            let key_node = tree.get(key);
            if is_merge(key_node) {
                self.merge(value, depth, map, known)?;
                continue;
            }
            let name = self.key(key, depth, map, known)?;
            let place = tree.get(value);
            let before = self.unsupported.len();
            let found = self.value(value, depth + 1)?;
            match name {
                Name::New(name) => {
                    if self.mode == Mode::Last && !self.unsupported.is_empty() {
                        self.replace(before, &name, known);
                    }
                    map.insert(name, found);
                }
                Name::Twice(shown) => {
                    let text = format!("line {}: key {shown} already set in map", place.line + 1);
                    let (line, column) = (key_node.line as usize + 1, key_node.column as usize + 1);
                    self.errors.push((text, line, column));
                }
                Name::Unsupported(kind) => {
                    let (line, column) = (key_node.line as usize + 1, key_node.column as usize + 1);
                    let value = go_syntax(&self.any(value)?, Stack::V2);
                    let text = format!("unsupported map key of type: {kind}, value: {value}");
                    self.unsupported.push(Unsupported {
                        error: GoError::at(text, line, column),
                        key: true,
                        replaced: false,
                    });
                }
            }
        }
        Ok(())
    }

    /// Forgets what was wrong with the value that a key had before.
    fn replace(&mut self, before: usize, name: &str, known: &mut Known) {
        if let Some((from, to)) = known.unsupported.remove(name) {
            for old in &mut self.unsupported[from..to] {
                old.replaced = true;
            }
        }
        if self.unsupported.len() > before {
            let range = (before, self.unsupported.len());
            known.unsupported.insert(name.to_owned(), range);
        }
    }

    /// A value with Go's types, to be shown.
    fn any(&mut self, index: u32) -> Result<Any> {
        let tree = self.tree;
        let node = tree.get(index);
        self.budget.count(node)?;
        Ok(match node.kind {
            Kind::Scalar => match self.scalar(node)? {
                Typed::Null => Any::Null,
                Typed::Bool(flag) => Any::Bool(flag),
                Typed::Num(Num::Int(int)) => Any::Int(int),
                Typed::Num(Num::Uint(int)) => Any::Uint(int),
                Typed::Num(Num::Float(float)) => Any::Float(float),
                Typed::Str(text) => Any::Str(text.into_owned()),
            },
            Kind::Alias => {
                self.budget.follow(index, node)?;
                let value = self.any(tree.target(index))?;
                self.budget.back();
                value
            }
            Kind::Sequence => {
                let items = tree.inner(index).map(|item| self.any(item));
                Any::List(items.collect::<Result<_>>()?)
            }
            Kind::Mapping => {
                let mut fields = Vec::new();
                let mut inner = tree.inner(index);
                while let (Some(key), Some(value)) = (inner.next(), inner.next()) {
                    fields.push((self.any(key)?, self.any(value)?));
                }
                if self.mode == Mode::Strict {
                    // there the first value counts, and of what is shown the last
                    fields.reverse();
                }
                Any::Map(fields)
            }
        })
    }

    fn key(
        &mut self,
        index: u32,
        depth: usize,
        map: &Map<String, Value>,
        known: &mut Known,
    ) -> Result<Name> {
        let tree = self.tree;
        let mut node = tree.get(index);
        self.budget.count(node)?;
        let mut followed = false;
        if node.kind == Kind::Alias {
            self.budget.follow(index, tree.get(index))?;
            followed = true;
            node = tree.get(tree.target(index));
            self.budget.count(node)?;
        }
        if node.kind != Kind::Scalar {
            let at = tree.get(index).mark();
            if self.mode == Mode::Ours {
                return Err(Problem::at("a map or a list cannot be a key", at));
            }
            self.budget.uncount();
            let target = if followed { tree.target(index) } else { index };
            self.value(target, depth + 1)?;
            let value = self.any(target)?;
            let problem = format!("invalid map key: {}", go_syntax(&value, Stack::V2));
            return Err(Problem::at(problem, at));
        }
        let typed = self.scalar(node)?;
        if followed {
            self.budget.back();
        }
        let at = tree.get(index);
        if self.mode == Mode::Ours {
            let name = our_key(&typed).map_err(|problem| Problem::at(problem, at.mark()))?;
            if let Some(first) = known.lines.insert(name.clone(), at.line) {
                let problem = format!(
                    "duplicate key {name:?}: it stands in line {} already",
                    first + 1
                );
                return Err(Problem::at(problem, at.mark()));
            }
            return Ok(Name::New(name));
        }
        let (kind, name) = match typed {
            Typed::Str(text) => (b's', text.into_owned()),
            Typed::Bool(flag) => (b'b', flag.to_string()),
            Typed::Num(Num::Int(int)) => (b'i', int.to_string()),
            Typed::Num(Num::Float(float)) => (b'f', number::go_g32_or_odd(float)),
            Typed::Num(Num::Uint(int)) => {
                return Ok(Name::Unsupported(format!("uint64, key: 0x{int:x}")));
            }
            Typed::Null => {
                return Ok(Name::Unsupported("%!s(<nil>), key: <nil>".to_owned()));
            }
        };
        if self.mode == Mode::Strict {
            // most maps hold keys of one kind only
            let odd = |kind: u8| known.odd.contains(&(kind, name.clone()));
            let twice = match kind {
                b's' if known.odd.is_empty() => map.contains_key(&name),
                b's' => odd(b's') || map.contains_key(&name) && !b"bif".iter().any(|k| odd(*k)),
                kind => odd(kind),
            };
            if twice {
                let shown = match kind {
                    b's' => crate::syntax::go_quote(&name),
                    _ => name,
                };
                return Ok(Name::Twice(shown));
            }
            if kind != b's' || map.contains_key(&name) {
                known.odd.insert((kind, name.clone()));
            }
        }
        Ok(Name::New(name))
    }

    /// Takes in the fields of a map, or of several where earlier ones win. As in go-yaml, a merge overrides what stands
    /// before it and is overridden by what stands after.
    fn merge(
        &mut self,
        index: u32,
        depth: usize,
        map: &mut Map<String, Value>,
        known: &mut Known,
    ) -> Result<()> {
        let tree = self.tree;
        let node = tree.get(index);
        match node.kind {
            Kind::Sequence => {
                let items: Vec<u32> = tree.inner(index).collect();
                for item in items.into_iter().rev() {
                    self.merge_one(item, depth, map, known, node)?;
                }
                Ok(())
            }
            _ => self.merge_one(index, depth, map, known, node),
        }
    }

    fn merge_one(
        &mut self,
        index: u32,
        depth: usize,
        map: &mut Map<String, Value>,
        known: &mut Known,
        whole: &Node<'_>,
    ) -> Result<()> {
        let tree = self.tree;
        let node = tree.get(index);
        let target = match node.kind {
            Kind::Alias => tree.target(index),
            _ => index,
        };
        if tree.get(target).kind != Kind::Mapping {
            let problem = match self.mode {
                Mode::Ours => "merge key << needs a map or a list of maps",
                _ => "map merge requires map or sequence of maps as the value",
            };
            return Err(Problem::at(problem, whole.mark()));
        }
        self.budget.count(node)?;
        let alias = node.kind == Kind::Alias;
        if alias {
            self.budget.follow(index, tree.get(index))?;
            self.budget.count(tree.get(target))?;
        }
        if depth > MAX_DEPTH {
            let problem = format!("nesting is deeper than {MAX_DEPTH} levels");
            return Err(Problem::at(problem, node.mark()));
        }
        if self.mode == Mode::Ours {
            // what is merged in may be overridden, so its keys are not this map's own
            self.mapping(target, depth + 1, map, &mut Known::default())?;
        } else {
            self.mapping(target, depth + 1, map, known)?;
        }
        if alias {
            self.budget.back();
        }
        Ok(())
    }

    fn scalar(&self, node: &'a Node<'t>) -> Result<Typed<'a>> {
        let text = node.text.as_ref();
        let Some(tag) = node.tag.as_deref() else {
            if !node.implicit() {
                return Ok(Typed::Str(Cow::Borrowed(text)));
            }
            return Ok(match resolve(text, Stack::V2, false) {
                Resolved::Null => Typed::Null,
                Resolved::Bool(flag) => Typed::Bool(flag),
                // a date such as 2001-01-01 is no number either
                Resolved::Num(number) => Typed::Num(number),
                Resolved::Time(_) | Resolved::Str => Typed::Str(Cow::Borrowed(text)),
            });
        };
        let short = tag.strip_prefix("tag:yaml.org,2002:").unwrap_or("");
        let found = match short {
            "bool" | "int" | "float" | "null" | "timestamp" => {
                resolve(text, Stack::V2, short == "timestamp")
            }
            "binary" => return self.binary(node),
            _ => return Ok(Typed::Str(Cow::Borrowed(text))),
        };
        match (short, found) {
            ("bool", Resolved::Bool(flag)) => Ok(Typed::Bool(flag)),
            ("int", Resolved::Num(number @ (Num::Int(_) | Num::Uint(_)))) => Ok(Typed::Num(number)),
            ("float", Resolved::Num(Num::Int(int))) => {
                Ok(Typed::Num(Num::Float(number::as_float(int))))
            }
            ("float", Resolved::Num(number @ Num::Float(_))) => Ok(Typed::Num(number)),
            ("null", Resolved::Null) => Ok(Typed::Null),
            ("timestamp", Resolved::Time(_)) => Ok(Typed::Str(Cow::Borrowed(text))),
            (_, found) => {
                let problem = match self.mode {
                    Mode::Ours => format!("{text:?} is not a !!{short}"),
                    _ => {
                        let kind = match found {
                            Resolved::Null => "null",
                            Resolved::Bool(_) => "bool",
                            Resolved::Num(Num::Float(_)) => "float",
                            Resolved::Num(_) => "int",
                            Resolved::Time(_) => "timestamp",
                            Resolved::Str => "str",
                        };
                        format!("cannot decode !!{kind} `{text}` as a !!{short}")
                    }
                };
                Err(Problem::at(problem, node.mark()))
            }
        }
    }

    fn binary(&self, node: &'a Node<'t>) -> Result<Typed<'a>> {
        let ours = self.mode == Mode::Ours;
        let skipped = |c: &char| matches!(c, '\r' | '\n') || ours && c.is_whitespace();
        let packed: String = node.text.chars().filter(|c| !skipped(c)).collect();
        let Ok(bytes) = base64::engine::general_purpose::STANDARD.decode(packed) else {
            let problem = if ours {
                "!!binary value is not base64"
            } else {
                "!!binary value contains invalid base64 data"
            };
            return Err(Problem::at(problem, node.mark()));
        };
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Typed::Str(Cow::Owned(text))),
            Err(_) if ours => {
                let problem = "!!binary holds bytes that are not UTF-8";
                Err(Problem::at(problem, node.mark()))
            }
            Err(error) => Ok(Typed::Str(Cow::Owned(crate::emit::valid(error.as_bytes())))),
        }
    }

    fn scalar_value(&mut self, typed: Typed<'_>, node: &Node<'_>) -> Result<Value> {
        Ok(match typed {
            Typed::Null => Value::Null,
            Typed::Bool(flag) => Value::Bool(flag),
            Typed::Num(Num::Int(int)) => Value::from(int),
            Typed::Num(Num::Uint(int)) => Value::from(int),
            Typed::Num(Num::Float(float)) => {
                if let Some(value) = number::json_of(float) {
                    return Ok(value);
                }
                let odd = number::go_g_or_odd(float);
                if self.mode == Mode::Ours {
                    let problem =
                        format!("{odd} has no form in JSON; quote it if it is meant as text");
                    return Err(Problem::at(problem, node.mark()));
                }
                let text = format!("json: unsupported value: {}", crate::go::format_g(float));
                let (line, column) = (node.line as usize + 1, node.column as usize + 1);
                self.unsupported.push(Unsupported {
                    error: GoError::at(text, line, column),
                    key: false,
                    replaced: false,
                });
                Value::Null
            }
            Typed::Str(text) => Value::String(text.into_owned()),
        })
    }
}

/// The keys of a map that were read so far, as far as the mode asks for them.
#[derive(Default)]
struct Known {
    lines: BTreeMap<String, u32>,
    /// Keys that are no strings, by kind; and strings that look like them.
    odd: BTreeSet<(u8, String)>,
    /// Keys whose values hold what has no form in JSON.
    unsupported: BTreeMap<String, (usize, usize)>,
}

enum Name {
    New(String),
    /// As Go shows it.
    Twice(String),
    /// The type and the key, as Go shows them.
    Unsupported(String),
}

fn is_merge(node: &Node<'_>) -> bool {
    node.kind == Kind::Scalar
        && node.text == "<<"
        && (node.implicit() || node.tag.as_deref() == Some("tag:yaml.org,2002:merge"))
}

/// The key as a string; the error says why it cannot be one.
fn our_key(typed: &Typed<'_>) -> std::result::Result<String, String> {
    Ok(match typed {
        Typed::Null => {
            return Err("null cannot be a key; quote it if it is meant as text".to_owned());
        }
        Typed::Bool(flag) => flag.to_string(),
        Typed::Num(Num::Int(int)) => int.to_string(),
        Typed::Num(Num::Uint(int)) => {
            return Err(format!(
                "{int} is too large for a key; quote it if it is meant as text"
            ));
        }
        Typed::Num(Num::Float(float)) => number::go_g32_or_odd(*float),
        Typed::Str(text) => text.clone().into_owned(),
    })
}
