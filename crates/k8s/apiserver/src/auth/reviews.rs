//! Reviews: questions about who may do what, and who asks.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{Attributes, Authorizer};
use crate::{FieldError, Registry, ResourceDef, Status, UserInfo, time_text};

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn texts(value: &Value) -> Vec<String> {
    value
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|text| text.as_str().map(str::to_owned))
        .collect()
}

fn attributes(spec: &Value) -> Attributes {
    let resource = &spec["resourceAttributes"];
    if resource.is_object() {
        return Attributes {
            verb: text(&resource["verb"]),
            group: text(&resource["group"]),
            version: text(&resource["version"]),
            resource: text(&resource["resource"]),
            subresource: text(&resource["subresource"]),
            namespace: text(&resource["namespace"]),
            name: text(&resource["name"]),
            path: String::new(),
        };
    }
    Attributes {
        verb: text(&spec["nonResourceAttributes"]["verb"]),
        path: text(&spec["nonResourceAttributes"]["path"]),
        ..Attributes::default()
    }
}

fn subject(spec: &Value) -> UserInfo {
    let extra: BTreeMap<String, Vec<String>> = spec["extra"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, values)| (key.clone(), texts(values)))
        .collect();
    UserInfo {
        name: text(&spec["user"]),
        groups: texts(&spec["groups"]),
        uid: text(&spec["uid"]),
        extra,
    }
}

fn user_value(user: &UserInfo) -> Value {
    let mut out = Map::new();
    out.insert("username".to_owned(), json!(user.name));
    if !user.uid.is_empty() {
        out.insert("uid".to_owned(), json!(user.uid));
    }
    out.insert("groups".to_owned(), json!(user.groups));
    if !user.extra.is_empty() {
        out.insert("extra".to_owned(), json!(user.extra));
    }
    Value::Object(out)
}

/// Answers a review.
pub(crate) async fn review(
    registry: &Registry,
    authorizer: &dyn Authorizer,
    def: &ResourceDef,
    namespace: &str,
    user: &UserInfo,
    mut object: Value,
) -> Result<Value, Status> {
    let spec = object.get("spec").cloned().unwrap_or_default();
    let status = match def.kind.as_str() {
        "SelfSubjectAccessReview" | "SubjectAccessReview" | "LocalSubjectAccessReview" => {
            let who = if def.kind == "SelfSubjectAccessReview" {
                user.clone()
            } else {
                subject(&spec)
            };
            let wanted = attributes(&spec);
            if wanted.verb.is_empty() {
                let error = FieldError::invalid(
                    "spec.resourceAttributes",
                    Value::Null,
                    "exactly one of nonResourceAttributes or resourceAttributes must be specified",
                );
                // the real one says it of no kind
                let nameless = ResourceDef::new(&def.group, &def.version, "", &def.plural, false);
                return Err(Status::invalid(&nameless, "", &[error]));
            }
            if def.kind == "LocalSubjectAccessReview" && wanted.namespace != namespace {
                return Err(Status::bad_request(
                    "spec.resourceAttributes.namespace must match metadata.namespace",
                ));
            }
            let decision = authorizer.authorize(registry, &who, &wanted).await?;
            let mut status = json!({"allowed": decision.allowed});
            if !decision.reason.is_empty() {
                status["reason"] = json!(decision.reason);
            }
            status
        }
        "SelfSubjectRulesReview" => {
            let namespace = text(&spec["namespace"]);
            if namespace.is_empty() {
                return Err(Status::bad_request("no namespace on request"));
            }
            let rules = authorizer.rules(registry, user, &namespace).await?;
            let incomplete = rules.is_none();
            let (mut resources, mut paths) = (Vec::new(), Vec::new());
            for rule in rules.into_iter().flatten() {
                if rule.paths.is_empty() {
                    let mut out = json!({"verbs": rule.verbs, "apiGroups": rule.groups, "resources": rule.resources});
                    if !rule.names.is_empty() {
                        out["resourceNames"] = json!(rule.names);
                    }
                    resources.push(out);
                } else {
                    paths.push(json!({"verbs": rule.verbs, "nonResourceURLs": rule.paths}));
                }
            }
            json!({"resourceRules": resources, "nonResourceRules": paths, "incomplete": incomplete})
        }
        "SelfSubjectReview" => {
            let now = time_text(registry.config().clock.now());
            object["metadata"]["creationTimestamp"] = json!(now);
            json!({"userInfo": user_value(user)})
        }
        // tokens are the embedder's: nothing here can tell one from another
        "TokenReview" => json!({"authenticated": false, "user": {}}),
        _ => return Err(Status::method_not_allowed()),
    };
    object["status"] = status;
    Ok(object)
}
