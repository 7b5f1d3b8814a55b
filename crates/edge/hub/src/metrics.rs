//! What the hub counts, in Prometheus' form. Labels are bounded: never a cluster, a commit or an App.

use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// What the hub counts.
pub(crate) struct Metrics {
    registry: Registry,
    pub(crate) connected: Gauge,
    pub(crate) reports: Counter,
    pub(crate) orders: Counter,
    pub(crate) order_bytes: Counter,
    pub(crate) blobs: Counter,
    pub(crate) blob_bytes: Counter,
    pub(crate) polls: Counter,
    pub(crate) poll_errors: Counter,
    pub(crate) renders: Counter,
    pub(crate) render_seconds: Histogram,
    pub(crate) joins: Counter,
    pub(crate) store_errors: Counter,
    pub(crate) poll_seconds: Histogram,
    pub(crate) order_seconds: Histogram,
    pub(crate) send_seconds: Histogram,
    pub(crate) ingest_seconds: Histogram,
    pub(crate) commit_seconds: Histogram,
    pub(crate) revision: Gauge,
    pub(crate) notes: Counter,
    decide_seconds: Histogram,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let seconds = || Histogram::new(exponential_buckets(0.0005, 2.0, 16));
        let mut metrics = Self {
            registry: Registry::with_prefix("roadstead"),
            connected: Gauge::default(),
            reports: Counter::default(),
            orders: Counter::default(),
            order_bytes: Counter::default(),
            blobs: Counter::default(),
            blob_bytes: Counter::default(),
            polls: Counter::default(),
            poll_errors: Counter::default(),
            renders: Counter::default(),
            render_seconds: seconds(),
            joins: Counter::default(),
            store_errors: Counter::default(),
            poll_seconds: seconds(),
            order_seconds: seconds(),
            send_seconds: seconds(),
            ingest_seconds: seconds(),
            commit_seconds: seconds(),
            revision: Gauge::default(),
            notes: Counter::default(),
            decide_seconds: seconds(),
        };
        let registry = &mut metrics.registry;
        registry.register(
            "hub_agents_connected",
            "Agents that are connected now",
            metrics.connected.clone(),
        );
        registry.register(
            "hub_reports",
            "Reports taken in from agents",
            metrics.reports.clone(),
        );
        registry.register(
            "hub_orders",
            "Orders sent to agents",
            metrics.orders.clone(),
        );
        registry.register(
            "hub_order_bytes",
            "Bytes of orders sent, as JSON",
            metrics.order_bytes.clone(),
        );
        registry.register("hub_blobs", "Blobs sent to agents", metrics.blobs.clone());
        registry.register(
            "hub_blob_bytes",
            "Bytes of blobs sent on the wire",
            metrics.blob_bytes.clone(),
        );
        registry.register(
            "hub_source_polls",
            "Polls of Sources",
            metrics.polls.clone(),
        );
        registry.register(
            "hub_source_poll_errors",
            "Polls of Sources that failed",
            metrics.poll_errors.clone(),
        );
        registry.register(
            "hub_renders",
            "Renders of Releases",
            metrics.renders.clone(),
        );
        registry.register(
            "hub_render_duration_seconds",
            "How long renders take",
            metrics.render_seconds.clone(),
        );
        registry.register("hub_joins", "Clusters joined", metrics.joins.clone());
        registry.register(
            "hub_store_errors",
            "Commits that failed for another reason than a conflict",
            metrics.store_errors.clone(),
        );
        registry.register(
            "hub_decide_duration_seconds",
            "How long one look at one App takes",
            metrics.decide_seconds.clone(),
        );
        registry.register(
            "hub_source_poll_duration_seconds",
            "How long polls of Sources take",
            metrics.poll_seconds.clone(),
        );
        registry.register(
            "hub_order_make_duration_seconds",
            "How long it takes to make the orders of all clusters that one look changed",
            metrics.order_seconds.clone(),
        );
        registry.register(
            "hub_order_send_duration_seconds",
            "How long it takes to sign one order and to hand it to its connection",
            metrics.send_seconds.clone(),
        );
        registry.register(
            "hub_ingest_duration_seconds",
            "How long it takes to take in everything that came at once, its commit included",
            metrics.ingest_seconds.clone(),
        );
        registry.register(
            "hub_commit_wait_duration_seconds",
            "How long one look's commits take to be durable",
            metrics.commit_seconds.clone(),
        );
        registry.register(
            "hub_store_revision",
            "The store's newest revision",
            metrics.revision.clone(),
        );
        registry.register(
            "hub_seen_notes",
            "Writes that note when a cluster was heard of",
            metrics.notes.clone(),
        );
        metrics
    }

    pub(crate) fn decided(&self, took: Duration) {
        self.decide_seconds.observe(took.as_secs_f64());
    }

    /// Writes everything, for `/metrics`.
    pub(crate) fn text(&self) -> String {
        let mut out = String::new();
        // writing into a String does not fail
        let _ = encode(&mut out, &self.registry);
        out
    }
}
