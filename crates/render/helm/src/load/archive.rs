//! A packed chart: a gzipped tar, read in memory with Helm's own refusals.

use std::io::Read;

use bytes::Bytes;

use super::File;
use crate::Limits;

/// What all archives of one chart may still take together.
#[derive(Debug)]
pub(crate) struct Budget {
    pub(crate) bytes: u64,
    pub(crate) files: usize,
}

impl Budget {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            bytes: limits.total_bytes,
            files: limits.files,
        }
    }

    /// Takes a file out of the budget.
    pub(crate) fn take(&mut self, bytes: u64, limits: &Limits) -> Result<(), Refusal> {
        self.bytes = self.bytes.checked_sub(bytes).ok_or_else(|| {
            Refusal::Limit(format!(
                "the chart and the charts in it are larger than {} bytes",
                limits.total_bytes
            ))
        })?;
        self.files = self.files.checked_sub(1).ok_or_else(|| {
            Refusal::Limit(format!(
                "the chart and the charts in it have more than {} files",
                limits.files
            ))
        })?;
        Ok(())
    }
}

/// Why an archive was not read.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// It is damaged or holds what it may not; in Helm's words.
    Archive(String),
    /// It is larger than allowed.
    Limit(String),
}

/// Whether bytes look like something gzipped.
pub(crate) fn is_gzip(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\x1f\x8b\x08")
}

/// Unpacks an archive; paths come without the folder that everything lies in.
pub(crate) fn unpack(
    bytes: &[u8],
    limits: &Limits,
    budget: &mut Budget,
) -> Result<Vec<File>, Refusal> {
    let damaged = |error: std::io::Error| Refusal::Archive(error.to_string());
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(bytes));
    let (mut files, mut left) = (Vec::new(), limits.archive_bytes);
    for entry in archive.entries().map_err(damaged)? {
        let mut entry = entry.map_err(damaged)?;
        let raw = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let kind = entry.header().entry_type();
        if kind.is_dir()
            || raw.ends_with('/')
            || kind.is_pax_global_extensions()
            || kind.is_pax_local_extensions()
        {
            continue;
        }
        let path = clean(&raw).map_err(Refusal::Archive)?;
        let size = entry.size();
        let too_large = || {
            Refusal::Limit(format!(
                "decompressed chart is larger than the maximum size {}",
                limits.archive_bytes
            ))
        };
        if size > left {
            return Err(too_large());
        }
        if size > limits.file_bytes {
            return Err(Refusal::Limit(format!(
                "decompressed chart file {raw:?} is larger than the maximum file size {}",
                limits.file_bytes
            )));
        }
        budget.take(size, limits)?;
        let mut data = Vec::new();
        entry.read_to_end(&mut data).map_err(damaged)?;
        if (data.len() as u64) < size {
            return Err(Refusal::Archive("unexpected EOF".to_owned()));
        }
        left = left.saturating_sub(data.len() as u64);
        if left == 0 {
            return Err(too_large());
        }
        files.push(File {
            path,
            data: without_mark(Bytes::from(data)),
        });
    }
    if files.is_empty() {
        return Err(Refusal::Archive("no files in chart archive".to_owned()));
    }
    Ok(files)
}

/// A text without the byte order mark that editors put before it.
pub(crate) fn without_mark(data: Bytes) -> Bytes {
    if data.starts_with(b"\xef\xbb\xbf") {
        data.slice(3..)
    } else {
        data
    }
}

/// The path of an entry below the archive's one folder; the error is Helm's.
fn clean(raw: &str) -> Result<String, String> {
    let delimiter = if raw.contains('\\') { '\\' } else { '/' };
    let (first, rest) = raw.split_once(delimiter).unwrap_or((raw, ""));
    let rest = rest.replace(delimiter, "/");
    if rest.starts_with('/') {
        return Err("chart illegally contains absolute paths".to_owned());
    }
    let path = clean_path(&rest);
    if path == "." {
        return Err(format!(
            "chart illegally contains content outside the base directory: {raw:?}"
        ));
    }
    if path.starts_with("..") {
        return Err("chart illegally references parent directory".to_owned());
    }
    let bytes = path.as_bytes();
    if bytes.len() >= 3 && bytes[0].is_ascii_alphabetic() && &bytes[1..3] == b":/" {
        return Err("chart contains illegally named files".to_owned());
    }
    if first == "Chart.yaml" {
        return Err("chart yaml not in base directory".to_owned());
    }
    Ok(path)
}

/// Go's `path.Clean` of a relative path.
pub(crate) fn clean_path(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                if parts.last().is_some_and(|&last| last != "..") {
                    parts.pop();
                } else if !rooted {
                    parts.push("..");
                }
            }
            part => parts.push(part),
        }
    }
    let joined = parts.join("/");
    match (rooted, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned_or_refused() {
        for (raw, wanted) in [
            ("c/Chart.yaml", Ok("Chart.yaml")),
            ("c\\templates\\a.yaml", Ok("templates/a.yaml")),
            ("c/./a//b", Ok("a/b")),
            ("c/a/../b", Ok("b")),
            ("c/../b", Err("chart illegally references parent directory")),
            (
                "c//etc/passwd",
                Err("chart illegally contains absolute paths"),
            ),
            ("./c:/foo", Err("chart contains illegally named files")),
            ("Chart.yaml/x", Err("chart yaml not in base directory")),
            (
                "Chart.yaml",
                Err("chart illegally contains content outside the base directory: \"Chart.yaml\""),
            ),
        ] {
            assert_eq!(
                clean(raw).as_deref().map_err(String::as_str),
                wanted,
                "{raw}"
            );
        }
    }
}
