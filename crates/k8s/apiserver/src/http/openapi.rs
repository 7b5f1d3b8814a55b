//! OpenAPI v3: a root with hashes, and a document for each group and version.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use base_json::Digest;
use bytes::Bytes;
use k8s_object::Gvk;
use serde_json::{Map, Value, json};

use crate::{Catalog, ResourceDef, Schema};

/// What is made of a catalogue once and kept beside it.
#[derive(Debug, Default)]
pub(crate) struct Documents {
    openapi: OnceLock<BTreeMap<String, Document>>,
    aggregated: [OnceLock<Document>; 2],
    swagger: OnceLock<Document>,
}

// what was made of one catalogue does not fit another
impl Clone for Documents {
    fn clone(&self) -> Self {
        Self::default()
    }
}

/// The document of one group and version, made when it is first asked for.
#[derive(Debug, Clone, Default)]
pub(crate) struct VersionDocument(OnceLock<Document>);

/// A document with its hash.
#[derive(Debug, Clone)]
pub(crate) struct Document {
    pub(crate) bytes: Bytes,
    pub(crate) hash: String,
}

impl Document {
    fn new(value: &Value) -> Self {
        let bytes = Bytes::from(base_json::canonical(value));
        let hash = Digest::of(&bytes).to_string();
        let hash = hash.rsplit(':').next().unwrap_or_default().to_uppercase();
        Self { bytes, hash }
    }
}

impl Catalog {
    /// Returns aggregated discovery: of the core group, or of all others.
    pub(crate) fn aggregated(&self, core: bool) -> &Document {
        self.documents.aggregated[usize::from(core)]
            .get_or_init(|| Document::new(&super::discovery::aggregated(self, core)))
    }

    /// Returns the one document of OpenAPI v2.
    pub(crate) fn swagger(&self) -> &Document {
        self.documents
            .swagger
            .get_or_init(|| Document::new(&swagger(self)))
    }

    /// Returns the documents by their path, such as `apis/apps/v1`.
    pub(crate) fn openapi(&self) -> &BTreeMap<String, Document> {
        self.documents.openapi.get_or_init(|| {
            let mut out = BTreeMap::new();
            for group in self.groups() {
                for version in self.versions(group) {
                    let path = path_of(group, version);
                    let make = || Document::new(&document(self, group, version));
                    let made = self
                        .version_document(group, version)
                        .map_or_else(make, |kept| kept.0.get_or_init(make).clone());
                    out.insert(path, made);
                }
                let builtin = self.versions(group).into_iter().any(|version| {
                    let mut all = self.resources(group, version);
                    all.any(|def| matches!(def.schema, Schema::Builtin))
                });
                if builtin && !group.is_empty() {
                    let about = About {
                        path: format!("apis/{group}"),
                        kind: "APIGroup",
                    };
                    out.insert(about.path.clone(), Document::new(&about.document()));
                }
            }
            for (path, kind) in [
                ("api", "APIVersions"),
                ("apis", "APIGroupList"),
                ("version", "Info"),
            ] {
                let about = About {
                    path: path.to_owned(),
                    kind,
                };
                out.insert(about.path.clone(), Document::new(&about.document()));
            }
            out
        })
    }
}

/// A path at which the server tells something of itself.
struct About {
    path: String,
    kind: &'static str,
}

impl About {
    fn document(&self) -> Value {
        let name = match self.kind {
            "Info" => "io.k8s.apimachinery.pkg.version.Info".to_owned(),
            kind => format!("io.k8s.apimachinery.pkg.apis.meta.v1.{kind}"),
        };
        let mut schemas = Map::new();
        if self.kind == "Info" {
            schemas.insert(name.clone(), version_info());
        } else if let Some(ty) =
            k8s_apply::schema::Schemas::builtin().named(&format!("meta.v1.{}", self.kind))
        {
            let gvk = Gvk {
                group: String::new(),
                version: "v1".to_owned(),
                kind: self.kind.to_owned(),
            };
            schemas.extend(k8s_apply::schema::openapi_v3_type(&ty, &name, Some(&gvk)));
        }
        let schema = json!({"$ref": format!("#/components/schemas/{name}")});
        let read = json!({
            "operationId": format!("get{}", self.kind),
            "responses": {"200": {"description": "OK", "content": {"application/json": {"schema": schema}}}},
        });
        let path = format!("/{}/", self.path);
        json!({
            "openapi": "3.0.0", "info": {"title": "Kubernetes", "version": "unversioned"},
            "paths": {path: {"get": read}}, "components": {"schemas": schemas},
        })
    }
}

fn version_info() -> Value {
    let fields = [
        "major",
        "minor",
        "gitVersion",
        "gitCommit",
        "gitTreeState",
        "buildDate",
        "goVersion",
        "compiler",
        "platform",
    ];
    let properties: Map<String, Value> = fields
        .iter()
        .map(|field| {
            (
                (*field).to_owned(),
                json!({"type": "string", "default": ""}),
            )
        })
        .collect();
    json!({"type": "object", "required": fields, "properties": properties})
}

/// What is written in place in the newer form has a name in the older one.
fn plain_types() -> Vec<(&'static str, Value)> {
    let time = json!({"type": "string", "format": "date-time"});
    let raw = json!({"type": "object"});
    vec![
        (
            "apimachinery.pkg.api.resource.Quantity",
            json!({"type": "string"}),
        ),
        ("apimachinery.pkg.apis.meta.v1.FieldsV1", raw.clone()),
        ("apimachinery.pkg.apis.meta.v1.MicroTime", time.clone()),
        ("apimachinery.pkg.apis.meta.v1.Patch", raw.clone()),
        ("apimachinery.pkg.apis.meta.v1.Time", time),
        (
            "apimachinery.pkg.apis.meta.v1.WatchEvent",
            json!({"type": "object", "required": ["type", "object"], "properties": {
                "type": {"type": "string"},
                "object": {"$ref": "#/definitions/io.k8s.apimachinery.pkg.runtime.RawExtension"}}}),
        ),
        ("apimachinery.pkg.runtime.RawExtension", raw),
        (
            "apimachinery.pkg.util.intstr.IntOrString",
            json!({"type": "string", "format": "int-or-string"}),
        ),
        ("apimachinery.pkg.version.Info", version_info()),
        (
            "apiextensions-apiserver.pkg.apis.apiextensions.v1.JSON",
            json!({}),
        ),
        (
            "apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrArray",
            json!({}),
        ),
        (
            "apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrBool",
            json!({}),
        ),
        (
            "apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrStringArray",
            json!({}),
        ),
    ]
}

fn path_of(group: &str, version: &str) -> String {
    if group.is_empty() {
        format!("api/{version}")
    } else {
        format!("apis/{group}/{version}")
    }
}

/// Writes the root.
pub(crate) fn root(catalog: &Catalog) -> Value {
    let paths: Map<String, Value> = catalog
        .openapi()
        .iter()
        .map(|(path, document)| {
            let url = format!("/openapi/v3/{path}?hash={}", document.hash);
            (path.clone(), json!({"serverRelativeURL": url}))
        })
        .collect();
    json!({"paths": paths})
}

fn component(def: &ResourceDef) -> String {
    let mut parts: Vec<&str> = def.group.split('.').rev().collect();
    parts.push(&def.version);
    parts.push(&def.kind);
    parts.join(".")
}

fn document(catalog: &Catalog, group: &str, version: &str) -> Value {
    let builtin = catalog
        .resources(group, version)
        .any(|def| matches!(def.schema, Schema::Builtin));
    let mut out = if builtin {
        k8s_apply::schema::openapi_v3(k8s_apply::schema::Schemas::builtin(), group, version)
    } else {
        json!({"openapi": "3.0.0", "info": {"title": "Kubernetes", "version": "unversioned"},
            "components": {"schemas": {}}})
    };
    let mut components = out["components"]["schemas"]
        .as_object()
        .cloned()
        .unwrap_or_default();
    let mut paths = Map::new();
    let mut seen = BTreeSet::new();
    for def in catalog.resources(group, version) {
        let gvk = json!({"group": group, "version": version, "kind": def.kind});
        let name = match &def.schema {
            Schema::Builtin => components
                .iter()
                .find(|(_, schema)| {
                    schema["x-kubernetes-group-version-kind"]
                        .as_array()
                        .is_some_and(|tags| tags.contains(&gvk))
                })
                .map(|(name, _)| name.clone()),
            Schema::Json(schema) => {
                let name = component(def);
                components.insert(name.clone(), own(def, schema, &gvk));
                if seen.insert("meta") {
                    add_meta(&mut components);
                }
                Some(name)
            }
            Schema::None => {
                let name = component(def);
                let open = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
                components.insert(name.clone(), own(def, &open, &gvk));
                if seen.insert("meta") {
                    add_meta(&mut components);
                }
                Some(name)
            }
        };
        for (path, item) in operations(def, name.as_deref(), &gvk) {
            paths.insert(path, item);
        }
    }
    out["components"]["schemas"] = Value::Object(components);
    out["paths"] = Value::Object(paths);
    out
}

const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

fn add_meta(components: &mut Map<String, Value>) {
    if components.contains_key(OBJECT_META) {
        return;
    }
    if let Some(ty) = k8s_apply::schema::Schemas::builtin().named("meta.v1.ObjectMeta") {
        components.extend(k8s_apply::schema::openapi_v3_type(
            &ty,
            OBJECT_META,
            None::<&Gvk>,
        ));
    }
}

fn own(def: &ResourceDef, schema: &Value, gvk: &Value) -> Value {
    let mut out = schema.clone();
    if !out.is_object() {
        out = json!({"type": "object"});
    }
    out["type"] = json!("object");
    if !def.description.is_empty() && out.get("description").is_none() {
        out["description"] = json!(def.description);
    }
    out["x-kubernetes-group-version-kind"] = json!([gvk]);
    let texts = [
        (
            "apiVersion",
            "APIVersion defines the versioned schema of this representation of an object.",
        ),
        ("kind", "Kind is the name of what this object represents."),
    ];
    for (field, text) in texts {
        out["properties"][field] = json!({"type": "string", "description": text});
    }
    out["properties"]["metadata"] = json!({
        "description": "Standard object's metadata.",
        "allOf": [{"$ref": format!("#/components/schemas/{OBJECT_META}")}], "default": {},
    });
    out
}

/// Writes OpenAPI v2: the same schemas and operations as v3, in the older form.
fn swagger(catalog: &Catalog) -> Value {
    let (mut definitions, mut paths) = (Map::new(), Map::new());
    for document in catalog.openapi().values() {
        let Ok(Value::Object(mut document)) = serde_json::from_slice(&document.bytes) else {
            continue;
        };
        if let Some(Value::Object(schemas)) = document
            .get_mut("components")
            .map(|components| components["schemas"].take())
        {
            for (name, mut schema) in schemas {
                // kubectl would take what is not described here for unknown
                if schema["x-kubernetes-preserve-unknown-fields"] == true {
                    let gvk = schema["x-kubernetes-group-version-kind"].take();
                    schema = json!({"type": "object", "x-kubernetes-group-version-kind": gvk});
                }
                older(&mut schema);
                definitions.entry(name).or_insert(schema);
            }
        }
        if let Some(Value::Object(found)) = document.remove("paths") {
            for (path, mut item) in found {
                for operation in item.as_object_mut().into_iter().flat_map(Map::values_mut) {
                    older_operation(operation);
                }
                paths.insert(path, item);
            }
        }
    }
    for (name, schema) in plain_types() {
        definitions
            .entry(format!("io.k8s.{name}"))
            .or_insert(schema);
    }
    json!({
        "swagger": "2.0", "info": {"title": "Kubernetes", "version": "unversioned"},
        "paths": paths, "definitions": definitions,
    })
}

/// Puts references, and what v2 does not know, into the older form.
fn older(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            map.remove("nullable");
            map.remove("oneOf");
            map.remove("anyOf");
            // a reference with a default beside it stands in brackets in v3
            if let Some(Value::Array(all)) = map.remove("allOf")
                && let Some(Value::Object(inner)) = all.into_iter().next()
            {
                map.extend(inner);
            }
            if let Some(Value::String(reference)) = map.get_mut("$ref") {
                *reference = reference.replace("#/components/schemas/", "#/definitions/");
            }
            map.values_mut().for_each(older);
        }
        Value::Array(list) => list.iter_mut().for_each(older),
        _ => {}
    }
}

fn older_operation(operation: &mut Value) {
    let simple = |parameter: &mut Value| {
        if let Some(map) = parameter.as_object_mut()
            && let Some(Value::Object(schema)) = map.remove("schema")
        {
            map.extend(schema);
        }
    };
    // the parameters of a path are a list beside its operations
    if let Value::Array(parameters) = operation {
        parameters.iter_mut().for_each(simple);
        return;
    }
    let schema = operation
        .pointer("/responses/200/content/application~1json/schema")
        .cloned();
    let Some(map) = operation.as_object_mut() else {
        return;
    };
    let mut schema = schema.unwrap_or_default();
    older(&mut schema);
    map.insert(
        "responses".to_owned(),
        json!({"200": {"description": "OK", "schema": schema}}),
    );
    let body = map.remove("requestBody").is_some();
    let parameters = map.entry("parameters").or_insert_with(|| json!([]));
    if let Some(list) = parameters.as_array_mut() {
        list.iter_mut().for_each(simple);
        if body {
            list.push(json!({"name": "body", "in": "body", "required": true, "schema": schema}));
        }
    }
    map.insert(
        "consumes".to_owned(),
        json!(["application/json", "application/yaml"]),
    );
    map.insert(
        "produces".to_owned(),
        json!(["application/json", "application/yaml"]),
    );
}

fn parameter(name: &str, kind: &str, description: &str) -> Value {
    json!({"name": name, "in": "query", "description": description,
        "schema": {"type": kind, "uniqueItems": true}})
}

/// Writes the paths of a resource: as much as clients look for.
fn operations(def: &ResourceDef, name: Option<&str>, gvk: &Value) -> Vec<(String, Value)> {
    let base = if def.group.is_empty() {
        format!("/api/{}", def.version)
    } else {
        format!("/apis/{}/{}", def.group, def.version)
    };
    let collection = if def.namespaced {
        format!("{base}/namespaces/{{namespace}}/{}", def.plural)
    } else {
        format!("{base}/{}", def.plural)
    };
    let reference = name.map_or_else(
        || json!({"type": "object"}),
        |name| json!({"$ref": format!("#/components/schemas/{name}")}),
    );
    let content = json!({"application/json": {"schema": reference}, "application/yaml": {"schema": reference}});
    let response = json!({"200": {"description": "OK", "content": content}});
    let write_parameters = json!([
        parameter(
            "dryRun",
            "string",
            "When present, indicates that modifications should not be persisted."
        ),
        parameter(
            "fieldManager",
            "string",
            "Name of the actor that is making these changes."
        ),
        parameter(
            "fieldValidation",
            "string",
            "What to do with unknown or duplicate fields: Ignore, Warn or Strict."
        ),
    ]);
    let operation = |action: &str, writes: bool| {
        let mut out = json!({
            "operationId": format!("{action}{}{}", def.kind, def.version), "responses": response,
            "x-kubernetes-action": action, "x-kubernetes-group-version-kind": gvk,
        });
        if writes {
            out["parameters"] = write_parameters.clone();
            out["requestBody"] = json!({"content": content, "required": true});
        }
        out
    };
    let mut on_collection = Map::new();
    let mut on_object = Map::new();
    let table: [(&str, &str, &str, bool, bool); 7] = [
        ("list", "get", "list", false, true),
        ("create", "post", "post", true, true),
        (
            "deletecollection",
            "delete",
            "deletecollection",
            false,
            true,
        ),
        ("get", "get", "get", false, false),
        ("update", "put", "put", true, false),
        ("patch", "patch", "patch", true, false),
        ("delete", "delete", "delete", false, false),
    ];
    for (verb, method, action, writes, collects) in table {
        if def.offers(verb) {
            let target = if collects {
                &mut on_collection
            } else {
                &mut on_object
            };
            target.insert(method.to_owned(), operation(action, writes));
        }
    }
    let mut out = Vec::new();
    let placed = |mut item: Map<String, Value>, object: bool| {
        let mut parameters = Vec::new();
        let text = json!({"type": "string", "uniqueItems": true});
        if object {
            parameters
                .push(json!({"name": "name", "in": "path", "required": true, "schema": text}));
        }
        if def.namespaced {
            parameters
                .push(json!({"name": "namespace", "in": "path", "required": true, "schema": text}));
        }
        item.insert("parameters".to_owned(), Value::Array(parameters));
        Value::Object(item)
    };
    if !on_collection.is_empty() {
        out.push((collection.clone(), placed(on_collection, false)));
    }
    if !on_object.is_empty() {
        out.push((format!("{collection}/{{name}}"), placed(on_object, true)));
    }
    out
}
