//! Which of many versions a range means.

use roadstead_sprig::semver::{Constraints, Version, compare};

/// The version that was chosen, by its place in the list.
pub(crate) struct Choice {
    pub(crate) index: usize,
    /// What was passed over.
    pub(crate) warnings: Vec<String>,
}

/// Names of versions in an error.
const SHOWN: usize = 10;

/// Chooses the newest version in a range; a version that is in the list as it was asked for is taken as it is. Without a
/// range, the newest that is no pre-release. The error says what there is.
pub(crate) fn choose_version(versions: &[String], range: &str) -> Result<Choice, String> {
    let range = range.trim();
    let bare = |text: &str| text.strip_prefix('v').unwrap_or(text).to_owned();
    let exact = |version: &String| !range.is_empty() && bare(version) == bare(range);
    if let Some(index) = versions.iter().position(exact) {
        return Ok(Choice {
            index,
            warnings: Vec::new(),
        });
    }
    let wanted = if range.is_empty() { "*" } else { range };
    let constraints = Constraints::parse(wanted.as_bytes())
        .map_err(|error| format!("it is no version and no range ({error})"))?;
    let mut readable = Vec::new();
    let mut warnings = Vec::new();
    for (index, version) in versions.iter().enumerate() {
        match Version::parse(version.as_bytes()) {
            Ok(version) => readable.push((index, version)),
            // registries hold tags that are no versions beside those that are
            Err(_) if warnings.len() < SHOWN => {
                warnings.push(format!("{version:?} is no version: passed over"));
            }
            Err(_) => {}
        }
    }
    readable.sort_by(|(_, a), (_, b)| compare(b, a));
    let found = readable
        .iter()
        .find(|(_, version)| constraints.check(version));
    if let Some((index, _)) = found {
        return Ok(Choice {
            index: *index,
            warnings,
        });
    }
    let names: Vec<&str> = readable
        .iter()
        .take(SHOWN)
        .filter_map(|(index, _)| versions.get(*index).map(String::as_str))
        .collect();
    Err(match (names.len(), readable.len().saturating_sub(SHOWN)) {
        (0, _) => "there is none".to_owned(),
        (_, 0) => format!("there are {}", names.join(", ")),
        (_, more) => format!("there are {}, and {more} older ones", names.join(", ")),
    })
}
