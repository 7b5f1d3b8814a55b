//! What a text allows.

/// What a scalar's text allows and needs, in block context.
#[derive(Debug, Clone, Copy)]
pub(super) struct Analysis {
    pub(super) multiline: bool,
    pub(super) plain_allowed: bool,
    pub(super) single_allowed: bool,
    pub(super) block_allowed: bool,
    /// It holds U+2028 or U+2029, which break lines.
    pub(super) odd_breaks: bool,
}

/// 0 for bytes that mean nothing inside a text.
const CLASS: [u8; 256] = {
    let mut table = [1_u8; 256];
    let mut byte = 0x20;
    while byte < 0x7f {
        table[byte] = 0;
        byte += 1;
    }
    table[b':' as usize] = 1;
    table[b'#' as usize] = 1;
    // two- and three-byte characters without breaks, odd spaces or marks of byte order among them
    byte = 0xc3;
    while byte < 0xed {
        table[byte] = 0;
        byte += 1;
    }
    table[0xe2] = 1;
    byte = 0x80;
    while byte < 0xc0 {
        table[byte] = 0;
        byte += 1;
    }
    table
};

fn starts_specially(byte: u8) -> bool {
    matches!(
        byte,
        b'#' | b','
            | b'['
            | b']'
            | b'{'
            | b'}'
            | b'&'
            | b'*'
            | b'!'
            | b'|'
            | b'>'
            | b'\''
            | b'"'
            | b'%'
            | b'@'
            | b'`'
            | b'?'
            | b':'
            | b'-'
            | b'.'
            | b' '
    )
}

/// Is a text of nothing but ordinary characters that can stand plain?
pub(super) fn ordinary(text: &str) -> bool {
    let bytes = text.as_bytes();
    match (bytes.first(), bytes.last()) {
        (Some(first), Some(last)) => {
            !starts_specially(*first)
                && *last != b' '
                && bytes.iter().fold(0, |all, b| all | CLASS[usize::from(*b)]) == 0
        }
        _ => false,
    }
}

/// How long a line break is that stands here; 0 if none does.
pub(super) fn break_len(bytes: &[u8], at: usize) -> usize {
    match bytes.get(at..) {
        Some([b'\r' | b'\n', ..]) => 1,
        Some([0xc2, 0x85, ..]) => 2,
        Some([0xe2, 0x80, 0xa8 | 0xa9, ..]) => 3,
        _ => 0,
    }
}

/// How long the character is that begins with this byte.
pub(super) fn width(byte: u8) -> usize {
    match byte {
        0..=0x7f => 1,
        0xc0..=0xdf => 2,
        0xe0..=0xef => 3,
        _ => 4,
    }
}

/// go-yaml's idea of printable: not tabs, and nothing beyond the basic plane.
pub(super) fn printable(bytes: &[u8], at: usize) -> bool {
    match bytes.get(at..) {
        Some([b'\n' | 0x20..=0x7e, ..]) => true,
        Some([0xc2, next, ..]) => *next >= 0xa0,
        Some([0xed, next, ..]) => *next < 0xa0,
        Some([0xef, a, b, ..]) => !matches!((*a, *b), (0xbb, 0xbf) | (0xbf, 0xbe | 0xbf)),
        Some([0xc3..=0xee, ..]) => true,
        _ => false,
    }
}

/// Looks at every character. Tabs forbid blocks in version 2 only.
pub(super) fn analyze(text: &str, tabs_are_special: bool) -> Analysis {
    let bytes = text.as_bytes();
    let mut out = Analysis {
        multiline: false,
        plain_allowed: true,
        single_allowed: true,
        block_allowed: false,
        odd_breaks: false,
    };
    if bytes.is_empty() {
        return out;
    }
    let (mut indicators, mut special, mut tabs) = (false, false, false);
    let (mut leading, mut trailing_space, mut trailing_break) = (false, false, false);
    let (mut break_space, mut space_break) = (false, false);
    let (mut previous_space, mut previous_break, mut preceded) = (false, false, true);
    if text.starts_with("---") || text.starts_with("...") {
        indicators = true;
    }
    let mut at = 0;
    while let Some(byte) = bytes.get(at).copied() {
        let wide = width(byte);
        let next = bytes.get(at + wide);
        let followed = next.is_none_or(|next| matches!(next, b' ' | b'\t'));
        if at == 0 {
            indicators |= match byte {
                b'?' | b':' | b'-' => followed,
                b'.' | b' ' => false,
                byte => starts_specially(byte),
            };
        } else {
            indicators |= (byte == b':' && followed) || (byte == b'#' && preceded);
        }
        if byte == b'\t' && !tabs_are_special {
            tabs = true;
        } else if !printable(bytes, at) {
            special = true;
        }
        let last = at + wide == bytes.len();
        let breaks = break_len(bytes, at) > 0;
        if byte == b' ' {
            leading |= at == 0;
            trailing_space |= last;
            break_space |= previous_break;
            (previous_space, previous_break) = (true, false);
        } else if breaks {
            out.multiline = true;
            out.odd_breaks |= byte == 0xe2;
            leading |= at == 0;
            trailing_break |= last;
            space_break |= previous_space;
            (previous_space, previous_break) = (false, true);
        } else {
            (previous_space, previous_break) = (false, false);
        }
        preceded = breaks || matches!(byte, b' ' | b'\t' | 0);
        at += wide;
    }
    let bad = space_break || special;
    out.plain_allowed = !(leading
        || trailing_space
        || trailing_break
        || break_space
        || bad
        || tabs
        || out.multiline
        || indicators);
    out.single_allowed = !(break_space || bad || tabs);
    out.block_allowed = !(trailing_space || bad);
    out
}
