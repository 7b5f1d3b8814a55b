//! Files to a chart: folders, archives, charts in charts.

mod archive;
mod gomatch;
mod ignore;
mod meta;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Map, Value};

pub use meta::{Dependency, Maintainer, Metadata};

use crate::diag::{Code, Diagnostic, Diagnostics};
use crate::values::layers;
use crate::yaml::Failure;
use crate::{Dialect, Limits};
use archive::{Budget, Refusal};

/// One file of a chart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its path from the chart's root.
    pub path: String,
    /// What is in it.
    pub data: Bytes,
}

/// A chart's files, unpacked, and nothing read of them yet.
#[derive(Debug, Clone)]
pub struct Chart {
    files: Vec<File>,
    from_archive: bool,
}

impl Chart {
    /// Takes the files of a folder by their paths from the chart's root. What `.helmignore` names is left out.
    pub fn from_files<B: AsRef<[u8]>>(
        files: &BTreeMap<String, B>,
        limits: &Limits,
    ) -> Result<Self, Diagnostics> {
        let rules = match files.get(ignore::FILE) {
            None => ignore::Rules::default(),
            Some(text) => {
                let text = String::from_utf8_lossy(text.as_ref());
                ignore::Rules::parse(&text)
                    .map_err(|why| Diagnostic::helm(Code::Chart, why).at(ignore::FILE, 0, 0))?
            }
        }
        .with_defaults();
        let mut paths: Vec<&String> = files.keys().collect();
        // Helm walks folder by folder, where `crds/x` comes before `crds-old/x`.
        paths.sort_by(|one, other| one.split('/').cmp(other.split('/')));
        let mut budget = Budget::new(limits);
        let mut taken = Vec::new();
        for path in paths {
            if rules.ignores_file(path) {
                continue;
            }
            let data = files[path].as_ref();
            if data.len() as u64 > limits.file_bytes {
                let name = path.rsplit('/').next().unwrap_or(path);
                let text = format!(
                    "chart file {name:?} is larger than the maximum file size {}",
                    limits.file_bytes
                );
                return Err(Diagnostic::helm(Code::Limit, text).at(path, 0, 0).into());
            }
            budget
                .take(data.len() as u64, limits)
                .map_err(|refusal| refused(refusal, path))?;
            taken.push(File {
                path: path.clone(),
                data: archive::without_mark(Bytes::copy_from_slice(data)),
            });
        }
        Ok(Self {
            files: taken,
            from_archive: false,
        })
    }

    /// Unpacks an archive (`.tgz`); `name` is what messages call it.
    pub fn from_archive(name: &str, bytes: &[u8], limits: &Limits) -> Result<Self, Diagnostics> {
        if !archive::is_gzip(bytes) {
            let helm = if name.ends_with(".yml") || name.ends_with(".yaml") {
                format!("file '{name}' seems to be a YAML file, but expected a gzipped archive")
            } else {
                format!(
                    "file '{name}' does not appear to be a gzipped archive; got '{}'",
                    content_type(bytes)
                )
            };
            return Err(Diagnostic::helm(Code::Archive, helm).at(name, 0, 0).into());
        }
        let files = archive::unpack(bytes, limits, &mut Budget::new(limits))
            .map_err(|refusal| refused(refusal, name))?;
        Ok(Self {
            files,
            from_archive: true,
        })
    }

    /// The chart's files.
    pub fn files(&self) -> &[File] {
        &self.files
    }

    /// Reads the chart and the charts in it.
    pub(crate) fn load(&self, dialect: Dialect, limits: &Limits) -> Result<Loaded, Diagnostics> {
        self.check_version(dialect)?;
        let mut loader = Loader {
            dialect,
            limits,
            budget: Budget::new(limits),
        };
        let loaded = loader
            .chart(self.files.clone(), "", 0)
            .map_err(|error| *error)?;
        Ok(loaded)
    }

    /// Helm 4 looks at the `apiVersion` first.
    fn check_version(&self, dialect: Dialect) -> Result<(), Diagnostics> {
        if dialect.is_3() {
            return Ok(());
        }
        let Some(file) = self.files.iter().find(|file| file.path == CHART) else {
            let helm = if self.from_archive {
                "unable to detect chart version, no Chart.yaml found"
            } else {
                "unable to detect chart at Chart.yaml: open Chart.yaml: no such file or directory"
            };
            return Err(Diagnostic::new(Code::Chart, "Chart.yaml file is missing", helm).into());
        };
        let version = meta::base_version(&file.data).map_err(|failure| {
            unread(
                Code::Metadata,
                "cannot load Chart.yaml",
                failure,
                CHART,
                &file.data,
            )
        })?;
        let helm = match version.as_str() {
            "" | "v1" | "v2" => return Ok(()),
            "v3" => "invalid chart apiVersion",
            _ => "unsupported chart version",
        };
        Err(Diagnostic::new(
            Code::Metadata,
            format!("apiVersion {version:?} is not supported: expected \"v1\" or \"v2\""),
            helm,
        )
        .at(CHART, 0, 0)
        .into())
    }
}

const CHART: &str = "Chart.yaml";

/// A chart that was read, with the charts in it.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) metadata: Metadata,
    pub(crate) templates: Vec<File>,
    /// What templates see as `.Files`, and the CRDs.
    pub(crate) files: Arc<Vec<File>>,
    pub(crate) values: Map<String, Value>,
    pub(crate) schema: Option<Bytes>,
    pub(crate) dependencies: Vec<Arc<Loaded>>,
    /// Where the chart lies in the outermost one: `charts/x/`, or nothing.
    pub(crate) folder: String,
    /// The values file as it is, to say which line sets what.
    pub(crate) values_text: Option<Bytes>,
}

/// Why a chart in charts could not be read.
type LoadError = Box<Diagnostic>;

struct Loader<'a> {
    dialect: Dialect,
    limits: &'a Limits,
    budget: Budget,
}

impl Loader<'_> {
    fn chart(&mut self, files: Vec<File>, folder: &str, depth: usize) -> Result<Loaded, LoadError> {
        let within = |path: &str| format!("{folder}{path}");
        if depth > self.limits.chart_depth {
            let text = format!(
                "charts lie in charts more than {} deep",
                self.limits.chart_depth
            );
            return Err(Diagnostic::helm(Code::Limit, text).at(folder, 0, 0).into());
        }
        let mut raw = meta::Raw::default();
        let mut has_metadata = false;
        for file in files.iter().filter(|file| file.path == CHART) {
            has_metadata = true;
            raw.read(&file.data, self.dialect).map_err(|failure| {
                let file_name = within(CHART);
                unread(
                    Code::Metadata,
                    "cannot load Chart.yaml",
                    failure,
                    &file_name,
                    &file.data,
                )
            })?;
        }
        let mut loaded = Loaded {
            metadata: Metadata::default(),
            templates: Vec::new(),
            files: Arc::default(),
            values: Map::new(),
            schema: None,
            dependencies: Vec::new(),
            folder: folder.to_owned(),
            values_text: None,
        };
        let mut others = Vec::new();
        // by the name of the folder or archive in charts/
        let mut nested: BTreeMap<String, Vec<File>> = BTreeMap::new();
        for file in files {
            let failed = |what: &str, failure| {
                unread(
                    Code::Metadata,
                    what,
                    failure,
                    &within(&file.path),
                    &file.data,
                )
            };
            match file.path.as_str() {
                CHART => {}
                "Chart.lock" => meta::check_lock(&file.data, self.dialect)
                    .map_err(|failure| failed("cannot load Chart.lock", failure))?,
                "values.yaml" => {
                    loaded.values = layers::read(&file.data, self.dialect).map_err(|failure| {
                        let file_name = within(&file.path);
                        let what = "cannot load values.yaml";
                        unread(Code::Values, what, failure, &file_name, &file.data)
                    })?;
                    loaded.values_text = Some(file.data);
                }
                "values.schema.json" => loaded.schema = Some(file.data),
                "requirements.yaml" => {
                    raw.read(&file.data, self.dialect)
                        .map_err(|failure| failed("cannot load requirements.yaml", failure))?;
                    has_metadata = true;
                    if raw.api_version() == "v1" {
                        others.push(file);
                    }
                }
                "requirements.lock" => {
                    meta::check_lock(&file.data, self.dialect)
                        .map_err(|failure| failed("cannot load requirements.lock", failure))?;
                    has_metadata = true;
                    if raw.api_version() == "v1" {
                        others.push(file);
                    }
                }
                path if path.starts_with("templates/") => loaded.templates.push(file),
                path => match path.strip_prefix("charts/") {
                    Some(inner) if extension(path) != ".prov" => {
                        let name = inner.split('/').next().unwrap_or(inner).to_owned();
                        nested.entry(name).or_default().push(File {
                            path: inner.to_owned(),
                            data: file.data,
                        });
                    }
                    _ => others.push(file),
                },
            }
        }
        if !has_metadata {
            return Err(Diagnostic::helm(Code::Chart, "Chart.yaml file is missing")
                .at(within(CHART), 0, 0)
                .into());
        }
        loaded.metadata = raw.validate().map_err(|why| {
            Diagnostic::new(Code::Metadata, why.clone(), format!("validation: {why}")).at(
                within(CHART),
                0,
                0,
            )
        })?;
        loaded.files = Arc::new(others);
        for (name, files) in nested {
            if name.starts_with(['_', '.']) {
                continue;
            }
            let chart = self
                .nested(&name, files, folder, &loaded.metadata.name, depth)
                .map_err(|mut error| {
                    let helm = &mut error.helm_compat;
                    if !helm.starts_with("error unpacking subchart tar in ") {
                        *helm = format!(
                            "error unpacking subchart {name} in {}: {helm}",
                            loaded.metadata.name
                        );
                    }
                    error
                })?;
            loaded.dependencies.push(Arc::new(chart));
        }
        Ok(loaded)
    }

    /// One folder or archive in `charts/`.
    fn nested(
        &mut self,
        name: &str,
        files: Vec<File>,
        folder: &str,
        parent: &str,
        depth: usize,
    ) -> Result<Loaded, LoadError> {
        let inner_folder = format!("{folder}charts/{name}/");
        if extension(name) == ".tgz" {
            let Some(file) = files.into_iter().next() else {
                return Err(Diagnostic::helm(Code::Archive, "no files in chart archive").into());
            };
            let path = format!("{folder}charts/{}", file.path);
            if file.path != name {
                let helm = format!(
                    "error unpacking subchart tar in {parent}: expected {name}, got {}",
                    file.path
                );
                return Err(Diagnostic::helm(Code::Archive, helm).at(path, 0, 0).into());
            }
            let files = archive::unpack(&file.data, self.limits, &mut self.budget)
                .map_err(|refusal| refused(refusal, &path))?;
            return self.chart(files, &inner_folder, depth + 1);
        }
        let files = files
            .into_iter()
            .filter_map(|file| {
                let (_, path) = file.path.split_once('/')?;
                Some(File {
                    path: path.to_owned(),
                    data: file.data,
                })
            })
            .collect();
        self.chart(files, &inner_folder, depth + 1)
    }
}

/// The end of a file's name from its last dot on.
fn extension(path: &str) -> &str {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.rfind('.').map_or("", |at| &name[at..])
}

/// Says that a YAML file could not be read.
pub(crate) fn unread(
    code: Code,
    what: &str,
    failure: Failure,
    file: &str,
    data: &[u8],
) -> Diagnostic {
    Diagnostic::new(
        code,
        format!("{what}: {}", failure.message),
        format!("{what}: {}", failure.helm),
    )
    .at(file, failure.line, failure.column)
    .showing(&String::from_utf8_lossy(data))
}

fn refused(refusal: Refusal, file: &str) -> Diagnostic {
    match refusal {
        Refusal::Archive(helm) => Diagnostic::helm(Code::Archive, helm),
        Refusal::Limit(helm) => Diagnostic::helm(Code::Limit, helm),
    }
    .at(file, 0, 0)
}

/// What Go's sniffer calls bytes that are no archive, as far as charts are mistaken for something.
fn content_type(bytes: &[u8]) -> &'static str {
    let start = &bytes[..bytes.len().min(512)];
    let binary = |byte: &u8| matches!(byte, 0..=8 | 0x0b | 0x0e..=0x1a | 0x1c..=0x1f);
    if start.starts_with(b"PK\x03\x04") {
        "application/zip"
    } else if start.iter().any(binary) {
        "application/octet-stream"
    } else {
        "text/plain; charset=utf-8"
    }
}
