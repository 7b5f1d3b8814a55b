#![no_main]
//! What is applied, by two managers one after the other.

#[path = "api.rs"]
mod api;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: (&[u8], &[u8])| {
    let server = api::server();
    for path in ["/apis/apps/v1/namespaces/default/deployments/a", "/apis/e.org/v1/namespaces/default/xs/b"] {
        for (manager, body) in [("one", data.0), ("two", data.1)] {
            let path = format!("{path}?fieldManager={manager}&force=true");
            api::send(&server, "PATCH", &path, "application/apply-patch+yaml", body);
        }
    }
});
