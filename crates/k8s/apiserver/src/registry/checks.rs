//! Checks that every object goes through: names, labels, owners, namespaces.

use serde_json::{Value, json};

use super::Registry;
use super::words::{self, Form};
use crate::resource::Looks;
use crate::{
    Cause, Details, FieldError, NameRule, NamespacePolicy, NamespaceState, ResourceDef, Status,
};

/// Says what is wrong with a name.
pub(crate) fn name_problems(rule: NameRule, name: &str) -> Vec<String> {
    match rule {
        NameRule::Subdomain => Form::Subdomain.problems(name),
        NameRule::Label if name.contains('.') => vec!["must not contain dots".to_owned()],
        NameRule::Label => Form::Label.problems(name),
        NameRule::Label1035 => Form::Label1035.problems(name),
        NameRule::PathSegment => words::path_segment(name),
    }
}

/// Checks `metadata` of any object.
pub(crate) fn metadata(def: &ResourceDef, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let name = k8s_object::name(object);
    if old.is_none() {
        if name.is_empty() {
            errors.push(FieldError::required(
                "metadata.name",
                "name or generateName is required",
            ));
        } else {
            for problem in name_problems(def.names, name) {
                errors.push(FieldError::invalid("metadata.name", json!(name), problem));
            }
        }
    }
    let Some(meta) = k8s_object::meta(object) else {
        return errors;
    };
    for (field, check) in [
        (
            "labels",
            words::labels as fn(&Value, &str, &mut Vec<FieldError>),
        ),
        ("annotations", words::annotations),
    ] {
        if let Some(value) = meta.get(field) {
            check(value, &format!("metadata.{field}"), &mut errors);
        }
    }
    owners(meta.get("ownerReferences"), &mut errors);
    if old.is_some() {
        // every update has this looked at by all updates' checks, which do it twice, and by its kind's own
        let once = errors.clone();
        for _ in 1..def.looks.all() {
            errors.extend(once.iter().cloned());
        }
    }
    let custom = !matches!(def.schema, crate::Schema::Builtin) || def.group == crate::crd::GROUP;
    let looks = if custom {
        Looks {
            finalizers: false,
            ..def.looks
        }
    } else {
        def.looks
    };
    finalizers(meta.get("finalizers"), old, looks, &mut errors);
    errors
}

fn owners(references: Option<&Value>, errors: &mut Vec<FieldError>) {
    let mut controllers = 0;
    for reference in references.and_then(Value::as_array).into_iter().flatten() {
        for field in ["apiVersion", "kind", "name", "uid"] {
            if reference[field].as_str().unwrap_or_default().is_empty() {
                errors.push(FieldError::invalid(
                    format!("metadata.ownerReferences.{field}"),
                    json!(""),
                    "must not be empty",
                ));
            }
        }
        controllers += usize::from(reference["controller"] == json!(true));
    }
    if controllers > 1 {
        errors.push(FieldError::invalid(
            "metadata.ownerReferences",
            references.cloned().unwrap_or_default(),
            "Only one reference can have Controller set to true",
        ));
    }
}

/// Finalizers that need no domain.
const STANDARD_FINALIZERS: [&str; 3] = ["kubernetes", "orphan", "foregroundDeletion"];

fn finalizers(
    list: Option<&Value>,
    old: Option<&Value>,
    looks: Looks,
    errors: &mut Vec<FieldError>,
) {
    let names = |list: Option<&Value>| -> Vec<String> {
        list.and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(|name| name.as_str().map(str::to_owned))
            .collect()
    };
    let new = names(list);
    // a create is looked at once
    let (forms, kinds) = match old {
        None => (1, 1),
        Some(_) => {
            let whole = usize::from(looks.whole);
            (1 + whole, whole + usize::from(looks.update))
        }
    };
    let kinds = if looks.finalizers { kinds } else { 0 };
    for (index, name) in new.iter().enumerate() {
        for problem in words::qualified(name) {
            let error = FieldError::invalid("metadata.finalizers", json!(name), problem);
            errors.extend(std::iter::repeat_n(error, forms));
        }
        if !name.contains('/') && !STANDARD_FINALIZERS.contains(&name.as_str()) {
            let error = FieldError::invalid(
                format!("metadata.finalizers[{index}]"),
                json!(name),
                "name is neither a standard finalizer name nor is it fully qualified",
            );
            errors.extend(std::iter::repeat_n(error, kinds));
        }
    }
    let Some(old) = old.and_then(k8s_object::meta) else {
        return;
    };
    if old.contains_key("deletionTimestamp") {
        let known = names(old.get("finalizers"));
        let added: Vec<String> = new
            .iter()
            .filter(|name| !known.contains(name))
            .map(|name| format!("{name:?}"))
            .collect();
        // the two checks of updates say so
        let again = 1 + usize::from(looks.update);
        for _ in 0..if added.is_empty() { 0 } else { again } {
            errors.push(FieldError::forbidden(
                "metadata.finalizers",
                format!(
                    "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                    added.join(", ")
                ),
            ));
        }
    }
}

impl Registry {
    /// Tells what is known of a namespace.
    pub fn namespace_state(&self, namespace: &str) -> Result<NamespaceState, Status> {
        let (group, plural) = match &self.config().namespaces {
            NamespacePolicy::Open => return Ok(NamespaceState::Active),
            NamespacePolicy::Hook(hook) => return hook(self, namespace),
            NamespacePolicy::Kubernetes => ("", "namespaces"),
            NamespacePolicy::Resource { group, plural } => (group.as_str(), plural.as_str()),
        };
        let def = self.resource(group, plural)?;
        let Some(object) = self.find(&def, "", namespace)? else {
            return Ok(NamespaceState::Missing);
        };
        let ends = k8s_object::meta(&object)
            .is_some_and(|meta| meta.contains_key("deletionTimestamp"))
            || object["status"]["phase"] == json!("Terminating");
        Ok(if ends {
            NamespaceState::Terminating
        } else {
            NamespaceState::Active
        })
    }

    /// Refuses a create in a namespace that is not there or ends.
    pub(crate) fn check_namespace(
        &self,
        def: &ResourceDef,
        namespace: &str,
        name: &str,
    ) -> Result<(), Status> {
        if !def.namespaced {
            return Ok(());
        }
        match self.namespace_state(namespace)? {
            NamespaceState::Active => Ok(()),
            NamespaceState::Missing => {
                let (group, plural) = match &self.config().namespaces {
                    NamespacePolicy::Resource { group, plural } => {
                        (group.as_str(), plural.as_str())
                    }
                    _ => ("", "namespaces"),
                };
                match self.resource(group, plural) {
                    Ok(namespaces) => Err(Status::not_found(&namespaces, namespace)),
                    Err(_) => Err(Status::new(
                        404,
                        "NotFound",
                        format!("namespaces {namespace:?} not found"),
                    )),
                }
            }
            NamespaceState::Terminating => {
                let why = format!(
                    "unable to create new content in namespace {namespace} because it is being terminated"
                );
                Err(Status::forbidden(def, name, &why).about(Details {
                    name: name.to_owned(),
                    group: def.group.clone(),
                    kind: def.plural.clone(),
                    causes: vec![Cause {
                        reason: "NamespaceTerminating".to_owned(),
                        message: format!("namespace {namespace} is being terminated"),
                        field: "metadata.namespace".to_owned(),
                    }],
                    ..Details::default()
                }))
            }
        }
    }
}
