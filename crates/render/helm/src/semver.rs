//! Versions, until they come from the crate of template functions.

pub(crate) fn is_version(text: &str) -> bool {
    let text = text.strip_prefix('v').unwrap_or(text);
    text.split(['.', '-', '+'])
        .next()
        .is_some_and(|it| it.parse::<u64>().is_ok())
}

pub(crate) fn in_range(_range: &str, version: &str) -> bool {
    is_version(version)
}
