//! Bytes read as Go reads a string: rune by rune, a broken byte at a time.

pub(crate) const RUNE_ERROR: u32 = 0xFFFD;

/// Reads the first rune and its width; a broken byte is `RUNE_ERROR` of width 1, nothing is width 0.
pub(crate) fn decode(text: &[u8]) -> (u32, usize) {
    let head = &text[..text.len().min(4)];
    let Some(chunk) = head.utf8_chunks().next() else {
        return (RUNE_ERROR, 0);
    };
    match chunk.valid().chars().next() {
        Some(first) => (u32::from(first), first.len_utf8()),
        None => (RUNE_ERROR, 1),
    }
}

/// Appends a rune.
pub(crate) fn push(out: &mut Vec<u8>, rune: u32) {
    let rune = char::from_u32(rune).unwrap_or(char::REPLACEMENT_CHARACTER);
    out.extend_from_slice(rune.encode_utf8(&mut [0; 4]).as_bytes());
}

/// Finds a part.
pub(crate) fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_byte_is_one_rune() {
        assert_eq!(decode("é!".as_bytes()), (0xe9, 2));
        assert_eq!(decode(b"\xff!"), (RUNE_ERROR, 1));
        assert_eq!(decode(b"\xe2\x82"), (RUNE_ERROR, 1));
        assert_eq!(decode(b""), (RUNE_ERROR, 0));
        assert_eq!(find(b"abab", b"ba"), Some(1));
    }
}
