//! Whether the hub can do its work: what `/readyz` and `/livez` say.

use std::sync::atomic::{AtomicI64, Ordering};

use base_store::CommitError;
use parking_lot::Mutex;
use roadstead_model::Time;
use tokio::sync::watch;

use crate::clock::now;

/// How long the deciding thread may be silent before the hub counts as stuck.
const SILENT_MS: u64 = 120_000;

/// Whether the hub can do its work.
#[derive(Debug)]
pub(crate) struct Health {
    /// Why the store cannot be written now.
    store: Mutex<Option<String>>,
    /// When the deciding thread was heard of last; 0 before it began.
    beat: AtomicI64,
    /// Why only a new start helps.
    fatal: watch::Sender<Option<String>>,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            store: Mutex::default(),
            beat: AtomicI64::new(0),
            fatal: watch::Sender::new(None),
        }
    }
}

impl Health {
    /// Notes what became of a write.
    pub(crate) fn wrote<T>(&self, outcome: &Result<T, CommitError>) {
        match outcome {
            Ok(_) => {
                if self.store.lock().take().is_some() {
                    tracing::info!("the store can be written again");
                }
            }
            Err(error @ CommitError::Full { .. }) => {
                let told = format!(
                    "{error}; make room on the disk of the data folder, the hub goes on by itself"
                );
                if self.store.lock().replace(told.clone()).is_none() {
                    tracing::error!(problem = %told, "the store cannot be written");
                }
            }
            Err(error @ (CommitError::Closed { .. } | CommitError::OutcomeUnknown { .. })) => {
                *self.store.lock() = Some(error.to_string());
                self.fatal.send_if_modified(|fatal| {
                    let first = fatal.is_none();
                    fatal.get_or_insert_with(|| error.to_string());
                    first
                });
            }
            // somebody else was first, or the caller erred: the store itself is well
            Err(
                CommitError::Conflict { .. }
                | CommitError::FenceLost { .. }
                | CommitError::Malformed { .. },
            ) => {}
        }
    }

    /// Can the store not be written now?
    pub(crate) fn is_troubled(&self) -> bool {
        self.store.lock().is_some()
    }

    /// The deciding thread is there.
    pub(crate) fn beat(&self) {
        self.beat.store(now().0, Ordering::Relaxed);
    }

    fn stuck(&self) -> Option<String> {
        let beat = self.beat.load(Ordering::Relaxed);
        let silent = now().since_ms(Time(beat));
        (beat != 0 && silent > SILENT_MS).then(|| {
            format!(
                "the deciding thread has been silent for {} s",
                silent / 1000
            )
        })
    }

    /// Why the hub is not ready; nothing if it is.
    pub(crate) fn unready(&self) -> Option<String> {
        self.store
            .lock()
            .clone()
            .map(|problem| format!("store: {problem}"))
            .or_else(|| self.stuck())
    }

    /// Why the hub should be started again; nothing if it should not.
    pub(crate) fn dead(&self) -> Option<String> {
        self.fatal.borrow().clone().or_else(|| self.stuck())
    }

    /// Waits until only a new start helps, and says why.
    pub(crate) async fn fatal(&self) -> String {
        let mut fatal = self.fatal.subscribe();
        let found = fatal.wait_for(Option::is_some).await;
        found.map_or_else(|_| String::new(), |found| found.clone().unwrap_or_default())
    }
}
