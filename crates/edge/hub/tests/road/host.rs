//! A host of files and Git repositories, over plain HTTP.

use std::collections::BTreeMap;
use std::io::BufReader;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use git_host::{Request, Response};

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
        git_host::each(listener, move |stream| answer(stream, &held, &repositories));
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

fn answer(stream: TcpStream, pages: &Pages, root: &Path) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let request = Request::read(&mut stream)?;
    let path = request.path();
    let page = pages.lock().expect("no panic").get(path).cloned();
    let response = match (page, path.strip_prefix("/git")) {
        (Some(page), _) => Response::new("200 OK", &[], page),
        (None, None) => Response::new("404 Not Found", &[], b"no".to_vec()),
        (None, Some(inner)) => git_host::repository(root, inner, &request)?,
    };
    response.write(stream.get_mut())
}
