//! Checks a definition as Kubernetes does.

use serde_json::{Value, json};

use super::schema::{self, Strictness};
use super::structure::{any, kind, parts};
use super::{internal, paths, text};
use crate::registry::checks::name_problems;
use crate::structural::texts;
use crate::{FieldError, FieldProblem, NameRule};

/// How many fields a version may offer to selectors.
const MAX_SELECTABLE: usize = 8;

/// Checks a definition; the old one is there on an update.
pub(crate) fn check(new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let spec = &new["spec"];
    let names = &spec["names"];
    if old.is_none() {
        let wanted = format!("{}.{}", text(&names["plural"]), text(&spec["group"]));
        let name = k8s_object::name(new);
        if !name.is_empty() && name != wanted {
            let why = "must be spec.names.plural+\".\"+spec.group";
            errors.push(FieldError::invalid("metadata.name", json!(name), why));
        }
    }
    spec_errors(spec, old.map(|old| &old["spec"]), &mut errors);
    if let Some(old) = old {
        immutable(new, old, &mut errors);
    }
    stored_versions(new, &mut errors);
    approval(new, old, &mut errors);
    let keeps = |definition: &Value| definition["spec"]["preserveUnknownFields"] == json!(true);
    if keeps(new) && !old.is_some_and(keeps) {
        errors.push(FieldError::invalid(
            "spec.preserveUnknownFields",
            json!(true),
            "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead",
        ));
    }
    errors
}

/// The formats in a definition that nothing checks.
pub(crate) fn unknown_formats(definition: &Value) -> Vec<String> {
    let mut out = Vec::new();
    for version in parts(&definition["spec"], "versions") {
        if let Some(schema) = schema_of(version) {
            schema::unknown_formats(schema, &mut out);
        }
    }
    out
}

fn schema_of(version: &Value) -> Option<&Value> {
    version
        .get("schema")?
        .get("openAPIV3Schema")
        .filter(|schema| schema.is_object())
}

fn schemas(spec: &Value) -> impl Iterator<Item = &Value> {
    parts(spec, "versions").iter().filter_map(schema_of)
}

/// Do all versions say the same here? Then it stands beside them.
fn alike(versions: &[Value], field: &str) -> bool {
    let own = |version: &Value| {
        let value = version.get(field).cloned().unwrap_or_default();
        let empty = value.as_array().is_some_and(Vec::is_empty);
        if empty { Value::Null } else { value }
    };
    versions
        .first()
        .is_some_and(|first| versions.iter().all(|version| own(version) == own(first)))
}

fn strictness(spec: &Value, old: Option<&Value>) -> Strictness {
    let kept = |holds: fn(&Value) -> bool| old.is_none_or(|old| schemas(old).all(holds));
    let marked = |schema: &Value| {
        const MARKS: [&str; 7] = [
            "default",
            "x-kubernetes-embedded-resource",
            "x-kubernetes-preserve-unknown-fields",
            "x-kubernetes-int-or-string",
            "x-kubernetes-list-map-keys",
            "x-kubernetes-list-type",
            "x-kubernetes-validations",
        ];
        MARKS.iter().any(|mark| schema.get(*mark).is_some())
    };
    let structural = kept(schema::is_structural)
        || spec["preserveUnknownFields"] != json!(true)
        || schemas(spec).any(|schema| any(schema, &marked));
    Strictness {
        types: kept(schema::keeps_types),
        structural,
        pruned: kept(schema::keeps_pruned_defaults),
        atomic_sets: kept(schema::keeps_atomic_sets),
        list_keys: kept(schema::keeps_list_keys),
        rules: true,
    }
}

/// All that is wrong with a name.
fn name_problem(rule: NameRule, name: &str) -> Option<String> {
    let problems = name_problems(rule, name);
    (!problems.is_empty()).then(|| problems.join(","))
}

fn label(path: String, value: &str, errors: &mut Vec<FieldError>) {
    if let Some(problem) = name_problem(NameRule::Label1035, value) {
        errors.push(FieldError::invalid(path, json!(value), problem));
    }
}

fn spec_errors(spec: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    let group = text(&spec["group"]);
    if group.is_empty() {
        errors.push(FieldError::required("spec.group", ""));
    } else if let Some(problem) = name_problem(NameRule::Subdomain, group) {
        errors.push(FieldError::invalid("spec.group", json!(group), problem));
    } else if !group.contains('.') {
        let why = "should be a domain with at least one dot";
        errors.push(FieldError::invalid("spec.group", json!(group), why));
    }
    one_of(
        "spec.scope",
        text(&spec["scope"]),
        &["Cluster", "Namespaced"],
        errors,
    );
    let versions = parts(spec, "versions");
    let complete = old.is_none_or(|old| {
        parts(old, "versions")
            .iter()
            .all(|version| schema_of(version).is_some())
    });
    for (index, version) in versions.iter().enumerate() {
        if complete && schema_of(version).is_none() {
            let at = format!("spec.versions[{index}].schema.openAPIV3Schema");
            errors.push(FieldError::required(at, ""));
        }
    }
    let strict = strictness(spec, old);
    let shared = |field: &str| alike(versions, field);
    let mut names = std::collections::BTreeSet::new();
    let mut unique = true;
    for (index, version) in versions.iter().enumerate() {
        let at = format!("spec.versions[{index}]");
        let name = text(&version["name"]);
        unique &= names.insert(name);
        label(format!("{at}.name"), name, errors);
        deprecation(version, &at, errors);
        version_errors(version, &at, old, strict, &|field| !shared(field), errors);
    }
    if !unique {
        let why = "must contain unique version names";
        let shown = internal::versions(versions, shared);
        errors.push(internal::invalid("spec.versions", &shown, why));
    }
    let stored = versions
        .iter()
        .filter(|version| version["storage"] == json!(true));
    if stored.count() != 1 {
        let why = "must have exactly one version marked as storage version";
        errors.push(if versions.is_empty() {
            FieldError::invalid("spec.versions", Value::Null, why)
        } else {
            let shown = internal::versions(versions, shared);
            internal::invalid("spec.versions", &shown, why)
        });
    }
    let first = versions
        .first()
        .map_or("", |version| text(&version["name"]));
    if !first.is_empty() {
        label("spec.version".to_owned(), first, errors);
    }
    let names = &spec["names"];
    for field in ["plural", "singular", "kind", "listKind"] {
        if text(&names[field]).is_empty() {
            errors.push(FieldError::required(format!("spec.names.{field}"), ""));
        }
    }
    name_errors(names, "spec.names", errors);
    if let Some(first) = versions.first() {
        version_errors(first, "spec", old, strict, &shared, errors);
    }
    conversion(&spec["conversion"], errors);
}

fn one_of(path: &str, value: &str, known: &[&str], errors: &mut Vec<FieldError>) {
    if value.is_empty() {
        errors.push(FieldError::required(path, ""));
    } else if !known.contains(&value) {
        errors.push(FieldError::not_supported(path, json!(value), known));
    }
}

/// Checks what a version says, as far as `own` has it: what all versions say alike is checked once, beside them.
fn version_errors(
    version: &Value,
    at: &str,
    old: Option<&Value>,
    strict: Strictness,
    own: &dyn Fn(&str) -> bool,
    errors: &mut Vec<FieldError>,
) {
    let beside = at == "spec";
    let status = version["subresources"]
        .get("status")
        .is_some_and(|status| !status.is_null());
    if let Some(found) = schema_of(version).filter(|_| own("schema")) {
        let part = if beside { "validation" } else { "schema" };
        let path = format!("{at}.{part}.openAPIV3Schema");
        let before = old.and_then(|old| {
            let same = |before: &&Value| before["name"] == version["name"];
            parts(old, "versions").iter().find(same)
        });
        let strict = Strictness {
            rules: before.and_then(schema_of) != Some(found),
            ..strict
        };
        errors.extend(schema::check(found, status, strict, &path));
    }
    if own("subresources") {
        scale(&version["subresources"]["scale"], at, errors);
    }
    if own("additionalPrinterColumns") {
        for (index, column) in parts(version, "additionalPrinterColumns")
            .iter()
            .enumerate()
        {
            let at = format!("{at}.additionalPrinterColumns[{index}]");
            column_errors(column, &at, errors);
        }
    }
    let fields = parts(version, "selectableFields");
    if own("selectableFields") && !fields.is_empty() {
        let before = old.and_then(|old| {
            parts(old, "versions")
                .iter()
                .find(|before| before["name"] == version["name"])
        });
        let unchanged =
            before.is_some_and(|before| before["selectableFields"] == version["selectableFields"]);
        let path = format!("{at}.selectableFields");
        match schema_of(version) {
            None => errors.push(FieldError::invalid(
                path,
                json!(""),
                "may only be set when `version.schema.openAPIV3Schema` is not included",
            )),
            Some(schema) => selectable(fields, schema, &path, unchanged, errors),
        }
    }
}

fn deprecation(version: &Value, at: &str, errors: &mut Vec<FieldError>) {
    let Some(warning) = version.get("deprecationWarning").and_then(Value::as_str) else {
        return;
    };
    let mut why = Vec::new();
    if version["deprecated"] == json!(true) {
        if warning.len() > 256 {
            why.push("must be <= 256 characters long".to_owned());
        }
        if warning.is_empty() {
            why.push("must not be an empty string".to_owned());
        }
        if let Some((index, _)) = warning.char_indices().find(|(_, c)| c.is_control()) {
            why.push(format!(
                "must only contain printable UTF-8 characters; non-printable character found at index {index}"
            ));
        }
    } else {
        why.push("can only be set for deprecated versions".to_owned());
    }
    for why in why {
        let at = format!("{at}.deprecationWarning");
        errors.push(FieldError::invalid(at, json!(warning), why));
    }
}

fn simple_path(path: &str, at: &str) -> Option<FieldError> {
    (!path.starts_with('.')).then(|| {
        FieldError::invalid(
            at,
            json!(path),
            "must be a simple json path starting with .",
        )
    })
}

fn scale(scale: &Value, at: &str, errors: &mut Vec<FieldError>) {
    if !scale.is_object() {
        return;
    }
    for (field, roots, needed) in [
        ("specReplicasPath", &[".spec."][..], true),
        ("statusReplicasPath", &[".status."], true),
        ("labelSelectorPath", &[".spec.", ".status."], false),
    ] {
        let path = text(&scale[field]);
        let at = format!("{at}.subresources.scale.{field}");
        if path.is_empty() {
            if needed {
                errors.push(FieldError::required(at, ""));
            }
        } else if let Some(error) = simple_path(path, &at) {
            errors.push(error);
        } else if !roots.iter().any(|root| path.starts_with(root)) {
            let bare: Vec<&str> = roots
                .iter()
                .map(|root| root.trim_end_matches('.'))
                .collect();
            let why = match bare.as_slice() {
                [one] => format!("should be a json path under {one}"),
                many => format!("should be a json path under either {}", many.join(" or ")),
            };
            errors.push(FieldError::invalid(at, json!(path), why));
        }
    }
}

fn column_errors(column: &Value, at: &str, errors: &mut Vec<FieldError>) {
    const TYPES: [&str; 5] = ["boolean", "date", "integer", "number", "string"];
    const FORMATS: [&str; 8] = [
        "byte",
        "date",
        "date-time",
        "double",
        "float",
        "int32",
        "int64",
        "password",
    ];
    if text(&column["name"]).is_empty() {
        errors.push(FieldError::required(format!("{at}.name"), ""));
    }
    let kind = text(&column["type"]);
    let why = format!("must be one of {}", TYPES.join(","));
    if kind.is_empty() {
        errors.push(FieldError::required(format!("{at}.type"), why));
    } else if !TYPES.contains(&kind) {
        errors.push(FieldError::invalid(format!("{at}.type"), json!(kind), why));
    }
    let format = text(&column["format"]);
    if !format.is_empty() && !FORMATS.contains(&format) {
        let why = format!("must be one of {}", FORMATS.join(","));
        let at = format!("{at}.format");
        errors.push(FieldError::invalid(at, json!(format), why));
    }
    let path = text(&column["jsonPath"]);
    let at = format!("{at}.JSONPath");
    if path.is_empty() {
        errors.push(FieldError::required(at, ""));
    } else {
        errors.extend(simple_path(path, &at));
    }
}

fn selectable(
    fields: &[Value],
    schema: &Value,
    at: &str,
    unchanged: bool,
    errors: &mut Vec<FieldError>,
) {
    let mut seen = std::collections::BTreeSet::new();
    for (index, field) in fields.iter().enumerate() {
        let at = format!("{at}[{index}].jsonPath");
        let path = text(&field["jsonPath"]);
        if path.is_empty() {
            errors.push(FieldError::required(at, ""));
            continue;
        }
        let (names, found) = match paths::find(path, schema, false) {
            Ok(found) => found,
            Err(why) => {
                let why = format!("is an invalid path: {why}");
                errors.push(FieldError::invalid(at, json!(path), why));
                continue;
            }
        };
        let mut refuse = |why: &str| {
            errors.push(FieldError::invalid(at.clone(), json!(path), why));
        };
        if names.first().is_some_and(|name| name == "metadata") {
            refuse("must not point to fields in metadata");
        }
        if !matches!(kind(found), "string" | "boolean" | "integer") {
            refuse(
                "must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed.",
            );
        }
        if !seen.insert(names) {
            errors.push(FieldError::duplicate(at, json!(path)));
        }
    }
    if seen.len() > MAX_SELECTABLE && !unchanged {
        errors.push(FieldError::new(
            at,
            FieldProblem::TooMany,
            Some(json!(seen.len())),
            format!("must have at most {MAX_SELECTABLE} items"),
        ));
    }
}

fn name_errors(names: &Value, at: &str, errors: &mut Vec<FieldError>) {
    let plain = |field: &str, errors: &mut Vec<FieldError>| {
        let name = text(&names[field]);
        if !name.is_empty() {
            label(format!("{at}.{field}"), name, errors);
        }
    };
    plain("plural", errors);
    plain("singular", errors);
    for field in ["kind", "listKind"] {
        let name = text(&names[field]);
        if let Some(problem) =
            name_problem(NameRule::Label1035, &name.to_lowercase()).filter(|_| !name.is_empty())
        {
            let why = format!("may have mixed case, but should otherwise match: {problem}");
            let at = format!("{at}.{field}");
            errors.push(FieldError::invalid(at, json!(name), why));
        }
    }
    let list = |field: &str, errors: &mut Vec<FieldError>| {
        for (index, name) in texts(names.get(field)).into_iter().enumerate() {
            label(format!("{at}.{field}[{index}]"), name, errors);
        }
    };
    list("shortNames", errors);
    let own = text(&names["kind"]);
    if !own.is_empty() && own == text(&names["listKind"]) {
        let why = "kind and listKind may not be the same";
        let at = format!("{at}.listKind");
        errors.push(FieldError::invalid(at, json!(own), why));
    }
    list("categories", errors);
}

fn conversion(conversion: &Value, errors: &mut Vec<FieldError>) {
    const AT: &str = "spec.conversion";
    if !conversion.is_object() {
        return;
    }
    let strategy = text(&conversion["strategy"]);
    one_of(
        "spec.conversion.strategy",
        strategy,
        &["None", "Webhook"],
        errors,
    );
    let webhook = &conversion["webhook"];
    let client = webhook
        .get("clientConfig")
        .filter(|client| !client.is_null());
    let reviews = texts(webhook.get("conversionReviewVersions"));
    let (client_at, reviews_at) = (
        format!("{AT}.webhookClientConfig"),
        format!("{AT}.conversionReviewVersions"),
    );
    if strategy != "Webhook" {
        let why = "should not be set when strategy is not set to Webhook";
        if client.is_some() {
            errors.push(FieldError::forbidden(client_at, why));
        }
        if !reviews.is_empty() {
            errors.push(FieldError::forbidden(reviews_at, why));
        }
        return;
    }
    match client {
        None => {
            let why = "required when strategy is set to Webhook";
            errors.push(FieldError::required(client_at, why));
        }
        Some(client) => {
            let there = |field: &str| client.get(field).is_some_and(|value| !value.is_null());
            if there("url") == there("service") {
                let why = "exactly one of url or service is required";
                errors.push(FieldError::required(client_at, why));
            } else if let Some(url) = client.get("url").and_then(Value::as_str) {
                crate::builtin::webhook_url(url, &format!("{client_at}.url"), errors);
            } else if there("service") {
                let at = format!("{client_at}.service");
                crate::builtin::webhook_service(&client["service"], &at, errors);
            }
        }
    }
    if reviews.is_empty() {
        errors.push(FieldError::required(reviews_at, ""));
        return;
    }
    let mut seen = std::collections::BTreeSet::new();
    for (index, version) in reviews.iter().enumerate() {
        let at = format!("{reviews_at}[{index}]");
        if seen.insert(*version) {
            label(at, version, errors);
        } else {
            errors.push(FieldError::invalid(at, json!(version), "duplicate version"));
        }
    }
    if !reviews.iter().any(|one| matches!(*one, "v1" | "v1beta1")) {
        let why = "must include at least one of v1, v1beta1";
        errors.push(FieldError::invalid(reviews_at, json!(reviews), why));
    }
}

fn immutable(new: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    let pointer = |object: &Value, path: &str| object.pointer(path).cloned().unwrap_or_default();
    let mut fixed = vec![
        ("spec.group", "/spec/group"),
        ("spec.names.plural", "/spec/names/plural"),
    ];
    if super::is_true(old, "Established") {
        fixed.insert(0, ("spec.names.kind", "/spec/names/kind"));
        fixed.insert(0, ("spec.scope", "/spec/scope"));
    }
    for (path, at) in fixed {
        let value = pointer(new, at);
        if value != pointer(old, at) {
            errors.push(FieldError::invalid(path, value, "field is immutable"));
        }
    }
}

fn stored_versions(new: &Value, errors: &mut Vec<FieldError>) {
    const AT: &str = "status.storedVersions";
    let stored = texts(new["status"].get("storedVersions"));
    if stored.is_empty() {
        let why = "must have at least one stored version";
        errors.push(FieldError::invalid(AT, Value::Null, why));
        return;
    }
    let versions = parts(&new["spec"], "versions");
    let mut met = std::collections::BTreeSet::new();
    for version in versions {
        let name = text(&version["name"]);
        // the real one crosses out what it has come by, so that the same name is missing the second time
        let there = stored.contains(&name) && met.insert(name);
        if version["storage"] == json!(true) && !there {
            let why = format!("must have the storage version {name}");
            errors.push(FieldError::invalid(AT, json!(stored), why));
        }
    }
    for (index, name) in stored.iter().enumerate() {
        if !versions
            .iter()
            .any(|version| text(&version["name"]) == *name)
        {
            errors.push(FieldError::invalid(
                format!("{AT}[{index}]"),
                json!(name),
                format!("missing from spec.versions; {name} was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in {name} and removes {name} from status.storedVersions"),
            ));
        }
    }
}

/// Groups of the Kubernetes community want to be approved.
fn approval(new: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    const KEY: &str = "api-approved.kubernetes.io";
    const SEE: &str = "see https://github.com/kubernetes/enhancements/pull/1111";
    let group = text(&new["spec"]["group"]);
    let protected = ["k8s.io", "kubernetes.io"].iter().any(|known| {
        group == *known
            || group
                .strip_suffix(known)
                .is_some_and(|rest| rest.ends_with('.'))
    });
    if !protected {
        return;
    }
    #[derive(PartialEq)]
    enum State {
        Missing,
        Bypassed,
        Approved,
        Invalid,
    }
    let said = |definition: &Value| {
        let annotations = k8s_object::meta(definition).and_then(|meta| meta.get("annotations"));
        let found = annotations
            .and_then(|all| all.get(KEY))
            .and_then(Value::as_str);
        found.unwrap_or("").to_owned()
    };
    let state = |text: &str| {
        let is_url = text.split_once("://").is_some_and(|(scheme, rest)| {
            !scheme.is_empty() && !rest.starts_with('/') && !rest.is_empty()
        });
        match text {
            "" => State::Missing,
            text if text.starts_with("unapproved") => State::Bypassed,
            _ if is_url => State::Approved,
            _ => State::Invalid,
        }
    };
    let now = said(new);
    if old.is_some_and(|old| state(&said(old)) == state(&now)) {
        return;
    }
    let at = format!("metadata.annotations[{KEY}]");
    match state(&now) {
        State::Missing => errors.push(FieldError::required(
            at,
            format!("protected groups must have approval annotation {KEY:?}, {SEE}"),
        )),
        State::Invalid => errors.push(FieldError::invalid(
            at,
            json!(now),
            format!("protected groups must have approval annotation {KEY:?} with either a URL or a reason starting with \"unapproved\", {SEE}"),
        )),
        State::Bypassed | State::Approved => {}
    }
}
