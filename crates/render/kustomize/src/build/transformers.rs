//! The changes that a kustomization's fields ask for, in the order in which kustomize makes them.

use super::accumulate::{Context, field, item, objects};
use super::{Kfile, Run, Sum, metadata_labels};
use crate::diag::{Error, Fault};
use crate::fieldspec::{Specs, merge_all, merge_one};
use crate::json6902::Operations;
use crate::kfile::{Mode, Part, Patch, PatchOptions, RawSpec, ReplacementField, Shape, read};
use crate::node::Step;
use crate::resource::Item;
use crate::transform::{Json6902, PatchSet, Replacement, Selector, Subjects, Transformer};

/// A change, the name of what makes it, and the field that asks for it.
pub(crate) type Change = (Transformer, &'static str, Vec<Part>);

impl Run<'_> {
    pub(crate) fn transformers(
        &mut self,
        context: &Context<'_>,
        kfile: &Kfile,
        sum: &Sum,
    ) -> Result<Vec<Change>, Error> {
        let k = &kfile.k;
        let defaults = Specs::defaults();
        let specs = sum.specs.clone().unwrap_or(defaults);
        let mut out: Vec<Change> = Vec::new();
        if !k.patches_strategic_merge.is_empty() {
            let name = "patchesStrategicMerge";
            let mut all = Vec::new();
            for (number, text) in k.patches_strategic_merge.iter().enumerate() {
                let at = item(name, number);
                all.extend(
                    self.merge_patch(context, text)
                        .map_err(|failure| failure.error(kfile, &at))?,
                );
            }
            if all.is_empty() {
                let fault = Fault::new("the patches hold no object");
                return Err(kfile.error(&field(name), fault));
            }
            self.patched = true;
            let change = Transformer::Merge(all);
            out.push((change, "PatchStrategicMergeTransformer", field(name)));
        }
        for (number, patch) in k.patches.iter().enumerate() {
            let at = item("patches", number);
            let set = self
                .patch(context, patch)
                .map_err(|fault| kfile.error(&at, fault))?;
            self.patched = true;
            out.push((Transformer::Patch(set), "PatchTransformer", at));
        }
        if !k.namespace.is_empty() {
            let change = Transformer::Namespace {
                namespace: k.namespace.clone(),
                specs: specs.namespace.clone(),
                unset_only: false,
                subjects: Subjects::Default,
            };
            out.push((change, "NamespaceTransformer", field("namespace")));
        }
        if !k.name_prefix.is_empty() {
            let change = Transformer::Prefix {
                text: k.name_prefix.clone(),
                specs: specs.name_prefix.clone(),
            };
            out.push((change, "PrefixTransformer", field("namePrefix")));
        }
        if !k.name_suffix.is_empty() {
            let change = Transformer::Suffix {
                text: k.name_suffix.clone(),
                specs: specs.name_suffix.clone(),
            };
            out.push((change, "SuffixTransformer", field("nameSuffix")));
        }
        for (number, label) in k.labels.iter().enumerate() {
            let at = item("labels", number);
            let mut own = Vec::new();
            for spec in &label.fields {
                own.push(spec.spec());
            }
            let merged = merge_all(&mut own, &specs.labels).and_then(|()| {
                if label.include_selectors {
                    return merge_all(&mut own, &specs.common_labels);
                }
                if label.include_templates {
                    merge_all(&mut own, &specs.template_labels)?;
                }
                merge_one(&mut own, &metadata_labels())
            });
            merged.map_err(|fault| kfile.error(&at, fault))?;
            let change = Transformer::Labels {
                labels: label.pairs.clone(),
                specs: own,
            };
            out.push((change, "LabelTransformer", at));
        }
        if !(k.labels.is_empty() && k.common_labels.is_empty()) {
            let change = Transformer::Labels {
                labels: k.common_labels.clone(),
                specs: specs.common_labels.clone(),
            };
            out.push((change, "LabelTransformer", field("commonLabels")));
        }
        if !k.common_annotations.is_empty() {
            let change = Transformer::Annotations {
                annotations: k.common_annotations.clone(),
                specs: specs.common_annotations.clone(),
            };
            let at = field("commonAnnotations");
            out.push((change, "AnnotationsTransformer", at));
        }
        for (number, patch) in k.patches_json6902.iter().enumerate() {
            let at = item("patchesJson6902", number);
            let text = self.json_text(context, &patch.path, &patch.patch);
            let patch = text.and_then(|text| json_patch(&text, patch.target.as_ref()));
            let patch = patch.map_err(|fault| kfile.error(&at, fault))?;
            out.push((Transformer::Json(patch), "PatchJson6902Transformer", at));
        }
        for (number, replica) in k.replicas.iter().enumerate() {
            let change = Transformer::Replicas {
                name: replica.name.clone(),
                count: replica.count,
                specs: specs.replicas.clone(),
            };
            let at = item("replicas", number);
            out.push((change, "ReplicaCountTransformer", at));
        }
        for (number, image) in k.images.iter().enumerate() {
            let change = Transformer::Images {
                image: image.clone(),
                specs: specs.images.clone(),
            };
            out.push((change, "ImageTagTransformer", item("images", number)));
        }
        if !k.replacements.is_empty() {
            let at = field("replacements");
            let all = self
                .replacements(context, &k.replacements)
                .map_err(|fault| kfile.error(&at, fault))?;
            let change = Transformer::Replacements(all);
            out.push((change, "ReplacementTransformer", at));
        }
        Ok(out)
    }

    /// The patches of a text, or of the file that it names.
    fn merge_patch(
        &mut self,
        context: &Context<'_>,
        text: &str,
    ) -> Result<Vec<Item>, super::load::Failure> {
        match objects(text.as_bytes(), "") {
            Ok(items) => Ok(items),
            Err(fault) if text.contains('\n') => Err(fault.into()),
            Err(_) => self.file(context.folder, text),
        }
    }

    /// Strategic merges in a text, or in files.
    pub(crate) fn merges(
        &mut self,
        context: &Context<'_>,
        paths: &[String],
        text: &str,
    ) -> Step<Transformer> {
        let mut all = Vec::new();
        for path in paths {
            all.extend(
                self.merge_patch(context, path)
                    .map_err(|failure| match failure {
                        super::load::Failure::Fault(fault) => fault,
                        super::load::Failure::Error(error) => Fault::new(error.to_string()),
                    })?,
            );
        }
        all.extend(objects(text.as_bytes(), "")?);
        if all.is_empty() {
            return Err(Fault::new("it holds no patch"));
        }
        self.patched = true;
        Ok(Transformer::Merge(all))
    }

    pub(crate) fn patch(&mut self, context: &Context<'_>, patch: &Patch) -> Step<PatchSet> {
        let own = patch.patch.trim();
        let (target, options) = (patch.target.clone(), patch.options.as_ref());
        match (own, patch.path.as_str()) {
            ("", "") => Err(Fault::new("a patch needs patch or path")),
            (text, "") => PatchSet::read(text.as_bytes(), "", target, options),
            ("", path) => {
                let (bytes, shown) = self.load(context.folder, path)?;
                PatchSet::read(&bytes, &shown, target, options).map_err(|fault| {
                    let place = if fault.line > 0 {
                        format!("{shown}:{}:{}", fault.line, fault.column)
                    } else {
                        shown.clone()
                    };
                    fault.within(&place)
                })
            }
            _ => Err(Fault::new("a patch has both patch and path; leave one")),
        }
    }

    pub(crate) fn json_text(
        &mut self,
        context: &Context<'_>,
        path: &str,
        text: &str,
    ) -> Step<Vec<u8>> {
        match (path, text) {
            ("", "") => Err(Fault::new("a patch needs patch or path")),
            ("", text) => Ok(text.as_bytes().to_vec()),
            (path, "") => Ok(self.load(context.folder, path)?.0.to_vec()),
            _ => Err(Fault::new("a patch has both patch and path; leave one")),
        }
    }

    pub(crate) fn replacements(
        &mut self,
        context: &Context<'_>,
        all: &[ReplacementField],
    ) -> Step<Vec<Replacement>> {
        let mut out = Vec::new();
        for one in all {
            if one.path.is_empty() {
                out.push(one.own.clone());
                continue;
            }
            let targets = one.own.targets.as_ref().is_some_and(|t| !t.is_empty());
            if one.own.source.is_some() || targets {
                let text = "a replacement has both path and source or targets; leave one";
                return Err(Fault::new(text));
            }
            let (bytes, shown) = self.load(context.folder, &one.path)?;
            let fail = |text: String| Fault::new(format!("{shown}: {text}"));
            let value = base_yaml::go::yaml_to_json(&bytes).map_err(|e| fail(e.text))?;
            let items = match value {
                serde_json::Value::Array(items) => items,
                map @ serde_json::Value::Object(_) => vec![map],
                _ => return Err(fail("neither a replacement nor a list of them".to_owned())),
            };
            for item in items {
                let one: ReplacementField =
                    read(item, &Shape::REPLACEMENT, Mode::Loose).map_err(|(at, text)| {
                        fail(format!("{}: {text}", super::accumulate::shown(&at)))
                    })?;
                out.push(one.own);
            }
        }
        Ok(out)
    }
}

/// Reads JSON operations with their target.
pub(crate) fn json_patch(text: &[u8], target: Option<&Selector>) -> Step<Json6902> {
    let Some(target) = target.filter(|target| !target.name.is_empty()) else {
        return Err(Fault::new("a list of JSON operations needs target.name"));
    };
    match Operations::read(text)? {
        Some(operations) if !operations.is_empty() => Ok(Json6902 {
            operations,
            target: target.clone(),
        }),
        _ => Err(Fault::new("there are no operations")),
    }
}

impl PatchSet {
    /// Finds out whether a text is a strategic merge or a list of JSON operations, and reads it.
    pub(crate) fn read(
        text: &[u8],
        file: &str,
        target: Option<Selector>,
        options: Option<&PatchOptions>,
    ) -> Step<Self> {
        let merges = objects(text, file);
        let json = Operations::read(text);
        let (mut merges, json) = match (merges, json) {
            (Ok(merges), Ok(Some(json))) if !merges.is_empty() && !json.is_empty() => {
                let text = "the patch is both a strategic merge and a list of JSON operations";
                return Err(Fault::new(text));
            }
            (Ok(merges), _) => (merges, None),
            (Err(_), Ok(json)) => (Vec::new(), json),
            (Err(fault), Err(other)) => {
                let list = text.trim_ascii_start().starts_with(b"-") || text.starts_with(b"[");
                let (kind, fault) = if list {
                    ("a list of JSON operations", other)
                } else {
                    ("a strategic merge", fault)
                };
                return Err(fault.within(&format!("the patch cannot be read as {kind}")));
            }
        };
        for item in &mut merges {
            if let Some(options) = options {
                item.marks.allow_name |= options.allow_name_change;
                item.marks.allow_kind |= options.allow_kind_change;
            }
        }
        Ok(Self {
            merges,
            json,
            target,
        })
    }
}

/// Field paths of a plugin.
pub(crate) fn own_specs(list: &[RawSpec]) -> Vec<crate::fieldspec::FieldSpec> {
    list.iter().map(RawSpec::spec).collect()
}
