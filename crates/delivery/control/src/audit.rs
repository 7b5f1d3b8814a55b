//! Who did what: one fact for each thing that somebody asked of the hub, whether it was done or not.
//!
//! Entries stand beside the history of Apps and are kept under the same retention. They name what was touched and never
//! what was written: no spec, no token, no value.

use base_store::{Expect, Op};
use bytes::Bytes;
use roadstead_model::{AppKey, Time};
use roadstead_rollout::By;
use serde::{Deserialize, Serialize};

use crate::command::{Command, CommandRefused};
use crate::records::keys;

/// The most characters that are kept of what somebody gives as a reason, or of what was said to them.
const LONGEST: usize = 500;

/// Something that somebody did, or was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Audit {
    /// When, by the hub's clock.
    pub at: Time,
    /// Who: a user's name, an agent's cluster, a token's id.
    pub actor: String,
    /// What, in one word: `create`, `update`, `patch`, `delete`, `approveRemovals`, `join`, `revoke`.
    pub verb: String,
    /// To what.
    pub object: AuditObject,
    /// Why, in their own words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// Was it done?
    pub result: AuditResult,
    /// What was done, or why it was not, in one sentence.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Where the request came from: an address, empty if it came from the hub itself.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub from: String,
}

/// What something was done to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditObject {
    /// Its plural name, such as `apps`, or a word for what is no noun, such as `token`.
    pub resource: String,
    /// Its Project; empty for what belongs to the hub.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub project: String,
    /// Its name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The clusters that it was about, if it was about some of them only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub clusters: Vec<String>,
}

/// Was it done?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum AuditResult {
    /// It was done.
    Done,
    /// It was not: it made no sense, or did not fit what is there.
    Refused,
    /// They may not.
    Forbidden,
    /// The hub could not.
    Failed,
}

fn bounded(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

impl Audit {
    /// Makes the entry of something that was done to a noun.
    pub fn new(by: &By, verb: &str, object: AuditObject, result: AuditResult) -> Self {
        Self {
            at: by.at,
            actor: by.actor.clone(),
            verb: verb.to_owned(),
            object,
            reason: bounded(&by.reason),
            result,
            message: String::new(),
            from: String::new(),
        }
    }

    /// Adds a sentence.
    #[must_use]
    pub fn saying(mut self, message: &str) -> Self {
        self.message = bounded(message);
        self
    }

    /// Adds where the request came from.
    #[must_use]
    pub fn from(mut self, from: &str) -> Self {
        self.from = bounded(from);
        self
    }

    /// Makes the entry of a command and of what [`command`](crate::command()) answered to it.
    pub fn of_command(
        app: &AppKey,
        command: &Command,
        by: &By,
        answer: Result<&str, &CommandRefused>,
    ) -> Self {
        let object = AuditObject {
            resource: "apps".to_owned(),
            project: app.project.clone(),
            name: app.name.clone(),
            clusters: command.clusters(),
        };
        let result = match answer {
            Ok(_) => AuditResult::Done,
            Err(_) => AuditResult::Refused,
        };
        let said = match answer {
            Ok(said) => said.to_owned(),
            Err(refused) => refused.to_string(),
        };
        Self::new(by, command.verb(), object, result).saying(&said)
    }

    /// The write that keeps it. `unique` tells two entries of one moment apart; whoever drives this draws it.
    pub fn keep(&self, unique: u128) -> Op {
        Op::Put {
            key: keys::audit(self.at, unique),
            // an entry serialises: it has text keys and finite numbers
            value: Bytes::from(serde_json::to_vec(self).unwrap_or_default()),
            expect: Expect::Absent,
        }
    }
}

impl Command {
    /// What it is, in one word.
    pub fn verb(&self) -> &'static str {
        use roadstead_rollout::Action;
        match self {
            Self::Rollout { action, .. } => match action {
                Action::Pause => "pause",
                Action::Resume => "resume",
                Action::Abort => "abort",
                Action::Retry => "retry",
                Action::Approve { .. } => "approve",
                Action::Undo => "undo",
            },
            Self::ApproveLeaving { .. } => "approveLeaving",
            Self::ApproveRemovals { .. } => "approveRemovals",
            Self::ApproveGoingBack { .. } => "approveGoingBack",
            Self::Hold { .. } => "hold",
            Self::Unhold { .. } => "unhold",
            Self::Start { .. } => "start",
        }
    }

    /// The names of the clusters that it is about; none when it is about all.
    pub fn clusters(&self) -> Vec<String> {
        match self {
            Self::Hold { cluster, .. } | Self::Unhold { cluster } => vec![cluster.clone()],
            Self::Start { clusters, .. } => clusters.clone(),
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use roadstead_rollout::Action;

    use super::*;

    fn by() -> By {
        By {
            actor: "ada".to_owned(),
            at: Time(1_795_000_000_123),
            reason: "the shop is down".to_owned(),
        }
    }

    #[test]
    fn an_entry_is_read_again_as_it_was_written() {
        let app = AppKey::new("team", "web");
        let start = Command::Start {
            release: "3".to_owned(),
            clusters: vec!["c1".to_owned(), "c2".to_owned()],
        };
        let entry =
            Audit::of_command(&app, &start, &by(), Ok("release 3 goes to c1, c2")).from("10.0.0.7");
        let Op::Put { key, value, expect } = entry.keep(7) else {
            panic!("it is no write")
        };
        assert_eq!(expect, Expect::Absent);
        assert_eq!(
            key,
            "h/_audit/001795000000123-00000000000000000000000000000007"
        );
        let text = String::from_utf8(value.to_vec()).unwrap();
        assert_eq!(
            text,
            r#"{"at":"2026-11-18T11:06:40.123Z","actor":"ada","verb":"start","object":{"resource":"apps","project":"team","name":"web","clusters":["c1","c2"]},"reason":"the shop is down","result":"Done","message":"release 3 goes to c1, c2","from":"10.0.0.7"}"#
        );
        assert_eq!(serde_json::from_str::<Audit>(&text).unwrap(), entry);
    }

    #[test]
    fn what_is_refused_says_why_and_nothing_grows_without_bound() {
        let app = AppKey::new("team", "web");
        let undo = Command::Rollout {
            number: None,
            action: Action::Undo,
        };
        let refused = CommandRefused::NotNow("its clusters go back already".to_owned());
        let long = By {
            reason: "ä".repeat(10_000),
            ..by()
        };
        let entry = Audit::of_command(&app, &undo, &long, Err(&refused));
        assert_eq!(entry.result, AuditResult::Refused);
        assert_eq!(
            (entry.verb.as_str(), entry.message.as_str()),
            ("undo", "its clusters go back already")
        );
        assert_eq!(entry.reason.chars().count(), LONGEST + 1);
    }
}
