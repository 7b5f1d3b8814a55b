//! Strategies: how a Release travels over its targets.

use k8s_object::LabelSelector;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::noun::{check_selector, check_unique, noun};
use crate::{Amount, Column, Condition, DurationMs, FieldError, NounInfo};

/// How a Release travels over its targets: stages, the waves of each, and what must hold before it goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StrategySpec {
    /// The stages, in order. A cluster belongs to the first that selects it; those that none selects form a last
    /// stage `rest`.
    pub stages: Vec<Stage>,
    /// What to do when a stage fails.
    #[serde(default)]
    pub on_failure: OnFailure,
}

/// A group of clusters that get a Release together, wave by wave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Stage {
    /// The stage's name.
    pub name: String,
    /// Which of the App's clusters; empty for all that are left.
    #[serde(default)]
    pub clusters: LabelSelector,
    /// How many clusters start together; whatever the waves leave over forms a last wave.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waves: Vec<Wave>,
    /// How many clusters may be on their way at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_concurrent: Option<u32>,
    /// How many clusters of the stage may fail before the stage does; none unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_budget: Option<Amount>,
    /// How many clusters of the stage may be set aside (offline, unhealthy before, not renderable) before the stage
    /// holds; 10 % unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_set_aside: Option<Amount>,
    /// How long a wave may take until its clusters are healthy; 10 minutes unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<DurationMs>,
    /// How long a cluster may be degraded before it counts as failed, without waiting for the deadline; 5 seconds
    /// unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub degraded_for: Option<DurationMs>,
    /// How long the stage must stay good after its last wave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub soak: Option<DurationMs>,
    /// Whether somebody must approve before the stage starts or after it has soaked.
    #[serde(default)]
    pub approval: Approval,
}

/// How many clusters start together: a count, or a percentage of the stage's eligible clusters when the wave starts,
/// rounded up, at least one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Wave {
    /// So many clusters more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
    /// So many in a hundred more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<u8>,
    /// How many clusters may have failed by the end of this wave, if fewer than the stage allows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_budget: Option<Amount>,
}

/// The size of a wave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaveSize {
    /// So many.
    Amount(Amount),
    /// All that are left.
    Rest,
}

impl Wave {
    /// The wave's size.
    pub fn size(&self) -> WaveSize {
        match (self.count, self.percent) {
            (Some(count), _) => WaveSize::Amount(Amount::Count(count)),
            (None, Some(percent)) => WaveSize::Amount(Amount::Percent(percent.min(100))),
            (None, None) => WaveSize::Rest,
        }
    }
}

/// When somebody must approve.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Approval {
    /// Before the stage starts.
    pub before: bool,
    /// After the stage has soaked.
    pub after: bool,
}

/// What to do when a stage fails.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnFailure {
    /// Stop; the clusters keep what they have until somebody decides.
    #[default]
    Hold,
    /// Stop, and take every cluster that has the Release back to its last good one.
    RollBack,
}

/// What is known of a Strategy.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct StrategyStatus {
    /// The generation of the spec that this status speaks of.
    pub observed_generation: i64,
    /// Ready and others.
    pub conditions: Vec<Condition>,
    /// How many Apps use it.
    pub apps: u32,
}

impl StrategySpec {
    /// The Strategy of an App that names none: 1 cluster, 10 %, 30 %, the rest; no failure in the first wave, then the
    /// larger of 1 and 2 %; hold.
    pub fn built_in() -> Self {
        let wave = |count, percent| Wave {
            count,
            percent,
            failure_budget: None,
        };
        Self {
            stages: vec![Stage {
                waves: vec![
                    Wave {
                        failure_budget: Some(Amount::Count(0)),
                        ..wave(Some(1), None)
                    },
                    wave(None, Some(10)),
                    wave(None, Some(30)),
                    wave(None, None),
                ],
                failure_budget: Some(Amount::Percent(2)),
                ..Stage::named("all")
            }],
            on_failure: OnFailure::Hold,
        }
    }
}

impl Stage {
    /// A stage of all clusters, in one wave, without approvals.
    pub fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            clusters: LabelSelector::default(),
            waves: Vec::new(),
            max_concurrent: None,
            failure_budget: None,
            max_set_aside: None,
            deadline: None,
            degraded_for: None,
            soak: None,
            approval: Approval::default(),
        }
    }
}

noun!(
    Strategy = Object<StrategySpec, StrategyStatus>,
    NounInfo {
        kind: "Strategy",
        plural: "strategies",
        singular: "strategy",
        short_names: &["strat"],
        namespaced: true,
        written_by_hub: false,
        columns: &[
            Column { name: "Stages", path: ".spec.stages[*].name", kind: "string", wide: false },
            Column { name: "On Failure", path: ".spec.onFailure", kind: "string", wide: false },
            Column { name: "Apps", path: ".status.apps", kind: "integer", wide: false },
        ],
        about: "How a Release travels over its targets: stages, waves, and what must hold before it goes on.",
    },
    validate
);

fn validate(strategy: &Strategy, errors: &mut Vec<FieldError>) {
    let stages = &strategy.spec.stages;
    if stages.is_empty() {
        errors.push(FieldError::new(
            "spec.stages",
            "a Strategy needs at least one stage",
        ));
    }
    check_unique(
        stages.iter().map(|stage| stage.name.as_str()),
        "spec.stages",
        "stage",
        errors,
    );
    for (index, stage) in stages.iter().enumerate() {
        let at = format!("spec.stages[{index}]");
        if stage.name == "rest" {
            errors.push(FieldError::new(
                format!("{at}.name"),
                "\"rest\" is the stage of clusters that no other selects",
            ));
        }
        check_selector(&stage.clusters, &format!("{at}.clusters"), errors);
        if stage.max_concurrent == Some(0) {
            errors.push(FieldError::new(
                format!("{at}.maxConcurrent"),
                "is 0: no cluster would ever start",
            ));
        }
        for (number, wave) in stage.waves.iter().enumerate() {
            let at = format!("{at}.waves[{number}]");
            match (wave.count, wave.percent) {
                (Some(_), Some(_)) => errors.push(FieldError::new(
                    at,
                    "a wave has either `count` or `percent`, not both",
                )),
                (Some(0), None) => errors.push(FieldError::new(
                    format!("{at}.count"),
                    "is 0: the wave would start nothing",
                )),
                (None, Some(percent)) if percent == 0 || percent > 100 => {
                    errors.push(FieldError::new(
                        format!("{at}.percent"),
                        format!("{percent} is not from 1 to 100"),
                    ));
                }
                (None, None) if number + 1 < stage.waves.len() => {
                    let message = "a wave without `count` and `percent` takes all that is left, so it must be the last";
                    errors.push(FieldError::new(at, message));
                }
                _ => {}
            }
        }
    }
}
