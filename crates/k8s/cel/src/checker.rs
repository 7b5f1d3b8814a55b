//! Types for every part of an expression.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::ast::{Expr, Kind, Literal};
use crate::declarations::{Function, function, type_named};
use crate::escape::is_reserved;
use crate::parser::Parsed;
use crate::schema::Names;
use crate::source::{NOWHERE, Problem, Source};
use crate::types::Type;
use crate::unify::{Mapping, most_general, rename};

/// What an expression may refer to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Env {
    pub(crate) variables: BTreeMap<String, Type>,
    pub(crate) names: Arc<Names>,
}

/// What a part of an expression refers to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Reference {
    Ident(Arc<str>),
    Overloads(Vec<&'static str>),
}

/// An expression with its types.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) source: Source,
    pub(crate) expr: Expr,
    pub(crate) offsets: Vec<Option<usize>>,
    pub(crate) types: Vec<Type>,
    pub(crate) references: Vec<Option<Reference>>,
}

impl Checked {
    pub(crate) fn ty(&self, expr: &Expr) -> &Type {
        self.types.get(expr.id as usize).unwrap_or(&Type::Dyn)
    }

    pub(crate) fn overloads(&self, expr: &Expr) -> &[&'static str] {
        match self.references.get(expr.id as usize) {
            Some(Some(Reference::Overloads(ids))) => ids,
            _ => &[],
        }
    }

    pub(crate) fn problem(&self, expr: &Expr, message: String) -> Problem {
        let offset = self.offsets.get(expr.id as usize).copied().flatten();
        Problem {
            location: offset.map_or(NOWHERE, |at| self.source.location(at)),
            message,
        }
    }
}

struct Checker<'e> {
    env: &'e Env,
    scopes: Vec<BTreeMap<Arc<str>, Type>>,
    types: Vec<Option<Type>>,
    references: Vec<Option<Reference>>,
    mapping: Mapping,
    problems: Vec<(u32, String)>,
}

/// Gives every part its type; what is wrong otherwise, as cel-go shows it.
pub(crate) fn check(parsed: Parsed, env: &Env) -> Result<Checked, String> {
    let count = parsed.offsets.len();
    let mut checker = Checker {
        env,
        scopes: Vec::new(),
        types: vec![None; count],
        references: vec![None; count],
        mapping: Mapping::default(),
        problems: Vec::new(),
    };
    let mut expr = parsed.expr;
    checker.check(&mut expr);
    let types = checker
        .types
        .iter()
        .map(|ty| {
            ty.as_ref()
                .map_or(Type::Dyn, |ty| checker.mapping.substitute(ty, true))
        })
        .collect();
    let checked = Checked {
        source: parsed.source,
        expr,
        offsets: parsed.offsets,
        types,
        references: checker.references,
    };
    if checker.problems.is_empty() {
        return Ok(checked);
    }
    let problems: Vec<Problem> = checker
        .problems
        .into_iter()
        .map(|(id, message)| {
            let expr = Expr {
                id,
                kind: Kind::Unspecified,
            };
            checked.problem(&expr, message)
        })
        .collect();
    Err(checked.source.show(&problems))
}

impl Checker<'_> {
    fn wrong(&mut self, id: u32, message: String) {
        self.problems.push((id, message));
    }

    fn undeclared(&mut self, id: u32, name: &str) {
        self.wrong(
            id,
            format!("undeclared reference to '{name}' (in container '')"),
        );
    }

    fn mismatch(&mut self, id: u32, expected: &Type, actual: &Type) {
        self.wrong(
            id,
            format!(
                "expected type '{}' but found '{}'",
                expected.words(),
                actual.words()
            ),
        );
    }

    fn set(&mut self, id: u32, ty: Type) {
        if let Some(slot) = self.types.get_mut(id as usize)
            && slot.is_none()
        {
            *slot = Some(ty);
        }
    }

    fn get(&self, id: u32) -> Type {
        self.types
            .get(id as usize)
            .cloned()
            .flatten()
            .unwrap_or(Type::Error)
    }

    fn refer(&mut self, id: u32, reference: Reference) {
        if let Some(slot) = self.references.get_mut(id as usize) {
            *slot = Some(reference);
        }
    }

    /// The type of a variable, or of a type by its name.
    fn lookup(&self, name: &str) -> Option<Type> {
        let name = name.strip_prefix('.').unwrap_or(name);
        if let Some(ty) = self.scopes.iter().rev().find_map(|scope| scope.get(name)) {
            return Some(ty.clone());
        }
        if let Some(ty) = self.env.variables.get(name) {
            return Some(ty.clone());
        }
        let ty = match name {
            // declared as fields' types only; a program that names them is refused later
            "duration" => Type::Duration,
            "timestamp" => Type::Timestamp,
            _ if self.env.names.contains_key(name) => Type::named(name),
            _ => type_named(name)?,
        };
        Some(match ty {
            Type::Type(None) => Type::Type(Some(Arc::new(Type::Type(None)))),
            other => Type::Type(Some(Arc::new(other))),
        })
    }

    fn function(name: &str) -> Option<&'static Function> {
        function(name.strip_prefix('.').unwrap_or(name))
    }

    fn check(&mut self, expr: &mut Expr) {
        let id = expr.id;
        match &mut expr.kind {
            Kind::Unspecified => self.set(id, Type::Error),
            Kind::Literal(literal) => {
                let ty = match literal {
                    Literal::Null => Type::Null,
                    Literal::Bool(_) => Type::Bool,
                    Literal::Int(_) => Type::Int,
                    Literal::Uint(_) => Type::Uint,
                    Literal::Double(_) => Type::Double,
                    Literal::String(_) => Type::String,
                    Literal::Bytes(_) => Type::Bytes,
                };
                self.set(id, ty);
            }
            Kind::Ident(name) => match self.lookup(name) {
                Some(ty) => {
                    let full: Arc<str> = name.strip_prefix('.').unwrap_or(name).into();
                    self.set(id, ty);
                    self.refer(id, Reference::Ident(full.clone()));
                    *name = full;
                }
                None => {
                    self.set(id, Type::Error);
                    let name = name.clone();
                    self.undeclared(id, &name);
                }
            },
            Kind::Select { .. } => self.check_select(expr),
            Kind::Call { .. } => self.check_call(expr),
            Kind::List {
                elements,
                optionals,
            } => {
                let mut joined = None;
                for (element, optional) in elements.iter_mut().zip(optionals.iter()) {
                    self.check(element);
                    let ty = self.element(element, *optional);
                    joined = Some(self.join(joined, ty));
                }
                let of = joined.unwrap_or_else(|| self.mapping.fresh());
                self.set(id, Type::list(of));
            }
            Kind::Map(entries) => {
                let (mut keys, mut values) = (None, None);
                for entry in entries.iter_mut() {
                    self.check(&mut entry.key);
                    let key = self.get(entry.key.id);
                    keys = Some(self.join(keys, key));
                    self.check(&mut entry.value);
                    let value = self.element(&entry.value, entry.optional);
                    values = Some(self.join(values, value));
                }
                let key = keys.unwrap_or_else(|| self.mapping.fresh());
                let value = values.unwrap_or_else(|| self.mapping.fresh());
                self.set(id, Type::map(key, value));
            }
            Kind::Struct { name, fields } => {
                let name = name.clone();
                self.undeclared(id, &name);
                self.set(id, Type::Error);
                for field in fields.iter_mut() {
                    self.check(&mut field.value);
                }
            }
            Kind::Comprehension(_) => self.check_comprehension(expr),
        }
    }

    fn element(&mut self, expr: &Expr, optional: bool) -> Type {
        let ty = self.get(expr.id);
        if !optional {
            return ty;
        }
        match ty.unwrap_optional() {
            Some(of) => of.clone(),
            None => {
                if !ty.is_dyn() {
                    self.mismatch(expr.id, &Type::optional(ty.clone()), &ty);
                }
                ty
            }
        }
    }

    fn join(&mut self, previous: Option<Type>, current: Type) -> Type {
        let Some(previous) = previous else {
            return current;
        };
        if self.mapping.assignable(&previous, &current) {
            return most_general(&previous, &current);
        }
        Type::Dyn
    }

    fn check_select(&mut self, expr: &mut Expr) {
        let id = expr.id;
        if let Some(name) = expr.qualified()
            && let Some(ty) = self.lookup(&name)
        {
            let full: Arc<str> = name.strip_prefix('.').unwrap_or(&name).into();
            self.set(id, ty);
            self.refer(id, Reference::Ident(full.clone()));
            expr.kind = Kind::Ident(full);
            return;
        }
        let Kind::Select {
            operand,
            field,
            test_only,
        } = &mut expr.kind
        else {
            return;
        };
        let (field, test_only) = (field.clone(), *test_only);
        self.check(operand);
        let operand_id = operand.id;
        let mut ty = self.field(id, operand_id, &field, false);
        if test_only {
            ty = Type::Bool;
        }
        let ty = self.mapping.substitute(&ty, false);
        self.set(id, ty);
    }

    /// The type of a field of what was checked before.
    fn field(&mut self, id: u32, operand: u32, field: &str, optional: bool) -> Type {
        let ty = self.mapping.substitute(&self.get(operand), false);
        let (target, was_optional) = match ty.unwrap_optional() {
            Some(of) => (of.clone(), true),
            None => (ty, false),
        };
        let result = match &target {
            Type::Map(_, value) => (**value).clone(),
            Type::Struct(name) => self.lookup_field(id, name, field),
            Type::Param(_) => {
                self.mapping.assignable(&Type::Dyn, &target);
                Type::Dyn
            }
            _ => {
                if !target.is_dyn_or_error() {
                    self.wrong(
                        id,
                        format!("type '{}' does not support field selection", target.words()),
                    );
                }
                Type::Dyn
            }
        };
        if was_optional || optional {
            return Type::optional(result);
        }
        result
    }

    fn lookup_field(&mut self, id: u32, name: &str, field: &str) -> Type {
        let Some(fields) = self.env.names.get(name) else {
            self.wrong(id, format!("unexpected failed resolution of '{name}'"));
            return Type::Error;
        };
        if let Some(ty) = fields.get(field) {
            return ty.clone();
        }
        if is_reserved(field)
            && let Some(ty) = fields.get(&format!("__{field}__"))
        {
            return ty.clone();
        }
        self.wrong(id, format!("undefined field '{field}'"));
        Type::Error
    }

    fn check_call(&mut self, expr: &mut Expr) {
        let id = expr.id;
        let Kind::Call {
            function: name,
            target,
            args,
        } = &mut expr.kind
        else {
            return;
        };
        if &**name == "_?._" {
            let field = match args.get(1).map(|arg| &arg.kind) {
                Some(Kind::Literal(Literal::String(field))) => field.clone(),
                _ => return,
            };
            self.check(&mut args[0]);
            let ty = self.field(id, args[0].id, &field, true);
            let ty = self.mapping.substitute(&ty, false);
            self.set(id, ty);
            self.refer(id, Reference::Overloads(vec!["select_optional_field"]));
            return;
        }
        for arg in args.iter_mut() {
            self.check(arg);
        }
        let mut types: Vec<Type> = args.iter().map(|arg| self.get(arg.id)).collect();
        let Some(receiver) = target else {
            match Self::function(name) {
                Some(function) => {
                    *name = function.name.into();
                    self.resolve(id, function, types, false, args);
                }
                None => {
                    let name = name.clone();
                    self.undeclared(id, &name);
                    self.set(id, Type::Error);
                }
            }
            return;
        };
        if let Some(prefix) = receiver.qualified()
            && let Some(function) = Self::function(&format!("{prefix}.{name}"))
        {
            *name = function.name.into();
            *target = None;
            self.resolve(id, function, types, false, args);
            return;
        }
        self.check(receiver);
        match Self::function(name) {
            Some(function) => {
                types.insert(0, self.get(receiver.id));
                self.resolve(id, function, types, true, args);
            }
            None => {
                self.set(id, Type::Error);
                let name = name.clone();
                self.undeclared(id, &name);
            }
        }
    }

    fn resolve(
        &mut self,
        id: u32,
        function: &Function,
        types: Vec<Type>,
        member: bool,
        args: &[Expr],
    ) {
        if matches!(function.name, "_&&_" | "_||_") {
            let mut sound = true;
            for (arg, ty) in args.iter().zip(&types) {
                if !self.mapping.assignable(ty, &Type::Bool) {
                    self.mismatch(arg.id, &Type::Bool, ty);
                    sound = false;
                }
            }
            if sound {
                self.set(id, Type::Bool);
                self.refer(id, Reference::Overloads(vec![function.overloads[0].id]));
            } else {
                self.set(id, Type::Error);
            }
            return;
        }
        let mut found = Vec::new();
        let mut result: Option<Type> = None;
        for overload in &function.overloads {
            if overload.member != member {
                continue;
            }
            let (wanted, made);
            let (wanted, made) = if overload.params.is_empty() {
                (&overload.args, &overload.result)
            } else {
                let names: BTreeMap<Arc<str>, Type> = overload
                    .params
                    .iter()
                    .map(|name| (name.clone(), self.mapping.fresh()))
                    .collect();
                wanted = overload
                    .args
                    .iter()
                    .map(|ty| rename(ty, &names))
                    .collect::<Vec<_>>();
                made = rename(&overload.result, &names);
                (&wanted, &made)
            };
            if self.mapping.all_assignable(&types, wanted) {
                found.push(overload.id);
                let ty = self.mapping.substitute(made, false);
                result = Some(match result {
                    None => ty,
                    Some(old) if !old.is_dyn() && ty != old => Type::Dyn,
                    Some(old) => old,
                });
            }
        }
        let Some(result) = result else {
            let types: Vec<String> = types
                .iter()
                .map(|ty| self.mapping.substitute(ty, true).words())
                .collect();
            let signature = if member {
                format!("{}.({})", types[0], types[1..].join(", "))
            } else {
                format!("({})", types.join(", "))
            };
            self.wrong(
                id,
                format!(
                    "found no matching overload for '{}' applied to '{signature}'",
                    function.name
                ),
            );
            self.set(id, Type::Error);
            return;
        };
        self.set(id, result);
        self.refer(id, Reference::Overloads(found));
    }

    fn check_comprehension(&mut self, expr: &mut Expr) {
        let id = expr.id;
        let Kind::Comprehension(c) = &mut expr.kind else {
            return;
        };
        self.check(&mut c.range);
        self.check(&mut c.init);
        let range = self.mapping.substitute(&self.get(c.range.id), false);
        let accu = self.get(c.init.id);
        self.scopes
            .push(BTreeMap::from([(c.accu.clone(), accu.clone())]));
        let (first, second) = match &range {
            Type::List(of) if c.var2.is_some() => (Type::Int, (**of).clone()),
            Type::List(of) => ((**of).clone(), Type::Dyn),
            Type::Map(key, value) => ((**key).clone(), (**value).clone()),
            Type::Dyn | Type::Error | Type::Param(_) => {
                self.mapping.assignable(&Type::Dyn, &range);
                (Type::Dyn, Type::Dyn)
            }
            other => {
                let message = format!(
                    "expression of type '{}' cannot be range of a comprehension (must be list, map, or dynamic)",
                    other.words()
                );
                self.wrong(c.range.id, message);
                (Type::Error, Type::Error)
            }
        };
        let mut scope = BTreeMap::from([(c.var.clone(), first)]);
        if let Some(var2) = &c.var2 {
            scope.insert(var2.clone(), second);
        }
        self.scopes.push(scope);
        self.check(&mut c.condition);
        self.assert(c.condition.id, &Type::Bool);
        self.check(&mut c.step);
        self.assert(c.step.id, &accu);
        self.scopes.pop();
        self.check(&mut c.result);
        self.scopes.pop();
        let ty = self.mapping.substitute(&self.get(c.result.id), false);
        self.set(id, ty);
    }

    fn assert(&mut self, id: u32, wanted: &Type) {
        let actual = self.get(id);
        if !self.mapping.assignable(wanted, &actual) {
            self.mismatch(id, wanted, &actual);
        }
    }
}
