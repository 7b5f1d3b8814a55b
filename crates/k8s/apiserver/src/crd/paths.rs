//! Paths to fields of a schema, as rules and selectable fields name them.

use serde_json::Value;

use crate::structural::additional;

/// Takes a path apart into `.`, `[`, `]` and what stands between; a quoted text is one token.
fn tokens(path: &str) -> Vec<&str> {
    let mut out = Vec::new();
    let mut rest = path;
    while !rest.is_empty() {
        let bytes = rest.as_bytes();
        let end = if bytes[0] == b'\'' {
            (1..bytes.len())
                .find(|at| bytes[*at] == b'\'' && bytes[at - 1] != b'\\')
                .map_or(bytes.len(), |at| at + 1)
        } else {
            match rest.find(['.', '[', ']']) {
                Some(0) => 1,
                Some(at) => at,
                None => rest.len(),
            }
        };
        let (token, after) = rest.split_at(end);
        out.push(token);
        rest = after;
    }
    out
}

/// Finds the schema that a path leads to; with it the names on the way.
pub(super) fn find<'a>(
    path: &str,
    schema: &'a Value,
    brackets: bool,
) -> Result<(Vec<String>, &'a Value), String> {
    const NO_FIELD: &str = "does not refer to a valid field";
    let mut names = Vec::new();
    let mut at = schema;
    let mut rest = tokens(path).into_iter();
    let mut next = || {
        rest.next()
            .ok_or_else(|| "unexpected end of JSON path".to_owned())
    };
    let step = |at: &'a Value, name: &str| -> Result<&'a Value, String> {
        let named = at
            .get("properties")
            .filter(|all| all.as_object().is_some_and(|all| !all.is_empty()));
        match named {
            Some(all) => all.get(name),
            None => additional(at),
        }
        .ok_or_else(|| NO_FIELD.to_owned())
    };
    while let Ok(token) = next() {
        let name = match token {
            "[" if !brackets => return Err("array notation is not allowed".to_owned()),
            "[" => {
                let quoted = next()?;
                let Some(name) = quoted
                    .strip_prefix('\'')
                    .and_then(|rest| rest.strip_suffix('\''))
                else {
                    return Err(format!("expected single quoted string but got {quoted}"));
                };
                let name = name.replace("\\'", "'").replace("\\\\", "\\");
                at = step(at, &name)?;
                names.push(name);
                let closing = next()?;
                if closing != "]" {
                    return Err(format!("expected ] but got {closing}"));
                }
                continue;
            }
            "." => next()?,
            other => return Err(format!("expected [ or . but got: {other}")),
        };
        at = step(at, name)?;
        names.push(name.to_owned());
    }
    Ok((names, at))
}

#[test]
fn paths_lead_to_fields() {
    let schema = serde_json::json!({"properties": {"spec": {"properties": {"a": {"type": "string"}, "m": {"additionalProperties": {"type": "integer"}}}}}});
    let found = |path: &str| find(path, &schema, false).map(|(names, _)| names.join("/"));
    assert_eq!(found(".spec.a"), Ok("spec/a".to_owned()));
    assert_eq!(found(".spec.m.x"), Ok("spec/m/x".to_owned()));
    for (path, why) in [
        (".spec.b", "does not refer to a valid field"),
        ("spec", "expected [ or . but got: spec"),
        (".spec[0]", "array notation is not allowed"),
        (".spec.", "unexpected end of JSON path"),
    ] {
        assert_eq!(found(path), Err(why.to_owned()), "{path}");
    }
    assert!(find(".spec['a']", &schema, true).is_ok());
}
