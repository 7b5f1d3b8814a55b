//! Which objects a patch or a replacement is for.

use roadstead_sprig::go::regexp::Regexp;

use crate::diag::Fault;
use crate::id::{Gvk, ResId};
use crate::node::Step;
use crate::objects::Objects;
use crate::resource::Item;

/// Patterns for what names an object, and selectors of labels and annotations. What is empty is any.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Selector {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) namespace: String,
    pub(crate) annotation_selector: String,
    pub(crate) label_selector: String,
}

/// A selector whose patterns are compiled.
pub(crate) struct Compiled<'a> {
    selector: &'a Selector,
    parts: [Option<Regexp>; 5],
    labels: Labels,
    annotations: Labels,
}

impl Selector {
    pub(crate) fn compile(&self) -> Step<Compiled<'_>> {
        let part = |field: &str, text: &str| {
            if text.is_empty() {
                return Ok(None);
            }
            let pattern = format!("^(?:{text})$");
            match Regexp::new(pattern.as_bytes()) {
                Ok(pattern) => Ok(Some(pattern)),
                Err(error) => Err(Fault::new(format!("{field} {text:?}: {error}"))),
            }
        };
        Ok(Compiled {
            selector: self,
            parts: [
                part("group", &self.group)?,
                part("version", &self.version)?,
                part("kind", &self.kind)?,
                part("name", &self.name)?,
                part("namespace", &self.namespace)?,
            ],
            labels: Labels::parse(&self.label_selector)?,
            annotations: Labels::parse(&self.annotation_selector)?,
        })
    }

    /// The numbers of the objects that fit.
    pub(crate) fn select(&self, objects: &Objects) -> Step<Vec<usize>> {
        let compiled = self.compile()?;
        let mut out = Vec::new();
        for (at, item) in objects.iter().enumerate() {
            let (now, first) = (item.id(), item.first_id());
            let fits = |own: &ResId| compiled.part(4, own.place());
            let named = |own: &ResId| compiled.part(3, &own.name);
            if (fits(&first) || fits(&now))
                && (named(&first) || named(&now))
                && compiled.gvk(&now.gvk)
                && compiled.marked(item)
            {
                out.push(at);
            }
        }
        Ok(out)
    }
}

impl Compiled<'_> {
    fn part(&self, at: usize, text: &str) -> bool {
        let part = self.parts[at].as_ref();
        part.is_none_or(|pattern| pattern.is_match(text.as_bytes()))
    }

    fn gvk(&self, gvk: &Gvk) -> bool {
        self.part(0, &gvk.group) && self.part(1, &gvk.version) && self.part(2, &gvk.kind)
    }

    /// Does a name fit?
    pub(crate) fn fits(&self, id: &ResId) -> bool {
        self.gvk(&id.gvk) && self.part(3, &id.name) && self.part(4, &id.namespace)
    }

    /// Does it say anything of names?
    pub(crate) fn names_any(&self) -> bool {
        self.parts.iter().any(Option::is_some)
    }

    /// Does it say anything of labels or annotations?
    pub(crate) fn marks_any(&self) -> bool {
        !self.selector.label_selector.is_empty() || !self.selector.annotation_selector.is_empty()
    }

    /// Do labels and annotations fit?
    pub(crate) fn marked(&self, item: &Item) -> bool {
        let fits = |labels: &Labels, name: &str| {
            labels.0.is_empty() || labels.fits(&item.tree.meta_map(name))
        };
        fits(&self.annotations, "annotations") && fits(&self.labels, "labels")
    }
}

/// A selector of labels: `a=b, c!=d, e in (f, g), h, !i, j > 1`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Labels(Vec<(String, Wanted)>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Wanted {
    In(Vec<String>),
    NotIn(Vec<String>),
    There,
    NotThere,
    More(i64),
    Less(i64),
}

impl Labels {
    fn parse(text: &str) -> Step<Self> {
        let mut out = Vec::new();
        let fail = |what: &str| {
            Err(Fault::new(format!("selector {text:?}: {what}"))
                .hint("write a=b, a!=b, a in (b, c), a notin (b, c), a or !a, with commas between"))
        };
        let mut rest = text.trim();
        while !rest.is_empty() {
            // a comma in brackets does not end a part
            let mut depth = 0;
            let end = rest.find(|c| {
                match c {
                    '(' => depth += 1,
                    ')' => depth -= 1,
                    _ => {}
                }
                c == ',' && depth == 0
            });
            let part = rest[..end.unwrap_or(rest.len())].trim();
            rest = match end {
                Some(end) if rest[end + 1..].trim().is_empty() => {
                    return fail("it ends with a comma");
                }
                Some(end) => rest[end + 1..].trim(),
                None => "",
            };
            let one = |value: &str| vec![value.trim().to_owned()];
            let wanted = if let Some(name) = part.strip_prefix('!') {
                (name.trim(), Wanted::NotThere)
            } else if let Some((name, value)) = part.split_once("!=") {
                (name, Wanted::NotIn(one(value)))
            } else if let Some((name, value)) = part.split_once("==") {
                (name, Wanted::In(one(value)))
            } else if let Some((name, value)) = part.split_once('=') {
                (name, Wanted::In(one(value)))
            } else if let Some((name, value)) = part.split_once('>') {
                match value.trim().parse() {
                    Ok(value) => (name, Wanted::More(value)),
                    Err(_) => return fail("> wants an integer"),
                }
            } else if let Some((name, value)) = part.split_once('<') {
                match value.trim().parse() {
                    Ok(value) => (name, Wanted::Less(value)),
                    Err(_) => return fail("< wants an integer"),
                }
            } else if let Some((head, list)) = part.split_once('(') {
                let Some(list) = list.trim_end().strip_suffix(')') else {
                    return fail("a bracket is not closed");
                };
                let values = list.split(',').map(|v| v.trim().to_owned()).collect();
                match head.trim().rsplit_once(char::is_whitespace) {
                    Some((name, "in")) => (name, Wanted::In(values)),
                    Some((name, "notin")) => (name, Wanted::NotIn(values)),
                    _ => return fail("a list stands behind in or notin"),
                }
            } else {
                (part, Wanted::There)
            };
            let name = wanted.0.trim();
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
            if name.is_empty() || !name.chars().all(plain) {
                return fail(&format!("{name:?} is no name of a label"));
            }
            let values = match &wanted.1 {
                Wanted::In(values) | Wanted::NotIn(values) => &values[..],
                _ => &[],
            };
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
            let bad = |v: &&String| v.len() > 63 || !v.chars().all(plain);
            if let Some(bad) = values.iter().find(bad) {
                return fail(&format!("{bad:?} is no value of a label"));
            }
            out.push((name.to_owned(), wanted.1));
        }
        Ok(Self(out))
    }

    fn fits(&self, labels: &[(std::sync::Arc<str>, std::sync::Arc<str>)]) -> bool {
        self.0.iter().all(|(name, wanted)| {
            let found = labels.iter().find(|(key, _)| **key == **name);
            let value = found.map(|(_, value)| &**value);
            let number = value.and_then(|value| value.parse::<i64>().ok());
            match wanted {
                Wanted::In(values) => value.is_some_and(|v| values.iter().any(|w| w == v)),
                Wanted::NotIn(values) => value.is_none_or(|v| values.iter().all(|w| w != v)),
                Wanted::There => value.is_some(),
                Wanted::NotThere => value.is_none(),
                Wanted::More(than) => number.is_some_and(|number| number > *than),
                Wanted::Less(than) => number.is_some_and(|number| number < *than),
            }
        })
    }
}
