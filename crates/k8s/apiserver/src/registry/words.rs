//! Forms of names and labels, with Kubernetes' own words for what does not fit.

use serde_json::Value;

use crate::FieldError;

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const LABEL_1035: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
const QUALIFIED: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

const LABEL_KEY: &str = "a valid label key must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')";
const CONFIG_KEY: &str = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";
const ENVIRONMENT: &str = "a valid environment variable name must consist only of printable ASCII characters other than '='";

fn is_label(text: &str) -> bool {
    let inner = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    let bytes = text.as_bytes();
    !bytes.is_empty()
        && bytes.iter().all(|c| inner(*c) || *c == b'-')
        && bytes.first().is_some_and(|c| inner(*c))
        && bytes.last().is_some_and(|c| inner(*c))
}

fn is_qualified_part(text: &str) -> bool {
    let bytes = text.as_bytes();
    !bytes.is_empty()
        && bytes
            .iter()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.'))
        && bytes.first().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.last().is_some_and(u8::is_ascii_alphanumeric)
}

/// A form that a text must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Subdomain,
    Label,
    Label1035,
    Qualified,
    /// Capitals are let pass.
    QualifiedAnyCase,
    LabelValue,
    PortName,
    ConfigKey,
    Environment,
    Address,
    Network,
    NoParent,
    /// A path inside of something.
    InnerPath,
    PathSegment,
}

impl Form {
    /// Finds a form by the name that tables use.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "subdomain" => Self::Subdomain,
            "label" => Self::Label,
            "label1035" => Self::Label1035,
            "qualified" => Self::Qualified,
            "qualified-any-case" => Self::QualifiedAnyCase,
            "label-value" => Self::LabelValue,
            "port-name" => Self::PortName,
            "config-key" => Self::ConfigKey,
            "environment" => Self::Environment,
            "address" => Self::Address,
            "network" => Self::Network,
            "no-parent" => Self::NoParent,
            "inner-path" => Self::InnerPath,
            "path-segment" => Self::PathSegment,
            _ => return None,
        })
    }

    /// Says what is wrong with a text.
    pub(crate) fn problems(self, text: &str) -> Vec<String> {
        let mut out = Vec::new();
        let mut limit = |limit: usize, unit: &str| {
            if text.len() > limit {
                out.push(format!("must be no more than {limit} {unit}"));
            }
        };
        let (fits, words) = match self {
            Self::Subdomain => {
                limit(253, "characters");
                (text.split('.').all(is_label), SUBDOMAIN)
            }
            Self::Label => {
                limit(63, "characters");
                let dotted = text.contains('.') && text.len() <= 253;
                if dotted && text.split('.').all(is_label) {
                    out.push("must not contain dots".to_owned());
                    return out;
                }
                (is_label(text), LABEL)
            }
            Self::Label1035 => {
                limit(63, "characters");
                let begins = text.starts_with(|c: char| c.is_ascii_lowercase());
                (is_label(text) && begins, LABEL_1035)
            }
            Self::Qualified => return qualified(text),
            Self::QualifiedAnyCase => return qualified(&text.to_lowercase()),
            Self::LabelValue => {
                limit(63, "bytes");
                (text.is_empty() || is_qualified_part(text), LABEL_VALUE)
            }
            Self::PortName => return port_name(text),
            Self::ConfigKey => {
                limit(253, "characters");
                let known = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
                if text.is_empty() || !text.bytes().all(known) {
                    out.push(CONFIG_KEY.to_owned());
                }
                match text {
                    "." => out.push("must not be '.'".to_owned()),
                    ".." => out.push("must not be '..'".to_owned()),
                    _ if text.starts_with("..") => {
                        out.push("must not start with '..'".to_owned());
                    }
                    _ => {}
                }
                return out;
            }
            Self::Environment => (
                text.bytes()
                    .all(|byte| (b' '..=b'~').contains(&byte) && byte != b'='),
                ENVIRONMENT,
            ),
            Self::Address => (
                text.parse::<std::net::IpAddr>().is_ok(),
                "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
            ),
            Self::Network => (
                is_network(text),
                "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)",
            ),
            Self::PathSegment => return path_segment(text),
            Self::InnerPath => {
                if text.starts_with('/') {
                    out.push("must be a relative path".to_owned());
                }
                if text.split('/').any(|part| part == "..") {
                    out.push("must not contain '..'".to_owned());
                }
                if text.starts_with("..") && !text.starts_with("../") {
                    out.push("must not start with '..'".to_owned());
                }
                return out;
            }
            Self::NoParent => (
                !text.split('/').any(|part| part == ".."),
                "must not contain '..'",
            ),
        };
        if !fits {
            out.push(words.to_owned());
        }
        out
    }
}

/// Says what is wrong with a part of a path.
pub(crate) fn path_segment(name: &str) -> Vec<String> {
    match name {
        "." | ".." => vec![format!("may not be '{name}'")],
        _ => ['/', '%']
            .into_iter()
            .filter(|letter| name.contains(*letter))
            .map(|letter| format!("may not contain '{letter}'"))
            .collect(),
    }
}

fn is_network(text: &str) -> bool {
    let Some((address, bits)) = text.split_once('/') else {
        return false;
    };
    let most = match address.parse::<std::net::IpAddr>() {
        Ok(std::net::IpAddr::V4(_)) => 32,
        Ok(std::net::IpAddr::V6(_)) => 128,
        Err(_) => return false,
    };
    bits.parse::<u8>().is_ok_and(|bits| bits <= most)
}

/// Says what is wrong with the name of a port.
pub(crate) fn port_name(name: &str) -> Vec<String> {
    let mut out = Vec::new();
    if name.len() > 15 {
        out.push("must be no more than 15 characters".to_owned());
    }
    let lower = |byte: &u8| byte.is_ascii_lowercase();
    if !name
        .bytes()
        .all(|byte| lower(&byte) || byte.is_ascii_digit() || byte == b'-')
    {
        out.push(
            "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".to_owned(),
        );
    }
    if !name.bytes().any(|byte| lower(&byte)) {
        out.push("must contain at least one letter (a-z)".to_owned());
    }
    if name.contains("--") {
        out.push("must not contain consecutive hyphens".to_owned());
    }
    if name.starts_with('-') || name.ends_with('-') {
        out.push("must not begin or end with a hyphen".to_owned());
    }
    out
}

/// Says what is wrong with the key of a label or an annotation.
pub(crate) fn qualified(key: &str) -> Vec<String> {
    let mut out = Vec::new();
    let name = match key.split('/').collect::<Vec<_>>()[..] {
        [name] => name,
        [prefix, name] => {
            if prefix.is_empty() {
                out.push("prefix part must be non-empty".to_owned());
            } else {
                let problems = Form::Subdomain.problems(prefix);
                let problems = problems.into_iter().map(|problem| {
                    let problem = problem.replace("253 characters", "253 bytes");
                    format!("prefix part {problem}")
                });
                out.extend(problems);
            }
            name
        }
        _ => return vec![LABEL_KEY.to_owned()],
    };
    if name.is_empty() {
        out.push("name part must be non-empty".to_owned());
    } else if name.len() > 63 {
        out.push("name part must be no more than 63 bytes".to_owned());
    }
    if !is_qualified_part(name) {
        out.push(QUALIFIED.to_owned());
    }
    out
}

/// Checks labels.
pub(crate) fn labels(labels: &Value, at: &str, errors: &mut Vec<FieldError>) {
    for (key, value) in labels.as_object().into_iter().flatten() {
        for problem in qualified(key) {
            errors.push(FieldError::invalid(at, key.as_str().into(), problem));
        }
        let value = value.as_str().unwrap_or_default();
        for problem in Form::LabelValue.problems(value) {
            errors.push(FieldError::invalid(at, value.into(), problem));
        }
    }
}

/// Checks the keys of annotations, and their size.
pub(crate) fn annotations(annotations: &Value, at: &str, errors: &mut Vec<FieldError>) {
    let mut size = 0;
    for (key, value) in annotations.as_object().into_iter().flatten() {
        for problem in qualified(&key.to_lowercase()) {
            errors.push(FieldError::invalid(at, key.as_str().into(), problem));
        }
        size += key.len() + value.as_str().map_or(0, str::len);
    }
    if size > 262_144 {
        errors.push(FieldError::new(
            at,
            crate::FieldProblem::TooLong,
            None,
            "may not be more than 262144 bytes",
        ));
    }
}

/// Checks a label selector.
pub(crate) fn selector(selector: &Value, at: &str, errors: &mut Vec<FieldError>) {
    labels(
        &selector["matchLabels"],
        &format!("{at}.matchLabels"),
        errors,
    );
    let terms = selector["matchExpressions"].as_array();
    for (index, term) in terms.into_iter().flatten().enumerate() {
        let at = format!("{at}.matchExpressions[{index}]");
        let values = term["values"].as_array().map_or(&[][..], Vec::as_slice);
        match term["operator"].as_str().unwrap_or_default() {
            "In" | "NotIn" => {
                if values.is_empty() {
                    errors.push(FieldError::required(
                        format!("{at}.values"),
                        "must be specified when `operator` is 'In' or 'NotIn'",
                    ));
                }
            }
            "Exists" | "DoesNotExist" => {
                if !values.is_empty() {
                    errors.push(FieldError::forbidden(
                        format!("{at}.values"),
                        "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
                    ));
                }
            }
            other => errors.push(FieldError::invalid(
                format!("{at}.operator"),
                other.into(),
                "not a valid selector operator",
            )),
        }
        let key = term["key"].as_str().unwrap_or_default();
        for problem in qualified(key) {
            errors.push(FieldError::invalid(
                format!("{at}.key"),
                key.into(),
                problem,
            ));
        }
        for (index, value) in values.iter().enumerate() {
            let text = value.as_str().unwrap_or_default();
            for problem in Form::LabelValue.problems(text) {
                let at = format!("{at}.values[{index}]");
                errors.push(FieldError::invalid(at, value.clone(), problem));
            }
        }
    }
}
