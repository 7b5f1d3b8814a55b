//! Reading: tables, their implicit parents, and what may not be defined twice.

use std::collections::{BTreeMap, BTreeSet};

use super::lex::{Bad, Lexer, Word};
use super::{MAX_DEPTH, Toml, dotted};
use crate::go::strconv::{NumError, parse_float, parse_int, quote};
use crate::go::time::{Time, Zone};

type Table = BTreeMap<Vec<u8>, Toml>;
type Key = Vec<Vec<u8>>;

/// Reads a text. The error is the library's text.
pub fn parse(text: &[u8]) -> Result<BTreeMap<Vec<u8>, Toml>, String> {
    let text = text
        .strip_prefix(b"\xff\xfe")
        .or_else(|| text.strip_prefix(b"\xfe\xff"))
        .or_else(|| text.strip_prefix(b"\xef\xbb\xbf"))
        .unwrap_or(text);
    if text.iter().take(6).any(|byte| *byte == 0) {
        return Err("toml: line 1: files cannot contain NULL bytes; probably using UTF-16; TOML files must be UTF-8".to_owned());
    }
    let mut reader = Reader {
        lexer: Lexer::new(text),
        root: Table::new(),
        implicit: BTreeSet::new(),
        arrays: BTreeSet::new(),
        context: Key::new(),
        current: Vec::new(),
        line: 1,
    };
    match reader.top() {
        Ok(()) => Ok(reader.root),
        Err(Bad { line, message }) => {
            let mut last = reader.context;
            let name = if reader.current.is_empty() {
                dotted(&last)
            } else if last.is_empty() {
                reader.current
            } else {
                let parent = dotted(&std::mem::take(&mut last));
                [&parent[..], b".", &reader.current].concat()
            };
            Err(if name.is_empty() {
                format!("toml: line {line}: {message}")
            } else {
                format!("toml: line {line} (last key {}): {message}", quote(&name))
            })
        }
    }
}

struct Reader<'a> {
    lexer: Lexer<'a>,
    root: Table,
    /// Tables that only other keys imply; they may still be defined.
    implicit: BTreeSet<Vec<u8>>,
    /// Keys whose arrays are being read.
    arrays: BTreeSet<Vec<u8>>,
    context: Key,
    current: Vec<u8>,
    /// The line of the last key.
    line: usize,
}

impl Reader<'_> {
    fn bad<T>(&self, message: String) -> Result<T, Bad> {
        Err(Bad {
            line: self.line,
            message,
        })
    }

    fn top(&mut self) -> Result<(), Bad> {
        loop {
            self.lexer.filler()?;
            match self.lexer.peek()? {
                None => return Ok(()),
                Some(0x5B) => {
                    self.lexer.next()?;
                    let many = self.lexer.accept('[')?;
                    self.line = self.lexer.line;
                    let key = self.lexer.table_name()?;
                    if many && !self.lexer.accept(']')? {
                        let rune = self.lexer.next()?;
                        let shown = crate::go::strconv::quote_rune(rune.unwrap_or(0));
                        let message = format!(
                            "expected end of table array name delimiter ']', but got {shown} instead"
                        );
                        return self.lexer.bad_after(rune, message);
                    }
                    self.enter(&key, many)?;
                }
                Some(_) => {
                    let outer = self.context.clone();
                    self.pair(0)?;
                    self.context = outer;
                    self.current.clear();
                }
            }
            self.lexer.end_of_item()?;
        }
    }

    /// A key and its value, put where the context says.
    fn pair(&mut self, depth: usize) -> Result<(), Bad> {
        self.lexer.blank(false)?;
        self.line = self.lexer.line;
        let mut key = self.lexer.key()?;
        let Some(last) = key.pop() else {
            return Ok(());
        };
        self.current = last.clone();
        for part in key {
            let mut path = self.context.clone();
            path.push(part);
            self.implicit.insert(dotted(&path));
            self.enter(&path, false)?;
        }
        let value = self.value(depth)?;
        self.current = last.clone();
        self.set(&last, value)
    }

    fn value(&mut self, depth: usize) -> Result<Toml, Bad> {
        if depth > MAX_DEPTH {
            return self
                .lexer
                .bad(format!("values nest more than {MAX_DEPTH} deep"));
        }
        self.lexer.blank(false)?;
        match self.lexer.peek()? {
            Some(0x5B) => {
                self.lexer.next()?;
                self.array(depth)
            }
            Some(0x7B) => {
                self.lexer.next()?;
                self.inline(depth)
            }
            _ => {
                let line = self.lexer.line;
                let word = self.lexer.word()?;
                plain(word).map_err(|message| Bad { line, message })
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<Toml, Bad> {
        let mut path = self.context.clone();
        path.push(self.current.clone());
        self.arrays.insert(dotted(&path));
        let mut items = Vec::new();
        loop {
            self.lexer.filler()?;
            match self.lexer.peek()? {
                Some(0x2C) => {
                    self.lexer.next()?;
                    return self.lexer.bad("unexpected comma");
                }
                Some(0x5D) => {
                    self.lexer.next()?;
                    return Ok(Toml::Array(items));
                }
                _ => {}
            }
            items.push(self.value(depth + 1)?);
            self.lexer.filler()?;
            let found = self.lexer.next()?;
            match found {
                Some(0x2C) => {}
                Some(0x5D) => return Ok(Toml::Array(items)),
                _ => {
                    return self.lexer.bad(format!(
                        "expected a comma (',') or array terminator (']'), but got {}",
                        named(found)
                    ));
                }
            }
        }
    }

    /// An inline table is read with a tree of its own, so that nothing outside can add to it.
    fn inline(&mut self, depth: usize) -> Result<Toml, Bad> {
        let outer_root = std::mem::take(&mut self.root);
        let outer_implicit = std::mem::take(&mut self.implicit);
        let outer_arrays = std::mem::take(&mut self.arrays);
        let outer_current = std::mem::take(&mut self.current);
        let outer_context = std::mem::take(&mut self.context);
        let read = self.inline_pairs(depth);
        if let Err(bad) = read {
            // The error names the keys on the way.
            let mut whole = outer_context;
            whole.push(outer_current);
            whole.append(&mut self.context);
            self.context = whole;
            return Err(bad);
        }
        self.context = outer_context;
        self.current = outer_current;
        self.arrays = outer_arrays;
        self.implicit = outer_implicit;
        Ok(Toml::Table(std::mem::replace(&mut self.root, outer_root)))
    }

    fn inline_pairs(&mut self, depth: usize) -> Result<(), Bad> {
        loop {
            self.lexer.filler()?;
            match self.lexer.peek()? {
                Some(0x2C) => {
                    self.lexer.next()?;
                    return self.lexer.bad("unexpected comma");
                }
                Some(0x7D) => {
                    self.lexer.next()?;
                    return Ok(());
                }
                _ => {}
            }
            self.pair(depth + 1)?;
            self.context.clear();
            self.lexer.filler()?;
            let found = self.lexer.next()?;
            match found {
                Some(0x2C) => {}
                Some(0x7D) => return Ok(()),
                _ => {
                    return self.lexer.bad(format!(
                        "expected a comma or an inline table terminator '}}', but got {} instead",
                        named(found)
                    ));
                }
            }
        }
    }

    /// Makes a table, or one more of an array of tables, the context.
    fn enter(&mut self, key: &Key, many: bool) -> Result<(), Bad> {
        let (Some(last), line) = (key.last(), self.line) else {
            return Ok(());
        };
        let bad = |message: String| Err(Bad { line, message });
        let parents = &key[..key.len() - 1];
        let mut table = &mut self.root;
        for (at, part) in parents.iter().enumerate() {
            if !table.contains_key(part) {
                self.implicit.insert(dotted(&key[..=at]));
                table.insert(part.clone(), Toml::Table(Table::new()));
            }
            match descend(table, part) {
                Some(inner) => table = inner,
                None => {
                    let name = String::from_utf8_lossy(&dotted(&key[..=at])).into_owned();
                    return bad(format!("Key '{name}' was already created as a hash."));
                }
            }
        }
        self.context = parents.to_vec();
        if many {
            let slot = table
                .entry(last.clone())
                .or_insert_with(|| Toml::Tables(Vec::new()));
            match slot {
                Toml::Tables(tables) => tables.push(Table::new()),
                _ => {
                    let name = String::from_utf8_lossy(&dotted(key)).into_owned();
                    return bad(format!(
                        "Key '{name}' was already created and cannot be used as an array."
                    ));
                }
            }
        } else {
            self.set(last, Toml::Table(Table::new()))?;
        }
        self.context.push(last.clone());
        Ok(())
    }

    fn set(&mut self, key: &[u8], value: Toml) -> Result<(), Bad> {
        let line = self.line;
        let mut path = Key::new();
        let mut table = &mut self.root;
        for part in &self.context {
            path.push(part.clone());
            match descend(table, part) {
                Some(inner) => table = inner,
                None => {
                    let name = String::from_utf8_lossy(&dotted(&path)).into_owned();
                    let message = format!("Key '{name}' has already been defined.");
                    return Err(Bad { line, message });
                }
            }
        }
        path.push(key.to_vec());
        let name = dotted(&path);
        if table.contains_key(key) {
            let implicit = self.implicit.remove(&name);
            if let (Toml::Table(new), Some(Toml::Table(old))) = (&value, table.get(key))
                && !implicit
                && let Some(inner) = new.keys().find(|inner| old.contains_key(*inner))
            {
                // The library reads an inline table into the one that is there, so the key within it is the one that is double.
                let inner = inner.clone();
                path.push(inner.clone());
                let name = String::from_utf8_lossy(&dotted(&path)).into_owned();
                path.pop();
                self.context = path;
                self.current = inner;
                return self.bad(format!("Key '{name}' has already been defined."));
            }
            if !implicit {
                let name = String::from_utf8_lossy(&name).into_owned();
                return self.bad(format!("Key '{name}' has already been defined."));
            }
            if self.arrays.contains(&name) {
                table.insert(key.to_vec(), value);
            }
            return Ok(());
        }
        table.insert(key.to_vec(), value);
        Ok(())
    }
}

fn descend<'a>(table: &'a mut Table, key: &[u8]) -> Option<&'a mut Table> {
    match table.get_mut(key)? {
        Toml::Table(inner) => Some(inner),
        Toml::Tables(tables) => tables.last_mut(),
        _ => None,
    }
}

fn named(rune: Option<u32>) -> String {
    match rune.and_then(char::from_u32) {
        None => "end of file".to_owned(),
        Some(letter) => format!("'{letter}'"),
    }
}

fn plain(word: Word) -> Result<Toml, String> {
    Ok(match word {
        Word::String(text) => Toml::String(text),
        Word::Bool(value) => Toml::Bool(value),
        Word::Integer(text) => integer(&text)?,
        Word::Float(text) => float(&text)?,
        Word::Time(text) => time(&text)?,
    })
}

fn leading_zero(text: &[u8]) -> bool {
    match text {
        [b'0', second, ..] => !matches!(second, b'b' | b'o' | b'x'),
        [b'+' | b'-', b'0', _, ..] => true,
        _ => false,
    }
}

fn underscores_fit(text: &[u8]) -> bool {
    if matches!(
        text.strip_prefix(b"+")
            .or(text.strip_prefix(b"-"))
            .unwrap_or(text),
        b"nan" | b"inf"
    ) {
        return true;
    }
    let mut digit = false;
    for &byte in text {
        if byte == b'_' && !digit {
            return false;
        }
        digit = byte.is_ascii_hexdigit();
    }
    digit
}

fn integer(text: &[u8]) -> Result<Toml, String> {
    let quoted = quote(text);
    if !underscores_fit(text) {
        return Err(format!(
            "Invalid integer {quoted}: underscores must be surrounded by digits"
        ));
    }
    if leading_zero(text) {
        return Err(format!(
            "Invalid integer {quoted}: cannot have leading zeroes"
        ));
    }
    match parse_int(text, 0) {
        Ok(value) => Ok(Toml::Integer(value)),
        Err(NumError::Range(_)) => Err(format!(
            "{} is out of range for int64",
            String::from_utf8_lossy(text)
        )),
        Err(NumError::Syntax) => Err(format!("Invalid integer {quoted}")),
    }
}

fn float(text: &[u8]) -> Result<Toml, String> {
    let quoted = quote(text);
    let parts: Vec<&[u8]> = text
        .split(|byte| b".eE".contains(byte))
        .filter(|part| !part.is_empty())
        .collect();
    if !parts.iter().all(|part| underscores_fit(part)) {
        return Err(format!(
            "Invalid float {quoted}: underscores must be surrounded by digits"
        ));
    }
    if parts.first().is_some_and(|part| leading_zero(part)) {
        return Err(format!(
            "Invalid float {quoted}: cannot have leading zeroes"
        ));
    }
    let dotted = text
        .windows(2)
        .any(|pair| pair[0] == b'.' && !pair[1].is_ascii_digit());
    if dotted || text.last() == Some(&b'.') {
        return Err(format!(
            "Invalid float {quoted}: '.' must be followed by one or more digits"
        ));
    }
    let plain: Vec<u8> = text.iter().copied().filter(|byte| *byte != b'_').collect();
    match &plain[..] {
        b"+nan" | b"nan" => return Ok(Toml::Float(f64::NAN)),
        b"-nan" => return Ok(Toml::Float(-f64::NAN)),
        _ => {}
    }
    match parse_float(&plain) {
        Ok(value) => Ok(Toml::Float(value)),
        Err(Some(_)) => Err(format!(
            "{} is out of range for float64",
            String::from_utf8_lossy(text)
        )),
        Err(None) => Err(format!("Invalid float value: {quoted}")),
    }
}

fn time(text: &[u8]) -> Result<Toml, String> {
    let text: Vec<u8> = text
        .iter()
        .map(|byte| match byte {
            b'z' => b'Z',
            b't' | b' ' => b'T',
            other => *other,
        })
        .collect();
    let local = |name: &str| Zone::Fixed(name.to_owned(), 0);
    let forms: [(&str, Zone); 7] = [
        ("2006-01-02T15:04:05.999999999Z07:00", Zone::Local),
        ("2006-01-02T15:04:05.999999999", local("datetime-local")),
        ("2006-01-02", local("date-local")),
        ("15:04:05.999999999", local("time-local")),
        ("2006-01-02T15:04Z07:00", Zone::Local),
        ("2006-01-02T15:04", local("datetime-local")),
        ("15:04", local("time-local")),
    ];
    for (layout, zone) in forms {
        let Ok(time) = Time::parse(layout.as_bytes(), &text, &zone) else {
            continue;
        };
        // Go reads numbers without their leading zero, TOML has none: the separators must stand where the layout's do.
        let fits = layout
            .bytes()
            .zip(&text)
            .take_while(|(mark, _)| !matches!(mark, b'.' | b'Z'))
            .all(|(mark, byte)| mark.is_ascii_digit() || mark == *byte);
        if !fits {
            break;
        }
        return Ok(Toml::Time(time));
    }
    Err(format!("invalid datetime: {}", quote(&text)))
}
