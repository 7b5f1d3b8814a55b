//! Tokens to a tree, with the limits and the error text of cel-go.

mod collections;

use std::sync::Arc;

use crate::ast::{Expr, Kind, Literal};
use crate::lexer::{Tok, Token, lex};
use crate::literal::unquote;
use crate::macros;
use crate::source::{NOWHERE, Problem, Source};

/// How deep one rule of the grammar may nest.
const DEEPEST: usize = 250;
/// How many code points an expression may have.
const LONGEST: usize = 100_000;

const RESERVED: &[&str] = &[
    "as",
    "break",
    "const",
    "continue",
    "else",
    "false",
    "for",
    "function",
    "if",
    "import",
    "in",
    "let",
    "loop",
    "package",
    "namespace",
    "null",
    "return",
    "true",
    "var",
    "void",
    "while",
];

const STARTS: &[Tok] = &[
    Tok::LBracket,
    Tok::LBrace,
    Tok::LParen,
    Tok::Dot,
    Tok::Minus,
    Tok::Not,
    Tok::True,
    Tok::False,
    Tok::Null,
    Tok::Float,
    Tok::Int,
    Tok::Uint,
    Tok::String,
    Tok::Bytes,
    Tok::Ident,
];

/// A tree, and where each of its numbers stands in the text.
#[derive(Debug)]
pub(crate) struct Parsed {
    pub(crate) source: Source,
    pub(crate) expr: Expr,
    pub(crate) offsets: Vec<Option<usize>>,
}

/// Reads an expression; what is wrong with it otherwise, as cel-go shows it.
pub(crate) fn parse(text: &str) -> Result<Parsed, String> {
    let source = Source::new(text);
    if source.chars.len() > LONGEST {
        let problem = Problem {
            location: NOWHERE,
            message: format!(
                "expression code point size exceeds limit: size: {}, limit {LONGEST}",
                source.chars.len()
            ),
        };
        return Err(source.show(&[problem]));
    }
    let (tokens, problems) = lex(&source);
    let mut parser = Parser {
        source: &source,
        tokens,
        at: 0,
        problems,
        offsets: vec![None],
        depths: [0; 4],
        closers: vec![Tok::Eof],
        visits: Vec::new(),
        recovering: false,
    };
    let result = parser.start();
    let offsets = std::mem::take(&mut parser.offsets);
    let mut problems = std::mem::take(&mut parser.problems);
    if let Err(Stop::Deep(message)) = &result {
        problems.push(Problem {
            location: NOWHERE,
            message: (*message).into(),
        });
    }
    match result {
        Ok((expr, _)) if problems.is_empty() => Ok(Parsed {
            source,
            expr,
            offsets,
        }),
        _ => Err(source.show(&problems)),
    }
}

/// Why reading ended before its time.
enum Stop {
    /// What is wrong was reported.
    Reported,
    Deep(&'static str),
}

type Read<T> = Result<T, Stop>;
/// An expression and how deep its compound parts nest.
type Node = (Expr, usize);

#[derive(Clone, Copy)]
enum Rule {
    Expr,
    Relation,
    Calc,
    Member,
}

pub(crate) struct Parser<'s> {
    source: &'s Source,
    tokens: Vec<Token>,
    at: usize,
    pub(crate) problems: Vec<Problem>,
    pub(crate) offsets: Vec<Option<usize>>,
    depths: [usize; 4],
    /// What closes each bracket that is open.
    closers: Vec<Tok>,
    /// Problems that only show when all was read.
    visits: Vec<Problem>,
    /// Was a mistake reported since the last token that fitted?
    recovering: bool,
}

impl Parser<'_> {
    fn start(&mut self) -> Read<Node> {
        let node = self.expr()?;
        self.expect(Tok::Eof)?;
        let visits = std::mem::take(&mut self.visits);
        self.problems.extend(visits);
        if node.1 > DEEPEST {
            return Err(Stop::Deep("max recursion depth exceeded"));
        }
        Ok(node)
    }

    fn peek(&self) -> Token {
        self.ahead(0)
    }

    fn ahead(&self, by: usize) -> Token {
        let last = self.tokens.len() - 1;
        self.tokens[(self.at + by).min(last)]
    }

    fn next(&mut self) -> Token {
        let token = self.peek();
        self.at += 1;
        self.recovering = false;
        token
    }

    fn text(&self, token: Token) -> String {
        if token.tok == Tok::Eof {
            return "<EOF>".into();
        }
        self.source.text(token.start, token.end)
    }

    /// Goes on behind a mistake, where something stands that can follow an expression.
    fn recover(&mut self) -> Expr {
        while self.peek().tok != Tok::Eof && !self.follows(self.peek().tok) {
            self.at += 1;
        }
        Expr {
            id: 0,
            kind: Kind::Unspecified,
        }
    }

    fn syntax(&mut self, token: Token, message: &str) {
        if self.recovering {
            return;
        }
        self.recovering = true;
        self.problems.push(Problem {
            location: self.source.location(token.start),
            message: format!("Syntax error: {message}"),
        });
    }

    fn shown(&self, token: Token) -> String {
        self.text(token)
            .replace('\n', "\\n")
            .replace('\t', "\\t")
            .replace('\r', "\\r")
    }

    fn enter(&mut self, rule: Rule) -> Read<()> {
        let depth = &mut self.depths[rule as usize];
        *depth += 1;
        if *depth > DEEPEST {
            return Err(Stop::Deep("expression recursion limit exceeded: 250"));
        }
        Ok(())
    }

    fn leave(&mut self, rule: Rule, by: usize) {
        self.depths[rule as usize] -= by;
    }

    /// Can this token stand after a whole expression here?
    fn follows(&self, tok: Tok) -> bool {
        matches!(
            tok,
            Tok::Eq
                | Tok::Ne
                | Tok::In
                | Tok::Lt
                | Tok::Le
                | Tok::Ge
                | Tok::Gt
                | Tok::And
                | Tok::Or
                | Tok::Dot
                | Tok::LBracket
                | Tok::Plus
                | Tok::Minus
                | Tok::Star
                | Tok::Slash
                | Tok::Percent
                | Tok::Question
        ) || self.closers.last() == Some(&tok)
            || self.closers.len() > 1 && matches!(tok, Tok::Comma | Tok::Colon)
    }

    /// Takes a token that must be here; forgives one that is too much or lacks.
    fn expect(&mut self, wanted: Tok) -> Read<Token> {
        let token = self.peek();
        if token.tok == wanted {
            return Ok(self.next());
        }
        let shown = self.shown(token);
        if token.tok != Tok::Eof && self.ahead(1).tok == wanted {
            self.syntax(
                token,
                &format!("extraneous input '{shown}' expecting {}", wanted.name()),
            );
            self.next();
            return Ok(self.next());
        }
        let forgiven = match wanted {
            Tok::RParen | Tok::RBracket | Tok::RBrace => self.follows(token.tok),
            Tok::Colon => STARTS.contains(&token.tok),
            _ => false,
        };
        if forgiven {
            self.syntax(token, &format!("missing {} at '{shown}'", wanted.name()));
            return Ok(token);
        }
        self.syntax(
            token,
            &format!("mismatched input '{shown}' expecting {}", wanted.name()),
        );
        Err(Stop::Reported)
    }

    fn expecting(extra: &[Tok]) -> String {
        let mut all: Vec<Tok> = STARTS.iter().chain(extra).copied().collect();
        all.sort_by_key(|tok| *tok as u8);
        let names: Vec<&str> = all.iter().map(|tok| tok.name()).collect();
        format!("{{{}}}", names.join(", "))
    }

    /// An expression must begin here; one wrong token before it is forgiven.
    fn begin(&mut self, extra: &[Tok]) -> Read<()> {
        let token = self.peek();
        if STARTS.contains(&token.tok) || extra.contains(&token.tok) {
            return Ok(());
        }
        let expecting = Self::expecting(extra);
        let shown = self.shown(token);
        let after = self.ahead(1).tok;
        if token.tok != Tok::Eof && (STARTS.contains(&after) || extra.contains(&after)) {
            self.syntax(
                token,
                &format!("extraneous input '{shown}' expecting {expecting}"),
            );
            self.next();
            return Ok(());
        }
        self.syntax(
            token,
            &format!("mismatched input '{shown}' expecting {expecting}"),
        );
        Err(Stop::Reported)
    }

    // numbers and places

    pub(crate) fn id_at(&mut self, offset: usize) -> u32 {
        self.offsets.push(Some(offset));
        u32::try_from(self.offsets.len() - 1).unwrap_or(u32::MAX)
    }

    pub(crate) fn offset(&self, id: u32) -> usize {
        self.offsets
            .get(id as usize)
            .copied()
            .flatten()
            .unwrap_or_default()
    }

    fn node(&mut self, token: Token, kind: Kind) -> Expr {
        Expr {
            id: self.id_at(token.start),
            kind,
        }
    }

    /// Reports what is wrong at a place once all is read.
    pub(crate) fn wrong(&mut self, offset: usize, message: &str) -> Expr {
        self.visits.push(Problem {
            location: self.source.location(offset),
            message: message.into(),
        });
        Expr {
            id: self.id_at(offset),
            kind: Kind::Unspecified,
        }
    }

    // rules

    fn expr(&mut self) -> Read<Node> {
        self.enter(Rule::Expr)?;
        let (condition, depth) = self.logic(Tok::Or)?;
        let node = if self.peek().tok == Tok::Question {
            let op = self.next();
            let (yes, yes_depth) = self.logic(Tok::Or)?;
            self.expect(Tok::Colon)?;
            let (no, no_depth) = self.expr()?;
            let id = self.id_at(op.start);
            let call = self.call(id, "_?_:_", None, vec![condition, yes, no]);
            (call, 1 + depth.max(yes_depth).max(no_depth))
        } else {
            (condition, depth)
        };
        self.leave(Rule::Expr, 1);
        Ok(node)
    }

    fn logic(&mut self, op: Tok) -> Read<Node> {
        let (first, mut depth) = if op == Tok::Or {
            self.logic(Tok::And)?
        } else {
            self.relation()?
        };
        let (mut terms, mut ids) = (vec![Some(first)], Vec::new());
        while self.peek().tok == op {
            let token = self.next();
            let (term, term_depth) = if op == Tok::Or {
                self.logic(Tok::And)?
            } else {
                self.relation()?
            };
            depth = depth.max(term_depth);
            terms.push(Some(term));
            ids.push(self.id_at(token.start));
        }
        let name = if op == Tok::Or { "_||_" } else { "_&&_" };
        let expr = balance(&mut terms, &ids, name).unwrap_or(Expr {
            id: 0,
            kind: Kind::Unspecified,
        });
        Ok((expr, depth))
    }

    fn relation(&mut self) -> Read<Node> {
        self.enter(Rule::Relation)?;
        let (mut left, mut depth) = self.calc(0)?;
        let mut entered = 1;
        loop {
            let token = self.peek();
            let name = match token.tok {
                Tok::Lt => "_<_",
                Tok::Le => "_<=_",
                Tok::Ge => "_>=_",
                Tok::Gt => "_>_",
                Tok::Eq => "_==_",
                Tok::Ne => "_!=_",
                Tok::In => "@in",
                _ => break,
            };
            self.enter(Rule::Relation)?;
            entered += 1;
            self.next();
            self.enter(Rule::Relation)?;
            let (right, right_depth) = self.calc(0)?;
            self.leave(Rule::Relation, 1);
            depth = 1 + depth.max(right_depth);
            let id = self.id_at(token.start);
            left = self.call(id, name, None, vec![left, right]);
        }
        self.leave(Rule::Relation, entered);
        Ok((left, depth))
    }

    fn calc(&mut self, least: u8) -> Read<Node> {
        self.enter(Rule::Calc)?;
        let (mut left, mut depth) = self.unary()?;
        let mut entered = 1;
        loop {
            let token = self.peek();
            let (name, binds) = match token.tok {
                Tok::Plus => ("_+_", 1),
                Tok::Minus => ("_-_", 1),
                Tok::Star => ("_*_", 2),
                Tok::Slash => ("_/_", 2),
                Tok::Percent => ("_%_", 2),
                _ => break,
            };
            if binds <= least {
                break;
            }
            self.enter(Rule::Calc)?;
            entered += 1;
            self.next();
            let (right, right_depth) = self.calc(binds)?;
            depth = 1 + depth.max(right_depth);
            let id = self.id_at(token.start);
            left = self.call(id, name, None, vec![left, right]);
        }
        self.leave(Rule::Calc, entered);
        Ok((left, depth))
    }

    fn unary(&mut self) -> Read<Node> {
        if let Err(Stop::Reported) = self.begin(&[]) {
            return Ok((self.recover(), 0));
        }
        let first = self.peek();
        let (op, name) = match first.tok {
            Tok::Not => (Tok::Not, "!_"),
            Tok::Minus if !matches!(self.ahead(1).tok, Tok::Int | Tok::Float) => (Tok::Minus, "-_"),
            _ => return self.member(),
        };
        let mut count = 0;
        while self.peek().tok == op {
            self.next();
            count += 1;
        }
        self.begin_operand()?;
        let (operand, depth) = self.member()?;
        if count % 2 == 0 {
            return Ok((operand, depth));
        }
        let id = self.id_at(first.start);
        Ok((self.call(id, name, None, vec![operand]), depth))
    }

    /// What stands after `!` or `-`, where one more token is too much rather than wrong.
    fn begin_operand(&mut self) -> Read<()> {
        let token = self.peek();
        let signed = token.tok == Tok::Minus && matches!(self.ahead(1).tok, Tok::Int | Tok::Float);
        if signed || STARTS.contains(&token.tok) && !matches!(token.tok, Tok::Not | Tok::Minus) {
            return Ok(());
        }
        let shown = self.shown(token);
        let message = format!(
            "extraneous input '{shown}' expecting {}",
            Self::expecting(&[])
        );
        self.syntax(token, &message);
        Err(Stop::Reported)
    }

    fn member(&mut self) -> Read<Node> {
        self.enter(Rule::Member)?;
        let (mut expr, mut depth) = self.primary()?;
        let mut entered = 1;
        loop {
            let token = self.peek();
            match token.tok {
                Tok::Dot => {
                    self.enter(Rule::Member)?;
                    entered += 1;
                    depth = self.select(&mut expr, depth)?;
                }
                Tok::LBracket => {
                    self.enter(Rule::Member)?;
                    entered += 1;
                    self.next();
                    let optional = self.peek().tok == Tok::Question;
                    if optional {
                        self.next();
                    } else {
                        self.begin(&[Tok::Question])?;
                    }
                    let id = self.id_at(token.start);
                    self.closers.push(Tok::RBracket);
                    let (index, index_depth) = self.expr()?;
                    self.closers.pop();
                    self.expect(Tok::RBracket)?;
                    depth = 1 + depth.max(index_depth);
                    let name = if optional { "_[?_]" } else { "_[_]" };
                    expr = self.call(id, name, None, vec![expr, index]);
                }
                _ => break,
            }
        }
        self.leave(Rule::Member, entered);
        Ok((expr, depth))
    }

    /// `.name`, `.?name` or `.name(…)`.
    fn select(&mut self, expr: &mut Expr, depth: usize) -> Read<usize> {
        let dot = self.next();
        let optional = self.peek().tok == Tok::Question;
        if optional {
            self.next();
        }
        let token = self.peek();
        if !matches!(token.tok, Tok::Ident | Tok::EscIdent) {
            let text = match (token.tok, optional) {
                (_, true) => format!(
                    "mismatched input '{}' expecting {{IDENTIFIER, ESC_IDENTIFIER}}",
                    self.shown(token)
                ),
                (Tok::True | Tok::False | Tok::Null, false) => {
                    format!(
                        "mismatched input '{}' expecting IDENTIFIER",
                        self.text(token)
                    )
                }
                _ => {
                    format!(
                        "no viable alternative at input '{}'",
                        self.source.text(dot.start, token.end).replace('\n', "\\n")
                    )
                }
            };
            self.syntax(token, &text);
            if optional {
                self.wrong(token.start, "unsupported ident kind");
            }
            *expr = self.recover();
            return Ok(depth);
        }
        self.next();
        let name: Arc<str> = self.text(token).into();
        let operand = std::mem::replace(
            expr,
            Expr {
                id: 0,
                kind: Kind::Unspecified,
            },
        );
        if !optional && token.tok == Tok::Ident && self.peek().tok == Tok::LParen {
            let open = self.next();
            let id = self.id_at(open.start);
            let (args, args_depth) = self.arguments()?;
            *expr = self.call(id, &name, Some(operand), args);
            return Ok(1 + depth.max(args_depth));
        }
        if token.tok == Tok::EscIdent {
            self.wrong(token.start, "unsupported syntax: '`'");
        }
        *expr = if optional {
            let id = self.id_at(dot.start);
            let field = self.node(token, Kind::Literal(Literal::String(name)));
            Expr {
                id,
                kind: Kind::Call {
                    function: "_?._".into(),
                    target: None,
                    args: vec![operand, field],
                },
            }
        } else {
            self.node(
                dot,
                Kind::Select {
                    operand: Box::new(operand),
                    field: name,
                    test_only: false,
                },
            )
        };
        Ok(1 + depth)
    }

    /// Arguments up to the closing bracket; the opening one is read.
    fn arguments(&mut self) -> Read<(Vec<Expr>, usize)> {
        let (mut args, mut depth) = (Vec::new(), 0);
        self.closers.push(Tok::RParen);
        if self.peek().tok != Tok::RParen {
            self.begin(&[Tok::RParen])?;
        }
        if self.peek().tok != Tok::RParen {
            loop {
                let (arg, arg_depth) = self.expr()?;
                args.push(arg);
                depth = depth.max(arg_depth);
                if self.peek().tok != Tok::Comma {
                    break;
                }
                self.next();
            }
        }
        self.closers.pop();
        self.expect(Tok::RParen)?;
        Ok((args, depth))
    }

    fn primary(&mut self) -> Read<Node> {
        let token = self.peek();
        match token.tok {
            Tok::LParen => {
                self.next();
                self.closers.push(Tok::RParen);
                let node = self.expr()?;
                self.closers.pop();
                self.expect(Tok::RParen)?;
                Ok(node)
            }
            Tok::LBracket => self.list(),
            Tok::LBrace => self.map(),
            Tok::Dot | Tok::Ident => self.name(),
            _ => Ok((self.literal()?, 0)),
        }
    }

    fn name(&mut self) -> Read<Node> {
        let dot = self.peek().tok == Tok::Dot;
        if dot {
            self.next();
        }
        let token = self.peek();
        if token.tok != Tok::Ident {
            self.expect(Tok::Ident)?;
        }
        // a.b.c{…} makes a message
        let mut ahead = 1;
        while self.ahead(ahead).tok == Tok::Dot && self.ahead(ahead + 1).tok == Tok::Ident {
            ahead += 2;
        }
        if self.ahead(ahead).tok == Tok::LBrace {
            return self.message(dot, ahead);
        }
        self.next();
        let id = self.text(token);
        let reserved = RESERVED.contains(&id.as_str());
        let name: Arc<str> = if dot { format!(".{id}") } else { id.clone() }.into();
        if self.peek().tok == Tok::LParen {
            let open = self.next();
            let call = self.id_at(open.start);
            let (args, depth) = self.arguments()?;
            if reserved {
                let start = token.start;
                return Ok((
                    self.wrong(start, &format!("reserved identifier: {id}")),
                    depth,
                ));
            }
            return Ok((self.call(call, &name, None, args), depth));
        }
        if reserved {
            let start = token.start;
            return Ok((self.wrong(start, &format!("reserved identifier: {id}")), 0));
        }
        Ok((self.node(token, Kind::Ident(name)), 0))
    }

    fn literal(&mut self) -> Read<Expr> {
        let first = self.peek();
        let negative = first.tok == Tok::Minus;
        if negative {
            self.next();
        }
        let token = self.next();
        let text = self.text(token);
        let literal = match token.tok {
            Tok::True => Literal::Bool(true),
            Tok::False => Literal::Bool(false),
            Tok::Null => Literal::Null,
            Tok::Int => {
                let (digits, radix) = radix(&text);
                let sign = if negative { "-" } else { "" };
                match i64::from_str_radix(&format!("{sign}{digits}"), radix) {
                    Ok(value) => Literal::Int(value),
                    Err(_) => return Ok(self.wrong(first.start, "invalid int literal")),
                }
            }
            Tok::Uint => {
                let (digits, radix) = radix(&text[..text.len() - 1]);
                match u64::from_str_radix(digits, radix) {
                    Ok(value) => Literal::Uint(value),
                    Err(_) => return Ok(self.wrong(first.start, "invalid uint literal")),
                }
            }
            Tok::Float => match text.parse::<f64>() {
                Ok(value) if value.is_finite() => {
                    Literal::Double(if negative { -value } else { value })
                }
                _ => return Ok(self.wrong(first.start, "invalid double literal")),
            },
            Tok::String => match unquote(&text, false) {
                Ok(bytes) => Literal::String(String::from_utf8_lossy(&bytes).into_owned().into()),
                Err(message) => return Ok(self.wrong(first.start, message)),
            },
            Tok::Bytes => match unquote(&text[1..], true) {
                Ok(bytes) => Literal::Bytes(bytes.into()),
                Err(message) => return Ok(self.wrong(first.start, message)),
            },
            _ => {
                let message = format!(
                    "mismatched input '{}' expecting {}",
                    self.shown(token),
                    Self::expecting(&[])
                );
                self.syntax(token, &message);
                return Err(Stop::Reported);
            }
        };
        Ok(self.node(first, Kind::Literal(literal)))
    }

    /// A call, or what the macro of that name makes of it.
    fn call(&mut self, id: u32, name: &str, target: Option<Expr>, args: Vec<Expr>) -> Expr {
        match macros::expand(self, id, name, target, args) {
            Ok(expr) => expr,
            Err((target, args)) => Expr {
                id,
                kind: Kind::Call {
                    function: name.into(),
                    target: target.map(Box::new),
                    args,
                },
            },
        }
    }
}

fn radix(text: &str) -> (&str, u32) {
    match text.strip_prefix("0x") {
        Some(digits) => (digits, 16),
        None => (text, 10),
    }
}

/// `a && b && c && d` as a tree that is as deep as its logarithm.
fn balance(terms: &mut [Option<Expr>], ids: &[u32], name: &str) -> Option<Expr> {
    if ids.is_empty() {
        return terms.first_mut()?.take();
    }
    let mid = ids.len() / 2;
    let (left, right) = terms.split_at_mut(mid + 1);
    let left = balance(left, &ids[..mid], name)?;
    let right = balance(right, &ids[mid + 1..], name)?;
    Some(Expr {
        id: *ids.get(mid)?,
        kind: Kind::Call {
            function: name.into(),
            target: None,
            args: vec![left, right],
        },
    })
}
