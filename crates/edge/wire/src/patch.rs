//! Patches between two lists of objects.
//!
//! A one-line change in an App of thousands of objects changes one line of its list: the patch says which runs of the
//! old list to keep, and holds what is new. It works on canonical JSON and not on types, so that a field which one side
//! does not know yet is carried along, and the digest stays right.

use std::collections::HashMap;

use base_json::{Digest, Map, Value};
use serde::{Deserialize, Serialize};

/// The most objects that a list may have.
const MAX_OBJECTS: usize = 1 << 20;
const OBJECTS: &str = "objects";

/// Why a patch cannot be made or applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// One of the lists is none.
    #[error("{0} list of objects is malformed: {1}")]
    NoList(&'static str, String),
    /// The patch cannot be read, or reaches outside the old list.
    #[error("patch is malformed: {0}")]
    Malformed(String),
    /// The result is not what was wanted.
    #[error("patched list has digest {found}, expected {expected}")]
    WrongDigest {
        /// Its digest.
        found: Digest,
        /// The wanted one.
        expected: Digest,
    },
}

#[derive(Serialize, Deserialize)]
struct Patch {
    /// What the new list is made of, in order.
    steps: Vec<Step>,
    /// Everything beside the objects, whole: it is small.
    rest: Map<String, Value>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Step {
    /// `[first, count]` of the old list.
    Keep(usize, usize),
    /// New objects.
    Add(Vec<Value>),
}

fn list(which: &'static str, bytes: &[u8]) -> Result<(Vec<Value>, Map<String, Value>), PatchError> {
    let wrong = |why: String| PatchError::NoList(which, why);
    let value = base_json::parse_strict(bytes).map_err(|error| wrong(error.to_string()))?;
    let Value::Object(mut rest) = value else {
        return Err(wrong("it is no JSON object".to_owned()));
    };
    match rest.remove(OBJECTS) {
        Some(Value::Array(objects)) => Ok((objects, rest)),
        _ => Err(wrong(format!("it has no list {OBJECTS:?}"))),
    }
}

/// Makes the patch that leads from one list to another; both are the canonical JSON of a
/// [`Variant`](roadstead_dispatch::Variant).
pub fn variant_patch(old: &[u8], new: &[u8]) -> Result<Vec<u8>, PatchError> {
    let (old, _) = list("old", old)?;
    let (new, rest) = list("new", new)?;
    let bytes: Vec<Vec<u8>> = old.iter().map(base_json::canonical).collect();
    let places: HashMap<&[u8], usize> = bytes
        .iter()
        .enumerate()
        .map(|(place, bytes)| (bytes.as_slice(), place))
        .collect();
    let mut steps = Vec::new();
    for object in new {
        let place = places.get(base_json::canonical(&object).as_slice());
        match (place, steps.last_mut()) {
            (Some(&place), Some(Step::Keep(first, count))) if *first + *count == place => {
                *count += 1;
            }
            (Some(&place), _) => steps.push(Step::Keep(place, 1)),
            (None, Some(Step::Add(objects))) => objects.push(object),
            (None, _) => steps.push(Step::Add(vec![object])),
        }
    }
    base_json::canonical_of(&Patch { steps, rest })
        .map_err(|error| PatchError::Malformed(error.to_string()))
}

/// Applies a patch, and gives the new list in canonical JSON if it has the expected digest.
pub fn apply_variant_patch(
    old: &[u8],
    patch: &[u8],
    expected: Digest,
) -> Result<Vec<u8>, PatchError> {
    let malformed = |why: &str| PatchError::Malformed(why.to_owned());
    let (old, _) = list("old", old)?;
    let Patch { steps, mut rest } =
        serde_json::from_slice(patch).map_err(|error| PatchError::Malformed(error.to_string()))?;
    let mut objects: Vec<Value> = Vec::new();
    for step in steps {
        match step {
            Step::Keep(first, count) => {
                let kept = first
                    .checked_add(count)
                    .and_then(|end| old.get(first..end))
                    .ok_or_else(|| malformed("it keeps more than the old list has"))?;
                if objects.len() + kept.len() > MAX_OBJECTS {
                    return Err(malformed("it makes too many objects"));
                }
                objects.extend_from_slice(kept);
            }
            Step::Add(new) => objects.extend(new),
        }
    }
    rest.insert(OBJECTS.to_owned(), Value::Array(objects));
    let bytes = base_json::canonical(&Value::Object(rest));
    let found = Digest::of(&bytes);
    if found != expected {
        return Err(PatchError::WrongDigest { found, expected });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use base_json::json;
    use proptest::prelude::*;

    fn bytes(objects: &[u16], namespaces: &[u8]) -> Vec<u8> {
        let objects: Vec<Value> = objects
            .iter()
            .map(|n| json!({"id": format!("/ConfigMap/shop/c{n}"), "digest": format!("{n:064}")}))
            .collect();
        base_json::canonical(&json!({"objects": objects, "namespaces": namespaces, "later": true}))
    }

    proptest! {
        #[test]
        fn a_patch_leads_from_any_list_to_any_other(
            old in prop::collection::vec(0_u16..40, 0..60),
            new in prop::collection::vec(0_u16..40, 0..60),
            namespaces in prop::collection::vec(any::<u8>(), 0..3),
        ) {
            let (old, new) = (bytes(&old, &[]), bytes(&new, &namespaces));
            let patch = variant_patch(&old, &new).unwrap();
            prop_assert_eq!(apply_variant_patch(&old, &patch, Digest::of(&new)).unwrap(), new);
        }

        #[test]
        fn garbage_is_refused_and_never_panics(patch in prop::collection::vec(any::<u8>(), 0..200)) {
            let old = bytes(&[1, 2], &[]);
            prop_assert!(apply_variant_patch(&old, &patch, Digest::of(b"")).is_err());
        }
    }

    #[test]
    fn one_change_among_thousands_is_a_few_hundred_bytes() {
        let old: Vec<u16> = (0..5000).collect();
        let mut new = old.clone();
        new[2500] = 9000;
        let patch = variant_patch(&bytes(&old, &[]), &bytes(&new, &[])).unwrap();
        assert!(patch.len() < 300, "{} bytes", patch.len());
    }

    #[test]
    fn a_patch_of_another_base_is_refused() {
        let (old, new, other) = (bytes(&[1, 2], &[]), bytes(&[1, 3], &[]), bytes(&[4], &[]));
        let patch = variant_patch(&old, &new).unwrap();
        assert!(matches!(
            apply_variant_patch(&bytes(&[7, 2], &[]), &patch, Digest::of(&new)),
            Err(PatchError::WrongDigest { .. })
        ));
        let whole = variant_patch(&other, &old).unwrap();
        let keeps = variant_patch(&bytes(&[0, 0, 0, 0, 1, 2], &[]), &old).unwrap();
        assert!(apply_variant_patch(&old, &whole, Digest::of(&old)).is_ok());
        assert!(matches!(
            apply_variant_patch(&other, &keeps, Digest::of(&old)),
            Err(PatchError::Malformed(_))
        ));
        let far = format!(
            "{{\"steps\":[{{\"keep\":[{},2]}}],\"rest\":{{}}}}",
            usize::MAX
        );
        assert!(apply_variant_patch(&old, far.as_bytes(), Digest::of(&old)).is_err());
    }
}
