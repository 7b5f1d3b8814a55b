//! Which type can stand where which is wanted.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::types::Type;

/// What parameters stand for, with a log by which a failed attempt is taken back.
#[derive(Debug, Default)]
pub(crate) struct Mapping {
    known: BTreeMap<Arc<str>, Type>,
    log: Vec<(Arc<str>, Option<Type>)>,
    fresh: usize,
}

impl Mapping {
    pub(crate) fn fresh(&mut self) -> Type {
        let name = format!("_var{}", self.fresh);
        self.fresh += 1;
        Type::Param(name.into())
    }

    fn find(&self, ty: &Type) -> Option<&Type> {
        match ty {
            Type::Param(name) => self.known.get(name),
            _ => None,
        }
    }

    fn add(&mut self, param: &Type, ty: Type) {
        if let Type::Param(name) = param {
            let old = self.known.insert(name.clone(), ty);
            self.log.push((name.clone(), old));
        }
    }

    fn attempt(&mut self, work: impl FnOnce(&mut Mapping) -> bool) -> bool {
        let mark = self.log.len();
        let done = work(self);
        if done {
            self.log.truncate(mark);
        } else {
            while self.log.len() > mark {
                if let Some((name, old)) = self.log.pop() {
                    match old {
                        Some(old) => self.known.insert(name, old),
                        None => self.known.remove(&name),
                    };
                }
            }
        }
        done
    }

    /// Can the one stand for the other? If so, parameters are bound.
    pub(crate) fn assignable(&mut self, a: &Type, b: &Type) -> bool {
        self.attempt(|m| m.assign(a, b))
    }

    pub(crate) fn all_assignable(&mut self, a: &[Type], b: &[Type]) -> bool {
        a.len() == b.len() && self.attempt(|m| a.iter().zip(b).all(|(a, b)| m.assign(a, b)))
    }

    fn assign(&mut self, a: &Type, b: &Type) -> bool {
        if let Type::Param(_) = b {
            let (valid, bound) = self.substitutes(a, b);
            if valid {
                return true;
            }
            if bound {
                return false;
            }
        }
        if let Type::Param(_) = a {
            return self.substitutes(b, a).0;
        }
        if a.is_dyn_or_error() || b.is_dyn_or_error() {
            return true;
        }
        if *a == Type::Null {
            return nullable(b);
        }
        if *b == Type::Null {
            return nullable(a);
        }
        match (a, b) {
            (Type::Type(_), Type::Type(_)) => true,
            (Type::List(_), Type::List(_))
            | (Type::Map(..), Type::Map(..))
            | (Type::Opaque(..), Type::Opaque(..)) => {
                if a.runtime_name() != b.runtime_name() {
                    return false;
                }
                let (x, y) = (a.parameters(), b.parameters());
                x.len() == y.len() && x.iter().zip(y).all(|(x, y)| self.assign(x, y))
            }
            _ => a == b,
        }
    }

    /// Can `a` be what parameter `b` stands for, and is that known already?
    fn substitutes(&mut self, a: &Type, b: &Type) -> (bool, bool) {
        if a == b {
            return (true, true);
        }
        if let Some(sub) = self.find(b).cloned() {
            if *a == sub {
                return (true, true);
            }
            if self.assign(a, &sub) {
                let general = most_general(a, &sub);
                if self.absent(b, &general) {
                    self.add(b, general);
                }
                return (true, true);
            }
            return (false, true);
        }
        if self.absent(b, a) {
            self.add(b, a.clone());
            return (true, false);
        }
        (false, false)
    }

    /// Does a parameter not occur within a type?
    fn absent(&self, param: &Type, within: &Type) -> bool {
        if param == within {
            return false;
        }
        if let Type::Param(_) = within {
            return self.find(within).is_none_or(|sub| self.absent(param, sub));
        }
        within.parameters().iter().all(|p| self.absent(param, p))
    }

    /// The type with all that is known filled in.
    pub(crate) fn substitute(&self, ty: &Type, rest_dyn: bool) -> Type {
        if let Some(sub) = self.find(ty) {
            return self.substitute(sub, rest_dyn);
        }
        match ty {
            Type::Param(_) if rest_dyn => Type::Dyn,
            Type::List(of) => Type::list(self.substitute(of, rest_dyn)),
            Type::Map(key, value) => Type::map(
                self.substitute(key, rest_dyn),
                self.substitute(value, rest_dyn),
            ),
            Type::Opaque(name, params) => Type::Opaque(
                name.clone(),
                params
                    .iter()
                    .map(|p| self.substitute(p, rest_dyn))
                    .collect(),
            ),
            Type::Type(Some(of)) => Type::Type(Some(Arc::new(self.substitute(of, rest_dyn)))),
            other => other.clone(),
        }
    }
}

/// Replaces parameters by name.
pub(crate) fn rename(ty: &Type, names: &BTreeMap<Arc<str>, Type>) -> Type {
    match ty {
        Type::Param(name) => names.get(name).cloned().unwrap_or_else(|| ty.clone()),
        Type::List(of) => Type::list(rename(of, names)),
        Type::Map(key, value) => Type::map(rename(key, names), rename(value, names)),
        Type::Opaque(name, params) => Type::Opaque(
            name.clone(),
            params.iter().map(|p| rename(p, names)).collect(),
        ),
        Type::Type(Some(of)) => Type::Type(Some(Arc::new(rename(of, names)))),
        other => other.clone(),
    }
}

fn nullable(ty: &Type) -> bool {
    matches!(
        ty,
        Type::Opaque(..) | Type::Struct(_) | Type::Duration | Type::Timestamp | Type::Null
    )
}

pub(crate) fn most_general(a: &Type, b: &Type) -> Type {
    if less_specific(a, b) { a } else { b }.clone()
}

fn less_specific(a: &Type, b: &Type) -> bool {
    if matches!(a, Type::Dyn | Type::Param(_)) {
        return true;
    }
    if matches!(b, Type::Dyn | Type::Param(_)) {
        return false;
    }
    match (a, b) {
        (Type::Type(_), Type::Type(_)) => true,
        (Type::List(_), Type::List(_))
        | (Type::Map(..), Type::Map(..))
        | (Type::Opaque(..), Type::Opaque(..)) => {
            let (x, y) = (a.parameters(), b.parameters());
            a.runtime_name() == b.runtime_name()
                && x.len() == y.len()
                && x.iter().zip(y).all(|(x, y)| less_specific(x, y))
        }
        _ => a == b,
    }
}
