//! One value laid over another.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::items::{Identity, identity};
use super::{Walk, walk};
use crate::fieldpath::same_value;
use crate::schema::{Ty, TypeId, set_at};

/// Lays `over` over `base`; `None` where nothing is left.
///
/// The caller has validated `over`, so its list items are known to be identified and to stand once.
pub(crate) fn merge(base: Option<&Value>, over: Option<&Value>, ty: Ty<'_>) -> Option<Value> {
    let (base, over) = match (base, over) {
        (Some(base), Some(over)) => (base, over),
        (one, other) => return one.or(other).cloned(),
    };
    match (walk(ty, base), walk(ty, over)) {
        (Walk::Map, Walk::Map) => match (base.as_object(), over.as_object()) {
            (Some(a), Some(b)) if !(a.is_empty() && b.is_empty()) => merge_maps(a, b, ty),
            // null lets stand what is there
            (Some(a), None) if over.is_null() && !a.is_empty() => Some(base.clone()),
            _ => Some(over.clone()),
        },
        (Walk::List { item, keys }, Walk::List { .. }) => {
            match (base.as_array(), over.as_array()) {
                (Some(a), Some(b)) if !(a.is_empty() && b.is_empty()) => {
                    Some(Value::Array(merge_lists(a, b, ty, item, keys)))
                }
                (Some(a), None) if over.is_null() && !a.is_empty() => Some(base.clone()),
                _ => Some(over.clone()),
            }
        }
        _ => Some(over.clone()),
    }
}

fn merge_maps(a: &Map<String, Value>, b: &Map<String, Value>, ty: Ty<'_>) -> Option<Value> {
    let mut out = Map::new();
    for (key, value) in a {
        if let Some(value) = merge(Some(value), b.get(key), ty.below(key)) {
            out.insert(key.clone(), value);
        }
    }
    for (key, value) in b {
        if !a.contains_key(key) {
            out.insert(key.clone(), value.clone());
        }
    }
    (!out.is_empty()).then_some(Value::Object(out))
}

/// The item that stands beside one of the list laid over.
#[derive(Clone, Copy, PartialEq)]
enum Base {
    None,
    One(usize),
    /// Items that stand twice are replaced, never merged.
    Twice,
}

/// Merges item by item: the order of `b` rules, items that only `a` has keep their place before what follows them.
fn merge_lists(
    a: &[Value],
    b: &[Value],
    ty: Ty<'_>,
    item: TypeId,
    keys: &[Box<str>],
) -> Vec<Value> {
    let places: BTreeMap<Identity<'_>, usize> = b
        .iter()
        .enumerate()
        .filter_map(|(at, value)| Some((identity(ty, item, keys, value)?, at)))
        .collect();
    let mut beside = vec![Base::None; b.len()];
    let in_b: Vec<Option<usize>> = a
        .iter()
        .enumerate()
        .map(|(at, value)| {
            let place = *places.get(&identity(ty, item, keys, value)?)?;
            beside[place] = match beside[place] {
                Base::None => Base::One(at),
                _ => Base::Twice,
            };
            Some(place)
        })
        .collect();
    let merged = |at: usize| match beside[at] {
        Base::One(base) => merge(Some(&a[base]), Some(&b[at]), ty.at(item)),
        _ => Some(b[at].clone()),
    };
    // items of both lists, in the order of `b`
    let mut shared = (0..b.len()).filter(|at| beside[*at] != Base::None);
    let mut next_shared = shared.next();
    let mut done = vec![false; b.len()];
    let mut out = Vec::with_capacity(a.len().max(b.len()));
    let (mut i, mut j) = (0, 0);
    while i < a.len() || j < b.len() {
        if i < a.len() && j < b.len() {
            if in_b[i] == Some(j) {
                out.extend(merged(j));
                done[j] = true;
                i += 1;
                j += 1;
                next_shared = shared.next();
                continue;
            }
            if in_b[i].is_some() && next_shared.is_some() && in_b[i] != next_shared {
                // it will come where `b` has it
                i += 1;
                continue;
            }
        }
        if i < a.len() {
            match in_b[i] {
                None => {
                    out.push(a[i].clone());
                    i += 1;
                    continue;
                }
                Some(place) if done[place] => i += 1,
                Some(_) => {}
            }
        }
        if j < b.len() {
            out.extend(merged(j));
            done[j] = true;
            if next_shared == Some(j) {
                next_shared = shared.next();
            }
            j += 1;
        }
    }
    out
}

/// Would laying `over` over `base` leave `base` as it is?
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Covered {
    No,
    /// Once the API server has set its defaults inside of what is replaced as one thing.
    Filled,
    Yes,
}

pub(crate) fn covered(base: &Value, over: &Value, ty: Ty<'_>) -> Covered {
    let when = |fits| if fits { Covered::Yes } else { Covered::No };
    match (walk(ty, base), walk(ty, over), base, over) {
        (Walk::Map, Walk::Map, Value::Object(a), Value::Object(b)) => {
            least(b.iter().map(|(key, over)| match a.get(key) {
                Some(base) => covered(base, over, ty.below(key)),
                None => Covered::No,
            }))
        }
        (Walk::List { item, keys }, Walk::List { .. }, Value::Array(a), Value::Array(b)) => {
            // in the same order, with other items between; an item that stands twice is never covered
            let mut rest = a.iter();
            let in_order = least(b.iter().map(|over| {
                let wanted = identity(ty, item, keys, over);
                let mut beside = || rest.find(|base| identity(ty, item, keys, base) == wanted);
                match wanted.is_some().then(&mut beside).flatten() {
                    Some(base) => covered(base, over, ty.at(item)),
                    None => Covered::No,
                }
            }));
            let once = || {
                let mut seen: Vec<_> = a
                    .iter()
                    .map(|value| identity(ty, item, keys, value))
                    .collect();
                seen.sort();
                seen.windows(2).all(|pair| pair[0] != pair[1])
            };
            in_order.min(when(in_order != Covered::No && once()))
        }
        (Walk::Map | Walk::List { .. }, _, _, Value::Null)
        | (_, Walk::Map | Walk::List { .. }, _, Value::Null) => when(base.is_null()),
        _ if same_value(base, over) => Covered::Yes,
        (_, _, Value::Object(a), Value::Object(b)) if a.len() > b.len() => {
            let mut filled = over.clone();
            set_at(&mut filled, ty);
            when(filled == *base).min(Covered::Filled)
        }
        _ => Covered::No,
    }
}

/// The least of all, without looking further than the first that is not covered.
fn least(mut all: impl Iterator<Item = Covered>) -> Covered {
    let least = all.try_fold(Covered::Yes, |least, one| match one {
        Covered::No => Err(()),
        one => Ok(least.min(one)),
    });
    least.unwrap_or(Covered::No)
}
