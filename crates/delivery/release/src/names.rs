//! What a Release is called, and what it freezes.

use std::collections::BTreeMap;

use base_json::Digest;
use roadstead_model::{AppKey, AppSpec, ReleaseId};

/// The part of an App that a Release freezes: all but `hold`, `pin` and `strategy`, which act on Releases from outside.
pub fn frozen(spec: &AppSpec) -> AppSpec {
    AppSpec {
        hold: None,
        pin: String::new(),
        strategy: String::new(),
        ..spec.clone()
    }
}

/// The id of a Release: the digest of the App's key, what it freezes, the digest of each input's files that were read,
/// and the renderer's version. Commit and author are not in it: the same content is the same Release.
pub fn release_id(
    app: &AppKey,
    spec: &AppSpec,
    inputs: &BTreeMap<String, Digest>,
    renderer: &str,
) -> ReleaseId {
    let spec = serde_json::to_value(frozen(spec)).unwrap_or_default();
    let inputs: BTreeMap<&String, String> = inputs
        .iter()
        .map(|(name, digest)| (name, digest.to_string()))
        .collect();
    Digest::of_value(&serde_json::json!({
        "app": app.to_string(),
        "inputs": inputs,
        "renderer": renderer,
        "spec": spec,
    }))
}
