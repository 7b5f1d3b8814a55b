//! Executes templates. All that grows with the input lies on stacks of its own: templates that call each other, loops and
//! operands never use the native stack.

mod check;
mod fields;
mod run;

use std::sync::Arc;

use crate::call::{Callee, FuncError, Method, TemplateCall};
use crate::code::Loop;
use crate::error::{Error, ErrorKind, Frame as Stop, Limit};
use crate::host::Host;
use crate::limits::{Limits, Meter};
use crate::parse::NodeId;
use crate::set::{Names, Set, Template, TextCache, Unit};
use crate::text::Str;
use crate::value::{List, Value};

/// Executes the templates of one render, which share its fuel, memory and data.
pub struct Machine<'a> {
    host: &'a mut dyn Host,
    meter: Meter,
    cache: &'a TextCache,
    sets: Vec<Set>,
    frames: Vec<Frame>,
    operands: Vec<Value>,
    variables: Vec<Variable>,
    blocks: Vec<Block>,
    methods: Vec<(Method, Value)>,
    out: Vec<u8>,
    node: NodeId,
    /// Whether what was pushed last came out of an interface.
    wrapped: bool,
    calls: u64,
    nesting: Names<usize>,
    texts: usize,
}

/// A value and whether it came out of an `interface {}`, which one error text tells.
#[derive(Clone)]
struct Seen {
    value: Value,
    wrapped: bool,
}

struct Variable {
    /// The name's number in the unit of the frame that declared it.
    name: u32,
    seen: Seen,
}

/// A template that is being executed.
struct Frame {
    template: Template,
    /// Which of the machine's sets it belongs to.
    set: usize,
    pc: usize,
    dot: Seen,
    variables: usize,
    blocks: usize,
    operands: usize,
    methods: usize,
    /// How many `template` actions led here since the last function's call.
    depth: usize,
    /// Where the caller stands: the node that errors name.
    node: NodeId,
    capture: Option<Capture>,
}

/// A function waits for the output of a frame.
struct Capture {
    call: TemplateCall,
    function: &'static str,
    start: usize,
    /// The node at which the call's own errors are reported.
    at: NodeId,
}

/// What is open within a template.
enum Block {
    Scope(usize),
    With(Seen),
    Loop {
        turns: Turns,
        looped: Loop,
        variables: usize,
        outer: Seen,
    },
}

/// What a loop goes over.
enum Turns {
    List(List, usize),
    Map(std::vec::IntoIter<(Str, Value)>, bool),
    Count(crate::Int, i128, i128),
}

/// Why a step failed.
enum Fault {
    /// What Go says, at the current node.
    Message(String),
    /// A bound of ours.
    Limit(Limit),
    /// A function's error, wrapped at a node.
    Function {
        name: String,
        error: FuncError,
        at: NodeId,
    },
}

impl From<Limit> for Fault {
    fn from(limit: Limit) -> Self {
        Fault::Limit(limit)
    }
}

impl From<String> for Fault {
    fn from(message: String) -> Self {
        Fault::Message(message)
    }
}

impl<'a> Machine<'a> {
    /// A machine for the templates of a set.
    pub fn new(set: &Set, host: &'a mut dyn Host, limits: Limits, cache: &'a TextCache) -> Self {
        Self {
            host,
            meter: Meter::new(limits),
            cache,
            sets: vec![set.clone()],
            frames: Vec::new(),
            operands: Vec::new(),
            variables: Vec::new(),
            blocks: Vec::new(),
            methods: Vec::new(),
            out: Vec::new(),
            node: 0,
            wrapped: false,
            calls: 0,
            nesting: Names::default(),
            texts: 0,
        }
    }

    /// Executes a template with its data as `.` and `$`, and gives what it writes.
    pub fn execute(&mut self, name: &str, data: Value) -> Result<Vec<u8>, Box<Error>> {
        self.clear();
        let result = self.begin(name, data).and_then(|()| self.finish());
        if result.is_err() {
            self.clear();
        }
        result
    }

    /// How much fuel was used so far.
    pub fn fuel_used(&self) -> u64 {
        self.meter.used()
    }

    fn clear(&mut self) {
        self.sets.truncate(1);
        self.frames.clear();
        self.operands.clear();
        self.variables.clear();
        self.blocks.clear();
        self.methods.clear();
        self.out.clear();
        self.nesting.clear();
        self.texts = 0;
    }

    fn begin(&mut self, name: &str, data: Value) -> Result<(), Box<Error>> {
        let Some(template) = self.sets[0].get(name.as_bytes()) else {
            let message = format!(
                "no template {name:?} associated with template {:?}",
                self.sets[0].name()
            );
            return Err(Box::new(Error {
                kind: ErrorKind::Missing,
                go: format!("template: {message}"),
                message,
                place: None,
                stack: Vec::new(),
            }));
        };
        let template = template.clone();
        self.push(template, 0, data, 0, None);
        Ok(())
    }

    /// Runs until the first frame has ended, and hands errors down the frames.
    fn finish(&mut self) -> Result<Vec<u8>, Box<Error>> {
        loop {
            let fault = match self.run() {
                Ok(()) => return Ok(std::mem::take(&mut self.out)),
                Err(fault) => fault,
            };
            let mut error = self.error(fault);
            loop {
                let Some(frame) = self.frames.pop() else {
                    return Err(error);
                };
                self.unwind(&frame);
                let Some(capture) = frame.capture else {
                    continue;
                };
                self.out.truncate(capture.start);
                self.leave(&capture.call.what);
                self.node = frame.node;
                if matches!(error.kind, ErrorKind::Limit(_)) {
                    continue;
                }
                match self.settle(capture, Err(error)) {
                    Ok(value) => {
                        self.operands.push(value);
                        break;
                    }
                    Err(fault) => error = self.error(fault),
                }
            }
        }
    }

    fn unwind(&mut self, frame: &Frame) {
        self.operands.truncate(frame.operands);
        self.variables.truncate(frame.variables);
        self.blocks.truncate(frame.blocks);
        self.methods.truncate(frame.methods);
    }

    /// The result of a function that had a template executed.
    fn settle(
        &mut self,
        capture: Capture,
        output: Result<Str, Box<Error>>,
    ) -> Result<Value, Fault> {
        let at = capture.at;
        let fault = |error| Fault::Function {
            name: capture.function.to_owned(),
            error,
            at,
        };
        let result = match (capture.call.then, output) {
            (Some(then), output) => then(&capture.call.what, output),
            (None, Ok(text)) => Ok(Value::Str(text)),
            (None, Err(error)) => Err(FuncError::template(error.go.clone(), error)),
        };
        let value = result.map_err(fault)?;
        if let Value::Str(text) = &value {
            self.meter.allocate(text.len())?;
        }
        Ok(value)
    }

    fn push(
        &mut self,
        template: Template,
        set: usize,
        data: Value,
        depth: usize,
        capture: Option<Capture>,
    ) {
        let data = if matches!(data, Value::Nil) {
            Value::Invalid
        } else {
            data
        };
        let dot = Seen {
            value: data,
            wrapped: false,
        };
        let pc = template.entry as usize;
        self.frames.push(Frame {
            template,
            set,
            pc,
            dot: dot.clone(),
            variables: self.variables.len(),
            blocks: self.blocks.len(),
            operands: self.operands.len(),
            methods: self.methods.len(),
            depth,
            node: self.node,
            capture,
        });
        self.variables.push(Variable { name: 0, seen: dot });
    }

    /// Begins what a function wants executed.
    fn enter(
        &mut self,
        call: TemplateCall,
        function: &'static str,
        at: NodeId,
    ) -> Result<(), Fault> {
        let limits = *self.meter.limits();
        if self.frames.len() >= limits.frames {
            return Err(Limit::Frames(limits.frames).into());
        }
        let fault = |message: String| Fault::Function {
            name: function.to_owned(),
            error: FuncError::new(message),
            at,
        };
        let set = self.frames.last().map_or(0, |frame| frame.set);
        let (template, set) = match &call.what {
            Callee::Name(name) => {
                let deep = self.nesting.get(name).copied().unwrap_or(0);
                if deep > limits.nesting {
                    return Err(fault(format!(
                        "rendering template has a nested reference name: {}: unable to execute template",
                        name.to_text()
                    )));
                }
                let Some(template) = self.sets[set].get(name) else {
                    let base = self.sets[set].name();
                    return Err(fault(format!(
                        "template: no template {} associated with template {base:?}",
                        String::from_utf8_lossy(&crate::strconv::quote(name))
                    )));
                };
                let template = template.clone();
                *self.nesting.entry(name.clone()).or_insert(0) += 1;
                (template, set)
            }
            Callee::Text { name, text } => {
                if self.texts >= limits.texts {
                    return Err(Limit::Texts(limits.texts).into());
                }
                // parsing costs about as much as executing: a step for each piece of some ten bytes
                self.meter.spend(text.len() as u64 / 10, self.host)?;
                let functions = self.sets[set].functions().clone();
                let unit = match self.cache.unit(name, text, &functions) {
                    Ok(unit) => unit,
                    Err(error) => {
                        let capture = Capture {
                            call,
                            function,
                            start: self.out.len(),
                            at,
                        };
                        let value = self.settle(capture, Err(error))?;
                        self.operands.push(value);
                        return Ok(());
                    }
                };
                let mut overlay = self.sets[set].overlay();
                overlay.add(&unit);
                let Some(template) = unit.own() else {
                    return Err(fault(format!(
                        "template: {}: nothing in it",
                        name.to_text()
                    )));
                };
                self.sets.push(overlay);
                self.texts += 1;
                (template, self.sets.len() - 1)
            }
        };
        let data = call.data.clone();
        let start = self.out.len();
        self.push(
            template,
            set,
            data,
            0,
            Some(Capture {
                call,
                function,
                start,
                at,
            }),
        );
        Ok(())
    }

    /// Undoes what `enter` counted.
    fn leave(&mut self, what: &Callee) {
        match what {
            Callee::Name(name) => {
                if let Some(deep) = self.nesting.get_mut(name) {
                    *deep = deep.saturating_sub(1);
                }
            }
            Callee::Text { .. } => {
                self.sets.pop();
                self.texts = self.texts.saturating_sub(1);
            }
        }
    }

    /// What went wrong, with its place and the templates on the way.
    fn error(&mut self, fault: Fault) -> Box<Error> {
        let (message, kind, inner) = match fault {
            Fault::Message(message) => (message, ErrorKind::Execute, None),
            Fault::Limit(limit) => (limit.to_string(), ErrorKind::Limit(limit), None),
            Fault::Function { name, error, at } => {
                self.node = at;
                use crate::call::Cause;
                let message = format!("error calling {name}: {}", error.message);
                match error.cause {
                    None => (message, ErrorKind::Execute, None),
                    Some(Cause::Policy) => (message, ErrorKind::Policy, None),
                    Some(Cause::Limit(limit)) => (limit.to_string(), ErrorKind::Limit(limit), None),
                    Some(Cause::Template(inner)) => (message, inner.kind, Some(inner)),
                }
            }
        };
        let Some(frame) = self.frames.last() else {
            return Box::new(Error {
                kind,
                go: message.clone(),
                message,
                place: None,
                stack: Vec::new(),
            });
        };
        let unit = &frame.template.unit;
        let place = unit.place(self.node);
        let context = String::from_utf8_lossy(&unit.ast.print(self.node)).into_owned();
        let go = format!(
            "template: {}:{}:{}: executing {} at <{context}>: {message}",
            unit.name,
            place.line,
            place.column - 1,
            String::from_utf8_lossy(&crate::strconv::quote(&frame.template.name)),
        );
        if let Some(mut inner) = inner {
            inner.go = go;
            if inner.stack.is_empty() {
                // a text that could not be parsed: nothing was executed yet
                inner.stack = self.stack();
            }
            return inner;
        }
        Box::new(Error {
            kind,
            go,
            message,
            place: Some(place),
            stack: self.stack(),
        })
    }

    fn stack(&self) -> Vec<Stop> {
        /// More than this helps nobody.
        const MAX_STOPS: usize = 64;
        let mut node = self.node;
        let mut stops = Vec::new();
        for frame in self.frames.iter().rev().take(MAX_STOPS) {
            let unit: &Arc<Unit> = &frame.template.unit;
            stops.push(Stop {
                template: frame.template.name.to_text().into(),
                place: unit.place(node),
                context: String::from_utf8_lossy(&unit.ast.print(node)).into(),
            });
            node = frame
                .capture
                .as_ref()
                .map_or(frame.node, |capture| capture.at);
        }
        stops
    }
}
