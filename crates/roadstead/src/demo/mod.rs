//! `roadstead demo`: the main job, told and checked on this machine.
//!
//! Hub, clusters and agents are processes of their own, so that a kill is a kill. Every sentence that is printed as true
//! was looked at; when one is not true, the demo says so and ends with 1.

pub(crate) mod fleet;
mod look;
pub(crate) mod repository;
mod screen;
mod story;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args as ClapArgs;

use crate::shell::Outcome;

pub(crate) use fleet::{Fleet, FleetPlan};
pub(crate) use screen::Screen;

/// Shows the main job: fifty simulated clusters, four commits, and what goes wrong on the way.
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// How many clusters; two are canaries, a sixth the early ring
    #[arg(long, default_value_t = 50)]
    clusters: usize,
    /// Where everything is kept; without it, a temporary folder that is removed at the end
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// End when the story is told, also at a terminal
    #[arg(long)]
    no_wait: bool,
}

/// Runs it.
pub(crate) async fn run(args: Args) -> Outcome {
    let screen = screen::Screen::new();
    let plan = FleetPlan::of(args.clusters.max(8), args.folder.clone())?;
    let mut fleet = Fleet::start(plan, &screen).await?;
    let told = tokio::select! {
        told = story::tell(&mut fleet, &screen) => told,
        () = crate::serve::hub::ended() => {
            fleet.end().await;
            return Ok(ExitCode::from(130));
        }
    };
    let good = match &told {
        Ok(checks) => {
            screen.table(checks);
            checks.iter().all(|check| check.good)
        }
        Err(_) => false,
    };
    if !good {
        fleet.show_logs(&screen);
    }
    screen.around(&fleet);
    if screen.is_terminal() && !args.no_wait && told.is_ok() {
        screen.line("It stays up until you press Ctrl-C.");
        crate::serve::hub::ended().await;
    }
    fleet.end().await;
    told?;
    Ok(if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(1)
    })
}
