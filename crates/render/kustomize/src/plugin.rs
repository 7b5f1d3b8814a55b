//! Built-in generators and transformers that objects configure, CRDs' own field paths, and charts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;

use crate::build::accumulate_objects as objects;
use crate::build::{BuildContext as Context, Folder, Run, json_patch, own_specs};
use crate::diag::Fault;
use crate::fieldspec::{BackReference, FieldSpec, Specs};
use crate::files::{Entry, join};
use crate::generate;
use crate::helm::{self, Given, HelmOptions};
use crate::id::Gvk;
use crate::kfile::{
    GeneratorArgs, HelmChart, Mode, Patch, PatchOptions, RawSpec, ReplacementField, Replica, Shape,
    read,
};
use crate::node::{Kind, Node, Step, Tree};
use crate::origin::Origin;
use crate::resource::{Item, ORIGIN};
use crate::transform::{Image, Selector, Subjects, Transformer};

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Config {
    metadata: Meta,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    field_specs: Option<Vec<RawSpec>>,
    unset_only: bool,
    set_role_binding_subjects: String,
    prefix: String,
    suffix: String,
    image_tag: Image,
    replica: Replica,
    paths: Vec<String>,
    patches: String,
    path: String,
    patch: String,
    json_op: String,
    target: Option<Selector>,
    options: Option<Value>,
    replacements: Vec<ReplacementField>,
    value: String,
    targets: Vec<AddTarget>,
    target_file_path: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Meta {
    name: String,
    namespace: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct AddTarget {
    selector: Option<Selector>,
    field_path: String,
    file_path_position: i64,
}

/// Who an object that configures something is, where origins are kept.
pub(crate) fn origin_of(config: &Item) -> Option<Origin> {
    let text = config.annotation(ORIGIN)?;
    let known = base_yaml::go::unmarshal(text.as_bytes()).ok()?;
    let get = |name: &str| {
        let text = known.get(name).and_then(Value::as_str);
        text.unwrap_or_default().to_owned()
    };
    Some(Origin {
        path: String::new(),
        repo: get("repo"),
        reference: get("ref"),
        configured_in: get("path"),
        configured_by: [
            config.api_version().to_string(),
            config.kind().to_string(),
            config.name().to_string(),
            config.namespace().to_string(),
        ],
    })
}

fn built_in(config: &Item) -> Step<()> {
    if &*config.api_version() == "builtin" {
        return Ok(());
    }
    let text = format!("{} would run foreign code, which is not done", config.id());
    Err(Fault::new(text).hint(
        "generators, transformers and validators must be built-in ones (apiVersion: builtin)",
    ))
}

fn fitted<T: serde::de::DeserializeOwned>(value: Value, shape: &Shape) -> Step<T> {
    read(value, shape, Mode::Loose)
        .map_err(|(at, text)| Fault::new(format!("{}: {text}", crate::build::shown(&at))))
}

impl Run<'_> {
    /// Runs the generator that an object configures.
    pub(crate) fn run_generator(
        &mut self,
        context: &Context<'_>,
        config: &Item,
    ) -> Step<Vec<Item>> {
        built_in(config)?;
        let value = config.tree.to_value()?;
        match &*config.kind() {
            kind @ ("ConfigMapGenerator" | "SecretGenerator") => {
                let meta: Meta = fitted(
                    value.get("metadata").cloned().unwrap_or(Value::Null),
                    &Shape::Map(&[("name", Shape::Str), ("namespace", Shape::Str)]),
                )?;
                let mut args: GeneratorArgs = fitted(value, &Shape::DATA_GENERATOR)?;
                if args.name.is_empty() {
                    args.name = meta.name;
                }
                if args.namespace.is_empty() {
                    args.namespace = meta.namespace;
                }
                let secret = kind == "SecretGenerator";
                let made = generate::make(&args, secret, &mut |path| {
                    self.load(context.folder, path).map(|found| found.0)
                })?;
                Ok(vec![made])
            }
            "HelmChartInflationGenerator" => {
                let home = value.get("chartHome").and_then(Value::as_str);
                let home = home.unwrap_or_default().to_owned();
                let chart: HelmChart = fitted(value, &Shape::CHART)?;
                self.chart(context.folder, &chart, &home)
            }
            "IAMPolicyGenerator" => Ok(vec![iam_policy(&value)?]),
            other => Err(Fault::new(format!("there is no generator {other}"))),
        }
    }

    /// The changes that an object configures.
    pub(crate) fn plugin(
        &mut self,
        context: &Context<'_>,
        config: &Item,
    ) -> Step<Vec<Transformer>> {
        built_in(config)?;
        let kind = config.kind();
        let c: Config = fitted(config.tree.to_value()?, &Shape::PLUGIN)?;
        let specs = own_specs(c.field_specs.as_deref().unwrap_or_default());
        let given = |specs: Vec<FieldSpec>| match &c.field_specs {
            Some(_) => Ok(specs),
            None => Err(Fault::new(format!("a {kind} needs fieldSpecs"))),
        };
        let one = match &*kind {
            "AnnotationsTransformer" => Transformer::Annotations {
                annotations: c.annotations,
                specs,
            },
            "LabelTransformer" => Transformer::Labels {
                labels: c.labels,
                specs,
            },
            "HashTransformer" => Transformer::Hash,
            "ImageTagTransformer" => Transformer::Images {
                image: c.image_tag,
                specs,
            },
            "NamespaceTransformer" => Transformer::Namespace {
                namespace: c.metadata.namespace,
                specs,
                unset_only: c.unset_only,
                subjects: match c.set_role_binding_subjects.as_str() {
                    "" | "defaultOnly" => Subjects::Default,
                    "allServiceAccounts" => Subjects::All,
                    "none" => Subjects::None,
                    other => {
                        return Err(Fault::new(format!(
                            "setRoleBindingSubjects is {other:?}; it must be defaultOnly, allServiceAccounts or none"
                        )));
                    }
                },
            },
            "PrefixTransformer" => Transformer::Prefix {
                text: c.prefix,
                specs: given(specs)?,
            },
            "SuffixTransformer" => Transformer::Suffix {
                text: c.suffix,
                specs: given(specs)?,
            },
            "PrefixSuffixTransformer" => {
                let specs = given(specs)?;
                return Ok(vec![
                    Transformer::Prefix {
                        text: c.prefix,
                        specs: specs.clone(),
                    },
                    Transformer::Suffix {
                        text: c.suffix,
                        specs,
                    },
                ]);
            }
            "PatchStrategicMergeTransformer" => {
                if c.paths.is_empty() && c.patches.is_empty() {
                    return Err(Fault::new("it needs paths or patches"));
                }
                self.merges(context, &c.paths, &c.patches)?
            }
            "PatchTransformer" => {
                let options: Option<PatchOptions> = match c.options {
                    Some(value) => Some(fitted(
                        value,
                        &Shape::Map(&[
                            ("allowNameChange", Shape::Bool),
                            ("allowKindChange", Shape::Bool),
                        ]),
                    )?),
                    None => None,
                };
                Transformer::Patch(self.patch(
                    context,
                    &Patch {
                        path: c.path,
                        patch: c.patch,
                        target: c.target,
                        options,
                    },
                )?)
            }
            "PatchJson6902Transformer" => {
                let text = self.json_text(context, &c.path, &c.json_op)?;
                Transformer::Json(json_patch(&text, c.target.as_ref())?)
            }
            "ReplicaCountTransformer" => Transformer::Replicas {
                name: c.replica.name,
                count: c.replica.count,
                specs,
            },
            "ReplacementTransformer" => {
                Transformer::Replacements(self.replacements(context, &c.replacements)?)
            }
            "ValueAddTransformer" => self.value_add(context, c)?,
            other => return Err(Fault::new(format!("there is no transformer {other}"))),
        };
        Ok(vec![one])
    }

    fn value_add(&mut self, context: &Context<'_>, c: Config) -> Step<Transformer> {
        let mut value = c.value.trim().to_owned();
        if value.is_empty() {
            let path = &context.folder.path;
            value = path.rsplit('/').next().unwrap_or_default().to_owned();
        }
        let mut targets = c.targets;
        if !c.target_file_path.is_empty() {
            let (bytes, _) = self.load(context.folder, &c.target_file_path)?;
            let more = base_yaml::go::yaml_to_json(&bytes).map_err(|e| Fault::new(e.text))?;
            let more: Config = fitted(more, &Shape::PLUGIN)?;
            targets.extend(more.targets);
        }
        if targets.is_empty() {
            return Err(Fault::new("it needs a target"));
        }
        let mut all = Vec::new();
        for target in targets {
            if target.field_path.is_empty() {
                return Err(Fault::new("a target needs fieldPath"));
            }
            if target.file_path_position < 0 {
                return Err(Fault::new("filePathPosition cannot be negative"));
            }
            all.push((
                target.selector,
                target.field_path,
                target.file_path_position,
            ));
        }
        Ok(Transformer::ValueAdd {
            value,
            targets: all,
        })
    }
}

fn iam_policy(value: &Value) -> Step<Item> {
    let text = |path: &str| {
        let found = value.pointer(path).and_then(Value::as_str);
        found.unwrap_or_default()
    };
    if text("/cloud") != "gke" {
        let text = format!(
            "cloud is {:?}; gke is the only one there is",
            text("/cloud")
        );
        return Err(Fault::new(text));
    }
    let mut tree = Tree::new(Node::new(Kind::Map));
    tree.set_text(&["apiVersion"], "v1")?;
    tree.set_text(&["kind"], "ServiceAccount")?;
    let account = format!(
        "{}@{}.iam.gserviceaccount.com",
        text("/serviceAccount/name"),
        text("/serviceAccount/projectId")
    );
    let path = ["metadata", "annotations", "iam.gke.io/gcp-service-account"];
    tree.set_text(&path, &account)?;
    tree.set_text(&["metadata", "name"], text("/kubernetesService/name"))?;
    let namespace = text("/kubernetesService/namespace");
    if !namespace.is_empty() {
        tree.set_text(&["metadata", "namespace"], namespace)?;
    }
    Ok(Item::new(tree, Arc::from("")))
}

/// Field paths that definitions of resources say of themselves.
pub(crate) fn crds(bytes: &[u8]) -> Step<Specs> {
    let value = if bytes.first() == Some(&b'{') {
        serde_json::from_slice(bytes).map_err(|error| Fault::new(error.to_string()))?
    } else {
        base_yaml::go::yaml_to_json(bytes).map_err(|error| Fault::new(error.text))?
    };
    let Value::Object(all) = value else {
        return Err(Fault::new("definitions must be a map"));
    };
    let mut specs = Specs::default();
    for (name, definition) in &all {
        let properties = definition.pointer("/Schema/properties");
        let has = |field: &str| properties.is_some_and(|p| p.get(field).is_some());
        if !(has("kind") && has("apiVersion") && has("metadata")) {
            continue;
        }
        let gvk = Gvk {
            kind: name.rsplit('.').next().unwrap_or_default().into(),
            ..Gvk::default()
        };
        let mut open = BTreeSet::new();
        let mut path = Vec::new();
        crd(&all, name, &gvk, &mut path, &mut open, &mut specs)?;
    }
    specs.sort();
    Ok(specs)
}

fn crd(
    all: &serde_json::Map<String, Value>,
    name: &str,
    gvk: &Gvk,
    path: &mut Vec<String>,
    open: &mut BTreeSet<String>,
    specs: &mut Specs,
) -> Step<()> {
    let properties = all
        .get(name)
        .and_then(|one| one.pointer("/Schema/properties"));
    let Some(Value::Object(properties)) = properties else {
        return Ok(());
    };
    if !open.insert(name.to_owned()) {
        return Err(Fault::new(format!("definition {name:?} holds itself")));
    }
    for (field, property) in properties {
        path.push(field.clone());
        let spec = |more: &str| {
            let mut path = path.join("/");
            path.push_str(more);
            FieldSpec {
                gvk: gvk.clone(),
                path: path.into(),
                create: false,
            }
        };
        let text = |name: &str| property.get(name).and_then(Value::as_str);
        if text("x-kubernetes-annotation").is_some() {
            crate::fieldspec::merge_one(&mut specs.common_annotations, &spec(""))?;
        }
        if text("x-kubernetes-label-selector").is_some() {
            crate::fieldspec::merge_one(&mut specs.common_labels, &spec(""))?;
        }
        if text("x-kubernetes-identity").is_some() {
            crate::fieldspec::merge_one(&mut specs.name_prefix, &spec(""))?;
        }
        let version = text("x-kubernetes-object-ref-api-version");
        let kind = text("x-kubernetes-object-ref-kind");
        if let (Some(version), Some(kind)) = (version, kind) {
            let key = text("x-kubernetes-object-ref-name-key").unwrap_or("name");
            let more = Specs {
                name_reference: vec![BackReference {
                    gvk: Gvk {
                        version: version.into(),
                        kind: kind.into(),
                        ..Gvk::default()
                    },
                    from: vec![spec(&format!("/{key}"))],
                }],
                ..Specs::default()
            };
            *specs = specs.merge(&more)?;
        }
        if let Some(reference) = text("$ref") {
            crd(all, reference, gvk, path, open, specs)?;
        }
        path.pop();
    }
    open.remove(name);
    Ok(())
}

/// Where a chart is looked for, seen from the kustomization's folder.
pub(crate) fn chart_place(chart: &HelmChart, home: &str) -> String {
    let home = if home.is_empty() { "charts" } else { home };
    if chart.version.is_empty() || chart.repo.is_empty() {
        return format!("{home}/{}", chart.name);
    }
    format!("{home}/{name}-{}/{name}", chart.version, name = chart.name)
}

/// Renders a chart that lies in the tree.
pub(crate) fn chart(
    run: &mut Run<'_>,
    folder: &Folder,
    chart: &HelmChart,
    home: &str,
    options: &HelmOptions,
) -> Step<Vec<Item>> {
    if chart.name.is_empty() {
        return Err(Fault::new("a chart needs a name"));
    }
    if !matches!(
        chart.values_merge.as_str(),
        "" | "merge" | "override" | "replace"
    ) {
        let text = format!(
            "valuesMerge is {:?}; it must be merge, override or replace",
            chart.values_merge
        );
        return Err(Fault::new(text));
    }
    let place = chart_place(chart, home);
    let root = join(&folder.path, &place)
        .filter(|root| matches!(folder.files.entry(root), Some(Entry::Folder(_))));
    let Some(root) = root else {
        let text = format!("chart {:?} is not at {place:?}", chart.name);
        let fault = Fault::new(text);
        return Err(if chart.repo.is_empty() {
            fault
        } else {
            fault.hint(format!(
                "charts are not fetched while building; put version {} of {} there",
                chart.version, chart.repo
            ))
        });
    };
    let mut files = BTreeMap::new();
    for path in folder.files.below(&root) {
        let relative = path.strip_prefix(&format!("{root}/")).unwrap_or(&path);
        let bytes = folder
            .files
            .read(&path)
            .map_err(|why| Fault::new(format!("{path:?} cannot be read: {why}")))?;
        files.insert(relative.to_owned(), bytes);
    }
    let values = match chart.values_file.as_str() {
        "" => {
            let own: Bytes = files.get("values.yaml").cloned().unwrap_or_default();
            (format!("{place}/values.yaml"), own)
        }
        path => (path.to_owned(), run.load(folder, path)?.0),
    };
    let mut more = Vec::new();
    for path in &chart.additional_values_files {
        more.push((path.clone(), run.load(folder, path)?.0));
    }
    let given = Given {
        files,
        values,
        more,
    };
    let text = helm::render(chart, &given, options)
        .map_err(|fault| fault.within(&format!("chart {:?}", chart.name)))?;
    let mut items = objects(text.as_bytes(), "")
        .map_err(|fault| fault.within(&format!("what chart {:?} renders to", chart.name)))?;
    for item in &mut items {
        item.marks.helm = true;
    }
    Ok(items)
}
