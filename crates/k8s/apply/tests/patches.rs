//! The patches, case by case.

use k8s_apply::patch::{json_patch, merge_patch, strategic_merge};
use k8s_apply::schema::TypeRef;
use k8s_object::Gvk;
use serde_json::{Value, json};

/// The message with its causes, as a caller prints it.
fn chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", chain(source)),
        None => error.to_string(),
    }
}

#[test]
fn json_patches() {
    let check = |target: Value, patch: Value, expected: Result<Value, &str>| {
        let ours = json_patch(&target, &patch).map_err(|error| chain(&error));
        assert_eq!(ours, expected.map_err(str::to_owned), "{patch}");
    };
    check(
        json!({"a": [1, 2]}),
        json!([{"op": "add", "path": "/a/1", "value": 9}]),
        Ok(json!({"a": [1, 9, 2]})),
    );
    check(
        json!({"a/b": 1}),
        json!([{"op": "replace", "path": "/a~1b", "value": 2}]),
        Ok(json!({"a/b": 2})),
    );
    check(
        json!({"a": 1}),
        json!([{"op": "add", "path": "/b", "value": 2}, {"op": "test", "path": "/a", "value": 2}]),
        Err(
            "failed to apply operation 1 of the JSON patch: test \"/a\": another value stands there",
        ),
    );
    check(
        json!({}),
        json!({"a": 1}),
        Err("failed to read the JSON patch: it is no list of operations"),
    );
    let many: Vec<Value> = (0..10_001)
        .map(|_| json!({"op": "remove", "path": "/a"}))
        .collect();
    check(
        json!({}),
        many.into(),
        Err("the JSON patch has 10001 operations, more than 10000"),
    );
}

#[test]
fn copies_of_copies_are_stopped() {
    let bomb: Vec<Value> = (0..64)
        .map(|at| json!({"op": "copy", "from": "/all", "path": format!("/all/k{at}")}))
        .collect();
    let error =
        json_patch(&json!({"all": {"a": "x".repeat(100)}}), &bomb.into()).expect_err("too much");
    assert_eq!(
        chain(&error),
        "failed to apply operation 14 of the JSON patch: copy \"/all/k14\": its copies hold more than 3145728 bytes"
    );
}

#[test]
fn merge_patches() {
    let check = |target: Value, patch: Value, expected: Value| {
        assert_eq!(merge_patch(&target, &patch), expected)
    };
    check(
        json!({"a": {"b": 1, "c": 2}}),
        json!({"a": {"b": null, "d": [1]}}),
        json!({"a": {"c": 2, "d": [1]}}),
    );
    check(json!({"a": [1, 2]}), json!({"a": [3]}), json!({"a": [3]}));
}

fn pod(spec: Value) -> Value {
    json!({"spec": spec})
}

#[test]
fn strategic_patches() {
    let ty = TypeRef::builtin_or_deduced(&Gvk::new("v1", "Pod"));
    let check = |live: Value, patch: Value, expected: Result<Value, &str>| {
        let ours = strategic_merge(&pod(live), &pod(patch.clone()), &ty);
        assert_eq!(
            ours.map_err(|error| error.to_string()),
            expected.map(pod).map_err(str::to_owned),
            "{patch}"
        );
    };
    let two = json!({"containers": [{"name": "a", "image": "1"}, {"name": "b", "image": "1"}]});
    check(
        two.clone(),
        json!({"containers": [{"name": "b", "image": "2"}, {"name": "c"}]}),
        Ok(
            json!({"containers": [{"name": "a", "image": "1"}, {"name": "b", "image": "2"}, {"name": "c"}]}),
        ),
    );
    check(
        two.clone(),
        json!({"containers": [{"name": "a", "$patch": "delete"}]}),
        Ok(json!({"containers": [{"name": "b", "image": "1"}]})),
    );
    check(
        two.clone(),
        json!({"containers": [{"$patch": "replace"}, {"name": "z"}]}),
        Ok(json!({"containers": [{"name": "z"}]})),
    );
    check(
        two.clone(),
        json!({"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]}),
        Ok(json!({"containers": [{"name": "b", "image": "1"}, {"name": "a", "image": "1"}]})),
    );
    check(
        json!({"volumes": [{"name": "v", "emptyDir": {}}]}),
        json!({"volumes": [{"name": "v", "$retainKeys": ["name", "hostPath"], "hostPath": {"path": "/"}}]}),
        Ok(json!({"volumes": [{"name": "v", "hostPath": {"path": "/"}}]})),
    );
    check(
        json!({"tolerations": [{"key": "a"}], "nodeSelector": {"a": "1"}}),
        json!({"tolerations": [{"key": "b"}], "nodeSelector": {"b": "1", "$patch": "replace"}}),
        Ok(json!({"tolerations": [{"key": "b"}], "nodeSelector": {"b": "1"}})),
    );
    check(
        two.clone(),
        json!({"containers": [{"image": "2"}]}),
        Err(
            "strategic merge patch, at spec.containers: map: {\"image\":\"2\"} does not contain declared merge key: name",
        ),
    );
    check(
        two,
        json!({"containers": [{"name": "a", "$patch": "mix"}]}),
        Err("strategic merge patch, at spec.containers: unknown patch type \"mix\" in a list"),
    );
}
