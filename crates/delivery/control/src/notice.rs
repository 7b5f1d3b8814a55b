//! Kubernetes Events on the hub's nouns, made from what happened.
//!
//! Events are a courtesy to `kubectl describe` and to tools that read them; history is what counts. What happens to many
//! clusters in the same way becomes one Event that counts, so their number stays bounded whatever happens.

use base_json::Digest;
use roadstead_model::{AppKey, GROUP, Time, VERSION};
use serde_json::{Value, json};

use crate::project::numbered;
use crate::records::History;

/// The most characters of an Event's message, as Kubernetes bounds it.
const LONGEST: usize = 1024;

/// What an Event is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Regarding {
    /// The noun's kind.
    pub kind: &'static str,
    /// Its plural name.
    pub plural: &'static str,
    /// Its Project; empty for what belongs to the hub.
    pub project: String,
    /// Its name.
    pub name: String,
}

/// Something to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// About what.
    pub regarding: Regarding,
    /// Does somebody have to look at it?
    pub warning: bool,
    /// What, in one CamelCase word.
    pub reason: String,
    /// What, in one sentence.
    pub message: String,
    /// Who did it.
    pub actor: String,
    /// When.
    pub at: Time,
}

/// What a person should look at.
const WARNINGS: [&str; 10] = [
    "ClusterFailed",
    "StageFailed",
    "StageHeld",
    "RollingBack",
    "RolledBack",
    "RenderFailed",
    "Undone",
    "Aborted",
    "EmergencyStart",
    "Unhealthy",
];

/// What is said of one cluster after the other: one Event counts them all, and shows the last.
const OF_CLUSTERS: [&str; 2] = ["ClusterFailed", "Leaving"];

/// What a line of an App's history tells: always about the App, and about the Rollout if it concerns one.
pub fn notices(app: &AppKey, history: &History) -> Vec<Notice> {
    let event = &history.event;
    let about = |kind, plural, name| Notice {
        regarding: Regarding {
            kind,
            plural,
            project: app.project.clone(),
            name,
        },
        warning: WARNINGS.contains(&event.reason.as_str()),
        reason: event.reason.clone(),
        message: event.message.clone(),
        actor: event.actor.clone(),
        at: event.at,
    };
    let mut out = vec![about("App", "apps", app.name.clone())];
    if history.rollout > 0 {
        out.push(about("Rollout", "rollouts", numbered(app, history.rollout)));
    }
    out
}

/// The App whose history a key below [`keys::HISTORY`](crate::keys::HISTORY) belongs to; `None` for other entries.
pub fn app_of_history(key: &str) -> Option<AppKey> {
    let rest = key.strip_prefix(crate::keys::HISTORY)?;
    if key.starts_with(crate::keys::AUDIT) {
        return None;
    }
    rest.rsplit_once('/')?.0.parse().ok()
}

impl Notice {
    /// Tells that an App waits for something, with what [`decide`](crate::decide()) said.
    pub fn waiting(app: &AppKey, reason: &str, message: &str, at: Time) -> Self {
        Self {
            regarding: Regarding {
                kind: "App",
                plural: "apps",
                project: app.project.clone(),
                name: app.name.clone(),
            },
            warning: !matches!(reason, "SourceNotRead" | "AwaitingApproval"),
            reason: reason.to_owned(),
            message: message.to_owned(),
            actor: "roadstead".to_owned(),
            at,
        }
    }

    /// The Event's name: the same for what is counted together.
    pub fn name(&self) -> String {
        let about = &self.regarding;
        let message = if OF_CLUSTERS.contains(&self.reason.as_str()) {
            ""
        } else {
            &self.message
        };
        let parts = [
            about.kind,
            &about.project,
            &about.name,
            &self.reason,
            message,
        ];
        let digest = Digest::of(parts.join("\0").as_bytes()).short();
        // a name has at most 253 characters
        let name: String = about.name.chars().take(200).collect();
        format!("{name}.{digest}")
    }

    /// The namespace that the Event stands in; what belongs to the hub has its Events in `default`.
    pub fn namespace(&self) -> &str {
        if self.regarding.project.is_empty() {
            "default"
        } else {
            &self.regarding.project
        }
    }

    /// Makes the Event (`v1`), or counts in the one that is there already. `uid`: of the noun, by which
    /// `kubectl describe` finds it.
    pub fn object(&self, uid: &str, old: Option<&Value>) -> Value {
        let at = json!(self.at.seconds());
        let message: String = self.message.chars().take(LONGEST).collect();
        if let Some(old) = old {
            let mut object = old.clone();
            let count = old.get("count").and_then(Value::as_i64).unwrap_or(1);
            object["count"] = json!(count.saturating_add(1));
            object["lastTimestamp"] = at;
            object["message"] = json!(message);
            return object;
        }
        let about = &self.regarding;
        let mut regarding = json!({
            "apiVersion": format!("{GROUP}/{VERSION}"), "kind": about.kind, "name": about.name, "uid": uid,
        });
        if !about.project.is_empty() {
            regarding["namespace"] = json!(about.project);
        }
        json!({
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": { "name": self.name(), "namespace": self.namespace() },
            "involvedObject": regarding,
            "type": if self.warning { "Warning" } else { "Normal" },
            "reason": self.reason,
            "message": message,
            "action": self.reason,
            "count": 1,
            "firstTimestamp": at,
            "lastTimestamp": at,
            "eventTime": null,
            "source": { "component": if self.actor.is_empty() { "roadstead" } else { &self.actor } },
            "reportingComponent": "roadstead",
            "reportingInstance": "hub",
        })
    }
}

#[cfg(test)]
mod tests {
    use roadstead_rollout::Event;

    use super::*;

    fn history(rollout: u64, reason: &str, message: &str, at: i64) -> History {
        History {
            rollout,
            event: Event::own(Time(at), reason, message),
        }
    }

    fn app() -> AppKey {
        AppKey::new("team", "web")
    }

    #[test]
    fn what_happens_to_a_rollout_is_told_of_it_and_of_its_app() {
        let told = notices(
            &app(),
            &history(3, "StageFailed", "stage canary: 1 failed", 5_000),
        );
        let about: Vec<_> = told
            .iter()
            .map(|n| (n.regarding.kind, n.regarding.name.as_str(), n.warning))
            .collect();
        assert_eq!(about, [("App", "web", true), ("Rollout", "web-3", true)]);
        assert_eq!(
            told[1].object("uid-7", None),
            json!({
                "apiVersion": "v1", "kind": "Event",
                "metadata": {"name": told[1].name(), "namespace": "team"},
                "involvedObject": {"apiVersion": "roadstead.dev/v1alpha1", "kind": "Rollout", "name": "web-3",
                    "namespace": "team", "uid": "uid-7"},
                "type": "Warning", "reason": "StageFailed", "message": "stage canary: 1 failed", "action": "StageFailed",
                "count": 1, "firstTimestamp": "1970-01-01T00:00:05Z", "lastTimestamp": "1970-01-01T00:00:05Z",
                "eventTime": null, "source": {"component": "roadstead"},
                "reportingComponent": "roadstead", "reportingInstance": "hub",
            })
        );
    }

    #[test]
    fn the_same_again_is_counted() {
        let first = &notices(&app(), &history(0, "Approved", "go", 1_000))[0];
        let again = &notices(&app(), &history(0, "Approved", "go", 9_000))[0];
        assert_eq!(first.name(), again.name());
        let object = again.object("u", Some(&first.object("u", None)));
        assert_eq!(object["count"], 2);
        assert_eq!(object["firstTimestamp"], "1970-01-01T00:00:01Z");
        assert_eq!(object["lastTimestamp"], "1970-01-01T00:00:09Z");
    }

    #[test]
    fn thousands_of_clusters_that_fail_are_one_event() {
        let name = |n: u32| {
            let text = format!("cluster c{n} failed: no");
            notices(&app(), &history(2, "ClusterFailed", &text, 1))[1].name()
        };
        assert_eq!(name(1), name(4_999));
        let passed = |stage: &str| notices(&app(), &history(2, "StagePassed", stage, 1))[1].name();
        assert_ne!(passed("canary"), passed("early"));
    }

    #[test]
    fn history_is_told_from_audit() {
        let key = crate::keys::history(&app(), Time(1), base_store::Revision(2), 0);
        assert_eq!(app_of_history(&key), Some(app()));
        assert_eq!(app_of_history(&crate::keys::audit(Time(1), 1)), None);
    }
}
