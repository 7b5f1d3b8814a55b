//! Sections of docs/conformance.md, each written by its own command.

use std::fs;

use anyhow::Context as _;

use crate::Context;

/// Puts a section in its place, or at the end if it is new. The heading begins with `## `, and the text has none of that
/// level.
pub(super) fn write(context: &Context, heading: &str, text: &str) -> anyhow::Result<()> {
    let path = context.root.join("docs/conformance.md");
    let old = fs::read_to_string(&path).unwrap_or_default();
    fs::write(&path, put(&old, heading, text))
        .with_context(|| format!("writing {}", path.display()))?;
    println!("wrote docs/conformance.md");
    Ok(())
}

fn put(old: &str, heading: &str, text: &str) -> String {
    let section = format!("{heading}\n\n{}\n", text.trim());
    let line = format!("{heading}\n");
    let Some(at) = old.find(&line) else {
        return format!("{}\n\n{section}", old.trim_end());
    };
    let rest = &old[at + line.len()..];
    match rest.find("\n## ") {
        Some(end) => format!("{}{section}{}", &old[..at], &rest[end..]),
        None => format!("{}{section}", &old[..at]),
    }
}

#[cfg(test)]
mod tests {
    use super::put;

    #[test]
    fn a_section_replaces_itself_alone() {
        let old = "# Top\n\n## One\n\nfirst\n\n## Two\n\nsecond\n";
        assert_eq!(
            put(old, "## One", "new\n"),
            "# Top\n\n## One\n\nnew\n\n## Two\n\nsecond\n"
        );
        assert_eq!(
            put(old, "## Two", "new"),
            "# Top\n\n## One\n\nfirst\n\n## Two\n\nnew\n"
        );
        assert_eq!(
            put(old, "## Three", "third"),
            format!("{old}\n## Three\n\nthird\n")
        );
        assert_eq!(put(&put(old, "## One", "x"), "## One", "first"), old);
    }
}
