//! A Rollout as it is stored.

use std::fmt;

use roadstead_model::{ReleaseId, StrategySpec, Time};
use serde::{Deserialize, Serialize};

/// One Release going through one Strategy over an App's targets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rollout {
    /// Counts the App's Rollouts, from 1; a higher one is newer.
    pub number: u64,
    /// The Release.
    pub release: ReleaseId,
    /// The Strategy as it was when the Rollout was made; the stage `rest` is written out.
    pub strategy: StrategySpec,
    /// How far it is.
    pub phase: Phase,
    /// One sentence: what it does, waits for, or how it ended.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Who paused it: nothing new starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<By>,
    /// The stages, one for each of the Strategy.
    pub stages: Vec<StageState>,
    /// When it was made.
    pub created_at: Time,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Time>,
}

/// How far a Rollout is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Phase {
    /// It waits for its first stage.
    Pending,
    /// It is under way.
    Progressing,
    /// A stage cannot be judged; it goes on by itself when it can.
    Held,
    /// A stage failed; it waits for somebody, or for a newer Release.
    Failed,
    /// A stage failed; its clusters go back.
    RollingBack,
    /// Its clusters went back. It has ended.
    RolledBack,
    /// Somebody ended it.
    Aborted,
    /// A newer Release took its place. It has ended.
    Superseded,
    /// Every stage passed. It has ended.
    Completed,
}

/// Who did something, when, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct By {
    /// Who.
    pub actor: String,
    /// When.
    pub at: Time,
    /// Why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// How far one stage is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StageState {
    /// The stage's name.
    pub name: String,
    /// How far it is.
    pub phase: StagePhase,
    /// The wave under way, from 0; waves behind the Strategy's last take what is left.
    #[serde(default)]
    pub wave: usize,
    /// How many of its clusters should have started by the end of this wave; it never falls.
    #[serde(default)]
    pub target: usize,
    /// When it was entered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entered_at: Option<Time>,
    /// When the wave started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wave_at: Option<Time>,
    /// Since when it soaks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub soak_from: Option<Time>,
    /// None of the clusters that are on their way in it gets on: a newer Release may take the stage.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stuck: bool,
    /// Who let it start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved_before: Option<By>,
    /// Who let it pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved_after: Option<By>,
    /// Who let it go on although it could not be judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overridden: Option<By>,
    /// What had become of its clusters when it passed or failed; later Releases move them on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tally: Option<Tally>,
}

/// What became of a stage's clusters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tally {
    /// How many there were.
    pub clusters: u32,
    /// How many had got the Release.
    pub started: u32,
    /// How many were healthy with it.
    pub healthy: u32,
    /// How many had failed.
    pub failed: u32,
    /// How many were set aside.
    pub set_aside: u32,
}

/// How far a stage is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum StagePhase {
    /// It has not been entered.
    Pending,
    /// It waits for somebody's approval before it starts.
    AwaitingStart,
    /// Its waves are under way.
    Running,
    /// All waves are good; it must stay so for a while.
    Soaking,
    /// It soaked, and waits for somebody's approval.
    AwaitingPass,
    /// It is behind the Release.
    Passed,
    /// It had no clusters.
    Skipped,
    /// It cannot be judged: too many of its clusters are set aside, or none could be measured.
    Held,
    /// Too many of its clusters failed.
    Failed,
}

/// Something that happened to a Rollout, kept for good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When.
    pub at: Time,
    /// Who: a person, or `roadstead`.
    pub actor: String,
    /// What, in one CamelCase word.
    pub reason: String,
    /// What, in one sentence.
    pub message: String,
}

impl Event {
    /// An event of the hub's own making.
    pub fn own(at: Time, reason: &str, message: impl Into<String>) -> Self {
        Self {
            at,
            actor: "roadstead".to_owned(),
            reason: reason.to_owned(),
            message: message.into(),
        }
    }
}

impl Phase {
    /// Has it ended for good?
    pub fn is_terminal(self) -> bool {
        matches!(
            self,
            Self::RolledBack | Self::Aborted | Self::Superseded | Self::Completed
        )
    }

    /// Does a newer Release take its place outright?
    pub fn yields(self) -> bool {
        matches!(self, Self::Pending | Self::Held | Self::Failed)
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl fmt::Display for StagePhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl StagePhase {
    /// Is the stage behind the Release?
    pub fn is_behind(self) -> bool {
        matches!(self, Self::Passed | Self::Skipped)
    }
}

impl Rollout {
    /// Makes one. `rest` tells whether some target belongs to no stage of the Strategy: the stage `rest` is appended in
    /// any case, and skipped when it stays empty.
    pub fn new(number: u64, release: ReleaseId, strategy: &StrategySpec, now: Time) -> Self {
        let mut strategy = strategy.clone();
        let catches_all = strategy
            .stages
            .iter()
            .any(|stage| stage.clusters.is_empty());
        if !catches_all {
            strategy.stages.push(roadstead_model::Stage::named("rest"));
        }
        let stages = strategy
            .stages
            .iter()
            .map(|stage| StageState {
                name: stage.name.clone(),
                phase: StagePhase::Pending,
                wave: 0,
                target: 0,
                entered_at: None,
                wave_at: None,
                soak_from: None,
                stuck: false,
                approved_before: None,
                approved_after: None,
                overridden: None,
                tally: None,
            })
            .collect();
        Self {
            number,
            release,
            strategy,
            phase: Phase::Pending,
            message: "waits for its first stage".to_owned(),
            paused: None,
            stages,
            created_at: now,
            ended_at: None,
        }
    }

    /// The stage that a cluster with these labels belongs to: the first that selects it.
    pub fn stage_of(&self, labels: &std::collections::BTreeMap<String, String>) -> usize {
        let found = self
            .strategy
            .stages
            .iter()
            .position(|stage| stage.clusters.matches_map(labels));
        found.unwrap_or(self.strategy.stages.len().saturating_sub(1))
    }

    /// The stage under way: the first that is not behind the Release.
    pub fn current(&self) -> Option<usize> {
        self.stages
            .iter()
            .position(|stage| !stage.phase.is_behind())
    }

    /// Ends it.
    pub(crate) fn end(&mut self, phase: Phase, message: impl Into<String>, now: Time) {
        self.phase = phase;
        self.message = message.into();
        self.ended_at = Some(now);
    }
}
