//! From files to variants.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use base_json::Digest;
use bytes::Bytes;
use k8s_object::{Gvk, ObjectId, set_annotation, set_label};
use roadstead_dispatch::{
    APP_LABEL, OWNER_ANNOTATION, Phase, Variant, VariantObject, app_label, owner_annotation,
};
use roadstead_model::{AppKey, AppSpec, Overlay, ReleaseId, VariantId};
use roadstead_render::{
    Chart, ChartValues, Inputs, Kustomization, KustomizeInput, Origin, RenderSettings, Rendered,
    render,
};
use roadstead_target::{TargetInput, Uses, substitute};
use serde_json::Value;

use crate::changes::kustomize_input;
use crate::object::{normalise, without_nulls};
use crate::objects::{Objects, namespaces};
use crate::values::chart_values;
use crate::{BuildError, InputError, hooks, order, overlay};

/// What all variants of one Release share: the App as it was frozen, and its manifests, its chart or its
/// kustomization, read once.
#[derive(Debug)]
pub struct Prepared {
    spec: AppSpec,
    app: AppKey,
    /// The value of the short label.
    label: String,
    release: ReleaseId,
    content: Content,
    uses: Uses,
    served: Served,
}

/// What clusters serve (`group/version`, and `group/version/Kind`), by the digest that a target input names.
pub type Served = BTreeMap<String, Arc<Vec<String>>>;

/// What variants are made from.
#[derive(Debug)]
enum Content {
    /// The same objects for every cluster.
    Shared(Arc<Objects>),
    /// A chart, rendered for each set of values.
    Chart(Box<Chart>),
    /// A kustomization, built for each set of changes.
    Kustomization(Box<Kustomization>),
}

/// What makes a rendering differ from another of the same Release.
enum Differs {
    Nothing,
    Values(Box<ChartValues>),
    Changes(KustomizeInput),
}

impl Differs {
    fn digest(&self) -> Digest {
        match self {
            Self::Nothing => Digest::of(b""),
            Self::Values(values) => values.digest(),
            Self::Changes(changes) => changes.digest(),
        }
    }
}

/// Renders of a chart or a kustomization that are kept while variants are built: inputs that differ only in what overlays patch share one.
const KEPT: usize = 16;

/// Objects on their way into variants, and which of them are finished unchanged.
struct Work {
    objects: Arc<Objects>,
    finished: Vec<Option<Result<Finished, InputError>>>,
}

impl Work {
    fn new(objects: Arc<Objects>) -> Self {
        let finished = vec![None; objects.base.len()];
        Self { objects, finished }
    }
}

/// The variants of a Release.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Built {
    /// The variants; inputs that come out the same share one.
    pub variants: BTreeMap<VariantId, Variant>,
    /// Every object and every variant's list, as canonical JSON by digest.
    pub blobs: BTreeMap<Digest, Bytes>,
    /// What each input, by its digest, came out as.
    pub by_input: BTreeMap<Digest, Result<VariantId, InputError>>,
    /// What deserves a look.
    pub warnings: Vec<String>,
}

/// An object on its way into a variant; borrowed until an overlay changes it.
pub(crate) struct Draft<'p> {
    pub(crate) object: Cow<'p, Value>,
    pub(crate) origin: &'p Origin,
    /// Its place among the shared objects, while it is one of them unchanged.
    shared: Option<usize>,
}

impl Built {
    /// The error of the first input, when no input has a variant: then the Release itself has failed.
    pub fn failed(&self) -> Option<&InputError> {
        let mut errors = self.by_input.values().map(|outcome| outcome.as_ref().err());
        let first = errors.next()??;
        errors.all(|error| error.is_some()).then_some(first)
    }
}

impl Draft<'_> {
    pub(crate) fn replace(&mut self, object: Value) {
        self.object = Cow::Owned(object);
        self.shared = None;
    }

    /// Takes the object out, to be changed and put back by [`Self::replace`].
    pub(crate) fn take(&mut self) -> Value {
        std::mem::replace(&mut self.object, Cow::Owned(Value::Null)).into_owned()
    }

    pub(crate) fn readable(&self) -> String {
        ObjectId::of(&self.object).map_or_else(
            || k8s_object::kind(&self.object).to_owned(),
            |id| id.readable(),
        )
    }
}

/// An object that is finished: an entry and its bytes for each phase.
#[derive(Clone)]
struct Finished {
    entries: Vec<(VariantObject, Bytes)>,
    notes: Vec<String>,
}

impl Prepared {
    /// Reads an App's files. `spec` is the frozen App; the files are those of its first input, by their paths from the
    /// tree's root.
    pub fn new<B: AsRef<[u8]>>(
        app: &AppKey,
        spec: &AppSpec,
        release: ReleaseId,
        files: &BTreeMap<String, B>,
    ) -> Result<Self, BuildError> {
        let bytes = |bytes: &B| Bytes::copy_from_slice(bytes.as_ref());
        let files = files.iter().map(|(name, b)| (name.clone(), bytes(b)));
        let inputs = Inputs {
            first: files.collect(),
            ..Inputs::default()
        };
        Self::of(app, spec, release, &inputs)
    }

    /// Reads the files of all of an App's inputs.
    pub fn of(
        app: &AppKey,
        spec: &AppSpec,
        release: ReleaseId,
        inputs: &Inputs,
    ) -> Result<Self, BuildError> {
        if Kustomization::wanted(spec, inputs)? {
            let kustomization = Kustomization::of(app, spec, release, inputs)?;
            let uses = uses_of(spec, &[])?;
            let mut overlays = spec.overlays.iter();
            let varies = overlays.any(|overlay| overlay.kustomize.is_some());
            let content = match kustomize_input(spec, &TargetInput::default()) {
                // the same for every cluster: what is wrong with it is wrong with the Release
                Ok(changes) if !varies && uses.render.is_empty() => {
                    let (rendered, warnings) = kustomization.build(&changes)?;
                    let mut objects = Objects::new(rendered, false, &namespaces(spec, app));
                    objects.warnings.extend(warnings);
                    Content::Shared(Arc::new(objects))
                }
                _ => Content::Kustomization(Box::new(kustomization)),
            };
            return Ok(Self::with(app, spec, release, content, uses));
        }
        if Chart::wanted(spec, inputs) {
            let chart = Chart::compile(app, spec, release, inputs)?;
            let uses = uses_of(spec, &[])?;
            let content = Content::Chart(Box::new(chart));
            return Ok(Self::with(app, spec, release, content, uses));
        }
        let rendered = render(&inputs.first, &RenderSettings::of(spec))?;
        Self::of_rendered(app, spec, release, rendered)
    }

    /// The same from objects that are rendered already.
    pub fn of_rendered(
        app: &AppKey,
        spec: &AppSpec,
        release: ReleaseId,
        rendered: Vec<Rendered>,
    ) -> Result<Self, BuildError> {
        let substitute = spec.render.plain.substitute;
        if substitute {
            for one in &rendered {
                let mut found = BTreeSet::new();
                roadstead_target::collect(&one.object, &mut found).map_err(|problem| {
                    BuildError::Expression {
                        place: one.origin.to_string(),
                        problem,
                    }
                })?;
            }
        }
        let uses = uses_of(spec, &rendered)?;
        let objects = Objects::new(rendered, substitute, &namespaces(spec, app));
        let content = Content::Shared(Arc::new(objects));
        Ok(Self::with(app, spec, release, content, uses))
    }

    fn with(
        app: &AppKey,
        spec: &AppSpec,
        release: ReleaseId,
        content: Content,
        uses: Uses,
    ) -> Self {
        Self {
            spec: spec.clone(),
            app: app.clone(),
            label: app_label(app),
            release,
            content,
            uses,
            served: Served::new(),
        }
    }

    /// Takes in what clusters serve, where the App's charts are to see it.
    #[must_use]
    pub fn knowing(mut self, served: Served) -> Self {
        self.served = served;
        self
    }

    /// The expressions that the App uses, which is what target inputs are made from.
    pub fn uses(&self) -> &Uses {
        &self.uses
    }

    /// Makes the variant of each input. An input that fails fails alone.
    pub fn build<'i>(&self, inputs: impl IntoIterator<Item = &'i TargetInput>) -> Built {
        let mut built = Built::default();
        let mut works: BTreeMap<Digest, Result<Work, InputError>> = BTreeMap::new();
        let mut notes = BTreeSet::new();
        for input in inputs {
            let digest = input.digest();
            if built.by_input.contains_key(&digest) {
                continue;
            }
            let outcome = self
                .work(input, &mut works)
                .and_then(|work| {
                    notes.extend(work.objects.warnings.iter().cloned());
                    self.variant(input, work, &mut built.blobs, &mut notes)
                })
                .and_then(|variant| {
                    let bytes = base_json::canonical_of(&variant)
                        .map_err(|error| InputError::plain(error.to_string()))?;
                    let id = Digest::of(&bytes);
                    built.blobs.insert(id, bytes.into());
                    built.variants.insert(id, variant);
                    Ok(id)
                });
            built.by_input.insert(digest, outcome);
        }
        built.warnings.extend(notes);
        built
    }

    /// The objects of an input before its overlays: for a chart, what it renders with the input's values; for a
    /// kustomization, what it builds with the input's changes.
    fn work<'w>(
        &self,
        input: &TargetInput,
        works: &'w mut BTreeMap<Digest, Result<Work, InputError>>,
    ) -> Result<&'w mut Work, InputError> {
        let differs = match &self.content {
            Content::Shared(_) => Differs::Nothing,
            Content::Chart(_) => {
                let values = chart_values(&self.spec, input, &self.served)?;
                Differs::Values(Box::new(values))
            }
            Content::Kustomization(_) => Differs::Changes(kustomize_input(&self.spec, input)?),
        };
        let digest = differs.digest();
        if !works.contains_key(&digest) {
            if works.len() >= KEPT {
                works.clear();
            }
            let made = match (&self.content, &differs) {
                (Content::Shared(objects), _) => Ok(Work::new(Arc::clone(objects))),
                (Content::Chart(chart), Differs::Values(values)) => self.charted(chart, values),
                (Content::Kustomization(kustomization), Differs::Changes(changes)) => {
                    self.kustomized(kustomization, changes)
                }
                _ => Err(InputError::plain("nothing was rendered")),
            };
            works.insert(digest, made);
        }
        match works.get_mut(&digest) {
            Some(Ok(work)) => Ok(work),
            Some(Err(error)) => Err(error.clone()),
            None => Err(InputError::plain("nothing was rendered")),
        }
    }

    fn charted(&self, chart: &Chart, values: &ChartValues) -> Result<Work, InputError> {
        let rendered = chart
            .render(values)
            .map_err(|error| InputError::plain(error.report()))?;
        let objects = Objects::new(rendered, false, &namespaces(&self.spec, &self.app));
        Ok(Work::new(Arc::new(objects)))
    }

    fn kustomized(
        &self,
        kustomization: &Kustomization,
        changes: &KustomizeInput,
    ) -> Result<Work, InputError> {
        let (rendered, warnings) = kustomization
            .build(changes)
            .map_err(|error| InputError::plain(error.report()))?;
        let mut objects = Objects::new(rendered, false, &namespaces(&self.spec, &self.app));
        objects.warnings.extend(warnings);
        Ok(Work::new(Arc::new(objects)))
    }

    fn variant(
        &self,
        input: &TargetInput,
        work: &mut Work,
        blobs: &mut BTreeMap<Digest, Bytes>,
        notes: &mut BTreeSet<String>,
    ) -> Result<Variant, InputError> {
        let from = Arc::clone(&work.objects);
        let mut drafts = self.drafts(&from, input)?;
        for name in &input.overlays {
            let overlay = self.overlay(name)?;
            overlay::apply(overlay, &mut drafts, &input.values)?;
        }
        let mut objects = Vec::with_capacity(drafts.len());
        let mut places: BTreeMap<ObjectId, &Origin> = BTreeMap::new();
        for draft in drafts {
            let origin = draft.origin;
            let finished = match draft.shared {
                Some(index) => work.finished[index]
                    .get_or_insert_with(|| self.finish(&from, draft.object.into_owned(), origin))
                    .clone()?,
                None => self.finish(&from, draft.object.into_owned(), origin)?,
            };
            notes.extend(finished.notes);
            for (object, bytes) in finished.entries {
                if let Some(other) = places.insert(object.id.clone(), origin) {
                    let name = object.id.readable();
                    let message = format!("{name} is defined twice; it stands at {other} already");
                    return Err(InputError::at(origin, message));
                }
                blobs.insert(object.digest, bytes);
                objects.push(object);
            }
        }
        if objects.is_empty() {
            let message =
                "nothing is left to deliver: every object is skipped or removed by a patch";
            return Err(InputError::plain(message));
        }
        let namespaces = self.made_namespaces(&objects);
        order::arrange(&mut objects, &from.defines);
        Ok(Variant {
            objects,
            namespaces,
        })
    }

    fn overlay(&self, name: &str) -> Result<&Overlay, InputError> {
        let mut overlays = self.spec.overlays.iter();
        overlays
            .find(|overlay| overlay.name == name)
            .ok_or_else(|| InputError::plain(format!("overlay {name:?} is not in the frozen App")))
    }

    /// The objects of one input before its overlays, with their namespaces, since patches name objects by them.
    fn drafts<'o>(
        &self,
        objects: &'o Objects,
        input: &TargetInput,
    ) -> Result<Vec<Draft<'o>>, InputError> {
        objects
            .base
            .iter()
            .enumerate()
            .map(|(index, base)| {
                if let Some(refused) = &base.refused {
                    return Err(refused.clone());
                }
                let mut draft = Draft {
                    object: Cow::Borrowed(&base.object),
                    origin: &base.origin,
                    shared: Some(index),
                };
                if base.varies {
                    let mut changed = base.object.clone();
                    substitute(&mut changed, &input.values)
                        .map_err(|error| InputError::at(&base.origin, error.to_string()))?;
                    objects.place(
                        &mut changed,
                        &base.origin,
                        &namespaces(&self.spec, &self.app),
                    )?;
                    draft.replace(changed);
                }
                Ok(draft)
            })
            .collect()
    }

    fn finish(
        &self,
        from: &Objects,
        mut object: Value,
        origin: &Origin,
    ) -> Result<Finished, InputError> {
        let error = |problem: String| InputError::at(origin, problem);
        // a patch may have written what a manifest may not hold
        normalise(&mut object);
        from.place(&mut object, origin, &namespaces(&self.spec, &self.app))?;
        let gvk =
            Gvk::of(&object).ok_or_else(|| error("object has no kind any more".to_owned()))?;
        if k8s_apply::schema::Schemas::builtin().lookup(&gvk).is_some() {
            without_nulls(&mut object);
        }
        let timing = hooks::timing(&object)
            .map_err(|problem| error(format!("{}: {problem}", named(&object))))?;
        self.name(&mut object);
        let mut notes: Vec<String> = timing.notes.clone();
        let mut entries = Vec::with_capacity(timing.phases.len());
        for (number, phase) in timing.phases.iter().enumerate() {
            let mut object = object.clone();
            if number > 0 {
                // what runs is recorded by the object's identity, so each phase needs an object of its own
                let name = format!("{}-{phase}", k8s_object::name(&object)).to_lowercase();
                notes.push(format!("in phase {phase} it is called {name}"));
                if let Some(meta) = k8s_object::meta_mut(&mut object) {
                    meta.insert("name".to_owned(), Value::String(name));
                }
            }
            entries.push(self.entry(object, &gvk, *phase, &timing, origin)?);
        }
        let name = named(&object);
        let notes = notes.iter().map(|note| format!("{origin}: {name}: {note}"));
        Ok(Finished {
            notes: notes.collect(),
            entries,
        })
    }

    /// Marks an object as ours and writes its entry in the list.
    fn entry(
        &self,
        mut object: Value,
        gvk: &Gvk,
        phase: Phase,
        timing: &hooks::Timing,
        origin: &Origin,
    ) -> Result<(VariantObject, Bytes), InputError> {
        let error = |problem: String| InputError::at(origin, problem);
        let id = ObjectId::of(&object)
            .ok_or_else(|| error(format!("{} has no name any more", gvk.kind)))?;
        set_label(&mut object, APP_LABEL, &self.label);
        let owner = owner_annotation(&self.app, &id);
        set_annotation(&mut object, OWNER_ANNOTATION, &owner);
        let bytes = base_json::canonical(&object);
        let size = u32::try_from(bytes.len())
            .map_err(|_| error(format!("{} is larger than 4 GiB", id.readable())))?;
        let entry = VariantObject {
            version: gvk.version.clone(),
            digest: Digest::of(&bytes),
            size,
            phase,
            wave: timing.wave,
            hook: timing.hook,
            once: timing.once,
            hook_delete: timing.hook_delete.clone(),
            on_rollback: timing.on_rollback,
            keep: timing.keep,
            id,
        };
        Ok((entry, bytes.into()))
    }

    /// Gives an object with `generateName` a name that only changes with the Release or the object.
    fn name(&self, object: &mut Value) {
        let has_name = !k8s_object::name(object).is_empty();
        let generate =
            k8s_object::meta(object).is_some_and(|meta| meta.contains_key("generateName"));
        if !generate {
            return;
        }
        let content = Digest::of_value(object);
        let Some(meta) = k8s_object::meta_mut(object) else {
            return;
        };
        let base = match meta.remove("generateName") {
            Some(Value::String(base)) if !has_name => base,
            _ => return,
        };
        let digest = Digest::of(format!("{} {content}", self.release).as_bytes());
        let suffix = &digest.hex()[..10];
        // 63 is what a name may have where it also becomes a label
        let base: String = base.chars().take(63 - suffix.len()).collect();
        meta.insert("name".to_owned(), Value::String(format!("{base}{suffix}")));
    }

    /// The App's own namespace, where objects live in it and none of them is that Namespace.
    fn made_namespaces(&self, objects: &[VariantObject]) -> Vec<String> {
        let own = if self.spec.force_namespace.is_empty() {
            &self.spec.namespace
        } else {
            &self.spec.force_namespace
        };
        let used = objects.iter().any(|object| object.id.namespace == *own);
        let defined = objects.iter().any(|object| {
            object.id.group.is_empty() && object.id.kind == "Namespace" && object.id.name == *own
        });
        if own.is_empty() || own == "default" || !used || defined {
            return Vec::new();
        }
        vec![own.clone()]
    }
}

fn named(object: &Value) -> String {
    let name = k8s_object::name(object);
    let name = if name.is_empty() {
        k8s_object::meta(object)
            .and_then(|meta| meta.get("generateName")?.as_str())
            .unwrap_or_default()
    } else {
        name
    };
    format!("{} {name}", k8s_object::kind(object))
}

fn uses_of(spec: &AppSpec, rendered: &[Rendered]) -> Result<Uses, BuildError> {
    let manifests = rendered.iter().map(|one| &one.object);
    Uses::of(spec, manifests).map_err(|problem| BuildError::Expression {
        place: "spec".to_owned(),
        problem,
    })
}
