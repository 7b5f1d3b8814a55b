//! Sources: where configuration comes from.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::noun::{MESSAGE_COLUMN, READY_COLUMN, noun};
use crate::{Column, Condition, DurationMs, FieldError, NounInfo, Time};

/// Where configuration comes from: a branch, a tag or a commit of a Git repository.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SourceSpec {
    /// A Git repository.
    pub git: GitSource,
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
    /// The commit that was read last.
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
            Column { name: "URL", path: ".spec.git.url", kind: "string", wide: false },
            READY_COLUMN,
            Column { name: "Commit", path: ".status.commit", kind: "string", wide: false },
            Column { name: "Author", path: ".status.author", kind: "string", wide: true },
            MESSAGE_COLUMN,
        ],
        about: "Where configuration comes from: a branch, a tag or a commit of a Git repository.",
    },
    |source, errors| {
        let git = &source.spec.git;
        if git.url.is_empty() {
            errors.push(FieldError::new("spec.git.url", "a Source needs a URL"));
        }
        if git.url.contains("://") && !["https://", "http://", "ssh://", "file://"].iter().any(|s| git.url.starts_with(s)) {
            let message = format!("{:?} is not a URL that can be read: use https://, ssh://, user@host:path or file://", git.url);
            errors.push(FieldError::new("spec.git.url", message));
        }
        let given = [&git.branch, &git.tag, &git.commit].iter().filter(|text| !text.is_empty()).count();
        if given > 1 {
            errors.push(FieldError::new("spec.git", "branch, tag and commit exclude each other"));
        }
        if !git.commit.is_empty() && (git.commit.len() != 40 || !git.commit.bytes().all(|b| b.is_ascii_hexdigit())) {
            errors.push(FieldError::new("spec.git.commit", "a commit is given by its 40 hexadecimal digits"));
        }
        if source.spec.interval.0 < 1000 {
            errors.push(FieldError::new("spec.interval", "is shorter than 1s"));
        }
    }
);
