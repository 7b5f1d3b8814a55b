//! The order in which Go's libraries write a map's keys.

use std::cmp::Ordering;

use crate::resolve::Stack;

/// A key, as far as its place among others depends on it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Key<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Float(f64),
    Str(&'a str),
}

impl Key<'_> {
    /// Go's number of the kind.
    fn kind(&self) -> u8 {
        match self {
            Self::Null => 0,
            Self::Bool(_) => 1,
            Self::Int(_) => 2,
            Self::Uint(_) => 11,
            Self::Float(_) => 14,
            Self::Str(_) => 24,
        }
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "numbers of several kinds are compared so"
    )]
    fn float(&self) -> Option<f64> {
        match self {
            Self::Bool(flag) => Some(f64::from(u8::from(*flag))),
            Self::Int(int) => Some(*int as f64),
            Self::Uint(int) => Some(*int as f64),
            Self::Float(float) => Some(*float),
            Self::Null | Self::Str(_) => None,
        }
    }
}

/// Compares two keys: numbers by value before strings, strings for people.
pub(crate) fn compare(a: &Key<'_>, b: &Key<'_>, stack: Stack) -> Ordering {
    if let (Key::Str(a), Key::Str(b)) = (a, b) {
        return natural(a, b, stack);
    }
    if let (Some(x), Some(y)) = (a.float(), b.float()) {
        if x != y {
            return x.partial_cmp(&y).unwrap_or(Ordering::Equal);
        }
        return match (a, b) {
            (Key::Int(x), Key::Int(y)) => x.cmp(y),
            (Key::Uint(x), Key::Uint(y)) => x.cmp(y),
            _ => a.kind().cmp(&b.kind()),
        };
    }
    a.kind().cmp(&b.kind())
}

/// Orders for people: runs of digits by their number, letters after everything else.
pub(crate) fn natural(a: &str, b: &str, stack: Stack) -> Ordering {
    let (x, y) = (a.as_bytes(), b.as_bytes());
    let mut same = x.iter().zip(y).take_while(|(x, y)| x == y).count();
    while !a.is_char_boundary(same) || !b.is_char_boundary(same) {
        same -= 1;
    }
    let (Some(left), Some(right)) = (a[same..].chars().next(), b[same..].chars().next()) else {
        return a.len().cmp(&b.len());
    };
    match (left.is_alphabetic(), right.is_alphabetic()) {
        (true, true) => return left.cmp(&right),
        (false, false) => {}
        (left_is_letter, _) => {
            let after_digit = a[..same].ends_with(is_digit);
            let less = if stack == Stack::V3 && after_digit {
                left_is_letter
            } else {
                !left_is_letter
            };
            return if less {
                Ordering::Less
            } else {
                Ordering::Greater
            };
        }
    }
    // a zero inside a number counts: the digits before it are the same on both sides
    let inside = (left == '0' || right == '0')
        && a[..same]
            .chars()
            .rev()
            .take_while(|c| is_digit(*c))
            .any(|c| c != '0');
    let (m, m_len) = number(&a[same..], inside);
    let (n, n_len) = number(&b[same..], inside);
    m.cmp(&n).then(m_len.cmp(&n_len)).then(left.cmp(&right))
}

fn is_digit(c: char) -> bool {
    c.is_ascii_digit()
}

/// Go's number wraps; so does this one.
fn number(text: &str, inside: bool) -> (i64, usize) {
    let mut number = i64::from(inside);
    let mut length = 0;
    for c in text.bytes().take_while(u8::is_ascii_digit) {
        number = number.wrapping_mul(10).wrapping_add(i64::from(c - b'0'));
        length += 1;
    }
    (number, length)
}

/// Sorts, though the order is not total (`a2`, `a10`, `a1b` go round), which a library's sort may not like.
pub(crate) fn sort_by_key<T: Copy>(items: &mut [T], mut compare: impl FnMut(&T, &T) -> Ordering) {
    let mut less = |a: &T, b: &T| compare(a, b) == Ordering::Less;
    if !items.windows(2).any(|pair| less(&pair[1], &pair[0])) {
        return;
    }
    let mut spare = items.to_vec();
    let mut width = 1;
    while width < items.len() {
        for start in (0..items.len()).step_by(2 * width) {
            let middle = (start + width).min(items.len());
            let end = (start + 2 * width).min(items.len());
            let (mut left, mut right) = (start, middle);
            for place in &mut spare[start..end] {
                let take_right = left >= middle || right < end && less(&items[right], &items[left]);
                let from = if take_right { &mut right } else { &mut left };
                *place = items[*from];
                *from += 1;
            }
        }
        items.copy_from_slice(&spare);
        width *= 2;
    }
}
