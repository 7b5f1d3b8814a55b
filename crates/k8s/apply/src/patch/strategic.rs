//! Strategic merge patches: lists merge by key, directives say what else to do.
//!
//! Directives: `$patch: replace|delete` in a map or list item, `$retainKeys`, `$setElementOrder/LIST`,
//! `$deleteFromPrimitiveList/LIST`. How each list merges comes from the type (`patchStrategy`, `patchMergeKey`).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::PatchError;
use super::order::Order;
use crate::fieldpath::PathElement;
use crate::schema::{PatchStrategy, Shape, Ty, TypeRef};

const PATCH: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const SET_ORDER: &str = "$setElementOrder/";
const DELETE_FROM: &str = "$deleteFromPrimitiveList/";

type Result<T> = std::result::Result<T, PatchError>;

/// Applies a strategic merge patch to an object of this type.
///
/// Kubernetes offers these patches for built-in kinds only; with the schema-less type every list is replaced.
pub fn strategic_merge(original: &Value, patch: &Value, schema: &TypeRef) -> Result<Value> {
    let mut merge = Merge { path: Vec::new() };
    match (original, patch) {
        (Value::Object(original), Value::Object(patch)) => merge
            .map(original.clone(), patch, schema.ty())
            .map(Value::Object),
        _ => merge.error("the patch and what it patches must be maps".to_owned()),
    }
}

struct Merge {
    path: Vec<String>,
}

/// How the values under one key are merged.
struct Strategy<'a> {
    patch: PatchStrategy,
    key: Option<&'a str>,
    /// The type of the value, and of its items if it is a list.
    ty: Ty<'a>,
    item: Ty<'a>,
}

impl<'a> Strategy<'a> {
    fn of(ty: Ty<'a>, key: &str) -> Self {
        let below = ty.below(key);
        let item = match below.shape() {
            Shape::List { item, .. } => below.at(*item),
            _ => Ty { id: None, ..ty },
        };
        let field = ty.declared(key);
        Self {
            patch: field.map(|field| field.patch).unwrap_or_default(),
            key: field.and_then(|field| field.merge_key.as_deref()),
            ty: below,
            item,
        }
    }
}

impl Merge {
    fn error<T>(&self, problem: String) -> Result<T> {
        Err(PatchError::Strategic {
            path: if self.path.is_empty() {
                "the root".to_owned()
            } else {
                self.path.join(".")
            },
            problem,
        })
    }

    fn at<T>(&mut self, step: &str, work: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        self.path.push(step.to_owned());
        let out = work(self);
        self.path.pop();
        out
    }

    fn map(
        &mut self,
        mut original: Map<String, Value>,
        patch: &Map<String, Value>,
        ty: Ty<'_>,
    ) -> Result<Map<String, Value>> {
        match patch.get(PATCH) {
            None => {}
            Some(Value::String(directive)) if directive == "replace" => {
                let kept = patch.iter().filter(|(key, _)| *key != PATCH);
                return Ok(kept
                    .map(|(key, value)| (key.clone(), value.clone()))
                    .collect());
            }
            Some(Value::String(directive)) if directive == "delete" => return Ok(Map::new()),
            Some(other) => return self.error(format!("unknown patch type {other}")),
        }
        if let Some(keys) = patch.get(RETAIN_KEYS) {
            self.retain_keys(&mut original, patch, keys)?;
        }
        let mut done: Vec<&str> = Vec::new();
        for (key, order) in patch {
            if let Some(list) = key.strip_prefix(SET_ORDER) {
                self.at(list, |merge| {
                    merge.set_order(&mut original, list, patch.get(list), order, ty)
                })?;
                done.push(list);
            }
        }
        for (key, value) in patch {
            if key == RETAIN_KEYS || key.starts_with(SET_ORDER) || done.contains(&key.as_str()) {
                continue;
            }
            if let Some(list) = key.strip_prefix(DELETE_FROM) {
                self.at(list, |merge| merge.delete_from(&mut original, list, value))?;
            } else {
                self.at(key, |merge| merge.entry(&mut original, key, value, ty))?;
            }
        }
        Ok(original)
    }

    fn entry(
        &mut self,
        original: &mut Map<String, Value>,
        key: &str,
        value: &Value,
        ty: Ty<'_>,
    ) -> Result<()> {
        if value.is_null() {
            original.remove(key);
            return Ok(());
        }
        let strategy = Strategy::of(ty, key);
        let both = |one: fn(&Value) -> bool| original.get(key).is_some_and(one) && one(value);
        if matches!(ty.shape(), Shape::Map { .. })
            && (both(Value::is_object) || both(Value::is_array))
        {
            // Kubernetes does not know how to merge what lies in a map: a user's `extra` is all that there is of it
            return self.error("lists and maps inside of a map cannot be merged".to_owned());
        }
        let merged = match (original.remove(key), value) {
            (Some(Value::Object(old)), Value::Object(new)) => {
                if strategy.patch.replace {
                    Some(value.clone())
                } else {
                    Some(Value::Object(self.map(old, new, strategy.ty)?))
                }
            }
            (Some(Value::Array(old)), Value::Array(new)) => {
                if strategy.patch.merge {
                    Some(Value::Array(self.list(old, new, &strategy)?))
                } else {
                    Some(value.clone())
                }
            }
            _ => cleaned(value),
        };
        if let Some(merged) = merged {
            original.insert(key.to_owned(), merged);
        }
        Ok(())
    }

    fn retain_keys(
        &self,
        original: &mut Map<String, Value>,
        patch: &Map<String, Value>,
        keys: &Value,
    ) -> Result<()> {
        let Value::Array(keys) = keys else {
            return self.error(format!("{RETAIN_KEYS} must be a list of keys"));
        };
        let is_kept = |key: &str| keys.iter().any(|kept| kept.as_str() == Some(key));
        let stray = patch
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(key, _)| key.as_str())
            .find(|key| !key.starts_with('$') && !is_kept(key));
        if let Some(key) = stray {
            return self.error(format!(
                "{RETAIN_KEYS} does not name {key:?}, which the patch sets"
            ));
        }
        original.retain(|key, _| is_kept(key));
        Ok(())
    }

    fn delete_from(
        &self,
        original: &mut Map<String, Value>,
        list: &str,
        gone: &Value,
    ) -> Result<()> {
        let Value::Array(gone) = gone else {
            return self.error(format!("{DELETE_FROM}{list} must be a list"));
        };
        let gone: BTreeSet<PathElement> = gone.iter().cloned().map(PathElement::Value).collect();
        if let Some(Value::Array(items)) = original.get_mut(list) {
            items.retain(|item| !gone.contains(&PathElement::Value(item.clone())));
        }
        Ok(())
    }

    fn set_order(
        &mut self,
        original: &mut Map<String, Value>,
        list: &str,
        patch: Option<&Value>,
        order: &Value,
        ty: Ty<'_>,
    ) -> Result<()> {
        let Value::Array(order) = order else {
            return self.error(format!("{SET_ORDER}{list} must be a list"));
        };
        let strategy = Strategy::of(ty, list);
        let of_patch = match patch {
            None | Some(Value::Null) => None,
            Some(Value::Array(items)) => Some(items.as_slice()),
            Some(_) => return self.error("the patch of an ordered list must be a list".to_owned()),
        };
        if patch == Some(&Value::Null) {
            original.remove(list);
            return Ok(());
        }
        let live = match original.get(list) {
            None | Some(Value::Null) => None,
            Some(Value::Array(items)) => Some(items.clone()),
            Some(_) => {
                return self.error("an ordered list stands where something else is".to_owned());
            }
        };
        let keys = Keys {
            merge: self,
            key: strategy.key,
        };
        keys.in_order(of_patch.unwrap_or_default(), order)?;
        let merged = match (live.clone(), of_patch) {
            (None, None) => return Ok(()),
            (Some(live), None) => live,
            (None, Some(patch)) => patch.iter().filter_map(cleaned).collect(),
            (Some(live), Some(patch)) if strategy.patch.merge => {
                self.list(live, patch, &strategy)?
            }
            (Some(_), Some(patch)) => patch.to_vec(),
        };
        let keys = Keys {
            merge: self,
            key: strategy.key,
        };
        let live = keys.places(&live.unwrap_or_default(), of_patch.unwrap_or_default())?;
        let ordered = Order::new(keys.of(order)?, live).sort(merged, |item| keys.one(item))?;
        original.insert(list.to_owned(), Value::Array(ordered));
        Ok(())
    }

    fn list(
        &mut self,
        original: Vec<Value>,
        patch: &[Value],
        strategy: &Strategy<'_>,
    ) -> Result<Vec<Value>> {
        let mut kinds = original.iter().chain(patch).map(Value::is_object);
        let Some(maps) = kinds.next() else {
            return Ok(original);
        };
        if kinds.any(|kind| kind != maps) {
            return self.error("list element types are not identical".to_owned());
        }
        if original.iter().chain(patch).any(Value::is_array) {
            return self.error("lists of lists are not supported".to_owned());
        }
        if maps {
            self.list_of_maps(original, patch, strategy)
        } else {
            self.list_of_scalars(original, patch)
        }
    }

    fn list_of_scalars(&self, original: Vec<Value>, patch: &[Value]) -> Result<Vec<Value>> {
        let keys = Keys {
            merge: self,
            key: None,
        };
        let order = Order::new(keys.of(patch)?, keys.of(&original)?);
        let mut seen = BTreeSet::new();
        let mut merged = Vec::with_capacity(original.len() + patch.len());
        for value in original.into_iter().chain(patch.iter().cloned()) {
            if seen.insert(PathElement::Value(value.clone())) {
                merged.push(value);
            }
        }
        order.sort(merged, |item| keys.one(item))
    }

    fn list_of_maps(
        &mut self,
        mut original: Vec<Value>,
        patch: &[Value],
        strategy: &Strategy<'_>,
    ) -> Result<Vec<Value>> {
        let Some(key) = strategy.key else {
            return self.error("cannot merge lists of maps without merge key".to_owned());
        };
        let mut plain: Vec<&Value> = Vec::with_capacity(patch.len());
        let mut gone = BTreeSet::new();
        let mut replace = false;
        for item in patch {
            match item.get(PATCH) {
                None => plain.push(item),
                Some(Value::String(directive)) if directive == "delete" => {
                    let element = Keys {
                        merge: self,
                        key: Some(key),
                    }
                    .one(item)?;
                    gone.insert(element);
                }
                Some(Value::String(directive)) if directive == "replace" => replace = true,
                Some(other) => return self.error(format!("unknown patch type {other} in a list")),
            }
        }
        if replace {
            return Ok(plain.into_iter().filter_map(cleaned).collect());
        }
        let element_of = |item: &Value| item.get(key).cloned().map(PathElement::Value);
        original.retain(|item| element_of(item).is_none_or(|element| !gone.contains(&element)));

        let keys = Keys {
            merge: self,
            key: Some(key),
        };
        let of_patch: Vec<PathElement> = plain
            .iter()
            .map(|item| keys.one(item))
            .collect::<Result<_>>()?;
        let of_original = keys.of(&original)?;
        let mut places: BTreeMap<PathElement, usize> = BTreeMap::new();
        for (at, element) in of_original.iter().enumerate() {
            places.entry(element.clone()).or_insert(at);
        }
        for (item, element) in plain.iter().zip(&of_patch) {
            match (places.get(element), item.as_object()) {
                (Some(at), Some(patch)) => {
                    if let Value::Object(old) = original[*at].take() {
                        let merged = self.at(&element.to_string(), |merge| {
                            merge.map(old, patch, strategy.item)
                        })?;
                        original[*at] = Value::Object(merged);
                    }
                }
                _ => {
                    places.insert(element.clone(), original.len());
                    original.extend(cleaned(item));
                }
            }
        }
        let keys = Keys {
            merge: self,
            key: Some(key),
        };
        Order::new(of_patch, of_original).sort(original, |item| keys.one(item))
    }
}

/// What identifies the items of a list: their merge key, or themselves.
struct Keys<'a> {
    merge: &'a Merge,
    key: Option<&'a str>,
}

impl Keys<'_> {
    fn one(&self, item: &Value) -> Result<PathElement> {
        let value = match self.key {
            None => Some(item),
            Some(key) => item.get(key),
        };
        match value {
            Some(value) => Ok(PathElement::Value(value.clone())),
            None => self.merge.error(format!(
                "map: {item} does not contain declared merge key: {}",
                self.key.unwrap_or_default()
            )),
        }
    }

    fn of(&self, items: &[Value]) -> Result<Vec<PathElement>> {
        items.iter().map(|item| self.one(item)).collect()
    }

    /// The order of the live list, where items that the patch adds take the places of those that it deletes, as they do
    /// in Kubernetes.
    fn places(&self, live: &[Value], patch: &[Value]) -> Result<Vec<PathElement>> {
        let mut order = self.of(live)?;
        if self.key.is_none() {
            return Ok(order);
        }
        let (gone, added): (Vec<&Value>, Vec<&Value>) =
            patch.iter().partition(|item| item.get(PATCH).is_some());
        let gone: BTreeSet<PathElement> = gone
            .into_iter()
            .filter_map(|item| self.one(item).ok())
            .collect();
        let known: BTreeSet<PathElement> = order.iter().cloned().collect();
        let places = order.len();
        order.retain(|element| !gone.contains(element));
        for item in added {
            let element = self.one(item)?;
            if order.len() < places && (!known.contains(&element) || gone.contains(&element)) {
                order.push(element);
            }
        }
        Ok(order)
    }

    /// Refuses a patch whose items do not come in the order that it asks for.
    fn in_order(&self, patch: &[Value], order: &[Value]) -> Result<()> {
        if patch.is_empty() || order.is_empty() {
            return Ok(());
        }
        let mut order_of = order.iter();
        for item in patch.iter().filter(|item| item.get(PATCH).is_none()) {
            let element = self.one(item)?;
            loop {
                match order_of.next() {
                    Some(next) if self.one(next)? == element => break,
                    Some(_) => {}
                    None => {
                        return self.merge.error(format!(
                            "the order of the patch list does not match {SET_ORDER}"
                        ));
                    }
                }
            }
        }
        Ok(())
    }
}

/// A value of a patch as it is stored where nothing was: without directives and nulls.
fn cleaned(value: &Value) -> Option<Value> {
    match value {
        Value::Object(map) => (!map.contains_key(PATCH)).then(|| {
            map.iter()
                .filter(|(key, value)| !value.is_null() && !is_directive(key))
                .filter_map(|(key, value)| Some((key.clone(), cleaned(value)?)))
                .collect::<Map<_, _>>()
                .into()
        }),
        Value::Array(items) => Some(items.iter().filter_map(cleaned).collect()),
        _ => Some(value.clone()),
    }
}

fn is_directive(key: &str) -> bool {
    key == RETAIN_KEYS || key.starts_with(SET_ORDER) || key.starts_with(DELETE_FROM)
}
