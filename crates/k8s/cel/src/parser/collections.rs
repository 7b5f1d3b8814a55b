//! Lists, maps and messages in brackets.

use super::{Node, Parser, Read, Stop};
use crate::ast::{Entry, Expr, Field, Kind};
use crate::lexer::Tok;

impl Parser<'_> {
    pub(super) fn message(&mut self, dot: bool, tokens: usize) -> Read<Node> {
        let mut name = String::new();
        if dot {
            name.push('.');
        }
        for _ in 0..tokens {
            let token = self.next();
            name.push_str(&self.text(token));
        }
        let open = self.next();
        let id = self.id_at(open.start);
        let (mut fields, mut depth) = (Vec::new(), 0);
        self.closers.push(Tok::RBrace);
        while self.peek().tok != Tok::RBrace {
            if self.peek().tok == Tok::Comma {
                self.next();
                break;
            }
            if self.peek().tok == Tok::Question {
                self.next();
            }
            let field = self.peek();
            if field.tok == Tok::EscIdent {
                self.next();
            } else {
                self.expect(Tok::Ident)?;
            }
            self.expect(Tok::Colon)?;
            let (value, value_depth) = self.expr()?;
            depth = depth.max(value_depth);
            fields.push(Field { value });
            if self.peek().tok != Tok::Comma {
                break;
            }
            self.next();
        }
        self.closers.pop();
        self.close(Tok::RBrace, true)?;
        Ok((
            Expr {
                id,
                kind: Kind::Struct {
                    name: name.into(),
                    fields,
                },
            },
            depth,
        ))
    }

    /// The end of a list or map, before which a comma may stand.
    fn close(&mut self, closer: Tok, comma: bool) -> Read<()> {
        let token = self.peek();
        if token.tok == closer {
            self.next();
            return Ok(());
        }
        if !comma {
            self.expect(closer)?;
            return Ok(());
        }
        let shown = self.shown(token);
        let expecting = format!("{{{}, {}}}", closer.name(), Tok::Comma.name());
        if self.ahead(1).tok == closer && token.tok != Tok::Eof {
            self.syntax(
                token,
                &format!("extraneous input '{shown}' expecting {expecting}"),
            );
            self.next();
            self.next();
            return Ok(());
        }
        self.syntax(
            token,
            &format!("mismatched input '{shown}' expecting {expecting}"),
        );
        Err(Stop::Reported)
    }

    /// Reads what may stand before an item: is it optional? Of a lone comma there is none.
    fn begin_item(&mut self, first: bool) -> Option<bool> {
        if first && self.peek().tok == Tok::Comma {
            self.next();
            return None;
        }
        let optional = self.peek().tok == Tok::Question;
        if optional {
            self.next();
        }
        Some(optional)
    }

    pub(super) fn list(&mut self) -> Read<Node> {
        let open = self.next();
        let id = self.id_at(open.start);
        let (mut elements, mut optionals, mut depth) = (Vec::new(), Vec::new(), 0);
        let extra = [Tok::Question, Tok::RBracket, Tok::Comma];
        self.closers.push(Tok::RBracket);
        self.begin(&extra)?;
        let mut comma = true;
        while !matches!(self.peek().tok, Tok::RBracket | Tok::Eof) {
            let Some(optional) = self.begin_item(elements.is_empty()) else {
                comma = false;
                break;
            };
            let (element, element_depth) = self.expr()?;
            elements.push(element);
            optionals.push(optional);
            depth = depth.max(element_depth);
            comma = self.peek().tok != Tok::Comma;
            if comma {
                break;
            }
            self.next();
        }
        self.closers.pop();
        self.close(Tok::RBracket, comma)?;
        Ok((
            Expr {
                id,
                kind: Kind::List {
                    elements,
                    optionals,
                },
            },
            depth,
        ))
    }

    pub(super) fn map(&mut self) -> Read<Node> {
        let open = self.next();
        let id = self.id_at(open.start);
        let (mut entries, mut depth) = (Vec::new(), 0);
        let extra = [Tok::Question, Tok::RBrace, Tok::Comma];
        self.closers.push(Tok::RBrace);
        self.begin(&extra)?;
        let mut comma = true;
        while !matches!(self.peek().tok, Tok::RBrace | Tok::Eof) {
            let Some(optional) = self.begin_item(entries.is_empty()) else {
                comma = false;
                break;
            };
            let (key, key_depth) = self.expr()?;
            let colon = self.expect(Tok::Colon)?;
            self.id_at(colon.start);
            let (value, value_depth) = self.expr()?;
            entries.push(Entry {
                key,
                value,
                optional,
            });
            depth = depth.max(key_depth).max(value_depth);
            comma = self.peek().tok != Tok::Comma;
            if comma {
                break;
            }
            self.next();
        }
        self.closers.pop();
        self.close(Tok::RBrace, comma)?;
        Ok((
            Expr {
                id,
                kind: Kind::Map(entries),
            },
            depth,
        ))
    }
}
