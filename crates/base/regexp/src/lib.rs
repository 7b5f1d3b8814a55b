//! Regular expressions with Go's syntax, rules and error texts, over the `regex` crate.
//!
//! Go's pattern is parsed here and written anew for that crate, since the two differ in many small ways: what `\d` and
//! `\b` mean, which repetitions may follow each other, how classes nest. Both find the leftmost-first match in time linear
//! in the text. Text that is no UTF-8 is one point where they differ: `.` does not match a broken byte here.
//!
//! ```
//! let compiled = base_regexp::compile(br"^\d+$")?;
//! assert!(compiled.regex.is_match(b"42"));
//! // an Arabic digit is no `\d` in Go
//! assert!(!compiled.regex.is_match("٣".as_bytes()));
//! assert_eq!(
//!     base_regexp::compile(b"a(b").map(|_| ()),
//!     Err("error parsing regexp: missing closing ): `a(b`".to_owned())
//! );
//! # Ok::<(), String>(())
//! ```

mod text;
mod translate;

/// The most memory that a compiled pattern may take.
const SIZE_LIMIT: usize = 4 << 20;

/// A compiled pattern.
#[derive(Debug, Clone)]
pub struct Compiled {
    /// The pattern as the other engine has it.
    pub regex: regex::bytes::Regex,
    /// The names of the groups, from 1 on; empty where a group has none.
    pub names: Vec<String>,
}

/// Compiles a pattern. The error is Go's text.
pub fn compile(pattern: &[u8]) -> Result<Compiled, String> {
    let translated =
        translate::translate(pattern).map_err(|error| format!("error parsing regexp: {error}"))?;
    let regex = regex::bytes::RegexBuilder::new(&translated.pattern)
        .size_limit(SIZE_LIMIT)
        .nest_limit(translate::MAX_HEIGHT * 4)
        .build()
        .map_err(|_| {
            let pattern = String::from_utf8_lossy(pattern);
            format!("error parsing regexp: expression too large: `{pattern}`")
        })?;
    Ok(Compiled {
        regex,
        names: translated.names,
    })
}
