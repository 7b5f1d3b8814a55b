//! Bounded downloads.

use std::io::Read as _;
use std::time::{Duration, Instant};

use bytes::Bytes;
use reqwest::StatusCode;
use reqwest::blocking::Client;
use reqwest::header::{ETAG, IF_NONE_MATCH};

use super::ArtifactRequest;
use crate::request::Auth;
use crate::{SourceError, mask_url};

/// What a server answered.
pub(crate) enum Answer {
    /// The body, and its entity tag.
    Body(Bytes, Option<String>),
    /// The same as before.
    NotModified,
}

/// Downloads for one poll.
pub(crate) struct Http<'r> {
    client: Client,
    request: &'r ArtifactRequest,
    deadline: Instant,
}

impl<'r> Http<'r> {
    pub(crate) fn new(request: &'r ArtifactRequest) -> Result<Self, SourceError> {
        let url = request.what.url();
        let mut builder = Client::builder()
            .user_agent(concat!("roadstead/", env!("CARGO_PKG_VERSION")))
            .timeout(request.timeout)
            .connect_timeout(request.timeout.min(Duration::from_secs(20)));
        if let Some(pem) = &request.ca_bundle {
            builder = builder.tls_certs_merge(certificates(url, pem)?);
        }
        let client = builder.build().map_err(|error| SourceError::Fetch {
            url: mask_url(url),
            reason: reasons(&error),
        })?;
        Ok(Self {
            client,
            request,
            deadline: Instant::now() + request.timeout,
        })
    }

    /// Downloads at most `limit` bytes. Credentials go only to the repository's own host.
    pub(crate) fn get(
        &self,
        url: &str,
        limit: u64,
        tag: Option<&str>,
    ) -> Result<Answer, SourceError> {
        let shown = mask_url(url);
        let mut get = self.client.get(url);
        if same_host(url, self.request.what.url()) {
            get = match &self.request.auth {
                Auth::Basic { user, password } => get.basic_auth(user, Some(password)),
                Auth::Token(token) => get.bearer_auth(token),
                Auth::None | Auth::Ssh { .. } => get,
            };
        }
        if let Some(tag) = tag {
            get = get.header(IF_NONE_MATCH, tag);
        }
        let response = get.send().map_err(|error| self.failed(&shown, &error))?;
        let status = response.status();
        let said = format!("HTTP {status}");
        match status {
            StatusCode::NOT_MODIFIED => return Ok(Answer::NotModified),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                return Err(SourceError::Auth {
                    url: shown,
                    reason: said,
                    sent: self.request.auth != Auth::None,
                });
            }
            StatusCode::NOT_FOUND => {
                return Err(SourceError::Fetch {
                    url: shown,
                    reason: format!("{said}: there is nothing at this address"),
                });
            }
            status if !status.is_success() => {
                return Err(SourceError::Fetch {
                    url: shown,
                    reason: said,
                });
            }
            _ => {}
        }
        let tag = response.headers().get(ETAG);
        let tag = tag.and_then(|tag| tag.to_str().ok()).map(str::to_owned);
        let mut body = Vec::new();
        let mut reader = response.take(limit + 1);
        let mut chunk = vec![0; 64 << 10];
        loop {
            if Instant::now() > self.deadline {
                return Err(SourceError::Timeout {
                    url: shown,
                    seconds: self.request.timeout.as_secs(),
                });
            }
            match reader.read(&mut chunk) {
                Ok(0) => break,
                Ok(n) => body.extend_from_slice(&chunk[..n]),
                Err(error) => {
                    return Err(SourceError::Fetch {
                        url: shown,
                        reason: error.to_string(),
                    });
                }
            }
        }
        if body.len() as u64 > limit {
            return Err(SourceError::Fetch {
                url: shown,
                reason: format!("the answer has more than {limit} bytes"),
            });
        }
        Ok(Answer::Body(body.into(), tag))
    }

    fn failed(&self, url: &str, error: &reqwest::Error) -> SourceError {
        let url = url.to_owned();
        let reason = reasons(error);
        if error.is_timeout() {
            let seconds = self.request.timeout.as_secs();
            return SourceError::Timeout { url, seconds };
        }
        let lower = reason.to_lowercase();
        if lower.contains("certificate") {
            return SourceError::Tls { url, reason };
        }
        SourceError::Unreachable { url, reason }
    }
}

pub(crate) fn certificates(
    url: &str,
    pem: &[u8],
) -> Result<Vec<reqwest::Certificate>, SourceError> {
    reqwest::Certificate::from_pem_bundle(pem).map_err(|error| SourceError::InvalidCaBundle {
        url: mask_url(url),
        reason: reasons(&error),
    })
}

/// An error's innermost cause says most: the outer ones repeat the URL.
pub(crate) fn reasons(error: &dyn std::error::Error) -> String {
    let mut last = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        last = next.to_string();
        cause = next.source();
    }
    last
}

fn same_host(one: &str, other: &str) -> bool {
    let host = |url: &str| {
        let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let host = authority.rsplit('@').next().unwrap_or_default();
        host.to_ascii_lowercase()
    };
    host(one) == host(other)
}
