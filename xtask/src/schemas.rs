//! `cargo xtask schemas`: the table of Kubernetes' built-in types, made from its documents and its own Go types.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, bail};

use crate::Context;

const TABLE: &str = "crates/k8s/apply/src/builtin.types";

pub(crate) fn run(context: &Context, args: &[String]) -> anyhow::Result<ExitCode> {
    let check = crate::only_check(args)?;
    let kubernetes = context.root.join("oracle/kubernetes");
    let module = go(
        &kubernetes,
        &["list", "-m", "-f", "{{.Dir}}", "k8s.io/kubernetes"],
    )?;
    let documents = Path::new(module.trim()).join("api/openapi-spec/v3");
    let types = go(
        &context.root.join("oracle/types"),
        &["run", ".", &documents.to_string_lossy()],
    )?;
    let kept = go(
        &kubernetes,
        &["run", "-trimpath", "-mod=readonly", "./schemas"],
    )?;
    let by_hand = std::fs::read_to_string(kubernetes.join("schemas/by-hand.txt"))
        .context("failed to read schemas/by-hand.txt")?;
    let table = join(&types, &words(&kept, &by_hand)?)?;
    let path = context.root.join(TABLE);
    let old = std::fs::read_to_string(&path)
        .with_context(|| format!("failed to read {}", path.display()))?;
    if old == table {
        println!("schemas: {TABLE} is as Kubernetes has it");
        return Ok(ExitCode::SUCCESS);
    }
    if check {
        let line = old
            .lines()
            .zip(table.lines())
            .position(|(old, new)| old != new)
            .map_or_else(|| "its end".to_owned(), |at| format!("line {}", at + 1));
        println!("schemas: {TABLE} differs from {line} on: run `cargo xtask schemas`");
        return Ok(ExitCode::FAILURE);
    }
    std::fs::write(&path, table).with_context(|| format!("failed to write {}", path.display()))?;
    println!("schemas: {TABLE} is written");
    Ok(ExitCode::SUCCESS)
}

fn go(folder: &Path, args: &[&str]) -> anyhow::Result<String> {
    let output = Command::new("go")
        .args(args)
        .current_dir(folder)
        .env("CGO_ENABLED", "0")
        .env("GOWORK", "off")
        .output()
        .context("failed to start go: the types are read from Go modules (Go 1.26 or newer)")?;
    if !output.status.success() {
        bail!(
            "go {} in {} ended with {}: {}",
            args.join(" "),
            folder.display(),
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
    }
    String::from_utf8(output.stdout).context("go wrote no text")
}

/// What is known of one field.
#[derive(Default)]
struct Kept {
    pointer: bool,
    /// What stands in messages.
    names: Vec<String>,
    /// The JSON that stands where nothing was written.
    zero: Option<String>,
    set: Option<String>,
}

/// Reads both lists: TYPE, FIELD and words.
fn words(kept: &str, by_hand: &str) -> anyhow::Result<BTreeMap<(String, String), Kept>> {
    let mut out: BTreeMap<(String, String), Kept> = BTreeMap::new();
    for line in kept.lines().filter(|line| !line.starts_with('#')) {
        let (key, rest) = split(line)?;
        let field = out.entry(key).or_default();
        for word in rest.split(' ') {
            match word.split_once('=') {
                None if word == "ptr" => field.pointer = true,
                None if word == "bare" => {}
                Some(("in" | "go", _)) => field.names.push(word.to_owned()),
                Some(("zero", json)) => field.zero = Some(json.to_owned()),
                Some(("set", _)) => field.set = Some(word.to_owned()),
                _ => bail!("unknown word {word:?} in {line:?}"),
            }
        }
    }
    for line in by_hand.lines().filter(|line| !line.starts_with('#')) {
        let (key, rest) = split(line)?;
        let field = out.entry(key).or_default();
        field.set = (rest != "-").then(|| rest.to_owned());
    }
    Ok(out)
}

fn split(line: &str) -> anyhow::Result<((String, String), &str)> {
    let mut words = line.splitn(3, ' ');
    match (words.next(), words.next(), words.next()) {
        (Some(owner), Some(field), Some(rest)) => Ok(((owner.to_owned(), field.to_owned()), rest)),
        _ => bail!("expected TYPE FIELD WORDS, got {line:?}"),
    }
}

/// Writes behind each field of the table what is known of it.
fn join(types: &str, kept: &BTreeMap<(String, String), Kept>) -> anyhow::Result<String> {
    let mut out = String::new();
    let (mut owner, mut met) = (String::new(), 0);
    let none = Kept::default();
    for line in types.lines() {
        let Some(field) = line.strip_prefix("  ") else {
            if !line.starts_with('#') {
                owner = line.split(' ').next().unwrap_or_default().to_owned();
            }
            out.push_str(line);
            out.push('\n');
            continue;
        };
        let head = field.split(' ').next().unwrap_or_default();
        let present = head.ends_with('~');
        let name = head.trim_end_matches('~').trim_end_matches('!');
        // the default that is published comes last: its text may hold blanks
        let (line, default) = match line.split_once(" default=") {
            Some((line, default)) => (line, Some(default)),
            None => (line, None),
        };
        out.push_str(line);
        let known = kept.get(&(owner.clone(), name.to_owned()));
        met += usize::from(known.is_some());
        let known = known.unwrap_or(&none);
        if known.pointer {
            out.push_str(" ptr");
        }
        for name in &known.names {
            out.push_str(&format!(" {name}"));
        }
        match &known.zero {
            Some(zero) if zero == "null" => out.push_str(" null"),
            Some(zero) if !present => out.push_str(&format!(" zero={zero}")),
            None if present && !known.pointer => out.push_str(" drop"),
            _ => {}
        }
        if let Some(set) = &known.set {
            if set.contains(", ") {
                bail!("the default of {owner}.{name} has a blank: {set}");
            }
            out.push_str(&format!(" {set}"));
        }
        if let Some(default) = default {
            out.push_str(&format!(" default={default}"));
        }
        out.push('\n');
    }
    if met < kept.len() / 2 {
        bail!("{met} of {} fields are in the table", kept.len());
    }
    Ok(out)
}
