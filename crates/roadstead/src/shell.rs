//! Logging, the runtime, and how errors are told.

use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::process::ExitCode;

use tracing_subscriber::EnvFilter;

use crate::args::{Args, Command, Global};
use crate::serve;

/// An error that a hint belongs to; the hint is printed last.
#[derive(Debug)]
pub(crate) struct Hinted {
    pub(crate) error: anyhow::Error,
    pub(crate) hint: String,
}

impl std::fmt::Display for Hinted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(&self.error, f)
    }
}

impl std::error::Error for Hinted {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.error.source()
    }
}

/// How a command ends that did not fail: its exit code.
pub(crate) type Outcome = anyhow::Result<ExitCode>;

/// Runs a command.
pub(crate) fn run(args: Args) -> ExitCode {
    log_to_stderr(
        &args.global,
        matches!(args.command, Command::Hub(_) | Command::Agent(_)),
    );
    // one provider for everything; a second call would be a bug, and is harmless
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let outcome = match args.command {
        Command::Hub(hub) => runtime(Threads::More)
            .and_then(|runtime| runtime.block_on(serve::hub::run(hub, &args.global))),
        Command::Agent(agent) => {
            runtime(Threads::One).and_then(|runtime| runtime.block_on(serve::agent::run(agent)))
        }
        Command::Playground(playground) => runtime(playground.threads())
            .and_then(|runtime| runtime.block_on(serve::playground::run(playground))),
        Command::Demo(demo) => {
            runtime(Threads::More).and_then(|runtime| runtime.block_on(crate::demo::run(demo)))
        }
        Command::Bench(bench) => {
            runtime(Threads::More).and_then(|runtime| runtime.block_on(crate::bench::run(bench)))
        }
        Command::Verb(verb) => {
            runtime(Threads::More).and_then(|runtime| runtime.block_on(verb.run(&args.global)))
        }
    };
    outcome.unwrap_or_else(|error| {
        anstream::eprint!("{}", tell(&error));
        ExitCode::from(1)
    })
}

/// On how many threads a command runs.
#[derive(Clone, Copy)]
pub(crate) enum Threads {
    One,
    /// As many as there are processors: nothing waits for a disk.
    Processors,
    /// More than there are processors: the store answers on the thread that asks, and the others keep going.
    More,
}

fn runtime(threads: Threads) -> anyhow::Result<tokio::runtime::Runtime> {
    let mut builder = match threads {
        Threads::One => tokio::runtime::Builder::new_current_thread(),
        Threads::Processors | Threads::More => tokio::runtime::Builder::new_multi_thread(),
    };
    if let Threads::More = threads {
        builder.worker_threads(8);
    }
    Ok(builder.enable_all().build()?)
}

fn log_to_stderr(global: &Global, serves: bool) {
    let default = if serves { "info" } else { "warn" };
    let filter = global.log.clone().unwrap_or_else(|| default.to_owned());
    let filter = EnvFilter::try_new(&filter).unwrap_or_else(|_| EnvFilter::new(default));
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(colours);
    if global.log_json {
        builder.json().flatten_event(true).init();
    } else {
        builder.with_target(false).init();
    }
}

/// An error for a person: what failed, then the causes, then the hint.
pub(crate) fn tell(error: &anyhow::Error) -> String {
    use owo_colors::OwoColorize as _;
    let mut out = String::new();
    let _ = writeln!(out, "{} {error}", "error:".red().bold());
    for cause in error.chain().skip(1) {
        let _ = writeln!(out, "  {} {cause}", "because".dimmed());
    }
    if let Some(hinted) = error.downcast_ref::<Hinted>() {
        let _ = writeln!(out, "\n{} {}", "hint:".cyan().bold(), hinted.hint);
    }
    out
}
