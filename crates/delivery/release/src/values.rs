//! What a chart gets for one target input.

use std::sync::Arc;

use base_json::Value;
use roadstead_model::{AppSpec, ClusterFact, HelmRenderer, HelmValues};
use roadstead_render::ChartValues;
use roadstead_target::{
    ExpressionError, TargetInput, fact_key, substitute_text, substitute_values,
};

use crate::{InputError, Served};

/// The layers of values for an input, with its expressions replaced.
pub(crate) fn chart_values(
    spec: &AppSpec,
    input: &TargetInput,
    served: &Served,
) -> Result<ChartValues, InputError> {
    let default = HelmRenderer::default();
    let helm = spec.render.helm.as_ref().unwrap_or(&default);
    let told =
        |place: &str, problem: ExpressionError| InputError::plain(format!("{place}: {problem}"));
    let at = "spec.render.helm";
    let text =
        |text: &str| substitute_text(text, &input.values).map_err(|problem| told(at, problem));
    let own = layer(&helm.values, input).map_err(|problem| told(at, problem))?;
    let mut layers = vec![(at.to_owned(), own)];
    for name in &input.overlays {
        let overlay = spec.overlays.iter().find(|overlay| overlay.name == *name);
        if let Some(values) = overlay.and_then(|overlay| overlay.helm.as_ref()) {
            let at = format!("overlay {name:?}");
            let own = layer(values, input).map_err(|problem| told(&at, problem))?;
            layers.push((at, own));
        }
    }
    let fact = |fact: ClusterFact| input.values.get(fact_key(fact));
    let kube_version = match fact(ClusterFact::KubeVersion).and_then(Value::as_str) {
        Some(version) => version.to_owned(),
        None => text(&helm.kube_version)?,
    };
    let served = match fact(ClusterFact::ApiVersions).and_then(Value::as_str) {
        None => None,
        Some(digest) => match served.get(digest) {
            Some(list) => Some(Arc::clone(list)),
            None => {
                let message = format!(
                    "{at}.fromCluster: the list {digest} of what the cluster serves is not there; its agent tells it anew when it connects"
                );
                return Err(InputError::plain(message));
            }
        },
    };
    Ok(ChartValues {
        release_name: text(&helm.release_name)?,
        layers,
        kube_version,
        api_versions: helm.api_versions.clone(),
        served,
    })
}

fn layer(values: &HelmValues, input: &TargetInput) -> Result<HelmValues, ExpressionError> {
    let texts = |texts: &[String]| -> Result<Vec<String>, ExpressionError> {
        texts
            .iter()
            .map(|text| substitute_text(text, &input.values))
            .collect()
    };
    let mut own = values.values.clone();
    if let Some(values) = &mut own {
        substitute_values(values, &input.values)?;
    }
    Ok(HelmValues {
        values_files: texts(&values.values_files)?,
        values: own,
        set_json: texts(&values.set_json)?,
        set: texts(&values.set)?,
        set_string: texts(&values.set_string)?,
        set_file: texts(&values.set_file)?,
        set_literal: texts(&values.set_literal)?,
    })
}
