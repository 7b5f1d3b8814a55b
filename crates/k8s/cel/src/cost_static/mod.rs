//! What an expression can cost at most, before any data is seen.

mod libraries;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::ast::{Expr, Kind, Literal};
use crate::checker::Checked;
use crate::cost_actual::compares;
use crate::schema::Decl;
use crate::types::Type;

/// A range, of sizes or of costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The least.
    pub min: u64,
    /// The most.
    pub max: u64,
}

const ZERO: Range = Range::fixed(0);
const ONE: Range = Range::fixed(1);
const UNKNOWN: Range = Range {
    min: 0,
    max: u64::MAX,
};
const TEXT: f64 = 0.1;
const PATTERN: f64 = 0.25;

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "costs are rounded so"
)]
fn factor(x: u64, by: f64) -> u64 {
    let value = x as f64;
    if value > 0.0 && by > 0.0 && value > u64::MAX as f64 / by {
        return u64::MAX;
    }
    let up = (value * by).ceil();
    if up >= 18_446_744_073_709_551_616.0 {
        return u64::MAX;
    }
    up as u64
}

impl Range {
    const fn fixed(n: u64) -> Range {
        Range { min: n, max: n }
    }

    fn add(self, other: Range) -> Range {
        Range {
            min: self.min.saturating_add(other.min),
            max: self.max.saturating_add(other.max),
        }
    }

    fn times(self, other: Range) -> Range {
        Range {
            min: self.min.saturating_mul(other.min),
            max: self.max.saturating_mul(other.max),
        }
    }

    fn by(self, by: f64) -> Range {
        Range {
            min: factor(self.min, by),
            max: factor(self.max, by),
        }
    }

    fn union(self, other: Range) -> Range {
        Range {
            min: self.min.min(other.min),
            max: self.max.max(other.max),
        }
    }
}

/// The sizes of a list's or map's keys and values.
#[derive(Clone, Copy, Debug)]
struct Entries {
    list: bool,
    key: Range,
    value: Range,
}

impl Entries {
    fn union(a: Option<Entries>, b: Option<Entries>) -> Option<Entries> {
        let (a, b) = (a?, b?);
        Some(Entries {
            list: a.list,
            key: a.key.union(b.key),
            value: a.value.union(b.value),
        })
    }
}

#[derive(Clone, Debug)]
struct Local {
    path: Path,
    size: Option<Range>,
    entries: Option<Entries>,
}

type Path = Vec<Arc<str>>;

struct Coster<'c> {
    checked: &'c Checked,
    decl: &'c Decl,
    paths: BTreeMap<u32, Path>,
    locals: BTreeMap<Arc<str>, Vec<Local>>,
    sizes: BTreeMap<u32, Range>,
    entries: BTreeMap<u32, Entries>,
}

/// The cost and, where it has one, the size of a call.
struct Estimate {
    cost: Range,
    size: Option<Range>,
}

fn only(cost: Range) -> Option<Estimate> {
    Some(Estimate { cost, size: None })
}

fn sized(cost: Range, size: Range) -> Option<Estimate> {
    Some(Estimate {
        cost,
        size: Some(size),
    })
}

/// Estimates a checked expression over data of a type.
pub(crate) fn estimate(checked: &Checked, decl: &Decl) -> Range {
    let mut coster = Coster {
        checked,
        decl,
        paths: BTreeMap::new(),
        locals: BTreeMap::new(),
        sizes: BTreeMap::new(),
        entries: BTreeMap::new(),
    };
    coster.cost(&checked.expr)
}

/// An argument, as the estimates of functions see it.
struct Arg<'e> {
    expr: &'e Expr,
    path: Path,
    /// The size, where it is known.
    size: Option<Range>,
}

impl Coster<'_> {
    fn path(&self, expr: &Expr) -> Path {
        if let Kind::Ident(name) = &expr.kind
            && let Some(local) = self.local(name)
        {
            return local.path.clone();
        }
        self.paths.get(&expr.id).cloned().unwrap_or_default()
    }

    fn local(&self, name: &str) -> Option<&Local> {
        self.locals.get(name)?.last()
    }

    fn push(&mut self, name: &Arc<str>, local: Local) {
        self.locals.entry(name.clone()).or_default().push(local);
    }

    fn pop(&mut self, name: &Arc<str>) {
        if let Some(stack) = self.locals.get_mut(name) {
            stack.pop();
        }
    }

    fn push_part(&mut self, name: &Arc<str>, range: &Expr, value: bool, single: bool) {
        let entries = self.entries_of(range);
        let list = match entries {
            Some(entries) => entries.list,
            None => matches!(self.checked.ty(range), Type::List(_)),
        };
        let (size, step) = match (value || single && list, list) {
            (true, true) => (entries.map(|e| e.value), "@items"),
            (true, false) => (entries.map(|e| e.value), "@values"),
            (false, true) => (entries.map(|e| e.key), "@indices"),
            (false, false) => (entries.map(|e| e.key), "@keys"),
        };
        let mut path = self.path(range);
        path.push(step.into());
        self.push(
            name,
            Local {
                path,
                size,
                entries: None,
            },
        );
    }

    fn cost(&mut self, expr: &Expr) -> Range {
        match &expr.kind {
            Kind::Unspecified | Kind::Literal(_) => ZERO,
            Kind::Ident(name) => {
                let path = match self.local(name) {
                    Some(local) => local.path.clone(),
                    None => vec![name.clone()],
                };
                self.paths.insert(expr.id, path);
                ONE
            }
            Kind::Select {
                operand,
                field,
                test_only,
            } => {
                let mut sum = self.cost(operand);
                if *test_only {
                    return sum;
                }
                if matches!(
                    self.checked.ty(operand),
                    Type::Map(..) | Type::Struct(_) | Type::Param(_)
                ) {
                    sum = sum.add(ONE);
                }
                let mut path = self.path(operand);
                path.push(field.clone());
                self.paths.insert(expr.id, path);
                sum
            }
            Kind::Call {
                function,
                target,
                args,
            } => self.call(expr, function, target.as_deref(), args),
            Kind::List { elements, .. } => {
                let mut sum = ZERO;
                let mut item = Range {
                    min: if elements.is_empty() { 0 } else { u64::MAX },
                    max: 0,
                };
                for element in elements {
                    sum = sum.add(self.cost(element));
                    item = item.union(self.size_or_unknown(element));
                }
                self.entries.insert(
                    expr.id,
                    Entries {
                        list: true,
                        key: ONE,
                        value: item,
                    },
                );
                sum.add(Range::fixed(10))
            }
            Kind::Map(parts) => {
                let none = Range {
                    min: if parts.is_empty() { 0 } else { u64::MAX },
                    max: 0,
                };
                let (mut sum, mut key, mut value) = (ZERO, none, none);
                for part in parts {
                    sum = sum.add(self.cost(&part.key));
                    sum = sum.add(self.cost(&part.value));
                    key = key.union(self.size_or_unknown(&part.key));
                    value = value.union(self.size_or_unknown(&part.value));
                }
                self.entries.insert(
                    expr.id,
                    Entries {
                        list: false,
                        key,
                        value,
                    },
                );
                sum.add(Range::fixed(30))
            }
            Kind::Struct { fields, .. } => fields
                .iter()
                .fold(Range::fixed(40), |sum, f| sum.add(self.cost(&f.value))),
            Kind::Comprehension(_) => self.comprehension(expr),
        }
    }

    fn comprehension(&mut self, expr: &Expr) -> Range {
        let Kind::Comprehension(c) = &expr.kind else {
            return ZERO;
        };
        let mut sum = self.cost(&c.range).add(self.cost(&c.init));
        let accu = Local {
            path: self.path(&c.init),
            size: self.size(&c.init),
            entries: self.entries_of(&c.init),
        };
        let empty = matches!(&c.range.kind, Kind::List { elements, .. } if elements.is_empty());
        let never = matches!(&c.condition.kind, Kind::Literal(Literal::Bool(false)));
        self.push(&c.accu, accu);
        if empty && never {
            sum = sum.add(self.cost(&c.result));
            self.pop(&c.accu);
            self.copy_size(expr.id, &c.result);
            return sum;
        }
        match &c.var2 {
            Some(var2) => {
                self.push_part(&c.var, &c.range, false, false);
                self.push_part(var2, &c.range, true, false);
            }
            None => self.push_part(&c.var, &c.range, false, true),
        }
        let condition = self.cost(&c.condition);
        let step = self.cost(&c.step);
        self.pop(&c.var);
        if let Some(var2) = &c.var2 {
            self.pop(var2);
        }
        sum = sum.add(self.cost(&c.result));
        self.pop(&c.accu);
        let count = self.size_or_unknown(&c.range);
        sum = sum.add(count.times(step.add(condition)));
        match &c.init.kind {
            Kind::Literal(_) => {
                if let Some(size) = self.size(&c.init) {
                    self.sizes.insert(expr.id, size);
                }
            }
            Kind::List { .. } | Kind::Map(_) => {
                self.sizes.insert(expr.id, count);
                if let Some(entries) = self.entries_of(&c.step) {
                    self.entries.insert(expr.id, entries);
                }
            }
            _ => {}
        }
        sum
    }

    fn copy_size(&mut self, to: u32, from: &Expr) {
        if let Some(size) = self.size(from) {
            self.sizes.insert(to, size);
        }
        if let Some(entries) = self.entries_of(from) {
            self.entries.insert(to, entries);
        }
    }

    fn size_or_unknown(&mut self, expr: &Expr) -> Range {
        self.size(expr).unwrap_or(UNKNOWN)
    }

    fn size(&mut self, expr: &Expr) -> Option<Range> {
        if let Some(size) = self.sizes.get(&expr.id) {
            return Some(*size);
        }
        let literal = match &expr.kind {
            Kind::Literal(Literal::String(s)) => Some(s.chars().count() as u64),
            Kind::Literal(Literal::Bytes(b)) => Some(b.len() as u64),
            Kind::Literal(_) => Some(1),
            Kind::List { elements, .. } => Some(elements.len() as u64),
            Kind::Map(entries) => Some(entries.len() as u64),
            _ => None,
        };
        if let Some(size) = literal {
            return Some(Range::fixed(size));
        }
        if let Some(size) = self.schema_size(&self.path(expr)) {
            self.sizes.insert(expr.id, size);
            return Some(size);
        }
        if scalar(self.checked.ty(expr)) {
            return Some(ONE);
        }
        match &expr.kind {
            Kind::Ident(name) => self.local(name)?.size,
            _ => None,
        }
    }

    /// The size of data at a path, as the schema bounds it.
    fn schema_size(&self, path: &[Arc<str>]) -> Option<Range> {
        let (_, steps) = path.split_first()?;
        let mut at = self.decl;
        for step in steps {
            at = at.step(step)?;
        }
        Some(Range {
            min: 0,
            max: u64::try_from(at.max_elements).unwrap_or_default(),
        })
    }

    fn entries_of(&self, expr: &Expr) -> Option<Entries> {
        if let Some(entries) = self.entries.get(&expr.id) {
            return Some(*entries);
        }
        match &expr.kind {
            Kind::Ident(name) => self.local(name)?.entries,
            _ => None,
        }
    }

    fn arg<'e>(&mut self, expr: &'e Expr) -> Arg<'e> {
        let mut path = self.path(expr);
        if path
            .first()
            .is_some_and(|p| matches!(&**p, "@result" | "__result__"))
        {
            path.clear();
        }
        Arg {
            expr,
            path,
            size: self.size(expr),
        }
    }

    /// The size that the Kubernetes libraries assume.
    fn estimated(&self, arg: &Arg<'_>) -> Range {
        arg.size
            .or_else(|| self.schema_size(&arg.path))
            .unwrap_or(UNKNOWN)
    }

    fn call(&mut self, expr: &Expr, function: &str, target: Option<&Expr>, args: &[Expr]) -> Range {
        if function == "dyn"
            && let Some(arg) = args.first()
        {
            let cost = self.cost(arg);
            self.copy_size(expr.id, arg);
            return cost.add(ONE);
        }
        let (mut costs, mut parts) = (Vec::new(), Vec::new());
        for arg in args {
            costs.push(self.cost(arg));
            parts.push(self.arg(arg));
        }
        let overloads = self.checked.overloads(expr).to_vec();
        if overloads.is_empty() {
            return ZERO;
        }
        let mut sum = ZERO;
        let target = target.map(|target| {
            sum = self.cost(target);
            self.arg(target)
        });
        let mut cost = Range {
            min: u64::MAX,
            max: 0,
        };
        let mut result = None;
        for overload in overloads {
            let all = costs.iter().fold(ZERO, |sum, c| sum.add(*c));
            let estimate = self.function(
                expr,
                function,
                overload,
                target.as_ref(),
                &parts,
                &costs,
                all,
            );
            cost = cost.union(estimate.cost);
            if let Some(size) = estimate.size {
                result = Some(result.map_or(size, |old: Range| old.union(size)));
            }
            if let ("index_list" | "index_map", Some(of)) = (overload, args.first()) {
                result = self.entries_of(of).map(|e| e.value);
                let mut path = self.path(of);
                let step = if overload == "index_list" {
                    "@items"
                } else {
                    "@values"
                };
                path.push(step.into());
                self.paths.insert(expr.id, path);
            }
            if result.is_none() {
                result = self.size(expr);
            }
        }
        if let Some(size) = result {
            self.sizes.insert(expr.id, size);
        }
        sum.add(cost)
    }

    #[expect(clippy::too_many_arguments, reason = "one call, seen from all sides")]
    fn function(
        &mut self,
        expr: &Expr,
        function: &str,
        overload: &str,
        target: Option<&Arg<'_>>,
        args: &[Arg<'_>],
        costs: &[Range],
        all: Range,
    ) -> Estimate {
        let own = self
            .lists(overload, target, args)
            .or_else(|| self.kubernetes(function, overload, target, args));
        if let Some(own) = own {
            return Estimate {
                cost: own.cost.add(all),
                size: own.size,
            };
        }
        let size = |i: usize| args.get(i).and_then(|a| a.size).unwrap_or(UNKNOWN);
        let of_target = target.map(|t| t.size.unwrap_or(UNKNOWN));
        let plain = |cost: Range| Estimate {
            cost: cost.add(all),
            size: None,
        };
        match overload {
            "string_format" if of_target.is_some() => plain(of_target.unwrap_or(UNKNOWN).by(TEXT)),
            "string_to_bytes" => Estimate {
                cost: size(0).by(TEXT).add(all),
                size: Some(Range {
                    min: size(0).min,
                    max: size(0).max.wrapping_mul(4),
                }),
            },
            "bytes_to_string" => Estimate {
                cost: size(0).by(TEXT).add(all),
                size: Some(Range {
                    min: size(0).min / 4,
                    max: size(0).max,
                }),
            },
            "strings_quote" => Estimate {
                cost: size(0).by(TEXT).add(all),
                size: Some(Range {
                    min: size(0).min.wrapping_add(2),
                    max: size(0).max.wrapping_mul(2).wrapping_add(2),
                }),
            },
            "starts_with_string" | "ends_with_string" if args.len() == 1 => plain(size(0).by(TEXT)),
            "in_list" if args.len() == 2 => plain(size(1).by(1.0)),
            "matches_string" if args.len() == 1 && of_target.is_some() => {
                let text = of_target.unwrap_or(UNKNOWN).add(ONE).by(TEXT);
                plain(text.times(size(0).by(PATTERN)))
            }
            "contains_string" if args.len() == 1 && of_target.is_some() => plain(
                of_target
                    .unwrap_or(UNKNOWN)
                    .by(TEXT)
                    .times(size(0).by(TEXT)),
            ),
            "logical_or" | "logical_and" if costs.len() >= 2 => Estimate {
                cost: Range {
                    min: costs[0].min,
                    max: costs[0].add(costs[1]).max,
                },
                size: None,
            },
            "conditional" if costs.len() >= 3 => {
                let both = size(1).union(size(2));
                let entries =
                    Entries::union(self.entries_of(args[1].expr), self.entries_of(args[2].expr));
                if let Some(entries) = entries {
                    self.entries.insert(expr.id, entries);
                }
                Estimate {
                    cost: costs[0].add(costs[1].union(costs[2])),
                    size: Some(both),
                }
            }
            "add_string" | "add_bytes" | "add_list" if args.len() == 2 => {
                let both = size(0).add(size(1));
                let entries =
                    Entries::union(self.entries_of(args[0].expr), self.entries_of(args[1].expr));
                if let Some(entries) = entries {
                    self.entries.insert(expr.id, entries);
                }
                let cost = if overload == "add_list" {
                    ONE
                } else {
                    both.by(TEXT)
                };
                Estimate {
                    cost: cost.add(all),
                    size: Some(both),
                }
            }
            _ if compares(overload) => {
                let max = size(0).max.min(size(1).max);
                plain(
                    Range {
                        min: u64::from(max > 0),
                        max,
                    }
                    .by(TEXT),
                )
            }
            _ => plain(ONE),
        }
    }
}

fn scalar(ty: &Type) -> bool {
    match ty {
        Type::Bool | Type::Double | Type::Duration | Type::Int | Type::Timestamp | Type::Uint => {
            true
        }
        other => other.unwrap_optional().is_some_and(scalar),
    }
}
