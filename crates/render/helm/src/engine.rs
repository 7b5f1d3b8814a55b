//! Charts compiled once and rendered many times.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use roadstead_template::{
    Functions, Machine, Map, MissingKey, Scope, Set, Str, TextCache, Unit, Value,
};

use crate::deps::{self, Forest, Tree};
use crate::diag::{Code, Diagnostic, Diagnostics};
use crate::host::RenderHost;
use crate::input::{Crd, RenderInput, Rendered};
use crate::load::{Chart, File, Metadata};
use crate::values::coalesce::{Mismatch, put};
use crate::values::frozen::{Table, map_to_json};
use crate::values::layers;
use crate::values::schema::Schema;
use crate::{Dialect, Limits, blame, functions, object, post, semver};

/// How many different sets of enabled dependencies are kept linked.
const MAX_LINKED: usize = 64;

/// A chart that is ready to be rendered, any number of times and by any number of threads.
pub struct Compiled {
    dialect: Dialect,
    limits: Limits,
    forest: Forest,
    functions: Arc<Functions>,
    schemas: Vec<OnceLock<Option<Result<Schema, String>>>>,
    /// By the charts that take part. A broken template is kept as the error that it is.
    linked: RwLock<BTreeMap<String, Arc<Linked>>>,
    /// Files that were parsed, by the names that they have in messages.
    units: RwLock<BTreeMap<String, Parsed>>,
    texts: TextCache,
}

type Parsed = (Str, Result<Arc<Unit>, Box<roadstead_template::Error>>);

/// The charts that take part, with their templates put together.
struct Linked {
    tree: Tree,
    set: Result<Set, Box<roadstead_template::Error>>,
    /// The files to execute, in their order.
    files: Vec<Executed>,
}

struct Executed {
    path: String,
    base_path: String,
    node: usize,
}

impl Chart {
    /// Reads the chart and makes it ready to be rendered as a version of Helm would.
    pub fn compile(&self, dialect: Dialect, limits: Limits) -> Result<Arc<Compiled>, Diagnostics> {
        let root = Arc::new(self.load(dialect, &limits)?);
        let kind = &root.metadata.kind;
        if !kind.is_empty() && kind != "application" {
            let helm = format!("{kind} charts are not installable");
            return Err(Diagnostic::helm(Code::Chart, helm)
                .at("Chart.yaml", 0, 0)
                .into());
        }
        deps::missing(&root, dialect).map_err(|helm| {
            Diagnostic::helm(Code::Dependency, helm)
                .at("Chart.yaml", 0, 0)
                .hint("put the missing charts into charts/, or name their repository as a source")
        })?;
        let forest = Forest::new(root);
        let compiled = Compiled {
            dialect,
            limits,
            functions: functions::table(dialect),
            schemas: forest.charts.iter().map(|_| OnceLock::new()).collect(),
            forest,
            linked: RwLock::default(),
            units: RwLock::default(),
            texts: TextCache::default(),
        };
        // What the defaults enable is linked now. What is wrong with it is said when it is rendered, since other values may
        // leave it out.
        let _ = compiled.linked_for(&Map::new(), &mut Vec::new());
        Ok(Arc::new(compiled))
    }
}

/// Who says that charts in charts cannot be told apart.
const PROCESSING: &str = "chart dependencies processing failed";

impl Compiled {
    /// The dialect that it was compiled for.
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// What the chart says of itself.
    pub fn metadata(&self) -> &Metadata {
        &self.forest.charts[0].metadata
    }

    /// Renders the chart. The same input gives the same bytes.
    pub fn render(&self, input: &RenderInput<'_>) -> Result<Rendered, Diagnostics> {
        // Templates may put maps into themselves; what they leave behind goes with the scope.
        let _scope = Scope::enter();
        let mut warnings = Vec::new();
        let given = layers::combine(input.layers, self.dialect)?;
        input.release.check().map_err(|why| {
            let helm = format!("release name check failed: {why}");
            Diagnostic::helm(Code::Setting, helm)
        })?;
        let given = Table::of(&given).thaw(false);
        let linked = self
            .linked_for(&given, &mut warnings)
            .map_err(|Mismatch(why)| {
                let helm = if self.dialect.is_3() {
                    why.clone()
                } else {
                    format!("{PROCESSING}: {why}")
                };
                Diagnostic::new(Code::Values, why, helm)
            })?;
        let values = linked
            .tree
            .coalesce(0, &given, false, &mut warnings)
            .map_err(|Mismatch(why)| Diagnostic::helm(Code::Values, why))?;
        if !input.skip_schema {
            self.check_schemas(&linked.tree, &values, input)?;
        }
        self.check_kube_version(input)?;
        let mut host = RenderHost::new(input);
        let files = self.execute(&linked, values, input, &mut host)?;
        self.finish(&linked, files, input, host, warnings)
    }

    /// The charts that take part with these values.
    fn linked_for(&self, given: &Map, warnings: &mut Vec<String>) -> Result<Arc<Linked>, Mismatch> {
        let mut tree = Tree::enabled(&self.forest, given, self.dialect, warnings)?;
        let key = tree.key();
        let known = self.linked.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(linked) = known.get(&key) {
            return Ok(Arc::clone(linked));
        }
        drop(known);
        tree.import_values(warnings)?;
        let linked = Arc::new(self.link(tree));
        let mut known = self.linked.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_LINKED {
            known.clear();
        }
        known.insert(key, Arc::clone(&linked));
        Ok(linked)
    }

    fn link(&self, tree: Tree) -> Linked {
        let mut templates: BTreeMap<String, (usize, &File)> = BTreeMap::new();
        self.collect(&tree, 0, &mut templates);
        // Deep files come first, and within one depth the last by name: a later definition wins over an earlier one.
        let mut order: Vec<(String, (usize, &File))> = templates.into_iter().collect();
        order.sort_by(|(one, _), (other, _)| {
            let depth = |path: &str| path.bytes().filter(|&byte| byte == b'/').count();
            (depth(other), other).cmp(&(depth(one), one))
        });
        let mut set = Ok(Set::new(&self.functions)
            .with_missing_key(MissingKey::Zero)
            .with_name("gotpl"));
        let mut files = Vec::new();
        for (path, (node, file)) in order {
            match (&mut set, self.unit(&path, file)) {
                (Ok(set), Ok(unit)) => set.add(&unit),
                (Ok(_), Err(error)) => set = Err(error),
                (Err(_), _) => {}
            }
            if !path.rsplit('/').next().unwrap_or("").starts_with('_') {
                files.push(Executed {
                    base_path: format!("{}/templates", tree.full_path(node)),
                    path,
                    node,
                });
            }
        }
        Linked { tree, set, files }
    }

    /// The templates of a chart and the charts in it, by their full paths.
    fn collect<'a>(
        &'a self,
        tree: &Tree,
        node: usize,
        templates: &mut BTreeMap<String, (usize, &'a File)>,
    ) {
        for &child in &tree.nodes[node].children {
            self.collect(tree, child, templates);
        }
        let chart = &self.forest.charts[tree.nodes[node].chart];
        let folder = tree.full_path(node);
        for file in &chart.templates {
            let name = file.path.rsplit('/').next().unwrap_or("");
            if !chart.metadata.is_library() || name.starts_with('_') {
                templates.insert(format!("{folder}/{}", file.path), (node, file));
            }
        }
    }

    /// A file, parsed under a name.
    fn unit(&self, path: &str, file: &File) -> Result<Arc<Unit>, Box<roadstead_template::Error>> {
        let text = Str::from(file.data.clone());
        let known = self.units.read().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, unit)) = known.get(path)
            && *of == text
        {
            return unit.clone();
        }
        drop(known);
        let unit = Unit::parse(path, text.clone(), &self.functions).map(Arc::new);
        let mut known = self.units.write().unwrap_or_else(PoisonError::into_inner);
        known.insert(path.to_owned(), (text, unit.clone()));
        unit
    }

    /// Checks the values of each chart against its schema.
    fn check_schemas(
        &self,
        tree: &Tree,
        values: &Map,
        input: &RenderInput<'_>,
    ) -> Result<(), Diagnostics> {
        let mut violations = blame::Violations::default();
        self.check_schema(tree, 0, values, "", &mut violations);
        match violations.into_diagnostics(input.layers, self) {
            None => Ok(()),
            Some(diagnostics) => Err(diagnostics),
        }
    }

    fn check_schema(
        &self,
        tree: &Tree,
        at: usize,
        values: &Map,
        path: &str,
        violations: &mut blame::Violations,
    ) {
        let node = &tree.nodes[at];
        let schema = self.schemas[node.chart].get_or_init(|| {
            let bytes = self.forest.charts[node.chart].schema.as_ref()?;
            Some(Schema::compile(bytes))
        });
        let folder = &self.forest.charts[node.chart].folder;
        match schema {
            None => {}
            Some(Err(why)) => violations.bad_schema(&node.name, folder, why),
            Some(Ok(schema)) => {
                let json = serde_json::Value::Object(map_to_json(values));
                if let Err(found) = schema.check(&json) {
                    violations.add(&node.name, folder, path, found);
                }
            }
        }
        for &child in &node.children {
            let name = &tree.nodes[child].name;
            let below = if path.is_empty() {
                name.clone()
            } else {
                format!("{path}.{name}")
            };
            match values.get(name.as_bytes()) {
                None | Some(Value::Nil) => {}
                Some(Value::Map(inner)) => {
                    self.check_schema(tree, child, &inner, &below, violations);
                }
                Some(other) => violations.no_map(name, &below, &other.type_name()),
            }
        }
    }

    fn check_kube_version(&self, input: &RenderInput<'_>) -> Result<(), Diagnostics> {
        let range = &self.metadata().kube_version;
        let kube = &input.capabilities.kube;
        if range.is_empty() || semver::in_range(range, &kube.numbers) {
            return Ok(());
        }
        let shown = if self.dialect.is_3() {
            &kube.numbers
        } else {
            &kube.given
        };
        let helm = format!(
            "chart requires kubeVersion: {range} which is incompatible with Kubernetes {shown}"
        );
        Err(Diagnostic::helm(Code::KubeVersion, helm)
            .at("Chart.yaml", 0, 0)
            .into())
    }

    /// Executes every file.
    fn execute(
        &self,
        linked: &Linked,
        values: Map,
        input: &RenderInput<'_>,
        host: &mut RenderHost<'_>,
    ) -> Result<BTreeMap<String, String>, Diagnostics> {
        let set = linked
            .set
            .as_ref()
            .map_err(|error| blame::parse_error(error, self))?;
        let top = Top {
            release: input.release.value(),
            capabilities: object::capabilities(&input.capabilities, self.dialect),
        };
        let mut dots = vec![None; linked.tree.nodes.len()];
        self.dot(&linked.tree, 0, values, &top, &mut dots);
        let limits = roadstead_template::Limits {
            output: self.limits.output_file_bytes,
            ..input.limits
        };
        let mut machine = Machine::new(set, host, limits, &self.texts);
        let mut out = BTreeMap::new();
        let mut total = 0;
        for file in &linked.files {
            let Some(dot) = &dots[file.node] else {
                continue;
            };
            let names = [
                (Str::from("BasePath"), Value::from(file.base_path.as_str())),
                (Str::from("Name"), Value::from(file.path.as_str())),
            ];
            let ty = object::values_type(self.dialect);
            let template = Map::with_methods(ty, object::VALUES_METHODS, names.into());
            put(dot, "Template", Value::Map(template));
            let written = machine
                .execute(&file.path, Value::Map(dot.clone()))
                .map_err(|error| {
                    let chart = linked.tree.value_path(file.node);
                    blame::exec_error(&error, &chart, input.layers, self)
                })?;
            total += written.len();
            if total > self.limits.output_bytes {
                let text = format!(
                    "the chart renders to more than {} bytes",
                    self.limits.output_bytes
                );
                return Err(Diagnostic::helm(Code::Limit, text)
                    .at(&file.path, 0, 0)
                    .into());
            }
            out.insert(file.path.clone(), without_no_value(written));
        }
        Ok(out)
    }

    /// Makes the dot of a chart and of the charts in it.
    fn dot(
        &self,
        tree: &Tree,
        at: usize,
        values: Map,
        top: &Top,
        dots: &mut Vec<Option<Map>>,
    ) -> Map {
        let node = &tree.nodes[at];
        let chart = &self.forest.charts[node.chart];
        let dependencies: Vec<&crate::load::Dependency> = node
            .named
            .iter()
            .flatten()
            .map(|&one| &tree.dependencies[one])
            .collect();
        let ty = object::values_type(self.dialect);
        let values = values.view(ty, object::VALUES_METHODS);
        let subcharts = Map::new();
        let entries = [
            ("Capabilities", top.capabilities.clone()),
            (
                "Chart",
                object::chart(
                    &chart.metadata,
                    &node.name,
                    &dependencies,
                    tree.is_root(at),
                    self.dialect,
                ),
            ),
            ("Files", object::files(&chart.files, self.dialect)),
            ("Release", top.release.clone()),
            ("Subcharts", Value::Map(subcharts.clone())),
            ("Values", Value::Map(values.clone())),
        ];
        let entries = entries.map(|(key, value)| (Str::from_static(key), value));
        let dot = Map::with_methods(ty, object::VALUES_METHODS, entries.into());
        for &child in &node.children {
            let name = &tree.nodes[child].name;
            // A chart whose values are no map finds none.
            let inner = match values.get(name.as_bytes()) {
                Some(Value::Map(inner)) => inner,
                _ => Map::new(),
            };
            let below = self.dot(tree, child, inner, top, dots);
            let below = below.view(roadstead_template::Type::DICT, &[]);
            put(&subcharts, name.as_str(), Value::Map(below));
        }
        dots[at] = Some(dot.clone());
        dot
    }

    fn finish(
        &self,
        linked: &Linked,
        mut files: BTreeMap<String, String>,
        input: &RenderInput<'_>,
        host: RenderHost<'_>,
        mut warnings: Vec<String>,
    ) -> Result<Rendered, Diagnostics> {
        let own_notes = format!("{}/templates/NOTES.txt", linked.tree.nodes[0].name);
        let mut notes = String::new();
        files.retain(|path, content| {
            if !path.ends_with("NOTES.txt") {
                return true;
            }
            if input.sub_notes || *path == own_notes {
                if !notes.is_empty() {
                    notes.push('\n');
                }
                notes.push_str(content);
            }
            false
        });
        let sorted = post::sort(&files, self.dialect, self.limits.documents)?;
        warnings.extend(sorted.warnings);
        let mut crds = Vec::new();
        self.crds(&linked.tree, 0, &mut crds);
        Ok(Rendered {
            manifests: sorted.manifests,
            hooks: sorted.hooks,
            crds,
            notes,
            nondeterministic: host.into_sites(self),
            warnings,
        })
    }

    /// The files in `crds/`, a chart's own before those of the charts in it.
    fn crds(&self, tree: &Tree, at: usize, out: &mut Vec<Crd>) {
        let node = &tree.nodes[at];
        for file in self.forest.charts[node.chart].files.iter() {
            let path = file.path.to_ascii_lowercase();
            let manifest = [".yaml", ".yml", ".json"]
                .iter()
                .any(|end| path.ends_with(end));
            if file.path.starts_with("crds/") && manifest {
                out.push(Crd {
                    source: format!("{}/{}", tree.full_path(at), file.path),
                    text: String::from_utf8_lossy(&file.data).into_owned(),
                });
            }
        }
        for &child in &node.children {
            self.crds(tree, child, out);
        }
    }

    /// The text of a template, by the name that it has in messages.
    pub(crate) fn source(&self, path: &str) -> Option<String> {
        let known = self.units.read().unwrap_or_else(PoisonError::into_inner);
        let (text, _) = known.get(path)?;
        Some(text.to_text().into_owned())
    }

    /// The values files of the chart and the charts in it, with the paths at which their values lie.
    pub(crate) fn defaults(&self) -> impl Iterator<Item = (String, &str, &[u8])> {
        self.forest.charts.iter().filter_map(|chart| {
            let text = chart.values_text.as_ref()?;
            let path: Vec<&str> = chart
                .folder
                .split("charts/")
                .map(|part| part.trim_end_matches('/'))
                .filter(|part| !part.is_empty())
                .collect();
            Some((path.join("."), chart.folder.as_str(), text.as_ref()))
        })
    }
}

/// What all charts of a render have in common.
struct Top {
    release: Value,
    capabilities: Value,
}

/// What Go prints for a missing value is nothing in what Helm prints.
fn without_no_value(written: Vec<u8>) -> String {
    let text = match String::from_utf8(written) {
        Ok(text) => text,
        Err(error) => crate::values::frozen::lossy(error.as_bytes()),
    };
    if text.contains("<no value>") {
        text.replace("<no value>", "")
    } else {
        text
    }
}
