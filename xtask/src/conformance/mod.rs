//! `cargo xtask conformance`: our renderers and our server-side apply beside the real ones.

mod apply;
mod cases;
mod cel;
mod compare;
mod corpus;
mod helm;
mod krusty;
mod kustomize;
mod kustomize_speed;
mod mutate;
mod oracle;
mod random;
mod report;

use std::process::ExitCode;

use anyhow::bail;

use crate::Context;

/// Runs `conformance helm …`, `conformance kustomize …`, `conformance apply …` and `conformance cel …`.
pub(crate) fn run(context: &Context, args: &[String]) -> anyhow::Result<ExitCode> {
    match args.split_first() {
        Some((name, rest)) if name == "helm" => helm::run(context, rest),
        Some((name, rest)) if name == "kustomize" => kustomize::run(context, rest),
        Some((name, rest)) if name == "apply" => apply::run(context, rest),
        Some((name, rest)) if name == "cel" => cel::run(context, rest),
        _ => bail!(
            "usage: cargo xtask conformance helm|kustomize --corpus DIR, or conformance apply|cel (see --help there)"
        ),
    }
}
