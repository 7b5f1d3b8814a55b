//! What Kubernetes refuses of Jobs and CronJobs beyond the table.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::rules::{fixed, items, template, text};
use crate::{FieldError, FieldProblem};

/// Of no value anything is said.
fn bare(path: impl Into<String>, detail: &str) -> FieldError {
    FieldError::new(path, FieldProblem::Invalid, None, detail)
}

fn job_spec(spec: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let at = |field: &str| format!("{path}.{field}");
    let indexed = spec["completionMode"] == "Indexed";
    let number = |field: &str| spec[field].as_i64();
    if number("maxFailedIndexes").is_some() && number("backoffLimitPerIndex").is_none() {
        let detail = "when maxFailedIndexes is specified";
        errors.push(FieldError::required(at("backoffLimitPerIndex"), detail));
    }
    if indexed {
        if number("completions").is_none() {
            let detail = "when completion mode is Indexed";
            errors.push(FieldError::required(at("completions"), detail));
        }
        if let Some(most) = number("parallelism").filter(|number| *number > 100_000) {
            let detail = "must be less than or equal to 100000 when completion mode is Indexed";
            errors.push(FieldError::invalid(at("parallelism"), json!(most), detail));
        }
        if let (Some(all), Some(most)) = (number("completions"), number("maxFailedIndexes"))
            && most > all
        {
            let detail = "must be less than or equal to completions";
            let place = at("maxFailedIndexes");
            errors.push(FieldError::invalid(place, json!(most), detail));
        }
    } else if spec["completionMode"].is_null() || spec["completionMode"] == "NonIndexed" {
        for field in ["backoffLimitPerIndex", "maxFailedIndexes"] {
            if let Some(value) = number(field) {
                let detail = "requires indexed completion mode";
                errors.push(FieldError::invalid(at(field), json!(value), detail));
            }
        }
    }
    if !spec["podFailurePolicy"].is_null() {
        failure_policy(spec, &at("podFailurePolicy.rules"), errors);
    }
    if !spec["successPolicy"].is_null() && !indexed {
        let detail = "requires indexed completion mode";
        errors.push(bare(at("successPolicy"), detail));
    }
    if let Some(policy) = spec["podReplacementPolicy"].as_str() {
        let known: &[&str] = if spec["podFailurePolicy"].is_null() {
            &["Failed", "TerminatingOrFailed"]
        } else {
            &["Failed"]
        };
        if !known.contains(&policy) {
            let place = at("podReplacementPolicy");
            errors.push(FieldError::not_supported(place, json!(policy), known));
        }
    }
    template(&spec["template"], &at("template"), errors);
    let policy = text(&spec["template"]["spec"]["restartPolicy"]);
    let place = at("template.spec.restartPolicy");
    let known = ["OnFailure", "Never"];
    if policy == "Always" || policy.is_empty() {
        let detail = "valid values: \"OnFailure\", \"Never\"";
        errors.push(FieldError::required(place, detail));
    } else if !known.contains(&policy) {
        errors.push(FieldError::not_supported(place, json!(policy), &known));
    } else if policy != "Never" && !spec["podFailurePolicy"].is_null() {
        let detail = "only \"Never\" is supported when podFailurePolicy is specified";
        errors.push(FieldError::invalid(place, json!(policy), detail));
    }
}

fn failure_policy(spec: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let inner = &spec["template"]["spec"];
    let names: BTreeSet<&str> = ["containers", "initContainers"]
        .iter()
        .flat_map(|list| items(&inner[*list]))
        .map(|container| text(&container["name"]))
        .collect();
    for (index, rule) in items(&spec["podFailurePolicy"]["rules"]).enumerate() {
        let at = format!("{path}[{index}]");
        let place = format!("{at}.action");
        let known = ["Count", "FailIndex", "FailJob", "Ignore"];
        match text(&rule["action"]) {
            "" => {
                let detail = "valid values: [\"Count\" \"FailIndex\" \"FailJob\" \"Ignore\"]";
                errors.push(FieldError::required(place, detail));
            }
            "FailIndex" if spec["backoffLimitPerIndex"].is_null() => {
                let detail = "requires the backoffLimitPerIndex to be set";
                errors.push(FieldError::invalid(place, json!("FailIndex"), detail));
            }
            action if !known.contains(&action) => {
                errors.push(FieldError::not_supported(place, json!(action), &known));
            }
            _ => {}
        }
        let (codes, conditions) = (&rule["onExitCodes"], &rule["onPodConditions"]);
        if codes.is_object() {
            exit_codes(codes, &format!("{at}.onExitCodes"), &names, errors);
        }
        for (index, condition) in items(conditions).enumerate() {
            let at = format!("{at}.onPodConditions[{index}]");
            let kind = text(&condition["type"]);
            for problem in crate::registry::words::qualified(kind) {
                errors.push(FieldError::invalid(
                    format!("{at}.type"),
                    json!(kind),
                    problem,
                ));
            }
            let known = ["False", "True", "Unknown"];
            let status = text(&condition["status"]);
            let place = format!("{at}.status");
            if status.is_empty() {
                let detail = "valid values: [\"False\" \"True\" \"Unknown\"]";
                errors.push(FieldError::required(place, detail));
            } else if !known.contains(&status) {
                errors.push(FieldError::not_supported(place, json!(status), &known));
            }
        }
        match (codes.is_object(), items(conditions).next().is_some()) {
            (true, true) => errors.push(bare(
                at,
                "specifying both OnExitCodes and OnPodConditions is not supported",
            )),
            (false, false) => errors.push(bare(
                at,
                "specifying one of OnExitCodes and OnPodConditions is required",
            )),
            _ => {}
        }
    }
}

fn exit_codes(codes: &Value, at: &str, names: &BTreeSet<&str>, errors: &mut Vec<FieldError>) {
    let operator = text(&codes["operator"]);
    let known = ["In", "NotIn"];
    let place = format!("{at}.operator");
    if operator.is_empty() {
        let detail = "valid values: [\"In\" \"NotIn\"]";
        errors.push(FieldError::required(place, detail));
    } else if !known.contains(&operator) {
        errors.push(FieldError::not_supported(place, json!(operator), &known));
    }
    if let Some(name) = codes["containerName"].as_str()
        && !names.contains(name)
    {
        let detail = "must be one of the container or initContainer names in the pod template";
        let place = format!("{at}.containerName");
        errors.push(FieldError::invalid(place, json!(name), detail));
    }
    let place = format!("{at}.values");
    let values: Vec<i64> = items(&codes["values"]).filter_map(Value::as_i64).collect();
    if values.is_empty() {
        let detail = "at least one value is required";
        errors.push(FieldError::invalid(
            place.clone(),
            codes["values"].clone(),
            detail,
        ));
    }
    let mut seen = BTreeSet::new();
    for (index, value) in values.iter().enumerate() {
        let place = format!("{place}[{index}]");
        if operator == "In" && *value == 0 {
            let detail = "must not be 0 for the In operator";
            errors.push(FieldError::invalid(place.clone(), json!(0), detail));
        }
        if !seen.insert(value) {
            errors.push(FieldError::duplicate(place, json!(value)));
        }
    }
    if !values.is_sorted() {
        errors.push(FieldError::invalid(
            place,
            codes["values"].clone(),
            "must be ordered",
        ));
    }
}

pub(super) fn job(new: &Value, _: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let spec = &new["spec"];
    job_spec(spec, "spec", &mut errors);
    if spec["selector"].is_null() {
        errors.push(FieldError::required("spec.selector", ""));
    }
    let labels = &spec["template"]["metadata"]["labels"];
    let value = |key: &str| labels.get(key)?.as_str();
    let matches =
        match serde_json::from_value::<k8s_object::LabelSelector>(spec["selector"].clone()) {
            // of none the real one makes one that matches nothing
            _ if spec["selector"].is_null() => false,
            Ok(selector) => selector.matches(value),
            Err(_) => true,
        };
    if !matches {
        errors.push(FieldError::invalid(
            "spec.template.metadata.labels",
            labels.clone(),
            "`selector` does not match template `labels`",
        ));
    }
    if let Some(count) = spec["completions"].as_i64().filter(|count| *count > 0)
        && spec["completionMode"] == "Indexed"
    {
        let name = k8s_object::name(new);
        let last = format!("{name}-{}", count - 1);
        if !crate::registry::words::Form::Label
            .problems(&last)
            .is_empty()
        {
            errors.push(FieldError::invalid(
                "metadata.name",
                json!(name),
                format!("will not able to create pod with invalid DNS label: {last}"),
            ));
        }
    }
    errors
}

pub(super) fn job_changes(new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    // a suspended job's template may change where scheduling is concerned
    let suspended = old.is_some_and(|old| old["spec"]["suspend"] == json!(true));
    let mut errors = fixed(
        new,
        old,
        &[
            "spec.completionMode",
            "spec.selector",
            "spec.podFailurePolicy",
            "spec.backoffLimitPerIndex",
            "spec.managedBy",
            "spec.successPolicy",
        ],
    );
    let (wanted, parallel) = (&new["spec"]["completions"], &new["spec"]["parallelism"]);
    if new["spec"]["completionMode"] != "Indexed" {
        errors.extend(fixed(new, old, &["spec.completions"]));
    } else if old.is_some_and(|old| old["spec"]["completions"] != *wanted)
        && !wanted.is_null()
        && wanted != parallel
    {
        errors.push(FieldError::invalid(
            "spec.completions",
            wanted.clone(),
            "can only be modified in tandem with spec.parallelism",
        ));
    }
    if !suspended {
        errors.extend(fixed(new, old, &["spec.template"]));
    }
    errors
}

/// What is wrong with five fields of a schedule, in the words of the library that reads them.
fn schedule_problem(schedule: &str) -> Option<String> {
    const MONTHS: &str = "jan feb mar apr may jun jul aug sep oct nov dec";
    const DAYS: &str = "sun mon tue wed thu fri sat";
    let bounds = [
        (0, 59, "", 0),
        (0, 23, "", 0),
        (1, 31, "", 0),
        (1, 12, MONTHS, 1),
        (0, 6, DAYS, 0),
    ];
    let fields = schedule.split_whitespace().zip(bounds);
    fields.into_iter().find_map(|(field, bounds)| {
        let parts = field.split(',').filter(|part| !part.is_empty());
        parts
            .into_iter()
            .find_map(|part| range_problem(part, bounds).err())
    })
}

fn range_problem(
    part: &str,
    (least, most, names, first): (u32, u32, &str, u32),
) -> Result<(), String> {
    let plain = |text: &str| -> Result<u32, String> {
        let number: i64 = text.parse().map_err(|_| {
            let quoted = base_yaml::go::quote(text);
            format!(
                "failed to parse int from {text}: strconv.Atoi: parsing {quoted}: invalid syntax"
            )
        })?;
        u32::try_from(number).map_err(|_| format!("negative number ({number}) not allowed: {text}"))
    };
    let named = |text: &str| -> Result<u32, String> {
        let lower = text.to_lowercase();
        match (first..)
            .zip(names.split(' '))
            .find(|(_, name)| *name == lower)
        {
            Some((number, _)) if !names.is_empty() => Ok(number),
            _ => plain(text),
        }
    };
    let halves: Vec<&str> = part.split('/').collect();
    let ends: Vec<&str> = halves[0].split('-').collect();
    let (start, mut end) = if matches!(ends[0], "*" | "?") {
        (least, most)
    } else {
        let start = named(ends[0])?;
        match ends.as_slice() {
            [_] => (start, start),
            [_, end] => (start, named(end)?),
            _ => return Err(format!("too many hyphens: {part}")),
        }
    };
    match halves.as_slice() {
        [_] => {}
        [_, step] => {
            if plain(step)? == 0 {
                return Err(format!("step of range should be a positive number: {part}"));
            }
            if ends.len() == 1 {
                end = most;
            }
        }
        _ => return Err(format!("too many slashes: {part}")),
    }
    if start < least {
        return Err(format!(
            "beginning of range ({start}) below minimum ({least}): {part}"
        ));
    }
    if end > most {
        return Err(format!(
            "end of range ({end}) above maximum ({most}): {part}"
        ));
    }
    if start > end {
        return Err(format!(
            "beginning of range ({start}) beyond end of range ({end}): {part}"
        ));
    }
    Ok(())
}

pub(super) fn cron_job(new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let schedule = text(&new["spec"]["schedule"]);
    if schedule.is_empty() {
        errors.push(FieldError::required("spec.schedule", ""));
    } else if !schedule.starts_with('@') && schedule.split_whitespace().count() != 5 {
        errors.push(FieldError::invalid(
            "spec.schedule",
            json!(schedule),
            format!(
                "expected exactly 5 fields, found {}: [{}]",
                schedule.split_whitespace().count(),
                schedule.split_whitespace().collect::<Vec<_>>().join(" ")
            ),
        ));
    } else if !schedule.starts_with('@')
        && let Some(problem) = schedule_problem(schedule)
    {
        errors.push(FieldError::invalid(
            "spec.schedule",
            json!(schedule),
            problem,
        ));
    }
    let known = ["Allow", "Forbid", "Replace"];
    if !known.contains(&text(&new["spec"]["concurrencyPolicy"])) {
        errors.push(FieldError::not_supported(
            "spec.concurrencyPolicy",
            new["spec"]["concurrencyPolicy"].clone(),
            &known,
        ));
    }
    let inner = &new["spec"]["jobTemplate"]["spec"];
    job_spec(inner, "spec.jobTemplate.spec", &mut errors);
    let at = |field: &str| format!("spec.jobTemplate.spec.{field}");
    if !inner["selector"].is_null() {
        let detail = "`selector` will be auto-generated";
        errors.push(FieldError::invalid(
            at("selector"),
            inner["selector"].clone(),
            detail,
        ));
    }
    if inner["manualSelector"] == json!(true) {
        let place = at("manualSelector");
        errors.push(FieldError::not_supported(
            place,
            json!(true),
            &["nil", "false"],
        ));
    }
    let name = k8s_object::name(new);
    if old.is_none() && name.len() > 52 {
        let detail = "must be no more than 52 characters";
        errors.push(FieldError::invalid("metadata.name", json!(name), detail));
    }
    errors
}
