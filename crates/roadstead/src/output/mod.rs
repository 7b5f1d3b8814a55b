//! What people see: aligned tables, bars, colours at a terminal only.

mod table;
mod when;

use std::io::{IsTerminal as _, Write as _};

use owo_colors::OwoColorize as _;
use serde_json::Value;

pub(crate) use table::{Table, columns};
pub(crate) use when::{ago, now};

/// Writes to standard output. Colours are left out unless it is a terminal that wants them.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    let mut out = anstream::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        // who reads (such as `head`) has seen enough; that is no failure
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        other => Ok(other?),
    }
}

/// Writes a line to standard output.
pub(crate) fn line(text: impl AsRef<str>) -> anyhow::Result<()> {
    print(&format!("{}\n", text.as_ref()))
}

/// Writes a remark to standard error, unless `--quiet`.
pub(crate) fn remark(quiet: bool, text: impl AsRef<str>) {
    if !quiet {
        anstream::eprintln!("{}", text.as_ref().dimmed());
    }
}

/// Is standard output a terminal?
pub(crate) fn at_terminal() -> bool {
    std::io::stdout().is_terminal()
}

/// A line that says what is being waited for, at a terminal only.
pub(crate) fn spinner(quiet: bool, text: impl Into<String>) -> indicatif::ProgressBar {
    let bar = if quiet || !std::io::stderr().is_terminal() {
        indicatif::ProgressBar::hidden()
    } else {
        indicatif::ProgressBar::new_spinner()
    };
    bar.set_message(text.into());
    bar.enable_steady_tick(std::time::Duration::from_millis(120));
    bar
}

/// A bar over a number of steps, at a terminal only.
pub(crate) fn bar(quiet: bool, steps: usize, text: &str) -> indicatif::ProgressBar {
    let hidden = quiet || steps < 2 || !std::io::stderr().is_terminal();
    let bar = if hidden {
        indicatif::ProgressBar::hidden()
    } else {
        indicatif::ProgressBar::new(steps as u64)
    };
    if let Ok(style) = indicatif::ProgressStyle::with_template("{msg} {bar:30} {pos}/{len}") {
        bar.set_style(style);
    }
    bar.set_message(text.to_owned());
    bar
}

/// Colours a word that says how something is.
pub(crate) fn state(word: &str) -> String {
    match word {
        "Healthy" | "Completed" | "Connected" | "True" | "Ready" | "Passed" | "Succeeded"
        | "Done" => word.green().to_string(),
        "Failed" | "Degraded" | "Barred" | "RolledBack" | "Aborted" | "False" | "Forbidden"
        | "Refused" => word.red().to_string(),
        "Progressing" | "Syncing" | "Running" | "Soaking" | "RollingBack" | "Synced"
        | "Rendering" => word.cyan().to_string(),
        "Held" | "Paused" | "AwaitingApproval" | "AwaitingStart" | "AwaitingPass" | "Offline"
        | "Reconnecting" | "Waiting" => word.yellow().to_string(),
        "Pending" | "Unknown" | "NeverSeen" | "NeverRan" | "Superseded" | "Skipped" | "Gone" => {
            word.dimmed().to_string()
        }
        _ => word.to_owned(),
    }
}

/// An object as YAML.
pub(crate) fn yaml(value: &Value) -> String {
    let mut text = base_yaml::to_string(value);
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

/// `1 cluster`, `2 clusters`.
pub(crate) fn count(number: usize, what: &str) -> String {
    let s = if number == 1 { "" } else { "s" };
    format!("{number} {what}{s}")
}
