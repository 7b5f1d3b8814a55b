//! What goes wrong, in Kubernetes' own words.

use std::fmt;

use serde_json::{Map, Value, json};

use crate::ResourceDef;

/// One reason of a [`Status`], usually one field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// The reason, such as `FieldValueRequired`.
    pub reason: String,
    /// What is wrong.
    pub message: String,
    /// The field's path; empty if it is about none.
    pub field: String,
}

/// What a [`Status`] is about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Details {
    /// The object's name.
    pub name: String,
    /// Its group.
    pub group: String,
    /// Its plural resource name, or its kind where the field checks failed.
    pub kind: String,
    /// Its uid.
    pub uid: String,
    /// The single reasons.
    pub causes: Vec<Cause>,
    /// When to try again.
    pub retry_after_seconds: u32,
}

/// The content of a [`Status`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusBody {
    /// The HTTP code.
    pub code: u16,
    /// The reason, such as `NotFound`.
    pub reason: &'static str,
    /// The text for people.
    pub message: String,
    /// What it is about.
    pub details: Option<Details>,
    /// A token with which an expired list can be gone on with.
    pub continue_token: Option<String>,
    /// What is told beside it, in headers.
    pub warnings: Vec<String>,
}

/// A refusal as Kubernetes words it: code, reason, message and details.
#[derive(Clone, PartialEq, Eq)]
pub struct Status(Box<StatusBody>);

impl std::ops::Deref for Status {
    type Target = StatusBody;

    fn deref(&self) -> &StatusBody {
        &self.0
    }
}

impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for Status {}

/// What is wrong with a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldProblem {
    /// It is missing.
    Required,
    /// Its value cannot be.
    Invalid,
    /// Its value is none of the known ones.
    NotSupported,
    /// It stands twice.
    Duplicate,
    /// It may not be set, or not like this.
    Forbidden,
    /// It names something that is not there.
    NotFound,
    /// It has the wrong type.
    TypeInvalid,
    /// It is too long.
    TooLong,
    /// It has too many parts.
    TooMany,
    /// It could not be checked.
    Internal,
}

/// One finding of a validation.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldError {
    /// The field, such as `spec.template.spec.containers[0].name`.
    pub path: String,
    /// What is wrong.
    pub problem: FieldProblem,
    /// The value at fault.
    pub value: Option<Value>,
    /// More about it.
    pub detail: String,
}

impl FieldError {
    /// A field that must be there.
    pub fn required(path: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(path, FieldProblem::Required, None, detail)
    }

    /// A value that cannot be.
    pub fn invalid(path: impl Into<String>, value: Value, detail: impl Into<String>) -> Self {
        Self::new(path, FieldProblem::Invalid, Some(value), detail)
    }

    /// A field that may not be set or changed.
    pub fn forbidden(path: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(path, FieldProblem::Forbidden, None, detail)
    }

    /// A value that stands twice.
    pub fn duplicate(path: impl Into<String>, value: Value) -> Self {
        Self::new(path, FieldProblem::Duplicate, Some(value), "")
    }

    /// A value that is none of the known ones.
    pub fn not_supported(path: impl Into<String>, value: Value, known: &[&str]) -> Self {
        let known: Vec<String> = known
            .iter()
            .map(|known| base_yaml::go::quote(known))
            .collect();
        let detail = format!("supported values: {}", known.join(", "));
        Self::new(path, FieldProblem::NotSupported, Some(value), detail)
    }

    /// Makes one.
    pub fn new(
        path: impl Into<String>,
        problem: FieldProblem,
        value: Option<Value>,
        detail: impl Into<String>,
    ) -> Self {
        Self {
            path: path.into(),
            problem,
            value,
            detail: detail.into(),
        }
    }

    fn reason(&self) -> &'static str {
        match self.problem {
            FieldProblem::Required => "FieldValueRequired",
            FieldProblem::Invalid => "FieldValueInvalid",
            FieldProblem::NotSupported => "FieldValueNotSupported",
            FieldProblem::Duplicate => "FieldValueDuplicate",
            FieldProblem::Forbidden => "FieldValueForbidden",
            FieldProblem::NotFound => "FieldValueNotFound",
            FieldProblem::TypeInvalid => "FieldValueTypeInvalid",
            FieldProblem::TooLong => "FieldValueTooLong",
            FieldProblem::TooMany => "FieldValueTooMany",
            FieldProblem::Internal => "InternalError",
        }
    }

    /// The text without the path.
    pub fn body(&self) -> String {
        let name = match self.problem {
            FieldProblem::Required => "Required value",
            FieldProblem::Invalid | FieldProblem::TypeInvalid => "Invalid value",
            FieldProblem::NotSupported => "Unsupported value",
            FieldProblem::Duplicate => "Duplicate value",
            FieldProblem::Forbidden => "Forbidden",
            FieldProblem::NotFound => "Not found",
            FieldProblem::TooLong => "Too long",
            FieldProblem::TooMany => "Too many",
            FieldProblem::Internal => "Internal error",
        };
        let mut text = name.to_owned();
        if let Some(value) = &self.value
            && !matches!(
                self.problem,
                FieldProblem::Required
                    | FieldProblem::Forbidden
                    | FieldProblem::TooLong
                    | FieldProblem::Internal
            )
        {
            text.push_str(": ");
            text.push_str(&shown(value));
        }
        if !self.detail.is_empty() {
            text.push_str(": ");
            text.push_str(&self.detail);
        }
        text
    }
}

/// A value at fault as Go shows it.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => base_yaml::go::quote(text),
        Value::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() => base_yaml::go::format_g(float),
            _ => number.to_string(),
        },
        other => base_yaml::go::to_json(other, true),
    }
}

/// What rules in CEL found.
impl From<k8s_cel::rules::FieldError> for FieldError {
    fn from(error: k8s_cel::rules::FieldError) -> Self {
        use k8s_cel::rules::Kind;
        let problem = match error.kind {
            Kind::Invalid => FieldProblem::Invalid,
            Kind::Required => FieldProblem::Required,
            Kind::Forbidden => FieldProblem::Forbidden,
            Kind::Duplicate => FieldProblem::Duplicate,
            Kind::NotSupported => FieldProblem::NotSupported,
            Kind::Internal => FieldProblem::Internal,
        };
        Self::new(error.field, problem, error.value, error.detail)
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.body())
    }
}

impl Status {
    /// Tells this beside it.
    pub(crate) fn beside(mut self, warnings: &[String]) -> Self {
        self.0.warnings = warnings.to_vec();
        self
    }

    /// Makes one from its parts.
    pub fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self(Box::new(StatusBody {
            code,
            reason,
            message: message.into(),
            details: None,
            continue_token: None,
            warnings: Vec::new(),
        }))
    }

    /// Says what it is about.
    #[must_use]
    pub fn about(mut self, details: Details) -> Self {
        self.0.details = Some(details);
        self
    }

    fn about_object(self, def: &ResourceDef, name: &str) -> Self {
        self.about(Details {
            name: name.to_owned(),
            group: def.group.clone(),
            kind: def.plural.clone(),
            ..Details::default()
        })
    }

    /// The object is not there.
    pub fn not_found(def: &ResourceDef, name: &str) -> Self {
        Self::new(
            404,
            "NotFound",
            format!("{} {name:?} not found", def.group_resource()),
        )
        .about_object(def, name)
    }

    /// There is no such path, group, version or resource.
    pub fn no_such_resource() -> Self {
        Self::new(
            404,
            "NotFound",
            "the server could not find the requested resource",
        )
        .about(Details::default())
    }

    /// The name is taken.
    pub fn already_exists(def: &ResourceDef, name: &str) -> Self {
        Self::new(
            409,
            "AlreadyExists",
            format!("{} {name:?} already exists", def.group_resource()),
        )
        .about_object(def, name)
    }

    /// The object is not as the request expects it.
    pub fn conflict(def: &ResourceDef, name: &str, why: &str) -> Self {
        Self::new(
            409,
            "Conflict",
            format!(
                "Operation cannot be fulfilled on {} {name:?}: {why}",
                def.group_resource()
            ),
        )
        .about_object(def, name)
    }

    /// A delete's precondition does not hold; Kubernetes names the kind here, not the resource.
    pub fn precondition(def: &ResourceDef, name: &str, why: &str) -> Self {
        let mut kind = def.kind.clone();
        if !def.group.is_empty() {
            kind = format!("{kind}.{}", def.group);
        }
        let message = format!("Operation cannot be fulfilled on {kind} {name:?}: {why}");
        Self::new(409, "Conflict", message).about(Details {
            name: name.to_owned(),
            group: def.group.clone(),
            kind: def.kind.clone(),
            ..Details::default()
        })
    }

    /// The object was written by another since it was read.
    pub fn modified(def: &ResourceDef, name: &str) -> Self {
        Self::conflict(
            def,
            name,
            "the object has been modified; please apply your changes to the latest version and try again",
        )
    }

    /// Fields are wrong, and the real thing names the resource where it names the kind otherwise.
    pub(crate) fn invalid_resource(def: &ResourceDef, name: &str, errors: &[FieldError]) -> Self {
        let plural = ResourceDef::new(&def.group, &def.version, &def.plural, &def.plural, false);
        Self::invalid(&plural, name, errors)
    }

    /// Fields are wrong.
    pub fn invalid(def: &ResourceDef, name: &str, errors: &[FieldError]) -> Self {
        // the same text is said once, though each stands among the causes
        let mut texts: Vec<String> = Vec::new();
        for text in errors.iter().map(FieldError::to_string) {
            if !texts.contains(&text) {
                texts.push(text);
            }
        }
        let list = match texts.as_slice() {
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        let mut kind = def.kind.clone();
        if !def.group.is_empty() {
            kind = format!("{kind}.{}", def.group);
        }
        Self::new(
            422,
            "Invalid",
            format!("{kind} {name:?} is invalid: {list}"),
        )
        .about(Details {
            name: name.to_owned(),
            group: def.group.clone(),
            kind: def.kind.clone(),
            causes: errors
                .iter()
                .map(|error| Cause {
                    reason: error.reason().to_owned(),
                    message: error.body(),
                    field: error.path.clone(),
                })
                .collect(),
            ..Details::default()
        })
    }

    /// Options of a request are wrong; `kind` is what holds them, such as `ListOptions`.
    pub fn invalid_options(kind: &str, error: FieldError) -> Self {
        Self::invalid(
            &ResourceDef::new("meta.k8s.io", "v1", kind, "", false),
            "",
            &[error],
        )
    }

    /// The request cannot be understood.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    /// The caller is unknown.
    pub fn unauthorized() -> Self {
        Self::new(401, "Unauthorized", "Unauthorized")
    }

    /// It is refused; `why` goes behind `… is forbidden: `.
    pub fn forbidden(def: &ResourceDef, name: &str, why: &str) -> Self {
        let what = if name.is_empty() {
            def.group_resource()
        } else {
            format!("{} {name:?}", def.group_resource())
        };
        Self::new(403, "Forbidden", format!("{what} is forbidden: {why}")).about_object(def, name)
    }

    /// The verb is not offered here.
    pub fn method_not_allowed() -> Self {
        Self::new(
            405,
            "MethodNotAllowed",
            "the server does not allow this method on the requested resource",
        )
        .about(Details::default())
    }

    /// No offered form is accepted.
    pub fn not_acceptable(offered: &[&str]) -> Self {
        Self::new(
            406,
            "NotAcceptable",
            format!(
                "only the following media types are accepted: {}",
                offered.join(", ")
            ),
        )
    }

    /// The body has an unknown form.
    pub fn unsupported_media_type(offered: &[&str]) -> Self {
        Self::new(
            415,
            "UnsupportedMediaType",
            format!(
                "the body of the request was in an unknown format - accepted media types include: {}",
                offered.join(", ")
            ),
        )
    }

    /// History is gone.
    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(410, "Expired", message)
    }

    /// An expired list, with a token to go on without consistency.
    #[must_use]
    pub fn with_continue(mut self, token: String) -> Self {
        self.0.continue_token = Some(token);
        self
    }

    /// The body is too large.
    pub fn too_large(limit: usize) -> Self {
        Self::new(
            413,
            "RequestEntityTooLarge",
            format!("Request entity too large: limit is {limit}"),
        )
    }

    /// The asked revision is not there yet.
    pub fn revision_too_large(asked: u64, current: u64) -> Self {
        Self::new(
            504,
            "Timeout",
            format!("Too large resource version: {asked}, current: {current}"),
        )
        .about(Details {
            causes: vec![Cause {
                reason: "ResourceVersionTooLarge".to_owned(),
                message: "Too large resource version".to_owned(),
                field: String::new(),
            }],
            retry_after_seconds: 1,
            ..Details::default()
        })
    }

    /// The patch does not fit the object.
    pub fn unprocessable_patch() -> Self {
        Self::new(
            422,
            "Invalid",
            "the server rejected our request due to an error in our request",
        )
        .about(Details::default())
    }

    /// Too many requests.
    pub fn too_many_requests(message: impl Into<String>, retry_after_seconds: u32) -> Self {
        Self::new(429, "TooManyRequests", message).about(Details {
            retry_after_seconds,
            ..Details::default()
        })
    }

    /// Something broke inside.
    pub fn internal(error: impl fmt::Display) -> Self {
        Self::new(
            500,
            "InternalError",
            format!("Internal error occurred: {error}"),
        )
        .about(Details {
            causes: vec![Cause {
                reason: String::new(),
                message: error.to_string(),
                field: String::new(),
            }],
            ..Details::default()
        })
    }

    /// The backend cannot work now.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(503, "ServiceUnavailable", message)
    }

    /// Nobody knows whether the write was made.
    pub fn outcome_unknown(message: impl Into<String>) -> Self {
        Self::new(504, "Timeout", message)
    }

    /// Is it about something that is not there?
    pub fn is_not_found(&self) -> bool {
        self.code == 404
    }

    /// Is it a lost race?
    pub fn is_conflict(&self) -> bool {
        self.reason == "Conflict"
    }

    /// Is the name taken?
    pub fn is_already_exists(&self) -> bool {
        self.reason == "AlreadyExists"
    }

    /// Writes it as the object that goes over the wire.
    pub fn to_value(&self) -> Value {
        let mut metadata = Map::new();
        if let Some(token) = &self.continue_token {
            metadata.insert("continue".to_owned(), json!(token));
        }
        let mut out = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": metadata, "status": "Failure",
            "message": self.message, "reason": self.reason, "code": self.code,
        });
        if self.reason.is_empty()
            && let Some(map) = out.as_object_mut()
        {
            map.remove("reason");
        }
        if let Some(details) = &self.details {
            out["details"] = details.to_value();
        }
        out
    }
}

impl Details {
    fn to_value(&self) -> Value {
        let mut out = Map::new();
        for (key, text) in [
            ("name", &self.name),
            ("group", &self.group),
            ("kind", &self.kind),
            ("uid", &self.uid),
        ] {
            if !text.is_empty() {
                out.insert(key.to_owned(), json!(text));
            }
        }
        if !self.causes.is_empty() {
            let causes: Vec<Value> = self
                .causes
                .iter()
                .map(|cause| {
                    let mut out = Map::new();
                    if !cause.reason.is_empty() {
                        out.insert("reason".to_owned(), json!(cause.reason));
                    }
                    out.insert("message".to_owned(), json!(cause.message));
                    if !cause.field.is_empty() {
                        out.insert("field".to_owned(), json!(cause.field));
                    }
                    Value::Object(out)
                })
                .collect();
            out.insert("causes".to_owned(), Value::Array(causes));
        }
        if self.retry_after_seconds > 0 {
            out.insert(
                "retryAfterSeconds".to_owned(),
                json!(self.retry_after_seconds),
            );
        }
        Value::Object(out)
    }
}

/// The answer to a delete that removed the object.
pub fn success(def: &ResourceDef, name: &str, uid: &str) -> Value {
    let details = Details {
        name: name.to_owned(),
        group: def.group.clone(),
        kind: def.plural.clone(),
        uid: uid.to_owned(),
        ..Details::default()
    };
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
        "details": details.to_value(),
    })
}
