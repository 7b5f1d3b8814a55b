//! From trees to steps.

use std::collections::BTreeMap;

use crate::builtin::Builtin;
use crate::call::Signature;
use crate::code::{Chain, Code, Constant, Loop, Op, Root, SAME, Step};
use crate::functions::Functions;
use crate::parse::{Ast, Branch, Node, NodeId};
use crate::text::Str;
use crate::types::Type;

/// Compiles the trees of a file; gives the code and where each tree begins in it.
pub(crate) fn compile(
    ast: &Ast,
    trees: &[(Str, NodeId)],
    functions: &Functions,
) -> (Code, Vec<u32>) {
    let mut compiler = Compiler {
        ast,
        functions,
        code: Code::default(),
        variables: BTreeMap::new(),
    };
    compiler.variable(&Str::from_static("$"));
    let mut entries = Vec::with_capacity(trees.len());
    for (_, root) in trees {
        entries.push(compiler.here());
        compiler.node(*root);
        compiler.emit(Step::End, SAME);
    }
    (compiler.code, entries)
}

/// A constant argument where a type is wanted, or what Go says about it.
pub(crate) fn constant_argument(ast: &Ast, node: NodeId, ty: &Type) -> Result<Constant, String> {
    let printed = || String::from_utf8_lossy(&ast.print(node)).into_owned();
    let wrong = |wanted: &str| Err(format!("expected {wanted}; found {}", printed()));
    let node_is = ast.node(node);
    if let Node::Nil = node_is {
        return Constant::nil_of(ty).ok_or_else(|| format!("cannot assign nil to {ty}"));
    }
    if matches!(ty, Type::Any | Type::Reflect) {
        return match node_is {
            Node::Bool(value) => Ok(Constant::Bool(*value)),
            Node::Number(number, text) => Constant::ideal(number, text),
            Node::String { text, .. } => Ok(Constant::Str(text.clone())),
            _ => Err(format!(
                "can't handle assignment of {} to empty interface argument",
                printed()
            )),
        };
    }
    match (ty.underlying(), node_is) {
        (Type::Bool, Node::Bool(value)) => Ok(Constant::Bool(*value)),
        (Type::Bool, _) => wrong("bool"),
        (Type::Str, Node::String { text, .. }) => Ok(Constant::Str(text.clone())),
        (Type::Str, _) => wrong("string"),
        (Type::Int(kind), found) => match found {
            Node::Number(number, _) => match (kind.is_signed(), number.int, number.uint) {
                (true, Some(int), _) => Ok(Constant::Int(crate::Int::new(*kind, int))),
                (false, _, Some(uint)) => Ok(Constant::Int(crate::Int::unsigned(*kind, uint))),
                (true, ..) => wrong("integer"),
                (false, ..) => wrong("unsigned integer"),
            },
            _ if kind.is_signed() => wrong("integer"),
            _ => wrong("unsigned integer"),
        },
        (Type::Float64, found) => match found {
            Node::Number(number, _) if number.float.is_some() => {
                Ok(Constant::Float(number.float.unwrap_or_default()))
            }
            _ => wrong("float"),
        },
        (Type::Complex128, Node::Number(number, _)) if number.complex.is_some() => {
            let (re, im) = number.complex.unwrap_or_default();
            Ok(Constant::Complex(re, im))
        }
        (Type::Complex128, _) => wrong("complex"),
        _ => Err(format!("can't handle {} for arg of type {ty}", printed())),
    }
}

/// Whether a node is a constant, which is converted to the parameter it is passed to.
fn is_constant(node: &Node) -> bool {
    matches!(
        node,
        Node::Nil | Node::Bool(_) | Node::Number(..) | Node::String { .. }
    )
}

struct Compiler<'a> {
    ast: &'a Ast,
    functions: &'a Functions,
    code: Code,
    variables: BTreeMap<Str, u32>,
}

impl Compiler<'_> {
    fn here(&self) -> u32 {
        self.code.ops.len() as u32
    }

    fn emit(&mut self, step: Step, node: NodeId) -> usize {
        self.code.ops.push(Op { step, node });
        self.code.ops.len() - 1
    }

    /// Points an earlier jump here.
    fn land(&mut self, at: usize) {
        let here = self.here();
        match &mut self.code.ops[at].step {
            Step::Jump(to)
            | Step::JumpUnless(to)
            | Step::With(to)
            | Step::Next(to)
            | Step::Break(to)
            | Step::Decide { to, .. }
            | Step::DecideOver { to, .. } => *to = here,
            _ => {}
        }
    }

    fn fail(&mut self, message: String, node: NodeId) {
        let index = self.code.messages.len() as u32;
        self.code.messages.push(message);
        self.emit(Step::Fail(index), node);
    }

    fn variable(&mut self, name: &Str) -> u32 {
        if let Some(index) = self.variables.get(name) {
            return *index;
        }
        let index = self.code.variables.len() as u32;
        self.code.variables.push(name.clone());
        self.variables.insert(name.clone(), index);
        index
    }

    fn constant(&mut self, constant: Result<Constant, String>, node: NodeId) {
        match constant {
            Ok(constant) => {
                let index = self.code.constants.len() as u32;
                self.code.constants.push(constant);
                self.emit(Step::PushConstant(index), node);
            }
            Err(message) => self.fail(message, node),
        }
    }

    fn node(&mut self, id: NodeId) {
        match self.ast.node(id) {
            Node::List(nodes) => {
                for node in nodes {
                    self.node(*node);
                }
            }
            Node::Text(text) => {
                let index = self.code.texts.len() as u32;
                self.code.texts.push(text.clone());
                self.emit(Step::Text(index), id);
            }
            Node::Action(pipe) => {
                let declares = self.pipe(*pipe, false);
                self.emit(
                    if declares { Step::Pop } else { Step::Print },
                    if declares { SAME } else { id },
                );
            }
            Node::Branch {
                sort: Branch::Range,
                pipe,
                list,
                otherwise,
            } => self.range(*pipe, *list, *otherwise),
            Node::Branch {
                sort,
                pipe,
                list,
                otherwise,
            } => self.branch(*sort, *pipe, *list, *otherwise),
            Node::Template { name, pipe } => {
                let index = self.code.names.len() as u32;
                self.code.names.push(name.clone());
                self.emit(Step::Find(index), id);
                match pipe {
                    Some(pipe) => {
                        self.pipe(*pipe, true);
                    }
                    None => self.constant(Ok(Constant::Invalid), SAME),
                }
                self.emit(Step::Template(index), SAME);
            }
            Node::Break => {
                self.emit(Step::Break(0), id);
            }
            Node::Continue => {
                self.emit(Step::Continue(0), id);
            }
            _ => {}
        }
    }

    fn branch(&mut self, sort: Branch, pipe: NodeId, list: NodeId, otherwise: Option<NodeId>) {
        // else-if chains are long lists of single branches: walked in a loop, not by recursion
        let mut ends = Vec::new();
        let mut scopes = Vec::new();
        let (mut sort, mut pipe, mut list, mut otherwise) = (sort, pipe, list, otherwise);
        loop {
            scopes.push(self.emit(Step::Scope, SAME));
            self.pipe(pipe, false);
            let jump = if sort == Branch::With {
                self.emit(Step::With(0), SAME)
            } else {
                self.emit(Step::JumpUnless(0), SAME)
            };
            self.node(list);
            if sort == Branch::With {
                self.emit(Step::EndWith, SAME);
            }
            let Some(next) = otherwise else {
                self.land(jump);
                break;
            };
            ends.push(self.emit(Step::Jump(0), SAME));
            self.land(jump);
            if let Node::List(nodes) = self.ast.node(next)
                && let [only] = nodes[..]
                && let Node::Branch {
                    sort: inner,
                    pipe: p,
                    list: l,
                    otherwise: o,
                } = self.ast.node(only)
                && *inner != Branch::Range
            {
                (sort, pipe, list, otherwise) = (*inner, *p, *l, *o);
                continue;
            }
            self.node(next);
            break;
        }
        for end in ends {
            self.land(end);
        }
        self.end_scope(&scopes);
    }

    /// Ends scopes that were begun one in the other: the first one forgets for all. Scopes in which nothing is declared
    /// are taken out.
    fn end_scope(&mut self, scopes: &[usize]) {
        let Some((first, inner)) = scopes.split_first() else {
            return;
        };
        for scope in inner {
            self.code.ops[*scope].step = Step::Nothing;
        }
        let declares = self.code.ops[*first..]
            .iter()
            .any(|op| matches!(op.step, Step::Declare(_)));
        if declares {
            self.emit(Step::EndScope, SAME);
        } else {
            self.code.ops[*first].step = Step::Nothing;
        }
    }

    fn range(&mut self, pipe: NodeId, list: NodeId, otherwise: Option<NodeId>) {
        let scope = self.emit(Step::Scope, SAME);
        self.pipe(pipe, true);
        let Node::Pipe {
            assign, declared, ..
        } = self.ast.node(pipe)
        else {
            return;
        };
        let mut variables = [0; 2];
        for (slot, variable) in variables.iter_mut().zip(declared) {
            if let Node::Variable(idents) = self.ast.node(*variable) {
                *slot = self.variable(&idents[0]);
            }
        }
        let index = self.code.loops.len();
        let declared = declared.len() as u8;
        self.code.loops.push(Loop {
            variables,
            declared,
            assign: *assign,
            otherwise: 0,
        });
        self.emit(Step::Range(index as u32), SAME);
        let head = self.emit(Step::Next(0), SAME);
        self.node(list);
        self.emit(Step::Jump(head as u32), SAME);
        let body_end = self.code.ops.len();
        // what breaks out of this loop is not claimed by an inner one
        for at in head..body_end {
            match &mut self.code.ops[at].step {
                Step::Continue(to) if *to == 0 => *to = head as u32,
                Step::Break(to) if *to == 0 => *to = u32::MAX,
                _ => {}
            }
        }
        let after = otherwise.map(|_| self.emit(Step::Jump(0), SAME));
        // a loop that has run ends here
        let end = self.here();
        let mut landing = vec![head];
        landing
            .extend((head..body_end).filter(|at| self.code.ops[*at].step == Step::Break(u32::MAX)));
        let end = if after.is_some() { end - 1 } else { end };
        for at in landing {
            match &mut self.code.ops[at].step {
                Step::Next(to) | Step::Break(to) => *to = end,
                _ => {}
            }
        }
        self.code.loops[index].otherwise = self.here();
        if let Some(otherwise) = otherwise {
            self.node(otherwise);
        }
        if let Some(after) = after {
            self.land(after);
        }
        self.end_scope(&[scope]);
    }

    /// A pipeline; says whether it declares or assigns. `unwrap`: the value goes where a nil interface would matter.
    fn pipe(&mut self, id: NodeId, unwrap: bool) -> bool {
        let Node::Pipe {
            assign,
            declared,
            commands,
        } = self.ast.node(id)
        else {
            return false;
        };
        for (index, command) in commands.iter().enumerate() {
            let first = (index == 0).then_some(id);
            self.command(*command, index > 0, first);
            if unwrap || index + 1 < commands.len() || !declared.is_empty() {
                self.unwrap();
            }
        }
        for variable in declared {
            if let Node::Variable(idents) = self.ast.node(*variable) {
                let variable = self.variable(&idents[0]);
                self.emit(
                    if *assign {
                        Step::Assign(variable)
                    } else {
                        Step::Declare(variable)
                    },
                    SAME,
                );
            }
        }
        !declared.is_empty()
    }

    fn unwrap(&mut self) {
        let constant = matches!(
            self.code.ops.last(),
            Some(Op {
                step: Step::PushConstant(_) | Step::Unwrap,
                ..
            })
        );
        if !constant {
            self.emit(Step::Unwrap, SAME);
        }
    }

    /// One command. `last`: the value of the command before lies on the stack, as its last argument. `pipe`: the pipeline
    /// that begins with it.
    fn command(&mut self, id: NodeId, last: bool, pipe: Option<NodeId>) {
        let Node::Command(args) = self.ast.node(id) else {
            return;
        };
        let (first, rest) = (args[0], &args[1..]);
        let outer = pipe.unwrap_or(SAME);
        let has_args = last || !rest.is_empty();
        match self.ast.node(first) {
            Node::Field(fields) => self.fields(Root::Dot, fields.clone(), first, rest, last),
            Node::Chain(inner, fields) => {
                self.operand(*inner, first);
                self.fields(Root::Operand, fields.clone(), first, rest, last);
            }
            Node::Identifier(name) => self.function(name, first, id, rest, last),
            Node::Pipe { .. } => {
                if has_args {
                    return self.not_a_function(first, outer);
                }
                self.pipe(first, true);
            }
            Node::Variable(idents) => {
                let variable = self.variable(&idents[0]);
                if idents.len() > 1 {
                    return self.fields(
                        Root::Variable(variable),
                        idents[1..].to_vec(),
                        first,
                        rest,
                        last,
                    );
                }
                self.emit(Step::PushVariable(variable), first);
                if has_args {
                    self.not_a_function(first, first);
                }
            }
            constant => {
                if has_args {
                    return self.not_a_function(first, first);
                }
                match constant {
                    Node::Dot => {
                        self.emit(Step::PushDot, first);
                    }
                    Node::Nil => self.fail("nil is not a command".to_owned(), first),
                    Node::Number(number, text) => {
                        self.constant(Constant::ideal(number, text), first)
                    }
                    _ => self.constant(constant_argument(self.ast, first, &Type::Any), first),
                }
            }
        }
    }

    fn not_a_function(&mut self, node: NodeId, at: NodeId) {
        let printed = String::from_utf8_lossy(&self.ast.print(node)).into_owned();
        self.fail(format!("can't give argument to non-function {printed}"), at);
    }

    /// The inner node of a chain: a pipeline in parentheses or a function without arguments.
    fn operand(&mut self, id: NodeId, chain: NodeId) {
        match self.ast.node(id) {
            Node::Pipe { .. } => {
                self.pipe(id, true);
            }
            Node::Identifier(name) => self.function(name, id, id, &[], false),
            _ => {
                let printed = String::from_utf8_lossy(&self.ast.print(chain)).into_owned();
                self.fail(
                    format!("indirection through explicit nil in {printed}"),
                    chain,
                );
            }
        }
    }

    fn fields(&mut self, root: Root, fields: Vec<Str>, node: NodeId, args: &[NodeId], last: bool) {
        let index = self.code.chains.len();
        let count = args.len() as u16;
        self.code.chains.push(Chain {
            root,
            fields,
            args: count,
            last,
            skip: 0,
            node,
        });
        // what stands before the fields was looked at last, and goes on being named
        let at = match root {
            Root::Operand => SAME,
            _ => node,
        };
        if args.is_empty() && !last {
            self.emit(Step::Fields(index as u32), at);
            return;
        }
        self.emit(Step::Method(index as u32), at);
        for (arg, id) in args.iter().enumerate() {
            if is_constant(self.ast.node(*id)) {
                self.emit(
                    Step::MethodConstant {
                        arg: arg as u16,
                        node: *id,
                    },
                    *id,
                );
            } else {
                self.argument_value(*id);
                self.emit(Step::MethodCheck(arg as u16), SAME);
            }
        }
        self.emit(
            Step::CallMethod {
                args: count + u16::from(last),
                last,
            },
            node,
        );
        self.code.chains[index].skip = self.here();
    }

    /// An argument that is no constant.
    fn argument_value(&mut self, id: NodeId) {
        match self.ast.node(id) {
            Node::Dot => {
                self.emit(Step::PushDot, id);
            }
            Node::Field(fields) => self.fields(Root::Dot, fields.clone(), id, &[], false),
            Node::Variable(idents) => {
                let variable = self.variable(&idents[0]);
                if idents.len() == 1 {
                    self.emit(Step::PushVariable(variable), id);
                } else {
                    self.fields(
                        Root::Variable(variable),
                        idents[1..].to_vec(),
                        id,
                        &[],
                        false,
                    );
                }
            }
            Node::Pipe { .. } => {
                self.pipe(id, true);
            }
            Node::Identifier(name) => self.function(name, id, id, &[], false),
            Node::Chain(inner, fields) => {
                self.operand(*inner, id);
                self.fields(Root::Operand, fields.clone(), id, &[], false);
            }
            _ => {}
        }
    }

    fn argument(&mut self, id: NodeId, ty: &Type) {
        if is_constant(self.ast.node(id)) {
            self.constant(constant_argument(self.ast, id, ty), id);
        } else {
            self.argument_value(id);
            self.check(ty);
        }
    }

    fn check(&mut self, ty: &Type) {
        // any value can stand for these
        if matches!(ty, Type::Any | Type::Reflect) {
            return;
        }
        let index = match self.code.types.iter().position(|other| other == ty) {
            Some(index) => index,
            None => {
                self.code.types.push(*ty);
                self.code.types.len() - 1
            }
        };
        self.emit(Step::Check(index as u32), SAME);
    }

    /// A function's call. `at` is the function's own node, `call` the one that an error of the function is reported at.
    fn function(&mut self, name: &Str, at: NodeId, call: NodeId, args: &[NodeId], last: bool) {
        let text = name.to_text();
        let builtin = Builtin::find(&text);
        let (signature, row) = match (self.functions.find(&text), builtin) {
            (Some(row), _) => (self.functions.rows()[row as usize].signature, Some(row)),
            (None, Some(builtin)) => (builtin.signature(), None),
            (None, None) => {
                return self.fail(format!("{text:?} is not a defined function"), at);
            }
        };
        let count = args.len() + usize::from(last);
        if let Some(message) = wrong_count(&text, &signature, args.len(), count) {
            return self.fail(message, at);
        }
        if row.is_none()
            && let Some(builtin @ (Builtin::And | Builtin::Or)) = builtin
        {
            return self.decide(builtin == Builtin::Or, at, args, last);
        }
        // the function is the current node before any argument is evaluated; each argument says so of itself
        if args.is_empty() {
            self.emit(Step::Nothing, at);
        }
        for (index, arg) in args.iter().enumerate() {
            self.argument(*arg, &parameter(&signature, index));
            let direct = matches!(
                self.ast.node(*arg),
                Node::Field(_) | Node::Variable(_) | Node::Dot
            );
            if row.is_none() && builtin == Some(Builtin::Slice) && index > 0 && direct {
                self.emit(Step::KeepWrapped, SAME);
            }
        }
        if last {
            if count > 1 {
                self.emit(Step::Raise(count as u16 - 1), SAME);
            }
            self.check(&parameter(&signature, count - 1));
        }
        let args = count as u16;
        match (row, builtin) {
            (Some(function), _) => self.emit(Step::Call { function, args }, call),
            (None, Some(builtin)) => self.emit(Step::CallBuiltin { builtin, args }, call),
            (None, None) => return,
        };
    }

    fn decide(&mut self, or: bool, at: NodeId, args: &[NodeId], last: bool) {
        if args.is_empty() {
            self.emit(Step::Nothing, at);
        }
        let mut jumps = Vec::new();
        for (index, arg) in args.iter().enumerate() {
            self.argument(*arg, &Type::Reflect);
            if last {
                jumps.push(self.emit(Step::DecideOver { or, to: 0 }, SAME));
            } else if index + 1 < args.len() {
                jumps.push(self.emit(Step::Decide { or, to: 0 }, SAME));
            }
        }
        for jump in jumps {
            self.land(jump);
        }
        // what comes after may be a constant by itself, and a value here
        self.emit(Step::Nothing, SAME);
    }
}

/// The type of a parameter; of the variadic one, for all the rest.
pub(crate) fn parameter(signature: &Signature, index: usize) -> Type {
    let params = signature.params;
    params
        .get(index)
        .or(params.last())
        .copied()
        .unwrap_or(Type::Any)
}

/// What Go says if there are too few arguments or too many. `given` leaves out the one from the pipeline.
pub(crate) fn wrong_count(
    name: &str,
    signature: &Signature,
    given: usize,
    count: usize,
) -> Option<String> {
    let params = signature.params.len();
    if signature.variadic {
        let least = params - 1;
        (count < least)
            .then(|| format!("wrong number of args for {name}: want at least {least} got {given}"))
    } else {
        (count != params)
            .then(|| format!("wrong number of args for {name}: want {params} got {count}"))
    }
}
