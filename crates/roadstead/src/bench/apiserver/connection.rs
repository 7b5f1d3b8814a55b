//! One connection of the load: HTTP/1.1 over TLS, kept alive, with nothing decoded that need not be.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A server as the load sees it.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) address: SocketAddr,
    /// What stands before every path.
    pub(super) prefix: String,
    pub(super) tls: Arc<ClientConfig>,
}

impl Place {
    /// Writes a request.
    pub(super) fn request(&self, method: &str, path: &str, content: &str, body: &[u8]) -> Vec<u8> {
        let mut out = format!(
            "{method} {}{path} HTTP/1.1\r\nhost: {}\r\nuser-agent: bench/1\r\naccept: application/json\r\n",
            self.prefix, self.address
        )
        .into_bytes();
        if !body.is_empty() {
            let head = format!(
                "content-type: {content}\r\ncontent-length: {}\r\n",
                body.len()
            );
            out.extend_from_slice(head.as_bytes());
        }
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(body);
        out
    }

    pub(super) fn get(&self, path: &str) -> Vec<u8> {
        self.request("GET", path, "", b"")
    }
}

/// A connection with what it has read and nobody has taken yet.
pub(super) struct Connection {
    stream: Stream,
    buffer: Vec<u8>,
    taken: usize,
    filled: usize,
}

/// How the end of a body is found.
enum Framing {
    Length(usize),
    Chunks,
}

/// The head of an answer.
struct Head {
    code: u16,
    framing: Framing,
}

/// A connection as TLS has it. What has come is taken from the kernel at once, not 4 KiB at a time as rustls asks for it.
pub(super) type Stream = TlsStream<BufReader<TcpStream>>;

/// Connects, and speaks this protocol; `room` is how much is taken from the kernel at a time.
pub(super) async fn dial(place: &Place, alpn: &[u8], room: usize) -> anyhow::Result<Stream> {
    let stream = TcpStream::connect(place.address)
        .await
        .context("failed to connect")?;
    stream.set_nodelay(true)?;
    let name = ServerName::IpAddress(place.address.ip().into());
    let mut tls = ClientConfig::clone(&place.tls);
    tls.alpn_protocols = vec![alpn.to_vec()];
    TlsConnector::from(Arc::new(tls))
        .connect(name, BufReader::with_capacity(room, stream))
        .await
        .context("the TLS handshake failed")
}

impl Connection {
    /// Opens one; `room` is how much it reads at a time.
    pub(super) async fn open(place: &Place, room: usize) -> anyhow::Result<Self> {
        let stream = dial(place, b"http/1.1", room).await?;
        Ok(Self {
            stream,
            buffer: vec![0; room],
            taken: 0,
            filled: 0,
        })
    }

    /// The stream, and what was read of it that nobody has taken.
    pub(super) fn into_parts(self) -> (Stream, Vec<u8>) {
        let waiting = self.buffer[self.taken..self.filled].to_vec();
        (self.stream, waiting)
    }

    async fn more(&mut self) -> anyhow::Result<()> {
        if self.filled == self.buffer.len() {
            if self.taken == 0 {
                bail!("the head of an answer is too long");
            }
            self.buffer.copy_within(self.taken.., 0);
            self.filled -= self.taken;
            self.taken = 0;
        }
        let count = self.stream.read(&mut self.buffer[self.filled..]).await?;
        if count == 0 {
            bail!("the server closed the connection");
        }
        self.filled += count;
        Ok(())
    }

    /// Takes what ends in `mark`, without it.
    async fn until(&mut self, mark: &[u8]) -> anyhow::Result<std::ops::Range<usize>> {
        let mut looked = 0;
        loop {
            let waiting = &self.buffer[self.taken..self.filled];
            let found = waiting[looked..]
                .windows(mark.len())
                .position(|window| window == mark);
            if let Some(at) = found {
                let from = self.taken;
                let to = from + looked + at;
                self.taken = to + mark.len();
                return Ok(from..to);
            }
            looked = waiting.len().saturating_sub(mark.len() - 1);
            self.more().await?;
        }
    }

    async fn head(&mut self) -> anyhow::Result<Head> {
        let range = self.until(b"\r\n\r\n").await?;
        let text = std::str::from_utf8(&self.buffer[range]).context("a head is no text")?;
        let mut lines = text.split("\r\n");
        let code = lines.next().and_then(|line| line.split(' ').nth(1));
        let code = code
            .and_then(|code| code.parse().ok())
            .context("a head has no code")?;
        let mut framing = None;
        for line in lines {
            let Some((name, value)) = line.split_once(':') else {
                continue;
            };
            if name.eq_ignore_ascii_case("content-length") {
                framing = Some(Framing::Length(value.trim().parse()?));
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                framing = Some(Framing::Chunks);
            }
        }
        let framing = framing.context("an answer does not say where it ends")?;
        Ok(Head { code, framing })
    }

    /// Takes bytes; into `keep` if there is one.
    async fn take(&mut self, mut count: usize, keep: &mut Option<Vec<u8>>) -> anyhow::Result<()> {
        while count > 0 {
            if self.taken == self.filled {
                (self.taken, self.filled) = (0, 0);
                self.more().await?;
            }
            let now = count.min(self.filled - self.taken);
            if let Some(keep) = keep {
                keep.extend_from_slice(&self.buffer[self.taken..self.taken + now]);
            }
            self.taken += now;
            count -= now;
        }
        Ok(())
    }

    async fn body(
        &mut self,
        framing: Framing,
        mut keep: Option<Vec<u8>>,
    ) -> anyhow::Result<(usize, Option<Vec<u8>>)> {
        let mut whole = 0;
        match framing {
            Framing::Length(length) => {
                self.take(length, &mut keep).await?;
                whole = length;
            }
            Framing::Chunks => loop {
                let line = self.until(b"\r\n").await?;
                let text = std::str::from_utf8(&self.buffer[line])?;
                let size = usize::from_str_radix(text, 16).context("a chunk has no size")?;
                self.take(size, &mut keep).await?;
                self.take(2, &mut None).await?;
                whole += size;
                if size == 0 {
                    break;
                }
            },
        }
        Ok((whole, keep))
    }

    /// Sends a request; returns the answer's code and how many bytes it has.
    pub(super) async fn ask(&mut self, request: &[u8]) -> anyhow::Result<(u16, usize)> {
        self.send(request).await?;
        let head = self.head().await?;
        let (bytes, _) = self.body(head.framing, None).await?;
        Ok((head.code, bytes))
    }

    /// Sends a request; returns the answer.
    pub(super) async fn ask_whole(&mut self, request: &[u8]) -> anyhow::Result<(u16, Vec<u8>)> {
        self.send(request).await?;
        let head = self.head().await?;
        let (_, body) = self.body(head.framing, Some(Vec::new())).await?;
        Ok((head.code, body.unwrap_or_default()))
    }

    /// Sends the request of a watch; what follows is for who has [`into_parts`](Self::into_parts).
    pub(super) async fn begin(&mut self, request: &[u8]) -> anyhow::Result<()> {
        self.send(request).await?;
        let head = self.head().await?;
        if head.code != 200 {
            bail!("a watch is answered with {}", head.code);
        }
        Ok(())
    }

    async fn send(&mut self, request: &[u8]) -> anyhow::Result<()> {
        self.stream.write_all(request).await?;
        self.stream.flush().await?;
        Ok(())
    }
}
