//! The story: four commits, and what goes wrong on the way. Each part ends with what was to be true.

use std::time::{Duration, Instant};

use http::Method;
use serde_json::{Value, json};

use super::fleet::{Fleet, until};
use super::repository::Repository;
use super::screen::{Check, Screen};
use crate::client::{API, Ask};

const WEB: &str = "/apis/apps/v1/namespaces/shop/deployments/web";
const KIOSK: &str = "/apis/apps/v1/namespaces/kiosk/deployments/kiosk";
const SHOP_WEB: &str = "apps/shop/web.yaml";
const SHOP_API: &str = "apps/shop/api.yaml";

struct Tale<'a> {
    screen: &'a Screen,
    checks: Vec<Check>,
}

impl Tale<'_> {
    fn check(&mut self, what: &str, good: bool, seen: impl Into<String>) {
        let check = Check {
            what: what.to_owned(),
            seen: seen.into(),
            good,
        };
        self.screen.check(&check);
        self.checks.push(check);
    }
}

fn number(value: &Value) -> usize {
    usize::try_from(value.as_u64().unwrap_or(0)).unwrap_or(usize::MAX)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Tells it.
pub(crate) async fn tell(fleet: &mut Fleet, screen: &Screen) -> anyhow::Result<Vec<Check>> {
    let mut tale = Tale {
        screen,
        checks: Vec::new(),
    };
    let repository = Repository::make(&fleet.folder().join("repository"))?;
    let away = fleet
        .members()
        .last()
        .map(|member| member.name.clone())
        .unwrap_or_default();
    let all = fleet.members().len();

    screen.head(&format!(
        "{away} loses its power; the hub is told to follow the repository"
    ));
    fleet.kill_agent(&away).await;
    fleet.offline(&away, true).await?;
    until("the hub's noticing", Duration::from_secs(30), || async {
        let clusters = fleet.list("clusters", false).await?;
        let found = clusters
            .iter()
            .find(|cluster| cluster["metadata"]["name"] == away.as_str());
        Ok(found
            .filter(|cluster| cluster["status"]["connection"] == "Offline")
            .map(drop))
    })
    .await?;
    bootstrap(fleet, &repository.url()).await?;

    first(fleet, &mut tale, &repository, &away, all).await?;
    second(fleet, &mut tale, &repository, &away, all).await?;
    third(fleet, &mut tale, &repository, &away).await?;
    by_hand(fleet, &mut tale).await?;
    fourth(fleet, &mut tale, &repository, &away, all).await?;
    returns(fleet, &mut tale, &away).await?;
    Ok(tale.checks)
}

/// Makes the Source and the App that deliver the repository's nouns into the hub itself.
async fn bootstrap(fleet: &Fleet, url: &str) -> anyhow::Result<()> {
    let nouns = [
        (
            "sources",
            json!({ "git": { "url": url, "branch": "main" }, "interval": "1s" }),
            "Source",
        ),
        (
            "apps",
            json!({ "inputs": [{ "source": "bootstrap", "path": "fleet" }], "targets": [{ "name": "hub", "clusters": { "names": ["hub"] } }] }),
            "App",
        ),
    ];
    for (plural, spec, kind) in nouns {
        let path = format!("{API}/namespaces/default/{plural}");
        let object = json!({
            "apiVersion": "roadstead.dev/v1alpha1", "kind": kind,
            "metadata": { "name": "bootstrap", "namespace": "default" }, "spec": spec,
        });
        fleet
            .client
            .ask(Ask::send(Method::POST, &path, "application/json", &object))
            .await?;
    }
    Ok(())
}

async fn head(fleet: &Fleet) -> anyhow::Result<String> {
    until("the Source's reading", Duration::from_secs(30), || async {
        let sources = fleet.list("sources", true).await?;
        let commit = sources
            .first()
            .map(|source| text(&source["status"]["commit"]))
            .unwrap_or_default();
        Ok((!commit.is_empty()).then_some(commit))
    })
    .await
}

async fn first(
    fleet: &Fleet,
    tale: &mut Tale<'_>,
    _: &Repository,
    away: &str,
    all: usize,
) -> anyhow::Result<()> {
    tale.screen
        .head("Commit 1: four Apps, a Strategy, and what they deliver");
    let started = Instant::now();
    let commit = head(fleet).await?;
    for app in ["shop", "metrics", "greeter", "kiosk"] {
        let rollout = fleet
            .rolled(
                app,
                &commit,
                &["Completed", "Failed", "RolledBack"],
                tale.screen,
            )
            .await?;
        let status = &rollout["status"];
        let healthy = number(&status["healthy"]);
        let seen = format!(
            "{} of {} clusters healthy, {} in {:.1} s",
            healthy,
            all,
            text(&status["phase"]),
            started.elapsed().as_secs_f32()
        );
        tale.check(
            &format!("{app} reaches every cluster that is there"),
            status["phase"] == "Completed" && healthy == all - 1,
            seen,
        );
        if app == "shop" {
            let stages: Vec<String> = status["stages"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|stage| text(&stage["name"]))
                .collect();
            let passed = status["stages"].as_array().into_iter().flatten();
            let ordered = in_order(fleet, &rollout).await?;
            let passed = passed
                .filter(|stage| number(&stage["clusters"]) > 0)
                .all(|stage| stage["phase"] == "Passed");
            tale.check(
                "stage follows stage",
                ordered && passed,
                stages[..3.min(stages.len())].join(" → "),
            );
        }
    }
    let assignments = fleet.assignments("shop").await?;
    let greeters = fleet.assignments("greeter").await?;
    let variants: std::collections::BTreeSet<String> = greeters
        .values()
        .map(|assignment| text(&assignment["spec"]["variant"]))
        .collect();
    tale.check(
        "the greeter's chart is rendered once for each region",
        variants.len() == 3,
        format!(
            "{} clusters share {} variants",
            greeters.len(),
            variants.len()
        ),
    );
    overlays(fleet, tale, away).await?;
    let aside = assignments
        .get(away)
        .is_none_or(|a| a["status"]["state"] != "Healthy");
    tale.check(
        "the cluster that is away is not waited for",
        aside,
        format!("{away} is set aside, everybody else went on"),
    );
    Ok(())
}

/// Has each ring what its own overlay builds?
async fn overlays(fleet: &Fleet, tale: &mut Tale<'_>, away: &str) -> anyhow::Result<()> {
    let mut seen = std::collections::BTreeMap::new();
    for member in fleet.members().iter().filter(|member| member.name != away) {
        let Some(kiosk) = fleet.object(&member.name, KIOSK).await? else {
            continue;
        };
        let said = text(&kiosk["metadata"]["labels"]["example.com/ring"]);
        let replicas = number(&kiosk["spec"]["replicas"]);
        let found: &mut std::collections::BTreeSet<_> =
            seen.entry(member.ring().to_owned()).or_default();
        found.insert((said, replicas));
    }
    let expected = [("canary", 1), ("early", 2), ("main", 3)];
    let good = expected.iter().all(|(ring, replicas)| {
        let only = [((*ring).to_owned(), *replicas)].into();
        seen.get(*ring) == Some(&only)
    });
    let told = seen.iter().map(|(ring, found)| {
        let counts: Vec<String> = found
            .iter()
            .map(|(_, replicas)| replicas.to_string())
            .collect();
        format!("{ring} {}", counts.join("/"))
    });
    tale.check(
        "each ring has what its own overlay of the kiosk builds",
        good && seen.len() == expected.len(),
        format!("replicas: {}", told.collect::<Vec<_>>().join(", ")),
    );
    Ok(())
}

/// Did no cluster of a later stage start before the stages before it had passed?
async fn in_order(fleet: &Fleet, rollout: &Value) -> anyhow::Result<bool> {
    let path = format!("{API}/namespaces/default/apps/shop/history");
    let history = fleet.client.ask(Ask::get(&path)).await?;
    let number = rollout["spec"]["number"].as_u64();
    let events = history["items"].as_array().cloned().unwrap_or_default();
    let at = |reason: &str, stage: &str| {
        events.iter().position(|event| {
            event["rollout"].as_u64() == number
                && event["reason"] == reason
                && text(&event["message"]).starts_with(&format!("stage {stage}"))
        })
    };
    let passed = |stage: &str| at("StagePassed", stage);
    let started = |stage: &str| at("StageStarted", stage);
    Ok(passed("canary") < started("early")
        && passed("early") < started("main")
        && passed("canary").is_some())
}

async fn second(
    fleet: &Fleet,
    tale: &mut Tale<'_>,
    repository: &Repository,
    away: &str,
    all: usize,
) -> anyhow::Result<()> {
    tale.screen
        .head("Commit 2: one replica more for web, another image for api");
    let before = fleet.all_writes().await?;
    repository.replace(SHOP_WEB, "replicas: 2", "replicas: 3")?;
    repository.replace(SHOP_API, "api:1.0.0", "api:1.1.0")?;
    let started = Instant::now();
    let commit = repository.commit("Scale web, update api")?;
    let rollout = fleet
        .rolled(
            "shop",
            &commit,
            &["Completed", "Failed", "RolledBack"],
            tale.screen,
        )
        .await?;
    let status = &rollout["status"];
    let healthy = number(&status["healthy"]);
    let seen = format!(
        "{healthy} of {all} clusters healthy in {:.1} s",
        started.elapsed().as_secs_f32()
    );
    tale.check(
        "it reaches every cluster that is there",
        status["phase"] == "Completed" && healthy == all - 1,
        seen,
    );
    let after = fleet.all_writes().await?;
    let mut touched = std::collections::BTreeSet::new();
    let mut most = 0;
    for (cluster, writes) in after.iter().filter(|(cluster, _)| *cluster != away) {
        let Some(old) = before.get(cluster) else {
            continue;
        };
        for (object, changes) in &writes.objects {
            let new = changes - old.objects.get(object).copied().unwrap_or(0);
            if new > 0 {
                // a removal is counted by the resource's name in the path
                touched.insert(object.replace("batch/jobs/", "batch/Job/"));
                most = most.max(new);
            }
        }
    }
    // the hook is made anew for each Release, and the Job of the Release before goes first
    let expected = [
        "apps/Deployment/shop/api",
        "apps/Deployment/shop/web",
        "batch/Job/shop/migrate",
    ];
    let good = touched
        .iter()
        .all(|object| expected.contains(&object.as_str()))
        && touched.len() == expected.len();
    tale.check(
        "only what changed is applied",
        good,
        touched.into_iter().collect::<Vec<_>>().join(", "),
    );
    let metrics = fleet.rollout("metrics").await?;
    let same = metrics.is_some_and(|rollout| rollout["spec"]["number"] == 1);
    tale.check(
        "the other App is left alone",
        same,
        "metrics has no new Release",
    );
    Ok(())
}

async fn third(
    fleet: &Fleet,
    tale: &mut Tale<'_>,
    repository: &Repository,
    away: &str,
) -> anyhow::Result<()> {
    tale.screen.head("Commit 3: an image that cannot be pulled");
    let before = fleet.all_writes().await?;
    repository.replace(SHOP_WEB, "web:1.0.0", "web:2.0.0-missing")?;
    let started = Instant::now();
    let commit = repository.commit("Release web 2.0.0")?;
    let rollout = fleet
        .rolled("shop", &commit, &["RolledBack", "Completed"], tale.screen)
        .await?;
    let status = &rollout["status"];
    let seen = format!(
        "{} after {:.1} s",
        text(&status["phase"]),
        started.elapsed().as_secs_f32()
    );
    tale.check(
        "the canary stage fails and the rollout stops",
        status["phase"] == "RolledBack",
        seen,
    );
    let canaries: Vec<String> = fleet
        .members()
        .iter()
        .filter(|m| m.ring() == "canary")
        .map(|m| m.name.clone())
        .collect();
    let after = fleet.all_writes().await?;
    let outside = after
        .iter()
        .filter(|(cluster, _)| !canaries.contains(cluster) && *cluster != away);
    let touched: Vec<&str> = outside
        .filter(|(cluster, writes)| before.get(*cluster) != Some(*writes))
        .map(|(c, _)| c.as_str())
        .collect();
    tale.check(
        "no cluster outside canary ever gets it",
        touched.is_empty(),
        if touched.is_empty() {
            "not one write in any of them".to_owned()
        } else {
            touched.join(", ")
        },
    );
    let mut back = Vec::new();
    for canary in &canaries {
        let image = until(
            "the canaries' going back",
            Duration::from_secs(30),
            || async {
                let web = fleet.object(canary, WEB).await?;
                let image =
                    web.map(|web| text(&web["spec"]["template"]["spec"]["containers"][0]["image"]));
                Ok(image.filter(|image| image.ends_with("web:1.0.0")))
            },
        )
        .await;
        back.push(image.is_ok());
    }
    tale.check(
        "the canaries go back by themselves",
        back.iter().all(|back| *back),
        format!("{} run web:1.0.0 again", canaries.join(" and ")),
    );
    let release = fleet
        .release(rollout["spec"]["release"].as_str().unwrap_or_default())
        .await?;
    let phase = release
        .map(|release| text(&release["status"]["phase"]))
        .unwrap_or_default();
    tale.check(
        "the Release is barred",
        phase == "Barred",
        format!("its phase is {phase}"),
    );
    let why = fleet.why("shop", "").await?;
    tale.check(
        "`why` says it in one sentence",
        why.contains("ImagePullBackOff") || why.contains("ErrImagePull"),
        why,
    );
    Ok(())
}

async fn by_hand(fleet: &Fleet, tale: &mut Tale<'_>) -> anyhow::Result<()> {
    let victim = fleet
        .members()
        .iter()
        .find(|member| member.ring() == "main")
        .map(|member| member.name.clone())
        .unwrap_or_default();
    tale.screen.head(&format!(
        "Somebody deletes a Deployment in {victim} by hand"
    ));
    let uid = |object: &Value| text(&object["metadata"]["uid"]);
    let old = fleet
        .object(&victim, WEB)
        .await?
        .map(|web| uid(&web))
        .unwrap_or_default();
    let healed =
        |assignment: Option<&Value>| assignment.map_or(0, |a| number(&a["status"]["healed"]));
    let healed_before = healed(fleet.assignments("shop").await?.get(&victim));
    fleet.delete(&victim, WEB).await?;
    let started = Instant::now();
    until("the healing", Duration::from_secs(20), || async {
        let web = fleet.object(&victim, WEB).await?;
        Ok(web.filter(|web| uid(web) != old).map(drop))
    })
    .await?;
    let took = started.elapsed();
    tale.check(
        "it is healed within a second",
        took < Duration::from_secs(1),
        format!("{} ms", took.as_millis()),
    );
    let shown = until("the drift's showing", Duration::from_secs(10), || async {
        let assignments = fleet.assignments("shop").await?;
        Ok((healed(assignments.get(&victim)) > healed_before).then_some(()))
    })
    .await;
    tale.check(
        "and is shown as drift",
        shown.is_ok(),
        "the assignment counts one more heal",
    );

    let hold = json!({ "command": "hold", "cluster": victim, "hold": { "mode": "Heal" } });
    fleet.act("shop", hold, "looking into it").await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    fleet.delete(&victim, WEB).await?;
    let drift = until("the drift's showing", Duration::from_secs(10), || async {
        let assignments = fleet.assignments("shop").await?;
        let drift = assignments
            .get(&victim)
            .and_then(|a| a["status"]["drift"].as_array().cloned())
            .unwrap_or_default();
        let found = drift
            .iter()
            .find(|item| text(&item["object"]).contains("Deployment/shop/web"));
        Ok(found.map(|item| text(&item["kind"])))
    })
    .await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let absent = fleet.object(&victim, WEB).await?.is_none();
    let seen = format!(
        "shown as {:?}, still away after 2 s",
        drift.as_deref().unwrap_or("nothing")
    );
    tale.check(
        "on hold it is shown, and not healed",
        absent && drift.is_ok(),
        seen,
    );
    fleet
        .act(
            "shop",
            json!({ "command": "unhold", "cluster": victim }),
            "done",
        )
        .await?;
    let back = until(
        "the healing after the hold",
        Duration::from_secs(20),
        || async { Ok(fleet.object(&victim, WEB).await?.map(drop)) },
    )
    .await;
    tale.check(
        "when the hold is lifted it comes back",
        back.is_ok(),
        "healed",
    );
    Ok(())
}

async fn fourth(
    fleet: &mut Fleet,
    tale: &mut Tale<'_>,
    repository: &Repository,
    away: &str,
    all: usize,
) -> anyhow::Result<()> {
    tale.screen
        .head("Commit 4: a good image; the hub is killed in the middle of its rollout");
    let before = fleet.all_writes().await?;
    repository.replace(SHOP_WEB, "web:2.0.0-missing", "web:1.2.0")?;
    let commit = repository.commit("Release web 1.2.0")?;
    let at = until(
        "the middle of the rollout",
        Duration::from_secs(60),
        || async {
            let Some(rollout) = fleet.rollout("shop").await? else {
                return Ok(None);
            };
            let release = fleet
                .release(rollout["spec"]["release"].as_str().unwrap_or_default())
                .await?;
            let ours = release.is_some_and(|release| release["spec"]["commit"] == commit.as_str());
            let healthy = number(&rollout["status"]["healthy"]);
            Ok((ours && healthy >= all / 8 && healthy + 5 < all).then_some(healthy))
        },
    )
    .await?;
    fleet.kill_hub().await;
    tale.screen.line(&format!(
        "SIGKILL with {at} of {all} clusters done; started again after two seconds"
    ));
    tokio::time::sleep(Duration::from_secs(2)).await;
    fleet.restart_hub().await?;
    let rollout = fleet
        .rolled(
            "shop",
            &commit,
            &["Completed", "Failed", "RolledBack", "Held"],
            tale.screen,
        )
        .await?;
    let status = &rollout["status"];
    let healthy = number(&status["healthy"]);
    let seen = format!(
        "{} with {healthy} of {all} clusters healthy",
        text(&status["phase"])
    );
    tale.check(
        "the rollout goes on after the hub's death",
        status["phase"] == "Completed" && healthy == all - 1,
        seen,
    );
    let after = fleet.all_writes().await?;
    let mut twice = Vec::new();
    for (cluster, writes) in after.iter().filter(|(cluster, _)| *cluster != away) {
        let key = "apps/Deployment/shop/web";
        let new = writes.objects.get(key).copied().unwrap_or(0)
            - before
                .get(cluster)
                .and_then(|old| old.objects.get(key).copied())
                .unwrap_or(0);
        if new != 1 {
            twice.push(format!("{cluster} {new}×"));
        }
    }
    let seen = if twice.is_empty() {
        "one write of web in each cluster".to_owned()
    } else {
        twice.join(", ")
    };
    tale.check("nothing is applied twice", twice.is_empty(), seen);
    Ok(())
}

async fn returns(fleet: &mut Fleet, tale: &mut Tale<'_>, away: &str) -> anyhow::Result<()> {
    tale.screen.head(&format!("{away} has its power back"));
    fleet.offline(away, false).await?;
    fleet.start_agent(away, None)?;
    let started = Instant::now();
    let caught = until("the catching up", Duration::from_secs(60), || async {
        let assignments = fleet.assignments("shop").await?;
        let done = assignments
            .get(away)
            .is_some_and(|a| a["status"]["state"] == "Healthy" && a["status"]["current"] == true);
        let web = fleet.object(away, WEB).await?;
        let image = web
            .map(|web| text(&web["spec"]["template"]["spec"]["containers"][0]["image"]))
            .unwrap_or_default();
        Ok((done && image.ends_with("web:1.2.0")).then_some(()))
    })
    .await;
    let seen = match &caught {
        Ok(()) => format!(
            "it runs web:1.2.0 after {:.1} s",
            started.elapsed().as_secs_f32()
        ),
        Err(error) => format!("{error:#}"),
    };
    tale.check("it catches up when it returns", caught.is_ok(), seen);
    Ok(())
}
