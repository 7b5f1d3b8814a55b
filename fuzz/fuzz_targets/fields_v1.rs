#![no_main]
//! FieldsV1: what is read is written as it was read, and read again the same.

use k8s_apply::fieldpath::FieldSet;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(value) = serde_json::from_slice(data) else { return };
    if let Ok(set) = FieldSet::from_fields_v1(&value) {
        let written = set.to_fields_v1();
        let again = FieldSet::from_fields_v1(&written).expect("what was written is read");
        assert_eq!(again.to_fields_v1(), written);
    }
});
