//! What writes, deletes and owners do to objects.

use crate::common::{call, def, registry, send, server};
use k8s_apiserver::{
    DeleteOptions, ListOptions, Part, Propagation, WatchOptions, WriteOptions, collect_garbage,
};
use serde_json::{Value, json};

use crate::api::{JSON, MAPS, make, names, revision};

#[tokio::test]
async fn writes_follow_the_rules_of_life() {
    let server = server();
    let made = make(&server, "a", json!({})).await;
    let one = format!("{MAPS}/a");

    // what changes nothing writes nothing
    let (_, same) = call(&server, "PUT", &one, made.clone()).await;
    assert_eq!(revision(&same), revision(&made));
    // a stale revision is a conflict; none is last one wins
    let (_, newer) = call(&server, "PATCH", &one, json!({"data": {"k": "2"}})).await;
    assert_ne!(revision(&newer), revision(&made));
    let (code, lost) = call(&server, "PUT", &one, made.clone()).await;
    assert_eq!(
        (code, &lost["message"]),
        (
            409,
            &json!(
                "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; please apply your changes to the latest version and try again"
            )
        )
    );
    let (code, _) = call(
        &server,
        "PUT",
        &one,
        json!({"metadata": {"name": "a"}, "data": {"k": "3"}}),
    )
    .await;
    assert_eq!(code, 200);
    let (code, wrong) = call(&server, "PUT", &one, json!({"metadata": {"name": "b"}})).await;
    assert_eq!(
        (code, &wrong["message"]),
        (
            400,
            &json!("the name of the object (b) does not match the name on the URL (a)")
        )
    );
    let (code, _) = call(
        &server,
        "PUT",
        &one,
        json!({"metadata": {"name": "a", "uid": "other"}}),
    )
    .await;
    assert_eq!(code, 409);

    // the server's own fields stay
    let (_, found) = call(&server, "PATCH", &one, json!({"metadata": {"uid": made["metadata"]["uid"], "creationTimestamp": "2001-01-01T00:00:00Z"}})).await;
    assert_eq!(
        found["metadata"]["creationTimestamp"],
        made["metadata"]["creationTimestamp"]
    );

    // names are made
    let (code, generated) = call(
        &server,
        "POST",
        MAPS,
        json!({"metadata": {"generateName": "x-"}}),
    )
    .await;
    let name = generated["metadata"]["name"].as_str().expect("has a name");
    assert!(
        code == 201 && name.starts_with("x-") && name.len() == 7,
        "{name}"
    );

    // a dry run does all but write
    let (code, dry) = call(
        &server,
        "POST",
        &format!("{MAPS}?dryRun=All"),
        json!({"metadata": {"name": "dry"}}),
    )
    .await;
    assert_eq!((code, dry["metadata"].get("uid").is_some()), (201, true));
    assert_eq!(
        call(&server, "GET", &format!("{MAPS}/dry"), Value::Null)
            .await
            .0,
        404
    );
    assert_eq!(
        call(
            &server,
            "POST",
            &format!("{MAPS}?dryRun=All"),
            json!({"metadata": {"name": "a"}})
        )
        .await
        .0,
        409
    );
    assert_eq!(
        call(&server, "DELETE", &format!("{one}?dryRun=All"), Value::Null)
            .await
            .0,
        200
    );
    assert_eq!(call(&server, "GET", &one, Value::Null).await.0, 200);

    // unknown fields
    let odd = json!({"metadata": {"name": "odd"}, "dat": {}}).to_string();
    let (code, headers, _) = send(
        &server,
        "POST",
        &format!("{MAPS}?dryRun=All"),
        &[JSON],
        &odd,
    )
    .await;
    assert_eq!(
        (code, &headers["warning"]),
        (
            201,
            &"299 - \"unknown field \\\"dat\\\"\""
                .parse()
                .expect("a header")
        )
    );
    let (code, headers, _) = send(
        &server,
        "POST",
        &format!("{MAPS}?dryRun=All&fieldValidation=Ignore"),
        &[JSON],
        &odd,
    )
    .await;
    assert_eq!((code, headers.get("warning")), (201, None));
    let (code, _, text) = send(
        &server,
        "POST",
        &format!("{MAPS}?fieldValidation=Strict"),
        &[JSON],
        &odd,
    )
    .await;
    assert_eq!(code, 400);
    assert!(
        text.contains("strict decoding error: unknown field \\\"dat\\\""),
        "{text}"
    );

    // fields that stand twice
    let twice = r#"{"metadata": {"name": "twice"}, "data": {"a": "1", "a": "2"}}"#;
    let (code, headers, _) = send(
        &server,
        "POST",
        &format!("{MAPS}?dryRun=All"),
        &[JSON],
        twice,
    )
    .await;
    assert_eq!(
        (code, &headers["warning"]),
        (
            201,
            &"299 - \"duplicate field \\\"data.a\\\"\""
                .parse()
                .expect("a header")
        )
    );
    let (code, _, _) = send(
        &server,
        "POST",
        &format!("{MAPS}?fieldValidation=Strict"),
        &[JSON],
        twice,
    )
    .await;
    assert_eq!(code, 400);

    // immutable
    call(&server, "PATCH", &one, json!({"immutable": true})).await;
    let (code, fixed) = call(&server, "PATCH", &one, json!({"data": {"k": "4"}})).await;
    assert_eq!(
        (code, &fixed["message"]),
        (
            422,
            &json!(
                "ConfigMap \"a\" is invalid: data: Forbidden: field is immutable when `immutable` is set"
            )
        )
    );
}

#[tokio::test]
async fn deletes_wait_for_finalizers() {
    let server = server();
    let body = json!({"metadata": {"name": "f", "finalizers": ["example.com/hold"]}});
    call(&server, "POST", MAPS, body).await;
    let one = format!("{MAPS}/f");
    let (code, gone) = call(
        &server,
        "DELETE",
        &one,
        json!({"preconditions": {"uid": "other"}}),
    )
    .await;
    assert_eq!(code, 409, "{gone}");
    let (code, waits) = call(&server, "DELETE", &one, Value::Null).await;
    assert_eq!(
        (code, waits["metadata"]["deletionTimestamp"].is_string()),
        (200, true)
    );
    let (_, again) = call(&server, "DELETE", &one, Value::Null).await;
    assert_eq!(revision(&again), revision(&waits));
    let (code, added) = call(
        &server,
        "PATCH",
        &one,
        json!({"metadata": {"finalizers": ["example.com/hold", "example.com/more"]}}),
    )
    .await;
    assert_eq!(code, 422);
    assert!(
        added["message"]
            .to_string()
            .contains("no new finalizers can be added if the object is being deleted")
    );
    let (code, _) = call(
        &server,
        "PATCH",
        &one,
        json!({"metadata": {"finalizers": null}}),
    )
    .await;
    assert_eq!(
        (code, call(&server, "GET", &one, Value::Null).await.0),
        (200, 404)
    );

    // what is gone is told by a Status
    let uid = make(&server, "g", json!({})).await["metadata"]["uid"].clone();
    let (_, status) = call(&server, "DELETE", &format!("{MAPS}/g"), Value::Null).await;
    assert_eq!(
        status,
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": {"name": "g", "kind": "configmaps", "uid": uid}})
    );

    // a pod that runs is given its time
    let pods = "/api/v1/namespaces/default/pods";
    let pod = json!({"metadata": {"name": "p"}, "spec": {"nodeName": "n", "containers": [{"name": "a", "image": "b"}]}});
    assert_eq!(call(&server, "POST", pods, pod).await.0, 201);
    let (_, ends) = call(&server, "DELETE", &format!("{pods}/p"), Value::Null).await;
    assert_eq!(ends["metadata"]["deletionGracePeriodSeconds"], json!(30));
    let (_, gone) = call(
        &server,
        "DELETE",
        &format!("{pods}/p?gracePeriodSeconds=0"),
        Value::Null,
    )
    .await;
    assert_eq!(gone["status"], json!("Success"));

    for name in ["h", "i"] {
        make(&server, name, json!({"sweep": "me"})).await;
    }
    make(&server, "stays", json!({})).await;
    let (code, swept) = call(
        &server,
        "DELETE",
        &format!("{MAPS}?labelSelector=sweep"),
        Value::Null,
    )
    .await;
    assert_eq!((code, names(&swept)), (200, vec!["h", "i"]));
    assert_eq!(
        names(&call(&server, "GET", MAPS, Value::Null).await.1),
        ["stays"]
    );
}

#[tokio::test]
async fn spec_and_status_are_written_apart() {
    let server = server();
    let all = "/apis/apps/v1/namespaces/default/deployments";
    let body = json!({"metadata": {"name": "d"}, "status": {"replicas": 9}, "spec": {
        "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}}}});
    let (code, made) = call(&server, "POST", all, body).await;
    assert_eq!(
        (code, made.get("status"), &made["metadata"]["generation"]),
        (201, Some(&json!({})), &json!(1))
    );
    let one = format!("{all}/d");
    let (_, changed) = call(
        &server,
        "PATCH",
        &one,
        json!({"spec": {"replicas": 3}, "status": {"replicas": 9}}),
    )
    .await;
    assert_eq!(
        (changed.get("status"), &changed["metadata"]["generation"]),
        (Some(&json!({})), &json!(2))
    );
    let (_, labelled) = call(
        &server,
        "PATCH",
        &one,
        json!({"metadata": {"labels": {"x": "y"}}}),
    )
    .await;
    assert_eq!(labelled["metadata"]["generation"], json!(2));
    let status = json!({"spec": {"replicas": 1}, "metadata": {"labels": {"x": "z"}}, "status": {"replicas": 3}});
    let (_, written) = call(&server, "PATCH", &format!("{one}/status"), status).await;
    assert_eq!(
        (
            &written["spec"]["replicas"],
            &written["status"]["replicas"],
            &written["metadata"]["labels"]["x"],
            &written["metadata"]["generation"]
        ),
        (&json!(3), &json!(3), &json!("y"), &json!(2))
    );
    let (_, scale) = call(&server, "GET", &format!("{one}/scale"), Value::Null).await;
    assert_eq!(
        (&scale["spec"], &scale["status"]),
        (
            &json!({"replicas": 3}),
            &json!({"replicas": 3, "selector": "a=b"})
        )
    );
    let (code, _) = call(
        &server,
        "PATCH",
        &format!("{one}/scale"),
        json!({"spec": {"replicas": 5}}),
    )
    .await;
    assert_eq!(
        (
            code,
            &call(&server, "GET", &one, Value::Null).await.1["spec"]["replicas"]
        ),
        (200, &json!(5))
    );
    assert_eq!(
        call(&server, "GET", &format!("{one}/nothing"), Value::Null)
            .await
            .0,
        404
    );
    assert_eq!(
        call(&server, "PUT", &format!("{MAPS}/x/status"), json!({}))
            .await
            .0,
        404
    );
}

#[tokio::test]
async fn apply_makes_keeps_and_gives_up_fields() {
    let server = server();
    let apply = |manager: &'static str, extra: &'static str, body: Value| {
        let server = server.clone();
        async move {
            let uri = format!("{MAPS}/s?fieldManager={manager}{extra}");
            let (code, _, text) = send(
                &server,
                "PATCH",
                &uri,
                &[("content-type", "application/apply-patch+yaml")],
                &body.to_string(),
            )
            .await;
            (code, serde_json::from_str::<Value>(&text).expect("is JSON"))
        }
    };
    let wanted = |data: Value| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "s"}, "data": data});
    let (code, made) = apply("one", "", wanted(json!({"a": "1", "b": "1"}))).await;
    assert_eq!(code, 201, "{made}");
    let (code, same) = apply("one", "", wanted(json!({"a": "1", "b": "1"}))).await;
    assert_eq!((code, revision(&same)), (200, revision(&made)));
    let (code, conflict) = apply("two", "", wanted(json!({"a": "2"}))).await;
    assert_eq!((code, &conflict["reason"]), (409, &json!("Conflict")));
    assert_eq!(
        conflict["details"]["causes"],
        json!([{"reason": "FieldManagerConflict", "message": "conflict with \"one\"", "field": ".data.a"}])
    );
    let (code, forced) = apply("two", "&force=true", wanted(json!({"a": "2"}))).await;
    assert_eq!((code, &forced["data"]), (200, &json!({"a": "2", "b": "1"})));
    let (_, given_up) = apply("one", "", wanted(json!({}))).await;
    assert_eq!(given_up["data"], json!({"a": "2"}));
    let (code, _) = apply("", "", wanted(json!({}))).await;
    assert_eq!(code, 422);
}

#[test]
fn owners_take_their_objects_with_them() {
    let registry = registry();
    let maps = def(&registry, "", "configmaps");
    let options = WriteOptions::manager("test");
    let owner = |object: &Value| json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": object["metadata"]["name"], "uid": object["metadata"]["uid"], "blockOwnerDeletion": true}]);
    let make = |name: &str, owners: Value| {
        let object = json!({"metadata": {"name": name, "ownerReferences": owners}});
        registry
            .create(&maps, "default", object, &options)
            .expect("creates")
            .object
    };
    let left = || -> Vec<String> {
        let list = registry
            .list(&maps, "default", &ListOptions::default())
            .expect("lists");
        list.values()
            .map(|object| k8s_object::name(&object).to_owned())
            .collect()
    };
    let delete = |name: &str, propagation| {
        let options = DeleteOptions {
            propagation,
            ..DeleteOptions::default()
        };
        registry
            .delete(&maps, "default", name, &options)
            .expect("deletes")
    };
    let root = make("root", json!([]));
    let child = make("child", owner(&root));
    make("grandchild", owner(&child));
    let other = make("other", json!([]));
    let both = [owner(&root)[0].clone(), owner(&other)[0].clone()];
    make("shared", json!(both));
    let foreign =
        json!([{"apiVersion": "unknown.example/v1", "kind": "Thing", "name": "x", "uid": "1"}]);
    make("foreign", foreign);
    assert_eq!(
        collect_garbage(&registry).expect("collects"),
        Default::default()
    );

    assert!(delete("root", None).gone);
    let did = collect_garbage(&registry).expect("collects");
    assert_eq!((did.deleted, did.released), (2, 1));
    assert_eq!(left(), ["foreign", "other", "shared"]);

    assert!(!delete("other", Some(Propagation::Orphan)).gone);
    collect_garbage(&registry).expect("collects");
    assert_eq!(left(), ["foreign", "shared"]);

    let root = make("root", json!([]));
    make("child", owner(&root));
    assert!(!delete("root", Some(Propagation::Foreground)).gone);
    assert!(left().contains(&"root".to_owned()));
    collect_garbage(&registry).expect("collects");
    assert_eq!(left(), ["foreign", "shared"]);
}

#[test]
fn controllers_watch_without_http() {
    let registry = registry();
    let maps = def(&registry, "", "configmaps");
    let mut watch = registry
        .watch(&maps, "", &WatchOptions::default())
        .expect("watches");
    assert!(watch.try_next().expect("runs").is_none());
    let options = WriteOptions::manager("test");
    registry
        .create(
            &maps,
            "default",
            json!({"metadata": {"name": "a"}}),
            &options,
        )
        .expect("creates");
    let event = watch.try_next().expect("runs").expect("an event");
    assert_eq!(
        (event.kind.name(), k8s_object::name(&event.value())),
        ("ADDED", "a")
    );
    assert_eq!(
        event.value()["metadata"]["resourceVersion"],
        json!(event.revision.to_string())
    );
    assert!(watch.try_next().expect("runs").is_none());
    let key = registry.key(&maps, "default", "a");
    let parsed = registry.parse_key(&key).expect("is ours");
    assert_eq!(
        (
            &*parsed.group,
            &*parsed.plural,
            &*parsed.namespace,
            &*parsed.name
        ),
        ("", "configmaps", "default", "a")
    );
}

#[test]
fn writers_at_the_same_time_lose_nothing() {
    let registry = registry();
    let maps = def(&registry, "", "configmaps");
    let options = WriteOptions::manager("test");
    let object = json!({"metadata": {"name": "count"}, "data": {"n": "0"}});
    registry
        .create(&maps, "default", object, &options)
        .expect("creates");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..25 {
                    let add = |object: &mut Value| {
                        let n: u32 = object["data"]["n"]
                            .as_str()
                            .expect("a text")
                            .parse()
                            .expect("a number");
                        object["data"]["n"] = json!((n + 1).to_string());
                        true
                    };
                    // a writer that lost six races in a row is told so, and tries again
                    while let Err(status) =
                        registry.modify(&maps, "default", "count", Part::Main, &options, add)
                    {
                        assert!(status.is_conflict(), "{status}");
                    }
                }
            });
        }
    });
    let found = registry.get(&maps, "default", "count").expect("is there");
    assert_eq!(found["data"]["n"], json!("100"));
}

#[test]
fn forks_share_what_they_serve() {
    let registry = registry();
    let store: std::sync::Arc<dyn base_store::Store> =
        std::sync::Arc::new(base_store::memory::MemoryStore::new());
    let fork = registry.fork(store);
    assert!(std::sync::Arc::ptr_eq(&registry.catalog(), &fork.catalog()));
    let maps = def(&fork, "", "configmaps");
    let list = fork
        .list(&maps, "", &ListOptions::default())
        .expect("lists");
    assert!(list.items.is_empty());
    assert_ne!(registry.revision(), fork.revision());
}

#[test]
fn nodes_are_born_with_their_status() {
    let registry = registry();
    let options = WriteOptions::manager("kubelet");
    let nodes = def(&registry, "", "nodes");
    let node = json!({"metadata": {"name": "n"}, "status": {"capacity": {"cpu": "4"}}});
    let made = registry
        .create(&nodes, "", node, &options)
        .expect("creates")
        .object;
    assert_eq!(made["status"]["allocatable"], json!({"cpu": "4"}));
    let update = json!({"metadata": {"name": "n"}, "spec": {"unschedulable": true}, "status": {"capacity": {"cpu": "8"}}});
    let written = registry
        .update(&nodes, "", "n", update, &options)
        .expect("updates")
        .object;
    assert_eq!(
        (
            &written["spec"]["unschedulable"],
            &written["status"]["capacity"]["cpu"]
        ),
        (&json!(true), &json!("4"))
    );
}
