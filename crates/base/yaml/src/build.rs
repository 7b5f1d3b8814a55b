//! From the parser's events to JSON values.

use std::collections::BTreeMap;

use base_json::{Map, Value};
use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Span, StrInput, Tag};

use crate::scalar::{Scalar, resolve, resolve_tagged};
use crate::{Document, MAX_DEPTH, YamlError};

/// How many bytes all aliases of a file may expand to, roughly.
const MAX_ALIASED: usize = 16 << 20;

/// How many tabs behind a colon are mended in one file before the parser's word is taken.
const MAX_TABS: usize = 50;

pub(crate) fn documents(text: &str, file: &str) -> Result<Vec<Document>, YamlError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    check_characters(text, file)?;
    let mut mended = std::borrow::Cow::Borrowed(text);
    // each one is another reading, so a large text gets fewer
    let tries = ((4 << 20) / (text.len() + 1)).clamp(2, MAX_TABS);
    for _ in 0..tries {
        match read(&mended, file) {
            // the parser refuses a tab between colon and value, which go-yaml and YAML allow
            Err(Failed::TabAfterColon(at)) => mended = mend(&mended, at).into(),
            Err(Failed::Error(error)) => return Err(error),
            Ok(documents) => return Ok(documents),
        }
    }
    read(&mended, file).map_err(|failed| match failed {
        Failed::Error(error) => error,
        Failed::TabAfterColon(at) => YamlError::new(
            text,
            file,
            at.line(),
            at.col(),
            "tabs stand between colon and value; use spaces",
        ),
    })
}

enum Failed {
    TabAfterColon(Marker),
    Error(YamlError),
}

impl From<YamlError> for Failed {
    fn from(error: YamlError) -> Self {
        Self::Error(error)
    }
}

/// Makes the tabs before a place spaces.
fn mend(text: &str, at: Marker) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    let before = chars.iter_mut().take(at.index()).rev();
    for c in before.take_while(|c| matches!(c, ' ' | '\t')) {
        *c = ' ';
    }
    chars.into_iter().collect()
}

fn read(text: &str, file: &str) -> Result<Vec<Document>, Failed> {
    let mut builder = Builder {
        text,
        file,
        lines: text.split('\n').collect(),
        length: text.chars().count(),
        flow: 0,
        parser: Parser::new_from_str(text),
        anchors: BTreeMap::new(),
        aliased: 0,
    };
    let mut out = Vec::new();
    let mut index = 0;
    loop {
        match builder.next()? {
            (Event::DocumentStart(_), _) => {
                let (event, span) = builder.next()?;
                let value = match event {
                    Event::DocumentEnd => Value::Null,
                    event => {
                        let node = builder.node(event, span, 0)?;
                        builder.next()?;
                        builder.plain_value(node)?
                    }
                };
                if !value.is_null() {
                    out.push(Document {
                        value,
                        line: span.start.line(),
                        index,
                    });
                }
                index += 1;
                builder.anchors.clear();
            }
            (Event::StreamEnd, _) => return Ok(out),
            _ => {}
        }
    }
}

/// Refuses the characters that YAML does, since a parser that lets them through would hand them to every cluster.
fn check_characters(text: &str, file: &str) -> Result<(), YamlError> {
    let bad = |c: char| matches!(c, '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{7f}'..='\u{84}' | '\u{86}'..='\u{9f}' | '\u{fffe}' | '\u{ffff}');
    let Some((at, c)) = text.char_indices().find(|(_, c)| bad(*c)) else {
        return Ok(());
    };
    let before = &text[..at];
    let line = before.matches('\n').count() + 1;
    let column = before
        .rsplit('\n')
        .next()
        .map_or(0, |last| last.chars().count())
        + 1;
    let message = format!("control character U+{:04X} is not allowed", u32::from(c));
    Err(YamlError::new(text, file, line, column, message))
}

struct Builder<'t> {
    text: &'t str,
    file: &'t str,
    lines: Vec<&'t str>,
    /// The text's length in characters.
    length: usize,
    /// How many lists and maps in brackets are open.
    flow: usize,
    parser: Parser<'t, StrInput<'t>>,
    /// What each anchor names; nothing while it is still being read.
    anchors: BTreeMap<usize, Option<Node>>,
    aliased: usize,
}

/// A value, and what it stood for where it is a scalar, since keys and merges need that.
#[derive(Clone)]
struct Node {
    value: Value,
    scalar: Option<Scalar>,
    at: Marker,
    size: usize,
}

impl<'t> Builder<'t> {
    fn error(&self, at: Marker, message: impl Into<String>) -> YamlError {
        YamlError::new(
            self.text,
            self.file,
            at.line().max(1),
            at.col() + 1,
            message,
        )
    }

    fn next(&mut self) -> Result<(Event<'t>, Span), Failed> {
        match self.parser.next_event() {
            Some(Ok((event, span))) => Ok((event, span)),
            Some(Err(error)) if error.info().starts_with("':' must be followed") => {
                Err(Failed::TabAfterColon(*error.marker()))
            }
            Some(Err(error)) => {
                let message = sentence(error.info());
                Err(self.error(*error.marker(), message).into())
            }
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn node(&mut self, event: Event<'t>, span: Span, depth: usize) -> Result<Node, Failed> {
        let at = span.start;
        if depth > MAX_DEPTH {
            let message = format!("nesting is deeper than {MAX_DEPTH} levels");
            return Err(self.error(at, message).into());
        }
        let line = self.lines.get(at.line().saturating_sub(1));
        if self.flow == 0 && line.is_some_and(|line| tab_indents(line, at.col())) {
            return Err(self.error(at, "a tab indents this line; use spaces").into());
        }
        let (anchor, node) = match event {
            Event::Alias(id) => return Ok(self.alias(id, at)?),
            Event::Scalar(text, style, anchor, tag) => {
                self.begin(anchor);
                let text = self.without_added_break(&text, style, span);
                (anchor, self.scalar(text, style, tag.as_deref(), at)?)
            }
            Event::SequenceStart(anchor, _) => {
                self.begin(anchor);
                let bracket = usize::from(self.in_brackets(at, '['));
                self.flow += bracket;
                let node = self.sequence(at, depth)?;
                self.flow -= bracket;
                (anchor, node)
            }
            Event::MappingStart(anchor, _) => {
                self.begin(anchor);
                let bracket = usize::from(self.in_brackets(at, '{'));
                self.flow += bracket;
                let node = self.mapping(at, depth)?;
                self.flow -= bracket;
                (anchor, node)
            }
            other => {
                let message = format!("a value was expected, not {other:?}");
                return Err(self.error(at, message).into());
            }
        };
        if anchor > 0 {
            self.anchors.insert(anchor, Some(node.clone()));
        }
        Ok(node)
    }

    /// Takes off the line break that the parser adds to a block scalar at the end of a text that has none.
    fn without_added_break<'a>(&self, text: &'a str, style: ScalarStyle, span: Span) -> &'a str {
        let block = matches!(style, ScalarStyle::Literal | ScalarStyle::Folded);
        let last = self
            .lines
            .last()
            .is_some_and(|line| !line.trim().is_empty());
        if block && last && span.end.index() >= self.length {
            text.strip_suffix('\n').unwrap_or(text)
        } else {
            text
        }
    }

    /// Is a list or map written in brackets? All that are inside of one are; so a long line is not walked for each.
    fn in_brackets(&self, at: Marker, bracket: char) -> bool {
        if self.flow > 0 {
            return true;
        }
        let line = self.lines.get(at.line().saturating_sub(1));
        line.and_then(|line| line.chars().nth(at.col())) == Some(bracket)
    }

    fn begin(&mut self, anchor: usize) {
        if anchor > 0 {
            self.anchors.insert(anchor, None);
        }
    }

    fn alias(&mut self, id: usize, at: Marker) -> Result<Node, YamlError> {
        match self.anchors.get(&id) {
            Some(Some(node)) => {
                let node = Node { at, ..node.clone() };
                self.aliased += node.size;
                if self.aliased > MAX_ALIASED {
                    let message = format!(
                        "aliases expand to more than {} MiB; write the values out, or split the file",
                        MAX_ALIASED >> 20
                    );
                    return Err(self.error(at, message));
                }
                Ok(node)
            }
            Some(None) => Err(self.error(at, "an anchor's value contains itself")),
            None => Err(self.error(at, "alias names an anchor that is not in this document")),
        }
    }

    fn scalar(
        &self,
        text: &str,
        style: ScalarStyle,
        tag: Option<&Tag>,
        at: Marker,
    ) -> Result<Node, YamlError> {
        let scalar = match tag {
            Some(tag) if tag.is_yaml_core_schema() => {
                resolve_tagged(text, &tag.suffix).map_err(|message| self.error(at, message))?
            }
            Some(_) => Scalar::Str(text.to_owned()),
            None if style == ScalarStyle::Plain => resolve(text),
            None => Scalar::Str(text.to_owned()),
        };
        // what has no JSON form may still be a key, so the place that uses it decides
        let value = scalar.clone().into_value().unwrap_or(Value::Null);
        Ok(Node {
            value,
            scalar: Some(scalar),
            at,
            size: 32 + text.len(),
        })
    }

    fn plain_value(&self, node: Node) -> Result<Value, YamlError> {
        if let Some(scalar @ (Scalar::Odd(_) | Scalar::Num(_))) = node.scalar {
            return scalar
                .into_value()
                .map_err(|message| self.error(node.at, message));
        }
        Ok(node.value)
    }

    fn sequence(&mut self, at: Marker, depth: usize) -> Result<Node, Failed> {
        let (mut items, mut size) = (Vec::new(), 32);
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => break,
                (event, place) => {
                    let item = self.node(event, place, depth + 1)?;
                    size += item.size;
                    items.push(self.plain_value(item)?);
                }
            }
        }
        Ok(Node {
            value: Value::Array(items),
            scalar: None,
            at,
            size,
        })
    }

    fn mapping(&mut self, at: Marker, depth: usize) -> Result<Node, Failed> {
        let (mut map, mut size) = (Map::new(), 32);
        let mut lines: BTreeMap<String, usize> = BTreeMap::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::MappingEnd {
                break;
            }
            let place = span.start;
            let key = self.node(event, span, depth + 1)?;
            let (event, value_place) = self.next()?;
            let value = self.node(event, value_place, depth + 1)?;
            size += key.size + value.size;
            let scalar = match key.scalar {
                Some(Scalar::Merge) => {
                    self.merge(&mut map, value)?;
                    continue;
                }
                Some(scalar) => scalar,
                None => return Err(self.error(place, "a map or a list cannot be a key").into()),
            };
            let key = scalar
                .into_key()
                .map_err(|message| self.error(place, message))?;
            if let Some(first) = lines.insert(key.clone(), place.line()) {
                let message = format!("duplicate key {key:?}: it stands in line {first} already");
                return Err(self.error(place, message).into());
            }
            let value = self.plain_value(value)?;
            map.insert(key, value);
        }
        Ok(Node {
            value: Value::Object(map),
            scalar: None,
            at,
            size,
        })
    }

    /// Takes in the fields of a map, or of several where earlier ones win. As in go-yaml, a merge overrides what stands
    /// before it and is overridden by what stands after.
    fn merge(&self, map: &mut Map<String, Value>, node: Node) -> Result<(), YamlError> {
        let at = node.at;
        let sources = match node.value {
            Value::Object(source) => vec![Value::Object(source)],
            Value::Array(sources) => sources,
            _ => vec![Value::Null],
        };
        for source in sources.into_iter().rev() {
            let Value::Object(source) = source else {
                let message = "merge key << needs a map or a list of maps";
                return Err(self.error(at, message));
            };
            map.extend(source);
        }
        Ok(())
    }
}

/// Do only white space and a tab stand before this column?
fn tab_indents(line: &str, column: usize) -> bool {
    let before = line.chars().take(column);
    let mut tab = false;
    for c in before {
        match c {
            '\t' => tab = true,
            ' ' => {}
            _ => return false,
        }
    }
    tab
}

/// The parser's own words, without the parts that only its authors need.
fn sentence(info: &str) -> String {
    let text = info.trim();
    let mut out = text.to_owned();
    if let Some(first) = out.get_mut(..1) {
        first.make_ascii_lowercase();
    }
    out
}
