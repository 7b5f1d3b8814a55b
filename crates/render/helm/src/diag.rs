//! What is wrong with a chart or its values, with the place and Helm's own words.

use std::fmt;

/// The step that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Code {
    /// An archive could not be unpacked.
    Archive,
    /// A bound of [`crate::Limits`] was reached.
    Limit,
    /// A chart's files are not a chart.
    Chart,
    /// `Chart.yaml`, a lock file or `requirements.yaml` is wrong.
    Metadata,
    /// A values file, or a value that was set, could not be read.
    Values,
    /// Values do not fit `values.schema.json`, or the schema itself is wrong.
    Schema,
    /// A dependency is missing.
    Dependency,
    /// A release name, a Kubernetes version or another setting is wrong.
    Setting,
    /// The chart does not support this version of Kubernetes.
    KubeVersion,
    /// A template could not be parsed.
    TemplateSyntax,
    /// A template failed.
    Template,
    /// A template called `fail` or `required`.
    TemplateRefused,
    /// What came out is not YAML.
    Output,
}

impl Code {
    /// The code as a word, for machines.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Archive => "archive",
            Self::Limit => "limit",
            Self::Chart => "chart",
            Self::Metadata => "metadata",
            Self::Values => "values",
            Self::Schema => "schema",
            Self::Dependency => "dependency",
            Self::Setting => "setting",
            Self::KubeVersion => "kube-version",
            Self::TemplateSyntax => "template-syntax",
            Self::Template => "template",
            Self::TemplateRefused => "template-refused",
            Self::Output => "output",
        }
    }
}

/// A place in a file of the chart or of the values.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Place {
    /// The file: `chart/templates/x.yaml` as Helm names it, or the name of a values layer.
    pub file: String,
    /// The line, from 1; 0 if only the file is known.
    pub line: usize,
    /// The column, from 1; 0 if only the line is known.
    pub column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
            if self.column > 0 {
                write!(f, ":{}", self.column)?;
            }
        }
        Ok(())
    }
}

/// One step of the way to the place that failed: a template that was included, or a text given to `tpl`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The template that was running.
    pub template: String,
    /// Where in it.
    pub place: Place,
    /// What stands there.
    pub expression: String,
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetBy {
    /// The path below `.Values`.
    pub path: String,
    /// The layer, and the line if it has lines. `None`: no layer sets it by itself.
    pub place: Option<Place>,
    /// Then: the nearest value around it that a layer sets, and where.
    pub around: Option<(String, Place)>,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// The step that failed.
    pub code: Code,
    /// What is wrong, without the place.
    pub message: String,
    /// Where, if it is at a place.
    pub place: Option<Place>,
    /// The line at that place with a caret below it.
    pub excerpt: Option<String>,
    /// The templates on the way there, innermost first.
    pub stack: Vec<Frame>,
    /// The values that the failed expression reads, and who set them.
    pub values: Vec<SetBy>,
    /// What to do about it.
    pub hint: Option<String>,
    /// What Helm says in its place, word for word.
    pub helm_compat: String,
}

impl Diagnostic {
    /// Says what is wrong; `helm` are Helm's words for it.
    pub(crate) fn new(code: Code, message: impl Into<String>, helm: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            place: None,
            excerpt: None,
            stack: Vec::new(),
            values: Vec::new(),
            hint: None,
            helm_compat: helm.into(),
        }
    }

    /// Says it in Helm's words.
    pub(crate) fn helm(code: Code, helm: impl Into<String>) -> Self {
        let helm = helm.into();
        Self::new(code, helm.clone(), helm)
    }

    /// Adds a place.
    pub(crate) fn at(mut self, file: impl Into<String>, line: usize, column: usize) -> Self {
        self.place = Some(Place {
            file: file.into(),
            line,
            column,
        });
        self
    }

    /// Adds the line of a text that the place names.
    pub(crate) fn showing(mut self, text: &str) -> Self {
        if let Some(place) = &self.place {
            self.excerpt = excerpt(text, place.line, place.column);
        }
        self
    }

    /// Adds a line of what was rendered.
    pub(crate) fn rendered(mut self, text: &str, line: usize, column: usize) -> Self {
        // What ends too soon is found behind the last line.
        let last = text.lines().count();
        let column = if line > last { 0 } else { column };
        if let Some(excerpt) = excerpt(text, line.min(last), column) {
            self.excerpt = Some(format!("  in what was rendered:\n{excerpt}"));
        }
        self
    }

    /// Adds what to do about it.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        f.write_str(&self.message)?;
        if let Some(excerpt) = &self.excerpt {
            write!(f, "\n{excerpt}")?;
        }
        for frame in &self.stack {
            write!(
                f,
                "\n  from {}: {} in {:?}",
                frame.place, frame.expression, frame.template
            )?;
        }
        for value in &self.values {
            match &value.place {
                Some(place) => write!(f, "\n  .Values.{} is set at {place}", value.path)?,
                None => match &value.around {
                    None => write!(f, "\n  .Values.{} is set nowhere", value.path)?,
                    Some((around, place)) => write!(
                        f,
                        "\n  .Values.{} has no line of its own; .Values.{around} is set at {place}",
                        value.path
                    )?,
                },
            }
        }
        if let Some(hint) = &self.hint {
            write!(f, "\n  {hint}")?;
        }
        Ok(())
    }
}

/// Why a chart could not be loaded, compiled or rendered: at least one thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostics(Vec<Diagnostic>);

impl Diagnostics {
    /// A list, if there is anything in it.
    pub(crate) fn of(list: Vec<Diagnostic>) -> Option<Self> {
        (!list.is_empty()).then_some(Self(list))
    }

    /// The list, never empty.
    pub fn all(&self) -> &[Diagnostic] {
        &self.0
    }

    /// What Helm prints after `Error: `.
    pub fn helm_compat(&self) -> &str {
        self.0.first().map_or("", |first| &first.helm_compat)
    }
}

impl From<Diagnostic> for Diagnostics {
    fn from(one: Diagnostic) -> Self {
        Self(vec![one])
    }
}

impl From<Box<Diagnostic>> for Diagnostics {
    fn from(one: Box<Diagnostic>) -> Self {
        Self(vec![*one])
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, diagnostic) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            diagnostic.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}

/// How much of a long line is shown.
const EXCERPT_WIDTH: usize = 160;

/// The line of a text with its number, and a caret below the column (from 1; 0 for none).
pub(crate) fn excerpt(text: &str, line: usize, column: usize) -> Option<String> {
    let shown = text.lines().nth(line.checked_sub(1)?)?;
    let chars: Vec<char> = shown.chars().collect();
    let caret = column.saturating_sub(1).min(chars.len());
    // A window around the caret, so that a line of a megabyte is no message of a megabyte.
    let from = caret.saturating_sub(EXCERPT_WIDTH / 2);
    let window: String = chars
        .iter()
        .skip(from)
        .take(EXCERPT_WIDTH)
        .map(|&char| if char == '\t' { ' ' } else { char })
        .collect();
    let number = line.to_string();
    let mut out = format!("  {number} | {}", window.trim_end());
    if column > 0 {
        out.push_str(&format!(
            "\n  {} | {}^",
            " ".repeat(number.len()),
            " ".repeat(caret - from)
        ));
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_points_at_its_column() {
        assert_eq!(
            excerpt("a\nb: {{ .c }}\n", 2, 7).unwrap(),
            "  2 | b: {{ .c }}\n    |       ^"
        );
        assert_eq!(excerpt("a", 3, 1), None);
        let long = "x".repeat(1000);
        assert!(excerpt(&long, 1, 900).unwrap().len() < 400);
    }
}
