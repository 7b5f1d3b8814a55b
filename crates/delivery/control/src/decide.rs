//! One look at an App: what to write and what to render.

use std::sync::Arc;

use base_store::Op;
use roadstead_model::{App, AppKey, Time};

use crate::index::Index;
use crate::placement::Placing;
use crate::run::run_rollouts;
use crate::sweep::sweep;
use crate::wanted::{RenderJob, make_rollout, missing, wanted_release};
use crate::writes::Writes;
use crate::{approve, holds, leave, restored, straggle};

/// What to do for one App.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Decision {
    /// What to write, all or nothing. Empty: nothing.
    pub ops: Vec<Op>,
    /// What to render.
    pub render: Option<RenderJob>,
    /// When to look again, if nothing else happens.
    pub wake: Option<Time>,
    /// Why nothing can be delivered, if so: a reason in one word and a sentence.
    pub waiting: Option<(String, String)>,
}

/// Looks at one App.
pub fn decide(index: &mut Index, app: &AppKey, now: Time, may_render: bool) -> Decision {
    let mut out = Decision::default();
    let mut writes = Writes::new(index, app, now);
    if let Some(key) = index.unreadable_app(app) {
        let message = format!("{key} cannot be read; nothing is done to this App until it can");
        out.waiting = Some(("Unreadable".to_owned(), message));
        return out;
    }
    if let Some(noun) = index.apps.get(app).cloned() {
        if noun.metadata.deletion_timestamp.is_none() {
            deliver(index, app, &noun, now, may_render, &mut writes, &mut out);
        } else {
            leave::app_deleted(index, app, &mut writes, &mut out);
        }
    } else {
        leave::app_deleted(index, app, &mut writes, &mut out);
    }
    leave::forgotten_clusters(index, app, &mut writes);
    holds::clean(index, app, now, &mut writes);
    approve::cover(index, app, &mut writes);
    restored::caught_up(index, app, &mut writes);
    if out.waiting.is_none() {
        out.waiting = restored::waiting(index, app);
    }
    out.ops = writes.into_ops();
    out
}

fn deliver(
    index: &mut Index,
    app: &AppKey,
    noun: &App,
    now: Time,
    may_render: bool,
    writes: &mut Writes<'_>,
    out: &mut Decision,
) {
    let wanted = match wanted_release(index, app, noun, writes) {
        Ok(wanted) => wanted,
        Err(waiting) => {
            out.waiting = Some(waiting);
            // what is under way goes on without the Source
            None
        }
    };
    if let Some(number) = wanted {
        match missing(index, app, number) {
            Some(job) => out.render = may_render.then_some(job),
            None => make_rollout(index, app, noun, number, writes, out),
        }
    }
    leave::drained(index, app, writes);
    let placed = newest_placed(index, app);
    run_rollouts(index, app, noun, now, writes, out);
    straggle::catch_up(index, app, noun, now, writes, out);
    if let Some((number, placed)) = placed {
        leave::leavers(index, app, number, &placed, writes, out);
    }
    if let Some(until) = index.next_hold_end(app, noun, now) {
        out.wake = Some(out.wake.map_or(until, |old| old.min(until)));
    }
    sweep(index, app, writes);
}

/// Where the Release that is meant now puts clusters.
fn newest_placed(index: &mut Index, app: &AppKey) -> Option<(u64, Arc<Placing>)> {
    let number = index.meant(app)?.number;
    Some((number, index.placed(app, number)))
}
