//! `Chart.yaml`, `requirements.yaml` and the lock files.

use serde_json::{Map, Value};

use crate::yaml::{self, Failure, Struct, Type};
use crate::{Dialect, semver};

/// What a chart says of itself. Field names are Helm's.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Metadata {
    /// The name; an alias, where the chart is a dependency with one.
    pub name: String,
    /// A page on the project.
    pub home: String,
    /// Where the sources are.
    pub sources: Option<Vec<String>>,
    /// The chart's version.
    pub version: String,
    /// One sentence.
    pub description: String,
    /// Words to search for.
    pub keywords: Option<Vec<String>>,
    /// Who maintains it.
    pub maintainers: Option<Vec<Maintainer>>,
    /// An icon's URL.
    pub icon: String,
    /// `v1` or `v2`.
    pub api_version: String,
    /// Unused by Helm.
    pub condition: String,
    /// Unused by Helm.
    pub tags: String,
    /// The version of what is in the chart.
    pub app_version: String,
    /// Whether it should not be used any more.
    pub deprecated: bool,
    /// Free notes.
    pub annotations: Option<Vec<(String, String)>>,
    /// The versions of Kubernetes that it is made for.
    pub kube_version: String,
    /// The charts that it needs.
    pub dependencies: Option<Vec<Dependency>>,
    /// `application`, `library` or nothing.
    pub kind: String,
}

impl Metadata {
    /// Whether it only lends its named templates.
    pub fn is_library(&self) -> bool {
        self.kind.eq_ignore_ascii_case("library")
    }
}

/// One who maintains a chart.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Maintainer {
    /// Their name.
    pub name: String,
    /// Their address.
    pub email: String,
    /// Their page.
    pub url: String,
}

/// A chart that another one needs.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Dependency {
    /// Its name.
    pub name: String,
    /// The versions that will do.
    pub version: String,
    /// Where it can be had.
    pub repository: String,
    /// Paths of values; the first that holds a boolean says whether it is wanted.
    pub condition: String,
    /// Groups that can be switched on and off together.
    pub tags: Option<Vec<String>>,
    /// Whether it is wanted; found out while rendering.
    pub enabled: bool,
    /// Which of its values the parent takes over.
    pub import_values: Option<Vec<Value>>,
    /// What it is called here.
    pub alias: String,
}

const MAINTAINER: Struct = Struct {
    name: "Maintainer",
    fields: &[
        ("name", Type::Text),
        ("email", Type::Text),
        ("url", Type::Text),
    ],
};

const DEPENDENCY: Struct = Struct {
    name: "Dependency",
    fields: &[
        ("name", Type::Text),
        ("version", Type::Text),
        ("repository", Type::Text),
        ("condition", Type::Text),
        ("tags", Type::List(&Type::Text)),
        ("enabled", Type::Bool),
        ("import-values", Type::List(&Type::Any)),
        ("alias", Type::Text),
    ],
};

const METADATA: Struct = Struct {
    name: "Metadata",
    fields: &[
        ("name", Type::Text),
        ("home", Type::Text),
        ("sources", Type::List(&Type::Text)),
        ("version", Type::Text),
        ("description", Type::Text),
        ("keywords", Type::List(&Type::Text)),
        ("maintainers", Type::List(&Type::Struct(&MAINTAINER))),
        ("icon", Type::Text),
        ("apiVersion", Type::Text),
        ("condition", Type::Text),
        ("tags", Type::Text),
        ("appVersion", Type::Text),
        ("deprecated", Type::Bool),
        ("annotations", Type::Map(&Type::Text)),
        ("kubeVersion", Type::Text),
        ("dependencies", Type::List(&Type::Struct(&DEPENDENCY))),
        ("type", Type::Text),
    ],
};

const LOCK: Struct = Struct {
    name: "Lock",
    fields: &[
        ("generated", Type::Time),
        ("digest", Type::Text),
        ("dependencies", Type::List(&Type::Struct(&DEPENDENCY))),
    ],
};

/// The part of `Chart.yaml` that says which kind of chart it is.
const BASE: Struct = Struct {
    name: "chartBase",
    fields: &[("apiVersion", Type::Text)],
};

/// The raw fields of a chart's metadata, before they are checked.
#[derive(Debug, Default)]
pub(crate) struct Raw(Map<String, Value>);

impl Raw {
    /// Reads `Chart.yaml` or `requirements.yaml` over what is there.
    pub(crate) fn read(&mut self, bytes: &[u8], dialect: Dialect) -> Result<(), Failure> {
        let package = package(dialect);
        if let Value::Object(fields) =
            yaml::fit(yaml::read(bytes)?, Type::Struct(&METADATA), package)?
        {
            self.0.extend(fields);
        }
        Ok(())
    }

    pub(crate) fn api_version(&self) -> &str {
        match text(&self.0, "apiVersion") {
            "" => "v1",
            version => version,
        }
    }

    /// Checks the metadata; the error is Helm's.
    pub(crate) fn validate(&self) -> Result<Metadata, String> {
        let fields = &self.0;
        let clean = |name| sanitize(text(fields, name));
        let clean_list =
            |name| texts(fields, name).map(|list| list.iter().map(|it| sanitize(it)).collect());
        let metadata = Metadata {
            name: clean("name"),
            home: clean("home"),
            sources: clean_list("sources"),
            version: text(fields, "version").to_owned(),
            description: clean("description"),
            keywords: clean_list("keywords"),
            maintainers: None,
            icon: clean("icon"),
            api_version: self.api_version().to_owned(),
            condition: clean("condition"),
            tags: clean("tags"),
            app_version: clean("appVersion"),
            deprecated: fields.get("deprecated").and_then(Value::as_bool) == Some(true),
            annotations: fields
                .get("annotations")
                .and_then(Value::as_object)
                .map(|map| {
                    map.iter()
                        .map(|(key, value)| (key.clone(), value.as_str().unwrap_or("").to_owned()))
                        .collect()
                }),
            kube_version: clean("kubeVersion"),
            dependencies: None,
            kind: text(fields, "type").to_owned(),
        };
        let Metadata { name, version, .. } = &metadata;
        if name.is_empty() {
            return Err("chart.metadata.name is required".to_owned());
        }
        if name == "." || name == ".." {
            return Err(format!("chart.metadata.name {name:?} is not allowed"));
        }
        if name.contains('/') {
            return Err(format!("chart.metadata.name {name:?} is invalid"));
        }
        if version.is_empty() {
            return Err("chart.metadata.version is required".to_owned());
        }
        if !semver::is_version(version) {
            return Err(format!("chart.metadata.version {version:?} is invalid"));
        }
        if !["", "application", "library"].contains(&metadata.kind.as_str()) {
            return Err("chart.metadata.type must be application or library".to_owned());
        }
        Ok(Metadata {
            maintainers: self.maintainers()?,
            dependencies: dependencies(fields.get("dependencies"))?,
            ..metadata
        })
    }

    fn maintainers(&self) -> Result<Option<Vec<Maintainer>>, String> {
        let Some(list) = self.0.get("maintainers").and_then(Value::as_array) else {
            return Ok(None);
        };
        let mut out = Vec::new();
        for one in list {
            let one = one
                .as_object()
                .ok_or("maintainers must not contain empty or null nodes")?;
            let clean = |name| sanitize(text(one, name));
            out.push(Maintainer {
                name: clean("name"),
                email: clean("email"),
                url: clean("url"),
            });
        }
        Ok(Some(out))
    }
}

fn dependencies(list: Option<&Value>) -> Result<Option<Vec<Dependency>>, String> {
    let Some(list) = list.and_then(Value::as_array) else {
        return Ok(None);
    };
    let mut out: Vec<Dependency> = Vec::new();
    for one in list {
        let one = one
            .as_object()
            .ok_or("dependencies must not contain empty or null nodes")?;
        let clean = |name| sanitize(text(one, name));
        let dependency = Dependency {
            name: clean("name"),
            version: clean("version"),
            repository: clean("repository"),
            condition: clean("condition"),
            tags: texts(one, "tags").map(|list| list.iter().map(|it| sanitize(it)).collect()),
            enabled: one.get("enabled").and_then(Value::as_bool) == Some(true),
            import_values: one.get("import-values").and_then(Value::as_array).cloned(),
            alias: text(one, "alias").to_owned(),
        };
        let allowed = |char: char| char.is_ascii_alphanumeric() || char == '_' || char == '-';
        if !dependency.alias.chars().all(allowed) {
            return Err(format!(
                "dependency {:?} has disallowed characters in the alias",
                dependency.name
            ));
        }
        let known_as = |it: &Dependency| {
            if it.alias.is_empty() {
                it.name.clone()
            } else {
                it.alias.clone()
            }
        };
        let key = known_as(&dependency);
        if out.iter().any(|other| known_as(other) == key) {
            return Err(format!(
                "more than one dependency with name or alias {key:?}"
            ));
        }
        out.push(dependency);
    }
    Ok(Some(out))
}

/// Reads a lock file only to see whether Helm could.
pub(crate) fn check_lock(bytes: &[u8], dialect: Dialect) -> Result<(), Failure> {
    let lock = yaml::fit(yaml::read(bytes)?, Type::Struct(&LOCK), package(dialect))?;
    let Some(generated) = lock.get("generated").and_then(Value::as_str) else {
        return Ok(());
    };
    if is_rfc3339(generated) {
        return Ok(());
    }
    let shown = format!("{generated:?}");
    Err(Failure {
        helm: format!(
            "error unmarshaling JSON: while decoding JSON: parsing time {shown} as \"2006-01-02T15:04:05Z07:00\": cannot parse {shown} as \"2006\""
        ),
        message: format!("\"generated\" is no time: {shown}"),
        line: 0,
        column: 0,
    })
}

/// The `apiVersion` alone, as Helm 4 reads it before anything else.
pub(crate) fn base_version(bytes: &[u8]) -> Result<String, Failure> {
    let base = yaml::fit(yaml::read(bytes)?, Type::Struct(&BASE), "loader")?;
    Ok(base
        .get("apiVersion")
        .and_then(Value::as_str)
        .unwrap_or("")
        .to_owned())
}

/// The Go package of the chart's types.
fn package(dialect: Dialect) -> &'static str {
    if dialect.is_3() { "chart" } else { "v2" }
}

fn text<'a>(fields: &'a Map<String, Value>, name: &str) -> &'a str {
    fields.get(name).and_then(Value::as_str).unwrap_or("")
}

/// A list of strings; null in it is an empty one.
fn texts(fields: &Map<String, Value>, name: &str) -> Option<Vec<String>> {
    let list = fields.get(name)?.as_array()?;
    Some(
        list.iter()
            .map(|it| it.as_str().unwrap_or("").to_owned())
            .collect(),
    )
}

/// Blanks become spaces, and what cannot be printed goes.
fn sanitize(text: &str) -> String {
    text.chars()
        .filter_map(|char| {
            if char.is_whitespace() {
                Some(' ')
            } else {
                printable(char).then_some(char)
            }
        })
        .collect()
}

/// Whether Go calls a character printable: neither control, format, private nor unassigned.
fn printable(char: char) -> bool {
    !char.is_control()
        && !matches!(char,
            '\u{ad}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{8e2}' | '\u{180e}'
            | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{e000}'..='\u{f8ff}'
            | '\u{feff}' | '\u{fff0}'..='\u{fffb}' | '\u{fffe}'..='\u{ffff}' | '\u{e0000}'..='\u{10ffff}')
}

fn is_rfc3339(text: &str) -> bool {
    let bytes = text.as_bytes();
    let digits = |range: std::ops::Range<usize>| {
        bytes
            .get(range)
            .is_some_and(|part| part.iter().all(u8::is_ascii_digit))
    };
    let marks = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
    let date = [0..4, 5..7, 8..10, 11..13, 14..16, 17..19]
        .into_iter()
        .all(digits)
        && marks.iter().all(|&(at, mark)| bytes.get(at) == Some(&mark));
    if !date {
        return false;
    }
    let mut zone = &text[19..];
    if let Some(fraction) = zone.strip_prefix(['.', ',']) {
        zone = fraction.trim_start_matches(|char: char| char.is_ascii_digit());
        if zone.len() == fraction.len() {
            return false;
        }
    }
    zone == "Z"
        || (zone.len() == 6
            && zone.starts_with(['+', '-'])
            && zone.as_bytes()[3] == b':'
            && zone
                .bytes()
                .enumerate()
                .all(|(at, byte)| at == 0 || at == 3 || byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(yaml: &str, wanted: Result<(), &str>) {
        let mut raw = Raw::default();
        raw.read(yaml.as_bytes(), Dialect::HELM_4).unwrap();
        assert_eq!(
            raw.validate().map(drop),
            wanted.map_err(str::to_owned),
            "{yaml}"
        );
    }

    #[test]
    fn metadata_is_checked() {
        check("name: a\nversion: 1.0.0", Ok(()));
        check("name: a\nversion: 1", Ok(()));
        check("version: 1", Err("chart.metadata.name is required"));
        check("name: a", Err("chart.metadata.version is required"));
        check(
            "name: ..\nversion: 1",
            Err("chart.metadata.name \"..\" is not allowed"),
        );
        check(
            "name: a/b\nversion: 1",
            Err("chart.metadata.name \"a/b\" is invalid"),
        );
        check(
            "name: a\nversion: x",
            Err("chart.metadata.version \"x\" is invalid"),
        );
        check(
            "name: a\nversion: 1\ntype: x",
            Err("chart.metadata.type must be application or library"),
        );
        check(
            "name: a\nversion: 1\nmaintainers: [null]",
            Err("maintainers must not contain empty or null nodes"),
        );
        check(
            "name: a\nversion: 1\ndependencies: [{name: x, alias: 'a b'}]",
            Err("dependency \"x\" has disallowed characters in the alias"),
        );
        check(
            "name: a\nversion: 1\ndependencies: [{name: x}, {name: y, alias: x}]",
            Err("more than one dependency with name or alias \"x\""),
        );
    }

    #[test]
    fn a_version_that_yaml_reads_as_a_number_is_taken_as_helm_does() {
        let mut raw = Raw::default();
        raw.read(
            b"name: \"a\\u00a0b\\u0007\"\nversion: 1.10",
            Dialect::HELM_4,
        )
        .unwrap();
        let metadata = raw.validate().unwrap();
        assert_eq!(metadata.version, "1.1");
        assert_eq!(metadata.name, "a b");
        assert_eq!(metadata.api_version, "v1");
    }

    #[test]
    fn locks_need_a_time() {
        let check = |text: &str| check_lock(text.as_bytes(), Dialect::HELM_4).is_ok();
        assert!(check(
            "generated: \"2026-01-02T03:04:05.678+02:00\"\ndigest: x"
        ));
        assert!(check("generated: 2026-01-02T03:04:05Z"));
        assert!(check(""));
        assert!(!check("generated: yesterday"));
        assert!(!check("digest: []"));
    }
}
