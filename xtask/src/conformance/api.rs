//! `conformance api`: the same requests to a real kube-apiserver and to ours.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use api_transcript::{Known, Ours, compare, play, scripts};
use oracle_cluster::RealCluster;

use crate::Context;

const USAGE: &str = "usage: cargo xtask conformance api [--cases DIR]
  DIR holds scripts NAME.txt, and differences.txt with what is known to differ; crates/k8s/apiserver/tests/real/scripts if left out.
  Each script has a namespace of its name; the last line is the verdict";

/// Plays a folder of scripts against both; the last line is the verdict.
pub(super) fn run(context: &Context, args: &[String]) -> anyhow::Result<ExitCode> {
    let mut folder: PathBuf = context.root.join("crates/k8s/apiserver/tests/real/scripts");
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--cases" => folder = args.next().context("--cases wants a folder")?.into(),
            "--help" => {
                println!("{USAGE}");
                return Ok(ExitCode::SUCCESS);
            }
            other => bail!("unknown argument {other}\n{USAGE}"),
        }
    }
    let started = RealCluster::start_with(|settings| {
        settings.controllers = false;
        settings.scheduler = false;
    })?;
    let real = started.context("kube-apiserver is not built: cargo xtask oracle build")?;
    let ours = Ours::new()?;
    let mut known = Known::read(&folder)?;
    let (mut total, mut agreed, mut excused) = (0, 0, 0);
    let scripts = scripts(&folder)?;
    if scripts.is_empty() {
        bail!("no script NAME.txt in {}", folder.display());
    }
    let names: Vec<String> = scripts.iter().map(|(name, _)| name.clone()).collect();
    for (name, steps) in scripts {
        let theirs = play(&name, &steps, real.admin())?;
        let found = play(&name, &steps, &ours)?;
        let (mut alike, mut let_off) = (0, 0);
        for step in &steps {
            let all = compare(&name, std::slice::from_ref(step), &theirs, &found);
            let unknown: Vec<_> = all.iter().filter(|one| !known.covers(one)).collect();
            for one in &unknown {
                println!("{one}");
            }
            match (all.is_empty(), unknown.is_empty()) {
                (true, _) => alike += 1,
                (false, true) => let_off += 1,
                (false, false) => {}
            }
        }
        println!(
            "{name}: {alike} of {} agree, {let_off} differ for a known reason",
            steps.len()
        );
        (total, agreed, excused) = (total + steps.len(), agreed + alike, excused + let_off);
    }
    let mut stale = 0;
    // a copy of some scripts may come with the reasons for all
    let played = |place: &&String| {
        let script = place.split_once(": ").map(|(script, _)| script);
        script.is_some_and(|script| names.iter().any(|name| name == script))
    };
    for place in known.stale().filter(played) {
        println!("differences.txt names what no longer differs: {place}");
        stale += 1;
    }
    let wrong = total - agreed - excused;
    println!(
        "conformance api: {agreed} of {total} answers agree, {excused} differ for a known reason, {wrong} differ, {stale} reasons are stale"
    );
    Ok(if wrong + stale == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
