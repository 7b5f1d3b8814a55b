//! What a person sees of the demo: lines, and at a terminal one line that moves.

use std::io::{IsTerminal as _, Write as _};
use std::time::Instant;

use owo_colors::OwoColorize as _;

use super::Fleet;

/// One thing that was to be true.
#[derive(Debug, Clone)]
pub(crate) struct Check {
    pub(crate) what: String,
    pub(crate) seen: String,
    pub(crate) good: bool,
}

/// Where the demo is told.
pub(crate) struct Screen {
    terminal: bool,
    started: Instant,
}

impl Screen {
    pub(crate) fn new() -> Self {
        Self {
            terminal: std::io::stdout().is_terminal(),
            started: Instant::now(),
        }
    }

    pub(crate) fn is_terminal(&self) -> bool {
        self.terminal
    }

    fn clock(&self) -> String {
        format!("{:>5.1}s", self.started.elapsed().as_secs_f32())
    }

    fn clear(&self) {
        if self.terminal {
            print!("\r\x1b[2K");
        }
    }

    /// A part of the story begins.
    pub(crate) fn head(&self, text: &str) {
        self.clear();
        anstream::println!("\n{}  {}", self.clock().dimmed(), text.bold());
    }

    /// Something is told.
    pub(crate) fn line(&self, text: &str) {
        self.clear();
        anstream::println!("        {text}");
    }

    /// Something was looked at.
    pub(crate) fn check(&self, check: &Check) {
        self.clear();
        let mark = if check.good {
            "✓".green().to_string()
        } else {
            "✗".red().bold().to_string()
        };
        anstream::println!(
            "{}  {mark} {}: {}",
            self.clock().dimmed(),
            check.what,
            check.seen
        );
    }

    /// The line that moves; nothing where nothing can move.
    pub(crate) fn moving(&self, text: &str) {
        if self.terminal {
            self.clear();
            let width = 110;
            let cut: String = text.chars().take(width).collect();
            print!("        {cut}");
            let _ = std::io::stdout().flush();
        }
    }

    /// Everything that was looked at.
    pub(crate) fn table(&self, checks: &[Check]) {
        self.head("What was to be true");
        let width = checks
            .iter()
            .map(|check| check.what.chars().count())
            .max()
            .unwrap_or(0);
        for check in checks {
            let mark = if check.good {
                "✓".green().to_string()
            } else {
                "✗".red().bold().to_string()
            };
            let pad = " ".repeat(width - check.what.chars().count());
            anstream::println!("  {mark} {}{pad}  {}", check.what, check.seen.dimmed());
        }
        let bad = checks.iter().filter(|check| !check.good).count();
        if bad == 0 {
            anstream::println!("\n  {} checks, all of them true.", checks.len());
        } else {
            anstream::println!(
                "\n  {bad} of {} checks are {}.",
                checks.len(),
                "not true".red().bold()
            );
        }
    }

    /// How to look around.
    pub(crate) fn around(&self, fleet: &Fleet) {
        if !self.terminal {
            return;
        }
        self.head("Look around");
        let binary = std::env::args()
            .next()
            .unwrap_or_else(|| "roadstead".to_owned());
        let hub = fleet.hub_kubeconfig();
        for (command, what) in [
            (
                format!("{binary} get rollouts --kubeconfig {}", hub.display()),
                "every rollout, and how it ended",
            ),
            (
                format!("{binary} why shop --kubeconfig {}", hub.display()),
                "why it is as it is",
            ),
            (
                format!("kubectl --kubeconfig {} get clusters", hub.display()),
                "kubectl works against the hub",
            ),
            (
                format!(
                    "kubectl --kubeconfig {} -n shop get pods",
                    fleet.cluster_kubeconfig(0).display()
                ),
                "and against any cluster",
            ),
        ] {
            anstream::println!("  {command}\n      {}", what.dimmed());
        }
    }
}
