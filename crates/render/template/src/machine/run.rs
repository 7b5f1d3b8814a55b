//! The steps.

use std::sync::Arc;

use super::check::check;
use super::{Block, Fault, Machine, Seen, Turns, Variable};
use crate::builtin::{Builtin, Failure};
use crate::call::{Body, Call, FuncError, Method, Site};
use crate::code::{Code, Loop, SAME, Step};
use crate::compile::{constant_argument, parameter};
use crate::error::Limit;
use crate::fmt;
use crate::parse::{Node, NodeId};
use crate::text::Str;
use crate::types::Type;
use crate::value::{Underlying, Value};

impl Machine<'_> {
    /// Runs until the last frame has ended.
    pub(super) fn run(&mut self) -> Result<(), Fault> {
        while let Some(frame) = self.frames.last() {
            let unit = Arc::clone(&frame.template.unit);
            let pc = frame.pc;
            self.run_frame(&unit.code, pc)?;
        }
        Ok(())
    }

    /// Runs the innermost frame until it ends or another one begins.
    fn run_frame(&mut self, code: &Code, mut pc: usize) -> Result<(), Fault> {
        loop {
            self.meter.step(self.host)?;
            let op = code.ops[pc];
            pc += 1;
            // calls name their node only if they fail
            let is_call = matches!(
                op.step,
                Step::Call { .. } | Step::CallBuiltin { .. } | Step::CallMethod { .. }
            );
            if op.node != SAME && !is_call {
                self.node = op.node;
            }
            match op.step {
                Step::Nothing => {}
                Step::Text(text) => {
                    let text = &code.texts[text as usize];
                    self.room(text.len())?;
                    self.out.extend_from_slice(text);
                }
                Step::Print => {
                    let value = self.pop();
                    self.print(&value)?;
                }
                Step::Pop => {
                    self.pop();
                }
                Step::PushDot => {
                    if let Some(frame) = self.frames.last() {
                        self.wrapped = frame.dot.wrapped;
                        self.operands.push(frame.dot.value.clone());
                    }
                }
                Step::PushVariable(name) => {
                    let seen = self.variable(name)?.clone();
                    self.wrapped = seen.wrapped;
                    self.operands.push(seen.value);
                }
                Step::PushConstant(constant) => self
                    .operands
                    .push(code.constants[constant as usize].value()),
                Step::Fields(chain) => {
                    let value = self.chain(&code.chains[chain as usize])?;
                    self.operands.push(value);
                }
                Step::Method(chain) => {
                    let chain = &code.chains[chain as usize];
                    match self.method(chain)? {
                        Some(found) => self.methods.push(found),
                        None => {
                            if chain.last {
                                self.pop();
                            }
                            self.operands.push(Value::Invalid);
                            pc = chain.skip as usize;
                        }
                    }
                }
                Step::MethodConstant { arg, node } => {
                    let ty = self.method_parameter(arg);
                    let unit = self.frames.last().map(|frame| &frame.template.unit);
                    if let Some(unit) = unit {
                        let constant = constant_argument(&unit.ast, node, &ty)?;
                        self.operands.push(constant.value());
                    }
                }
                Step::MethodCheck(arg) => {
                    let ty = self.method_parameter(arg);
                    let value = self.pop();
                    self.operands.push(check(value, &ty)?);
                }
                Step::CallMethod { args, last } => {
                    if last {
                        self.raise(args - 1);
                        let ty = self.method_parameter(args - 1);
                        let value = self.pop();
                        self.operands.push(check(value, &ty)?);
                    }
                    if let Some((method, receiver)) = self.methods.pop() {
                        let value =
                            self.call_method(method, &receiver, usize::from(args), op.node)?;
                        self.operands.push(value);
                    }
                }
                Step::Call { function, args } => {
                    if self.call(function, usize::from(args), op.node, pc)? {
                        return Ok(());
                    }
                }
                Step::CallBuiltin { builtin, args } => {
                    let value = self.call_builtin(builtin, usize::from(args), op.node)?;
                    self.operands.push(value);
                }
                Step::Check(ty) => {
                    let value = self.pop();
                    self.operands.push(check(value, &code.types[ty as usize])?);
                }
                Step::KeepWrapped => {
                    if self.wrapped
                        && let Some(top) = self.operands.last_mut()
                    {
                        *top = Value::Nil;
                    }
                }
                Step::Raise(below) => self.raise(below),
                Step::Decide { or, to } => {
                    if self.top().truth() == or {
                        pc = to as usize;
                    } else {
                        self.pop();
                    }
                }
                Step::DecideOver { or, to } => {
                    let value = self.pop();
                    if value.truth() == or {
                        self.pop();
                        self.operands.push(value);
                        pc = to as usize;
                    }
                }
                Step::Unwrap => {
                    if let Some(top @ Value::Nil) = self.operands.last_mut() {
                        *top = Value::Invalid;
                    }
                }
                Step::Declare(name) => {
                    let seen = Seen {
                        value: self.top().clone(),
                        wrapped: false,
                    };
                    self.variables.push(Variable { name, seen });
                }
                Step::Assign(name) => {
                    let seen = Seen {
                        value: self.top().clone(),
                        wrapped: false,
                    };
                    self.assign(name, seen)?;
                }
                Step::Jump(to) => pc = to as usize,
                Step::JumpUnless(to) => {
                    if !self.pop().truth() {
                        pc = to as usize;
                    }
                }
                Step::Scope => self.blocks.push(Block::Scope(self.variables.len())),
                Step::EndScope => {
                    if let Some(Block::Scope(variables)) = self.blocks.pop() {
                        self.variables.truncate(variables);
                    }
                }
                Step::With(to) => {
                    let value = self.pop();
                    if value.truth() {
                        let outer = self.set_dot(Seen {
                            value,
                            wrapped: false,
                        });
                        self.blocks.push(Block::With(outer));
                    } else {
                        pc = to as usize;
                    }
                }
                Step::EndWith => {
                    if let Some(Block::With(outer)) = self.blocks.pop() {
                        self.set_dot(outer);
                    }
                }
                Step::Range(index) => {
                    let looped = &code.loops[index as usize];
                    match self.turns(looped)? {
                        Some(turns) => {
                            let outer = match self.frames.last() {
                                Some(frame) => frame.dot.clone(),
                                None => Seen {
                                    value: Value::Invalid,
                                    wrapped: false,
                                },
                            };
                            let variables = self.variables.len();
                            self.blocks.push(Block::Loop {
                                turns,
                                looped: *looped,
                                variables,
                                outer,
                            });
                        }
                        None => pc = looped.otherwise as usize,
                    }
                }
                Step::Next(to) => {
                    if !self.next_turn()? {
                        self.end_loop();
                        pc = to as usize;
                    }
                }
                Step::Break(to) => {
                    self.end_loop();
                    pc = to as usize;
                }
                Step::Continue(to) => {
                    self.unwind_to_loop();
                    pc = to as usize;
                }
                Step::Find(name) => {
                    let name = &code.names[name as usize];
                    let set = self.frames.last().map_or(0, |frame| frame.set);
                    if self.sets[set].get(name).is_none() {
                        let name =
                            String::from_utf8_lossy(&crate::strconv::quote(name)).into_owned();
                        return Err(format!("template {name} not defined").into());
                    }
                    let limits = *self.meter.limits();
                    if self
                        .frames
                        .last()
                        .is_some_and(|frame| frame.depth >= limits.depth)
                    {
                        return Err(
                            format!("exceeded maximum template depth ({})", limits.depth).into(),
                        );
                    }
                    if self.frames.len() > limits.frames {
                        return Err(Limit::Frames(limits.frames).into());
                    }
                }
                Step::Template(name) => {
                    let data = self.pop();
                    let (set, depth) = match self.frames.last_mut() {
                        Some(frame) => {
                            frame.pc = pc;
                            (frame.set, frame.depth + 1)
                        }
                        None => (0, 0),
                    };
                    if let Some(template) = self.sets[set].get(&code.names[name as usize]) {
                        let template = template.clone();
                        self.push(template, set, data, depth, None);
                    }
                    return Ok(());
                }
                Step::Fail(message) => return Err(code.messages[message as usize].clone().into()),
                Step::End => {
                    self.end_frame()?;
                    return Ok(());
                }
            }
        }
    }

    fn pop(&mut self) -> Value {
        self.operands.pop().unwrap_or(Value::Invalid)
    }

    fn top(&self) -> &Value {
        self.operands.last().unwrap_or(&Value::Invalid)
    }

    /// Brings the operand below so many others to the top.
    fn raise(&mut self, below: u16) {
        let from = self.operands.len().saturating_sub(usize::from(below) + 1);
        self.operands[from..].rotate_left(1);
    }

    fn room(&self, bytes: usize) -> Result<(), Limit> {
        let limit = self.meter.limits().output;
        if self.out.len() + bytes > limit {
            Err(Limit::Output(limit))
        } else {
            Ok(())
        }
    }

    fn print(&mut self, value: &Value) -> Result<(), Fault> {
        if let Value::Object(object) = value
            && let Underlying::Func = object.underlying()
            && object.string().is_none()
        {
            let unit = self.frames.last().map(|frame| &frame.template.unit);
            let printed = unit
                .map(|unit| unit.ast.print(self.node))
                .unwrap_or_default();
            let printed = String::from_utf8_lossy(&printed);
            return Err(format!("can't print {printed} of type {}", object.type_name()).into());
        }
        let max = self.meter.limits().output;
        let before = self.out.len();
        fmt::append_printable(&mut self.out, value, max).map_err(|limit| match limit {
            Limit::String(_) => Limit::Output(max),
            other => other,
        })?;
        // what takes long to print is charged like what takes long to compute
        let printed = self.out.len().saturating_sub(before);
        if printed > 256 {
            self.meter.spend(printed as u64 / 64, self.host)?;
        }
        self.room(0)?;
        Ok(())
    }

    fn set_dot(&mut self, dot: Seen) -> Seen {
        match self.frames.last_mut() {
            Some(frame) => std::mem::replace(&mut frame.dot, dot),
            None => dot,
        }
    }

    fn assign(&mut self, name: u32, seen: Seen) -> Result<(), Fault> {
        *self.variable(name)? = seen;
        Ok(())
    }

    fn method_parameter(&self, arg: u16) -> Type {
        let signature = self.methods.last().map(|(method, _)| &method.signature);
        signature.map_or(Type::Any, |signature| {
            parameter(signature, usize::from(arg))
        })
    }

    /// What a loop goes over; none if that is empty.
    fn turns(&mut self, looped: &Loop) -> Result<Option<Turns>, Fault> {
        let value = self.pop();
        let value = match &value {
            Value::Object(object) => match object.underlying() {
                _ if object.is_nil() && object.kind() == crate::Kind::Pointer => value,
                Underlying::List(list) => Value::List(list),
                Underlying::Map(map) => Value::Map(map),
                Underlying::Int(int) => Value::Int(int),
                _ => value,
            },
            _ => value,
        };
        match value {
            Value::Invalid | Value::Nil => Ok(None),
            Value::List(list) => Ok((!list.is_empty()).then_some(Turns::List(list, 0))),
            Value::Map(map) => {
                let entries = map.entries();
                let wrapped = matches!(map.elem(), Type::Any);
                self.meter.spend(entries.len() as u64 / 4, self.host)?;
                Ok((!entries.is_empty()).then(|| Turns::Map(entries.into_iter(), wrapped)))
            }
            Value::Int(int) => {
                if looped.declared > 1 {
                    let number = int.as_i128();
                    return Err(format!(
                        "can't use {number} to iterate over more than one variable"
                    )
                    .into());
                }
                Ok((int.as_i128() > 0).then_some(Turns::Count(int, 0, int.as_i128())))
            }
            other => {
                let mut text = b"range can't iterate over ".to_vec();
                fmt::append_printable(&mut text, &other, self.meter.limits().string)?;
                Err(String::from_utf8_lossy(&text).into_owned().into())
            }
        }
    }

    /// Ends what is open within the innermost loop's body.
    fn unwind_to_loop(&mut self) {
        while let Some(block) = self.blocks.last() {
            if matches!(block, Block::Loop { .. }) {
                return;
            }
            self.blocks.pop();
        }
    }

    fn end_loop(&mut self) {
        self.unwind_to_loop();
        if let Some(Block::Loop {
            variables, outer, ..
        }) = self.blocks.pop()
        {
            self.variables.truncate(variables);
            self.set_dot(outer);
        }
    }

    /// Begins the next turn of the innermost loop; false if there is none.
    fn next_turn(&mut self) -> Result<bool, Fault> {
        let Some(Block::Loop {
            turns,
            looped,
            variables,
            ..
        }) = self.blocks.last_mut()
        else {
            return Ok(false);
        };
        let (looped, variables) = (*looped, *variables);
        let (index, elem) = match turns {
            Turns::List(list, at) => {
                let Some(value) = list.get(*at) else {
                    return Ok(false);
                };
                let index = Value::int(*at as i64);
                *at += 1;
                (
                    index,
                    Seen {
                        value,
                        wrapped: matches!(list.elem(), Type::Any),
                    },
                )
            }
            Turns::Map(entries, wrapped) => {
                let Some((key, value)) = entries.next() else {
                    return Ok(false);
                };
                (
                    Value::Str(key),
                    Seen {
                        value,
                        wrapped: *wrapped,
                    },
                )
            }
            Turns::Count(int, at, end) => {
                if at >= end {
                    return Ok(false);
                }
                let value = Value::Int(crate::Int::new(int.kind(), *at as i64));
                *at += 1;
                (
                    Value::Invalid,
                    Seen {
                        value,
                        wrapped: false,
                    },
                )
            }
        };
        self.variables.truncate(variables);
        let index = Seen {
            value: index,
            wrapped: false,
        };
        match (looped.declared, looped.assign) {
            (0, _) => {}
            (1, true) => self.assign(looped.variables[0], elem.clone())?,
            (_, true) => {
                self.assign(looped.variables[0], index)?;
                self.assign(looped.variables[1], elem.clone())?;
            }
            (declared, false) => {
                if let Some(variable) = self.variables.last_mut() {
                    variable.seen = elem.clone();
                }
                if declared > 1 && variables >= 2 {
                    self.variables[variables - 2].seen = index;
                }
            }
        }
        self.set_dot(elem);
        Ok(true)
    }

    fn end_frame(&mut self) -> Result<(), Fault> {
        let Some(mut frame) = self.frames.pop() else {
            return Ok(());
        };
        let capture = frame.capture.take();
        self.unwind(&frame);
        self.node = frame.node;
        if let Some(capture) = capture {
            let text = Str::from(&self.out[capture.start..]);
            self.out.truncate(capture.start);
            self.leave(&capture.call.what);
            let value = self.settle(capture, Ok(text))?;
            self.operands.push(value);
        }
        Ok(())
    }

    /// Takes the arguments of a call off the stack's end, with nothing that functions should not see.
    fn arguments(&mut self, count: usize) -> usize {
        let from = self.operands.len().saturating_sub(count);
        for value in &mut self.operands[from..] {
            if matches!(value, Value::Invalid) {
                *value = Value::Nil;
            }
        }
        from
    }

    fn site(&mut self) -> u64 {
        self.calls += 1;
        self.calls
    }

    /// Calls a function of the table; true if that begins another frame.
    fn call(&mut self, function: u32, args: usize, at: NodeId, pc: usize) -> Result<bool, Fault> {
        let ordinal = self.site();
        let from = self.arguments(args);
        let Some(frame) = self.frames.last_mut() else {
            return Ok(false);
        };
        frame.pc = pc;
        let set = frame.set;
        let row = self.sets[set].functions().rows()[function as usize];
        let unit = &frame.template.unit;
        let site = Site {
            file: &unit.name,
            offset: unit.ast.position(at),
            ordinal,
        };
        let mut call = Call {
            host: &mut *self.host,
            meter: &mut self.meter,
            function: row.name,
            site,
        };
        let fault = |error: FuncError| Fault::Function {
            name: row.name.to_owned(),
            error,
            at,
        };
        match row.body {
            Body::Native(native) => {
                let result = native(&mut call, &self.operands[from..]);
                let value = result.map_err(fault)?;
                self.operands.truncate(from);
                self.keep(&value)?;
                self.operands.push(value);
                Ok(false)
            }
            Body::Template(calling) => {
                let result = calling(&mut call, &self.operands[from..]);
                let wanted = result.map_err(fault)?;
                self.operands.truncate(from);
                let frames = self.frames.len();
                self.enter(wanted, row.name, at)?;
                Ok(self.frames.len() > frames)
            }
        }
    }

    pub(super) fn call_method(
        &mut self,
        method: Method,
        receiver: &Value,
        args: usize,
        at: NodeId,
    ) -> Result<Value, Fault> {
        let ordinal = self.site();
        let from = self.arguments(args);
        let Some(frame) = self.frames.last() else {
            return Ok(Value::Invalid);
        };
        let unit = &frame.template.unit;
        let site = Site {
            file: &unit.name,
            offset: unit.ast.position(at),
            ordinal,
        };
        let mut call = Call {
            host: &mut *self.host,
            meter: &mut self.meter,
            function: method.name,
            site,
        };
        let result = (method.call)(receiver, &mut call, &self.operands[from..]);
        let value = result.map_err(|error| Fault::Function {
            name: method.name.to_owned(),
            error,
            at,
        })?;
        self.operands.truncate(from);
        self.keep(&value)?;
        Ok(value)
    }

    /// Charges for a value that a function made.
    fn keep(&mut self, value: &Value) -> Result<(), Limit> {
        match value {
            Value::Str(text) => {
                if text.len() > 256 {
                    self.meter.spend(text.len() as u64 / 128, self.host)?;
                }
                self.meter.allocate(text.len())
            }
            Value::List(list) => self
                .meter
                .allocate(list.len().saturating_mul(size_of::<Value>())),
            Value::Map(_) => self.meter.allocate(size_of::<Value>()),
            _ => Ok(()),
        }
    }

    fn call_builtin(&mut self, builtin: Builtin, args: usize, at: NodeId) -> Result<Value, Fault> {
        let from = self.operands.len().saturating_sub(args);
        // what is long takes long to compare, escape and print
        let long = self.operands[from..].iter().map(|value| match value {
            Value::Str(text) => text.len() / 1024,
            Value::List(list) => list.len() / 16,
            _ => 0,
        });
        let long: usize = long.sum();
        if long > 0 {
            self.meter.spend(long as u64, self.host)?;
        }
        let result = match builtin {
            Builtin::Call => self.call_value(from, at),
            _ => builtin.call(&self.operands[from..]),
        };
        let value = match result {
            Ok(value) => value,
            Err(Failure::Limit(limit)) => return Err(limit.into()),
            Err(Failure::Message(message)) => {
                let error = FuncError::new(message);
                return Err(Fault::Function {
                    name: builtin.name().to_owned(),
                    error,
                    at,
                });
            }
        };
        self.operands.truncate(from);
        self.keep(&value)?;
        Ok(value)
    }

    /// The `call` function: the first argument is a function.
    fn call_value(&mut self, from: usize, at: NodeId) -> Result<Value, Failure> {
        let callee = self.operands[from].clone();
        if callee.is_untyped_nil() {
            return Err("call of nil".into());
        }
        let function = match &callee {
            Value::Object(object) => object.function(),
            _ => None,
        };
        let name = self.callee_name(&callee, at);
        let Some(function) = function else {
            return Err(format!("non-function {name} of type {}", callee.type_name()).into());
        };
        let args = self.operands.len() - from - 1;
        let signature = &function.signature;
        let params = signature.params.len();
        if signature.variadic && args < params - 1 {
            let least = params - 1;
            return Err(format!(
                "wrong number of args for {name}: got {args} want at least {least}"
            )
            .into());
        }
        if !signature.variadic && args != params {
            return Err(
                format!("wrong number of args for {name}: got {args} want {params}").into(),
            );
        }
        for index in 0..args {
            let ty = parameter(signature, index);
            let value = &mut self.operands[from + 1 + index];
            if value.is_untyped_nil() {
                *value = match crate::code::Constant::nil_of(&ty) {
                    Some(nil) => nil.value(),
                    None => {
                        return Err(
                            format!("arg {index}: value is nil; should be of type {ty}").into()
                        );
                    }
                };
                continue;
            }
            if let (Value::Int(int), Type::Int(kind)) = (&*value, &ty) {
                *value = Value::Int(crate::Int::new(*kind, int.as_i64()));
            }
            let type_name = value.type_name();
            *value = check(value.clone(), &ty)
                .map_err(|_| format!("arg {index}: value has type {type_name}; should be {ty}"))?;
        }
        match self.call_method(function, &callee, args, at) {
            Ok(value) => Ok(value),
            Err(Fault::Function { error, .. }) => Err(Failure::Message(error.message)),
            Err(Fault::Limit(limit)) => Err(Failure::Limit(limit)),
            Err(Fault::Message(message)) => Err(Failure::Message(message)),
        }
    }

    /// What `call` calls its first argument: the piece of the template, or what came through the pipeline.
    fn callee_name(&self, callee: &Value, at: NodeId) -> String {
        let unit = self.frames.last().map(|frame| &frame.template.unit);
        if let Some(unit) = unit
            && let Node::Command(args) = unit.ast.node(at)
            && let Some(first) = args.get(1)
        {
            return String::from_utf8_lossy(&unit.ast.print(*first)).into_owned();
        }
        match callee {
            Value::Str(text) => text.to_text().into_owned(),
            other => format!("<{} Value>", other.type_name()),
        }
    }
}
