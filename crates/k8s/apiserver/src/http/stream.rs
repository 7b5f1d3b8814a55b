//! A watch as a stream of frames.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;
use serde_json::{Value, json};

use super::negotiate::{Format, Shape};
use super::table::{self, Include};
use crate::{Config, EventKind, ObjectWatch, Sleep, Status, WatchEvent};

/// Turns a watch into frames until its time is over.
pub(super) struct WatchStream {
    watch: Option<ObjectWatch>,
    config: Arc<Config>,
    format: Format,
    shape: Shape,
    include: Include,
    /// How long it goes on behind the alarm.
    left: Duration,
    /// Rings when a bookmark is due, and at the end.
    alarm: Sleep,
    headings: bool,
}

impl WatchStream {
    pub(super) fn new(
        watch: ObjectWatch,
        config: Arc<Config>,
        (format, shape, include): (Format, Shape, Include),
        seconds: u64,
    ) -> Self {
        let (whole, period) = (
            Duration::from_secs(seconds),
            Duration::from_secs(config.bookmark_seconds),
        );
        Self {
            watch: Some(watch),
            left: whole.saturating_sub(period),
            alarm: config.timer.sleep(whole.min(period)),
            config,
            format,
            shape,
            include,
            headings: true,
        }
    }

    /// Waits for the next bookmark, or ends the watch behind the last one.
    fn set_alarm(&mut self) {
        if self.left.is_zero() {
            self.watch = None;
            return;
        }
        let period = Duration::from_secs(self.config.bookmark_seconds);
        self.alarm = self.config.timer.sleep(self.left.min(period));
        self.left = self.left.saturating_sub(period);
    }

    fn frame(&mut self, event: &WatchEvent) -> Bytes {
        if self.format == Format::Json && self.shape == Shape::Object {
            return event.to_line();
        }
        let object = event.value();
        let object = match (self.shape, &self.watch) {
            (Shape::Table(version), Some(watch)) => {
                let metadata = json!({"resourceVersion": event.revision.to_string()});
                let bookmark = event.kind == EventKind::Bookmark;
                let rows = (!bookmark).then_some(object);
                let mut table = table::table(
                    watch.def(),
                    version,
                    rows.into_iter(),
                    metadata,
                    self.include,
                    self.config.clock.now(),
                    self.headings,
                );
                self.headings = false;
                if event.initial_events_end {
                    table["metadata"]["annotations"] = json!({"k8s.io/initial-events-end": "true"});
                }
                table
            }
            (Shape::Metadata, _) => table::partial(&object, "v1"),
            _ => object,
        };
        self.write(&json!({"type": event.kind.name(), "object": object}))
    }

    fn write(&self, value: &Value) -> Bytes {
        let (mut text, end) = match self.format {
            Format::Json | Format::Protobuf => (value.to_string(), "\n"),
            Format::Yaml => (base_yaml::to_string(value), "---\n"),
        };
        text.push_str(end);
        text.into()
    }

    fn fail(&mut self, status: &Status) -> Bytes {
        self.watch = None;
        self.write(&json!({"type": "ERROR", "object": status.to_value()}))
    }
}

/// Writes the one frame of a watch that could not begin.
pub(super) fn error_frame(status: &Status) -> Bytes {
    let mut text = json!({"type": "ERROR", "object": status.to_value()}).to_string();
    text.push('\n');
    text.into()
}

impl Stream for WatchStream {
    type Item = Bytes;

    /// One event a frame: whoever writes the frames gathers them.
    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let this = self.get_mut();
        loop {
            let Some(watch) = &mut this.watch else {
                return Poll::Ready(None);
            };
            match watch.poll_next(cx) {
                Poll::Ready(Ok(Some(event))) => return Poll::Ready(Some(this.frame(&event))),
                Poll::Ready(Ok(None)) => {
                    this.watch = None;
                    continue;
                }
                Poll::Ready(Err(status)) => return Poll::Ready(Some(this.fail(&status))),
                Poll::Pending => {}
            }
            std::task::ready!(this.alarm.as_mut().poll(cx));
            let bookmark = watch.bookmark().map(|bookmark| this.frame(&bookmark));
            this.set_alarm();
            if bookmark.is_some() {
                return Poll::Ready(bookmark);
            }
        }
    }
}
