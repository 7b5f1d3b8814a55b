//! The notation of `--set` and its relatives: `a.b[0]=c,d={e,f}`.
//!
//! It behaves as Helm's own reader, its oddities and limits included: an unfinished index ends the text silently in Helm
//! 4, and a value that is given at the end of a text to a list's object is lost.

use std::mem;

use serde_json::{Map, Value};

use crate::Dialect;

/// The highest index of a list.
const MAX_INDEX: i64 = 65_536;
/// How many names may be joined with dots.
const MAX_NESTED_NAMES: usize = 30;
/// How many indexes may follow each other, and
const MAX_NESTED_INDEXES: usize = 200;
/// how many places one text may add to lists: Helm has no bound here, so these are ours.
const MAX_PLACES: usize = 1_000_000;

/// How values are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// `--set`: numbers, booleans and null are told from strings.
    Typed,
    /// `--set-string`: everything is a string.
    Strings,
    /// `--set-json`: JSON behind each `=`.
    Json,
    /// `--set-literal`: all that follows the first `=` is one string.
    Literal,
}

/// Gives what a `--set-file` names.
pub(crate) type Files<'a> = &'a dyn Fn(&str) -> Result<String, String>;

/// Reads a text into values that may hold something already. The error is Helm's.
pub(crate) fn parse_into(
    text: &str,
    values: &mut Map<String, Value>,
    style: Style,
    dialect: Dialect,
) -> Result<(), String> {
    Parser::new(text, style, None, dialect).parse(values)
}

/// Reads the text of a `--set-file`, where values are names of files.
pub(crate) fn parse_files_into(
    text: &str,
    values: &mut Map<String, Value>,
    files: Files<'_>,
    dialect: Dialect,
) -> Result<(), String> {
    Parser::new(text, Style::Typed, Some(files), dialect).parse(values)
}

/// Why reading stopped.
enum Stop {
    /// The text has ended: no error, if nothing was open.
    End,
    /// The text has ended within an index.
    EndInIndex,
    Error(String),
}

impl Stop {
    fn text(text: impl Into<String>) -> Self {
        Self::Error(text.into())
    }
}

struct Parser<'a> {
    rest: std::str::Chars<'a>,
    style: Style,
    files: Option<Files<'a>>,
    dialect: Dialect,
    places: usize,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str, style: Style, files: Option<Files<'a>>, dialect: Dialect) -> Self {
        Self {
            rest: text.chars(),
            style,
            files,
            dialect,
            places: 0,
        }
    }

    fn parse(mut self, values: &mut Map<String, Value>) -> Result<(), String> {
        loop {
            match self.key(values, 0) {
                Ok(()) => {}
                Err(Stop::End) => return Ok(()),
                Err(Stop::EndInIndex) if self.dialect.is_4() => return Ok(()),
                Err(Stop::EndInIndex) => return Err("error parsing index: EOF".to_owned()),
                Err(Stop::Error(text)) => return Err(text),
            }
        }
    }

    /// Reads up to one of some characters, which is taken too; `None` at the end of the text.
    fn until(&mut self, stops: &[char]) -> (String, Option<char>) {
        let mut read = String::new();
        while let Some(next) = self.rest.next() {
            if stops.contains(&next) {
                return (read, Some(next));
            }
            if next == '\\' && self.style != Style::Literal {
                match self.rest.next() {
                    Some(quoted) => read.push(quoted),
                    None => return (read, None),
                }
            } else {
                read.push(next);
            }
        }
        (read, None)
    }

    fn key(&mut self, data: &mut Map<String, Value>, nested: usize) -> Result<(), Stop> {
        let stops: &[char] = if self.style == Style::Literal {
            &['=', '[', '.']
        } else {
            &['=', '[', ',', '.']
        };
        let (key, last) = self.until(stops);
        match last {
            None if key.is_empty() => Err(Stop::End),
            None => Err(Stop::text(format!("key {key:?} has no value"))),
            Some('[') => {
                let index = self.index()?;
                let (existed, list) = match data.get_mut(&key) {
                    None => (false, Vec::new()),
                    Some(Value::Array(list)) => (true, mem::take(list)),
                    Some(other) => return Err(wrong_type(other, "[]interface {}")),
                };
                let (list, result) = self.item(list, index, nested, 0);
                if existed || !key.is_empty() {
                    data.insert(key, Value::Array(list));
                }
                result
            }
            Some('=') => self.value(key, data),
            Some(',') => Err(Stop::text(format!(
                "key {key:?} has no value (cannot end with ,)"
            ))),
            Some(_) => {
                let nested = nested + 1;
                if nested > MAX_NESTED_NAMES {
                    return Err(Stop::text(format!(
                        "value name nested level is greater than maximum supported nested level of {MAX_NESTED_NAMES}"
                    )));
                }
                let (existed, mut inner) = match data.get_mut(&key) {
                    None => (false, Map::new()),
                    Some(Value::Object(inner)) => (true, mem::take(inner)),
                    Some(other) => return Err(wrong_type(other, "map[string]interface {}")),
                };
                let result = self.key(&mut inner, nested);
                let empty = inner.is_empty();
                if existed || (!empty && !key.is_empty()) {
                    data.insert(key.clone(), Value::Object(inner));
                }
                if result.is_ok() && empty {
                    return Err(Stop::text(format!("key map {key:?} has no value")));
                }
                result
            }
        }
    }

    /// Reads what follows `key=`.
    fn value(&mut self, key: String, data: &mut Map<String, Value>) -> Result<(), Stop> {
        let mut set = |value| {
            if !key.is_empty() {
                data.insert(key.clone(), value);
            }
        };
        match self.style {
            Style::Literal => {
                let text = self.rest.as_str().to_owned();
                self.rest = "".chars();
                set(Value::String(text));
                Ok(())
            }
            Style::Json => {
                let value = self.json()?;
                set(value);
                Ok(())
            }
            Style::Typed | Style::Strings => {
                if let Some(list) = self.list()? {
                    set(list);
                    return Ok(());
                }
                if self.rest.as_str().is_empty() {
                    set(Value::String(String::new()));
                    return Err(Stop::End);
                }
                let (text, _) = self.until(&[',']);
                let value = self.read(&text)?;
                set(value);
                Ok(())
            }
        }
    }

    /// The index behind a `[`.
    fn index(&mut self) -> Result<i64, Stop> {
        match self.until(&[']']) {
            (_, None) => Err(Stop::EndInIndex),
            (text, Some(_)) => text.parse::<i64>().map_err(|error| {
                let why = match error.kind() {
                    std::num::IntErrorKind::PosOverflow | std::num::IntErrorKind::NegOverflow => {
                        "value out of range"
                    }
                    _ => "invalid syntax",
                };
                Stop::text(format!(
                    "error parsing index: strconv.Atoi: parsing {text:?}: {why}"
                ))
            }),
        }
    }

    /// Reads what follows `key[index]`. The list comes back even if something is wrong, since a text that just ends is
    /// no error.
    fn item(
        &mut self,
        mut list: Vec<Value>,
        index: i64,
        nested: usize,
        depth: usize,
    ) -> (Vec<Value>, Result<(), Stop>) {
        if index < 0 {
            return (list, Err(negative(index)));
        }
        if depth > MAX_NESTED_INDEXES {
            let text = format!("more than {MAX_NESTED_INDEXES} indexes follow each other");
            return (list, Err(Stop::text(text)));
        }
        // Above the bound nothing is ever set, so where it points does not matter.
        let at = usize::try_from(index).unwrap_or(usize::MAX);
        let (key, last) = self.until(&['[', '.', '=']);
        if !key.is_empty() {
            let text = format!("unexpected data at end of array index: {key:?}");
            return (list, Err(Stop::text(text)));
        }
        match last {
            None => (list, Err(Stop::End)),
            Some('=') => {
                let value = match self.style {
                    Style::Literal => {
                        let text = self.rest.as_str().to_owned();
                        self.rest = "".chars();
                        Ok(Value::String(text))
                    }
                    Style::Json => self.json(),
                    Style::Typed | Style::Strings => self.item_value(),
                };
                match value {
                    Ok(value) => self.set_index(list, index, value),
                    Err(stop) => (list, Err(stop)),
                }
            }
            Some('[') => {
                let next = match self.index() {
                    Ok(next) => next,
                    Err(stop) => return (list, Err(stop)),
                };
                let inner = match list.get_mut(at) {
                    None | Some(Value::Null) => Vec::new(),
                    Some(Value::Array(inner)) => mem::take(inner),
                    Some(other) => {
                        let stop = wrong_type(other, "[]interface {}");
                        return (list, Err(stop));
                    }
                };
                match self.item(inner, next, nested, depth + 1) {
                    (inner, Ok(())) => self.set_index(list, index, Value::Array(inner)),
                    (inner, Err(stop)) => {
                        if let Some(Value::Array(place)) = list.get_mut(at) {
                            *place = inner;
                        }
                        (list, Err(stop))
                    }
                }
            }
            Some(_) => {
                let mut inner = match list.get_mut(at) {
                    None => Map::new(),
                    Some(Value::Object(inner)) => mem::take(inner),
                    Some(other) => {
                        *other = Value::Object(Map::new());
                        Map::new()
                    }
                };
                match self.key(&mut inner, nested) {
                    Ok(()) => self.set_index(list, index, Value::Object(inner)),
                    Err(stop) => {
                        if let Some(place) = list.get_mut(at) {
                            *place = Value::Object(inner);
                        }
                        (list, Err(stop))
                    }
                }
            }
        }
    }

    fn item_value(&mut self) -> Result<Value, Stop> {
        if let Some(list) = self.list()? {
            return Ok(list);
        }
        if self.rest.as_str().is_empty() {
            return Ok(Value::String(String::new()));
        }
        let (text, _) = self.until(&[',']);
        self.read(&text)
    }

    fn set_index(
        &mut self,
        mut list: Vec<Value>,
        index: i64,
        value: Value,
    ) -> (Vec<Value>, Result<(), Stop>) {
        if index > MAX_INDEX {
            let text =
                format!("index of {index} is greater than maximum supported index of {MAX_INDEX}");
            return (list, Err(Stop::text(text)));
        }
        let Ok(at) = usize::try_from(index) else {
            return (list, Err(negative(index)));
        };
        if list.len() <= at {
            self.places += at + 1 - list.len();
            if self.places > MAX_PLACES {
                let text = format!("more than {MAX_PLACES} places of lists are set");
                return (list, Err(Stop::text(text)));
            }
            list.resize(at + 1, Value::Null);
        }
        list[at] = value;
        (list, Ok(()))
    }

    /// A list in braces, if one stands here.
    fn list(&mut self) -> Result<Option<Value>, Stop> {
        if !self.rest.as_str().starts_with('{') {
            return Ok(None);
        }
        self.rest.next();
        let mut list = Vec::new();
        loop {
            let (text, last) = self.until(&[',', '}']);
            if last.is_none() {
                return Err(Stop::text("list must terminate with '}'"));
            }
            list.push(self.read(&text)?);
            if last == Some('}') {
                let mut ahead = self.rest.clone();
                if ahead.next() == Some(',') {
                    self.rest = ahead;
                }
                return Ok(Some(Value::Array(list)));
            }
        }
    }

    /// One JSON value, and the comma behind it.
    fn json(&mut self) -> Result<Value, Stop> {
        if self.nothing() {
            return Ok(Value::Null);
        }
        let text = self.rest.as_str();
        let mut stream = serde_json::Deserializer::from_str(text).into_iter::<Value>();
        let value = match stream.next() {
            Some(Ok(value)) => value,
            Some(Err(error)) => return Err(Stop::text(error.to_string())),
            None => return Err(Stop::End),
        };
        self.rest = text[stream.byte_offset()..].chars();
        self.nothing();
        Ok(floats(value))
    }

    /// Skips blanks and one comma. Whether there was no value.
    fn nothing(&mut self) -> bool {
        loop {
            let mut ahead = self.rest.clone();
            match ahead.next() {
                None => return true,
                Some(',') => {
                    self.rest = ahead;
                    return true;
                }
                Some(blank) if blank.is_whitespace() => self.rest = ahead,
                Some(_) => return false,
            }
        }
    }

    /// The value that a text stands for.
    fn read(&self, text: &str) -> Result<Value, Stop> {
        match self.files {
            Some(files) => files(text).map(Value::String).map_err(Stop::Error),
            None => Ok(typed(text, self.style == Style::Strings)),
        }
    }
}

fn negative(index: i64) -> Stop {
    Stop::text(format!("negative {index} index not allowed"))
}

fn wrong_type(value: &Value, wanted: &str) -> Stop {
    let name = crate::values::go_type(value);
    Stop::text(format!(
        "unable to parse key: interface conversion: interface {{}} is {name}, not {wanted}"
    ))
}

/// Tells booleans, null and whole numbers from strings.
fn typed(text: &str, string: bool) -> Value {
    let folded = |word: &str| text.chars().flat_map(char::to_uppercase).eq(word.chars());
    if string {
    } else if folded("TRUE") {
        return Value::Bool(true);
    } else if folded("FALSE") {
        return Value::Bool(false);
    } else if folded("NULL") {
        return Value::Null;
    } else if (text == "0" || !text.starts_with('0'))
        && let Ok(number) = text.parse::<i64>()
    {
        return Value::from(number);
    }
    Value::String(text.to_owned())
}

/// Turns every number into the float that Go's JSON reader makes of it.
pub(crate) fn floats(value: Value) -> Value {
    match value {
        Value::Number(number) => number.as_f64().map_or(Value::Null, Value::from),
        Value::Array(list) => Value::Array(list.into_iter().map(floats).collect()),
        Value::Object(map) => Value::Object(
            map.into_iter()
                .map(|(key, value)| (key, floats(value)))
                .collect(),
        ),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(text: &str, style: Style, dialect: Dialect) -> Result<Value, String> {
        let mut values = Map::new();
        parse_into(text, &mut values, style, dialect)?;
        Ok(Value::Object(values))
    }

    fn check(text: &str, wanted: Value) {
        for dialect in [Dialect::HELM_3, Dialect::HELM_4] {
            assert_eq!(
                read(text, Style::Typed, dialect),
                Ok(wanted.clone()),
                "{text}"
            );
        }
    }

    fn refused(text: &str, wanted: &str) {
        for dialect in [Dialect::HELM_3, Dialect::HELM_4] {
            assert_eq!(
                read(text, Style::Typed, dialect),
                Err(wanted.to_owned()),
                "{text}"
            );
        }
    }

    #[test]
    fn typed_values() {
        check("a=null", json!({"a": null}));
        check(
            "a=NULL,b=True,c=FALSE",
            json!({"a": null, "b": true, "c": false}),
        );
        check(
            "a=0,b=00,c=01,d=-1,e=+7",
            json!({"a": 0, "b": "00", "c": "01", "d": -1, "e": 7}),
        );
        check("a=1.5,b=1e3", json!({"a": "1.5", "b": "1e3"}));
        check(
            "long=1234567890123456789012",
            json!({"long": "1234567890123456789012"}),
        );
        check("a=b c , d=e", json!({"a": "b c ", " d": "e"}));
        check(r"a=x\,y,b\.c=d", json!({"a": "x,y", "b.c": "d"}));
        check("a=", json!({"a": ""}));
        check("a=,b=c", json!({"a": "", "b": "c"}));
        check(
            "a={},b={x,1,true,null}",
            json!({"a": [""], "b": ["x", 1, true, null]}),
        );
        check("a={x,y}b=c", json!({"a": ["x", "y"], "b": "c"}));
        check("a.b.c=1,a.d=2", json!({"a": {"b": {"c": 1}, "d": 2}}));
        check("a[0]=x,a[2]=y", json!({"a": ["x", null, "y"]}));
        check(
            "a[0].b=1,a[0].c=2,a[1].b=3",
            json!({"a": [{"b": 1, "c": 2}, {"b": 3}]}),
        );
        check("a[0][1]=x", json!({"a": [[null, "x"]]}));
        check("=x", json!({}));
        check("", json!({}));
        check("a.", json!({}));
        // the list is never given the object that the end of the text interrupts
        check("a[0].b=", json!({"a": []}));
        check("a[0]=", json!({"a": [""]}));
    }

    #[test]
    fn errors_are_helms() {
        refused("a", "key \"a\" has no value");
        refused("a,", "key \"a\" has no value (cannot end with ,)");
        refused("a.b,c=1", "key \"b\" has no value (cannot end with ,)");
        refused("a={x,y", "list must terminate with '}'");
        refused("a[-1]=x", "negative -1 index not allowed");
        refused(
            "a[x]=y",
            "error parsing index: strconv.Atoi: parsing \"x\": invalid syntax",
        );
        refused(
            "a[65537]=x",
            "index of 65537 is greater than maximum supported index of 65536",
        );
        refused("a[0]b=x", "unexpected data at end of array index: \"b\"");
        refused(
            "a=1,a.b=2",
            "unable to parse key: interface conversion: interface {} is int64, not map[string]interface {}",
        );
        refused(
            "a.b=1,a[0]=2",
            "unable to parse key: interface conversion: interface {} is map[string]interface {}, not []interface {}",
        );
        let deep = format!("{}x=1", "a.".repeat(31));
        refused(
            &deep,
            "value name nested level is greater than maximum supported nested level of 30",
        );
        assert_eq!(read("a[0", Style::Typed, Dialect::HELM_4), Ok(json!({})));
        assert_eq!(
            read("a[0", Style::Typed, Dialect::HELM_3),
            Err("error parsing index: EOF".to_owned())
        );
    }

    #[test]
    fn hostile_lists_are_bounded() {
        let wide = format!("a{}=x", "[65536]".repeat(40));
        assert!(read(&wide, Style::Typed, Dialect::HELM_4).is_err());
        let deep = format!("a{}=x", "[0]".repeat(100_000));
        assert!(read(&deep, Style::Typed, Dialect::HELM_4).is_err());
    }

    #[test]
    fn other_styles() {
        let four = Dialect::HELM_4;
        assert_eq!(
            read("a=1,b=true", Style::Strings, four),
            Ok(json!({"a": "1", "b": "true"}))
        );
        assert_eq!(
            read(r"a.b=x,y=\z{1}", Style::Literal, four),
            Ok(json!({"a": {"b": r"x,y=\z{1}"}}))
        );
        assert_eq!(
            read(r#"a={"b": [1, 2]} , c="x",d= ,e=null"#, Style::Json, four),
            Ok(json!({"a": {"b": [1.0, 2.0]}, " c": "x", "d": null, "e": null}))
        );
        assert_eq!(
            read(r#"a[1]=[1],b.c=true"#, Style::Json, four),
            Ok(json!({"a": [null, [1.0]], "b": {"c": true}}))
        );
        assert!(read("a={", Style::Json, four).is_err());
    }

    #[test]
    fn files_are_asked_for() {
        let mut values = Map::new();
        let files = |name: &str| match name {
            "x.txt" => Ok("content".to_owned()),
            _ => Err(format!("open {name}: no such file or directory")),
        };
        let four = Dialect::HELM_4;
        parse_files_into("a.b=x.txt", &mut values, &files, four).unwrap();
        assert_eq!(
            Value::Object(values.clone()),
            json!({"a": {"b": "content"}})
        );
        assert!(parse_files_into("a=y", &mut values, &files, four).is_err());
    }
}
