//! `cargo xtask conformance`: our renderers, our server-side apply, our expressions and our API server beside the real ones.

mod api;
mod apply;
mod beside;
mod cases;
mod cel;
mod compare;
mod corpus;
mod helm;
mod krusty;
mod kubectl;
mod kustomize;
mod kustomize_speed;
mod mutate;
mod oracle;
mod playground;
mod random;
mod refusals;
mod report;
mod section;
mod suite;

use std::process::ExitCode;

use anyhow::bail;

use crate::Context;

/// Runs `conformance helm …`, `kustomize …`, `apply …`, `cel …`, `api …`, `refusals …`, `suite …` and `kubectl …`.
pub(crate) fn run(context: &Context, args: &[String]) -> anyhow::Result<ExitCode> {
    match args.split_first() {
        Some((name, rest)) if name == "helm" => helm::run(context, rest),
        Some((name, rest)) if name == "kustomize" => kustomize::run(context, rest),
        Some((name, rest)) if name == "apply" => apply::APPLY.run(context, rest),
        Some((name, rest)) if name == "cel" => cel::CEL.run(context, rest),
        Some((name, rest)) if name == "refusals" => refusals::run(context, rest),
        Some((name, rest)) if name == "api" => api::run(context, rest),
        Some((name, rest)) if name == "suite" => suite::run(context, rest),
        Some((name, rest)) if name == "kubectl" => kubectl::run(context, rest),
        _ => bail!(
            "usage: cargo xtask conformance helm|kustomize --corpus DIR, or conformance apply|cel|api|refusals|suite|kubectl (see --help there)"
        ),
    }
}
