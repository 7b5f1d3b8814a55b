//! Text to tokens.

use crate::source::{Problem, Source};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tok {
    Eq,
    Ne,
    In,
    Lt,
    Le,
    Ge,
    Gt,
    And,
    Or,
    LBracket,
    RBracket,
    LBrace,
    RBrace,
    LParen,
    RParen,
    Dot,
    Comma,
    Minus,
    Not,
    Question,
    Colon,
    Plus,
    Star,
    Slash,
    Percent,
    True,
    False,
    Null,
    Float,
    Int,
    Uint,
    String,
    Bytes,
    Ident,
    EscIdent,
    Eof,
}

impl Tok {
    /// The name in "expecting {…}".
    pub(crate) fn name(self) -> &'static str {
        match self {
            Tok::Eq => "'=='",
            Tok::Ne => "'!='",
            Tok::In => "'in'",
            Tok::Lt => "'<'",
            Tok::Le => "'<='",
            Tok::Ge => "'>='",
            Tok::Gt => "'>'",
            Tok::And => "'&&'",
            Tok::Or => "'||'",
            Tok::LBracket => "'['",
            Tok::RBracket => "']'",
            Tok::LBrace => "'{'",
            Tok::RBrace => "'}'",
            Tok::LParen => "'('",
            Tok::RParen => "')'",
            Tok::Dot => "'.'",
            Tok::Comma => "','",
            Tok::Minus => "'-'",
            Tok::Not => "'!'",
            Tok::Question => "'?'",
            Tok::Colon => "':'",
            Tok::Plus => "'+'",
            Tok::Star => "'*'",
            Tok::Slash => "'/'",
            Tok::Percent => "'%'",
            Tok::True => "'true'",
            Tok::False => "'false'",
            Tok::Null => "'null'",
            Tok::Float => "NUM_FLOAT",
            Tok::Int => "NUM_INT",
            Tok::Uint => "NUM_UINT",
            Tok::String => "STRING",
            Tok::Bytes => "BYTES",
            Tok::Ident => "IDENTIFIER",
            Tok::EscIdent => "ESC_IDENTIFIER",
            Tok::Eof => "<EOF>",
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Token {
    pub(crate) tok: Tok,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

/// All tokens, the end last, and what is no token.
pub(crate) fn lex(source: &Source) -> (Vec<Token>, Vec<Problem>) {
    let chars = &source.chars;
    let (mut tokens, mut problems) = (Vec::new(), Vec::new());
    let mut at = 0;
    while at < chars.len() {
        match chars[at] {
            '\t' | ' ' | '\r' | '\n' | '\u{c}' => at += 1,
            '/' if chars.get(at + 1) == Some(&'/') => {
                while at < chars.len() && chars[at] != '\n' {
                    at += 1;
                }
            }
            _ => match token(chars, at) {
                Ok((tok, end)) => {
                    tokens.push(Token {
                        tok,
                        start: at,
                        end,
                    });
                    at = end;
                }
                Err(dead) => {
                    let text = source
                        .text(at, dead + 1)
                        .replace('\n', "\\n")
                        .replace('\t', "\\t")
                        .replace('\r', "\\r");
                    problems.push(Problem {
                        location: source.location(at),
                        message: format!("Syntax error: token recognition error at: '{text}'"),
                    });
                    at = dead + 1;
                }
            },
        }
    }
    tokens.push(Token {
        tok: Tok::Eof,
        start: chars.len(),
        end: chars.len(),
    });
    (tokens, problems)
}

/// The longest token at a place, or where no token can go on.
fn token(chars: &[char], at: usize) -> Result<(Tok, usize), usize> {
    let next = chars.get(at + 1).copied();
    let one = |tok| Ok((tok, at + 1));
    let two = |tok| Ok((tok, at + 2));
    match chars[at] {
        '=' if next == Some('=') => two(Tok::Eq),
        '=' => Err(at + 1),
        '!' if next == Some('=') => two(Tok::Ne),
        '!' => one(Tok::Not),
        '<' if next == Some('=') => two(Tok::Le),
        '<' => one(Tok::Lt),
        '>' if next == Some('=') => two(Tok::Ge),
        '>' => one(Tok::Gt),
        '&' if next == Some('&') => two(Tok::And),
        '&' => Err(at + 1),
        '|' if next == Some('|') => two(Tok::Or),
        '|' => Err(at + 1),
        '[' => one(Tok::LBracket),
        ']' => one(Tok::RBracket),
        '{' => one(Tok::LBrace),
        '}' => one(Tok::RBrace),
        '(' => one(Tok::LParen),
        ')' => one(Tok::RParen),
        ',' => one(Tok::Comma),
        '-' => one(Tok::Minus),
        '?' => one(Tok::Question),
        ':' => one(Tok::Colon),
        '+' => one(Tok::Plus),
        '*' => one(Tok::Star),
        '/' => one(Tok::Slash),
        '%' => one(Tok::Percent),
        '.' if next.is_some_and(|c| c.is_ascii_digit()) => number(chars, at),
        '.' => one(Tok::Dot),
        '0'..='9' => number(chars, at),
        '"' | '\'' => string(chars, at, false).map(|end| (Tok::String, end)),
        '`' => {
            let mut end = at + 1;
            while chars.get(end).is_some_and(|c| {
                c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | '/' | ' ')
            }) {
                end += 1;
            }
            if end > at + 1 && chars.get(end) == Some(&'`') {
                Ok((Tok::EscIdent, end + 1))
            } else {
                Err(end)
            }
        }
        'a'..='z' | 'A'..='Z' | '_' => Ok(word(chars, at)),
        _ => Err(at),
    }
}

fn word(chars: &[char], at: usize) -> (Tok, usize) {
    let mut open = at;
    let bytes = matches!(chars[at], 'b' | 'B');
    if bytes {
        open += 1;
    }
    let raw = matches!(chars.get(open), Some('r' | 'R'));
    if raw {
        open += 1;
    }
    if (bytes || raw)
        && matches!(chars.get(open), Some('"' | '\''))
        && let Ok(end) = string(chars, open, raw)
    {
        return (if bytes { Tok::Bytes } else { Tok::String }, end);
    }
    let mut end = at;
    while chars
        .get(end)
        .is_some_and(|c| c.is_ascii_alphanumeric() || *c == '_')
    {
        end += 1;
    }
    let text: String = chars[at..end].iter().collect();
    let tok = match text.as_str() {
        "true" => Tok::True,
        "false" => Tok::False,
        "null" => Tok::Null,
        "in" => Tok::In,
        _ => Tok::Ident,
    };
    (tok, end)
}

fn number(chars: &[char], at: usize) -> Result<(Tok, usize), usize> {
    let digits = |mut i: usize| {
        while chars.get(i).is_some_and(char::is_ascii_digit) {
            i += 1;
        }
        i
    };
    let unsigned = |end: usize| match chars.get(end) {
        Some('u' | 'U') => (Tok::Uint, end + 1),
        _ => (Tok::Int, end),
    };
    if chars[at] == '0' && chars.get(at + 1) == Some(&'x') {
        let mut end = at + 2;
        while chars.get(end).is_some_and(char::is_ascii_hexdigit) {
            end += 1;
        }
        if end > at + 2 {
            return Ok(unsigned(end));
        }
        return Ok((Tok::Int, at + 1));
    }
    let mut end = digits(at);
    let mut float = false;
    if chars.get(end) == Some(&'.') && chars.get(end + 1).is_some_and(char::is_ascii_digit) {
        end = digits(end + 1);
        float = true;
    }
    if matches!(chars.get(end), Some('e' | 'E')) {
        let sign = usize::from(matches!(chars.get(end + 1), Some('+' | '-')));
        if chars.get(end + 1 + sign).is_some_and(char::is_ascii_digit) {
            return Ok((Tok::Float, digits(end + 1 + sign)));
        }
    }
    if float {
        return Ok((Tok::Float, end));
    }
    Ok(unsigned(end))
}

/// Where a string ends that opens here, or where it cannot go on.
fn string(chars: &[char], open: usize, raw: bool) -> Result<usize, usize> {
    let quote = chars[open];
    if chars.get(open + 1) == Some(&quote) {
        if chars.get(open + 2) == Some(&quote)
            && let Some(end) = triple(chars, open + 3, quote, raw)
        {
            return Ok(end);
        }
        return Ok(open + 2);
    }
    let mut at = open + 1;
    loop {
        match chars.get(at) {
            None | Some('\n' | '\r') => return Err(at),
            Some(c) if *c == quote => return Ok(at + 1),
            Some('\\') if !raw => at = escape(chars, at)?,
            Some(_) => at += 1,
        }
    }
}

fn triple(chars: &[char], mut at: usize, quote: char, raw: bool) -> Option<usize> {
    loop {
        match chars.get(at)? {
            c if *c == quote
                && chars.get(at + 1) == Some(&quote)
                && chars.get(at + 2) == Some(&quote) =>
            {
                return Some(at + 3);
            }
            '\\' if !raw => at = escape(chars, at).ok()?,
            _ => at += 1,
        }
    }
}

fn escape(chars: &[char], at: usize) -> Result<usize, usize> {
    let run = |from: usize, count: usize, ok: fn(&char) -> bool| {
        for i in from..from + count {
            if !chars.get(i).is_some_and(ok) {
                return Err(i);
            }
        }
        Ok(from + count)
    };
    match chars.get(at + 1) {
        Some('a' | 'b' | 'f' | 'n' | 'r' | 't' | 'v' | '"' | '\'' | '\\' | '?' | '`') => Ok(at + 2),
        Some('x' | 'X') => run(at + 2, 2, char::is_ascii_hexdigit),
        Some('u') => run(at + 2, 4, char::is_ascii_hexdigit),
        Some('U') => run(at + 2, 8, char::is_ascii_hexdigit),
        Some('0'..='3') => run(at + 2, 2, |c| matches!(c, '0'..='7')),
        _ => Err(at + 1),
    }
}
