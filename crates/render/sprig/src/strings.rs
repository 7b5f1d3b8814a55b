//! Strings: bytes with Go's rules, cut where they are told to, even inside a character.

use roadstead_template::{
    Call, FuncError, Function, Map, Signature, Str, Type, Value, fmt, strconv,
};

use crate::go::unicode::{self, find, is_space, runes};
use crate::table::{ANY, ANYS, INT_STR, STR, STR_STR, STR_STR_STR};
use crate::values::{Outcome, any, display, failed, int, reserve, rest, text};
use crate::words;

const PAIRS: Type = Type::Map(&Type::Str);

type Mapping = fn(&[u8]) -> Vec<u8>;

/// Rows that map one string to another.
macro_rules! mapped {
    ($name:literal, $mapping:expr) => {
        Function::pure($name, STR, |_, args| {
            const MAPPING: Mapping = $mapping;
            Ok(Value::str(MAPPING(&text(args, 0))))
        })
    };
}

/// Rows that ask a part and a whole.
macro_rules! asked {
    ($name:literal, $holds:expr) => {
        Function::pure($name, STR_STR, |_, args| {
            const HOLDS: fn(&[u8], &[u8]) -> bool = $holds;
            Ok(HOLDS(&text(args, 1), &text(args, 0)).into())
        })
    };
}

pub(crate) const ROWS: &[Function] = &[
    Function::pure("abbrev", INT_STR, |_, args| {
        let width = int(args, 0);
        let source = text(args, 1);
        if width < 4 {
            return Ok(source.into());
        }
        Ok(Value::str(words::abbreviate(&source, 0, width)))
    }),
    Function::pure(
        "abbrevboth",
        Signature::fixed(&[Type::INT, Type::INT, Type::Str]),
        |_, args| {
            let (left, right) = (int(args, 0), int(args, 1));
            let source = text(args, 2);
            if right < 4 || left > 0 && right < 7 {
                return Ok(source.into());
            }
            Ok(Value::str(words::abbreviate(&source, left, right)))
        },
    ),
    Function::pure("trunc", INT_STR, |_, args| {
        let (count, source) = (int(args, 0), text(args, 1));
        let length = source.len() as i64;
        let range = if count < 0 && length.wrapping_add(count) > 0 {
            (length + count) as usize..source.len()
        } else if count >= 0 && length > count {
            0..count as usize
        } else {
            0..source.len()
        };
        Ok(source.slice(range).into())
    }),
    Function::pure(
        "substr",
        Signature::fixed(&[Type::INT, Type::INT, Type::Str]),
        |_, args| {
            let (from, to, source) = (int(args, 0), int(args, 1), text(args, 2));
            let length = source.len() as i64;
            if from < 0 {
                return cut(&source, 0, to, Bound::To);
            }
            if to < 0 || to > length {
                return cut(&source, from, length, Bound::From);
            }
            cut(&source, from, to, Bound::Both)
        },
    ),
    Function::pure("trim", STR, |_, args| {
        Ok(Value::str(unicode::trim(&text(args, 0), is_space)))
    }),
    mapped!("upper", |source| unicode::map(source, unicode::to_upper)),
    mapped!("lower", |source| unicode::map(source, unicode::to_lower)),
    mapped!("title", words::title),
    mapped!("untitle", words::untitle),
    mapped!("nospace", words::without_space),
    mapped!("initials", words::initials),
    mapped!("swapcase", words::swap_case),
    mapped!("camelcase", words::pascal),
    mapped!("snakecase", |source| words::separated(source, b'_')),
    mapped!("kebabcase", |source| words::separated(source, b'-')),
    Function::pure("wrap", INT_STR, |call, args| {
        let source = text(args, 1);
        call.allocate(source.len() * 2)?;
        Ok(Value::str(words::wrap(&source, int(args, 0), b"", false)))
    }),
    Function::pure(
        "wrapWith",
        Signature::fixed(&[Type::INT, Type::Str, Type::Str]),
        |call, args| {
            let (width, separator, source) = (int(args, 0), text(args, 1), text(args, 2));
            let lines = source.len() / usize::try_from(width.max(1)).unwrap_or(1) + 1;
            let breaks = lines.saturating_mul(separator.len().max(1));
            call.allocate(source.len().saturating_add(breaks))?;
            Ok(Value::str(words::wrap(&source, width, &separator, true)))
        },
    ),
    Function::pure("repeat", INT_STR, |call, args| {
        let (count, source) = (int(args, 0), text(args, 1));
        let Ok(count) = usize::try_from(count) else {
            return Err(failed("strings: negative Repeat count"));
        };
        match source.len().checked_mul(count) {
            Some(length) if i64::try_from(length).is_ok() => call.allocate(length)?,
            _ => return Err(failed("strings: Repeat output length overflow")),
        }
        Ok(Value::str(source.repeat(if source.is_empty() {
            0
        } else {
            count
        })))
    }),
    Function::pure("trimall", STR_STR, trim_all),
    Function::pure("trimAll", STR_STR, trim_all),
    Function::pure("trimSuffix", STR_STR, |_, args| {
        let (suffix, source) = (text(args, 0), text(args, 1));
        let length = source
            .strip_suffix(&suffix[..])
            .map_or(source.len(), <[u8]>::len);
        Ok(source.slice(0..length).into())
    }),
    Function::pure("trimPrefix", STR_STR, |_, args| {
        let (prefix, source) = (text(args, 0), text(args, 1));
        let from = if source.starts_with(&prefix) {
            prefix.len()
        } else {
            0
        };
        Ok(source.slice(from..source.len()).into())
    }),
    asked!("contains", |whole, part| find(whole, part).is_some()),
    asked!("hasPrefix", |whole, part| whole.starts_with(part)),
    asked!("hasSuffix", |whole, part| whole.ends_with(part)),
    Function::pure("quote", ANYS, |_, args| {
        let mut out = Vec::new();
        for value in rest(args, 0).iter().filter(|value| !value.is_untyped_nil()) {
            if !out.is_empty() {
                out.push(b' ');
            }
            out.extend(strconv::quote(&display(value)?));
        }
        Ok(Value::str(out))
    }),
    Function::pure("squote", ANYS, |_, args| {
        let mut out = Vec::new();
        for value in rest(args, 0).iter().filter(|value| !value.is_untyped_nil()) {
            if !out.is_empty() {
                out.push(b' ');
            }
            out.push(b'\'');
            out.extend(fmt::value_text(value).map_err(FuncError::limit)?);
            out.push(b'\'');
        }
        Ok(Value::str(out))
    }),
    Function::pure("cat", ANYS, |_, args| {
        let mut out = Vec::new();
        let mut full = rest(args, 0).iter().filter(|value| !value.is_untyped_nil());
        // Go trims the format, not the text, so spaces in the values stay.
        if let Some(first) = full.next() {
            out.extend(fmt::value_text(first).map_err(FuncError::limit)?);
        }
        for value in full {
            out.push(b' ');
            out.extend(fmt::value_text(value).map_err(FuncError::limit)?);
        }
        Ok(Value::str(out))
    }),
    Function::pure("indent", INT_STR, |call, args| {
        Ok(Value::str(indented(call, args, b"")?))
    }),
    Function::pure("nindent", INT_STR, |call, args| {
        Ok(Value::str(indented(call, args, b"\n")?))
    }),
    Function::pure("replace", STR_STR_STR, |call, args| {
        let (old, new, source) = (text(args, 0), text(args, 1), text(args, 2));
        if new.len() > old.len() {
            let places = if old.is_empty() {
                source.len() + 1
            } else {
                source.len() / old.len()
            };
            if places.saturating_mul(new.len()) > 1 << 16 {
                let places = if old.is_empty() {
                    runes(&source).count() + 1
                } else {
                    memchr::memmem::find_iter(&source, &old[..]).count()
                };
                call.allocate(
                    source
                        .len()
                        .saturating_add(places.saturating_mul(new.len())),
                )?;
            }
        }
        Ok(Value::str(unicode::replace(&source, &old, &new)))
    }),
    Function::pure(
        "plural",
        Signature::fixed(&[Type::Str, Type::Str, Type::INT]),
        |_, args| Ok(text(args, usize::from(int(args, 2) != 1)).into()),
    ),
    Function::pure("toString", ANY, |_, args| Ok(display(any(args, 0))?.into())),
    Function::pure("split", STR_STR, |call, args| {
        let (separator, source) = (text(args, 0), text(args, 1));
        numbered(call, &source, &separator, -1)
    }),
    Function::pure(
        "splitn",
        Signature::fixed(&[Type::Str, Type::INT, Type::Str]),
        |call, args| {
            let (separator, source) = (text(args, 0), text(args, 2));
            numbered(call, &source, &separator, int(args, 1))
        },
    ),
    Function::pure("splitList", STR_STR, |call, args| {
        let (separator, source) = (text(args, 0), text(args, 1));
        let parts = parts(call, &source, &separator, -1)?;
        Ok(Value::strings(parts))
    }),
];

fn trim_all(_: &mut Call<'_>, args: &[Value]) -> Outcome {
    let set: Vec<u32> = runes(&text(args, 0)).map(|(_, rune, _)| rune).collect();
    let source = text(args, 1);
    let kept = unicode::trim(&source, |rune| set.contains(&rune));
    Ok(Value::str(kept))
}

fn indented(call: &mut Call<'_>, args: &[Value], before: &[u8]) -> Result<Vec<u8>, FuncError> {
    let source = text(args, 1);
    let Ok(width) = usize::try_from(int(args, 0)) else {
        return Err(failed("strings: negative Repeat count"));
    };
    let lines = source.iter().filter(|byte| **byte == b'\n').count() + 1;
    call.allocate(source.len().saturating_add(lines.saturating_mul(width)))?;
    let pad = vec![b' '; width];
    let mut out = before.to_vec();
    for (index, line) in source.split(|byte| *byte == b'\n').enumerate() {
        if index > 0 {
            out.push(b'\n');
        }
        out.extend_from_slice(&pad);
        out.extend_from_slice(line);
    }
    Ok(out)
}

fn parts(
    call: &mut Call<'_>,
    source: &Str,
    separator: &[u8],
    limit: i64,
) -> Result<Vec<Str>, FuncError> {
    let limit = usize::try_from(limit).ok();
    let parts = unicode::split(source, separator, limit);
    reserve(call, parts.len() * size_of::<Value>())?;
    let start = source.as_ptr().addr();
    let shared = |part: &[u8]| {
        let from = part.as_ptr().addr() - start;
        source.slice(from..from + part.len())
    };
    Ok(parts.into_iter().map(shared).collect())
}

/// Parts under the names `_0`, `_1` and so on.
fn numbered(call: &mut Call<'_>, source: &Str, separator: &[u8], limit: i64) -> Outcome {
    let parts = parts(call, source, separator, limit)?;
    reserve(call, parts.len() * size_of::<Value>())?;
    let named = parts.into_iter().enumerate();
    let named = named.map(|(index, part)| (Str::from(format!("_{index}")), Value::Str(part)));
    Ok(Map::typed(PAIRS, named.collect()).into())
}

/// Which bounds a slice expression names; Go's words hang on it.
enum Bound {
    From,
    To,
    Both,
}

fn cut(source: &Str, from: i64, to: i64, bound: Bound) -> Outcome {
    let length = source.len() as i64;
    let words = match bound {
        Bound::To if to < 0 => format!("[:{to}]"),
        Bound::To if to > length => format!("[:{to}] with length {length}"),
        Bound::From if from > length => format!("[{from}:{length}]"),
        Bound::Both if from > to => format!("[{from}:{to}]"),
        _ => return Ok(source.slice(from as usize..to as usize).into()),
    };
    Err(failed(format!(
        "runtime error: slice bounds out of range {words}"
    )))
}
