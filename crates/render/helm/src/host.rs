//! What a render sees of the world: a clock that stands still, randomness from a seed, a picture of a cluster.

use std::any::Any;
use std::collections::BTreeMap;

use roadstead_sprig::seeded_bytes;
use roadstead_template::{FuncError, Host, Policy, Site, Value};

use crate::diag::Place;
use crate::engine::Compiled;
use crate::input::{CallSite, RenderInput};
use crate::values::frozen::Frozen;

/// The host of one render.
pub(crate) struct RenderHost<'a> {
    input: &'a RenderInput<'a>,
    sites: Vec<(String, String, usize)>,
    drawn: BTreeMap<(String, String), u64>,
    /// What single functions may know of this host.
    nothing: (),
}

/// How many call sites are remembered.
const MAX_SITES: usize = 10_000;

impl<'a> RenderHost<'a> {
    pub(crate) fn new(input: &'a RenderInput<'a>) -> Self {
        Self {
            input,
            sites: Vec::new(),
            drawn: BTreeMap::new(),
            nothing: (),
        }
    }

    /// The call sites of functions whose result differs from run to run, each once.
    pub(crate) fn into_sites(mut self, compiled: &Compiled) -> Vec<CallSite> {
        self.sites.sort();
        self.sites.dedup();
        self.sites
            .into_iter()
            .map(|(file, function, offset)| {
                let text = compiled.source(&file).unwrap_or_default();
                let before = text.get(..offset).unwrap_or("");
                let column = before.rsplit('\n').next().unwrap_or("").chars().count();
                CallSite {
                    function,
                    place: Place {
                        file,
                        line: before.matches('\n').count() + 1,
                        column: column + 1,
                    },
                }
            })
            .collect()
    }

    fn note(&mut self, function: &str, site: &Site<'_>) -> Result<(), FuncError> {
        if self.input.policy == Policy::Forbid {
            return Err(FuncError::policy(format!(
                "{function} gives another result on each run, and the policy of this render forbids that"
            )));
        }
        let known = |(file, name, offset): &(String, String, usize)| {
            *offset == site.offset && file == site.file && name == function
        };
        if self.sites.len() < MAX_SITES && !self.sites.last().is_some_and(known) {
            self.sites
                .push((site.file.to_owned(), function.to_owned(), site.offset));
        }
        Ok(())
    }
}

impl Host for RenderHost<'_> {
    fn policy(&self) -> Policy {
        self.input.policy
    }

    fn now(&mut self, function: &str, site: &Site<'_>) -> Result<i128, FuncError> {
        self.note(function, site)?;
        Ok(self.input.now)
    }

    fn random(
        &mut self,
        function: &str,
        site: &Site<'_>,
        buffer: &mut [u8],
    ) -> Result<(), FuncError> {
        self.note(function, site)?;
        // By file, function and how often it was called there: one call more in one file changes nothing in another.
        let place = (site.file.to_owned(), function.to_owned());
        let drawn = self.drawn.entry(place).or_insert(0);
        let count = drawn.to_be_bytes();
        *drawn += 1;
        let place: [&[u8]; 3] = [site.file.as_bytes(), function.as_bytes(), &count];
        seeded_bytes(&self.input.seed, &place, buffer)
    }

    fn lookup(
        &mut self,
        api_version: &str,
        kind: &str,
        namespace: &str,
        name: &str,
    ) -> Result<Value, FuncError> {
        let Some(objects) = self.input.objects else {
            return Ok(Value::Map(Default::default()));
        };
        let mut found = objects.iter().filter(|(key, _)| {
            key.api_version == api_version
                && key.kind == kind
                && (namespace.is_empty() || key.namespace == namespace)
                && (name.is_empty() || key.name == name)
        });
        if !name.is_empty() {
            return Ok(match found.next() {
                Some((_, object)) => Frozen::of(object).thaw(false),
                None => Value::Map(Default::default()),
            });
        }
        let items: Vec<Value> = found
            .map(|(_, object)| Frozen::of(object).thaw(false))
            .collect();
        if items.is_empty() {
            return Ok(Value::Map(Default::default()));
        }
        Ok(Value::dict([
            ("apiVersion", Value::from(api_version)),
            ("kind", format!("{kind}List").into()),
            ("items", Value::list(items)),
        ]))
    }

    fn expired(&mut self) -> bool {
        self.input.expired.is_some_and(|expired| expired())
    }

    fn as_any(&mut self) -> &mut dyn Any {
        &mut self.nothing
    }
}
