//! What a request may say about itself in its query, and in the body of a delete.

use http::Method;
use serde_json::{Value, json};

use super::Call;
use super::request::Query;
use crate::{DeleteOptions, FieldError, FieldValidation, Propagation, Status, WriteOptions};

fn wrong_list(error: FieldError) -> Status {
    Status::invalid_options("ListOptions", error)
}

/// Checks the options of a list.
pub(super) fn check_list(query: &Query) -> Result<(), Status> {
    const FIELD: &str = "resourceVersionMatch";
    let matched = query.get(FIELD);
    let forbidden = |why: &str| Err(wrong_list(FieldError::forbidden(FIELD, why)));
    if !matched.is_empty() {
        if query.get("resourceVersion").is_empty() {
            return forbidden(
                "resourceVersionMatch is forbidden unless resourceVersion is provided",
            );
        }
        if !query.get("continue").is_empty() {
            return forbidden("resourceVersionMatch is forbidden when continue is provided");
        }
        if !matches!(matched, "Exact" | "NotOlderThan") {
            let known = ["Exact", "NotOlderThan", ""];
            return Err(wrong_list(FieldError::not_supported(
                FIELD,
                json!(matched),
                &known,
            )));
        }
        if matched == "Exact" && query.get("resourceVersion") == "0" {
            return forbidden(
                "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"",
            );
        }
    }
    if !query.get("sendInitialEvents").is_empty() {
        let why = "sendInitialEvents is forbidden for list";
        return Err(wrong_list(FieldError::forbidden("sendInitialEvents", why)));
    }
    Ok(())
}

/// Checks the options of a watch.
pub(super) fn check_watch(query: &Query) -> Result<(), Status> {
    const FIELD: &str = "resourceVersionMatch";
    let matched = query.get(FIELD);
    let forbidden = |why: &str| Err(wrong_list(FieldError::forbidden(FIELD, why)));
    let initial = !query.get("sendInitialEvents").is_empty();
    if initial && matched != "NotOlderThan" {
        return forbidden(
            "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
        );
    }
    if !initial && !matched.is_empty() {
        return forbidden(
            "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
        );
    }
    if !matched.is_empty() && !query.get("continue").is_empty() {
        return forbidden("resourceVersionMatch is forbidden when continue is provided");
    }
    Ok(())
}

fn dry_run(kind: &str, values: &[String]) -> Result<bool, Status> {
    if values.iter().any(|value| value != "All") {
        return Err(Status::invalid_options(
            kind,
            FieldError::not_supported("dryRun", json!(values), &["All"]),
        ));
    }
    Ok(!values.is_empty())
}

fn kind_of(call: &Call<'_>) -> &'static str {
    match *call.method {
        Method::POST => "CreateOptions",
        Method::PUT => "UpdateOptions",
        Method::DELETE => "DeleteOptions",
        _ => "PatchOptions",
    }
}

fn check_manager(manager: &str) -> Result<(), FieldError> {
    if manager.len() > 128 {
        let detail = "may not be more than 128 bytes";
        let problem = crate::FieldProblem::TooLong;
        return Err(FieldError::new("fieldManager", problem, None, detail));
    }
    match manager.char_indices().find(|(_, c)| c.is_control()) {
        Some((at, c)) => Err(FieldError::invalid(
            "fieldManager",
            json!(manager),
            format!(
                "invalid character U+{:04X} (at position {at})",
                u32::from(c)
            ),
        )),
        None => Ok(()),
    }
}

/// Reads the options of a create, update or patch.
pub(super) fn write_options(call: &Call<'_>) -> Result<WriteOptions, Status> {
    let query = &call.query;
    let kind = kind_of(call);
    let dry_run = dry_run(kind, query.all("dryRun"))?;
    let field_manager = match query.get("fieldManager") {
        "" => {
            let agent = call.header(http::header::USER_AGENT);
            let name = agent.split('/').next().unwrap_or_default();
            name.chars().filter(|c| !c.is_control()).take(128).collect()
        }
        manager => {
            check_manager(manager).map_err(|error| Status::invalid_options(kind, error))?;
            manager.to_owned()
        }
    };
    let field_validation = match query.get("fieldValidation") {
        "" | "Warn" => FieldValidation::Warn,
        "Ignore" => FieldValidation::Ignore,
        "Strict" => FieldValidation::Strict,
        other => {
            let known = ["", "Ignore", "Strict", "Warn"];
            let error = FieldError::not_supported("fieldValidation", json!(other), &known);
            return Err(Status::invalid_options(kind, error));
        }
    };
    Ok(WriteOptions {
        field_manager,
        dry_run,
        field_validation,
        force: query.flag("force"),
        user: call.user.clone(),
    })
}

/// Reads the options of a delete, from the query and the body.
pub(super) fn delete_options(call: &Call<'_>) -> Result<DeleteOptions, Status> {
    let query = &call.query;
    let mut options = DeleteOptions {
        dry_run: dry_run("DeleteOptions", query.all("dryRun"))?,
        user: call.user.clone(),
        ..DeleteOptions::default()
    };
    if let Ok(seconds) = query.get("gracePeriodSeconds").parse() {
        options.grace_period_seconds = Some(seconds);
    }
    options.propagation = propagation(query.get("propagationPolicy"))?;
    if query.flag("orphanDependents") {
        options.propagation = Some(Propagation::Orphan);
    }
    if *call.method == Method::DELETE && !call.body.is_empty() {
        let body = super::read_body(call.headers, call.body, "DeleteOptions")?;
        read_delete_options(&body, &mut options)?;
    }
    Ok(options)
}

fn propagation(text: &str) -> Result<Option<Propagation>, Status> {
    match text {
        "" => Ok(None),
        "Background" => Ok(Some(Propagation::Background)),
        "Foreground" => Ok(Some(Propagation::Foreground)),
        "Orphan" => Ok(Some(Propagation::Orphan)),
        other => {
            let known = ["Foreground", "Background", "Orphan", "nil"];
            let error = FieldError::not_supported("propagationPolicy", json!(other), &known);
            Err(Status::invalid_options("DeleteOptions", error))
        }
    }
}

/// Reads a `DeleteOptions` object.
pub(super) fn read_delete_options(body: &Value, options: &mut DeleteOptions) -> Result<(), Status> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    if let Some(seconds) = body["gracePeriodSeconds"].as_i64() {
        options.grace_period_seconds = Some(seconds);
    }
    if let Some(policy) = body["propagationPolicy"].as_str() {
        if body["orphanDependents"].is_boolean() {
            let error = FieldError::invalid(
                "propagationPolicy",
                json!(policy),
                "orphanDependents and deletionPropagation cannot be both set",
            );
            return Err(Status::invalid_options("DeleteOptions", error));
        }
        options.propagation = propagation(policy)?;
    } else if body["orphanDependents"] == json!(true) {
        options.propagation = Some(Propagation::Orphan);
    }
    let preconditions = &body["preconditions"];
    if preconditions.is_object() {
        options.uid = text(&preconditions["uid"]);
        options.resource_version = text(&preconditions["resourceVersion"]);
    }
    let values: Vec<String> = body["dryRun"]
        .as_array()
        .into_iter()
        .flatten()
        .map(text)
        .collect();
    options.dry_run |= dry_run("DeleteOptions", &values)?;
    Ok(())
}
