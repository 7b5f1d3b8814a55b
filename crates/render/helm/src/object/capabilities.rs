//! `.Capabilities`.

use std::any::Any;
use std::borrow::Cow;
use std::sync::Arc;

use roadstead_template::{
    Call, Field, FuncError, List, Method, Object, Signature, Str, Type, Underlying, Value,
};

use crate::Dialect;
use crate::caps::{Capabilities, HelmVersion, KubeVersion};

/// What a cluster can do, as templates see it.
pub(crate) fn capabilities(of: &Capabilities, dialect: Dialect) -> Value {
    let kube = Value::object(Kube {
        version: of.kube.clone(),
        dialect,
    });
    let api_versions = Value::object(Versions {
        versions: Arc::clone(&of.api_versions),
        dialect,
    });
    let helm = Value::object(Helm {
        version: of.helm.clone(),
        dialect,
    });
    Value::object(Caps {
        kube,
        api_versions,
        helm,
        dialect,
    })
}

struct Caps {
    kube: Value,
    api_versions: Value,
    helm: Value,
    dialect: Dialect,
}

impl Object for Caps {
    fn type_name(&self) -> &'static str {
        if self.dialect.is_3() {
            "*chartutil.Capabilities"
        } else {
            "*common.Capabilities"
        }
    }

    fn underlying(&self) -> Underlying {
        Underlying::Struct(vec![
            Field::new("KubeVersion", self.kube.clone()),
            Field::new("APIVersions", self.api_versions.clone()),
            Field::new("HelmVersion", self.helm.clone()),
        ])
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn field(&self, name: &str) -> Option<Value> {
        match name {
            "KubeVersion" => Some(self.kube.clone()),
            "APIVersions" => Some(self.api_versions.clone()),
            "HelmVersion" => Some(self.helm.clone()),
            _ => None,
        }
    }
}

struct Kube {
    version: KubeVersion,
    dialect: Dialect,
}

impl Kube {
    fn version(&self) -> &str {
        if self.dialect.is_3() {
            &self.version.numbers
        } else {
            &self.version.given
        }
    }
}

const KUBE_METHODS: &[Method] = &[
    Method {
        name: "GitVersion",
        signature: Signature::fixed(&[]),
        call: |this, _, _| {
            Ok(this
                .downcast::<Kube>()
                .map_or(Value::Nil, |it| it.version().into()))
        },
    },
    Method {
        name: "String",
        signature: Signature::fixed(&[]),
        call: |this, _, _| {
            Ok(this
                .downcast::<Kube>()
                .map_or(Value::Nil, |it| it.version.numbers.as_str().into()))
        },
    },
];

impl Object for Kube {
    fn type_name(&self) -> &'static str {
        if self.dialect.is_3() {
            "chartutil.KubeVersion"
        } else {
            "common.KubeVersion"
        }
    }

    fn underlying(&self) -> Underlying {
        let mut fields = vec![Field::new("Version", self.version().into())];
        if self.dialect.is_4() {
            fields.push(Field::hidden(
                "normalizedVersion",
                self.version.numbers.as_str().into(),
            ));
        }
        fields.push(Field::new("Major", self.version.major.as_str().into()));
        fields.push(Field::new("Minor", self.version.minor.as_str().into()));
        Underlying::Struct(fields)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn methods(&self) -> &'static [Method] {
        KUBE_METHODS
    }

    fn string(&self) -> Option<Cow<'_, str>> {
        Some(Cow::Borrowed(&self.version.numbers))
    }
}

struct Versions {
    versions: Arc<[Str]>,
    dialect: Dialect,
}

fn has(this: &Value, call: &mut Call<'_>, args: &[Value]) -> Result<Value, FuncError> {
    let (Some(versions), Some(wanted)) = (
        this.downcast::<Versions>(),
        args.first().and_then(Value::as_str),
    ) else {
        return Ok(Value::Bool(false));
    };
    call.spend(1 + versions.versions.len() as u64 / 16)?;
    Ok(Value::Bool(versions.versions.contains(wanted)))
}

const VERSIONS_METHODS: &[Method] = &[Method {
    name: "Has",
    signature: Signature::fixed(&[Type::Str]),
    call: has,
}];

impl Object for Versions {
    fn type_name(&self) -> &'static str {
        if self.dialect.is_3() {
            "chartutil.VersionSet"
        } else {
            "common.VersionSet"
        }
    }

    fn underlying(&self) -> Underlying {
        Underlying::List(List::strings(self.versions.iter().cloned()))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn methods(&self) -> &'static [Method] {
        VERSIONS_METHODS
    }
}

struct Helm {
    version: HelmVersion,
    dialect: Dialect,
}

impl Object for Helm {
    fn type_name(&self) -> &'static str {
        "version.BuildInfo"
    }

    fn underlying(&self) -> Underlying {
        let mut fields = vec![
            Field::new("Version", self.version.version.as_str().into()),
            Field::new("GitCommit", "".into()),
            Field::new("GitTreeState", "".into()),
            Field::new("GoVersion", self.version.go_version.as_str().into()),
        ];
        if self.dialect.is_4() {
            let client = self.version.kube_client_version.as_str();
            fields.push(Field::new("KubeClientVersion", client.into()));
        }
        Underlying::Struct(fields)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn json(&self) -> Result<Value, FuncError> {
        let mut fields = vec![
            ("version", Value::from(self.version.version.as_str())),
            ("go_version", self.version.go_version.as_str().into()),
        ];
        if self.dialect.is_4() {
            let client = self.version.kube_client_version.as_str();
            fields.push(("kube_client_version", client.into()));
        }
        Ok(Value::dict(fields))
    }
}
