//! Who may do what.

mod rbac;
mod reviews;

use async_trait::async_trait;

use crate::{Registry, Status, UserInfo};

pub use rbac::{Rbac, bootstrap_rbac};
pub(crate) use reviews::review;

/// What somebody wants to do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attributes {
    /// The verb.
    pub verb: String,
    /// The API group.
    pub group: String,
    /// The version.
    pub version: String,
    /// The plural resource name; empty for a path that is no resource.
    pub resource: String,
    /// The subresource.
    pub subresource: String,
    /// The namespace; empty for all, or for a cluster-scoped resource.
    pub namespace: String,
    /// The object's name; empty for all.
    pub name: String,
    /// The path, where it is no resource.
    pub path: String,
}

/// The answer of an authorizer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decision {
    /// Is it allowed?
    pub allowed: bool,
    /// Why.
    pub reason: String,
}

impl Decision {
    /// Yes.
    pub fn allow(reason: impl Into<String>) -> Self {
        Self {
            allowed: true,
            reason: reason.into(),
        }
    }

    /// No.
    pub fn deny(reason: impl Into<String>) -> Self {
        Self {
            allowed: false,
            reason: reason.into(),
        }
    }
}

/// One rule, as a review lists it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rule {
    /// The verbs.
    pub verbs: Vec<String>,
    /// The groups; empty for rules about paths.
    pub groups: Vec<String>,
    /// The resources, with their subresources behind a slash.
    pub resources: Vec<String>,
    /// The names; empty for all.
    pub names: Vec<String>,
    /// The paths, for rules about paths.
    pub paths: Vec<String>,
}

/// Decides who may do what.
#[async_trait]
pub trait Authorizer: Send + Sync {
    /// Decides.
    async fn authorize(
        &self,
        registry: &Registry,
        user: &UserInfo,
        attributes: &Attributes,
    ) -> Result<Decision, Status>;

    /// Lists what somebody may do in a namespace; `None` if that cannot be said.
    async fn rules(
        &self,
        _registry: &Registry,
        _user: &UserInfo,
        _namespace: &str,
    ) -> Result<Option<Vec<Rule>>, Status> {
        Ok(None)
    }
}

/// Allows everything to everybody.
#[derive(Debug, Clone, Copy, Default)]
pub struct AllowAll;

#[async_trait]
impl Authorizer for AllowAll {
    async fn authorize(
        &self,
        _registry: &Registry,
        _user: &UserInfo,
        _attributes: &Attributes,
    ) -> Result<Decision, Status> {
        Ok(Decision::allow(""))
    }

    async fn rules(
        &self,
        _registry: &Registry,
        _user: &UserInfo,
        _namespace: &str,
    ) -> Result<Option<Vec<Rule>>, Status> {
        let all = || vec!["*".to_owned()];
        Ok(Some(vec![
            Rule {
                verbs: all(),
                groups: all(),
                resources: all(),
                ..Rule::default()
            },
            Rule {
                verbs: all(),
                paths: all(),
                ..Rule::default()
            },
        ]))
    }
}

/// Words a refusal.
pub(crate) fn refusal(user: &UserInfo, attributes: &Attributes, reason: &str) -> Status {
    let because = if reason.is_empty() {
        String::new()
    } else {
        format!(": {reason}")
    };
    if attributes.resource.is_empty() {
        return Status::new(
            403,
            "Forbidden",
            format!(
                "forbidden: User {:?} cannot {} path {:?}{because}",
                user.name, attributes.verb, attributes.path
            ),
        )
        .about(crate::Details::default());
    }
    let mut resource = attributes.resource.clone();
    if !attributes.subresource.is_empty() {
        resource = format!("{resource}/{}", attributes.subresource);
    }
    let scope = if attributes.namespace.is_empty() {
        "at the cluster scope".to_owned()
    } else {
        format!("in the namespace {:?}", attributes.namespace)
    };
    let mut shown = attributes.resource.clone();
    if !attributes.group.is_empty() {
        shown = format!("{shown}.{}", attributes.group);
    }
    if !attributes.name.is_empty() {
        shown = format!("{shown} {:?}", attributes.name);
    }
    Status::new(
        403,
        "Forbidden",
        format!(
            "{shown} is forbidden: User {:?} cannot {} resource {resource:?} in API group {:?} {scope}{because}",
            user.name, attributes.verb, attributes.group
        ),
    )
    .about(crate::Details {
        name: attributes.name.clone(),
        group: attributes.group.clone(),
        kind: attributes.resource.clone(),
        ..crate::Details::default()
    })
}
