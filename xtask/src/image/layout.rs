//! The image as OCI wants it: blobs by digest, manifests that name them, an index that names the manifests.
//! The format is <https://github.com/opencontainers/image-spec>, version 1.1.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::Path;

use anyhow::Context as _;
use base_json::Digest;
use serde_json::{Value, json};

use super::parts::Parts;
use super::tar::Tar;
use super::write;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const EMPTY: &str = "application/vnd.oci.empty.v1+json";
const PARTS: &str = "application/vnd.cyclonedx+json";
const NAME: &str = "roadstead";
const USER: u32 = 65532;

type Blobs = BTreeMap<Digest, Vec<u8>>;

/// The image of one architecture.
pub(super) struct Platform {
    blobs: Blobs,
    manifest: Value,
    /// The list of parts, which refers to the manifest.
    parts: Value,
}

fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({ "mediaType": media_type, "digest": Digest::of(bytes).to_string(), "size": bytes.len() })
}

fn keep(blobs: &mut Blobs, media_type: &str, bytes: Vec<u8>) -> Value {
    let descriptor = descriptor(media_type, &bytes);
    blobs.insert(Digest::of(&bytes), bytes);
    descriptor
}

/// The authorities that Git servers' certificates are signed by, as other programs find them.
fn authorities() -> String {
    let all = webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter();
    all.map(|der| pem::encode(&pem::Pem::new("CERTIFICATE", der.as_ref())))
        .collect()
}

fn layer(binary: &[u8], libraries: &[(String, Vec<u8>)], time: i64) -> Vec<u8> {
    let mut tar = Tar::default();
    for folder in ["etc/", "etc/ssl/", "etc/ssl/certs/"] {
        tar.folder(folder, 0o755, 0, time);
    }
    let users = format!("root:x:0:0::/:/\nnonroot:x:{USER}:{USER}::/:/\n");
    let groups = format!("root:x:0:\nnonroot:x:{USER}:\n");
    tar.file("etc/group", 0o644, groups.as_bytes(), time);
    tar.file("etc/passwd", 0o644, users.as_bytes(), time);
    tar.file(
        "etc/ssl/certs/ca-certificates.crt",
        0o644,
        authorities().as_bytes(),
        time,
    );
    let mut folders = BTreeSet::new();
    for (path, bytes) in libraries {
        for (at, _) in path.match_indices('/') {
            let folder = &path[..=at];
            if folders.insert(folder) {
                tar.folder(folder, 0o755, 0, time);
            }
        }
        tar.file(path, 0o755, bytes, time);
    }
    tar.file("roadstead", 0o755, binary, time);
    tar.folder("tmp/", 0o1777, 0, time);
    tar.end()
}

fn gzip(bytes: &[u8], how: flate2::Compression) -> Vec<u8> {
    let mut out = flate2::GzBuilder::new().mtime(0).write(Vec::new(), how);
    // writing to memory does not fail
    let _ = out.write_all(bytes);
    out.finish().unwrap_or_default()
}

fn stamp(time: i64) -> String {
    roadstead_model::Time(time.saturating_mul(1000)).seconds()
}

impl Platform {
    /// Builds it.
    pub(super) fn build(arch: &str, binary: &[u8], parts: &Parts, time: i64) -> Self {
        let tar = layer(binary, &[], time);
        Self::of(arch, &tar, parts, time, flate2::Compression::best())
    }

    /// Builds one for tests: of a program that wants a loader and libraries, in little time.
    pub(super) fn for_tests(arch: &str, binary: &[u8], libraries: &[(String, Vec<u8>)]) -> Self {
        let (tar, none) = (layer(binary, libraries, 0), Parts::default());
        Self::of(arch, &tar, &none, 0, flate2::Compression::none())
    }

    fn of(arch: &str, tar: &[u8], parts: &Parts, time: i64, how: flate2::Compression) -> Self {
        let mut blobs = Blobs::new();
        let inner = Digest::of(tar).to_string();
        let layer = keep(&mut blobs, LAYER, gzip(tar, how));
        let labels = json!({
            "org.opencontainers.image.title": NAME,
            "org.opencontainers.image.description": "Carries what is in Git to every Kubernetes cluster that should run it",
            "org.opencontainers.image.licenses": "Apache-2.0",
            "org.opencontainers.image.url": "https://roadstead.dev",
            "org.opencontainers.image.version": env!("CARGO_PKG_VERSION"),
        });
        let config = json!({
            "architecture": arch,
            "os": "linux",
            "created": stamp(time),
            "config": {
                "User": format!("{USER}:{USER}"),
                "Entrypoint": ["/roadstead"],
                "Env": ["PATH=/", "HOME=/tmp"],
                "WorkingDir": "/",
                "Labels": labels,
            },
            "rootfs": { "type": "layers", "diff_ids": [inner] },
            "history": [{ "created": stamp(time), "created_by": "cargo xtask image" }],
        });
        let config = keep(&mut blobs, CONFIG, base_json::canonical(&config));
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": config,
            "layers": [layer],
            "annotations": labels,
        });
        let mut manifest = keep(&mut blobs, MANIFEST, base_json::canonical(&manifest));
        // a registry shows it among the referrers of the image
        let list = keep(&mut blobs, PARTS, parts.json.clone());
        let empty = keep(&mut blobs, EMPTY, b"{}".to_vec());
        let refers = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "artifactType": PARTS,
            "config": empty,
            "layers": [list],
            "subject": manifest,
            "annotations": { "org.opencontainers.image.created": stamp(time) },
        });
        let mut refers = keep(&mut blobs, MANIFEST, base_json::canonical(&refers));
        refers["artifactType"] = json!(PARTS);
        manifest["platform"] = json!({ "architecture": arch, "os": "linux" });
        Self {
            blobs,
            manifest,
            parts: refers,
        }
    }

    /// How many bytes a node fetches.
    pub(super) fn size(&self) -> u64 {
        let sizes = |manifest: &Value| -> u64 {
            let parts = manifest["layers"].as_array().into_iter().flatten();
            let parts = parts.chain([&manifest["config"]]);
            parts.filter_map(|part| part["size"].as_u64()).sum()
        };
        let digest = self.manifest["digest"]
            .as_str()
            .and_then(|text| text.parse().ok());
        let bytes = digest.and_then(|digest: Digest| self.blobs.get(&digest));
        let manifest = bytes.and_then(|bytes| serde_json::from_slice(bytes).ok());
        sizes(&manifest.unwrap_or_default())
    }

    /// A layout of this architecture alone, in one file.
    pub(super) fn archive(&self) -> Vec<u8> {
        let mut manifest = self.manifest.clone();
        manifest["annotations"] = json!({
            "org.opencontainers.image.ref.name": env!("CARGO_PKG_VERSION"),
            "io.containerd.image.name": format!("registry.roadstead.dev/{NAME}:{}", env!("CARGO_PKG_VERSION")),
        });
        archive(&self.blobs, &[manifest])
    }
}

const VERSION: &[u8] = b"{\"imageLayoutVersion\":\"1.0.0\"}";

/// An image of one program and nothing else, under several names, in one file; for tests. The program stands in `/bin`
/// under other names too.
pub(crate) fn one_program(
    names: &[&str],
    binary: &[u8],
    entry: &[&str],
    aliases: &[&str],
) -> Vec<u8> {
    let mut tar = Tar::default();
    tar.file("program", 0o755, binary, 0);
    tar.folder("bin/", 0o755, 0, 0);
    for alias in aliases {
        tar.link(&format!("bin/{alias}"), "program", 0);
    }
    tar.folder("tmp/", 0o1777, 0, 0);
    let tar = tar.end();
    let mut blobs = Blobs::new();
    let inner = Digest::of(&tar).to_string();
    let packed = gzip(&tar, flate2::Compression::best());
    let layer = keep(&mut blobs, LAYER, packed);
    let config = json!({
        "architecture": arch_here(),
        "os": "linux",
        "config": { "User": format!("{USER}:{USER}"), "Entrypoint": entry, "Env": ["PATH=/bin"], "WorkingDir": "/" },
        "rootfs": { "type": "layers", "diff_ids": [inner] },
    });
    let config = keep(&mut blobs, CONFIG, base_json::canonical(&config));
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": config,
        "layers": [layer],
    });
    let manifest = keep(&mut blobs, MANIFEST, base_json::canonical(&manifest));
    let manifests: Vec<Value> = names
        .iter()
        .map(|name| {
            let mut one = manifest.clone();
            one["annotations"] = json!({ "io.containerd.image.name": name });
            one
        })
        .collect();
    archive(&blobs, &manifests)
}

/// The architecture of this machine, as OCI names it.
pub(super) fn arch_here() -> &'static str {
    match std::env::consts::ARCH {
        "aarch64" => "arm64",
        _ => "amd64",
    }
}

/// A layout in one file.
fn archive(blobs: &Blobs, manifests: &[Value]) -> Vec<u8> {
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests });
    let mut tar = Tar::default();
    tar.folder("blobs/", 0o755, 0, 0);
    tar.folder("blobs/sha256/", 0o755, 0, 0);
    for (digest, bytes) in blobs {
        tar.file(&format!("blobs/sha256/{}", digest.hex()), 0o644, bytes, 0);
    }
    tar.file("index.json", 0o644, &base_json::canonical(&index), 0);
    tar.file("oci-layout", 0o644, VERSION, 0);
    tar.end()
}

/// All architectures.
#[derive(Default)]
pub(super) struct Layout {
    blobs: Blobs,
    images: Vec<Value>,
    parts: Vec<Value>,
}

impl Layout {
    /// Adds one.
    pub(super) fn add(&mut self, image: Platform) {
        self.blobs.extend(image.blobs);
        self.images.push(image.manifest);
        self.parts.push(image.parts);
    }

    /// Writes the layout; returns the digest of the image of all architectures.
    pub(super) fn write(mut self, folder: &Path) -> anyhow::Result<String> {
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": self.images });
        let mut image = keep(&mut self.blobs, INDEX, base_json::canonical(&index));
        let digest = image["digest"].as_str().unwrap_or_default().to_owned();
        image["annotations"] =
            json!({ "org.opencontainers.image.ref.name": env!("CARGO_PKG_VERSION") });
        let manifests: Vec<Value> = std::iter::once(image).chain(self.parts).collect();
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests });
        let blobs = folder.join("blobs/sha256");
        std::fs::create_dir_all(&blobs)
            .with_context(|| format!("failed to make {}", blobs.display()))?;
        for (digest, bytes) in &self.blobs {
            write(&blobs.join(digest.hex()), bytes)?;
        }
        write(&folder.join("index.json"), &base_json::canonical(&index))?;
        write(&folder.join("oci-layout"), VERSION)?;
        Ok(digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_parts_give_the_same_bytes_and_every_name_leads_somewhere() {
        let parts = Parts {
            json: b"{}".to_vec(),
            count: 0,
        };
        let build = || Platform::build("amd64", b"program", &parts, 1_000_000_000);
        assert_eq!(build().archive(), build().archive());
        let mut layout = Layout::default();
        layout.add(build());
        let folder = std::env::temp_dir().join(format!("roadstead-oci-{}", std::process::id()));
        let digest = layout.write(&folder).unwrap();
        let mut next = vec![digest];
        let mut seen = 0;
        let top: Value =
            serde_json::from_slice(&std::fs::read(folder.join("index.json")).unwrap()).unwrap();
        let named = |value: &Value| -> Vec<String> {
            let mut out = Vec::new();
            for key in ["manifests", "layers"] {
                let list = value[key].as_array().into_iter().flatten();
                out.extend(list.filter_map(|one| Some(one["digest"].as_str()?.to_owned())));
            }
            for key in ["config", "subject"] {
                out.extend(value[key]["digest"].as_str().map(str::to_owned));
            }
            out
        };
        next.extend(named(&top));
        while let Some(digest) = next.pop() {
            let hex = digest.strip_prefix("sha256:").unwrap();
            let bytes = std::fs::read(folder.join("blobs/sha256").join(hex)).unwrap();
            assert_eq!(Digest::of(&bytes).to_string(), digest);
            seen += 1;
            if let Ok(value) = serde_json::from_slice::<Value>(&bytes) {
                next.extend(named(&value));
            }
        }
        std::fs::remove_dir_all(&folder).unwrap();
        assert!(seen >= 8, "{seen}");
    }
}
