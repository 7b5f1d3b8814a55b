//! OCI registries: charts and packed folders as artifacts, by `oci-client`.

use std::future::Future;

use bytes::Bytes;
use futures_util::StreamExt as _;
use oci_client::client::{Certificate, CertificateEncoding, ClientConfig, ClientProtocol};
use oci_client::errors::OciDistributionError;
use oci_client::manifest::{OciDescriptor, OciImageManifest, OciManifest};
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference};

use super::version::{Choice, choose_version};
use super::{Archive, ArtifactRequest, Chosen, Followed, OciReference, repository};
use crate::request::{Auth, Limits};
use crate::{SourceError, mask_url};

/// The layer that holds a chart.
const CHART_LAYER: &str = "application/vnd.cncf.helm.chart.content.v1.tar+gzip";
/// Tags that one repository may have.
const TAGS: usize = 10_000;
const TAGS_PAGE: usize = 1_000;

pub(crate) fn choose(
    request: &ArtifactRequest,
    limits: &Limits,
    known: &dyn Fn(&str) -> bool,
) -> Result<(String, Chosen), SourceError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| SourceError::Fetch {
            url: mask_url(request.what.url()),
            reason: error.to_string(),
        })?;
    let timed_out = || SourceError::Timeout {
        url: mask_url(request.what.url()),
        seconds: request.timeout.as_secs(),
    };
    let work = within(request, limits, known);
    runtime.block_on(async {
        tokio::time::timeout(request.timeout, work)
            .await
            .unwrap_or_else(|_| Err(timed_out()))
    })
}

async fn within(
    request: &ArtifactRequest,
    limits: &Limits,
    known: &dyn Fn(&str) -> bool,
) -> Result<(String, Chosen), SourceError> {
    let talk = Talk::new(request)?;
    let (version, reference, warnings) = match &request.what {
        Followed::Chart { version, .. } => talk.newest(version).await?,
        Followed::Oci { reference, .. } => match reference {
            OciReference::Range(range) => talk.newest(range).await?,
            OciReference::Tag(tag) if tag.starts_with("sha256:") => {
                (tag.clone(), talk.digest(tag.clone()), Vec::new())
            }
            OciReference::Tag(tag) => (tag.clone(), talk.tag(tag.clone()), Vec::new()),
            OciReference::Digest(digest) => {
                (digest.clone(), talk.digest(digest.clone()), Vec::new())
            }
        },
    };
    let manifest = talk.manifest(&reference).await?;
    let layer = layer_of(&manifest).ok_or_else(|| SourceError::BadArchive {
        what: request.what.readable(),
        reason: "it has no layer that is a packed folder (tar+gzip)".to_owned(),
    })?;
    if known(&layer.digest) {
        return Ok((version, Chosen::Known(layer.digest.clone())));
    }
    let bytes = talk.blob(&reference, layer, limits.tree_bytes).await?;
    let noted = |key: &str| {
        let annotations = manifest.annotations.as_ref();
        annotations.and_then(|all| all.get(key)).cloned()
    };
    let title = match noted("org.opencontainers.image.title") {
        Some(title) => format!("{title} {version}"),
        None => format!("{} {version}", talk.path),
    };
    let created = noted("org.opencontainers.image.created").unwrap_or_default();
    let archive = Archive {
        version: version.clone(),
        title,
        created_at: repository::seconds(&created),
        bytes,
        warnings,
    };
    Ok((version, Chosen::Got(archive)))
}

/// The layer with the folder: a chart's, else the first packed one.
fn layer_of(manifest: &OciImageManifest) -> Option<&OciDescriptor> {
    let layers = &manifest.layers;
    let chart = layers.iter().find(|layer| layer.media_type == CHART_LAYER);
    let packed = |layer: &&OciDescriptor| {
        layer.media_type.ends_with("tar+gzip") || layer.media_type.ends_with("tar.gzip")
    };
    chart.or_else(|| layers.iter().find(packed))
}

struct Talk<'r> {
    client: Client,
    auth: RegistryAuth,
    request: &'r ArtifactRequest,
    host: String,
    path: String,
}

impl<'r> Talk<'r> {
    fn new(request: &'r ArtifactRequest) -> Result<Self, SourceError> {
        let url = request.what.url();
        let bad = |reason: &str| SourceError::InvalidUrl {
            url: mask_url(url),
            reason: reason.to_owned(),
        };
        let rest = url
            .strip_prefix("oci://")
            .ok_or_else(|| bad("it must begin with oci://"))?;
        let (host, path) = rest
            .trim_end_matches('/')
            .split_once('/')
            .ok_or_else(|| bad("it names no repository: oci://registry/path"))?;
        let path = match &request.what {
            Followed::Chart { chart, .. } => format!("{path}/{chart}"),
            Followed::Oci { .. } => path.to_owned(),
        };
        let whole = format!("{host}/{path}");
        whole
            .parse::<Reference>()
            .map_err(|error| bad(&error.to_string()))?;
        let extra_root_certificates = match &request.ca_bundle {
            None => Vec::new(),
            Some(pem) => {
                super::http::certificates(url, pem)?;
                blocks(pem)
            }
        };
        let protocol = if request.insecure {
            ClientProtocol::Http
        } else {
            ClientProtocol::Https
        };
        let config = ClientConfig {
            protocol,
            extra_root_certificates,
            read_timeout: Some(request.timeout),
            connect_timeout: Some(request.timeout),
            user_agent: concat!("roadstead/", env!("CARGO_PKG_VERSION")),
            ..ClientConfig::default()
        };
        let auth = match &request.auth {
            Auth::None | Auth::Ssh { .. } => RegistryAuth::Anonymous,
            Auth::Token(token) => RegistryAuth::Bearer(token.clone()),
            Auth::Basic { user, password } => RegistryAuth::Basic(user.clone(), password.clone()),
        };
        Ok(Self {
            client: Client::new(config),
            auth,
            request,
            host: host.to_owned(),
            path,
        })
    }

    fn tag(&self, tag: String) -> Reference {
        Reference::with_tag(self.host.clone(), self.path.clone(), tag)
    }

    fn digest(&self, digest: String) -> Reference {
        Reference::with_digest(self.host.clone(), self.path.clone(), digest)
    }

    /// The newest tag in a range. A tag has no `+`: Helm writes `_` in its place.
    async fn newest(&self, range: &str) -> Result<(String, Reference, Vec<String>), SourceError> {
        let any = self.tag("latest".to_owned());
        let mut tags: Vec<String> = Vec::new();
        loop {
            let last = tags.last().cloned();
            let list = self
                .client
                .list_tags(&any, &self.auth, Some(TAGS_PAGE), last.as_deref());
            let page = self.told(list).await?.tags;
            let whole = page.len() >= TAGS_PAGE;
            tags.extend(page);
            if !whole || tags.len() >= TAGS {
                break;
            }
        }
        let versions: Vec<String> = tags.iter().map(|tag| tag.replace('_', "+")).collect();
        let Choice { index, warnings } =
            choose_version(&versions, range).map_err(|reason| SourceError::NoVersion {
                what: self.request.what.readable(),
                range: range.to_owned(),
                reason,
            })?;
        let reference = self.tag(tags[index].clone());
        Ok((versions[index].clone(), reference, warnings))
    }

    async fn manifest(&self, reference: &Reference) -> Result<OciImageManifest, SourceError> {
        let pull = self.client.pull_manifest(reference, &self.auth);
        match self.told(pull).await?.0 {
            OciManifest::Image(manifest) => Ok(manifest),
            OciManifest::ImageIndex(_) => Err(SourceError::BadArchive {
                what: self.request.what.readable(),
                reason: "it is an image for several platforms, not a packed folder".to_owned(),
            }),
        }
    }

    /// Downloads a layer, whose digest the client checks.
    async fn blob(
        &self,
        reference: &Reference,
        layer: &OciDescriptor,
        limit: u64,
    ) -> Result<Bytes, SourceError> {
        let too_large = || SourceError::BadArchive {
            what: self.request.what.readable(),
            reason: format!("it has more than {limit} bytes"),
        };
        if u64::try_from(layer.size).is_ok_and(|size| size > limit) {
            return Err(too_large());
        }
        let pull = self.client.pull_blob_stream(reference, layer);
        let mut stream = self.told(pull).await?.stream;
        let mut body = Vec::new();
        while let Some(chunk) = stream.next().await {
            let chunk = chunk.map_err(|error| SourceError::Fetch {
                url: mask_url(self.request.what.url()),
                reason: error.to_string(),
            })?;
            if (body.len() + chunk.len()) as u64 > limit {
                return Err(too_large());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.into())
    }

    async fn told<T>(
        &self,
        answer: impl Future<Output = Result<T, OciDistributionError>>,
    ) -> Result<T, SourceError> {
        answer.await.map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &OciDistributionError) -> SourceError {
        let url = mask_url(&format!("oci://{}/{}", self.host, self.path));
        let sent = self.auth != RegistryAuth::Anonymous;
        match error {
            OciDistributionError::UnauthorizedError { .. }
            | OciDistributionError::AuthenticationFailure(_) => SourceError::Auth {
                url,
                reason: "the registry says unauthorized".to_owned(),
                sent,
            },
            OciDistributionError::ImageManifestNotFoundError(_) => SourceError::Fetch {
                url,
                reason: "the registry has no such tag or digest".to_owned(),
            },
            OciDistributionError::RequestError(error) => {
                let reason = super::http::reasons(error);
                if error.is_timeout() {
                    let seconds = self.request.timeout.as_secs();
                    SourceError::Timeout { url, seconds }
                } else if reason.to_lowercase().contains("certificate") {
                    SourceError::Tls { url, reason }
                } else if error.is_connect() {
                    SourceError::Unreachable { url, reason }
                } else {
                    SourceError::Fetch { url, reason }
                }
            }
            other => SourceError::Fetch {
                url,
                reason: other.to_string(),
            },
        }
    }
}

/// Each certificate of a bundle.
fn blocks(pem: &[u8]) -> Vec<Certificate> {
    const END: &str = "-----END CERTIFICATE-----";
    let text = String::from_utf8_lossy(pem);
    text.split_inclusive(END)
        .filter(|block| block.contains(END))
        .map(|block| Certificate {
            encoding: CertificateEncoding::Pem,
            data: block.trim_start().as_bytes().to_vec(),
        })
        .collect()
}
