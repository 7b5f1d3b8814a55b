//! What Kubernetes refuses of parts of pods: what fields name, handlers, sources of volumes, ports of the host.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

use k8s_apply::schema::{Quantity, Schemas};
use serde_json::{Value, json};

use super::checks::{self, Rules};
use super::rules::{items, text};
use crate::registry::words::{self, Form};
use crate::{FieldError, FieldProblem};

/// What a container's environment may name of its pod.
const IN_ENVIRONMENT: [&str; 9] = [
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];

/// What a volume may name of its pod.
const IN_VOLUME: [&str; 5] = [
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
];

/// What may be named somewhere.
const ANYWHERE: [&str; 14] = [
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.serviceAccountName",
    "spec.schedulerName",
    "status.phase",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];

/// Splits `metadata.labels['app']`.
fn subscript(path: &str) -> Option<(&str, &str)> {
    let (field, key) = path.strip_suffix("']")?.split_once("['")?;
    (!field.is_empty()).then_some((field, key))
}

fn field_of_pod(named: &Value, known: &[&str], at: &str, errors: &mut Vec<FieldError>) {
    for field in ["apiVersion", "fieldPath"] {
        if text(&named[field]).is_empty() {
            errors.push(FieldError::required(format!("{at}.{field}"), ""));
            return;
        }
    }
    let (version, path) = (text(&named["apiVersion"]), text(&named["fieldPath"]));
    let split = subscript(path);
    let converted = match split {
        _ if version != "v1" => Err(format!("unsupported pod version: {version}")),
        Some(("metadata.annotations" | "metadata.labels", _)) => Ok(path),
        Some(_) => Err(format!("field label does not support subscript: {path}")),
        None if path == "spec.host" => Ok("spec.nodeName"),
        None if ANYWHERE.contains(&path) => Ok(path),
        None => Err(format!("field label not supported: {path}")),
    };
    let place = format!("{at}.fieldPath");
    match (converted, split) {
        (Err(why), _) => errors.push(FieldError::invalid(
            place,
            json!(path),
            format!("error converting fieldPath: {why}"),
        )),
        (Ok(_), Some((field, key))) => {
            let key = match field {
                "metadata.annotations" => key.to_lowercase(),
                _ => key.to_owned(),
            };
            for problem in words::qualified(&key) {
                errors.push(FieldError::invalid(at, json!(key), problem));
            }
        }
        (Ok(path), None) if !known.contains(&path) => {
            errors.push(FieldError::not_supported(place, json!(path), known));
        }
        (Ok(_), None) => {}
    }
}

fn resource_of_container(named: &Value, at: &str, volume: bool, errors: &mut Vec<FieldError>) {
    const KNOWN: [&str; 6] = [
        "limits.cpu",
        "limits.ephemeral-storage",
        "limits.memory",
        "requests.cpu",
        "requests.ephemeral-storage",
        "requests.memory",
    ];
    let resource = text(&named["resource"]);
    let pages = ["limits.hugepages-", "requests.hugepages-"]
        .iter()
        .any(|prefix| resource.starts_with(prefix));
    if volume && text(&named["containerName"]).is_empty() {
        errors.push(FieldError::required(format!("{at}.containerName"), ""));
    } else if resource.is_empty() {
        errors.push(FieldError::required(format!("{at}.resource"), ""));
    } else if !KNOWN.contains(&resource) && !pages {
        let at = format!("{at}.resource");
        errors.push(FieldError::not_supported(at, json!(resource), &KNOWN));
    }
    let divisor = text(&named["divisor"]);
    let nothing = divisor.parse::<Quantity>().map_or(true, |it| it.is_zero());
    let (what, fits) = match resource.split_once('.').map(|(_, name)| name) {
        Some("cpu") => ("cpu", ["1m", "1"].contains(&divisor)),
        Some(name) if name == "memory" || name == "ephemeral-storage" || pages => {
            let unit = divisor.strip_prefix('1').unwrap_or("none");
            const UNITS: [&str; 13] = [
                "", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei",
            ];
            let what = match name {
                "memory" => "memory",
                "ephemeral-storage" => "local ephemeral storage",
                _ => "hugepages",
            };
            (what, UNITS.contains(&unit))
        }
        _ => return,
    };
    if !nothing && !fits {
        let values = match what {
            "cpu" => "1m and 1",
            _ => "1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei",
        };
        errors.push(FieldError::invalid(
            format!("{at}.divisor"),
            json!(resource),
            format!("only divisor's values {values} are supported with the {what} resource"),
        ));
    }
}

/// Where the environment of a container gets a value from.
pub(super) fn environment(container: &Value, at: &str, errors: &mut Vec<FieldError>) {
    for (index, entry) in items(&container["env"]).enumerate() {
        let from = &entry["valueFrom"];
        let Some(sources) = from.as_object() else {
            continue;
        };
        let at = format!("{at}.env[{index}].valueFrom");
        if from["fieldRef"].is_object() {
            let at = format!("{at}.fieldRef");
            field_of_pod(&from["fieldRef"], &IN_ENVIRONMENT, &at, errors);
        }
        if from["resourceFieldRef"].is_object() {
            let at = format!("{at}.resourceFieldRef");
            resource_of_container(&from["resourceFieldRef"], &at, false, errors);
        }
        let detail = match sources.len() {
            0 => {
                "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"
            }
            _ if !text(&entry["value"]).is_empty() => {
                "may not be specified when `value` is not empty"
            }
            1 => continue,
            _ => "may not have more than one field specified at a time",
        };
        errors.push(FieldError::invalid(at, json!(""), detail));
    }
    for entry in items(&container["envFrom"]) {
        let sources = ["configMapRef", "secretRef"];
        let detail = match sources.iter().filter(|one| !entry[**one].is_null()).count() {
            0 => "must specify one of: `configMapRef` or `secretRef`",
            1 => continue,
            _ => "may not have more than one field specified at a time",
        };
        let at = format!("{at}.envFrom");
        errors.push(FieldError::invalid(at, json!(""), detail));
    }
}

/// What is done to a container: probes, and what runs at its begin and end.
pub(super) fn handlers(container: &Value, at: &str, errors: &mut Vec<FieldError>) {
    const KNOWN: [&str; 5] = ["exec", "httpGet", "tcpSocket", "grpc", "sleep"];
    for (holder, place, names) in [
        (
            container,
            at.to_owned(),
            ["livenessProbe", "readinessProbe", "startupProbe"].as_slice(),
        ),
        (
            &container["lifecycle"],
            format!("{at}.lifecycle"),
            &["postStart", "preStop"],
        ),
    ] {
        for name in names {
            let handler = &holder[*name];
            if !handler.is_object() {
                continue;
            }
            let at = format!("{place}.{name}");
            let mut kinds = KNOWN.iter().filter(|known| !handler[**known].is_null());
            if kinds.next().is_none() {
                errors.push(FieldError::required(&at, "must specify a handler type"));
            }
            for more in kinds {
                let detail = "may not specify more than 1 handler type";
                // what is in vain is not looked at any closer
                let at = format!("{at}.{more}");
                errors.push(FieldError::forbidden(at, detail));
            }
            for header in items(&handler["httpGet"]["httpHeaders"]) {
                let name = text(&header["name"]);
                let known = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
                if name.is_empty() || !name.bytes().all(known) {
                    // which header it is the real one does not say
                    errors.push(FieldError::invalid(
                        format!("{at}.httpGet.httpHeaders"),
                        json!(name),
                        "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex used for validation is '[-A-Za-z0-9]+')",
                    ));
                }
            }
            let grace = &handler["terminationGracePeriodSeconds"];
            let grace_at = format!("{at}.terminationGracePeriodSeconds");
            if grace.as_i64().is_some_and(|grace| grace <= 0) {
                let detail = "must be greater than 0";
                errors.push(FieldError::invalid(&grace_at, grace.clone(), detail));
            }
            let successes = &handler["successThreshold"];
            match *name {
                "readinessProbe" if !grace.is_null() => {
                    let detail = "must not be set for readiness probes";
                    errors.push(FieldError::invalid(&grace_at, grace.clone(), detail));
                }
                "livenessProbe" | "startupProbe"
                    if successes.as_i64().is_some_and(|number| number != 1) =>
                {
                    let at = format!("{at}.successThreshold");
                    errors.push(FieldError::invalid(at, successes.clone(), "must be 1"));
                }
                _ => {}
            }
        }
    }
}

/// Ports of the host that these containers ask for twice.
pub(super) fn host_ports<'a>(
    containers: impl Iterator<Item = &'a Value>,
    at: &str,
    errors: &mut Vec<FieldError>,
) {
    let mut taken = BTreeSet::new();
    for (index, container) in containers.enumerate() {
        for (place, port) in items(&container["ports"]).enumerate() {
            let number = port["hostPort"].as_i64().unwrap_or(0);
            if number == 0 {
                continue;
            }
            let asked = format!(
                "{}/{}/{number}",
                text(&port["protocol"]),
                text(&port["hostIP"])
            );
            if !taken.insert(asked.clone()) {
                errors.push(FieldError::duplicate(
                    format!("{at}[{index}].ports[{place}].hostPort"),
                    json!(asked),
                ));
            }
        }
    }
}

/// The kinds of sources in the order in which they are looked at.
const SOURCES: [&str; 30] = [
    "emptyDir",
    "hostPath",
    "gitRepo",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "secret",
    "nfs",
    "iscsi",
    "glusterfs",
    "flocker",
    "persistentVolumeClaim",
    "rbd",
    "cinder",
    "cephfs",
    "quobyte",
    "downwardAPI",
    "fc",
    "flexVolume",
    "configMap",
    "azureFile",
    "vsphereVolume",
    "photonPersistentDisk",
    "portworxVolume",
    "azureDisk",
    "storageos",
    "projected",
    "scaleIO",
    "csi",
    "ephemeral",
    "image",
];

const MODE: &str = "must be a number between 0 and 0777 (octal), both inclusive";

fn mode(mode: &Value, at: String, errors: &mut Vec<FieldError>) {
    if mode
        .as_i64()
        .is_some_and(|mode| !(0..=0o777).contains(&mode))
    {
        errors.push(FieldError::invalid(at, mode.clone(), MODE));
    }
}

/// Finds what is wrong with a volume, beyond the table.
pub(super) fn volume(volume: &Value, at: &str, errors: &mut Vec<FieldError>) {
    let mut sources = SOURCES.iter().filter(|source| !volume[**source].is_null());
    if sources.next().is_none() {
        errors.push(FieldError::required(at, "must specify a volume type"));
    }
    for more in sources {
        let detail = "may not specify more than 1 volume type";
        errors.push(FieldError::forbidden(format!("{at}.{more}"), detail));
    }
    for source in ["configMap", "secret", "projected", "downwardAPI"] {
        let at = format!("{at}.{source}.defaultMode");
        mode(&volume[source]["defaultMode"], at, errors);
    }
    for file in items(&volume["downwardAPI"]["items"]) {
        downward_file(file, &format!("{at}.downwardAPI"), errors);
    }
    let whole = format!("{at}.projected");
    for (index, source) in items(&volume["projected"]["sources"]).enumerate() {
        let at = format!("{whole}.sources[{index}]");
        for file in items(&source["downwardAPI"]["items"]) {
            downward_file(file, &format!("{at}.downwardAPI"), errors);
        }
        let token = &source["serviceAccountToken"];
        if !token.is_object() {
            continue;
        }
        let seconds = token["expirationSeconds"].as_i64().unwrap_or(0);
        let detail = match seconds {
            ..600 => Some("may not specify a duration less than 10 minutes"),
            4_294_967_297.. => Some("may not specify a duration larger than 2^32 seconds"),
            _ => None,
        };
        if let Some(detail) = detail {
            let at = format!("{at}.serviceAccountToken.expirationSeconds");
            errors.push(FieldError::invalid(at, json!(seconds), detail));
        }
        path_of_file(&token["path"], format!("{whole}.path"), errors);
    }
}

fn path_of_file(path: &Value, at: String, errors: &mut Vec<FieldError>) {
    let path = text(path);
    if path.is_empty() {
        errors.push(FieldError::required(at, ""));
        return;
    }
    for problem in Form::InnerPath.problems(path) {
        errors.push(FieldError::invalid(&at, json!(path), problem));
    }
}

/// A file that tells of its pod; the real one does not say which of them it is.
fn downward_file(file: &Value, at: &str, errors: &mut Vec<FieldError>) {
    path_of_file(&file["path"], format!("{at}.path"), errors);
    match (
        file["fieldRef"].is_object(),
        file["resourceFieldRef"].is_object(),
    ) {
        (true, both) => {
            let place = format!("{at}.fieldRef");
            field_of_pod(&file["fieldRef"], &IN_VOLUME, &place, errors);
            if both {
                let detail = "fieldRef and resourceFieldRef can not be specified simultaneously";
                errors.push(FieldError::invalid(at, json!("resource"), detail));
            }
        }
        (false, true) => {
            let place = format!("{at}.resourceFieldRef");
            resource_of_container(&file["resourceFieldRef"], &place, true, errors);
        }
        (false, false) => errors.push(FieldError::required(
            at,
            "one of fieldRef and resourceFieldRef is required",
        )),
    }
    mode(&file["mode"], format!("{at}.mode"), errors);
}

/// Is anything wrong with a volume by the table? Nobody finds one that is refused.
pub(super) fn fits_table(volume: &Value) -> bool {
    static RULES: OnceLock<Arc<Rules>> = OnceLock::new();
    let rules = RULES.get_or_init(|| {
        let ty = Schemas::builtin().named("core.v1.Volume");
        ty.map(|ty| checks::of(&ty)).unwrap_or_default()
    });
    let mut errors = Vec::new();
    checks::run(rules, volume, "", &mut errors);
    errors.is_empty()
}

/// Where a container mounts its volumes.
pub(super) fn mounts(
    container: &Value,
    at: &str,
    volumes: &BTreeSet<&str>,
    errors: &mut Vec<FieldError>,
) {
    let mut paths = BTreeSet::new();
    for (index, mount) in items(&container["volumeMounts"]).enumerate() {
        let place = format!("{at}.volumeMounts[{index}]");
        let name = text(&mount["name"]);
        if !volumes.contains(name) {
            errors.push(FieldError::new(
                format!("{place}.name"),
                FieldProblem::NotFound,
                Some(json!(name)),
                "",
            ));
        }
        let path = text(&mount["mountPath"]);
        if !paths.insert(path) {
            let at = format!("{place}.mountPath");
            errors.push(FieldError::invalid(at, json!(path), "must be unique"));
        }
        let (inner, expression) = (text(&mount["subPath"]), text(&mount["subPathExpr"]));
        if !inner.is_empty() && !expression.is_empty() {
            let detail = "subPathExpr and subPath are mutually exclusive";
            let at = format!("{place}.subPathExpr");
            errors.push(FieldError::invalid(at, json!(expression), detail));
        }
        let shared = &mount["mountPropagation"];
        if !shared.is_null() {
            let at = format!("{at}.volumeMounts.mountPropagation");
            let known = ["Bidirectional", "HostToContainer", "None"];
            if !known.contains(&text(shared)) {
                errors.push(FieldError::not_supported(&at, shared.clone(), &known));
            }
            let privileged = container["securityContext"]["privileged"] == json!(true);
            if shared == "Bidirectional" && !privileged {
                let detail =
                    "Bidirectional mount propagation is available only to privileged containers";
                errors.push(FieldError::forbidden(at, detail));
            }
        }
        for (field, path) in [("subPath", inner), ("subPathExpr", expression)] {
            // which mount it is the real one does not say
            let at = format!("{at}.volumeMounts.{field}");
            if path.starts_with('/') {
                let detail = "must be a relative path";
                errors.push(FieldError::invalid(&at, json!(path), detail));
            }
            for problem in Form::NoParent.problems(path) {
                errors.push(FieldError::invalid(&at, json!(path), problem));
            }
        }
    }
}

/// A security context as Kubernetes shows it: under the names of its internal type.
fn shown(context: &Value) -> String {
    type Fields = &'static [(&'static str, &'static str, Inner)];
    #[derive(Clone, Copy)]
    enum Inner {
        Whole,
        Text,
        One(Fields),
    }
    use Inner::{One, Text, Whole};
    const PROFILE: Fields = &[
        ("Type", "type", Text),
        ("LocalhostProfile", "localhostProfile", Whole),
    ];
    const FIELDS: Fields = &[
        (
            "Capabilities",
            "capabilities",
            One(&[("Add", "add", Whole), ("Drop", "drop", Whole)]),
        ),
        ("Privileged", "privileged", Whole),
        (
            "SELinuxOptions",
            "seLinuxOptions",
            One(&[
                ("User", "user", Text),
                ("Role", "role", Text),
                ("Type", "type", Text),
                ("Level", "level", Text),
            ]),
        ),
        (
            "WindowsOptions",
            "windowsOptions",
            One(&[
                ("GMSACredentialSpecName", "gmsaCredentialSpecName", Whole),
                ("GMSACredentialSpec", "gmsaCredentialSpec", Whole),
                ("RunAsUserName", "runAsUserName", Whole),
                ("HostProcess", "hostProcess", Whole),
            ]),
        ),
        ("RunAsUser", "runAsUser", Whole),
        ("RunAsGroup", "runAsGroup", Whole),
        ("RunAsNonRoot", "runAsNonRoot", Whole),
        ("ReadOnlyRootFilesystem", "readOnlyRootFilesystem", Whole),
        (
            "AllowPrivilegeEscalation",
            "allowPrivilegeEscalation",
            Whole,
        ),
        ("ProcMount", "procMount", Whole),
        ("SeccompProfile", "seccompProfile", One(PROFILE)),
        ("AppArmorProfile", "appArmorProfile", One(PROFILE)),
    ];
    fn write(value: &Value, fields: Fields) -> String {
        let parts: Vec<String> = fields
            .iter()
            .map(|(name, field, inner)| {
                let value = &value[*field];
                let text = match inner {
                    Text if value.is_null() => "\"\"".to_owned(),
                    One(fields) if value.is_object() => write(value, fields),
                    _ => base_yaml::go::to_json(value, true),
                };
                format!("{name:?}:{text}")
            })
            .collect();
        format!("{{{}}}", parts.join(","))
    }
    write(context, FIELDS)
}

/// What a container may do, where one wish contradicts another.
pub(super) fn privileges(container: &Value, at: &str, errors: &mut Vec<FieldError>) {
    let context = &container["securityContext"];
    if context["allowPrivilegeEscalation"] != json!(false) {
        return;
    }
    let mut refuse = |why: &str| {
        errors.push(FieldError::new(
            format!("{at}.securityContext"),
            FieldProblem::Invalid,
            None,
            format!("{}: {why}", shown(context)),
        ));
    };
    if context["privileged"] == json!(true) {
        refuse("cannot set `allowPrivilegeEscalation` to false and `privileged` to true");
    }
    for capability in items(&context["capabilities"]["add"]) {
        if capability == "CAP_SYS_ADMIN" {
            refuse(
                "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN",
            );
        }
    }
}
