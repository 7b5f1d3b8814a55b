#![no_main]
//! Patches of the three kinds on a built-in and on a custom object.

#[path = "api.rs"]
mod api;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let server = api::server();
    for path in ["/api/v1/namespaces/default/configmaps/a", "/apis/apps/v1/namespaces/default/deployments/a", "/apis/e.org/v1/namespaces/default/xs/a"] {
        for kind in ["application/json-patch+json", "application/merge-patch+json", "application/strategic-merge-patch+json"] {
            api::send(&server, "PATCH", path, kind, data);
        }
    }
});
