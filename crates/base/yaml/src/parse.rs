//! From tokens to events, by libyaml's grammar.

use std::borrow::Cow;

use crate::problem::{Problem, Result};
use crate::resolve::Stack;
use crate::scan::{Mark, Scanner, Style, Tag, Tok};

/// What stands before a node's content.
#[derive(Debug, Default)]
pub(crate) struct Properties<'t> {
    pub(crate) anchor: Option<&'t str>,
    /// The whole tag; empty if there is none.
    pub(crate) tag: Option<Box<str>>,
    /// Is a collection written in brackets?
    pub(crate) flow: bool,
}

#[derive(Debug)]
pub(crate) enum Event<'t> {
    DocumentStart,
    DocumentEnd,
    StreamEnd,
    Alias(&'t str),
    Scalar {
        properties: Properties<'t>,
        text: Cow<'t, str>,
        style: Style,
    },
    SequenceStart(Properties<'t>),
    SequenceEnd,
    MappingStart(Properties<'t>),
    MappingEnd,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    StreamStart,
    ImplicitDocumentStart,
    DocumentStart,
    DocumentContent,
    DocumentEnd,
    BlockNode,
    BlockSequenceFirstEntry,
    BlockSequenceEntry,
    IndentlessSequenceEntry,
    BlockMappingFirstKey,
    BlockMappingKey,
    BlockMappingValue,
    FlowSequenceFirstEntry,
    FlowSequenceEntry,
    FlowSequenceMappingKey,
    FlowSequenceMappingValue,
    FlowSequenceMappingEnd,
    FlowMappingFirstKey,
    FlowMappingKey,
    FlowMappingValue,
    FlowMappingEmptyValue,
    End,
}

pub(crate) struct Parser<'t> {
    scanner: Scanner<'t>,
    state: State,
    states: Vec<State>,
    /// Where each collection began.
    marks: Vec<Mark>,
    /// Handles and prefixes of tags.
    tags: Vec<(String, String)>,
}

type Out<'t> = Result<(Event<'t>, Mark)>;

const NO_CONTENT: &str = "did not find expected node content";

impl<'t> Parser<'t> {
    pub(crate) fn new(text: &'t str, stack: Stack) -> Self {
        Self {
            scanner: Scanner::new(text, stack),
            state: State::StreamStart,
            states: Vec::with_capacity(16),
            marks: Vec::with_capacity(16),
            tags: Vec::new(),
        }
    }

    /// How far the text was looked at, in bytes.
    pub(crate) fn position(&self) -> usize {
        self.scanner.position()
    }

    /// The next event and where it starts.
    pub(crate) fn next(&mut self) -> Out<'t> {
        match self.state {
            State::StreamStart => {
                self.scanner.next()?;
                self.state = State::ImplicitDocumentStart;
                self.document_start(true)
            }
            State::ImplicitDocumentStart => self.document_start(true),
            State::DocumentStart => self.document_start(false),
            State::DocumentContent => self.document_content(),
            State::DocumentEnd => self.document_end(),
            State::BlockNode => self.node(true, false),
            State::BlockSequenceFirstEntry => {
                self.begin()?;
                self.block_sequence_entry()
            }
            State::BlockSequenceEntry => self.block_sequence_entry(),
            State::IndentlessSequenceEntry => self.indentless_sequence_entry(),
            State::BlockMappingFirstKey => {
                self.begin()?;
                self.block_mapping_key()
            }
            State::BlockMappingKey => self.block_mapping_key(),
            State::BlockMappingValue => self.block_mapping_value(),
            State::FlowSequenceFirstEntry => {
                self.begin()?;
                self.flow_sequence_entry(true)
            }
            State::FlowSequenceEntry => self.flow_sequence_entry(false),
            State::FlowSequenceMappingKey => self.flow_sequence_mapping_key(),
            State::FlowSequenceMappingValue => self.flow_sequence_mapping_value(),
            State::FlowSequenceMappingEnd => {
                let mark = self.scanner.peek()?.start;
                self.state = State::FlowSequenceEntry;
                Ok((Event::MappingEnd, mark))
            }
            State::FlowMappingFirstKey => {
                self.begin()?;
                self.flow_mapping_key(true)
            }
            State::FlowMappingKey => self.flow_mapping_key(false),
            State::FlowMappingValue => self.flow_mapping_value(false),
            State::FlowMappingEmptyValue => self.flow_mapping_value(true),
            State::End => Ok((Event::StreamEnd, Mark::default())),
        }
    }

    /// Takes the token that opens a collection.
    fn begin(&mut self) -> Result<()> {
        let token = self.scanner.next()?;
        self.marks.push(token.start);
        Ok(())
    }

    fn pop_state(&mut self) {
        self.state = self.states.pop().unwrap_or(State::End);
    }

    /// Takes the token that closes a collection.
    fn close(&mut self, event: Event<'t>) -> Out<'t> {
        self.pop_state();
        self.marks.pop();
        let token = self.scanner.next()?;
        Ok((event, token.start))
    }

    fn empty(mark: Mark) -> (Event<'t>, Mark) {
        let event = Event::Scalar {
            properties: Properties::default(),
            text: Cow::Borrowed(""),
            style: Style::Plain,
        };
        (event, mark)
    }

    fn document_start(&mut self, implicit: bool) -> Out<'t> {
        if !implicit {
            while self.scanner.peek()?.tok == Tok::DocumentEnd {
                self.scanner.next()?;
            }
        }
        let token = self.scanner.peek()?;
        let start = token.start;
        match token.tok {
            Tok::StreamEnd => {
                self.state = State::End;
                self.scanner.next()?;
                Ok((Event::StreamEnd, start))
            }
            Tok::Version(..) | Tok::TagDirective(_) | Tok::DocumentStart => {
                self.explicit_document(start)
            }
            _ if !implicit => self.explicit_document(start),
            _ => {
                self.directives()?;
                self.states.push(State::DocumentEnd);
                self.state = State::BlockNode;
                Ok((Event::DocumentStart, start))
            }
        }
    }

    fn explicit_document(&mut self, start: Mark) -> Out<'t> {
        self.directives()?;
        let token = self.scanner.peek()?;
        if token.tok != Tok::DocumentStart {
            let problem = "did not find expected <document start>";
            return Err(Problem::parser("", Mark::default(), problem, token.start));
        }
        self.states.push(State::DocumentEnd);
        self.state = State::DocumentContent;
        self.scanner.next()?;
        Ok((Event::DocumentStart, start))
    }

    fn document_content(&mut self) -> Out<'t> {
        let token = self.scanner.peek()?;
        match token.tok {
            Tok::Version(..)
            | Tok::TagDirective(_)
            | Tok::DocumentStart
            | Tok::DocumentEnd
            | Tok::StreamEnd => {
                let mark = token.start;
                self.pop_state();
                Ok(Self::empty(mark))
            }
            _ => self.node(true, false),
        }
    }

    fn document_end(&mut self) -> Out<'t> {
        let token = self.scanner.peek()?;
        let mark = token.start;
        if token.tok == Tok::DocumentEnd {
            self.scanner.next()?;
        }
        self.tags.clear();
        self.state = State::DocumentStart;
        Ok((Event::DocumentEnd, mark))
    }

    fn node(&mut self, block: bool, indentless: bool) -> Out<'t> {
        let token = self.scanner.peek()?;
        if let Tok::Alias(name) = token.tok {
            let mark = token.start;
            self.pop_state();
            self.scanner.next()?;
            return Ok((Event::Alias(name), mark));
        }
        let start = token.start;
        let mut properties = Properties::default();
        if matches!(token.tok, Tok::Anchor(_) | Tok::Tag(_)) {
            self.properties(&mut properties, start)?;
        }
        let token = self.scanner.peek()?;
        let event = match token.tok {
            Tok::BlockEntry if indentless => {
                self.state = State::IndentlessSequenceEntry;
                Event::SequenceStart(properties)
            }
            Tok::Scalar(..) => {
                self.pop_state();
                let Tok::Scalar(text, style) = self.scanner.next()?.tok else {
                    return Err(Problem::other(NO_CONTENT));
                };
                Event::Scalar {
                    properties,
                    text,
                    style,
                }
            }
            Tok::FlowSequenceStart => {
                self.state = State::FlowSequenceFirstEntry;
                properties.flow = true;
                Event::SequenceStart(properties)
            }
            Tok::FlowMappingStart => {
                self.state = State::FlowMappingFirstKey;
                properties.flow = true;
                Event::MappingStart(properties)
            }
            Tok::BlockSequenceStart if block => {
                self.state = State::BlockSequenceFirstEntry;
                Event::SequenceStart(properties)
            }
            Tok::BlockMappingStart if block => {
                self.state = State::BlockMappingFirstKey;
                Event::MappingStart(properties)
            }
            _ if properties.anchor.is_some() || properties.tag.is_some() => {
                self.pop_state();
                Event::Scalar {
                    properties,
                    text: Cow::Borrowed(""),
                    style: Style::Plain,
                }
            }
            _ => {
                let context = if block {
                    "while parsing a block node"
                } else {
                    "while parsing a flow node"
                };
                return Err(Problem::parser(context, start, NO_CONTENT, token.start));
            }
        };
        Ok((event, start))
    }

    /// Takes an anchor and a tag, in either order.
    fn properties(&mut self, out: &mut Properties<'t>, start: Mark) -> Result<()> {
        for _ in 0..2 {
            match self.scanner.peek()?.tok {
                Tok::Anchor(name) if out.anchor.is_none() => {
                    out.anchor = Some(name);
                    self.scanner.next()?;
                }
                Tok::Tag(_) if out.tag.is_none() => {
                    let token = self.scanner.next()?;
                    if let Tok::Tag(tag) = token.tok {
                        out.tag = Some(self.whole_tag(*tag, start, token.start)?);
                    }
                }
                _ => break,
            }
        }
        Ok(())
    }

    fn whole_tag(&self, tag: Tag, start: Mark, mark: Mark) -> Result<Box<str>> {
        if tag.handle.is_empty() {
            return Ok(tag.suffix.into());
        }
        let prefix = self.tags.iter().find(|(handle, _)| *handle == tag.handle);
        match prefix {
            Some((_, prefix)) => Ok(format!("{prefix}{}", tag.suffix).into()),
            None => {
                let problem = "found undefined tag handle";
                Err(Problem::parser(
                    "while parsing a node",
                    start,
                    problem,
                    mark,
                ))
            }
        }
    }

    fn unexpected(&mut self, context: &'static str, problem: &'static str) -> Box<Problem> {
        let from = self.marks.pop().unwrap_or_default();
        match self.scanner.peek() {
            Ok(token) => Problem::parser(context, from, problem, token.start),
            Err(error) => error,
        }
    }

    fn block_sequence_entry(&mut self) -> Out<'t> {
        match self.scanner.peek()?.tok {
            Tok::BlockEntry => {
                let mark = self.scanner.next()?.end;
                match self.scanner.peek()?.tok {
                    Tok::BlockEntry | Tok::BlockEnd => {
                        self.state = State::BlockSequenceEntry;
                        Ok(Self::empty(mark))
                    }
                    _ => {
                        self.states.push(State::BlockSequenceEntry);
                        self.node(true, false)
                    }
                }
            }
            Tok::BlockEnd => self.close(Event::SequenceEnd),
            _ => Err(self.unexpected(
                "while parsing a block collection",
                "did not find expected '-' indicator",
            )),
        }
    }

    fn indentless_sequence_entry(&mut self) -> Out<'t> {
        let token = self.scanner.peek()?;
        if token.tok != Tok::BlockEntry {
            let mark = token.start;
            self.pop_state();
            return Ok((Event::SequenceEnd, mark));
        }
        let mark = self.scanner.next()?.end;
        match self.scanner.peek()?.tok {
            Tok::BlockEntry | Tok::Key | Tok::Value | Tok::BlockEnd => {
                self.state = State::IndentlessSequenceEntry;
                Ok(Self::empty(mark))
            }
            _ => {
                self.states.push(State::IndentlessSequenceEntry);
                self.node(true, false)
            }
        }
    }

    fn block_mapping_key(&mut self) -> Out<'t> {
        match self.scanner.peek()?.tok {
            Tok::Key => {
                let mark = self.scanner.next()?.end;
                match self.scanner.peek()?.tok {
                    Tok::Key | Tok::Value | Tok::BlockEnd => {
                        self.state = State::BlockMappingValue;
                        Ok(Self::empty(mark))
                    }
                    _ => {
                        self.states.push(State::BlockMappingValue);
                        self.node(true, true)
                    }
                }
            }
            Tok::BlockEnd => self.close(Event::MappingEnd),
            _ => Err(self.unexpected("while parsing a block mapping", "did not find expected key")),
        }
    }

    fn block_mapping_value(&mut self) -> Out<'t> {
        let token = self.scanner.peek()?;
        if token.tok != Tok::Value {
            let mark = token.start;
            self.state = State::BlockMappingKey;
            return Ok(Self::empty(mark));
        }
        let mark = self.scanner.next()?.end;
        match self.scanner.peek()?.tok {
            Tok::Key | Tok::Value | Tok::BlockEnd => {
                self.state = State::BlockMappingKey;
                Ok(Self::empty(mark))
            }
            _ => {
                self.states.push(State::BlockMappingKey);
                self.node(true, true)
            }
        }
    }

    fn flow_sequence_entry(&mut self, first: bool) -> Out<'t> {
        if self.scanner.peek()?.tok != Tok::FlowSequenceEnd {
            if !first {
                if self.scanner.peek()?.tok != Tok::FlowEntry {
                    return Err(self.unexpected(
                        "while parsing a flow sequence",
                        "did not find expected ',' or ']'",
                    ));
                }
                self.scanner.next()?;
            }
            match self.scanner.peek()?.tok {
                Tok::Key => {
                    let mark = self.scanner.next()?.start;
                    self.state = State::FlowSequenceMappingKey;
                    let flow = Properties {
                        flow: true,
                        ..Properties::default()
                    };
                    return Ok((Event::MappingStart(flow), mark));
                }
                Tok::FlowSequenceEnd => {}
                _ => {
                    self.states.push(State::FlowSequenceEntry);
                    return self.node(false, false);
                }
            }
        }
        self.close(Event::SequenceEnd)
    }

    fn flow_sequence_mapping_key(&mut self) -> Out<'t> {
        match self.scanner.peek()?.tok {
            Tok::Value | Tok::FlowEntry | Tok::FlowSequenceEnd => {
                // go-yaml takes the token that follows for an empty key's own
                let mark = self.scanner.next()?.end;
                self.state = State::FlowSequenceMappingValue;
                Ok(Self::empty(mark))
            }
            _ => {
                self.states.push(State::FlowSequenceMappingValue);
                self.node(false, false)
            }
        }
    }

    fn flow_sequence_mapping_value(&mut self) -> Out<'t> {
        if self.scanner.peek()?.tok == Tok::Value {
            self.scanner.next()?;
            if !matches!(
                self.scanner.peek()?.tok,
                Tok::FlowEntry | Tok::FlowSequenceEnd
            ) {
                self.states.push(State::FlowSequenceMappingEnd);
                return self.node(false, false);
            }
        }
        let mark = self.scanner.peek()?.start;
        self.state = State::FlowSequenceMappingEnd;
        Ok(Self::empty(mark))
    }

    fn flow_mapping_key(&mut self, first: bool) -> Out<'t> {
        if self.scanner.peek()?.tok != Tok::FlowMappingEnd {
            if !first {
                if self.scanner.peek()?.tok != Tok::FlowEntry {
                    return Err(self.unexpected(
                        "while parsing a flow mapping",
                        "did not find expected ',' or '}'",
                    ));
                }
                self.scanner.next()?;
            }
            match self.scanner.peek()?.tok {
                Tok::Key => {
                    self.scanner.next()?;
                    let token = self.scanner.peek()?;
                    if matches!(token.tok, Tok::Value | Tok::FlowEntry | Tok::FlowMappingEnd) {
                        let mark = token.start;
                        self.state = State::FlowMappingValue;
                        return Ok(Self::empty(mark));
                    }
                    self.states.push(State::FlowMappingValue);
                    return self.node(false, false);
                }
                Tok::FlowMappingEnd => {}
                _ => {
                    self.states.push(State::FlowMappingEmptyValue);
                    return self.node(false, false);
                }
            }
        }
        self.close(Event::MappingEnd)
    }

    fn flow_mapping_value(&mut self, empty: bool) -> Out<'t> {
        if !empty && self.scanner.peek()?.tok == Tok::Value {
            self.scanner.next()?;
            if !matches!(
                self.scanner.peek()?.tok,
                Tok::FlowEntry | Tok::FlowMappingEnd
            ) {
                self.states.push(State::FlowMappingKey);
                return self.node(false, false);
            }
        }
        let mark = self.scanner.peek()?.start;
        self.state = State::FlowMappingKey;
        Ok(Self::empty(mark))
    }

    fn directives(&mut self) -> Result<()> {
        let fail = |problem, mark| Err(Problem::parser("", Mark::default(), problem, mark));
        let mut version = false;
        loop {
            let token = self.scanner.peek()?;
            let mark = token.start;
            match &token.tok {
                Tok::Version(..) if version => {
                    return fail("found duplicate %YAML directive", mark);
                }
                Tok::Version(1, 1) => version = true,
                Tok::Version(..) => return fail("found incompatible YAML document", mark),
                Tok::TagDirective(tag) => {
                    let (handle, prefix) = (tag.handle.clone(), tag.suffix.clone());
                    if self.tags.iter().any(|(known, _)| *known == handle) {
                        return fail("found duplicate %TAG directive", mark);
                    }
                    self.tags.push((handle, prefix));
                }
                _ => break,
            }
            self.scanner.next()?;
        }
        for (handle, prefix) in [("!", "!"), ("!!", "tag:yaml.org,2002:")] {
            if !self.tags.iter().any(|(known, _)| known == handle) {
                self.tags.push((handle.to_owned(), prefix.to_owned()));
            }
        }
        Ok(())
    }
}
