//! What a render is given, and what it gives.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use roadstead_template::{Policy, Value};

use crate::caps::Capabilities;
use crate::diag::Place;
use crate::post::{Hook, Manifest};
use crate::values::layers::Layer;

/// What `.Release` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// The release's name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// How many times it was installed or upgraded, from 1.
    pub revision: i64,
    /// Whether this is an upgrade, and no first install.
    pub is_upgrade: bool,
}

impl Release {
    /// A first install.
    pub fn install(name: impl Into<String>, namespace: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            namespace: namespace.into(),
            revision: 1,
            is_upgrade: false,
        }
    }

    /// Whether Helm would take the name; the error is Helm's.
    pub(crate) fn check(&self) -> Result<(), String> {
        let name = &self.name;
        if name.is_empty() {
            return Err("release name \"\": no name provided".to_owned());
        }
        let part = |part: &str| {
            let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
            let bytes = part.as_bytes();
            matches!((bytes.first(), bytes.last()), (Some(&first), Some(&last)) if plain(first) && plain(last))
                && bytes.iter().all(|&byte| plain(byte) || byte == b'-')
        };
        if name.len() > 53 || !name.split('.').all(part) {
            return Err(format!(
                "release name {name:?}: invalid release name, must match regex ^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$ and the length must not be longer than 53"
            ));
        }
        Ok(())
    }

    pub(crate) fn value(&self) -> Value {
        Value::dict([
            ("Name", Value::from(self.name.as_str())),
            ("Namespace", self.namespace.as_str().into()),
            ("IsUpgrade", self.is_upgrade.into()),
            ("IsInstall", (!self.is_upgrade).into()),
            ("Revision", Value::int(self.revision)),
            ("Service", "Helm".into()),
        ])
    }
}

/// Objects that `lookup` may find: a read-only picture of a cluster.
pub type Objects = BTreeMap<ObjectKey, serde_json::Value>;

/// Where an object is in a cluster.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObjectKey {
    /// `apps/v1`
    pub api_version: String,
    /// `Deployment`
    pub kind: String,
    /// Its namespace; nothing for objects of the whole cluster.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// Everything that a render is made from, besides the chart.
pub struct RenderInput<'a> {
    /// The release.
    pub release: Release,
    /// The values, later ones over earlier ones.
    pub layers: &'a [Layer],
    /// What the cluster can do.
    pub capabilities: Capabilities,
    /// What becomes of functions whose result differs from run to run. [`Policy::Live`] takes the seed as well: it is for
    /// the caller to give another one each time.
    pub policy: Policy,
    /// Where random bytes come from: the same seed gives the same ones.
    pub seed: [u8; 32],
    /// The time for `now`, in nanoseconds since 1970.
    pub now: i128,
    /// What `lookup` finds.
    pub objects: Option<&'a Objects>,
    /// Whether values need not fit `values.schema.json`.
    pub skip_schema: bool,
    /// Whether the notes of charts in the chart are wanted too.
    pub sub_notes: bool,
    /// How much templates may take.
    pub limits: roadstead_template::Limits,
    /// Says that the render has taken too long; asked now and then.
    pub expired: Option<&'a dyn Fn() -> bool>,
}

impl<'a> RenderInput<'a> {
    /// A first install with these values, everything else as it is by default.
    pub fn new(layers: &'a [Layer], capabilities: Capabilities) -> Self {
        Self {
            release: Release::install("release-name", "default"),
            layers,
            capabilities,
            policy: Policy::Seeded,
            seed: [0; 32],
            now: 0,
            objects: None,
            skip_schema: false,
            sub_notes: false,
            limits: roadstead_template::Limits::default(),
            expired: None,
        }
    }
}

/// A file of `crds/`, as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crd {
    /// The file, as Helm names it.
    pub source: String,
    /// What is in it.
    pub text: String,
}

/// A call of a function whose result differs from run to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallSite {
    /// The function.
    pub function: String,
    /// Where it was called.
    pub place: Place,
}

/// What a chart renders to.
#[derive(Debug, Clone, PartialEq)]
pub struct Rendered {
    /// The documents, in the order in which Helm installs them.
    pub manifests: Vec<Manifest>,
    /// The documents that are hooks.
    pub hooks: Vec<Hook>,
    /// The files of `crds/`.
    pub crds: Vec<Crd>,
    /// `NOTES.txt`.
    pub notes: String,
    /// Where functions were called whose result differs from run to run.
    pub nondeterministic: Vec<CallSite>,
    /// What Helm warns of.
    pub warnings: Vec<String>,
}

/// What `helm template` is asked to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Show {
    /// The files of `crds/`.
    pub crds: bool,
    /// Hooks.
    pub hooks: bool,
    /// Hooks that are tests.
    pub tests: bool,
}

impl Show {
    /// Everything.
    pub fn all() -> Self {
        Self {
            crds: true,
            hooks: true,
            tests: true,
        }
    }
}

impl Rendered {
    /// What `helm template` prints.
    pub fn to_text(&self, show: &Show) -> String {
        let mut out = String::new();
        // Writing to a string does not fail.
        let mut add = |source: &str, text: &str| {
            let _ = write!(out, "---\n# Source: {source}\n{text}\n");
        };
        if show.crds {
            for crd in &self.crds {
                add(&crd.source, &crd.text);
            }
        }
        for manifest in &self.manifests {
            add(&manifest.source, &manifest.text);
        }
        let mut out = out.trim().to_owned();
        out.push('\n');
        if show.hooks {
            for hook in self
                .hooks
                .iter()
                .filter(|hook| show.tests || !hook.is_test())
            {
                let Manifest { source, text, .. } = &hook.manifest;
                let _ = write!(out, "---\n# Source: {source}\n{text}\n");
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn release_names_are_checked() {
        for name in ["a", "a-b.c9", &"a".repeat(53)] {
            assert_eq!(Release::install(name, "").check(), Ok(()), "{name}");
        }
        for name in ["", "A", "-a", "a-", "a..b", "a_b", &"a".repeat(54)] {
            assert!(Release::install(name, "").check().is_err(), "{name}");
        }
    }
}
