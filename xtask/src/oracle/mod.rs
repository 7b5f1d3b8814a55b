//! Real Kubernetes on this machine: builds it, starts control planes and ends them.

mod agent;
mod build;
mod images;
mod up;

use std::process::ExitCode;

use crate::Context;

const USAGE: &str = "usage: cargo xtask oracle build [NAME…]
       cargo xtask oracle up [--clusters N] [--node] [--simulated-nodes N] [--dir DIR] [--kubeconfigs DIR] [--run COMMAND…]
       cargo xtask oracle down [--dir DIR]
       cargo xtask oracle agent [--apps N] [--quiet-seconds N] [--program FILE]";

/// Runs `cargo xtask oracle`.
pub(crate) fn run(context: &Context, args: &[String]) -> anyhow::Result<ExitCode> {
    match args.split_first() {
        Some((verb, names)) if verb == "build" => build::run(context, names),
        Some((verb, flags)) if verb == "up" => up::up(flags),
        Some((verb, flags)) if verb == "down" => up::down(flags),
        Some((verb, flags)) if verb == "agent" => agent::run(&context.root, flags),
        _ => {
            eprintln!("{USAGE}");
            Ok(ExitCode::from(2))
        }
    }
}
