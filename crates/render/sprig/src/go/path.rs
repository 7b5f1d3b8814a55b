//! Paths with slashes, purely as text (Go's `path`, and `path/filepath` on Unix, which is the same).

/// The shortest path that means the same.
pub fn clean(path: &[u8]) -> Vec<u8> {
    if path.is_empty() {
        return b".".to_vec();
    }
    let rooted = path[0] == b'/';
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|&byte| byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." if parts.last().is_some_and(|last| *last != b"..") => {
                parts.pop();
            }
            b".." if rooted => {}
            _ => parts.push(part),
        }
    }
    let mut out = if rooted { b"/".to_vec() } else { Vec::new() };
    out.extend_from_slice(&parts.join(&b'/'));
    if out.is_empty() { b".".to_vec() } else { out }
}

/// The last element.
pub fn base(path: &[u8]) -> Vec<u8> {
    if path.is_empty() {
        return b".".to_vec();
    }
    let end = path
        .iter()
        .rposition(|&byte| byte != b'/')
        .map_or(0, |at| at + 1);
    let path = &path[..end];
    let from = path
        .iter()
        .rposition(|&byte| byte == b'/')
        .map_or(0, |at| at + 1);
    if path.is_empty() {
        return b"/".to_vec();
    }
    path[from..].to_vec()
}

/// All but the last element.
pub fn dir(path: &[u8]) -> Vec<u8> {
    let end = path
        .iter()
        .rposition(|&byte| byte == b'/')
        .map_or(0, |at| at + 1);
    clean(&path[..end])
}

/// The extension, with its dot.
pub fn ext(path: &[u8]) -> &[u8] {
    for at in (0..path.len()).rev() {
        match path[at] {
            b'/' => break,
            b'.' => return &path[at..],
            _ => {}
        }
    }
    b""
}

/// Whether it starts at the root.
pub fn is_abs(path: &[u8]) -> bool {
    path.first() == Some(&b'/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_text() {
        for (path, expected) in [
            ("", "."),
            ("a//b/./c/..", "a/b"),
            ("/../a", "/a"),
            ("../..", "../.."),
            ("a/..", "."),
            ("/", "/"),
        ] {
            assert_eq!(clean(path.as_bytes()), expected.as_bytes(), "{path}");
        }
        for (path, b, d, e) in [
            ("", ".", ".", ""),
            ("/", "/", "/", ""),
            ("a/b.c", "b.c", "a", ".c"),
            ("a/b.c/", "b.c", "a/b.c", ""),
            ("//x", "x", "/", ""),
            (".x", ".x", ".", ".x"),
        ] {
            assert_eq!(base(path.as_bytes()), b.as_bytes(), "{path}");
            assert_eq!(dir(path.as_bytes()), d.as_bytes(), "{path}");
            assert_eq!(ext(path.as_bytes()), e.as_bytes(), "{path}");
        }
    }
}
