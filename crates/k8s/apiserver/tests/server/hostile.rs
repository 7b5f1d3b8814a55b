//! What is sent to harm: it is refused in time, and the next request is served.

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
