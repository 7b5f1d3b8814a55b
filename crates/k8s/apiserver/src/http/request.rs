//! What a request is about: path, query, verb.

use std::collections::BTreeMap;

use http::Method;

/// The query, decoded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query(BTreeMap<String, Vec<String>>);

impl Query {
    /// Reads the part of a URI behind the question mark.
    pub fn parse(text: &str) -> Self {
        let mut out: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            out.entry(decode(key, true))
                .or_default()
                .push(decode(value, true));
        }
        Self(out)
    }

    /// Returns a parameter, or an empty text.
    pub fn get(&self, key: &str) -> &str {
        self.all(key).first().map_or("", String::as_str)
    }

    /// Returns every value of a parameter.
    pub fn all(&self, key: &str) -> &[String] {
        self.0.get(key).map_or(&[], Vec::as_slice)
    }

    /// Is a parameter there and true?
    pub fn flag(&self, key: &str) -> bool {
        self.0.contains_key(key)
            && matches!(self.get(key), "" | "1" | "t" | "true" | "True" | "TRUE")
    }
}

/// Undoes percent-encoding.
pub(super) fn decode(text: &str, plus: bool) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut index = 0;
    while index < bytes.len() {
        let hex = |at: usize| char::from(*bytes.get(at)?).to_digit(16);
        match bytes[index] {
            b'%' => {
                if let (Some(high), Some(low)) = (hex(index + 1), hex(index + 2)) {
                    out.push(u8::try_from(high * 16 + low).unwrap_or(b'?'));
                    index += 3;
                    continue;
                }
                out.push(b'%');
            }
            b'+' if plus => out.push(b' '),
            byte => out.push(byte),
        }
        index += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// A path that names a resource.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ResourcePath {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) plural: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) subresource: String,
    /// Is it the old form of a watch, with `/watch/` in the path?
    pub(crate) watch: bool,
}

impl ResourcePath {
    /// Reads `/api/v1/…` and `/apis/GROUP/VERSION/…`; `None` if no resource is named.
    pub(crate) fn parse(path: &str) -> Option<Self> {
        let mut parts: Vec<String> = path
            .trim_matches('/')
            .split('/')
            .map(|part| decode(part, false))
            .collect();
        let mut take = || (!parts.is_empty()).then(|| parts.remove(0));
        let group = match take()?.as_str() {
            "api" => String::new(),
            "apis" => take()?,
            _ => return None,
        };
        let version = take()?;
        let mut out = Self {
            group,
            version,
            ..Self::default()
        };
        if parts.first().is_some_and(|part| part == "watch") {
            parts.remove(0);
            out.watch = true;
        }
        if parts.first().is_none_or(String::is_empty) {
            return None;
        }
        // /namespaces/NAME[/status|/finalize] is about a namespace; anything longer is about what is inside
        let inside = parts[0] == "namespaces"
            && parts.len() > 2
            && !(parts.len() == 3 && matches!(parts[2].as_str(), "status" | "finalize"));
        if inside {
            out.namespace = parts[1].clone();
            parts.drain(..2);
        }
        let mut parts = parts.into_iter();
        out.plural = parts.next()?;
        out.name = parts.next().unwrap_or_default();
        out.subresource = parts.collect::<Vec<_>>().join("/");
        if out.group.is_empty() && out.plural == "namespaces" {
            out.namespace.clear();
        }
        Some(out)
    }

    /// Names what a request wants, as authorization sees it.
    pub(crate) fn verb(&self, method: &Method, query: &Query) -> &'static str {
        match *method {
            Method::GET | Method::HEAD => {
                if self.watch || query.flag("watch") {
                    "watch"
                } else if self.name.is_empty() {
                    "list"
                } else {
                    "get"
                }
            }
            Method::POST => "create",
            Method::PUT => "update",
            Method::PATCH => "patch",
            Method::DELETE if self.name.is_empty() => "deletecollection",
            Method::DELETE => "delete",
            _ => "",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, expected: [&str; 6]) {
        let found = ResourcePath::parse(path).expect(path);
        assert_eq!(
            [
                &*found.group,
                &found.version,
                &found.plural,
                &found.namespace,
                &found.name,
                &found.subresource
            ],
            expected,
            "{path}"
        );
    }

    #[test]
    fn reads_paths() {
        check("/api/v1/pods", ["", "v1", "pods", "", "", ""]);
        check("/api/v1/namespaces", ["", "v1", "namespaces", "", "", ""]);
        check(
            "/api/v1/namespaces/a",
            ["", "v1", "namespaces", "", "a", ""],
        );
        check(
            "/api/v1/namespaces/a/finalize",
            ["", "v1", "namespaces", "", "a", "finalize"],
        );
        check(
            "/api/v1/namespaces/a/pods/p/log",
            ["", "v1", "pods", "a", "p", "log"],
        );
        check(
            "/apis/apps/v1/namespaces/a/deployments/d/scale",
            ["apps", "v1", "deployments", "a", "d", "scale"],
        );
        check(
            "/apis/rbac.authorization.k8s.io/v1/clusterroles/system%3Anode",
            [
                "rbac.authorization.k8s.io",
                "v1",
                "clusterroles",
                "",
                "system:node",
                "",
            ],
        );
        for path in ["/", "/api", "/api/v1", "/apis/apps/v1", "/version"] {
            assert_eq!(ResourcePath::parse(path), None, "{path}");
        }
    }

    #[test]
    fn reads_queries() {
        let query = Query::parse("labelSelector=a%3Db%2Cc+in+(d)&watch&limit=5&x=1&x=2");
        assert_eq!(query.get("labelSelector"), "a=b,c in (d)");
        assert!(query.flag("watch"));
        assert_eq!(query.all("x"), ["1", "2"]);
        assert!(!query.flag("missing"));
    }
}
