//! `cargo xtask conformance`: our renderers beside the real tools, over folders of real inputs.

mod cases;
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

/// Runs `conformance helm …` and `conformance kustomize …`.
pub(crate) fn run(context: &Context, args: &[String]) -> anyhow::Result<ExitCode> {
    match args.split_first() {
        Some((name, rest)) if name == "helm" => helm::run(context, rest),
        Some((name, rest)) if name == "kustomize" => kustomize::run(context, rest),
        _ => bail!("usage: cargo xtask conformance helm|kustomize --corpus DIR (see --help there)"),
    }
}
