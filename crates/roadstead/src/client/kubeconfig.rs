//! Where the hub is and who asks: one context of a kubeconfig.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value;

use crate::shell::Hinted;

/// How to reach a hub, and as whom.
#[derive(Clone)]
pub(crate) struct Access {
    /// The hub's URL.
    pub(crate) server: String,
    /// The certificates to trust, in PEM.
    pub(crate) ca_pem: Vec<u8>,
    /// The name that the hub's certificate is for, where it differs from the URL's.
    pub(crate) server_name: Option<String>,
    /// The user's certificate chain and key, in PEM.
    pub(crate) identity: Option<(Vec<u8>, Vec<u8>)>,
    /// The user's bearer token.
    pub(crate) token: Option<String>,
    /// The Project that the context names.
    pub(crate) project: Option<String>,
    /// The kubeconfig.
    pub(crate) path: PathBuf,
}

/// Finds the kubeconfig: the flag (or its variable), then the usual place.
pub(crate) fn find(flag: Option<&Path>, home: Option<&Path>) -> anyhow::Result<PathBuf> {
    let usual = home.map(|home| home.join(".config/roadstead/kubeconfig"));
    if let Some(path) = flag {
        return Ok(path.to_owned());
    }
    if let Some(path) = usual.as_ref().filter(|path| path.is_file()) {
        return Ok(path.clone());
    }
    let usual = usual.map_or_else(
        || "~/.config/roadstead/kubeconfig".to_owned(),
        |path| path.display().to_string(),
    );
    Err(Hinted {
        error: anyhow!(
            "no kubeconfig for the hub: neither --kubeconfig nor ROADSTEAD_KUBECONFIG is set, and {usual} does not exist"
        ),
        hint: format!(
            "the hub writes one when it starts: `roadstead hub --kubeconfig {usual}`; \
             `roadstead playground` prints where it put its own"
        ),
    }
    .into())
}

impl Access {
    /// Reads a context of a kubeconfig; the current one unless named.
    pub(crate) fn read(path: &Path, context: Option<&str>) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("failed to read kubeconfig {}", path.display()))?;
        Self::parse(&text, path, context)
            .with_context(|| format!("kubeconfig {} cannot be used", path.display()))
    }

    fn parse(text: &str, path: &Path, context: Option<&str>) -> anyhow::Result<Self> {
        let shown = path.display().to_string();
        let documents = base_yaml::parse_documents(text, &shown)?;
        let config = &documents
            .first()
            .ok_or_else(|| anyhow!("it is empty"))?
            .value;
        let current = config["current-context"].as_str().unwrap_or_default();
        let context = context.unwrap_or(current);
        if context.is_empty() {
            bail!("it has no current-context; name one with --context");
        }
        let context = named(config, "contexts", "context", context)?;
        let part = |key: &str| context[key].as_str().unwrap_or_default().to_owned();
        let cluster = named(config, "clusters", "cluster", &part("cluster"))?;
        let user = match part("user") {
            name if name.is_empty() => &Value::Null,
            name => named(config, "users", "user", &name)?,
        };
        let server = cluster["server"].as_str().unwrap_or_default().to_owned();
        if !server.starts_with("https://") {
            bail!("server {server:?} is no https:// URL");
        }
        if cluster["insecure-skip-tls-verify"] == true {
            bail!(
                "insecure-skip-tls-verify is not supported: name the hub's CA in certificate-authority"
            );
        }
        if !user["exec"].is_null() || !user["auth-provider"].is_null() {
            bail!("its user signs in with a plugin; only client certificates and tokens work here");
        }
        let ca_pem = bytes(cluster, "certificate-authority", path)?.ok_or_else(|| {
            anyhow!(
                "it names no CA (certificate-authority-data), so the hub's certificate cannot be checked"
            )
        })?;
        let certificate = bytes(user, "client-certificate", path)?;
        let key = bytes(user, "client-key", path)?;
        let identity = match (certificate, key) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            _ => bail!("its user has only one of client-certificate and client-key"),
        };
        let token = match (user["token"].as_str(), user["tokenFile"].as_str()) {
            (Some(token), _) => Some(token.to_owned()),
            (None, Some(file)) => {
                let file = beside(path, file);
                let token = std::fs::read_to_string(&file)
                    .with_context(|| format!("failed to read the token in {}", file.display()))?;
                Some(token.trim().to_owned())
            }
            (None, None) => None,
        };
        let text = |value: &Value| value.as_str().filter(|t| !t.is_empty()).map(str::to_owned);
        Ok(Self {
            server,
            ca_pem,
            server_name: text(&cluster["tls-server-name"]),
            identity,
            token,
            project: text(&context["namespace"]),
            path: path.to_owned(),
        })
    }
}

fn named<'v>(config: &'v Value, list: &str, part: &str, name: &str) -> anyhow::Result<&'v Value> {
    let all = config[list].as_array().map(Vec::as_slice).unwrap_or(&[]);
    match all.iter().find(|item| item["name"] == name) {
        Some(item) => Ok(&item[part]),
        None => {
            let names: Vec<&str> = all
                .iter()
                .filter_map(|item| item["name"].as_str())
                .collect();
            let known = if names.is_empty() {
                "it has none".to_owned()
            } else {
                format!("it has {}", names.join(", "))
            };
            bail!("there is no {part} {name:?}; {known}")
        }
    }
}

/// A path as written in the kubeconfig is relative to it.
fn beside(kubeconfig: &Path, file: &str) -> PathBuf {
    kubeconfig.parent().unwrap_or(Path::new("")).join(file)
}

fn bytes(from: &Value, field: &str, kubeconfig: &Path) -> anyhow::Result<Option<Vec<u8>>> {
    let data = format!("{field}-data");
    if let Some(text) = from[data.as_str()].as_str() {
        let bytes = BASE64
            .decode(text)
            .with_context(|| format!("{data} is not base64"))?;
        return Ok(Some(bytes));
    }
    let Some(file) = from[field].as_str() else {
        return Ok(None);
    };
    let file = beside(kubeconfig, file);
    let bytes = std::fs::read(&file)
        .with_context(|| format!("failed to read {field} {}", file.display()))?;
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r"
current-context: a
contexts:
- name: a
  context: { cluster: one, user: me, namespace: shop }
- name: b
  context: { cluster: two, user: me }
clusters:
- name: one
  cluster: { server: 'https://hub:8443', certificate-authority-data: Y2E= }
- name: two
  cluster: { server: 'http://hub:8443' }
users:
- name: me
  user: { token: abc }
";

    #[test]
    fn reads_a_context() {
        let access = Access::parse(GOOD, Path::new("config"), None).expect("good");
        assert_eq!(access.server, "https://hub:8443");
        assert_eq!(access.ca_pem, b"ca");
        assert_eq!(access.project.as_deref(), Some("shop"));
        assert_eq!(access.token.as_deref(), Some("abc"));
    }

    #[test]
    fn says_what_is_wrong() {
        let check = |text: &str, context: Option<&str>, expected: &str| {
            let error = Access::parse(text, Path::new("config"), context)
                .err()
                .expect("must be refused");
            assert!(format!("{error:#}").contains(expected), "{error:#}");
        };
        check(GOOD, Some("c"), "there is no context \"c\"; it has a, b");
        check(GOOD, Some("b"), "\"http://hub:8443\" is no https:// URL");
        check("a: [", None, "config:2:1: ");
        check("", None, "it is empty");
        check("{}", None, "no current-context");
        check(&GOOD.replace("Y2E=", "'%'"), None, "not base64");
        check(
            &GOOD.replace(", certificate-authority-data: Y2E=", ""),
            None,
            "it names no CA",
        );
        check(
            &GOOD.replace("token: abc", "exec: {}"),
            None,
            "signs in with a plugin",
        );
    }

    #[test]
    fn names_every_place_it_looked_in() {
        let error = find(None, Some(Path::new("/nowhere"))).expect_err("nothing there");
        let hinted = error.downcast_ref::<Hinted>().expect("a hint");
        assert!(hinted.to_string().contains("ROADSTEAD_KUBECONFIG"));
        assert!(
            hinted
                .to_string()
                .contains("/nowhere/.config/roadstead/kubeconfig")
        );
        assert!(hinted.hint.contains("roadstead hub --kubeconfig"));
    }
}
