#![no_main]
//! A kustomization file and a file beside it, built.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use roadstead_kustomize::{Files, Kustomizer, Limits, Options};

fuzz_target!(|data: (&str, &str)| {
    let tree = BTreeMap::from([
        ("kustomization.yaml".to_owned(), Bytes::copy_from_slice(data.0.as_bytes())),
        ("a.yaml".to_owned(), Bytes::copy_from_slice(data.1.as_bytes())),
    ]);
    let files: Arc<dyn Files> = Arc::new(tree);
    let kustomizer = Kustomizer::new(files, BTreeMap::new(), Limits::default());
    let _ = kustomizer.plan("");
    if let Ok(built) = kustomizer.build("", &Options::default()) {
        let _ = built.to_text();
    }
});
