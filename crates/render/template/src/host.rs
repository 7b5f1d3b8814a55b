//! The world as a render may see it.

use std::any::Any;

use crate::call::{FuncError, Site};
use crate::text::Str;
use crate::value::Value;

/// What becomes of functions whose result differs from run to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Policy {
    /// They are errors.
    Forbid,
    /// They draw from a seed: the same render gives the same bytes.
    #[default]
    Seeded,
    /// They do as in Helm.
    Live,
}

/// Everything that a render gets from outside its templates and data. A host decides by its [`Policy`].
pub trait Host {
    /// What becomes of functions whose result differs from run to run.
    fn policy(&self) -> Policy;

    /// The time for `now` and its like, in nanoseconds since 1970.
    fn now(&mut self, function: &str, site: &Site<'_>) -> Result<i128, FuncError>;

    /// Fills a buffer with random bytes: under [`Policy::Seeded`] from the seed and the site's ordinal.
    fn random(
        &mut self,
        function: &str,
        site: &Site<'_>,
        buffer: &mut [u8],
    ) -> Result<(), FuncError>;

    /// Objects of a cluster, for `lookup`: an empty map if there is none.
    fn lookup(
        &mut self,
        api_version: &str,
        kind: &str,
        namespace: &str,
        name: &str,
    ) -> Result<Value, FuncError> {
        let _ = (api_version, kind, namespace, name);
        Ok(Value::Map(Default::default()))
    }

    /// An address, for `getHostByName`: empty unless someone resolves names.
    fn resolve(&mut self, name: &str) -> Result<Str, FuncError> {
        let _ = name;
        Ok(Str::new())
    }

    /// Whether the render has taken too long; asked every thousand steps or so.
    fn expired(&mut self) -> bool {
        false
    }

    /// Itself, for functions that belong to one host.
    fn as_any(&mut self) -> &mut dyn Any;
}

/// A host that forbids all: for renders of pure templates, and tests.
#[derive(Debug, Default, Clone, Copy)]
pub struct Nowhere;

impl Host for Nowhere {
    fn policy(&self) -> Policy {
        Policy::Forbid
    }

    fn now(&mut self, function: &str, _: &Site<'_>) -> Result<i128, FuncError> {
        Err(FuncError::policy(format!(
            "{function} is forbidden here: its result differs from run to run"
        )))
    }

    fn random(&mut self, function: &str, _: &Site<'_>, _: &mut [u8]) -> Result<(), FuncError> {
        Err(FuncError::policy(format!(
            "{function} is forbidden here: its result differs from run to run"
        )))
    }

    fn as_any(&mut self) -> &mut dyn Any {
        self
    }
}
