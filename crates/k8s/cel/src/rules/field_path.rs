//! The `fieldPath` of a rule: `.spec.replicas`, `['odd name']`.

use std::sync::Arc;

use super::{child, keyed};
use crate::schema::Schema;

/// The path of a field that a schema has, as errors write it; none where it has no such field.
pub(super) fn valid_field_path(path: &str, schema: &Schema) -> Option<String> {
    let mut at: Arc<Schema> = Arc::new(schema.clone());
    let (mut out, mut rest): (Option<String>, &str) = (None, path);
    while !rest.is_empty() {
        let name;
        if let Some(after) = rest.strip_prefix('.') {
            let end = after.find(['.', '[', ']']).unwrap_or(after.len());
            // a delimiter right after a dot would be taken for a name
            let end = if end == 0 && !after.is_empty() {
                1
            } else {
                end
            };
            if after.is_empty() {
                return None;
            }
            name = after[..end].to_owned();
            rest = &after[end..];
        } else {
            let body = rest.strip_prefix("['")?;
            let close = closing(body)?;
            name = unescape(&body[..close])?;
            rest = body[close + 1..].strip_prefix(']')?;
        }
        let next = match (&at.properties, &at.additional) {
            (Some(properties), _) => {
                out = Some(child(out.as_deref(), &name));
                properties.get(&name)?.clone()
            }
            (None, Some(additional)) => {
                out = Some(keyed(out.as_deref(), &name));
                additional.schema.clone()?
            }
            (None, None) => return None,
        };
        at = next;
    }
    out
}

/// Where the quote ends that opened before.
fn closing(body: &str) -> Option<usize> {
    let bytes = body.as_bytes();
    (0..bytes.len()).find(|i| bytes[*i] == b'\'' && (*i == 0 || bytes[*i - 1] != b'\\'))
}

fn unescape(text: &str) -> Option<String> {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        out.push(match chars.next()? {
            'a' => '\u{7}',
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\u{b}',
            '\'' => '\'',
            '\\' => '\\',
            _ => return None,
        });
    }
    Some(out)
}
