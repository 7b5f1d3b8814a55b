//! The hub's decisions: facts in, commits and renders out.
//!
//! [`Index`] follows the store's log: it is a fold over facts, so a hub that is killed and started again knows exactly
//! what it knew. [`decide`](decide()) looks at one App and says what to write and what to render; [`ingest`](ingest())
//! turns an agent's report into writes; [`entries`](entries()) makes the order of one cluster; [`project`](project())
//! writes what people see. None of them acts: whoever drives them commits the writes, and the log brings them back here.

mod approve;
mod audit;
mod command;
mod decide;
mod describe;
mod entries;
mod holds;
mod index;
mod ingest;
mod leave;
mod notice;
mod placement;
mod project;
mod query;
mod records;
mod render;
mod restored;
mod retention;
mod run;
mod straggle;
mod sweep;
mod text;
mod wanted;
mod why;
mod writes;

pub use approve::{Removals, removals};
pub use audit::{Audit, AuditObject, AuditResult};
pub use command::{Command, CommandRefused, command};
pub use decide::{Decision, decide};
pub use describe::{AssignmentPage, AssignmentView, assignment_page, assignments};
pub use entries::{VariantSource, entries};
pub use index::{Dirty, Index};
pub use ingest::ingest;
pub use leave::{Leaving, leaving};
pub use notice::{Notice, Regarding, app_of_history, notices};
pub use placement::{Placed, Placing};
pub use project::{Projection, project};
pub use records::{
    Ahead, Approval, Barred, BasePin, ChartPin, Counted, Head, HeadInput, Held, History, InputFact,
    NOUNS, ReleaseRecord, RemovalList, Seen, VariantOutcome, keys,
};
pub use render::render;
pub use restored::{GoingBack, going_back};
pub use retention::{Retention, surplus};
pub use sweep::leftovers;
pub use wanted::{RenderJob, Rendered, matches_text, origin, rendered};
pub use why::why;
