//! Variant lists, read from the store once and kept.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use base_json::Digest;
use base_store::Store;
use k8s_object::ObjectId;
use parking_lot::Mutex;
use roadstead_control::VariantSource;
use roadstead_dispatch::Variant;
use roadstead_model::VariantId;

/// How many lists are kept.
const KEPT: usize = 4096;

/// A variant's list, with what is asked of it most.
#[derive(Debug)]
pub(crate) struct Listed {
    pub(crate) lasting: Arc<[ObjectId]>,
    pub(crate) contents: BTreeSet<Digest>,
}

/// Variant lists by id.
pub(crate) struct Variants {
    store: Arc<dyn Store>,
    kept: Mutex<BTreeMap<VariantId, Arc<Listed>>>,
}

impl Variants {
    /// Reads from a store.
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        Self {
            store,
            kept: Mutex::default(),
        }
    }

    /// A variant's list; `None` if it is not stored, or is damaged.
    pub(crate) fn get(&self, id: &VariantId) -> Option<Arc<Listed>> {
        if let Some(known) = self.kept.lock().get(id) {
            return Some(Arc::clone(known));
        }
        let bytes = match self.store.get_blob(id) {
            Ok(bytes) => bytes?,
            Err(error) => {
                tracing::error!(variant = %id, %error, "failed to read a variant");
                return None;
            }
        };
        let variant: Variant = match serde_json::from_slice(&bytes) {
            Ok(variant) => variant,
            Err(error) => {
                tracing::error!(variant = %id, %error, "a stored variant cannot be read");
                return None;
            }
        };
        let mut lasting: Vec<ObjectId> =
            variant.lasting().map(|object| object.id.clone()).collect();
        lasting.sort();
        let contents = variant.objects.iter().map(|object| object.digest).collect();
        let listed = Arc::new(Listed {
            lasting: lasting.into(),
            contents,
        });
        let mut kept = self.kept.lock();
        if kept.len() >= KEPT {
            kept.clear();
        }
        kept.insert(*id, Arc::clone(&listed));
        Some(listed)
    }
}

impl VariantSource for Variants {
    fn lasting(&self, variant: &VariantId) -> Option<Arc<[ObjectId]>> {
        Some(Arc::clone(&self.get(variant)?.lasting))
    }
}
