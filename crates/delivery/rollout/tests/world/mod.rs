#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    reason = "shared by two test programs"
)]
//! A fleet of clusters that behave as told, around the real state machine.

use std::collections::{BTreeMap, BTreeSet};

use base_json::Digest;
use roadstead_dispatch::{
    AppReport, AppState, EntryPhase, HealthCounts, Inventory, Problem, ProblemKind,
};
use roadstead_model::{ClusterId, StrategySpec, Time};
use roadstead_rollout::{
    Action, Assignment, By, Event, May, Member, Phase, Refused, Rollout, Sighting, StagePhase, act,
    schedule, step,
};

/// What a cluster does with a Release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Healthy,
    Degraded,
    Fails,
    Silent,
    /// It works, and nothing of it changes.
    Works,
}

/// Decides by cluster and Release.
pub type Fates = Box<dyn Fn(&str, &Digest) -> Fate>;

#[derive(Debug, Clone)]
pub struct ClusterSim {
    pub labels: BTreeMap<String, String>,
    pub online: bool,
    pub assignment: Option<Assignment>,
    pub observed: Option<AppReport>,
}

pub struct World {
    pub now: Time,
    pub clusters: BTreeMap<ClusterId, ClusterSim>,
    pub rollouts: Vec<Rollout>,
    pub barred: BTreeSet<Digest>,
    pub events: Vec<(u64, Event)>,
    /// What becomes of a Release on a cluster.
    pub fate: Fates,
    /// Every start: Rollout, stage, cluster.
    pub starts: Vec<(u64, String, String)>,
}

pub fn release(n: u8) -> Digest {
    Digest::of(&[n])
}

impl World {
    pub fn new(rings: &[(&str, usize)]) -> Self {
        let mut clusters = BTreeMap::new();
        for (ring, count) in rings {
            for index in 0..*count {
                let id = ClusterId(format!("{ring}-{index:02}"));
                let labels = BTreeMap::from([("ring".to_owned(), (*ring).to_owned())]);
                clusters.insert(
                    id,
                    ClusterSim {
                        labels,
                        online: true,
                        assignment: None,
                        observed: None,
                    },
                );
            }
        }
        Self {
            now: Time(1_000_000),
            clusters,
            rollouts: Vec::new(),
            barred: BTreeSet::new(),
            events: Vec::new(),
            fate: Box::new(|_, _| Fate::Healthy),
            starts: Vec::new(),
        }
    }

    pub fn release(&mut self, n: u8, strategy: &StrategySpec) -> u64 {
        let number = self.rollouts.len() as u64 + 1;
        self.rollouts
            .push(Rollout::new(number, release(n), strategy, self.now));
        number
    }

    pub fn rollout(&self, number: u64) -> &Rollout {
        &self.rollouts[number as usize - 1]
    }

    pub fn act(&mut self, number: u64, action: &Action) -> Result<Event, Refused> {
        let by = By {
            actor: "ann".to_owned(),
            at: self.now,
            reason: String::new(),
        };
        let rollout = &mut self.rollouts[number as usize - 1];
        let event = act(rollout, action, &by)?;
        if *action == Action::Retry {
            let number = rollout.number;
            self.barred.remove(&rollout.release);
            for cluster in self.clusters.values_mut() {
                if let Some(assignment) = &mut cluster.assignment
                    && assignment.rollout == number
                    && assignment.has_failed()
                {
                    assignment.attempt += 1;
                    assignment.outcome = None;
                    assignment.since = self.now;
                }
            }
        }
        Ok(event)
    }

    /// Lets every agent do what it is told, then lets every Rollout take a step.
    pub fn tick(&mut self, ms: u64) {
        self.now = self.now.plus_ms(ms);
        self.agents();
        let plan = schedule(&self.rollouts.iter().collect::<Vec<_>>());
        for index in (0..self.rollouts.len()).rev() {
            let mut rollout = self.rollouts[index].clone();
            if let Some((_, newer)) = plan
                .superseded
                .iter()
                .find(|(older, _)| *older == rollout.number)
            {
                self.events
                    .push((rollout.number, rollout.supersede(*newer, self.now)));
                self.rollouts[index] = rollout;
                continue;
            }
            let before: Vec<usize> = rollout.stages.iter().map(|stage| stage.target).collect();
            let may = May {
                enter: plan.enter.contains(&rollout.number),
                start: self.rollouts.iter().all(|other| {
                    other.number == rollout.number || other.phase != Phase::RollingBack
                }),
            };
            let done = {
                let members: Vec<Member<'_>> = self
                    .clusters
                    .iter()
                    .map(|(id, cluster)| self.member(&rollout, id, cluster))
                    .collect();
                step(&mut rollout, self.now, &members, may, &self.barred)
            };
            for (stage, before) in rollout.stages.iter().zip(before) {
                assert!(stage.target >= before, "progress is a high-water mark");
            }
            self.events
                .extend(done.events.into_iter().map(|event| (rollout.number, event)));
            for (id, outcome) in done.outcomes {
                self.assignment(&id).outcome = Some(outcome);
            }
            for id in done.good {
                self.assignment(&id).mark_good();
            }
            for id in done.start {
                let stage = rollout.stage_of(&self.clusters[&id].labels);
                let state = &rollout.stages[stage];
                assert_eq!(
                    state.phase,
                    StagePhase::Running,
                    "{id} starts in a stage that is not running"
                );
                assert!(
                    rollout.stages[..stage]
                        .iter()
                        .all(|stage| stage.phase.is_behind()),
                    "{id} starts before its turn"
                );
                self.starts
                    .push((rollout.number, state.name.clone(), id.0.clone()));
                let now = self.now;
                let Some(cluster) = self.clusters.get_mut(&id) else {
                    continue;
                };
                let counted = cluster
                    .observed
                    .as_ref()
                    .is_none_or(|o| !matches!(o.state, AppState::Degraded | AppState::Failed));
                cluster.assignment = Some(Assignment {
                    release: rollout.release,
                    variant: rollout.release,
                    phase: EntryPhase::Deliver,
                    rollout: rollout.number,
                    since: now,
                    attempt: cluster.assignment.as_ref().map_or(0, |a| a.attempt),
                    counted,
                    emergency: false,
                    removals: None,
                    outcome: None,
                    good: cluster
                        .assignment
                        .take()
                        .map(|a| a.good)
                        .unwrap_or_default(),
                });
            }
            for (id, good) in done.back {
                let (number, now) = (rollout.number, self.now);
                let assignment = self.assignment(&id);
                assignment.release = good.release;
                assignment.variant = good.variant;
                assignment.phase = EntryPhase::Revert;
                assignment.rollout = number;
                assignment.since = now;
                assignment.outcome = None;
            }
            if done.bar.is_some() {
                self.barred.insert(rollout.release);
            }
            self.rollouts[index] = rollout;
        }
        self.check();
    }

    fn assignment(&mut self, id: &ClusterId) -> &mut Assignment {
        self.clusters
            .get_mut(id)
            .and_then(|cluster| cluster.assignment.as_mut())
            .expect("it has one")
    }

    fn member<'a>(
        &self,
        rollout: &Rollout,
        id: &'a ClusterId,
        cluster: &'a ClusterSim,
    ) -> Member<'a> {
        Member {
            id,
            name: &id.0,
            stage: rollout.stage_of(&cluster.labels),
            variant: Ok(rollout.release),
            sighting: if cluster.online {
                Sighting::Online
            } else {
                Sighting::Offline
            },
            connected_since: cluster.online.then_some(Time(0)),
            withheld: "",
            assignment: cluster.assignment.as_ref(),
            observed: cluster.observed.as_ref(),
        }
    }

    fn agents(&mut self) {
        for (id, cluster) in &mut self.clusters {
            let (true, Some(assignment)) = (cluster.online, &cluster.assignment) else {
                continue;
            };
            let fate = (self.fate)(&id.0, &assignment.release);
            let state = match fate {
                Fate::Healthy => AppState::Healthy,
                Fate::Degraded => AppState::Degraded,
                Fate::Fails => AppState::Failed,
                Fate::Silent | Fate::Works => AppState::Syncing,
            };
            let same = cluster.observed.as_ref().is_some_and(|old| {
                old.release == assignment.release
                    && old.state == state
                    && old.attempt == assignment.attempt
            });
            if same {
                continue;
            }
            let problem = Problem {
                object: "apps/Deployment/shop/web".parse().expect("an identity"),
                kind: ProblemKind::Health,
                reason: "ImagePullBackOff".to_owned(),
                message: "image shop:missing cannot be pulled".to_owned(),
            };
            cluster.observed = Some(AppReport {
                release: assignment.release,
                variant: assignment.variant,
                attempt: assignment.attempt,
                state,
                since: self.now,
                moved: Time(0),
                message: String::new(),
                health: HealthCounts::default(),
                problems: if matches!(fate, Fate::Healthy | Fate::Works) {
                    Vec::new()
                } else {
                    vec![problem]
                },
                drift: Vec::new(),
                healed: 0,
                writes: 0,
                inventory: Inventory {
                    digest: Inventory::digest_of(&[]),
                    objects: None,
                },
                left_over: Vec::new(),
                awaiting_approval: Vec::new(),
            });
        }
    }

    /// At most one Rollout is inside a stage, and at most one acts on a cluster.
    fn check(&self) {
        let mut inside: BTreeMap<&str, u64> = BTreeMap::new();
        for rollout in self
            .rollouts
            .iter()
            .filter(|rollout| !rollout.phase.is_terminal())
        {
            let Some(current) = rollout.current() else {
                continue;
            };
            let state = &rollout.stages[current];
            if matches!(state.phase, StagePhase::Pending | StagePhase::Failed)
                || rollout.phase == Phase::RollingBack
            {
                continue;
            }
            if let Some(other) = inside.insert(&state.name, rollout.number) {
                panic!(
                    "rollouts {other} and {} are both inside stage {}",
                    rollout.number, state.name
                );
            }
        }
    }

    pub fn run(&mut self, ticks: usize) {
        for _ in 0..ticks {
            self.tick(1000);
        }
    }

    /// One line a Rollout, for messages.
    pub fn summary(&self) -> String {
        let line = |rollout: &Rollout| {
            let stages: Vec<String> = rollout
                .stages
                .iter()
                .map(|s| format!("{} {}", s.name, s.phase))
                .collect();
            format!(
                "{} {} [{}] {}",
                rollout.number,
                rollout.phase,
                stages.join(", "),
                rollout.message
            )
        };
        self.rollouts
            .iter()
            .map(line)
            .collect::<Vec<_>>()
            .join("\n")
    }

    pub fn on(&self, n: u8) -> Vec<&str> {
        let has = |cluster: &ClusterSim| {
            cluster
                .assignment
                .as_ref()
                .is_some_and(|a| a.release == release(n))
        };
        self.clusters
            .iter()
            .filter(|(_, cluster)| has(cluster))
            .map(|(id, _)| id.0.as_str())
            .collect()
    }
}

/// canary (2), early (8), main.
pub fn strategy(on_failure: &str) -> StrategySpec {
    let text = format!(
        r#"{{"onFailure": "{on_failure}", "stages": [
            {{"name": "canary", "clusters": {{"matchLabels": {{"ring": "canary"}}}}, "soak": "5s"}},
            {{"name": "early", "clusters": {{"matchLabels": {{"ring": "early"}}}}, "waves": [{{"percent": 50}}]}},
            {{"name": "main", "waves": [{{"count": 1}}, {{"percent": 10}}, {{"percent": 30}}], "maxConcurrent": 10,
              "failureBudget": "5%"}}
        ]}}"#
    );
    serde_json::from_str(&text).expect("a Strategy")
}
