//! Who asks through Kubernetes' API server, when the hub stands behind one as an aggregated API server.
//!
//! The headers count on a connection of a trusted proxy alone; on any other they are words like any other.

use std::collections::BTreeMap;

use http::{HeaderMap, Method, Uri};
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

/// Controllers of the cluster that go through everything that its API server serves: what collects garbage, counts
/// quotas, and empties a namespace that goes.
const CONTROLLERS: [&str; 4] = [
    "system:kube-controller-manager",
    "system:serviceaccount:kube-system:generic-garbage-collector",
    "system:serviceaccount:kube-system:namespace-controller",
    "system:serviceaccount:kube-system:resourcequota-controller",
];

/// No object has this label.
const NOTHING: &str = "labelSelector=roadstead.dev%2Fnothing-of-the-cluster";

/// What such a controller asks, so that it finds nothing: a Project is no namespace of that cluster, and its nouns are
/// not removed because a namespace of the same name goes. Were it refused, no namespace of that cluster could go.
pub(crate) fn finds_nothing(user: &UserInfo, method: &Method, uri: &Uri) -> Option<Uri> {
    if !CONTROLLERS.contains(&user.name.as_str())
        || !(method == Method::GET || method == Method::DELETE)
    {
        return None;
    }
    let mut parts = uri.path().trim_matches('/').split('/');
    if parts.next() != Some("apis") {
        return None;
    }
    // group, version, and then a resource alone: not an object by its name
    let rest: Vec<&str> = parts.skip(2).collect();
    let all = match rest.as_slice() {
        [_] => true,
        [first, _, _] => *first == "namespaces",
        _ => false,
    };
    if !all {
        return None;
    }
    let query = uri.query().unwrap_or_default().split('&');
    let query = query.filter(|part| !part.is_empty() && !part.starts_with("labelSelector="));
    let query: Vec<&str> = query.chain([NOTHING]).collect();
    format!("{}?{}", uri.path(), query.join("&")).parse().ok()
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

    #[test]
    fn the_clusters_controllers_find_nothing() {
        let user = |name: &str| UserInfo {
            name: name.to_owned(),
            groups: Vec::new(),
            uid: String::new(),
            extra: BTreeMap::new(),
        };
        let check = |name: &str, method: Method, uri: &str, expected: Option<&str>| {
            let uri: Uri = uri.parse().expect("a URI");
            let found = finds_nothing(&user(name), &method, &uri);
            assert_eq!(
                found.map(|uri| uri.to_string()).as_deref(),
                expected,
                "{uri}"
            );
        };
        let api = "/apis/roadstead.dev/v1alpha1";
        let empties = "system:serviceaccount:kube-system:namespace-controller";
        check(
            empties,
            Method::DELETE,
            &format!("{api}/namespaces/shop/apps?labelSelector=a%3Db&limit=5"),
            Some(&format!("{api}/namespaces/shop/apps?limit=5&{NOTHING}")),
        );
        check(
            CONTROLLERS[0],
            Method::GET,
            &format!("{api}/apps"),
            Some(&format!("{api}/apps?{NOTHING}")),
        );
        check(
            empties,
            Method::DELETE,
            &format!("{api}/namespaces/shop/apps/web"),
            None,
        );
        check(empties, Method::PATCH, &format!("{api}/apps"), None);
        check(empties, Method::GET, api, None);
        check("jo", Method::GET, &format!("{api}/apps"), None);
    }
}
