//! Which values a piece of a template reads, and who set them.
//!
//! It reads the template's text around the place that failed, as a person would: variables and blocks that stand for a
//! path below `.Values` count as that path. What it cannot follow it leaves out.

use crate::diag::{Place, SetBy};
use crate::engine::Compiled;
use crate::values::layers::Layer;

/// What a dot or a variable stands for.
#[derive(Debug, Clone, PartialEq)]
struct Meaning {
    /// The path below `.Values`.
    path: String,
    /// It is that value itself, and no element of it.
    whole: bool,
}

impl Meaning {
    fn field(&self, names: &str) -> Self {
        match (self.whole, self.path.as_str(), names) {
            (false, ..) | (_, _, "") => self.clone(),
            (true, "", names) => Self {
                path: names.to_owned(),
                whole: true,
            },
            (true, path, names) => Self {
                path: format!("{path}.{names}"),
                whole: true,
            },
        }
    }
}

/// What stands for what at one place of a template.
#[derive(Debug, Clone, Default)]
struct Names {
    dot: Option<Meaning>,
    /// Nothing has moved the dot, so `.Values` is what it is called.
    top: bool,
    variables: Vec<(String, Option<Meaning>)>,
}

impl Names {
    /// What a path such as `.Values.a.b`, `$x.y` or `.z` stands for.
    fn meaning(&self, operand: &str) -> Option<Meaning> {
        let (first, rest) = match operand.strip_prefix('.') {
            Some(rest) => (".", rest),
            None => operand.split_once('.').unwrap_or((operand, "")),
        };
        let values = |rest: &str| {
            let path = rest.strip_prefix("Values")?;
            let path = path.strip_prefix('.').or(path.is_empty().then_some(""))?;
            Some(Meaning {
                path: path.to_owned(),
                whole: true,
            })
        };
        match first {
            "." if self.top => values(rest),
            // where the dot is unknown, it is likely the one of the chart
            "." => match &self.dot {
                Some(dot) => Some(dot.field(rest)),
                None => values(rest),
            },
            "$" => values(rest),
            name => {
                let mut known = self.variables.iter().rev();
                let (_, meaning) = known.find(|(known, _)| known == name)?;
                meaning.as_ref().map(|meaning| meaning.field(rest))
            }
        }
    }

    /// All that a piece of a template reads.
    fn read(&self, piece: &str) -> Vec<String> {
        let mut out: Vec<String> = Vec::new();
        for operand in operands(piece) {
            if let Some(Meaning { path, .. }) = self.meaning(operand)
                && !path.is_empty()
                && !out.contains(&path)
            {
                out.push(path);
            }
        }
        out
    }
}

/// The fields and variables of a piece of a template, with what stands in quotes left out.
fn operands(piece: &str) -> Vec<&str> {
    let part = |char: char| char.is_alphanumeric() || "_.$".contains(char);
    let mut out = Vec::new();
    let mut begun: Option<usize> = None;
    let mut quoted: Option<char> = None;
    let mut escaped = false;
    for (at, char) in piece.char_indices().chain([(piece.len(), ' ')]) {
        if let Some(quote) = quoted {
            if char == quote && !escaped {
                quoted = None;
            }
            escaped = char == '\\' && quote == '"' && !escaped;
            continue;
        }
        match (begun, part(char)) {
            (None, true) => begun = Some(at),
            (Some(from), false) => {
                let operand = piece[from..at].trim_end_matches('.');
                if operand.starts_with(['.', '$']) || &piece[from..at] == "." {
                    out.push(if operand.is_empty() { "." } else { operand });
                }
                begun = None;
            }
            _ => {}
        }
        if char == '"' || char == '`' {
            quoted = Some(char);
        }
    }
    out
}

/// The paths below `.Values` that were read where a template failed: by the expression that failed, else by the whole
/// action around it.
pub(crate) fn read_at(expression: &str, text: &str, place: &Place) -> Vec<String> {
    let Some(at) = offset(text, place) else {
        return names_at("", 0).0.read(expression);
    };
    let (names, action) = names_at(text, at);
    let read = names.read(expression);
    if read.is_empty() {
        names.read(action)
    } else {
        read
    }
}

fn offset(text: &str, place: &Place) -> Option<usize> {
    let lines = text.split_inclusive('\n');
    let before: usize = lines.take(place.line.checked_sub(1)?).map(str::len).sum();
    let line = text.get(before..)?;
    let column = place.column.saturating_sub(1);
    let inside = line.char_indices().nth(column).map(|(at, _)| at);
    Some(before + inside.unwrap_or(line.len()))
}

/// What stands for what at a place, and the action around it.
fn names_at(text: &str, at: usize) -> (Names, &str) {
    let mut names = Names {
        top: true,
        ..Names::default()
    };
    let mut blocks: Vec<Names> = Vec::new();
    let mut from = 0;
    while let Some(begin) = text[from..].find("{{").map(|found| from + found + 2) {
        let end = text[begin..].find("}}").map_or(text.len(), |it| begin + it);
        let action = text[begin..end].trim_matches(['-', ' ', '\t', '\n', '\r']);
        if begin > at {
            break;
        }
        if end >= at {
            return (names, action);
        }
        from = end;
        if action.starts_with("/*") {
            continue;
        }
        let (word, rest) = action
            .split_once(|char: char| char.is_whitespace())
            .unwrap_or((action, ""));
        match word {
            "end" => names = blocks.pop().unwrap_or(names),
            "else" => {
                if let Some(outer) = blocks.last() {
                    names.clone_from(outer);
                }
                if let Some(rest) = rest.strip_prefix("with ") {
                    names.enter("with", rest);
                }
            }
            "define" | "block" => {
                blocks.push(names);
                // what it is given is mostly the chart's own dot
                names = Names::default();
            }
            "if" | "with" | "range" => {
                blocks.push(names.clone());
                names.enter(word, rest);
            }
            _ => {
                let (variables, given) = declared(action);
                for variable in variables {
                    let meaning = names.whole(given);
                    names.variables.push((variable.to_owned(), meaning));
                }
            }
        }
    }
    (names, "")
}

impl Names {
    /// Begins a block.
    fn enter(&mut self, word: &str, what: &str) {
        let (variables, given) = declared(what);
        let mut meaning = self.whole(given);
        if word == "range" {
            meaning = meaning.map(|meaning| Meaning {
                whole: false,
                ..meaning
            });
        }
        if word != "if" {
            self.dot.clone_from(&meaning);
            self.top = false;
        }
        if let Some(last) = variables.last() {
            self.variables.push(((*last).to_owned(), meaning));
        }
    }

    /// What an expression stands for, if it is one field or variable, perhaps with a default.
    fn whole(&self, expression: &str) -> Option<Meaning> {
        let first = expression.split('|').next()?.trim();
        let first = first.trim_start_matches('(').trim_end_matches(')');
        let part = |char: char| char.is_alphanumeric() || "_.$".contains(char);
        let plain = first.starts_with(['.', '$']) && first.chars().all(part);
        plain.then(|| self.meaning(first)).flatten()
    }
}

/// The variables that an action declares or sets, and what it gives them.
fn declared(action: &str) -> (Vec<&str>, &str) {
    let (left, right) = match action.split_once(":=") {
        Some(parts) => parts,
        None => match action.split_once(" = ") {
            Some(parts) => parts,
            None => return (Vec::new(), action.trim()),
        },
    };
    let names: Vec<&str> = left.split(',').map(str::trim).collect();
    if names.iter().all(|name| name.starts_with('$')) {
        (names, right.trim())
    } else {
        (Vec::new(), action.trim())
    }
}

/// Who sets a value: the last layer that does, else the chart's own defaults. Where nobody does, who sets the nearest
/// value around it.
pub(crate) fn set_by(path: &str, chart: &str, layers: &[Layer], compiled: &Compiled) -> SetBy {
    let find = |path: &str| placed(path, chart, layers, compiled);
    let place = find(path);
    let mut around = None;
    let mut inner = path;
    while place.is_none()
        && around.is_none()
        && let Some((outer, _)) = inner.rsplit_once('.')
    {
        around = find(outer).map(|place| (outer.to_owned(), place));
        inner = outer;
    }
    SetBy {
        path: path.to_owned(),
        place,
        around,
    }
}

fn placed(path: &str, chart: &str, layers: &[Layer], compiled: &Compiled) -> Option<Place> {
    let own = match chart {
        "" => path.to_owned(),
        chart => format!("{chart}.{path}"),
    };
    // what is global is set for all charts at once
    let global = (!chart.is_empty() && path.starts_with("global.")).then(|| path.to_owned());
    for full in [Some(own), global].into_iter().flatten() {
        if let Some(place) = layers.iter().rev().find_map(|layer| layer.sets(&full)) {
            return Some(place);
        }
        // A parent's defaults win over its child's.
        let default = compiled.defaults().find_map(|(below, folder, text)| {
            let inner = if below.is_empty() {
                full.as_str()
            } else {
                full.strip_prefix(&below)?.strip_prefix('.')?
            };
            let line = line_of(text, inner)?;
            Some(Place {
                file: format!("{folder}values.yaml"),
                line,
                column: 0,
            })
        });
        if default.is_some() {
            return default;
        }
    }
    None
}

/// The line of a YAML file that sets a path; a value in braces counts as its line.
pub(crate) fn line_of(text: &[u8], path: &str) -> Option<usize> {
    let text = String::from_utf8_lossy(text);
    let names: Vec<&str> = path.split('.').collect();
    // the keys above the present line with their indents
    let mut open: Vec<(usize, String)> = Vec::new();
    let mut best: Option<(usize, usize)> = None;
    for (number, line) in text.lines().enumerate() {
        let trimmed = line.trim_start();
        if trimmed.is_empty() || trimmed.starts_with(['#', '-']) {
            continue;
        }
        let indent = line.len() - trimmed.len();
        let Some((key, _)) = trimmed.split_once(':') else {
            continue;
        };
        while open.last().is_some_and(|(other, _)| *other >= indent) {
            open.pop();
        }
        open.push((indent, key.trim_matches(['"', '\'']).to_owned()));
        let common = open
            .iter()
            .zip(&names)
            .take_while(|((_, key), name)| key == *name)
            .count();
        if common == open.len() && best.is_none_or(|(most, _)| common > most) {
            best = Some((common, number + 1));
        }
    }
    let (found, line) = best?;
    // A parent that is there says at least where the path would have to stand, but does not set it.
    (found == names.len()).then_some(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The place is where `@` stands.
    fn check(template: &str, expression: &str, wanted: &[&str]) {
        let at = template.find('@').unwrap();
        let before = &template[..at];
        let place = Place {
            file: String::new(),
            line: before.matches('\n').count() + 1,
            column: before.rsplit('\n').next().unwrap().chars().count() + 1,
        };
        let text = template.replacen('@', "", 1);
        assert_eq!(read_at(expression, &text, &place), wanted, "{template}");
    }

    #[test]
    fn variables_and_blocks_stand_for_values() {
        check("{{ @.Values.a.b }}", ".Values.a.b", &["a.b"]);
        check(
            "{{ $image := .Values.image }}\n{{ printf \"%s\" ($image.name | @trim) }}",
            "trim",
            &["image.name"],
        );
        check(
            "{{- with .Values.a }}{{ range .list }}{{ @.y.z }}{{ end }}{{ end }}",
            ".y.z",
            &["a.list"],
        );
        check(
            "{{ range $k, $v := .Values.a }}{{ $v | @upper }}{{ end }}",
            "upper",
            &["a"],
        );
        check(
            "{{ with .Values.a }}{{ end }}{{ with .Values.b }}x{{ else }}{{ @.Values.c }}{{ end }}{{ .d }}",
            ".Values.c",
            &["c"],
        );
        check(
            "{{ with .Values.a }}{{ @$.Values.b }}{{ .c }}{{ end }}",
            "$.Values.b",
            &["b"],
        );
        check(
            "{{ @include \"x\" (dict \"a\" .Values.a.b \"c\" $.Values.c) }}",
            "include \"x\" (dict \"a\" .Values.a.b \"c\" $.Values.c)",
            &["a.b", "c"],
        );
        check("{{/* .Values.x */}}{{ @fail \".Values.y\" }}", "fail", &[]);
        check("{{ @include \"x\" . }}", "include \"x\" .", &[]);
        check(
            "{{ define \"x\" }}{{ @required \"m\" .Values.p }}{{ end }}",
            "required \"m\" .Values.p",
            &["p"],
        );
    }

    #[test]
    fn the_line_that_sets_a_value_is_found() {
        let text = b"# x\na: 1\nb:\n  c:\n    d: 1\n  e: {f: 1}\nc:\n  d: 2\n";
        assert_eq!(line_of(text, "a"), Some(2));
        assert_eq!(line_of(text, "b.c.d"), Some(5));
        assert_eq!(line_of(text, "c.d"), Some(8));
        assert_eq!(line_of(text, "b.x"), None);
    }
}
