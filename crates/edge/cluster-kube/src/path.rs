//! Where things are.

use k8s_object::Gvk;

use crate::Kind;

/// The path of a group and version.
pub(crate) fn base(group: &str, version: &str) -> String {
    if group.is_empty() {
        format!("/api/{version}")
    } else {
        format!("/apis/{group}/{version}")
    }
}

fn collection(gvk: &Gvk, kind: &Kind, namespace: &str) -> String {
    let base = base(&gvk.group, &gvk.version);
    if kind.namespaced && !namespace.is_empty() {
        format!("{base}/namespaces/{}/{}", encode(namespace), kind.plural)
    } else {
        format!("{base}/{}", kind.plural)
    }
}

/// The path of one object.
pub(crate) fn object(gvk: &Gvk, kind: &Kind, namespace: &str, name: &str) -> String {
    format!("{}/{}", collection(gvk, kind, namespace), encode(name))
}

/// The path of a kind's objects, in one namespace or in all, with a query.
pub(crate) fn list(gvk: &Gvk, kind: &Kind, namespace: &str, pairs: &[(&str, String)]) -> String {
    format!("{}{}", collection(gvk, kind, namespace), query(pairs))
}

/// Writes a query; pairs without a value are left out.
pub(crate) fn query(pairs: &[(&str, String)]) -> String {
    let mut out = String::new();
    for (key, value) in pairs.iter().filter(|(_, value)| !value.is_empty()) {
        out.push(if out.is_empty() { '?' } else { '&' });
        out.push_str(key);
        out.push('=');
        out.push_str(&encode(value));
    }
    out
}

/// Takes `metadata.namespace=x` out of a field selector: a namespace has a path of its own, which costs the server less.
pub(crate) fn namespace_of(fields: &str) -> (String, String) {
    let mut namespace = String::new();
    let rest: Vec<&str> = fields
        .split(',')
        .filter(|part| match part.strip_prefix("metadata.namespace=") {
            Some(name) if !name.is_empty() && !name.starts_with('=') => {
                name.clone_into(&mut namespace);
                false
            }
            _ => !part.is_empty(),
        })
        .collect();
    (namespace, rest.join(","))
}

fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~:".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_paths_as_kubernetes_does() {
        let kind = |plural: &str, namespaced| Kind {
            plural: plural.to_owned(),
            namespaced,
        };
        let apps = Gvk::new("apps/v1", "Deployment");
        let core = Gvk::new("v1", "Namespace");
        assert_eq!(
            object(&apps, &kind("deployments", true), "shop", "web"),
            "/apis/apps/v1/namespaces/shop/deployments/web"
        );
        assert_eq!(
            object(&core, &kind("namespaces", false), "", "shop"),
            "/api/v1/namespaces/shop"
        );
        let pairs = [
            ("labelSelector", "a in (b,c)".to_owned()),
            ("limit", String::new()),
        ];
        assert_eq!(
            list(&apps, &kind("deployments", true), "", &pairs),
            "/apis/apps/v1/deployments?labelSelector=a%20in%20%28b%2Cc%29"
        );
        assert_eq!(
            namespace_of("metadata.namespace=shop,involvedObject.name=web"),
            ("shop".to_owned(), "involvedObject.name=web".to_owned())
        );
    }
}
