//! A connection of HTTP/2 as one task. Its streams run in it, turn by turn, and what they send in one turn leaves in as few
//! records and system calls as hold it: fifty watches of one event cost a few writes and one wake-up, not fifty.

use std::future::Future;
use std::io;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::future::{BoxFuture, FutureExt as _};
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use futures_util::task::AtomicWaker;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How much waits for the end of a turn. More is sent in the middle of it.
const ROOM: usize = 64 << 10;

/// Takes the streams that hyper starts.
#[derive(Clone, Default)]
pub(super) struct Starter(Arc<Mutex<Vec<BoxFuture<'static, ()>>>>);

impl<F> hyper::rt::Executor<F> for Starter
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        // one that panics ends alone: hyper resets it when it is dropped
        let stream = AssertUnwindSafe(stream).catch_unwind().map(|_| ());
        self.0.lock().push(stream.boxed());
    }
}

/// A connection's streams, and what they have to send.
pub(super) struct Turns<S> {
    started: Starter,
    running: FuturesUnordered<BoxFuture<'static, ()>>,
    out: Gathered<S>,
    bell: Arc<Bell>,
}

impl<S: AsyncWrite + Unpin> Turns<S> {
    /// How often a turn looks again for what was woken during it, before others have theirs.
    const LOOKS: usize = 8;

    pub(super) fn new(started: Starter, out: Gathered<S>) -> Self {
        Self {
            started,
            running: FuturesUnordered::new(),
            out,
            bell: Arc::default(),
        }
    }

    /// Lets all streams that can go on do so, and the connection, and sends what they had to say. Fails when that cannot be
    /// sent.
    pub(super) fn poll<C: Future>(
        &mut self,
        connection: &mut Pin<&mut C>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<C::Output>> {
        self.bell.task.register(cx.waker());
        self.bell.state.store(Bell::TURN, Ordering::SeqCst);
        let waker = Waker::from(Arc::clone(&self.bell));
        let mut cx = Context::from_waker(&waker);
        let mut looks = 0;
        loop {
            self.poll_streams(&mut cx);
            if let Poll::Ready(ended) = connection.as_mut().poll(&mut cx) {
                return Poll::Ready(Ok(ended));
            }
            let started = !self.started.0.lock().is_empty();
            if !self.bell.has_rung() && !started {
                break;
            }
            looks += 1;
            if looks == Self::LOOKS {
                waker.wake_by_ref();
                break;
            }
        }
        let sent = self.out.0.lock().poll_send(&mut cx);
        self.bell.rest();
        match sent {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            _ => Poll::Pending,
        }
    }

    fn poll_streams(&mut self, cx: &mut Context<'_>) {
        self.running.extend(self.started.0.lock().drain(..));
        let running = &mut self.running;
        let all = std::future::poll_fn(|cx| {
            while let Poll::Ready(Some(())) = running.poll_next_unpin(cx) {}
            Poll::<()>::Pending
        });
        // what one may send is bounded by its window; all of them together would use up the budget of one task
        let _ = std::pin::pin!(tokio::task::unconstrained(all)).poll(cx);
    }
}

/// What streams and connection ring when they can go on. During a turn it is only noted.
#[derive(Default)]
struct Bell {
    state: AtomicU8,
    task: AtomicWaker,
}

impl Bell {
    const REST: u8 = 0;
    const TURN: u8 = 1;
    const RUNG: u8 = 2;

    /// Has anything rung since this was last asked?
    fn has_rung(&self) -> bool {
        self.state.swap(Self::TURN, Ordering::SeqCst) == Self::RUNG
    }

    /// Ends the turn; there is another one if it rang.
    fn rest(&self) {
        if self.state.swap(Self::REST, Ordering::SeqCst) == Self::RUNG {
            self.task.wake();
        }
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.state.swap(Self::RUNG, Ordering::SeqCst) == Self::REST {
            self.task.wake();
        }
    }
}

/// A stream of bytes that may hold back what is written until the turn ends.
pub(super) struct Gathered<S>(Arc<Mutex<Held<S>>>);

struct Held<S> {
    stream: S,
    /// Is anything held back?
    holds: bool,
    waiting: Vec<u8>,
    sent: usize,
    /// Has all that the stream took gone on? TLS keeps what the socket has no room for.
    flushed: bool,
}

impl<S> Clone for Gathered<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<S> Gathered<S> {
    pub(super) fn new(stream: S, holds: bool) -> Self {
        Self(Arc::new(Mutex::new(Held {
            stream,
            holds,
            waiting: Vec::new(),
            sent: 0,
            flushed: true,
        })))
    }
}

impl<S: AsyncWrite + Unpin> Held<S> {
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.waiting.len() {
            let rest = &self.waiting[self.sent..];
            match std::task::ready!(Pin::new(&mut self.stream).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.sent += count,
            }
            self.flushed = false;
        }
        // an idle connection holds no room
        (self.waiting, self.sent) = (Vec::new(), 0);
        if !self.flushed {
            std::task::ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
            self.flushed = true;
        }
        Poll::Ready(Ok(()))
    }

    /// Makes room for so much more, and says whether it is to be held back.
    fn poll_hold(&mut self, more: usize, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        if self.waiting.len() + more > ROOM {
            std::task::ready!(self.poll_send(cx))?;
        }
        if self.holds && self.waiting.capacity() == 0 {
            self.waiting.reserve(ROOM.max(more));
        }
        Poll::Ready(Ok(self.holds))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gathered<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.lock().stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gathered<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut held = self.0.lock();
        if !std::task::ready!(held.poll_hold(bytes.len(), cx))? {
            return Pin::new(&mut held.stream).poll_write(cx, bytes);
        }
        held.waiting.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut held = self.0.lock();
        let more = parts.iter().map(|part| part.len()).sum();
        if !std::task::ready!(held.poll_hold(more, cx))? {
            return Pin::new(&mut held.stream).poll_write_vectored(cx, parts);
        }
        for part in parts {
            held.waiting.extend_from_slice(part);
        }
        Poll::Ready(Ok(more))
    }

    fn is_write_vectored(&self) -> bool {
        self.0.lock().stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut held = self.0.lock();
        if held.holds {
            // the end of the turn sends it
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut held.stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut held = self.0.lock();
        std::task::ready!(held.poll_send(cx))?;
        Pin::new(&mut held.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::future::poll_fn;
    use std::sync::atomic::AtomicUsize;

    use bytes::Bytes;
    use http::{Request, Response};
    use http_body_util::{BodyExt as _, Empty, StreamBody};
    use hyper::body::{Frame, Incoming};
    use hyper::client::conn::http2::SendRequest;
    use hyper_util::rt::{TokioExecutor, TokioIo};
    use tokio::io::DuplexStream;
    use tokio::sync::broadcast;

    use super::*;

    /// Counts how often it is written to, and keeps what the other end has no room for, as TLS does.
    struct Counted {
        stream: DuplexStream,
        writes: Arc<AtomicUsize>,
        kept: Vec<u8>,
    }

    impl AsyncRead for Counted {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            Pin::new(&mut self.stream).poll_read(cx, buffer)
        }
    }

    impl AsyncWrite for Counted {
        fn poll_write(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            std::task::ready!(self.as_mut().poll_flush(cx))?;
            self.writes.fetch_add(1, Ordering::SeqCst);
            self.kept.extend_from_slice(bytes);
            let _ = self.poll_flush(cx)?;
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            let this = &mut *self;
            while !this.kept.is_empty() {
                let sent = Pin::new(&mut this.stream).poll_write(cx, &this.kept);
                this.kept.drain(..std::task::ready!(sent)?);
            }
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            std::task::ready!(self.as_mut().poll_flush(cx))?;
            Pin::new(&mut self.stream).poll_shutdown(cx)
        }
    }

    struct Served {
        client: SendRequest<Empty<Bytes>>,
        news: broadcast::Sender<Bytes>,
        writes: Arc<AtomicUsize>,
    }

    /// Serves what is broadcast on every path, but on `/panic`, over a connection that holds so much.
    async fn serve(holds: usize) -> Served {
        let (near, far) = tokio::io::duplex(holds);
        let writes = Arc::new(AtomicUsize::new(0));
        let (news, _) = broadcast::channel::<Bytes>(1024);
        let (counter, source) = (writes.clone(), news.clone());
        tokio::spawn(async move {
            let starter = Starter::default();
            let counted = Counted {
                stream: near,
                writes: counter,
                kept: Vec::new(),
            };
            let stream = Gathered::new(counted, true);
            let mut turns = Turns::new(starter.clone(), stream.clone());
            let service = hyper::service::service_fn(move |request: Request<Incoming>| {
                let heard = source.subscribe();
                async move {
                    assert_ne!(request.uri().path(), "/panic", "asked for");
                    let frames = futures_util::stream::unfold(heard, async |mut heard| {
                        let part = heard.recv().await.ok()?;
                        Some((Ok::<_, Infallible>(Frame::data(part)), heard))
                    });
                    let frames = frames.boxed();
                    Ok::<_, Infallible>(Response::new(StreamBody::new(frames)))
                }
            });
            let serving = hyper::server::conn::http2::Builder::new(starter)
                .serve_connection(TokioIo::new(stream), service);
            let mut serving = std::pin::pin!(serving);
            let _ = poll_fn(|cx| turns.poll(&mut serving, cx)).await;
        });
        let (client, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(1 << 20)
            .initial_connection_window_size(64 << 20)
            .handshake(TokioIo::new(far))
            .await
            .unwrap();
        tokio::spawn(connection);
        Served {
            client,
            news,
            writes,
        }
    }

    impl Served {
        async fn ask(&mut self, path: &str) -> hyper::Result<Incoming> {
            let request = Request::get(path).body(Empty::new()).unwrap();
            Ok(self.client.send_request(request).await?.into_body())
        }
    }

    /// Reads so much of a body.
    async fn read(body: &mut Incoming, count: usize) -> Vec<u8> {
        let mut all = Vec::new();
        while all.len() < count {
            all.extend(body.frame().await.unwrap().unwrap().into_data().unwrap());
        }
        all
    }

    #[tokio::test]
    async fn what_many_streams_say_in_one_turn_is_written_at_once() {
        let mut served = serve(1 << 20).await;
        let mut bodies = Vec::new();
        for _ in 0..50 {
            bodies.push(served.ask("/").await.unwrap());
        }
        let before = served.writes.load(Ordering::SeqCst);
        served.news.send(Bytes::from(vec![b'x'; 1000])).unwrap();
        for body in &mut bodies {
            assert_eq!(read(body, 1000).await, [b'x'; 1000]);
        }
        let writes = served.writes.load(Ordering::SeqCst) - before;
        assert!(writes <= 5, "{writes} writes for 50 streams");
    }

    #[tokio::test]
    async fn a_reader_with_little_room_gets_everything_in_order() {
        let mut served = serve(100).await;
        let mut bodies = Vec::new();
        for _ in 0..5 {
            bodies.push(served.ask("/").await.unwrap());
        }
        let mut all: Vec<u8> = Vec::new();
        for number in 0..200_u32 {
            let part = vec![number as u8; 1000];
            all.extend(&part);
            served.news.send(part.into()).unwrap();
        }
        for body in &mut bodies {
            assert!(read(body, all.len()).await == all);
        }
    }

    #[tokio::test]
    async fn a_stream_that_panics_ends_alone() {
        let mut served = serve(1 << 20).await;
        let mut body = served.ask("/").await.unwrap();
        assert!(served.ask("/panic").await.is_err());
        served.news.send("here".into()).unwrap();
        assert_eq!(read(&mut body, 4).await, b"here");
    }
}
