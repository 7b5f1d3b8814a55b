//! What people can do to an App: each command becomes writes.

use base_store::{Expect, Op};
use roadstead_dispatch::EntryPhase;
use roadstead_model::{AppKey, ClusterId, Hold, ReleaseId, Time};
use roadstead_rollout::{Action, Assignment, By, Event, act};
use serde::{Deserialize, Serialize};

use crate::approve::{approval, approve_removals, changed, is_named};
use crate::index::Index;
use crate::records::{Approval, ReleaseRecord, VariantOutcome, keys};
use crate::restored;
use crate::text::clusters;
use crate::writes::Writes;

/// What somebody wants of an App.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "command")]
pub enum Command {
    /// Something of a Rollout; the newest unless its number is given.
    Rollout {
        /// The number.
        #[serde(default)]
        number: Option<u64>,
        /// What.
        action: Action,
    },
    /// Let go of the clusters that wait for it.
    ApproveLeaving {
        /// The list that was seen, by its digest or at least eight characters of it; what waits now unless named.
        #[serde(default)]
        list: Option<String>,
    },
    /// Remove the objects that wait for it.
    ApproveRemovals {
        /// The list that was seen; that of the newest Release unless named.
        #[serde(default)]
        list: Option<String>,
    },
    /// Let clusters go back to what the hub knows, which is older than what they held when it came back from a backup. An
    /// App that the hub does not know at all is let go of: its objects stay, and nobody looks after them.
    ApproveGoingBack {
        /// The list that was seen; what waits now unless named.
        #[serde(default)]
        list: Option<String>,
    },
    /// Leave one cluster's assignment alone.
    Hold {
        /// The cluster's name.
        cluster: String,
        /// The hold.
        hold: Hold,
    },
    /// Lift that.
    Unhold {
        /// The cluster's name.
        cluster: String,
    },
    /// Give clusters a Release at once, past every stage and gate.
    Start {
        /// The Release's number or id.
        release: String,
        /// The clusters' names.
        clusters: Vec<String>,
    },
}

/// Why a command is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandRefused {
    /// There is no such thing.
    #[error("{0}")]
    NotFound(String),
    /// It makes no sense now.
    #[error("{0}")]
    NotNow(String),
    /// A reason is missing.
    #[error("this needs a reason: it goes past every gate")]
    NoReason,
}

/// Turns a command into writes and one sentence on what was done.
pub fn command(
    index: &mut Index,
    app: &AppKey,
    command: &Command,
    by: &By,
) -> Result<(Vec<Op>, String), CommandRefused> {
    let mut writes = Writes::new(index, app, by.at);
    let said = match command {
        Command::Rollout { number, action } => {
            rollout(index, app, *number, action, by, &mut writes)?
        }
        Command::ApproveLeaving { list } => {
            approve_leaving(index, app, list.as_deref(), by, &mut writes)?
        }
        Command::ApproveRemovals { list } => {
            let said = approve_removals(index, app, list.as_deref(), by, &mut writes)?;
            writes.event(0, event(by, "Approved", &said));
            said
        }
        Command::ApproveGoingBack { list } => {
            approve_going_back(index, app, list.as_deref(), by, &mut writes)?
        }
        Command::Hold { cluster, hold } => {
            let id = cluster_id(index, cluster)?;
            if index.assignment(&id, app).is_none() {
                return Err(CommandRefused::NotFound(format!(
                    "cluster {cluster} has nothing of {app}"
                )));
            }
            let hold = Hold {
                actor: by.actor.clone(),
                reason: by.reason.clone(),
                ..hold.clone()
            };
            writes.put(keys::hold(&id, app), &hold, Expect::Any);
            let said = format!("{app} on {cluster} is left alone");
            writes.event(0, event(by, "Held", &said));
            said
        }
        Command::Unhold { cluster } => {
            let id = cluster_id(index, cluster)?;
            if index.hold(&id, app).is_none() {
                return Err(CommandRefused::NotNow(format!(
                    "{app} on {cluster} is not on hold"
                )));
            }
            writes.delete(keys::hold(&id, app));
            let said = format!("{app} on {cluster} is synced again");
            writes.event(0, event(by, "Unheld", &said));
            said
        }
        Command::Start { release, clusters } => {
            start(index, app, release, clusters, by, &mut writes)?
        }
    };
    Ok((writes.into_ops(), said))
}

fn event(by: &By, reason: &str, message: &str) -> Event {
    let message = if by.reason.is_empty() {
        message.to_owned()
    } else {
        format!("{message}: {}", by.reason)
    };
    Event {
        at: by.at,
        actor: by.actor.clone(),
        reason: reason.to_owned(),
        message,
    }
}

fn cluster_id(index: &Index, name: &str) -> Result<ClusterId, CommandRefused> {
    index
        .cluster_id(name)
        .ok_or_else(|| CommandRefused::NotFound(format!("there is no cluster {name:?}")))
}

fn rollout(
    index: &Index,
    app: &AppKey,
    number: Option<u64>,
    action: &Action,
    by: &By,
    writes: &mut Writes<'_>,
) -> Result<String, CommandRefused> {
    let missing = || CommandRefused::NotFound(format!("{app} has no such Rollout"));
    let number = match number {
        Some(number) => number,
        None => newest_for(index, app, action).ok_or_else(missing)?,
    };
    let (rollout, revision) = index.rollout(app, number).ok_or_else(missing)?;
    let mut rollout = rollout.clone();
    let done = act(&mut rollout, action, by)
        .map_err(|refused| CommandRefused::NotNow(refused.to_string()))?;
    if *action == Action::Retry {
        retry(index, app, number, &rollout.release, by.at, writes);
    }
    writes.put(keys::rollout(app, number), &rollout, Expect::At(revision));
    let said = format!("rollout {number} of {app}: {}", done.message);
    writes.event(number, done);
    Ok(said)
}

/// The Rollout that an action without a number means: the newest that it can apply to.
fn newest_for(index: &Index, app: &AppKey, action: &Action) -> Option<u64> {
    let by = By {
        actor: String::new(),
        at: Time(0),
        reason: String::new(),
    };
    let applies =
        |rollout: &&roadstead_rollout::Rollout| act(&mut (*rollout).clone(), action, &by).is_ok();
    let newest = index
        .rollouts(app)
        .next_back()
        .map(|rollout| rollout.number);
    // an action is about what happens now; only when the newest cannot take it, an older one that still runs is meant
    let running = index
        .rollouts(app)
        .rev()
        .filter(|rollout| !rollout.phase.is_terminal())
        .find(applies);
    let fits = index
        .rollouts(app)
        .next_back()
        .filter(applies)
        .map(|rollout| rollout.number);
    fits.or(running.map(|rollout| rollout.number)).or(newest)
}

/// The failed clusters get another attempt, and the Release is barred no more.
fn retry(
    index: &Index,
    app: &AppKey,
    number: u64,
    release: &ReleaseId,
    now: Time,
    writes: &mut Writes<'_>,
) {
    for (id, assignment) in index.assignments_of(app) {
        if assignment.rollout == number && assignment.release == *release && assignment.has_failed()
        {
            let again = Assignment {
                attempt: assignment.attempt + 1,
                outcome: None,
                since: now,
                ..assignment.clone()
            };
            let expect = index
                .assignment(id, app)
                .map_or(Expect::Absent, |(_, revision)| Expect::At(revision));
            writes.put(keys::assigned(id, app), &again, expect);
        }
    }
    if let Some(kept) = index
        .releases
        .get(app)
        .and_then(|of| of.values().find(|kept| kept.value.id == *release))
        && kept.value.barred.is_some()
    {
        let record = ReleaseRecord {
            barred: None,
            ..kept.value.clone()
        };
        writes.put(
            keys::release(app, record.number),
            &record,
            Expect::At(kept.revision),
        );
    }
}

fn approve_leaving(
    index: &mut Index,
    app: &AppKey,
    named: Option<&str>,
    by: &By,
    writes: &mut Writes<'_>,
) -> Result<String, CommandRefused> {
    let leaving = crate::leave::leaving(index, app);
    let Some(digest) = leaving.digest.filter(|_| leaving.needs_approval) else {
        return Err(CommandRefused::NotNow(format!(
            "no clusters of {app} wait to be let go of"
        )));
    };
    if !is_named(&digest, named) {
        return Err(changed("the list of clusters", &digest));
    }
    let (old, expect) = approval(index, app);
    writes.put(
        keys::approval(app),
        &Approval {
            leaving: Some((digest, by.clone())),
            ..old
        },
        expect,
    );
    let said = format!(
        "{} clusters of {app} may be let go of",
        leaving.clusters.len()
    );
    writes.event(0, event(by, "Approved", &said));
    Ok(said)
}

fn approve_going_back(
    index: &Index,
    app: &AppKey,
    named: Option<&str>,
    by: &By,
    writes: &mut Writes<'_>,
) -> Result<String, CommandRefused> {
    let waiting = restored::going_back(index, app);
    let Some(digest) = waiting.digest else {
        return Err(CommandRefused::NotNow(format!(
            "no cluster holds more of {app} than this hub knows"
        )));
    };
    if !is_named(&digest, named) {
        return Err(changed("the list of clusters", &digest));
    }
    restored::let_go_back(&waiting.clusters, writes);
    let those = clusters(waiting.clusters.len());
    let said = if index.app(app).is_some() {
        format!("{those} of {app} may go back to what this hub knows")
    } else {
        format!(
            "{app}, which this hub does not know, is let go of by {those}; its objects stay as they are"
        )
    };
    writes.event(0, event(by, "Approved", &said));
    Ok(said)
}

fn start(
    index: &mut Index,
    app: &AppKey,
    release: &str,
    clusters: &[String],
    by: &By,
    writes: &mut Writes<'_>,
) -> Result<String, CommandRefused> {
    if by.reason.is_empty() {
        return Err(CommandRefused::NoReason);
    }
    let number = release.parse::<u64>().ok();
    let found = index.releases(app).find(|record| {
        Some(record.number) == number
            || record.id.to_string() == release
            || record.commit.starts_with(release) && release.len() >= 7
    });
    let Some(record) = found.cloned() else {
        return Err(CommandRefused::NotFound(format!(
            "{app} has no Release {release}"
        )));
    };
    if let Some(barred) = &record.barred {
        let text = format!(
            "release {} is barred: {}; retry it first",
            record.number, barred.reason
        );
        return Err(CommandRefused::NotNow(text));
    }
    if clusters.is_empty() {
        return Err(CommandRefused::NotFound("no cluster is named".to_owned()));
    }
    let placed = index.placed(app, record.number);
    for name in clusters {
        let id = cluster_id(index, name)?;
        let input = placed.clusters.get(&id).and_then(|placed| placed.digest);
        let variant = match input.and_then(|digest| record.variants.get(&digest)) {
            Some(VariantOutcome::Variant { id, .. }) => *id,
            Some(VariantOutcome::Error(error)) => {
                return Err(CommandRefused::NotNow(format!("{name}: {error}")));
            }
            None => {
                return Err(CommandRefused::NotNow(format!(
                    "release {} has no variant for cluster {name}",
                    record.number
                )));
            }
        };
        let old = index
            .assignment(&id, app)
            .map(|(old, revision)| (old.clone(), revision));
        let assignment = Assignment {
            release: record.id,
            variant,
            phase: EntryPhase::Deliver,
            rollout: 0,
            since: by.at,
            attempt: old.as_ref().map_or(0, |(old, _)| old.attempt + 1),
            counted: false,
            emergency: true,
            removals: None,
            outcome: None,
            good: old
                .as_ref()
                .map(|(old, _)| old.good.clone())
                .unwrap_or_default(),
        };
        let expect = old.map_or(Expect::Absent, |(_, revision)| Expect::At(revision));
        writes.put(keys::assigned(&id, app), &assignment, expect);
    }
    let said = format!(
        "release {} of {app} goes to {} at once",
        record.number,
        clusters.join(", ")
    );
    writes.event(0, event(by, "EmergencyStart", &said));
    Ok(said)
}
