#![no_main]
//! Any method, path, query and body to an API server: two digits that choose method and content type, the path to the end of the
//! line, and the body.

#[path = "api.rs"]
mod api;

use libfuzzer_sys::fuzz_target;

const METHODS: [&str; 6] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"];
const KINDS: [&str; 4] =
    ["application/json", "application/yaml", "application/vnd.kubernetes.protobuf", "application/json-patch+json"];

fuzz_target!(|data: &[u8]| {
    let Some((&[method, kind], rest)) = data.split_first_chunk() else { return };
    let mut parts = rest.splitn(2, |byte| *byte == b'\n');
    let Some(Ok(path)) = parts.next().map(std::str::from_utf8) else { return };
    let body = parts.next().unwrap_or_default();
    let server = api::server();
    let method = METHODS[usize::from(method) % METHODS.len()];
    let kind = KINDS[usize::from(kind) % KINDS.len()];
    for prefix in ["", "/api/v1/namespaces/default/", "/apis/e.org/v1/namespaces/default/xs"] {
        api::send(&server, method, &format!("{prefix}{path}"), kind, body);
    }
});
