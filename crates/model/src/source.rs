//! Sources: where configuration comes from.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::noun::{MESSAGE_COLUMN, READY_COLUMN, noun};
use crate::{Column, Condition, DurationMs, FieldError, NounInfo, Time};

/// Where configuration comes from: a Git repository, a chart of a chart repository, or an OCI artifact. Exactly one.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SourceSpec {
    /// A Git repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git: Option<GitSource>,
    /// A chart of a Helm chart repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub helm: Option<ChartSource>,
    /// An OCI artifact that holds manifests or a chart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oci: Option<OciSource>,
    /// How often to ask whether it changed; with some jitter, and less often while it fails. A webhook asks at once.
    #[serde(default = "default_interval")]
    pub interval: DurationMs,
    /// Asks no more.
    #[serde(default)]
    pub suspend: bool,
    /// What is too much.
    #[serde(default)]
    pub limits: SourceLimits,
}

fn default_interval() -> DurationMs {
    DurationMs::secs(30)
}

/// A Git repository and what to read of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GitSource {
    /// `https://…`, `ssh://…`, `user@host:path`, or `file://…` on the hub's own disk.
    pub url: String,
    /// The branch; without branch, tag and commit, the repository's own default.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub branch: String,
    /// The tag.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub tag: String,
    /// The commit, in full.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub commit: String,
    /// A Secret of this Project with `username` and `password`, `token`, or `sshPrivateKey`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub secret: String,
    /// Certificates (PEM) of authorities to trust besides the usual ones.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub ca_bundle: String,
}

/// A chart of a Helm chart repository, by HTTP or OCI.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ChartSource {
    /// The repository: `https://…` (what `helm repo add` takes), or `oci://registry/path` without the chart's name.
    pub url: String,
    /// The chart's name.
    pub chart: String,
    /// The version, or a range such as `6.x` or `>=1.2 <2`; without it, the newest that is no pre-release.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// A Secret of this Project with `username` and `password`, or `token`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub secret: String,
    /// Certificates (PEM) of authorities to trust besides the usual ones.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub ca_bundle: String,
    /// Speaks plain HTTP with an OCI registry.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub insecure: bool,
}

/// An OCI artifact: a packed folder of manifests, or a chart.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OciSource {
    /// The repository, `oci://registry/path`.
    pub url: String,
    /// The tag; without tag, semver and digest, `latest`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub tag: String,
    /// A range over the tags that are versions; the newest that fits is taken.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub semver: String,
    /// The manifest's digest, `sha256:…`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub digest: String,
    /// A Secret of this Project with `username` and `password`, or `token`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub secret: String,
    /// Certificates (PEM) of authorities to trust besides the usual ones.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub ca_bundle: String,
    /// Speaks plain HTTP.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub insecure: bool,
}

impl SourceSpec {
    /// The URL that is read, whichever kind of Source it is; empty if none is given.
    pub fn url(&self) -> &str {
        let git = self.git.as_ref().map(|git| git.url.as_str());
        let helm = || self.helm.as_ref().map(|helm| helm.url.as_str());
        let oci = || self.oci.as_ref().map(|oci| oci.url.as_str());
        git.or_else(helm).or_else(oci).unwrap_or_default()
    }

    /// The URL and what of it is followed, as text: what was read from elsewhere does not count for this Source.
    pub fn origin(&self) -> String {
        let followed: Vec<(&str, &String)> = if let Some(git) = &self.git {
            vec![
                ("branch", &git.branch),
                ("tag", &git.tag),
                ("commit", &git.commit),
            ]
        } else if let Some(helm) = &self.helm {
            vec![("chart", &helm.chart), ("version", &helm.version)]
        } else if let Some(oci) = &self.oci {
            vec![
                ("tag", &oci.tag),
                ("semver", &oci.semver),
                ("digest", &oci.digest),
            ]
        } else {
            Vec::new()
        };
        let mut out = self.url().to_owned();
        for (kind, name) in followed.into_iter().filter(|(_, name)| !name.is_empty()) {
            out.push_str(&format!(" {kind} {name}"));
        }
        out
    }

    /// The Secret with the credentials; empty without one.
    pub fn secret(&self) -> &str {
        let git = self.git.as_ref().map(|git| git.secret.as_str());
        let helm = || self.helm.as_ref().map(|helm| helm.secret.as_str());
        let oci = || self.oci.as_ref().map(|oci| oci.secret.as_str());
        git.or_else(helm).or_else(oci).unwrap_or_default()
    }
}

/// What is too much for one Source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct SourceLimits {
    /// Bytes of one file.
    pub file_bytes: u64,
    /// Bytes of all files below the paths that Apps read.
    pub total_bytes: u64,
    /// Files below the paths that Apps read.
    pub files: u32,
}

impl Default for SourceLimits {
    fn default() -> Self {
        Self {
            file_bytes: 16 << 20,
            total_bytes: 256 << 20,
            files: 20_000,
        }
    }
}

/// What is known of a Source.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SourceStatus {
    /// The generation of the spec that this status speaks of.
    pub observed_generation: i64,
    /// Ready and others.
    pub conditions: Vec<Condition>,
    /// The URL that is read.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub url: String,
    /// What was read last: a commit, or a version with its digest (`6.7.1@sha256:…`).
    #[serde(skip_serializing_if = "String::is_empty")]
    pub commit: String,
    /// Its author.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub author: String,
    /// The first line of its message.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// When it was committed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub committed_at: Option<Time>,
    /// When the hub read it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fetched_at: Option<Time>,
}

noun!(
    Source = Object<SourceSpec, SourceStatus>,
    NounInfo {
        kind: "Source",
        plural: "sources",
        singular: "source",
        short_names: &["src"],
        namespaced: true,
        written_by_hub: false,
        columns: &[
            Column { name: "URL", path: ".status.url", kind: "string", wide: false },
            READY_COLUMN,
            Column { name: "Commit", path: ".status.commit", kind: "string", wide: false },
            Column { name: "Author", path: ".status.author", kind: "string", wide: true },
            MESSAGE_COLUMN,
        ],
        about: "Where configuration comes from: a Git repository, a chart of a chart repository, or an OCI artifact.",
    },
    validate
);

fn validate(source: &Source, errors: &mut Vec<FieldError>) {
    let spec = &source.spec;
    let given = [spec.git.is_some(), spec.helm.is_some(), spec.oci.is_some()];
    match given.iter().filter(|given| **given).count() {
        1 => {}
        0 => errors.push(FieldError::new(
            "spec",
            "a Source needs one of git, helm and oci",
        )),
        _ => errors.push(FieldError::new(
            "spec",
            "git, helm and oci exclude each other: make a Source of each",
        )),
    }
    if let Some(git) = &spec.git {
        check_git(git, errors);
    }
    if let Some(helm) = &spec.helm {
        check_url(
            &helm.url,
            &["https://", "http://", "oci://"],
            "spec.helm.url",
            errors,
        );
        if helm.chart.is_empty() {
            errors.push(FieldError::new("spec.helm.chart", "name the chart"));
        }
    }
    if let Some(oci) = &spec.oci {
        check_url(&oci.url, &["oci://"], "spec.oci.url", errors);
        if exclusive(&[&oci.tag, &oci.semver, &oci.digest]) > 1 {
            errors.push(FieldError::new(
                "spec.oci",
                "tag, semver and digest exclude each other",
            ));
        }
        if !oci.digest.is_empty() && oci.digest.parse::<base_json::Digest>().is_err() {
            let message = format!("{:?} is not a digest (sha256:…)", oci.digest);
            errors.push(FieldError::new("spec.oci.digest", message));
        }
    }
    if spec.interval.0 < 1000 {
        errors.push(FieldError::new("spec.interval", "is shorter than 1s"));
    }
}

fn check_git(git: &GitSource, errors: &mut Vec<FieldError>) {
    if git.url.is_empty() {
        errors.push(FieldError::new("spec.git.url", "a Source needs a URL"));
    }
    let schemes = ["https://", "http://", "ssh://", "file://"];
    if git.url.contains("://") && !schemes.iter().any(|s| git.url.starts_with(s)) {
        let message = format!(
            "{:?} is not a URL that can be read: use https://, ssh://, user@host:path or file://",
            git.url
        );
        errors.push(FieldError::new("spec.git.url", message));
    }
    if exclusive(&[&git.branch, &git.tag, &git.commit]) > 1 {
        errors.push(FieldError::new(
            "spec.git",
            "branch, tag and commit exclude each other",
        ));
    }
    if !git.commit.is_empty()
        && (git.commit.len() != 40 || !git.commit.bytes().all(|b| b.is_ascii_hexdigit()))
    {
        errors.push(FieldError::new(
            "spec.git.commit",
            "a commit is given by its 40 hexadecimal digits",
        ));
    }
}

fn check_url(url: &str, schemes: &[&str], field: &str, errors: &mut Vec<FieldError>) {
    if url.is_empty() {
        errors.push(FieldError::new(field, "a Source needs a URL"));
    } else if !schemes.iter().any(|scheme| url.starts_with(scheme)) {
        let message = format!("{url:?} must begin with {}", schemes.join(" or "));
        errors.push(FieldError::new(field, message));
    }
}

fn exclusive(given: &[&String]) -> usize {
    given.iter().filter(|text| !text.is_empty()).count()
}
