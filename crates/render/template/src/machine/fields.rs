//! Fields, keys and methods.

use super::{Fault, Machine, Seen};
use crate::builtin::zero;
use crate::call::{Method, Signature};
use crate::code::{Chain, Root};
use crate::compile::wrong_count;
use crate::parse::NodeId;
use crate::set::MissingKey;
use crate::text::Str;
use crate::types::{Kind, Type};
use crate::value::{Underlying, Value};

/// What a name is on a receiver.
enum Found {
    Value(Seen),
    Method(Method),
}

/// The method of every object that has a text of its own.
const OWN_TEXT: Method = Method {
    name: "String",
    signature: Signature::fixed(&[]),
    call: |receiver, _, _| match receiver {
        Value::Object(object) => Ok(Value::str(object.string().unwrap_or_default().into_owned())),
        _ => Ok(Value::str("")),
    },
};

impl Machine<'_> {
    fn missing_key(&self) -> MissingKey {
        let set = self.frames.last().map_or(0, |frame| frame.set);
        self.sets[set].missing_key()
    }

    /// The value that a chain begins with.
    fn root(&mut self, chain: &Chain) -> Result<Seen, Fault> {
        match chain.root {
            Root::Dot => Ok(match self.frames.last() {
                Some(frame) => frame.dot.clone(),
                None => Seen {
                    value: Value::Invalid,
                    wrapped: false,
                },
            }),
            Root::Variable(name) => self.variable(name).map(|seen| seen.clone()),
            Root::Operand => Ok(Seen {
                value: self.operands.pop().unwrap_or(Value::Invalid),
                wrapped: false,
            }),
        }
    }

    /// A variable, the innermost of its name.
    pub(super) fn variable(&mut self, name: u32) -> Result<&mut Seen, Fault> {
        let from = self.frames.last().map_or(0, |frame| frame.variables);
        let found = self.variables[from..]
            .iter()
            .rposition(|variable| variable.name == name);
        let Some(index) = found else {
            return Err(self.undefined(name));
        };
        // there can be many in between
        let passed = self.variables.len() - from - index;
        if passed > 64 {
            self.meter.spend(passed as u64 / 64, self.host)?;
        }
        Ok(&mut self.variables[from + index].seen)
    }

    pub(super) fn undefined(&self, name: u32) -> Fault {
        let names = self
            .frames
            .last()
            .map(|frame| &frame.template.unit.code.variables);
        let name = names
            .and_then(|names| names.get(name as usize))
            .cloned()
            .unwrap_or_default();
        Fault::Message(format!("undefined variable: {}", name.to_text()))
    }

    /// Evaluates a chain of fields that takes no arguments.
    pub(super) fn chain(&mut self, chain: &Chain) -> Result<Value, Fault> {
        let mut seen = self.root(chain)?;
        for field in &chain.fields {
            seen = self.field(seen, field, chain.node)?;
        }
        self.wrapped = seen.wrapped;
        Ok(seen.value)
    }

    /// Finds the method that the last field of a chain must be. None: the receiver is missing, and so is the result.
    pub(super) fn method(&mut self, chain: &Chain) -> Result<Option<(Method, Value)>, Fault> {
        let mut seen = self.root(chain)?;
        let Some((last, first)) = chain.fields.split_last() else {
            return Ok(None);
        };
        for field in first {
            seen = self.field(seen, field, chain.node)?;
        }
        if matches!(seen.value, Value::Invalid) {
            self.nothing(last)?;
            return Ok(None);
        }
        let receiver = seen.value.clone();
        match self.find(&seen, last, true)? {
            Found::Method(method) => {
                let (given, count) = (
                    usize::from(chain.args),
                    usize::from(chain.args) + usize::from(chain.last),
                );
                if let Some(message) = wrong_count(method.name, &method.signature, given, count) {
                    return Err(message.into());
                }
                Ok(Some((method, receiver)))
            }
            // fields and keys have refused the arguments
            Found::Value(_) => Ok(None),
        }
    }

    fn nothing(&self, field: &Str) -> Result<(), Fault> {
        if self.missing_key() == MissingKey::Error {
            let field = String::from_utf8_lossy(&crate::strconv::quote(field)).into_owned();
            return Err(format!("nil data; no entry for key {field}").into());
        }
        Ok(())
    }

    fn field(&mut self, seen: Seen, field: &Str, at: NodeId) -> Result<Seen, Fault> {
        // what nearly all receivers are
        if let Value::Map(map) = &seen.value
            && map.methods().is_empty()
            && let Some(value) = map.get(field)
        {
            return Ok(Seen {
                value,
                wrapped: matches!(map.elem(), Type::Any),
            });
        }
        if matches!(seen.value, Value::Invalid) {
            self.nothing(field)?;
            return Ok(seen);
        }
        match self.find(&seen, field, false)? {
            Found::Value(found) => Ok(found),
            Found::Method(method) => {
                if let Some(message) = wrong_count(method.name, &method.signature, 0, 0) {
                    return Err(message.into());
                }
                let value = self.call_method(method, &seen.value, 0, at)?;
                Ok(Seen {
                    value,
                    wrapped: false,
                })
            }
        }
    }

    fn find(&self, seen: &Seen, field: &Str, has_args: bool) -> Result<Found, Fault> {
        let text = field.to_text();
        let type_name = || {
            if seen.wrapped {
                "interface {}".into()
            } else {
                seen.value.type_name()
            }
        };
        let cannot = || {
            Fault::Message(format!(
                "can't evaluate field {text} in type {}",
                type_name()
            ))
        };
        let object = match &seen.value {
            Value::Nil => {
                return Err(format!("nil pointer evaluating interface {{}}.{text}").into());
            }
            Value::Map(map) => {
                if let Some(method) = map.methods().iter().find(|method| method.name == text) {
                    return Ok(Found::Method(*method));
                }
                return self.key(map, field, has_args).map(Found::Value);
            }
            Value::Object(object) => object,
            _ => return Err(cannot()),
        };
        if let Some(method) = object.methods().iter().find(|method| method.name == text) {
            return Ok(Found::Method(*method));
        }
        let own_text = if object.is_error() { "Error" } else { "String" };
        if text == own_text && object.string().is_some() {
            return Ok(Found::Method(OWN_TEXT));
        }
        let pointer = object.kind() == Kind::Pointer;
        let nil = pointer && object.is_nil();
        match object.underlying() {
            Underlying::Map(map) if !nil => self.key(&map, field, has_args).map(Found::Value),
            Underlying::Struct(fields) => {
                let Some(found) = fields.into_iter().find(|found| found.name == text) else {
                    // a struct may lend the fields of one that it embeds
                    return match object.field(&text) {
                        Some(value) if !nil && !has_args => Ok(Found::Value(Seen {
                            value,
                            wrapped: false,
                        })),
                        _ => Err(cannot()),
                    };
                };
                if nil {
                    return Err(format!("nil pointer evaluating {}.{text}", type_name()).into());
                }
                if !found.exported {
                    return Err(format!(
                        "{text} is an unexported field of struct type {}",
                        type_name()
                    )
                    .into());
                }
                if has_args {
                    return Err(
                        format!("{text} has arguments but cannot be invoked as function").into(),
                    );
                }
                Ok(Found::Value(Seen {
                    value: found.value,
                    wrapped: found.any,
                }))
            }
            _ if nil => Err(format!("nil pointer evaluating {}.{text}", type_name()).into()),
            _ => Err(cannot()),
        }
    }

    fn key(&self, map: &crate::Map, field: &Str, has_args: bool) -> Result<Seen, Fault> {
        if has_args {
            return Err(format!("{} is not a method but has arguments", field.to_text()).into());
        }
        let elem = map.elem();
        let wrapped = matches!(elem, Type::Any);
        if let Some(value) = map.get(field) {
            return Ok(Seen { value, wrapped });
        }
        match self.missing_key() {
            MissingKey::Default => Ok(Seen {
                value: Value::Invalid,
                wrapped: false,
            }),
            MissingKey::Zero => Ok(Seen {
                value: zero(&elem),
                wrapped,
            }),
            MissingKey::Error => {
                let field = String::from_utf8_lossy(&crate::strconv::quote(field)).into_owned();
                Err(format!("map has no entry for key {field}").into())
            }
        }
    }
}
