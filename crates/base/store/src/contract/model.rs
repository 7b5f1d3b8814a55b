//! Random steps over a store, compared with a model that is too simple to be wrong.

use std::collections::BTreeMap;

use super::*;
use crate::ReadError;

/// One step, as bytes that any generator can make and shrink.
pub type Step = [u8; 6];

type Row = (String, Revision, Revision);
type Rows = BTreeMap<String, Row>;

struct Model {
    /// Every revision's state; the first is that of the empty store.
    states: Vec<Rows>,
    floor: u64,
    oldest: u64,
    commits: Vec<(CommitId, Committed)>,
    /// Every change, as watches show it, with the number of its commit.
    log: Vec<(usize, Revision, String, String)>,
}

struct Follower {
    watch: Watch,
    prefix: &'static str,
    from: Revision,
    seen: Vec<String>,
}

const PREFIXES: [&str; 4] = ["", "k", "k1", "m"];

fn key(byte: u8) -> String {
    let name = ["k", "m"][usize::from(byte >> 3 & 1)];
    format!("{name}{}", byte & 3)
}

impl Model {
    fn newest(&self) -> u64 {
        self.floor + self.states.len() as u64 - 1
    }

    fn at(&self, revision: u64) -> &Rows {
        &self.states[(revision - self.floor) as usize]
    }

    fn expect(&self, key: &str, byte: u8) -> Expect {
        match (byte & 7, self.at(self.newest()).get(key)) {
            (0..=3, _) | (4, None) => Expect::Any,
            (4, Some((_, _, modified))) => Expect::At(*modified),
            (5, _) => Expect::Absent,
            (6, Some((_, _, modified))) => Expect::At(Revision(modified.0 - 1)),
            _ => Expect::At(Revision(self.newest())),
        }
    }

    fn commit(&mut self, id: CommitId, ops: &[Op]) -> Result<Committed, CommitError> {
        let now = self.at(self.newest()).clone();
        for op in ops {
            let actual = now.get(op.key()).map(|row| row.2);
            let holds = match op.expect() {
                Expect::Any => true,
                Expect::Absent => actual.is_none(),
                Expect::At(revision) => actual == Some(revision),
            };
            if !holds {
                let key = op.key().to_owned();
                return Err(CommitError::Conflict { key, actual });
            }
        }
        let first = Revision(self.newest() + 1);
        let mut rows = now;
        for op in ops {
            let revision = Revision(self.newest() + 1);
            let key = op.key();
            let old = rows.get(key).cloned();
            let new = match op {
                Op::Put { value, .. } => Some(text(value)),
                Op::Delete { .. } => None,
                Op::Assert { .. } => continue,
            };
            if old.as_ref().map(|row| &row.0) == new.as_ref() {
                continue;
            }
            let side = |value: Option<&str>| value.unwrap_or("-").to_owned();
            let change = format!(
                "{revision} {key} {}>{}",
                side(old.as_ref().map(|row| &*row.0)),
                side(new.as_deref())
            );
            self.log
                .push((self.commits.len(), revision, key.to_owned(), change));
            let created = old.map_or(revision, |row| row.1);
            match new {
                Some(value) => rows.insert(key.to_owned(), (value, created, revision)),
                None => rows.remove(key),
            };
            self.states.push(rows.clone());
        }
        let last = Revision(self.newest());
        let made = Committed { first, last };
        if last >= first {
            self.commits.push((id, made));
        }
        Ok(made)
    }

    fn page(&self, range: &Range) -> Result<Page, ReadError> {
        let (oldest, newest) = (Revision(self.oldest), Revision(self.newest()));
        let revision = match range.at {
            At::Newest => newest,
            At::Revision(asked) if asked < oldest => {
                return Err(ReadError::Compacted { asked, oldest });
            }
            At::Revision(asked) if asked > newest => {
                return Err(ReadError::Future { asked, newest });
            }
            At::Revision(asked) => asked,
        };
        let mut entries: Vec<Entry> = self
            .at(revision.0)
            .iter()
            .filter(|(key, _)| key.starts_with(&range.prefix))
            .filter(|(key, _)| range.after.as_ref().is_none_or(|after| *key > after))
            .map(|(key, (value, created, modified))| Entry {
                key: key.clone(),
                value: Bytes::copy_from_slice(value.as_bytes()),
                created: *created,
                modified: *modified,
            })
            .collect();
        let limit = if range.limit == 0 {
            entries.len()
        } else {
            range.limit
        };
        let remaining = entries.len().saturating_sub(limit);
        entries.truncate(limit);
        Ok(Page {
            entries,
            revision,
            remaining,
        })
    }

    /// What a watch that began behind `from` has been shown by now.
    fn watched(&self, prefix: &str, from: Revision) -> Vec<String> {
        let shown = self
            .log
            .iter()
            .filter(|(_, revision, key, _)| *revision > from && key.starts_with(prefix));
        let mut commits: BTreeMap<usize, Vec<&str>> = BTreeMap::new();
        for (commit, _, _, change) in shown {
            commits.entry(*commit).or_default().push(change);
        }
        commits.values().map(|changes| changes.join("; ")).collect()
    }
}

/// Runs steps over a store and a model, and compares all that can be seen.
pub fn check(harness: &mut dyn Harness, steps: &[Step]) {
    let floor = harness.store().revision().0;
    let mut model = Model {
        states: vec![Rows::new()],
        floor,
        oldest: floor,
        commits: Vec::new(),
        log: Vec::new(),
    };
    let mut followers: Vec<Follower> = Vec::new();
    for step in steps {
        match step[0] % 16 {
            0..=8 => commit_step(harness, &mut model, step),
            9..=11 => read_step(harness, &model, step),
            12 => follow_step(harness, &model, &mut followers, step),
            13 => {
                follow(&mut followers, &model);
            }
            14 => {
                let to = revision(&model, step[1]);
                let compacted = harness.store().compact(to);
                assert_eq!(compacted.is_ok(), to.0 <= model.newest(), "{compacted:?}");
                if compacted.is_ok() {
                    model.oldest = model.oldest.max(to.0);
                }
            }
            _ => {
                follow(&mut followers, &model);
                followers.clear();
                if step[1] & 1 == 0 {
                    harness.reopen();
                } else {
                    harness.crash();
                }
            }
        }
    }
    follow(&mut followers, &model);
    for at in model.oldest..=model.newest() {
        let range = everything("", At::Revision(Revision(at)));
        assert_eq!(harness.store().range(&range), model.page(&range));
    }
    for (id, made) in &model.commits {
        assert_eq!(harness.store().outcome(*id), Ok(Some(*made)));
    }
    let stats = harness.store().stats().expect("readable");
    let rows = model.at(model.newest());
    assert_eq!(stats.keys, rows.len() as u64);
    assert_eq!(
        stats.bytes,
        rows.values().map(|row| row.0.len() as u64).sum::<u64>()
    );
    assert_eq!(
        (stats.revision.0, stats.oldest.0),
        (model.newest(), model.oldest)
    );
}

/// A revision from a little before the oldest to a little after the newest.
fn revision(model: &Model, byte: u8) -> Revision {
    let span = model.newest() - model.oldest + 4;
    Revision((model.oldest + u64::from(byte) % span).saturating_sub(2))
}

fn commit_step(harness: &dyn Harness, model: &mut Model, step: &Step) {
    let mut ops: Vec<Op> = Vec::new();
    for (n, byte) in step[1..=usize::from(step[0] >> 4) % 3 + 1]
        .iter()
        .enumerate()
    {
        let key = key(*byte);
        if ops.iter().any(|op| op.key() == key) {
            continue;
        }
        let expect = model.expect(&key, step[5].rotate_left(n as u32 * 3));
        ops.push(match byte >> 4 & 3 {
            0 => delete_if(&key, expect),
            1 if n > 0 => assert_that(&key, expect),
            _ => put_if(&key, &"v".repeat(usize::from(byte >> 6) + 1), expect),
        });
    }
    let id = next_id();
    let made = harness.store().commit(Batch::new(id, ops.clone()));
    assert_eq!(made, model.commit(id, &ops), "{ops:?}");
}

fn read_step(harness: &dyn Harness, model: &Model, step: &Step) {
    let at = if step[1] & 1 == 0 {
        At::Newest
    } else {
        At::Revision(revision(model, step[2]))
    };
    let range = Range {
        prefix: PREFIXES[usize::from(step[3] & 3)].to_owned(),
        after: (step[3] & 4 != 0).then(|| key(step[4])),
        limit: usize::from(step[5] % 4),
        at,
    };
    let store = harness.store();
    assert_eq!(store.range(&range), model.page(&range), "{range:?}");
    let key = key(step[4]);
    let one = Range {
        prefix: key.clone(),
        after: None,
        limit: 0,
        at,
    };
    let expected = model.page(&one).map(|mut page| page.entries.pop());
    assert_eq!(store.get(&key, at), expected, "{key} {at:?}");
}

fn follow_step(harness: &dyn Harness, model: &Model, followers: &mut Vec<Follower>, step: &Step) {
    let prefix = PREFIXES[usize::from(step[1] & 3)];
    let from = revision(model, step[2]);
    match harness.store().watch(prefix, from) {
        Ok(watch) => followers.push(Follower {
            watch,
            prefix,
            from,
            seen: Vec::new(),
        }),
        Err(error) => {
            let range = everything("", At::Revision(from));
            assert_eq!(Err(error), model.page(&range));
        }
    }
}

fn follow(followers: &mut [Follower], model: &Model) {
    for follower in followers {
        let mut told = follower.from;
        while let Some(item) = follower.watch.try_next() {
            match item {
                WatchItem::Commit(commit) => {
                    let changes: Vec<String> = commit.changes.iter().map(shown).collect();
                    follower.seen.push(changes.join("; "));
                    told = commit.revision;
                }
                WatchItem::Progress(revision) => {
                    assert!(revision > told);
                    assert_eq!(revision.0, model.newest());
                }
                WatchItem::Compacted(_) => panic!("so little does not overflow"),
            }
        }
        let expected = model.watched(follower.prefix, follower.from);
        assert_eq!(
            follower.seen, expected,
            "{:?} from {}",
            follower.prefix, follower.from
        );
    }
}
