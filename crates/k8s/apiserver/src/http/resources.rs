//! Requests to resources: which call of the registry they are.

use std::sync::Arc;

use http::Response;
use http::header::{CONTENT_TYPE, HeaderValue};
use serde_json::{Value, json};

use super::negotiate::{self, Accepted, Format, Offer, Shape};
use super::options::{self, delete_options, read_delete_options, write_options};
use super::request::ResourcePath;
use super::stream::{WatchStream, error_frame};
use super::table::{self, Include};
use super::{Answer, Body, Call, Server, text_response};
use crate::auth::{self, Attributes};
use crate::registry::Patched;
use crate::{
    FieldError, FieldValidation, ListOptions, ObjectList, ObjectWatch, Outcome, Part, Patch,
    ResourceDef, RevisionMatch, Selector, Status, SubresourceRequest, SubresourceResponse,
    VirtualRequest, VirtualResource, WatchOptions, WriteOptions, codec,
};

/// What is asked of which resource.
struct Target<'a> {
    def: Arc<ResourceDef>,
    path: &'a ResourcePath,
    accepted: Accepted,
    virtual_resource: Option<Arc<dyn VirtualResource>>,
}

impl Target<'_> {
    fn request(&self, call: &Call<'_>) -> VirtualRequest {
        VirtualRequest {
            user: call.user.clone(),
            namespace: self.path.namespace.clone(),
            name: self.path.name.clone(),
        }
    }
}

impl Server {
    /// Serves a request to a resource.
    pub(super) async fn resource(
        &self,
        call: &Call<'_>,
        path: &ResourcePath,
        warnings: &mut Vec<String>,
    ) -> Result<Answer, Status> {
        let catalog = self.registry.catalog();
        let Some(def) = catalog.get(&path.group, &path.version, &path.plural) else {
            // a version that is not served has nobody who could answer
            let mut others = catalog.resources(&path.group, &path.version);
            if others.any(|def| !def.custom) {
                return Err(Status::no_such_resource());
            }
            return Ok(Answer::Raw(text_response(404, "404 page not found\n")));
        };
        warnings.extend(def.warning.clone());
        let scoped = !path.namespace.is_empty();
        if scoped && !def.namespaced {
            return Err(Status::no_such_resource());
        }
        if !path.subresource.is_empty() {
            let first = path.subresource.split('/').next().unwrap_or_default();
            let key = (path.group.clone(), path.plural.clone(), first.to_owned());
            if let Some(handler) = self.extensions.subresources.get(&key) {
                let request = SubresourceRequest {
                    user: call.user.clone(),
                    namespace: path.namespace.clone(),
                    name: path.name.clone(),
                    subresource: path.subresource.clone(),
                    method: call.method.clone(),
                    query: call.query.clone(),
                    headers: call.headers.clone(),
                    body: call.body.clone(),
                };
                return Ok(match handler.handle(request).await? {
                    SubresourceResponse::Object(value) => Answer::Object(200, value),
                    SubresourceResponse::Coded(code, value) => Answer::Object(code, value),
                    SubresourceResponse::Raw(response) => Answer::Raw(response),
                });
            }
        }
        // a review is answered, not kept: no table shows it
        let offer = if def.review {
            Offer::Plain
        } else {
            Offer::Objects
        };
        let target = Target {
            def: Arc::clone(def),
            path,
            accepted: negotiate::accept(&call.accept(), offer).map_err(|_| {
                if def.custom {
                    Status::not_acceptable(&negotiate::ALL)
                } else {
                    negotiate::refuse_builtin(&call.accept())
                }
            })?,
            virtual_resource: self
                .extensions
                .virtuals
                .get(&(path.group.clone(), path.plural.clone()))
                .cloned(),
        };
        let verb = path.verb(call.method, &call.query);
        if !path.subresource.is_empty() {
            return self.below(call, &target, verb, warnings).await;
        }
        let whole = path.name.is_empty();
        let fits = match verb {
            "watch" if path.watch => whole || scoped || !def.namespaced,
            "list" | "watch" | "deletecollection" => whole,
            "create" => whole && (scoped || !def.namespaced),
            _ => !whole && (scoped || !def.namespaced),
        };
        if fits && def.custom && verb == "create" && !def.offers(verb) {
            let why = "create not allowed while custom resource definition is terminating";
            return Err(
                Status::new(405, "MethodNotAllowed", why).about(crate::Details {
                    group: def.group.clone(),
                    kind: def.plural.clone(),
                    ..crate::Details::default()
                }),
            );
        }
        if !fits || !def.offers(verb) {
            return Err(Status::method_not_allowed());
        }
        if def.review {
            let object = super::read_body(call.headers, call.body, &def.kind)?;
            let object = self.registry.accept_review(def, &path.namespace, object)?;
            let authorizer = &*self.extensions.authorizer;
            let answer = auth::review(
                &self.registry,
                authorizer,
                def,
                &path.namespace,
                call.user,
                object,
            )
            .await?;
            return Ok(Answer::Object(201, answer));
        }
        match verb {
            "get" => self.get(call, &target).await,
            "list" => self.list(call, &target).await,
            "watch" => self.watch(call, &target).await,
            "create" => self.create(call, &target, warnings).await,
            "update" => self.update(call, &target, Part::Main, warnings).await,
            "patch" => self.patch(call, &target, Part::Main, warnings).await,
            "delete" => self.delete(call, &target).await,
            _ => self.delete_collection(call, &target),
        }
    }

    async fn below(
        &self,
        call: &Call<'_>,
        target: &Target<'_>,
        verb: &str,
        warnings: &mut Vec<String>,
    ) -> Result<Answer, Status> {
        let def = &target.def;
        let (namespace, name) = (&target.path.namespace, &target.path.name);
        match (target.path.subresource.as_str(), verb) {
            ("status", _) if def.custom && !def.status_subresource => {
                Err(Status::not_found(def, name))
            }
            ("scale", _) if def.custom && def.scale.is_none() => Err(Status::not_found(def, name)),
            ("status", _) if !def.status_subresource => Err(Status::no_such_resource()),
            ("status", "get") => self.get(call, target).await,
            ("status", "update") => self.update(call, target, Part::Status, warnings).await,
            ("status", "patch") => self.patch(call, target, Part::Status, warnings).await,
            ("finalize", "update") if def.plural == "namespaces" => {
                self.update(call, target, Part::Finalize, warnings).await
            }
            ("scale", _) if def.scale.is_none() => Err(Status::no_such_resource()),
            ("scale", "get") => Ok(Answer::Object(
                200,
                self.registry.scale(def, namespace, name)?,
            )),
            ("scale", "update") => {
                let wanted = super::read_body(call.headers, call.body, "Scale")?;
                let options = write_options(call)?;
                let scale = self
                    .registry
                    .update_scale(def, namespace, name, &wanted, &options)?;
                Ok(Answer::Object(200, scale))
            }
            ("scale", "patch") => {
                let options = write_options(call)?;
                let (patch, _) = read_patch(call, def, FieldValidation::Ignore)?;
                let scale = self
                    .registry
                    .patch_scale(def, namespace, name, &patch, &options)?;
                Ok(Answer::Object(200, scale))
            }
            ("binding", "create") if def.plural == "pods" => self.bind(call, target),
            ("eviction", "create") if def.plural == "pods" => self.evict(call, target),
            ("approval" | "ephemeralcontainers" | "resize", "get") => self.get(call, target).await,
            (name, _) if def.subresources.iter().any(|known| known == name) => {
                Err(Status::method_not_allowed())
            }
            ("status" | "scale" | "finalize", _) => Err(Status::method_not_allowed()),
            _ => Err(Status::no_such_resource()),
        }
    }

    fn bind(&self, call: &Call<'_>, target: &Target<'_>) -> Result<Answer, Status> {
        let binding = super::read_body(call.headers, call.body, "Binding")?;
        let node = binding["target"]["name"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let (def, name) = (&target.def, &target.path.name);
        let mut taken = None;
        let options = write_options(call)?;
        self.registry.modify(
            def,
            &target.path.namespace,
            name,
            Part::Main,
            &options,
            |pod| {
                let present = pod["spec"]["nodeName"].as_str().unwrap_or_default();
                if !present.is_empty() {
                    taken = Some(present.to_owned());
                    return false;
                }
                pod["spec"]["nodeName"] = json!(node);
                true
            },
        )?;
        if let Some(taken) = taken {
            let why = format!("pod {name} is already assigned to node {taken:?}");
            return Err(Status::conflict(def, name, &why));
        }
        Ok(Answer::Object(
            201,
            json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}),
        ))
    }

    fn evict(&self, call: &Call<'_>, target: &Target<'_>) -> Result<Answer, Status> {
        let eviction = super::read_body(call.headers, call.body, "Eviction")?;
        let mut options = delete_options(call)?;
        read_delete_options(&eviction["deleteOptions"], &mut options)?;
        self.registry.delete(
            &target.def,
            &target.path.namespace,
            &target.path.name,
            &options,
        )?;
        Ok(Answer::Object(
            201,
            json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}),
        ))
    }

    async fn get(&self, call: &Call<'_>, target: &Target<'_>) -> Result<Answer, Status> {
        let path = target.path;
        if let Some(resource) = &target.virtual_resource {
            let object = resource.get(&target.request(call)).await?;
            return self.shaped(call, target, 200, object);
        }
        if target.accepted.shape == Shape::Object {
            let bytes = self
                .registry
                .get_bytes(&target.def, &path.namespace, &path.name)?;
            return Ok(Answer::Bytes(bytes));
        }
        let object = self
            .registry
            .get(&target.def, &path.namespace, &path.name)?;
        self.shaped(call, target, 200, object)
    }

    /// Puts one object into the shape that was asked for.
    fn shaped(
        &self,
        call: &Call<'_>,
        target: &Target<'_>,
        code: u16,
        object: Value,
    ) -> Result<Answer, Status> {
        Ok(Answer::Object(
            code,
            match target.accepted.shape {
                Shape::Table(version) => {
                    let metadata =
                        json!({"resourceVersion": object["metadata"]["resourceVersion"]});
                    table::table(
                        &target.def,
                        version,
                        std::iter::once(object),
                        metadata,
                        include(call)?,
                        self.registry.config().clock.now(),
                        true,
                    )
                }
                Shape::Metadata => table::partial(&object, "v1"),
                _ => object,
            },
        ))
    }

    async fn list(&self, call: &Call<'_>, target: &Target<'_>) -> Result<Answer, Status> {
        let options = list_options(call)?;
        let def = &target.def;
        let (values, metadata): (Vec<Value>, Value) =
            if let Some(resource) = &target.virtual_resource {
                let list = resource.list(&target.request(call), &options).await?;
                let mut metadata = json!({"resourceVersion": list.resource_version});
                if !list.continue_token.is_empty() {
                    metadata["continue"] = json!(list.continue_token);
                }
                if let Some(remaining) = list.remaining {
                    metadata["remainingItemCount"] = json!(remaining);
                }
                (list.items, metadata)
            } else {
                let namespace = &target.path.namespace;
                if target.accepted.shape == Shape::Object {
                    let bytes = self.registry.list_bytes(def, namespace, &options)?;
                    return Ok(Answer::Bytes(bytes));
                }
                let list = self.registry.list(def, namespace, &options)?;
                let metadata = list.metadata();
                (list.values().collect(), metadata)
            };
        let answer = match target.accepted.shape {
            Shape::Table(version) => table::table(
                def,
                version,
                values.into_iter(),
                metadata,
                include(call)?,
                self.registry.config().clock.now(),
                true,
            ),
            Shape::Metadata => {
                let items: Vec<Value> = values
                    .iter()
                    .map(|object| table::partial(object, "v1"))
                    .collect();
                // of none Kubernetes makes nothing here
                let items = if items.is_empty() {
                    Value::Null
                } else {
                    json!(items)
                };
                json!({
                    "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1",
                    "metadata": metadata, "items": items,
                })
            }
            _ => json!({
                "kind": def.list_kind, "apiVersion": def.api_version(), "metadata": metadata,
                "items": values,
            }),
        };
        Ok(Answer::Object(200, answer))
    }

    async fn watch(&self, call: &Call<'_>, target: &Target<'_>) -> Result<Answer, Status> {
        let query = &call.query;
        let mut selector = Selector::parse(query.get("labelSelector"), query.get("fieldSelector"))?;
        if !target.path.name.is_empty() {
            let named = Selector::parse("", &format!("metadata.name={}", target.path.name))?;
            selector.fields.extend(named.fields);
        }
        let initial = query.flag("sendInitialEvents");
        options::check_watch(query)?;
        let options = WatchOptions {
            selector,
            resource_version: query.get("resourceVersion").to_owned(),
            send_initial_events: initial,
            bookmarks: query.flag("allowWatchBookmarks"),
        };
        let config = self.registry.config();
        let seconds = match query.get("timeoutSeconds") {
            "" => config.watch_seconds,
            text => text
                .parse()
                .map_err(|_| Status::bad_request(format!("invalid timeoutSeconds {text:?}")))?,
        };
        let asked = query.get("resourceVersion");
        if !asked.is_empty() && asked.parse::<u64>().is_err() {
            let why = format!(
                "resourceVersion: Invalid value: {asked:?}: strconv.ParseUint: parsing {asked:?}: invalid syntax"
            );
            return Err(Status::new(500, "", why));
        }
        let opened: Result<ObjectWatch, Status> = match &target.virtual_resource {
            Some(resource) => resource.watch(&target.request(call), &options).await,
            None => self
                .registry
                .watch(&target.def, &target.path.namespace, &options),
        };
        let format = target.accepted.format;
        let body = match opened {
            Ok(watch) => {
                let form = (format, target.accepted.shape, include(call)?);
                Body::Stream(Box::pin(WatchStream::new(
                    watch,
                    Arc::clone(config),
                    form,
                    seconds,
                )))
            }
            // what is too old, or not there yet, is told inside the stream, as reflectors expect it
            Err(status) if matches!(status.code, 410 | 504) => Body::from(error_frame(&status)),
            Err(status) => return Err(status),
        };
        let mut response = Response::new(body);
        let media = match format {
            Format::Yaml => "application/yaml;stream=watch",
            _ => "application/json",
        };
        response
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static(media));
        response.headers_mut().insert(
            http::header::CACHE_CONTROL,
            HeaderValue::from_static("no-cache, private"),
        );
        Ok(Answer::Raw(response))
    }

    fn written(
        &self,
        call: &Call<'_>,
        target: &Target<'_>,
        outcome: Outcome,
        warnings: &mut Vec<String>,
    ) -> Result<Answer, Status> {
        warnings.extend(outcome.warnings);
        let code = if outcome.created { 201 } else { 200 };
        self.shaped(call, target, code, outcome.object)
    }

    async fn create(
        &self,
        call: &Call<'_>,
        target: &Target<'_>,
        warnings: &mut Vec<String>,
    ) -> Result<Answer, Status> {
        let options = write_options(call)?;
        let object = read_object(call, &target.def, &options, warnings)?;
        if let Some(resource) = &target.virtual_resource {
            let made = resource
                .create(&target.request(call), object, &options)
                .await?;
            return self.shaped(call, target, 201, made);
        }
        let outcome =
            self.registry
                .create(&target.def, &target.path.namespace, object, &options)?;
        self.written(call, target, outcome, warnings)
    }

    async fn update(
        &self,
        call: &Call<'_>,
        target: &Target<'_>,
        part: Part,
        warnings: &mut Vec<String>,
    ) -> Result<Answer, Status> {
        let options = write_options(call)?;
        let object = read_object(call, &target.def, &options, warnings)?;
        let path = target.path;
        if let Some(resource) = &target.virtual_resource {
            let made = resource
                .update(&target.request(call), object, &options)
                .await?;
            return self.shaped(call, target, 200, made);
        }
        let outcome = self.registry.update_part(
            &target.def,
            &path.namespace,
            &path.name,
            part,
            object,
            &options,
        )?;
        self.written(call, target, outcome, warnings)
    }

    async fn patch(
        &self,
        call: &Call<'_>,
        target: &Target<'_>,
        part: Part,
        warnings: &mut Vec<String>,
    ) -> Result<Answer, Status> {
        let path = target.path;
        let mut options = write_options(call)?;
        let (patch, twice) = read_patch(call, &target.def, options.field_validation)?;
        if let Patch::Apply(wanted) = &patch {
            let typed = wanted["kind"].is_string() && wanted["apiVersion"].is_string();
            if !typed {
                return Err(Status::bad_request("invalid object type: /, Kind="));
            }
            let def = &target.def;
            let builtin = matches!(def.schema, crate::Schema::Builtin);
            if builtin && part == Part::Main && wanted["kind"] != def.kind.as_str() {
                return Err(Status::bad_request(format!(
                    "invalid object type: {}, Kind={}",
                    wanted["apiVersion"].as_str().unwrap_or_default(),
                    wanted["kind"].as_str().unwrap_or_default()
                )));
            }
            if let Some(twice) = twice {
                if options.field_validation == FieldValidation::Strict {
                    return Err(Status::bad_request(format!(
                        "error strict decoding YAML: {twice}"
                    )));
                }
                let lines = twice.lines().map(str::trim);
                warnings.extend(
                    lines
                        .filter(|line| line.starts_with("line "))
                        .map(str::to_owned),
                );
            }
            options.field_manager = call.query.get("fieldManager").to_owned();
            // an apply that would create needs the right to
            if part == Part::Main
                && target.virtual_resource.is_none()
                && !self
                    .registry
                    .exists(&target.def, &path.namespace, &path.name)?
            {
                let wanted = Attributes {
                    verb: "create".to_owned(),
                    group: path.group.clone(),
                    version: path.version.clone(),
                    resource: path.plural.clone(),
                    namespace: path.namespace.clone(),
                    name: path.name.clone(),
                    ..Attributes::default()
                };
                self.require(call.user, &wanted).await?;
            }
        } else if options.force {
            return Err(Status::invalid_options(
                "PatchOptions",
                FieldError::forbidden("force", "may not be specified for non-apply patch"),
            ));
        }
        if let Some(resource) = &target.virtual_resource {
            let made = resource
                .patch(&target.request(call), &patch, &options)
                .await?;
            return self.shaped(call, target, 200, made);
        }
        let patched = self.registry.patch_stored(
            &target.def,
            &path.namespace,
            &path.name,
            part,
            &patch,
            &options,
        )?;
        match patched {
            Patched::Written(outcome) => self.written(call, target, outcome, warnings),
            Patched::Unchanged {
                object,
                stored,
                warnings: said,
            } => {
                warnings.extend(said);
                if target.accepted.shape == Shape::Object {
                    let bytes = codec::splice(&target.def, &stored.value, stored.modified);
                    return Ok(Answer::Bytes(bytes));
                }
                self.shaped(call, target, 200, object)
            }
        }
    }

    async fn delete(&self, call: &Call<'_>, target: &Target<'_>) -> Result<Answer, Status> {
        let options = delete_options(call)?;
        let path = target.path;
        let deleted = match &target.virtual_resource {
            Some(resource) => resource.delete(&target.request(call), &options).await?,
            None => self
                .registry
                .delete(&target.def, &path.namespace, &path.name, &options)?,
        };
        Ok(Answer::Object(200, deleted.answer(&target.def)))
    }

    fn delete_collection(&self, call: &Call<'_>, target: &Target<'_>) -> Result<Answer, Status> {
        if target.virtual_resource.is_some() {
            return Err(Status::method_not_allowed());
        }
        let options = delete_options(call)?;
        let selector = Selector::parse(
            call.query.get("labelSelector"),
            call.query.get("fieldSelector"),
        )?;
        let deleted = self.registry.delete_collection(
            &target.def,
            &target.path.namespace,
            &selector,
            &options,
        )?;
        let list = ObjectList {
            items: deleted,
            revision: self.registry.revision(),
            continue_token: String::new(),
            remaining: None,
        };
        let def = &target.def;
        Ok(Answer::Bytes(list.encode(def)))
    }
}

/// Reads the object of a create or update; a field that stands twice is reported or refused.
fn read_object(
    call: &Call<'_>,
    def: &ResourceDef,
    options: &WriteOptions,
    warnings: &mut Vec<String>,
) -> Result<Value, Status> {
    // mostly one reading shows that all is well
    if let Some(object) = super::read_strictly(call.headers, call.body) {
        return Ok(object);
    }
    let kind = if def.custom { "JSON" } else { &def.kind };
    let object = match super::read_body(call.headers, call.body, kind) {
        Err(status) if def.custom && status.code == 415 => {
            let known = ["application/json", "application/yaml"];
            return Err(Status::unsupported_media_type(&known));
        }
        read => read?,
    };
    if options.field_validation == FieldValidation::Ignore
        || !super::has_duplicates(call.headers, call.body)
    {
        return Ok(object);
    }
    let keys = super::duplicates::keys(call.body);
    let twice = |key: &&super::duplicates::Key| key.again;
    if options.field_validation == FieldValidation::Strict {
        let unknown = crate::schema::prune(def, &mut object.clone()).unwrap_or_default();
        let problems: Vec<String> = keys
            .iter()
            .filter_map(|key| {
                if key.again {
                    return Some(format!("duplicate field {:?}", key.path));
                }
                let unknown = unknown.contains(&key.path);
                unknown.then(|| format!("unknown field {:?}", key.path))
            })
            .collect();
        return Err(Status::bad_request(format!(
            "{} in version {:?} cannot be handled as a {}: strict decoding error: {}",
            def.kind,
            def.version,
            def.kind,
            problems.join(", ")
        )));
    }
    let found = keys.iter().filter(twice);
    warnings.extend(found.map(|key| format!("duplicate field {:?}", key.path)));
    Ok(object)
}

fn include(call: &Call<'_>) -> Result<Include, Status> {
    let text = call.query.get("includeObject");
    Include::parse(text)
        .ok_or_else(|| {
            Status::bad_request(format!(
                "Unable to convert to Table as requested: includeObject: Invalid value: {text:?}: must be 'Metadata', 'Object', 'None', or empty"
            ))
        })
}

fn list_options(call: &Call<'_>) -> Result<ListOptions, Status> {
    let query = &call.query;
    options::check_list(query)?;
    let limit = match query.get("limit") {
        "" => 0,
        text => text.parse().map_err(|_| {
            Status::bad_request(format!(
                "strconv.ParseInt: parsing {text:?}: invalid syntax"
            ))
        })?,
    };
    let resource_version_match = match query.get("resourceVersionMatch") {
        "" => None,
        "Exact" => Some(RevisionMatch::Exact),
        _ => Some(RevisionMatch::NotOlderThan),
    };
    Ok(ListOptions {
        selector: Selector::parse(query.get("labelSelector"), query.get("fieldSelector"))?,
        limit,
        continue_token: query.get("continue").to_owned(),
        resource_version: query.get("resourceVersion").to_owned(),
        resource_version_match,
    })
}

/// Reads a patch; with what stands twice in one that is applied.
fn read_patch(
    call: &Call<'_>,
    def: &ResourceDef,
    validation: FieldValidation,
) -> Result<(Patch, Option<String>), Status> {
    let header = call.header(CONTENT_TYPE);
    let media = header.split(';').next().unwrap_or_default().trim();
    let json = || super::parse(Format::Json, call.body);
    let patch = match media {
        "application/json-patch+json" => Patch::Json(json()?),
        "application/merge-patch+json" => Patch::Merge(json()?),
        "application/strategic-merge-patch+json" if !def.custom => Patch::Strategic(json()?),
        "application/apply-patch+yaml" => {
            let strict = validation != FieldValidation::Ignore;
            let (wanted, twice) = super::read_applied(call.body, strict)?;
            return Ok((Patch::Apply(wanted), twice));
        }
        _ if def.custom => {
            return Err(Status::unsupported_media_type(&[
                "application/json-patch+json",
                "application/merge-patch+json",
                "application/apply-patch+yaml",
            ]));
        }
        _ => {
            let unknown = Status::new(415, "UnsupportedMediaType", "415: Unsupported Media Type");
            return Err(unknown.about(crate::Details::default()));
        }
    };
    Ok((patch, None))
}
