//! `roadstead rollout status`.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{anyhow, bail};
use owo_colors::OwoColorize as _;
use roadstead_model::{DurationMs, RolloutStatus, StageStatus, Time};
use serde_json::Value;

use crate::client::{Ask, Client};
use crate::output::{self, Table};
use crate::shell::Outcome;

/// How wide a bar is.
const BAR: usize = 24;
/// How often the hub is asked.
const EVERY: Duration = Duration::from_millis(700);

/// What to follow.
pub(super) struct Follow {
    pub(super) number: Option<u64>,
    pub(super) timeout: Option<DurationMs>,
    pub(super) quiet: bool,
}

struct Shown {
    number: u64,
    status: RolloutStatus,
    text: String,
}

/// Shows it once.
pub(super) async fn once(client: &Client, app: &str, follow: &Follow) -> Outcome {
    match look(client, app, follow).await? {
        Some(shown) => output::print(&shown.text)?,
        None => {
            let path = super::app_path(client, app, "why").await?;
            let answer = client.ask(Ask::get(&path)).await?;
            let why = answer["answer"][0]
                .as_str()
                .unwrap_or("it has no Rollout yet");
            output::line(why)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Shows it until it ends.
pub(super) async fn watch(client: &Client, app: &str, follow: &Follow) -> Outcome {
    let began = Instant::now();
    let mut before: Option<(String, usize)> = None;
    let mut away = false;
    let live = output::at_terminal();
    loop {
        match look(client, app, follow).await {
            Ok(Some(shown)) => {
                away = false;
                let drawn = before.as_ref().map_or(0, |(_, lines)| *lines);
                let key = if live {
                    shown.text.clone()
                } else {
                    progress(&shown.status)
                };
                if before.as_ref().is_none_or(|(old, _)| *old != key) {
                    if live {
                        // over what was written last
                        let up = if drawn > 0 {
                            format!("\x1b[{drawn}A\x1b[J")
                        } else {
                            String::new()
                        };
                        // a line that wrapped would be two, and the next drawing would begin too low
                        output::print(&format!("{up}\x1b[?7l{}\x1b[?7h", shown.text))?;
                    } else {
                        output::line(format!(
                            "{} rollout {}: {key}",
                            output::now().seconds(),
                            shown.number
                        ))?;
                    }
                    before = Some((key, shown.text.lines().count()));
                }
                match shown.status.phase.as_str() {
                    "Completed" => return Ok(ExitCode::SUCCESS),
                    "Failed" | "RolledBack" | "Aborted" => return Ok(ExitCode::from(3)),
                    "Superseded" if follow.number.is_some() => {
                        bail!("rollout {} was superseded by a newer one", shown.number)
                    }
                    _ => {}
                }
            }
            Ok(None) => {
                if before.is_none() {
                    output::remark(follow.quiet, format!("{app} has no Rollout yet"));
                    before = Some((String::new(), 0));
                }
            }
            // a hub that restarts is no reason to give up; one that refuses is
            Err(error) if before.is_some() && is_away(&error) => {
                if !away {
                    output::remark(follow.quiet, format!("{error}; asking again"));
                    before = before.map(|(key, _)| (key, 0));
                }
                away = true;
            }
            Err(error) => return Err(error),
        }
        if let Some(timeout) = follow.timeout
            && began.elapsed() >= Duration::from_millis(timeout.0)
        {
            bail!("the Rollout has not ended within {timeout}");
        }
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            _ = tokio::signal::ctrl_c() => return Ok(ExitCode::from(1)),
        }
    }
}

fn is_away(error: &anyhow::Error) -> bool {
    let refused = error.downcast_ref::<crate::client::Refused>();
    refused.is_none_or(|refused| refused.code.is_server_error())
}

/// Reads the Rollout and writes it out; `None` if there is none yet.
async fn look(client: &Client, app: &str, follow: &Follow) -> anyhow::Result<Option<Shown>> {
    let (project, app) = super::super::app_name(client, app);
    let rollouts = client.kind_called("rollouts").await?;
    let noun = match follow.number {
        Some(number) => {
            let path = rollouts.path(Some(&project), Some(&format!("{app}-{number}")));
            client.ask(Ask::get(&path)).await?
        }
        None => {
            let path = rollouts.path(Some(&project), None);
            let ask =
                Ask::get(&path).with("labelSelector", format!("roadstead.dev/app-name={app}"));
            let list = client.ask(ask).await?;
            let items = list["items"].as_array().cloned().unwrap_or_default();
            let newest = items
                .into_iter()
                .max_by_key(|item| item["spec"]["number"].as_u64());
            match newest {
                Some(newest) => newest,
                None => {
                    // no Rollout, or no App
                    let apps = client.kind_called("apps").await?;
                    client
                        .ask(Ask::get(&apps.path(Some(&project), Some(&app))))
                        .await?;
                    return Ok(None);
                }
            }
        }
    };
    let number = noun["spec"]["number"].as_u64().unwrap_or_default();
    let status: RolloutStatus = serde_json::from_value(noun["status"].clone())
        .map_err(|error| anyhow!("the hub sent a Rollout that cannot be read: {error}"))?;
    let path = client
        .kind_called("releases")
        .await?
        .path(Some(&project), None);
    let ask = Ask::get(&path).with("labelSelector", format!("roadstead.dev/app-name={app}"));
    let list = client.ask(ask).await?;
    let mut releases = list["items"].as_array().into_iter().flatten();
    let release = releases.find(|release| release["spec"]["id"] == noun["spec"]["release"]);
    let text = write(&format!("{project}/{app}"), number, &status, release);
    Ok(Some(Shown {
        number,
        status,
        text,
    }))
}

fn write(app: &str, number: u64, status: &RolloutStatus, release: Option<&Value>) -> String {
    let mut out = String::new();
    let now = output::now();
    let _ = write!(
        out,
        "{} {}",
        format!("Rollout {number} of {app}:").bold(),
        output::state(&status.phase)
    );
    if !status.message.is_empty() {
        let _ = write!(out, ", {}", status.message);
    }
    out.push('\n');
    let mut facts = Vec::new();
    if let Some(release) = release {
        let spec = &release["spec"];
        let commit: String = spec["commit"]
            .as_str()
            .unwrap_or_default()
            .chars()
            .take(12)
            .collect();
        let by = spec["author"].as_str().filter(|author| !author.is_empty());
        let by = by.map(|author| format!(" by {author}")).unwrap_or_default();
        let message = spec["message"].as_str().unwrap_or_default();
        facts.push(format!("commit {commit}{by}: {message}"));
    }
    facts.extend(times(status, now));
    if !facts.is_empty() {
        let _ = writeln!(out, "{}", facts.join("; ").dimmed());
    }
    out.push('\n');
    let mut table = Table::new([
        "Stage",
        "Phase",
        "Wave",
        "Healthy",
        "",
        "Failed",
        "Set aside",
    ]);
    for stage in &status.stages {
        let number = |number: u32| {
            if number == 0 {
                String::new()
            } else {
                number.to_string()
            }
        };
        let wave = if stage.wave == 0 {
            String::new()
        } else {
            format!("{}/{}", stage.wave, stage.waves)
        };
        table.row([
            stage.name.clone(),
            stage.phase.clone(),
            wave,
            bar(stage),
            format!("{}/{}", stage.healthy, stage.clusters),
            number(stage.failed),
            number(stage.set_aside),
        ]);
    }
    out.push_str(&table.take(true));
    out
}

fn times(status: &RolloutStatus, now: Time) -> Option<String> {
    let began = status.started_at?;
    Some(match status.ended_at {
        Some(ended) => format!(
            "took {}, ended {} ago",
            output::ago(began, ended),
            output::ago(ended, now)
        ),
        None => format!("started {} ago", output::ago(began, now)),
    })
}

/// A bar: healthy, under way, and the rest.
fn bar(stage: &StageStatus) -> String {
    let all = stage.clusters as usize;
    if all == 0 {
        return String::new();
    }
    let part = |number: u32| (number as usize * BAR).div_euclid(all).min(BAR);
    let healthy = part(stage.healthy);
    let started = part(stage.started).max(healthy);
    format!(
        "{}{}{}",
        "█".repeat(healthy),
        "▒".repeat(started - healthy),
        "░".repeat(BAR - started)
    )
}

/// One line on how far it is, for logs: it changes only when something has changed.
fn progress(status: &RolloutStatus) -> String {
    let mut text = format!(
        "{} {}/{} healthy",
        status.phase, status.healthy, status.clusters
    );
    if status.failed > 0 {
        let _ = write!(text, ", {} failed", status.failed);
    }
    if status.set_aside > 0 {
        let _ = write!(text, ", {} set aside", status.set_aside);
    }
    if !status.message.is_empty() {
        let _ = write!(text, ": {}", status.message);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage(name: &str, healthy: u32, started: u32, clusters: u32) -> StageStatus {
        StageStatus {
            name: name.to_owned(),
            phase: "Running".to_owned(),
            wave: 1,
            waves: 2,
            clusters,
            started,
            healthy,
            ..StageStatus::default()
        }
    }

    #[test]
    fn bars_never_promise_more_than_there_is() {
        let check = |healthy, started, clusters, expected: &str| {
            assert_eq!(bar(&stage("s", healthy, started, clusters)), expected);
        };
        check(0, 0, 8, "░░░░░░░░░░░░░░░░░░░░░░░░");
        check(4, 8, 8, "████████████▒▒▒▒▒▒▒▒▒▒▒▒");
        check(39, 40, 40, "███████████████████████▒");
        check(8, 8, 8, "████████████████████████");
        check(0, 0, 0, "");
    }

    #[test]
    fn writes_stages_below_the_sentence() {
        let status = RolloutStatus {
            phase: "Progressing".to_owned(),
            message: "stage canary runs".to_owned(),
            stages: vec![stage("canary", 1, 2, 2), stage("main", 0, 0, 40)],
            ..RolloutStatus::default()
        };
        let text = write("default/shop", 3, &status, None);
        let text = anstream::adapter::strip_str(&text).to_string();
        assert_eq!(
            text,
            "Rollout 3 of default/shop: Progressing, stage canary runs\n\
             \n\
             STAGE    PHASE     WAVE   HEALTHY                           FAILED   SET ASIDE\n\
             canary   Running   1/2    ████████████▒▒▒▒▒▒▒▒▒▒▒▒   1/2\n\
             main     Running   1/2    ░░░░░░░░░░░░░░░░░░░░░░░░   0/40\n"
        );
    }
}
