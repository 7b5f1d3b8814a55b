//! What a hub does in the cluster that it runs in: it hands out the administrator's kubeconfig, and registers itself.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use clap::Args as ClapArgs;
use k8s_cluster::{Call, Cluster, Reply};
use k8s_object::{Gvk, ObjectId};
use roadstead_cluster_kube::KubeCluster;
use roadstead_hub::{Hub, Kubeconfig};
use roadstead_model::{GROUP, VERSION};
use roadstead_wire::FrontProxies;
use serde_json::{Value, json};

const MANAGER: &str = "roadstead-hub";
/// Between two tries, and between two looks at what may have changed.
const PAUSE: Duration = Duration::from_secs(5);
const PERIOD: Duration = Duration::from_secs(600);

/// For a hub that runs in a cluster.
#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct InCluster {
    /// The URL by which the hub is reached from outside: it stands in kubeconfigs, and its host in the certificate
    #[arg(long, value_name = "URL")]
    pub(crate) public_url: Option<String>,
    /// Write the administrator's kubeconfig into this Secret of the hub's own namespace, which exists
    #[arg(long, value_name = "NAME")]
    kubeconfig_secret: Option<String>,
    /// Register with this cluster's API server as the server of `roadstead.dev`, behind this Service
    #[arg(long, value_name = "NAMESPACE/SERVICE:PORT")]
    aggregate: Option<String>,
    /// The hub's own namespace
    #[arg(long, env = "POD_NAMESPACE", default_value = "roadstead", hide = true)]
    own_namespace: String,
}

impl InCluster {
    /// The host of the public URL.
    pub(crate) fn host(&self) -> anyhow::Result<Option<String>> {
        let Some(url) = &self.public_url else {
            return Ok(None);
        };
        let uri: http::Uri = url
            .parse()
            .with_context(|| format!("--public-url {url:?} is no URL"))?;
        if uri.scheme_str() != Some("https") || !matches!(uri.path(), "" | "/") {
            bail!("--public-url {url:?} is not https://host[:port]");
        }
        let host = uri.host().unwrap_or_default();
        Ok(Some(host.trim_matches(['[', ']']).to_owned()))
    }

    /// Starts what there is to do. It goes on until the returned tasks are aborted.
    pub(crate) fn start(
        &self,
        hub: &Arc<Hub>,
        admin: &Kubeconfig,
    ) -> anyhow::Result<Vec<tokio::task::JoinHandle<()>>> {
        let mut tasks = Vec::new();
        if self.kubeconfig_secret.is_none() && self.aggregate.is_none() {
            return Ok(tasks);
        }
        let cluster = KubeCluster::in_cluster()
            .context("failed to use the service account that the hub runs as")?;
        if let Some(name) = &self.kubeconfig_secret {
            let id = ObjectId {
                group: String::new(),
                kind: "Secret".to_owned(),
                namespace: self.own_namespace.clone(),
                name: name.clone(),
            };
            let data = BASE64.encode(admin.to_yaml("roadstead"));
            let patch = json!({ "data": { "kubeconfig": data } }).to_string();
            let cluster = cluster.clone();
            tasks.push(tokio::spawn(async move {
                let call = || Call::Merge {
                    gvk: Gvk::new("v1", "Secret"),
                    id: id.clone(),
                    patch: patch.clone().into(),
                    manager: MANAGER.to_owned(),
                };
                while let Err(error) = cluster.call(call()).await {
                    tracing::warn!(secret = %id.readable(), %error, "cannot write the administrator's kubeconfig; trying again");
                    tokio::time::sleep(PAUSE).await;
                }
                tracing::info!(secret = %id.readable(), "wrote the administrator's kubeconfig");
            }));
        }
        if let Some(service) = &self.aggregate {
            let service = Service::parse(service)?;
            let (hub, ca_pem) = (Arc::clone(hub), admin.ca_pem.clone());
            tasks.push(tokio::spawn(async move {
                let mut registered = false;
                loop {
                    let pause = match register(&cluster, &hub, &service, &ca_pem).await {
                        Ok(()) => {
                            if !std::mem::replace(&mut registered, true) {
                                tracing::info!("registered with the cluster's API server");
                            }
                            PERIOD
                        }
                        Err(error) => {
                            tracing::warn!(error = %format!("{error:#}"), "cannot register with the cluster's API server; trying again");
                            PAUSE
                        }
                    };
                    tokio::time::sleep(pause).await;
                }
            }));
        }
        Ok(tasks)
    }
}

/// The Service in front of the hub.
#[derive(Debug, PartialEq, Eq)]
struct Service {
    namespace: String,
    name: String,
    port: u16,
}

impl Service {
    fn parse(text: &str) -> anyhow::Result<Self> {
        let parts = text.split_once('/').and_then(|(namespace, rest)| {
            let (name, port) = rest.split_once(':')?;
            Some((namespace, name, port.parse().ok()?))
        });
        let Some((namespace, name, port)) = parts else {
            bail!("--aggregate {text:?} is not NAMESPACE/SERVICE:PORT");
        };
        Ok(Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            port,
        })
    }
}

/// Learns who may ask for others, and says where the hub is and by which CA it is known.
async fn register(
    cluster: &KubeCluster,
    hub: &Hub,
    service: &Service,
    ca_pem: &str,
) -> anyhow::Result<()> {
    let id = ObjectId {
        group: String::new(),
        kind: "ConfigMap".to_owned(),
        namespace: "kube-system".to_owned(),
        name: "extension-apiserver-authentication".to_owned(),
    };
    let call = Call::Get {
        gvk: Gvk::new("v1", "ConfigMap"),
        id: id.clone(),
    };
    let Reply::Object(bytes) = cluster.call(call).await? else {
        bail!("{} was not found", id.readable());
    };
    let config: Value = serde_json::from_slice(&bytes)?;
    hub.trust_front_proxies(Some(proxies(&config)?))?;
    let object = json!({
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": { "name": format!("{VERSION}.{GROUP}") },
        "spec": {
            "group": GROUP,
            "version": VERSION,
            "groupPriorityMinimum": 1000,
            "versionPriority": 15,
            "caBundle": BASE64.encode(ca_pem),
            "service": { "namespace": service.namespace, "name": service.name, "port": service.port },
        },
    });
    let call = Call::Apply {
        object: object.to_string().into(),
        manager: MANAGER.to_owned(),
        force: true,
        dry_run: false,
    };
    cluster.call(call).await?;
    Ok(())
}

/// Reads what an API server says of itself.
fn proxies(config: &Value) -> anyhow::Result<FrontProxies> {
    let text = |key: &str| config["data"][key].as_str().unwrap_or_default();
    let list = |key: &str| serde_json::from_str::<Vec<String>>(text(key)).unwrap_or_default();
    let ca_pem = text("requestheader-client-ca-file");
    if ca_pem.is_empty() {
        return Err(anyhow!(
            "the API server has no requestheader-client-ca-file: start it with --requestheader-client-ca-file and \
             --proxy-client-cert-file, or leave out --aggregate"
        ));
    }
    Ok(FrontProxies {
        ca_pem: ca_pem.to_owned(),
        names: list("requestheader-allowed-names"),
        user_headers: list("requestheader-username-headers"),
        group_headers: list("requestheader-group-headers"),
        extra_prefixes: list("requestheader-extra-headers-prefix"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_is_told() {
        let service = Service::parse("roadstead/hub:443").expect("a service");
        assert_eq!((service.name.as_str(), service.port), ("hub", 443));
        for wrong in ["hub:443", "a/b", "a/b:c", ""] {
            assert!(Service::parse(wrong).is_err(), "{wrong}");
        }
        let config = json!({"data": {
            "requestheader-client-ca-file": "PEM", "requestheader-allowed-names": "[\"front-proxy-client\"]",
            "requestheader-username-headers": "[\"X-Remote-User\"]", "requestheader-group-headers": "[\"X-Remote-Group\"]",
            "requestheader-extra-headers-prefix": "[\"X-Remote-Extra-\"]"}});
        let found = proxies(&config).expect("proxies");
        assert_eq!(found.names, ["front-proxy-client"]);
        assert_eq!(found.user_headers, ["X-Remote-User"]);
        assert!(proxies(&json!({"data": {}})).is_err());
    }
}
