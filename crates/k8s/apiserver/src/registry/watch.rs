//! Watches: what changes, as events about objects.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use base_store::{Change, Revision, Watch, WatchItem};
use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use serde_json::Value;

use super::{ListOptions, Registry, list::parse_revision, read_error};
use crate::{ResourceDef, Selector, Status, codec};

/// What happened to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// It came, or came to match the selector.
    Added,
    /// It changed.
    Modified,
    /// It went, or stopped matching the selector.
    Deleted,
    /// Nothing: everything up to this revision has been seen.
    Bookmark,
}

impl EventKind {
    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Added => "ADDED",
            Self::Modified => "MODIFIED",
            Self::Deleted => "DELETED",
            Self::Bookmark => "BOOKMARK",
        }
    }
}

/// One event of a watch.
#[derive(Debug, Clone)]
pub struct WatchEvent {
    /// What happened.
    pub kind: EventKind,
    /// The object as bytes, with its resourceVersion.
    pub object: Bytes,
    /// When it happened.
    pub revision: Revision,
    /// Does this bookmark end the initial events?
    pub initial_events_end: bool,
    /// The event as it stands in a stream of JSON, where the object was cut out of that.
    line: Option<Bytes>,
}

impl WatchEvent {
    const TYPE: &[u8] = b"{\"type\":\"";
    const OBJECT: &[u8] = b"\",\"object\":";
    const END: &[u8] = b"}\n";
    /// How much longer than its object an event is as a line, at most.
    const AROUND: usize = 40;

    /// Writes an event as it stands in a stream of JSON, around what writes its object.
    fn write_line(kind: EventKind, out: &mut BytesMut, object: impl FnOnce(&mut BytesMut)) {
        out.extend_from_slice(Self::TYPE);
        out.extend_from_slice(kind.name().as_bytes());
        out.extend_from_slice(Self::OBJECT);
        object(out);
        out.extend_from_slice(Self::END);
    }

    /// Makes an event of its line.
    fn of_line(kind: EventKind, line: Bytes, revision: Revision) -> Self {
        let before = Self::TYPE.len() + kind.name().len() + Self::OBJECT.len();
        Self {
            kind,
            object: line.slice(before..line.len() - Self::END.len()),
            revision,
            initial_events_end: false,
            line: Some(line),
        }
    }

    /// The event as it stands in a stream of JSON: all watches that see it share it.
    pub fn to_line(&self) -> Bytes {
        self.line.clone().unwrap_or_else(|| {
            let mut out = BytesMut::with_capacity(self.object.len() + Self::AROUND);
            Self::write_line(self.kind, &mut out, |out| {
                out.extend_from_slice(&self.object)
            });
            out.freeze()
        })
    }

    /// Makes one, for resources that are not stored. The object needs its resourceVersion.
    pub fn new(kind: EventKind, object: &Value, revision: Revision) -> Self {
        Self {
            kind,
            object: base_json::canonical(object).into(),
            revision,
            initial_events_end: false,
            line: None,
        }
    }

    /// Makes a bookmark; `end` says that it ends the initial events.
    pub fn bookmark(def: &ResourceDef, revision: Revision, end: bool) -> Self {
        bookmark(def, revision, end)
    }

    /// Reads the object.
    pub fn value(&self) -> Value {
        // what the registry hands out is JSON: it was encoded here
        serde_json::from_slice(&self.object).unwrap_or_default()
    }
}

/// What to watch.
#[derive(Debug, Clone, Default)]
pub struct WatchOptions {
    /// Which objects.
    pub selector: Selector,
    /// After which revision; empty or `0` begins with everything that is there.
    pub resource_version: String,
    /// Send what is there first, and a bookmark behind it?
    pub send_initial_events: bool,
    /// Send bookmarks?
    pub bookmarks: bool,
}

/// Where the watch of a resource that is not stored takes its events from.
pub trait EventSource: Send {
    /// Takes the next event. `Ready(Err)`: the watch is over, read again; `Ready(Ok(None))`: it is over.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<WatchEvent>, Status>>;
}

/// What was sent last to the watches of a server: what a thousand of them see is made once. It lives as long as one of them.
#[derive(Default)]
pub(super) struct Sent(Mutex<Recent>);

#[derive(Default)]
struct Recent {
    events: VecDeque<SentEvent>,
    bytes: usize,
}

struct SentEvent {
    revision: Revision,
    kind: EventKind,
    def: Arc<ResourceDef>,
    line: Bytes,
}

impl Sent {
    /// So few watches see so little of the same that nothing is kept for them.
    const FEW: usize = 8;
    /// How much is kept, in bytes.
    const KEPT: usize = 256 << 10;

    /// Finds the one that the watches of a server share.
    pub(super) fn of(known: &Mutex<Weak<Self>>) -> Arc<Self> {
        let mut known = known.lock();
        known.upgrade().unwrap_or_else(|| {
            let new = Arc::default();
            *known = Arc::downgrade(&new);
            new
        })
    }

    /// Returns an event's line, made by `make` unless another watch has had it.
    fn line(
        self: &Arc<Self>,
        def: &Arc<ResourceDef>,
        (revision, kind): (Revision, EventKind),
        make: impl FnOnce() -> Bytes,
    ) -> Bytes {
        if Arc::strong_count(self) <= Self::FEW {
            return make();
        }
        let mut recent = self.0.lock();
        let same = |one: &&SentEvent| {
            one.revision == revision && one.kind == kind && Arc::ptr_eq(&one.def, def)
        };
        if let Some(found) = recent.events.iter().rev().find(same) {
            return found.line.clone();
        }
        let line = make();
        recent.bytes += line.len();
        recent.events.push_back(SentEvent {
            revision,
            kind,
            def: Arc::clone(def),
            line: line.clone(),
        });
        while recent.bytes > Self::KEPT
            && let Some(old) = recent.events.pop_front()
        {
            recent.bytes -= old.line.len();
        }
        line
    }
}

enum Source {
    Store(Watch, Arc<Sent>),
    Events(Box<dyn EventSource>),
}

/// A running watch over one resource.
pub struct ObjectWatch {
    def: Arc<ResourceDef>,
    selector: Selector,
    inner: Source,
    ready: VecDeque<WatchEvent>,
    seen: Revision,
    bookmarks: bool,
    failed: Option<Status>,
    ended: bool,
}

impl Registry {
    /// Watches objects; an empty namespace means all.
    pub fn watch(
        &self,
        def: &Arc<ResourceDef>,
        namespace: &str,
        options: &WatchOptions,
    ) -> Result<ObjectWatch, Status> {
        options.selector.check(def)?;
        let asked = parse_revision(&options.resource_version)?.filter(|asked| asked.0 != 0);
        let mut ready = VecDeque::new();
        let from = match asked {
            Some(asked) if !options.send_initial_events => asked,
            _ => {
                if let Some(asked) = asked
                    && asked > self.revision()
                {
                    return Err(Status::revision_too_large(asked.0, self.revision().0));
                }
                // an unset resourceVersion with the initial events declined starts now
                let list = self.list(
                    def,
                    namespace,
                    &ListOptions::select(options.selector.clone()),
                )?;
                for object in list.items {
                    ready.push_back(WatchEvent {
                        kind: EventKind::Added,
                        object,
                        revision: list.revision,
                        initial_events_end: false,
                        line: None,
                    });
                }
                if options.send_initial_events && options.bookmarks {
                    ready.push_back(bookmark(def, list.revision, true));
                }
                list.revision
            }
        };
        let inner = self
            .store()
            .watch(&self.key_prefix(def, namespace), from)
            .map_err(|error| match error {
                base_store::ReadError::Compacted { asked, oldest } => too_old(asked, oldest),
                error => read_error(error),
            })?;
        Ok(ObjectWatch {
            def: Arc::clone(def),
            selector: options.selector.clone(),
            inner: Source::Store(inner, self.sent()),
            ready,
            seen: from,
            bookmarks: options.bookmarks,
            failed: None,
            ended: false,
        })
    }
}

fn too_old(asked: Revision, oldest: Revision) -> Status {
    Status::expired(format!("too old resource version: {asked} ({oldest})"))
}

fn bookmark(def: &ResourceDef, revision: Revision, end: bool) -> WatchEvent {
    let annotations = if end {
        ",\"annotations\":{\"k8s.io/initial-events-end\":\"true\"}"
    } else {
        ""
    };
    let object = format!(
        "{{\"kind\":\"{}\",\"apiVersion\":\"{}\",\"metadata\":{{\"resourceVersion\":\"{revision}\"{annotations}}}}}",
        def.kind,
        def.api_version()
    );
    WatchEvent {
        kind: EventKind::Bookmark,
        object: object.into(),
        revision,
        initial_events_end: end,
        line: None,
    }
}

impl ObjectWatch {
    /// Makes a watch of a resource that is not stored. Selectors are the source's to honour; bookmarks come by the
    /// timer when `bookmarks` says so.
    pub fn from_source(
        def: Arc<ResourceDef>,
        source: impl EventSource + 'static,
        from: Revision,
        bookmarks: bool,
    ) -> Self {
        Self {
            def,
            selector: Selector::default(),
            inner: Source::Events(Box::new(source)),
            ready: VecDeque::new(),
            seen: from,
            bookmarks,
            failed: None,
            ended: false,
        }
    }

    /// Takes the next event. `Ready(Err)`: the watch is over, read again; `Ready(Ok(None))`: the store is closed.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<WatchEvent>, Status>> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Poll::Ready(Ok(Some(event)));
            }
            if let Some(status) = self.failed.take() {
                self.ended = true;
                return Poll::Ready(Err(status));
            }
            if self.ended {
                return Poll::Ready(Ok(None));
            }
            let inner = match &mut self.inner {
                Source::Store(inner, _) => inner,
                Source::Events(source) => {
                    let event = std::task::ready!(source.poll_next(cx));
                    match &event {
                        Ok(Some(event)) => self.seen = self.seen.max(event.revision),
                        _ => self.ended = true,
                    }
                    return Poll::Ready(event);
                }
            };
            match inner.poll_next(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => self.ended = true,
                Poll::Ready(Some(WatchItem::Progress(revision))) => self.seen = revision,
                Poll::Ready(Some(WatchItem::Compacted(oldest))) => {
                    self.failed = Some(too_old(self.seen, oldest));
                }
                Poll::Ready(Some(WatchItem::Commit(commit))) => {
                    for change in commit.changes.iter() {
                        match self.event(change) {
                            Ok(event) => self.ready.extend(event),
                            Err(status) => self.failed = Some(status),
                        }
                    }
                    self.seen = commit.revision;
                }
            }
        }
    }

    /// Waits for the next event.
    pub async fn next(&mut self) -> Result<Option<WatchEvent>, Status> {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }

    /// Takes an event that is there already.
    pub fn try_next(&mut self) -> Result<Option<WatchEvent>, Status> {
        match self.poll_next(&mut Context::from_waker(std::task::Waker::noop())) {
            Poll::Ready(event) => event,
            Poll::Pending => Ok(None),
        }
    }

    /// Returns the revision up to which everything was handed out.
    pub fn seen(&self) -> Revision {
        self.ready
            .front()
            .map_or(self.seen, |event| Revision(event.revision.0 - 1))
    }

    /// Makes a bookmark, if they are wanted and nothing waits.
    pub fn bookmark(&self) -> Option<WatchEvent> {
        (self.bookmarks && self.ready.is_empty()).then(|| bookmark(&self.def, self.seen, false))
    }

    /// Returns what is watched.
    pub fn def(&self) -> &Arc<ResourceDef> {
        &self.def
    }

    fn event(&self, change: &Change) -> Result<Option<WatchEvent>, Status> {
        let matches = |bytes: &Option<Bytes>| -> Result<bool, Status> {
            match bytes {
                None => Ok(false),
                Some(_) if self.selector.is_empty() => Ok(true),
                Some(bytes) => {
                    Ok(self
                        .selector
                        .matches(&codec::decode(&self.def, bytes, change.revision)?))
                }
            }
        };
        let (kind, bytes) = match (matches(&change.old)?, matches(&change.new)?) {
            (false, false) => return Ok(None),
            (false, true) => (EventKind::Added, &change.new),
            (true, true) => (EventKind::Modified, &change.new),
            // an object that is gone is sent as it was; one that stopped matching, too
            (true, false) => (EventKind::Deleted, &change.old),
        };
        Ok(bytes.as_ref().map(|bytes| {
            WatchEvent::of_line(
                kind,
                self.line(kind, bytes, change.revision),
                change.revision,
            )
        }))
    }

    fn line(&self, kind: EventKind, bytes: &Bytes, revision: Revision) -> Bytes {
        let make = || {
            let room = bytes.len() + codec::SPLICED + WatchEvent::AROUND;
            let mut out = BytesMut::with_capacity(room);
            WatchEvent::write_line(kind, &mut out, |out| {
                codec::splice_into(&self.def, bytes, revision, out);
            });
            out.freeze()
        };
        match &self.inner {
            Source::Store(_, sent) => sent.line(&self.def, (revision, kind), make),
            Source::Events(_) => make(),
        }
    }
}
