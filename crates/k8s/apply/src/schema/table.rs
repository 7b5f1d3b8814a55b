//! Reads the table of types; its own head explains the form.

use std::collections::BTreeMap;

use k8s_object::Gvk;
use serde_json::Value;

use super::{Field, Kept, ListKind, PatchStrategy, Scalar, Schema, Shape, TypeId, When};

/// A table of types that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("table of types, line {line}: {problem}")]
pub struct TableError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong there.
    pub problem: String,
}

struct Reader<'a> {
    schema: Schema,
    /// Compound types by their text.
    compounds: BTreeMap<String, TypeId>,
    /// Types with their granularity overridden by a field, to be made when all types are known.
    overrides: Vec<Override<'a>>,
}

struct Override<'a> {
    owner: TypeId,
    field: &'a str,
    atomic: bool,
}

impl Schema {
    /// Reads a table of types.
    pub fn parse(table: &str) -> Result<Self, TableError> {
        let mut reader = Reader {
            schema: Self::default(),
            compounds: BTreeMap::new(),
            overrides: Vec::new(),
        };
        // names first, so that types may refer to each other
        for line in table.lines().filter(|line| is_head(line)) {
            let name = line.split(' ').next().unwrap_or_default();
            let id = reader.schema.add(Some(name.to_owned()), Shape::Any);
            reader.schema.names.insert(name.to_owned(), id);
        }
        let mut current: Option<(TypeId, bool, Vec<Field>)> = None;
        for (index, line) in table.lines().enumerate() {
            let error = |problem: String| TableError {
                line: index + 1,
                problem,
            };
            if is_head(line) {
                reader.end(current.take());
                current = Some(reader.head(line).map_err(error)?);
            } else if let Some(line) = line.strip_prefix("  ") {
                let (owner, _, fields) = current
                    .as_mut()
                    .ok_or_else(|| error("a field stands before any type".to_owned()))?;
                let field = reader.field(*owner, line).map_err(error)?;
                fields.push(field);
            }
        }
        reader.end(current);
        reader.granularity();
        Ok(reader.schema)
    }
}

fn read_json(name: &str, json: &str) -> Result<Value, String> {
    serde_json::from_str(json).map_err(|error| format!("default of {name:?}: {error}"))
}

/// Reads `type:A,B` or `type!A,B`.
fn condition_of(text: &str) -> Result<When, String> {
    let (field, is, texts) = match (text.split_once(':'), text.split_once('!')) {
        (Some((field, texts)), _) => (field, true, texts),
        (None, Some((field, texts))) => (field, false, texts),
        (None, None) => return Err(format!("unknown condition {text:?}")),
    };
    Ok(When {
        field: field.into(),
        is,
        texts: texts.split(',').map(Into::into).collect(),
    })
}

fn is_head(line: &str) -> bool {
    !line.is_empty() && !line.starts_with(['#', ' '])
}

impl<'a> Reader<'a> {
    fn head(&mut self, line: &str) -> Result<(TypeId, bool, Vec<Field>), String> {
        let mut words = line.split(' ');
        let name = words.next().unwrap_or_default();
        let id = self.schema.names[name];
        let mut atomic = false;
        let mut kind = None;
        for word in words {
            if word == "atomic" {
                atomic = true;
            } else if word == "list" {
                let gvk: &Gvk = kind.as_ref().ok_or("list stands before kind")?;
                self.list_of(name, id, gvk);
            } else if let Some(text) = word.strip_prefix("kind=") {
                let parts: Vec<&str> = text.split('/').collect();
                let [group, version, name] = parts[..] else {
                    return Err(format!("{text:?} is not GROUP/VERSION/KIND"));
                };
                let gvk = Gvk {
                    group: group.to_owned(),
                    version: version.to_owned(),
                    kind: name.to_owned(),
                };
                self.schema.kinds.insert(gvk.clone(), id);
                kind = Some(gvk);
            } else {
                return Err(format!("unknown word {word:?}"));
            }
        }
        Ok((id, atomic, Vec::new()))
    }

    fn list_of(&mut self, name: &str, item: TypeId, gvk: &Gvk) {
        let items = self.schema.add(
            None,
            Shape::List {
                item,
                kind: ListKind::Atomic,
            },
        );
        let string = self.scalar(Scalar::String, "string");
        let plain = |name: &str, ty, required| Field {
            name: name.into(),
            ty,
            required,
            present: false,
            default: None,
            patch: PatchStrategy::default(),
            merge_key: None,
            kept: Kept::default(),
        };
        let mut fields = vec![
            plain("apiVersion", string, false),
            plain("items", items, true),
            plain("kind", string, false),
        ];
        if let Some(meta) = self.schema.names.get("meta.v1.ListMeta") {
            fields.push(plain("metadata", *meta, false));
        }
        let name = format!("{name}List");
        let id = self.schema.add(
            Some(name.clone()),
            Shape::Struct {
                fields,
                rest: None,
                atomic: false,
            },
        );
        self.schema.names.insert(name, id);
        self.schema.kinds.insert(
            Gvk {
                kind: format!("{}List", gvk.kind),
                ..gvk.clone()
            },
            id,
        );
    }

    fn end(&mut self, current: Option<(TypeId, bool, Vec<Field>)>) {
        if let Some((id, atomic, mut fields)) = current {
            fields.sort_by(|a, b| a.name.cmp(&b.name));
            self.schema.types[id.0 as usize].shape = Shape::Struct {
                fields,
                rest: None,
                atomic,
            };
        }
    }

    fn field(&mut self, owner: TypeId, line: &'a str) -> Result<Field, String> {
        let mut words = line.split(' ');
        let name = words.next().unwrap_or_default();
        let (name, present) = match name.strip_suffix('~') {
            Some(name) => (name, true),
            None => (name, false),
        };
        let (name, required) = match name.strip_suffix('!') {
            Some(name) => (name, true),
            None => (name, false),
        };
        let text = words
            .next()
            .ok_or_else(|| format!("field {name:?} has no type"))?;
        let mut list = ListKind::Atomic;
        let mut map_atomic = None;
        let mut default = None;
        let mut patch = PatchStrategy::default();
        let mut merge_key = None;
        let mut kept = Kept::default();
        while let Some(word) = words.next() {
            match word.split_once('=') {
                None if word == "set" => list = ListKind::Set,
                None if word == "atomic" => map_atomic = Some(true),
                None if word == "granular" => map_atomic = Some(false),
                None if word == "ptr" => kept.pointer = true,
                None if word == "drop" => kept.dropped = true,
                None if word == "null" => kept.zero = Some(Value::Null),
                Some(("in", embedded)) => kept.within = Some(embedded.into()),
                Some(("go", named)) => kept.named = Some(named.into()),
                Some(("zero", json)) => kept.zero = Some(read_json(name, json)?),
                Some(("set", json)) => kept.set = Some(read_json(name, json)?),
                Some(("if", condition)) => kept.when = Some(condition_of(condition)?),
                Some(("map", keys)) => {
                    list = ListKind::Map(keys.split(',').map(Into::into).collect())
                }
                Some(("key", key)) => merge_key = Some(key.into()),
                Some(("patch", strategies)) => {
                    for strategy in strategies.split(',') {
                        match strategy {
                            "merge" => patch.merge = true,
                            "replace" => patch.replace = true,
                            "retainKeys" => patch.retain_keys = true,
                            _ => return Err(format!("unknown patch strategy {strategy:?}")),
                        }
                    }
                }
                Some(("default", json)) => {
                    let json = std::iter::once(json)
                        .chain(words.by_ref())
                        .collect::<Vec<_>>();
                    default = Some(read_json(name, &json.join(" "))?);
                }
                _ => return Err(format!("unknown word {word:?}")),
            }
        }
        if let Some(atomic) = map_atomic {
            self.overrides.push(Override {
                owner,
                field: name,
                atomic,
            });
        }
        let ty = self.type_of(text, &list)?;
        if present {
            default = Some(match &self.schema.types[ty.0 as usize].shape {
                Shape::Scalar(Scalar::Int32 | Scalar::Int64 | Scalar::Double) => Value::from(0),
                Shape::Scalar(Scalar::Bool) => Value::from(false),
                Shape::Scalar(Scalar::String | Scalar::Bytes) => Value::from(""),
                _ => Value::Object(serde_json::Map::new()),
            });
        }
        if present && !kept.dropped && !kept.pointer && kept.zero.is_none() {
            kept.zero.clone_from(&default);
        }
        Ok(Field {
            name: name.into(),
            ty,
            required,
            present,
            default,
            patch,
            merge_key,
            kept,
        })
    }

    fn scalar(&mut self, scalar: Scalar, text: &str) -> TypeId {
        self.compound(text.to_owned(), Shape::Scalar(scalar))
    }

    fn compound(&mut self, text: String, shape: Shape) -> TypeId {
        if let Some(id) = self.compounds.get(&text) {
            return *id;
        }
        let id = self.schema.add(None, shape);
        self.compounds.insert(text, id);
        id
    }

    fn type_of(&mut self, text: &str, list: &ListKind) -> Result<TypeId, String> {
        if let Some(inner) = text.strip_prefix("[]") {
            let item = self.type_of(inner, &ListKind::Atomic)?;
            return Ok(self.compound(
                format!("{text} {list:?}"),
                Shape::List {
                    item,
                    kind: list.clone(),
                },
            ));
        }
        if let Some(inner) = text.strip_prefix("{}") {
            let element = self.type_of(inner, &ListKind::Atomic)?;
            return Ok(self.compound(
                text.to_owned(),
                Shape::Map {
                    element,
                    atomic: false,
                },
            ));
        }
        match text {
            "any" => return Ok(self.compound(text.to_owned(), Shape::Any)),
            "object" => {
                let element = self.compound("any".to_owned(), Shape::Any);
                return Ok(self.compound(
                    text.to_owned(),
                    Shape::Map {
                        element,
                        atomic: false,
                    },
                ));
            }
            _ => {}
        }
        if let Ok(scalar) = text.parse() {
            return Ok(self.scalar(scalar, text));
        }
        self.schema
            .names
            .get(text)
            .copied()
            .ok_or_else(|| format!("unknown type {text:?}"))
    }

    /// Makes the types that a field overrides the granularity of.
    fn granularity(&mut self) {
        for change in std::mem::take(&mut self.overrides) {
            let Shape::Struct { fields, .. } = self.schema.shape(change.owner) else {
                continue;
            };
            let Some(at) = fields.iter().position(|f| *f.name == *change.field) else {
                continue;
            };
            let mut ty = self.schema.types[fields[at].ty.0 as usize].clone();
            if let Shape::Map { atomic, .. } | Shape::Struct { atomic, .. } = &mut ty.shape {
                *atomic = change.atomic;
            }
            let id = self.schema.add(ty.name, ty.shape);
            if let Shape::Struct { fields, .. } =
                &mut self.schema.types[change.owner.0 as usize].shape
            {
                fields[at].ty = id;
            }
        }
    }
}
