//! What waits for approval, and what was approved: always one exact list.
//!
//! Whoever approves names the list that they saw; one that changed since is refused. What was approved covers one list and
//! nothing beside it: a list that changes later waits again.

use std::collections::{BTreeMap, BTreeSet};

use base_json::Digest;
use base_store::Expect;
use k8s_object::ObjectId;
use roadstead_model::{AppKey, ClusterId, ReleaseId};
use roadstead_rollout::By;

use crate::command::CommandRefused;
use crate::index::Index;
use crate::records::{Approval, RemovalList, keys};
use crate::writes::Writes;

/// The removals of one Release that wait for approval, over all clusters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removals {
    /// The Release's number.
    pub number: u64,
    /// The Release.
    pub release: ReleaseId,
    /// The objects, sorted.
    pub objects: Vec<ObjectId>,
    /// The digest of the list, which an approval names.
    pub digest: Digest,
    /// On how many clusters something waits.
    pub clusters: usize,
}

/// The digest of a Release's list of removals.
fn removals_digest(release: &ReleaseId, objects: &[ObjectId]) -> Digest {
    Digest::of(&base_json::canonical_of(&(release, objects)).unwrap_or_default())
}

/// Each cluster of an App with the Release that it should have and what waits for approval there, as its agent says.
fn waiting<'a>(
    index: &'a Index,
    app: &'a AppKey,
) -> impl Iterator<Item = (&'a ClusterId, ReleaseId, &'a [ObjectId])> {
    index.assignments_of(app).filter_map(|(id, assignment)| {
        let observed = index.observed(id, app)?;
        let waits = observed.release == assignment.release
            && observed.variant == assignment.variant
            && !observed.awaiting_approval.is_empty();
        waits.then_some((
            id,
            assignment.release,
            observed.awaiting_approval.as_slice(),
        ))
    })
}

fn covers(list: &RemovalList, objects: &[ObjectId]) -> bool {
    objects
        .iter()
        .all(|object| list.objects.binary_search(object).is_ok())
}

/// The lists of removals of an App that wait for approval, by Release, the newest last.
pub fn removals(index: &Index, app: &AppKey) -> Vec<Removals> {
    let approved = index.approval(app).map(|(approval, _)| approval);
    let mut found: BTreeMap<(u64, ReleaseId), (BTreeSet<&ObjectId>, usize)> = BTreeMap::new();
    for (_, release, objects) in waiting(index, app) {
        let list = approved.and_then(|approval| approval.removal_lists.get(&release));
        if list.is_some_and(|list| covers(list, objects)) {
            continue;
        }
        let number = index
            .release(app, &release)
            .map_or(0, |record| record.number);
        let of = found.entry((number, release)).or_default();
        of.0.extend(objects);
        of.1 += 1;
    }
    let lists = found.into_iter().map(|((number, release), of)| {
        let objects: Vec<ObjectId> = of.0.into_iter().cloned().collect();
        Removals {
            number,
            release,
            digest: removals_digest(&release, &objects),
            objects,
            clusters: of.1,
        }
    });
    lists.collect()
}

/// Lets the orders of clusters have what was approved: only where the list covers everything that waits there.
pub(crate) fn cover(index: &Index, app: &AppKey, writes: &mut Writes<'_>) {
    let Some((approval, revision)) = index.approval(app) else {
        return;
    };
    for (id, release, objects) in waiting(index, app) {
        let Some(list) = approval.removal_lists.get(&release) else {
            continue;
        };
        let Some((assignment, at)) = index.assignment(id, app) else {
            continue;
        };
        let key = keys::assigned(id, app);
        if covers(list, objects) && assignment.removals != Some(list.digest) && !writes.has(&key) {
            let mut covered = assignment.clone();
            covered.removals = Some(list.digest);
            writes.put(key, &covered, Expect::At(at));
        }
    }
    // what is approved of a Release ends with it
    let key = keys::approval(app);
    let ended = |release: &ReleaseId| index.release(app, release).is_none();
    if approval.removal_lists.keys().any(ended) && !writes.has(&key) {
        let mut rest = approval.clone();
        rest.removal_lists.retain(|release, _| !ended(release));
        writes.put(key, &rest, Expect::At(revision));
    }
}

/// Is this the list that was named? Any beginning of its digest of at least eight characters names it.
pub(crate) fn is_named(digest: &Digest, named: Option<&str>) -> bool {
    named.is_none_or(|named| {
        digest.to_string() == named || named.len() >= 8 && digest.hex().starts_with(named)
    })
}

/// Refuses an approval of a list that is not what waits now.
pub(crate) fn changed(what: &str, digest: &Digest) -> CommandRefused {
    CommandRefused::NotNow(format!(
        "{what} changed since: it is list {} now; look at it again",
        digest.short()
    ))
}

pub(crate) fn approval(index: &Index, app: &AppKey) -> (Approval, Expect) {
    index
        .approval(app)
        .map_or((Approval::default(), Expect::Absent), |(old, revision)| {
            (old.clone(), Expect::At(revision))
        })
}

/// Approves the removals of one Release that wait now: of the named list, or of the newest Release.
pub(crate) fn approve_removals(
    index: &Index,
    app: &AppKey,
    named: Option<&str>,
    by: &By,
    writes: &mut Writes<'_>,
) -> Result<String, CommandRefused> {
    let lists = removals(index, app);
    let Some(newest) = lists.last() else {
        return Err(CommandRefused::NotNow(format!(
            "no removals of {app} wait for approval"
        )));
    };
    let Some(list) = lists
        .iter()
        .rev()
        .find(|list| is_named(&list.digest, named))
    else {
        return Err(changed("what would be removed", &newest.digest));
    };
    let (mut all, expect) = approval(index, app);
    let mut objects: BTreeSet<ObjectId> = list.objects.iter().cloned().collect();
    if let Some(before) = all.removal_lists.get(&list.release) {
        objects.extend(before.objects.iter().cloned());
    }
    let objects: Vec<ObjectId> = objects.into_iter().collect();
    let approved = RemovalList {
        digest: removals_digest(&list.release, &objects),
        objects,
        by: by.clone(),
    };
    all.removal_lists.insert(list.release, approved);
    writes.put(keys::approval(app), &all, expect);
    Ok(format!(
        "{} objects of {app} may be removed for release {}, on every cluster where nothing else waits",
        list.objects.len(),
        list.number
    ))
}
