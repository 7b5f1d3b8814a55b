//! Chart repositories over HTTP: an `index.yaml`, and archives beside it.

use std::collections::BTreeMap;
use std::sync::Mutex;

use base_json::{Digest, Value};
use bytes::Bytes;

use super::http::{Answer, Http};
use super::version::{Choice, choose_version};
use super::{Archive, ArtifactRequest, Chosen, Followed};
use crate::guard::lock;
use crate::request::Limits;
use crate::{SourceError, mask_url};

/// Bytes of one index: the largest public ones have some 40 MB.
const INDEX: u64 = 128 << 20;

/// The last index of each repository with its entity tag, packed.
#[derive(Default)]
pub(crate) struct Indexes(Mutex<BTreeMap<String, (String, Bytes)>>);

pub(crate) fn choose(
    request: &ArtifactRequest,
    limits: &Limits,
    indexes: &Indexes,
    known: &dyn Fn(&str) -> bool,
) -> Result<(String, Chosen), SourceError> {
    let Followed::Chart {
        repository,
        chart,
        version,
    } = &request.what
    else {
        return Err(SourceError::BadIndex {
            url: mask_url(request.what.url()),
            reason: "it is no chart repository".to_owned(),
        });
    };
    let http = Http::new(request)?;
    let at = format!("{}/index.yaml", repository.trim_end_matches('/'));
    let index = fetch_index(&http, &at, indexes)?;
    let bad = |reason: String| SourceError::BadIndex {
        url: mask_url(&at),
        reason,
    };
    let text = std::str::from_utf8(&index).map_err(|error| bad(error.to_string()))?;
    let entries = entries_of(text, chart).map_err(bad)?;
    let Some(entries) = entries else {
        return Err(SourceError::NoChart {
            url: mask_url(repository),
            chart: chart.clone(),
            near: near(text, chart),
        });
    };
    let field = |entry: &Value, name: &str| {
        let value = entry.get(name).and_then(Value::as_str);
        value.unwrap_or_default().to_owned()
    };
    let versions: Vec<String> = entries.iter().map(|e| field(e, "version")).collect();
    let Choice { index, warnings } =
        choose_version(&versions, version).map_err(|reason| SourceError::NoVersion {
            what: request.what.readable(),
            range: version.clone(),
            reason,
        })?;
    let entry = &entries[index];
    let digest = field(entry, "digest");
    let digest = match digest.strip_prefix("sha256:") {
        Some(hex) => hex.to_owned(),
        None => digest,
    };
    let chosen = versions[index].clone();
    if !digest.is_empty() && known(&format!("sha256:{digest}")) {
        return Ok((chosen, Chosen::Known(format!("sha256:{digest}"))));
    }
    let url = entry["urls"].get(0).and_then(Value::as_str);
    let url = url.ok_or_else(|| bad(format!("{chart} {chosen} has no URL")))?;
    let url = absolute(repository, url);
    let Answer::Body(bytes, _) = http.get(&url, limits.tree_bytes, None)? else {
        return Err(bad(format!(
            "{} did not answer with a body",
            mask_url(&url)
        )));
    };
    let found = Digest::of(&bytes);
    if !digest.is_empty() && found.hex() != digest {
        return Err(SourceError::WrongDigest {
            url: mask_url(&url),
            expected: format!("sha256:{digest}"),
            found: found.to_string(),
        });
    }
    let app = field(entry, "appVersion");
    let title = match app.as_str() {
        "" => format!("{chart} {chosen}"),
        app => format!("{chart} {chosen} (app {app})"),
    };
    let archive = Archive {
        version: chosen.clone(),
        title,
        created_at: seconds(&field(entry, "created")),
        bytes,
        warnings,
    };
    Ok((chosen, Chosen::Got(archive)))
}

fn fetch_index(http: &Http<'_>, at: &str, indexes: &Indexes) -> Result<Bytes, SourceError> {
    let kept = lock(&indexes.0).get(at).cloned();
    let tag = kept.as_ref().map(|(tag, _)| tag.as_str());
    match http.get(at, INDEX, tag)? {
        Answer::Body(bytes, Some(tag)) => {
            let mut kept = lock(&indexes.0);
            if kept.len() >= 64 {
                kept.clear();
            }
            // only what is small is worth its memory
            if bytes.len() < 4 << 20 {
                kept.insert(at.to_owned(), (tag, bytes.clone()));
            }
            Ok(bytes)
        }
        Answer::Body(bytes, None) => Ok(bytes),
        Answer::NotModified => kept.map(|(_, bytes)| bytes).ok_or_else(|| {
            let reason = "the server says that it is unchanged, which nobody asked".to_owned();
            SourceError::BadIndex {
                url: mask_url(at),
                reason,
            }
        }),
    }
}

/// The versions of one chart. Reads only that chart's part of the index where the index is laid out as `helm repo
/// index` does, since a whole one may have tens of megabytes.
fn entries_of(text: &str, chart: &str) -> Result<Option<Vec<Value>>, String> {
    let read = |text: &str| {
        let documents = base_yaml::parse_documents(text, "index.yaml");
        let documents = documents.map_err(|error| error.to_string())?;
        Ok::<_, String>(documents.into_iter().next().map(|one| one.value))
    };
    if let Some(part) = part_of(text, chart) {
        let value = read(part)?.unwrap_or_default();
        let list = value.get(chart).and_then(Value::as_array).cloned();
        return Ok(list);
    }
    let value = read(text)?.unwrap_or_default();
    let Some(entries) = value.get("entries") else {
        return Err("it has no entries: is this a chart repository?".to_owned());
    };
    Ok(entries.get(chart).and_then(Value::as_array).cloned())
}

/// The lines of one chart's entry, in a block-style index.
fn part_of<'t>(text: &'t str, chart: &str) -> Option<&'t str> {
    let start = if text.starts_with("entries:\n") {
        "entries:\n".len()
    } else {
        text.find("\nentries:\n")? + "\nentries:\n".len()
    };
    let head = format!("  {chart}:\n");
    let body = &text[start..];
    let from = if body.starts_with(&head) {
        0
    } else {
        body.find(&format!("\n{head}"))? + 1
    };
    let rest = &body[from..];
    let mut end = head.len();
    for line in rest[head.len()..].split_inclusive('\n') {
        let deeper = line.starts_with("   ") || line.starts_with("  -") || line.trim().is_empty();
        if !deeper {
            break;
        }
        end += line.len();
    }
    Some(&rest[..end])
}

/// Names that are like the one asked for.
fn near(text: &str, chart: &str) -> Vec<String> {
    let names = text.lines().filter_map(|line| {
        let name = line.strip_prefix("  ")?.strip_suffix(':')?;
        (!name.starts_with([' ', '-'])).then_some(name)
    });
    let wanted = chart.to_lowercase();
    let alike = |name: &str| {
        let name = name.to_lowercase();
        name.contains(&wanted) || wanted.contains(&name)
    };
    names
        .filter(|name| alike(name))
        .take(3)
        .map(str::to_owned)
        .collect()
}

fn absolute(repository: &str, url: &str) -> String {
    if url.contains("://") {
        return url.to_owned();
    }
    if let Some(path) = url.strip_prefix('/') {
        let end = repository.find("://").map_or(0, |at| at + 3);
        let host = repository[end..]
            .find('/')
            .map_or(repository.len(), |at| end + at);
        return format!("{}/{path}", &repository[..host]);
    }
    format!("{}/{url}", repository.trim_end_matches('/'))
}

pub(super) fn seconds(time: &str) -> i64 {
    time.parse::<jiff::Timestamp>()
        .map_or(0, |time| time.as_second())
}

#[cfg(test)]
mod tests {
    use super::*;

    const INDEX: &str = "apiVersion: v1\nentries:\n  a:\n  - version: 1.0.0\n    urls:\n    - a-1.tgz\n  ab:\n    - version: 2.0.0\n      description: |\n        text\n\n        more\n  b: []\ngenerated: x\n";

    #[test]
    fn reads_one_charts_part() {
        let check = |chart: &str, expected: &str| {
            let part = part_of(INDEX, chart).unwrap_or("none");
            assert_eq!(part, expected, "{chart}");
        };
        check("a", "  a:\n  - version: 1.0.0\n    urls:\n    - a-1.tgz\n");
        check(
            "ab",
            "  ab:\n    - version: 2.0.0\n      description: |\n        text\n\n        more\n",
        );
        check("c", "none");
        let whole = |chart: &str| entries_of(INDEX, chart).expect("index");
        assert_eq!(whole("a").map(|list| list.len()), Some(1));
        assert_eq!(whole("b").map(|list| list.len()), Some(0));
        assert_eq!(whole("c"), None);
        let error = entries_of("<html>", "a").expect_err("no index");
        assert!(error.contains("entries"), "{error}");
    }

    #[test]
    fn makes_urls_absolute() {
        let check = |url: &str, expected: &str| {
            assert_eq!(absolute("https://h:1/charts/", url), expected);
        };
        check("a-1.tgz", "https://h:1/charts/a-1.tgz");
        check("/x/a-1.tgz", "https://h:1/x/a-1.tgz");
        check("https://other/a-1.tgz", "https://other/a-1.tgz");
    }
}
