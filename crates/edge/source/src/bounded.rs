//! HTTP that ends in time.
//!
//! The HTTP client's timeout is for each read: a host that sends a byte now and then would be read for ever.

use std::any::Any;
use std::io::{BufRead, Error, ErrorKind, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use gix::protocol::transport::client::blocking_io::http::{
    GetResponse, Http, PostBodyDataKind, PostResponse, reqwest::Remote,
};

use crate::guard::Guard;

/// The HTTP client, with an end to its patience.
pub(crate) struct Bounded {
    inner: Remote,
    end: End,
}

/// When to stop reading.
#[derive(Clone)]
struct End {
    stop: Arc<AtomicBool>,
    deadline: Instant,
}

/// A reader that looks at the clock before it reads on.
pub(crate) struct Until<R> {
    inner: R,
    end: End,
}

impl Bounded {
    pub(crate) fn new(guard: &Guard) -> Self {
        Self {
            inner: Remote::default(),
            end: End {
                stop: guard.stop.clone(),
                deadline: guard.deadline,
            },
        }
    }

    fn until<R>(&self, inner: R) -> Until<R> {
        Until {
            inner,
            end: self.end.clone(),
        }
    }
}

impl Http for Bounded {
    type Headers = Until<<Remote as Http>::Headers>;
    type ResponseBody = Until<<Remote as Http>::ResponseBody>;
    type PostBody = <Remote as Http>::PostBody;

    fn get(
        &mut self,
        url: &str,
        base_url: &str,
        headers: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> gix::Result<GetResponse<Self::Headers, Self::ResponseBody>> {
        let response = self.inner.get(url, base_url, headers)?;
        Ok(GetResponse {
            headers: self.until(response.headers),
            body: self.until(response.body),
        })
    }

    fn post(
        &mut self,
        url: &str,
        base_url: &str,
        headers: impl IntoIterator<Item = impl AsRef<str>>,
        body: PostBodyDataKind,
    ) -> gix::Result<PostResponse<Self::Headers, Self::ResponseBody, Self::PostBody>> {
        let response = self.inner.post(url, base_url, headers, body)?;
        Ok(PostResponse {
            post_body: response.post_body,
            headers: self.until(response.headers),
            body: self.until(response.body),
        })
    }

    fn configure(&mut self, config: &dyn Any) -> gix::Result {
        self.inner.configure(config)
    }

    fn redirected_base_url(&self) -> Option<String> {
        self.inner.redirected_base_url()
    }
}

impl<R: BufRead> BufRead for Until<R> {
    fn fill_buf(&mut self) -> std::io::Result<&[u8]> {
        if self.end.stop.load(Ordering::Relaxed) || Instant::now() >= self.end.deadline {
            return Err(Error::new(ErrorKind::TimedOut, "the time for it is up"));
        }
        self.inner.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.inner.consume(amount);
    }
}

impl<R: BufRead> Read for Until<R> {
    // One buffer at a time: the inner reader would go on until `out` is full.
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let buffer = self.fill_buf()?;
        let taken = buffer.len().min(out.len());
        out[..taken].copy_from_slice(&buffer[..taken]);
        self.consume(taken);
        Ok(taken)
    }
}
