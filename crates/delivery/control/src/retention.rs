//! How long what happened is kept.
//!
//! History is append-only: nothing changes an entry, and only its age and the number of newer ones take it away. An App
//! that seldom changes still tells how it came to be what it is, and one Rollout with thousands of failures does not push
//! out what other Rollouts said.

use std::collections::BTreeMap;

use roadstead_model::Time;

use crate::records::{History, keys};

const DAY_MS: u64 = 86_400_000;

/// How much history is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Entries of an App that are older than this go.
    pub age_ms: u64,
    /// So many of an App's newest stay, however old they are.
    pub at_least: usize,
    /// Of each Rollout so many of the newest stay; what happened to an App outside Rollouts counts as one.
    pub of_a_rollout: usize,
    /// Of each App so many of the newest stay.
    pub of_an_app: usize,
    /// Audit entries that are older than this go.
    pub audit_age_ms: u64,
    /// So many audit entries stay at most.
    pub audits: usize,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            age_ms: 90 * DAY_MS,
            at_least: 100,
            of_a_rollout: 500,
            of_an_app: 5_000,
            audit_age_ms: 400 * DAY_MS,
            audits: 200_000,
        }
    }
}

/// Whose entry a key names, and when it happened: `h/PROJECT/APP/TIME-…`, or `h/_audit/TIME-…`.
fn owner_and_time(key: &str) -> Option<(&str, Time)> {
    let (owner, rest) = key.rsplit_once('/')?;
    let time = rest.split('-').next()?.parse().ok()?;
    Some((owner, Time(time)))
}

/// Says which entries of history go now. `entries`: keys below [`keys::HISTORY`] with their values, in the order of
/// their keys, as a store hands them out. A key that cannot be read stays: nothing is removed that is not understood.
pub fn surplus<'a>(
    entries: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    now: Time,
    retention: &Retention,
) -> Vec<String> {
    let mut out = Vec::new();
    let mut owner = String::new();
    let mut held: Vec<(String, Time, u64)> = Vec::new();
    for (key, value) in entries {
        let Some((of, at)) = owner_and_time(key) else {
            continue;
        };
        if of != owner {
            of_one(&owner, &mut held, now, retention, &mut out);
            of.clone_into(&mut owner);
        }
        let rollout = if key.starts_with(keys::AUDIT) {
            0
        } else {
            serde_json::from_slice::<History>(value).map_or(0, |history| history.rollout)
        };
        held.push((key.to_owned(), at, rollout));
    }
    of_one(&owner, &mut held, now, retention, &mut out);
    out
}

fn of_one(
    owner: &str,
    held: &mut Vec<(String, Time, u64)>,
    now: Time,
    retention: &Retention,
    out: &mut Vec<String>,
) {
    let audit = format!("{owner}/") == keys::AUDIT;
    let mut newer_of: BTreeMap<u64, usize> = BTreeMap::new();
    // the newest first: what counts is how many newer ones there are
    for (newer, (key, at, rollout)) in held.drain(..).rev().enumerate() {
        let age = now.since_ms(at);
        let goes = if audit {
            age > retention.audit_age_ms || newer >= retention.audits
        } else {
            let of = newer_of.entry(rollout).or_default();
            *of += 1;
            newer >= retention.at_least && age > retention.age_ms
                || *of > retention.of_a_rollout
                || newer >= retention.of_an_app
        };
        if goes {
            out.push(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use base_store::Revision;
    use roadstead_model::AppKey;
    use roadstead_rollout::Event;

    use super::*;

    const NOW: Time = Time(1_795_000_000_000);

    fn line(app: &str, days: i64, nth: usize, rollout: u64) -> (String, Vec<u8>) {
        let at = Time(NOW.0 - days * 86_400_000);
        let app = AppKey::new("team", app);
        let history = History {
            rollout,
            event: Event::own(at, "StagePassed", "a stage passed"),
        };
        (
            keys::history(&app, at, Revision(1), nth),
            serde_json::to_vec(&history).unwrap(),
        )
    }

    fn check(mut lines: Vec<(String, Vec<u8>)>, retention: Retention) -> Vec<String> {
        lines.sort();
        let entries = lines.iter().map(|(k, v)| (k.as_str(), v.as_slice()));
        surplus(entries, NOW, &retention)
    }

    #[test]
    fn what_is_old_goes_but_each_app_keeps_its_newest() {
        let small = Retention {
            at_least: 2,
            ..Retention::default()
        };
        let lines = vec![
            line("a", 300, 0, 1),
            line("a", 200, 0, 1),
            line("a", 100, 0, 2),
            line("b", 400, 0, 1),
        ];
        assert_eq!(check(lines, small), [line("a", 300, 0, 1).0]);
    }

    #[test]
    fn one_loud_rollout_does_not_push_out_the_others() {
        let small = Retention {
            of_a_rollout: 3,
            ..Retention::default()
        };
        let mut lines = vec![line("a", 9, 0, 1), line("a", 1, 0, 0)];
        lines.extend((0..10).map(|nth| line("a", 5, nth, 2)));
        let gone = check(lines, small);
        let expected: Vec<String> = (0..7).rev().map(|nth| line("a", 5, nth, 2).0).collect();
        assert_eq!(gone, expected);
    }

    #[test]
    fn an_app_has_only_so_many() {
        let small = Retention {
            of_an_app: 4,
            ..Retention::default()
        };
        let lines = (0..6).map(|n| line("a", 6 - n, 0, n as u64)).collect();
        assert_eq!(
            check(lines, small),
            [line("a", 5, 0, 1).0, line("a", 6, 0, 0).0]
        );
    }

    #[test]
    fn audit_entries_have_a_retention_of_their_own() {
        let at = |days: i64| Time(NOW.0 - days * 86_400_000);
        let lines: Vec<(String, Vec<u8>)> = [500, 300, 20, 10]
            .map(|days| (keys::audit(at(days), 1), b"{}".to_vec()))
            .into();
        let gone = check(lines.clone(), Retention::default());
        assert_eq!(gone, [lines[0].0.clone()]);
        let few = Retention {
            audits: 1,
            ..Retention::default()
        };
        assert_eq!(check(lines, few).len(), 3);
    }

    #[test]
    fn what_cannot_be_read_stays() {
        let lines = vec![("h/strange".to_owned(), b"?".to_vec())];
        assert!(check(lines, Retention::default()).is_empty());
    }
}
