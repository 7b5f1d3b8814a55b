//! What the cluster's nodes are: a few numbers, asked for now and then.

use std::sync::Arc;
use std::time::Duration;

use k8s_cluster::{Call, Cluster, ClusterError, Reply};
use k8s_object::Gvk;
use roadstead_dispatch::Capacity;
use roadstead_sync::Input;
use serde_json::Value;
use tokio::sync::mpsc;

use crate::shell::Event;

/// Between two looks.
const PERIOD: Duration = Duration::from_secs(300);
/// How many nodes are read at once: each may be tens of kilobytes.
const PAGE: u32 = 50;

/// Looks for ever, and tells what changed.
pub(crate) async fn follow(cluster: Arc<dyn Cluster>, to: mpsc::Sender<Event>) {
    let mut told = None;
    let mut complained = false;
    loop {
        match look(cluster.as_ref()).await {
            Ok(found) if told != Some(found) => {
                told = Some(found);
                let (count, capacity) = found;
                let input = Input::Nodes { count, capacity };
                if to.send(Event::Input(input)).await.is_err() {
                    return;
                }
            }
            Ok(_) => {}
            Err(error) => {
                // it informs only: nothing waits for it
                if !std::mem::replace(&mut complained, true) {
                    tracing::info!(%error, "cannot read the nodes; the hub is not told how large the cluster is");
                }
            }
        }
        tokio::time::sleep(PERIOD).await;
    }
}

async fn look(cluster: &dyn Cluster) -> Result<(u32, Capacity), ClusterError> {
    let mut count = 0_u32;
    let mut sum = Capacity::default();
    let mut token = String::new();
    loop {
        let call = Call::List {
            gvk: Gvk::new("v1", "Node"),
            labels: String::new(),
            fields: String::new(),
            limit: PAGE,
            token: std::mem::take(&mut token),
        };
        let Reply::Page {
            items, token: next, ..
        } = cluster.call(call).await?
        else {
            return Ok((count, sum));
        };
        for item in items {
            let node: Value = serde_json::from_slice(&item).unwrap_or_default();
            let of = |name: &str| {
                let text = node["status"]["allocatable"][name].as_str();
                text.and_then(millis).unwrap_or(0)
            };
            count = count.saturating_add(1);
            sum.cpu_millis = sum.cpu_millis.saturating_add(clamp(of("cpu")));
            sum.memory_bytes = sum.memory_bytes.saturating_add(clamp(of("memory") / 1000));
            sum.pods = sum.pods.saturating_add(clamp(of("pods") / 1000));
        }
        if next.is_empty() {
            return Ok((count, sum));
        }
        token = next;
    }
}

fn clamp(number: u128) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

/// Reads a quantity of Kubernetes, in thousandths.
fn millis(text: &str) -> Option<u128> {
    let at = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(at);
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let part: String = part.chars().chain("000".chars()).take(3).collect();
    let number = whole
        .parse::<u128>()
        .ok()?
        .checked_mul(1000)?
        .checked_add(part.parse().ok()?)?;
    let factor: u128 = match unit {
        "m" => return Some(number / 1000),
        "" => 1,
        "k" => 1000,
        "M" => 1000_u128.pow(2),
        "G" => 1000_u128.pow(3),
        "T" => 1000_u128.pow(4),
        "P" => 1000_u128.pow(5),
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        "Ti" => 1 << 40,
        "Pi" => 1 << 50,
        _ => return None,
    };
    number.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_quantities() {
        for (text, expected) in [
            ("4", Some(4_000)),
            ("3920m", Some(3_920)),
            ("1.5", Some(1_500)),
            ("32883988Ki", Some(32_883_988 * 1024 * 1000)),
            ("2Gi", Some(2 * 1024 * 1024 * 1024 * 1000)),
            ("1G", Some(1_000_000_000_000)),
            ("x", None),
            ("", None),
            ("1 Gi", None),
        ] {
            assert_eq!(millis(text), expected, "{text}");
        }
    }
}
