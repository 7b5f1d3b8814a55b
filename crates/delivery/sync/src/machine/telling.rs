//! What the machine tells the hub, and when it wants to be woken.

use roadstead_dispatch::{AgentFacts, Report, RootAck};

use super::Machine;
use crate::io::Effect;

/// Reports are at least so far apart, in milliseconds.
const REPORT_MS: u64 = 200;
const REPORT_MOST_MS: u64 = 2_000;

impl Machine {
    fn facts(&self) -> Option<AgentFacts> {
        let kinds = self.core.kinds.as_ref()?;
        Some(AgentFacts {
            agent_version: self.settings.agent_version.clone(),
            kubernetes_version: self.core.version.git_version.clone(),
            api_kinds: u32::try_from(kinds.len()).unwrap_or(u32::MAX),
            nodes: self.nodes.0,
            capacity: self.nodes.1,
            served: self.core.served.1.clone(),
            api_versions: Vec::new(),
        })
    }

    pub(super) fn report(&mut self) {
        let now = self.core.now.mono_ms;
        if !self.core.connected || self.reporting.is_some() || now < self.report_at {
            return;
        }
        let mut report = Report::default();
        let root = self.obeys.then(|| RootAck {
            root: self.order.root,
            known: self.order.known,
            refused: self.refused.clone(),
        });
        if root.is_some() && root != self.root_sent {
            report.root.clone_from(&root);
        }
        let facts = self.facts();
        if facts.is_some() && facts != self.facts_sent {
            report.facts.clone_from(&facts);
            let told = self.facts_sent.as_ref().map(|sent| &sent.served);
            if let Some(facts) = &mut report.facts
                && told != Some(&facts.served)
            {
                facts.api_versions.clone_from(&self.core.served.0);
            }
        }
        for key in &self.unreported {
            let Some(app) = self.apps.get(key) else {
                continue;
            };
            let state = app.report();
            if app.sent.as_ref() != Some(&state) {
                report.apps.insert(key.clone(), state);
            }
        }
        report.gone = self.gone.iter().cloned().collect();
        report.whole = std::mem::take(&mut self.whole);
        self.unreported.clear();
        if report == Report::default() {
            return;
        }
        report.clock = Some(self.core.now.wall);
        // one of many objects costs more to make and to send, and says little that the next does not say better
        let objects = report.apps.values().map(|app| u64::from(app.health.total));
        let pause = (objects.sum::<u64>() / 10).clamp(REPORT_MS, REPORT_MOST_MS);
        self.report_at = now.saturating_add(pause);
        self.root_sent = root.or(self.root_sent.take());
        self.facts_sent = facts.or(self.facts_sent.take());
        for (key, state) in &report.apps {
            if let Some(app) = self.apps.get_mut(key) {
                app.sent = Some(state.clone());
            }
        }
        self.gone.clear();
        self.reporting = Some(report.clone());
        self.core.effects.push(Effect::Report(report));
    }

    pub(super) fn next_wake(&mut self) {
        let now = self.core.now.mono_ms;
        let apps = self.apps.values().filter_map(|app| app.wake);
        let watches = self
            .core
            .watches
            .values()
            .filter(|state| !state.running)
            // one of a kind that is gone starts when the kind is back
            .filter_map(|state| state.retry_at.filter(|at| *at > now));
        let others = [
            self.core.discover_at.filter(|_| !self.core.discovering),
            self.core.fetch_at,
            (self.core.connected && self.reporting.is_none() && self.report_at > now)
                .then_some(self.report_at),
        ];
        let next = apps
            .chain(watches)
            .chain(others.into_iter().flatten())
            .min();
        if let Some(next) = next
            && self.wake != Some(next)
        {
            self.wake = Some(next);
            self.core.effects.push(Effect::WakeAt(next));
        }
    }
}
