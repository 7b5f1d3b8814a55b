//! Checks of what only looks.

use k8s_object::{Gvk, ObjectId};
use serde_json::{Value, json};

use super::{Ran, Suite, ensure, expect, read, revision};
use crate::{Call, ErrorKind, Propagation, Reply, WatchEvent, WatchSpec, WatchStream};

const LABEL: &str = "contract.example.org/of";

pub(super) async fn get_finds_or_not(suite: &Suite<'_>) -> Ran {
    let made = expect(
        suite.apply(&suite.map("a", json!({"x": "1"}))).await,
        "apply",
    )?;
    let found = expect(suite.get_map("a").await, "get")?;
    ensure(found == made, || format!("{found} is not {made}"))?;
    ensure(k8s_object::kind(&found) == "ConfigMap", || {
        format!("no kind: {found}")
    })?;
    let kind = Suite::kind_of(suite.get_map("b").await, "what is not there")?;
    ensure(kind == ErrorKind::NotFound, || format!("{kind:?}"))?;
    Ok(true)
}

fn labelled(suite: &Suite<'_>, name: &str, data: Value) -> Value {
    let mut object = suite.map(name, data);
    object["metadata"]["labels"] = json!({LABEL: suite.namespace});
    object
}

fn list(suite: &Suite<'_>, fields: &str, limit: u32, token: String) -> Call {
    Call::List {
        gvk: Gvk::new("v1", "ConfigMap"),
        labels: format!("{LABEL}={}", suite.namespace),
        fields: fields.to_owned(),
        limit,
        token,
    }
}

pub(super) async fn names_come_in_pages(suite: &Suite<'_>) -> Ran {
    for name in ["a", "b", "c"] {
        let map = suite.map(name, json!({"x": "1"}));
        expect(suite.apply(&map).await, "apply")?;
    }
    let (mut found, mut token, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let call = Call::Names {
            gvk: Gvk::new("v1", "ConfigMap"),
            namespace: suite.namespace.clone(),
            limit: 2,
            token,
        };
        let reply = expect(suite.call(call).await, "names")?;
        let Reply::Names { names, token: next } = reply else {
            return Err("names are no names".to_owned());
        };
        found.extend(names);
        pages += 1;
        token = next;
        if token.is_empty() {
            break;
        }
    }
    // a real cluster puts a map of its own into each namespace
    found.retain(|name| name != "kube-root-ca.crt");
    ensure(found == ["a", "b", "c"], || format!("{found:?}"))?;
    ensure(pages == 2, || format!("{pages} pages"))?;
    let call = Call::Names {
        gvk: Gvk::new("v1", "Namespace"),
        namespace: String::new(),
        limit: 0,
        token: String::new(),
    };
    let reply = expect(suite.call(call).await, "names of namespaces")?;
    let Reply::Names { names, .. } = reply else {
        return Err("names are no names".to_owned());
    };
    ensure(names.contains(&suite.namespace), || format!("{names:?}"))?;
    Ok(true)
}

pub(super) async fn lists_come_in_pages(suite: &Suite<'_>) -> Ran {
    for name in ["a", "b", "c", "d", "e"] {
        expect(
            suite.apply(&labelled(suite, name, json!({}))).await,
            "apply",
        )?;
    }
    let (mut names, mut token, mut revisions) = (Vec::new(), String::new(), Vec::new());
    loop {
        let reply = suite.call(list(suite, "", 2, token)).await;
        let Reply::Page {
            items,
            token: next,
            revision,
        } = expect(reply, "list")?
        else {
            return Err("a list is no page".to_owned());
        };
        ensure(items.len() <= 2, || format!("{} items", items.len()))?;
        for item in &items {
            let item = read(item)?;
            ensure(k8s_object::kind(&item) == "ConfigMap", || {
                format!("no kind: {item}")
            })?;
            names.push(k8s_object::name(&item).to_owned());
        }
        revisions.push(revision);
        // What comes while a list is read belongs to the next list.
        expect(suite.apply(&labelled(suite, "f", json!({}))).await, "apply")?;
        token = next;
        if token.is_empty() {
            break;
        }
    }
    ensure(names == ["a", "b", "c", "d", "e"], || format!("{names:?}"))?;
    revisions.dedup();
    ensure(revisions.len() == 1, || {
        format!("pages of several revisions: {revisions:?}")
    })?;
    Ok(true)
}

pub(super) async fn lists_select(suite: &Suite<'_>) -> Ran {
    expect(suite.apply(&labelled(suite, "a", json!({}))).await, "apply")?;
    expect(suite.apply(&labelled(suite, "b", json!({}))).await, "apply")?;
    expect(suite.apply(&suite.map("c", json!({}))).await, "apply")?;
    for (fields, expected) in [("", 2), ("metadata.name=b", 1), ("metadata.name!=b", 1)] {
        let reply = suite.call(list(suite, fields, 0, String::new())).await;
        let Reply::Page { items, .. } = expect(reply, "list")? else {
            return Err("a list is no page".to_owned());
        };
        ensure(items.len() == expected, || {
            format!("{fields:?}: {} items, not {expected}", items.len())
        })?;
    }
    Ok(true)
}

async fn watch(suite: &Suite<'_>, from: &str) -> Result<WatchStream, String> {
    let spec = WatchSpec {
        gvk: Gvk::new("v1", "ConfigMap"),
        labels: format!("{LABEL}={}", suite.namespace),
        from: from.to_owned(),
    };
    expect(suite.harness.cluster().watch(spec).await, "watch")
}

/// The next event that is no bookmark, in short form.
async fn next(suite: &Suite<'_>, stream: &mut WatchStream) -> Result<String, String> {
    loop {
        let event = match suite.harness.next(stream).await {
            None => return Err("the watch shows nothing".to_owned()),
            Some(event) => expect(event, "watch")?,
        };
        return Ok(match event {
            WatchEvent::Applied(object) => {
                let object = read(&object)?;
                format!("+{} {}", k8s_object::name(&object), object["data"]["x"])
            }
            WatchEvent::Deleted(object) => format!("-{}", k8s_object::name(&read(&object)?)),
            WatchEvent::Synced(_) => "synced".to_owned(),
            WatchEvent::Bookmark(_) => continue,
        });
    }
}

async fn sees(
    suite: &Suite<'_>,
    stream: &mut WatchStream,
    expected: &[&str],
) -> Result<(), String> {
    for expected in expected {
        let found = next(suite, stream).await?;
        ensure(found == *expected, || {
            format!("saw {found:?}, not {expected:?}")
        })?;
    }
    Ok(())
}

pub(super) async fn watch_shows_what_is_and_what_comes(suite: &Suite<'_>) -> Ran {
    let put = async |name: &str, x: &str| {
        let object = labelled(suite, name, json!({"x": x}));
        expect(suite.apply(&object).await, "apply")
    };
    put("a", "1").await?;
    put("b", "1").await?;
    let mut stream = watch(suite, "").await?;
    sees(suite, &mut stream, &["+a \"1\"", "+b \"1\"", "synced"]).await?;
    put("b", "2").await?;
    put("c", "1").await?;
    let gone = suite.delete_map("a", "", Propagation::Background).await;
    expect(gone, "delete")?;
    sees(suite, &mut stream, &["+b \"2\"", "+c \"1\"", "-a"]).await?;
    Ok(true)
}

pub(super) async fn watch_goes_on_from_a_revision(suite: &Suite<'_>) -> Ran {
    let put = async |name: &str, x: &str| {
        let object = labelled(suite, name, json!({"x": x}));
        expect(suite.apply(&object).await, "apply")
    };
    let first = put("a", "1").await?;
    put("b", "1").await?;
    put("a", "2").await?;
    let mut stream = watch(suite, revision(&first)).await?;
    sees(suite, &mut stream, &["+b \"1\"", "+a \"2\""]).await?;
    drop(stream);
    let reply = suite.call(list(suite, "", 0, String::new())).await;
    let Reply::Page { revision, .. } = expect(reply, "list")? else {
        return Err("a list is no page".to_owned());
    };
    put("c", "1").await?;
    let mut stream = watch(suite, &revision).await?;
    sees(suite, &mut stream, &["+c \"1\""]).await?;
    Ok(true)
}

pub(super) async fn watch_shows_what_stops_matching(suite: &Suite<'_>) -> Ran {
    let made = labelled(suite, "a", json!({"x": "1"}));
    expect(suite.apply(&made).await, "apply")?;
    let mut stream = watch(suite, "").await?;
    sees(suite, &mut stream, &["+a \"1\"", "synced"]).await?;
    expect(
        suite.apply(&suite.map("a", json!({"x": "1"}))).await,
        "apply",
    )?;
    sees(suite, &mut stream, &["-a"]).await?;
    expect(suite.apply(&made).await, "apply")?;
    sees(suite, &mut stream, &["+a \"1\""]).await?;
    Ok(true)
}

pub(super) async fn old_revisions_expire(suite: &Suite<'_>) -> Ran {
    let first = labelled(suite, "a", json!({"x": "1"}));
    let first = expect(suite.apply(&first).await, "apply")?;
    for name in ["b", "c", "d"] {
        expect(
            suite.apply(&labelled(suite, name, json!({}))).await,
            "apply",
        )?;
    }
    let reply = suite.call(list(suite, "", 2, String::new())).await;
    let Reply::Page { token, .. } = expect(reply, "list")? else {
        return Err("a list is no page".to_owned());
    };
    let changed = labelled(suite, "d", json!({"x": "2"}));
    expect(suite.apply(&changed).await, "apply")?;
    if !suite.harness.forget().await {
        return Ok(false);
    }
    let spec = WatchSpec {
        gvk: Gvk::new("v1", "ConfigMap"),
        labels: String::new(),
        from: revision(&first).to_owned(),
    };
    // A server may say so when it is asked, or in the stream.
    let kind = match suite.harness.cluster().watch(spec).await {
        Err(error) => error.kind,
        Ok(mut stream) => match suite.harness.next(&mut stream).await {
            Some(Err(error)) => error.kind,
            other => return Err(format!("watch of a forgotten revision: {other:?}")),
        },
    };
    ensure(kind == ErrorKind::Expired, || format!("watch: {kind:?}"))?;
    let reply = suite.call(list(suite, "", 2, token)).await;
    let kind = Suite::kind_of(reply, "a page of a forgotten list")?;
    ensure(kind == ErrorKind::Expired, || format!("list: {kind:?}"))?;
    Ok(true)
}

async fn serves(suite: &Suite<'_>, kind: &str) -> Result<bool, String> {
    let reply = expect(suite.call(Call::Discover).await, "discover")?;
    let Reply::Discovered { version, resources } = reply else {
        return Err("discovery is no discovery".to_owned());
    };
    ensure(version.git_version.starts_with('v'), || {
        format!("version {:?}", version.git_version)
    })?;
    for (gvk, plural, namespaced) in [
        (Gvk::new("v1", "ConfigMap"), "configmaps", true),
        (Gvk::new("v1", "Namespace"), "namespaces", false),
        (Gvk::new("apps/v1", "Deployment"), "deployments", true),
    ] {
        let known = resources.iter().find(|resource| resource.gvk == gvk);
        ensure(
            known.is_some_and(|known| {
                known.plural == plural
                    && known.namespaced == namespaced
                    && known.preferred
                    && known.verbs.iter().any(|verb| verb == "watch")
            }),
            || format!("{gvk}: {known:?}"),
        )?;
    }
    Ok(resources.iter().any(|resource| resource.gvk.kind == kind))
}

pub(super) async fn discovery_follows_definitions(suite: &Suite<'_>) -> Ran {
    let kind = "ContractGadget";
    ensure(!serves(suite, kind).await?, || {
        "it is served already".to_owned()
    })?;
    let name = "contractgadgets.contract.example.org";
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": name},
        "spec": {
            "group": "contract.example.org",
            "scope": "Namespaced",
            "names": {
                "plural": "contractgadgets",
                "singular": "contractgadget",
                "kind": kind,
                "listKind": "ContractGadgetList",
            },
            "versions": [{
                "name": "v1",
                "served": true,
                "storage": true,
                "schema": {"openAPIV3Schema": {
                    "type": "object",
                    "properties": {"spec": {
                        "type": "object",
                        "properties": {"size": {"type": "integer"}},
                    }},
                }},
            }],
        },
    });
    expect(suite.apply(&definition).await, "apply a definition")?;
    suite
        .eventually("what a definition defines to be served", async || {
            serves(suite, kind).await
        })
        .await?;
    let gadget = json!({
        "apiVersion": "contract.example.org/v1",
        "kind": kind,
        "metadata": {"name": "g", "namespace": suite.namespace},
        "spec": {"size": 3},
    });
    let made = expect(suite.apply(&gadget).await, "apply a custom resource")?;
    ensure(made["spec"]["size"] == 3, || format!("found {made}"))?;
    let gone = suite
        .call(Call::Delete {
            gvk: Gvk::new("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
            id: ObjectId {
                group: "apiextensions.k8s.io".to_owned(),
                kind: "CustomResourceDefinition".to_owned(),
                namespace: String::new(),
                name: name.to_owned(),
            },
            uid: String::new(),
            propagation: Propagation::Background,
        })
        .await;
    expect(gone, "delete the definition")?;
    suite
        .eventually("the end of what is no longer defined", async || {
            Ok(!serves(suite, kind).await?)
        })
        .await?;
    Ok(true)
}

pub(super) async fn watch_shows_drift(suite: &Suite<'_>) -> Ran {
    let ours = labelled(suite, "a", json!({"x": "1"}));
    let made = expect(suite.apply(&ours).await, "apply")?;
    let mut stream = watch(suite, "").await?;
    sees(suite, &mut stream, &["+a \"1\"", "synced"]).await?;
    let by_hand = Call::Merge {
        gvk: Gvk::new("v1", "ConfigMap"),
        id: suite.id("", "ConfigMap", "a"),
        patch: base_json::canonical(&json!({"data": {"x": "2"}})).into(),
        manager: "somebody".to_owned(),
    };
    expect(suite.object(by_hand).await, "a change by hand")?;
    sees(suite, &mut stream, &["+a \"2\""]).await?;
    let healed = suite.apply_as(&ours, "contract", true, false).await;
    expect(healed, "apply by force")?;
    sees(suite, &mut stream, &["+a \"1\""]).await?;
    let gone = suite.delete_map("a", "", Propagation::Background).await;
    expect(gone, "delete by hand")?;
    sees(suite, &mut stream, &["-a"]).await?;
    let again = expect(suite.apply(&ours).await, "apply of what was deleted")?;
    sees(suite, &mut stream, &["+a \"1\""]).await?;
    ensure(k8s_object::uid(&made) != k8s_object::uid(&again), || {
        "what was deleted came back as itself".to_owned()
    })?;
    Ok(true)
}

pub(super) async fn workloads_tell_their_health(suite: &Suite<'_>) -> Ran {
    let deployment = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "a", "namespace": suite.namespace},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": {"app": "a"}},
            "template": {
                "metadata": {"labels": {"app": "a"}},
                "spec": {"containers": [{"name": "c", "image": "c:1"}]},
            },
        },
    });
    expect(suite.apply(&deployment).await, "apply")?;
    let gvk = Gvk::new("apps/v1", "Deployment");
    suite
        .eventually("the status of a deployment", async || {
            let found = suite.get(&gvk, suite.id("apps", "Deployment", "a")).await;
            let found = expect(found, "get")?;
            let status = &found["status"];
            let available = status["conditions"].as_array().is_some_and(|all| {
                all.iter()
                    .any(|one| one["type"] == "Available" && one["status"] == "True")
            });
            Ok(available && status["observedGeneration"] == found["metadata"]["generation"])
        })
        .await?;
    Ok(true)
}
