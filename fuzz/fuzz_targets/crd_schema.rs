#![no_main]
//! A definition with any schema, and an object of it; a line each.

#[path = "api.rs"]
mod api;

use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

fuzz_target!(|data: &[u8]| {
    let mut lines = data.splitn(2, |byte| *byte == b'\n');
    let Some(Ok(schema)) = lines.next().map(serde_json::from_slice::<Value>) else { return };
    let server = api::server();
    let definition = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "ys.e.org"}, "spec": {
            "group": "e.org", "scope": "Namespaced", "names": {"plural": "ys", "kind": "Y"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}]}});
    let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    api::send(&server, "POST", path, "application/json", definition.to_string().as_bytes());
    if let Some(Ok(spec)) = lines.next().map(serde_json::from_slice::<Value>) {
        let object = json!({"apiVersion": "e.org/v1", "kind": "Y", "metadata": {"name": "a"}, "spec": spec});
        let path = "/apis/e.org/v1/namespaces/default/ys";
        api::send(&server, "POST", path, "application/json", object.to_string().as_bytes());
        let path = format!("{path}/a");
        api::send(&server, "PATCH", &path, "application/merge-patch+json", json!({"spec": spec}).to_string().as_bytes());
    }
});
