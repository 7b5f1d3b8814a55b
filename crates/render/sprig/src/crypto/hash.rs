//! Digests.

use aws_lc_rs::digest::{Algorithm, SHA1_FOR_LEGACY_USE_ONLY, SHA256, SHA512, digest};
use roadstead_template::{Call, FuncError, Function, Value};

use crate::table::STR;
use crate::values::{Outcome, text};

pub(super) const ROWS: &[Function] = &[
    Function::pure("sha1sum", STR, |call, args| {
        hex(call, args, &SHA1_FOR_LEGACY_USE_ONLY)
    }),
    Function::pure("sha256sum", STR, |call, args| hex(call, args, &SHA256)),
    Function::pure("sha512sum", STR, |call, args| hex(call, args, &SHA512)),
    Function::pure("adler32sum", STR, |call, args| {
        let source = text(args, 0);
        charge(call, source.len())?;
        let (mut low, mut high) = (1_u32, 0_u32);
        for byte in source.iter() {
            low = (low + u32::from(*byte)) % 65_521;
            high = (high + low) % 65_521;
        }
        Ok(Value::from((high << 16 | low).to_string()))
    }),
];

fn charge(call: &mut Call<'_>, bytes: usize) -> Result<(), FuncError> {
    call.spend(bytes as u64 / 32)
}

fn hex(call: &mut Call<'_>, args: &[Value], algorithm: &'static Algorithm) -> Outcome {
    let source = text(args, 0);
    charge(call, source.len())?;
    let sum = digest(algorithm, &source);
    let text: String = sum
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    Ok(Value::from(text))
}
