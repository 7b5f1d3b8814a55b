//! What a run says.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Duration;

use roadstead_helm::Dialect;

use super::cases::Kind;
use super::corpus::Found;
use super::helm::{Outcome, Times, Verdict};

/// The figures.
pub(super) fn table(charts: &[Found], outcomes: &[Outcome]) -> String {
    let mut out = String::new();
    let mut line = |text: String| {
        out.push_str(&text);
        out.push('\n');
    };
    line(format!("{} charts", charts.len()));
    line(String::new());
    line("| Dialect | Cases | Value sets | Render-or-fail agrees | Object-equal | Byte-equal | Documents byte-equal | Both refuse | same place | same text |".to_owned());
    line("|---|---|---|---|---|---|---|---|---|---|".to_owned());
    let dialects: BTreeSet<Dialect> = outcomes.iter().map(|it| it.dialect).collect();
    for dialect in dialects {
        let of = |kinds: &[Kind]| -> Vec<&Outcome> {
            outcomes
                .iter()
                .filter(|it| it.dialect == dialect && kinds.contains(&it.kind))
                .collect()
        };
        for kind in Kind::ALL {
            let some = of(&[kind]);
            if !some.is_empty() {
                line(row(dialect, kind.name(), &some));
            }
        }
        let plain = of(&[Kind::Defaults, Kind::Ci]);
        if !plain.is_empty() {
            line(row(dialect, "defaults and ci", &plain));
            line(charts_row(dialect, &plain));
        }
    }
    out
}

/// How long it took, which other work on the machine changes; `bench render` measures it.
pub(super) fn speed(times: &mut Times) -> String {
    let mut out = format!(
        "compile: median {}, most {}; warm render: median {}, 95 % below {}, most {}; a process of helm: median {}\n",
        shown(quantile(&mut times.compile, 50)),
        shown(quantile(&mut times.compile, 100)),
        shown(quantile(&mut times.render, 50)),
        shown(quantile(&mut times.render, 95)),
        shown(quantile(&mut times.render, 100)),
        shown(quantile(&mut times.helm, 50)),
    );
    times.slowest.sort();
    for (took, name) in times.slowest.iter().rev().take(5) {
        let _ = writeln!(out, "  {} {name}", shown(*took));
    }
    out
}

fn row(dialect: Dialect, name: &str, outcomes: &[&Outcome]) -> String {
    let (mut agree, mut rendered, mut objects, mut bytes) = (0, 0, 0, 0);
    let (mut documents, mut equal) = (0, 0);
    let (mut refused, mut places, mut texts, mut unanswered) = (0, 0, 0, 0);
    for outcome in outcomes {
        match &outcome.verdict {
            Verdict::Rendered(comparison) => {
                agree += 1;
                rendered += 1;
                objects += usize::from(comparison.objects);
                bytes += usize::from(comparison.bytes);
                documents += comparison.documents;
                equal += comparison.documents_equal;
            }
            Verdict::Refused {
                same_text,
                same_place,
                ..
            } => {
                agree += 1;
                refused += 1;
                places += usize::from(*same_place);
                texts += usize::from(*same_text);
            }
            Verdict::Disagreement { .. } => {}
            Verdict::Unanswered { .. } => unanswered += 1,
        }
    }
    let compared = outcomes.len() - unanswered;
    format!(
        "| {dialect} | {name} | {} | {} | {} | {} | {} | {refused} | {} | {} |",
        outcomes.len(),
        part(agree, compared),
        part(objects, rendered),
        part(bytes, rendered),
        part(equal, documents),
        part(places, refused),
        part(texts, refused),
    )
}

/// A chart counts if every one of its cases does.
fn charts_row(dialect: Dialect, outcomes: &[&Outcome]) -> String {
    let all: BTreeSet<&str> = outcomes.iter().map(|it| it.chart.as_str()).collect();
    let bad = |good: &dyn Fn(&Verdict) -> bool| -> usize {
        outcomes
            .iter()
            .filter(|it| !good(&it.verdict))
            .map(|it| it.chart.as_str())
            .collect::<BTreeSet<_>>()
            .len()
    };
    let agree = bad(&|it| !matches!(it, Verdict::Disagreement { .. }));
    let objects = bad(&|it| match it {
        Verdict::Rendered(comparison) => comparison.objects,
        Verdict::Refused { .. } | Verdict::Unanswered { .. } => true,
        Verdict::Disagreement { .. } => false,
    });
    let bytes = bad(&|it| match it {
        Verdict::Rendered(comparison) => comparison.bytes,
        Verdict::Refused { .. } | Verdict::Unanswered { .. } => true,
        Verdict::Disagreement { .. } => false,
    });
    format!(
        "| {dialect} | whole charts | {} charts | {} | {} | {} | | | | |",
        all.len(),
        part(all.len() - agree, all.len()),
        part(all.len() - objects, all.len()),
        part(all.len() - bytes, all.len()),
    )
}

fn part(of: usize, all: usize) -> String {
    if all == 0 {
        return "–".to_owned();
    }
    format!("{of}/{all} ({:.1} %)", of as f64 * 100.0 / all as f64)
}

fn quantile(times: &mut [Duration], percent: usize) -> Duration {
    times.sort();
    let at = (times.len() * percent / 100).min(times.len().saturating_sub(1));
    times.get(at).copied().unwrap_or_default()
}

fn shown(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1000.0)
}

/// Each difference by name.
pub(super) fn differences(outcomes: &[Outcome], verbose: bool) -> String {
    let mut out = String::new();
    for outcome in outcomes {
        let name = format!("{} {} ({})", outcome.chart, outcome.case, outcome.dialect);
        let most = if verbose { usize::MAX } else { 400 };
        let cut = |text: &str| -> String { text.chars().take(most).collect() };
        // Writing to a string does not fail.
        match &outcome.verdict {
            Verdict::Disagreement { real, ours } => {
                let _ = writeln!(
                    out,
                    "DISAGREE {name}\n  helm: {}\n  ours: {}",
                    cut(real),
                    cut(ours)
                );
            }
            Verdict::Refused {
                same_text: false,
                same_place,
                real,
                ours,
            } => {
                let what = if *same_place { "TEXT" } else { "PLACE" };
                let _ = writeln!(
                    out,
                    "{what} {name}\n  helm: {}\n  ours: {}",
                    cut(real),
                    cut(ours)
                );
            }
            Verdict::Refused { .. } => {}
            Verdict::Unanswered { ours } => {
                let _ = writeln!(
                    out,
                    "UNANSWERED {name}: helm took more than a minute; ours: {}",
                    cut(ours)
                );
            }
            Verdict::Rendered(comparison) => {
                let most = if verbose { usize::MAX } else { 3 };
                for difference in comparison.differences.iter().take(most) {
                    let _ = writeln!(out, "DIFFER {name}: {difference}");
                }
                for field in comparison.unlisted.iter().take(most) {
                    let _ = writeln!(out, "RANDOM, NOT LISTED {name}: {field}");
                }
            }
        }
    }
    out
}

/// The page for the repository.
pub(super) fn markdown(table: &str, outcomes: &[Outcome]) -> String {
    let mut misses = differences(outcomes, false);
    if misses.is_empty() {
        misses.push_str("none\n");
    }
    format!(
        "# Conformance with Helm\n\n\
         Written by `cargo xtask conformance helm --corpus DIR --write`: every chart of a folder is rendered by the real helm\n\
         and by ours, with its defaults, its `ci/*.yaml`, changed values, and broken in several ways. Fields that are random with\n\
         helm itself are left out by the list in `xtask/src/conformance/random.txt` only, and only where two runs of helm differ. *Same text* does\n\
         not mind the order of words: helm walks over maps in another order each time.\n\n\
         {table}\n\
         ## Every difference\n\n```\n{misses}```\n"
    )
}
