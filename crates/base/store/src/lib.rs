//! Facts: the store trait, its contract suite, and the memory backend over a simulated disk.
//!
//! A store is one ordered log of small facts under text keys, with the current value of each key, and a heap of blobs
//! by digest beside it. Everything that Roadstead knows is in a store; what processes hold in memory is an index that
//! follows the log. There is no clock and no I/O in this crate: backends that have them stand in `edge/`.

pub mod batch;
pub mod contract;
mod disk;
pub mod fanout;
pub mod memory;
mod sim_disk;
mod store;

pub use batch::{Batch, CommitError, CommitId, Committed, Expect, Fence, Op, Revision};
pub use disk::{Disk, DiskError, DiskFile, NoDisk};
pub use sim_disk::{Faults, SimDisk};
pub use store::{
    At, BlobError, Change, Commit, Completion, Entry, Page, Range, ReadError, Stats, Store, Watch,
    WatchError, WatchItem, WatchSource,
};
