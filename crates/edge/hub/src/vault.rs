//! The hub's store as all its parts see it: values that nobody may read from the disk are sealed on the way in and opened
//! on the way out, and whether it can be written is noted.

use std::sync::Arc;
use std::task::{Context, Poll, ready};

use base_json::Digest;
use base_store::{
    At, Batch, BlobError, Change, Commit, CommitError, CommitId, Committed, Completion, Entry,
    Expect, Fence, Op, Page, Range, ReadError, Revision, Stats, Store, Watch, WatchError,
    WatchItem, WatchSource,
};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::HubError;
use crate::clock::commit_id;
use crate::health::Health;
use crate::seal::{Derivation, SealError, Secret, ValueSeal};

/// Where it is written how the sealing key is made.
const SEAL: &str = "s/seal";
/// What is sealed to recognise the right secret by.
const CHECK: &[u8] = b"the right secret opens this";
/// How the keys of values begin that are sealed: the hub's own keys, and what users keep in Secrets.
const SEALED: &[&str] = &["s/ca", "s/order-key", "s/seed", "n/core/secrets/"];

fn is_secret(key: &str) -> bool {
    SEALED.iter().any(|prefix| key.starts_with(prefix))
}

#[derive(Serialize, Deserialize)]
struct StoredSeal {
    key: Derivation,
    check: Vec<u8>,
}

/// The hub's store.
pub(crate) struct Vault {
    inner: Arc<dyn Store>,
    seal: Option<Arc<ValueSeal>>,
    health: Arc<Health>,
}

impl Vault {
    /// Opens the store behind the secret that it is sealed with. A store that is not sealed yet is sealed with it, and
    /// returns true: what stood there open is still in freed pages of the file until it is [cleaned](clean).
    pub(crate) fn open(
        inner: Arc<dyn Store>,
        secret: Option<&Secret>,
        health: Arc<Health>,
    ) -> Result<(Self, bool), HubError> {
        let stored = match inner.get(SEAL, At::Newest)? {
            None => None,
            Some(entry) => Some(serde_json::from_slice::<StoredSeal>(&entry.value).map_err(
                |error| HubError::Damaged {
                    key: SEAL.to_owned(),
                    problem: error.to_string(),
                },
            )?),
        };
        let mut fresh = false;
        let seal = match (stored, secret) {
            (None, None) => None,
            (Some(_), None) => return Err(HubError::Sealed),
            (Some(stored), Some(secret)) => {
                let seal = ValueSeal::new(secret, &stored.key).map_err(HubError::Unseal)?;
                match seal.open(SEAL, &stored.check) {
                    Ok(check) if check == CHECK => Some(seal),
                    _ => return Err(HubError::Unseal(SealError::WrongSecret)),
                }
            }
            (None, Some(secret)) => {
                fresh = true;
                let key = Derivation::new();
                let seal = ValueSeal::new(secret, &key).map_err(HubError::Unseal)?;
                seal_all(&*inner, &seal, key)?;
                Some(seal)
            }
        };
        let vault = Self {
            inner,
            seal: seal.map(Arc::new),
            health,
        };
        Ok((vault, fresh))
    }

    /// Is what is secret sealed?
    pub(crate) fn is_sealed(&self) -> bool {
        self.seal.is_some()
    }

    fn close(&self, op: Op) -> Op {
        match (op, &self.seal) {
            (Op::Put { key, value, expect }, Some(seal)) if is_secret(&key) => Op::Put {
                value: Bytes::from(seal.seal(&key, &value)),
                key,
                expect,
            },
            (op, _) => op,
        }
    }
}

/// Seals what stands open in a store, in one commit with the record that says how.
fn seal_all(store: &dyn Store, seal: &ValueSeal, key: Derivation) -> Result<(), HubError> {
    let record = StoredSeal {
        key,
        check: seal.seal(SEAL, CHECK),
    };
    let mut ops = vec![Op::Put {
        key: SEAL.to_owned(),
        value: Bytes::from(serde_json::to_vec(&record).unwrap_or_default()),
        expect: Expect::Absent,
    }];
    for prefix in SEALED {
        let range = Range {
            prefix: (*prefix).to_owned(),
            after: None,
            limit: 0,
            at: At::Newest,
        };
        ops.extend(
            store
                .range(&range)?
                .entries
                .into_iter()
                .map(|entry| Op::Put {
                    value: Bytes::from(seal.seal(&entry.key, &entry.value)),
                    expect: Expect::At(entry.modified),
                    key: entry.key,
                }),
        );
    }
    store.commit(Batch::new(CommitId(commit_id()), ops))?;
    tracing::info!("sealed the hub's keys and its Secrets");
    Ok(())
}

fn open_value(seal: Option<&ValueSeal>, key: &str, value: Bytes) -> Result<Bytes, ReadError> {
    if !is_secret(key) || !ValueSeal::is_sealed(&value) {
        return Ok(value);
    }
    let failed = |cause: &SealError| ReadError::Failed {
        cause: format!("record {key}: {cause}"),
    };
    let seal = seal.ok_or_else(|| failed(&SealError::WrongSecret))?;
    seal.open(key, &value)
        .map(Bytes::from)
        .map_err(|cause| failed(&cause))
}

impl Store for Vault {
    fn submit(&self, mut batch: Batch, done: Completion) {
        if self.seal.is_some() && batch.ops.iter().any(|op| is_secret(op.key())) {
            batch.ops = std::mem::take(&mut batch.ops)
                .into_iter()
                .map(|op| self.close(op))
                .collect();
        }
        let health = Arc::clone(&self.health);
        self.inner.submit(
            batch,
            Box::new(move |outcome| {
                health.wrote(&outcome);
                done(outcome);
            }),
        );
    }

    fn outcome(&self, id: CommitId) -> Result<Option<Committed>, ReadError> {
        self.inner.outcome(id)
    }

    fn get(&self, key: &str, at: At) -> Result<Option<Entry>, ReadError> {
        let Some(mut entry) = self.inner.get(key, at)? else {
            return Ok(None);
        };
        entry.value = open_value(self.seal.as_deref(), key, entry.value)?;
        Ok(Some(entry))
    }

    fn range(&self, range: &Range) -> Result<Page, ReadError> {
        let mut page = self.inner.range(range)?;
        for entry in &mut page.entries {
            if is_secret(&entry.key) {
                let value = std::mem::take(&mut entry.value);
                entry.value = open_value(self.seal.as_deref(), &entry.key, value)?;
            }
        }
        Ok(page)
    }

    fn watch(&self, prefix: &str, from: Revision) -> Result<Watch, WatchError> {
        let watch = self.inner.watch(prefix, from)?;
        Ok(match &self.seal {
            None => watch,
            Some(seal) => Watch::new(Opened {
                watch,
                seal: Arc::clone(seal),
            }),
        })
    }

    fn revision(&self) -> Revision {
        self.inner.revision()
    }

    fn compact(&self, to: Revision) -> Result<(), CommitError> {
        self.inner.compact(to)
    }

    fn lease(
        &self,
        name: &str,
        holder: &str,
        ttl_ms: u64,
        now_ms: u64,
    ) -> Result<Option<Fence>, CommitError> {
        let outcome = self.inner.lease(name, holder, ttl_ms, now_ms);
        self.health.wrote(&outcome);
        outcome
    }

    fn put_blobs(&self, blobs: &[(Digest, Bytes)]) -> Result<(), BlobError> {
        self.inner.put_blobs(blobs)
    }

    fn get_blob(&self, digest: &Digest) -> Result<Option<Bytes>, BlobError> {
        self.inner.get_blob(digest)
    }

    fn missing_blobs(&self, digests: &[Digest]) -> Result<Vec<Digest>, BlobError> {
        self.inner.missing_blobs(digests)
    }

    fn sweep_blobs(
        &self,
        before_ms: u64,
        keep: &dyn Fn(&Digest) -> bool,
    ) -> Result<u64, BlobError> {
        self.inner.sweep_blobs(before_ms, keep)
    }

    fn stats(&self) -> Result<Stats, ReadError> {
        self.inner.stats()
    }
}

/// A watch whose values are opened.
struct Opened {
    watch: Watch,
    seal: Arc<ValueSeal>,
}

impl Opened {
    fn open(&self, key: &str, value: Option<Bytes>) -> Option<Bytes> {
        let value = value?;
        match open_value(Some(&self.seal), key, value) {
            Ok(value) => Some(value),
            Err(error) => {
                // an unreadable value is no absence: whoever reads it says that it is damaged
                tracing::error!(%error, "a sealed record cannot be opened");
                Some(Bytes::new())
            }
        }
    }
}

impl WatchSource for Opened {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<WatchItem>> {
        let item = ready!(self.watch.poll_next(cx));
        Poll::Ready(item.map(|item| match item {
            WatchItem::Commit(commit) if commit.changes.iter().any(|c| is_secret(&c.key)) => {
                let changes = commit.changes.iter().map(|change| Change {
                    old: self.open(&change.key, change.old.clone()),
                    new: self.open(&change.key, change.new.clone()),
                    ..change.clone()
                });
                WatchItem::Commit(Commit {
                    changes: changes.collect(),
                    revision: commit.revision,
                })
            }
            item => item,
        }))
    }
}

#[cfg(test)]
mod tests {
    use base_store::memory::MemoryStore;

    use super::*;

    fn put(key: &str, value: &str) -> Op {
        Op::Put {
            key: key.to_owned(),
            value: Bytes::copy_from_slice(value.as_bytes()),
            expect: Expect::Any,
        }
    }

    fn commit(store: &dyn Store, ops: Vec<Op>) {
        let done = store.commit(Batch::new(CommitId(commit_id()), ops));
        done.expect("committed");
    }

    fn value(store: &dyn Store, key: &str) -> Vec<u8> {
        let entry = store.get(key, At::Newest).expect("read").expect("there");
        entry.value.to_vec()
    }

    #[test]
    fn what_is_secret_is_sealed_below_and_open_above() {
        let inner: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let open = |secret: Option<&str>| {
            let secret = secret.map(|text| Secret::new(text.as_bytes()).expect("long enough"));
            Vault::open(Arc::clone(&inner), secret.as_ref(), Arc::default())
        };
        let (plain, fresh) = open(None).expect("opened");
        assert!(!fresh && !plain.is_sealed());
        let key = "n/core/secrets/default/git";
        commit(
            &plain,
            vec![
                put("s/ca", "the key"),
                put(key, "hunter2"),
                put("d/x", "open"),
            ],
        );

        let (vault, fresh) = open(Some("correct horse battery")).expect("opened");
        assert!(fresh && vault.is_sealed());
        let from = vault.revision();
        let mut watch = vault.watch("n/", from).expect("watched");
        commit(&vault, vec![put(key, "hunter3")]);
        for (key, open) in [("s/ca", "the key"), (key, "hunter3")] {
            assert!(ValueSeal::is_sealed(&value(&*inner, key)), "{key}");
            assert_eq!(value(&vault, key), open.as_bytes());
        }
        assert_eq!(value(&*inner, "d/x"), b"open");
        let Some(WatchItem::Commit(seen)) = watch.try_next() else {
            panic!("nothing is seen");
        };
        assert_eq!(seen.changes[0].old.as_deref(), Some(b"hunter2".as_slice()));
        assert_eq!(seen.changes[0].new.as_deref(), Some(b"hunter3".as_slice()));
        let range = Range {
            prefix: "n/".to_owned(),
            after: None,
            limit: 0,
            at: At::Newest,
        };
        let page = vault.range(&range).expect("a page");
        assert_eq!(page.entries[0].value, b"hunter3".as_slice());

        let (again, fresh) = open(Some("correct horse battery")).expect("opened");
        assert!(!fresh);
        assert_eq!(value(&again, "s/ca"), b"the key");
        let told = |secret| open(secret).err().expect("refused").to_string();
        assert!(told(None).contains("--seal-key-file"));
        assert!(told(Some("another horse altogether")).contains("unseal"));
    }
}
