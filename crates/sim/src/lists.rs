//! Variant lists, read from the store once and kept.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use base_json::Digest;
use base_store::memory::MemoryStore;
use base_store::{SimDisk, Store};
use k8s_object::ObjectId;
use roadstead_control::VariantSource;
use roadstead_dispatch::Variant;
use roadstead_model::VariantId;

/// What is asked of a variant's list.
pub(crate) struct Listed {
    pub(crate) lasting: Arc<[ObjectId]>,
    pub(crate) contents: BTreeSet<Digest>,
}

/// Variant lists: the store that has them, and those that were read.
pub(crate) struct Lists<'a>(
    pub(crate) &'a MemoryStore<SimDisk>,
    pub(crate) &'a RefCell<BTreeMap<VariantId, Arc<Listed>>>,
);

impl Lists<'_> {
    /// A variant's list; `None` if it is not stored.
    pub(crate) fn get(&self, id: &VariantId) -> Option<Arc<Listed>> {
        if let Some(known) = self.1.borrow().get(id) {
            return Some(Arc::clone(known));
        }
        let bytes = self.0.get_blob(id).ok()??;
        let variant: Variant = serde_json::from_slice(&bytes).ok()?;
        let mut lasting: Vec<ObjectId> =
            variant.lasting().map(|object| object.id.clone()).collect();
        lasting.sort();
        let contents = variant.objects.iter().map(|object| object.digest).collect();
        let listed = Arc::new(Listed {
            lasting: lasting.into(),
            contents,
        });
        self.1.borrow_mut().insert(*id, Arc::clone(&listed));
        Some(listed)
    }
}

impl VariantSource for Lists<'_> {
    fn lasting(&self, variant: &VariantId) -> Option<Arc<[ObjectId]>> {
        Some(Arc::clone(&self.get(variant)?.lasting))
    }
}
