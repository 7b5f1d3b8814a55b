//! What the machine runs: a flat list of small steps for each file.

use crate::builtin::Builtin;
use crate::parse::{NodeId, Number};
use crate::text::Str;
use crate::types::Type;
use crate::value::{Int, List, Map, Value};

/// Says that a step leaves the current node, which errors name, as it is.
pub(crate) const SAME: NodeId = NodeId::MAX;

/// One step, and the node that it is about.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Op {
    pub(crate) step: Step,
    pub(crate) node: NodeId,
}

/// What the machine can do. Numbers refer to the tables of [`Code`]; the stack holds operands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Nothing,
    /// Writes a text.
    Text(u32),
    /// Takes a value and writes it.
    Print,
    /// Takes a value away.
    Pop,
    PushDot,
    PushVariable(u32),
    PushConstant(u32),
    /// A chain of fields without arguments.
    Fields(u32),
    /// A chain of fields whose last one gets arguments: finds the method, or says that there is none.
    Method(u32),
    /// Calls the method that `Method` found: so many arguments, the last from the pipeline or not.
    CallMethod {
        args: u16,
        last: bool,
    },
    /// A constant argument of the method that `Method` found, converted to its parameter.
    MethodConstant {
        arg: u16,
        node: NodeId,
    },
    /// Checks an argument of the method that `Method` found.
    MethodCheck(u16),
    /// Calls a function of the table.
    Call {
        function: u32,
        args: u16,
    },
    /// Calls one of Go's own functions.
    CallBuiltin {
        builtin: Builtin,
        args: u16,
    },
    /// Sees to it that the top operand can stand for the type.
    Check(u32),
    /// Turns the top operand into a nil interface if it came out of one.
    KeepWrapped,
    /// Brings the operand that lies below so many others to the top.
    Raise(u16),
    /// `and`, `or`: jumps, keeping the operand, if it decides; else takes it away.
    Decide {
        or: bool,
        to: u32,
    },
    /// The same with a value from the pipeline below, which is taken away if the operand decides.
    DecideOver {
        or: bool,
        to: u32,
    },
    /// Turns a nil interface at the top into nothing, as the end of a command does.
    Unwrap,
    Declare(u32),
    Assign(u32),
    Jump(u32),
    JumpUnless(u32),
    /// Remembers the variables.
    Scope,
    /// Forgets variables since `Scope`.
    EndScope,
    /// Makes the top operand dot, or jumps if it is not true.
    With(u32),
    EndWith,
    /// Begins a loop over the top operand.
    Range(u32),
    /// The next turn of the innermost loop; jumps out of it if there is none.
    Next(u32),
    Break(u32),
    Continue(u32),
    /// Fails unless there is such a template.
    Find(u32),
    /// Executes a template with the top operand as data.
    Template(u32),
    /// Fails.
    Fail(u32),
    /// The end of a template.
    End,
}

/// A constant that is the same for all renders and threads.
#[derive(Debug, Clone)]
pub(crate) enum Constant {
    Invalid,
    Nil,
    Bool(bool),
    Int(Int),
    Float(f64),
    Complex(f64, f64),
    Str(Str),
    NilList(Type),
    NilMap(Type),
}

impl Constant {
    pub(crate) fn value(&self) -> Value {
        match self {
            Constant::Invalid => Value::Invalid,
            Constant::Nil => Value::Nil,
            Constant::Bool(value) => Value::Bool(*value),
            Constant::Int(value) => Value::Int(*value),
            Constant::Float(value) => Value::Float(*value),
            Constant::Complex(re, im) => Value::Complex(*re, *im),
            Constant::Str(text) => Value::Str(text.clone()),
            Constant::NilList(ty) => Value::List(List::nil(*ty)),
            Constant::NilMap(ty) => Value::Map(Map::nil(*ty)),
        }
    }

    /// What `nil` is where a type is wanted.
    pub(crate) fn nil_of(ty: &Type) -> Option<Self> {
        match ty.underlying() {
            Type::Reflect => Some(Constant::Invalid),
            Type::Slice(_) => Some(Constant::NilList(*ty)),
            Type::Map(_) => Some(Constant::NilMap(*ty)),
            _ => ty.can_be_nil().then_some(Constant::Nil),
        }
    }

    /// A number where nothing says its type.
    pub(crate) fn ideal(number: &Number, text: &Str) -> Result<Self, String> {
        if let Some((re, im)) = number.complex {
            return Ok(Constant::Complex(re, im));
        }
        let rune = text.first() == Some(&b'\'');
        let any = |set: &[u8]| text.iter().any(|byte| set.contains(byte));
        let hex =
            text.len() > 2 && text[0] == b'0' && matches!(text[1], b'x' | b'X') && !any(b"pP");
        match (number.float, number.int) {
            (Some(float), _) if !hex && !rune && any(b".eEpP") => Ok(Constant::Float(float)),
            (_, Some(int)) => Ok(Constant::Int(Int::new(crate::types::IntKind::Int, int))),
            _ => Err(format!("{} overflows int", text.to_text())),
        }
    }
}

/// Where a chain of fields begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Root {
    Dot,
    Variable(u32),
    Operand,
}

/// A chain of fields.
#[derive(Debug)]
pub(crate) struct Chain {
    pub(crate) root: Root,
    pub(crate) fields: Vec<Str>,
    /// For the last field's arguments: how many, whether one comes from the pipeline, and where to go on if the receiver
    /// is missing altogether.
    pub(crate) args: u16,
    pub(crate) last: bool,
    pub(crate) skip: u32,
    /// What is named when a method fails.
    pub(crate) node: NodeId,
}

/// A loop.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Loop {
    /// Variables of the loop; `declared` counts them, `assign` says that they exist already.
    pub(crate) variables: [u32; 2],
    pub(crate) declared: u8,
    pub(crate) assign: bool,
    /// Where to go if there is nothing to loop over.
    pub(crate) otherwise: u32,
}

/// The steps of a file's templates.
#[derive(Debug, Default)]
pub(crate) struct Code {
    pub(crate) ops: Vec<Op>,
    pub(crate) texts: Vec<Str>,
    pub(crate) constants: Vec<Constant>,
    pub(crate) types: Vec<Type>,
    pub(crate) chains: Vec<Chain>,
    pub(crate) loops: Vec<Loop>,
    pub(crate) names: Vec<Str>,
    pub(crate) messages: Vec<String>,
    pub(crate) variables: Vec<Str>,
}
