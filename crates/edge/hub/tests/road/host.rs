//! A host of files and Git repositories, over plain HTTP.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

type Pages = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;

/// It ends with the test's process.
pub(crate) struct Host {
    pub(crate) url: String,
    pages: Pages,
}

impl Host {
    /// Serves the Git repositories below a folder as `/git/NAME`, and pages that are put there.
    pub(crate) fn start(repositories: PathBuf) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let pages = Pages::default();
        let held = Arc::clone(&pages);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (pages, root) = (Arc::clone(&held), repositories.clone());
                std::thread::spawn(move || answer(stream, &pages, root));
            }
        });
        Self { url, pages }
    }

    /// Puts a page, or takes it away.
    pub(crate) fn page(&self, path: &str, content: Option<Vec<u8>>) {
        let mut pages = self.pages.lock().expect("no panic");
        match content {
            Some(content) => pages.insert(path.to_owned(), content),
            None => pages.remove(path),
        };
    }
}

fn answer(stream: TcpStream, pages: &Pages, root: PathBuf) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut first = String::new();
    stream.read_line(&mut first)?;
    let mut words = first.split_whitespace();
    let (method, target) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        let Some((name, value)) = line.trim().split_once(": ") else {
            break;
        };
        headers.insert(name.to_lowercase(), value.to_owned());
    }
    let header = |name: &str| headers.get(name).map_or("", String::as_str);
    let mut body = Vec::new();
    if header("transfer-encoding") == "chunked" {
        loop {
            let mut line = String::new();
            stream.read_line(&mut line)?;
            let size = u64::from_str_radix(line.trim(), 16).unwrap_or(0);
            stream.by_ref().take(size).read_to_end(&mut body)?;
            stream.read_line(&mut String::new())?;
            if size == 0 {
                break;
            }
        }
    } else if let Ok(length) = header("content-length").parse() {
        stream.by_ref().take(length).read_to_end(&mut body)?;
    }
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let page = pages.lock().expect("no panic").get(path).cloned();
    let (head, content) = match (page, path.strip_prefix("/git")) {
        (Some(page), _) => (String::new(), page),
        (None, None) => ("Status: 404 Not Found\r\n".to_owned(), b"no".to_vec()),
        (None, Some(inner)) => {
            let mut child = Command::new("git")
                .arg("http-backend")
                .env("GIT_CONFIG_GLOBAL", "/dev/null")
                .env("GIT_CONFIG_SYSTEM", "/dev/null")
                .env("GIT_PROJECT_ROOT", root)
                .env("GIT_HTTP_EXPORT_ALL", "1")
                .env("PATH_INFO", inner)
                .env("QUERY_STRING", query)
                .env("REQUEST_METHOD", method)
                .env("CONTENT_LENGTH", body.len().to_string())
                .env("CONTENT_TYPE", header("content-type"))
                .env("GIT_PROTOCOL", header("git-protocol"))
                .env("HTTP_CONTENT_ENCODING", header("content-encoding"))
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()?;
            child.stdin.take().expect("piped").write_all(&body)?;
            let said = child.wait_with_output()?.stdout;
            let end = said.windows(4).position(|window| window == b"\r\n\r\n");
            let end = end.unwrap_or(0);
            let head = String::from_utf8_lossy(&said[..end]).into_owned() + "\r\n";
            (head, said[(end + 4).min(said.len())..].to_vec())
        }
    };
    let mut lines = head.lines();
    let status = lines.find_map(|line| line.strip_prefix("Status: "));
    let out = stream.get_mut();
    write!(
        out,
        "HTTP/1.1 {}\r\n{head}Content-Length: {}\r\nConnection: close\r\n\r\n",
        status.unwrap_or("200 OK"),
        content.len(),
    )?;
    out.write_all(&content)?;
    out.flush()
}
