//! HTTP over a registry: `http::Request` in, `http::Response` out.
//!
//! There is no socket here and no task: the embedder reads requests with hyper (or by hand) and writes the answers.

mod body;
mod discovery;
mod duplicates;
mod impersonate;
mod negotiate;
mod openapi;
mod options;
mod protobuf;
mod request;
mod resources;
mod stream;
mod table;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use serde_json::Value;

use crate::auth::{self, Attributes};
use crate::{
    AllowAll, AuditRecord, Authorizer, Catalog, Registry, Status, SubresourceHandler, UserInfo,
    VirtualResource,
};
use negotiate::{Format, Offer, Shape};
use request::ResourcePath;

pub use body::{Body, ByteStream};
pub(crate) use openapi::{Documents, VersionDocument};
pub use request::Query;

/// A server: the objects of a registry over HTTP. Cheap to clone.
#[derive(Clone)]
pub struct Server {
    registry: Registry,
    extensions: Arc<Extensions>,
}

/// What an embedder adds to servers; shared by any number of them.
#[derive(Clone)]
pub struct Extensions {
    authorizer: Arc<dyn Authorizer>,
    virtuals: BTreeMap<(String, String), Arc<dyn VirtualResource>>,
    subresources: BTreeMap<(String, String, String), Arc<dyn SubresourceHandler>>,
}

impl Default for Extensions {
    fn default() -> Self {
        Self {
            authorizer: Arc::new(AllowAll),
            virtuals: BTreeMap::new(),
            subresources: BTreeMap::new(),
        }
    }
}

impl Extensions {
    /// Makes one that allows everything and adds nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks this authorizer.
    #[must_use]
    pub fn authorizer(mut self, authorizer: Arc<dyn Authorizer>) -> Self {
        self.authorizer = authorizer;
        self
    }

    /// Serves a resource of the catalogue from here instead of from the store.
    #[must_use]
    pub fn virtual_resource(
        mut self,
        group: &str,
        plural: &str,
        resource: Arc<dyn VirtualResource>,
    ) -> Self {
        self.virtuals
            .insert((group.to_owned(), plural.to_owned()), resource);
        self
    }

    /// Serves a subresource; name it in the resource's `subresources` as well, for discovery.
    #[must_use]
    pub fn subresource(
        mut self,
        group: &str,
        plural: &str,
        name: &str,
        handler: Arc<dyn SubresourceHandler>,
    ) -> Self {
        let key = (group.to_owned(), plural.to_owned(), name.to_owned());
        self.subresources.insert(key, handler);
        self
    }
}

/// One request, read as far as every handler needs it.
struct Call<'a> {
    method: &'a Method,
    path: &'a str,
    query: Query,
    headers: &'a HeaderMap,
    body: &'a Bytes,
    user: &'a UserInfo,
}

impl Call<'_> {
    fn header(&self, name: impl http::header::AsHeaderName) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }

    /// All `Accept` headers as one.
    fn accept(&self) -> String {
        let all: Vec<&str> = self
            .headers
            .get_all(ACCEPT)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .collect();
        all.join(",")
    }

    fn pretty(&self) -> bool {
        if !self.query.get("pretty").is_empty() {
            return self.query.flag("pretty");
        }
        let agent = self.header(http::header::USER_AGENT);
        ["curl", "Wget", "Mozilla/5.0"]
            .iter()
            .any(|known| agent.starts_with(known))
    }
}

/// An answer before it is written.
pub(crate) enum Answer {
    /// An object.
    Object(u16, Value),
    /// Bytes of JSON that are written already.
    Bytes(Bytes),
    /// Anything.
    Raw(Response<Body>),
}

impl Server {
    /// Serves a registry; everybody may do everything.
    pub fn new(registry: Registry) -> Self {
        Self::with(registry, Arc::new(Extensions::default()))
    }

    /// Serves a registry with what the embedder adds.
    pub fn with(registry: Registry, extensions: Arc<Extensions>) -> Self {
        Self {
            registry,
            extensions,
        }
    }

    /// Returns the registry below.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Answers one request of a caller that the embedder authenticated. It never fails: what goes wrong is a Status.
    pub async fn handle(&self, request: Request<Bytes>, user: &UserInfo) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let path = parts.uri.path().to_owned();
        let mut call = Call {
            method: &parts.method,
            path: &path,
            query: Query::parse(parts.uri.query().unwrap_or_default()),
            headers: &parts.headers,
            body: &body,
            user,
        };
        let resource = ResourcePath::parse(&path);
        let mut warnings = Vec::new();
        let impersonated = self.impersonate(user, &parts.headers).await;
        let result = match &impersonated {
            Err(status) => Err(status.clone()),
            Ok(other) => {
                if let Some(other) = other {
                    call.user = other;
                }
                self.answer(&call, resource.as_ref(), &mut warnings).await
            }
        };
        if let Err(status) = &result {
            warnings.extend(status.warnings.iter().cloned());
        }
        let mut response = write(&call, result);
        for warning in warnings {
            let text = warning.replace('\\', "\\\\").replace('"', "\\\"");
            if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{text}\"")) {
                response.headers_mut().append(http::header::WARNING, value);
            }
        }
        self.audit(&call, resource.as_ref(), user, response.status().as_u16());
        if parts.method == Method::HEAD {
            *response.body_mut() = Body::from(Bytes::new());
        }
        response
    }

    async fn answer(
        &self,
        call: &Call<'_>,
        resource: Option<&ResourcePath>,
        warnings: &mut Vec<String>,
    ) -> Result<Answer, Status> {
        if call.body.len() > self.registry.config().max_body {
            return Err(Status::too_large(self.registry.config().max_body));
        }
        let health = ["/healthz", "/readyz", "/livez"]
            .iter()
            .any(|known| call.path.starts_with(known));
        if health {
            return Ok(Answer::Raw(text_response(200, "ok")));
        }
        self.authorize(call, resource).await?;
        match resource {
            Some(resource) => self.resource(call, resource, warnings).await,
            None => self.other(call),
        }
    }

    async fn authorize(
        &self,
        call: &Call<'_>,
        resource: Option<&ResourcePath>,
    ) -> Result<(), Status> {
        let wanted = attributes(call, resource);
        self.require(call.user, &wanted).await
    }

    async fn require(&self, user: &UserInfo, wanted: &Attributes) -> Result<(), Status> {
        let authorizer = &self.extensions.authorizer;
        let decision = authorizer.authorize(&self.registry, user, wanted).await?;
        if decision.allowed {
            Ok(())
        } else {
            Err(auth::refusal(user, wanted, &decision.reason))
        }
    }

    fn audit(
        &self,
        call: &Call<'_>,
        resource: Option<&ResourcePath>,
        caller: &UserInfo,
        code: u16,
    ) {
        let Some(audit) = &self.registry.config().audit else {
            return;
        };
        let wanted = attributes(call, resource);
        audit(&AuditRecord {
            user: call.user,
            impersonated_by: (call.user != caller).then_some(caller),
            verb: &wanted.verb,
            group: &wanted.group,
            resource: &wanted.resource,
            subresource: &wanted.subresource,
            namespace: &wanted.namespace,
            name: &wanted.name,
            path: call.path,
            code,
        });
    }

    /// Serves what is no resource: discovery, OpenAPI, version.
    fn other(&self, call: &Call<'_>) -> Result<Answer, Status> {
        if !matches!(*call.method, Method::GET | Method::HEAD) {
            return Err(Status::method_not_allowed());
        }
        let catalog = self.registry.catalog();
        let parts: Vec<&str> = call.path.trim_matches('/').split('/').collect();
        let found = match parts.as_slice() {
            ["api"] => return self.discovery_root(call, &catalog, true),
            ["apis"] => return self.discovery_root(call, &catalog, false),
            ["api", version] => discovery::resources(&catalog, "", version),
            ["apis", group] => discovery::group(&catalog, group),
            ["apis", group, version] => discovery::resources(&catalog, group, version),
            ["version"] => Some(discovery::version(&self.registry.config().version)),
            ["openapi", "v3"] => {
                let list = text_response(200, &openapi::root(&catalog).to_string());
                // Kubernetes leaves it to be guessed what this is
                return Ok(Answer::Raw(list));
            }
            ["openapi", "v2"] => {
                if call.accept().starts_with(SWAGGER_MIME) {
                    return Ok(Answer::Raw(swagger_without_types()));
                }
                negotiate::accept(&call.accept(), Offer::Plain)?;
                return Ok(Answer::Bytes(catalog.swagger().bytes.clone()));
            }
            ["openapi", "v3", path @ ..] => {
                return openapi_document(call, &catalog, &path.join("/"));
            }
            [""] => Some(root_paths(&catalog)),
            _ => None,
        };
        let Some(found) = found else {
            return Ok(Answer::Raw(text_response(404, "404 page not found\n")));
        };
        negotiate::accept(&call.accept(), Offer::Plain)?;
        Ok(Answer::Object(200, found))
    }

    fn discovery_root(
        &self,
        call: &Call<'_>,
        catalog: &Catalog,
        core: bool,
    ) -> Result<Answer, Status> {
        let accepted = negotiate::accept(&call.accept(), Offer::Discovery)?;
        if accepted.shape != Shape::Discovery {
            return Ok(Answer::Object(
                200,
                if core {
                    discovery::core_versions(catalog)
                } else {
                    discovery::groups(catalog)
                },
            ));
        }
        let document = catalog.aggregated(core);
        let etag = format!("\"{}\"", document.hash);
        let known = call.header(http::header::IF_NONE_MATCH) == etag;
        let mut response = Response::new(Body::from(if known {
            Bytes::new()
        } else {
            document.bytes.clone()
        }));
        if known {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        }
        let headers = response.headers_mut();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static(
                "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
            ),
        );
        headers.insert(http::header::VARY, HeaderValue::from_static("Accept"));
        headers.insert(
            http::header::CACHE_CONTROL,
            HeaderValue::from_static("public"),
        );
        if let Ok(etag) = HeaderValue::from_str(&etag) {
            headers.insert(http::header::ETAG, etag);
        }
        Ok(Answer::Raw(response))
    }
}

fn attributes(call: &Call<'_>, resource: Option<&ResourcePath>) -> Attributes {
    match resource {
        Some(path) => Attributes {
            verb: path.verb(call.method, &call.query).to_owned(),
            group: path.group.clone(),
            version: path.version.clone(),
            resource: path.plural.clone(),
            subresource: path.subresource.clone(),
            // a namespace is inside itself, as far as its roles are concerned
            namespace: if path.group.is_empty() && path.plural == "namespaces" {
                path.name.clone()
            } else {
                path.namespace.clone()
            },
            name: path.name.clone(),
            path: String::new(),
        },
        None => Attributes {
            verb: call.method.as_str().to_lowercase(),
            path: call.path.to_owned(),
            ..Attributes::default()
        },
    }
}

fn root_paths(catalog: &Catalog) -> Value {
    let mut paths: Vec<String> = [
        "/api",
        "/apis",
        "/healthz",
        "/livez",
        "/openapi/v2",
        "/openapi/v3",
        "/readyz",
        "/version",
    ]
    .map(str::to_owned)
    .to_vec();
    for group in catalog.groups() {
        for version in catalog.versions(group) {
            paths.push(if group.is_empty() {
                format!("/api/{version}")
            } else {
                format!("/apis/{group}/{version}")
            });
        }
        if !group.is_empty() {
            paths.push(format!("/apis/{group}"));
        }
    }
    paths.sort();
    serde_json::json!({ "paths": paths })
}

const SWAGGER_MIME: &str = "application/com.github.proto-openapi.spec.v2";

/// The older form of OpenAPI as protobuf: a document that describes no type. A kubectl that finds a `List` in a file, and no
/// Namespace to patch in the newer form, asks for it to check the file by, and gives up without one; what it then does not
/// check is checked here, when the items come.
fn swagger_without_types() -> Response<Body> {
    // field 1 is `swagger`, field 2 `info` with its `title` and `version`
    const DOCUMENT: &[u8] = b"\x0a\x032.0\x12\x19\x0a\x0aKubernetes\x12\x0bunversioned";
    let mut response = Response::new(Body::from(DOCUMENT));
    let mime =
        HeaderValue::from_static("application/com.github.proto-openapi.spec.v2.v1.0+protobuf");
    response.headers_mut().insert(CONTENT_TYPE, mime);
    response
}

fn openapi_document(call: &Call<'_>, catalog: &Catalog, path: &str) -> Result<Answer, Status> {
    let Some(document) = catalog.openapi().get(path) else {
        let mut nothing = text_response(404, "");
        nothing.headers_mut().remove(CONTENT_TYPE);
        return Ok(Answer::Raw(nothing));
    };
    let asked = call.query.get("hash");
    let mut response = Response::new(Body::from(document.bytes.clone()));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Ok(etag) = HeaderValue::from_str(&format!("\"{}\"", document.hash)) {
        headers.insert(http::header::ETAG, etag);
    }
    if asked == document.hash {
        headers.insert(
            http::header::CACHE_CONTROL,
            HeaderValue::from_static("public, immutable"),
        );
    } else if !asked.is_empty() {
        let url = format!("/openapi/v3/{path}?hash={}", document.hash);
        if let Ok(url) = HeaderValue::from_str(&url) {
            headers.insert(http::header::LOCATION, url);
        }
        *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
        *response.body_mut() = Body::from(Bytes::new());
    }
    Ok(Answer::Raw(response))
}

/// Makes a plain text answer.
pub(crate) fn text_response(code: u16, text: &str) -> Response<Body> {
    let mut response = Response::new(Body::from(Bytes::copy_from_slice(text.as_bytes())));
    *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::OK);
    response.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response.headers_mut().insert(
        http::header::CACHE_CONTROL,
        HeaderValue::from_static("no-cache, private"),
    );
    response
}

/// Says what form a body is in, by its content type.
fn format_of(headers: &HeaderMap) -> Result<Format, Status> {
    let header = headers.get(CONTENT_TYPE);
    let header = header.and_then(|value| value.to_str().ok());
    negotiate::content(header.unwrap_or_default())
}

/// Reads a body by its content type.
pub(crate) fn read_body(headers: &HeaderMap, body: &Bytes, kind: &str) -> Result<Value, Status> {
    let format = format_of(headers)?;
    if format == Format::Json {
        let value: Value = serde_json::from_slice(body).map_err(|error| {
            let problem = go_json_problem(body, &error);
            unrecognized(body, kind, &problem)
        })?;
        let found = match &value {
            Value::Array(_) => "array",
            Value::Bool(_) => "bool",
            Value::Number(_) => "number",
            Value::String(_) => "string",
            Value::Object(_) | Value::Null => return Ok(value),
        };
        let problem = format!(
            "json: cannot unmarshal {found} into Go value of type struct {{ APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \"json:\\\"kind,omitempty\\\"\" }}"
        );
        return Err(unrecognized(body, kind, &problem));
    }
    parse(format, body)
}

/// Reads a body of JSON that is an object in which no key stands twice; `None` for any other.
fn read_strictly(headers: &HeaderMap, body: &Bytes) -> Option<Value> {
    match format_of(headers) {
        Ok(Format::Json) => base_json::parse_strict(body).ok().filter(Value::is_object),
        _ => None,
    }
}

/// What is no JSON, in the words of Go's reader and with the beginning of what was sent.
fn unrecognized(body: &[u8], kind: &str, problem: &str) -> Status {
    let summary = |most: usize| -> String {
        let part = &body[..body.len().min(most)];
        let more = if body.len() > most { " ..." } else { "" };
        match body.first() {
            None => "<empty>".to_owned(),
            Some(b'{') => format!("{}{more}", String::from_utf8_lossy(part)),
            Some(_) => {
                let hex: String = part.iter().map(|byte| format!("{byte:02x}")).collect();
                format!("{hex}{more}")
            }
        }
    };
    Status::bad_request(format!(
        "the object provided is unrecognized (must be of type {kind}): couldn't get version/kind; json parse error: {problem} ({})",
        summary(30)
    ))
}

/// What Go's `encoding/json` says of a text that is none.
pub(crate) fn go_json_problem(body: &[u8], error: &serde_json::Error) -> String {
    if error.is_eof() {
        return "unexpected end of JSON input".to_owned();
    }
    let said = error.to_string();
    let place = match () {
        () if said.starts_with("expected `,` or `}`") => "after object key:value pair",
        () if said.starts_with("expected `,` or `]`") => "after array element",
        () if said.starts_with("expected `:`") => "after object key",
        () if said.starts_with("key must be") => "looking for beginning of object key string",
        () if said.starts_with("trailing characters") => "after top-level value",
        () if said.starts_with("control character") => "in string literal",
        () => "looking for beginning of value",
    };
    let line = body
        .split(|byte| *byte == b'\n')
        .nth(error.line().saturating_sub(1));
    let byte = line.and_then(|line| line.get(error.column().saturating_sub(1)));
    let shown = match byte {
        None => return "unexpected end of JSON input".to_owned(),
        Some(b'\'') => r"'\''".to_owned(),
        Some(b'"') => "'\"'".to_owned(),
        Some(byte) => {
            let quoted = base_yaml::go::quote(&char::from(*byte).to_string());
            format!("'{}'", quoted.trim_matches('"'))
        }
    };
    format!("invalid character {shown} {place}")
}

/// Reads what is applied: YAML, of which JSON is a part, and whether a key stands twice.
pub(crate) fn read_applied(body: &Bytes, strict: bool) -> Result<(Value, Option<String>), Status> {
    let broken = |error: base_yaml::go::GoError| {
        Status::bad_request(format!("error decoding YAML: {error}"))
    };
    // most of what comes is JSON, and its numbers stay what they are
    let json = body.trim_ascii_start().starts_with(b"{");
    if json && let Ok(value) = base_json::parse_strict(body) {
        return Ok((value, None));
    }
    let read = if json {
        serde_json::from_slice(body).ok()
    } else {
        None
    };
    let value = match read {
        Some(value) => value,
        None => base_yaml::go::unmarshal(body).map_err(broken)?,
    };
    // nothing is an object without anything, as it is for Kubernetes
    let value = if value.is_null() {
        Value::Object(serde_json::Map::new())
    } else {
        value
    };
    if !strict {
        return Ok((value, None));
    }
    let twice = base_yaml::go::yaml_to_json_strict(body).err();
    Ok((value, twice.map(|error| error.to_string())))
}

/// Is this a JSON body in which a key stands twice?
fn has_duplicates(headers: &HeaderMap, body: &Bytes) -> bool {
    matches!(format_of(headers), Ok(Format::Json)) && base_json::parse_strict(body).is_err()
}

/// Reads JSON or YAML; YAML holds JSON.
pub(crate) fn parse(format: Format, body: &Bytes) -> Result<Value, Status> {
    match format {
        Format::Protobuf => protobuf::decode(body),
        Format::Json => serde_json::from_slice(body).map_err(|error| {
            Status::bad_request(format!(
                "the object provided is unrecognized (must be of type JSON): {error}"
            ))
        }),
        Format::Yaml => {
            let text = std::str::from_utf8(body)
                .map_err(|_| Status::bad_request("the object provided is not UTF-8"))?;
            // JSON is read as JSON: it is most of what comes, and its numbers stay what they are
            if text.trim_start().starts_with('{')
                && let Ok(value) = serde_json::from_str(text)
            {
                return Ok(value);
            }
            let documents = base_yaml::parse_documents(text, "body")
                .map_err(|error| Status::bad_request(format!("error decoding YAML: {error}")))?;
            match documents.len() {
                1 => Ok(documents
                    .into_iter()
                    .next()
                    .map(|one| one.value)
                    .unwrap_or_default()),
                // nothing is an object without anything, as it is for Kubernetes
                0 => Ok(Value::Object(serde_json::Map::new())),
                count => Err(Status::bad_request(format!(
                    "error decoding YAML: expected one document, found {count}"
                ))),
            }
        }
    }
}

fn write(call: &Call<'_>, result: Result<Answer, Status>) -> Response<Body> {
    let (code, value, retry) = match result {
        Ok(Answer::Raw(response)) => return response,
        Ok(Answer::Bytes(bytes)) if !call.pretty() => {
            let format = negotiate::accept(&call.accept(), Offer::Objects)
                .map_or(Format::Json, |accepted| accepted.format);
            if format == Format::Json {
                return encoded(200, Format::Json, bytes);
            }
            (200, serde_json::from_slice(&bytes).unwrap_or_default(), 0)
        }
        Ok(Answer::Bytes(bytes)) => (200, serde_json::from_slice(&bytes).unwrap_or_default(), 0),
        Ok(Answer::Object(code, value)) => (code, value, 0),
        Err(status) => {
            let retry = status
                .details
                .as_ref()
                .map_or(0, |details| details.retry_after_seconds);
            (status.code, status.to_value(), retry)
        }
    };
    // whatever is asked for, an error is written in some form
    let format = negotiate::accept(&call.accept(), Offer::Objects)
        .map_or(Format::Json, |accepted| accepted.format);
    let bytes = match format {
        Format::Yaml => Bytes::from(base_yaml::to_string(&value)),
        Format::Json | Format::Protobuf if call.pretty() => {
            let mut text = serde_json::to_vec_pretty(&value).unwrap_or_default();
            text.push(b'\n');
            Bytes::from(text)
        }
        Format::Json | Format::Protobuf => {
            let mut text = serde_json::to_vec(&value).unwrap_or_default();
            text.push(b'\n');
            Bytes::from(text)
        }
    };
    let mut response = encoded(code, format, bytes);
    if retry > 0 {
        response
            .headers_mut()
            .insert(http::header::RETRY_AFTER, HeaderValue::from(retry));
    }
    response
}

fn encoded(code: u16, format: Format, bytes: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::from(bytes));
    *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::OK);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(format.media_type()));
    headers.insert(
        http::header::CACHE_CONTROL,
        HeaderValue::from_static("no-cache, private"),
    );
    response
}
