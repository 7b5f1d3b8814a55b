//! Why an apply was refused.

use std::collections::BTreeMap;
use std::fmt;

use crate::fieldpath::Path;
use crate::managed::{Entry, ManagedError, Operation};
use crate::schema::TypeError;

/// A field that another manager owns, with another value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// The manager that owns the field.
    pub manager: String,
    /// How it came to own it.
    pub operation: Operation,
    /// The version of its entry.
    pub api_version: String,
    /// The subresource of its entry.
    pub subresource: String,
    /// The field.
    pub path: Path,
}

/// Why an apply was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// Other managers own fields with other values; `force` would take them. (409, reason Conflict)
    #[error("{}", Message(.0))]
    Conflicts(Vec<Conflict>),
    /// The configuration carries managedFields. (400)
    #[error("metadata.managedFields must be nil")]
    ManagedFieldsPresent,
    /// The configuration is of another version than the object. (400)
    #[error(
        "Incorrect version specified in apply patch. Specified patch version: {found}, expected: {expected}"
    )]
    Version {
        /// What the configuration says.
        found: String,
        /// What it should say.
        expected: String,
    },
    /// The configuration does not fit the type. (400)
    #[error("failed to create typed patch object ({object}): {}", Lines(.errors))]
    Typed {
        /// The object, as `namespace/name; apiVersion, Kind=kind`.
        object: String,
        /// What does not fit, place by place.
        errors: Vec<TypeError>,
    },
    /// The object does not fit its type in another version, in which somebody owns fields. (500)
    #[error("{doing}{}", Lines(.errors))]
    Convert {
        /// What was being done.
        doing: String,
        /// What does not fit, place by place.
        errors: Vec<TypeError>,
    },
    /// The live object's managedFields cannot be read. (500)
    #[error("failed to decode managed fields")]
    Managed(#[from] ManagedError),
}

struct Message<'a>(&'a [Conflict]);

struct Lines<'a>(&'a [TypeError]);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [one] => one.fmt(f),
            many => {
                f.write_str("errors:")?;
                many.iter().try_for_each(|one| write!(f, "\n  {one}"))
            }
        }
    }
}

impl Conflict {
    pub(crate) fn new(entry: &Entry, path: Path) -> Self {
        Self {
            manager: entry.manager.clone(),
            operation: entry.operation,
            api_version: entry.api_version.clone(),
            subresource: entry.subresource.clone(),
            path,
        }
    }

    /// Groups and orders managers as Kubernetes lists them: one with a subresource before the same one without.
    pub(crate) fn rank(&self) -> (&str, Operation, &str, bool, &str) {
        let version = match self.operation {
            Operation::Apply => "",
            Operation::Update => self.api_version.as_str(),
        };
        let main = self.subresource.is_empty();
        (
            &self.manager,
            self.operation,
            version,
            main,
            &self.subresource,
        )
    }

    /// Names the manager as kubectl prints it: `"kubectl-client-side-apply" using apps/v1`.
    pub fn manager_text(&self) -> String {
        let mut text = format!("{:?}", self.manager);
        if !self.subresource.is_empty() {
            text += &format!(" with subresource {:?}", self.subresource);
        }
        if self.operation == Operation::Update {
            text += &format!(" using {}", self.api_version);
        }
        text
    }

    /// The message of this conflict's cause in a Status: `conflict with "hpa" using apps/v1`.
    pub fn cause(&self) -> String {
        format!("conflict with {}", self.manager_text())
    }
}

impl fmt::Display for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [one] = self.0 {
            return write!(
                f,
                "Apply failed with 1 conflict: {}: {}",
                one.cause(),
                one.path
            );
        }
        write!(f, "Apply failed with {} conflicts: ", self.0.len())?;
        let mut managers: BTreeMap<_, Vec<&Conflict>> = BTreeMap::new();
        for conflict in self.0 {
            managers.entry(conflict.rank()).or_default().push(conflict);
        }
        for (at, conflicts) in managers.values().enumerate() {
            if at > 0 {
                f.write_str("\n")?;
            }
            write!(f, "conflicts with {}:", conflicts[0].manager_text())?;
            for conflict in conflicts {
                write!(f, "\n- {}", conflict.path)?;
            }
        }
        Ok(())
    }
}
