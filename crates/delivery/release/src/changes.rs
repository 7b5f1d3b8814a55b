//! What a kustomization gets for one target input.

use base_json::Value;
use roadstead_model::{AppSpec, KustomizeChanges};
use roadstead_render::KustomizeInput;
use roadstead_target::{ExpressionError, TargetInput, substitute_text};

use crate::InputError;

/// The folder and the changes for an input, with its expressions replaced.
pub(crate) fn kustomize_input(
    spec: &AppSpec,
    input: &TargetInput,
) -> Result<KustomizeInput, InputError> {
    let mut out = KustomizeInput::default();
    if let Some(kustomize) = &spec.render.kustomize {
        add(&kustomize.changes, "spec.render.kustomize", input, &mut out)?;
    }
    for name in &input.overlays {
        let overlay = spec.overlays.iter().find(|overlay| overlay.name == *name);
        if let Some(changes) = overlay.and_then(|overlay| overlay.kustomize.as_ref()) {
            add(changes, &format!("overlay {name:?}"), input, &mut out)?;
        }
    }
    Ok(out)
}

fn add(
    changes: &KustomizeChanges,
    place: &str,
    input: &TargetInput,
    out: &mut KustomizeInput,
) -> Result<(), InputError> {
    let told = |problem: ExpressionError| InputError::plain(format!("{place}: {problem}"));
    if !changes.path.is_empty() {
        out.path = substitute_text(&changes.path, &input.values).map_err(told)?;
    }
    let mut fields = Value::Object(changes.fields());
    texts(&mut fields, input).map_err(told)?;
    let replicas = fields.get_mut("replicas").and_then(Value::as_array_mut);
    for (number, one) in replicas.into_iter().flatten().enumerate() {
        let Some(count) = one.get_mut("count") else {
            continue;
        };
        // the text of an expression; a number stands as it is
        if let Some(text) = count.as_str() {
            let read: u64 = text.trim().parse().map_err(|_| {
                InputError::plain(format!(
                    "{place}: replicas[{number}].count: {text:?} is no number"
                ))
            })?;
            *count = Value::from(read);
        }
    }
    if let Value::Object(fields) = fields
        && !fields.is_empty()
    {
        out.layers.push((place.to_owned(), fields));
    }
    Ok(())
}

/// Replaces the expressions in every text. All stay texts, as kustomize wants them.
fn texts(value: &mut Value, input: &TargetInput) -> Result<(), ExpressionError> {
    match value {
        Value::String(text) => {
            *text = substitute_text(text, &input.values)?;
            Ok(())
        }
        Value::Array(items) => items.iter_mut().try_for_each(|item| texts(item, input)),
        Value::Object(map) => map.values_mut().try_for_each(|item| texts(item, input)),
        _ => Ok(()),
    }
}
