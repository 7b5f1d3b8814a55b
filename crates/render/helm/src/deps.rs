//! Which of the charts in a chart take part: aliases, conditions, tags, and the values that a parent takes over.
//!
//! Helm changes charts in place here, and what it shares between copies can be seen in the result, the more so in Helm 3.
//! So charts are numbered nodes, and what Helm copies is copied, what it shares is shared.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;

use roadstead_template::{Map, Value};
use serde_json::Value as Json;

use crate::Dialect;
use crate::load::{Dependency, Loaded};
use crate::semver;
use crate::values::coalesce::{self, Coalescer, Mismatch, path_value, put};
use crate::values::frozen::{Table, deep_copy_map};

/// Every chart of a loaded tree, numbered from the root down, and what is known of each before rendering.
#[derive(Debug)]
pub(crate) struct Forest {
    pub(crate) charts: Vec<Arc<Loaded>>,
    /// The charts in each chart.
    children: Vec<Vec<usize>>,
    values: Vec<Table>,
}

impl Forest {
    pub(crate) fn new(root: Arc<Loaded>) -> Self {
        let mut forest = Self {
            charts: Vec::new(),
            children: Vec::new(),
            values: Vec::new(),
        };
        forest.add(&root);
        forest
    }

    fn add(&mut self, chart: &Arc<Loaded>) -> usize {
        let index = self.charts.len();
        self.charts.push(Arc::clone(chart));
        self.children.push(Vec::new());
        self.values.push(Table::of(&chart.values));
        for child in &chart.dependencies {
            let child = self.add(child);
            self.children[index].push(child);
        }
        index
    }
}

/// One chart that takes part, under the name that it has there.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    /// Its number in the forest.
    pub(crate) chart: usize,
    pub(crate) name: String,
    pub(crate) values: Table,
    /// The dependencies that it names, as numbers; none if it names none.
    pub(crate) named: Option<Vec<usize>>,
    pub(crate) children: Vec<usize>,
    parent: Option<usize>,
}

/// The charts that take part, from the root (number 0) down.
#[derive(Debug, Clone)]
pub(crate) struct Tree {
    pub(crate) nodes: Vec<Node>,
    pub(crate) dependencies: Vec<Dependency>,
    dialect: Dialect,
}

impl Tree {
    /// Finds out which charts take part with the values that are given.
    pub(crate) fn enabled(
        forest: &Forest,
        given: &Map,
        dialect: Dialect,
        warnings: &mut Vec<String>,
    ) -> Result<Self, Mismatch> {
        let mut tree = Self {
            nodes: Vec::new(),
            dependencies: Vec::new(),
            dialect,
        };
        tree.plant(forest, 0, None);
        tree.enable(forest, 0, given, "", warnings)?;
        Ok(tree)
    }

    fn plant(&mut self, forest: &Forest, chart: usize, parent: Option<usize>) -> usize {
        let metadata = &forest.charts[chart].metadata;
        let named = metadata.dependencies.as_ref().map(|list| {
            list.iter()
                .map(|dependency| {
                    self.dependencies.push(dependency.clone());
                    self.dependencies.len() - 1
                })
                .collect()
        });
        let node = self.nodes.len();
        self.nodes.push(Node {
            chart,
            name: metadata.name.clone(),
            values: forest.values[chart].clone(),
            named,
            children: Vec::new(),
            parent,
        });
        for &child in &forest.children[chart] {
            let child = self.plant(forest, child, Some(node));
            self.nodes[node].children.push(child);
        }
        node
    }

    fn enable(
        &mut self,
        forest: &Forest,
        at: usize,
        given: &Map,
        path: &str,
        warnings: &mut Vec<String>,
    ) -> Result<(), Mismatch> {
        let Some(named) = self.nodes[at].named.clone() else {
            return Ok(());
        };
        let version = |tree: &Self, node: usize| {
            forest.charts[tree.nodes[node].chart]
                .metadata
                .version
                .clone()
        };
        let present = self.nodes[at].children.clone();
        // What is there without being named takes part as it is.
        let mut children: Vec<usize> = present
            .iter()
            .copied()
            .filter(|&child| {
                !named.iter().any(|&one| {
                    let dependency = &self.dependencies[one];
                    self.nodes[child].name == dependency.name
                        && semver::in_range(&dependency.version, &version(self, child))
                })
            })
            .collect();
        for &one in &named {
            let dependency = self.dependencies[one].clone();
            let found = present.iter().copied().find(|&child| {
                self.nodes[child].name == dependency.name
                    && semver::in_range(&dependency.version, &version(self, child))
            });
            if let Some(found) = found {
                let copy = self.copy(found, &dependency.alias);
                children.push(copy);
            }
            if !dependency.alias.is_empty() {
                self.dependencies[one].name = dependency.alias;
            }
        }
        self.adopt(at, children);

        for &one in &named {
            self.dependencies[one].enabled = true;
        }
        let values = self.coalesce(at, given, false, warnings)?;
        self.apply_tags(&named, &values, warnings);
        self.apply_conditions(&named, &values, path, warnings);
        let removed: BTreeSet<String> = named
            .iter()
            .map(|&one| &self.dependencies[one])
            .filter(|dependency| !dependency.enabled)
            .map(|dependency| dependency.name.clone())
            .collect();
        let kept: Vec<usize> = self.nodes[at]
            .children
            .iter()
            .copied()
            .filter(|&child| !removed.contains(&self.nodes[child].name))
            .collect();
        let named: Vec<usize> = named
            .into_iter()
            .filter(|&one| !removed.contains(&self.dependencies[one].name))
            .collect();
        for &child in &kept {
            let below = format!("{path}{}.", self.nodes[child].name);
            self.enable(forest, child, &values, &below, warnings)?;
        }
        self.nodes[at].named = (!named.is_empty()).then_some(named);
        self.adopt(at, kept);
        Ok(())
    }

    /// Copies a chart that a dependency names, under its alias if it has one.
    fn copy(&mut self, found: usize, alias: &str) -> usize {
        let mut copy = self.nodes[found].clone();
        if !alias.is_empty() {
            alias.clone_into(&mut copy.name);
        }
        if self.dialect.is_4() {
            // Helm 3 shares the list of dependencies, so that what one copy changes in them, the next one finds.
            if let Some(named) = &mut copy.named {
                for one in named {
                    self.dependencies.push(self.dependencies[*one].clone());
                    *one = self.dependencies.len() - 1;
                }
            }
        }
        let children = copy.children.clone();
        self.nodes.push(copy);
        let at = self.nodes.len() - 1;
        if self.dialect.is_4() {
            let mut copies = Vec::new();
            for child in children {
                self.nodes.push(self.nodes[child].clone());
                copies.push(self.nodes.len() - 1);
            }
            self.adopt(at, copies);
        }
        at
    }

    fn adopt(&mut self, at: usize, children: Vec<usize>) {
        for &child in &children {
            self.nodes[child].parent = Some(at);
        }
        self.nodes[at].children = children;
    }

    fn apply_tags(&mut self, named: &[usize], values: &Map, warnings: &mut Vec<String>) {
        let Some(tags) = coalesce::table(values, "tags") else {
            return;
        };
        for &one in named {
            let dependency = &mut self.dependencies[one];
            let (mut on, mut off) = (false, false);
            for tag in dependency.tags.iter().flatten() {
                match tags.get(tag.as_bytes()) {
                    Some(Value::Bool(true)) => on = true,
                    Some(Value::Bool(false)) => off = true,
                    None => {}
                    Some(_) => warnings.push(format!(
                        "warning: tag {tag:?} of chart {} is no boolean",
                        dependency.name
                    )),
                }
            }
            dependency.enabled = on || !off;
        }
    }

    fn apply_conditions(
        &mut self,
        named: &[usize],
        values: &Map,
        path: &str,
        warnings: &mut Vec<String>,
    ) {
        for &one in named {
            let dependency = &mut self.dependencies[one];
            for condition in dependency.condition.trim().split(',') {
                if condition.is_empty() {
                    continue;
                }
                match path_value(values, &format!("{path}{condition}")) {
                    Some(Value::Bool(enabled)) => {
                        dependency.enabled = enabled;
                        break;
                    }
                    None => {}
                    Some(_) => warnings.push(format!(
                        "warning: condition {condition} of chart {} is no boolean",
                        dependency.name
                    )),
                }
            }
        }
    }

    /// The values of a chart and the charts in it over what is given.
    pub(crate) fn coalesce(
        &self,
        at: usize,
        given: &Map,
        merge: bool,
        warnings: &mut Vec<String>,
    ) -> Result<Map, Mismatch> {
        Coalescer {
            dialect: self.dialect,
            merge,
            warnings,
        }
        .values(&View { tree: self, at }, given)
    }

    /// Tells trees apart: two of the same forest with the same key are the same.
    pub(crate) fn key(&self) -> String {
        let mut key = String::new();
        self.write_key(0, &mut key);
        key
    }

    fn write_key(&self, at: usize, key: &mut String) {
        let node = &self.nodes[at];
        // Writing to a string does not fail.
        let _ = write!(key, "{}:{}<", node.chart, node.name);
        for &one in node.named.iter().flatten() {
            let _ = write!(key, "{},", self.dependencies[one].name);
        }
        for &child in &node.children {
            self.write_key(child, key);
        }
        key.push('>');
    }

    /// Lets parents take over values of the charts in them, from below.
    pub(crate) fn import_values(&mut self, warnings: &mut Vec<String>) -> Result<(), Mismatch> {
        self.import(0, warnings)
    }

    fn import(&mut self, at: usize, warnings: &mut Vec<String>) -> Result<(), Mismatch> {
        for child in self.nodes[at].children.clone() {
            self.import(child, warnings)?;
        }
        let Some(named) = self.nodes[at].named.clone() else {
            return Ok(());
        };
        let values = self.coalesce(at, &Map::new(), true, warnings)?;
        let mut coalescer = Coalescer {
            dialect: self.dialect,
            merge: true,
            warnings,
        };
        let imported = Map::new();
        for one in named {
            let dependency = &mut self.dependencies[one];
            let Some(imports) = &dependency.import_values else {
                continue;
            };
            let mut done = Vec::new();
            for import in imports {
                let (child, parent) = match import {
                    Json::String(export) => (format!("exports.{export}"), ".".to_owned()),
                    // A map that Helm 3 has rewritten already is not recognised again.
                    Json::Object(map) if !map.contains_key(REWRITTEN) => {
                        (printed(map.get("child")), printed(map.get("parent")))
                    }
                    _ => continue,
                };
                done.push(serde_json::json!({"child": child, "parent": parent, REWRITTEN: true}));
                let path = format!("{}.{child}", dependency.name);
                let Some(table) = coalesce::table(&values, &path) else {
                    coalescer.warnings.push(format!(
                        "warning: chart {} has no table {child} to import",
                        dependency.name
                    ));
                    continue;
                };
                let table = if parent == "." {
                    table
                } else {
                    parent.rsplit('.').fold(table, |inner, name| {
                        let outer = Map::new();
                        put(&outer, name, Value::Map(inner));
                        outer
                    })
                };
                coalescer.tables(&imported, &table, "");
            }
            dependency.import_values = Some(done);
        }
        let values = deep_copy_map(&values);
        coalescer.tables(&values, &imported, "");
        self.nodes[at].values = Table::freeze(&values);
        Ok(())
    }

    /// Where a chart lies by the names of the charts around it: `root/charts/name`.
    pub(crate) fn full_path(&self, at: usize) -> String {
        let mut names = vec![self.nodes[at].name.as_str()];
        let mut parent = self.nodes[at].parent;
        while let Some(at) = parent {
            names.push(&self.nodes[at].name);
            parent = self.nodes[at].parent;
        }
        names.reverse();
        names.join("/charts/")
    }

    /// Where the values of a chart lie in those of the root.
    pub(crate) fn value_path(&self, at: usize) -> String {
        let full = self.full_path(at);
        let mut names = full.split("/charts/");
        names.next();
        names.collect::<Vec<_>>().join(".")
    }

    /// Whether a chart is the outermost one.
    pub(crate) fn is_root(&self, at: usize) -> bool {
        self.nodes[at].parent.is_none()
    }
}

/// Marks an entry of `import-values` that was rewritten.
pub(crate) const REWRITTEN: &str = "\0rewritten";

/// A chart of a tree.
struct View<'a> {
    tree: &'a Tree,
    at: usize,
}

impl coalesce::Chart for View<'_> {
    fn name(&self) -> &str {
        &self.tree.nodes[self.at].name
    }
    fn values(&self) -> &Table {
        &self.tree.nodes[self.at].values
    }
    fn children(&self) -> impl Iterator<Item = Self> {
        self.tree.nodes[self.at].children.iter().map(|&at| View {
            tree: self.tree,
            at,
        })
    }
}

/// A value of `import-values` as Go's `%v` prints it.
fn printed(value: Option<&Json>) -> String {
    match value {
        None | Some(Json::Null) => "<nil>".to_owned(),
        Some(Json::String(text)) => text.clone(),
        Some(Json::Number(number)) => base_yaml::go::format_g(number.as_f64().unwrap_or_default()),
        Some(other) => other.to_string(),
    }
}

/// Says that charts are named but not there; in Helm's words.
pub(crate) fn missing(root: &Loaded, dialect: Dialect) -> Result<(), String> {
    let missing: Vec<&str> = root
        .metadata
        .dependencies
        .iter()
        .flatten()
        .map(|dependency| dependency.name.as_str())
        .filter(|name| {
            !root
                .dependencies
                .iter()
                .any(|child| child.metadata.name == *name)
        })
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let (an, command) = if dialect.is_3() {
        ("An", "`helm dependency build`")
    } else {
        ("an", "'helm dependency build'")
    };
    Err(format!(
        "{an} error occurred while checking for chart dependencies. You may need to run {command} to fetch missing dependencies: found in Chart.yaml, but missing in charts/ directory: {}",
        missing.join(", ")
    ))
}
