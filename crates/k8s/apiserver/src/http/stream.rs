//! A watch as a stream of frames.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_core::Stream;
use serde_json::{Value, json};

use super::negotiate::{Format, Shape};
use super::table::{self, Include};
use crate::{Config, EventKind, ObjectWatch, Sleep, Status, WatchEvent};

/// How much is sent at a time, so that a burst of events costs few frames.
const FRAME: usize = 64 * 1024;

/// Turns a watch into frames until its time is over.
pub(super) struct WatchStream {
    watch: Option<ObjectWatch>,
    config: Arc<Config>,
    format: Format,
    shape: Shape,
    include: Include,
    deadline: Sleep,
    bookmark: Sleep,
    headings: bool,
}

impl WatchStream {
    pub(super) fn new(
        watch: ObjectWatch,
        config: Arc<Config>,
        (format, shape, include): (Format, Shape, Include),
        seconds: u64,
    ) -> Self {
        Self {
            watch: Some(watch),
            deadline: config.timer.sleep(Duration::from_secs(seconds)),
            bookmark: config
                .timer
                .sleep(Duration::from_secs(config.bookmark_seconds)),
            config,
            format,
            shape,
            include,
            headings: true,
        }
    }

    fn frame(&mut self, event: &WatchEvent, out: &mut BytesMut) {
        if self.format == Format::Json && self.shape == Shape::Object {
            out.reserve(event.object.len() + 40);
            out.extend_from_slice(b"{\"type\":\"");
            out.extend_from_slice(event.kind.name().as_bytes());
            out.extend_from_slice(b"\",\"object\":");
            out.extend_from_slice(&event.object);
            out.extend_from_slice(b"}\n");
            return;
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
        self.write(&json!({"type": event.kind.name(), "object": object}), out);
    }

    fn write(&self, value: &Value, out: &mut BytesMut) {
        match self.format {
            Format::Json | Format::Protobuf => {
                out.extend_from_slice(value.to_string().as_bytes());
                out.extend_from_slice(b"\n");
            }
            Format::Yaml => {
                out.extend_from_slice(base_yaml::to_string(value).as_bytes());
                out.extend_from_slice(b"---\n");
            }
        }
    }

    fn fail(&mut self, status: &Status, out: &mut BytesMut) {
        self.watch = None;
        self.write(&json!({"type": "ERROR", "object": status.to_value()}), out);
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

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let this = self.get_mut();
        let mut out = BytesMut::new();
        loop {
            let Some(watch) = &mut this.watch else {
                return Poll::Ready((!out.is_empty()).then(|| out.freeze()));
            };
            match watch.poll_next(cx) {
                Poll::Ready(Ok(Some(event))) => {
                    this.frame(&event, &mut out);
                    if out.len() < FRAME {
                        continue;
                    }
                    return Poll::Ready(Some(out.freeze()));
                }
                Poll::Ready(Ok(None)) => {
                    this.watch = None;
                    continue;
                }
                Poll::Ready(Err(status)) => {
                    this.fail(&status, &mut out);
                    continue;
                }
                Poll::Pending => {}
            }
            let last = this.deadline.as_mut().poll(cx).is_ready();
            let due = this.bookmark.as_mut().poll(cx).is_ready();
            if last || due {
                let bookmark = this.watch.as_ref().and_then(ObjectWatch::bookmark);
                if let Some(bookmark) = bookmark {
                    this.frame(&bookmark, &mut out);
                }
                if last {
                    this.watch = None;
                } else {
                    let period = Duration::from_secs(this.config.bookmark_seconds);
                    this.bookmark = this.config.timer.sleep(period);
                }
                continue;
            }
            if out.is_empty() {
                return Poll::Pending;
            }
            return Poll::Ready(Some(out.freeze()));
        }
    }
}
