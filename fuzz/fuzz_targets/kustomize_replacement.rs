#![no_main]
//! The paths of a replacement.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use roadstead_kustomize::{Files, Kustomizer, Limits, Options};

const OBJECT: &str = "\
apiVersion: v1
kind: ConfigMap
metadata: {name: m}
data: {doc: '{\"a\": [{\"b\": \"c\"}]}', text: \"x: [y, {z: 1}]\", n: \"1\"}
list: [{name: a, v: [1, 2]}, {name: b}]
";

fuzz_target!(|data: (&str, &str, bool)| {
    let (source, target, create) = data;
    let quoted = |text: &str| format!("\"{}\"", text.escape_default());
    let text = format!(
        "resources: [a.yaml]\nreplacements:\n- source: {{kind: ConfigMap, fieldPath: {}}}\n  targets:\n  - select: {{kind: ConfigMap}}\n    fieldPaths: [{}]\n    options: {{create: {create}}}\n",
        quoted(source),
        quoted(target),
    );
    let tree = BTreeMap::from([
        ("kustomization.yaml".to_owned(), Bytes::from(text)),
        ("a.yaml".to_owned(), Bytes::from(OBJECT)),
    ]);
    let files: Arc<dyn Files> = Arc::new(tree);
    let kustomizer = Kustomizer::new(files, BTreeMap::new(), Limits::default());
    let _ = kustomizer.build("", &Options::default());
});
