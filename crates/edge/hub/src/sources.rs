//! Polls Sources: one clone a URL, a few polls at a time, each Source on its own clock.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use base_store::{Batch, CommitId, Expect, Op, Store};
use bytes::Bytes;
use parking_lot::Mutex;
use roadstead_control::{Head, HeadInput, Index, keys};
use roadstead_model::{Key, Time};
use roadstead_source::{
    Auth, GitRequest, Poll, Reference, Snapshot, SourceError, Sources, SshKey, poll_delay,
};
use tokio::sync::{Notify, Semaphore};

use crate::brain::{Brain, Input};
use crate::clock::{commit_id, now, random};
use crate::events::{Notices, about};
use crate::metrics::Metrics;
use crate::tasks::Task;

/// How many polls run at once: those that hang must leave room for the others.
const AT_ONCE: usize = 16;
/// How long one poll may take, a first clone included.
const PATIENCE: Duration = Duration::from_secs(120);

/// What to ask of which repository, and what Apps read of it.
#[derive(Clone)]
pub(crate) struct Wanted {
    pub(crate) key: Key,
    pub(crate) request: GitRequest,
    pub(crate) origin: String,
    pub(crate) interval: Duration,
    pub(crate) suspended: bool,
    pub(crate) secret: String,
    pub(crate) paths: BTreeSet<String>,
    pub(crate) head: Option<Head>,
    pub(crate) allowed: bool,
}

/// What a Source asks for; `None` if there is no such Source.
pub(crate) fn request_of(index: &Index, key: &Key) -> Option<Wanted> {
    let (_, source) = index.sources().find(|(found, _)| *found == key)?;
    let git = &source.spec.git;
    let reference = match (&git.branch, &git.tag, &git.commit) {
        (branch, _, _) if !branch.is_empty() => Reference::Branch(branch.clone()),
        (_, tag, _) if !tag.is_empty() => Reference::Tag(tag.clone()),
        (_, _, commit) if !commit.is_empty() => Reference::Commit(commit.clone()),
        _ => Reference::DefaultBranch,
    };
    let mut request = GitRequest::new(git.url.clone());
    request.reference = reference;
    request.timeout = PATIENCE;
    request.ca_bundle = (!git.ca_bundle.is_empty()).then(|| git.ca_bundle.clone().into_bytes());
    Some(Wanted {
        key: key.clone(),
        request,
        origin: roadstead_control::origin(source),
        interval: Duration::from_millis(source.spec.interval.0),
        suspended: source.spec.suspend,
        secret: git.secret.clone(),
        paths: index.paths_of(key),
        head: index.head(key).cloned(),
        allowed: index.may_read(&key.project, &git.url),
    })
}

/// Reads a Secret, by its Project and name, as credentials.
type Secrets = Box<dyn Fn(&str, &str) -> Result<Auth, String> + Send + Sync>;

/// Reads repositories, and keeps what was read last.
pub(crate) struct Reader {
    sources: Sources,
    snapshots: Mutex<BTreeMap<(String, String), Snapshot>>,
    secrets: Secrets,
}

impl Reader {
    pub(crate) fn new(
        sources: Sources,
        secrets: impl Fn(&str, &str) -> Result<Auth, String> + Send + Sync + 'static,
    ) -> Self {
        Self {
            sources,
            snapshots: Mutex::default(),
            secrets: Box::new(secrets),
        }
    }

    fn request(&self, wanted: &Wanted) -> Result<GitRequest, String> {
        let mut request = wanted.request.clone();
        if !wanted.secret.is_empty() {
            request.auth = (self.secrets)(&wanted.key.project, &wanted.secret)?;
        }
        Ok(request)
    }

    /// The files at or below a path of a commit.
    pub(crate) fn files(
        &self,
        wanted: &Wanted,
        commit: &str,
        path: &str,
    ) -> Result<BTreeMap<String, Bytes>, String> {
        let snapshot = self.snapshot(wanted, commit)?;
        let input = snapshot.input(path).map_err(|error| tell(&error))?;
        input.load().map_err(|error| tell(&error))
    }

    /// Reads a path of a commit, a branch or a tag: the commit, the digest of the files, and the files.
    pub(crate) fn at(
        &self,
        wanted: &Wanted,
        revision: &str,
        path: &str,
    ) -> Result<(String, base_json::Digest, BTreeMap<String, Bytes>), String> {
        let snapshot = self.revision(wanted, revision)?;
        let input = snapshot.input(path).map_err(|error| tell(&error))?;
        let files = input.load().map_err(|error| tell(&error))?;
        Ok((snapshot.commit.clone(), input.digest, files))
    }

    fn revision(&self, wanted: &Wanted, revision: &str) -> Result<Snapshot, String> {
        let whole = revision.len() == 40 && revision.bytes().all(|b| b.is_ascii_hexdigit());
        if whole {
            return self.snapshot(wanted, revision);
        }
        let mut request = self.request(wanted)?;
        let mut problem = String::new();
        for reference in [
            Reference::Branch(revision.to_owned()),
            Reference::Tag(revision.to_owned()),
        ] {
            request.reference = reference;
            match self.sources.poll(&request, None, &AtomicBool::new(false)) {
                Ok(Poll::Changed(snapshot)) => {
                    self.keep(&wanted.request.url, &snapshot);
                    return Ok(snapshot);
                }
                Ok(Poll::Unchanged { .. }) => {}
                // the branches that there are help more than the tags
                Err(error @ SourceError::UnknownReference { .. }) if problem.is_empty() => {
                    problem = tell(&error);
                }
                Err(SourceError::UnknownReference { .. }) => {}
                Err(error) => return Err(tell(&error)),
            }
        }
        Err(format!(
            "{revision:?} is no branch, no tag and no whole commit id: {problem}"
        ))
    }

    fn snapshot(&self, wanted: &Wanted, commit: &str) -> Result<Snapshot, String> {
        let key = (wanted.request.url.clone(), commit.to_owned());
        if let Some(known) = self.snapshots.lock().get(&key) {
            return Ok(known.clone());
        }
        let mut request = self.request(wanted)?;
        request.reference = Reference::Commit(commit.to_owned());
        match self
            .sources
            .poll(&request, None, &AtomicBool::new(false))
            .map_err(|error| tell(&error))?
        {
            Poll::Changed(snapshot) => {
                self.keep(&key.0, &snapshot);
                Ok(snapshot)
            }
            Poll::Unchanged { .. } => Err(format!("commit {commit} could not be read")),
        }
    }

    fn keep(&self, url: &str, snapshot: &Snapshot) {
        let mut kept = self.snapshots.lock();
        if kept.len() > 256 {
            kept.clear();
        }
        kept.insert((url.to_owned(), snapshot.commit.clone()), snapshot.clone());
    }

    /// Polls once; the head to write if it changed.
    fn poll(&self, wanted: &Wanted) -> Result<Option<Head>, String> {
        let request = self.request(wanted)?;
        let known = wanted.head.as_ref().filter(|head| {
            head.origin == wanted.origin
                && wanted
                    .paths
                    .iter()
                    .all(|path| head.inputs.contains_key(path))
        });
        let last = known.map(|head| head.commit.as_str());
        let found = self
            .sources
            .poll(&request, last, &AtomicBool::new(false))
            .map_err(|error| tell(&error))?;
        let Poll::Changed(snapshot) = found else {
            return Ok(None);
        };
        for warning in &snapshot.warnings {
            tracing::warn!(source = %wanted.key, %warning, "read with a warning");
        }
        self.keep(&wanted.request.url, &snapshot);
        let inputs = wanted.paths.iter().map(|path| {
            let input = match snapshot.input(path) {
                Ok(input) => HeadInput::Digest(input.digest),
                Err(error) => HeadInput::Error(tell(&error)),
            };
            (path.clone(), input)
        });
        Ok(Some(Head {
            commit: snapshot.commit.clone(),
            author: snapshot.author.name.clone(),
            message: snapshot.title.clone(),
            committed_at: Time(snapshot.committed_at.saturating_mul(1000)),
            fetched_at: now(),
            origin: wanted.origin.clone(),
            inputs: inputs.collect(),
        }))
    }
}

/// An error with its causes and its hint, in one text.
fn tell(error: &SourceError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(next) = cause {
        text.push_str(": ");
        text.push_str(&next.to_string());
        cause = next.source();
    }
    if let Some(hint) = error.hint() {
        text.push_str(" (");
        text.push_str(&hint);
        text.push(')');
    }
    text
}

/// Polls every Source when it is due, or when somebody asks.
pub(crate) struct Poller {
    pub(crate) reader: Arc<Reader>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) brain: Brain,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) asked: Arc<Asked>,
    pub(crate) task: Arc<Task>,
    pub(crate) notices: Notices,
}

/// Sources that somebody asked to be polled now.
#[derive(Default)]
pub(crate) struct Asked {
    keys: Mutex<BTreeSet<Key>>,
    wake: Notify,
}

impl Asked {
    /// Asks for polls.
    pub(crate) fn ask(&self, keys: impl IntoIterator<Item = Key>) {
        self.keys.lock().extend(keys);
        self.wake.notify_one();
    }
}

struct Turn {
    due: Instant,
    failures: u32,
    busy: bool,
    again: bool,
}

impl Poller {
    /// Polls until the hub ends.
    pub(crate) async fn run(self) {
        let this = Arc::new(self);
        let room = Arc::new(Semaphore::new(AT_ONCE));
        let turns: Arc<Mutex<BTreeMap<Key, Turn>>> = Arc::default();
        loop {
            let known = this
                .brain
                .ask(|index, _| {
                    index
                        .sources()
                        .map(|(key, _)| key.clone())
                        .collect::<BTreeSet<Key>>()
                })
                .await;
            let Some(known) = known else { return };
            let start = Instant::now();
            let asked = std::mem::take(&mut *this.asked.keys.lock());
            let mut next = start + Duration::from_secs(5);
            let mut go = Vec::new();
            {
                let mut turns = turns.lock();
                turns.retain(|key, turn| known.contains(key) || turn.busy);
                for key in known {
                    let turn = turns.entry(key.clone()).or_insert(Turn {
                        due: start,
                        failures: 0,
                        busy: false,
                        again: false,
                    });
                    if asked.contains(&key) {
                        turn.due = start;
                        turn.again = turn.busy;
                    }
                    if turn.busy {
                        continue;
                    }
                    if turn.due <= start {
                        turn.busy = true;
                        go.push(key);
                    } else {
                        next = next.min(turn.due);
                    }
                }
            }
            for key in go {
                let (this, room, turns) =
                    (Arc::clone(&this), Arc::clone(&room), Arc::clone(&turns));
                tokio::spawn(async move {
                    let Ok(_place) = room.acquire_owned().await else {
                        return;
                    };
                    let outcome = this.once(&key).await;
                    let mut turns = turns.lock();
                    if let Some(turn) = turns.get_mut(&key) {
                        turn.busy = false;
                        turn.failures = if outcome.is_ok() {
                            0
                        } else {
                            turn.failures.saturating_add(1)
                        };
                        let mut seed = [0; 8];
                        random(&mut seed);
                        let interval = match outcome {
                            Ok(interval) | Err(interval) => interval,
                        };
                        let wait = poll_delay(interval, turn.failures, u64::from_le_bytes(seed));
                        turn.due = if std::mem::take(&mut turn.again) {
                            Instant::now()
                        } else {
                            Instant::now() + wait
                        };
                    }
                    this.asked.wake.notify_one();
                });
            }
            let _ = tokio::time::timeout(
                next.saturating_duration_since(Instant::now()),
                this.asked.wake.notified(),
            )
            .await;
        }
    }

    /// Polls one Source; its interval, in `Err` if the poll failed.
    async fn once(self: &Arc<Self>, key: &Key) -> Result<Duration, Duration> {
        let asked = key.clone();
        let Some(Some(wanted)) = self
            .brain
            .ask(move |index, _| request_of(index, &asked))
            .await
        else {
            return Ok(Duration::from_secs(60));
        };
        let interval = wanted.interval;
        if wanted.suspended || !wanted.allowed {
            return Ok(interval);
        }
        self.metrics.polls.inc();
        let run = self.task.begin();
        let this = Arc::clone(self);
        let polled = tokio::task::spawn_blocking(move || {
            let started = Instant::now();
            let head = this.reader.poll(&wanted)?;
            if let Some(head) = head {
                // a head is written whole; a newer one simply follows
                let value = Bytes::from(serde_json::to_vec(&head).unwrap_or_default());
                let op = Op::Put {
                    key: keys::head(&wanted.key),
                    value,
                    expect: Expect::Any,
                };
                this.store
                    .commit(Batch::new(CommitId(commit_id()), vec![op]))
                    .map_err(|error| error.to_string())?;
                tracing::info!(source = %wanted.key, commit = %head.commit, "new commit");
            }
            this.metrics
                .poll_seconds
                .observe(started.elapsed().as_secs_f64());
            Ok::<(), String>(())
        })
        .await
        .unwrap_or_else(|_| Err("the poll ended by a bug; see the hub's log".to_owned()));
        let problem = polled.as_ref().err().cloned();
        if let Some(problem) = &problem {
            self.metrics.poll_errors.inc();
            tracing::warn!(source = %key, %problem, "failed to read a Source");
            let told = (true, "ReadFailed", problem.as_str());
            self.notices
                .tell(about("Source", "sources", (&key.project, &key.name), told));
        }
        run.ended(match &problem {
            None => Ok(format!("{key} was read")),
            Some(problem) => Err(format!("{key}: {problem}")),
        });
        let (brain, key) = (self.brain.clone(), key.clone());
        let _ = tokio::task::spawn_blocking(move || brain.send(Input::Polled(key, problem))).await;
        if polled.is_ok() {
            Ok(interval)
        } else {
            Err(interval)
        }
    }
}

/// Reads a Secret's data as credentials.
pub(crate) fn auth_of(data: &BTreeMap<String, String>) -> Result<Auth, String> {
    let get = |key: &str| data.get(key).filter(|value| !value.is_empty());
    if let Some(key) = get("sshPrivateKey") {
        return Ok(Auth::Ssh {
            key: SshKey::Inline(key.clone()),
            known_hosts: get("knownHosts").cloned(),
        });
    }
    if let Some(token) = get("token") {
        return Ok(Auth::Token(token.clone()));
    }
    match (get("username"), get("password")) {
        (Some(user), Some(password)) => Ok(Auth::Basic {
            user: user.clone(),
            password: password.clone(),
        }),
        _ => Err("it needs `username` and `password`, `token`, or `sshPrivateKey`".to_owned()),
    }
}
