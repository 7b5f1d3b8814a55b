//! The contract over the memory store: without a disk's faults, and with a crash wherever the contract asks for one.

use std::sync::Arc;

use base_json::Digest;
use base_store::contract::{Harness, model};
use base_store::memory::{Limits, MemoryStore};
use base_store::{Faults, SimDisk, Store};
use proptest::prelude::*;

struct Memory {
    disk: SimDisk,
    store: Option<Arc<MemoryStore<SimDisk>>>,
}

const LIMITS: Limits = Limits {
    watch_bytes: 64 << 10,
    ..Limits::STORE
};

impl Memory {
    fn open(&mut self) {
        let opened = MemoryStore::open(self.disk.clone(), LIMITS);
        self.store = Some(Arc::new(opened.expect("what was written is readable")));
    }

    fn memory(&self) -> &Arc<MemoryStore<SimDisk>> {
        self.store.as_ref().expect("it is open")
    }

    fn close(&mut self) {
        let store = self.store.take().expect("it is open");
        assert!(Arc::into_inner(store).is_some(), "somebody holds the store");
    }
}

impl Harness for Memory {
    fn store(&self) -> Arc<dyn Store> {
        Arc::clone(self.memory()) as Arc<dyn Store>
    }

    fn reopen(&mut self) {
        self.close();
        self.open();
    }

    fn crash(&mut self) {
        self.close();
        self.disk = self.disk.crash();
        self.open();
    }

    fn set_now(&self, now_ms: u64) {
        self.memory().set_now(now_ms);
    }

    fn damage_blob(&self, digest: &Digest) {
        assert!(self.memory().damage_blob(digest));
    }

    fn watch_bytes(&self) -> usize {
        LIMITS.watch_bytes
    }

    fn parallel(&self, jobs: Vec<Box<dyn FnOnce() + Send>>) {
        std::thread::scope(|scope| {
            for job in jobs {
                scope.spawn(job);
            }
        });
    }
}

fn make() -> Memory {
    let disk = SimDisk::new(Faults::default());
    let mut memory = Memory { disk, store: None };
    memory.open();
    memory
}

base_store::store_contract!(make);

proptest! {
    #[test]
    fn does_what_the_model_does(steps in prop::collection::vec(any::<model::Step>(), 0..60)) {
        model::check(&mut make(), &steps);
    }
}
