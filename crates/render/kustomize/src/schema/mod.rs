//! How lists merge: Kubernetes' own kinds at version 1.21.2, which kustomize carries, or a document that replaces them.

mod custom;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

pub(crate) use custom::read as read_custom;

/// Written by `go run ./schema` in `oracle/kustomize`.
const BUILT_IN: &str = include_str!("v1_21_2.txt");

/// Definitions and the kinds that they describe.
#[derive(Debug, Default)]
pub(crate) struct Table {
    definitions: Vec<BTreeMap<String, Property>>,
    kinds: BTreeMap<(String, String), usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    One,
    List,
    Map,
}

#[derive(Debug, Clone)]
struct Property {
    shape: Shape,
    /// What it is, or what its items or values are.
    inner: Option<usize>,
    merges: bool,
    keys: Vec<String>,
}

/// The tables that a build looks into; a later one counts more.
#[derive(Debug, Clone, Default)]
pub(crate) struct Schema {
    pub(crate) tables: Vec<Arc<Table>>,
}

/// A place in a table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spot<'a> {
    table: &'a Table,
    what: What<'a>,
}

#[derive(Debug, Clone, Copy)]
enum What<'a> {
    Definition(usize),
    Property(&'a Property),
}

impl Schema {
    pub(crate) fn built_in() -> Self {
        static TABLE: OnceLock<Arc<Table>> = OnceLock::new();
        let table = TABLE.get_or_init(|| Arc::new(Table::read(BUILT_IN)));
        Self {
            tables: vec![Arc::clone(table)],
        }
    }

    pub(crate) fn of_kind(&self, api_version: &str, kind: &str) -> Option<Spot<'_>> {
        let key = (api_version.to_owned(), kind.to_owned());
        self.tables.iter().rev().find_map(|table| {
            let what = What::Definition(*table.kinds.get(&key)?);
            Some(Spot { table, what })
        })
    }
}

impl<'a> Spot<'a> {
    /// The schema of a field.
    pub(crate) fn field(self, name: &str) -> Option<Self> {
        let fields = match self.what {
            What::Definition(at) => self.table.definitions.get(at)?,
            What::Property(property) => match (property.shape, property.inner) {
                (Shape::One, Some(at)) => self.table.definitions.get(at)?,
                (Shape::Map, Some(at)) => {
                    let what = What::Definition(at);
                    return Some(Self { what, ..self });
                }
                _ => return None,
            },
        };
        let what = What::Property(fields.get(name)?);
        Some(Self { what, ..self })
    }

    /// The schema of a list's items.
    pub(crate) fn items(self) -> Option<Self> {
        match self.what {
            What::Property(property) if property.shape == Shape::List => {
                let what = What::Definition(property.inner?);
                Some(Self { what, ..self })
            }
            _ => None,
        }
    }

    /// Do lists of it merge, and by which keys? Without a key, items merge that are the same.
    pub(crate) fn merges(self) -> Option<&'a [String]> {
        match self.what {
            What::Property(property) if property.merges => Some(&property.keys),
            _ => None,
        }
    }
}

impl Table {
    fn read(text: &str) -> Self {
        let mut out = Self::default();
        let mut numbers = BTreeMap::new();
        for line in text.lines().filter(|line| !line.starts_with(' ')) {
            let name = line.split(' ').next().unwrap_or_default();
            numbers.insert(name, numbers.len());
        }
        for line in text.lines() {
            let mut words = line.split(' ');
            let first = words.next().unwrap_or_default();
            if !first.is_empty() {
                for kind in words {
                    if let Some((version, kind)) = kind.split_once(':') {
                        let key = (version.to_owned(), kind.to_owned());
                        out.kinds.insert(key, out.definitions.len());
                    }
                }
                out.definitions.push(BTreeMap::new());
                continue;
            }
            let (Some(name), Some(shape), Some(inner)) = (words.next(), words.next(), words.next())
            else {
                continue;
            };
            let strategy = words.next().unwrap_or_default();
            let property = Property {
                shape: match shape {
                    "[]" => Shape::List,
                    "{}" => Shape::Map,
                    _ => Shape::One,
                },
                inner: numbers.get(inner).copied(),
                merges: strategy.split(',').any(|one| one == "merge"),
                keys: words.map(str::to_owned).collect(),
            };
            if let Some(last) = out.definitions.last_mut() {
                last.insert(name.to_owned(), property);
            }
        }
        out
    }
}
