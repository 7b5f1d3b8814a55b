//! What every backend must do, as tests that it runs over itself.
//!
//! `base_store::store_contract!(make)` makes one `#[test]` of each behaviour; `make` is a function without arguments that
//! gives a fresh [`Harness`] with an empty store. The names follow the storage contract tests of `k8s.io/apiserver`
//! where they test the same. [`model::check`] runs random steps against a trivial model.

pub mod blobs;
pub mod durability;
pub mod leases;
pub mod model;
pub mod reads;
pub mod watches;
pub mod writes;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use base_json::Digest;
use bytes::Bytes;

use crate::{
    At, Batch, Change, CommitError, CommitId, Committed, Entry, Expect, Op, Page, Range, Revision,
    Store, Watch, WatchItem,
};

/// A backend under test.
pub trait Harness {
    /// Returns the store.
    fn store(&self) -> Arc<dyn Store>;

    /// Closes the store and opens it again. No `Arc` of the store is held by others.
    fn reopen(&mut self);

    /// Stops the store as if the power went, and opens it again. No `Arc` of the store is held by others.
    fn crash(&mut self);

    /// Tells the store what time it is, in milliseconds.
    fn set_now(&self, now_ms: u64);

    /// Changes a byte of a stored blob behind the store's back.
    fn damage_blob(&self, digest: &Digest);

    /// Returns how many bytes may wait for a slow watch; at most 1 MiB, so that a test reaches it.
    fn watch_bytes(&self) -> usize;

    /// Runs the jobs at the same time, one thread each.
    fn parallel(&self, jobs: Vec<Box<dyn FnOnce() + Send>>);
}

/// Calls a macro with the path of every behaviour.
#[doc(hidden)]
#[macro_export]
macro_rules! __each_store_behaviour {
    ($callback:path, $($extra:tt)*) => {
        $callback! { ($($extra)*)
            writes::first_revision_is_greater_than_one,
            writes::create,
            writes::create_with_key_exist,
            writes::update_at_revision,
            writes::update_with_conflict,
            writes::unconditional_delete,
            writes::conditional_delete,
            writes::delete_with_conflict,
            writes::delete_of_absent_key_writes_nothing,
            writes::assert_writes_nothing,
            writes::batch_is_all_or_nothing,
            writes::revisions_are_contiguous,
            writes::same_bytes_write_nothing,
            writes::recreated_key_is_new,
            writes::malformed_batches_are_refused,
            writes::odd_keys_and_values,
            writes::outcome_by_id,
            writes::commit_id_is_used_once,
            writes::outcomes_are_remembered,
            writes::commits_of_several_threads_are_distinct,
            writes::one_of_many_contenders_wins,
            writes::submitted_batches_keep_their_order,
            reads::get,
            reads::get_at_revision,
            reads::list,
            reads::list_paging,
            reads::list_is_sorted_by_bytes,
            reads::list_continuation_at_one_revision,
            reads::list_after_absent_key,
            reads::consistent_list,
            reads::revision_inside_a_commit,
            reads::future_revision_is_refused,
            reads::compact_revision,
            reads::compact_keeps_what_is_current,
            reads::compact_in_the_future_is_refused,
            reads::stats,
            watches::watch,
            watches::watch_from_revision,
            watches::watch_shows_whole_commits,
            watches::watch_filters_by_prefix,
            watches::watch_from_inside_a_commit,
            watches::watch_of_compacted_revision_is_refused,
            watches::watch_of_future_revision_is_refused,
            watches::watch_outlives_compaction,
            watches::watch_overflow_ends_in_compacted,
            watches::slow_watch_disturbs_no_other,
            watches::quiet_watch_does_not_overflow,
            watches::progress_on_demand,
            watches::delete_shows_the_old_bytes,
            watches::watch_begun_amid_commits_has_no_gap,
            watches::waiting_watch_is_woken,
            watches::watch_ends_with_the_store,
            leases::take_and_renew,
            leases::held_by_another,
            leases::steal_after_end,
            leases::give_back,
            leases::fence_is_checked_at_commit,
            leases::fence_without_a_lease_is_lost,
            leases::leases_are_independent,
            leases::tokens_survive_reopening,
            blobs::put_and_get,
            blobs::put_twice_costs_nothing,
            blobs::missing,
            blobs::wrong_digest_is_refused,
            blobs::damaged_blob_is_an_error_and_heals,
            blobs::sweep_spares_what_is_kept_or_young,
            blobs::stored_again_is_young_again,
            blobs::blobs_survive_reopening,
            durability::reopen_keeps_everything,
            durability::crash_keeps_what_was_acknowledged,
            durability::revisions_go_on_after_reopening,
            durability::history_survives_reopening,
            durability::outcomes_survive_reopening,
            durability::compaction_survives_reopening,
        }
    };
}

/// Makes one `#[test]` of each behaviour for the backend that a function gives: `store_contract!(make)`.
#[macro_export]
macro_rules! store_contract {
    ($make:path) => {
        $crate::__each_store_behaviour!($crate::__store_tests, $make);
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __store_tests {
    (($make:path) $($module:ident :: $behaviour:ident,)*) => {
        $(
            #[test]
            fn $behaviour() {
                let mut harness = $make();
                $crate::contract::$module::$behaviour(&mut harness);
            }
        )*
    };
}

/// A behaviour, by name.
pub type Behaviour = (&'static str, fn(&mut dyn Harness));

macro_rules! behaviours {
    (() $($module:ident :: $behaviour:ident,)*) => {
        /// Every behaviour, for those who cannot use the macro.
        pub const BEHAVIOURS: &[Behaviour] =
            &[$((stringify!($module::$behaviour), $module::$behaviour)),*];
    };
}
crate::__each_store_behaviour!(behaviours,);

/// Runs every behaviour, each over a fresh store.
pub fn run_all(make: &dyn Fn() -> Box<dyn Harness>) {
    for (_, behaviour) in BEHAVIOURS {
        behaviour(&mut *make());
    }
}

static IDS: AtomicU64 = AtomicU64::new(1);

pub(crate) fn next_id() -> CommitId {
    CommitId(u128::from(IDS.fetch_add(1, Ordering::Relaxed)))
}

pub(crate) fn put(key: &str, value: &str) -> Op {
    put_if(key, value, Expect::Any)
}

pub(crate) fn put_if(key: &str, value: &str, expect: Expect) -> Op {
    Op::Put {
        key: key.to_owned(),
        value: Bytes::copy_from_slice(value.as_bytes()),
        expect,
    }
}

pub(crate) fn delete(key: &str) -> Op {
    delete_if(key, Expect::Any)
}

pub(crate) fn delete_if(key: &str, expect: Expect) -> Op {
    Op::Delete {
        key: key.to_owned(),
        expect,
    }
}

pub(crate) fn assert_that(key: &str, expect: Expect) -> Op {
    Op::Assert {
        key: key.to_owned(),
        expect,
    }
}

pub(crate) fn try_commit(store: &dyn Store, ops: Vec<Op>) -> Result<Committed, CommitError> {
    store.commit(Batch::new(next_id(), ops))
}

pub(crate) fn commit(store: &dyn Store, ops: Vec<Op>) -> Committed {
    try_commit(store, ops).expect("the commit is made")
}

/// Puts one value and returns its revision.
pub(crate) fn write(store: &dyn Store, key: &str, value: &str) -> Revision {
    commit(store, vec![put(key, value)]).last
}

pub(crate) fn get(store: &dyn Store, key: &str) -> Option<Entry> {
    store.get(key, At::Newest).expect("the newest is readable")
}

pub(crate) fn value(store: &dyn Store, key: &str) -> Option<String> {
    get(store, key).map(|entry| text(&entry.value))
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub(crate) fn everything(prefix: &str, at: At) -> Range {
    Range {
        prefix: prefix.to_owned(),
        after: None,
        limit: 0,
        at,
    }
}

pub(crate) fn list(store: &dyn Store, prefix: &str, at: At) -> Page {
    let range = everything(prefix, at);
    store.range(&range).expect("the range is readable")
}

/// The `key=value` pairs of a page.
pub(crate) fn pairs(page: &Page) -> Vec<String> {
    page.entries
        .iter()
        .map(|entry| format!("{}={}", entry.key, text(&entry.value)))
        .collect()
}

/// A change as `revision key old>new`, with `-` for none.
pub(crate) fn shown(change: &Change) -> String {
    let side = |bytes: &Option<Bytes>| bytes.as_deref().map_or("-".to_owned(), text);
    let Change {
        revision,
        key,
        old,
        new,
        ..
    } = change;
    format!("{revision} {key} {}>{}", side(old), side(new))
}

/// What a watch has ready: a commit as its changes joined by `; `, else the item's name.
pub(crate) fn drain(watch: &mut Watch) -> Vec<String> {
    let mut items = Vec::new();
    while let Some(item) = watch.try_next() {
        items.push(match item {
            WatchItem::Commit(commit) => {
                let changes: Vec<String> = commit.changes.iter().map(shown).collect();
                changes.join("; ")
            }
            WatchItem::Progress(revision) => format!("progress {revision}"),
            WatchItem::Compacted(_) => "compacted".to_owned(),
        });
    }
    items
}
