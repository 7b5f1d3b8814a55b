//! What an API server would make of an object, by the code that serves requests.

use std::sync::LazyLock;

use k8s_apiserver::{Apply, Catalog, FieldValidation, Predictor};
use k8s_cluster::{ClusterError, ErrorKind};
use k8s_object::ObjectId;
use roadstead_dispatch::{Surveyed, Trial};
use roadstead_model::{AppKey, ConflictPolicy, ImmutablePolicy, SyncOptions};
use serde_json::Value;

use crate::immutable::policy;
use crate::{FieldChange, Immutable, MASK, field_changes};

/// What an API server would answer to the apply of an object.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// The object as it would be.
    Object(Box<Value>),
    /// It would refuse, in these words.
    Refused {
        /// The server's message.
        message: String,
        /// The fields that cannot change in place, where it is about such fields; empty where it does not name them.
        immutable: Option<Vec<String>>,
    },
    /// Only a cluster can say.
    Unknown,
}

/// An API server that holds no objects, and answers what it would answer to the applies of one App.
#[derive(Clone)]
pub struct Server {
    predictor: Option<Predictor>,
    trial: Trial,
}

fn kubernetes() -> Option<&'static Predictor> {
    static KUBERNETES: LazyLock<Option<Predictor>> = LazyLock::new(|| {
        let catalog = std::sync::Arc::new(Catalog::kubernetes());
        // no answer that is compared holds the time
        Predictor::new(catalog, jiff::Timestamp::UNIX_EPOCH).ok()
    });
    KUBERNETES.as_ref()
}

impl Server {
    /// Makes one for the built-in kinds of Kubernetes and those of CustomResourceDefinitions.
    pub fn new<'d>(
        app: AppKey,
        sync: &SyncOptions,
        definitions: impl IntoIterator<Item = &'d Value>,
    ) -> Self {
        let mut definitions = definitions.into_iter().peekable();
        let predictor = kubernetes().and_then(|known| match definitions.peek() {
            Some(_) => known.with_definitions(definitions).ok(),
            None => Some(known.clone()),
        });
        let trial = Trial {
            app,
            force: sync.conflict == ConflictPolicy::Force,
            ignore: sync.ignore_differences.clone(),
            objects: Vec::new(),
        };
        Self { predictor, trial }
    }

    /// Answers to what a sync would apply where `live` stands. Where nothing stands it sets every field, and leaves those
    /// that others may change alone from then on.
    pub fn apply(
        &self,
        id: &ObjectId,
        version: &str,
        live: Option<&Value>,
        manifest: &Value,
    ) -> Answer {
        let Some(predictor) = &self.predictor else {
            return Answer::Unknown;
        };
        let wanted = Surveyed {
            id: id.clone(),
            version: version.to_owned(),
            object: manifest.clone(),
        };
        let attempt = match live {
            Some(_) => roadstead_sync::attempt(&self.trial, &wanted, live),
            None => {
                let everything = Trial {
                    ignore: Vec::new(),
                    ..self.trial.clone()
                };
                roadstead_sync::attempt(&everything, &wanted, None)
            }
        };
        let Some(attempt) = attempt else {
            return Answer::Unknown;
        };
        let how = Apply {
            manager: roadstead_sync::MANAGER,
            force: self.trial.force,
            field_validation: FieldValidation::Warn,
        };
        let status = match predictor.apply(live, &attempt, how) {
            Ok(object) => return Answer::Object(Box::new(object)),
            Err(status) => status,
        };
        let error = ClusterError::from_status(&status.to_value(), &id.kind);
        let immutable = match error.kind {
            ErrorKind::Immutable { fields } => Some(fields),
            ErrorKind::FieldConflict(_) | ErrorKind::Invalid { .. } => None,
            // what it stands on may come with it
            _ => return Answer::Unknown,
        };
        Answer::Refused {
            message: masked(error.message, manifest),
            immutable,
        }
    }
}

/// What becomes of an object that is there.
#[derive(Debug, Clone, Default)]
pub(crate) struct Outcome {
    /// The fields that change.
    pub(crate) fields: Vec<FieldChange>,
    pub(crate) immutable: Option<Immutable>,
    /// Why the server refuses it.
    pub(crate) refused: Option<String>,
    /// The fields are those of the manifests: what the server makes of them is not known.
    pub(crate) as_written: bool,
}

/// An object of a variant, as it is written.
#[derive(Clone, Copy)]
pub(crate) struct Written<'a> {
    pub(crate) id: &'a ObjectId,
    pub(crate) version: &'a str,
    pub(crate) manifest: &'a Value,
}

impl Server {
    /// Says why an object that is not there yet is refused, if it is.
    pub(crate) fn creation(&self, new: Written<'_>) -> Option<String> {
        match self.apply(new.id, new.version, None, new.manifest) {
            Answer::Refused { message, .. } => Some(message),
            Answer::Object(_) | Answer::Unknown => None,
        }
    }

    /// Says what becomes of an object that a sync made of another manifest.
    pub(crate) fn change(&self, old: Written<'_>, new: Written<'_>, sync: &SyncOptions) -> Outcome {
        let plain = || Outcome {
            fields: field_changes(old.manifest, new.manifest),
            ..Outcome::default()
        };
        let unknown = || Outcome {
            as_written: true,
            ..plain()
        };
        let before = match self.apply(old.id, old.version, None, old.manifest) {
            // other versions than this one's are converted by the cluster alone
            Answer::Object(before) if old.version == new.version => before,
            known => {
                // what was taken there though it would be refused here says nothing about what it stands in
                let told = match known {
                    Answer::Refused { message, .. } => Some(message),
                    Answer::Object(_) | Answer::Unknown => None,
                };
                return Outcome {
                    refused: self.creation(new).filter(|now| Some(now) != told.as_ref()),
                    ..unknown()
                };
            }
        };
        let fields = |after: &Value| {
            field_changes(&roadstead_sync::bare(&before), &roadstead_sync::bare(after))
        };
        let (message, paths) = match self.apply(new.id, new.version, Some(&before), new.manifest) {
            Answer::Object(after) => {
                return Outcome {
                    fields: fields(&after),
                    ..Outcome::default()
                };
            }
            Answer::Unknown => return unknown(),
            Answer::Refused {
                message,
                immutable: None,
            } => {
                return Outcome {
                    refused: Some(message),
                    ..plain()
                };
            }
            Answer::Refused {
                message,
                immutable: Some(paths),
            } => (message, paths),
        };
        let policy = policy(new.id, sync);
        let made = match policy {
            ImmutablePolicy::Fail => Answer::Refused {
                message,
                immutable: None,
            },
            ImmutablePolicy::Replace => self.apply(new.id, new.version, None, new.manifest),
        };
        let outcome = match made {
            Answer::Object(after) => Outcome {
                fields: fields(&after),
                ..Outcome::default()
            },
            Answer::Unknown => unknown(),
            Answer::Refused { message, .. } => Outcome {
                refused: Some(message),
                ..plain()
            },
        };
        Outcome {
            immutable: Some(Immutable {
                path: paths.into_iter().next().unwrap_or_default(),
                policy,
            }),
            ..outcome
        }
    }
}

/// Takes what a Secret holds out of a message.
fn masked(message: String, object: &Value) -> String {
    if k8s_object::kind(object) != "Secret" || k8s_object::api_version(object) != "v1" {
        return message;
    }
    let mut values = Vec::new();
    for field in ["data", "stringData"] {
        texts(&object[field], &mut values);
    }
    // the longest first: one may be a part of another
    values.sort_by_key(|value| std::cmp::Reverse(value.len()));
    values
        .iter()
        .filter(|value| !value.is_empty())
        .fold(message, |message, value| message.replace(value, MASK))
}

fn texts(value: &Value, out: &mut Vec<String>) {
    match value {
        Value::Null => {}
        Value::String(text) => {
            out.push(text.clone());
            // as messages quote it
            out.push(value.to_string().trim_matches('"').to_owned());
        }
        Value::Bool(_) | Value::Number(_) => out.push(value.to_string()),
        Value::Array(items) => items.iter().for_each(|item| texts(item, out)),
        Value::Object(map) => map.values().for_each(|item| texts(item, out)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base_json::json;

    fn server(definitions: &[Value]) -> Server {
        let app = AppKey::new("team", "shop");
        Server::new(app, &SyncOptions::default(), definitions)
    }

    fn widget(spec: Value) -> Value {
        json!({"apiVersion": "example.com/v1", "kind": "Widget",
            "metadata": {"name": "a", "namespace": "n"}, "spec": spec})
    }

    fn ask(server: &Server, live: Option<&Value>, manifest: &Value) -> Answer {
        let id = ObjectId {
            group: k8s_object::Gvk::of(manifest).expect("a kind").group,
            kind: k8s_object::kind(manifest).to_owned(),
            namespace: k8s_object::namespace(manifest).to_owned(),
            name: k8s_object::name(manifest).to_owned(),
        };
        server.apply(&id, "v1", live, manifest)
    }

    #[test]
    fn a_custom_kind_is_known_by_its_definition() {
        let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
            "size": {"type": "integer", "maximum": 3, "default": 1},
            "name": {"type": "string"}}}}});
        let definition = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": "widgets.example.com"},
            "spec": {"group": "example.com", "scope": "Namespaced",
                "names": {"kind": "Widget", "plural": "widgets"},
                "versions": [{"name": "v1", "served": true, "storage": true,
                    "schema": {"openAPIV3Schema": schema}}]}});
        let manifest = widget(json!({"name": "x"}));
        assert_eq!(ask(&server(&[]), None, &manifest), Answer::Unknown);
        let server = server(&[definition]);
        let Answer::Object(made) = ask(&server, None, &manifest) else {
            panic!("it is taken");
        };
        assert_eq!(made["spec"], json!({"name": "x", "size": 1}));
        let Answer::Refused { message, immutable } =
            ask(&server, Some(&made), &widget(json!({"size": 7})))
        else {
            panic!("it is refused");
        };
        assert_eq!(immutable, None);
        assert_eq!(
            message,
            "Widget.example.com \"a\" is invalid: spec.size: Invalid value: 7: spec.size in body should be less than or equal to 3"
        );
    }

    #[test]
    fn what_a_secret_holds_is_not_said() {
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a", "namespace": "n"},
            "stringData": {"a": 123_456, "b": ["hush"]}});
        let Answer::Refused { message, .. } = ask(&server(&[]), None, &secret) else {
            panic!("it is refused");
        };
        assert!(message.contains(MASK), "{message}");
        assert!(
            !message.contains("123456") && !message.contains("hush"),
            "{message}"
        );
    }

    #[test]
    fn what_others_hold_is_a_conflict_in_the_servers_words() {
        let sync = SyncOptions {
            conflict: ConflictPolicy::Fail,
            ..SyncOptions::default()
        };
        let server = Server::new(AppKey::new("team", "shop"), &sync, []);
        let config = |mode: &str| {
            json!({"apiVersion": "v1", "kind": "ConfigMap",
                "metadata": {"name": "a", "namespace": "n"}, "data": {"mode": mode}})
        };
        let Answer::Object(made) = ask(&server, None, &config("calm")) else {
            panic!("it is taken");
        };
        let mut live = *made;
        let other = json!([{"manager": "somebody", "operation": "Apply", "apiVersion": "v1",
            "time": "2026-01-01T00:00:00Z", "fieldsType": "FieldsV1",
            "fieldsV1": {"f:data": {"f:mode": {}}}}]);
        live["metadata"]["managedFields"] = other;
        let answer = ask(&server, Some(&live), &config("loud"));
        let message =
            "Apply failed with 1 conflict: conflict with \"somebody\": .data.mode".to_owned();
        assert_eq!(
            answer,
            Answer::Refused {
                message,
                immutable: None
            }
        );
    }
}
