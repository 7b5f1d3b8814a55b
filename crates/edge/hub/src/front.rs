//! Who asks through Kubernetes' API server, when the hub stands behind one as an aggregated API server.
//!
//! The headers count on a connection of a trusted proxy alone; on any other they are words like any other.

use std::collections::BTreeMap;

use http::HeaderMap;
use k8s_apiserver::{Status, UserInfo};
use roadstead_wire::FrontProxies;

/// Reads for whom a proxy asks.
pub(crate) fn user(proxies: &FrontProxies, headers: &HeaderMap) -> Result<UserInfo, Status> {
    let values = |names: &[String]| -> Vec<String> {
        let values = names.iter().flat_map(|name| headers.get_all(name.as_str()));
        values
            .filter_map(|value| value.to_str().ok())
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
            .collect()
    };
    let Some(name) = values(&proxies.user_headers).into_iter().next() else {
        return Err(Status::new(
            401,
            "Unauthorized",
            "the proxy does not say for whom it asks",
        ));
    };
    let mut extra: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (header, value) in headers {
        let known = proxies.extra_prefixes.iter().find_map(|prefix| {
            header
                .as_str()
                .strip_prefix(prefix.to_ascii_lowercase().as_str())
        });
        if let (Some(key), Ok(value)) = (known, value.to_str()) {
            extra
                .entry(decoded(key))
                .or_default()
                .push(value.to_owned());
        }
    }
    let mut groups = values(&proxies.group_headers);
    // whoever the API server let through is somebody, also where it names no groups, as for itself
    let told = ["system:authenticated", "system:unauthenticated"];
    if name != UserInfo::anonymous().name
        && !groups.iter().any(|group| told.contains(&group.as_str()))
    {
        groups.push(told[0].to_owned());
    }
    Ok(UserInfo {
        name,
        groups,
        uid: String::new(),
        extra,
    })
}

/// A key may hold what a header's name may not.
fn decoded(key: &str) -> String {
    let mut out = Vec::new();
    let mut rest = key.as_bytes();
    while let [first, tail @ ..] = rest {
        let escaped = (*first == b'%')
            .then(|| tail.get(..2))
            .flatten()
            .and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        out.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_says_for_whom_it_asks() {
        let proxies = FrontProxies {
            ca_pem: String::new(),
            names: Vec::new(),
            user_headers: vec!["X-Remote-User".to_owned()],
            group_headers: vec!["X-Remote-Group".to_owned()],
            extra_prefixes: vec!["X-Remote-Extra-".to_owned()],
        };
        let mut headers = HeaderMap::new();
        assert_eq!(user(&proxies, &headers).expect_err("nobody").code, 401);
        headers.insert("x-remote-user", "jo".parse().expect("a value"));
        headers.append("x-remote-group", "ops".parse().expect("a value"));
        headers.append(
            "x-remote-group",
            "system:authenticated".parse().expect("a value"),
        );
        headers.insert(
            "x-remote-extra-acme.com%2fproject",
            "shop".parse().expect("a value"),
        );
        let found = user(&proxies, &headers).expect("jo");
        assert_eq!((found.name.as_str(), found.groups.len()), ("jo", 2));
        assert!(found.in_group("system:authenticated"));
        assert_eq!(found.extra["acme.com/project"], ["shop"]);
        let mut headers = HeaderMap::new();
        headers.insert(
            "x-remote-user",
            "system:aggregator".parse().expect("a value"),
        );
        let found = user(&proxies, &headers).expect("the API server itself");
        assert!(found.in_group("system:authenticated"));
    }
}
