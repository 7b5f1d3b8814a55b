//! Patches: strategic merges and lists of JSON operations.

use serde_json::Value;

use super::Selector;
use crate::diag::Fault;
use crate::json6902::Operations;
use crate::node::{Step, Tree};
use crate::objects::Objects;
use crate::resource::Item;
use crate::schema::Schema;

/// One entry of `patches`.
#[derive(Debug)]
pub(crate) struct PatchSet {
    pub(crate) merges: Vec<Item>,
    pub(crate) json: Option<Operations>,
    pub(crate) target: Option<Selector>,
}

/// JSON operations for what a selector finds.
#[derive(Debug)]
pub(crate) struct Json6902 {
    pub(crate) operations: Operations,
    pub(crate) target: Selector,
}

impl PatchSet {
    pub(super) fn apply(&self, objects: &mut Objects, schema: &Schema) -> Step<()> {
        if let Some(operations) = &self.json {
            let Some(target) = &self.target else {
                return Err(Fault::new("a list of JSON operations needs a target"));
            };
            return apply_json(objects, operations, target, true);
        }
        let Some(target) = &self.target else {
            for patch in &self.merges {
                let at = objects.the(&patch.first_id())?;
                let item = objects.get_mut(at);
                let done = item.patch(patch, schema);
                done.map_err(|fault| in_patch(fault, patch, &item.id().to_string()))?;
            }
            return Ok(());
        };
        match &self.merges[..] {
            [] => Ok(()),
            [patch] => {
                let selected = target.select(objects)?;
                apply_to(objects, &selected, patch, schema)
            }
            _ => Err(Fault::new(
                "a patch with a target holds several objects; it may hold one",
            )),
        }
    }
}

impl Json6902 {
    pub(super) fn apply(&self, objects: &mut Objects, remember: bool) -> Step<()> {
        apply_json(objects, &self.operations, &self.target, remember)
    }
}

/// Merges each patch into the object of its name.
pub(super) fn merge(objects: &mut Objects, patches: &[Item], schema: &Schema) -> Step<()> {
    for patch in patches {
        let at = objects.the(&patch.first_id())?;
        apply_to(objects, &[at], patch, schema)?;
        objects.drop_gone();
        objects.check()?;
    }
    Ok(())
}

fn apply_to(objects: &mut Objects, selected: &[usize], patch: &Item, schema: &Schema) -> Step<()> {
    for &at in selected {
        let item = objects.get_mut(at);
        let mut patch = patch.clone();
        let same = patch.clone();
        patch.inherit(&same)?;
        patch.marks = same.marks;
        let (version, kind) = (item.gvk().api_version(), patch.kind());
        patch.tree.set_text(&["kind"], &kind)?;
        patch.tree.set_text(&["apiVersion"], &version)?;
        let done = item.patch(&patch, schema);
        done.map_err(|fault| in_patch(fault, &patch, &item.id().to_string()))?;
    }
    objects.drop_gone();
    objects.check()
}

/// The place is one of the object or of the patch, so it says nothing by itself.
fn in_patch(mut fault: Fault, patch: &Item, id: &str) -> Fault {
    (fault.line, fault.column) = (0, 0);
    let step = format!("patch {} does not merge into {id}", patch.id());
    fault.within(&step)
}

fn apply_json(
    objects: &mut Objects,
    operations: &Operations,
    target: &Selector,
    remember: bool,
) -> Step<()> {
    for at in target.select(objects)? {
        let item = objects.get_mut(at);
        if remember {
            item.remember();
        }
        let blame = |item: &Item, fault: Fault| item.blame(fault);
        let mut value = item.tree.to_value().map_err(|fault| blame(item, fault))?;
        let done = operations.apply(&mut value);
        done.map_err(|fault| blame(item, fault))?;
        if !matches!(value, Value::Object(_)) {
            let text = "the operations leave no object";
            return Err(blame(item, Fault::new(text)));
        }
        item.tree = Tree::from_value(&value, true);
    }
    Ok(())
}
