//! Regular expressions.

use std::rc::Rc;

use roadstead_template::{Call, FuncError, Function, List, Signature, Type, Value};

use crate::go::regexp::{Regexp, compile, must_compile_message, quote_meta};
use crate::table::{STR, STR_STR, STR_STR_STR};
use crate::values::{Outcome, failed, int, reserve, text};

const COUNTED: Signature = Signature::fixed(&[Type::Str, Type::Str, Type::INT]);

pub(crate) const ROWS: &[Function] = &[
    // A pattern that is none matches nothing.
    Function::pure("regexMatch", STR_STR, |call, args| {
        let found = pattern(call, args, true);
        Ok(match found {
            Ok(regexp) => regexp.is_match(&text(args, 1)).into(),
            Err(Unusable::Pattern(_)) => false.into(),
            Err(Unusable::Limit(error)) => return Err(error),
        })
    }),
    Function::pure("mustRegexMatch", STR_STR, |call, args| {
        Ok(usable(call, args, true)?.is_match(&text(args, 1)).into())
    }),
    Function::pure("regexFind", STR_STR, |call, args| find(call, args, false)),
    Function::pure("mustRegexFind", STR_STR, |call, args| {
        find(call, args, true)
    }),
    Function::pure("regexFindAll", COUNTED, |call, args| {
        find_all(call, args, false)
    }),
    Function::pure("mustRegexFindAll", COUNTED, |call, args| {
        find_all(call, args, true)
    }),
    Function::pure("regexSplit", COUNTED, |call, args| split(call, args, false)),
    Function::pure("mustRegexSplit", COUNTED, |call, args| {
        split(call, args, true)
    }),
    Function::pure("regexReplaceAll", STR_STR_STR, |call, args| {
        replace(call, args, false, false)
    }),
    Function::pure("mustRegexReplaceAll", STR_STR_STR, |call, args| {
        replace(call, args, true, false)
    }),
    Function::pure("regexReplaceAllLiteral", STR_STR_STR, |call, args| {
        replace(call, args, false, true)
    }),
    Function::pure("mustRegexReplaceAllLiteral", STR_STR_STR, |call, args| {
        replace(call, args, true, true)
    }),
    Function::pure("regexQuoteMeta", STR, |_, args| {
        Ok(Value::str(quote_meta(&text(args, 0))))
    }),
];

/// Why there is no pattern.
enum Unusable {
    Pattern(String),
    Limit(FuncError),
}

/// Compiles the first argument. `must` says which words the error has: those of an error or of a panic.
fn pattern(call: &mut Call<'_>, args: &[Value], must: bool) -> Result<Rc<Regexp>, Unusable> {
    let (source, subject) = (text(args, 0), text(args, 1));
    // Matching takes the product of both at worst, and about a byte of the text in a nanosecond mostly.
    let work = (source.len() / 8).saturating_add(subject.len() / 64);
    call.spend(work as u64).map_err(Unusable::Limit)?;
    compile(&source).map_err(|error| {
        Unusable::Pattern(if must {
            error
        } else {
            must_compile_message(&source, &error)
        })
    })
}

fn usable(call: &mut Call<'_>, args: &[Value], must: bool) -> Result<Rc<Regexp>, FuncError> {
    pattern(call, args, must).map_err(|unusable| match unusable {
        Unusable::Pattern(message) => failed(message),
        Unusable::Limit(error) => error,
    })
}

fn find(call: &mut Call<'_>, args: &[Value], must: bool) -> Outcome {
    let regexp = usable(call, args, must)?;
    let source = text(args, 1);
    Ok(Value::str(regexp.find(&source).unwrap_or_default()))
}

fn parts(call: &mut Call<'_>, parts: Option<Vec<&[u8]>>) -> Outcome {
    let Some(parts) = parts else {
        return Ok(List::nil(Type::STRINGS).into());
    };
    reserve(call, parts.len() * size_of::<Value>())?;
    Ok(Value::strings(parts))
}

fn find_all(call: &mut Call<'_>, args: &[Value], must: bool) -> Outcome {
    let regexp = usable(call, args, must)?;
    let source = text(args, 1);
    parts(call, regexp.find_all(&source, int(args, 2)))
}

fn split(call: &mut Call<'_>, args: &[Value], must: bool) -> Outcome {
    let regexp = usable(call, args, must)?;
    let source = text(args, 1);
    parts(call, regexp.split(&source, int(args, 2)))
}

fn replace(call: &mut Call<'_>, args: &[Value], must: bool, literal: bool) -> Outcome {
    let regexp = usable(call, args, must)?;
    let (source, replacement) = (text(args, 1), text(args, 2));
    // Each place can take the replacement, and each group in it the whole text.
    let groups = if literal {
        0
    } else {
        replacement.iter().filter(|byte| **byte == b'$').count()
    };
    let most = (source.len() + 1)
        .saturating_mul(replacement.len())
        .saturating_add(source.len().saturating_mul(groups + 1));
    if most > 1 << 20 {
        let places = regexp.count(&source);
        let longest = source.len().saturating_mul(groups + 1);
        call.allocate(
            places
                .saturating_mul(replacement.len())
                .saturating_add(longest),
        )?;
    }
    Ok(Value::str(regexp.replace_all(
        &source,
        &replacement,
        literal,
    )))
}
