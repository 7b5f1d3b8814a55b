//! What is wrong with literals: durations, moments, patterns, mixed lists, format strings.

use crate::ast::{Expr, Kind, Literal};
use crate::checker::Checked;
use crate::libraries::formatting::{Clause, walk};
use crate::plan::convert_literal;
use crate::regexes;
use crate::source::Problem;
use crate::types::Type;

/// Everything that is wrong with the literals of a checked expression, as cel-go shows it.
pub(crate) fn validate(checked: &Checked) -> Result<(), String> {
    let mut all = Validator {
        checked,
        problems: Vec::new(),
    };
    all.visit(&checked.expr, false);
    if all.problems.is_empty() {
        return Ok(());
    }
    Err(checked.source.show(&all.problems))
}

struct Validator<'c> {
    checked: &'c Checked,
    problems: Vec<Problem>,
}

impl Validator<'_> {
    fn wrong(&mut self, expr: &Expr, message: String) {
        self.problems.push(self.checked.problem(expr, message));
    }

    /// `free` is what stands within a call that takes mixed lists.
    fn visit(&mut self, expr: &Expr, free: bool) {
        let mut inner = free;
        match &expr.kind {
            Kind::Call {
                function,
                target,
                args,
            } => {
                inner = free || &**function == "format";
                if let Some(Kind::Literal(literal)) = args.first().map(|a| &a.kind) {
                    let sound = match &**function {
                        "duration" | "timestamp" => convert_literal(function, literal),
                        "matches" => match literal {
                            Literal::String(pattern) => regexes::compile(pattern).is_ok(),
                            _ => true,
                        },
                        _ => true,
                    };
                    if !sound {
                        self.wrong(&args[0], format!("invalid {function} argument"));
                    }
                }
                if let ("format", Some(target), [list]) =
                    (&**function, target.as_deref(), args.as_slice())
                {
                    self.format(expr, target, list);
                }
            }
            Kind::List {
                elements,
                optionals,
            } if !free => {
                let mut first: Option<Type> = None;
                for (element, optional) in elements.iter().zip(optionals) {
                    let ty = self.element(element, *optional);
                    match &first {
                        None => first = Some(ty),
                        Some(first) if !first.is_equivalent(&ty) => {
                            let message = mismatch(first, &ty);
                            self.wrong(element, message);
                            break;
                        }
                        Some(_) => {}
                    }
                }
            }
            Kind::Map(entries) if !free => {
                let mut first: Option<(Type, Type)> = None;
                for entry in entries {
                    let key = self.checked.ty(&entry.key).clone();
                    let value = self.element(&entry.value, entry.optional);
                    let Some((keys, values)) = &first else {
                        first = Some((key, value));
                        continue;
                    };
                    let (keys, values) = (keys.clone(), values.clone());
                    if !keys.is_equivalent(&key) {
                        self.wrong(&entry.key, mismatch(&keys, &key));
                    }
                    if !values.is_equivalent(&value) {
                        self.wrong(&entry.value, mismatch(&values, &value));
                    }
                }
            }
            _ => {}
        }
        for child in expr.children() {
            self.visit(child, inner);
        }
    }

    fn element(&self, expr: &Expr, optional: bool) -> Type {
        let ty = self.checked.ty(expr);
        if !optional {
            return ty.clone();
        }
        ty.parameters()
            .first()
            .map_or(Type::Dyn, |of| (*of).clone())
    }

    fn format(&mut self, call: &Expr, target: &Expr, list: &Expr) {
        let (Kind::Literal(Literal::String(template)), Kind::List { elements, .. }) =
            (&target.kind, &list.kind)
        else {
            return;
        };
        if !self.checked.overloads(call).contains(&"string_format") {
            return;
        }
        let mut blamed = None;
        let walked = walk(template, elements.len(), false, |at, clause| {
            match self.refused(clause, &elements[at]) {
                None => Ok(String::new()),
                Some(expr) => {
                    blamed = Some(expr.clone());
                    Err(clause.refuse(self.checked.ty(expr).runtime_name()))
                }
            }
        });
        match walked {
            Err(message) => {
                let at = blamed.unwrap_or_else(|| call.clone());
                self.wrong(&at, message);
            }
            Ok((_, seen)) if elements.len() > seen => {
                let message = format!(
                    "too many arguments supplied to string.format (expected {seen}, got {})",
                    elements.len()
                );
                self.wrong(call, message);
            }
            Ok(_) => {}
        }
    }

    /// The part that a clause cannot write.
    fn refused<'e>(&self, clause: Clause, expr: &'e Expr) -> Option<&'e Expr> {
        let ty = self.checked.ty(expr);
        let fits = match clause {
            _ if ty.is_dyn() => true,
            Clause::Text => matches!(
                ty,
                Type::List(_)
                    | Type::Map(..)
                    | Type::Int
                    | Type::Uint
                    | Type::Double
                    | Type::Bool
                    | Type::String
                    | Type::Timestamp
                    | Type::Bytes
                    | Type::Duration
                    | Type::Type(_)
                    | Type::Null
            ),
            Clause::Decimal | Clause::Octal => matches!(ty, Type::Int | Type::Uint),
            Clause::Fixed(_) | Clause::Scientific(_) => {
                matches!(ty, Type::Double | Type::String)
            }
            Clause::Binary => matches!(ty, Type::Int | Type::Uint | Type::Bool),
            Clause::Hex(_) => {
                matches!(ty, Type::Int | Type::Uint | Type::String | Type::Bytes)
            }
        };
        if !fits {
            return Some(expr);
        }
        if clause != Clause::Text {
            return None;
        }
        match &expr.kind {
            Kind::List { elements, .. } => elements.iter().find_map(|e| self.refused(clause, e)),
            Kind::Map(entries) => entries.iter().find_map(|e| {
                self.refused(clause, &e.key)
                    .or_else(|| self.refused(clause, &e.value))
            }),
            _ => None,
        }
    }
}

fn mismatch(expected: &Type, actual: &Type) -> String {
    format!(
        "expected type '{}' but found '{}'",
        expected.words(),
        actual.words()
    )
}
