//! Watches as the load holds them. What they receive is deciphered and its lines are counted, and no more: so that the
//! processors, which the servers share with the load, are the servers'.

use std::cell::RefCell;
use std::collections::HashMap;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Instant;

use anyhow::{Context as _, anyhow, bail};
use tokio::io::{AsyncRead as _, AsyncWriteExt as _, ReadBuf};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::connection::{Connection, Place, Stream, dial};
use super::load::{Found, PATIENCE, ROOM, Start, apply, ask, jobs};
use super::servers::Server;

/// How many connections make the changes of a burst.
const WRITERS: usize = 16;
/// How much a watch alone on its connection reads at a time.
const WATCH_ROOM: usize = 16 << 10;

thread_local! {
    /// Where all watches read: what one has counted is over.
    static DESK: RefCell<Vec<u8>> = RefCell::new(vec![0; ROOM]);
}

/// Reads what has come on a connection, and gives it away to be counted.
async fn take<T>(
    stream: &mut Stream,
    mut count: impl FnMut(&[u8]) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    std::future::poll_fn(|cx| {
        DESK.with_borrow_mut(|desk| {
            let mut desk = ReadBuf::new(desk);
            std::task::ready!(Pin::new(&mut *stream).poll_read(cx, &mut desk))?;
            std::task::Poll::Ready(match desk.filled() {
                [] => Err(anyhow!("the server closed the connection of a watch")),
                bytes => count(bytes),
            })
        })
    })
    .await
}

fn count(bytes: &[u8], wanted: u8) -> usize {
    memchr::memchr_iter(wanted, bytes).count()
}

/// What the watches of one run have seen.
struct Seen {
    watchers: usize,
    changes: RefCell<Vec<Change>>,
    /// Milliseconds from a change's sending to each watch.
    took: RefCell<Vec<f64>>,
    /// As many permits as changes may be under way. One is under way until every watch has seen it.
    free: Semaphore,
}

struct Change {
    sent: Instant,
    seen_by: usize,
}

impl Seen {
    /// Notes that a watch that had seen so many changes has now seen so many.
    fn note(&self, told: &mut usize, now_seen: usize) -> anyhow::Result<()> {
        if now_seen == *told {
            return Ok(());
        }
        let now = Instant::now();
        let (mut changes, mut took) = (self.changes.borrow_mut(), self.took.borrow_mut());
        for change in changes
            .get_mut(*told..now_seen)
            .context("an event that nobody made")?
        {
            took.push(now.duration_since(change.sent).as_secs_f64() * 1e3);
            change.seen_by += 1;
            if change.seen_by == self.watchers {
                self.free.add_permits(1);
            }
        }
        *told = now_seen;
        Ok(())
    }

    /// Waits until another change may be made, and notes that it is.
    async fn begin(&self) -> anyhow::Result<()> {
        self.free.acquire().await?.forget();
        let sent = Instant::now();
        self.changes.borrow_mut().push(Change { sent, seen_by: 0 });
        Ok(())
    }
}

/// Follows a watch on a connection of its own.
async fn follow(connection: Connection, seen: Rc<Seen>) -> anyhow::Result<()> {
    let (mut stream, behind_head) = connection.into_parts();
    // an event ends a line, and so do chunks, whose ends alone have a carriage return
    let mut lines = count(&behind_head, b'\n');
    let mut chunks = count(&behind_head, b'\r');
    let mut told = 0;
    loop {
        let now_seen = lines.saturating_sub(chunks).max(told);
        seen.note(&mut told, now_seen)?;
        let (more_lines, more_chunks) = take(&mut stream, |bytes| {
            Ok((count(bytes, b'\n'), count(bytes, b'\r')))
        })
        .await?;
        lines += more_lines;
        chunks += more_chunks;
    }
}

/// Many watches on one connection of HTTP/2 (RFC 9113), as far as counting needs it: header blocks are not decoded but for the
/// status, which both servers write as the one byte that RFC 7541 has for 200.
struct Streams {
    stream: Stream,
    seen: Rc<Seen>,
    frames: Frames,
}

/// What was read of the frames so far.
struct Frames {
    head: [u8; Frames::HEAD],
    /// How much of the head is there.
    have: usize,
    /// How much of the frame is to come.
    left: usize,
    /// What is kept of a frame: all but data.
    kept: Vec<u8>,
    watches: HashMap<u32, Watch>,
    begun: usize,
    /// What the connection may have told before it needs room.
    taken: usize,
    /// What is to be answered.
    out: Vec<u8>,
}

#[derive(Default)]
struct Watch {
    told: usize,
    taken: usize,
}

mod kind {
    pub(super) const DATA: u8 = 0;
    pub(super) const HEADERS: u8 = 1;
    pub(super) const RESET: u8 = 3;
    pub(super) const SETTINGS: u8 = 4;
    pub(super) const PING: u8 = 6;
    pub(super) const GO_AWAY: u8 = 7;
    pub(super) const WINDOW: u8 = 8;
}

const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;

impl Frames {
    const HEAD: usize = 9;
    /// The windows are those of Go's client: of a stream, and of the connection.
    const STREAM_WINDOW: u32 = 4 << 20;
    const WINDOW: u32 = 1 << 30;

    fn new() -> Self {
        let mut new = Self {
            head: [0; Self::HEAD],
            have: 0,
            left: 0,
            kept: Vec::new(),
            watches: HashMap::new(),
            begun: 0,
            taken: 0,
            out: b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        };
        let mut settings = vec![0, 2, 0, 0, 0, 0, 0, 4]; // no pushes; the window of a stream
        settings.extend(Self::STREAM_WINDOW.to_be_bytes());
        new.send(kind::SETTINGS, 0, 0, &settings);
        new.send(kind::WINDOW, 0, 0, &Self::WINDOW.to_be_bytes());
        new
    }

    fn send(&mut self, kind: u8, flags: u8, stream: u32, body: &[u8]) {
        let length = (body.len() as u32).to_be_bytes();
        self.out
            .extend([length[1], length[2], length[3], kind, flags]);
        self.out.extend(stream.to_be_bytes());
        self.out.extend(body);
    }

    /// Asks for a watch.
    fn ask(&mut self, place: &Place, path: &str) -> anyhow::Result<()> {
        let mut block = vec![0x82, 0x87]; // GET, https
        // names of the static table, values as they are
        for (name, value) in [
            (&[0x01][..], place.address.to_string()),
            (&[0x04], format!("{}{path}", place.prefix)),
            (&[0x0f, 0x04], "application/json".to_owned()),
        ] {
            block.extend(name);
            match value.len() {
                short @ 0..127 => block.push(short as u8),
                long @ 127..255 => block.extend([127, (long - 127) as u8]),
                _ => bail!("the path of a watch is too long"),
            }
            block.extend(value.as_bytes());
        }
        let stream = 2 * self.watches.len() as u32 + 1;
        self.watches.insert(stream, Watch::default());
        self.send(kind::HEADERS, END_STREAM | END_HEADERS, stream, &block);
        Ok(())
    }

    /// Reads what came; tells the lines of every watch.
    fn read(&mut self, mut bytes: &[u8], seen: &Seen) -> anyhow::Result<()> {
        while !bytes.is_empty() {
            if self.have < Self::HEAD {
                let count = bytes.len().min(Self::HEAD - self.have);
                self.head[self.have..self.have + count].copy_from_slice(&bytes[..count]);
                self.have += count;
                bytes = &bytes[count..];
                if self.have < Self::HEAD {
                    break;
                }
                self.left = self.head[..3]
                    .iter()
                    .fold(0, |all, byte| all << 8 | usize::from(*byte));
            }
            let (part, rest) = bytes.split_at(bytes.len().min(self.left));
            bytes = rest;
            self.left -= part.len();
            if self.head[3] == kind::DATA {
                self.data(part, seen)?;
            } else {
                self.kept.extend(part);
            }
            if self.left == 0 {
                self.have = 0;
                let body = std::mem::take(&mut self.kept);
                self.end(&body)?;
            }
        }
        Ok(())
    }

    fn stream(&self) -> u32 {
        let [.., a, b, c, d] = self.head;
        u32::from_be_bytes([a, b, c, d])
    }

    fn data(&mut self, part: &[u8], seen: &Seen) -> anyhow::Result<()> {
        let stream = self.stream();
        let watch = self.watches.get_mut(&stream).context("data of no watch")?;
        let now_seen = watch.told + count(part, b'\n');
        seen.note(&mut watch.told, now_seen)?;
        watch.taken += part.len();
        self.taken += part.len();
        let room = |taken: &mut usize, window: u32| {
            let full = *taken >= window as usize / 2;
            full.then(|| (std::mem::take(taken) as u32).to_be_bytes())
        };
        if let Some(room) = room(&mut watch.taken, Self::STREAM_WINDOW) {
            self.send(kind::WINDOW, 0, stream, &room);
        }
        if let Some(room) = room(&mut self.taken, Self::WINDOW) {
            self.send(kind::WINDOW, 0, 0, &room);
        }
        Ok(())
    }

    /// Does what a whole frame asks for.
    fn end(&mut self, body: &[u8]) -> anyhow::Result<()> {
        let (kind, flags) = (self.head[3], self.head[4]);
        match kind {
            kind::DATA | kind::HEADERS if flags & (END_STREAM | PADDED) != 0 => {
                bail!("a watch ended, or its frames have padding");
            }
            kind::HEADERS if body.first() != Some(&0x88) => {
                bail!("a watch is not answered with 200");
            }
            kind::HEADERS => self.begun += 1,
            kind::RESET => bail!("the server reset a watch: {body:?}"),
            kind::GO_AWAY => bail!("the server closes the connection: {body:?}"),
            kind::SETTINGS if flags & ACK == 0 => self.send(kind::SETTINGS, ACK, 0, b""),
            kind::PING if flags & ACK == 0 => self.send(kind::PING, ACK, 0, body),
            _ => {}
        }
        Ok(())
    }
}

impl Streams {
    /// Opens so many watches on one connection.
    async fn open(
        place: &Place,
        path: &str,
        watches: usize,
        seen: Rc<Seen>,
    ) -> anyhow::Result<Self> {
        let mut new = Self {
            stream: dial(place, b"h2", ROOM).await?,
            seen,
            frames: Frames::new(),
        };
        for _ in 0..watches {
            new.frames.ask(place, path)?;
        }
        while new.frames.begun < watches {
            new.step().await?;
        }
        Ok(new)
    }

    /// Sends what is to be answered, and reads once.
    async fn step(&mut self) -> anyhow::Result<()> {
        if !self.frames.out.is_empty() {
            let out = std::mem::take(&mut self.frames.out);
            self.stream.write_all(&out).await?;
            self.stream.flush().await?;
        }
        let (frames, seen) = (&mut self.frames, &self.seen);
        take(&mut self.stream, |bytes| frames.read(bytes, seen)).await
    }

    async fn follow(mut self) -> anyhow::Result<()> {
        loop {
            self.step().await?;
        }
    }
}
/// What the watches are made to see.
#[derive(Clone, Copy)]
pub(super) struct Changes {
    pub(super) count: usize,
    /// How many are under way at a time: the next one is made when everybody has seen the one so many before it.
    pub(super) under_way: usize,
    /// Makes them others than those of earlier runs.
    pub(super) run: usize,
}

impl Changes {
    /// Makes so many, each by the next of the connections that is free, and waits until everybody has seen them.
    async fn make(
        &self,
        count: usize,
        place: &Place,
        writers: &Rc<RefCell<Vec<Connection>>>,
        seen: &Rc<Seen>,
    ) -> anyhow::Result<()> {
        let mut tasks: JoinSet<anyhow::Result<()>> = JoinSet::new();
        let first = seen.changes.borrow().len();
        for number in first..first + count {
            let image = format!("web:watched-{}-{number}", self.run);
            let name = format!("job-{}", number % self.under_way);
            let request = apply(place, "bench", &name, &image);
            while writers.borrow().is_empty() {
                tasks.join_next().await.context("there is no writer")???;
            }
            let mut writer = writers.borrow_mut().pop().context("no writer is free")?;
            seen.begin().await?;
            let writers = writers.clone();
            tasks.spawn_local(async move {
                let (code, _) = writer.ask(&request).await?;
                if code != 200 {
                    bail!("an apply is answered with {code}");
                }
                writers.borrow_mut().push(writer);
                Ok(())
            });
        }
        while let Some(ended) = tasks.join_next().await {
            ended??;
        }
        let all = u32::try_from(self.under_way)?;
        drop(seen.free.acquire_many(all).await?);
        Ok(())
    }
}

/// Opens so many watches, so many on a connection, and makes changes.
pub(super) async fn fan_out(
    server: &Server,
    (watchers, on_each): (usize, usize),
    changes: Changes,
) -> anyhow::Result<Found> {
    let place = &server.place;
    let list = place.get(&format!("{}?limit=1", jobs("bench")));
    let (_, list) = ask(place, &list).await?;
    let revision = list["metadata"]["resourceVersion"].as_str();
    let revision = revision.context("a list without a resourceVersion")?;
    let path = format!(
        "{}?watch=1&resourceVersion={revision}&timeoutSeconds=600",
        jobs("bench")
    );
    let seen = Rc::new(Seen {
        watchers,
        changes: RefCell::default(),
        took: RefCell::default(),
        free: Semaphore::new(changes.under_way),
    });
    let mut tasks: JoinSet<anyhow::Result<()>> = JoinSet::new();
    let mut left = watchers;
    while left > 0 {
        let here = left.min(on_each);
        left -= here;
        if on_each == 1 {
            let mut connection = Connection::open(place, WATCH_ROOM).await?;
            connection.begin(&place.get(&path)).await?;
            tasks.spawn_local(follow(connection, seen.clone()));
        } else {
            let streams = Streams::open(place, &path, here, seen.clone()).await?;
            tasks.spawn_local(streams.follow());
        }
    }
    let writers = Rc::new(RefCell::new(Vec::new()));
    for _ in 0..changes.under_way.min(WRITERS) {
        let writer = Connection::open(place, ROOM).await?;
        writers.borrow_mut().push(writer);
    }
    let mut start = None;
    // the first ones are to warm up
    for count in [changes.under_way, changes.count] {
        start = Some((Start::now(server), seen.took.borrow().len()));
        tokio::select! {
            made = changes.make(count, place, &writers, &seen) => made?,
            Some(ended) = tasks.join_next() => ended??,
            () = tokio::time::sleep(PATIENCE) => bail!("an event did not arrive everywhere"),
        }
    }
    let (start, first) = start.context("there was no change")?;
    let took = seen.took.borrow();
    Ok(start.found(server, took.get(first..).unwrap_or_default()))
}
