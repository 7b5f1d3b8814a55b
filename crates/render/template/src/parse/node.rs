//! The tree of a template file: all its nodes in one list, referred to by number.

use super::number::Number;
use crate::strconv;
use crate::text::Str;

/// The number of a node.
pub(crate) type NodeId = u32;

/// The nodes of one file.
#[derive(Debug, Default)]
pub(crate) struct Ast {
    nodes: Vec<(u32, u32, Node)>,
}

/// A piece of a template.
#[derive(Debug)]
pub(crate) enum Node {
    List(Vec<NodeId>),
    Text(Str),
    Action(NodeId),
    Pipe {
        assign: bool,
        declared: Vec<NodeId>,
        commands: Vec<NodeId>,
    },
    Command(Vec<NodeId>),
    Identifier(Str),
    Field(Vec<Str>),
    Variable(Vec<Str>),
    Chain(NodeId, Vec<Str>),
    Dot,
    Nil,
    Bool(bool),
    Number(Box<Number>, Str),
    String {
        quoted: Str,
        text: Str,
    },
    Branch {
        sort: Branch,
        pipe: NodeId,
        list: NodeId,
        otherwise: Option<NodeId>,
    },
    Template {
        name: Str,
        pipe: Option<NodeId>,
    },
    Break,
    Continue,
    End,
    Else,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Branch {
    If,
    With,
    Range,
}

impl Ast {
    /// Adds a node. `position` is where Go says it is, which for a chain of fields is the second one.
    pub(crate) fn add(&mut self, position: usize, end: usize, node: Node) -> NodeId {
        self.nodes.push((position as u32, end as u32, node));
        (self.nodes.len() - 1) as NodeId
    }

    pub(crate) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id as usize].2
    }

    pub(crate) fn position(&self, id: NodeId) -> usize {
        self.nodes[id as usize].0 as usize
    }

    pub(crate) fn end(&self, id: NodeId) -> usize {
        self.nodes[id as usize].1 as usize
    }

    pub(crate) fn list_push(&mut self, list: NodeId, node: NodeId) {
        if let Node::List(nodes) = &mut self.nodes[list as usize].2 {
            nodes.push(node);
        }
    }

    /// Whether there is nothing but space in it.
    pub(crate) fn is_empty(&self, list: NodeId) -> bool {
        match self.node(list) {
            Node::List(nodes) => nodes.iter().all(|node| match self.node(*node) {
                // Go trims Unicode's spaces here, not only ASCII's
                Node::Text(text) => text.to_text().trim().is_empty(),
                _ => false,
            }),
            _ => false,
        }
    }

    /// The piece as Go prints it in errors.
    pub(crate) fn print(&self, id: NodeId) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(&mut out, id);
        out
    }

    fn write(&self, out: &mut Vec<u8>, id: NodeId) {
        match self.node(id) {
            Node::Action(pipe) => {
                out.extend(b"{{");
                self.write(out, *pipe);
                out.extend(b"}}");
            }
            Node::Pipe {
                assign,
                declared,
                commands,
            } => {
                for (index, variable) in declared.iter().enumerate() {
                    if index > 0 {
                        out.extend(b", ");
                    }
                    self.write(out, *variable);
                }
                if !declared.is_empty() {
                    out.extend_from_slice(if *assign { b" = " } else { b" := " });
                }
                for (index, command) in commands.iter().enumerate() {
                    if index > 0 {
                        out.extend(b" | ");
                    }
                    self.write(out, *command);
                }
            }
            Node::Command(args) => {
                for (index, arg) in args.iter().enumerate() {
                    if index > 0 {
                        out.push(b' ');
                    }
                    self.write_operand(out, *arg);
                }
            }
            Node::Identifier(name) => out.extend_from_slice(name),
            Node::Field(idents) => write_fields(out, idents),
            Node::Variable(idents) => {
                out.extend_from_slice(&idents[0]);
                write_fields(out, &idents[1..]);
            }
            Node::Chain(node, fields) => {
                self.write_operand(out, *node);
                write_fields(out, fields);
            }
            Node::Dot => out.push(b'.'),
            Node::Nil => out.extend(b"nil"),
            Node::Bool(value) => out.extend_from_slice(if *value { b"true" } else { b"false" }),
            Node::Number(_, text) => out.extend_from_slice(text),
            Node::String { quoted, .. } => out.extend_from_slice(quoted),
            Node::Template { name, pipe } => {
                out.extend(b"{{template ");
                out.extend(strconv::quote(name));
                if let Some(pipe) = pipe {
                    out.push(b' ');
                    self.write(out, *pipe);
                }
                out.extend(b"}}");
            }
            Node::Break => out.extend(b"{{break}}"),
            Node::Continue => out.extend(b"{{continue}}"),
            Node::End => out.extend(b"{{end}}"),
            Node::Else => out.extend(b"{{else}}"),
            // never named in an error: what is inside them is
            Node::List(_) | Node::Text(_) | Node::Branch { .. } => {}
        }
    }

    fn write_operand(&self, out: &mut Vec<u8>, id: NodeId) {
        if matches!(self.node(id), Node::Pipe { .. }) {
            out.push(b'(');
            self.write(out, id);
            out.push(b')');
        } else {
            self.write(out, id);
        }
    }
}

fn write_fields(out: &mut Vec<u8>, fields: &[Str]) {
    for field in fields {
        out.push(b'.');
        out.extend_from_slice(field);
    }
}
