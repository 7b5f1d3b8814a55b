#![no_main]
//! What is applied, by two managers one after the other; a line each.

#[path = "api.rs"]
mod api;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut lines = data.splitn(2, |byte| *byte == b'\n');
    let (first, second) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let server = api::server();
    for path in ["/apis/apps/v1/namespaces/default/deployments/a", "/apis/e.org/v1/namespaces/default/xs/b"] {
        for (manager, body) in [("one", first), ("two", second)] {
            let path = format!("{path}?fieldManager={manager}&force=true");
            api::send(&server, "PATCH", &path, "application/apply-patch+yaml", body);
        }
    }
});
