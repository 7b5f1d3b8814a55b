//! Words for people.

use roadstead_model::ClusterId;

use crate::index::Index;

/// So many clusters: `1 cluster`, `5 clusters`.
pub(crate) fn clusters(count: usize) -> String {
    count_of(count, "cluster")
}

/// So many of something that takes an `s`.
pub(crate) fn count_of(count: usize, what: &str) -> String {
    if count == 1 {
        format!("1 {what}")
    } else {
        format!("{count} {what}s")
    }
}

/// The first few clusters' names, and how many more there are.
pub(crate) fn names(index: &Index, clusters: &[ClusterId]) -> String {
    let first: Vec<&str> = clusters
        .iter()
        .take(5)
        .map(|id| index.cluster_name(id))
        .collect();
    match clusters.len() - first.len() {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}
