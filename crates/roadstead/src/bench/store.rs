//! `roadstead bench store`: commits, reads, watches, bytes a record, and how long opening takes.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use base_json::Digest;
use base_store::memory::MemoryStore;
use base_store::{At, Batch, CommitId, Expect, Op, Range, Store, WatchItem};
use bytes::Bytes;
use clap::{Args as ClapArgs, ValueEnum};
use roadstead_store_sqlite::{Options, SqliteStore};
use serde_json::{Value, json};

use super::figures::{median, percentile};
use crate::shell::Outcome;

/// Keys that one batch loads.
const LOAD: usize = 1000;
/// Apps of each cluster that the records speak of.
const APPS: usize = 50;

/// Measures the store.
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Which backend; both unless given
    #[arg(long)]
    backend: Option<Backend>,
    /// How many records stand in the store meanwhile
    #[arg(long, default_value_t = 250_000)]
    records: usize,
    /// How many threads commit at once where commits are grouped
    #[arg(long, default_value_t = 64)]
    threads: usize,
    /// How often each figure is taken; the median is told
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// How long one run takes, in milliseconds
    #[arg(long, default_value_t = 1000)]
    run_ms: u64,
    /// Where the file is made; without it, in a temporary folder
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Print the figures as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Backend {
    Memory,
    Sqlite,
}

/// Runs it.
pub(super) fn run(args: &Args) -> Outcome {
    let backends = match args.backend {
        Some(backend) => vec![backend],
        None => vec![Backend::Memory, Backend::Sqlite],
    };
    let mut all = serde_json::Map::new();
    for backend in backends {
        let figures = measure(args, backend)?;
        let name = format!("{backend:?}").to_lowercase();
        if !args.json {
            println!("{name}, {} records:", args.records);
            for (what, value) in figures.as_object().into_iter().flatten() {
                println!("  {:>12.1}  {what}", value.as_f64().unwrap_or_default());
            }
        }
        all.insert(name, figures);
    }
    if args.json {
        println!("{}", serde_json::to_string_pretty(&all)?);
    }
    Ok(ExitCode::SUCCESS)
}

fn measure(args: &Args, backend: Backend) -> anyhow::Result<Value> {
    let builder = || tempfile::Builder::new();
    let folder = match &args.folder {
        Some(folder) => builder().prefix("bench-").tempdir_in(folder)?,
        None => builder().prefix("roadstead-bench-").tempdir()?,
    };
    let path = folder.path().join("bench.db");
    let ids = AtomicU64::new(1);
    let mut figures = serde_json::Map::new();
    let mut put = |name: &str, value: f64| {
        figures.insert(name.to_owned(), json!(value));
    };
    let resident = resident();
    let mut store: Arc<dyn Store> = match backend {
        Backend::Memory => Arc::new(MemoryStore::new()),
        Backend::Sqlite => open(&path)?,
    };
    let started = Instant::now();
    for from in (0..args.records).step_by(LOAD) {
        let ops = (from..args.records.min(from + LOAD)).map(|n| write(n, 0));
        store.commit(Batch::new(next(&ids), ops.collect()))?;
    }
    let took = started.elapsed().as_secs_f64();
    put("records loaded a second", args.records as f64 / took);
    put("bytes of key and value", {
        let sample = (0..1000).map(|n| key(n).len() + value(n, 0).len());
        sample.sum::<usize>() as f64 / 1000.0
    });
    if backend == Backend::Sqlite {
        // closing writes the log into the file
        drop(store);
        let bytes = std::fs::metadata(&path)?.len();
        put("bytes on disk a record", bytes as f64 / args.records as f64);
        let mut opened = Vec::new();
        for _ in 0..args.runs {
            let started = Instant::now();
            let store = open(&path)?;
            opened.push(started.elapsed().as_secs_f64() * 1000.0);
            drop(store);
        }
        put("ms to open", median(&opened));
        store = open(&path)?;
    } else {
        let grew = self::resident().saturating_sub(resident);
        put(
            "bytes of memory a record",
            grew as f64 / args.records as f64,
        );
    }
    let started = Instant::now();
    let mut read = 0;
    let mut after = None;
    loop {
        let page = store.range(&Range {
            prefix: "d/".to_owned(),
            after,
            limit: 2000,
            at: At::Newest,
        })?;
        read += page.entries.len();
        match page.entries.last() {
            Some(last) if page.remaining > 0 => after = Some(last.key.clone()),
            _ => break,
        }
    }
    put(
        "records read a second, in pages of 2000",
        read as f64 / started.elapsed().as_secs_f64(),
    );
    let runs = |take: &dyn Fn() -> anyhow::Result<f64>| -> anyhow::Result<f64> {
        let taken: anyhow::Result<Vec<f64>> = (0..args.runs.max(1)).map(|_| take()).collect();
        Ok(median(&taken?))
    };
    put("single reads a second", runs(&|| reads(&*store, args))?);
    put(
        "commits a second, one writer",
        runs(&|| commits(&store, args, 1, &ids))?,
    );
    put(
        &format!("commits a second, {} writers", args.threads),
        runs(&|| commits(&store, args, args.threads, &ids))?,
    );
    put(
        "records a second, in batches of 200",
        runs(&|| batches(&*store, args, &ids))?,
    );
    let (p50, p99) = watch_latency(&store, args, &ids)?;
    put("ms from commit to a watch, p50", p50);
    put("ms from commit to a watch, p99", p99);
    Ok(Value::Object(figures))
}

fn open(path: &Path) -> anyhow::Result<Arc<dyn Store>> {
    let store = SqliteStore::open(path, Options::default());
    Ok(Arc::new(store.context("failed to open the store")?))
}

fn next(ids: &AtomicU64) -> CommitId {
    CommitId(
        u128::from(ids.fetch_add(1, Ordering::Relaxed)) | (u128::from(std::process::id()) << 64),
    )
}

fn key(n: usize) -> String {
    // as the hub's: a cluster's id, and an App
    let cluster = format!("c{:07}-9f1c-4a53-8d7e-1f0a5c6b7d8e", n / APPS);
    format!("d/assigned/{cluster}/default/app-{:02}", n % APPS)
}

/// As long as an assignment of the hub's: which Release, which variant, since when.
fn value(n: usize, change: u64) -> Bytes {
    let release = Digest::of(&change.to_le_bytes()).to_string();
    let variant = Digest::of(&(n % APPS).to_le_bytes()).to_string();
    let value = json!({
        "release": release, "variant": variant, "phase": "Deliver", "rollout": change, "since": 1_760_000_000_000_u64,
    });
    Bytes::from(value.to_string())
}

fn write(n: usize, change: u64) -> Op {
    Op::Put {
        key: key(n),
        value: value(n, change),
        expect: Expect::Any,
    }
}

/// This process's memory in bytes.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.trim().trim_end_matches(" kB").trim().parse().ok());
    kilobytes.unwrap_or(0_usize) * 1024
}

/// Numbers that jump about, the same in each run.
struct Jumps(u64);

impl Jumps {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((self.0 >> 33) % limit.max(1) as u64).unwrap_or_default()
    }
}

fn reads(store: &dyn Store, args: &Args) -> anyhow::Result<f64> {
    let mut jumps = Jumps(7);
    let (started, mut count) = (Instant::now(), 0_u32);
    while started.elapsed() < Duration::from_millis(args.run_ms) {
        let key = key(jumps.below(args.records));
        store
            .get(&key, At::Newest)?
            .ok_or_else(|| anyhow!("record {key} is not in the store"))?;
        count += 1;
    }
    Ok(f64::from(count) / started.elapsed().as_secs_f64())
}

fn commits(
    store: &Arc<dyn Store>,
    args: &Args,
    threads: usize,
    ids: &AtomicU64,
) -> anyhow::Result<f64> {
    let ended = AtomicBool::new(false);
    let started = Instant::now();
    let counts: Vec<anyhow::Result<u64>> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|thread| {
                let ended = &ended;
                scope.spawn(move || {
                    let (mut jumps, mut count) = (Jumps(thread as u64), 0);
                    while !ended.load(Ordering::Relaxed) {
                        let id = next(ids);
                        let change = u64::try_from(id.0 & u128::from(u64::MAX)).unwrap_or(0);
                        let op = write(jumps.below(args.records), change);
                        store.commit(Batch::new(id, vec![op]))?;
                        count += 1;
                    }
                    Ok(count)
                })
            })
            .collect();
        std::thread::sleep(Duration::from_millis(args.run_ms));
        ended.store(true, Ordering::Relaxed);
        workers
            .into_iter()
            .map(|worker| {
                let count = worker.join();
                count.unwrap_or_else(|_| Err(anyhow!("a writer ended by a bug")))
            })
            .collect()
    });
    let took = started.elapsed().as_secs_f64();
    let count: anyhow::Result<u64> = counts.into_iter().sum();
    Ok(count? as f64 / took)
}

fn batches(store: &dyn Store, args: &Args, ids: &AtomicU64) -> anyhow::Result<f64> {
    let (started, mut count, mut at) = (Instant::now(), 0_u32, 0);
    while started.elapsed() < Duration::from_millis(args.run_ms) {
        let id = next(ids);
        let change = u64::try_from(id.0 & u128::from(u64::MAX)).unwrap_or(0);
        let ops = (0..200).map(|n| write((at + n) % args.records, change));
        // a key stands in a batch once
        let ops: Vec<Op> = ops.take(args.records.min(200)).collect();
        count += u32::try_from(ops.len()).unwrap_or(0);
        at += 200;
        store.commit(Batch::new(id, ops))?;
    }
    Ok(f64::from(count) / started.elapsed().as_secs_f64())
}

/// From the moment that a commit is asked for until another thread's watch has it: p50 and p99.
fn watch_latency(
    store: &Arc<dyn Store>,
    args: &Args,
    ids: &AtomicU64,
) -> anyhow::Result<(f64, f64)> {
    let mut watch = store.watch("d/", store.revision())?;
    let (seen, sees) = channel();
    std::thread::spawn(move || {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().build() else {
            return;
        };
        runtime.block_on(async {
            while let Some(item) = watch.next().await {
                if matches!(item, WatchItem::Commit(_)) && seen.send(Instant::now()).is_err() {
                    return;
                }
            }
        });
    });
    let mut took = Vec::new();
    for n in 0..500 {
        let id = next(ids);
        let change = u64::try_from(id.0 & u128::from(u64::MAX)).unwrap_or(0);
        let op = write(n % args.records, change);
        let started = Instant::now();
        store.commit(Batch::new(id, vec![op]))?;
        let at = sees
            .recv_timeout(Duration::from_secs(10))
            .context("a watch did not see a commit within 10 s")?;
        took.push(at.saturating_duration_since(started).as_secs_f64() * 1000.0);
    }
    Ok((percentile(&took, 50), percentile(&took, 99)))
}
