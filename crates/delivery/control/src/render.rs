//! Rendering as the hub asks for it: a job and its files in, outcomes and blobs out.

use std::collections::BTreeMap;

use roadstead_model::ProjectSpec;
use roadstead_release::{Built, Prepared, check_project};
use roadstead_render::Inputs;

use crate::records::VariantOutcome;
use crate::wanted::{RenderJob, Rendered};

/// Renders a job with the files of its inputs. What the Project does not allow
/// fails the clusters that would get it.
pub fn render(job: &RenderJob, inputs: &Inputs, project: (&str, &ProjectSpec)) -> Rendered {
    let record = &job.record;
    let prepared = match Prepared::of(&job.app, &record.frozen, record.id, inputs) {
        Ok(prepared) => prepared.knowing(job.served.clone()),
        Err(error) => {
            let excerpt = error
                .excerpt()
                .map(|excerpt| format!("\n{excerpt}"))
                .unwrap_or_default();
            return Rendered {
                error: format!("{error}{excerpt}"),
                ..Rendered::default()
            };
        }
    };
    let uses = job.scan.then(|| {
        let found = prepared.uses().manifests.iter();
        found
            .map(|expression| (expression.path.clone(), expression.default.clone()))
            .collect()
    });
    let Built {
        variants,
        blobs,
        by_input,
        warnings,
    } = prepared.build(job.needed.values());
    let (name, spec) = project;
    let mut refused: BTreeMap<base_json::Digest, String> = BTreeMap::new();
    for (id, variant) in &variants {
        let violations = check_project(name, spec, variant, &|digest| blobs.get(digest).cloned());
        if let Some(first) = violations.first() {
            refused.insert(*id, first.to_string());
        }
    }
    let outcomes = by_input.into_iter().map(|(input, outcome)| {
        let outcome = match outcome {
            Ok(id) => match refused.get(&id) {
                Some(why) => VariantOutcome::Error(why.clone()),
                None => VariantOutcome::Variant {
                    id,
                    objects: variants
                        .get(&id)
                        .map_or(0, |v| u32::try_from(v.objects.len()).unwrap_or(u32::MAX)),
                },
            },
            Err(error) => VariantOutcome::Error(error.to_string()),
        };
        (input, outcome)
    });
    Rendered {
        uses,
        outcomes: outcomes.collect(),
        blobs: blobs.into_iter().collect(),
        error: String::new(),
        warnings,
        transient: None,
    }
}
