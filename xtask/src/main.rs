//! Chores of the workspace: `cargo xtask <command>`.

mod conformance;
mod e2e;
mod image;
mod manifests;
mod measured;
mod nouns;
mod oracle;
mod proto;
mod rivals;
mod schemas;
mod structure;
mod test;

use std::path::PathBuf;
use std::process::ExitCode;

/// One chore.
struct Command {
    name: &'static str,
    about: &'static str,
    run: fn(&Context, &[String]) -> anyhow::Result<ExitCode>,
}

/// What every chore is given.
struct Context {
    /// The workspace's root.
    root: PathBuf,
}

const COMMANDS: &[Command] = &[
    Command {
        name: "structure",
        about: "check what may depend on what; list files that want splitting",
        run: structure::run,
    },
    Command {
        name: "proto",
        about: "write the protocol's code from its .proto files; --check: fail if that would change anything",
        run: proto::run,
    },
    Command {
        name: "conformance",
        about: "render with the real tools and with ours, and compare: helm | kustomize --corpus DIR",
        run: conformance::run,
    },
    Command {
        name: "nouns",
        about: "write docs/nouns/ from the nouns' schemas; --check: fail if that would change anything",
        run: nouns::run,
    },
    Command {
        name: "schemas",
        about: "write the table of Kubernetes' types from its documents and Go types; --check: fail if that would change anything",
        run: schemas::run,
    },
    Command {
        name: "manifests",
        about: "write deploy/*.yaml from the charts by the real helm; --check: fail if that would change anything",
        run: manifests::run,
    },
    Command {
        name: "image",
        about: "build the image, the static binaries and their list of parts into target/image",
        run: image::run,
    },
    Command {
        name: "test",
        about: "run every test and sum up; arguments go to `cargo test`",
        run: test::run,
    },
    Command {
        name: "e2e",
        about: "install the hub in a real cluster, join two more, and go through the demo's story: --corpus DIR",
        run: e2e::run,
    },
    Command {
        name: "bench-rivals",
        about: "measure Flux, Argo CD's engine and the agent, each alone on its own real API server",
        run: rivals::run,
    },
    Command {
        name: "oracle",
        about: "build real Kubernetes, start and end control planes, measure the agent: build | up | down | agent",
        run: oracle::run,
    },
];

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
        Ok(code) => code,
        Err(error) => {
            eprintln!("xtask {name}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The cargo that runs this.
fn cargo() -> std::process::Command {
    std::process::Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Reads the only flag that the writing chores know.
fn only_check(args: &[String]) -> anyhow::Result<bool> {
    match args {
        [] => Ok(false),
        [flag] if flag == "--check" => Ok(true),
        _ => anyhow::bail!("expected nothing or --check, got {args:?}"),
    }
}
