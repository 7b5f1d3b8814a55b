//! The formats that have names: `format.dns1123Label()` and its kin.

use std::sync::Arc;

use crate::formats;
use crate::libraries::Object;
use crate::libraries::url::Url;
use crate::value::{Value, list, text};

/// A named format.
#[derive(Debug)]
pub struct Format {
    pub(crate) name: &'static str,
    function: &'static str,
    regex_size: u64,
    check: fn(&str) -> Vec<String>,
}

impl Format {
    pub(crate) fn regex_size(&self) -> u64 {
        self.regex_size
    }
}

const LABEL: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";

fn too_long(text: &str, most: usize, errors: &mut Vec<String>) {
    if text.len() > most {
        errors.push(format!("must be no more than {most} characters"));
    }
}

fn edge(b: u8) -> bool {
    b.is_ascii_lowercase() || b.is_ascii_digit()
}

fn is_label(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.first().is_some_and(|b| edge(*b))
        && bytes.last().is_some_and(|b| edge(*b))
        && bytes.iter().all(|b| edge(*b) || *b == b'-')
}

fn is_subdomain(text: &str) -> bool {
    text.split('.').all(is_label)
}

fn label(text: &str) -> Vec<String> {
    let mut errors = Vec::new();
    too_long(text, 63, &mut errors);
    if !is_label(text) {
        if is_subdomain(text) {
            errors.push("must not contain dots".into());
        } else {
            errors.push(format!("a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '{LABEL}')"));
        }
    }
    errors
}

fn subdomain(text: &str) -> Vec<String> {
    let mut errors = Vec::new();
    too_long(text, 253, &mut errors);
    if !is_subdomain(text) {
        errors.push(format!("a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '{LABEL}(\\.{LABEL})*')"));
    }
    errors
}

fn label1035(text: &str) -> Vec<String> {
    let mut errors = Vec::new();
    too_long(text, 63, &mut errors);
    if !is_label(text) || !text.starts_with(|c: char| c.is_ascii_lowercase()) {
        errors.push("a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')".into());
    }
    errors
}

/// What a prefix may end with is no mistake.
fn masked(text: &str) -> String {
    match text.strip_suffix('-') {
        Some(rest) if text.len() > 1 => {
            let mut kept = rest.to_owned();
            kept.pop();
            kept + "a"
        }
        _ => text.to_owned(),
    }
}

fn is_name(text: &str) -> bool {
    let bytes = text.as_bytes();
    let ends = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    ends(bytes.first())
        && ends(bytes.last())
        && bytes
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

fn qualified(text: &str) -> Vec<String> {
    const NAME: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
    let mut errors = Vec::new();
    let parts: Vec<&str> = text.split('/').collect();
    let name = match parts.as_slice() {
        [name] => *name,
        [prefix, name] => {
            if prefix.is_empty() {
                errors.push("prefix part must be non-empty".into());
            } else {
                errors.extend(
                    subdomain(prefix)
                        .into_iter()
                        .map(|e| format!("prefix part {e}")),
                );
            }
            *name
        }
        _ => {
            return vec![format!(
                "a valid label key {} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')",
                NAME
            )];
        }
    };
    if name.is_empty() {
        errors.push("name part must be non-empty".into());
    } else if name.len() > 63 {
        errors.push("name part must be no more than 63 characters".into());
    }
    if !is_name(name) {
        errors.push(format!("name part {NAME}"));
    }
    errors
}

fn label_value(text: &str) -> Vec<String> {
    let mut errors = Vec::new();
    too_long(text, 63, &mut errors);
    if !text.is_empty() && !is_name(text) {
        errors.push("a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')".into());
    }
    errors
}

fn one(ok: bool, message: &str) -> Vec<String> {
    if ok { Vec::new() } else { vec![message.into()] }
}

static FORMATS: &[Format] = &[
    Format {
        name: "DNS1123Label",
        function: "dns1123Label",
        regex_size: 30,
        check: label,
    },
    Format {
        name: "DNS1123Subdomain",
        function: "dns1123Subdomain",
        regex_size: 60,
        check: subdomain,
    },
    Format {
        name: "DNS1035Label",
        function: "dns1035Label",
        regex_size: 30,
        check: label1035,
    },
    Format {
        name: "QualifiedName",
        function: "qualifiedName",
        regex_size: 60,
        check: qualified,
    },
    Format {
        name: "DNS1123LabelPrefix",
        function: "dns1123LabelPrefix",
        regex_size: 30,
        check: |s| label(&masked(s)),
    },
    Format {
        name: "DNS1123SubdomainPrefix",
        function: "dns1123SubdomainPrefix",
        regex_size: 60,
        check: |s| subdomain(&masked(s)),
    },
    Format {
        name: "DNS1035LabelPrefix",
        function: "dns1035LabelPrefix",
        regex_size: 30,
        check: |s| label1035(&masked(s)),
    },
    Format {
        name: "LabelValue",
        function: "labelValue",
        regex_size: 40,
        check: label_value,
    },
    Format {
        name: "URI",
        function: "uri",
        regex_size: 1103,
        check: |s| Url::request(s).err().into_iter().collect(),
    },
    Format {
        name: "uuid",
        function: "uuid",
        regex_size: 70,
        check: |s| one(formats::is_uuid(s), "does not match the UUID format"),
    },
    Format {
        name: "byte",
        function: "byte",
        regex_size: 84,
        check: |s| one(formats::is_base64(s), "invalid base64"),
    },
    Format {
        name: "date",
        function: "date",
        regex_size: 71,
        check: |s| one(crate::time::parse_date(s).is_some(), "invalid date"),
    },
    Format {
        name: "datetime",
        function: "datetime",
        regex_size: 71,
        check: |s| one(formats::is_datetime(s), "invalid datetime"),
    },
];

fn named(name: &str) -> Option<Value<'static>> {
    FORMATS
        .iter()
        .find(|f| f.function == name)
        .map(|f| Value::Object(Object::Format(f)))
}

pub(crate) fn invoke<'a>(id: &str, args: &[Value<'a>]) -> Option<Value<'a>> {
    if let Some(name) = id.strip_prefix("format.") {
        return named(name);
    }
    match (id, args) {
        ("format-named", [Value::String(name)]) => Some(Value::Optional(named(name).map(Arc::new))),
        (
            "format-validate",
            [
                Value::Object(Object::Format(format)),
                Value::String(subject),
            ],
        ) => {
            let errors = (format.check)(subject);
            if errors.is_empty() {
                return Some(Value::Optional(None));
            }
            let errors = errors.into_iter().map(text).collect();
            Some(Value::Optional(Some(Arc::new(list(errors)))))
        }
        _ => None,
    }
}
