//! Seeds: the whole system with everything going wrong, twice each.

#![expect(
    clippy::disallowed_methods,
    reason = "which seeds run is said by the environment"
)]

use roadstead_sim::{Options, Outcome, run};

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

fn tell(seed: u64, outcome: &Outcome) -> String {
    let tail = outcome.tail.iter().rev().take(60).rev();
    let tail: Vec<&str> = tail.map(String::as_str).collect();
    format!(
        "seed {seed}: {:#?}\n{}\n{:?}\nreplay: ROADSTEAD_SIM_SEED={seed} cargo test -p roadstead-sim one_seed -- --nocapture",
        outcome.violations,
        tail.join("\n"),
        outcome.stats
    )
}

/// Runs every second seed from `from`, so that two tests share two cores.
fn every_second(from: u64) {
    let count = number("ROADSTEAD_SIM_SEEDS", 200);
    let first = number("ROADSTEAD_SIM_FIRST", 1);
    let mut failed = Vec::new();
    for seed in (first..first + count).filter(|seed| seed % 2 == from) {
        let outcome = run(seed, Options::default());
        let again = run(seed, Options::default());
        assert_eq!(
            outcome.trace_hash, again.trace_hash,
            "seed {seed} goes another way the second time"
        );
        if !outcome.violations.is_empty() {
            if failed.len() < 2 {
                eprintln!("{}", tell(seed, &outcome));
            }
            failed.push((seed, outcome.violations));
        }
    }
    assert!(
        failed.is_empty(),
        "{} of {} seeds failed: {failed:#?}",
        failed.len(),
        count / 2
    );
}

#[test]
fn seeds_even() {
    every_second(0);
}

#[test]
fn seeds_odd() {
    every_second(1);
}

#[test]
fn one_seed() {
    let seed = number("ROADSTEAD_SIM_SEED", 1);
    let tail = usize::try_from(number("ROADSTEAD_SIM_TAIL", 200)).unwrap_or(200);
    let options = Options {
        tail,
        ..Options::default()
    };
    let outcome = run(seed, options);
    if std::env::var("ROADSTEAD_SIM_SEED").is_ok() {
        println!("{}\n{:#?}", outcome.tail.join("\n"), outcome.stats);
    }
    assert!(outcome.violations.is_empty(), "{}", tell(seed, &outcome));
    // a run in which nothing happens proves nothing
    assert!(outcome.stats.writes > 50, "{:?}", outcome.stats);
}
