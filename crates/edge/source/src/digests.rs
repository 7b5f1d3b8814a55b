//! Which Git object has which content digest: a cache in memory and in an append-only file.

use std::collections::HashMap;
use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Mutex;

use base_json::Digest;
use gix::ObjectId;

use crate::guard::lock;

/// One record: object id, digest, size, and the first bytes of the digest over the three.
const RECORD: usize = 20 + 32 + 8 + 8;

/// Entries after which the cache starts anew, so that it stays below a few dozen megabytes.
const MOST: usize = 500_000;

/// What is known of one blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) digest: Digest,
    pub(crate) size: u64,
}

/// The digests of one repository's blobs. Repositories do not share them: whoever makes two blobs with one SHA-1 can
/// then fool only himself.
#[derive(Debug)]
pub(crate) struct Digests {
    file: PathBuf,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    known: HashMap<ObjectId, Known>,
    unsaved: Vec<u8>,
}

impl Digests {
    /// Reads the file; records that are torn or damaged are left out.
    pub(crate) fn open(file: PathBuf) -> Self {
        let bytes = fs::read(&file).unwrap_or_default();
        let mut known = HashMap::new();
        for record in bytes.chunks_exact(RECORD) {
            if let Some((id, entry)) = decode(record) {
                known.insert(id, entry);
            }
        }
        let digests = Self {
            file,
            inner: Mutex::new(Inner {
                known,
                unsaved: Vec::new(),
            }),
        };
        // An append after a torn record would shift every later one.
        if !bytes.len().is_multiple_of(RECORD) {
            digests.rewrite();
        }
        digests
    }

    pub(crate) fn get(&self, id: &ObjectId) -> Option<Known> {
        lock(&self.inner).known.get(id).copied()
    }

    pub(crate) fn put(&self, id: ObjectId, known: Known) {
        let mut inner = lock(&self.inner);
        if inner.known.insert(id, known) != Some(known) {
            let record = encode(&id, &known);
            inner.unsaved.extend_from_slice(&record);
        }
    }

    /// Appends what is new. It is a cache: a failure only costs time later.
    pub(crate) fn save(&self) {
        let mut inner = lock(&self.inner);
        if inner.unsaved.is_empty() {
            return;
        }
        if inner.known.len() > MOST {
            inner.known.clear();
            drop(inner);
            self.rewrite();
            return;
        }
        let unsaved = std::mem::take(&mut inner.unsaved);
        let append = || {
            fs::OpenOptions::new()
                .create(true)
                .append(true)
                .open(&self.file)?
                .write_all(&unsaved)
        };
        if let Err(error) = append() {
            tracing::warn!(file = %self.file.display(), %error, "failed to save content digests");
        }
    }

    fn rewrite(&self) {
        let mut inner = lock(&self.inner);
        inner.unsaved.clear();
        let mut bytes = Vec::with_capacity(inner.known.len() * RECORD);
        for (id, known) in &inner.known {
            bytes.extend_from_slice(&encode(id, known));
        }
        let next = self.file.with_extension("next");
        if let Err(error) = fs::write(&next, bytes).and_then(|()| fs::rename(&next, &self.file)) {
            tracing::warn!(file = %self.file.display(), %error, "failed to save content digests");
        }
    }
}

fn encode(id: &ObjectId, known: &Known) -> [u8; RECORD] {
    let mut record = [0; RECORD];
    record[..20].copy_from_slice(&id.as_slice()[..20]);
    record[20..52].copy_from_slice(known.digest.as_bytes());
    record[52..60].copy_from_slice(&known.size.to_be_bytes());
    let check = Digest::of(&record[..60]);
    record[60..].copy_from_slice(&check.as_bytes()[..8]);
    record
}

fn decode(record: &[u8]) -> Option<(ObjectId, Known)> {
    if Digest::of(&record[..60]).as_bytes()[..8] != record[60..] {
        return None;
    }
    let id = ObjectId::try_from(&record[..20]).ok()?;
    let digest = Digest::from_bytes(record[20..52].try_into().ok()?);
    let size = u64::from_be_bytes(record[52..60].try_into().ok()?);
    Some((id, Known { digest, size }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(n: u64) -> (ObjectId, Known) {
        let digest = Digest::of(&n.to_be_bytes());
        let id = ObjectId::try_from(&digest.as_bytes()[..20]).unwrap();
        (id, Known { digest, size: n })
    }

    #[test]
    fn survives_torn_and_damaged_records() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("digests");
        let digests = Digests::open(file.clone());
        for n in 0..10 {
            let (id, entry) = known(n);
            digests.put(id, entry);
        }
        digests.save();
        let mut bytes = fs::read(&file).unwrap();
        assert_eq!(bytes.len(), 10 * RECORD);
        bytes[3 * RECORD + 25] ^= 1;
        bytes.truncate(9 * RECORD + 7);
        fs::write(&file, &bytes).unwrap();

        let digests = Digests::open(file.clone());
        let (late_id, late) = known(99);
        digests.put(late_id, late);
        digests.save();
        let digests = Digests::open(file);
        for n in 0..10 {
            let (id, entry) = known(n);
            let expected = (n != 3 && n != 9).then_some(entry);
            assert_eq!(digests.get(&id), expected, "{n}");
        }
        assert_eq!(digests.get(&late_id), Some(late));
    }
}
