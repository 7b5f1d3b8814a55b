//! One kustomization after the other: resources, generators, components, transformers, validators, variables.

use std::sync::Arc;

use super::load::Failure;
use super::{Folder, Kfile, Run, Sum};
use crate::diag::{Error, Fault};
use crate::fieldspec::{BackReference, FieldSpec, Specs};
use crate::files::within;
use crate::generate;
use crate::id::{Gvk, ResId};
use crate::kfile::{GeneratorOptions, HelmChart, Mode, Part, RawSpec, Shape, read};
use crate::node::{Step, Tree, parse};
use crate::objects::Objects;
use crate::origin::Origin;
use crate::plugin;
use crate::resource::{Item, ORIGIN, TRANSFORMATIONS};
use crate::schema::{self, Schema};
use crate::transform::vars::{self, Var};

/// Where a build is.
pub(crate) struct Context<'c> {
    pub(crate) folder: &'c Folder,
    pub(crate) parent: Option<&'c Context<'c>>,
    pub(crate) origin: Option<Origin>,
    pub(crate) helm_namespace: String,
    pub(crate) depth: usize,
}

/// The way to a field of a kustomization.
pub(crate) fn field(name: &str) -> Vec<Part> {
    vec![Part::Field(name.to_owned())]
}

/// The way to an item of a list.
pub(crate) fn item(name: &str, number: usize) -> Vec<Part> {
    vec![Part::Field(name.to_owned()), Part::Index(number)]
}

impl Run<'_> {
    /// Adds a kustomization to what came before.
    pub(crate) fn accumulate(
        &mut self,
        context: &Context<'_>,
        kfile: &Kfile,
        mut sum: Sum,
    ) -> Result<Sum, Error> {
        self.deprecations(kfile, &mut sum);
        for (number, path) in kfile.k.resources.iter().enumerate() {
            self.resource(context, kfile, path, &mut sum)
                .map_err(|failure| failure.error(kfile, &item("resources", number)))?;
        }
        self.configure(context, kfile, &mut sum)?;
        self.generate(context, kfile, &mut sum)?;
        for (number, path) in kfile.k.components.iter().enumerate() {
            sum = self
                .component(context, path, sum)
                .map_err(|failure| failure.error(kfile, &item("components", number)))?;
        }
        self.transform(context, kfile, &mut sum)?;
        self.validate(context, kfile, &mut sum)?;
        let vars = variables(kfile);
        vars::mark(&mut sum.objects, &vars).map_err(|f| kfile.error(&field("vars"), f))?;
        for (number, var) in vars.into_iter().enumerate() {
            add_var(&mut sum, var).map_err(|f| kfile.error(&item("vars", number), f))?;
        }
        Ok(sum)
    }

    fn deprecations(&self, kfile: &Kfile, sum: &mut Sum) {
        let k = &kfile.k;
        let old = [
            ("commonLabels", !k.common_labels.is_empty(), "labels"),
            ("patchesJson6902", !k.patches_json6902.is_empty(), "patches"),
            (
                "patchesStrategicMerge",
                !k.patches_strategic_merge.is_empty(),
                "patches",
            ),
            ("vars", !k.vars.is_empty(), "replacements"),
        ];
        for (name, used, new) in old {
            if used {
                let path = &kfile.path;
                sum.warnings
                    .push(format!("{path}: {name} is deprecated; use {new}"));
            }
        }
    }

    fn resource(
        &mut self,
        context: &Context<'_>,
        kfile: &Kfile,
        path: &str,
        sum: &mut Sum,
    ) -> Result<(), Failure> {
        let folder = context.folder;
        let remote = crate::Need::read(path);
        let is_folder = match &remote {
            Some(crate::Need::File { .. }) => false,
            Some(_) => true,
            None => Self::is_folder(folder, path),
        };
        if is_folder {
            let inner = self.enter(folder, path)?;
            let key = (
                inner.tree.clone(),
                inner.path.clone(),
                self.helm_namespace(context, kfile),
                self.options.anywhere,
            );
            let memoized = context.origin.is_none() && !self.schema_set;
            if memoized && let Some(known) = self.owner.recall(&key) {
                check_cycle(context, &inner)?;
                return add(sum, &known).map_err(Failure::from);
            }
            let more = Arc::new(self.base(context, kfile, path, &inner, Sum::default(), false)?);
            if memoized && !self.schema_set {
                self.owner.keep(key, &more);
            }
            return add(sum, &more).map_err(Failure::from);
        }
        let mut items = self.file(folder, path)?;
        if let Some(origin) = &context.origin {
            let text = origin.join(path).to_text();
            for item in &mut items {
                item.annotate(ORIGIN, Some(&text))?;
            }
        }
        let items = items.into_iter().map(Arc::new).collect();
        sum.objects.append(items)?;
        if sum.objects.len() > self.owner.limits.objects {
            let text = format!(
                "the build comes to more than {} objects",
                self.owner.limits.objects
            );
            return Err(Fault::new(text).into());
        }
        Ok(())
    }

    /// The objects of a file.
    pub(crate) fn file(&mut self, folder: &Folder, path: &str) -> Result<Vec<Item>, Failure> {
        let (bytes, shown) = self.load(folder, path)?;
        objects(&bytes, &shown).map_err(|fault| {
            let (line, column) = (fault.line, fault.column);
            Failure::from(Error::from(fault).in_file(&shown, &bytes, line, column))
        })
    }

    fn helm_namespace(&self, context: &Context<'_>, kfile: &Kfile) -> String {
        match kfile.k.namespace.as_str() {
            "" => context.helm_namespace.clone(),
            namespace => namespace.to_owned(),
        }
    }

    /// Builds a folder below the present one.
    fn base(
        &mut self,
        context: &Context<'_>,
        kfile: &Kfile,
        path: &str,
        inner: &Folder,
        sum: Sum,
        component: bool,
    ) -> Result<Sum, Failure> {
        check_cycle(context, inner)?;
        if context.depth >= self.owner.limits.depth {
            let text = format!(
                "kustomizations lie more than {} deep in each other",
                self.owner.limits.depth
            );
            return Err(Fault::new(text).into());
        }
        let own = self.kfile(inner)?;
        if component != (own.k.kind == "Component") {
            let (is, wanted, list) = if component {
                ("Kustomization", "Component", "resources")
            } else {
                ("Component", "Kustomization", "components")
            };
            let text = format!("{path:?} is of kind {is}, but a {wanted} is wanted here");
            return Err(Fault::new(text).hint(format!("list it in {list}")).into());
        }
        self.schema_of(inner, &own, false)?;
        let below = Context {
            folder: inner,
            parent: Some(context),
            origin: context.origin.as_ref().map(|origin| origin.join(path)),
            helm_namespace: self.helm_namespace(context, kfile),
            depth: context.depth + 1,
        };
        Ok(self.accumulate(&below, &own, sum)?)
    }

    /// Builds a component on what is there.
    pub(crate) fn component(
        &mut self,
        context: &Context<'_>,
        path: &str,
        sum: Sum,
    ) -> Result<Sum, Failure> {
        let inner = self.enter(context.folder, path)?;
        let kfile = Kfile {
            path: String::new(),
            name: "",
            bytes: bytes::Bytes::new(),
            k: crate::kfile::Kustomization::default(),
        };
        self.base(context, &kfile, path, &inner, sum, true)
    }

    /// Takes in another schema, if one is asked for.
    pub(crate) fn schema_of(
        &mut self,
        folder: &Folder,
        kfile: &Kfile,
        root: bool,
    ) -> Result<(), Error> {
        let openapi = &kfile.k.openapi;
        if openapi.is_empty() || self.schema_set && !root {
            return Ok(());
        }
        let at = field("openapi");
        if let Some(path) = openapi.get("path") {
            if openapi.contains_key("version") {
                let fault = Fault::new("openapi has both path and version; leave one");
                return Err(kfile.error(&at, fault));
            }
            let (bytes, shown) = self
                .load(folder, path)
                .map_err(|fault| kfile.error(&at, fault))?;
            let table = schema::read_custom(&bytes).map_err(|fault| {
                let (line, column) = (fault.line, fault.column);
                Error::from(fault).in_file(&shown, &bytes, line, column)
            })?;
            if !self.patched {
                self.schema = Schema::default();
            }
            self.schema.tables.push(Arc::new(table));
            self.schema_set = true;
            return Ok(());
        }
        match openapi.get("version").map(String::as_str) {
            None | Some("" | "v1.21.2") => Ok(()),
            Some(other) => {
                let text = format!("openapi version {other:?} is not known; v1.21.2 is");
                Err(kfile.error(&at, Fault::new(text)))
            }
        }
    }

    fn configure(
        &mut self,
        context: &Context<'_>,
        kfile: &Kfile,
        sum: &mut Sum,
    ) -> Result<(), Error> {
        let defaults = Specs::defaults();
        let mut specs = defaults.clone();
        for (number, path) in kfile.k.configurations.iter().enumerate() {
            let at = item("configurations", number);
            let (bytes, shown) = self
                .load(context.folder, path)
                .map_err(|fault| kfile.error(&at, fault))?;
            let more = configuration(&bytes)
                .map_err(|fault| Error::from(fault).in_file(&shown, &bytes, 0, 0))?;
            let merged = specs.merge(&more).map_err(|f| kfile.error(&at, f))?;
            specs = Arc::new(merged);
        }
        let all = match &sum.specs {
            None if Arc::ptr_eq(&specs, &defaults) => specs,
            // a path for one kind takes the place of the same path for all kinds, but only when it is added to nothing
            None => {
                let merged = Specs::default().merge(&specs);
                Arc::new(merged.map_err(|f| kfile.error(&field("configurations"), f))?)
            }
            Some(known) if Arc::ptr_eq(&specs, &defaults) && Arc::ptr_eq(known, &defaults) => specs,
            Some(known) => {
                let merged = known.merge(&specs);
                Arc::new(merged.map_err(|f| kfile.error(&field("configurations"), f))?)
            }
        };
        sum.specs = Some(all);
        for (number, path) in kfile.k.crds.iter().enumerate() {
            let at = item("crds", number);
            let (bytes, shown) = self
                .load(context.folder, path)
                .map_err(|fault| kfile.error(&at, fault))?;
            let more = plugin::crds(&bytes)
                .map_err(|fault| Error::from(fault).in_file(&shown, &bytes, 0, 0))?;
            let known = sum.specs.clone().unwrap_or_default();
            let merged = known.merge(&more).map_err(|f| kfile.error(&at, f))?;
            sum.specs = Some(Arc::new(merged));
        }
        Ok(())
    }

    fn generate(
        &mut self,
        context: &Context<'_>,
        kfile: &Kfile,
        sum: &mut Sum,
    ) -> Result<(), Error> {
        let k = &kfile.k;
        let lists = [
            ("configMapGenerator", &k.config_map_generator, false),
            ("secretGenerator", &k.secret_generator, true),
        ];
        for (name, list, secret) in lists {
            for (number, args) in list.iter().enumerate() {
                let mut args = args.clone();
                let global = k.generator_options.as_ref();
                args.options = GeneratorOptions::merged(args.options.as_ref(), global);
                let made = generate::make(&args, secret, &mut |path| {
                    self.load(context.folder, path).map(|found| found.0)
                });
                let kind = if secret {
                    "SecretGenerator"
                } else {
                    "ConfigMapGenerator"
                };
                let origin = context.origin.as_ref();
                let origin = origin.map(|origin| origin.built_in(kfile.name, kind));
                let done = made.and_then(|made| absorb(sum, vec![made], origin.as_ref()));
                done.map_err(|fault| kfile.error(&item(name, number), fault))?;
            }
        }
        for (number, chart) in k.helm_charts.iter().enumerate() {
            let mut chart = chart.clone();
            if chart.namespace.is_empty() {
                chart.namespace = self.helm_namespace(context, kfile);
            }
            let home = k.helm_globals.as_ref().map(|g| g.chart_home.as_str());
            let origin = context.origin.as_ref();
            let origin = origin.map(|o| o.built_in(kfile.name, "HelmChartInflationGenerator"));
            let made = self.chart(context.folder, &chart, home.unwrap_or_default());
            let done = made.and_then(|made| absorb(sum, made, origin.as_ref()));
            done.map_err(|fault| kfile.error(&item("helmCharts", number), fault))?;
        }
        for (number, text) in k.generators.iter().enumerate() {
            let at = item("generators", number);
            let configs = self
                .configs(context, kfile, text)
                .map_err(|failure| failure.error(kfile, &at))?;
            for config in configs.iter() {
                let origin = plugin::origin_of(config);
                let made = self.run_generator(context, config);
                let done = made.and_then(|made| absorb(sum, made, origin.as_ref()));
                done.map_err(|fault| kfile.error(&at, fault))?;
            }
        }
        Ok(())
    }

    /// The objects that configure a generator or transformer: written in its place, or in a file or folder.
    pub(crate) fn configs(
        &mut self,
        context: &Context<'_>,
        kfile: &Kfile,
        text: &str,
    ) -> Result<Objects, Failure> {
        let mut sum = Sum::default();
        match objects(text.as_bytes(), &kfile.path) {
            Ok(mut items) => {
                if let Some(origin) = &context.origin {
                    let text = origin.join(kfile.name).to_text();
                    for item in &mut items {
                        item.annotate(ORIGIN, Some(&text))?;
                    }
                }
                sum.objects
                    .append(items.into_iter().map(Arc::new).collect())?;
            }
            Err(fault) if text.contains('\n') => return Err(fault.into()),
            Err(_) => self.resource(context, kfile, text, &mut sum)?,
        }
        Ok(sum.objects)
    }

    fn transform(
        &mut self,
        context: &Context<'_>,
        kfile: &Kfile,
        sum: &mut Sum,
    ) -> Result<(), Error> {
        let changes = self.transformers(context, kfile, sum)?;
        for (change, kind, at) in changes {
            let fail = |fault| kfile.error(&at, fault);
            change.apply(&mut sum.objects, &self.schema).map_err(fail)?;
            if let Some(origin) = &context.origin {
                let by = origin.built_in(kfile.name, kind);
                note_change(&mut sum.objects, &by).map_err(fail)?;
            }
            sum.objects.drop_gone();
        }
        for (number, text) in kfile.k.transformers.iter().enumerate() {
            let at = item("transformers", number);
            self.external(context, kfile, text, &at, sum)?;
        }
        Ok(())
    }

    fn external(
        &mut self,
        context: &Context<'_>,
        kfile: &Kfile,
        text: &str,
        at: &[Part],
        sum: &mut Sum,
    ) -> Result<(), Error> {
        let configs = self
            .configs(context, kfile, text)
            .map_err(|failure| failure.error(kfile, at))?;
        for config in configs.iter() {
            let fail = |fault| kfile.error(at, fault);
            let changes = self.plugin(context, config).map_err(fail)?;
            for change in changes {
                change.apply(&mut sum.objects, &self.schema).map_err(fail)?;
            }
            if let Some(origin) = plugin::origin_of(config) {
                note_change(&mut sum.objects, &origin).map_err(fail)?;
            }
            sum.objects.drop_gone();
        }
        Ok(())
    }

    fn validate(
        &mut self,
        context: &Context<'_>,
        kfile: &Kfile,
        sum: &mut Sum,
    ) -> Result<(), Error> {
        for (number, text) in kfile.k.validators.iter().enumerate() {
            let at = item("validators", number);
            let before = sum.objects.clone();
            self.external(context, kfile, text, &at, sum)?;
            let same = before.len() == sum.objects.len()
                && before
                    .iter()
                    .zip(sum.objects.iter())
                    .all(|(a, b)| a.tree.to_value().ok() == b.tree.to_value().ok());
            if !same {
                let fault = Fault::new("a validator must not change objects, and this one does");
                return Err(kfile.error(&at, fault));
            }
        }
        Ok(())
    }

    /// Renders a chart of the tree.
    pub(crate) fn chart(
        &mut self,
        folder: &Folder,
        chart: &HelmChart,
        home: &str,
    ) -> Step<Vec<Item>> {
        let Some(options) = &self.options.helm else {
            return Err(Fault::new("charts are not rendered here")
                .hint("kustomize asks for --enable-helm as well"));
        };
        let options = options.clone();
        plugin::chart(self, folder, chart, home, &options)
    }
}

/// Reads the objects of a text, as kustomize takes them from a file.
pub(crate) fn objects(bytes: &[u8], shown: &str) -> Step<Vec<Item>> {
    let file: Arc<str> = shown.into();
    let mut out = Vec::new();
    let mut waiting: std::collections::VecDeque<Tree> = parse(bytes)?.into();
    while let Some(tree) = waiting.pop_front() {
        let root = tree.get(tree.root);
        if root.is_empty() {
            continue;
        }
        let item = checked(Item::new(tree, file.clone()))?;
        let Some(mut item) = item else { continue };
        let items = item.tree.field(item.tree.root, "items");
        if item.kind().ends_with("List")
            && let Some(items) = items
        {
            match item.tree.value(items)? {
                serde_json::Value::Null => {}
                serde_json::Value::Array(values) => {
                    for value in values {
                        if !value.is_null() {
                            waiting.push_back(Tree::from_value(&value, false));
                        }
                    }
                }
                _ => {
                    let node = item.tree.get(items);
                    let text = format!("items of a {} is no list", item.kind());
                    return Err(Fault::new(text).at(node.line, node.column));
                }
            }
            continue;
        }
        item.read_marks();
        out.push(item);
    }
    Ok(out)
}

/// Complains about what is no object.
fn checked(item: Item) -> Step<Option<Item>> {
    let tree = &item.tree;
    let root = tree.get(tree.root);
    let fault = |text: &str| Err(Fault::new(text).at(root.line, root.column));
    let full = |name: &str| {
        let found = tree.field(tree.root, name);
        found.filter(|&found| !tree.get(found).is_empty())
    };
    if root.kind != crate::node::Kind::Map {
        return fault("this is no object: a map with apiVersion, kind and metadata is wanted");
    }
    let Some(kind) = full("kind").map(|kind| tree.text(kind)) else {
        return fault("the object has no kind");
    };
    if !kind.ends_with("List") && item.name().is_empty() {
        return fault("the object has no metadata.name");
    }
    Ok(Some(item))
}

fn check_cycle(context: &Context<'_>, inner: &Folder) -> Step<()> {
    let mut at = Some(context);
    while let Some(outer) = at {
        if outer.folder.tree == inner.tree && within(&outer.folder.path, &inner.path) {
            let outermost = inner.path.is_empty() && inner.tree.is_empty();
            let text = format!(
                "folder {:?} holds {:?}, which is being built: that goes round",
                if outermost {
                    ".".to_owned()
                } else {
                    inner.shown(&inner.path)
                },
                outer.folder.shown(&outer.folder.path)
            );
            return Err(Fault::new(text));
        }
        at = outer.parent;
    }
    Ok(())
}

fn add(sum: &mut Sum, more: &Sum) -> Step<()> {
    sum.objects.append(more.objects.items.clone())?;
    sum.specs = match (sum.specs.take(), &more.specs) {
        (None, more) => more.clone(),
        (known, None) => known,
        (Some(known), Some(more)) if Arc::ptr_eq(&known, more) => Some(known),
        (Some(known), Some(more)) => Some(Arc::new(known.merge(more)?)),
    };
    for var in more.vars.values() {
        add_var(sum, var.clone())?;
    }
    sum.warnings.extend(more.warnings.iter().cloned());
    Ok(())
}

fn add_var(sum: &mut Sum, var: Var) -> Step<()> {
    if sum.vars.contains_key(&var.name) {
        return Err(Fault::new(format!("var {:?} is there already", var.name)));
    }
    sum.vars.insert(var.name.clone(), var);
    Ok(())
}

fn variables(kfile: &Kfile) -> Vec<Var> {
    let all = kfile.k.vars.iter();
    all.map(|var| {
        let own = &var.objref;
        let mut gvk = Gvk {
            group: own.group.as_str().into(),
            version: own.version.as_str().into(),
            kind: own.kind.as_str().into(),
        };
        match own.api_version.split('/').collect::<Vec<_>>()[..] {
            [group, version] => (gvk.group, gvk.version) = (group.into(), version.into()),
            [version] if !version.is_empty() => gvk.version = version.into(),
            _ => {}
        }
        Var {
            name: var.name.as_str().into(),
            object: ResId {
                gvk,
                name: own.name.as_str().into(),
                namespace: own.namespace.as_str().into(),
                cluster: false,
            },
            path: match var.fieldref.field_path.as_str() {
                "" => "metadata.name".to_owned(),
                path => path.to_owned(),
            },
        }
    })
    .collect()
}

fn absorb(sum: &mut Sum, mut made: Vec<Item>, origin: Option<&Origin>) -> Step<()> {
    if let Some(origin) = origin {
        for item in &mut made {
            if item.annotation(ORIGIN).is_none() {
                item.annotate(ORIGIN, Some(&origin.to_text()))?;
            }
        }
    }
    sum.objects.absorb(made)
}

fn note_change(objects: &mut Objects, by: &Origin) -> Step<()> {
    for at in 0..objects.len() {
        if objects.items[at].gone {
            continue;
        }
        let item = objects.get_mut(at);
        if item.annotation(ORIGIN).is_none() {
            item.annotate(ORIGIN, Some(&by.to_text()))?;
            continue;
        }
        let known = item.annotation(TRANSFORMATIONS).unwrap_or_default();
        item.annotate(TRANSFORMATIONS, Some(&by.added_to(&known)))?;
    }
    Ok(())
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RawSpecs {
    name_prefix: Vec<RawSpec>,
    name_suffix: Vec<RawSpec>,
    namespace: Vec<RawSpec>,
    common_labels: Vec<RawSpec>,
    labels: Vec<RawSpec>,
    template_labels: Vec<RawSpec>,
    common_annotations: Vec<RawSpec>,
    name_reference: Vec<RawReference>,
    var_reference: Vec<RawSpec>,
    images: Vec<RawSpec>,
    replicas: Vec<RawSpec>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RawReference {
    group: String,
    version: String,
    kind: String,
    field_specs: Vec<RawSpec>,
}

fn configuration(bytes: &[u8]) -> Step<Specs> {
    let value = base_yaml::go::yaml_to_json_strict(bytes).map_err(|e| Fault::new(e.text))?;
    let raw: RawSpecs = read(value, &Shape::CONFIGURATION, Mode::Strict)
        .map_err(|(at, text)| Fault::new(format!("{}: {text}", shown(&at))))?;
    let all = |list: &[RawSpec]| -> Vec<FieldSpec> { list.iter().map(RawSpec::spec).collect() };
    let references = raw.name_reference.iter().map(|one| BackReference {
        gvk: Gvk {
            group: one.group.as_str().into(),
            version: one.version.as_str().into(),
            kind: one.kind.as_str().into(),
        },
        from: all(&one.field_specs),
    });
    let mut specs = Specs {
        name_prefix: all(&raw.name_prefix),
        name_suffix: all(&raw.name_suffix),
        namespace: all(&raw.namespace),
        common_labels: all(&raw.common_labels),
        labels: all(&raw.labels),
        template_labels: all(&raw.template_labels),
        common_annotations: all(&raw.common_annotations),
        name_reference: references.collect(),
        var_reference: all(&raw.var_reference),
        images: all(&raw.images),
        replicas: all(&raw.replicas),
    };
    specs.sort();
    Ok(specs)
}

/// A way to a field, as text.
pub(crate) fn shown(at: &[Part]) -> String {
    let mut out = String::new();
    for part in at {
        match part {
            Part::Field(name) if out.is_empty() => out.push_str(name),
            Part::Field(name) => {
                out.push('.');
                out.push_str(name);
            }
            Part::Index(number) => out.push_str(&format!("[{number}]")),
        }
    }
    out
}
