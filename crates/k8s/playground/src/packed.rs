//! A store that keeps its values compressed with one dictionary for all clusters.
//!
//! Objects of a fleet look alike: with a dictionary of typical objects a pod takes a tenth of its JSON. Values that
//! begin with anything but the mark are as they are: the shared image is stored once, so it stays plain.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::task::{Context, Poll};

use base_json::Digest;
use base_store::memory::{Image, Limits, MemoryStore};
use base_store::{
    At, Batch, BlobError, Change, Commit, CommitError, CommitId, Committed, Completion, Entry,
    Fence, Op, Page, Range, ReadError, Revision, Stats, Store, Watch, WatchError, WatchItem,
    WatchSource,
};
use bytes::Bytes;
use parking_lot::Mutex;
use zstd::bulk::{Compressor, Decompressor};

/// No JSON begins with it.
const MARK: u8 = 0;
/// The mark and the length.
const HEAD: usize = 5;

/// Compresses and takes apart; one for all clusters of a playground.
pub(crate) struct Packer {
    compress: Mutex<Compressor<'static>>,
    decompress: Mutex<Decompressor<'static>>,
    recent: Mutex<VecDeque<Unpacked>>,
    hot: Mutex<Hot>,
}

/// What was unpacked lately, of all clusters together: whoever starts lists what others have just listed.
#[derive(Default)]
struct Hot {
    /// By where the stored bytes lie, which are kept so that nothing else comes to lie there.
    values: BTreeMap<usize, (Bytes, Bytes)>,
    /// The same places, oldest first.
    order: VecDeque<usize>,
    bytes: usize,
}

impl Hot {
    /// How much is kept, in bytes.
    const KEPT: usize = 4 << 20;

    fn get(&self, stored: &Bytes) -> Option<Bytes> {
        let (known, plain) = self.values.get(&(stored.as_ptr() as usize))?;
        (known.len() == stored.len()).then(|| plain.clone())
    }

    fn put(&mut self, stored: &Bytes, plain: &Bytes) {
        let size = stored.len() + plain.len();
        if size > Self::KEPT / 16 {
            return;
        }
        let place = stored.as_ptr() as usize;
        if self.values.contains_key(&place) {
            return;
        }
        let pair = (stored.clone(), plain.clone());
        self.values.insert(place, pair);
        self.order.push_back(place);
        self.bytes += size;
        while self.bytes > Self::KEPT
            && let Some(oldest) = self.order.pop_front()
        {
            if let Some((stored, plain)) = self.values.remove(&oldest) {
                self.bytes -= stored.len() + plain.len();
            }
        }
    }
}

/// Changes as they are stored, and as the watches of a cluster see them.
struct Unpacked {
    stored: Arc<[Change]>,
    plain: Arc<[Change]>,
}

/// How many commits are kept unpacked, of all clusters together: as long as many watches take to see one.
const RECENT: usize = 32;
/// A commit with more than this is not kept, in bytes.
const LARGE: usize = 64 << 10;

impl Packer {
    /// Makes one from typical objects, the most typical last. `None` if the library cannot be set up.
    pub(crate) fn new(samples: &[u8]) -> Option<Self> {
        Some(Self {
            compress: Mutex::new(Compressor::with_dictionary(1, samples).ok()?),
            decompress: Mutex::new(Decompressor::with_dictionary(samples).ok()?),
            recent: Mutex::default(),
            hot: Mutex::default(),
        })
    }

    fn pack(&self, plain: &Bytes) -> Bytes {
        let Ok(length) = u32::try_from(plain.len()) else {
            return plain.clone();
        };
        let Ok(packed) = self.compress.lock().compress(plain) else {
            return plain.clone();
        };
        if packed.len() + HEAD >= plain.len() {
            return plain.clone();
        }
        let mut out = Vec::with_capacity(packed.len() + HEAD);
        out.push(MARK);
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&packed);
        out.into()
    }

    fn unpack(&self, stored: &Bytes) -> Bytes {
        let Some((&[MARK, a, b, c, d], packed)) = stored.split_first_chunk::<HEAD>() else {
            return stored.clone();
        };
        if let Some(plain) = self.hot.lock().get(stored) {
            return plain;
        }
        let length = usize::try_from(u32::from_le_bytes([a, b, c, d])).unwrap_or(0);
        let Ok(plain) = self.decompress.lock().decompress(packed, length) else {
            return stored.clone();
        };
        let plain = Bytes::from(plain);
        self.hot.lock().put(stored, &plain);
        plain
    }

    /// Unpacks changes; once, when many watches ask for the same.
    fn changes(&self, stored: &Arc<[Change]>) -> Arc<[Change]> {
        let same = |one: &&Unpacked| Arc::ptr_eq(&one.stored, stored);
        let known = |recent: &VecDeque<Unpacked>| {
            let found = recent.iter().rev().find(same);
            found.map(|one| Arc::clone(&one.plain))
        };
        if let Some(plain) = known(&self.recent.lock()) {
            return plain;
        }
        let unpack = |stored: &Option<Bytes>| stored.as_ref().map(|stored| self.unpack(stored));
        let plain: Arc<[Change]> = stored
            .iter()
            .map(|change| Change {
                old: unpack(&change.old),
                new: unpack(&change.new),
                ..change.clone()
            })
            .collect();
        let length = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
        let size: usize = plain
            .iter()
            .map(|change| length(&change.old) + length(&change.new))
            .sum();
        if size <= LARGE {
            let mut recent = self.recent.lock();
            if let Some(plain) = known(&recent) {
                return plain;
            }
            if recent.len() == RECENT {
                recent.pop_front();
            }
            recent.push_back(Unpacked {
                stored: Arc::clone(stored),
                plain: Arc::clone(&plain),
            });
        }
        plain
    }

    fn entry(&self, mut entry: Entry) -> Entry {
        entry.value = self.unpack(&entry.value);
        entry
    }
}

/// What a cluster keeps beside its present objects. A watch that resumes further back lists again, as it would have to
/// after five minutes anyway; in small clusters that costs little, and memory for thousands costs much.
const LIMITS: Limits = Limits {
    history_commits: 64,
    history_bytes: 32 << 10,
    outcomes: 4,
    watch_bytes: 1 << 20,
};

/// A fork of an image that keeps what differs compressed.
pub(crate) struct PackedStore {
    inner: MemoryStore,
    packer: Arc<Packer>,
}

impl PackedStore {
    pub(crate) fn fork(image: Arc<Image>, packer: Arc<Packer>) -> Self {
        Self {
            inner: MemoryStore::fork_with(image, LIMITS),
            packer,
        }
    }
}

impl Store for PackedStore {
    fn submit(&self, mut batch: Batch, done: Completion) {
        for op in &mut batch.ops {
            if let Op::Put { value, .. } = op {
                *value = self.packer.pack(value);
            }
        }
        self.inner.submit(batch, done);
    }

    fn outcome(&self, id: CommitId) -> Result<Option<Committed>, ReadError> {
        self.inner.outcome(id)
    }

    fn get(&self, key: &str, at: At) -> Result<Option<Entry>, ReadError> {
        let found = self.inner.get(key, at)?;
        Ok(found.map(|entry| self.packer.entry(entry)))
    }

    fn range(&self, range: &Range) -> Result<Page, ReadError> {
        let mut page = self.inner.range(range)?;
        for entry in &mut page.entries {
            entry.value = self.packer.unpack(&entry.value);
        }
        Ok(page)
    }

    fn watch(&self, prefix: &str, from: Revision) -> Result<Watch, WatchError> {
        let inner = self.inner.watch(prefix, from)?;
        let packer = Arc::clone(&self.packer);
        Ok(Watch::new(Unpacking { inner, packer }))
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
        self.inner.lease(name, holder, ttl_ms, now_ms)
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

struct Unpacking {
    inner: Watch,
    packer: Arc<Packer>,
}

impl WatchSource for Unpacking {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<WatchItem>> {
        self.inner.poll_next(cx).map(|item| {
            Some(match item? {
                WatchItem::Commit(Commit { changes, revision }) => {
                    let changes = self.packer.changes(&changes);
                    WatchItem::Commit(Commit { changes, revision })
                }
                other => other,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use base_store::Expect;

    use super::*;

    #[test]
    fn what_is_packed_comes_out_as_it_went_in() {
        let sample = br#"{"kind":"Pod","metadata":{"name":"a","namespace":"shop"}}"#;
        let packer = Arc::new(Packer::new(&sample.repeat(8)).expect("a packer"));
        let plain = Entry {
            key: "image".to_owned(),
            value: Bytes::from_static(b"{\"kind\":\"Node\"}"),
            created: Revision(2),
            modified: Revision(2),
        };
        let image = Image::new([plain.clone()], Revision(2));
        let store = PackedStore::fork(Arc::new(image), Arc::clone(&packer));
        let mut watch = store.watch("", store.revision()).expect("a watch");
        let long = Bytes::from(sample.repeat(20));
        for (number, value) in [long.clone(), Bytes::from_static(b"{}"), Bytes::new()]
            .into_iter()
            .enumerate()
        {
            let key = format!("key{number}");
            let put = Op::Put {
                key: key.clone(),
                value: value.clone(),
                expect: Expect::Absent,
            };
            let id = CommitId(u128::try_from(number).unwrap_or(0));
            store.commit(Batch::new(id, vec![put])).expect("a commit");
            let found = store.get(&key, At::Newest).expect("a read");
            assert_eq!(found.map(|entry| entry.value), Some(value.clone()));
            let Some(WatchItem::Commit(commit)) = watch.try_next() else {
                panic!("no commit");
            };
            assert_eq!(commit.changes[0].new, Some(value));
        }
        let found = store.get("image", At::Newest).expect("a read");
        assert_eq!(found, Some(plain));
        assert!(packer.pack(&long).len() * 10 < long.len());
    }

    #[test]
    fn what_was_unpacked_is_kept_within_bounds() {
        let packer = Packer::new(b"{\"kind\":\"Pod\"}").expect("a packer");
        let plain: Vec<Bytes> = (0..200_u32)
            .map(|n| format!("{{\"n\":{n},\"text\":{:?}}}", "x".repeat(50_000)).into())
            .collect();
        let stored: Vec<Bytes> = plain.iter().map(|one| packer.pack(one)).collect();
        for _ in 0..2 {
            for (stored, plain) in stored.iter().zip(&plain) {
                assert_eq!(packer.unpack(stored), *plain);
                assert_eq!(packer.unpack(stored), *plain);
            }
            let hot = packer.hot.lock();
            assert!(hot.bytes <= Hot::KEPT && hot.bytes > Hot::KEPT / 2);
            assert_eq!(hot.order.len(), hot.values.len());
            let sizes = hot.values.values().map(|(a, b)| a.len() + b.len());
            assert_eq!(sizes.sum::<usize>(), hot.bytes);
        }
    }
}
