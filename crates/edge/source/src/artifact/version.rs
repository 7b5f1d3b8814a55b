//! Which of many versions a range means.

/// The version that was chosen, by its place in the list.
pub(crate) struct Choice {
    pub(crate) index: usize,
    pub(crate) warnings: Vec<String>,
}

/// Chooses the newest version in a range; an exact version that is in the list is taken as it is. Without a range, the
/// newest that is no pre-release.
pub(crate) fn choose_version(versions: &[String], range: &str) -> Result<Choice, String> {
    let plain = |text: &str| text.trim_start_matches('v').to_owned();
    if let Some(index) = versions.iter().position(|v| plain(v) == plain(range)) {
        let warnings = Vec::new();
        return Ok(Choice { index, warnings });
    }
    todo!()
}
