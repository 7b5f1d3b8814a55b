#![no_main]
//! Any method, path, query and body to an API server.

#[path = "api.rs"]
mod api;

use libfuzzer_sys::fuzz_target;

const METHODS: [&str; 6] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"];
const KINDS: [&str; 4] =
    ["application/json", "application/yaml", "application/vnd.kubernetes.protobuf", "application/json-patch+json"];

fuzz_target!(|data: (u8, u8, &str, &[u8])| {
    let (method, kind, path, body) = data;
    let server = api::server();
    let method = METHODS[usize::from(method) % METHODS.len()];
    let kind = KINDS[usize::from(kind) % KINDS.len()];
    for prefix in ["", "/api/v1/namespaces/default/", "/apis/e.org/v1/namespaces/default/xs"] {
        api::send(&server, method, &format!("{prefix}{path}"), kind, body);
    }
});
