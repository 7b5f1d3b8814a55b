//! Rows in columns.

use owo_colors::OwoColorize as _;
use serde_json::Value;

/// Between two columns.
const GAP: &str = "   ";

/// Rows in columns, each as wide as its widest cell.
#[derive(Debug, Default)]
pub(crate) struct Table {
    heading: Vec<String>,
    rows: Vec<Vec<String>>,
    widths: Vec<usize>,
}

impl Table {
    /// An empty table.
    pub(crate) fn new<S: Into<String>>(heading: impl IntoIterator<Item = S>) -> Self {
        Self {
            heading: heading
                .into_iter()
                .map(|title| title.into().to_uppercase())
                .collect(),
            ..Self::default()
        }
    }

    /// Adds a row.
    pub(crate) fn row<S: Into<String>>(&mut self, cells: impl IntoIterator<Item = S>) {
        let cells = cells.into_iter().map(|cell| one_line(&cell.into()));
        self.rows.push(cells.collect());
    }

    /// Are there no rows to write?
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Writes heading and rows, and forgets the rows; the widths stay, so that later rows stand below earlier ones.
    pub(crate) fn take(&mut self, heading: bool) -> String {
        let rows = std::mem::take(&mut self.rows);
        let heading_row = heading.then(|| self.heading.clone());
        self.widths.resize(self.heading.len(), 0);
        for row in rows.iter().chain([&self.heading]) {
            for (width, cell) in self.widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let mut out = String::new();
        if let Some(heading) = heading_row {
            out.push_str(&self.write(&heading, &|cell| cell.bold().to_string()));
        }
        for row in &rows {
            out.push_str(&self.write(row, &super::state));
        }
        out
    }

    fn write(&self, row: &[String], paint: &dyn Fn(&str) -> String) -> String {
        let mut out = String::new();
        let last = row.iter().rposition(|cell| !cell.is_empty()).unwrap_or(0);
        for (index, cell) in row.iter().enumerate().take(last + 1) {
            out.push_str(&paint(cell));
            if index < last {
                let width = self.widths.get(index).copied().unwrap_or(0);
                let pad = width.saturating_sub(cell.chars().count());
                out.extend(std::iter::repeat_n(' ', pad));
                out.push_str(GAP);
            }
        }
        out.push('\n');
        out
    }
}

/// A cell is one line; what follows a line break is joined to it.
fn one_line(text: &str) -> String {
    if !text.contains(|c: char| c.is_control()) {
        return text.to_owned();
    }
    let lines = text.split(|c: char| c.is_control()).map(str::trim_end);
    lines
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join(" ⏎ ")
}

/// The columns of a table that the hub made: their places and headings.
pub(crate) fn columns(table: &Value, wide: bool) -> Vec<(usize, String)> {
    let definitions = table["columnDefinitions"].as_array().into_iter().flatten();
    definitions
        .enumerate()
        .filter(|(_, column)| wide || column["priority"].as_i64().unwrap_or(0) == 0)
        .map(|(index, column)| {
            let name = column["name"].as_str().unwrap_or_default();
            (index, name.to_owned())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aligns_and_leaves_nothing_behind_the_last_cell() {
        let mut table = Table::new(["Name", "Phase", "Message"]);
        table.row(["guestbook-1", "Completed", ""]);
        table.row(["é", "Held", "two\nlines\n"]);
        let text = anstream::adapter::strip_str(&table.take(true)).to_string();
        assert_eq!(
            text,
            "NAME          PHASE       MESSAGE\n\
             guestbook-1   Completed\n\
             é             Held        two ⏎ lines\n"
        );
        table.row(["b", "Failed", "x"]);
        let later = anstream::adapter::strip_str(&table.take(false)).to_string();
        assert_eq!(later, "b             Failed      x\n");
    }

    #[test]
    fn picks_the_columns_that_are_asked_for() {
        let table = serde_json::json!({ "columnDefinitions": [
            { "name": "Name", "priority": 0 },
            { "name": "Author", "priority": 1 },
            { "name": "Age" },
        ] });
        let names = |wide| -> Vec<usize> { columns(&table, wide).iter().map(|c| c.0).collect() };
        assert_eq!(names(false), [0, 2]);
        assert_eq!(names(true), [0, 1, 2]);
    }
}
