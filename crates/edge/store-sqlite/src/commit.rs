//! What one batch, lease or compaction does to the tables.

use base_store::batch::{check, compact_future, used_twice};
use base_store::{
    Batch, Change, CommitError, CommitId, Committed, Completion, Expect, Fence, Op, Revision,
};
use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, params};

use crate::error::Failure;
use crate::schema::{Meta, number, signed};
use crate::writer::{Job, Made};

/// How many commits' outcomes are remembered.
const OUTCOMES: i64 = 16_384;

/// A batch that waits to be written.
pub(crate) struct CommitJob {
    pub(crate) batch: Batch,
    pub(crate) done: Completion,
    pub(crate) outcome: Option<Result<Committed, CommitError>>,
}

impl Job for CommitJob {
    fn bytes(&self) -> usize {
        let bytes = |op: &Op| match op {
            Op::Put { key, value, .. } => key.len() + value.len(),
            op => op.key().len(),
        };
        self.batch.ops.iter().map(bytes).sum()
    }

    fn run(&mut self, connection: &Connection, meta: &mut Meta) -> Result<Option<Made>, Failure> {
        match apply(connection, meta, &self.batch) {
            Ok((committed, made)) => {
                self.outcome = Some(Ok(committed));
                Ok(made)
            }
            Err(Refusal::Refused(error)) => {
                self.outcome = Some(Err(error));
                Ok(None)
            }
            Err(Refusal::Failed(failure)) => Err(failure),
        }
    }

    fn answer(self: Box<Self>, fate: Result<(), Failure>) {
        let outcome = match (fate, self.outcome) {
            (Err(failure), _) => Err(failure.for_commit_of(self.batch.id)),
            (Ok(()), Some(outcome)) => outcome,
            (Ok(()), None) => Err(CommitError::Closed {
                cause: "the batch was not run".to_owned(),
            }),
        };
        (self.done)(outcome);
    }
}

enum Refusal {
    Refused(CommitError),
    Failed(Failure),
}

impl From<rusqlite::Error> for Refusal {
    fn from(error: rusqlite::Error) -> Self {
        Self::Failed(error.into())
    }
}

impl From<CommitError> for Refusal {
    fn from(error: CommitError) -> Self {
        Self::Refused(error)
    }
}

struct Row {
    id: i64,
    created: u64,
    modified: u64,
    value: Bytes,
}

fn current(connection: &Connection, key: &str) -> rusqlite::Result<Option<Row>> {
    let mut statement = connection
        .prepare_cached("SELECT id, created, modified, value FROM entry WHERE key = ?")?;
    let row = statement.query_row([key.as_bytes()], |row| {
        Ok(Row {
            id: row.get(0)?,
            created: number(row, 1)?,
            modified: number(row, 2)?,
            value: row.get::<_, Vec<u8>>(3)?.into(),
        })
    });
    row.optional()
}

fn expects(op: &Op, row: Option<&Row>) -> Result<(), CommitError> {
    let actual = row.map(|row| Revision(row.modified));
    let holds = match op.expect() {
        Expect::Any => true,
        Expect::Absent => actual.is_none(),
        Expect::At(revision) => actual == Some(revision),
    };
    if holds {
        return Ok(());
    }
    Err(CommitError::Conflict {
        key: op.key().to_owned(),
        actual,
    })
}

fn apply(
    connection: &Connection,
    meta: &mut Meta,
    batch: &Batch,
) -> Result<(Committed, Option<Made>), Refusal> {
    check(batch)?;
    if outcome(connection, batch.id)?.is_some() {
        return Err(used_twice(batch.id).into());
    }
    if let Some(fence) = &batch.fence {
        let held = read_lease(connection, &fence.lease)?;
        if held.is_none_or(|lease| lease.token != fence.token) {
            let lease = fence.lease.clone();
            return Err(CommitError::FenceLost { lease }.into());
        }
    }
    let mut rows = Vec::with_capacity(batch.ops.len());
    for op in &batch.ops {
        let row = current(connection, op.key())?;
        expects(op, row.as_ref())?;
        rows.push(row);
    }
    let first = meta.revision + 1;
    let mut changes = Vec::new();
    let mut written = Vec::new();
    for (op, row) in batch.ops.iter().zip(rows) {
        let new = match op {
            Op::Put { value, .. } => Some(value),
            Op::Delete { .. } => None,
            Op::Assert { .. } => continue,
        };
        if row.as_ref().map(|row| &row.value) == new {
            continue;
        }
        meta.revision += 1;
        let created = row.as_ref().map_or(meta.revision, |row| row.created);
        write_entry(connection, meta, op.key(), new, row.as_ref())?;
        changes.push(Change {
            revision: Revision(meta.revision),
            key: op.key().to_owned(),
            old: row.as_ref().map(|row| row.value.clone()),
            new: new.cloned(),
            created: Revision(created),
        });
        written.push(row.map_or(0, |row| row.modified));
    }
    let committed = Committed {
        first: Revision(first),
        last: Revision(meta.revision),
    };
    if changes.is_empty() {
        return Ok((committed, None));
    }
    write_changes(connection, &changes, &written, committed.last)?;
    remember(connection, batch.id, committed)?;
    Ok((committed, Some((changes.into(), committed.last))))
}

/// Writes a key's new value at the newest revision.
fn write_entry(
    connection: &Connection,
    meta: &mut Meta,
    key: &str,
    new: Option<&Bytes>,
    row: Option<&Row>,
) -> rusqlite::Result<()> {
    let revision = signed(meta.revision);
    match (row, new) {
        (Some(row), Some(value)) => connection
            .prepare_cached("UPDATE entry SET modified = ?, value = ? WHERE id = ?")?
            .execute(params![revision, &value[..], row.id])?,
        (Some(row), None) => connection
            .prepare_cached("DELETE FROM entry WHERE id = ?")?
            .execute([row.id])?,
        (None, Some(value)) => connection
            .prepare_cached(
                "INSERT INTO entry (key, created, modified, value) VALUES (?, ?, ?, ?)",
            )?
            .execute(params![key.as_bytes(), revision, revision, &value[..]])?,
        (None, None) => 0,
    };
    meta.keys = meta.keys + u64::from(new.is_some()) - u64::from(row.is_some());
    meta.bytes += new.map_or(0, |value| value.len() as u64);
    meta.bytes -= row.map_or(0, |row| row.value.len() as u64);
    Ok(())
}

fn write_changes(
    connection: &Connection,
    changes: &[Change],
    old_modified: &[u64],
    last: Revision,
) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO change (revision, last, key, created, old_modified, old) VALUES (?, ?, ?, ?, ?, ?)",
    )?;
    for (change, old_modified) in changes.iter().zip(old_modified) {
        statement.execute(params![
            signed(change.revision.0),
            signed(last.0),
            change.key.as_bytes(),
            signed(change.created.0),
            signed(*old_modified),
            change.old.as_deref(),
        ])?;
    }
    Ok(())
}

fn remember(connection: &Connection, id: CommitId, made: Committed) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT INTO outcome (id, first, last) VALUES (?, ?, ?)")?
        .execute(params![
            &id.0.to_be_bytes()[..],
            signed(made.first.0),
            signed(made.last.0)
        ])?;
    connection
        .prepare_cached("DELETE FROM outcome WHERE number <= ?")?
        .execute([connection.last_insert_rowid() - OUTCOMES])?;
    Ok(())
}

/// Tells where a commit stands.
pub(crate) fn outcome(
    connection: &Connection,
    id: CommitId,
) -> rusqlite::Result<Option<Committed>> {
    connection
        .prepare_cached("SELECT first, last FROM outcome WHERE id = ?")?
        .query_row([&id.0.to_be_bytes()[..]], |row| {
            Ok(Committed {
                first: Revision(number(row, 0)?),
                last: Revision(number(row, 1)?),
            })
        })
        .optional()
}

struct Lease {
    holder: String,
    token: u64,
    until_ms: u64,
}

fn read_lease(connection: &Connection, name: &str) -> rusqlite::Result<Option<Lease>> {
    connection
        .prepare_cached("SELECT holder, token, until_ms FROM lease WHERE name = ?")?
        .query_row([name], |row| {
            Ok(Lease {
                holder: row.get(0)?,
                token: number(row, 1)?,
                until_ms: number(row, 2)?,
            })
        })
        .optional()
}

/// Takes or renews a lease.
pub(crate) fn lease(
    connection: &Connection,
    name: String,
    holder: &str,
    ttl_ms: u64,
    now_ms: u64,
) -> Result<Option<Fence>, Failure> {
    let token = match read_lease(connection, &name)? {
        Some(lease) if lease.holder == holder => lease.token,
        Some(lease) if lease.until_ms > now_ms => return Ok(None),
        Some(lease) => lease.token + 1,
        None => 1,
    };
    // SQLite's numbers end at i64; that far is for ever.
    let until_ms = now_ms.saturating_add(ttl_ms).min(i64::MAX as u64);
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO lease (name, holder, token, until_ms) VALUES (?, ?, ?, ?)",
        )?
        .execute(params![name, holder, signed(token), signed(until_ms)])?;
    let lease = name;
    Ok(Some(Fence { lease, token }))
}

/// Forgets history up to and including a revision.
pub(crate) fn compact(
    connection: &Connection,
    meta: &mut Meta,
    to: Revision,
) -> Result<Result<(), CommitError>, Failure> {
    if to.0 > meta.revision {
        return Ok(Err(compact_future(to, Revision(meta.revision))));
    }
    if to.0 > meta.oldest {
        // A commit that goes on behind `to` stays whole: what stands before `to` in it cannot be read any more, but the
        // rest needs it.
        connection
            .prepare_cached("DELETE FROM change WHERE revision <= ? AND last <= ?")?
            .execute([signed(to.0), signed(to.0)])?;
        meta.oldest = to.0;
    }
    Ok(Ok(()))
}
