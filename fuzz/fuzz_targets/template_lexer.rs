//! Any bytes as a template: literals, numbers and delimiters. No function is known, so few get past the tokens.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use roadstead_template::{Functions, Unit, strconv};

fuzz_target!(|text: &[u8]| {
    let _ = Unit::parse("t", text, &Arc::new(Functions::default()));
    // one long action, so that all of the text is tokens
    let action = [b"{{ ", text, b" }}"].concat();
    let _ = Unit::parse("t", action, &Arc::new(Functions::default()));
    if let Some(text) = strconv::unquote(text) {
        assert_eq!(strconv::unquote(&strconv::quote(&text)), Some(text));
    }
    if let Ok(value) = strconv::parse_float(text) {
        let written = strconv::format_float(value, b'g', -1);
        let read = strconv::parse_float(written.as_bytes());
        assert!(read == Ok(value) || value.is_nan(), "{written}");
    }
});
