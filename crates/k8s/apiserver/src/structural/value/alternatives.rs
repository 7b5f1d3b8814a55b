//! What fits one of several schemas, or all, or none.

use serde_json::Value;

use super::{Found, check, list};

pub(super) fn check_junctors(
    value: &Value,
    old: Option<&Value>,
    schema: &Value,
    path: &str,
) -> Found {
    let mut found = Found::default();
    let (any, one, all) = (
        list(schema, "anyOf"),
        list(schema, "oneOf"),
        list(schema, "allOf"),
    );
    if !any.is_empty() {
        let mut best: Option<Found> = None;
        let mut fitting = None;
        for choice in any {
            let result = check(value, old, choice, path);
            if result.errors.is_empty() {
                fitting = Some(result);
                break;
            }
            if best.as_ref().is_none_or(|best| result.fits > best.fits) {
                best = Some(result);
            }
        }
        if fitting.is_none() {
            found.plain(format!(
                "{path:?} must validate at least one schema (anyOf)"
            ));
        }
        if let Some(result) = fitting.or(best) {
            found.merge(result);
        }
    }
    if !one.is_empty() {
        let mut best: Option<Found> = None;
        let mut first = None;
        let mut count = 0;
        for choice in one {
            let result = check(value, old, choice, path);
            if result.errors.is_empty() {
                count += 1;
                best = None;
                first = first.or(Some(result));
            } else if count == 0 && best.as_ref().is_none_or(|best| result.fits > best.fits) {
                best = Some(result);
            }
        }
        if count == 1 {
            found.merge(first.unwrap_or_default());
        } else {
            let more = if count == 0 {
                "Found none valid".to_owned()
            } else {
                format!("Found {count} valid alternatives")
            };
            found.plain(format!(
                "{path:?} must validate one and only one schema (oneOf). {more}"
            ));
            found.merge(best.unwrap_or_default());
        }
    }
    if !all.is_empty() {
        let mut count = 0;
        for part in all {
            let result = check(value, old, part, path);
            count += usize::from(result.errors.is_empty());
            found.merge(result);
        }
        if count != all.len() {
            let more = if count == 0 { ". None validated" } else { "" };
            found.plain(format!(
                "{path:?} must validate all the schemas (allOf){more}"
            ));
        }
    }
    if let Some(not) = schema.get("not").filter(|not| not.is_object())
        && check(value, old, not, path).errors.is_empty()
    {
        found.plain(format!("{path:?} must not validate the schema (not)"));
    }
    found.fits += 1;
    found
}
