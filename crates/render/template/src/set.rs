//! Sets of templates that know each other by name.

use std::collections::hash_map::{DefaultHasher, HashMap};
use std::hash::BuildHasherDefault;
use std::sync::{Arc, Mutex, PoisonError};

use crate::builtin::Builtin;
use crate::code::Code;
use crate::compile::compile;
use crate::error::{Error, ErrorKind, Place};
use crate::functions::Functions;
use crate::parse::{self, Ast, NodeId};
use crate::text::Str;

/// A file's templates, compiled: its own and those that it defines. It can be part of many sets.
#[derive(Debug)]
pub struct Unit {
    pub(crate) name: Arc<str>,
    pub(crate) text: Str,
    pub(crate) ast: Ast,
    pub(crate) code: Code,
    templates: Vec<Compiled>,
    functions: Arc<Functions>,
}

#[derive(Debug)]
struct Compiled {
    name: Str,
    entry: u32,
    empty: bool,
}

impl Unit {
    /// Parses and compiles a text. `name` is the name of its own template, and what errors call the file.
    pub fn parse(
        name: &str,
        text: impl Into<Str>,
        functions: &Arc<Functions>,
    ) -> Result<Self, Box<Error>> {
        let text = text.into();
        let own = Str::from(name);
        if u32::try_from(text.len()).is_err() {
            return Err(Box::new(Error {
                kind: ErrorKind::Parse,
                go: format!("template: {name}: the text is longer than 4 GiB"),
                message: "the text is longer than 4 GiB".to_owned(),
                place: None,
                stack: Vec::new(),
            }));
        }
        let is_function = |name: &[u8]| {
            std::str::from_utf8(name)
                .is_ok_and(|name| functions.find(name).is_some() || Builtin::find(name).is_some())
        };
        let name: Arc<str> = name.into();
        let parsed = parse::parse(&own, &text, &is_function).map_err(|error| {
            let message = error.message.replace('\0', &name);
            Box::new(Error {
                kind: ErrorKind::Parse,
                go: format!("template: {name}:{}: {message}", error.line),
                message,
                place: Some(place(&name, &text, error.span.clone())),
                stack: Vec::new(),
            })
        })?;
        let (code, entries) = compile(&parsed.ast, &parsed.trees, functions);
        let templates = parsed
            .trees
            .iter()
            .zip(entries)
            .map(|((name, root), entry)| Compiled {
                name: name.clone(),
                entry,
                empty: parsed.ast.is_empty(*root),
            });
        let templates = templates.collect();
        Ok(Self {
            name,
            text,
            ast: parsed.ast,
            code,
            templates,
            functions: functions.clone(),
        })
    }

    /// The name that it was parsed under.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its text.
    pub fn text(&self) -> &Str {
        &self.text
    }

    /// The names of its templates: its own, and those that it defines.
    pub fn templates(&self) -> impl Iterator<Item = &Str> {
        self.templates.iter().map(|template| &template.name)
    }

    /// Whether its own template is nothing but space and comments.
    pub fn is_empty(&self) -> bool {
        self.templates
            .iter()
            .any(|template| template.empty && template.name == *self.name)
    }

    /// Its own template, whatever a set makes of the name.
    pub(crate) fn own(self: &Arc<Self>) -> Option<Template> {
        let own = self
            .templates
            .iter()
            .find(|template| template.name == *self.name)?;
        Some(Template {
            name: own.name.clone(),
            unit: self.clone(),
            entry: own.entry,
        })
    }

    pub(crate) fn place(&self, node: NodeId) -> Place {
        let at = self.ast.position(node);
        place(&self.name, &self.text, at..self.ast.end(node).max(at))
    }
}

fn place(file: &Arc<str>, text: &[u8], span: std::ops::Range<usize>) -> Place {
    let before = &text[..span.start.min(text.len())];
    let line_start = before
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |at| at + 1);
    Place {
        file: file.clone(),
        line: 1 + before.iter().filter(|byte| **byte == b'\n').count(),
        column: before.len() - line_start + 1,
        span,
    }
}

/// Names to something. The hash is a fixed one, so that all runs are alike, and a strong one: who writes a template
/// chooses its name.
pub(crate) type Names<T> = HashMap<Str, T, BuildHasherDefault<DefaultHasher>>;

/// One template of a set.
#[derive(Debug, Clone)]
pub(crate) struct Template {
    pub(crate) name: Str,
    pub(crate) unit: Arc<Unit>,
    pub(crate) entry: u32,
}

/// What a missing key of a map gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MissingKey {
    /// Nothing: `missingkey=invalid`, Go's default.
    #[default]
    Default,
    /// The zero value of the map's elements: `missingkey=zero`.
    Zero,
    /// An error: `missingkey=error`.
    Error,
}

/// Templates that know each other by name, from any number of files. Send and Sync; a clone shares what there is.
#[derive(Debug, Clone)]
pub struct Set {
    functions: Arc<Functions>,
    missing_key: MissingKey,
    name: Arc<str>,
    layer: Arc<Layer>,
}

#[derive(Debug, Clone, Default)]
struct Layer {
    below: Option<Arc<Layer>>,
    templates: Names<Template>,
}

impl Layer {
    fn get(&self, name: &[u8]) -> Option<&Template> {
        let mut layer = self;
        loop {
            if let Some(template) = layer.templates.get(name) {
                return Some(template);
            }
            layer = layer.below.as_deref()?;
        }
    }
}

impl Set {
    /// An empty set. All units that are added must have been parsed with the same table of functions.
    pub fn new(functions: &Arc<Functions>) -> Self {
        Self {
            functions: functions.clone(),
            missing_key: MissingKey::default(),
            name: "".into(),
            layer: Arc::default(),
        }
    }

    /// Sets what a missing key gives.
    pub fn with_missing_key(mut self, missing_key: MissingKey) -> Self {
        self.missing_key = missing_key;
        self
    }

    /// Sets the name of the set's first template, which one error text of Go names.
    pub fn with_name(mut self, name: &str) -> Self {
        self.name = name.into();
        self
    }

    /// Adds a file's templates. One that is there already is replaced, unless the new one is nothing but space and comments.
    ///
    /// Panics if the unit was parsed with another table of functions.
    pub fn add(&mut self, unit: &Arc<Unit>) {
        assert!(
            Arc::ptr_eq(&self.functions, &unit.functions),
            "one table of functions for a set and its units"
        );
        for template in &unit.templates {
            if template.empty && self.layer.get(&template.name).is_some() {
                continue;
            }
            let name = template.name.clone();
            let template = Template {
                name: name.clone(),
                unit: unit.clone(),
                entry: template.entry,
            };
            Arc::make_mut(&mut self.layer)
                .templates
                .insert(name, template);
        }
    }

    /// The same set with a layer of its own on top: what is added there is seen by nobody who holds this one.
    pub fn overlay(&self) -> Self {
        let layer = Layer {
            below: Some(self.layer.clone()),
            templates: Names::default(),
        };
        Self {
            layer: Arc::new(layer),
            ..self.clone()
        }
    }

    /// Whether there is such a template.
    pub fn contains(&self, name: &str) -> bool {
        self.layer.get(name.as_bytes()).is_some()
    }

    /// The functions that its templates may call.
    pub fn functions(&self) -> &Arc<Functions> {
        &self.functions
    }

    /// What a missing key gives.
    pub fn missing_key(&self) -> MissingKey {
        self.missing_key
    }

    pub(crate) fn get(&self, name: &[u8]) -> Option<&Template> {
        self.layer.get(name)
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}

/// Texts that were parsed while executing (`tpl`), so that the same one is parsed once for all renders of a set.
#[derive(Debug)]
pub struct TextCache {
    inner: Mutex<CacheInner>,
    max_bytes: usize,
}

type CacheKey = (Str, Str);

#[derive(Debug, Default)]
struct CacheInner {
    units: HashMap<CacheKey, Arc<Unit>, BuildHasherDefault<DefaultHasher>>,
    bytes: usize,
}

impl TextCache {
    /// A cache of so many bytes of texts; when it is full it starts anew. The compiled form takes about ten times as much.
    pub fn new(max_bytes: usize) -> Self {
        Self {
            inner: Mutex::default(),
            max_bytes,
        }
    }

    /// The unit of a text under a name, parsed if it is not known. Texts that are no templates are not kept.
    pub fn unit(
        &self,
        name: &Str,
        text: &Str,
        functions: &Arc<Functions>,
    ) -> Result<Arc<Unit>, Box<Error>> {
        let key = (name.clone(), text.clone());
        let lock = || self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(unit) = lock().units.get(&key)
            && Arc::ptr_eq(&unit.functions, functions)
        {
            return Ok(unit.clone());
        }
        let unit = Arc::new(Unit::parse(&name.to_text(), text.clone(), functions)?);
        if text.len() <= self.max_bytes / 4 {
            let mut inner = lock();
            if inner.bytes + text.len() > self.max_bytes {
                *inner = CacheInner::default();
            }
            inner.bytes += text.len();
            inner.units.insert(key, unit.clone());
        }
        Ok(unit)
    }
}

impl Default for TextCache {
    fn default() -> Self {
        Self::new(4 << 20)
    }
}
