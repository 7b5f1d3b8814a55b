//! A checked expression as a program. What is constant is computed once, as cel-go does.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::ast::{Expr, Kind, Literal};
use crate::checker::{Checked, Reference};
use crate::declarations::type_named;
use crate::functions;
use crate::regexes;
use crate::types::Type;
use crate::value::{Cancelled, Key, List, Map, Text, Value};

/// A step of a program.
#[derive(Debug)]
pub(crate) enum Node {
    Const(u32, Value<'static>),
    Attr(Box<AttrNode>),
    Or(u32, Box<[Node; 2]>),
    And(u32, Box<[Node; 2]>),
    Equal(u32, Box<[Node; 2]>, bool),
    Call(Box<Call>),
    /// `in` a list of constants.
    Member {
        id: u32,
        arg: Box<Node>,
        set: BTreeSet<Key>,
    },
    List {
        id: u32,
        elements: Vec<Node>,
        optionals: Vec<bool>,
    },
    Map {
        id: u32,
        entries: Vec<(Node, Node, bool)>,
    },
    Fold(Box<Fold>),
    /// `or` and `orValue` of optional values, which evaluate the other side only where it is needed.
    Otherwise(u32, Box<[Node; 2]>, bool),
}

#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) id: u32,
    pub(crate) function: Arc<str>,
    pub(crate) overload: &'static str,
    pub(crate) args: Vec<Node>,
    /// The pattern, where it is constant.
    pub(crate) regex: Option<regexes::Regex>,
}

#[derive(Debug)]
pub(crate) struct Fold {
    pub(crate) id: u32,
    pub(crate) accu: Arc<str>,
    pub(crate) var: Arc<str>,
    pub(crate) var2: Option<Arc<str>>,
    pub(crate) range: Node,
    pub(crate) init: Node,
    pub(crate) condition: Node,
    pub(crate) step: Node,
    pub(crate) result: Node,
}

/// A variable or a computed value with the fields and indexes that are taken of it.
#[derive(Debug)]
pub(crate) struct AttrNode {
    pub(crate) attr: Attr,
    /// `has(…)`, by its number.
    pub(crate) test: Option<u32>,
}

#[derive(Debug)]
pub(crate) enum Attr {
    Variable {
        id: u32,
        name: Arc<str>,
        steps: Vec<Arc<Step>>,
    },
    Computed {
        id: u32,
        node: Box<Node>,
        steps: Vec<Arc<Step>>,
    },
    Choice {
        id: u32,
        condition: Box<Node>,
        yes: Box<Attr>,
        no: Box<Attr>,
    },
}

/// One field or index.
#[derive(Debug)]
pub(crate) enum Step {
    Const {
        id: u32,
        value: Value<'static>,
        optional: bool,
        test: bool,
    },
    Attr {
        id: u32,
        attr: Attr,
        optional: bool,
        /// Is it computed rather than named, so that it counts as a value of its own?
        own: bool,
    },
}

impl Step {
    pub(crate) fn id(&self) -> u32 {
        match self {
            Step::Const { id, .. } | Step::Attr { id, .. } => *id,
        }
    }

    pub(crate) fn optional(&self) -> bool {
        match self {
            Step::Const { optional, .. } | Step::Attr { optional, .. } => *optional,
        }
    }
}

impl Attr {
    pub(crate) fn id(&self) -> u32 {
        match self {
            Attr::Variable { id, steps, .. } | Attr::Computed { id, steps, .. } => {
                steps.last().map_or(*id, |step| step.id())
            }
            Attr::Choice { id, yes, no, .. } => {
                if yes.id() == no.id() {
                    yes.id()
                } else {
                    *id
                }
            }
        }
    }

    fn add(&mut self, step: Arc<Step>) {
        match self {
            Attr::Variable { steps, .. } | Attr::Computed { steps, .. } => steps.push(step),
            Attr::Choice { yes, no, .. } => {
                yes.add(step.clone());
                no.add(step);
            }
        }
    }
}

impl Node {
    pub(crate) fn id(&self) -> u32 {
        match self {
            Node::Const(id, _)
            | Node::Or(id, _)
            | Node::And(id, _)
            | Node::Equal(id, ..)
            | Node::Member { id, .. }
            | Node::List { id, .. }
            | Node::Map { id, .. }
            | Node::Otherwise(id, ..) => *id,
            Node::Attr(node) => node.test.unwrap_or_else(|| node.attr.id()),
            Node::Call(call) => call.id,
            Node::Fold(fold) => fold.id,
        }
    }
}

const CONVERSIONS: &[&str] = &[
    "bool",
    "bytes",
    "double",
    "dyn",
    "duration",
    "int",
    "string",
    "timestamp",
    "type",
    "uint",
];

pub(crate) struct Planner<'c> {
    pub(crate) checked: &'c Checked,
}

type Planned<T> = Result<T, String>;

/// Makes the program of a checked expression.
pub(crate) fn plan(checked: &Checked) -> Planned<Node> {
    Planner { checked }.node(&checked.expr)
}

pub(crate) fn constant(literal: &Literal) -> Value<'static> {
    match literal {
        Literal::Null => Value::Null,
        Literal::Bool(v) => Value::Bool(*v),
        Literal::Int(v) => Value::Int(*v),
        Literal::Uint(v) => Value::Uint(*v),
        Literal::Double(v) => Value::Double(*v),
        Literal::String(v) => Value::String(Text::Made(v.clone())),
        Literal::Bytes(v) => Value::Bytes(v.clone()),
    }
}

fn pair(mut nodes: Vec<Node>) -> Planned<Box<[Node; 2]>> {
    let two = nodes.pop().zip(nodes.pop());
    let (b, a) = two.ok_or("an operator lacks an operand")?;
    Ok(Box::new([a, b]))
}

impl Planner<'_> {
    fn reference(&self, expr: &Expr) -> Option<&Reference> {
        self.checked.references.get(expr.id as usize)?.as_ref()
    }

    fn node(&self, expr: &Expr) -> Planned<Node> {
        let id = expr.id;
        match &expr.kind {
            Kind::Unspecified | Kind::Struct { .. } => Err("unsupported expr".into()),
            Kind::Literal(literal) => Ok(Node::Const(id, constant(literal))),
            Kind::Ident(_) => self.ident(expr),
            Kind::Select {
                operand,
                field,
                test_only,
            } => {
                let operand = self.node(operand)?;
                let mut node = attribute(operand);
                node.attr.add(Arc::new(Step::Const {
                    id,
                    value: Value::String(Text::Made(field.clone())),
                    optional: false,
                    test: *test_only,
                }));
                if *test_only {
                    node.test = Some(id);
                }
                Ok(Node::Attr(node))
            }
            Kind::Call { .. } => self.call(expr),
            Kind::List {
                elements,
                optionals,
            } => {
                let elements = elements
                    .iter()
                    .map(|e| self.node(e))
                    .collect::<Planned<Vec<_>>>()?;
                fold_list(id, elements, optionals.clone())
            }
            Kind::Map(entries) => {
                let entries = entries
                    .iter()
                    .map(|e| Ok((self.node(&e.key)?, self.node(&e.value)?, e.optional)))
                    .collect::<Planned<Vec<_>>>()?;
                fold_map(id, entries)
            }
            Kind::Comprehension(c) => {
                let init = self.node(&c.init)?;
                let range = self.node(&c.range)?;
                let condition = self.node(&c.condition)?;
                let step = self.node(&c.step)?;
                let result = self.node(&c.result)?;
                Ok(Node::Fold(Box::new(Fold {
                    id,
                    accu: c.accu.clone(),
                    var: c.var.clone(),
                    var2: c.var2.clone(),
                    range,
                    init,
                    condition,
                    step,
                    result,
                })))
            }
        }
    }

    fn ident(&self, expr: &Expr) -> Planned<Node> {
        let Some(Reference::Ident(name)) = self.reference(expr) else {
            return Err("unsupported expr".into());
        };
        if let Type::Type(_) = self.checked.ty(expr) {
            let Some(ty) = type_named(name) else {
                return Err(format!("reference to undefined type: {name}"));
            };
            return Ok(Node::Const(expr.id, Value::Type(ty.runtime_name().into())));
        }
        Ok(Node::Attr(Box::new(AttrNode {
            attr: Attr::Variable {
                id: expr.id,
                name: name.clone(),
                steps: Vec::new(),
            },
            test: None,
        })))
    }

    fn call(&self, expr: &Expr) -> Planned<Node> {
        let id = expr.id;
        let Kind::Call {
            function,
            target,
            args,
        } = &expr.kind
        else {
            return Err("unsupported expr".into());
        };
        let nodes = target
            .iter()
            .map(|t| &**t)
            .chain(args)
            .map(|arg| self.node(arg))
            .collect::<Planned<Vec<_>>>()?;
        match &**function {
            "_&&_" => return Ok(Node::And(id, pair(nodes)?)),
            "_||_" => return Ok(Node::Or(id, pair(nodes)?)),
            "_==_" => return Ok(Node::Equal(id, pair(nodes)?, true)),
            "_!=_" => return Ok(Node::Equal(id, pair(nodes)?, false)),
            "_?_:_" => return choice(id, nodes),
            "_[_]" => return index(id, nodes, false),
            "_[?_]" | "_?._" => return index(id, nodes, true),
            _ => {}
        }
        let ids = self.checked.overloads(expr);
        let overload = if let [one] = ids { one } else { "" };
        match (&**function, overload) {
            ("or", "" | "optional_or_optional") => {
                return Ok(Node::Otherwise(id, pair(nodes)?, false));
            }
            ("orValue", "" | "optional_orValue_value") => {
                return Ok(Node::Otherwise(id, pair(nodes)?, true));
            }
            _ => {}
        }
        finish_call(id, function, overload, nodes)
    }
}

/// A call, with what of it is constant done at once.
fn finish_call(
    id: u32,
    function: &Arc<str>,
    overload: &'static str,
    nodes: Vec<Node>,
) -> Planned<Node> {
    if overload == "in_list"
        && let [_, Node::Const(_, Value::List(list))] = nodes.as_slice()
    {
        if list.is_empty() {
            return Ok(Node::Const(id, Value::Bool(false)));
        }
        if let Some(set) = membership(list) {
            let [arg, _] = *pair(nodes)?;
            return Ok(Node::Member {
                id,
                arg: Box::new(arg),
                set,
            });
        }
    }
    if CONVERSIONS.contains(&&**function)
        && let [Node::Const(_, value)] = nodes.as_slice()
    {
        let value = value.clone();
        let made = if value.is_error() {
            value
        } else {
            functions::invoke(function, overload, vec![value], u64::MAX)
                .map_err(|cancelled| cancelled.to_string())?
        };
        if let Value::Error(message) = &made {
            return Err(message.to_string());
        }
        return Ok(Node::Const(id, made));
    }
    let mut regex = None;
    if matches!(&**function, "matches" | "find" | "findAll")
        && let Some(Node::Const(_, Value::String(pattern))) = nodes.get(1)
    {
        regex = Some(regexes::compile(pattern)?);
    }
    Ok(Node::Call(Box::new(Call {
        id,
        function: function.clone(),
        overload,
        args: nodes,
        regex,
    })))
}

/// Evaluates a conversion of a literal, as the checks of literals do.
pub(crate) fn convert_literal(function: &str, literal: &Literal) -> bool {
    matches!(
        functions::invoke(function, "", vec![constant(literal)], u64::MAX),
        Ok(value) if !value.is_error()
    )
}

/// A node as something of which fields can be taken.
fn attribute(node: Node) -> Box<AttrNode> {
    match node {
        Node::Attr(node) if node.test.is_none() => node,
        other => Box::new(AttrNode {
            attr: Attr::Computed {
                id: other.id(),
                node: Box::new(other),
                steps: Vec::new(),
            },
            test: None,
        }),
    }
}

fn choice(id: u32, mut nodes: Vec<Node>) -> Planned<Node> {
    let lacks = "an operator lacks an operand";
    let branch = |node: Option<Node>| -> Planned<Box<Attr>> {
        Ok(Box::new(attribute(node.ok_or(lacks)?).attr))
    };
    let no = branch(nodes.pop())?;
    let yes = branch(nodes.pop())?;
    let condition = Box::new(nodes.pop().ok_or(lacks)?);
    Ok(Node::Attr(Box::new(AttrNode {
        attr: Attr::Choice {
            id,
            condition,
            yes,
            no,
        },
        test: None,
    })))
}

fn index(id: u32, nodes: Vec<Node>, optional: bool) -> Planned<Node> {
    let [of, index] = *pair(nodes)?;
    let mut node = attribute(of);
    let step = match index {
        Node::Const(_, value) => match value {
            Value::String(_)
            | Value::Int(_)
            | Value::Uint(_)
            | Value::Bool(_)
            | Value::Double(_) => Step::Const {
                id,
                value,
                optional,
                test: false,
            },
            other => {
                return Err(format!("invalid qualifier type: {}", go_name(&other)));
            }
        },
        Node::Attr(index) => Step::Attr {
            id,
            attr: index.attr,
            optional,
            own: false,
        },
        other => Step::Attr {
            id,
            attr: Attr::Computed {
                id,
                node: Box::new(other),
                steps: Vec::new(),
            },
            optional,
            own: true,
        },
    };
    node.attr.add(Arc::new(step));
    Ok(Node::Attr(node))
}

pub(crate) fn go_name(value: &Value<'_>) -> &'static str {
    match value {
        Value::Null => "types.Null",
        Value::Bool(_) => "types.Bool",
        Value::Int(_) => "types.Int",
        Value::Uint(_) => "types.Uint",
        Value::Double(_) => "types.Double",
        Value::String(_) => "types.String",
        Value::Bytes(_) => "types.Bytes",
        Value::Duration(_) => "types.Duration",
        Value::Timestamp(_) => "types.Timestamp",
        Value::Type(_) => "*types.Type",
        Value::List(List::Values(_, false)) => "*types.baseList",
        Value::List(List::Values(_, true)) => "*types.concatList",
        Value::List(_) => "*common.unstructuredList",
        Value::Map(Map::View(..)) => "*common.unstructuredMap",
        Value::Map(_) => "*types.baseMap",
        Value::Optional(_) => "*types.Optional",
        Value::Error(_) => "*types.Err",
        _ => "ref.Val",
    }
}

fn fold_list(id: u32, elements: Vec<Node>, optionals: Vec<bool>) -> Planned<Node> {
    if elements.iter().all(|e| matches!(e, Node::Const(..))) {
        let values = elements
            .iter()
            .filter_map(|e| match e {
                Node::Const(_, value) => Some(value.clone()),
                _ => None,
            })
            .collect();
        return Ok(Node::Const(id, crate::eval::make_list(values, &optionals)));
    }
    Ok(Node::List {
        id,
        elements,
        optionals,
    })
}

fn fold_map(id: u32, entries: Vec<(Node, Node, bool)>) -> Planned<Node> {
    let mut constants = Vec::new();
    for entry in &entries {
        let (Node::Const(_, key), Node::Const(_, value), optional) = entry else {
            return Ok(Node::Map { id, entries });
        };
        constants.push((key.clone(), value.clone(), *optional));
    }
    let made = crate::eval::make_map(constants).map_err(|c| match c {
        Cancelled::Internal(message) => message,
        other => other.to_string(),
    })?;
    Ok(Node::Const(id, made))
}

/// The constants of a list as a set, with each number in all its types.
fn membership(list: &List<'static>) -> Option<BTreeSet<Key>> {
    let mut set = BTreeSet::new();
    for element in list.iter() {
        match &element {
            Value::Double(v) => {
                if v.is_nan() {
                    continue;
                }
                if let Some(i) = crate::value::lossless_int(*v) {
                    set.insert(Key::Int(i));
                }
                if let Some(u) = crate::value::double_to_uint(*v) {
                    #[expect(clippy::cast_precision_loss, reason = "it is compared")]
                    if u as f64 == *v {
                        set.insert(Key::Uint(u));
                    }
                }
            }
            #[expect(clippy::cast_precision_loss, reason = "as Go converts it")]
            Value::Int(v) => {
                set.insert(Key::of(&Value::Double(*v as f64)).ok()?);
                if let Ok(u) = u64::try_from(*v) {
                    set.insert(Key::Uint(u));
                }
            }
            #[expect(clippy::cast_precision_loss, reason = "as Go converts it")]
            Value::Uint(v) => {
                set.insert(Key::of(&Value::Double(*v as f64)).ok()?);
                if let Ok(i) = i64::try_from(*v) {
                    set.insert(Key::Int(i));
                }
            }
            Value::Bool(_) | Value::String(_) => {}
            _ => return None,
        }
        set.insert(Key::of(&element).ok()?);
    }
    Some(set)
}
