//! Packed folders, opened in memory and within bounds.

use std::collections::BTreeMap;
use std::io::Read as _;

use bytes::Bytes;
use flate2::read::MultiGzDecoder;

use crate::request::Limits;

/// Unpacks a gzipped tar. Links, devices and paths that leave the folder are refused; the error says which.
pub(crate) fn unpack(bytes: &[u8], limits: &Limits) -> Result<BTreeMap<String, Bytes>, String> {
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return Err("it is no gzipped tar".to_owned());
    }
    // what is unpacked counts, padding and headers included
    let room = limits.tree_bytes.saturating_add(64 << 20);
    let reader = MultiGzDecoder::new(bytes).take(room);
    let mut archive = tar::Archive::new(reader);
    let mut files = BTreeMap::new();
    let mut total = 0u64;
    let entries = archive.entries().map_err(|error| error.to_string())?;
    for entry in entries {
        let mut entry = entry.map_err(|error| format!("it cannot be read: {error}"))?;
        let kind = entry.header().entry_type();
        let shown = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        if kind.is_dir() || kind.is_pax_global_extensions() {
            continue;
        }
        if !kind.is_file() && !kind.is_contiguous() {
            return Err(format!("{shown:?} is neither a file nor a folder"));
        }
        let name = name_of(&entry.path_bytes())?;
        let size = entry.size();
        if size > limits.blob_bytes {
            let limit = limits.blob_bytes;
            return Err(format!("{name:?} has {size} bytes, more than {limit}"));
        }
        total = total.saturating_add(size);
        if total > limits.tree_bytes {
            let limit = limits.tree_bytes;
            return Err(format!("it holds more than {limit} bytes"));
        }
        if files.len() >= limits.files {
            let limit = limits.files;
            return Err(format!("it holds more than {limit} files"));
        }
        let mut content = Vec::with_capacity(usize::try_from(size).unwrap_or(0).min(1 << 20));
        entry
            .read_to_end(&mut content)
            .map_err(|error| format!("{name:?} cannot be read: {error}"))?;
        files.insert(name, Bytes::from(content));
    }
    if files.is_empty() {
        return Err("it holds no file".to_owned());
    }
    Ok(files)
}

fn name_of(raw: &[u8]) -> Result<String, String> {
    let text = std::str::from_utf8(raw)
        .map_err(|_| format!("{:?} is not UTF-8", String::from_utf8_lossy(raw)))?;
    let text = text.replace('\\', "/");
    let drive = text.as_bytes().get(1) == Some(&b':');
    let mut parts = Vec::new();
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." => return Err(format!("{text:?} leaves the folder")),
            part => parts.push(part),
        }
    }
    if text.starts_with('/') || drive || parts.is_empty() || text.contains('\0') {
        return Err(format!("{text:?} is no path inside the folder"));
    }
    Ok(parts.join("/"))
}

/// Takes off the one folder that everything lies in.
pub(crate) fn without_folder(files: BTreeMap<String, Bytes>) -> BTreeMap<String, Bytes> {
    let Some(folder) = only_folder(&files) else {
        return files;
    };
    files
        .into_iter()
        .map(|(name, bytes)| (name[folder.len() + 1..].to_owned(), bytes))
        .collect()
}

/// The same, where that folder is a chart.
pub(crate) fn chart_folder(files: BTreeMap<String, Bytes>) -> BTreeMap<String, Bytes> {
    match only_folder(&files) {
        Some(folder) if files.contains_key(&format!("{folder}/Chart.yaml")) => {
            without_folder(files)
        }
        _ => files,
    }
}

fn only_folder(files: &BTreeMap<String, Bytes>) -> Option<String> {
    let (folder, _) = files.keys().next()?.split_once('/')?;
    let inside = |name: &String| {
        name.split_once('/')
            .is_some_and(|(first, _)| first == folder)
    };
    files.keys().all(inside).then(|| folder.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(files: &[(&str, &str)]) -> Vec<u8> {
        let mut builder = tar::Builder::new(flate2::write::GzEncoder::new(
            Vec::new(),
            flate2::Compression::fast(),
        ));
        for (name, content) in files {
            let mut header = tar::Header::new_gnu();
            // by hand: the library refuses to write what a hostile archive holds
            header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            header.set_cksum();
            builder.append(&header, content.as_bytes()).expect("append");
        }
        let gzip = builder.into_inner().expect("tar");
        gzip.finish().expect("gzip")
    }

    fn check(files: &[(&str, &str)], expected: &str) {
        let limits = Limits {
            blob_bytes: 10,
            tree_bytes: 25,
            files: 3,
            ..Limits::default()
        };
        let got = match unpack(&packed(files), &limits) {
            Ok(files) => files.into_keys().collect::<Vec<_>>().join(" "),
            Err(error) => error,
        };
        assert_eq!(got, expected);
    }

    #[test]
    fn takes_files_and_refuses_what_leaves() {
        check(&[("a/b", "1"), ("./a/c", "2")], "a/b a/c");
        check(&[("a\\b", "1")], "a/b");
        check(&[("../b", "1")], "\"../b\" leaves the folder");
        check(&[("/b", "1")], "\"/b\" is no path inside the folder");
        check(&[("C:\\b", "1")], "\"C:/b\" is no path inside the folder");
        check(&[], "it holds no file");
        check(&[("a", "12345678901")], "\"a\" has 11 bytes, more than 10");
        let ten = "1234567890";
        check(
            &[("a", ten), ("b", ten), ("c", ten)],
            "it holds more than 25 bytes",
        );
        let many = [("a", ""), ("b", ""), ("c", ""), ("d", "")];
        check(&many, "it holds more than 3 files");
    }

    #[test]
    fn says_what_is_no_archive() {
        let error = unpack(b"hello", &Limits::default()).expect_err("no gzip");
        assert_eq!(error, "it is no gzipped tar");
        let error = unpack(b"\x1f\x8bello", &Limits::default()).expect_err("no gzip");
        assert!(error.starts_with("it cannot be read: "), "{error}");
    }
}
