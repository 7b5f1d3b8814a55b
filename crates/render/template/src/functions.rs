//! The table of functions that a set of templates may call.

use std::collections::BTreeMap;

use crate::call::Function;

/// The functions of a set of templates, besides Go's own builtins. A row of a builtin's name replaces the builtin.
#[derive(Debug, Clone, Default)]
pub struct Functions {
    rows: Vec<Function>,
    by_name: BTreeMap<&'static str, u32>,
}

impl Functions {
    /// A table of these rows; a later row of the same name replaces an earlier one.
    pub fn new(rows: impl IntoIterator<Item = Function>) -> Self {
        let mut table = Self::default();
        for row in rows {
            match table.by_name.get(row.name) {
                Some(index) => table.rows[*index as usize] = row,
                None => {
                    table.by_name.insert(row.name, table.rows.len() as u32);
                    table.rows.push(row);
                }
            }
        }
        table
    }

    /// A row by its name.
    pub fn get(&self, name: &str) -> Option<&Function> {
        Some(&self.rows[self.find(name)? as usize])
    }

    /// All rows.
    pub fn rows(&self) -> &[Function] {
        &self.rows
    }

    pub(crate) fn find(&self, name: &str) -> Option<u32> {
        self.by_name.get(name).copied()
    }
}
