//! What a run costs.

use std::collections::BTreeMap;

use crate::libraries::Object;
use crate::plan::Node;
use crate::value::{Cancelled, List, Map, Value};

/// The values that steps left, by their numbers; what is above one that is taken goes with it.
#[derive(Default)]
pub(crate) struct Stack<'a> {
    values: Vec<(u32, Value<'a>)>,
    /// Where each number may stand; what is no longer so is found out when it is looked for.
    places: BTreeMap<u32, Vec<usize>>,
}

impl<'a> Stack<'a> {
    pub(crate) fn push(&mut self, id: u32, value: Value<'a>) {
        self.places.entry(id).or_default().push(self.values.len());
        self.values.push((id, value));
    }

    fn find(&mut self, id: u32) -> Option<usize> {
        let places = self.places.get_mut(&id)?;
        while let Some(at) = places.last().copied() {
            if self.values.get(at).is_some_and(|(found, _)| *found == id) {
                return Some(at);
            }
            places.pop();
        }
        None
    }

    pub(crate) fn drop(&mut self, id: u32) {
        if let Some(at) = self.find(id) {
            self.values.truncate(at);
        }
    }

    /// Takes the arguments of a call; none where one of them is not there.
    pub(crate) fn drop_args(&mut self, args: &[Node]) -> Option<Vec<Value<'a>>> {
        let mut found = Vec::with_capacity(args.len());
        for arg in args.iter().rev() {
            let at = self.find(arg.id())?;
            found.push(self.values[at].1.clone());
            self.values.truncate(at);
        }
        found.reverse();
        Some(found)
    }

    pub(crate) fn drop_all<'n>(&mut self, args: impl DoubleEndedIterator<Item = &'n Node>) {
        for arg in args.rev() {
            match self.find(arg.id()) {
                Some(at) => self.values.truncate(at),
                None => return,
            }
        }
    }
}

/// The size of a value as costs count it.
fn size(value: &Value<'_>) -> u64 {
    if let Value::Optional(Some(inner)) = value {
        return size(inner);
    }
    kubernetes_size(value)
}

fn kubernetes_size(value: &Value<'_>) -> u64 {
    match value {
        Value::Object(Object::Ip(ip)) => {
            if ip.is_ipv4() {
                4
            } else {
                16
            }
        }
        Value::Object(Object::Cidr(_, bits)) => u64::from(*bits).div_ceil(8),
        other => other.size().map_or(1, |size| size as u64),
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "costs are rounded so"
)]
fn part(size: u64, factor: f64) -> u64 {
    (size as f64 * factor).ceil() as u64
}

const TEXT: f64 = 0.1;
const PATTERN: f64 = 0.25;

fn regex(text: u64, pattern: u64) -> u64 {
    part(text.saturating_add(1), TEXT).saturating_mul(part(pattern, PATTERN))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "costs are cut so"
)]
fn allocating(factor: f64, size: u64) -> u64 {
    let part = size as f64 * factor;
    // less than nothing wraps around
    let part = if part < 0.0 {
        (part as i64) as u64
    } else {
        part as u64
    };
    part.wrapping_add(11)
}

fn self_compare(value: &Value<'_>) -> u64 {
    let Value::List(list) = value else {
        return 11;
    };
    let size = list.len() as u64;
    let factor = match list.get(0) {
        Some(Value::String(_) | Value::Bytes(_)) => 2.1,
        _ => 2.0,
    };
    allocating(factor, size.saturating_mul(size))
}

/// What a call cost, by its arguments and what came out.
pub(crate) fn call(
    function: &str,
    overload: &str,
    args: &[Value<'_>],
    result: &Value<'_>,
) -> Result<u64, Cancelled> {
    breaks(function, overload, args)?;
    Ok(count(function, overload, args, result))
}

/// Where an argument is an error, the real one breaks while it counts these.
fn breaks(function: &str, overload: &str, args: &[Value<'_>]) -> Result<(), Cancelled> {
    let at = match function {
        "distinct" | "sort" if !overload.is_empty() => 0,
        "@sortByAssociatedKeys" if !overload.is_empty() => 1,
        "flatten" if overload == "list_flatten_int" => {
            if let Some(Value::Error(_)) = args.get(1) {
                return Err(Cancelled::Internal(
                    "interface conversion: ref.Val is *types.Err, not types.Int".into(),
                ));
            }
            return Ok(());
        }
        _ => return Ok(()),
    };
    if let Some(Value::Error(_)) = args.get(at) {
        return Err(Cancelled::Internal(
            "interface conversion: *types.Err is not traits.Lister: missing method Add".into(),
        ));
    }
    Ok(())
}

fn count(function: &str, overload: &str, args: &[Value<'_>], result: &Value<'_>) -> u64 {
    let arg = |i: usize| args.get(i).unwrap_or(&Value::Null);
    match overload {
        "list_sets_contains_list" | "list_sets_intersects_list" => {
            return 1 + size(arg(0)).saturating_mul(size(arg(1)));
        }
        "list_sets_equivalent_list" => {
            return 1 + size(arg(0)).saturating_mul(size(arg(1))).saturating_mul(2);
        }
        "list_slice" | "lists_range" | "list_reverse" => {
            return allocating(1.0, kubernetes_size(result));
        }
        "list_flatten" => return allocating(1.0, kubernetes_size(arg(0))),
        "list_flatten_int" => {
            #[expect(clippy::cast_precision_loss, reason = "costs are rounded so")]
            let depth = if let Value::Int(v) = arg(1) {
                *v as f64
            } else {
                1.0
            };
            return allocating(depth, kubernetes_size(arg(0)));
        }
        "list_distinct" => return self_compare(arg(0)),
        _ if overload.ends_with("_sort") && function == "sort" => return self_compare(arg(0)),
        _ if overload.ends_with("_sortByAssociatedKeys") => return self_compare(arg(1)),
        _ => {}
    }
    if let Some(cost) = kubernetes(function, overload, args, result) {
        return cost;
    }
    match overload {
        "starts_with_string" | "ends_with_string" | "string_to_bytes" | "bytes_to_string"
        | "strings_quote" | "string_format" => part(size(arg(0)), TEXT),
        "in_list" => size(arg(1)),
        _ if compares(overload) => part(size(arg(0)).min(size(arg(1))), TEXT),
        "add_string" | "add_bytes" => part(size(arg(0)).saturating_add(size(arg(1))), TEXT),
        "matches_string" => regex(size(arg(0)), size(arg(1))),
        "contains_string" => part(size(arg(0)), TEXT).saturating_mul(part(size(arg(1)), TEXT)),
        _ => 1,
    }
}

/// Functions of Kubernetes' libraries that look at nothing twice.
pub(crate) fn costs_one(function: &str) -> bool {
    matches!(
        function,
        "serviceAccount"
            | "path"
            | "group"
            | "resource"
            | "subresource"
            | "namespace"
            | "name"
            | "allowed"
            | "reason"
            | "error"
            | "errored"
            | "masked"
            | "prefixLength"
            | "family"
            | "isUnspecified"
            | "isLoopback"
            | "isLinkLocalMulticast"
            | "isLinkLocalUnicast"
            | "isGlobalUnicast"
            | "format.named"
            | "sign"
            | "asInteger"
            | "isInteger"
            | "asApproximateFloat"
            | "isGreaterThan"
            | "isLessThan"
            | "compareTo"
            | "add"
            | "sub"
            | "major"
            | "minor"
            | "patch"
            | "getScheme"
            | "getHostname"
            | "getHost"
            | "getPort"
            | "getEscapedPath"
            | "getQuery"
    )
}

/// Do two texts, or whatever else, lie beside each other?
pub(crate) fn compares(overload: &str) -> bool {
    matches!(
        overload,
        "less_string"
            | "greater_string"
            | "less_equals_string"
            | "greater_equals_string"
            | "less_bytes"
            | "greater_bytes"
            | "less_equals_bytes"
            | "greater_equals_bytes"
            | "equals"
            | "not_equals"
    )
}

fn kubernetes(
    function: &str,
    overload: &str,
    args: &[Value<'_>],
    result: &Value<'_>,
) -> Option<u64> {
    let arg = |i: usize| args.get(i);
    let size = |i: usize| arg(i).map(kubernetes_size);
    Some(match function {
        "check" => 350_000,
        "isSorted" | "sum" | "max" | "min" | "indexOf" | "lastIndexOf" => {
            arg(0).map_or(0, traversal)
        }
        "url" | "lowerAscii" | "upperAscii" | "substring" | "trim" | "cidr" | "isIP" | "isCIDR"
        | "quantity" | "isQuantity" | "semver" | "isSemver" => part(size(0)?, TEXT),
        "replace" | "split" | "ip.isCanonical" => part(size(0)?, 2.0 * TEXT),
        "join" => part(kubernetes_size(result), 2.0 * TEXT),
        "find" | "findAll" => regex(size(0)?, size(1)?),
        "ip" if overload == "cidr_ip" => 1,
        "ip" => part(size(0)?, TEXT),
        _ if costs_one(function) => 1,
        "containsIP" => {
            let (cidr, other) = (size(0)?, size(1)?);
            let text = overload == "cidr_contains_ip_string";
            part(cidr * 2, TEXT) + if text { part(other, TEXT) } else { 0 }
        }
        "containsCIDR" => {
            let (cidr, other) = (size(0)?, size(1)?);
            let text = overload == "cidr_contains_cidr_string";
            part(cidr * 2, TEXT) + part(cidr, TEXT) + 1 + if text { part(other, TEXT) } else { 0 }
        }
        "validate" => match arg(0)? {
            Value::Object(Object::Format(format)) => regex(size(1)?, format.regex_size()),
            _ => return None,
        },
        "_==_" => match arg(0)? {
            Value::Object(_) => 1,
            _ => return None,
        },
        _ => return None,
    })
}

/// The cost of looking at all of a value.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "costs are cut so"
)]
fn traversal(value: &Value<'_>) -> u64 {
    match value {
        Value::String(v) => (v.len() as f64 * TEXT) as u64,
        Value::Bytes(v) => (v.len() as f64 * TEXT) as u64,
        Value::List(v) => match v {
            List::Values(v, _) => v.iter().map(traversal).sum(),
            other => other.iter().map(|v| traversal(&v)).sum(),
        },
        Value::Map(v) => map_traversal(v),
        _ => 1,
    }
}

fn map_traversal(map: &Map<'_>) -> u64 {
    map.keys()
        .iter()
        .map(|key| {
            let value = match map.find(key) {
                Ok(Some(value)) => traversal(&value),
                _ => 1,
            };
            traversal(key) + value
        })
        .sum()
}
