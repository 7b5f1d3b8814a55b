//! Everything that asks the hub.

use clap::Subcommand;

use crate::args::Global;
use crate::shell::Outcome;

/// Everything that asks the hub.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Print the version
    Version,
}

impl Verb {
    /// Runs it.
    pub(crate) async fn run(self, _global: &Global) -> Outcome {
        match self {
            Self::Version => {
                println!("roadstead {}", env!("CARGO_PKG_VERSION"));
                Ok(std::process::ExitCode::SUCCESS)
            }
        }
    }
}
