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

/// The profile of what only tests run: built in a fraction of the time, and slower.
const QUICK: &str = "quick";

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

/// Runs it: `[--arch NAME]… [--quick] [--again]`.
pub(crate) fn run(context: &Context, args: &[String]) -> anyhow::Result<ExitCode> {
    let mut chosen: Vec<&Arch> = Vec::new();
    let (mut again, mut profile) = (false, PROFILE);
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        match arg.as_str() {
            "--again" => again = true,
            "--quick" => profile = QUICK,
            "--arch" => {
                let name = rest.next().map(String::as_str).unwrap_or_default();
                let Some(arch) = ARCHS.iter().find(|arch| arch.name == name) else {
                    bail!("--arch is amd64 or arm64, not {name:?}");
                };
                chosen.push(arch);
            }
            _ => bail!("expected --arch NAME, --quick or --again, got {arg:?}"),
        }
    }
    if chosen.is_empty() {
        chosen = ARCHS.iter().collect();
    }
    let target = target_dir(context);
    let out = target.join("image");
    let source = Source::here(context);
    let digest = build(&source, &chosen, profile, &target, &out)?;
    println!("image     {digest}");
    if again {
        // everything anew, source and all, in another folder: neither may leave a trace
        let other = target.join("image-again");
        let copied = copy_source(&source, &other.join("source-of-another-name"))?;
        let second = build(
            &copied,
            &chosen,
            profile,
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

/// Builds the image for this machine, or quickly one that is the same but for its speed; returns its archive and the
/// program in it.
pub(crate) fn built_here(context: &Context, quickly: bool) -> anyhow::Result<(PathBuf, PathBuf)> {
    let name = layout::arch_here();
    let arch = ARCHS.iter().find(|arch| arch.name == name);
    let arch = arch.with_context(|| format!("no image is built for {name}"))?;
    let target = target_dir(context);
    let out = target.join("image-here");
    let profile = if quickly { QUICK } else { PROFILE };
    build(&Source::here(context), &[arch], profile, &target, &out)?;
    Ok((
        out.join(format!("roadstead-{name}.tar")),
        out.join(format!("roadstead-linux-{name}")),
    ))
}

/// Builds an image of the program as `cargo build` makes it, with the libraries that it is linked with beside it; nothing
/// is compiled for the image alone. For tests: it is large and slow.
pub(crate) fn built_for_tests(context: &Context) -> anyhow::Result<(PathBuf, PathBuf)> {
    let target = target_dir(context);
    let status = crate::cargo()
        .current_dir(&context.root)
        .args(["build", "--locked", "--quiet", "--package", "roadstead"])
        .env("CARGO_TARGET_DIR", &target)
        .status()
        .context("failed to run cargo")?;
    if !status.success() {
        bail!("the build of roadstead failed");
    }
    let program = target.join("debug/roadstead");
    let out = target.join("image-for-tests");
    std::fs::create_dir_all(&out).with_context(|| format!("failed to make {}", out.display()))?;
    let stripped = out.join("roadstead");
    let status = Command::new("strip")
        .arg("-o")
        .args([&stripped, &program])
        .status()
        .context("failed to run strip; it comes with the C compiler (binutils)")?;
    if !status.success() {
        bail!("strip {} ended with {status}", program.display());
    }
    let binary = std::fs::read(&stripped)
        .with_context(|| format!("failed to read {}", stripped.display()))?;
    let libraries = libraries(&stripped)?;
    let image = Platform::for_tests(layout::arch_here(), &binary, &libraries);
    let archive = out.join("roadstead.tar");
    write(&archive, &image.archive())?;
    Ok((archive, program))
}

/// The loader and the libraries of a program: where it looks for them, and what they are.
fn libraries(program: &Path) -> anyhow::Result<Vec<(String, Vec<u8>)>> {
    let out = Command::new("ldd").arg(program).output();
    let out = out.context("failed to run ldd")?;
    let mut found = Vec::new();
    for line in String::from_utf8_lossy(&out.stdout).lines() {
        let path = line.split_whitespace().find(|word| word.starts_with('/'));
        if let Some(path) = path {
            let bytes = std::fs::read(path).with_context(|| format!("failed to read {path}"))?;
            found.push((path.trim_start_matches('/').to_owned(), bytes));
        }
    }
    Ok(found)
}

/// What is built.
struct Source {
    root: PathBuf,
    /// Seconds since 1970 of the commit; what is built of it has this time everywhere.
    time: i64,
}

impl Source {
    fn here(context: &Context) -> Self {
        let set = std::env::var("SOURCE_DATE_EPOCH").ok();
        let set = set.and_then(|text| text.parse().ok());
        let time = set.unwrap_or_else(|| {
            let text = git(&context.root, &["log", "-1", "--format=%ct"]);
            String::from_utf8_lossy(&text.unwrap_or_default())
                .trim()
                .parse()
                .unwrap_or(0)
        });
        Self {
            root: context.root.clone(),
            time,
        }
    }
}

fn git(root: &Path, args: &[&str]) -> anyhow::Result<Vec<u8>> {
    let out = Command::new("git").args(args).current_dir(root).output();
    let out = out.context("failed to run git")?;
    if !out.status.success() {
        bail!(
            "git {}: {}",
            args.join(" "),
            String::from_utf8_lossy(&out.stderr).trim()
        );
    }
    Ok(out.stdout)
}

/// Copies what git knows of, as it stands in the folder now.
fn copy_source(source: &Source, to: &Path) -> anyhow::Result<Source> {
    if to.exists() {
        std::fs::remove_dir_all(to).with_context(|| format!("failed to clear {}", to.display()))?;
    }
    let listed = [
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ];
    let listed = git(&source.root, &listed)?;
    for path in String::from_utf8_lossy(&listed).split_terminator('\0') {
        let (from, to) = (source.root.join(path), to.join(path));
        // one that was removed, and not yet from the index
        if !from.is_file() {
            continue;
        }
        if let Some(parent) = to.parent() {
            std::fs::create_dir_all(parent)
                .with_context(|| format!("failed to make {}", parent.display()))?;
        }
        std::fs::copy(&from, &to).with_context(|| format!("failed to copy {}", from.display()))?;
    }
    Ok(Source {
        root: to.to_owned(),
        time: source.time,
    })
}

fn target_dir(context: &Context) -> PathBuf {
    let set = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    set.unwrap_or_else(|| context.root.join("target"))
}

fn build(
    source: &Source,
    archs: &[&Arch],
    profile: &str,
    target: &Path,
    out: &Path,
) -> anyhow::Result<String> {
    let time = source.time;
    if out.exists() {
        std::fs::remove_dir_all(out)
            .with_context(|| format!("failed to clear {}", out.display()))?;
    }
    std::fs::create_dir_all(out).with_context(|| format!("failed to make {}", out.display()))?;
    let mut layout = Layout::default();
    let mut sums = String::new();
    for arch in archs {
        let binary = compile(&source.root, arch, profile, target)?;
        check_static(&binary, arch)?;
        let parts = parts::list(&source.root, arch.target, time)?;
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

fn compile(root: &Path, arch: &Arch, profile: &str, target: &Path) -> anyhow::Result<Vec<u8>> {
    let found = Command::new(arch.compiler).arg("--version").output();
    if !found.is_ok_and(|out| out.status.success()) {
        bail!("{} is missing: install {}", arch.compiler, arch.package);
    }
    let under = arch.target.replace('-', "_");
    let upper = under.to_uppercase();
    let mut cargo = crate::cargo();
    cargo
        .current_dir(root)
        .args([
            "build",
            "--locked",
            "--quiet",
            "--profile",
            profile,
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
    let path = target.join(arch.target).join(profile).join("roadstead");
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
