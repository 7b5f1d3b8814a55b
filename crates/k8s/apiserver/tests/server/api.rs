//! Requests and their answers, area by area.

use crate::common::{call, send, server};
use k8s_apiserver::Server;
use serde_json::{Value, json};

pub(crate) const MAPS: &str = "/api/v1/namespaces/default/configmaps";
pub(crate) const JSON: (&str, &str) = ("content-type", "application/json");

pub(crate) async fn make(server: &Server, name: &str, labels: Value) -> Value {
    let body = json!({"metadata": {"name": name, "labels": labels}, "data": {"k": name}});
    let (code, made) = call(server, "POST", MAPS, body).await;
    assert_eq!(code, 201, "{made}");
    made
}

pub(crate) fn revision(object: &Value) -> String {
    object["metadata"]["resourceVersion"]
        .as_str()
        .expect("has a revision")
        .to_owned()
}

pub(crate) fn names(list: &Value) -> Vec<&str> {
    let items = list["items"].as_array().expect("is a list");
    items
        .iter()
        .map(|item| item["metadata"]["name"].as_str().expect("has a name"))
        .collect()
}

/// The events of a finished watch: type and name.
fn events(text: &str) -> Vec<(String, String)> {
    text.lines()
        .map(|line| {
            let event: Value = serde_json::from_str(line).expect(line);
            let meta = &event["object"]["metadata"];
            (
                event["type"].as_str().expect("has a type").to_owned(),
                meta["name"].as_str().unwrap_or_default().to_owned(),
            )
        })
        .collect()
}

#[tokio::test]
async fn lists_come_in_pages_of_one_revision() {
    let server = server();
    for name in ["a", "b", "c", "d", "e"] {
        let even = ["b", "d"].contains(&name);
        make(&server, name, json!({"even": even.to_string()})).await;
    }
    let (code, first) = call(&server, "GET", &format!("{MAPS}?limit=2"), Value::Null).await;
    assert_eq!((code, names(&first)), (200, vec!["a", "b"]));
    assert_eq!(first["metadata"]["remainingItemCount"], json!(3));
    assert_eq!(first["kind"], json!("ConfigMapList"));
    let token = first["metadata"]["continue"].as_str().expect("goes on");

    // what is written between the pages does not show
    make(&server, "ba", json!({})).await;
    let next = format!("{MAPS}?limit=2&continue={token}");
    let (_, second) = call(&server, "GET", &next, Value::Null).await;
    assert_eq!(names(&second), ["c", "d"]);
    assert_eq!(revision(&second), revision(&first));
    let token = second["metadata"]["continue"].as_str().expect("goes on");
    let last = format!("{MAPS}?limit=2&continue={token}");
    let (_, third) = call(&server, "GET", &last, Value::Null).await;
    assert_eq!(names(&third), ["e"]);
    assert_eq!(third["metadata"].get("continue"), None);

    // a filtered page is filled, and counts nothing
    let (_, even) = call(
        &server,
        "GET",
        &format!("{MAPS}?limit=1&labelSelector=even%3Dtrue"),
        Value::Null,
    )
    .await;
    assert_eq!(names(&even), ["b"]);
    assert_eq!(even["metadata"].get("remainingItemCount"), None);

    // a page of a revision that is gone: 410, and a token to go on without consistency
    let registry = server.registry();
    registry
        .store()
        .compact(registry.revision())
        .expect("compacts");
    let (code, expired) = call(&server, "GET", &next, Value::Null).await;
    assert_eq!((code, &expired["reason"]), (410, &json!("Expired")));
    let token = expired["metadata"]["continue"].as_str().expect("goes on");
    let (code, rest) = call(
        &server,
        "GET",
        &format!("{MAPS}?continue={token}"),
        Value::Null,
    )
    .await;
    assert_eq!((code, names(&rest)), (200, vec!["ba", "c", "d", "e"]));
}

#[tokio::test]
async fn revisions_of_lists_are_held_to_their_meaning() {
    let server = server();
    let old = revision(&make(&server, "a", json!({})).await);
    make(&server, "b", json!({})).await;
    for (query, code, expected) in [
        ("resourceVersion=0".to_owned(), 200, "[\"a\",\"b\"]"),
        (format!("resourceVersion={old}"), 200, "[\"a\",\"b\"]"),
        (
            format!("resourceVersion={old}&resourceVersionMatch=Exact"),
            200,
            "[\"a\"]",
        ),
        (format!("resourceVersion={old}&limit=9"), 200, "[\"a\"]"),
        (
            "resourceVersion=99999".to_owned(),
            504,
            "Too large resource version",
        ),
        (
            "resourceVersionMatch=Exact".to_owned(),
            422,
            "is forbidden unless resourceVersion is provided",
        ),
        (
            "resourceVersion=0&resourceVersionMatch=Exact".to_owned(),
            422,
            "forbidden for resourceVersion",
        ),
        ("resourceVersion=x".to_owned(), 400, "invalid syntax"),
        ("limit=x".to_owned(), 400, "invalid syntax"),
        (
            "labelSelector=a+b".to_owned(),
            400,
            "unable to parse requirement",
        ),
        (
            "fieldSelector=spec.x%3D1".to_owned(),
            400,
            "is not a known field selector",
        ),
        ("fieldSelector=metadata.name%3Db".to_owned(), 200, "[\"b\"]"),
        (
            "continue=nonsense".to_owned(),
            400,
            "continue key is not valid",
        ),
    ] {
        let (found, answer) = call(&server, "GET", &format!("{MAPS}?{query}"), Value::Null).await;
        assert_eq!(found, code, "{query}: {answer}");
        let text = if code == 200 {
            json!(names(&answer)).to_string()
        } else {
            answer["message"].to_string()
        };
        assert!(text.contains(expected), "{query}: {text}");
    }
}

#[tokio::test(start_paused = true)]
async fn watches_tell_what_changes() {
    let server = server();
    let start = revision(&make(&server, "a", json!({"x": "1"})).await);
    make(&server, "b", json!({})).await;
    let label = |name: &str, value: Value| {
        (
            format!("{MAPS}/{name}"),
            json!({"metadata": {"labels": {"x": value}}}),
        )
    };
    for (path, body) in [
        label("b", json!("1")),
        label("a", json!("2")),
        label("b", json!(null)),
    ] {
        assert_eq!(call(&server, "PATCH", &path, body).await.0, 200);
    }
    call(&server, "DELETE", &format!("{MAPS}/a"), Value::Null).await;
    let watch = |query: String| {
        let server = server.clone();
        async move {
            let uri = format!("{MAPS}?watch=1&timeoutSeconds=1&{query}");
            events(&send(&server, "GET", &uri, &[], "").await.2)
        }
    };
    let pair = |kind: &str, name: &str| (kind.to_owned(), name.to_owned());
    assert_eq!(
        watch(format!("resourceVersion={start}")).await,
        [
            pair("ADDED", "b"),
            pair("MODIFIED", "b"),
            pair("MODIFIED", "a"),
            pair("MODIFIED", "b"),
            pair("DELETED", "a"),
        ]
    );
    // an object that comes to match is added, one that stops matching is deleted
    assert_eq!(
        watch(format!("resourceVersion={start}&labelSelector=x%3D1")).await,
        [
            pair("ADDED", "b"),
            pair("DELETED", "a"),
            pair("DELETED", "b")
        ]
    );
    assert_eq!(
        watch("resourceVersion=0".to_owned()).await,
        [pair("ADDED", "b")]
    );
    assert_eq!(
        watch(
            "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
                .to_owned()
        )
        .await,
        [
            pair("ADDED", "b"),
            pair("BOOKMARK", ""),
            pair("BOOKMARK", "")
        ]
    );
    let uri = format!("{MAPS}?watch=1&sendInitialEvents=true");
    assert_eq!(send(&server, "GET", &uri, &[], "").await.0, 422);

    // bookmarks come by the timer
    let uri = format!(
        "{MAPS}?watch=1&timeoutSeconds=130&allowWatchBookmarks=true&resourceVersion={start}"
    );
    let text = send(&server, "GET", &uri, &[], "").await.2;
    assert_eq!(text.matches("BOOKMARK").count(), 3, "{text}");

    // history that is gone is told inside the stream
    let registry = server.registry();
    registry
        .store()
        .compact(registry.revision())
        .expect("compacts");
    let uri = format!("{MAPS}?watch=1&timeoutSeconds=1&resourceVersion={start}");
    let (code, _, text) = send(&server, "GET", &uri, &[], "").await;
    let event: Value = serde_json::from_str(&text).expect("one event");
    assert_eq!(
        (
            code,
            &event["type"],
            &event["object"]["code"],
            &event["object"]["reason"]
        ),
        (200, &json!("ERROR"), &json!(410), &json!("Expired"))
    );
}

#[tokio::test(start_paused = true)]
async fn watches_can_be_tables() {
    let server = server();
    make(&server, "a", json!({})).await;
    let accept = (
        "accept",
        "application/json;as=Table;v=v1;g=meta.k8s.io,application/json",
    );
    let uri = format!("{MAPS}?watch=1&timeoutSeconds=1&resourceVersion=0");
    let (_, _, text) = send(&server, "GET", &uri, &[accept], "").await;
    let event: Value = serde_json::from_str(&text).expect("one event");
    assert_eq!(event["object"]["kind"], json!("Table"));
    assert_eq!(event["object"]["rows"][0]["cells"], json!(["a", 1, "0s"]));
}

#[tokio::test]
async fn forms_are_agreed_on() {
    let server = server();
    make(&server, "a", json!({})).await;
    let one = &*format!("{MAPS}/a");
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
    let partial = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io";
    let partials = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io";
    for (uri, accept, code, kind, expected) in [
        (one, "", 200, "application/json", "\"kind\":\"ConfigMap\""),
        (
            one,
            "application/yaml",
            200,
            "application/yaml",
            "kind: ConfigMap\n",
        ),
        (
            one,
            table,
            200,
            "application/json",
            "\"cells\":[\"a\",1,\"0s\"]",
        ),
        (
            one,
            partial,
            200,
            "application/json",
            "\"kind\":\"PartialObjectMetadata\"",
        ),
        (
            MAPS,
            partials,
            200,
            "application/json",
            "\"kind\":\"PartialObjectMetadataList\"",
        ),
        (
            &*format!("{MAPS}?includeObject=Object"),
            table,
            200,
            "application/json",
            "\"kind\":\"ConfigMap\"",
        ),
        (
            &*format!("{MAPS}?includeObject=Odd"),
            table,
            400,
            "application/json",
            "must be 'Metadata', 'Object', 'None', or empty",
        ),
        (
            one,
            "application/vnd.kubernetes.protobuf",
            406,
            "application/json",
            "only the following media types are accepted: application/json, application/yaml",
        ),
        ("/api/v1", table, 406, "application/json", "NotAcceptable"),
        (
            "/apis/nothing/v1/things",
            "",
            404,
            "text/plain; charset=utf-8",
            "404 page not found",
        ),
        ("/readyz", "", 200, "text/plain; charset=utf-8", "ok"),
        (
            "/version",
            "",
            200,
            "application/json",
            "\"major\":\"1\",\"minor\":\"36\"",
        ),
    ] {
        let headers = [("accept", accept)];
        let (found, headers, text) = send(&server, "GET", uri, &headers, "").await;
        assert_eq!(found, code, "{uri} {accept}: {text}");
        assert_eq!(headers["content-type"], kind, "{uri} {accept}");
        if code == 200 && expected.contains("major") {
            assert!(
                text.contains("\"major\":\"1\"") && text.contains("\"minor\":\"36\""),
                "{text}"
            );
        } else {
            assert!(text.contains(expected), "{uri} {accept}: {text}");
        }
    }
    for (method, kind, body, code, expected) in [
        (
            "POST",
            "application/yaml",
            "metadata: {name: yam}\ndata: {a: b}\n",
            201,
            "\"name\":\"yam\"",
        ),
        ("POST", "application/cbor", "x", 415, "UnsupportedMediaType"),
        ("POST", "application/json", "{", 400, "BadRequest"),
        (
            "POST",
            "application/json",
            r#"{"kind":"Secret","apiVersion":"v1"}"#,
            400,
            "cannot be handled as a ConfigMap",
        ),
        (
            "POST",
            "application/json",
            r#"{"kind":"ConfigMap","apiVersion":"v2"}"#,
            400,
            "no kind \\\"ConfigMap\\\" is registered for version",
        ),
        (
            "POST",
            "application/json",
            r#"{"metadata":{"name":"z","namespace":"other"}}"#,
            400,
            "does not match the namespace sent on the request",
        ),
        (
            "POST",
            "application/json",
            r#"{"metadata":{}}"#,
            422,
            "name or generateName is required",
        ),
        (
            "POST",
            "application/json",
            r#"{"metadata":{"name":"z","resourceVersion":"4"}}"#,
            500,
            "resourceVersion should not be set on objects to be created",
        ),
        (
            "POST",
            "application/json",
            r#"{"metadata":{"name":"z"},"data":{"a":1}}"#,
            400,
            "cannot unmarshal number into Go struct field ConfigMap.data of type string",
        ),
        (
            "POST",
            "application/json",
            r#"{"metadata":{"name":"z","labels":{"a b":"c"}}}"#,
            422,
            "metadata.labels: Invalid value",
        ),
        ("PUT", "application/json", "{}", 405, "MethodNotAllowed"),
    ] {
        let (found, _, text) = send(&server, method, MAPS, &[("content-type", kind)], body).await;
        assert_eq!(found, code, "{body}: {text}");
        assert!(text.contains(expected), "{body}: {text}");
    }
    let large = format!("{{\"data\":{{\"a\":\"{}\"}}}}", "x".repeat(3 * 1024 * 1024));
    assert_eq!(send(&server, "POST", MAPS, &[JSON], &large).await.0, 413);
}

#[tokio::test]
async fn discovery_and_documents_are_cached_by_their_hash() {
    let server = server();
    let accept = (
        "accept",
        "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json",
    );
    let (code, headers, text) = send(&server, "GET", "/apis", &[accept], "").await;
    assert_eq!(code, 200);
    assert_eq!(
        headers["content-type"],
        "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    );
    let list: Value = serde_json::from_str(&text).expect("is JSON");
    assert_eq!(list["items"][0]["metadata"]["name"], json!("apps"));
    let tag = headers["etag"].to_str().expect("a text").to_owned();
    let again = send(
        &server,
        "GET",
        "/apis",
        &[accept, ("if-none-match", &tag)],
        "",
    )
    .await;
    assert_eq!((again.0, &*again.2), (304, ""));

    let (_, root) = call(&server, "GET", "/openapi/v3", Value::Null).await;
    let url = root["paths"]["apis/apps/v1"]["serverRelativeURL"]
        .as_str()
        .expect("is there");
    let (code, document) = call(&server, "GET", url, Value::Null).await;
    assert_eq!(code, 200);
    assert_eq!(
        document["components"]["schemas"]["io.k8s.api.apps.v1.Deployment"]["x-kubernetes-group-version-kind"],
        json!([{"group": "apps", "version": "v1", "kind": "Deployment"}])
    );
    assert!(
        document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"]
            .is_object()
    );
    let (code, headers, _) =
        send(&server, "GET", "/openapi/v3/apis/apps/v1?hash=OLD", &[], "").await;
    assert_eq!(
        (code, headers["location"].to_str().expect("a text")),
        (301, url)
    );

    // the older form says the same
    let (_, swagger) = call(&server, "GET", "/openapi/v2", Value::Null).await;
    let deployment = &swagger["definitions"]["io.k8s.api.apps.v1.Deployment"];
    assert_eq!(
        deployment["properties"]["spec"]["$ref"],
        json!("#/definitions/io.k8s.api.apps.v1.DeploymentSpec"),
        "{deployment}"
    );
    let patch =
        &swagger["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"];
    assert_eq!(
        patch["responses"]["200"]["schema"]["$ref"],
        json!("#/definitions/io.k8s.api.apps.v1.Deployment")
    );
    assert!(!swagger.to_string().contains("#/components/"));
    // kubectl wants it as protobuf before it takes a `List` that it cannot check
    let wanted = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
    let (code, headers, document) =
        send(&server, "GET", "/openapi/v2", &[("accept", wanted)], "").await;
    assert_eq!((code, &document[..7]), (200, "\n\u{3}2.0\u{12}\u{19}"));
    assert!(
        headers["content-type"]
            .to_str()
            .expect("a text")
            .ends_with("+protobuf")
    );

    // a definition shows at once, in both forms
    let definition = include_str!("../transcripts/files/widgets.yaml");
    let crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    assert_eq!(
        send(
            &server,
            "POST",
            crds,
            &[("content-type", "application/yaml")],
            definition
        )
        .await
        .0,
        201
    );
    let (_, headers, _) = send(&server, "GET", "/apis", &[accept], "").await;
    assert_ne!(headers["etag"].to_str().expect("a text"), tag);
    assert_eq!(
        call(&server, "GET", "/apis/shop.example/v1", Value::Null)
            .await
            .1["resources"][0]["name"],
        json!("widgets")
    );
    let (_, document) = call(
        &server,
        "GET",
        "/openapi/v3/apis/shop.example/v1",
        Value::Null,
    )
    .await;
    assert!(document["components"]["schemas"]["example.shop.v1.Widget"].is_object());
}
