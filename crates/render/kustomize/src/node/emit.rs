//! Nodes as go-yaml version 3 writes them, with indents of two and lists that stand as far left as their key.

use base_yaml::go::{self, Writer};

use super::{Id, Kind, Node, Style, Tag, Tree};

/// Writes a node with what hangs below it, ended by a line break.
pub(crate) fn to_text(tree: &Tree, id: Id) -> String {
    let mut out = String::new();
    block(tree, id, 0, false, &mut out);
    if !out.ends_with('\n') {
        out.push('\n');
    }
    out
}

/// Writes a value where a line has begun; `after` tells that something stands on the line before it.
fn block(tree: &Tree, id: Id, indent: usize, after: bool, out: &mut String) {
    let node = tree.get(id);
    let flow = node.style == Style::Flow || node.kind != Kind::Scalar && node.inner.is_empty();
    let space = if after { " " } else { "" };
    match node.kind {
        Kind::Scalar => {
            let text = scalar(node, indent, false);
            if !text.is_empty() {
                out.push_str(space);
            }
            out.push_str(&text);
            out.push('\n');
        }
        _ if flow => {
            out.push_str(space);
            in_brackets(tree, id, out);
            out.push('\n');
        }
        Kind::Map => {
            if after {
                out.push('\n');
            }
            for (number, field) in node.inner.chunks_exact(2).enumerate() {
                if number > 0 || after {
                    out.push_str(&" ".repeat(indent));
                }
                out.push_str(&scalar(tree.get(field[0]), indent, true));
                out.push(':');
                let value = tree.get(field[1]);
                let list = value.kind == Kind::Seq;
                block(
                    tree,
                    field[1],
                    if list { indent } else { indent + 2 },
                    true,
                    out,
                );
            }
        }
        Kind::Seq => {
            if after {
                out.push('\n');
            }
            for (number, &item) in node.inner.iter().enumerate() {
                if number > 0 || after {
                    out.push_str(&" ".repeat(indent));
                }
                out.push('-');
                let inner = tree.get(item);
                let nested = inner.kind != Kind::Scalar
                    && inner.style != Style::Flow
                    && !inner.inner.is_empty();
                if nested {
                    out.push(' ');
                }
                block(tree, item, indent + 2, !nested, out);
            }
        }
    }
}

fn in_brackets(tree: &Tree, id: Id, out: &mut String) {
    let node = tree.get(id);
    match node.kind {
        Kind::Scalar if node.text.is_empty() => out.push_str("''"),
        Kind::Scalar => out.push_str(&scalar(node, 0, true)),
        Kind::Seq => {
            out.push('[');
            for (number, &item) in node.inner.iter().enumerate() {
                if number > 0 {
                    out.push_str(", ");
                }
                in_brackets(tree, item, out);
            }
            out.push(']');
        }
        Kind::Map => {
            out.push('{');
            for (number, field) in node.inner.chunks_exact(2).enumerate() {
                if number > 0 {
                    out.push_str(", ");
                }
                in_brackets(tree, field[0], out);
                out.push_str(": ");
                in_brackets(tree, field[1], out);
            }
            out.push('}');
        }
    }
}

/// A scalar's form; a key or what stands in brackets takes one line.
fn scalar(node: &Node, indent: usize, line: bool) -> String {
    let text = &*node.text;
    let resolved = go::tag_v3(text);
    let mut tag = "";
    let mut quoted = false;
    if node.tag == Tag::Str {
        quoted = !node.style.quoted() && resolved != "!!str";
    } else if node.tag != Tag::None && node.tag.as_str() != resolved {
        tag = node.tag.as_str();
    }
    if node.tagged {
        tag = node.tag.as_str();
        quoted = false;
    }
    let mut style = match node.style {
        Style::Plain | Style::Flow if text.contains('\n') => Style::Literal,
        Style::Plain | Style::Flow if quoted => Style::Double,
        Style::Flow => Style::Plain,
        style => style,
    };
    if line && (matches!(style, Style::Literal | Style::Folded) || text.contains('\n')) {
        style = Style::Double;
    }
    let fits = if text.is_empty() {
        !line
    } else {
        go::plain_fits(text)
    };
    if style == Style::Plain && !fits {
        style = Style::Single;
    }
    let odd = |c: char| c.is_control() && c != '\n';
    if style == Style::Single && text.contains(odd) {
        style = Style::Double;
    }
    let space_before_break = text.contains(" \n") || text.ends_with(' ');
    if matches!(style, Style::Literal | Style::Folded)
        && (text.contains(odd) || space_before_break || text.is_empty())
    {
        style = Style::Double;
    }
    let body = match style {
        Style::Plain | Style::Flow => text.to_owned(),
        Style::Single => format!("'{}'", text.replace('\'', "''")),
        Style::Double => double(text),
        Style::Literal | Style::Folded => literal(text, indent),
    };
    if tag.is_empty() {
        body
    } else {
        format!("{tag} {body}")
    }
}

fn double(text: &str) -> String {
    let mut writer = Writer::v3(2);
    // a list's item is written on one line whatever it holds
    writer.begin_map(1);
    writer.str(text);
    writer.null();
    writer.end();
    let written = writer.finish().unwrap_or_default();
    let key = written
        .trim_end()
        .strip_suffix(": null")
        .unwrap_or_default();
    if key.starts_with('"') {
        return key.to_owned();
    }
    let mut out = String::new();
    go::json_string(&mut out, text.as_bytes(), false);
    out
}

fn literal(text: &str, indent: usize) -> String {
    let mut out = String::from("|");
    if text.starts_with([' ', '\n']) {
        out.push('2');
    }
    if !text.ends_with('\n') {
        out.push('-');
    } else if text.ends_with("\n\n") || text == "\n" {
        out.push('+');
    }
    let pad = " ".repeat(indent.max(2));
    let body = text.strip_suffix('\n').unwrap_or(text);
    for line in body.split('\n') {
        out.push('\n');
        if !line.is_empty() {
            out.push_str(&pad);
            out.push_str(line);
        }
    }
    out
}
