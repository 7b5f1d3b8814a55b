//! What is written: batches, what they expect, and how they fail.

use std::fmt;

use bytes::Bytes;

/// A place in the log. The first revision that a new store gives is greater than 1, so that Kubernetes' `0` and `1`
/// never name a fact.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// What an operation expects of its key before it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// Anything.
    Any,
    /// The key does not exist.
    Absent,
    /// The key was last written at this revision.
    At(Revision),
}

/// One operation of a batch. A key stands in a batch at most once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Sets a key. Bytes that are the same as the present ones write nothing and take no revision.
    Put {
        /// The key.
        key: String,
        /// Its new value.
        value: Bytes,
        /// What must hold before.
        expect: Expect,
    },
    /// Removes a key. A key that is not there takes no revision.
    Delete {
        /// The key.
        key: String,
        /// What must hold before.
        expect: Expect,
    },
    /// Writes nothing; the batch fails if this does not hold.
    Assert {
        /// The key.
        key: String,
        /// What must hold.
        expect: Expect,
    },
}

impl Op {
    /// Returns the key.
    pub fn key(&self) -> &str {
        match self {
            Self::Put { key, .. } | Self::Delete { key, .. } | Self::Assert { key, .. } => key,
        }
    }

    /// Returns what is expected of the key.
    pub fn expect(&self) -> Expect {
        match self {
            Self::Put { expect, .. }
            | Self::Delete { expect, .. }
            | Self::Assert { expect, .. } => *expect,
        }
    }
}

/// The caller's name for a commit, by which an unknown outcome is resolved. Unique: random, or from a seeded source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CommitId(pub u128);

/// Proof that a lease was held when it was taken; grows with each new holder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fence {
    /// The lease's name.
    pub lease: String,
    /// Its holder's number.
    pub token: u64,
}

/// Operations that happen together or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// The caller's name for it.
    pub id: CommitId,
    /// The operations, in the order of their revisions.
    pub ops: Vec<Op>,
    /// The lease under which it is made; the commit fails when another has taken it since.
    pub fence: Option<Fence>,
}

impl Batch {
    /// Makes a batch without a fence.
    pub fn new(id: CommitId, ops: Vec<Op>) -> Self {
        Self {
            id,
            ops,
            fence: None,
        }
    }
}

/// Where a batch stands in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    /// The revision of the first operation that wrote; equal to `last` + 1 when nothing was written.
    pub first: Revision,
    /// The revision of the last operation that wrote, or the store's revision when nothing was written.
    pub last: Revision,
}

/// Why a batch was not committed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// A key is not as expected. Nothing was written.
    #[error("{key} is not as expected: it is {}", .actual.map_or("absent".to_owned(), |at| format!("at revision {at}")))]
    Conflict {
        /// The key.
        key: String,
        /// When it was last written; `None` if it does not exist.
        actual: Option<Revision>,
    },
    /// Another holder has the lease. Nothing was written.
    #[error("lease {lease} is held by another")]
    FenceLost {
        /// The lease.
        lease: String,
    },
    /// There is no room. Nothing was written.
    #[error("no room to write: {cause}")]
    Full {
        /// What the disk said.
        cause: String,
    },
    /// Nobody knows whether it was written; ask [`Store::outcome`](crate::Store::outcome) with the commit's id.
    #[error("outcome of commit {id:?} is unknown: {cause}")]
    OutcomeUnknown {
        /// The commit.
        id: CommitId,
        /// What went wrong.
        cause: String,
    },
    /// The store cannot write, now and until it is opened again. Nothing was written.
    #[error("store is closed: {cause}")]
    Closed {
        /// Why.
        cause: String,
    },
    /// The batch is not one: a key stands in it twice, or a key is empty.
    #[error("not a batch: {problem}")]
    Malformed {
        /// What is wrong.
        problem: String,
    },
}

/// Checks that a batch is one: no key is empty, none stands in it twice.
///
/// Backends call it before anything else.
pub fn check(batch: &Batch) -> Result<(), CommitError> {
    let malformed = |problem| Err(CommitError::Malformed { problem });
    let mut keys: Vec<&str> = batch.ops.iter().map(Op::key).collect();
    keys.sort_unstable();
    if keys.first().is_some_and(|key| key.is_empty()) {
        return malformed("a key is empty".to_owned());
    }
    match keys.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => malformed(format!("key {:?} stands in it twice", pair[0])),
        None => Ok(()),
    }
}

/// Makes the error for a commit whose id was used before.
pub fn used_twice(id: CommitId) -> CommitError {
    CommitError::Malformed {
        problem: format!("commit id {:032x} was used before", id.0),
    }
}

/// Makes the error for a compaction up to a revision that is not there yet.
pub fn compact_future(to: Revision, newest: Revision) -> CommitError {
    CommitError::Malformed {
        problem: format!("compaction up to {to} is in the future; the newest is {newest}"),
    }
}
