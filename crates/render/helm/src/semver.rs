//! Versions and ranges of them, as Helm's library reads them.

use roadstead_sprig::semver::{Constraints, Version};

/// Whether a text is a version.
pub(crate) fn is_version(text: &str) -> bool {
    Version::parse(text.as_bytes()).is_ok()
}

/// Whether a version lies in a range. What cannot be read lies nowhere.
pub(crate) fn in_range(range: &str, version: &str) -> bool {
    let Ok(version) = Version::parse(version.as_bytes()) else {
        return false;
    };
    Constraints::parse(range.as_bytes()).is_ok_and(|range| range.check(&version))
}
