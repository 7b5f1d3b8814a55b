#![no_main]
//! A patch on a Deployment: a strategic merge or a list of JSON operations.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use roadstead_kustomize::{Files, Kustomizer, Layer, Limits, Options};
use serde_json::json;

const OBJECT: &str = "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {a: b}, finalizers: [x]}
spec:
  replicas: 1
  template:
    spec:
      containers:
      - {name: a, image: \"x:1\", ports: [{containerPort: 80, protocol: TCP}, {containerPort: 81}]}
      volumes: [{name: v, emptyDir: {}}]
";

fuzz_target!(|patch: &str| {
    let tree = BTreeMap::from([
        ("kustomization.yaml".to_owned(), Bytes::from("resources: [a.yaml]\n")),
        ("a.yaml".to_owned(), Bytes::from(OBJECT)),
    ]);
    let files: Arc<dyn Files> = Arc::new(tree);
    let kustomizer = Kustomizer::new(files, BTreeMap::new(), Limits::default());
    for target in [json!({}), json!({ "kind": ".*" })] {
        let mut one = json!({ "patch": patch });
        if target != json!({}) {
            one["target"] = target;
        }
        let serde_json::Value::Object(fields) = json!({ "patches": [one] }) else { return };
        let layers = vec![Layer { place: "fuzz".to_owned(), fields }];
        let _ = kustomizer.build("", &Options { layers, ..Options::default() });
    }
});
