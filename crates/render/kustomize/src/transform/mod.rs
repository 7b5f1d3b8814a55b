//! What changes objects: one file for each kind of change.

mod fields;
mod images;
pub(crate) mod names;
mod namespace;
pub(crate) mod patches;
mod replacements;
mod select;
pub(crate) mod vars;

use std::collections::BTreeMap;

pub(crate) use images::Image;
pub(crate) use namespace::Subjects;
pub(crate) use patches::{Json6902, PatchSet};
pub(crate) use replacements::Replacement;
pub(crate) use select::Selector;

use crate::fieldspec::FieldSpec;
use crate::node::Step;
use crate::objects::Objects;
use crate::resource::Item;
use crate::schema::Schema;

/// A change that is ready to be made.
#[derive(Debug)]
pub(crate) enum Transformer {
    Namespace {
        namespace: String,
        specs: Vec<FieldSpec>,
        unset_only: bool,
        subjects: Subjects,
    },
    Prefix {
        text: String,
        specs: Vec<FieldSpec>,
    },
    Suffix {
        text: String,
        specs: Vec<FieldSpec>,
    },
    Labels {
        labels: BTreeMap<String, String>,
        specs: Vec<FieldSpec>,
    },
    Annotations {
        annotations: BTreeMap<String, String>,
        specs: Vec<FieldSpec>,
    },
    Images {
        image: Image,
        specs: Vec<FieldSpec>,
    },
    Replicas {
        name: String,
        count: i64,
        specs: Vec<FieldSpec>,
    },
    /// Strategic merge patches, each for the object of its name.
    Merge(Vec<Item>),
    Patch(PatchSet),
    Json(Json6902),
    Replacements(Vec<Replacement>),
    ValueAdd {
        value: String,
        targets: Vec<(Option<Selector>, String, i64)>,
    },
    Hash,
}

impl Transformer {
    /// Makes the change.
    pub(crate) fn apply(&self, objects: &mut Objects, schema: &Schema) -> Step<()> {
        match self {
            Self::Namespace {
                namespace,
                specs,
                unset_only,
                subjects,
            } => namespace::set(objects, namespace, specs, *unset_only, *subjects),
            Self::Prefix { text, specs } => names::prefix(objects, text, specs),
            Self::Suffix { text, specs } => names::suffix(objects, text, specs),
            Self::Labels { labels, specs } => fields::entries(objects, labels, specs),
            Self::Annotations { annotations, specs } => {
                fields::entries(objects, annotations, specs)
            }
            Self::Images { image, specs } => images::set(objects, image, specs),
            Self::Replicas { name, count, specs } => fields::replicas(objects, name, *count, specs),
            Self::Merge(patches) => patches::merge(objects, patches, schema),
            Self::Patch(patches) => patches.apply(objects, schema),
            Self::Json(patch) => patch.apply(objects, false),
            Self::Replacements(all) => replacements::replace(objects, all),
            Self::ValueAdd { value, targets } => fields::value_add(objects, value, targets),
            Self::Hash => names::hash(objects),
        }
    }
}
