//! What is sent to harm: it is refused in time, and the next request is served.

use futures_util::StreamExt as _;
use serde_json::{Value, json};

use crate::common::{call, server};

const CRDS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";

fn definition(schema: Value) -> Value {
    json!({
        "metadata": {"name": "ys.e.org"},
        "spec": {
            "group": "e.org", "scope": "Namespaced", "names": {"plural": "ys", "kind": "Y"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}],
        },
    })
}

/// Sends raw bytes; returns the code and the message.
async fn raw(method: &str, path: &str, kind: &str, body: impl Into<bytes::Bytes>) -> (u16, String) {
    let request = http::Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", kind)
        .body(body.into())
        .expect("a request");
    let server = server();
    let object = json!({"metadata": {"name": "a"}, "data": {"k": "v"}});
    assert_eq!(call(&server, "POST", MAPS, object).await.0, 201);
    let answer = server
        .handle(request, &k8s_apiserver::UserInfo::admin())
        .await;
    let code = answer.status().as_u16();
    let k8s_apiserver::Body::Full(body) = answer.into_body() else {
        return (code, String::new());
    };
    let status: Value = serde_json::from_slice(&body).unwrap_or_default();
    // others are unharmed
    assert_eq!(call(&server, "GET", MAPS, Value::Null).await.0, 200);
    (code, status["message"].as_str().unwrap_or("").to_owned())
}

#[tokio::test]
async fn bodies_that_are_too_much_are_refused() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let deep =
        format!(r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"b"}},"x":{deep}}}"#);
    assert_eq!(
        raw("POST", MAPS, "application/json", deep.clone()).await.0,
        400
    );
    assert_eq!(raw("POST", MAPS, "application/yaml", deep).await.0, 400);
    let bomb: String = (1..12)
        .map(|n| {
            let many = format!("*a{}, ", n - 1).repeat(10);
            format!("a{n}: &a{n} [{many}]\n")
        })
        .collect();
    let bomb = format!("a0: &a0 [x]\n{bomb}");
    assert_eq!(raw("POST", MAPS, "application/yaml", bomb).await.0, 400);
    let large = vec![b' '; 3 * 1024 * 1024 + 1];
    let (code, message) = raw("POST", MAPS, "application/json", large).await;
    assert_eq!(
        (code, message.contains("3145728")),
        (413, true),
        "{message}"
    );
}

#[tokio::test]
async fn patches_that_are_too_much_are_refused() {
    const PATCH: &str = "application/json-patch+json";
    let one = format!("{MAPS}/a");
    let many: Vec<Value> = (0..10_001)
        .map(|_| json!({"op": "test", "path": "/data/k", "value": "v"}))
        .collect();
    let (code, message) = raw("PATCH", &one, PATCH, json!(many).to_string()).await;
    assert_eq!(code, 413, "{message}");
    // each copy doubles what is there
    let copies: Vec<Value> = (0..40)
        .map(|n| json!({"op": "copy", "from": "/data", "path": format!("/data/x{n}")}))
        .collect();
    let (code, message) = raw("PATCH", &one, PATCH, json!(copies).to_string()).await;
    assert!((400..500).contains(&code), "{code} {message}");
}

#[tokio::test]
async fn selectors_that_are_too_much_are_read_or_refused() {
    let many = vec!["a%3Db"; 8_000].join(",");
    let nested = "(".repeat(5_000);
    for query in [
        format!("labelSelector={many}"),
        format!("labelSelector=a%20in%20{nested}"),
        format!("fieldSelector={}", "a.".repeat(20_000)),
        format!("continue={}", "A".repeat(60_000)),
        "limit=-1".to_owned(),
        "resourceVersion=99999999999999999999999".to_owned(),
    ] {
        let (code, _) = raw("GET", &format!("{MAPS}?{query}"), "application/json", "").await;
        assert!(code < 500, "{code} {}", &query[..40.min(query.len())]);
    }
}

#[tokio::test]
async fn hostile_definitions_are_refused_or_harmless() {
    let server = server();
    let text = |pattern: &str| {
        json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
            "s": {"type": "string", "pattern": pattern}}}}})
    };
    for pattern in [
        "((((a{100}){100}){100}){100})",
        "(a{1000}){1000}",
        "(?=a)",
        "(a",
        &"(".repeat(10_000),
    ] {
        let (code, status) = call(&server, "POST", CRDS, definition(text(pattern))).await;
        assert_eq!(code, 422, "{pattern:.40}: {status}");
    }
    // slow where an engine goes back
    let (code, status) = call(&server, "POST", CRDS, definition(text("^(a+)+$"))).await;
    assert_eq!(code, 201, "{status}");
    let long = format!("{}b", "a".repeat(100_000));
    let object = json!({"metadata": {"name": "x"}, "spec": {"s": long}});
    let (code, _) = call(
        &server,
        "POST",
        "/apis/e.org/v1/namespaces/default/ys",
        object,
    )
    .await;
    assert_eq!(code, 422);
    // a schema that is deep is read as deep as JSON goes
    let mut schema = json!({"type": "string"});
    for _ in 0..40 {
        schema = json!({"type": "object", "properties": {"a": schema}});
    }
    let mut deep = definition(schema);
    deep["metadata"]["name"] = json!("zs.e.org");
    deep["spec"]["names"] = json!({"plural": "zs", "kind": "Z"});
    assert_eq!(call(&server, "POST", CRDS, deep).await.0, 201);
}

/// A definition whose spec has this schema.
fn ruled(spec: Value) -> Value {
    definition(json!({"type": "object", "properties": {"spec": spec}}))
}

#[tokio::test]
async fn hostile_rules_are_refused_in_time() {
    let server = server();
    let list = |rule: &str| {
        let leaf = json!({"type": "string"});
        let spec = json!({
            "type": "object",
            "x-kubernetes-validations": [{"rule": rule}],
            "properties": {"l": {"type": "array", "items": leaf}, "s": {"type": "string"}},
        });
        ruled(spec)
    };
    let deep = format!("{}true{}", "(".repeat(20_000), ")".repeat(20_000));
    let sum = format!("1{} == 0", "+1".repeat(50_000));
    let chain = format!("self{} == 1", ".s".repeat(50_000));
    let cubed = "self.l.all(a, self.l.all(b, self.l.all(c, a + b + c != '')))";
    let mut wrong = Vec::new();
    for rule in [
        cubed,
        &deep,
        &sum,
        &chain,
        "self.s.matches('(a{1000}){1000}')",
        "self.s.matches('(a')",
        "self.s.matches(self.s + '(((((a{50}){50}){50}){50}){50})')",
        "self.l.map(a, self.l.map(b, self.l.map(c, [a, b, c]))).size() > 0",
        "'",
        "",
        "self.none",
    ] {
        let started = std::time::Instant::now();
        let (code, status) = call(&server, "POST", CRDS, list(rule)).await;
        let took = started.elapsed();
        if (code, &status["reason"]) != (422, &json!("Invalid")) || took.as_secs() > 10 {
            let shown: String = rule.chars().take(60).collect();
            let said: String = status.to_string().chars().take(300).collect();
            wrong.push(format!("{shown}: {code} after {took:?}: {said}"));
        }
        if code == 201 {
            call(&server, "DELETE", &format!("{CRDS}/ys.e.org"), Value::Null).await;
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let rules = vec![json!({"rule": "self.all(x, x != '')"}); 5_000];
    let leaf =
        json!({"type": "array", "items": {"type": "string"}, "x-kubernetes-validations": rules});
    let (code, _) = call(
        &server,
        "POST",
        CRDS,
        ruled(json!({"type": "object", "properties": {"l": leaf}})),
    )
    .await;
    assert_eq!(code, 422);
    // others are unharmed
    assert_eq!(call(&server, "GET", MAPS, Value::Null).await.0, 200);
}

#[tokio::test]
async fn a_rule_that_costs_too_much_when_it_runs_is_stopped() {
    let server = server();
    let strings =
        json!({"type": "array", "maxItems": 800, "items": {"type": "string", "maxLength": 8}});
    let spec = json!({
        "type": "object",
        "x-kubernetes-validations": [{"rule": "self.l.all(a, self.l.all(b, a + b != '-'))"}],
        "properties": {"l": strings},
    });
    let (code, status) = call(&server, "POST", CRDS, ruled(spec)).await;
    assert_eq!(code, 201, "{status}");
    let object = |count: usize| {
        let all: Vec<String> = (0..count).map(|n| format!("v{n}")).collect();
        json!({"metadata": {"name": format!("y-{count}")}, "spec": {"l": all}})
    };
    let path = "/apis/e.org/v1/namespaces/default/ys";
    assert_eq!(call(&server, "POST", path, object(10)).await.0, 201);
    let started = std::time::Instant::now();
    let (code, status) = call(&server, "POST", path, object(800)).await;
    let message = status["message"].as_str().unwrap_or_default();
    assert_eq!(code, 422, "{status}");
    assert!(message.contains("cost"), "{message}");
    assert!(started.elapsed().as_secs() < 20, "{:?}", started.elapsed());
    assert_eq!(call(&server, "GET", MAPS, Value::Null).await.0, 200);
}

#[tokio::test]
async fn a_watch_that_nobody_reads_ends_and_others_go_on() {
    let server = server();
    let watch = async || {
        let uri = format!("{MAPS}?watch=1&resourceVersion=0&timeoutSeconds=2");
        let request = http::Request::get(uri).body(bytes::Bytes::new());
        let request = request.expect("a request");
        let answer = server
            .handle(request, &k8s_apiserver::UserInfo::admin())
            .await;
        match answer.into_body() {
            k8s_apiserver::Body::Stream(stream) => stream,
            other @ k8s_apiserver::Body::Full(_) => panic!("{other:?}"),
        }
    };
    let mut silent = watch().await;
    let mut reader = watch().await;
    let mut seen = 0;
    // more than may wait for a watch
    let large = "x".repeat(1 << 20);
    for number in 0..12 {
        let object = json!({"metadata": {"name": format!("m{number}")}, "data": {"k": large}});
        assert_eq!(call(&server, "POST", MAPS, object).await.0, 201);
        let part = reader.next().await.expect("the reader's watch goes on");
        seen += part.iter().filter(|byte| **byte == b'\n').count();
    }
    assert_eq!(seen, 12);
    let mut text = Vec::new();
    while let Some(part) = silent.next().await {
        text.extend_from_slice(&part);
    }
    let text = String::from_utf8_lossy(&text);
    let last = text.lines().next_back().unwrap_or_default();
    let last: Value = serde_json::from_str(last).expect("an event");
    assert_eq!(
        (&last["type"], &last["object"]["code"]),
        (&json!("ERROR"), &json!(410))
    );
    assert!(text.len() < 9 << 20, "{} bytes waited", text.len());
}

#[tokio::test]
async fn a_body_of_copies_is_refused_before_it_grows() {
    let one = format!("{MAPS}/a");
    // a text of a megabyte, copied ten times, and each copy into the next
    let first = json!({"op": "add", "path": "/data/k", "value": "x".repeat(1 << 20)});
    let copy = |n: usize| json!({"op": "copy", "from": "/data/k", "path": format!("/data/k{n}")});
    let mut all = vec![first];
    all.extend((0..10).map(copy));
    let started = std::time::Instant::now();
    let (code, message) = raw(
        "PATCH",
        &one,
        "application/json-patch+json",
        json!(all).to_string(),
    )
    .await;
    assert_eq!(code, 422, "{message}");
    let nested: Vec<Value> = (0..40)
        .map(|_| json!({"op": "copy", "from": "/data", "path": "/metadata/annotations"}))
        .chain((0..40).map(|n| json!({"op": "copy", "from": "", "path": format!("/x{n}")})))
        .collect();
    let (code, message) = raw(
        "PATCH",
        &one,
        "application/json-patch+json",
        json!(nested).to_string(),
    )
    .await;
    assert_eq!(code, 422, "{message}");
    assert!(started.elapsed().as_secs() < 10);
}
