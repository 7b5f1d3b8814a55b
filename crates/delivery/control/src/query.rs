//! What the hub knows, asked for.

use std::collections::BTreeMap;
use std::sync::Arc;

use base_json::Digest;
use base_store::Revision;
use roadstead_dispatch::AppReport;
use roadstead_model::{App, AppKey, Cluster, ClusterId, Key, Project, Source, StrategySpec};
use roadstead_render::Reading;
use roadstead_rollout::{Assignment, Rollout};

use crate::index::Index;
use crate::placement::Placing;
use crate::records::{Approval, Counted, Head, Held, ReleaseRecord, Seen};

impl Index {
    /// The newest revision that was taken in.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// A cluster by its id.
    pub fn cluster(&self, id: &ClusterId) -> Option<&Cluster> {
        self.clusters.get(id)
    }

    /// A cluster's id by its name.
    pub fn cluster_id(&self, name: &str) -> Option<ClusterId> {
        if name == "hub" {
            return Some(ClusterId("hub".to_owned()));
        }
        self.cluster_names.get(name).cloned()
    }

    /// A cluster's name, for people.
    pub fn cluster_name<'a>(&'a self, id: &'a ClusterId) -> &'a str {
        self.clusters
            .get(id)
            .map_or(id.0.as_str(), |cluster| cluster.metadata.name.as_str())
    }

    /// All clusters.
    pub fn clusters(&self) -> impl Iterator<Item = (&ClusterId, &Cluster)> {
        self.clusters.iter()
    }

    /// All Apps.
    pub fn apps(&self) -> impl Iterator<Item = (&AppKey, &App)> {
        self.apps.iter()
    }

    /// One App.
    pub fn app(&self, key: &AppKey) -> Option<&App> {
        self.apps.get(key)
    }

    /// All Sources.
    pub fn sources(&self) -> impl Iterator<Item = (&Key, &Source)> {
        self.sources.iter()
    }

    /// A Project.
    pub fn project(&self, name: &str) -> Option<&Project> {
        self.projects.get(name)
    }

    /// The newest commit of a Source.
    pub fn head(&self, source: &Key) -> Option<&Head> {
        self.heads.get(source).map(|kept| &kept.value)
    }

    /// The revision of a Source's head record.
    pub fn head_revision(&self, source: &Key) -> Option<Revision> {
        self.heads.get(source).map(|kept| kept.revision)
    }

    /// What Apps read of a Source: paths and how they are read, by [`Reading::key`].
    pub fn reads_of(&self, source: &Key) -> BTreeMap<String, (String, Reading)> {
        let apps = self
            .apps
            .iter()
            .filter(|(key, _)| key.project == source.project);
        let inputs = apps
            .flat_map(|(_, app)| {
                let inputs = app.spec.inputs.iter().enumerate();
                inputs.map(|(number, input)| (&app.spec, number, input))
            })
            .filter(|(_, _, input)| input.source == source.name);
        let reads = inputs.map(|(spec, number, input)| {
            let reading = Reading::of(spec, number);
            (reading.key(&input.path), (input.path.clone(), reading))
        });
        reads.collect()
    }

    /// An App's Releases, oldest first.
    pub fn releases(&self, app: &AppKey) -> impl DoubleEndedIterator<Item = &ReleaseRecord> {
        self.releases
            .get(app)
            .into_iter()
            .flat_map(|of| of.values().map(|kept| &kept.value))
    }

    /// The Apps that have Releases, deleted ones among them.
    pub fn apps_with_releases(&self) -> impl Iterator<Item = &AppKey> {
        self.releases
            .iter()
            .filter(|(_, of)| !of.is_empty())
            .map(|(app, _)| app)
    }

    /// A Release by its number.
    pub(crate) fn numbered_release(&self, app: &AppKey, number: u64) -> Option<&ReleaseRecord> {
        Some(&self.releases.get(app)?.get(&number)?.value)
    }

    /// A Release by its id.
    pub fn release(&self, app: &AppKey, id: &base_json::Digest) -> Option<&ReleaseRecord> {
        self.releases(app).rev().find(|release| release.id == *id)
    }

    /// An App's Rollouts, oldest first.
    pub fn rollouts(&self, app: &AppKey) -> impl DoubleEndedIterator<Item = &Rollout> {
        self.rollouts
            .get(app)
            .into_iter()
            .flat_map(|of| of.values().map(|kept| &kept.value))
    }

    /// A Rollout with the revision of its record.
    pub fn rollout(&self, app: &AppKey, number: u64) -> Option<(&Rollout, Revision)> {
        self.rollouts
            .get(app)?
            .get(&number)
            .map(|kept| (&kept.value, kept.revision))
    }

    /// What clusters should run of an App.
    pub fn assignments_of(&self, app: &AppKey) -> impl Iterator<Item = (&ClusterId, &Assignment)> {
        self.assigned
            .get(app)
            .into_iter()
            .flatten()
            .map(|(id, kept)| (id, &kept.value))
    }

    /// What a cluster should run of an App, with the revision of its record.
    pub fn assignment(&self, cluster: &ClusterId, app: &AppKey) -> Option<(&Assignment, Revision)> {
        self.assigned
            .get(app)?
            .get(cluster)
            .map(|kept| (&kept.value, kept.revision))
    }

    /// What a cluster's agent says of an App.
    pub fn observed(&self, cluster: &ClusterId, app: &AppKey) -> Option<&AppReport> {
        self.observed.get(app)?.get(cluster).map(|kept| &kept.value)
    }

    /// The Apps that a cluster has.
    pub fn apps_of(&self, cluster: &ClusterId) -> impl Iterator<Item = &AppKey> {
        self.apps_of.get(cluster).into_iter().flatten()
    }

    /// When a cluster was heard of.
    pub fn seen(&self, cluster: &ClusterId) -> Option<&Seen> {
        self.seen.get(cluster).map(|kept| &kept.value)
    }

    /// Is the cluster's agent connected now?
    pub fn is_connected(&self, cluster: &ClusterId) -> bool {
        self.sessions.contains_key(cluster)
    }

    /// How far an App's Releases and Rollouts were ever counted.
    pub(crate) fn counted(&self, app: &AppKey) -> Counted {
        let before = self.counts.get(app).copied().unwrap_or_default();
        let last = |number: Option<u64>| number.unwrap_or(0);
        Counted {
            release: before
                .release
                .max(last(self.releases(app).next_back().map(|r| r.number))),
            rollout: before
                .rollout
                .max(last(self.rollouts(app).next_back().map(|r| r.number))),
        }
    }

    /// What people approved for an App, with the revision of the record.
    pub fn approval(&self, app: &AppKey) -> Option<(&Approval, Revision)> {
        self.approvals
            .get(app)
            .map(|kept| (&kept.value, kept.revision))
    }

    /// The hold on one assignment.
    pub fn hold(&self, cluster: &ClusterId, app: &AppKey) -> Option<&Held> {
        self.holds.get(&(cluster.clone(), app.clone()))
    }

    /// The Strategy of an App: its Project's, else the hub's `default` Project's, else the built-in one.
    pub fn strategy_of(&self, app: &AppKey, name: &str) -> Result<StrategySpec, String> {
        if name.is_empty() {
            return Ok(StrategySpec::built_in());
        }
        let own = self.strategies.get(&Key::new(app.project.clone(), name));
        let shared = || self.strategies.get(&Key::new("default", name));
        own.or_else(shared)
            .map(|strategy| strategy.spec.clone())
            .ok_or_else(|| {
                let there = self.strategies.keys();
                let there = there.filter(|key| key.project == app.project || key.project == "default");
                let names: Vec<&str> = there.map(|key| key.name.as_str()).collect();
                let names = match names.len() {
                    0 => "there is none".to_owned(),
                    _ => format!("there is {}", names.join(", ")),
                };
                format!(
                    "strategy {name:?} is neither in project {:?} nor in \"default\": {names}; what is under way goes on \
                     with the one that it began with",
                    app.project
                )
            })
    }

    /// Where a Release that is not made would put clusters.
    pub fn place(&self, app: &AppKey, record: &ReleaseRecord) -> Placing {
        crate::placement::place(
            record,
            &self.clusters,
            &self.sets,
            self.projects.get(&app.project),
        )
    }

    /// Where an App's Release puts clusters.
    pub(crate) fn placed(&mut self, app: &AppKey, release: u64) -> Arc<Placing> {
        let Some(record) = self.releases.get(app).and_then(|of| of.get(&release)) else {
            return Arc::default();
        };
        self.placements.of(
            app,
            &record.value,
            &self.clusters,
            &self.sets,
            self.projects.get(&app.project),
        )
    }

    /// The Release that is meant now: that of the newest Rollout whose Release is not barred. Its number need not be the
    /// highest: who goes back in Git, or pins, means an older one.
    pub(crate) fn meant(&self, app: &AppKey) -> Option<&ReleaseRecord> {
        let usable = |record: &&ReleaseRecord| {
            record.error.is_empty() && !record.variants.is_empty() && record.barred.is_none()
        };
        let rollouts = self.rollouts(app).rev();
        rollouts
            .filter_map(|rollout| self.release(app, &rollout.release))
            .find(usable)
    }

    /// The Releases of an App that nothing goes back to.
    pub(crate) fn barred(&self, app: &AppKey) -> std::collections::BTreeSet<Digest> {
        self.releases(app)
            .filter(|record| record.barred.is_some())
            .map(|record| record.id)
            .collect()
    }

    /// The labels of a cluster.
    pub(crate) fn labels_of(&self, id: &ClusterId) -> &BTreeMap<String, String> {
        static NONE: BTreeMap<String, String> = BTreeMap::new();
        self.clusters
            .get(id)
            .map_or(&NONE, |cluster| &cluster.metadata.labels)
    }
}
