//! Chores of the workspace: `cargo xtask <command>`.

mod proto;

use std::path::PathBuf;
use std::process::ExitCode;

/// One chore.
struct Command {
    name: &'static str,
    about: &'static str,
    run: fn(&Context, &[String]) -> anyhow::Result<()>,
}

/// What every chore is given.
struct Context {
    /// The workspace's root.
    root: PathBuf,
}

const COMMANDS: &[Command] = &[Command {
    name: "proto",
    about: "write the protocol's code from its .proto files; --check: fail if that would change anything",
    run: proto::run,
}];

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let name = args.next().unwrap_or_default();
    let rest: Vec<String> = args.collect();
    let Some(command) = COMMANDS.iter().find(|command| command.name == name) else {
        eprintln!("usage: cargo xtask <command>\n");
        for Command { name, about, .. } in COMMANDS {
            eprintln!("  {name:<12} {about}");
        }
        return ExitCode::from(2);
    };
    let mut root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    root.pop();
    match (command.run)(&Context { root }, &rest) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask {name}: {error:#}");
            ExitCode::FAILURE
        }
    }
}
