//! Writes the code of the wire protocol, which is committed so that nobody needs protoc or a build script.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, bail};

use crate::{Context, only_check};

const FOLDER: &str = "crates/edge/wire";
const FILES: &[&str] = &["roadstead/v1/agent.proto"];
const GENERATED: &[&str] = &["roadstead.v1.rs"];

/// Runs `cargo xtask proto [--check]`.
pub(crate) fn run(context: &Context, args: &[String]) -> anyhow::Result<ExitCode> {
    let check = only_check(args)?;
    let folder = context.root.join(FOLDER);
    let fresh = std::env::temp_dir().join(format!("xtask-proto-{}", std::process::id()));
    fs::create_dir_all(&fresh).context("failed to make a scratch folder")?;
    generate(&folder.join("proto"), &fresh)?;
    for name in GENERATED {
        let made = fs::read_to_string(fresh.join(name))
            .with_context(|| format!("generation left no {name}"))?;
        let kept = folder.join("src/generated").join(name);
        let same = fs::read_to_string(&kept).is_ok_and(|text| text == made);
        if same {
            continue;
        }
        if check {
            bail!(
                "{FOLDER}/src/generated/{name} is not what the .proto files say; run `cargo xtask proto` and commit"
            );
        }
        fs::write(&kept, made).with_context(|| format!("failed to write {}", kept.display()))?;
        println!("wrote {FOLDER}/src/generated/{name}");
    }
    Ok(ExitCode::SUCCESS)
}

fn generate(protos: &Path, out: &Path) -> anyhow::Result<()> {
    let descriptors =
        protox::compile(FILES, [protos]).context("failed to read the .proto files")?;
    tonic_prost_build::configure()
        .build_client(true)
        .build_server(true)
        .build_transport(false)
        .bytes(".")
        .out_dir(out)
        .compile_fds(descriptors)
        .context("failed to write code")
}
