//! What a server says of itself, and its lists and tables of every kind: one line a resource, compared whole.
//!
//! `discovery.real.txt` and `lists.real.txt` hold what kube-apiserver answered, `discovery-differences.txt` where this server answers
//! otherwise, and why.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::servers::{Ask, Ours, Sent};
use crate::{bodies, create_all, folder, mask, path_of, real, text};

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
const TABLE: &str = "application/json;as=Table;g=meta.k8s.io;v=v1";

fn get(server: &dyn Ask, path: &str, accept: &str) -> Value {
    let mut sent = Sent::json("GET", path.to_owned(), &Value::Null);
    sent.accept = accept.to_owned();
    server.ask(&sent)["body"].clone()
}

/// Takes a field out; what is left over at the end is shown as it is.
fn take(map: &mut Map<String, Value>, field: &str) -> Value {
    map.remove(field).unwrap_or_default()
}

fn words(value: &Value) -> String {
    let words: Vec<&str> = value
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    if words.is_empty() {
        "-".to_owned()
    } else {
        words.join(",")
    }
}

/// Shows the fields that are always there in few words, and all others as they are.
fn line(value: &Value, plain: &[&str], lists: &[&str]) -> String {
    let mut map = value.as_object().cloned().unwrap_or_default();
    let mut out = Vec::new();
    for field in plain {
        out.push(match take(&mut map, field) {
            Value::String(text) if text.is_empty() => "\"\"".to_owned(),
            Value::String(text) => text,
            other => other.to_string(),
        });
    }
    for field in lists {
        out.push(words(&take(&mut map, field)));
    }
    if !map.is_empty() {
        out.push(Value::Object(map).to_string());
    }
    out.join(" ")
}

fn kind_of(entry: &mut Map<String, Value>) {
    let kind = &entry["responseKind"];
    let part = |field: &str| kind[field].as_str().unwrap_or("?").to_owned();
    let shown = format!("{}/{}/{}", part("group"), part("version"), part("kind"));
    entry.insert("responseKind".to_owned(), json!(shown));
}

fn aggregated(server: &dyn Ask, path: &str, out: &mut Vec<String>) {
    let mut document = get(server, path, AGGREGATED);
    let groups = take(document.as_object_mut().expect("a document"), "items");
    out.push(format!("{path} at once: {document}"));
    for group in groups.as_array().into_iter().flatten() {
        let mut head = group.clone();
        let versions = take(head.as_object_mut().expect("a group"), "versions");
        out.push(format!("  {head}"));
        for version in versions.as_array().into_iter().flatten() {
            let mut head = version.clone();
            let resources = take(head.as_object_mut().expect("a version"), "resources");
            out.push(format!("    {head}"));
            for resource in resources.as_array().into_iter().flatten() {
                let mut resource = resource.as_object().cloned().unwrap_or_default();
                kind_of(&mut resource);
                let below = take(&mut resource, "subresources");
                out.push(format!(
                    "      {}",
                    line(
                        &Value::Object(resource),
                        &["resource", "singularResource", "responseKind", "scope"],
                        &["shortNames", "categories", "verbs"]
                    )
                ));
                for one in below.as_array().into_iter().flatten() {
                    let mut one = one.as_object().cloned().unwrap_or_default();
                    kind_of(&mut one);
                    let one = line(
                        &Value::Object(one),
                        &["subresource", "responseKind"],
                        &["verbs"],
                    );
                    out.push(format!("        {one}"));
                }
            }
        }
    }
}

/// Everything that discovery says, a line a resource.
fn discovery(server: &dyn Ask) -> Vec<String> {
    let mut out = Vec::new();
    aggregated(server, "/api", &mut out);
    aggregated(server, "/apis", &mut out);
    let mut versions = vec!["/api/v1".to_owned()];
    let mut core = get(server, "/api", "application/json");
    // the server's own address
    core["serverAddressByClientCIDRs"][0]["serverAddress"] = json!("");
    out.push(format!("/api: {core}"));
    let groups = get(server, "/apis", "application/json");
    for group in groups["groups"].as_array().into_iter().flatten() {
        out.push(format!("/apis: {group}"));
        let path = format!("/apis/{}", text(group, "/name"));
        out.push(format!(
            "{path}: {}",
            get(server, &path, "application/json")
        ));
        for version in group["versions"].as_array().into_iter().flatten() {
            versions.push(format!("/apis/{}", text(version, "/groupVersion")));
        }
    }
    for path in versions {
        let mut document = get(server, &path, "application/json");
        let resources = take(document.as_object_mut().expect("a document"), "resources");
        out.push(format!("{path}: {document}"));
        for resource in resources.as_array().into_iter().flatten() {
            let plain = ["name", "singularName", "kind", "namespaced"];
            let lists = ["shortNames", "categories", "verbs"];
            out.push(format!("  {}", line(resource, &plain, &lists)));
        }
    }
    let root = get(server, "/openapi/v3", "application/json");
    for (path, entry) in root["paths"].as_object().into_iter().flatten() {
        let address = text(entry, "/serverRelativeURL");
        let address = address
            .split_once("?hash=")
            .map_or("no hash", |(before, _)| before);
        out.push(format!("openapi v3 {path}: {address}"));
    }
    let older = get(server, "/openapi/v2", "application/json");
    for (name, definition) in older["definitions"].as_object().into_iter().flatten() {
        let kinds = definition["x-kubernetes-group-version-kind"].as_array();
        // options are of every group that there is
        let kinds: Vec<String> = kinds
            .into_iter()
            .flatten()
            .map(|kind| {
                format!(
                    "{}/{}/{}",
                    text(kind, "/group"),
                    text(kind, "/version"),
                    text(kind, "/kind")
                )
            })
            .collect();
        let shown = match kinds.as_slice() {
            [] => String::new(),
            [one] => format!(": {one}"),
            _ => ": many".to_owned(),
        };
        out.push(format!("openapi v2 {name}{shown}"));
    }
    out
}

/// Hides how old something is, when it was made, and what was allocated to it.
fn hide(cell: &mut Value) {
    let Some(text) = cell.as_str() else { return };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let shown = if text.strip_suffix('s').is_some_and(digits) {
        "<age>".to_owned()
    } else if text.ends_with('Z') && text.parse::<jiff::Timestamp>().is_ok() {
        "<time>".to_owned()
    } else if text.starts_with("10.96.") {
        "<ip>".to_owned()
    } else if let Some((port, rest)) = text.split_once(":3") {
        let protocol = rest.trim_start_matches(|c: char| c.is_ascii_digit());
        format!("{port}:<port>{protocol}")
    } else {
        return;
    };
    *cell = json!(shown);
}

/// The list of every kind, with one object chosen by its name, and its table.
fn lists(server: &dyn Ask) -> Vec<String> {
    create_all(server);
    let catalog = k8s_apiserver::Catalog::kubernetes();
    let mut out = Vec::new();
    let mut seen = BTreeSet::new();
    for body in bodies() {
        let path = path_of(&catalog, &body).expect("is served");
        let name = text(&body, "/metadata/name");
        let asked = format!("{path}?fieldSelector=metadata.name%3D{name}");
        let mut list = get(server, &asked, "application/json");
        let mut read = get(server, &format!("{path}/{name}"), "application/json");
        let items = take(list.as_object_mut().expect("a list"), "items");
        mask::hide(&mut list);
        // an object of a list does not say what it is
        let whole = [json!([read])].contains(&items);
        if let Some(map) = read.as_object_mut() {
            map.remove("kind");
            map.remove("apiVersion");
        }
        let shown = match (whole, items == json!([read])) {
            (true, _) => "as they are read",
            (_, true) => "as they are read, but for kind and apiVersion",
            _ => "otherwise than they are read",
        };
        let mut table = get(server, &asked, TABLE);
        mask::hide(&mut table);
        if seen.insert(path.clone()) {
            out.push(format!("{path}: {list}, items {shown}"));
            let columns = table["columnDefinitions"].as_array();
            let columns = columns.into_iter().flatten().map(|column| {
                let mut column = column.clone();
                take(column.as_object_mut().expect("a column"), "description");
                line(&column, &["name", "type", "priority"], &[]).replace(" {\"format\":\"\"}", "")
            });
            let columns: Vec<String> = columns.collect();
            out.push(format!(
                "  {} columns: {}",
                table["kind"],
                columns.join(" | ")
            ));
        }
        for row in table["rows"].as_array().into_iter().flatten() {
            let mut cells = row["cells"].clone();
            for cell in cells.as_array_mut().into_iter().flatten() {
                hide(cell);
            }
            out.push(format!("  {cells}"));
        }
    }
    out
}

fn check(name: &str, found: &[String]) {
    let path = folder().join(name);
    let recorded = std::fs::read_to_string(&path).unwrap_or_default();
    let known = std::fs::read_to_string(folder().join("discovery-differences.txt"));
    let known = known.unwrap_or_default();
    let known: BTreeSet<&str> = known
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .collect();
    let expected: BTreeSet<&str> = recorded.lines().collect();
    let ours: BTreeSet<&str> = found.iter().map(String::as_str).collect();
    let excused = |line: &&&str| {
        !known
            .iter()
            .any(|known| line.trim_start().starts_with(known))
    };
    let missing: Vec<String> = expected
        .difference(&ours)
        .filter(excused)
        .map(|line| format!("- {line}"))
        .collect();
    let more: Vec<String> = ours
        .difference(&expected)
        .filter(excused)
        .map(|line| format!("+ {line}"))
        .collect();
    assert!(
        missing.is_empty() && more.is_empty(),
        "{name}\n{}\n{}",
        missing.join("\n"),
        more.join("\n")
    );
}

fn record(name: &str, found: &[String]) {
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(folder().join(name), format!("{}\n", found.join("\n"))).expect("writes");
    }
    let recorded = std::fs::read_to_string(folder().join(name)).unwrap_or_default();
    let recorded: Vec<&str> = recorded.lines().collect();
    assert!(
        recorded == found,
        "{name}: kube-apiserver says otherwise: UPDATE_EXPECT=1"
    );
}

#[test]
fn kube_apiserver_tells_what_it_serves_as_it_did() {
    if let Some(real) = real() {
        record("discovery.real.txt", &discovery(&real));
        record("lists.real.txt", &lists(&real));
    }
}

#[test]
fn this_server_tells_what_it_serves_as_kube_apiserver_does() {
    check("discovery.real.txt", &discovery(&Ours::new()));
}

#[test]
fn this_server_lists_as_kube_apiserver_does() {
    check("lists.real.txt", &lists(&Ours::new()));
}
