//! The versions of a kind: each entry of `managedFields` is written in one.

use std::borrow::Cow;
use std::fmt;

use serde_json::Value;

use crate::error::ApplyError;
use crate::schema::{TypeRef, validate};

/// What a kind is in its other versions.
pub trait Versions: fmt::Debug + Sync {
    /// The type in a version; `None` where the version is not served (any more).
    fn schema(&self, api_version: &str) -> Option<TypeRef>;

    /// The object as it reads in a served version.
    fn convert(&self, object: &Value, api_version: &str) -> Value;
}

/// The kind of one write, in the version that it comes in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kind<'a> {
    pub(crate) api_version: &'a str,
    pub(crate) schema: &'a TypeRef,
    pub(crate) others: Option<&'a dyn Versions>,
}

impl<'a> Kind<'a> {
    /// The type in a version. Where nothing is said of versions, all are the same.
    pub(crate) fn schema(self, api_version: &str) -> Option<Cow<'a, TypeRef>> {
        match self.others {
            Some(others) if api_version != self.api_version => {
                others.schema(api_version).map(Cow::Owned)
            }
            _ => Some(Cow::Borrowed(self.schema)),
        }
    }

    /// An object as it reads in a version that is served. What does not fit its type there is an error.
    pub(crate) fn convert<'v>(
        self,
        object: Cow<'v, Value>,
        api_version: &str,
        doing: impl Fn() -> String,
    ) -> Result<Cow<'v, Value>, ApplyError> {
        let Some(others) = self.others else {
            return Ok(object);
        };
        if k8s_object::api_version(&object) == api_version {
            return Ok(object);
        }
        let converted = others.convert(&object, api_version);
        if let Some(schema) = self.schema(api_version) {
            let errors = validate(&converted, schema.ty());
            if !errors.is_empty() {
                return Err(ApplyError::Convert {
                    doing: doing(),
                    errors,
                });
            }
        }
        Ok(Cow::Owned(converted))
    }
}
