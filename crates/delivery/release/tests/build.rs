//! Each file in `tests/cases` holds Apps with their files and inputs, and the variants that come out.
//!
//! A case is `=== name`, the App's spec under `--- app`, files under `--- file NAME`, an input per `--- input` line as
//! JSON, and `>>>` with what is expected. `UPDATE_EXPECT=1` writes what was found.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use base_json::Digest;
use roadstead_dispatch::{APP_LABEL, OWNER_ANNOTATION, VariantObject};
use roadstead_model::{AppKey, AppSpec};
use roadstead_release::{Built, Prepared};
use roadstead_target::TargetInput;
use serde_json::{Value, json};

fn run(case: &str) -> String {
    let mut app = json!({"inputs": [{"source": "git"}], "targets": [{"name": "all"}]});
    let mut files: BTreeMap<String, String> = BTreeMap::new();
    let mut inputs = Vec::new();
    for section in case.split("\n--- ").skip(1) {
        let (head, body) = section.split_once('\n').unwrap_or((section, ""));
        if head == "app" {
            let documents = base_yaml::parse_documents(body, "app").expect("app");
            let fields = documents[0].value.as_object().expect("app").clone();
            app.as_object_mut().expect("map").extend(fields);
        } else if let Some(name) = head.strip_prefix("file ") {
            files.insert(name.to_owned(), body.to_owned());
        } else if let Some(input) = head.strip_prefix("input ") {
            inputs.push(serde_json::from_str::<TargetInput>(input).expect(input));
        }
    }
    if inputs.is_empty() {
        inputs.push(TargetInput::default());
    }
    let spec: AppSpec = serde_json::from_value(app).expect("spec");
    let key = AppKey::new("team", "shop");
    let mut out = String::new();
    match Prepared::new(&key, &spec, Digest::of(b"release"), &files) {
        Ok(prepared) => show(&prepared.build(&inputs), &inputs, &mut out),
        Err(error) => {
            let _ = writeln!(out, "error: {error}");
        }
    }
    out
}

fn show(built: &Built, inputs: &[TargetInput], out: &mut String) {
    let names: Vec<&Digest> = built.variants.keys().collect();
    let mut shown = Vec::new();
    for (number, input) in inputs.iter().enumerate() {
        match &built.by_input[&input.digest()] {
            Err(error) => {
                let _ = writeln!(out, "input {number}: error: {error}");
            }
            Ok(id) if shown.contains(&id) => {
                let first = inputs
                    .iter()
                    .position(|i| built.by_input[&i.digest()].as_ref() == Ok(id));
                let _ = writeln!(
                    out,
                    "input {number}: as input {}",
                    first.unwrap_or_default()
                );
            }
            Ok(id) => {
                shown.push(id);
                assert!(names.contains(&id));
                let _ = writeln!(out, "input {number}:");
                let variant = &built.variants[id];
                assert_eq!(&variant.id().expect("id"), id);
                if !variant.namespaces.is_empty() {
                    let _ = writeln!(out, "  namespaces {:?}", variant.namespaces);
                }
                for object in &variant.objects {
                    line(object, &built.blobs[&object.digest], out);
                }
            }
        }
    }
    for warning in &built.warnings {
        let _ = writeln!(out, "! {warning}");
    }
}

fn line(object: &VariantObject, bytes: &[u8], out: &mut String) {
    let mut value: Value = serde_json::from_slice(bytes).expect("json");
    assert_eq!(Digest::of(bytes), object.digest);
    assert_eq!(bytes.len(), object.size as usize);
    let label = k8s_object::label(&value, APP_LABEL)
        .expect("label")
        .to_owned();
    assert_eq!(
        label,
        roadstead_dispatch::app_label(&AppKey::new("team", "shop"))
    );
    let owner = k8s_object::annotation(&value, OWNER_ANNOTATION)
        .expect("owner")
        .to_owned();
    let owner = roadstead_dispatch::parse_owner(&owner).expect("owner");
    assert_eq!(owner.object, object.id);
    for (field, key) in [("labels", APP_LABEL), ("annotations", OWNER_ANNOTATION)] {
        let meta = value["metadata"].as_object_mut().expect("metadata");
        let map = meta[field].as_object_mut().expect(field);
        map.remove(key);
        map.retain(|key, _| key.starts_with("x/"));
        if map.is_empty() {
            meta.remove(field);
        }
    }
    for field in ["apiVersion", "kind"] {
        value.as_object_mut().expect("map").remove(field);
    }
    let mut flags = Vec::new();
    for (name, set) in [
        ("hook", object.hook),
        ("once", object.once),
        ("on-rollback", object.on_rollback),
        ("keep", object.keep),
    ] {
        if set {
            flags.push(name.to_owned());
        }
    }
    flags.extend(
        object
            .hook_delete
            .iter()
            .map(|when| format!("delete:{when:?}")),
    );
    let _ = writeln!(
        out,
        "  {} {} {} {} {value}",
        object.phase,
        object.wave,
        object.id,
        flags.join(",")
    );
}

#[test]
fn cases() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).expect("cases") {
        let path = entry.expect("entry").path();
        let text = std::fs::read_to_string(&path).expect("case");
        let mut updated = String::new();
        for case in format!("\n{text}").split("\n=== ").skip(1) {
            let (input, expected) = case.split_once(">>>\n").unwrap_or((case, ""));
            let found = run(input);
            let _ = write!(updated, "=== {}\n>>>\n{found}\n", input.trim_end());
            count += 1;
            if std::env::var_os("UPDATE_EXPECT").is_none() {
                assert_eq!(
                    found.trim_end(),
                    expected.trim_end(),
                    "{}: {input}",
                    path.display()
                );
            }
        }
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            std::fs::write(&path, updated.trim_end().to_owned() + "\n").expect("written");
        }
    }
    assert!(count >= 20, "only {count} cases were found");
}
