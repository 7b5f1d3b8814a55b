//! Kubernetes' own kinds: one readable table (`kinds.txt`), and the few functions that it names.

mod autoscaling;
mod cells;
mod cells_pod;
mod checks;
mod defaults;
mod events;
mod rules;
mod rules_admission;
mod rules_batch;
mod rules_devices;
mod rules_network;
mod rules_parts;
mod rules_pod;
mod rules_resources;
mod rules_rollout;
mod rules_scaling;
mod rules_storage;
mod service;
mod shown;

pub(crate) use defaults::count_templates;
pub(crate) use rules_admission::{webhook_service, webhook_url};
pub(crate) use shown::phase_time;

use std::sync::Arc;

use crate::{Catalog, Cell, Column, NameRule, ResourceDef, Scale, Schema};

const KINDS: &str = include_str!("kinds.txt");

impl Catalog {
    /// Kubernetes' own kinds: core, apps, batch, autoscaling, networking, policy, RBAC and the rest.
    pub fn kubernetes() -> Self {
        let mut catalog = Self::new();
        for def in table() {
            catalog.add(def);
        }
        catalog
    }

    /// The kinds that any server of this sort needs beside its own: RBAC, reviews, events, leases, definitions.
    pub fn essentials() -> Self {
        let mut catalog = Self::new();
        for def in table() {
            let wanted = matches!(
                def.group.as_str(),
                "rbac.authorization.k8s.io"
                    | "authentication.k8s.io"
                    | "authorization.k8s.io"
                    | "coordination.k8s.io"
            ) || (def.group.is_empty()
                && matches!(def.kind.as_str(), "Event" | "Secret" | "ConfigMap"));
            if wanted {
                catalog.add(def);
            }
        }
        catalog
    }
}

fn list(field: &str) -> Vec<String> {
    if field == "-" {
        return Vec::new();
    }
    field.split(',').map(str::to_owned).collect()
}

fn table() -> Vec<ResourceDef> {
    let mut defs: Vec<(ResourceDef, Vec<&str>)> = Vec::new();
    for line in KINDS.lines() {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        if line.starts_with(' ') {
            if let Some((_, columns)) = defs.last_mut() {
                columns.push(line.trim());
            }
            continue;
        }
        let fields: Vec<&str> = line.split_whitespace().collect();
        let &[
            api_version,
            kind,
            plural,
            scope,
            short,
            categories,
            flags,
            selectable,
        ] = fields.as_slice()
        else {
            // the table is checked by a test
            continue;
        };
        let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
        let mut def = ResourceDef::new(group, version, kind, plural, scope == "ns");
        def.schema = Schema::Builtin;
        def.generation = false;
        def.allow_unconditional_update = true;
        def.short_names = list(short);
        def.categories = list(categories);
        def.selectable_fields = list(selectable);
        for flag in list(flags) {
            set_flag(&mut def, &flag);
        }
        defs.push((def, Vec::new()));
    }
    defs.into_iter()
        .map(|(mut def, lines)| {
            def.columns = columns(&lines);
            def.default = defaults::of(&def.group, &def.kind);
            def.validate = rules::of(&def.group, &def.version, &def.kind);
            def.shown = shown::of(&def.group, &def.kind);
            def.born = shown::born(&def.group, &def.kind);
            if def.kind == "Event" {
                let new = !def.group.is_empty();
                def.validate = Some(Arc::new(if new {
                    events::check_new
                } else {
                    events::check_old
                }));
                def.stored_as = new.then_some(events::STORED);
            }
            if def.group == "autoscaling" && def.version == "v1" {
                def.stored_as = Some(autoscaling::STORED);
                def.default = Some(Arc::new(autoscaling::default));
            }
            if def.kind == "Pod" {
                def.grace = Some(defaults::pod_grace);
            }
            def
        })
        .collect()
}

fn set_flag(def: &mut ResourceDef, flag: &str) {
    match flag.split_once(':') {
        Some(("sub", name)) => def.subresources.push(name.to_owned()),
        Some(("no", verb)) => def.verbs.retain(|known| known != verb),
        Some(("only", verbs)) => def.verbs = verbs.split('+').map(str::to_owned).collect(),
        Some(("hash", version)) => def.hashed_version = Some(version.to_owned()),
        Some(("looks", words)) => {
            let named = |word: &str| words.split('+').any(|known| known == word);
            def.looks.whole = named("whole");
            def.looks.update = named("update");
            def.looks.finalizers = !named("plain");
        }
        Some(("name", "label")) => def.names = NameRule::Label,
        Some(("name", "label1035")) => def.names = NameRule::Label1035,
        Some(("name", "path")) => def.names = NameRule::PathSegment,
        _ => match flag {
            "status" => def.status_subresource = true,
            "born" => def.create_with_status = true,
            "gen" => def.generation = true,
            "strict" => def.allow_unconditional_update = false,
            "upsert" => def.allow_create_on_update = true,
            "review" => {
                def.review = true;
                def.verbs = vec!["create".to_owned()];
            }
            "scale" => {
                def.scale = Some(Scale {
                    spec_replicas: ".spec.replicas".to_owned(),
                    status_replicas: ".status.replicas".to_owned(),
                    selector: ".spec.selector".to_owned(),
                });
            }
            _ => {}
        },
    }
}

/// What stands there, of whichever type.
fn as_it_stands(path: String) -> Cell {
    Cell::Compute(Arc::new(move |object, _| {
        let found = crate::jsonpath::find(object, &path);
        let found = found.first().map(|found| (*found).clone());
        found.unwrap_or_else(|| serde_json::json!("<none>"))
    }))
}

fn columns(lines: &[&str]) -> Vec<Column> {
    let (mut out, mut named, mut aged) = (Vec::new(), false, false);
    for line in lines {
        if *line == "!none" {
            aged = true;
            continue;
        }
        let mut parts = line.splitn(3, '|');
        let (Some(heading), Some(kind), Some(source)) = (parts.next(), parts.next(), parts.next())
        else {
            continue;
        };
        let replaces = heading.starts_with('!');
        let heading = heading.trim_start_matches('!');
        let wide = heading.ends_with('*');
        let heading = heading.trim_end_matches('*');
        let named_so = heading.strip_suffix("=name");
        let heading = named_so.unwrap_or(heading);
        if replaces {
            named = true;
            aged |= heading == "Last Seen";
        }
        aged |= source == "@age";
        let cell = match source.strip_prefix('@') {
            Some("age") => Cell::Age,
            Some(function) => match cells::of(function) {
                Some(function) => Cell::Compute(Arc::new(function)),
                // the table is checked by a test
                None => continue,
            },
            None => match source.strip_prefix('#') {
                Some(path) => as_it_stands(path.to_owned()),
                None => Cell::Path(source.to_owned()),
            },
        };
        let mut column = Column::path(heading, kind, "");
        column.cell = cell;
        if wide {
            column.priority = 1;
        }
        if heading == "Name" || named_so.is_some() {
            column.format = "name".to_owned();
        }
        out.push(column);
    }
    if !named {
        out.insert(0, Column::name());
    }
    if !aged {
        out.push(Column::age());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_table_is_understood() {
        let rows = KINDS
            .lines()
            .filter(|line| !line.trim().is_empty() && !line.starts_with(['#', ' ']));
        assert_eq!(table().len(), rows.count());
        for line in KINDS.lines().filter(|line| line.starts_with(' ')) {
            let line = line.trim();
            if line == "!none" {
                continue;
            }
            let source = line.splitn(3, '|').nth(2).expect(line);
            match source.strip_prefix('@') {
                Some("age") => {}
                Some(function) => assert!(cells::of(function).is_some(), "no cell {function}"),
                None => {
                    let path = source.trim_start_matches('#');
                    assert!(crate::jsonpath::is_valid(path), "{line}");
                }
            }
        }
        let catalog = Catalog::kubernetes();
        let pods = catalog.get("", "v1", "pods").expect("there are pods");
        let headings: Vec<&str> = pods.columns.iter().map(|column| &*column.name).collect();
        assert_eq!(
            headings[..5],
            ["Name", "Ready", "Status", "Restarts", "Age"]
        );
        let events = catalog.get("", "v1", "events").expect("there are events");
        assert_eq!(events.columns[0].name, "Last Seen");
        let roles = catalog
            .preferred("rbac.authorization.k8s.io", "roles")
            .expect("there are roles");
        assert_eq!(roles.columns.len(), 2);
    }
}
