//! What `--set` and its relatives read, in every style and dialect.

#![no_main]

use libfuzzer_sys::fuzz_target;
use roadstead_helm::{Dialect, Layer, combine};

fuzz_target!(|text: &str| {
    for dialect in [Dialect::HELM_3, Dialect::HELM_4] {
        for layer in [Layer::Set, Layer::SetString, Layer::SetJson, Layer::SetLiteral] {
            let before = Layer::Set("a.b[0]=c,d={e}".to_owned());
            let _ = combine(&[before, layer(text.to_owned())], dialect);
        }
    }
});
