//! Builds the image and the static binaries: one program on an empty root, for each architecture.
//!
//! The layout of an OCI image is a few JSON files and a tar; written here, the same source gives the same bytes, and no
//! daemon and no other tool is needed. What stands in target/image afterwards:
//!
//! ```text
//! oci/                     the image's layout, all architectures in one index, each with its list of parts
//! roadstead-ARCH.tar       the same for one architecture, for `ctr image import` and `podman load`
//! roadstead-linux-ARCH     the static binary
//! roadstead-ARCH.cdx.json  its list of parts (CycloneDX)
//! SHA256SUMS
//! ```

mod layout;
mod parts;
mod tar;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, bail};

use crate::Context;
pub(crate) use layout::one_program;
use layout::{Layout, Platform};

/// No image may be larger, compressed.
const MOST: u64 = 30_000_000;

/// Cargo's profile; not `image`, since cargo keeps what it builds with in target/PROFILE.
const PROFILE: &str = "shipped";

/// What is built.
pub(crate) struct Arch {
    /// As OCI names it.
    pub(crate) name: &'static str,
    /// As Rust names it.
    target: &'static str,
    /// The C compiler, where the machine has another architecture.
    compiler: &'static str,
    /// The headers of its C library, if the compiler's own are of another one.
    headers: Option<&'static str>,
    package: &'static str,
}

const ARCHS: &[Arch] = &[
    Arch {
        name: "amd64",
        target: "x86_64-unknown-linux-musl",
        compiler: "musl-gcc",
        headers: None,
        package: "musl-tools",
    },
    Arch {
        name: "arm64",
        target: "aarch64-unknown-linux-musl",
        compiler: "aarch64-linux-gnu-gcc",
        headers: Some("/usr/include/aarch64-linux-musl"),
        package: "gcc-aarch64-linux-gnu and musl-dev:arm64 (dpkg --add-architecture arm64)",
    },
];

/// Runs it: `[--arch NAME]… [--again]`.
pub(crate) fn run(context: &Context, args: &[String]) -> anyhow::Result<ExitCode> {
    let mut chosen: Vec<&Arch> = Vec::new();
    let mut again = false;
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        match arg.as_str() {
            "--again" => again = true,
            "--arch" => {
                let name = rest.next().map(String::as_str).unwrap_or_default();
                let Some(arch) = ARCHS.iter().find(|arch| arch.name == name) else {
                    bail!("--arch is amd64 or arm64, not {name:?}");
                };
                chosen.push(arch);
            }
            _ => bail!("expected --arch NAME or --again, got {arg:?}"),
        }
    }
    if chosen.is_empty() {
        chosen = ARCHS.iter().collect();
    }
    let target = target_dir(context);
    let out = target.join("image");
    let digest = build(context, &chosen, &target, &out)?;
    println!("image     {digest}");
    if again {
        // everything anew in another folder: the same source must give the same bytes
        let other = target.join("image-again");
        let second = build(
            context,
            &chosen,
            &other.join("target"),
            &other.join("image"),
        )?;
        if second != digest {
            bail!("the second build gave another image: {second}");
        }
        println!("the second build gave the same");
    }
    Ok(ExitCode::SUCCESS)
}

/// Builds the image for this machine; returns its archive and the program in it.
pub(crate) fn built_here(context: &Context) -> anyhow::Result<(PathBuf, PathBuf)> {
    let name = layout::arch_here();
    let arch = ARCHS.iter().find(|arch| arch.name == name);
    let arch = arch.with_context(|| format!("no image is built for {name}"))?;
    let target = target_dir(context);
    let out = target.join("image-here");
    build(context, &[arch], &target, &out)?;
    Ok((
        out.join(format!("roadstead-{name}.tar")),
        out.join(format!("roadstead-linux-{name}")),
    ))
}

fn target_dir(context: &Context) -> PathBuf {
    let set = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    set.unwrap_or_else(|| context.root.join("target"))
}

fn build(context: &Context, archs: &[&Arch], target: &Path, out: &Path) -> anyhow::Result<String> {
    let time = commit_time(context);
    if out.exists() {
        std::fs::remove_dir_all(out)
            .with_context(|| format!("failed to clear {}", out.display()))?;
    }
    std::fs::create_dir_all(out).with_context(|| format!("failed to make {}", out.display()))?;
    let mut layout = Layout::default();
    let mut sums = String::new();
    for arch in archs {
        let binary = compile(context, arch, target)?;
        check_static(&binary, arch)?;
        let parts = parts::list(context, arch.target, time)?;
        let image = Platform::build(arch.name, &binary, &parts, time);
        println!(
            "{:<9} {:.1} MB compressed, binary {:.1} MB, {} parts",
            arch.name,
            image.size() as f64 / 1e6,
            binary.len() as f64 / 1e6,
            parts.count
        );
        if image.size() > MOST {
            bail!(
                "the image for {} has {} bytes, {MOST} are allowed",
                arch.name,
                image.size()
            );
        }
        for (name, bytes) in [
            (format!("roadstead-linux-{}", arch.name), &binary[..]),
            (format!("roadstead-{}.cdx.json", arch.name), &parts.json),
            (format!("roadstead-{}.tar", arch.name), &image.archive()),
        ] {
            write(&out.join(&name), bytes)?;
            sums.push_str(&format!("{}  {name}\n", base_json::Digest::of(bytes).hex()));
        }
        executable(&out.join(format!("roadstead-linux-{}", arch.name)))?;
        layout.add(image);
    }
    let digest = layout.write(&out.join("oci"))?;
    write(&out.join("SHA256SUMS"), sums.as_bytes())?;
    Ok(digest)
}

pub(crate) fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    std::fs::write(path, bytes).with_context(|| format!("failed to write {}", path.display()))
}

fn executable(path: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))
        .with_context(|| format!("failed to change {}", path.display()))
}

/// Seconds since 1970 of the commit; what is built of it has this time everywhere.
fn commit_time(context: &Context) -> i64 {
    let set = std::env::var("SOURCE_DATE_EPOCH").ok();
    let set = set.and_then(|text| text.parse().ok());
    set.unwrap_or_else(|| {
        let git = Command::new("git")
            .args(["log", "-1", "--format=%ct"])
            .current_dir(&context.root)
            .output();
        let text = git.map(|out| out.stdout).unwrap_or_default();
        String::from_utf8_lossy(&text).trim().parse().unwrap_or(0)
    })
}

fn compile(context: &Context, arch: &Arch, target: &Path) -> anyhow::Result<Vec<u8>> {
    let found = Command::new(arch.compiler).arg("--version").output();
    if !found.is_ok_and(|out| out.status.success()) {
        bail!("{} is missing: install {}", arch.compiler, arch.package);
    }
    let under = arch.target.replace('-', "_");
    let upper = under.to_uppercase();
    let mut cargo = crate::cargo();
    cargo
        .current_dir(&context.root)
        .args([
            "build",
            "--locked",
            "--quiet",
            "--profile",
            PROFILE,
            "--package",
            "roadstead",
        ])
        .args(["--target", arch.target])
        .env("CARGO_TARGET_DIR", target)
        .env(format!("CC_{under}"), arch.compiler)
        .env("SOURCE_DATE_EPOCH", "0");
    if let Some(headers) = arch.headers {
        if !Path::new(headers).exists() {
            bail!("{headers} is missing: install {}", arch.package);
        }
        let own = compiler_headers(arch)?;
        let flags = format!("-nostdinc -isystem {headers} -isystem {own} -U_FORTIFY_SOURCE");
        cargo
            .env(format!("CFLAGS_{under}"), flags)
            .env(format!("CARGO_TARGET_{upper}_LINKER"), arch.compiler);
    }
    let status = cargo.status().context("failed to run cargo")?;
    if !status.success() {
        bail!("the build for {} failed", arch.target);
    }
    let path = target.join(arch.target).join(PROFILE).join("roadstead");
    std::fs::read(&path).with_context(|| format!("failed to read {}", path.display()))
}

/// Where the compiler keeps the headers that belong to itself.
fn compiler_headers(arch: &Arch) -> anyhow::Result<String> {
    let out = Command::new(arch.compiler)
        .arg("-print-file-name=include")
        .output()
        .with_context(|| format!("failed to run {}", arch.compiler))?;
    Ok(String::from_utf8_lossy(&out.stdout).trim().to_owned())
}

/// A program that asks for a loader would not start on an empty root.
fn check_static(binary: &[u8], arch: &Arch) -> anyhow::Result<()> {
    let machine = match arch.name {
        "amd64" => 62,
        _ => 183,
    };
    let at = |from: usize, length: usize| -> u64 {
        let bytes = binary.get(from..from + length).unwrap_or_default();
        bytes
            .iter()
            .rev()
            .fold(0, |sum, byte| (sum << 8) | u64::from(*byte))
    };
    if !binary.starts_with(b"\x7fELF") || at(18, 2) != machine {
        bail!(
            "the build for {} gave no program of that architecture",
            arch.target
        );
    }
    let (table, size, count) = (at(32, 8), at(54, 2), at(56, 2));
    for number in 0..count {
        let entry = usize::try_from(table + number * size)?;
        const INTERPRETER: u64 = 3;
        if at(entry, 4) == INTERPRETER {
            bail!(
                "the program for {} asks for a loader; it is not static",
                arch.target
            );
        }
    }
    Ok(())
}
