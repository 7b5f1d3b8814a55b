//! Roadstead carries what is in Git to every Kubernetes cluster that should run it.

mod args;
mod bench;
mod client;
mod demo;
mod output;
mod serve;
mod shell;
mod verbs;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    shell::run(args::Args::parse())
}
