//! The story: what is delivered, what goes wrong on the way, and what has to be true after each part.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::{Value, json};

use super::proxy::Proxy;
use super::tools::text;
use super::world::{AGENT, CLUSTERS, SIMULATED_NODES, World, hold, until};

const WEB: &str = "apps/shop/web.yaml";

/// One part of it: what it is called, and what it does; it says what was seen.
type Part = (&'static str, fn(&mut World) -> anyhow::Result<String>);

pub(super) const PARTS: &[Part] = &[
    (
        "the hub is installed by its chart and runs as a pod",
        |world| {
            world.install_hub()?;
            let api = world
                .in_cluster(0)
                .json(&["get", "apiservice", "v1alpha1.roadstead.dev"])?;
            hold(api["spec"]["service"]["name"] == "roadstead", || {
                format!("no APIService: {api}")
            })?;
            aggregated(world)
        },
    ),
    ("three clusters join, each in another way", |world| {
        world.join()?;
        for number in 0..CLUSTERS.len() {
            world.until_connection(number, "Connected")?;
        }
        let passed = world.proxy.as_ref().map_or(0, Proxy::passed);
        hold(passed > 0, || "nobody went through the proxy".to_owned())?;
        Ok("by manifests (a pod), by the chart and through a proxy, as a Cluster that was declared".to_owned())
    }),
    ("the first commit reaches all three, stage by stage", first),
    ("what each kind needs to be healthy is waited for", kinds),
    (
        "an autoscaler without metrics is waited for and named, and undone",
        blind,
    ),
    ("one changed image is one write in each cluster", second),
    (
        "an image that cannot be pulled stops at the canary, which goes back",
        third,
    ),
    ("drift is healed", drift),
    ("the hub's pod is killed in the middle of a rollout", fourth),
    (
        "an API server starts again in the middle of a rollout",
        fifth,
    ),
    (
        "a cluster is off while a commit comes, and catches up",
        sixth,
    ),
    ("every object is as in Git", |world| {
        let count = super::compare::compare(world)?;
        Ok(format!(
            "{count} objects compared by the API servers' own apply"
        ))
    }),
    (
        "a cluster is let go and joins again by Helm, without a restart of a pod",
        again,
    ),
    (
        "a cluster joins again with rights to one namespace, and says what it lacks for the rest",
        limited,
    ),
    ("every object is still as in Git", |world| {
        let count = super::compare::compare(world)?;
        let proxy = world.proxy.as_ref().context("no proxy")?;
        hold(proxy.refused() == 0, || {
            format!(
                "{} times an agent wanted to go elsewhere than to its hub",
                proxy.refused()
            )
        })?;
        Ok(format!(
            "{count} objects; {} connections went through the proxy, all to the hub",
            proxy.passed()
        ))
    }),
];

/// The hub's nouns through the cluster's own API server.
fn aggregated(world: &World) -> anyhow::Result<String> {
    let kubectl = world.in_cluster(0);
    let projects = until("the aggregated API", || {
        Ok(kubectl.items(&["get", "projects.roadstead.dev"]).ok())
    })?;
    Ok(format!(
        "{} Project through the aggregated API",
        projects.len()
    ))
}

fn commit(world: &World, message: &str) -> anyhow::Result<String> {
    world.repository.commit(message)
}

fn expect(
    world: &World,
    app: &str,
    commit: &str,
    phase: &str,
    healthy: u64,
) -> anyhow::Result<Value> {
    let rollout = world.rolled(app, commit)?;
    let status = &rollout["status"];
    hold(
        status["phase"] == phase && status["healthy"] == healthy,
        || format!("{app} is {status}; {}", world.why(app).unwrap_or_default()),
    )?;
    Ok(rollout)
}

/// Does what a cloud does: Services that balance loads wait for it.
fn give_addresses(world: &World) -> anyhow::Result<()> {
    let balanced = world
        .repository
        .apps
        .iter()
        .find(|(app, _)| app == "boutique");
    let Some((_, namespace)) = balanced else {
        return Ok(());
    };
    let namespace = format!("--namespace={namespace}");
    let address = json!({"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.7"}]}}});
    let patch = [
        &namespace,
        "patch",
        "service",
        "frontend-external",
        "--subresource=status",
        "--type=merge",
        "--patch",
        &address.to_string(),
    ];
    // the canary first; the others come when it is healthy
    let mut given = [false; CLUSTERS.len()];
    until("the Services that want an address", || {
        for (number, given) in given.iter_mut().enumerate() {
            *given = *given || world.in_cluster(number).run(&patch, None).is_ok();
        }
        Ok(given.iter().all(|given| *given).then_some(()))
    })
}

fn first(world: &mut World) -> anyhow::Result<String> {
    let commit = commit(world, "Deliver everything")?;
    let begun = Instant::now();
    let source = world.source()?;
    world.roadstead.run(
        &[
            "bootstrap",
            "--source",
            &source,
            "--branch=main",
            "--path=fleet",
            "--interval=1s",
        ],
        None,
    )?;
    give_addresses(world)?;
    let mut seen = Vec::new();
    for (app, _) in world.repository.apps.clone() {
        expect(world, &app, &commit, "Completed", 3)?;
        seen.push(format!("{app} {:.0} s", begun.elapsed().as_secs_f64()));
    }
    let history = world.at_hub().run(
        &[
            "get",
            "--raw",
            "/apis/roadstead.dev/v1alpha1/namespaces/default/apps/shop/history",
        ],
        None,
    )?;
    let history: Value = serde_json::from_str(&history)?;
    let events = history["items"].as_array().cloned().unwrap_or_default();
    let at = |reason: &str, stage: &str| {
        events.iter().position(|event| {
            event["reason"] == reason
                && text(event, "/message").starts_with(&format!("stage {stage}"))
        })
    };
    let passed = at("StagePassed", "canary");
    hold(
        passed.is_some() && passed < at("StageStarted", "main"),
        || format!("the stages did not follow each other: {history}"),
    )?;
    Ok(seen.join(", "))
}

/// What the controllers and the kubelet of the first cluster say, against what the hub said first.
fn kinds(world: &mut World) -> anyhow::Result<String> {
    for number in 0..CLUSTERS.len() {
        let get = |kind: &str, name: &str| world.must(number, "kinds", kind, name);
        let slow = get("deployment", "slow")?;
        hold(slow["status"]["readyReplicas"] == 2, || {
            slow["status"].to_string()
        })?;
        let ordered = get("statefulset", "ordered")?;
        hold(ordered["status"]["readyReplicas"] == 2, || {
            ordered["status"].to_string()
        })?;
        let everywhere = get("daemonset", "everywhere")?;
        let status = &everywhere["status"];
        let nodes = if number == 0 { 1 } else { SIMULATED_NODES };
        hold(
            status["numberReady"] == nodes && status["desiredNumberScheduled"] == nodes,
            || status.to_string(),
        )?;
        let job = get("job", "plain")?;
        hold(job["status"]["succeeded"] == 1, || {
            job["status"].to_string()
        })?;
        let claim = get("persistentvolumeclaim", "claim")?;
        hold(claim["status"]["phase"] == "Bound", || {
            claim["status"].to_string()
        })?;
        get("ingress", "slow")?;
        get("httproute", "slow")?;
        let widget = get("widget", "first-of-its-kind")?;
        hold(widget["spec"]["size"] == 3, || widget.to_string())?;
    }
    // the hub called the first cluster healthy only after its pods were ready
    let pods = world
        .in_cluster(0)
        .items(&["--namespace=kinds", "get", "pods"])?;
    let really = pods
        .iter()
        .filter(|pod| text(pod, "/spec/nodeName") == "node-1");
    let really = really.count();
    hold(really >= 5, || {
        format!("only {really} pods run on the node")
    })?;
    let conditions = |pod: &Value| {
        let all = pod["status"]["conditions"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let ready = all.into_iter().find(|one| one["type"] == "Ready");
        ready
            .map(|one| text(&one, "/lastTransitionTime").to_owned())
            .unwrap_or_default()
    };
    let last = pods
        .iter()
        .filter(|pod| text(pod, "/metadata/name").starts_with("slow-"))
        .map(conditions)
        .max()
        .context("no pods of the Deployment that is slow")?;
    let history = world.at_hub().run(
        &[
            "get",
            "--raw",
            "/apis/roadstead.dev/v1alpha1/namespaces/default/apps/kinds/history",
        ],
        None,
    )?;
    let history: Value = serde_json::from_str(&history)?;
    let events = history["items"].as_array().cloned().unwrap_or_default();
    let passed = events.iter().find(|event| {
        event["reason"] == "StagePassed" && text(event, "/message").starts_with("stage canary")
    });
    let passed = passed
        .map(|event| text(event, "/at").to_owned())
        .unwrap_or_default();
    hold(
        !passed.is_empty() && *last.trim_end_matches('Z') <= *passed,
        || format!("the canary passed at {passed:?}, its pods were ready at {last:?}: {history}"),
    )?;
    Ok(format!(
        "{really} real pods; ready at {last}, passed at {passed}"
    ))
}

/// Nobody measures pods here.
fn blind(world: &mut World) -> anyhow::Result<String> {
    let file = "apps/kinds/blind.yaml";
    let asleep = world.repository.read("apps/kinds/autoscalers.yaml")?;
    let (autoscaler, _) = asleep.split_once("---").context("one document")?;
    world
        .repository
        .write(file, &autoscaler.replace("asleep", "slow"))?;
    let bad = commit(world, "Scale what nobody measures")?;
    let why = until("the reason of the autoscaler", || {
        let why = ["why", "kinds", "--cluster", CLUSTERS[0].0];
        let why = world.roadstead.run(&why, None)?;
        Ok(why.contains("unable to fetch metrics").then_some(why))
    })?;
    let rollout = world.rollout_of("kinds", &bad)?.context("no Rollout")?;
    hold(rollout["status"]["phase"] == "Progressing", || {
        rollout["status"].to_string()
    })?;
    let undo = ["rollout", "undo", "kinds", "--reason=nobody measures here"];
    world.roadstead.run(&undo, None)?;
    until("the autoscaler to go", || {
        let left = world.object(0, "kinds", "horizontalpodautoscaler", "slow")?;
        Ok(left.is_none().then_some(()))
    })?;
    world.repository.remove(file)?;
    commit(world, "Scale it no more")?;
    until("the canary to be healthy again", || {
        healthy(world, "kinds", CLUSTERS[0].0)
    })?;
    Ok(why.lines().next().unwrap_or_default().to_owned())
}

/// Says whether an App is healthy in a cluster.
fn healthy(world: &World, app: &str, cluster: &str) -> anyhow::Result<Option<()>> {
    let all = world.at_hub().items(&["get", "assignments"])?;
    let ours = all
        .iter()
        .find(|one| text(one, "/spec/app") == app && text(one, "/spec/cluster") == cluster);
    Ok(ours
        .filter(|one| text(one, "/status/state") == "Healthy")
        .map(drop))
}

fn generation(world: &World, number: usize) -> anyhow::Result<u64> {
    let web = world.must(number, "shop", "deployment", "web")?;
    web["metadata"]["generation"]
        .as_u64()
        .context("a Deployment without generation")
}

fn generations(world: &World) -> anyhow::Result<Vec<u64>> {
    (0..CLUSTERS.len())
        .map(|number| generation(world, number))
        .collect()
}

fn image(world: &World, number: usize) -> anyhow::Result<String> {
    let web = world.must(number, "shop", "deployment", "web")?;
    Ok(text(&web, "/spec/template/spec/containers/0/image").to_owned())
}

/// What of the shop does not change by itself.
fn versions(world: &World, number: usize) -> anyhow::Result<Vec<String>> {
    let get = [
        "--namespace=shop",
        "get",
        "configmap/shop",
        "service/api",
        "service/web",
        "serviceaccount/shop",
    ];
    let objects = world.in_cluster(number).items(&get)?;
    Ok(objects
        .iter()
        .map(|object| text(object, "/metadata/resourceVersion").to_owned())
        .collect())
}

fn second(world: &mut World) -> anyhow::Result<String> {
    let (before, others) = (generations(world)?, versions(world, 1)?);
    world.repository.replace(WEB, "web:1", "web:2")?;
    let commit = commit(world, "Release web 2")?;
    let begun = Instant::now();
    expect(world, "shop", &commit, "Completed", 3)?;
    let after = generations(world)?;
    let once = before
        .iter()
        .zip(&after)
        .all(|(before, after)| *after == before + 1);
    hold(once, || {
        format!("generations of web: {before:?}, then {after:?}")
    })?;
    hold(versions(world, 1)? == others, || {
        "what did not change was written".to_owned()
    })?;
    Ok(format!("in {:.0} s", begun.elapsed().as_secs_f64()))
}

fn third(world: &mut World) -> anyhow::Result<String> {
    let before = generations(world)?;
    world.repository.replace(WEB, "web:2", "web:missing")?;
    let commit = commit(world, "Release what is not there")?;
    let rollout = world.rolled("shop", &commit)?;
    hold(rollout["status"]["phase"] == "RolledBack", || {
        rollout["status"].to_string()
    })?;
    let why = world.why("shop")?;
    hold(
        why.contains("ErrImagePull") || why.contains("ImagePullBackOff"),
        || why.clone(),
    )?;
    let after = generations(world)?;
    hold(before[1..] == after[1..], || {
        format!("clusters after the canary were written: {before:?}, then {after:?}")
    })?;
    until("the canary's going back", || {
        let web = world.must(0, "shop", "deployment", "web")?;
        let back = text(&web, "/spec/template/spec/containers/0/image").ends_with("web:2");
        let ready = web["status"]["readyReplicas"] == 2 && web["status"]["updatedReplicas"] == 2;
        Ok((back && ready).then_some(()))
    })?;
    let release = world
        .release(text(&rollout, "/spec/release"))?
        .context("its Release is gone")?;
    hold(text(&release, "/status/phase") == "Barred", || {
        release["status"].to_string()
    })?;
    Ok(why.lines().next().unwrap_or_default().to_owned())
}

fn drift(world: &mut World) -> anyhow::Result<String> {
    let mut seen = Vec::new();
    for number in [0, 1] {
        let kubectl = world.in_cluster(number);
        let old = world.must(number, "shop", "deployment", "web")?;
        let old = text(&old, "/metadata/uid").to_owned();
        let begun = Instant::now();
        kubectl.run(
            &[
                "--namespace=shop",
                "delete",
                "deployment",
                "web",
                "--wait=false",
            ],
            None,
        )?;
        until("the deleted Deployment to come back", || {
            let web = world.object(number, "shop", "deployment", "web")?;
            Ok(web.filter(|web| text(web, "/metadata/uid") != old))
        })?;
        seen.push(format!(
            "{} {:.1} s",
            CLUSTERS[number].0,
            begun.elapsed().as_secs_f64()
        ));
        currency_comes_back(world, number)?;
    }
    Ok(format!("a deleted Deployment is back: {}", seen.join(", ")))
}

/// Changes a ConfigMap by hand, and sees it healed.
fn currency_comes_back(world: &World, number: usize) -> anyhow::Result<()> {
    let change = json!({"data": {"currency": "USD"}}).to_string();
    let patch = [
        "--namespace=shop",
        "patch",
        "configmap",
        "shop",
        "--patch",
        &change,
    ];
    world.in_cluster(number).run(&patch, None)?;
    until("the changed ConfigMap to be healed", || {
        let config = world.must(number, "shop", "configmap", "shop")?;
        Ok((config["data"]["currency"] == "EUR").then_some(()))
    })
}

fn fourth(world: &mut World) -> anyhow::Result<String> {
    // what was deleted by hand counts its generations anew
    let before = generations(world)?;
    world.repository.replace(WEB, "web:missing", "web:3")?;
    let commit = commit(world, "Release web 3")?;
    until("the canary's being written", || {
        Ok((generation(world, 0)? > before[0]).then_some(()))
    })?;
    let kubectl = world.in_cluster(0);
    let old = world.must(0, "roadstead", "pod", "roadstead-0")?;
    let old = text(&old, "/metadata/uid").to_owned();
    let kill = [
        "--namespace=roadstead",
        "delete",
        "pod",
        "roadstead-0",
        "--force",
        "--grace-period=0",
    ];
    kubectl.run(&kill, None)?;
    let at = generations(world)?;
    hold(at[1..] == before[1..], || {
        format!("the rollout was over its middle: {before:?}, then {at:?}")
    })?;
    world.hub_is_ready()?;
    let new = world.must(0, "roadstead", "pod", "roadstead-0")?;
    hold(text(&new, "/metadata/uid") != old, || {
        "the pod was not made anew".to_owned()
    })?;
    expect(world, "shop", &commit, "Completed", 3)?;
    let after = generations(world)?;
    let once = before
        .iter()
        .zip(&after)
        .all(|(before, after)| *after == before + 1);
    hold(once, || {
        format!("generations of web: {before:?}, then {after:?}")
    })?;
    Ok("with one of three written; each was written once".to_owned())
}

fn fifth(world: &mut World) -> anyhow::Result<String> {
    world.repository.replace(WEB, "web:3", "web:4")?;
    world.planes[1].kill_api_server();
    let commit = commit(world, "Release web 4")?;
    until("the rollout to be under way", || {
        let rollout = world.rollout_of("shop", &commit)?;
        Ok(rollout.filter(|rollout| rollout["status"]["healthy"].as_u64() >= Some(1)))
    })?;
    std::thread::sleep(Duration::from_secs(5));
    world.planes[1].start_api_server()?;
    let begun = Instant::now();
    expect(world, "shop", &commit, "Completed", 3)?;
    hold(image(world, 1)?.ends_with("web:4"), || {
        "it does not run web:4".to_owned()
    })?;
    Ok(format!(
        "healthy {:.0} s after it was back",
        begun.elapsed().as_secs_f64()
    ))
}

fn sixth(world: &mut World) -> anyhow::Result<String> {
    world.kill_agent(2);
    world.planes[2].kill_api_server();
    world.until_connection(2, "Offline")?;
    world.repository.replace(WEB, "web:4", "web:5")?;
    let commit = commit(world, "Release web 5 while one is away")?;
    expect(world, "shop", &commit, "Completed", 2)?;
    world.planes[2].start_api_server()?;
    world.run_agent(2, None)?;
    let begun = Instant::now();
    until("the catching up", || {
        Ok(image(world, 2)?.ends_with("web:5").then_some(()))
    })?;
    world.until_connection(2, "Connected")?;
    Ok(format!(
        "it caught up {:.1} s after its return",
        begun.elapsed().as_secs_f64()
    ))
}

/// Workloads of the first cluster: each pod with when it was made.
fn pods(world: &World) -> anyhow::Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    for (_, namespace) in &world.repository.apps {
        let namespace = format!("--namespace={namespace}");
        for pod in world.in_cluster(0).items(&[&namespace, "get", "pods"])? {
            // what runs to its end may be run again, or cleared away
            let owner = text(&pod, "/metadata/ownerReferences/0/kind");
            if owner != "Job" {
                found.push((
                    text(&pod, "/metadata/name").to_owned(),
                    text(&pod, "/metadata/uid").to_owned(),
                ));
            }
        }
    }
    found.sort();
    Ok(found)
}

fn again(world: &mut World) -> anyhow::Result<String> {
    let before = pods(world)?;
    world
        .roadstead
        .run(&["cluster", "remove", CLUSTERS[0].0, "--yes"], None)?;
    let kubectl = world.in_cluster(0);
    until("the agent's going", || {
        let namespace = [
            "get",
            "namespace",
            "roadstead-agent",
            "--ignore-not-found",
            "-o",
            "name",
        ];
        Ok(kubectl
            .run(&namespace, None)?
            .trim()
            .is_empty()
            .then_some(()))
    })?;
    hold(pods(world)? == before, || {
        "pods went with the agent".to_owned()
    })?;
    let (name, ring, region) = CLUSTERS[0];
    let (ring, region) = (
        format!("--label=ring={ring}"),
        format!("--label=region={region}"),
    );
    let image = super::world::image();
    let values = [
        "cluster",
        "join",
        name,
        &ring,
        &region,
        "--output=values",
        "--image",
        &image,
    ];
    let values = world.roadstead.run(&values, None)?;
    world.install_agent(0, &values)?;
    world.until_connection(0, "Connected")?;
    let apps: Vec<String> = world
        .repository
        .apps
        .iter()
        .map(|(app, _)| app.clone())
        .collect();
    for app in &apps {
        until(&format!("{app} to be healthy there again"), || {
            healthy(world, app, name)
        })?;
    }
    let after = pods(world)?;
    hold(after == before, || {
        format!("pods before: {before:?}, after: {after:?}")
    })?;
    Ok(format!("{} pods as they were", before.len()))
}

/// The third cluster's agent may write in one namespace from now on, as the account of the one Project.
fn limited(world: &mut World) -> anyhow::Result<String> {
    const NUMBER: usize = 2;
    let (name, ring, region) = CLUSTERS[NUMBER];
    let before = versions(world, NUMBER)?;
    world
        .roadstead
        .run(&["cluster", "remove", name, "--yes"], None)?;
    until("the agent's Deployment to go", || {
        let left = world.object(NUMBER, AGENT, "deployment", AGENT)?;
        Ok(left.is_none().then_some(()))
    })?;
    world.kill_agent(NUMBER);
    // the rest belongs to whoever installed it
    let rest = ["uninstall", AGENT, "--namespace=roadstead-agent"];
    world.helm_in(NUMBER).run(&rest, None)?;
    let own = ["delete", "secrets", "--all", "--namespace=roadstead-agent"];
    world.in_cluster(NUMBER).run(&own, None)?;
    let (ring, region) = (
        format!("--label=ring={ring}"),
        format!("--label=region={region}"),
    );
    let values = [
        "cluster",
        "join",
        name,
        &ring,
        &region,
        "--output=values",
        "--limited",
        "--allow=default:shop",
    ];
    let values = world.roadstead.run(&values, None)?;
    world.install_agent(NUMBER, &values)?;
    let token = ["get", "secret", "roadstead-agent-join"];
    let token = world.secret(NUMBER, &token, "token")?;
    world.run_agent(NUMBER, Some(&token))?;
    world.until_connection(NUMBER, "Connected")?;
    until("the shop to be healthy there", || {
        healthy(world, "shop", name)
    })?;
    hold(versions(world, NUMBER)? == before, || {
        "what did not change was written".to_owned()
    })?;
    // it heals as the Project's account
    currency_comes_back(world, NUMBER)?;
    let why = until("what it lacks for the kinds", || {
        let why = ["why", "kinds", "--cluster", name];
        let why = world.roadstead.run(&why, None)?;
        let rule = "the rule {apiGroups: [\"apiextensions.k8s.io\"]";
        Ok(why.contains(rule).then_some(why))
    })?;
    let (_, rule) = why.split_once("; ").unwrap_or_default();
    Ok(format!("for the rest it says {}", rule.trim()))
}
