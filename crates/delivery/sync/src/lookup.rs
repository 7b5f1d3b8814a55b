//! What is there before anything was applied? Many objects of one kind are looked for with one list of names.

use std::collections::{BTreeMap, BTreeSet};

use k8s_cluster::{Call, ClusterError, Reply};
use k8s_object::{GroupKind, Gvk, ObjectId};

use crate::app::AppSync;
use crate::core::{Core, Purpose};
use crate::object::{Obj, Presence};

/// From so many objects on, a list of names costs less than asking for each.
const MANY: usize = 4;
/// How many names a page holds.
const PAGE: u32 = 500;

/// Objects that are looked for together: of one rank of a step, one kind and one namespace.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Group {
    step: u32,
    rank: u32,
    kind: GroupKind,
    namespace: String,
}

/// How far looking for a group is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Lookup {
    /// So many are to be looked for.
    Wanted(usize),
    /// Names are being listed; these came so far.
    Listing {
        names: BTreeSet<String>,
        pages: usize,
    },
    /// That is done: whoever is still not known is asked for alone.
    Done,
}

fn group(id: &ObjectId, obj: &Obj) -> Option<Group> {
    let place = obj.place?;
    let unknown = obj.live.is_none() && obj.presence == Presence::Unknown;
    unknown.then(|| Group {
        step: place.step,
        rank: place.rank,
        kind: id.group_kind(),
        namespace: id.namespace.clone(),
    })
}

impl AppSync {
    /// Finds out whether an object is there that no watch shows.
    pub(crate) fn find(&mut self, id: &ObjectId, core: &mut Core) {
        let Some(group) = self.objects.get(id).and_then(|obj| group(id, obj)) else {
            return self.look(id, core);
        };
        if self.lookups.is_none() {
            let mut lookups = BTreeMap::new();
            for (id, obj) in self.objects.iter() {
                if let Some(group) = self::group(id, obj) {
                    let Lookup::Wanted(count) = lookups.entry(group).or_insert(Lookup::Wanted(0))
                    else {
                        continue;
                    };
                    *count += 1;
                }
            }
            self.lookups = Some(lookups);
        }
        let lookups = self.lookups.get_or_insert_default();
        match lookups.get(&group) {
            Some(Lookup::Listing { .. }) => {}
            Some(Lookup::Wanted(count)) if *count >= MANY => {
                if let Some(gvk) = self.gvk(id, core) {
                    self.list_names(group, &gvk, String::new(), core);
                }
            }
            _ => self.look(id, core),
        }
    }

    fn list_names(&mut self, group: Group, gvk: &Gvk, token: String, core: &mut Core) -> bool {
        if !self.has_room(core) {
            return false;
        }
        let purpose = Purpose::Names {
            app: self.key.clone(),
            gvk: gvk.clone(),
            group: group.clone(),
        };
        let call = Call::Names {
            gvk: gvk.clone(),
            namespace: group.namespace.clone(),
            limit: PAGE,
            token,
        };
        core.call(purpose, call);
        let lookups = self.lookups.get_or_insert_default();
        let lookup = lookups.entry(group).or_insert(Lookup::Done);
        if !matches!(lookup, Lookup::Listing { .. }) {
            *lookup = Lookup::Listing {
                names: BTreeSet::new(),
                pages: 0,
            };
        }
        true
    }

    /// Takes a page of names in.
    pub(crate) fn named(
        &mut self,
        group: Group,
        gvk: &Gvk,
        result: Result<Reply, ClusterError>,
        core: &mut Core,
    ) {
        let lookups = self.lookups.get_or_insert_default();
        let Some(Lookup::Listing { names, pages }) = lookups.get_mut(&group) else {
            return;
        };
        let mut whole = false;
        if let Ok(Reply::Names { names: page, token }) = result {
            names.extend(page);
            *pages += 1;
            whole = token.is_empty();
            let asked = *pages;
            // a namespace full of what others made is not read to its end for a few objects
            let worth = |this: &Self| {
                let wanted = this.objects.iter();
                let wanted =
                    wanted.filter(|(id, obj)| self::group(id, obj).as_ref() == Some(&group));
                asked < wanted.count() / 2
            };
            if !whole && worth(self) && self.list_names(group.clone(), gvk, token, core) {
                return;
            }
        }
        let lookups = self.lookups.get_or_insert_default();
        let lookup = lookups.insert(group.clone(), Lookup::Done);
        let Some(Lookup::Listing { names, .. }) = lookup else {
            return;
        };
        let found: Vec<ObjectId> = self
            .objects
            .iter()
            .filter(|(id, obj)| self::group(id, obj).as_ref() == Some(&group))
            .map(|(id, _)| id.clone())
            .collect();
        for id in found {
            let there = names.contains(&id.name);
            if let Some(obj) = self.objects.get_mut(&id)
                && whole
                && !there
                && obj.flight.is_none()
            {
                obj.presence = Presence::Absent;
            }
            self.objects.touch(&id);
        }
    }
}
