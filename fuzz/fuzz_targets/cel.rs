#![no_main]
//! An expression over a small object: read, checked, estimated and run within its limit.

use std::sync::Arc;

use k8s_cel::{Decl, Environment, Schema, value};
use libfuzzer_sys::fuzz_target;
use serde_json::json;

fuzz_target!(|text: &str| {
    let schema = Schema::new(&json!({"type": "object", "properties": {
        "a": {"type": "string"}, "n": {"type": "integer"}, "p": {"x-kubernetes-int-or-string": true},
        "l": {"type": "array", "items": {"type": "integer"}},
        "m": {"type": "object", "additionalProperties": {"type": "string"}}}}));
    let object = json!({"a": "x", "n": 1, "p": "y", "l": [1, 2], "m": {"k": "v"}});
    let Some(decl) = Decl::of(&schema, true) else {
        return;
    };
    let environment = Environment::new(Arc::new(decl), false);
    if let Ok(program) = environment.compile(text) {
        let this = value(&object, &schema);
        program.run(Some(this.clone()), Some(this), 1_000_000);
    }
});
