//! The tables, and how older files come to have them.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension};

use crate::OpenError;

/// Tells our files from other programs' ("RDST").
const APPLICATION_ID: i32 = 0x5244_5354;

/// The newest schema version that this program knows.
pub const SCHEMA_VERSION: u32 = MIGRATIONS.len() as u32;

/// Each step brings a file from its place in the list to the next version. A step that was released never changes.
const MIGRATIONS: &[&str] = &["
    CREATE TABLE meta (
        only INTEGER PRIMARY KEY CHECK (only = 1),
        revision INTEGER NOT NULL,
        oldest INTEGER NOT NULL,
        epoch INTEGER NOT NULL,
        keys INTEGER NOT NULL,
        bytes INTEGER NOT NULL,
        blobs INTEGER NOT NULL,
        blob_bytes INTEGER NOT NULL
    ) STRICT;
    INSERT INTO meta VALUES (1, 1, 1, 1, 0, 0, 0, 0);

    -- What is current. Keys are UTF-8 as bytes: their order is that of the bytes, and any text is one.
    CREATE TABLE entry (
        id INTEGER PRIMARY KEY,
        key BLOB NOT NULL UNIQUE,
        created INTEGER NOT NULL,
        modified INTEGER NOT NULL,
        value BLOB NOT NULL
    ) STRICT;

    -- What was: each change's bytes before it. Those after it are the next change's before, or what is current.
    CREATE TABLE change (
        revision INTEGER PRIMARY KEY,
        last INTEGER NOT NULL,
        key BLOB NOT NULL,
        created INTEGER NOT NULL,
        old_modified INTEGER NOT NULL,
        old BLOB
    ) STRICT;
    CREATE INDEX change_by_key ON change (key, revision);

    CREATE TABLE outcome (
        number INTEGER PRIMARY KEY,
        id BLOB NOT NULL UNIQUE,
        first INTEGER NOT NULL,
        last INTEGER NOT NULL
    ) STRICT;

    CREATE TABLE lease (
        name TEXT PRIMARY KEY,
        holder TEXT NOT NULL,
        token INTEGER NOT NULL,
        until_ms INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;

    -- The content stands apart, so that a new date does not write it again.
    CREATE TABLE blob (
        id INTEGER PRIMARY KEY,
        digest BLOB NOT NULL UNIQUE,
        size INTEGER NOT NULL,
        stored_ms INTEGER NOT NULL,
        damaged INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE blob_content (
        id INTEGER PRIMARY KEY,
        content BLOB NOT NULL
    ) STRICT;
"];

/// The one row of counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Meta {
    pub(crate) revision: u64,
    pub(crate) oldest: u64,
    pub(crate) epoch: u64,
    pub(crate) keys: u64,
    pub(crate) bytes: u64,
    pub(crate) blobs: u64,
    pub(crate) blob_bytes: u64,
}

/// Reads a number that is never negative; SQLite has only signed ones.
pub(crate) fn number(row: &rusqlite::Row<'_>, at: usize) -> rusqlite::Result<u64> {
    Ok(row.get::<_, i64>(at)?.cast_unsigned())
}

/// The number as SQLite has it.
pub(crate) fn signed(number: u64) -> i64 {
    number.cast_signed()
}

impl Meta {
    pub(crate) fn read(connection: &Connection) -> rusqlite::Result<Self> {
        let mut statement = connection.prepare_cached(
            "SELECT revision, oldest, epoch, keys, bytes, blobs, blob_bytes FROM meta",
        )?;
        statement.query_row([], |row| {
            Ok(Self {
                revision: number(row, 0)?,
                oldest: number(row, 1)?,
                epoch: number(row, 2)?,
                keys: number(row, 3)?,
                bytes: number(row, 4)?,
                blobs: number(row, 5)?,
                blob_bytes: number(row, 6)?,
            })
        })
    }

    pub(crate) fn write(&self, connection: &Connection) -> rusqlite::Result<()> {
        let mut statement = connection.prepare_cached(
            "UPDATE meta SET revision = ?, oldest = ?, epoch = ?, keys = ?, bytes = ?, blobs = ?, blob_bytes = ?",
        )?;
        let numbers = [
            self.revision,
            self.oldest,
            self.epoch,
            self.keys,
            self.bytes,
            self.blobs,
            self.blob_bytes,
        ];
        statement.execute(numbers.map(signed))?;
        Ok(())
    }
}

fn pragma(connection: &Connection, name: &str) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, name, |row| row.get(0))
}

/// Checks that a file is sound, ours and not too new; returns its schema version, 0 for an empty file.
pub(crate) fn examine(connection: &Connection, path: &Path) -> Result<u32, OpenError> {
    let of = |source| OpenError::of(path, source);
    let version = pragma(connection, "user_version").map_err(of)?;
    let application = pragma(connection, "application_id").map_err(of)?;
    let empty: bool = connection
        .query_row("SELECT count(*) = 0 FROM sqlite_schema", [], |row| {
            row.get(0)
        })
        .map_err(of)?;
    if empty && application == 0 {
        return Ok(0);
    }
    if application != i64::from(APPLICATION_ID) {
        return Err(OpenError::Foreign {
            path: path.to_owned(),
        });
    }
    let found = u32::try_from(version).unwrap_or(u32::MAX);
    if found > SCHEMA_VERSION {
        return Err(OpenError::Newer {
            path: path.to_owned(),
            found,
            known: SCHEMA_VERSION,
        });
    }
    let complaint: Option<String> = connection
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .optional()
        .map_err(of)?;
    match complaint.as_deref() {
        Some("ok") => Ok(found),
        complaint => Err(OpenError::Damaged {
            path: path.to_owned(),
            cause: complaint
                .unwrap_or("the check says nothing")
                .replace('\n', " "),
        }),
    }
}

/// Brings a file from its version to the newest; each step happens wholly or not at all.
pub(crate) fn migrate(
    connection: &mut Connection,
    path: &Path,
    from: u32,
    steps: &[&str],
) -> Result<(), OpenError> {
    for (version, step) in (0_u32..).zip(steps).skip(from as usize) {
        let run = |connection: &mut Connection| {
            let transaction = connection.transaction()?;
            transaction.execute_batch(step)?;
            transaction.pragma_update(None, "user_version", version + 1)?;
            transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
            transaction.commit()
        };
        run(connection).map_err(|source| OpenError::Migrate {
            path: path.to_owned(),
            from: version,
            to: version + 1,
            source,
        })?;
        tracing::info!(path = %path.display(), schema = version + 1, "store migrated");
    }
    Ok(())
}

fn connect(path: &Path, flags: OpenFlags) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    // Only a checkpoint or a backup is ever in the way of another connection.
    connection.busy_timeout(Duration::from_secs(10))?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

/// Opens the writer's connection, makes or migrates the tables, and checks the file.
pub(crate) fn open_writer(path: &Path) -> Result<Connection, OpenError> {
    let of = |source| OpenError::of(path, source);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
    let mut connection = connect(path, flags).map_err(of)?;
    let version = examine(&connection, path)?;
    connection
        .execute_batch(
            "PRAGMA journal_mode = WAL;
             PRAGMA synchronous = FULL;
             PRAGMA journal_size_limit = 67108864;",
        )
        .map_err(of)?;
    migrate(&mut connection, path, version, MIGRATIONS)?;
    Ok(connection)
}

/// Opens a connection that only reads.
pub(crate) fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)
}

/// Opens a connection to a file of no use to anybody else, without WAL.
pub(crate) fn open_alone(path: &Path) -> rusqlite::Result<Connection> {
    connect(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(version: u32) -> String {
        format!("CREATE TABLE t{version} (x); INSERT INTO t{version} VALUES ({version})")
    }

    #[test]
    fn a_file_of_any_version_comes_to_the_newest() {
        let steps: Vec<String> = (1..=4).map(step).collect();
        let steps: Vec<&str> = steps.iter().map(String::as_str).collect();
        for from in 0..=4_u32 {
            let mut connection = Connection::open_in_memory().expect("it opens");
            let path = Path::new("x");
            migrate(&mut connection, path, 0, &steps[..from as usize]).expect("older steps run");
            migrate(&mut connection, path, from, &steps).expect("newer steps run");
            assert_eq!(pragma(&connection, "user_version").expect("readable"), 4);
            let sum: i64 = connection
                .query_row(
                    "SELECT (SELECT x FROM t1) + (SELECT x FROM t2) + (SELECT x FROM t3) + (SELECT x FROM t4)",
                    [],
                    |row| row.get(0),
                )
                .expect("every step ran once");
            assert_eq!(sum, 10);
        }
    }

    #[test]
    fn a_step_that_fails_leaves_the_version_before() {
        let mut connection = Connection::open_in_memory().expect("it opens");
        let (good, bad) = (step(1), format!("{}; SELECT * FROM nowhere", step(2)));
        let error = migrate(&mut connection, Path::new("x"), 0, &[&good, &bad]);
        let error = error.expect_err("the second step fails");
        assert_eq!(error.to_string(), "failed to bring x from schema 1 to 2");
        assert_eq!(pragma(&connection, "user_version").expect("readable"), 1);
        assert!(connection.prepare("SELECT * FROM t2").is_err());
    }
}
