//! `roadstead diff`.

use std::fmt::Write as _;
use std::process::ExitCode;

use anyhow::anyhow;
use clap::Args as ClapArgs;
use http::StatusCode;
use k8s_apply::ApplyOptions;
use k8s_apply::schema::TypeRef;
use k8s_object::{Gvk, ObjectId};
use owo_colors::OwoColorize as _;
use roadstead_dispatch::{DriftItem, DriftKind};
use roadstead_plan::{FieldChange, field_changes};
use serde_json::Value;

use super::app_path;
use crate::args::Global;
use crate::client::{Ask, Client, HubArgs, Refused};
use crate::output;
use crate::shell::Outcome;

/// Shows how a cluster differs from what it should run.
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Each object is read in the cluster by its agent, and compared with what applying the desired object would make of it. If
the agent is away, what it reported last is shown. Replicas that somebody scales are theirs, and no difference. What a Secret holds is masked, so changes inside it do not show.

Exit codes: 0 nothing differs, 2 something does, 1 it failed.")]
pub(crate) struct Args {
    /// The App
    app: String,
    /// The cluster
    #[arg(long, short, value_name = "NAME")]
    cluster: String,
    #[command(flatten)]
    hub: HubArgs,
}

/// How one object differs.
enum Difference {
    None,
    Missing,
    Fields(Vec<FieldChange>),
    Unknown(String),
}

/// Runs it.
pub(crate) async fn run(args: Args, global: &Global) -> Outcome {
    let client = args.hub.client()?;
    let path = app_path(&client, &args.app, "desired").await?;
    let answer = client
        .ask(Ask::get(&path).with("cluster", args.cluster.clone()))
        .await?;
    let release = answer["release"].as_u64().unwrap_or_default();
    let app = answer["app"].as_str().unwrap_or(&args.app);
    let heading = format!("{app} on {}, release {release}", args.cluster);
    output::line(heading.bold().to_string())?;
    let drift: Vec<DriftItem> = serde_json::from_value(answer["drift"].clone())
        .map_err(|error| anyhow!("the hub sent drift that cannot be read: {error}"))?;
    if answer["connected"] != true {
        return reported(&args.cluster, &drift, global);
    }
    if answer["current"] != true {
        output::remark(
            global.quiet,
            "the cluster has not taken this release yet: what differs is what is about to change",
        );
    }
    let objects = answer["objects"].as_array().cloned().unwrap_or_default();
    let bar = output::bar(global.quiet, objects.len(), "reading");
    let mut differing = 0;
    let mut unknown = 0;
    for object in &objects {
        let id = object["id"].as_str().unwrap_or_default();
        let found = one(&client, &args.cluster, id, &object["object"]).await;
        bar.inc(1);
        let found = match found {
            Ok(found) => found,
            Err(error) => {
                bar.finish_and_clear();
                return Err(error);
            }
        };
        let name = id
            .parse::<ObjectId>()
            .map_or_else(|_| id.to_owned(), |id| id.readable());
        let once = object["once"] == true;
        let text = match found {
            Difference::None => continue,
            // a number that somebody scaled is theirs; the agent, which sees who wrote it, would report it otherwise
            Difference::Fields(fields) if is_scaled(&fields) && !is_reported(&drift, id) => {
                let live = fields[0].old.clone().unwrap_or_default();
                let text =
                    format!("= {name}: spec.replicas is {live} and left to whoever scales it");
                format!("  {}\n", text.dimmed())
            }
            // a Job that has run may be gone; that is no difference
            Difference::Missing if once => continue,
            Difference::Missing => {
                differing += 1;
                format!("  {}\n", format!("- {name} is not in the cluster").red())
            }
            Difference::Fields(fields) => {
                differing += 1;
                write(&name, &fields)
            }
            Difference::Unknown(why) => {
                unknown += 1;
                format!("  {}\n", format!("? {name}: {why}").yellow())
            }
        };
        bar.suspend(|| output::print(&text))?;
    }
    bar.finish_and_clear();
    let same = objects.len() - differing - unknown;
    let mut summary = format!(
        "{differing} of {} differ, {same} as desired",
        output::count(objects.len(), "object")
    );
    if unknown > 0 {
        let _ = write!(summary, ", {unknown} could not be read");
    }
    output::line(summary)?;
    Ok(match (differing, unknown) {
        (0, 0) => ExitCode::SUCCESS,
        (0, _) => ExitCode::from(1),
        _ => ExitCode::from(2),
    })
}

/// Is the number of replicas all that differs?
fn is_scaled(fields: &[FieldChange]) -> bool {
    matches!(fields, [one] if one.path == "spec.replicas")
}

fn is_reported(drift: &[DriftItem], id: &str) -> bool {
    drift
        .iter()
        .any(|item| item.kind == DriftKind::Changed && item.object.to_string() == id)
}

/// What the agent said before it went away.
fn reported(cluster: &str, drift: &[DriftItem], global: &Global) -> Outcome {
    output::remark(
        global.quiet,
        format!("the agent of {cluster} is not connected; this is what it reported last"),
    );
    for item in drift {
        let what = match item.kind {
            DriftKind::Removed => "was removed by hand".to_owned(),
            DriftKind::Changed if item.fields.is_empty() => "was changed by hand".to_owned(),
            DriftKind::Changed => format!("was changed by hand ({})", item.fields.join(", ")),
        };
        output::line(format!(
            "  {}",
            format!(
                "~ {} {what}, at {}",
                item.object.readable(),
                item.since.seconds()
            )
            .yellow()
        ))?;
    }
    output::line(format!("{} differ", output::count(drift.len(), "object")))?;
    Ok(if drift.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(2)
    })
}

async fn one(
    client: &Client,
    cluster: &str,
    id: &str,
    desired: &Value,
) -> anyhow::Result<Difference> {
    let clusters = client.kind_called("clusters").await?;
    let path = format!("{}/objects", clusters.path(None, Some(cluster)));
    let live = match client.ask(Ask::get(&path).with("object", id)).await {
        Ok(live) => live,
        Err(error) => {
            return match error.downcast_ref::<Refused>() {
                Some(refused) if refused.message.ends_with("not found") => Ok(Difference::Missing),
                Some(refused) if refused.code == StatusCode::SERVICE_UNAVAILABLE => {
                    Ok(Difference::Unknown(refused.message.clone()))
                }
                _ => Err(error),
            };
        }
    };
    Ok(compare(desired, &live))
}

/// What applying the desired object would change in the live one.
fn compare(desired: &Value, live: &Value) -> Difference {
    let Some(gvk) = Gvk::of(desired) else {
        return Difference::Unknown("it has no kind".to_owned());
    };
    let options = ApplyOptions {
        manager: "roadstead",
        force: true,
        subresource: "",
        now: "1970-01-01T00:00:00Z",
        schema: TypeRef::builtin_or_deduced(&gvk),
        reset_fields: None,
        versions: None,
    };
    let mut applied = match k8s_apply::apply(Some(live), desired, &options) {
        Ok(applied) => applied,
        Err(error) => return Difference::Unknown(error.to_string()),
    };
    let mut live = live.clone();
    for object in [&mut applied, &mut live] {
        if let Some(meta) = k8s_object::meta_mut(object) {
            meta.remove("managedFields");
        }
    }
    let fields = field_changes(&live, &applied);
    if fields.is_empty() {
        Difference::None
    } else {
        Difference::Fields(fields)
    }
}

fn write(name: &str, fields: &[FieldChange]) -> String {
    let mut out = format!("  {}\n", format!("~ {name}").yellow());
    for field in fields {
        let _ = writeln!(out, "      {}", field.path.dimmed());
        if let Some(live) = &field.old {
            for line in output::yaml(live).lines() {
                let _ = writeln!(out, "        {}", format!("- {line}").red());
            }
        }
        if let Some(desired) = &field.new {
            for line in output::yaml(desired).lines() {
                let _ = writeln!(out, "        {}", format!("+ {line}").green());
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(desired: &Value, live: &Value, expected: &[&str]) {
        let paths: Vec<String> = match compare(desired, live) {
            Difference::None => Vec::new(),
            Difference::Fields(fields) => fields.into_iter().map(|field| field.path).collect(),
            Difference::Missing => vec!["missing".to_owned()],
            Difference::Unknown(why) => vec![why],
        };
        assert_eq!(paths, expected);
    }

    #[test]
    fn only_what_applying_would_change_differs() {
        let desired = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web" },
            "spec": { "replicas": 2, "template": { "spec": { "containers": [{ "name": "web", "image": "a:1" }] } } },
        });
        // what the cluster adds by itself is no difference
        let mut live = desired.clone();
        live["metadata"]["uid"] = json!("x");
        live["spec"]["template"]["spec"]["containers"][0]["imagePullPolicy"] = json!("Always");
        live["status"] = json!({ "replicas": 2 });
        check(&desired, &live, &[]);
        live["spec"]["replicas"] = json!(5);
        live["spec"]["template"]["spec"]["containers"][0]["image"] = json!("a:2");
        check(
            &desired,
            &live,
            &[
                "spec.replicas",
                "spec.template.spec.containers[name=web].image",
            ],
        );
    }

    #[test]
    fn masked_secrets_are_alike() {
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "s" }, "data": { "a": "***" },
        });
        check(&secret, &secret, &[]);
    }
}
