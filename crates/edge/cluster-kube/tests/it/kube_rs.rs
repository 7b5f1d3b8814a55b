//! kube-rs as it comes, against a simulated cluster on a real clock: watchers and reflectors, every kind of patch,
//! finalizers, subresources, a controller.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;
use k8s_apiserver::Sleep;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_playground::{Config, Handle, Playground};
use kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, ListParams, ObjectMeta, Patch, PatchParams,
    PostParams, PropagationPolicy,
};
use kube::runtime::controller::Action;
use kube::runtime::finalizer::{Event as Finalizing, finalizer};
use kube::runtime::wait::{await_condition, conditions};
use kube::runtime::{Controller, WatchStreamExt as _, reflector, watcher};
use kube::{Client, Discovery, ResourceExt as _};
use serde_json::json;

const PATIENCE: Duration = Duration::from_secs(60);

struct Served {
    cluster: Handle,
    client: Client,
}

impl Served {
    async fn start() -> Self {
        let sleep = |duration: Duration| -> Sleep { Box::pin(tokio::time::sleep(duration)) };
        let playground =
            Playground::new(Config::default(), Arc::new(Timestamp::now), Arc::new(sleep))
                .expect("a playground");
        let cluster = playground.add_cluster("one").expect("a cluster");
        let url = crate::simulated::serve(cluster.clone()).await;
        tokio::spawn(drive(playground));
        let client = Client::try_from(kube::Config::new(url)).expect("a client");
        let namespace = named::<Namespace>("shop");
        let namespaces: Api<Namespace> = Api::all(client.clone());
        let made = namespaces.create(&PostParams::default(), &namespace).await;
        made.expect("a namespace");
        Self { cluster, client }
    }

    fn config_maps(&self) -> Api<ConfigMap> {
        Api::namespaced(self.client.clone(), "shop")
    }
}

async fn drive(playground: Playground) {
    loop {
        playground.run_due(Timestamp::now());
        let news = poll_fn(|cx| playground.poll_news(cx));
        let wait = playground.next_due().map_or(PATIENCE, |due| {
            Duration::try_from(due.duration_since(Timestamp::now())).unwrap_or_default()
        });
        let _ = tokio::time::timeout(wait, news).await;
    }
}

fn named<K: Default + kube::Resource>(name: &str) -> K {
    let mut object = K::default();
    object.meta_mut().name = Some(name.to_owned());
    object
}

fn config_map(name: &str, value: &str) -> ConfigMap {
    ConfigMap {
        data: Some(BTreeMap::from([("key".to_owned(), value.to_owned())])),
        ..named(name)
    }
}

/// Looks again until it is so.
async fn until(what: &str, mut look: impl AsyncFnMut() -> Result<(), String>) {
    let end = tokio::time::Instant::now() + PATIENCE;
    loop {
        match look().await {
            Ok(()) => return,
            Err(last) => assert!(tokio::time::Instant::now() < end, "{what}: {last}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What a store of a reflector holds, and what a list holds.
async fn same(store: &reflector::Store<ConfigMap>, api: &Api<ConfigMap>) -> Result<(), String> {
    let of = |map: &ConfigMap| (map.name_any(), map.resource_version());
    let list = api.list(&ListParams::default()).await;
    let mut listed: Vec<_> = list
        .map_err(|error| error.to_string())?
        .iter()
        .map(of)
        .collect();
    let mut held: Vec<_> = store.state().iter().map(|map| of(map)).collect();
    listed.sort();
    held.sort();
    (listed == held)
        .then_some(())
        .ok_or(format!("a list has {listed:?}, the store {held:?}"))
}

/// A reflector follows what is done, through cut connections and through history that is gone.
async fn follows(config: watcher::Config) {
    let served = Served::start().await;
    let api = served.config_maps();
    for number in 0..7 {
        let made = api
            .create(
                &PostParams::default(),
                &config_map(&format!("map-{number}"), "1"),
            )
            .await;
        made.expect("created");
    }
    let (store, writer) = reflector::store();
    let stream = watcher(api.clone(), config)
        .default_backoff()
        .reflect(writer);
    let followed = tokio::spawn(stream.for_each(|_| std::future::ready(())));
    store.wait_until_ready().await.expect("ready");
    until("the first objects", async || same(&store, &api).await).await;

    let change = |name: &'static str, value: &'static str| {
        let api = api.clone();
        async move {
            let patch = Patch::Merge(json!({"data": {"key": value}}));
            let patched = api.patch(name, &PatchParams::default(), &patch).await;
            patched.expect("patched");
        }
    };
    change("map-1", "2").await;
    api.delete("map-2", &DeleteParams::default())
        .await
        .expect("deleted");
    until("what was done", async || same(&store, &api).await).await;

    served.cluster.drop_connections();
    change("map-1", "3").await;
    api.delete("map-3", &DeleteParams::default())
        .await
        .expect("deleted");
    until("what was done over a cut", async || {
        same(&store, &api).await
    })
    .await;

    // nothing of what happens while nobody listens stays known
    served.cluster.set_fault(k8s_playground::Fault::offline());
    let registry = served.cluster.registry();
    let catalog = registry.catalog();
    let def = catalog.by_kind("", "v1", "ConfigMap").expect("config maps");
    let options = k8s_apiserver::DeleteOptions::default();
    registry
        .delete(def, "shop", "map-4", &options)
        .expect("deleted");
    registry
        .store()
        .compact(registry.revision())
        .expect("compacted");
    served.cluster.set_fault(k8s_playground::Fault::none());
    until("what was done without history", async || {
        same(&store, &api).await
    })
    .await;
    followed.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reflector_that_lists_follows() {
    // pages smaller than what is there
    follows(watcher::Config::default().page_size(3)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reflector_that_streams_its_list_follows() {
    follows(watcher::Config::default().streaming_lists()).await;
}

fn code(error: kube::Error) -> u16 {
    match error {
        kube::Error::Api(status) => status.code,
        other => panic!("{other}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn patches_of_every_kind() {
    let served = Served::start().await;
    let api = served.config_maps();
    let ours = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "map"}, "data": {"a": "1", "b": "1"}});
    let applied = api
        .patch("map", &PatchParams::apply("one"), &Patch::Apply(&ours))
        .await
        .expect("applied");
    let managers: Vec<_> = applied
        .managed_fields()
        .iter()
        .map(|one| &one.manager)
        .collect();
    assert_eq!(managers, [&Some("one".to_owned())]);
    let theirs = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "map"}, "data": {"a": "2"}});
    let refused = api
        .patch("map", &PatchParams::apply("two"), &Patch::Apply(&theirs))
        .await;
    assert_eq!(code(refused.expect_err("a conflict")), 409);
    let forced = PatchParams::apply("two").force();
    let applied = api
        .patch("map", &forced, &Patch::Apply(&theirs))
        .await
        .expect("forced");
    assert_eq!(
        applied.data.as_ref().map(|data| data["a"].as_str()),
        Some("2")
    );
    // what the first no longer applies goes, what the second took stays
    let less =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "map"}, "data": {}});
    let applied = api
        .patch("map", &PatchParams::apply("one"), &Patch::Apply(&less))
        .await
        .expect("applied");
    let left: Vec<_> = applied
        .data
        .iter()
        .flatten()
        .map(|(key, _)| key.as_str())
        .collect();
    assert_eq!(left, ["a"]);

    let merge = Patch::Merge(json!({"data": {"a": null, "c": "3"}}));
    let merged = api
        .patch("map", &PatchParams::default(), &merge)
        .await
        .expect("merged");
    let left: Vec<_> = merged
        .data
        .iter()
        .flatten()
        .map(|(key, _)| key.as_str())
        .collect();
    assert_eq!(left, ["c"]);
    let strategic = Patch::Strategic(json!({"data": {"d": "4"}}));
    let patched = api
        .patch("map", &PatchParams::default(), &strategic)
        .await
        .expect("patched");
    assert_eq!(patched.data.map_or(0, |data| data.len()), 2);
    let dry = PatchParams::default().dry_run();
    api.patch("map", &dry, &merge).await.expect("a dry run");
    let strict = PatchParams {
        field_validation: Some(kube::core::params::ValidationDirective::Strict),
        ..PatchParams::default()
    };
    let unknown = Patch::Merge(json!({"dota": {}}));
    let refused = api.patch("map", &strict, &unknown).await;
    assert_eq!(code(refused.expect_err("an unknown field")), 400);

    // a replace of what has changed since is refused
    let mut stale = api.get("map").await.expect("there");
    stale.metadata.resource_version = applied.resource_version();
    let refused = api.replace("map", &PostParams::default(), &stale).await;
    assert_eq!(code(refused.expect_err("a conflict")), 409);
    let refused = api.get("none").await;
    assert_eq!(code(refused.expect_err("nothing")), 404);
    assert!(api.get_opt("none").await.expect("an answer").is_none());
    let only = api.get_metadata("map").await.expect("metadata");
    assert_eq!(only.name_any(), "map");
}

fn deployment() -> Deployment {
    serde_json::from_value(json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "web", "image": "web:1"}]},
            },
        },
    }))
    .expect("a Deployment")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subresources_and_conditions() {
    let served = Served::start().await;
    let api: Api<Deployment> = Api::namespaced(served.client.clone(), "shop");
    api.create(&PostParams::default(), &deployment())
        .await
        .expect("created");
    let complete = await_condition(api.clone(), "web", conditions::is_deployment_completed());
    let complete = tokio::time::timeout(PATIENCE, complete).await;
    complete.expect("in time").expect("complete");
    let scale = api.get_scale("web").await.expect("a scale");
    assert_eq!(scale.spec.and_then(|spec| spec.replicas), Some(2));
    let patch = Patch::Merge(json!({"spec": {"replicas": 3}}));
    let scaled = api
        .patch_scale("web", &PatchParams::default(), &patch)
        .await
        .expect("scaled");
    assert_eq!(scaled.spec.and_then(|spec| spec.replicas), Some(3));
    until("three pods", async || {
        let web = api.get("web").await.map_err(|error| error.to_string())?;
        let ready = web.status.and_then(|status| status.ready_replicas);
        (ready == Some(3)).then_some(()).ok_or(format!("{ready:?}"))
    })
    .await;

    // what is written to the status leaves the spec alone, and the other way round
    let pods: Api<Pod> = Api::namespaced(served.client.clone(), "shop");
    let first = pods
        .list(&ListParams::default().limit(1))
        .await
        .expect("a page");
    assert_eq!(first.items.len(), 1);
    let rest = ListParams::default()
        .continue_token(first.metadata.continue_.as_deref().unwrap_or_default());
    assert_eq!(pods.list(&rest).await.expect("a page").items.len(), 2);
    let name = first.items[0].name_any();
    let condition = json!({"type": "example.org/Seen", "status": "True"});
    let patch = Patch::Strategic(
        json!({"metadata": {"labels": {"no": "no"}}, "status": {"conditions": [condition]}}),
    );
    let patched = pods
        .patch_status(&name, &PatchParams::default(), &patch)
        .await
        .expect("patched");
    let types: Vec<_> = patched
        .status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten())
        .collect();
    assert!(types.iter().any(|one| one.type_ == "example.org/Seen"));
    assert!(types.len() > 1, "the other conditions stay");
    let uid = patched.uid().expect("a uid");
    let gone = await_condition(pods.clone(), &name, conditions::is_deleted(&uid));
    let foreground = DeleteParams {
        propagation_policy: Some(PropagationPolicy::Foreground),
        ..DeleteParams::default()
    };
    api.delete("web", &foreground).await.expect("deleted");
    let gone = tokio::time::timeout(PATIENCE, gone).await;
    gone.expect("in time").expect("gone");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_finalizer_lets_go_after_its_cleanup() {
    let served = Served::start().await;
    let api = served.config_maps();
    api.create(&PostParams::default(), &config_map("map", "1"))
        .await
        .expect("created");
    let handle = async || {
        let map = Arc::new(api.get("map").await.expect("there"));
        let mut seen = None;
        finalizer(&api, "example.org/hold", map, |event| {
            seen = Some(match event {
                Finalizing::Apply(_) => "apply",
                Finalizing::Cleanup(_) => "cleanup",
            });
            std::future::ready(Ok::<_, std::io::Error>(Action::await_change()))
        })
        .await
        .expect("handled");
        seen
    };
    // the first time it only puts itself on the object
    assert_eq!(handle().await, None);
    let held = api.get("map").await.expect("there");
    assert_eq!(held.finalizers(), ["example.org/hold"]);
    assert_eq!(handle().await, Some("apply"));
    let left = api
        .delete("map", &DeleteParams::default())
        .await
        .expect("deleted");
    assert!(
        left.left()
            .is_some_and(|map| map.metadata.deletion_timestamp.is_some())
    );
    assert_eq!(handle().await, Some("cleanup"));
    assert!(api.get_opt("map").await.expect("an answer").is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_controller_of_a_custom_kind() {
    let served = Served::start().await;
    let client = served.client.clone();
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    let definition = serde_json::from_value(json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "wishes.example.org"},
        "spec": {
            "group": "example.org", "scope": "Namespaced", "names": {"plural": "wishes", "kind": "Wish"},
            "versions": [{
                "name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                    "spec": {"type": "object", "properties": {"text": {"type": "string"}}},
                    "status": {"type": "object", "properties": {"made": {"type": "boolean"}}},
                }}},
            }],
        },
    }))
    .expect("a definition");
    definitions
        .create(&PostParams::default(), &definition)
        .await
        .expect("created");
    let established = await_condition(
        definitions,
        "wishes.example.org",
        conditions::is_crd_established(),
    );
    let established = tokio::time::timeout(PATIENCE, established).await;
    established.expect("in time").expect("established");
    let discovery = Discovery::new(client.clone())
        .run_aggregated()
        .await
        .expect("discovery");
    let group = discovery.get("example.org").expect("the group");
    let (wish, _): (ApiResource, _) = group.recommended_kind("Wish").expect("the kind");

    let wishes: Api<DynamicObject> = Api::namespaced_with(client.clone(), "shop", &wish);
    let maps = served.config_maps();
    let controller = Controller::new_with(wishes.clone(), watcher::Config::default(), wish.clone())
        .owns(maps.clone(), watcher::Config::default());
    let (api, made) = (wishes.clone(), maps.clone());
    let reconcile = move |object: Arc<DynamicObject>, _: Arc<()>| {
        let (api, made) = (api.clone(), made.clone());
        async move {
            let name = object.name_any();
            let child = json!({
                "apiVersion": "v1", "kind": "ConfigMap",
                "metadata": {"name": name, "ownerReferences": [{
                    "apiVersion": "example.org/v1", "kind": "Wish", "name": name, "uid": object.uid(), "controller": true,
                }]},
                "data": {"text": object.data["spec"]["text"]},
            });
            let ours = PatchParams::apply("wisher").force();
            made.patch(&name, &ours, &Patch::Apply(&child)).await?;
            let status =
                json!({"apiVersion": "example.org/v1", "kind": "Wish", "status": {"made": true}});
            api.patch_status(&name, &ours, &Patch::Apply(&status))
                .await?;
            Ok::<_, kube::Error>(Action::await_change())
        }
    };
    let runs = controller.run(
        reconcile,
        |_, _, _| Action::requeue(Duration::from_millis(100)),
        Arc::new(()),
    );
    let runs = tokio::spawn(runs.for_each(|_| std::future::ready(())));

    let mut object = DynamicObject::new("peace", &wish).data(json!({"spec": {"text": "on earth"}}));
    object.metadata = ObjectMeta {
        name: Some("peace".to_owned()),
        ..ObjectMeta::default()
    };
    wishes
        .create(&PostParams::default(), &object)
        .await
        .expect("created");
    let text = async || {
        let map = maps.get_opt("peace").await.ok().flatten()?;
        map.data?.remove("text")
    };
    until("the map", async || match text().await.as_deref() {
        Some("on earth") => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    // it heals what it owns, and follows its object
    maps.delete("peace", &DeleteParams::default())
        .await
        .expect("deleted");
    until("the map again", async || {
        text().await.map(drop).ok_or("none".to_owned())
    })
    .await;
    let patch = Patch::Merge(json!({"spec": {"text": "of mind"}}));
    wishes
        .patch("peace", &PatchParams::default(), &patch)
        .await
        .expect("patched");
    until("the new text", async || match text().await.as_deref() {
        Some("of mind") => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    let done = wishes.get("peace").await.expect("there");
    assert_eq!(done.data["status"]["made"], true);
    assert_eq!(
        done.metadata.generation,
        Some(2),
        "a status is no new generation"
    );
    runs.abort();
    // what it owned goes with it
    wishes
        .delete("peace", &DeleteParams::default())
        .await
        .expect("deleted");
    until("the end of the map", async || match text().await {
        None => Ok(()),
        Some(text) => Err(text),
    })
    .await;
    let events: Vec<_> = watcher(maps, watcher::Config::default())
        .take(1)
        .try_collect()
        .await
        .expect("a watch");
    assert_eq!(events.len(), 1);
}
