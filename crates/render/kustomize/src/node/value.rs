//! Between nodes and JSON, as kustomize goes: nodes are written as YAML, and read back.

use base_yaml::go::{self, Any};
use serde_json::{Map, Number, Value};

use super::{Id, Kind, Node, Step, Style, Tag, Tree};
use crate::diag::Fault;

impl Tree {
    /// The whole document as JSON.
    pub(crate) fn to_value(&self) -> Step<Value> {
        self.value(self.root)
    }

    /// What hangs below a node, as JSON.
    pub(crate) fn value(&self, id: Id) -> Step<Value> {
        self.inner_value(id, false, true)
    }

    fn inner_value(&self, id: Id, flow: bool, top: bool) -> Step<Value> {
        let node = self.get(id);
        let flow = flow || node.style == Style::Flow;
        match node.kind {
            Kind::Scalar => self.scalar_value(node, flow, false),
            Kind::Seq => {
                let items = node.inner.iter();
                let items = items.map(|&item| self.inner_value(item, flow, false));
                Ok(Value::Array(items.collect::<Step<_>>()?))
            }
            Kind::Map => {
                let mut out = Map::new();
                for field in node.inner.chunks_exact(2) {
                    let key = self.get(field[0]);
                    let fault = |text: String| Fault::new(text).at(key.line, key.column);
                    if key.kind != Kind::Scalar {
                        return Err(fault("a key is no scalar".to_owned()));
                    }
                    let name = match self.scalar_value(key, flow, true)? {
                        Value::String(name) => name,
                        _ if top => key.text.to_string(),
                        _ => {
                            return Err(fault(format!(
                                "key {:?} is no string; put it in quotes",
                                key.text
                            )));
                        }
                    };
                    if out.contains_key(&name) {
                        return Err(fault(format!("key {name:?} stands twice")));
                    }
                    out.insert(name, self.inner_value(field[1], flow, false)?);
                }
                Ok(Value::Object(out))
            }
        }
    }

    /// What a scalar reads as once it is written.
    fn scalar_value(&self, node: &Node, flow: bool, key: bool) -> Step<Value> {
        let text = &*node.text;
        let string = || Ok(Value::String(text.to_owned()));
        let resolved = || go::tag_v3(text);
        let tag = match &node.tag {
            Tag::Str => return string(),
            Tag::None => "",
            tag if !node.tagged && tag.as_str() == resolved() => "",
            tag => tag.as_str(),
        };
        if tag.is_empty() {
            if node.style.quoted() || text.contains('\n') || text.is_empty() && (flow || key) {
                return string();
            }
            if resolved() == "!!str" || !go::plain_fits(text) {
                return string();
            }
        }
        let tag = if tag.is_empty() { resolved() } else { tag };
        let fault = |text: String| Fault::new(text).at(node.line, node.column);
        match go::scalar_v3(tag, text).map_err(fault)? {
            Any::Null => Ok(Value::Null),
            Any::Bool(flag) => Ok(Value::Bool(flag)),
            Any::Int(int) => Ok(int.into()),
            Any::Uint(int) => Ok(int.into()),
            Any::Float(float) => match Number::from_f64(float) {
                Some(number) => Ok(Value::Number(number)),
                None => Err(fault(format!("{text} is no number that JSON can hold"))),
            },
            Any::Str(text) => Ok(Value::String(text)),
            Any::Bytes(bytes) => Ok(Value::String(String::from_utf8_lossy(&bytes).into_owned())),
            Any::Time(time) => Ok(Value::String(time.to_string())),
            Any::List(_) | Any::Map(_) => string(),
        }
    }

    /// Makes nodes of JSON, as if it had been written as YAML and read again. With `floats`, numbers pass through a
    /// float64, as all do that Go reads from JSON.
    pub(crate) fn from_value(value: &Value, floats: bool) -> Self {
        let mut out = Self {
            nodes: Vec::new(),
            root: 0,
        };
        out.root = out.add_value(value, floats);
        out
    }

    pub(crate) fn add_value(&mut self, value: &Value, floats: bool) -> Id {
        let node = match value {
            Value::Null => Node {
                tag: Tag::Null,
                ..Node::scalar("null")
            },
            Value::Bool(flag) => Node {
                tag: Tag::Bool,
                ..Node::scalar(if *flag { "true" } else { "false" })
            },
            Value::Number(number) => {
                let text = match number.as_f64() {
                    Some(float) if floats || number.is_f64() => go_g(float),
                    _ => number.to_string(),
                };
                Node {
                    tag: Tag::of(go::tag_v3(&text)),
                    ..Node::scalar(text)
                }
            }
            Value::String(text) => Node {
                style: string_style(text),
                ..Node::string(text.as_str())
            },
            Value::Array(items) => {
                let inner = items.iter().map(|item| self.add_value(item, floats));
                Node {
                    tag: Tag::Seq,
                    inner: inner.collect(),
                    ..Node::new(Kind::Seq)
                }
            }
            Value::Object(map) => {
                let mut inner = Vec::with_capacity(map.len() * 2);
                for (key, value) in map {
                    let key = Node {
                        style: string_style(key),
                        ..Node::string(key.as_str())
                    };
                    inner.push(self.add(key));
                    inner.push(self.add_value(value, floats));
                }
                Node {
                    tag: Tag::Map,
                    inner,
                    ..Node::new(Kind::Map)
                }
            }
        };
        self.add(node)
    }
}

/// The form in which Go writes a string.
fn string_style(text: &str) -> Style {
    if text.contains('\n') {
        Style::Literal
    } else if go::tag_v3(text) != "!!str" || go::reads_as_other(text) {
        Style::Double
    } else if go::plain_fits(text) {
        Style::Plain
    } else {
        Style::Single
    }
}

/// A float as Go writes it into YAML: integers without a fraction, large ones with an exponent.
pub(crate) fn go_g(float: f64) -> String {
    go::format_g(float)
}
