//! The cluster, as the agent and as each Project sees it.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_cluster::Cluster;
use roadstead_model::AppKey;

use crate::OnBehalf;
use crate::lease::Fence;

/// Who asks the cluster for what.
pub(crate) struct Clusters {
    agent: Arc<dyn Cluster>,
    on_behalf: Option<OnBehalf>,
    fence: Option<Fence>,
    projects: BTreeMap<String, Arc<dyn Cluster>>,
}

impl Clusters {
    pub(crate) fn new(
        agent: Arc<dyn Cluster>,
        on_behalf: Option<OnBehalf>,
        fence: Option<Fence>,
    ) -> Self {
        let agent = match &fence {
            Some(fence) => fence.around(agent),
            None => agent,
        };
        Self {
            agent,
            on_behalf,
            fence,
            projects: BTreeMap::new(),
        }
    }

    /// As the agent itself: watches, and what belongs to no App.
    pub(crate) fn agent(&self) -> Arc<dyn Cluster> {
        Arc::clone(&self.agent)
    }

    /// As who may do what this App asks for.
    pub(crate) fn of(&mut self, app: Option<&AppKey>) -> Arc<dyn Cluster> {
        let (Some(app), Some(on_behalf)) = (app, &self.on_behalf) else {
            return self.agent();
        };
        let made = self.projects.entry(app.project.clone()).or_insert_with(|| {
            let cluster = on_behalf(&app.project);
            match &self.fence {
                Some(fence) => fence.around(cluster),
                None => cluster,
            }
        });
        Arc::clone(made)
    }
}
