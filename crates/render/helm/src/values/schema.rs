//! `values.schema.json`: what values must look like.
//!
//! Schemas are read whole before a chart is rendered, and never lead anywhere: a reference outside the schema is an error,
//! where Helm would fetch it.

use boon::{Compiler, ErrorKind, SchemaIndex, Schemas, UrlLoader, ValidationError};
use serde_json::Value;

use super::effort;

/// Where Helm says a schema lies.
const LOCATION: &str = "file:///values.schema.json";

/// A schema, ready to check values.
pub(crate) struct Schema {
    json: Value,
    schemas: Schemas,
    index: SchemaIndex,
}

impl std::fmt::Debug for Schema {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Schema")
    }
}

/// Refuses whatever a schema refers to outside of it.
struct Nowhere;

impl UrlLoader for Nowhere {
    fn load(&self, url: &str) -> Result<Value, Box<dyn std::error::Error>> {
        Err(format!("{url} lies outside the schema, and nothing is fetched while rendering").into())
    }
}

impl Schema {
    /// Reads a schema; the error says why it is none, as near to Helm's words as may be.
    pub(crate) fn compile(bytes: &[u8]) -> Result<Self, String> {
        let json: Value = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        let mut compiler = Compiler::new();
        compiler.use_loader(Box::new(Nowhere));
        compiler
            .add_resource(LOCATION, json.clone())
            .map_err(|error| error.to_string())?;
        let mut schemas = Schemas::new();
        let index = compiler
            .compile(LOCATION, &mut schemas)
            .map_err(|error| with_sources(&error))?;
        Ok(Self {
            json,
            schemas,
            index,
        })
    }

    /// Checks values; the error is Helm's, and says what is wrong at which path.
    pub(crate) fn check(&self, values: &Value) -> Result<(), Violations> {
        if !effort::bearable(&self.json, values) {
            let text = "checking the values by this schema takes too many steps".to_owned();
            return Err(Violations {
                leaves: vec![(String::new(), text.clone())],
                text,
            });
        }
        let Err(error) = self.schemas.validate(values, self.index) else {
            return Ok(());
        };
        let mut violations = Violations::default();
        // The outermost error only says that there are some.
        for cause in &error.causes {
            violations.collect(cause, 1);
        }
        Err(violations)
    }
}

fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        source = error.source();
    }
    text
}

/// What is wrong with values.
#[derive(Debug, Default)]
pub(crate) struct Violations {
    /// Helm's text, a line each.
    pub(crate) text: String,
    /// The paths and what is wrong there, without what only leads to others.
    pub(crate) leaves: Vec<(String, String)>,
}

impl Violations {
    fn collect(&mut self, error: &ValidationError<'_, '_>, indent: usize) {
        let skipped = error.causes.len() == 1 && matches!(error.kind, ErrorKind::Reference { .. });
        let mut below = indent;
        if !skipped {
            if !self.text.is_empty() {
                self.text.push('\n');
            }
            let place = error.instance_location.to_string();
            let what = describe(&error.kind);
            self.text.push_str(&"  ".repeat(indent - 1));
            self.text
                .push_str(&format!("- at {}: {what}", quote(&place)));
            if error.causes.is_empty() {
                self.leaves.push((place, what));
            }
            below += 1;
        }
        for cause in &error.causes {
            self.collect(cause, below);
        }
    }
}

/// What is wrong, in the words of the library that Helm uses.
fn describe(kind: &ErrorKind<'_, '_>) -> String {
    match kind {
        ErrorKind::Group | ErrorKind::Reference { .. } | ErrorKind::Schema { .. } => {
            "validation failed".to_owned()
        }
        ErrorKind::ContentSchema => "'contentSchema' failed".to_owned(),
        ErrorKind::PropertyName { prop } => format!("invalid propertyName {}", quote(prop)),
        ErrorKind::RefCycle {
            url,
            kw_loc1,
            kw_loc2,
        } => format!("both {kw_loc1} and {kw_loc2} resolve to {url:?} causing reference cycle"),
        ErrorKind::FalseSchema => "false schema".to_owned(),
        ErrorKind::Type { got, want } => {
            let want: Vec<String> = want.iter().map(|it| it.to_string()).collect();
            format!("got {got}, want {}", want.join(" or "))
        }
        ErrorKind::Enum { want } => {
            if want.iter().any(|it| it.is_array() || it.is_object()) {
                return "'enum' failed".to_owned();
            }
            let shown: Vec<String> = want.iter().map(display).collect();
            let of = if shown.len() == 1 { "" } else { "one of " };
            format!("value must be {of}{}", shown.join(", "))
        }
        ErrorKind::Const { want } if want.is_array() || want.is_object() => {
            "'const' failed".to_owned()
        }
        ErrorKind::Const { want } => format!("value must be {}", display(want)),
        ErrorKind::Format { got, want, err } => {
            format!("{} is not valid {want}: {err}", display(got))
        }
        ErrorKind::MinProperties { got, want } => bound("minProperties", got, want),
        ErrorKind::MaxProperties { got, want } => bound("maxProperties", got, want),
        ErrorKind::MinItems { got, want } => bound("minItems", got, want),
        ErrorKind::MaxItems { got, want } => bound("maxItems", got, want),
        ErrorKind::MinLength { got, want } => bound("minLength", got, want),
        ErrorKind::MaxLength { got, want } => bound("maxLength", got, want),
        ErrorKind::Minimum { got, want } => number_bound("minimum", got, want),
        ErrorKind::Maximum { got, want } => number_bound("maximum", got, want),
        ErrorKind::ExclusiveMinimum { got, want } => number_bound("exclusiveMinimum", got, want),
        ErrorKind::ExclusiveMaximum { got, want } => number_bound("exclusiveMaximum", got, want),
        ErrorKind::MultipleOf { got, want } => number_bound("multipleOf", got, want),
        ErrorKind::AdditionalProperties { got } => {
            format!("additional properties {} not allowed", quoted(got))
        }
        ErrorKind::Required { want } if want.len() == 1 => {
            format!("missing property {}", quoted(want))
        }
        ErrorKind::Required { want } => format!("missing properties {}", quoted(want)),
        ErrorKind::Dependency { prop, missing }
        | ErrorKind::DependentRequired { prop, missing } => format!(
            "properties {} required, if {} exists",
            quoted(missing),
            quote(prop)
        ),
        ErrorKind::Contains => "no items match contains schema".to_owned(),
        ErrorKind::MinContains { got, want } if got.is_empty() => {
            format!("min {want} items required to match contains schema, but none matched")
        }
        ErrorKind::MinContains { got, want } => format!(
            "min {want} items required to match contains schema, but matched {} items at {}",
            got.len(),
            numbers(got)
        ),
        ErrorKind::MaxContains { got, want } => format!(
            "max {want} items required to match contains schema, but matched {} items at {}",
            got.len(),
            numbers(got)
        ),
        ErrorKind::UniqueItems { got: [one, other] } => {
            format!("items at {one} and {other} are equal")
        }
        ErrorKind::AdditionalItems { got } => format!("last {got} additionalItem(s) not allowed"),
        ErrorKind::Pattern { got, want } => {
            format!("{} does not match pattern {}", quote(got), quote(want))
        }
        ErrorKind::ContentEncoding { want, err } => {
            format!("value is not {} encoded: {err}", quote(want))
        }
        ErrorKind::ContentMediaType { want, err, .. } => {
            format!("value if not of mediatype {}: {err}", quote(want))
        }
        ErrorKind::Not => "'not' failed".to_owned(),
        ErrorKind::AllOf => "'allOf' failed".to_owned(),
        ErrorKind::AnyOf => "'anyOf' failed".to_owned(),
        ErrorKind::OneOf(None) => "'oneOf' failed, none matched".to_owned(),
        ErrorKind::OneOf(Some((one, other))) => {
            format!("'oneOf' failed, subschemas {one}, {other} matched")
        }
    }
}

fn bound(name: &str, got: &usize, want: &usize) -> String {
    format!("{name}: got {}, want {}", grouped(*got), grouped(*want))
}

fn number_bound(name: &str, got: &serde_json::Number, want: &serde_json::Number) -> String {
    let shown = |number: &serde_json::Number| english(number.as_f64().unwrap_or_default());
    format!("{name}: got {}, want {}", shown(got), shown(want))
}

/// A number as Helm's library writes it in English: digits in groups, powers of ten raised.
fn english(number: f64) -> String {
    let text = base_yaml::go::format_g(number);
    let (sign, text) = match text.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", text.as_str()),
    };
    let (digits, exponent) = text.split_once('e').unwrap_or((text, ""));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let mut out = format!("{sign}{}", group(whole));
    if !fraction.is_empty() {
        out.push('.');
        out.push_str(fraction);
    }
    if !exponent.is_empty() {
        out.push_str("×10");
        out.extend(exponent.chars().filter_map(|char| match char {
            '-' => Some('⁻'),
            '1' => Some('¹'),
            '2' => Some('²'),
            '3' => Some('³'),
            '0' | '4'..='9' => char::from_u32('⁰' as u32 + (char as u32 - '0' as u32)),
            _ => None,
        }));
    }
    out
}

fn grouped(number: usize) -> String {
    group(&number.to_string())
}

/// Digits with commas between thousands.
fn group(digits: &str) -> String {
    let mut out = String::new();
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

fn numbers(of: &[usize]) -> String {
    let shown: Vec<String> = of.iter().map(usize::to_string).collect();
    shown.join(" ")
}

fn quoted<S: AsRef<str>>(names: &[S]) -> String {
    let shown: Vec<String> = names.iter().map(|name| quote(name.as_ref())).collect();
    shown.join(", ")
}

/// A text in single quotes.
fn quote(text: &str) -> String {
    let escaped = format!("{text:?}")
        .replace("\\\"", "\"")
        .replace('\'', "\\'");
    format!("'{}'", &escaped[1..escaped.len() - 1])
}

fn display(value: &Value) -> String {
    match value {
        Value::String(text) => quote(text),
        Value::Null => "<nil>".to_owned(),
        Value::Array(_) | Value::Object(_) => "value".to_owned(),
        Value::Number(number) if number.is_f64() => {
            base_yaml::go::format_g(number.as_f64().unwrap_or_default())
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(schema: Value, value: Value, wanted: &str) {
        let schema = Schema::compile(schema.to_string().as_bytes()).unwrap();
        let text = schema.check(&value).err().map(|it| it.text);
        assert_eq!(text.unwrap_or_default(), wanted);
    }

    #[test]
    fn violations_read_as_helms() {
        check(json!({"type": "object"}), json!({}), "");
        check(
            json!({"properties": {"replicas": {"type": "integer", "minimum": 1}}}),
            json!({"replicas": 1.0}),
            "",
        );
        check(
            json!({"properties": {"a": {"type": "integer"}, "b": {"enum": ["x", 1, null]}}, "required": ["c"]}),
            json!({"a": "1", "b": "y"}),
            "- at '': missing property 'c'\n- at '/a': got string, want integer\n- at '/b': value must be one of 'x', 1, <nil>",
        );
        check(
            json!({"properties": {"a": {"anyOf": [{"type": "string"}, {"$ref": "#/$defs/n"}]}},
                "$defs": {"n": {"type": "number", "maximum": 10}}}),
            json!({"a": 2000.5}),
            "- at '/a': 'anyOf' failed\n  - at '/a': got number, want string\n  - at '/a': maximum: got 2,000.5, want 10",
        );
        check(
            json!({"additionalProperties": false}),
            json!({"it's": 1}),
            "- at '': additional properties 'it\\'s' not allowed",
        );
    }

    #[test]
    fn numbers_are_written_as_in_english() {
        for (number, wanted) in [
            (1000.0, "1,000"),
            (2000.5, "2,000.5"),
            (123456789.0, "1.23456789×10⁰⁸"),
            (-1e30, "-1×10³⁰"),
            (1e-7, "1×10⁻⁰⁷"),
        ] {
            assert_eq!(english(number), wanted);
        }
    }

    #[test]
    fn nothing_is_fetched() {
        for url in [
            "https://example.com/x.json",
            "file:///etc/passwd",
            "urn:x",
            "other.json",
        ] {
            let schema = json!({"$ref": url}).to_string();
            let error = Schema::compile(schema.as_bytes()).unwrap_err();
            assert!(error.contains("nothing is fetched"), "{url}: {error}");
        }
        assert!(Schema::compile(b"{").is_err());
        assert!(Schema::compile(b"{\"type\": 1}").is_err());
    }
}
