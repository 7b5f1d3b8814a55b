//! The contract over SQLite. A crash is what a SIGKILL leaves: the files as they are while the store is open.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use base_json::Digest;
use base_store::Store;
use base_store::contract::{Harness, model};
use proptest::prelude::*;
use roadstead_store_sqlite::{Options, SqliteStore};
use tempfile::TempDir;

struct Sqlite {
    folder: TempDir,
    now: Arc<AtomicU64>,
    store: Option<Arc<SqliteStore>>,
}

const WATCH_BYTES: usize = 64 << 10;

impl Sqlite {
    fn options(&self) -> Options {
        let now = Arc::clone(&self.now);
        Options {
            watch_bytes: WATCH_BYTES,
            clock: Arc::new(move || now.load(Ordering::SeqCst)),
            ..Options::default()
        }
    }

    fn open(&mut self) {
        let opened = SqliteStore::open(self.folder.path().join("store"), self.options());
        self.store = Some(Arc::new(opened.expect("it opens")));
    }

    fn close(&mut self) {
        let store = self.store.take().expect("it is open");
        assert!(Arc::into_inner(store).is_some(), "somebody holds the store");
    }
}

fn copy(from: &Path, to: &Path) {
    for name in ["store", "store-wal"] {
        if from.join(name).exists() {
            std::fs::copy(from.join(name), to.join(name)).expect("it copies");
        }
    }
}

impl Harness for Sqlite {
    fn store(&self) -> Arc<dyn Store> {
        Arc::clone(self.store.as_ref().expect("it is open")) as Arc<dyn Store>
    }

    fn reopen(&mut self) {
        self.close();
        self.open();
    }

    fn crash(&mut self) {
        let after = TempDir::new().expect("a folder");
        copy(self.folder.path(), after.path());
        self.close();
        self.folder = after;
        self.open();
    }

    fn set_now(&self, now_ms: u64) {
        self.now.store(now_ms, Ordering::SeqCst);
    }

    fn damage_blob(&self, digest: &Digest) {
        let connection = rusqlite::Connection::open(self.folder.path().join("store"));
        let changed = connection.expect("it opens").execute(
            "UPDATE blob_content SET content = cast('rot' AS BLOB) WHERE id = (SELECT id FROM blob WHERE digest = ?)",
            [&digest.as_bytes()[..]],
        );
        assert_eq!(changed, Ok(1));
    }

    fn watch_bytes(&self) -> usize {
        WATCH_BYTES
    }

    fn parallel(&self, jobs: Vec<Box<dyn FnOnce() + Send>>) {
        std::thread::scope(|scope| {
            for job in jobs {
                scope.spawn(job);
            }
        });
    }
}

fn make() -> Sqlite {
    let mut sqlite = Sqlite {
        folder: TempDir::new().expect("a folder"),
        now: Arc::default(),
        store: None,
    };
    sqlite.open();
    sqlite
}

base_store::store_contract!(make);

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn does_what_the_model_does(steps in prop::collection::vec(any::<model::Step>(), 0..60)) {
        model::check(&mut make(), &steps);
    }
}
