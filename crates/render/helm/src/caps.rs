//! What a cluster can do, as far as charts ask: the version of Kubernetes and the API versions.

use std::sync::Arc;

use roadstead_template::Str;

/// A version of Kubernetes, as it was given and as ranges see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KubeVersion {
    /// As it was given, with a `v` before it: `v1.33.4-gke.1245000`.
    pub(crate) given: String,
    /// Its numbers only: `v1.33.4`.
    pub(crate) numbers: String,
    pub(crate) major: String,
    pub(crate) minor: String,
}

impl KubeVersion {
    /// Reads a version; what follows the numbers is a vendor's. The error is Helm's.
    pub fn parse(text: &str) -> Result<Self, String> {
        let shown = format!("{text:?}");
        let bare = text.trim_start();
        let bare = bare.strip_prefix('v').unwrap_or(bare);
        let end = bare
            .find(|char: char| !char.is_ascii_digit() && char != '.')
            .unwrap_or(bare.len());
        // A dot that no digit follows ends the numbers.
        let mut components = Vec::new();
        for component in bare[..end].split('.') {
            if component.is_empty() {
                break;
            }
            components.push(component);
        }
        if components.is_empty() {
            return Err(format!("could not parse {shown} as version"));
        }
        if components.len() < 2 {
            return Err(format!("illegal version string {shown}"));
        }
        if components[0].len() > 1 && components[0].starts_with('0') {
            return Err(format!(
                "illegal zero-prefixed version component {:?} in {shown}",
                components[0]
            ));
        }
        let mut numbers = Vec::new();
        for component in components {
            let number: u64 = component.parse().map_err(|_| {
                format!(
                    "illegal non-numeric version component {component:?} in {shown}: strconv.ParseUint: parsing {component:?}: value out of range"
                )
            })?;
            numbers.push(number.to_string());
        }
        let given = if text.starts_with('v') {
            text.to_owned()
        } else {
            format!("v{text}")
        };
        Ok(Self {
            given,
            numbers: format!("v{}", numbers.join(".")),
            major: numbers[0].clone(),
            minor: numbers[1].clone(),
        })
    }
}

/// The API versions that every Kubernetes of the client's version has, as Helm knows them.
pub(crate) const KNOWN_API_VERSIONS: &[&str] = &[
    "v1",
    "admissionregistration.k8s.io/v1",
    "admissionregistration.k8s.io/v1alpha1",
    "admissionregistration.k8s.io/v1beta1",
    "internal.apiserver.k8s.io/v1alpha1",
    "apps/v1",
    "apps/v1beta1",
    "apps/v1beta2",
    "authentication.k8s.io/v1",
    "authentication.k8s.io/v1alpha1",
    "authentication.k8s.io/v1beta1",
    "authorization.k8s.io/v1",
    "authorization.k8s.io/v1beta1",
    "autoscaling/v1",
    "autoscaling/v2",
    "batch/v1",
    "batch/v1beta1",
    "certificates.k8s.io/v1",
    "certificates.k8s.io/v1beta1",
    "certificates.k8s.io/v1alpha1",
    "coordination.k8s.io/v1alpha2",
    "coordination.k8s.io/v1beta1",
    "coordination.k8s.io/v1",
    "discovery.k8s.io/v1",
    "discovery.k8s.io/v1beta1",
    "events.k8s.io/v1",
    "events.k8s.io/v1beta1",
    "extensions/v1beta1",
    "flowcontrol.apiserver.k8s.io/v1",
    "flowcontrol.apiserver.k8s.io/v1beta1",
    "flowcontrol.apiserver.k8s.io/v1beta2",
    "flowcontrol.apiserver.k8s.io/v1beta3",
    "networking.k8s.io/v1",
    "networking.k8s.io/v1beta1",
    "node.k8s.io/v1",
    "node.k8s.io/v1alpha1",
    "node.k8s.io/v1beta1",
    "policy/v1",
    "policy/v1beta1",
    "rbac.authorization.k8s.io/v1",
    "rbac.authorization.k8s.io/v1beta1",
    "rbac.authorization.k8s.io/v1alpha1",
    "resource.k8s.io/v1",
    "resource.k8s.io/v1beta2",
    "resource.k8s.io/v1beta1",
    "resource.k8s.io/v1alpha3",
    "scheduling.k8s.io/v1alpha2",
    "scheduling.k8s.io/v1beta1",
    "scheduling.k8s.io/v1",
    "storage.k8s.io/v1beta1",
    "storage.k8s.io/v1",
    "storage.k8s.io/v1alpha1",
    "storagemigration.k8s.io/v1beta1",
    "apiextensions.k8s.io/v1beta1",
    "apiextensions.k8s.io/v1",
];

/// What `.Capabilities.HelmVersion` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HelmVersion {
    /// The version with a `v`.
    pub version: String,
    /// The Go that Helm was built with.
    pub go_version: String,
    /// The version of Kubernetes' client in Helm 4.
    pub kube_client_version: String,
}

impl HelmVersion {
    /// What a released binary of a dialect says, but for its commit.
    pub fn of(dialect: crate::Dialect) -> Self {
        Self {
            version: dialect.tag(),
            go_version: "go1.26.8".to_owned(),
            kube_client_version: "v1.36".to_owned(),
        }
    }
}

/// What a cluster can do.
#[derive(Debug, Clone)]
pub struct Capabilities {
    pub(crate) kube: KubeVersion,
    pub(crate) api_versions: Arc<[Str]>,
    pub(crate) helm: HelmVersion,
}

impl Capabilities {
    /// A cluster of a version that serves these API versions and no others: `group/version`, and `group/version/Kind`.
    pub fn exactly<S: AsRef<str>>(
        kube: KubeVersion,
        served: impl IntoIterator<Item = S>,
        helm: HelmVersion,
    ) -> Self {
        let served = served.into_iter().map(|it| Str::from(it.as_ref()));
        Self {
            kube,
            api_versions: served.collect(),
            helm,
        }
    }

    /// A cluster of a version, with the API versions that Helm always knows and these besides: `group/version`, or
    /// `group/version/Kind`.
    pub fn new<S: AsRef<str>>(kube: KubeVersion, more: &[S], helm: HelmVersion) -> Self {
        let known = KNOWN_API_VERSIONS.iter().map(|it| Str::from_static(it));
        let more = more.iter().map(|it| Str::from(it.as_ref()));
        Self {
            kube,
            api_versions: known.chain(more).collect(),
            helm,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_helm_does() {
        for (text, wanted) in [
            ("1.31", Ok(("v1.31", "v1.31", "31"))),
            ("v1.31.2-gke.1", Ok(("v1.31.2-gke.1", "v1.31.2", "31"))),
            ("1.02", Ok(("v1.02", "v1.2", "2"))),
            ("1.31+", Ok(("v1.31+", "v1.31", "31"))),
            ("1", Err("illegal version string \"1\"")),
            ("abc", Err("could not parse \"abc\" as version")),
            ("", Err("could not parse \"\" as version")),
            (
                "01.2",
                Err("illegal zero-prefixed version component \"01\" in \"01.2\""),
            ),
        ] {
            let read = KubeVersion::parse(text);
            let read = read
                .as_ref()
                .map(|it| (it.given.as_str(), it.numbers.as_str(), it.minor.as_str()))
                .map_err(String::as_str);
            assert_eq!(read, wanted, "{text}");
        }
    }
}
