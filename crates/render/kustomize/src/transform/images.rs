//! Images: other names, tags and digests.

use roadstead_sprig::go::regexp::Regexp;

use crate::diag::Fault;
use crate::fieldspec::FieldSpec;
use crate::node::{Id, Kind, Node, Step, Tree};
use crate::objects::Objects;

/// What becomes of an image.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Image {
    /// The image's name, which is taken as a pattern.
    pub(crate) name: String,
    pub(crate) new_name: String,
    pub(crate) tag_suffix: String,
    pub(crate) new_tag: String,
    pub(crate) digest: String,
}

pub(super) fn set(objects: &mut Objects, image: &Image, specs: &[FieldSpec]) -> Step<()> {
    let pattern = format!(
        "^{}(:[a-zA-Z0-9_.{{}}-]*)?(@sha256:[a-zA-Z0-9_.{{}}-]*)?$",
        image.name
    );
    let pattern = Regexp::new(pattern.as_bytes()).map_err(|error| {
        let text = format!("image name {:?} is taken as a pattern: {error}", image.name);
        Fault::new(text).hint("put a backslash before what is no part of a pattern")
    })?;
    for at in 0..objects.len() {
        let item = &objects.items[at];
        if item.gone || &*item.kind() == "CustomResourceDefinition" {
            continue;
        }
        // two rounds, since the second looks at what the first wrote
        for round in [0, 1] {
            let tree = &objects.items[at].tree;
            let mut found = Vec::new();
            if round == 0 {
                in_containers(tree, tree.root, &mut found)?;
            } else {
                for spec in specs.iter().filter(|spec| spec.fits(tree)) {
                    let path = crate::node::split_path(&spec.path);
                    at_path(tree, tree.root, &path, &mut found)?;
                }
            }
            found.retain(|&id| pattern.is_match(tree.text(id).as_bytes()));
            if found.is_empty() {
                continue;
            }
            let tree = &mut objects.get_mut(at).tree;
            for id in found {
                let text = image.of(tree.text(id));
                let value = tree.add(Node::scalar(text));
                tree.set_scalar(id, value)?;
            }
        }
    }
    Ok(())
}

/// The images of all lists called containers or initContainers, wherever they are.
fn in_containers(tree: &Tree, at: Id, out: &mut Vec<Id>) -> Step<()> {
    let node = tree.get(at);
    match node.kind {
        Kind::Map => {
            for field in node.inner.chunks_exact(2) {
                in_containers(tree, field[1], out)?;
                let name = &**tree.text(field[0]);
                let list = tree.get(field[1]);
                if !matches!(name, "containers" | "initContainers") || list.kind != Kind::Seq {
                    continue;
                }
                for &item in &list.inner {
                    if let Some(image) = tree.get_field(item, "image")? {
                        take(tree, image, out)?;
                    }
                }
            }
        }
        Kind::Seq => {
            for &item in &node.inner {
                in_containers(tree, item, out)?;
            }
        }
        Kind::Scalar => {}
    }
    Ok(())
}

fn take(tree: &Tree, image: Id, out: &mut Vec<Id>) -> Step<()> {
    tree.want(image, Kind::Scalar)?;
    out.push(image);
    Ok(())
}

fn at_path(tree: &Tree, at: Id, path: &[String], out: &mut Vec<Id>) -> Step<()> {
    let Some((part, rest)) = path.split_first() else {
        return take(tree, at, out);
    };
    let node = tree.get(at);
    if node.is_null() {
        return Ok(());
    }
    match node.kind {
        Kind::Seq => node
            .inner
            .iter()
            .try_for_each(|&item| at_path(tree, item, path, out)),
        Kind::Map => {
            let name = part.strip_suffix("[]").unwrap_or(part);
            match tree.lookup(at, &[name.to_owned()])? {
                Some(found) => at_path(tree, found, rest, out),
                None => Ok(()),
            }
        }
        Kind::Scalar => {
            let text = format!("{:?} stands where {part:?} is looked for", node.text);
            Err(Fault::new(text).at(node.line, node.column))
        }
    }
}

impl Image {
    /// What an image that fits becomes.
    fn of(&self, text: &str) -> String {
        let (name, mut tag, mut digest) = split(text);
        let mut out = if self.new_name.is_empty() {
            name.to_owned()
        } else {
            self.new_name.clone()
        };
        let suffixed = format!("{tag}{}", self.tag_suffix);
        match (
            self.new_tag.as_str(),
            self.digest.as_str(),
            self.tag_suffix.as_str(),
        ) {
            ("", "", "") => {}
            ("", "", _) => (tag, digest) = (&suffixed, ""),
            (new, own, _) => (tag, digest) = (new, own),
        }
        for (mark, text) in [(':', tag), ('@', digest)] {
            if !text.is_empty() {
                out.push(mark);
                out.push_str(text);
            }
        }
        out
    }
}

/// The name, tag and digest of an image.
fn split(image: &str) -> (&str, &str, &str) {
    let begin = image.find('/').unwrap_or(0);
    let at = image[begin..].find('@').map(|at| begin + at);
    let colon = image[begin..].find(':').map(|at| begin + at);
    match (at, colon) {
        (None, None) => (image, "", ""),
        (Some(at), colon) if colon.is_none_or(|colon| at < colon) => {
            (&image[..at], "", &image[at + 1..])
        }
        (Some(at), Some(colon)) => (&image[..colon], &image[colon + 1..at], &image[at + 1..]),
        (None, Some(colon)) => (&image[..colon], &image[colon + 1..], ""),
        (Some(at), None) => (&image[..at], "", &image[at + 1..]),
    }
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn images_are_taken_apart() {
        for (image, wanted) in [
            ("nginx", ("nginx", "", "")),
            ("nginx:1", ("nginx", "1", "")),
            ("r:5000/a/nginx", ("r:5000/a/nginx", "", "")),
            ("r:5000/nginx:1@sha256:f", ("r:5000/nginx", "1", "sha256:f")),
            ("nginx@sha256:f", ("nginx", "", "sha256:f")),
        ] {
            assert_eq!(split(image), wanted, "{image}");
        }
    }
}
