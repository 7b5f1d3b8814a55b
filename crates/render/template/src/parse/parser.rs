//! From tokens to trees.

use std::collections::BTreeMap;
use std::mem;

use super::lex::{Lexer, Sort, Token};
use super::node::{Ast, Branch, Node, NodeId};
use super::number::Number;
use crate::strconv;
use crate::text::Str;

/// How deep actions and parentheses may nest. Go's own bound is 10,000 parentheses; templates that people write stay below ten.
const MAX_NESTING: usize = 512;

/// Why a text is no template.
#[derive(Debug)]
pub(crate) struct ParseError {
    /// What is wrong.
    pub(crate) message: String,
    /// Go's line.
    pub(crate) line: usize,
    /// The token in question.
    pub(crate) span: std::ops::Range<usize>,
}

type Result<T> = std::result::Result<T, Box<ParseError>>;

/// A file's templates: the one of the file itself, and those that it defines, by name.
#[derive(Debug)]
pub(crate) struct Parsed {
    pub(crate) ast: Ast,
    pub(crate) trees: Vec<(Str, NodeId)>,
}

/// What Go keeps for each tree while it is parsed.
struct Tree {
    /// Lookahead, the newest last token first.
    tokens: [Token; 3],
    peeked: usize,
    vars: Vars,
    action_line: usize,
    range_depth: usize,
}

/// The variables that can be seen, and how often each name was declared: there can be many of them.
struct Vars {
    names: Vec<Str>,
    counts: BTreeMap<Str, usize>,
}

impl Vars {
    fn new() -> Self {
        let mut vars = Self {
            names: Vec::new(),
            counts: BTreeMap::new(),
        };
        vars.push(Str::from_static("$"));
        vars
    }

    fn len(&self) -> usize {
        self.names.len()
    }

    fn push(&mut self, name: Str) {
        *self.counts.entry(name.clone()).or_insert(0) += 1;
        self.names.push(name);
    }

    fn truncate(&mut self, len: usize) {
        for name in self.names.drain(len..) {
            if let Some(count) = self.counts.get_mut(&name) {
                *count -= 1;
                if *count == 0 {
                    self.counts.remove(&name);
                }
            }
        }
    }

    fn contains(&self, name: &[u8]) -> bool {
        self.counts.contains_key(name)
    }
}

struct Parser<'a> {
    lexer: Lexer,
    ast: Ast,
    trees: Vec<(Str, NodeId)>,
    tree_names: BTreeMap<Str, usize>,
    tree: Tree,
    depth: usize,
    is_function: &'a dyn Fn(&[u8]) -> bool,
}

/// Parses a text. `is_function` says which names are functions.
pub(crate) fn parse(name: &Str, text: &Str, is_function: &dyn Fn(&[u8]) -> bool) -> Result<Parsed> {
    let lexer = Lexer::new(
        text.clone(),
        !is_function(b"break"),
        !is_function(b"continue"),
    );
    let mut parser = Parser {
        lexer,
        ast: Ast::default(),
        trees: Vec::new(),
        tree_names: BTreeMap::new(),
        tree: Tree::new(),
        depth: 0,
        is_function,
    };
    let root = parser.file()?;
    parser.add(name.clone(), root)?;
    Ok(Parsed {
        ast: parser.ast,
        trees: parser.trees,
    })
}

impl Tree {
    fn new() -> Self {
        let none = || Token {
            sort: Sort::Error,
            at: 0,
            end: 0,
            line: 0,
        };
        Self {
            tokens: [none(), none(), none()],
            peeked: 0,
            vars: Vars::new(),
            action_line: 0,
            range_depth: 0,
        }
    }
}

impl Parser<'_> {
    fn next(&mut self) -> Token {
        if self.tree.peeked > 0 {
            self.tree.peeked -= 1;
        } else {
            self.tree.tokens[0] = self.lexer.token();
        }
        self.tree.tokens[self.tree.peeked]
    }

    fn backup(&mut self) {
        self.tree.peeked += 1;
    }

    fn peek(&mut self) -> &Token {
        if self.tree.peeked == 0 {
            self.tree.peeked = 1;
            self.tree.tokens[0] = self.lexer.token();
        }
        &self.tree.tokens[self.tree.peeked - 1]
    }

    fn next_non_space(&mut self) -> Token {
        loop {
            let token = self.next();
            if token.sort != Sort::Space {
                return token;
            }
        }
    }

    fn peek_non_space(&mut self) -> Token {
        let token = self.next_non_space();
        self.backup();
        token
    }

    fn error<T>(&self, message: impl Into<String>) -> Result<T> {
        let token = &self.tree.tokens[0];
        Err(Box::new(ParseError {
            message: message.into(),
            line: token.line,
            span: token.at..token.end,
        }))
    }

    fn unexpected<T>(&self, token: &Token, context: &str) -> Result<T> {
        if token.sort == Sort::Error {
            let mut message = self.lexer.print(token);
            let line = self.tree.action_line;
            if line != 0 && line != token.line {
                message.push_str(if message.ends_with(" action") {
                    " started at "
                } else {
                    " in action started at "
                });
                // the caller knows the file's name
                message.push_str(&format!("\0:{line}"));
            }
            return self.error(message);
        }
        self.error(format!(
            "unexpected {} in {context}",
            self.lexer.print(token)
        ))
    }

    fn expect(&mut self, sort: Sort, context: &str) -> Result<Token> {
        let token = self.next_non_space();
        if token.sort == sort {
            Ok(token)
        } else {
            self.unexpected(&token, context)
        }
    }

    fn nested<T>(&mut self, what: &str, inner: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if self.depth >= MAX_NESTING {
            return self.error(format!("max {what} depth exceeded"));
        }
        self.depth += 1;
        let result = inner(self);
        self.depth -= 1;
        result
    }

    fn add(&mut self, name: Str, root: NodeId) -> Result<()> {
        let Some(index) = self.tree_names.get(&name).copied() else {
            self.tree_names.insert(name.clone(), self.trees.len());
            self.trees.push((name, root));
            return Ok(());
        };
        let old = &mut self.trees[index].1;
        if self.ast.is_empty(*old) {
            *old = root;
        } else if !self.ast.is_empty(root) {
            return self.error(format!(
                "template: multiple definition of template {}",
                quoted(&name)
            ));
        }
        Ok(())
    }

    fn list(&mut self, at: usize) -> NodeId {
        self.ast.add(at, at, Node::List(Vec::new()))
    }

    fn file(&mut self) -> Result<NodeId> {
        let at = self.peek().at;
        let root = self.list(at);
        while self.peek().sort != Sort::Eof {
            if self.peek().sort == Sort::LeftDelim {
                let delim = self.next();
                if self.next_non_space().sort == Sort::Define {
                    self.in_new_tree(Self::definition)?;
                    continue;
                }
                self.tree.tokens[1] = delim;
                self.tree.peeked = 2;
            }
            let node = self.text_or_action()?;
            if self.is_end(node) {
                return self.error(format!("unexpected {}", self.printed(node)));
            }
            self.ast.list_push(root, node);
        }
        Ok(root)
    }

    fn in_new_tree<T>(&mut self, inner: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let outer = mem::replace(&mut self.tree, Tree::new());
        let result = inner(self);
        self.tree = outer;
        result
    }

    fn definition(&mut self) -> Result<()> {
        let context = "define clause";
        let token = self.next_non_space();
        if !matches!(token.sort, Sort::String | Sort::RawString) {
            return self.unexpected(&token, context);
        }
        let name = self.unquote(&token)?;
        self.expect(Sort::RightDelim, context)?;
        let (root, end) = self.item_list()?;
        if !matches!(self.ast.node(end), Node::End) {
            return self.error(format!("unexpected {} in {context}", self.printed(end)));
        }
        self.add(name, root)
    }

    fn unquote(&self, token: &Token) -> Result<Str> {
        match strconv::unquote(self.lexer.bytes_of(token)) {
            Some(text) => Ok(Str::from(text)),
            None => self.error("invalid syntax"),
        }
    }

    fn is_end(&self, node: NodeId) -> bool {
        matches!(self.ast.node(node), Node::End | Node::Else)
    }

    fn printed(&self, node: NodeId) -> String {
        String::from_utf8_lossy(&self.ast.print(node)).into_owned()
    }

    /// Items up to an `end` or `else`, which comes second.
    fn item_list(&mut self) -> Result<(NodeId, NodeId)> {
        let at = self.peek_non_space().at;
        let list = self.list(at);
        while self.peek_non_space().sort != Sort::Eof {
            let node = self.text_or_action()?;
            if self.is_end(node) {
                return Ok((list, node));
            }
            self.ast.list_push(list, node);
        }
        self.error("unexpected EOF")
    }

    fn text_or_action(&mut self) -> Result<NodeId> {
        let token = self.next_non_space();
        match token.sort {
            Sort::Text => {
                let text = self.lexer.text_of(&token);
                Ok(self.ast.add(token.at, token.end, Node::Text(text)))
            }
            Sort::LeftDelim => {
                self.tree.action_line = token.line;
                let node = self.nested("nesting", Self::action)?;
                self.tree.action_line = 0;
                Ok(node)
            }
            _ => self.unexpected(&token, "input"),
        }
    }

    fn action(&mut self) -> Result<NodeId> {
        let token = self.next_non_space();
        match token.sort {
            Sort::Block => return self.block(),
            Sort::Break => return self.jump(token.at, "{{break}}", Node::Break),
            Sort::Continue => return self.jump(token.at, "{{continue}}", Node::Continue),
            Sort::Else => return self.otherwise(),
            Sort::End => {
                let at = self.expect(Sort::RightDelim, "end")?.at;
                return Ok(self.ast.add(at, at, Node::End));
            }
            Sort::If => return self.control(Branch::If),
            Sort::Range => return self.control(Branch::Range),
            Sort::Template => return self.template(),
            Sort::With => return self.control(Branch::With),
            _ => {}
        }
        self.backup();
        let at = self.peek().at;
        let pipe = self.pipeline("command", Sort::RightDelim)?;
        let end = self.ast.end(pipe);
        Ok(self.ast.add(at, end, Node::Action(pipe)))
    }

    fn jump(&mut self, at: usize, name: &str, node: Node) -> Result<NodeId> {
        let token = self.next_non_space();
        if token.sort != Sort::RightDelim {
            return self.unexpected(&token, name);
        }
        if self.tree.range_depth == 0 {
            return self.error(format!("{name} outside {{{{range}}}}"));
        }
        Ok(self.ast.add(at, at, node))
    }

    fn otherwise(&mut self) -> Result<NodeId> {
        let peek = self.peek_non_space();
        if matches!(peek.sort, Sort::If | Sort::With) {
            return Ok(self.ast.add(peek.at, peek.end, Node::Else));
        }
        let at = self.expect(Sort::RightDelim, "else")?.at;
        Ok(self.ast.add(at, at, Node::Else))
    }

    /// `if`, `with` and `range`. A chain of `else if` nests in the tree, but is walked without recursion here: real chains
    /// are longer than anything else is deep.
    fn control(&mut self, sort: Branch) -> Result<NodeId> {
        let (context, again) = match sort {
            Branch::If => ("if", Some(Sort::If)),
            Branch::With => ("with", Some(Sort::With)),
            Branch::Range => ("range", None),
        };
        let vars = self.tree.vars.len();
        let mut chain = Vec::new();
        let mut last = None;
        loop {
            let pipe = self.pipeline(context, Sort::RightDelim)?;
            self.tree.range_depth += usize::from(sort == Branch::Range);
            let (list, next) = self.item_list()?;
            self.tree.range_depth -= usize::from(sort == Branch::Range);
            let else_at = self.ast.position(next);
            chain.push((pipe, list, else_at));
            if matches!(self.ast.node(next), Node::End) {
                break;
            }
            if again.is_some_and(|again| self.peek().sort == again) {
                self.next();
                if chain.len() >= MAX_NESTING {
                    return self.error("max nesting depth exceeded");
                }
                continue;
            }
            let (list, next) = self.item_list()?;
            if !matches!(self.ast.node(next), Node::End) {
                return self.error(format!("expected end; found {}", self.printed(next)));
            }
            last = Some(list);
            break;
        }
        self.tree.vars.truncate(vars);
        let mut inner: Option<NodeId> = None;
        for (pipe, list, else_at) in chain.into_iter().rev() {
            let otherwise = match inner {
                Some(branch) => Some(self.ast.add(else_at, else_at, Node::List(vec![branch]))),
                None => last,
            };
            let at = self.ast.position(pipe);
            let end = self.ast.end(pipe);
            inner = Some(self.ast.add(
                at,
                end,
                Node::Branch {
                    sort,
                    pipe,
                    list,
                    otherwise,
                },
            ));
        }
        match inner {
            Some(branch) => Ok(branch),
            None => self.error("unexpected EOF"),
        }
    }

    fn block(&mut self) -> Result<NodeId> {
        let context = "block clause";
        let token = self.next_non_space();
        let name = self.template_name(&token, context)?;
        let pipe = self.pipeline(context, Sort::RightDelim)?;
        let block_name = name.clone();
        let end = self.in_new_tree(|parser| {
            let (root, end) = parser.item_list()?;
            if matches!(parser.ast.node(end), Node::End) {
                parser.add(block_name, root)?;
            }
            Ok(end)
        })?;
        if !matches!(self.ast.node(end), Node::End) {
            return self.error(format!("unexpected {} in {context}", self.printed(end)));
        }
        let end = self.ast.end(pipe);
        Ok(self.ast.add(
            token.at,
            end,
            Node::Template {
                name,
                pipe: Some(pipe),
            },
        ))
    }

    fn template(&mut self) -> Result<NodeId> {
        let context = "template clause";
        let token = self.next_non_space();
        let name = self.template_name(&token, context)?;
        let mut pipe = None;
        if self.next_non_space().sort != Sort::RightDelim {
            self.backup();
            pipe = Some(self.pipeline(context, Sort::RightDelim)?);
        }
        let end = pipe.map_or(token.end, |pipe| self.ast.end(pipe));
        Ok(self.ast.add(token.at, end, Node::Template { name, pipe }))
    }

    /// A field's name, without its dot.
    fn field_name(&self, token: &Token) -> Str {
        self.lexer.text_of(&Token {
            at: token.at + 1,
            ..*token
        })
    }

    fn template_name(&mut self, token: &Token, context: &str) -> Result<Str> {
        match token.sort {
            Sort::String | Sort::RawString => self.unquote(token),
            _ => self.unexpected(token, context),
        }
    }

    fn variable(&mut self, token: &Token) -> NodeId {
        self.ast.add(
            token.at,
            token.end,
            Node::Variable(vec![self.lexer.text_of(token)]),
        )
    }

    fn pipeline(&mut self, context: &str, end: Sort) -> Result<NodeId> {
        let at = self.peek_non_space().at;
        let mut declared = Vec::new();
        let mut assign = false;
        loop {
            let variable = self.peek_non_space();
            if variable.sort != Sort::Variable {
                break;
            }
            self.next();
            // in "$x foo", foo must be seen to know that $x is no declaration
            let after = *self.peek();
            let next = self.peek_non_space();
            if matches!(next.sort, Sort::Assign | Sort::Declare) {
                assign = next.sort == Sort::Assign;
                self.next_non_space();
                declared.push(self.variable(&variable));
                let name = self.lexer.text_of(&variable);
                self.tree.vars.push(name);
            } else if next.sort == Sort::Char && self.lexer.bytes_of(&next) == b"," {
                self.next_non_space();
                declared.push(self.variable(&variable));
                let name = self.lexer.text_of(&variable);
                self.tree.vars.push(name);
                if context == "range" && declared.len() < 2 {
                    if matches!(
                        self.peek_non_space().sort,
                        Sort::Variable | Sort::RightDelim | Sort::RightParen
                    ) {
                        continue;
                    }
                    return self.error("range can only initialize variables");
                }
                return self.error(format!("too many declarations in {context}"));
            } else if after.sort == Sort::Space {
                self.tree.tokens[1] = after;
                self.tree.tokens[2] = variable;
                self.tree.peeked = 3;
            } else {
                self.tree.tokens[1] = variable;
                self.tree.peeked = 2;
            }
            break;
        }
        let mut commands = Vec::new();
        loop {
            let token = self.next_non_space();
            match token.sort {
                sort if sort == end => break,
                Sort::Bool
                | Sort::CharConstant
                | Sort::Complex
                | Sort::Dot
                | Sort::Field
                | Sort::Identifier
                | Sort::Number
                | Sort::Nil
                | Sort::RawString
                | Sort::String
                | Sort::Variable
                | Sort::LeftParen => {
                    self.backup();
                    commands.push(self.command()?);
                }
                _ => return self.unexpected(&token, context),
            }
        }
        if commands.is_empty() {
            return self.error(format!("missing value for {context}"));
        }
        for (index, command) in commands.iter().enumerate().skip(1) {
            let Node::Command(args) = self.ast.node(*command) else {
                continue;
            };
            let first = args.first().map(|arg| self.ast.node(*arg));
            if let Some(
                Node::Bool(_) | Node::Dot | Node::Nil | Node::Number(..) | Node::String { .. },
            ) = first
            {
                return self.error(format!(
                    "non executable command in pipeline stage {}",
                    index + 1
                ));
            }
        }
        let end = commands.last().map_or(at, |last| self.ast.end(*last));
        Ok(self.ast.add(
            at,
            end,
            Node::Pipe {
                assign,
                declared,
                commands,
            },
        ))
    }

    fn command(&mut self) -> Result<NodeId> {
        let at = self.peek_non_space().at;
        let mut args = Vec::new();
        loop {
            self.peek_non_space();
            if let Some(operand) = self.operand()? {
                args.push(operand);
            }
            let token = self.next();
            match token.sort {
                Sort::Space => continue,
                Sort::RightDelim | Sort::RightParen => self.backup(),
                Sort::Pipe => {}
                _ => return self.unexpected(&token, "operand"),
            }
            break;
        }
        if args.is_empty() {
            return self.error("empty command");
        }
        let end = args.last().map_or(at, |last| self.ast.end(*last));
        Ok(self.ast.add(at, end, Node::Command(args)))
    }

    fn operand(&mut self) -> Result<Option<NodeId>> {
        let Some(node) = self.term()? else {
            return Ok(None);
        };
        if self.peek().sort != Sort::Field {
            return Ok(Some(node));
        }
        let at = self.peek().at;
        let mut fields = Vec::new();
        let mut end = at;
        while self.peek().sort == Sort::Field {
            let token = self.next();
            end = token.end;
            fields.push(self.field_name(&token));
        }
        let chain = match self.ast.node(node) {
            Node::Field(first) => Node::Field(first.iter().cloned().chain(fields).collect()),
            Node::Variable(first) => Node::Variable(first.iter().cloned().chain(fields).collect()),
            Node::Bool(_) | Node::String { .. } | Node::Number(..) | Node::Nil | Node::Dot => {
                let printed = quoted(&self.ast.print(node));
                return self.error(format!("unexpected . after term {printed}"));
            }
            _ => Node::Chain(node, fields),
        };
        Ok(Some(self.ast.add(at, end, chain)))
    }

    fn term(&mut self) -> Result<Option<NodeId>> {
        let token = self.next_non_space();
        let node = match token.sort {
            Sort::Identifier => {
                let text = self.lexer.text_of(&token);
                if !(self.is_function)(&text) {
                    return self.error(format!("function {} not defined", quoted(&text)));
                }
                Node::Identifier(text)
            }
            Sort::Dot => Node::Dot,
            Sort::Nil => Node::Nil,
            Sort::Variable => {
                let text = self.lexer.text_of(&token);
                if !self.tree.vars.contains(&text) {
                    return self.error(format!("undefined variable {}", quoted(&text)));
                }
                Node::Variable(vec![text])
            }
            Sort::Field => Node::Field(vec![self.field_name(&token)]),
            Sort::Bool => Node::Bool(self.lexer.bytes_of(&token) == b"true"),
            Sort::CharConstant | Sort::Complex | Sort::Number => {
                let text = self.lexer.text_of(&token);
                let number = match token.sort {
                    Sort::CharConstant => Number::from_char(&text),
                    Sort::Complex => Number::from_complex(&text),
                    _ => Number::from_text(&text),
                };
                match number {
                    Ok(number) => Node::Number(Box::new(number), text),
                    Err(message) => return self.error(message),
                }
            }
            Sort::LeftParen => {
                return self
                    .nested("expression", |parser| {
                        parser.pipeline("parenthesized pipeline", Sort::RightParen)
                    })
                    .map(Some);
            }
            Sort::String | Sort::RawString => {
                let text = self.unquote(&token)?;
                Node::String {
                    quoted: self.lexer.text_of(&token),
                    text,
                }
            }
            _ => {
                self.backup();
                return Ok(None);
            }
        };
        Ok(Some(self.ast.add(token.at, token.end, node)))
    }
}

fn quoted(text: &[u8]) -> String {
    String::from_utf8_lossy(&strconv::quote(text)).into_owned()
}
