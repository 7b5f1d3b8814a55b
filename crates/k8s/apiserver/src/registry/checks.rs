//! Checks that every object goes through: names, labels, owners, namespaces.

use serde_json::{Value, json};

use super::Registry;
use crate::{
    Cause, Details, FieldError, NameRule, NamespacePolicy, NamespaceState, ResourceDef, Status,
};

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const LABEL_1035: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
const QUALIFIED: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

fn is_label(text: &str) -> bool {
    let inner = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    let bytes = text.as_bytes();
    !bytes.is_empty()
        && bytes.iter().all(|c| inner(*c) || *c == b'-')
        && bytes.first().is_some_and(|c| inner(*c))
        && bytes.last().is_some_and(|c| inner(*c))
}

fn is_qualified_part(text: &str) -> bool {
    let bytes = text.as_bytes();
    !bytes.is_empty()
        && bytes
            .iter()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.'))
        && bytes.first().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.last().is_some_and(u8::is_ascii_alphanumeric)
}

/// Says what is wrong with a name.
pub(crate) fn name_problem(rule: NameRule, name: &str) -> Option<String> {
    let too_long = |limit: usize| {
        (name.len() > limit).then(|| format!("must be no more than {limit} characters"))
    };
    match rule {
        NameRule::Subdomain => {
            too_long(253).or_else(|| (!name.split('.').all(is_label)).then(|| SUBDOMAIN.to_owned()))
        }
        NameRule::Label if name.contains('.') => Some("must not contain dots".to_owned()),
        NameRule::Label => too_long(63).or_else(|| (!is_label(name)).then(|| LABEL.to_owned())),
        NameRule::Label1035 => too_long(63).or_else(|| {
            (!is_label(name) || name.starts_with(|c: char| c.is_ascii_digit()))
                .then(|| LABEL_1035.to_owned())
        }),
        NameRule::PathSegment => match name {
            "." | ".." => Some(format!("may not be '{name}'")),
            _ if name.contains('/') => Some("may not contain '/'".to_owned()),
            _ if name.contains('%') => Some("may not contain '%'".to_owned()),
            _ => None,
        },
    }
}

/// Says what is wrong with a key of labels.
pub(crate) fn qualified_name_problem(key: &str) -> Option<String> {
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    if let Some(prefix) = prefix {
        if prefix.is_empty() {
            return Some("prefix part must be non-empty".to_owned());
        }
        if prefix.len() > 253 || !prefix.split('.').all(is_label) {
            return Some(format!("prefix part {SUBDOMAIN}"));
        }
    }
    if name.is_empty() {
        return Some("name part must be non-empty".to_owned());
    }
    if name.len() > 63 {
        return Some("name part must be no more than 63 characters".to_owned());
    }
    (!is_qualified_part(name)).then(|| QUALIFIED.to_owned())
}

/// Says what is wrong with a value of a label.
pub(crate) fn label_value_problem(value: &str) -> Option<String> {
    if value.len() > 63 {
        return Some("must be no more than 63 bytes".to_owned());
    }
    (!value.is_empty() && !is_qualified_part(value)).then(|| LABEL_VALUE.to_owned())
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
        } else if let Some(problem) = name_problem(def.names, name) {
            errors.push(FieldError::invalid("metadata.name", json!(name), problem));
        }
    }
    let Some(meta) = k8s_object::meta(object) else {
        return errors;
    };
    if let Some(labels) = meta.get("labels").and_then(Value::as_object) {
        for (key, value) in labels {
            if let Some(problem) = qualified_name_problem(key) {
                errors.push(FieldError::invalid("metadata.labels", json!(key), problem));
            }
            let value = value.as_str().unwrap_or_default();
            if value.len() > 63 {
                let problem = "must be no more than 63 characters";
                errors.push(FieldError::invalid(
                    "metadata.labels",
                    json!(value),
                    problem,
                ));
            } else if !value.is_empty() && !is_qualified_part(value) {
                let problem = LABEL_VALUE;
                errors.push(FieldError::invalid(
                    "metadata.labels",
                    json!(value),
                    problem,
                ));
            }
        }
    }
    if let Some(annotations) = meta.get("annotations").and_then(Value::as_object) {
        let mut size = 0;
        for (key, value) in annotations {
            if let Some(problem) = qualified_name_problem(&key.to_lowercase()) {
                errors.push(FieldError::invalid(
                    "metadata.annotations",
                    json!(key),
                    problem,
                ));
            }
            size += key.len() + value.as_str().map_or(0, str::len);
        }
        if size > 262_144 {
            errors.push(FieldError::new(
                "metadata.annotations",
                crate::FieldProblem::TooLong,
                None,
                "may not be more than 262144 bytes",
            ));
        }
    }
    owners(meta.get("ownerReferences"), &mut errors);
    let custom = !matches!(def.schema, crate::Schema::Builtin) || def.group == crate::crd::GROUP;
    finalizers(meta.get("finalizers"), old, custom, &mut errors);
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
    custom: bool,
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
    for (index, name) in new.iter().enumerate() {
        if let Some(problem) = qualified_name_problem(name) {
            errors.push(FieldError::invalid(
                "metadata.finalizers",
                json!(name),
                problem,
            ));
        } else if !custom && !name.contains('/') && !STANDARD_FINALIZERS.contains(&name.as_str()) {
            errors.push(FieldError::invalid(
                format!("metadata.finalizers[{index}]"),
                json!(name),
                "name is neither a standard finalizer name nor is it fully qualified",
            ));
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
        if !added.is_empty() {
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
