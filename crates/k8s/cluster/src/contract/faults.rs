//! Checks of what happens when a cluster does not do what it is asked.

use k8s_object::Gvk;
use serde_json::json;

use super::{Ran, Suite, Trouble, ensure, expect};
use crate::{ErrorKind, WatchEvent, WatchSpec};

pub(super) async fn throttling_is_told_with_its_pause(suite: &Suite<'_>) -> Ran {
    if !suite.harness.trouble(Trouble::TooMany).await {
        return Ok(false);
    }
    let refused = suite.get_map("a").await;
    let transient = refused
        .as_ref()
        .is_err_and(crate::ClusterError::is_transient);
    let kind = Suite::kind_of(refused, "a throttled request")?;
    let told =
        matches!(kind, ErrorKind::TooManyRequests { retry_after_ms } if retry_after_ms >= 1000);
    ensure(told && transient, || format!("{kind:?}"))?;
    Ok(true)
}

pub(super) async fn errors_are_transient(suite: &Suite<'_>) -> Ran {
    if !suite.harness.trouble(Trouble::Errors).await {
        return Ok(false);
    }
    let refused = suite.apply(&suite.map("a", json!({}))).await;
    let kind = Suite::kind_of(refused, "a request to a broken server")?;
    ensure(kind == ErrorKind::Unavailable, || format!("{kind:?}"))?;
    suite.harness.trouble(Trouble::None).await;
    let kind = Suite::kind_of(suite.get_map("a").await, "what a failed request made")?;
    ensure(kind == ErrorKind::NotFound, || format!("{kind:?}"))?;
    Ok(true)
}

pub(super) async fn a_lost_connection_breaks_watches(suite: &Suite<'_>) -> Ran {
    let spec = || WatchSpec {
        gvk: Gvk::new("v1", "ConfigMap"),
        labels: "contract.example.org/of=nobody".to_owned(),
        from: String::new(),
    };
    let mut stream = expect(suite.harness.cluster().watch(spec()).await, "watch")?;
    let synced = suite.harness.next(&mut stream).await;
    ensure(matches!(synced, Some(Ok(WatchEvent::Synced(_)))), || {
        format!("{synced:?}")
    })?;
    if !suite.harness.trouble(Trouble::Offline).await {
        return Ok(false);
    }
    let broken = suite.harness.next(&mut stream).await;
    ensure(
        matches!(&broken, Some(Err(error)) if error.kind == ErrorKind::Unavailable),
        || format!("{broken:?}"),
    )?;
    let kind = Suite::kind_of(suite.get_map("a").await, "a request into the void")?;
    ensure(kind == ErrorKind::Unavailable, || format!("{kind:?}"))?;
    let refused = suite.harness.cluster().watch(spec()).await;
    ensure(refused.is_err(), || "a watch into the void".to_owned())?;
    suite.harness.trouble(Trouble::None).await;
    expect(
        suite.apply(&suite.map("a", json!({}))).await,
        "apply after it came back",
    )?;
    Ok(true)
}
