//! The state directory: who the agent is, and what the machine asked to be kept.
//!
//! ```text
//! identity/   key.pem cert.pem ca.pem keys.json cluster     (mode 0600; `cluster` is written last)
//! records/    one file per record, named after its key
//! blobs/      one file per content, compressed, named after its digest
//! ```
//!
//! A file is written beside its place, synced and renamed, so that a crash leaves the old or the new one. Content is
//! checked by its digest when it is read, so it need not be synced: what a crash tore is fetched again.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use roadstead_model::ClusterId;
use roadstead_sync::{BLOB_PREFIX, Persisted};
use roadstead_wire::keys::KeySet;

use super::{Identity, StateError};

/// The state directory.
pub struct StateDir {
    root: PathBuf,
    /// One agent a directory; the lock goes with the process.
    _lock: File,
}

impl StateDir {
    /// Makes or opens it, and locks it.
    pub fn open(root: &Path) -> Result<Self, StateError> {
        for part in ["", "identity", "records", "blobs"] {
            let path = root.join(part);
            let mut builder = fs::DirBuilder::new();
            builder
                .recursive(true)
                .mode(0o700)
                .create(&path)
                .map_err(failed("make", &path))?;
        }
        let path = root.join("lock");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(failed("open", &path))?;
        lock.try_lock().map_err(|error| {
            failed("lock (another agent uses this directory)", &path)(error.into())
        })?;
        Ok(Self {
            root: root.to_owned(),
            _lock: lock,
        })
    }

    /// The key that is or will be the agent's own, if one was made.
    pub fn key_pem(&self) -> Result<Option<String>, StateError> {
        self.read_text("identity/key.pem")
    }

    /// Keeps the key.
    pub fn keep_key(&self, pem: &str) -> Result<(), StateError> {
        self.write("identity/key.pem", pem.as_bytes(), true)
    }

    /// Who the agent is; `None` before it has joined.
    pub fn identity(&self) -> Result<Option<Identity>, StateError> {
        let Some(cluster) = self.read_text("identity/cluster")? else {
            return Ok(None);
        };
        let part = |name: &str| self.read_text(&format!("identity/{name}"));
        let (Some(certificate_pem), Some(key_pem), Some(ca_pem), Some(keys)) = (
            part("cert.pem")?,
            part("key.pem")?,
            part("ca.pem")?,
            part("keys.json")?,
        ) else {
            return Ok(None);
        };
        let path = self.root.join("identity/keys.json");
        let keys = KeySet::from_json(keys.as_bytes())
            .map_err(|error| failed("read", &path)(io::Error::other(error)))?;
        Ok(Some(Identity {
            cluster: ClusterId(cluster.trim().to_owned()),
            certificate_pem,
            key_pem,
            ca_pem,
            keys,
        }))
    }

    /// Keeps who the agent is.
    pub fn keep_identity(&self, identity: &Identity) -> Result<(), StateError> {
        self.keep_key(&identity.key_pem)?;
        self.write(
            "identity/cert.pem",
            identity.certificate_pem.as_bytes(),
            true,
        )?;
        self.write("identity/ca.pem", identity.ca_pem.as_bytes(), true)?;
        self.write("identity/keys.json", &identity.keys.to_json(), true)?;
        self.write("identity/cluster", identity.cluster.0.as_bytes(), true)
    }

    /// Reads everything that was kept for the machine. A file that cannot be understood counts as not there: the hub
    /// and the cluster know enough to make it again.
    pub fn records(&self) -> Result<Persisted, StateError> {
        let mut out = Persisted::new();
        for (folder, blobs) in [("records", false), ("blobs", true)] {
            let folder = self.root.join(folder);
            for entry in fs::read_dir(&folder).map_err(failed("list", &folder))? {
                let path = entry.map_err(failed("list", &folder))?.path();
                let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
                    continue;
                };
                if name.ends_with(".tmp") {
                    // left by a crash; where nothing can be removed nothing can be written either, and that is told then
                    drop(fs::remove_file(&path));
                    continue;
                }
                let bytes = fs::read(&path).map_err(failed("read", &path))?;
                if blobs {
                    if let Ok(bytes) = zstd::decode_all(bytes.as_slice()) {
                        out.insert(format!("{BLOB_PREFIX}{name}"), bytes.into());
                    }
                } else if let Some(key) = decode(name) {
                    out.insert(key, bytes.into());
                }
            }
        }
        Ok(out)
    }

    /// Keeps or forgets one record.
    pub fn keep(&self, key: &str, value: Option<&Bytes>) -> Result<(), StateError> {
        let (place, blob) = match key.strip_prefix(BLOB_PREFIX) {
            Some(digest) => (format!("blobs/{}", encode(digest)), true),
            None => (format!("records/{}", encode(key)), false),
        };
        let Some(value) = value else {
            let path = self.root.join(&place);
            return match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    Err(failed("remove", &path)(error))
                }
                _ => Ok(()),
            };
        };
        if blob {
            let path = self.root.join(&place);
            let packed = zstd::bulk::compress(value, 3).map_err(failed("compress", &path))?;
            self.write(&place, &packed, false)
        } else {
            self.write(&place, value, true)
        }
    }

    fn read_text(&self, place: &str) -> Result<Option<String>, StateError> {
        let path = self.root.join(place);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed("read", &path)(error)),
        }
    }

    fn write(&self, place: &str, bytes: &[u8], sync: bool) -> Result<(), StateError> {
        let path = self.root.join(place);
        let beside = self.root.join(format!("{place}.tmp"));
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o600)
            .open(&beside)
            .map_err(failed("write", &beside))?;
        file.write_all(bytes).map_err(failed("write", &beside))?;
        if sync {
            file.sync_all().map_err(failed("sync", &beside))?;
        }
        fs::rename(&beside, &path).map_err(failed("write", &path))?;
        if sync && let Some(folder) = path.parent() {
            let folder_file = File::open(folder).map_err(failed("open", folder))?;
            folder_file.sync_all().map_err(failed("sync", folder))?;
        }
        Ok(())
    }
}

fn failed(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StateError {
    let place = format!("{path:?}");
    move |source| StateError {
        step,
        place,
        taken: false,
        source: source.into(),
    }
}

/// Writes a key as a file name.
fn encode(key: &str) -> String {
    let mut out = String::new();
    for byte in key.bytes() {
        if byte.is_ascii_alphanumeric() || byte == b'-' {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02x}"));
        }
    }
    out
}

fn decode(name: &str) -> Option<String> {
    let mut out = Vec::new();
    let mut rest = name.as_bytes();
    while let [first, tail @ ..] = rest {
        if *first == b'%' {
            let (hex, tail) = tail.split_at_checked(2)?;
            out.push(u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok()?);
            rest = tail;
        } else {
            out.push(*first);
            rest = tail;
        }
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_records_and_content_over_a_restart() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path().join("state");
        let blob = Bytes::from("content ".repeat(100));
        let key = format!("{BLOB_PREFIX}{}", base_json::Digest::of(&blob).hex());
        let state = StateDir::open(&root).expect("opened");
        assert!(
            StateDir::open(&root).is_err(),
            "two agents on one directory"
        );
        state
            .keep("app/p/shop.web", Some(&Bytes::from("{}")))
            .expect("kept");
        state.keep("order", Some(&Bytes::from("1"))).expect("kept");
        state.keep(&key, Some(&blob)).expect("kept");
        state.keep("order", None).expect("forgotten");
        state.keep("order", None).expect("forgotten twice");
        fs::write(root.join("records/torn.tmp"), "x").expect("written");
        drop(state);
        let state = StateDir::open(&root).expect("opened");
        let records = state.records().expect("read");
        let expected = [
            ("app/p/shop.web".to_owned(), Bytes::from("{}")),
            (key, blob),
        ];
        assert_eq!(records, Persisted::from(expected));
        assert!(state.identity().expect("read").is_none());
        let mode = |path: &str| {
            use std::os::unix::fs::PermissionsExt;
            fs::metadata(root.join(path))
                .expect("there")
                .permissions()
                .mode()
                & 0o777
        };
        assert_eq!(
            (mode(""), mode("records/app%2fp%2fshop%2eweb")),
            (0o700, 0o600)
        );
    }
}
