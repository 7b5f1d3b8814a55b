//! Errors of templates and schemas as diagnostics: Helm's words, the place, the way there, and who set the values.

use roadstead_sprig::helm::{MESSAGE_END, MESSAGE_START};
use roadstead_template::{Error, ErrorKind};

use crate::diag::{Code, Diagnostic, Diagnostics, Frame, Place, SetBy};
use crate::engine::Compiled;
use crate::setby;
use crate::values::layers::Layer;
use crate::values::schema;

/// A file that is no template.
pub(crate) fn parse_error(error: &Error, compiled: &Compiled) -> Diagnostic {
    let parts: Vec<&str> = error.go().split(": ").collect();
    let helm = match parts[..] {
        [_, location, .., last] => format!("parse error at ({location}): {last}"),
        [_, last] => format!("parse error at ({last}): {last}"),
        _ => error.go().to_owned(),
    };
    let mut diagnostic = Diagnostic::new(Code::TemplateSyntax, error.message(), helm);
    place(&mut diagnostic, error, compiled);
    diagnostic
}

/// A template that failed; `chart` is where the values of its chart lie.
pub(crate) fn exec_error(
    error: &Error,
    chart: &str,
    layers: &[Layer],
    compiled: &Compiled,
) -> Diagnostic {
    let refused = between(error.go());
    let code = match error.kind() {
        ErrorKind::Limit(_) => Code::Limit,
        _ if refused.is_some() => Code::TemplateRefused,
        _ => Code::Template,
    };
    let helm = if code == Code::Limit {
        error.message().to_owned()
    } else if compiled.dialect().is_3() {
        in_helm_3(error.go())
    } else {
        in_helm_4(error.go())
    };
    let message = refused.unwrap_or(error.message());
    let mut diagnostic = Diagnostic::new(code, message, helm);
    place(&mut diagnostic, error, compiled);
    diagnostic.stack = error
        .stack()
        .iter()
        .map(|frame| Frame {
            template: frame.template.to_string(),
            place: Place {
                file: frame.place.file.to_string(),
                line: frame.place.line,
                column: frame.place.column,
            },
            expression: frame.context.to_string(),
        })
        .collect();
    let failed = error.stack().first();
    let read = failed.zip(diagnostic.place.as_ref()).map(|(frame, place)| {
        let text = compiled.source(&place.file).unwrap_or_default();
        setby::read_at(&frame.context, &text, place)
    });
    diagnostic.values = read
        .unwrap_or_default()
        .into_iter()
        .map(|path| setby::set_by(&path, chart, layers, compiled))
        .collect();
    diagnostic
}

fn place(diagnostic: &mut Diagnostic, error: &Error, compiled: &Compiled) {
    let Some(at) = error.place() else { return };
    let place = Place {
        file: at.file.to_string(),
        line: at.line,
        column: at.column,
    };
    diagnostic.excerpt = compiled
        .source(&place.file)
        .and_then(|text| crate::diag::excerpt(&text, place.line, place.column));
    diagnostic.place = Some(place);
}

/// The message that `fail` or `required` was given.
fn between(text: &str) -> Option<&str> {
    let start = text.find(MESSAGE_START)? + MESSAGE_START.len();
    let end = text.rfind(MESSAGE_END)?;
    text.get(start..end)
}

/// The place of an error and what follows it, as Helm cuts its text.
fn cut(go: &str) -> Option<(&str, &str)> {
    let (_, rest) = go.split_once(": ")?;
    rest.split_once(": ")
}

fn in_helm_3(go: &str) -> String {
    match (cut(go), between(go)) {
        (Some((location, _)), Some(message)) => {
            format!("execution error at ({location}): {message}")
        }
        _ => go.to_owned(),
    }
}

/// Helm 4 writes each template on the way on lines of its own, unless something on the way is no error of a template.
fn in_helm_4(go: &str) -> String {
    if let (Some((location, _)), Some(message)) = (cut(go), between(go)) {
        return format!("execution error at ({location}): {message}");
    }
    let mut out = String::new();
    let mut current = go;
    loop {
        let Some(rest) = current.strip_prefix("template: ") else {
            return go.to_owned();
        };
        if rest.starts_with("no template ") {
            out.push_str(current);
            out.push('\n');
            break;
        }
        let Some((location, executing)) = rest.split_once(": executing ") else {
            let Some((location, message)) = rest.rsplit_once(": ") else {
                return go.to_owned();
            };
            let message = message.split(" template:").next().unwrap_or(message);
            out.push_str(&format!("{location}\n  {message}\n"));
            break;
        };
        let parts = executing.strip_prefix('"').and_then(|it| {
            let (function, rest) = it.split_once('"')?;
            let (at, message) = rest.strip_prefix(" at <")?.split_once(">: ")?;
            Some((function, at, message))
        });
        let Some((function, at, message)) = parts else {
            return go.to_owned();
        };
        let shown = message.split(" template:").next().unwrap_or(message);
        out.push_str(&format!(
            "{location}\n  executing \"{function}\" at <{at}>:\n    {shown}\n"
        ));
        // What a function said is an error of its own.
        let Some(inner) = message
            .strip_prefix("error calling ")
            .and_then(|it| it.split_once(": "))
            .map(|(_, inner)| inner)
        else {
            break;
        };
        current = inner;
    }
    out.trim().to_owned()
}

/// What is wrong with values by the schemas of the charts.
#[derive(Default)]
pub(crate) struct Violations {
    helm: String,
    found: Vec<Diagnostic>,
}

impl Violations {
    pub(crate) fn bad_schema(&mut self, name: &str, folder: &str, why: &str) {
        self.helm.push_str(&format!("{name}:\n{why}"));
        self.found.push(
            Diagnostic::helm(Code::Schema, format!("the schema is wrong: {why}")).at(
                format!("{folder}values.schema.json"),
                0,
                0,
            ),
        );
    }

    pub(crate) fn add(
        &mut self,
        name: &str,
        folder: &str,
        path: &str,
        violations: schema::Violations,
    ) {
        self.helm
            .push_str(&format!("{name}:\n{}\n", violations.text));
        for (pointer, what) in violations.leaves {
            let mut steps: Vec<String> = path
                .split('.')
                .filter(|step| !step.is_empty())
                .map(str::to_owned)
                .collect();
            steps.extend(
                pointer
                    .split('/')
                    .skip(1)
                    .map(|step| step.replace("~1", "/").replace("~0", "~")),
            );
            let values = steps.join(".");
            let mut diagnostic = Diagnostic::helm(
                Code::Schema,
                if values.is_empty() {
                    format!("the values do not fit {folder}values.schema.json: {what}")
                } else {
                    format!(".Values.{values} does not fit {folder}values.schema.json: {what}")
                },
            );
            diagnostic.values.push(SetBy {
                path: values,
                place: None,
                around: None,
            });
            self.found.push(diagnostic);
        }
    }

    pub(crate) fn no_map(&mut self, name: &str, path: &str, ty: &str) {
        self.helm.push_str(&format!(
            "{name}:\ninvalid type for values: expected object (map), got {ty}\n"
        ));
        self.found.push(Diagnostic::helm(
            Code::Schema,
            format!(".Values.{path} must be a map, not {ty}"),
        ));
    }

    /// All of it, each with Helm's whole text.
    pub(crate) fn into_diagnostics(
        self,
        layers: &[Layer],
        compiled: &Compiled,
    ) -> Option<Diagnostics> {
        if self.found.is_empty() {
            return None;
        }
        let helm = format!(
            "values don't meet the specifications of the schema(s) in the following chart(s):\n{}",
            self.helm
        );
        let helm = helm.trim_end();
        Diagnostics::of(
            self.found
                .into_iter()
                .map(|mut diagnostic| {
                    helm.clone_into(&mut diagnostic.helm_compat);
                    for value in &mut diagnostic.values {
                        *value = setby::set_by(&value.path, "", layers, compiled);
                        let around = value.around.as_ref().map(|(_, place)| place);
                        if diagnostic.place.is_none() {
                            diagnostic.place = value.place.as_ref().or(around).cloned();
                        }
                    }
                    diagnostic
                })
                .collect(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn helm_4_writes_one_template_a_paragraph() {
        let go = "template: c/a.yaml:1:3: executing \"c/a.yaml\" at <include \"t\" .>: error calling include: template: c/a.yaml:2:9: executing \"t\" at <3>: expected string; found 3";
        assert_eq!(in_helm_3(go), go);
        assert_eq!(
            in_helm_4(go),
            "c/a.yaml:1:3\n  executing \"c/a.yaml\" at <include \"t\" .>:\n    error calling include:\nc/a.yaml:2:9\n  executing \"t\" at <3>:\n    expected string; found 3"
        );
        let native = "template: c/a.yaml:1:3: executing \"c/a.yaml\" at <x>: error calling x: boom";
        assert_eq!(in_helm_4(native), native);
        let missing = "template: c/a.yaml:1:3: executing \"c/a.yaml\" at <include \"n\" .>: error calling include: template: no template \"n\" associated with template \"gotpl\"";
        assert_eq!(
            in_helm_4(missing),
            "c/a.yaml:1:3\n  executing \"c/a.yaml\" at <include \"n\" .>:\n    error calling include:\ntemplate: no template \"n\" associated with template \"gotpl\""
        );
        let refused = "template: c/a.yaml:1:3: executing \"c/a.yaml\" at <fail \"x\">: error calling fail: HELM_ERR_STARTno: way\nHELM_ERR_END";
        assert_eq!(
            in_helm_4(refused),
            "execution error at (c/a.yaml:1:3): no: way\n"
        );
    }
}
