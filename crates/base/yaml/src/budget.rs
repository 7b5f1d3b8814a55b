//! How much a text may become through aliases.

use crate::problem::{Problem, Result};
use crate::tree::Node;

/// How many bytes all aliases of a file may expand to, roughly.
const MAX_ALIASED: usize = 16 << 20;
/// The same where go-yaml itself would go on for longer.
const MAX_GO_ALIASED: usize = 64 << 20;

/// Counts nodes as go-yaml does, and the bytes that aliases add.
pub(crate) struct Budget {
    go: bool,
    decoded: u64,
    through_aliases: u64,
    aliased: usize,
    /// The aliases that are being followed.
    following: Vec<u32>,
}

impl Budget {
    /// go-yaml's bound, and its words.
    pub(crate) fn go() -> Self {
        Self {
            go: true,
            // the document is counted too
            decoded: 1,
            through_aliases: 0,
            aliased: 0,
            following: Vec::new(),
        }
    }

    /// Ours: so many bytes were added by documents before this one.
    pub(crate) fn ours(aliased: usize) -> Self {
        Self {
            go: false,
            aliased,
            ..Self::go()
        }
    }

    pub(crate) fn aliased(&self) -> usize {
        self.aliased
    }

    pub(crate) fn count(&mut self, node: &Node<'_>) -> Result<()> {
        self.decoded += 1;
        if self.following.is_empty() {
            return Ok(());
        }
        self.through_aliases += 1;
        self.aliased += 32 + node.text.len();
        if !self.go {
            if self.aliased > MAX_ALIASED {
                let problem = format!(
                    "aliases expand to more than {} MiB; write the values out, or split the file",
                    MAX_ALIASED >> 20
                );
                return Err(Problem::at(problem, node.mark()));
            }
            return Ok(());
        }
        let excessive = self.through_aliases > 100
            && self.decoded > 1000
            && ratio(self.through_aliases, self.decoded) > allowed_ratio(self.decoded);
        if excessive || self.aliased > MAX_GO_ALIASED {
            let problem = "document contains excessive aliasing";
            return Err(Problem::at(problem, node.mark()));
        }
        Ok(())
    }

    /// Takes back a count: the node is counted again.
    pub(crate) fn uncount(&mut self) {
        self.decoded -= 1;
    }

    pub(crate) fn follow(&mut self, alias: u32, node: &Node<'_>) -> Result<()> {
        if self.following.contains(&alias) {
            let problem = if self.go {
                format!("anchor '{}' value contains itself", node.text)
            } else {
                "an anchor's value contains itself".to_owned()
            };
            return Err(Problem::at(problem, node.mark()));
        }
        self.following.push(alias);
        Ok(())
    }

    pub(crate) fn back(&mut self) {
        self.following.pop();
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts are small")]
fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}

/// How much of a document may come from aliases: nearly all of a small one, little of a large one.
#[expect(clippy::cast_precision_loss, reason = "counts are small")]
fn allowed_ratio(decoded: u64) -> f64 {
    const LOW: u64 = 400_000;
    const HIGH: u64 = 4_000_000;
    match decoded {
        ..=LOW => 0.99,
        HIGH.. => 0.10,
        _ => 0.99 - 0.89 * ((decoded - LOW) as f64 / (HIGH - LOW) as f64),
    }
}
