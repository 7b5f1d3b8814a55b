//! Percentiles, medians, and what a hub counts.

use std::collections::BTreeMap;

/// The value that a share of the values, in a hundred, does not exceed; 0 of none.
pub(super) fn percentile(values: &[f64], share: usize) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (sorted.len() * share).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or(0.0)
}

/// The middle value.
pub(super) fn median(values: &[f64]) -> f64 {
    percentile(values, 50)
}

/// The numbers of a `/metrics` page by name; histograms as their `_sum` and `_count`.
pub(super) fn scrape(text: &str) -> BTreeMap<String, f64> {
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| {
            let (name, value) = line.split_once(' ')?;
            Some((name.to_owned(), value.trim().parse().ok()?))
        })
        .filter(|(name, _): &(String, f64)| !name.contains('{'))
        .collect()
}

/// What one number grew by.
pub(super) fn grown(
    before: &BTreeMap<String, f64>,
    after: &BTreeMap<String, f64>,
    name: &str,
) -> f64 {
    let of = |page: &BTreeMap<String, f64>| page.get(name).copied().unwrap_or(0.0);
    of(after) - of(before)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_the_nearest() {
        let hundred: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        for (share, expected) in [(50, 50.0), (99, 99.0), (100, 100.0), (1, 1.0)] {
            assert_eq!(percentile(&hundred, share), expected, "p{share}");
        }
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(percentile(&[], 99), 0.0);
    }

    #[test]
    fn reads_what_a_hub_counts() {
        let page = scrape("# TYPE a counter\na_total 3\nb_sum 0.5\nb_bucket{le=\"1\"} 2\n");
        assert_eq!(page.len(), 2);
        assert_eq!(grown(&BTreeMap::new(), &page, "a_total"), 3.0);
    }
}
