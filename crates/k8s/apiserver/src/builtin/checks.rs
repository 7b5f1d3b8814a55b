//! The rules that stand in `refusals.txt`: by type, field by field, walked along with an object.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use k8s_apply::schema::{Quantity, TypeRef};
use serde_json::{Value, json};

use crate::registry::words;
use crate::{FieldError, FieldProblem};

const RULES: &str = include_str!("refusals.txt");

/// What is asked of a field.
#[derive(Debug, Clone)]
enum Check {
    Required(&'static str),
    /// Zero is no number here.
    NotZero,
    /// What a claim asks for.
    Storage,
    /// Values of a list that are named as the list.
    Each(Vec<&'static str>),
    /// Empty does not do either.
    TextOrEmpty(words::Form),
    /// None at all is right, empty is not.
    TextIfThere(words::Form),
    Enum(Vec<&'static str>),
    /// Empty is one of the values that are not known.
    EnumOrEmpty(Vec<&'static str>),
    /// None at all is right, empty is not.
    EnumIfThere(Vec<&'static str>),
    Least(i64, &'static str),
    Between(i64, i64),
    /// More than this many, in this word.
    Above(i64, &'static str),
    Below(i64),
    Present(&'static str),
    Characters(usize),
    NoneEmpty,
    WebhookTimeout,
    /// What is missing is looked at all the same.
    RequiredToo(&'static str),
    /// The same as `Between`, in other words.
    Range(i64, i64),
    /// A name of three parts and more.
    DomainName,
    ReviewVersions,
    EndpointAddress,
    /// What a driver of storage is called.
    Driver,
    /// A domain, and a path behind it.
    DomainPath,
    Port,
    /// Zero is no port here, and none is needed.
    PortOrNone,
    /// None is needed.
    PortIfThere,
    Text(words::Form),
    Unique(&'static str),
    Labels,
    Selector,
    /// What is asked of the labels of a node.
    NodeLabels,
    /// What is asked of its fields.
    NodeFields,
    /// A template's metadata: its labels and annotations are named as the template's own.
    TemplateMeta,
    Amounts,
    AtMost(usize),
}

#[derive(Debug)]
struct Line {
    field: String,
    checks: &'static [Check],
    below: Below,
}

/// The rules of what a field holds.
#[derive(Debug, Clone)]
enum Below {
    Nothing,
    One(Arc<Rules>),
    Each(Arc<Rules>),
    Values(Arc<Rules>),
}

/// The rules of a type.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    lines: Vec<Line>,
}

type Table = BTreeMap<&'static str, Vec<(&'static str, Vec<Check>)>>;

fn table() -> &'static Table {
    static TABLE: OnceLock<Table> = OnceLock::new();
    TABLE.get_or_init(|| read(RULES))
}

fn read(text: &'static str) -> Table {
    let mut out = Table::new();
    let mut owner = "";
    for line in text.lines() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let Some(rest) = line.strip_prefix("  ") else {
            owner = line;
            continue;
        };
        let (field, checks) = rest.split_once(' ').unwrap_or((rest, ""));
        let checks = checks
            .split(" | ")
            .filter(|word| !word.trim().is_empty())
            // the table is checked by a test
            .filter_map(|word| check(word.trim()))
            .collect();
        out.entry(owner).or_default().push((field, checks));
    }
    out
}

fn check(word: &'static str) -> Option<Check> {
    let (name, rest) = word.split_once('=').unwrap_or((word, ""));
    let list = || rest.split(',').collect();
    Some(match name {
        "required" => Check::Required(rest),
        "not-zero" => Check::NotZero,
        "storage" => Check::Storage,
        "each" => Check::Each(list()),
        "enum" => Check::Enum(list()),
        "enum!" => Check::EnumOrEmpty(list()),
        "enum!?" => Check::EnumIfThere(list()),
        "not-negative" => Check::Least(0, "must be greater than or equal to 0"),
        "positive" => Check::Least(1, "must be greater than 0"),
        "between" => {
            let (low, high) = rest.split_once(',')?;
            Check::Between(low.parse().ok()?, high.parse().ok()?)
        }
        "above" => {
            let (least, word) = rest.split_once(',')?;
            Check::Above(least.parse().ok()?, word)
        }
        "below" => Check::Below(rest.parse().ok()?),
        "not-below-zero" => Check::Least(0, "must be greater than or equal to zero"),
        "present" => Check::Present(rest),
        "webhook-timeout" => Check::WebhookTimeout,
        "required-too" => Check::RequiredToo(rest),
        "range" => {
            let (low, high) = rest.split_once(',')?;
            Check::Range(low.parse().ok()?, high.parse().ok()?)
        }
        "characters" => Check::Characters(rest.parse().ok()?),
        "none-empty" => Check::NoneEmpty,
        "domain-name" => Check::DomainName,
        "review-versions" => Check::ReviewVersions,
        "endpoint-address" => Check::EndpointAddress,
        "driver" => Check::Driver,
        "domain-path" => Check::DomainPath,
        "port" => Check::Port,
        "port?" => Check::PortOrNone,
        "port-if-there" => Check::PortIfThere,
        "unique" => Check::Unique(rest),
        "labels" => Check::Labels,
        "selector" => Check::Selector,
        "node-labels" => Check::NodeLabels,
        "node-fields" => Check::NodeFields,
        "template-meta" => Check::TemplateMeta,
        "amounts" => Check::Amounts,
        "at-most" => Check::AtMost(rest.parse().ok()?),
        _ => match (name.strip_suffix("!?"), name.strip_suffix('!')) {
            (Some(name), _) => Check::TextIfThere(words::Form::named(name)?),
            (None, Some(name)) => Check::TextOrEmpty(words::Form::named(name)?),
            (None, None) => Check::Text(words::Form::named(name)?),
        },
    })
}

/// Finds the rules of a type, with those of all that it holds.
pub(crate) fn of(ty: &TypeRef) -> Arc<Rules> {
    compile(ty, &mut Vec::new())
}

fn compile(ty: &TypeRef, above: &mut Vec<String>) -> Arc<Rules> {
    let name = ty.name().unwrap_or_default().to_owned();
    if above.contains(&name) {
        return Arc::default();
    }
    above.push(name.clone());
    let own = table().get(name.as_str()).map_or(&[][..], Vec::as_slice);
    let mut order: Vec<&str> = own.iter().map(|(field, _)| *field).collect();
    order.extend(ty.field_names().filter(|field| {
        // an object's own data has its own checks
        !own.iter().any(|(known, _)| known == field) && !matches!(*field, "metadata" | "status")
    }));
    let mut lines = Vec::new();
    for field in order {
        let Some(below) = ty.field(field) else {
            continue;
        };
        let below = inner(&below, above);
        let checks = own
            .iter()
            .find(|(known, _)| *known == field)
            .map_or(&[][..], |(_, checks)| checks.as_slice());
        if !checks.is_empty() || !matches!(below, Below::Nothing) {
            lines.push(Line {
                field: field.to_owned(),
                checks,
                below,
            });
        }
    }
    above.pop();
    Arc::new(Rules { lines })
}

fn inner(ty: &TypeRef, above: &mut Vec<String>) -> Below {
    let some = |rules: Arc<Rules>, make: fn(Arc<Rules>) -> Below| {
        if rules.lines.is_empty() {
            Below::Nothing
        } else {
            make(rules)
        }
    };
    match ty.element() {
        Some(element) if element.name().is_some() => {
            let make = if ty.is_map() {
                Below::Values
            } else {
                Below::Each
            };
            some(compile(&element, above), make)
        }
        Some(_) => Below::Nothing,
        None if ty.name().is_some() => some(compile(ty, above), Below::One),
        None => Below::Nothing,
    }
}

/// Holds an object against the rules of its type.
pub(crate) fn run(rules: &Rules, object: &Value, path: &str, errors: &mut Vec<FieldError>) {
    for line in &rules.lines {
        let value = object.get(&line.field).unwrap_or(&Value::Null);
        if value.is_null() && line.checks.is_empty() {
            continue;
        }
        let at = if path.is_empty() {
            line.field.clone()
        } else {
            format!("{path}.{}", line.field)
        };
        let before = errors.len();
        for check in line.checks {
            one(check, value, &at, errors);
            if errors.len() > before
                && matches!(
                    check,
                    Check::Required(_) | Check::Present(_) | Check::NotZero
                )
            {
                break;
            }
        }
        match (&line.below, value) {
            (Below::One(rules), Value::Object(_)) => run(rules, value, &at, errors),
            (Below::Each(rules), Value::Array(items)) => {
                for (index, item) in items.iter().enumerate() {
                    run(rules, item, &format!("{at}[{index}]"), errors);
                }
            }
            (Below::Values(rules), Value::Object(map)) => {
                for (key, item) in map {
                    run(rules, item, &format!("{at}[{key}]"), errors);
                }
            }
            _ => {}
        }
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

fn one(check: &Check, value: &Value, at: &str, errors: &mut Vec<FieldError>) {
    let text = value.as_str();
    let number = value.as_i64();
    match check {
        Check::Required(detail) => {
            if is_empty(value) {
                errors.push(FieldError::required(at, *detail));
            }
        }
        Check::NotZero => {
            if number.unwrap_or(0) == 0 {
                errors.push(FieldError::required(at, ""));
            }
        }
        Check::Storage => {
            let asked = &value["requests"]["storage"];
            let place = format!("{at}[storage]");
            match asked
                .as_str()
                .and_then(|text| text.parse::<Quantity>().ok())
            {
                None => errors.push(FieldError::required(place, "")),
                Some(amount) if amount.is_negative() || amount.is_zero() => {
                    let detail = "must be greater than zero";
                    errors.push(FieldError::invalid(place, asked.clone(), detail));
                }
                Some(_) => {}
            }
        }
        Check::Each(known) => {
            for item in value.as_array().into_iter().flatten() {
                if !item.as_str().is_some_and(|text| known.contains(&text)) {
                    errors.push(FieldError::not_supported(at, item.clone(), known));
                }
            }
        }
        Check::TextIfThere(_) if value.is_null() => {}
        Check::TextOrEmpty(form) | Check::TextIfThere(form) => {
            let text = text.unwrap_or_default();
            for problem in form.problems(text) {
                errors.push(FieldError::invalid(at, json!(text), problem));
            }
        }
        Check::EnumIfThere(_) if value.is_null() => {}
        Check::Enum(known) | Check::EnumOrEmpty(known) | Check::EnumIfThere(known) => {
            let empty_too = !matches!(check, Check::Enum(_));
            let each = |value: &Value, at: &str, errors: &mut Vec<FieldError>| {
                let text = value.as_str().unwrap_or_default();
                if (empty_too || !text.is_empty()) && !known.contains(&text) {
                    errors.push(FieldError::not_supported(at, json!(text), known));
                }
            };
            match value {
                Value::Array(items) => {
                    for (index, item) in items.iter().enumerate() {
                        each(item, &format!("{at}[{index}]"), errors);
                    }
                }
                _ => each(value, at, errors),
            }
        }
        Check::Least(least, detail) => {
            if number.is_some_and(|number| number < *least) {
                errors.push(FieldError::invalid(at, value.clone(), *detail));
            }
        }
        Check::Between(low, high) => {
            if number.is_some_and(|number| number < *low || number > *high) {
                let detail = format!("must be between {low} and {high}, inclusive");
                errors.push(FieldError::invalid(at, value.clone(), detail));
            }
        }
        Check::Above(least, word) => {
            // what is left out is nothing
            if number.unwrap_or(0) <= *least {
                let detail = format!("must be greater than {word}");
                errors.push(FieldError::invalid(at, json!(number.unwrap_or(0)), detail));
            }
        }
        Check::Below(most) => {
            if number.is_some_and(|number| number > *most) {
                let detail = format!("must be less than or equal to {most}");
                errors.push(FieldError::invalid(at, value.clone(), detail));
            }
        }
        Check::Present(detail) => {
            if value.is_null() {
                errors.push(FieldError::required(at, *detail));
            }
        }
        Check::Characters(most) => {
            if text.is_some_and(|text| text.len() > *most) {
                let detail = format!("must be {most} characters or less");
                errors.push(FieldError::invalid(at, value.clone(), detail));
            }
        }
        Check::Range(low, high) => {
            let number = number.unwrap_or(0);
            if number < *low || number > *high {
                let detail = format!("must be in the range {low}-{high}");
                errors.push(FieldError::invalid(at, json!(number), detail));
            }
        }
        Check::RequiredToo(detail) => {
            if is_empty(value) {
                errors.push(FieldError::required(at, *detail));
            }
        }
        Check::WebhookTimeout => {
            if number.is_some_and(|number| !(1..=30).contains(&number)) {
                let detail = "the timeout value must be between 1 and 30 seconds";
                errors.push(FieldError::invalid(at, value.clone(), detail));
            }
        }
        Check::NoneEmpty => {
            for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                if item == "" {
                    errors.push(FieldError::required(format!("{at}[{index}]"), ""));
                }
            }
        }
        Check::DomainName => {
            let name = text.unwrap_or_default();
            let problems = words::Form::Subdomain.problems(name);
            if !problems.is_empty() {
                errors.push(FieldError::invalid(at, json!(name), problems.join(",")));
            } else if name.split('.').count() < 3 {
                let detail = "should be a domain with at least three segments separated by dots";
                errors.push(FieldError::invalid(at, json!(name), detail));
            }
        }
        Check::ReviewVersions => review_versions(value, at, errors),
        Check::EndpointAddress => endpoint_address(text.unwrap_or_default(), at, errors),
        Check::Driver => {
            let name = text.unwrap_or_default();
            one(&Check::AtMost(63), value, at, errors);
            for problem in words::Form::Subdomain.problems(&name.to_lowercase()) {
                errors.push(FieldError::invalid(at, json!(name), problem));
            }
        }
        Check::DomainPath => domain_path(text.unwrap_or_default(), at, errors),
        Check::PortIfThere if value.is_null() => {}
        Check::Port | Check::PortOrNone | Check::PortIfThere => match value {
            Value::String(name) => {
                for problem in words::port_name(name) {
                    errors.push(FieldError::invalid(at, value.clone(), problem));
                }
            }
            _ => {
                let number = number.unwrap_or(0);
                if number == 0 && matches!(check, Check::PortOrNone) {
                    return;
                }
                if !(1..=65_535).contains(&number) {
                    let detail = "must be between 1 and 65535, inclusive";
                    errors.push(FieldError::invalid(at, json!(number), detail));
                }
            }
        },
        Check::Text(form) => match value {
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    let text = item.as_str().unwrap_or_default();
                    for problem in form.problems(text) {
                        let at = format!("{at}[{index}]");
                        errors.push(FieldError::invalid(at, json!(text), problem));
                    }
                }
            }
            _ => {
                // what may be left out is right
                let Some(text) = text.filter(|text| !text.is_empty()) else {
                    return;
                };
                // the real one looks at, and shows, what it made of it
                let lower = (*form == words::Form::QualifiedAnyCase).then(|| text.to_lowercase());
                let shown = lower.map_or_else(|| value.clone(), Value::String);
                for problem in form.problems(text) {
                    errors.push(FieldError::invalid(at, shown.clone(), problem));
                }
            }
        },
        Check::Unique(key) => {
            let mut seen = BTreeSet::new();
            for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                let (own, place) = if key.is_empty() {
                    (item, format!("{at}[{index}]"))
                } else {
                    (&item[*key], format!("{at}[{index}].{key}"))
                };
                if !is_empty(own) && !seen.insert(own.to_string()) {
                    errors.push(FieldError::duplicate(place, own.clone()));
                }
            }
        }
        Check::Labels => words::labels(value, at, errors),
        Check::Selector => words::selector(value, at, errors),
        Check::NodeLabels => super::rules_resources::node_labels(value, at, errors),
        Check::NodeFields => super::rules_resources::node_fields(value, at, errors),
        Check::TemplateMeta => {
            let above = at.trim_end_matches(".metadata");
            words::labels(&value["labels"], &format!("{above}.labels"), errors);
            words::annotations(
                &value["annotations"],
                &format!("{above}.annotations"),
                errors,
            );
        }
        Check::Amounts => {
            for (name, amount) in value.as_object().into_iter().flatten() {
                if amount
                    .as_str()
                    .and_then(|text| text.parse::<Quantity>().ok())
                    .is_some_and(|amount| amount.is_negative())
                {
                    let detail = "must be greater than or equal to 0";
                    errors.push(FieldError::invalid(
                        format!("{at}[{name}]"),
                        amount.clone(),
                        detail,
                    ));
                }
            }
        }
        Check::AtMost(limit) => {
            if text.is_some_and(|text| text.len() > *limit) {
                let detail = format!("may not be more than {limit} bytes");
                errors.push(FieldError::new(at, FieldProblem::TooLong, None, detail));
            }
        }
    }
}

fn review_versions(list: &Value, at: &str, errors: &mut Vec<FieldError>) {
    let mut seen = BTreeSet::new();
    for (index, version) in list.as_array().into_iter().flatten().enumerate() {
        let text = version.as_str().unwrap_or_default();
        let at = format!("{at}[{index}]");
        if !seen.insert(text) {
            errors.push(FieldError::invalid(at, json!(text), "duplicate version"));
            continue;
        }
        for problem in words::Form::Label1035.problems(text) {
            errors.push(FieldError::invalid(at.clone(), json!(text), problem));
        }
    }
    if !seen.contains("v1") && !seen.contains("v1beta1") {
        let detail = "must include at least one of v1, v1beta1";
        errors.push(FieldError::invalid(at, list.clone(), detail));
    }
}

/// An address that others can reach.
fn endpoint_address(text: &str, at: &str, errors: &mut Vec<FieldError>) {
    for problem in words::Form::Address.problems(text) {
        errors.push(FieldError::invalid(at, json!(text), problem));
    }
    let problem = match text.parse::<std::net::IpAddr>() {
        Err(_) => "must be a valid IP address",
        Ok(address) if address.is_unspecified() => "may not be unspecified (0.0.0.0 or ::)",
        Ok(address) if address.is_loopback() => {
            "may not be in the loopback range (127.0.0.0/8, ::1/128)"
        }
        Ok(std::net::IpAddr::V4(address)) if address.is_link_local() => {
            "may not be in the link-local range (169.254.0.0/16, fe80::/10)"
        }
        Ok(std::net::IpAddr::V6(address)) if address.is_unicast_link_local() => {
            "may not be in the link-local range (169.254.0.0/16, fe80::/10)"
        }
        Ok(std::net::IpAddr::V4(address)) if address.octets()[..3] == [224, 0, 0] => {
            "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"
        }
        Ok(std::net::IpAddr::V6(address)) if address.segments()[0] & 0xff0f == 0xff02 => {
            "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"
        }
        Ok(_) => return,
    };
    errors.push(FieldError::invalid(at, json!(text), problem));
}

fn domain_path(whole: &str, at: &str, errors: &mut Vec<FieldError>) {
    let parts = whole.split_once('/');
    let Some((host, path)) = parts.filter(|(host, path)| !host.is_empty() && !path.is_empty())
    else {
        let detail = "must be a domain-prefixed path (such as \"acme.io/foo\")";
        errors.push(FieldError::invalid(at, json!(whole), detail));
        return;
    };
    for problem in words::Form::Subdomain.problems(host) {
        errors.push(FieldError::invalid(at, json!(host), problem));
    }
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~%!$&'()*+,;=:".contains(&byte);
    if !path.bytes().all(known) {
        let detail =
            "Invalid path (regex used for validation is '[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+')";
        errors.push(FieldError::invalid(at, json!(path), detail));
    }
}

#[cfg(test)]
mod tests {
    use k8s_apply::schema::Schemas;

    use super::*;

    #[test]
    fn every_rule_is_about_a_field_that_there_is() {
        for line in RULES.lines().filter_map(|line| line.strip_prefix("  ")) {
            let (_, checks) = line.split_once(' ').unwrap_or((line, ""));
            for word in checks.split(" | ").filter(|word| !word.trim().is_empty()) {
                assert!(check(word.trim()).is_some(), "unknown check {word:?}");
            }
        }
        for (name, fields) in table() {
            let ty = Schemas::builtin().named(name).expect(name);
            for (field, _) in fields {
                assert!(ty.field(field).is_some(), "{name} has no field {field}");
            }
        }
    }
}
