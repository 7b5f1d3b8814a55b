//! Which form an answer takes, and which form a body has.

use crate::Status;

/// How the bytes are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Json,
    Yaml,
    /// For bodies only.
    Protobuf,
}

impl Format {
    pub(crate) fn media_type(self) -> &'static str {
        match self {
            Self::Json | Self::Protobuf => "application/json",
            Self::Yaml => "application/yaml",
        }
    }
}

/// What is written instead of the object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// The object itself.
    Object,
    /// A table of a version.
    Table(&'static str),
    /// Only the metadata.
    Metadata,
    /// Aggregated discovery.
    Discovery,
}

/// What was agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Accepted {
    pub(crate) format: Format,
    pub(crate) shape: Shape,
}

/// Which shapes an endpoint offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Offer {
    /// Objects: also as tables and metadata.
    Objects,
    /// Discovery roots: also aggregated.
    Discovery,
    /// Nothing but what it is.
    Plain,
}

const OFFERED: [&str; 2] = ["application/json", "application/yaml"];

struct Clause<'a> {
    media: String,
    params: Vec<(&'a str, &'a str)>,
    quality: f32,
}

fn clauses(header: &str) -> Vec<Clause<'_>> {
    let mut out: Vec<Clause<'_>> = header
        .split(',')
        .filter_map(|clause| {
            let mut parts = clause.split(';').map(str::trim);
            let media = parts.next()?.to_ascii_lowercase();
            let params: Vec<(&str, &str)> = parts.filter_map(|part| part.split_once('=')).collect();
            let quality = params
                .iter()
                .find(|(key, _)| *key == "q")
                .and_then(|(_, value)| value.parse().ok())
                .unwrap_or(1.0);
            (!media.is_empty()).then_some(Clause {
                media,
                params,
                quality,
            })
        })
        .collect();
    out.sort_by(|a, b| b.quality.total_cmp(&a.quality));
    out
}

/// What Kubernetes' own kinds come in; protobuf is read, not written.
pub(crate) const ALL: [&str; 3] = [
    "application/json",
    "application/yaml",
    "application/vnd.kubernetes.protobuf",
];

/// Words a refusal as it is for Kubernetes' own kinds.
pub(crate) fn refuse_builtin(header: &str) -> Status {
    let known = clauses(header)
        .iter()
        .any(|clause| ALL.contains(&clause.media.as_str()) || clause.media.ends_with("/*"));
    if known {
        return Status::not_acceptable(&ALL);
    }
    let text = format!(
        "406: Not Acceptable\n\nAvailable representations: {}",
        ALL.join(", ")
    );
    Status::new(406, "NotAcceptable", text).about(crate::Details::default())
}

/// Chooses the form of the answer.
pub(crate) fn accept(header: &str, offer: Offer) -> Result<Accepted, Status> {
    let clauses = clauses(header);
    if clauses.is_empty() {
        return Ok(Accepted {
            format: Format::Json,
            shape: Shape::Object,
        });
    }
    for clause in &clauses {
        let format = match clause.media.as_str() {
            "application/json" | "*/*" | "application/*" => Format::Json,
            "application/yaml" => Format::Yaml,
            _ => continue,
        };
        let param = |name: &str| {
            clause
                .params
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| *value)
        };
        let shape = match (param("as"), param("g"), param("v"), offer) {
            (None, ..) => Shape::Object,
            (Some("Table"), Some("meta.k8s.io"), Some("v1"), Offer::Objects) => Shape::Table("v1"),
            (Some("Table"), Some("meta.k8s.io"), Some("v1beta1"), Offer::Objects) => {
                Shape::Table("v1beta1")
            }
            (
                Some("PartialObjectMetadata" | "PartialObjectMetadataList"),
                Some("meta.k8s.io"),
                Some("v1"),
                Offer::Objects,
            ) => Shape::Metadata,
            (
                Some("APIGroupDiscoveryList"),
                Some("apidiscovery.k8s.io"),
                Some("v2"),
                Offer::Discovery,
            ) if format == Format::Json => Shape::Discovery,
            _ => continue,
        };
        return Ok(Accepted { format, shape });
    }
    Err(Status::not_acceptable(&OFFERED))
}

/// Reads the form of a body.
pub(crate) fn content(header: &str) -> Result<Format, Status> {
    match header
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase()
        .as_str()
    {
        "" | "application/json" | "*/*" => Ok(Format::Json),
        "application/yaml" | "text/yaml" | "application/x-yaml" => Ok(Format::Yaml),
        "application/vnd.kubernetes.protobuf" => Ok(Format::Protobuf),
        _ => Err(Status::unsupported_media_type(&ALL)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(header: &str, offer: Offer, expected: Option<(Format, Shape)>) {
        let found = accept(header, offer)
            .ok()
            .map(|accepted| (accepted.format, accepted.shape));
        assert_eq!(found, expected, "{header}");
    }

    #[test]
    fn agrees_as_clients_ask() {
        use Format::{Json, Yaml};
        let tables = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
        check("", Offer::Plain, Some((Json, Shape::Object)));
        check("*/*", Offer::Objects, Some((Json, Shape::Object)));
        check(
            "application/yaml",
            Offer::Objects,
            Some((Yaml, Shape::Object)),
        );
        check(tables, Offer::Objects, Some((Json, Shape::Table("v1"))));
        check(tables, Offer::Plain, Some((Json, Shape::Object)));
        check(
            "application/vnd.kubernetes.protobuf,application/json",
            Offer::Objects,
            Some((Json, Shape::Object)),
        );
        check("application/vnd.kubernetes.protobuf", Offer::Objects, None);
        check(
            "application/json;as=Table;v=v1;g=meta.k8s.io",
            Offer::Plain,
            None,
        );
        check(
            "text/html;q=0.9,application/yaml;q=0.5,*/*;q=0.8",
            Offer::Plain,
            Some((Json, Shape::Object)),
        );
        check(
            "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json",
            Offer::Discovery,
            Some((Json, Shape::Discovery)),
        );
        assert_eq!(
            content("application/vnd.kubernetes.protobuf").ok(),
            Some(Format::Protobuf)
        );
        assert!(content("application/cbor").is_err());
    }
}
