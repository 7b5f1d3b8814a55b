//! The objects of a build, in order; no two of the same name.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::diag::Fault;
use crate::id::ResId;
use crate::node::Step;
use crate::resource::{Behavior, Item};

/// Objects that are copied only where they change.
#[derive(Debug, Clone, Default)]
pub(crate) struct Objects {
    pub(crate) items: Vec<Arc<Item>>,
}

impl Objects {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Item> {
        self.items.iter().map(|item| &**item)
    }

    pub(crate) fn get_mut(&mut self, at: usize) -> &mut Item {
        Arc::make_mut(&mut self.items[at])
    }

    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    /// Adds objects, each of which must have a name of its own.
    pub(crate) fn append(&mut self, more: Vec<Arc<Item>>) -> Step<()> {
        let mut keys: BTreeMap<_, usize> = BTreeMap::new();
        for (at, item) in self.items.iter().enumerate() {
            keys.insert(item.id().key(), at);
        }
        for item in more {
            let id = item.id();
            if let Some(&at) = keys.get(&id.key()) {
                let first = &self.items[at];
                let text = format!("{id} is there already");
                let mut fault = Fault::new(text).hint(
                    "leave one of them out, or make it a patch or a generator with behavior: merge",
                );
                if !first.file.is_empty() {
                    fault.text = format!("{}, from {}:{}", fault.text, first.file, first.line);
                }
                return Err(fault);
            }
            keys.insert(id.key(), self.items.len());
            self.items.push(item);
        }
        Ok(())
    }

    /// The objects that are or were called so, under a name that most others do not have.
    pub(crate) fn called(&self, name: &str, fits: impl Fn(&ResId) -> bool) -> Vec<usize> {
        let fits = |id: &ResId| *id.name == *name && fits(id);
        let named = |item: &Item| {
            !item.gone
                && item.goes_by(name)
                && (item.previous().iter().any(fits) || fits(&item.id()))
        };
        let all = self.items.iter().enumerate();
        all.filter(|(_, item)| named(item))
            .map(|(at, _)| at)
            .collect()
    }

    /// The one object that is or was called so.
    pub(crate) fn the(&self, id: &ResId) -> Step<usize> {
        let name = &id.name;
        let found = self.called(name, |other| other.same(id));
        match found[..] {
            [one] => Ok(one),
            [] => {
                let alike = self.iter().filter(|item| item.goes_by(name));
                let mut alike: Vec<_> = alike.map(|item| item.id().to_string()).collect();
                if alike.is_empty() {
                    let kin = self.iter().filter(|item| *item.kind() == *id.gvk.kind);
                    alike = kin.map(|item| item.id().to_string()).collect();
                }
                Err(Fault::new(format!("no object is called {id}")).candidates(alike))
            }
            _ => {
                let ids = found.iter().map(|&at| self.items[at].id().to_string());
                Err(Fault::new(format!("several objects are called {id}")).candidates(ids))
            }
        }
    }

    /// Adds what a generator made, or merges it into what is there.
    pub(crate) fn absorb(&mut self, made: Vec<Item>) -> Step<()> {
        for mut item in made {
            let id = item.id();
            let found = self.called(&id.name, |other| other.same(&id));
            let behavior = item.marks.behavior;
            match (&found[..], behavior) {
                ([], Behavior::Merge | Behavior::Replace) => {
                    let names = self.iter().filter(|one| *one.kind() == *id.gvk.kind);
                    let names = names.map(|one| one.id().to_string());
                    let text = format!(
                        "{id} is not there, so there is nothing to merge into or to replace"
                    );
                    return Err(Fault::new(text).candidates(names));
                }
                ([], _) => self.append(vec![Arc::new(item)])?,
                (&[at], Behavior::Replace) => {
                    item.inherit(&self.items[at])?;
                    self.replace(at, item)?;
                }
                (&[at], Behavior::Merge) => {
                    let old = Arc::clone(&self.items[at]);
                    let origin = old.annotation(crate::resource::ORIGIN);
                    item.inherit(&old)?;
                    item.inherit_data(&old)?;
                    if let Some(origin) = origin {
                        item.annotate(crate::resource::ORIGIN, Some(&origin))?;
                    }
                    self.replace(at, item)?;
                }
                (&[_], _) => {
                    let text = format!("{id} is there already");
                    return Err(Fault::new(text).hint("say behavior: merge or behavior: replace"));
                }
                (several, _) => {
                    let ids = several.iter().map(|&at| self.items[at].id().to_string());
                    let text = format!("several objects could be meant by {id}");
                    return Err(Fault::new(text).candidates(ids));
                }
            }
        }
        Ok(())
    }

    fn replace(&mut self, at: usize, item: Item) -> Step<()> {
        let id = item.id();
        let now: Vec<_> = (0..self.len())
            .filter(|&i| self.items[i].goes_by(&id.name) && self.items[i].id().same(&id))
            .collect();
        if now != [at] {
            let ids = now.iter().map(|&at| self.items[at].id().to_string());
            let text = format!("{id} does not take the place of one object");
            return Err(Fault::new(text).candidates(ids));
        }
        self.items[at] = Arc::new(item);
        Ok(())
    }

    /// Drops what patches took away.
    pub(crate) fn drop_gone(&mut self) {
        let empty = |item: &Item| item.gone || item.tree.get(item.tree.root).is_empty();
        self.items.retain(|item| !empty(item));
    }

    /// Complains if two objects are called the same.
    pub(crate) fn check(&self) -> Step<()> {
        let mut keys = BTreeSet::new();
        for item in self.iter() {
            if !keys.insert(item.id().key()) {
                let text = format!("two objects are called {}", item.id());
                return Err(Fault::new(text));
            }
        }
        Ok(())
    }
}
