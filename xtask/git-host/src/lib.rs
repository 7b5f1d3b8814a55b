//! Serves repositories over HTTP by the real `git http-backend`, for tests.
//!
//! [`GitHost`] is all that most need. Who wants more, such as TLS, passwords or other pages, reads a [`Request`] and writes a
//! [`Response`].

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read as _, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};

/// A Git server; it ends with this process.
pub struct GitHost {
    port: u16,
}

impl GitHost {
    /// Serves what is below a folder, to everybody who asks: pods too.
    pub fn start(root: &Path) -> io::Result<Self> {
        Self::on(Ipv4Addr::UNSPECIFIED, root)
    }

    /// Serves what is below a folder, at one address.
    pub fn on(address: Ipv4Addr, root: &Path) -> io::Result<Self> {
        let listener = TcpListener::bind((address, 0))?;
        let port = listener.local_addr()?.port();
        let root = root.to_owned();
        each(listener, move |stream| {
            let mut stream = BufReader::new(stream);
            let request = Request::read(&mut stream)?;
            repository(&root, request.path(), &request)?.write(stream.get_mut())
        });
        Ok(Self { port })
    }

    /// The URL of a repository's folder, for those who reach this machine at an address.
    pub fn url(&self, host: Ipv4Addr, folder: &str) -> String {
        format!("http://{host}:{}/{folder}/.git", self.port)
    }
}

/// Serves each connection on a thread of its own, as long as this process lives.
pub fn each<F>(listener: TcpListener, serve: F)
where
    F: Fn(TcpStream) -> io::Result<()> + Clone + Send + 'static,
{
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = serve.clone();
            // who asked sees a broken answer, and asks again
            std::thread::spawn(move || drop(serve(stream)));
        }
    });
}

/// What somebody asks.
pub struct Request {
    /// GET or POST.
    pub method: String,
    /// The path with its query.
    pub target: String,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl Request {
    /// Reads one, with its whole body.
    pub fn read(stream: &mut impl BufRead) -> io::Result<Self> {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        let mut words = line.split_whitespace().map(str::to_owned);
        let (method, target) = (words.next(), words.next());
        let mut headers = BTreeMap::new();
        loop {
            let mut line = String::new();
            stream.read_line(&mut line)?;
            let Some((name, value)) = line.trim().split_once(": ") else {
                break;
            };
            headers.insert(name.to_lowercase(), value.to_owned());
        }
        let mut request = Self {
            method: method.unwrap_or_default(),
            target: target.unwrap_or_default(),
            headers,
            body: Vec::new(),
        };
        if request.header("transfer-encoding") == "chunked" {
            request.body = chunks(stream)?;
        } else if let Ok(length) = request.header("content-length").parse() {
            stream.take(length).read_to_end(&mut request.body)?;
        }
        Ok(request)
    }

    /// A header by its name in small letters, or nothing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// The path without its query.
    pub fn path(&self) -> &str {
        self.target
            .split_once('?')
            .map_or(&self.target, |(path, _)| path)
    }

    fn query(&self) -> &str {
        self.target.split_once('?').map_or("", |(_, query)| query)
    }
}

fn chunks(stream: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        let size = u64::from_str_radix(line.trim(), 16)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        stream.take(size).read_to_end(&mut body)?;
        stream.read_line(&mut String::new())?;
        if size == 0 {
            return Ok(body);
        }
    }
}

/// What is answered.
pub struct Response {
    status: String,
    /// Lines.
    headers: String,
    body: Vec<u8>,
}

impl Response {
    /// One with a status such as `404 Not Found` and lines of headers.
    pub fn new(status: &str, headers: &[&str], body: Vec<u8>) -> Self {
        Self {
            status: status.to_owned(),
            headers: headers.iter().map(|line| format!("{line}\r\n")).collect(),
            body,
        }
    }

    /// Sends it; the connection ends after it.
    pub fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let Self {
            status,
            headers,
            body,
        } = self;
        let length = body.len();
        write!(
            out,
            "HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n"
        )?;
        out.write_all(body)?;
        out.flush()
    }
}

/// What git answers for a path below a folder.
pub fn repository(root: &Path, path: &str, request: &Request) -> io::Result<Response> {
    let mut child = Command::new("git")
        .args(["-c", "safe.directory=*", "http-backend"])
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("GIT_CONFIG_SYSTEM", "/dev/null")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("PATH_INFO", path)
        .env("QUERY_STRING", request.query())
        .env("REQUEST_METHOD", &request.method)
        .env("CONTENT_TYPE", request.header("content-type"))
        .env("CONTENT_LENGTH", request.body.len().to_string())
        .env("GIT_PROTOCOL", request.header("git-protocol"))
        .env("HTTP_CONTENT_ENCODING", request.header("content-encoding"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(&request.body)?;
    }
    let said = child.wait_with_output()?.stdout;
    let end = said.windows(4).position(|four| four == b"\r\n\r\n");
    let end = end.unwrap_or(0);
    let head = String::from_utf8_lossy(&said[..end]).into_owned();
    let status = head.lines().find_map(|line| line.strip_prefix("Status: "));
    let headers: Vec<&str> = head.lines().collect();
    let body = said[(end + 4).min(said.len())..].to_vec();
    Ok(Response::new(status.unwrap_or("200 OK"), &headers, body))
}
