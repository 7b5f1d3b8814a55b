//! Runs programs and counts what they cost, step by step as cel-go does.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::ast::ACCU;
use crate::cost_actual::{self, Stack};
use crate::functions;
use crate::libraries;
use crate::plan::{Attr, AttrNode, Call, Fold, Node, Step};
use crate::value::{Cancelled, Key, List, Map, Value, error, no_overload, plain};
use crate::views;

type Run<T> = Result<T, Cancelled>;

/// The variables of a program.
#[derive(Clone, Debug, Default)]
pub(crate) struct Variables<'a> {
    pub(crate) this: Option<Value<'a>>,
    pub(crate) old: Option<Value<'a>>,
}

/// One run.
pub(crate) struct Context<'a> {
    variables: Variables<'a>,
    pub(crate) cost: Cell<u64>,
    limit: u64,
    stack: RefCell<Stack<'a>>,
}

/// A loop around what runs, with its variables.
struct Frame<'f, 'a> {
    parent: Option<&'f Frame<'f, 'a>>,
    fold: &'f Fold,
    state: RefCell<State<'a>>,
}

struct State<'a> {
    accu: Option<Value<'a>>,
    var: Value<'a>,
    var2: Value<'a>,
    /// Is the result computed, which sees no variables of the loop?
    done: bool,
}

impl<'a> Context<'a> {
    pub(crate) fn new(variables: Variables<'a>, limit: u64) -> Context<'a> {
        Context {
            variables,
            cost: Cell::new(0),
            limit,
            stack: RefCell::new(Stack::default()),
        }
    }

    pub(crate) fn run(&self, node: &Node) -> Run<Value<'a>> {
        self.eval(node, None)
    }

    fn charge(&self, cost: u64) {
        self.cost.set(self.cost.get().saturating_add(cost));
    }

    /// Ends the observation of a step.
    fn observed(&self, id: u32, value: &Value<'a>) -> Run<()> {
        // a list that still grows is nobody's argument but its own
        let kept = match value {
            Value::List(List::Growing(_)) | Value::Map(Map::Growing(_)) => Value::Null,
            other => other.clone(),
        };
        self.stack.borrow_mut().push(id, kept);
        if self.cost.get() > self.limit {
            return Err(Cancelled::Cost);
        }
        Ok(())
    }

    fn eval(&self, node: &Node, frame: Option<&Frame<'_, 'a>>) -> Run<Value<'a>> {
        let value = match node {
            Node::Const(_, value) => value.clone(),
            Node::Attr(node) => return self.attr_node(node, frame),
            Node::Or(_, terms) => {
                let value = self.logic(terms, true, frame)?;
                self.drop_terms(terms);
                value
            }
            Node::And(_, terms) => {
                let value = self.logic(terms, false, frame)?;
                self.drop_terms(terms);
                value
            }
            Node::Equal(_, sides, wanted) => {
                let left = self.eval(&sides[0], frame)?;
                let right = self.eval(&sides[1], frame)?;
                let value = if left.is_error() {
                    left
                } else if right.is_error() {
                    right
                } else {
                    match left.equals(&right) {
                        Value::Bool(equal) => Value::Bool(equal == *wanted),
                        other if *wanted => other,
                        _ => Value::Bool(true),
                    }
                };
                let found = self.stack.borrow_mut().drop_args(&sides[..]);
                if let Some(args) = found {
                    let name = if *wanted { "_==_" } else { "_!=_" };
                    self.charge(cost_actual::call(
                        name,
                        if *wanted { "equals" } else { "not_equals" },
                        &args,
                        &value,
                    )?);
                }
                value
            }
            Node::Call(call) => self.call(call, frame)?,
            Node::Member { arg, set, .. } => {
                let value = self.eval(arg, frame)?;
                if value.is_error() {
                    value
                } else {
                    let nan = matches!(&value, Value::Double(v) if v.is_nan());
                    Value::Bool(!nan && set.contains(&Key::of(&value)?))
                }
            }
            Node::List {
                elements,
                optionals,
                ..
            } => {
                let mut values = Vec::with_capacity(elements.len());
                let mut fault = None;
                for element in elements {
                    let value = self.eval(element, frame)?;
                    if value.is_error() {
                        fault = Some(value);
                        break;
                    }
                    values.push(value);
                }
                let value = fault.unwrap_or_else(|| make_list(values, optionals));
                self.stack.borrow_mut().drop_args(elements);
                self.charge(10);
                value
            }
            Node::Map { entries, .. } => {
                let mut values = Vec::with_capacity(entries.len());
                let mut fault = None;
                for (key, value, optional) in entries {
                    let key = self.eval(key, frame)?;
                    if key.is_error() {
                        fault = Some(key);
                        break;
                    }
                    let value = self.eval(value, frame)?;
                    if value.is_error() {
                        fault = Some(value);
                        break;
                    }
                    values.push((key, value, *optional));
                }
                let value = match fault {
                    Some(fault) => fault,
                    None => make_map(values)?,
                };
                let parts = entries.iter().flat_map(|(k, v, _)| [k, v]);
                self.stack.borrow_mut().drop_all(parts);
                self.charge(30);
                value
            }
            Node::Fold(fold) => {
                let value = self.fold(fold, frame)?;
                self.stack.borrow_mut().drop(fold.range.id());
                value
            }
            Node::Otherwise(_, sides, unwrap) => {
                let left = self.eval(&sides[0], frame)?;
                match left {
                    Value::Optional(Some(value)) if *unwrap => (*value).clone(),
                    Value::Optional(None) => self.eval(&sides[1], frame)?,
                    other => other,
                }
            }
        };
        self.observed(node.id(), &value)?;
        Ok(value)
    }

    fn drop_terms(&self, terms: &[Node; 2]) {
        let mut stack = self.stack.borrow_mut();
        for term in terms {
            stack.drop(term.id());
        }
    }

    /// `&&` and `||`: what decides ends it, and a mistake counts only where nothing decides.
    fn logic(
        &self,
        terms: &[Node; 2],
        decides: bool,
        frame: Option<&Frame<'_, 'a>>,
    ) -> Run<Value<'a>> {
        let mut fault = None;
        for term in terms {
            match self.eval(term, frame)? {
                Value::Bool(value) if value == decides => return Ok(Value::Bool(decides)),
                Value::Bool(_) => {}
                value @ Value::Error(_) => {
                    fault.get_or_insert(value);
                }
                _ => {
                    fault.get_or_insert_with(no_overload);
                }
            }
        }
        Ok(fault.unwrap_or(Value::Bool(!decides)))
    }

    fn call(&self, call: &Call, frame: Option<&Frame<'_, 'a>>) -> Run<Value<'a>> {
        let strict = &*call.function != "@not_strictly_false";
        let mut args = Vec::with_capacity(call.args.len());
        let mut fault = None;
        // one and two arguments are all evaluated before a mistake counts
        let eager = call.args.len() <= 2
            && call.regex.is_none()
            && !functions::dispatched(call.args.len(), &call.function, call.overload);
        for arg in &call.args {
            let value = self.eval(arg, frame)?;
            if strict && value.is_error() {
                fault.get_or_insert(value);
                if eager {
                    continue;
                }
                break;
            }
            args.push(value);
        }
        let remaining = self.limit.saturating_sub(self.cost.get());
        let grows = matches!(
            args.first(),
            Some(Value::List(List::Growing(_)) | Value::Map(Map::Growing(_)))
        );
        let value = match (fault, &call.regex) {
            (Some(fault), _) => fault,
            (None, _) if grows => {
                if let Some(frame) = frame {
                    frame.state.borrow_mut().accu = None;
                }
                grow(args)?
            }
            (None, Some(regex)) => functions::with_regex(&call.function, regex, &args)?,
            (None, None) => {
                let made = match (call.overload, args.first()) {
                    ("lists_range", Some(Value::Int(count))) => u64::try_from(*count).ok(),
                    _ => None,
                };
                let value = functions::invoke(&call.function, call.overload, args, remaining);
                if let (Err(Cancelled::Cost), Some(made)) = (&value, made) {
                    self.charge(made.saturating_add(11));
                }
                value?
            }
        };
        let found = self.stack.borrow_mut().drop_args(&call.args);
        if let Some(args) = found {
            self.charge(cost_actual::call(
                &call.function,
                call.overload,
                &args,
                &value,
            )?);
        }
        Ok(value)
    }

    // variables, fields and indexes

    fn attr_node(&self, node: &AttrNode, frame: Option<&Frame<'_, 'a>>) -> Run<Value<'a>> {
        let mut value = self.resolve(&node.attr, frame)?;
        if node.test.is_some()
            && let Value::Optional(inner) = &value
        {
            value = Value::Bool(inner.is_some());
        }
        {
            let mut stack = self.stack.borrow_mut();
            match &node.attr {
                Attr::Choice {
                    condition, yes, no, ..
                } => {
                    stack.drop(no.id());
                    stack.drop(yes.id());
                    stack.drop(condition.id());
                }
                attr => {
                    stack.drop(attr.id());
                    self.charge(1);
                }
            }
        }
        if node.test.is_some() {
            self.cost.set(self.cost.get().saturating_sub(1));
        }
        self.observed(node.test.unwrap_or_else(|| node.attr.id()), &value)?;
        Ok(value)
    }

    fn resolve(&self, attr: &Attr, frame: Option<&Frame<'_, 'a>>) -> Run<Value<'a>> {
        match attr {
            Attr::Variable { name, steps, .. } => {
                let Some(value) = self.lookup(name, frame)? else {
                    return Ok(error(format!("no such attribute(s): {name}")));
                };
                if value.is_error() {
                    return Ok(value);
                }
                self.qualify(value, steps, frame)
            }
            Attr::Computed { node, steps, .. } => {
                let value = self.eval(node, frame)?;
                if value.is_error() {
                    return Ok(value);
                }
                self.qualify(value, steps, frame)
            }
            Attr::Choice {
                condition, yes, no, ..
            } => match self.eval(condition, frame)? {
                Value::Bool(true) => self.resolve(yes, frame),
                Value::Bool(false) => self.resolve(no, frame),
                value @ Value::Error(_) => Ok(value),
                _ => Ok(no_overload()),
            },
        }
    }

    fn lookup(&self, name: &str, frame: Option<&Frame<'_, 'a>>) -> Run<Option<Value<'a>>> {
        let mut at = frame;
        while let Some(frame) = at {
            if name == &*frame.fold.accu {
                if let Some(value) = &frame.state.borrow().accu {
                    return Ok(Some(value.clone()));
                }
                let init = self.eval(&frame.fold.init, frame.parent)?;
                // what a macro begins empty grows in place
                let macros = name == ACCU;
                let init = match init {
                    Value::List(list) if macros && list.is_empty() => {
                        Value::List(List::Growing(Arc::new(Vec::new())))
                    }
                    Value::Map(map) if macros && map.is_empty() => {
                        Value::Map(Map::Growing(Arc::new(BTreeMap::new())))
                    }
                    other => other,
                };
                frame.state.borrow_mut().accu = Some(init.clone());
                return Ok(Some(init));
            }
            let state = frame.state.borrow();
            if !state.done {
                if name == &*frame.fold.var {
                    return Ok(Some(state.var.clone()));
                }
                if frame.fold.var2.as_deref() == Some(name) {
                    return Ok(Some(state.var2.clone()));
                }
            }
            at = frame.parent;
        }
        Ok(match name {
            "self" => self.variables.this.clone(),
            "oldSelf" => self.variables.old.clone(),
            _ => None,
        })
    }

    fn qualify(
        &self,
        value: Value<'a>,
        steps: &[Arc<Step>],
        frame: Option<&Frame<'_, 'a>>,
    ) -> Run<Value<'a>> {
        let (mut value, mut optional) = match value {
            Value::Optional(None) => return Ok(Value::Optional(None)),
            Value::Optional(Some(inner)) => (inner.native(), true),
            other => (other, false),
        };
        for step in steps {
            optional = optional || step.optional();
            if optional {
                match self.step_if_present(step, &value, frame)? {
                    Ok(Some(next)) => value = next,
                    Ok(None) => return Ok(Value::Optional(None)),
                    Err(fault) => return Ok(fault),
                }
            } else {
                match self.step(step, &value, frame)? {
                    Ok(next) => value = next,
                    Err(fault) => return Ok(fault),
                }
            }
        }
        if optional {
            return Ok(Value::Optional(Some(Arc::new(value))));
        }
        Ok(value)
    }

    fn step(
        &self,
        step: &Step,
        value: &Value<'a>,
        frame: Option<&Frame<'_, 'a>>,
    ) -> Run<Result<Value<'a>, Value<'a>>> {
        let out = match step {
            Step::Const {
                value: key, test, ..
            } => {
                if *test {
                    get(value, key, true)?.map(|found| Value::Bool(found.is_some()))
                } else {
                    get(value, key, false)?.map(|found| found.unwrap_or(Value::Null))
                }
            }
            Step::Attr { attr, .. } => match self.resolve(attr, frame)? {
                fault @ Value::Error(_) => Err(fault),
                key => match bad_key(&key) {
                    Some(fault) => Err(fault),
                    None => get(value, &key, false)?.map(|found| found.unwrap_or(Value::Null)),
                },
            },
        };
        let seen = match &out {
            Ok(value) | Err(value) => value.clone(),
        };
        self.observe_step(step, &seen)?;
        Ok(out)
    }

    fn step_if_present(
        &self,
        step: &Step,
        value: &Value<'a>,
        frame: Option<&Frame<'_, 'a>>,
    ) -> Run<Result<Option<Value<'a>>, Value<'a>>> {
        let out = match step {
            Step::Const {
                value: key, test, ..
            } => {
                let found = get(value, key, true)?;
                // a test says whether, not what
                found.map(|found| found.map(|v| if *test { Value::Null } else { v }))
            }
            Step::Attr { attr, .. } => match self.resolve(attr, frame)? {
                fault @ Value::Error(_) => Err(fault),
                key => match bad_key(&key) {
                    Some(fault) => Err(fault),
                    None => get(value, &key, true)?,
                },
            },
        };
        if let Ok(Some(seen)) = &out {
            let seen = seen.clone();
            self.observe_step(step, &seen)?;
        }
        Ok(out)
    }

    fn observe_step(&self, step: &Step, value: &Value<'a>) -> Run<()> {
        if let Step::Attr {
            attr, own: true, ..
        } = step
        {
            self.stack.borrow_mut().drop(attr.id());
        }
        self.charge(1);
        self.observed(step.id(), value)
    }

    // loops

    fn fold(&self, fold: &Fold, parent: Option<&Frame<'_, 'a>>) -> Run<Value<'a>> {
        let range = self.eval(&fold.range, parent)?;
        if range.is_error() {
            return Ok(range);
        }
        let frame = Frame {
            parent,
            fold,
            state: RefCell::new(State {
                accu: None,
                var: Value::Null,
                var2: Value::Null,
                done: false,
            }),
        };
        match &range {
            Value::List(list) => {
                for (i, element) in (0..list.len()).map_while(|i| Some((i, list.get(i)?))) {
                    let (var, var2) = if fold.var2.is_some() {
                        (Value::Int(i64::try_from(i).unwrap_or(i64::MAX)), element)
                    } else {
                        (element, Value::Null)
                    };
                    if !self.turn(&frame, var, var2)? {
                        break;
                    }
                }
            }
            Value::Map(map) => {
                for key in map.keys() {
                    let value = if fold.var2.is_some() {
                        map.find(&key)?.unwrap_or(Value::Null)
                    } else {
                        Value::Null
                    };
                    if !self.turn(&frame, key, value)? {
                        break;
                    }
                }
            }
            other => {
                let name = crate::plan::go_name(other);
                return Ok(if fold.var2.is_some() {
                    error(format!("unsupported comprehension range type: {name}"))
                } else {
                    error(format!("got '{name}', expected iterable type"))
                });
            }
        }
        frame.state.borrow_mut().done = true;
        let result = self.eval(&fold.result, Some(&frame))?;
        Ok(match result {
            Value::List(List::Growing(list)) => Value::List(List::Values(list, false)),
            Value::Map(Map::Growing(map)) => Value::Map(Map::Entries(map)),
            other => other,
        })
    }

    /// One turn of a loop; false ends it.
    fn turn(&self, frame: &Frame<'_, 'a>, var: Value<'a>, var2: Value<'a>) -> Run<bool> {
        {
            let mut state = frame.state.borrow_mut();
            state.var = var;
            state.var2 = var2;
        }
        let condition = self.eval(&frame.fold.condition, Some(frame))?;
        if matches!(condition, Value::Bool(false)) {
            return Ok(false);
        }
        let step = self.eval(&frame.fold.step, Some(frame))?;
        frame.state.borrow_mut().accu = Some(step);
        Ok(true)
    }
}

/// Adds to the list or map that a macro makes, in place.
fn grow<'a>(args: Vec<Value<'a>>) -> Run<Value<'a>> {
    let mut args = args.into_iter();
    let (first, second, third) = (args.next(), args.next(), args.next());
    Ok(match (first, second, third) {
        (Some(Value::List(List::Growing(mut list))), Some(Value::List(more)), None) => {
            Arc::make_mut(&mut list).extend(more.iter());
            Value::List(List::Growing(list))
        }
        (Some(Value::Map(Map::Growing(mut map))), Some(key), Some(value)) => {
            match libraries::insert(Arc::make_mut(&mut map), key, value)? {
                Some(fault) => fault,
                None => Value::Map(Map::Growing(map)),
            }
        }
        (Some(Value::Map(Map::Growing(mut map))), Some(Value::Map(more)), None) => {
            for key in more.keys() {
                let value = more.find(&key)?.unwrap_or(Value::Null);
                if let Some(fault) = libraries::insert(Arc::make_mut(&mut map), key, value)? {
                    return Ok(fault);
                }
            }
            Value::Map(Map::Growing(map))
        }
        (Some(Value::Map(Map::Growing(_))), Some(other), None) => error(format!(
            "no such overload: cel.@mapInsert(map, {})",
            other.type_name()
        )),
        (_, Some(fault @ Value::Error(_)), _) => fault,
        _ => no_overload(),
    })
}

/// What cannot be an index at all.
fn bad_key<'a>(key: &Value<'a>) -> Option<Value<'a>> {
    match key {
        Value::String(_) | Value::Int(_) | Value::Uint(_) | Value::Bool(_) | Value::Double(_) => {
            None
        }
        other => Some(error(format!(
            "invalid qualifier type: {}",
            crate::plan::go_name(other)
        ))),
    }
}

/// A field or an element; with `test`, none is no mistake.
fn get<'a>(
    of: &Value<'a>,
    key: &Value<'a>,
    test: bool,
) -> Run<Result<Option<Value<'a>>, Value<'a>>> {
    let missing = || Err(error(format!("no such key: {}", plain(key))));
    Ok(match of {
        Value::Error(_) => Err(of.clone()),
        Value::Map(map) => match map.find(key)? {
            Some(fault @ Value::Error(_)) => Err(fault),
            Some(value) => Ok(Some(value)),
            None if test => Ok(None),
            None => missing(),
        },
        Value::List(list) => match views::index(list, key) {
            Err(fault) => Err(fault),
            Ok(Some(value)) => Ok(Some(value)),
            Ok(None) if test => Ok(None),
            Ok(None) => Err(error(format!("index out of bounds: {}", plain(key)))),
        },
        _ if test => Ok(None),
        _ => missing(),
    })
}

/// A list of values, less what is optional and absent.
pub(crate) fn make_list<'a>(values: Vec<Value<'a>>, optionals: &[bool]) -> Value<'a> {
    let mut elements = Vec::with_capacity(values.len());
    for (i, value) in values.into_iter().enumerate() {
        if !optionals.get(i).copied().unwrap_or_default() {
            if value.is_error() {
                return value;
            }
            elements.push(value);
            continue;
        }
        match value {
            Value::Optional(Some(inner)) => elements.push((*inner).clone()),
            Value::Optional(None) => {}
            other => {
                return error(format!(
                    "cannot initialize optional list element from non-optional value {}",
                    plain(&other)
                ));
            }
        }
    }
    crate::value::list(elements)
}

/// A map of entries, less what is optional and absent.
pub(crate) fn make_map<'a>(entries: Vec<(Value<'a>, Value<'a>, bool)>) -> Run<Value<'a>> {
    let mut map = BTreeMap::new();
    for (key, value, optional) in entries {
        let name = Key::of(&key)?;
        if !optional {
            map.insert(name, value);
            continue;
        }
        match value {
            Value::Optional(Some(inner)) => {
                map.insert(name, (*inner).clone());
            }
            Value::Optional(None) => {
                map.remove(&name);
            }
            other => {
                return Ok(error(format!(
                    "cannot initialize optional entry '{}' from non-optional value {}",
                    plain(&key),
                    plain(&other)
                )));
            }
        }
    }
    Ok(Value::Map(Map::Entries(Arc::new(map))))
}
