//! The order of a merged list: what the patch names keeps the patch's order, the rest the list's own.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::fieldpath::PathElement;

pub(super) struct Order {
    of_patch: BTreeMap<PathElement, usize>,
    of_live: BTreeMap<PathElement, usize>,
}

fn places(elements: Vec<PathElement>) -> BTreeMap<PathElement, usize> {
    let mut places = BTreeMap::new();
    for (at, element) in elements.into_iter().enumerate() {
        places.entry(element).or_insert(at);
    }
    places
}

impl Order {
    pub(super) fn new(of_patch: Vec<PathElement>, of_live: Vec<PathElement>) -> Self {
        Self {
            of_patch: places(of_patch),
            of_live: places(of_live),
        }
    }

    /// Sorts: an item that the patch does not name comes before the first one of the patch that it preceded live.
    pub(super) fn sort<E>(
        &self,
        items: Vec<Value>,
        element: impl Fn(&Value) -> Result<PathElement, E>,
    ) -> Result<Vec<Value>, E> {
        let mut patched = Vec::new();
        let mut others = Vec::new();
        for item in items {
            let element = element(&item)?;
            let live = self.of_live.get(&element).copied();
            match self.of_patch.get(&element) {
                Some(place) => patched.push((*place, live, item)),
                None => others.push((live.unwrap_or(usize::MAX), live, item)),
            }
        }
        patched.sort_by_key(|(place, ..)| *place);
        others.sort_by_key(|(place, ..)| *place);
        let mut out = Vec::with_capacity(patched.len() + others.len());
        let mut others = others.into_iter().peekable();
        for (_, live, item) in patched {
            while let Some((_, before, _)) = others.peek()
                && matches!((before, live), (Some(before), Some(live)) if *before < live)
            {
                out.extend(others.next().map(|(.., item)| item));
            }
            out.push(item);
        }
        out.extend(others.map(|(.., item)| item));
        Ok(out)
    }
}
