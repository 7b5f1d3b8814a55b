//! Creating and updating.

use base_store::{Expect, Op};
use serde_json::{Map, Value, json};

use super::{Outcome, Part, Registry, WriteOptions, checks};
use crate::{
    AdmissionRequest, FieldError, FieldValidation, ResourceDef, Status, codec, schema, world,
};

/// How often a write without a resourceVersion is tried again when another came first.
const RETRIES: usize = 5;

/// A write on its way into the store.
pub(super) struct Draft<'a> {
    pub(super) def: &'a ResourceDef,
    pub(super) namespace: &'a str,
    pub(super) name: &'a str,
    pub(super) part: Part,
    pub(super) old: Option<Value>,
    pub(super) expect: Expect,
    /// Are managedFields settled already, by apply?
    pub(super) applied: bool,
    pub(super) warnings: Vec<String>,
}

/// What is told with an empty value where it was empty, and with none where it was not there: where it stands, and where an
/// error about it points to.
const EMPTIES: [(&str, &str); 5] = [
    ("/spec/versions", "spec.versions"),
    ("/spec/capacity", "spec.capacity"),
    (
        "/spec/template/metadata/labels",
        "spec.template.metadata.labels",
    ),
    ("/spec/cidrs", "spec.cidrs"),
    ("/spec/rules", "spec"),
];

impl Registry {
    /// Creates an object.
    pub fn create(
        &self,
        def: &ResourceDef,
        namespace: &str,
        object: Value,
        options: &WriteOptions,
    ) -> Result<Outcome, Status> {
        let mut object = self.accept(def, namespace, "", object)?;
        if !resource_version(&object).is_empty() {
            let why = "resourceVersion should not be set on objects to be created";
            return Err(Status::new(500, "", why));
        }
        let warnings = check_fields(def, &mut object, options)?;
        let told = |status: Status| status.beside(&warnings);
        let base = k8s_object::meta(&object)
            .and_then(|meta| meta.get("generateName")?.as_str())
            .unwrap_or_default()
            .to_owned();
        let generate = k8s_object::name(&object).is_empty() && !base.is_empty();
        for attempt in 0.. {
            if generate {
                let base: String = base.chars().take(58).collect();
                let name = format!("{base}{}", world::suffix(&*self.config().entropy));
                set_meta(&mut object, "name", json!(name));
            }
            let name = k8s_object::name(&object).to_owned();
            self.check_namespace(def, namespace, &name).map_err(told)?;
            let draft = Draft {
                def,
                namespace,
                name: &name,
                part: Part::Main,
                old: None,
                expect: Expect::Absent,
                applied: false,
                warnings: warnings.clone(),
            };
            // only a name that was made up is made up again
            let last = !generate || attempt >= 7;
            let new = match last {
                true => std::mem::take(&mut object),
                false => object.clone(),
            };
            let settled = self.settle(draft, new, options);
            if let Some(outcome) = settled.map_err(told)? {
                return Ok(outcome);
            }
            if last {
                return Err(told(Status::already_exists(def, &name)));
            }
        }
        Err(Status::internal("no name was found"))
    }

    /// Replaces an object. Its resourceVersion, if it has one, must be the present one.
    pub fn update(
        &self,
        def: &ResourceDef,
        namespace: &str,
        name: &str,
        object: Value,
        options: &WriteOptions,
    ) -> Result<Outcome, Status> {
        self.update_part(def, namespace, name, Part::Main, object, options)
    }

    /// Replaces an object's status.
    pub fn update_status(
        &self,
        def: &ResourceDef,
        namespace: &str,
        name: &str,
        object: Value,
        options: &WriteOptions,
    ) -> Result<Outcome, Status> {
        self.update_part(def, namespace, name, Part::Status, object, options)
    }

    /// Replaces a part of an object.
    pub fn update_part(
        &self,
        def: &ResourceDef,
        namespace: &str,
        name: &str,
        part: Part,
        object: Value,
        options: &WriteOptions,
    ) -> Result<Outcome, Status> {
        let mut object = self.accept(def, namespace, name, object)?;
        let warnings = check_fields(def, &mut object, options)?;
        let told = |status: Status| status.beside(&warnings);
        let asked = resource_version(&object).to_owned();
        for _ in 0..=RETRIES {
            let (old, expect) = self.load(def, namespace, name)?;
            match &old {
                None if def.allow_create_on_update && part == Part::Main && asked.is_empty() => {
                    return self.create(def, namespace, object, options);
                }
                None => return Err(told(Status::not_found(def, name))),
                Some(old) => check_precondition(def, name, old, &object, &asked).map_err(told)?,
            }
            let draft = Draft {
                def,
                namespace,
                name,
                part,
                old,
                expect,
                applied: false,
                warnings: warnings.clone(),
            };
            let settled = self.settle(draft, object.clone(), options);
            if let Some(outcome) = settled.map_err(told)? {
                return Ok(outcome);
            }
            if !asked.is_empty() {
                break;
            }
        }
        Err(told(Status::modified(def, name)))
    }

    /// Reads an object, lets `change` change it, and writes it; again when another write came first. `change`
    /// returns false to leave it as it is.
    pub fn modify(
        &self,
        def: &ResourceDef,
        namespace: &str,
        name: &str,
        part: Part,
        options: &WriteOptions,
        mut change: impl FnMut(&mut Value) -> bool,
    ) -> Result<Outcome, Status> {
        for _ in 0..=RETRIES {
            let (old, expect) = self.load(def, namespace, name)?;
            let Some(old) = old else {
                return Err(Status::not_found(def, name));
            };
            let mut object = old.clone();
            if !change(&mut object) {
                return Ok(Outcome {
                    object,
                    created: false,
                    removed: false,
                    warnings: Vec::new(),
                });
            }
            let draft = Draft {
                def,
                namespace,
                name,
                part,
                old: Some(old),
                expect,
                applied: false,
                warnings: Vec::new(),
            };
            if let Some(outcome) = self.settle(draft, object, options)? {
                return Ok(outcome);
            }
        }
        Err(Status::modified(def, name))
    }

    /// Makes what was sent into what is stored, checks it, and stores it. `None`: another write came first.
    pub(super) fn settle(
        &self,
        draft: Draft<'_>,
        mut new: Value,
        options: &WriteOptions,
    ) -> Result<Option<Outcome>, Status> {
        let (def, name, part) = (draft.def, draft.name, draft.part);
        let kind = new["kind"].as_str().unwrap_or_default();
        if def.custom && kind != def.kind {
            let why = format!("must be {}", def.kind);
            let error = FieldError::invalid("kind", json!(kind), why);
            let sent = ResourceDef::new(&def.group, &def.version, kind, &def.plural, true);
            return Err(Status::invalid(&sent, k8s_object::name(&new), &[error]));
        }
        // where it is refused Kubernetes tells empty labels from none
        let empties: Vec<(&str, Value)> = EMPTIES
            .iter()
            .filter_map(|(pointer, path)| match new.pointer(pointer)? {
                Value::Array(items) if items.is_empty() => Some((*path, json!([]))),
                Value::Object(_) => Some((*path, json!({}))),
                _ => None,
            })
            .collect();
        schema::drop_empty(def, &mut new);
        match &draft.old {
            None => self.begin_life(def, &mut new),
            Some(old) => keep_server_fields(def, part, old, &mut new),
        }
        self.admit(&draft, draft.old.as_ref(), &mut new, options)?;
        let Draft {
            old,
            expect,
            applied,
            mut warnings,
            ..
        } = draft;
        schema::default(def, &mut new);
        if let Some(old) = &old
            && def.group == "apps"
            && def.kind == "DaemonSet"
        {
            crate::builtin::count_templates(old, &mut new);
        }
        if def.group == crate::crd::GROUP && def.plural == crate::crd::PLURAL {
            let others = self.definitions(def)?;
            crate::crd::settle(&mut new, &others, self.clock().now());
            // a controller of the real one holds it, once it is stored
            if options.dry_run
                && old.is_none()
                && let Some(meta) = k8s_object::meta_mut(&mut new)
                && let Some(Value::Array(names)) = meta.get_mut("finalizers")
            {
                names.retain(|name| name != crate::crd::CLEANUP);
                if names.is_empty() {
                    meta.remove("finalizers");
                }
            }
        }
        schema::write_empty(def, &mut new, true);
        if !applied {
            schema::track_update(
                def,
                old.as_ref(),
                &mut new,
                &options.field_manager,
                part.subresource(),
                self.clock().now(),
            );
        }
        schema::write_empty(def, &mut new, false);
        if let (None, Some(born)) = (&old, &def.born) {
            born(&mut new);
        }
        if let Some(old) = &old
            && part == Part::Status
            && def.group.is_empty()
            && def.kind == "PersistentVolume"
        {
            let now = world::time_text(self.clock().now());
            crate::builtin::phase_time(old, &mut new, &now);
        }
        if let Some(shown) = &def.shown {
            shown(&mut new);
        }
        // what the server chooses belongs to nobody
        if def.group.is_empty() && def.plural == "services" && part == Part::Main {
            self.allocate_service(&mut new, old.as_ref())?;
        }
        if let Some(old) = &old {
            count_generation(def, old, &mut new);
        }
        let mut errors = checks::metadata(def, &new, old.as_ref());
        errors.extend(schema::validate(
            def,
            &new,
            old.as_ref(),
            part.subresource(),
        ));
        if let Some(validate) = &def.validate {
            errors.extend(validate(&new, old.as_ref()));
        }
        let bare = errors
            .iter_mut()
            .filter(|error| error.value == Some(Value::Null));
        for error in bare {
            if let Some((_, shown)) = empties.iter().find(|(path, _)| *path == error.path) {
                error.value = Some(shown.clone());
            }
        }
        if !errors.is_empty() {
            let shown = if name.is_empty() {
                k8s_object::name(&new)
            } else {
                name
            };
            // events are told of as what they were first
            let mut first = None;
            if def.kind == "Event" && def.stored_as.is_some() {
                let event = ResourceDef::new("", "v1", &def.kind, &def.plural, true);
                first = Some(event);
            }
            return Err(Status::invalid(
                first.as_ref().unwrap_or(def),
                shown,
                &errors,
            ));
        }
        if def.custom {
            warnings.extend(finalizer_warnings(old.as_ref(), &new));
        }
        if def.group == crate::crd::GROUP && def.plural == crate::crd::PLURAL {
            let known = old.as_ref().map(crate::crd::unknown_formats);
            let new = crate::crd::unknown_formats(&new).into_iter();
            let new = new.filter(|one| known.as_ref().is_none_or(|known| !known.contains(one)));
            warnings.extend(new.map(|format| format!("unrecognized format {format:?}")));
        }
        self.put(def, name, old, expect, new, options, warnings)
    }

    /// Lets admission change or refuse what will be written.
    pub(super) fn admit(
        &self,
        draft: &Draft<'_>,
        old: Option<&Value>,
        new: &mut Value,
        options: &WriteOptions,
    ) -> Result<(), Status> {
        let request = AdmissionRequest {
            user: &options.user,
            operation: if old.is_some() { "update" } else { "create" },
            def: draft.def,
            subresource: draft.part.subresource(),
            namespace: draft.namespace,
            name: draft.name,
            old,
            dry_run: options.dry_run,
        };
        for admission in &self.config().admission {
            admission.admit(self, &request, Some(&mut *new))?;
        }
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "the tail of one function")]
    fn put(
        &self,
        def: &ResourceDef,
        name: &str,
        old: Option<Value>,
        expect: Expect,
        mut new: Value,
        options: &WriteOptions,
        warnings: Vec<String>,
    ) -> Result<Option<Outcome>, Status> {
        let key = self.key(def, k8s_object::namespace(&new), k8s_object::name(&new));
        debug_assert!(name.is_empty() || name == k8s_object::name(&new));
        let created = old.is_none();
        if old.is_some() && ends_now(def, &new) {
            if !options.dry_run {
                let op = Op::Delete { key, expect };
                if self.commit(vec![op])?.is_none() {
                    return Ok(None);
                }
                self.definition_changed(def)?;
            }
            if let Some(old) = &old {
                set_meta(&mut new, "resourceVersion", json!(resource_version(old)));
            }
            return Ok(Some(Outcome {
                object: new,
                created: false,
                removed: true,
                warnings,
            }));
        }
        if let Some(old) = old.as_ref().filter(|old| same_but_times(old, &new)) {
            new.clone_from(old);
        } else if options.dry_run {
            codec::encode(def, &new)?;
            if let Some(old) = &old {
                set_meta(&mut new, "resourceVersion", json!(resource_version(old)));
            } else if self
                .find(def, k8s_object::namespace(&new), k8s_object::name(&new))?
                .is_some()
            {
                return Ok(None);
            }
        } else {
            let value = codec::encode(def, &new)?;
            let Some(committed) = self.commit(vec![Op::Put { key, value, expect }])? else {
                return Ok(None);
            };
            self.definition_changed(def)?;
            let revision = committed.last.to_string();
            set_meta(&mut new, "resourceVersion", json!(revision));
        }
        new["apiVersion"] = json!(def.api_version());
        new["kind"] = json!(def.kind);
        Ok(Some(Outcome {
            object: new,
            created,
            removed: false,
            warnings,
        }))
    }

    fn begin_life(&self, def: &ResourceDef, new: &mut Value) {
        let uid = world::uid(&*self.config().entropy);
        let now = world::time_text(self.clock().now());
        if let Some(meta) = k8s_object::meta_mut(new) {
            for field in [
                "deletionTimestamp",
                "deletionGracePeriodSeconds",
                "selfLink",
                "resourceVersion",
                "generation",
            ] {
                meta.remove(field);
            }
            meta.insert("uid".to_owned(), json!(uid));
            meta.insert("creationTimestamp".to_owned(), json!(now));
            if def.generation {
                meta.insert("generation".to_owned(), json!(1));
            }
        }
        if def.status_subresource
            && !def.create_with_status
            && let Some(map) = new.as_object_mut()
        {
            map.remove("status");
        }
    }
}

/// New finalizers that another might choose as well.
fn finalizer_warnings(old: Option<&Value>, new: &Value) -> Vec<String> {
    let names = |object: &Value| -> std::collections::BTreeSet<String> {
        let list = k8s_object::meta(object).and_then(|meta| meta.get("finalizers"));
        let texts = crate::structural::texts(list).into_iter();
        texts.map(str::to_owned).collect()
    };
    let known = old.map(names).unwrap_or_default();
    let standard = ["orphan", "foregroundDeletion", "kubernetes"];
    let mut out = Vec::new();
    for name in names(new).difference(&known) {
        if name.contains('/') || standard.contains(&name.as_str()) {
            continue;
        }
        let path = if name.contains('.') {
            " including a path (/)"
        } else {
            ""
        };
        out.push(format!(
            "metadata.finalizers: {name:?}: prefer a domain-qualified finalizer name{path} to avoid accidental conflicts with other finalizer writers"
        ));
    }
    out
}

/// Drops, reports or refuses what the schema does not know.
pub(super) fn check_fields(
    def: &ResourceDef,
    object: &mut Value,
    options: &WriteOptions,
) -> Result<Vec<String>, Status> {
    if let Some(problem) = schema::decode_problem(def, object) {
        return Err(Status::bad_request(format!(
            "{} in version {:?} cannot be handled as a {}: {problem}",
            def.kind, def.version, def.kind
        )));
    }
    if def.group == crate::crd::GROUP
        && def.plural == crate::crd::PLURAL
        && let Some(problem) = crate::crd::misfit(object)
    {
        return Err(Status::bad_request(format!(
            "{} in version {:?} cannot be handled as a {}: {problem}",
            def.kind, def.version, def.kind
        )));
    }
    if def.custom && object["kind"] != def.kind.as_str() {
        // nobody knows its fields; it is refused for its kind
        return Ok(Vec::new());
    }
    let unknown = schema::prune(def, object).map_err(|problem| unreadable(def, &problem))?;
    if unknown.is_empty() || options.field_validation == FieldValidation::Ignore {
        return Ok(Vec::new());
    }
    let texts: Vec<String> = unknown
        .iter()
        .map(|path| format!("unknown field {path:?}"))
        .collect();
    match options.field_validation {
        FieldValidation::Strict => Err(Status::bad_request(format!(
            "{} in version {:?} cannot be handled as a {}: strict decoding error: {}",
            def.kind,
            def.version,
            def.kind,
            texts.join(", ")
        ))),
        _ => Ok(texts),
    }
}

/// What was sent cannot be decoded.
pub(super) fn unreadable(def: &ResourceDef, problem: &str) -> Status {
    Status::bad_request(format!(
        "{} in version {:?} cannot be handled as a {}: {problem}",
        def.kind, def.version, def.kind
    ))
}

/// Checks uid and resourceVersion of a body against the object.
pub(super) fn check_precondition(
    def: &ResourceDef,
    name: &str,
    old: &Value,
    new: &Value,
    asked: &str,
) -> Result<(), Status> {
    let (own, wanted) = (k8s_object::uid(old), k8s_object::uid(new));
    if !wanted.is_empty() && wanted != own {
        return Err(Status::conflict(
            def,
            name,
            &format!(
                "StorageError: invalid object, Code: 4, Key: {}, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: {wanted}, UID in object meta: {own}",
                storage_key(def, old)
            ),
        ));
    }
    if asked.is_empty() || asked == "0" {
        if !def.allow_unconditional_update {
            let error = FieldError::invalid(
                "metadata.resourceVersion",
                json!(0),
                "must be specified for an update",
            );
            return Err(Status::invalid_resource(def, name, &[error]));
        }
    } else if asked != resource_version(old) {
        return Err(Status::modified(def, name));
    }
    Ok(())
}

/// Where Kubernetes keeps an object, as its messages tell.
fn storage_key(def: &ResourceDef, object: &Value) -> String {
    let mut parts = vec!["/registry"];
    let builtin = matches!(def.schema, crate::Schema::Builtin);
    let own_group = def.group == crate::crd::GROUP || def.group == "apiregistration.k8s.io";
    if !builtin || own_group {
        parts.push(&def.group);
    }
    parts.push(match def.plural.as_str() {
        "nodes" if builtin => "minions",
        "services" if builtin => "services/specs",
        "endpoints" if builtin => "services/endpoints",
        "replicationcontrollers" if builtin => "controllers",
        "ingresses" if builtin => "ingress",
        plural => plural,
    });
    if def.namespaced {
        parts.push(k8s_object::namespace(object));
    }
    parts.push(k8s_object::name(object));
    parts.join("/")
}

/// Returns `metadata.resourceVersion`.
pub(super) fn resource_version(object: &Value) -> &str {
    k8s_object::meta(object)
        .and_then(|meta| meta.get("resourceVersion")?.as_str())
        .unwrap_or_default()
}

/// Sets a field of `metadata`.
pub(super) fn set_meta(object: &mut Value, field: &str, value: Value) {
    if let Some(meta) = k8s_object::meta_mut(object) {
        meta.insert(field.to_owned(), value);
    }
}

fn carry(old: &Value, new: &mut Value, field: &str) {
    let Some(map) = new.as_object_mut() else {
        return;
    };
    match old.get(field) {
        Some(value) => map.insert(field.to_owned(), value.clone()),
        None => map.remove(field),
    };
}

/// Puts back what a caller may not change, and the parts that the request is not about.
fn keep_server_fields(def: &ResourceDef, part: Part, old: &Value, new: &mut Value) {
    let old_meta = k8s_object::meta(old).cloned().unwrap_or_default();
    match part {
        Part::Main | Part::Scale => {
            if def.status_subresource {
                carry(old, new, "status");
            }
            // a namespace's finalizers have their own subresource
            if def.group.is_empty() && def.kind == "Namespace" {
                carry(old, new, "spec");
            }
        }
        Part::Status => {
            let status = new.get("status").cloned();
            let mut meta = k8s_object::meta(new).cloned().unwrap_or_default();
            let kept = old_meta.iter().filter(|(key, _)| {
                def.custom || !matches!(key.as_str(), "annotations" | "finalizers")
            });
            for field in ["labels", "ownerReferences"] {
                meta.remove(field);
            }
            if def.custom {
                meta.retain(|key, _| key == "managedFields");
            }
            for (key, value) in kept {
                if key != "managedFields" {
                    meta.insert(key.clone(), value.clone());
                }
            }
            *new = old.clone();
            if let Some(map) = new.as_object_mut() {
                map.insert("metadata".to_owned(), Value::Object(meta));
                match status {
                    Some(status) => map.insert("status".to_owned(), status),
                    None => map.remove("status"),
                };
            }
        }
        Part::Finalize => {
            let finalizers = new["spec"].get("finalizers").cloned();
            let managed = k8s_object::meta(new).and_then(|meta| meta.get("managedFields").cloned());
            *new = old.clone();
            if let Some(managed) = managed {
                set_meta(new, "managedFields", managed);
            }
            match (finalizers, new["spec"].as_object_mut()) {
                (Some(finalizers), Some(spec)) => {
                    spec.insert("finalizers".to_owned(), finalizers);
                }
                (None, Some(spec)) => {
                    spec.remove("finalizers");
                }
                _ => {}
            }
        }
    }
    if let Some(meta) = k8s_object::meta_mut(new) {
        for field in [
            "uid",
            "creationTimestamp",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "generation",
            "namespace",
            "name",
            "generateName",
        ] {
            match old_meta.get(field) {
                Some(value) => {
                    meta.insert(field.to_owned(), value.clone());
                }
                None => {
                    meta.remove(field);
                }
            }
        }
        meta.remove("resourceVersion");
        meta.remove("selfLink");
    }
}

/// Raises the generation when something else than metadata and status changed.
fn count_generation(def: &ResourceDef, old: &Value, new: &mut Value) {
    if !def.generation {
        return;
    }
    let wanted = |key: &&String| {
        !matches!(key.as_str(), "metadata" | "apiVersion" | "kind")
            && (key.as_str() != "status" || (def.custom && !def.status_subresource))
    };
    let empty = Map::new();
    let parts = |object: &Value| -> Map<String, Value> {
        let map = object.as_object().unwrap_or(&empty);
        map.iter()
            .filter(|(key, _)| wanted(key))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    };
    if parts(old) != parts(new) {
        let generation = k8s_object::meta(old)
            .and_then(|meta| meta.get("generation")?.as_i64())
            .unwrap_or(0);
        set_meta(new, "generation", json!(generation + 1));
    }
}

/// Would a write change nothing, or nothing but the times of managedFields? No version is made of it then.
fn same_but_times(old: &Value, new: &Value) -> bool {
    let all_but =
        |a: &Value, b: &Value, left_out: &str, same: &dyn Fn(&str, &Value, &Value) -> bool| {
            let (Some(a), Some(b)) = (a.as_object(), b.as_object()) else {
                return a == b;
            };
            let mut a = a.iter().filter(|(key, _)| *key != left_out);
            let mut b = b.iter().filter(|(key, _)| *key != left_out);
            loop {
                match (a.next(), b.next()) {
                    (None, None) => return true,
                    (Some((key, a)), Some((other, b))) if key == other && same(key, a, b) => {}
                    _ => return false,
                }
            }
        };
    let plain = |_: &str, a: &Value, b: &Value| a == b;
    let entry = |a: &Value, b: &Value| all_but(a, b, "time", &plain);
    let meta = |key: &str, a: &Value, b: &Value| match (key, a, b) {
        ("managedFields", Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| entry(a, b))
        }
        _ => a == b,
    };
    all_but(old, new, "", &|key, a, b| match key {
        "metadata" => all_but(a, b, "resourceVersion", &meta),
        _ => a == b,
    })
}

/// Is it being deleted, with nothing left that holds it?
pub(super) fn ends_now(def: &ResourceDef, object: &Value) -> bool {
    let Some(meta) = k8s_object::meta(object) else {
        return false;
    };
    let empty = |list: Option<&Value>| list.and_then(Value::as_array).is_none_or(Vec::is_empty);
    meta.contains_key("deletionTimestamp")
        && empty(meta.get("finalizers"))
        && meta
            .get("deletionGracePeriodSeconds")
            .and_then(Value::as_i64)
            .unwrap_or(0)
            == 0
        && !(def.group.is_empty()
            && def.kind == "Namespace"
            && !empty(object["spec"].get("finalizers")))
}
