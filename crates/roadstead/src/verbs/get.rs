//! `roadstead get`.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use clap::{Args as ClapArgs, ValueEnum};
use serde_json::{Value, json};

use crate::args::Global;
use crate::client::{Ask, Client, HubArgs, Kind, Target};
use crate::output::{self, Table};
use crate::shell::Outcome;

/// How many items a request asks for, where all are wanted.
const PAGE: usize = 500;

/// Shows nouns.
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  roadstead get clusters
  roadstead get apps -w
  roadstead get assignments -l ring=canary --field-selector status.state=Failed
  roadstead get rollout/guestbook-3 -o yaml
  roadstead get tasks -o wide                what the hub does in the background
  roadstead get audit --limit 20             who did what, the newest first
  roadstead get hub                          the hub itself")]
pub(crate) struct Args {
    /// What: KIND, KIND NAME…, KIND,KIND or KIND/NAME…
    #[arg(required = true, value_name = "KIND")]
    what: Vec<String>,
    /// How to write it
    #[arg(long, short, value_enum, value_name = "FORMAT")]
    output: Option<Format>,
    /// Go on showing what changes
    #[arg(long, short)]
    watch: bool,
    /// Only those with these labels, such as `ring=canary,region in (eu, us)`
    #[arg(long, short = 'l', value_name = "SELECTOR", default_value = "")]
    selector: String,
    /// Only those with these fields, such as `spec.app=guestbook`
    #[arg(long, value_name = "SELECTOR", default_value = "")]
    field_selector: String,
    /// At most so many; the answer says how many more there are
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Go on behind the page that ended with this token
    #[arg(long, value_name = "TOKEN", default_value = "", requires = "limit")]
    r#continue: String,
    /// In every Project
    #[arg(long, short = 'A')]
    all_projects: bool,
    /// Leave the headings out
    #[arg(long)]
    no_headers: bool,
    /// Keep metadata.managedFields in YAML and JSON
    #[arg(long)]
    show_managed_fields: bool,
    #[command(flatten)]
    hub: HubArgs,
}

/// How to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// More columns
    Wide,
    /// JSON
    Json,
    /// YAML
    Yaml,
    /// Names only
    Name,
}

/// Runs it.
pub(crate) async fn run(args: Args, global: &Global) -> Outcome {
    let client = args.hub.client()?;
    let targets = client.targets(&args.what).await?;
    if args.watch {
        let [target] = targets.as_slice() else {
            bail!("--watch follows one kind at a time");
        };
        if target.names.len() > 1 {
            bail!("--watch follows one name, or all of a kind");
        }
        return watch(&client, target, &args).await;
    }
    match args.output {
        Some(Format::Json | Format::Yaml) => objects(&client, &targets, &args, global).await,
        _ => rows(&client, &targets, &args, global).await,
    }
}

impl Args {
    fn project<'a>(&self, client: &'a Client) -> Option<&'a str> {
        (!self.all_projects).then_some(client.project.as_str())
    }

    fn wide(&self) -> bool {
        self.output == Some(Format::Wide)
    }

    fn list<'a>(&self, path: &'a str) -> Ask<'a> {
        Ask::get(path)
            .with("labelSelector", self.selector.clone())
            .with("fieldSelector", self.field_selector.clone())
    }
}

/// One page of a list, and how many more there are.
struct Page {
    answer: Value,
    more: Option<More>,
}

struct More {
    token: String,
    remaining: Option<u64>,
}

async fn pages(
    client: &Client,
    kind: &Kind,
    args: &Args,
    table: bool,
    mut each: impl FnMut(Value),
) -> anyhow::Result<Option<More>> {
    let path = kind.path(args.project(client), None);
    let mut token = args.r#continue.clone();
    loop {
        let mut ask = args
            .list(&path)
            .with("limit", args.limit.unwrap_or(PAGE).to_string())
            .with("continue", token.clone());
        if table {
            ask = ask.rows();
        }
        let page = page(client.ask(ask).await?);
        each(page.answer);
        match page.more {
            Some(more) if args.limit.is_none() => token = more.token,
            more => return Ok(more),
        }
    }
}

fn page(answer: Value) -> Page {
    let token = answer["metadata"]["continue"].as_str().unwrap_or_default();
    let more = (!token.is_empty()).then(|| More {
        token: token.to_owned(),
        remaining: answer["metadata"]["remainingItemCount"].as_u64(),
    });
    Page { answer, more }
}

/// The tables of what is asked for, one for each kind.
async fn rows(client: &Client, targets: &[Target], args: &Args, global: &Global) -> Outcome {
    let several = targets
        .iter()
        .any(|target| target.kind.plural != targets[0].kind.plural);
    let mut shown = 0;
    let mut printed: BTreeMap<&str, Shower> = BTreeMap::new();
    for target in targets {
        let mut tables = Vec::new();
        let mut more = None;
        if target.names.is_empty() {
            more = pages(client, &target.kind, args, true, |table| tables.push(table)).await?;
        } else {
            for name in &target.names {
                tables.push(one_table(client, &target.kind, name, args).await?);
            }
        }
        let first = !printed.contains_key(target.kind.plural.as_str());
        let shower = printed
            .entry(target.kind.plural.as_str())
            .or_insert_with(|| Shower::new(&target.kind, args, several));
        for table in &tables {
            shown += shower.add(table);
        }
        if several && first && shown > 0 && args.output != Some(Format::Name) {
            let before = printed.len() > 1;
            if before {
                output::print("\n")?;
            }
        }
        if let Some(shower) = printed.get_mut(target.kind.plural.as_str()) {
            output::print(&shower.take())?;
        }
        if let Some(more) = more {
            let many = more
                .remaining
                .map_or_else(|| "more".to_owned(), |number| format!("{number} more"));
            output::remark(
                global.quiet,
                format!("… and {many}; go on with --continue {}", more.token),
            );
        }
    }
    if shown == 0 && args.output != Some(Format::Name) {
        let plurals: Vec<&str> = targets.iter().map(|t| t.kind.plural.as_str()).collect();
        let namespaced = targets.iter().any(|target| target.kind.namespaced);
        let place = if namespaced && !args.all_projects {
            format!(" in project {}", client.project)
        } else {
            String::new()
        };
        let selected = !args.selector.is_empty() || !args.field_selector.is_empty();
        let matching = if selected { " that match" } else { "" };
        output::remark(
            global.quiet,
            format!("no {}{matching}{place}", plurals.join(", ")),
        );
    }
    Ok(ExitCode::SUCCESS)
}

async fn one_table(client: &Client, kind: &Kind, name: &str, args: &Args) -> anyhow::Result<Value> {
    if args.all_projects && kind.namespaced {
        bail!("a name is looked for in one Project: leave --all-projects out");
    }
    let path = kind.path(Some(&client.project), Some(name));
    client.ask(Ask::get(&path).rows()).await
}

/// Turns the hub's tables into text.
struct Shower {
    kind: Kind,
    name_only: bool,
    wide: bool,
    project: bool,
    heading: bool,
    table: Option<(Table, Vec<usize>)>,
    prefix: bool,
    lines: String,
}

impl Shower {
    fn new(kind: &Kind, args: &Args, prefix: bool) -> Self {
        Self {
            kind: kind.clone(),
            name_only: args.output == Some(Format::Name),
            wide: args.wide(),
            project: args.all_projects && kind.namespaced,
            heading: !args.no_headers,
            table: None,
            prefix,
            lines: String::new(),
        }
    }

    /// Adds the rows of a table; how many there are.
    fn add(&mut self, answer: &Value) -> usize {
        let rows = answer["rows"].as_array().map(Vec::as_slice).unwrap_or(&[]);
        if self.name_only {
            for row in rows {
                let name = k8s_object::name(&row["object"]);
                self.lines.push_str(&self.kind.readable(name));
                self.lines.push('\n');
            }
            return rows.len();
        }
        if self.table.is_none() && !answer["columnDefinitions"].is_null() {
            let columns = output::columns(answer, self.wide);
            let heading = columns.iter().map(|(_, name)| name.clone());
            let project = self.project.then(|| "Project".to_owned());
            let table = Table::new(project.into_iter().chain(heading));
            self.table = Some((table, columns.into_iter().map(|(index, _)| index).collect()));
        }
        let Some((table, columns)) = &mut self.table else {
            return 0;
        };
        for row in rows {
            let project = self
                .project
                .then(|| k8s_object::namespace(&row["object"]).to_owned());
            let cells = columns.iter().enumerate().map(|(place, index)| {
                let cell = cell(&row["cells"][*index]);
                if place == 0 && self.prefix {
                    self.kind.readable(&cell)
                } else {
                    cell
                }
            });
            table.row(project.into_iter().chain(cells));
        }
        rows.len()
    }

    /// What is to be written now; the heading comes with the first rows.
    fn take(&mut self) -> String {
        if self.name_only {
            return std::mem::take(&mut self.lines);
        }
        let Some((table, _)) = &mut self.table else {
            return String::new();
        };
        if table.is_empty() {
            return String::new();
        }
        table.take(std::mem::take(&mut self.heading))
    }
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

async fn objects(client: &Client, targets: &[Target], args: &Args, global: &Global) -> Outcome {
    let mut items = Vec::new();
    let mut whole = None;
    let mut more = None;
    for target in targets {
        if target.names.is_empty() {
            more = pages(client, &target.kind, args, false, |mut list| {
                let api_version = target.kind.api_version.clone();
                if let Some(Value::Array(found)) = list.get_mut("items").map(Value::take) {
                    items.extend(found.into_iter().map(|mut item| {
                        // items of a list need not say what they are
                        if item["kind"].is_null() {
                            item["apiVersion"] = json!(api_version);
                            item["kind"] = json!(target.kind.kind);
                        }
                        item
                    }));
                }
            })
            .await?;
            continue;
        }
        for name in &target.names {
            let path = target.kind.path(Some(&client.project), Some(name));
            items.push(client.ask(Ask::get(&path)).await?);
        }
        if target.names.len() == 1 && targets.len() == 1 {
            whole = items.pop();
        }
    }
    if !args.show_managed_fields {
        for item in items.iter_mut().chain(&mut whole) {
            if let Some(meta) = k8s_object::meta_mut(item) {
                meta.remove("managedFields");
            }
        }
    }
    let value =
        whole.unwrap_or_else(|| json!({ "apiVersion": "v1", "kind": "List", "items": items }));
    if args.output == Some(Format::Json) {
        output::line(serde_json::to_string_pretty(&value)?)?;
    } else {
        output::print(&output::yaml(&value))?;
    }
    if let Some(more) = more {
        let many = more
            .remaining
            .map_or_else(|| "more".to_owned(), |number| format!("{number} more"));
        output::remark(
            global.quiet,
            format!("… and {many}; go on with --continue {}", more.token),
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// Shows what there is, then each change, until interrupted.
async fn watch(client: &Client, target: &Target, args: &Args) -> Outcome {
    let kind = &target.kind;
    if matches!(args.output, Some(Format::Json | Format::Yaml)) {
        bail!("--watch writes rows; leave `-o json` and `-o yaml` out");
    }
    let mut shower = Shower::new(kind, args, false);
    if !kind.verbs.iter().any(|verb| verb == "watch") {
        return poll(client, target, args, shower).await;
    }
    let path = kind.path(args.project(client), None);
    let selector = match target.names.first() {
        Some(name) => format!("metadata.name={name}"),
        None => args.field_selector.clone(),
    };
    let ask = || {
        Ask::get(&path)
            .with("labelSelector", args.selector.clone())
            .with("fieldSelector", selector.clone())
            .rows()
    };
    loop {
        let list = client.ask(ask()).await?;
        shower.add(&list);
        output::print(&shower.take())?;
        let mut version = version_of(&list);
        // a stream ends after a while; it goes on where it ended
        'streams: loop {
            let watch = ask()
                .with("watch", "true")
                .with("allowWatchBookmarks", "true")
                .with("resourceVersion", version.clone());
            let mut lines = client.watch(watch).await?;
            loop {
                let event = tokio::select! {
                    event = lines.next() => event?,
                    _ = tokio::signal::ctrl_c() => return Ok(ExitCode::SUCCESS),
                };
                let Some(event) = event else { break };
                match event["type"].as_str() {
                    // too old: everything is read again
                    Some("ERROR") if event["object"]["code"] == 410 => break 'streams,
                    Some("ERROR") => bail!(
                        "the hub ended the watch: {}",
                        event["object"]["message"]
                            .as_str()
                            .unwrap_or("no reason given")
                    ),
                    Some("BOOKMARK") => version = newest(&event["object"], version),
                    _ => {
                        shower.add(&event["object"]);
                        output::print(&shower.take())?;
                        version = newest(&event["object"], version);
                    }
                }
            }
        }
    }
}

fn version_of(object: &Value) -> String {
    let version = object["metadata"]["resourceVersion"].as_str();
    version.unwrap_or_default().to_owned()
}

fn newest(table: &Value, before: String) -> String {
    let row = table["rows"][0]["object"].clone();
    for found in [version_of(&row), version_of(table)] {
        if !found.is_empty() {
            return found;
        }
    }
    before
}

/// The columns that do not change by the clock alone, as ages do.
fn lasting(table: &Value) -> Vec<usize> {
    let columns = table["columnDefinitions"].as_array().into_iter().flatten();
    columns
        .enumerate()
        .filter(|(_, column)| column["type"] != "date" && column["name"] != "Age")
        .map(|(index, _)| index)
        .collect()
}

/// Follows a kind that is made up on the spot and has no change log: asks again and again.
async fn poll(client: &Client, target: &Target, args: &Args, mut shower: Shower) -> Outcome {
    let mut known: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    loop {
        let mut tables = Vec::new();
        match target.names.first() {
            Some(name) => tables.push(one_table(client, &target.kind, name, args).await?),
            None => {
                pages(client, &target.kind, args, true, |table| tables.push(table)).await?;
            }
        }
        for mut table in tables {
            let lasting = lasting(&table);
            let Some(rows) = table["rows"].as_array_mut() else {
                continue;
            };
            rows.retain(|row| {
                let object = &row["object"];
                let key = format!(
                    "{}/{}",
                    k8s_object::namespace(object),
                    k8s_object::name(object)
                );
                let cells: Vec<Value> = lasting
                    .iter()
                    .map(|index| row["cells"][*index].clone())
                    .collect();
                let same = known.get(&key) == Some(&cells);
                if !same {
                    known.insert(key, cells);
                }
                !same
            });
            shower.add(&table);
        }
        output::print(&shower.take())?;
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
            _ = tokio::signal::ctrl_c() => return Ok(ExitCode::SUCCESS),
        }
    }
}
