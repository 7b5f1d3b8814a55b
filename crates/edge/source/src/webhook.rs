//! What a Git host says when something was pushed: is it really that host, and which repository does it mean?
//!
//! A webhook grants nothing and changes nothing. It only means "poll now".

use aws_lc_rs::{constant_time, hmac};
use http::HeaderMap;
use serde_json::Value;

/// How a host proves that a webhook is its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `X-Hub-Signature-256: sha256=<hex>`, HMAC-SHA256 over the body.
    GitHub,
    /// `X-Gitlab-Token: <secret>`: the secret itself.
    GitLab,
    /// `X-Gitea-Signature: <hex>`, HMAC-SHA256 over the body; Forgejo sends it too.
    Gitea,
    /// `X-Gogs-Signature: <hex>`, HMAC-SHA256 over the body.
    Gogs,
    /// `X-Hub-Signature: sha256=<hex>`, HMAC-SHA256 over the body.
    Bitbucket,
}

/// Why a webhook is not believed. It says nothing of the secret or of the right signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WebhookError {
    /// There is no secret to check with.
    #[error("webhook refused: no secret is set")]
    NoSecret,
    /// The header is not there, or there more than once.
    #[error("webhook refused: header {0} is missing or repeated")]
    NoSignature(&'static str),
    /// The header has another form than this host's.
    #[error("webhook refused: header {0} is malformed")]
    Malformed(&'static str),
    /// The signature belongs to another body or another secret.
    #[error("webhook refused: header {0} does not match body and secret")]
    Mismatch(&'static str),
}

impl Kind {
    /// Recognises the host by its header.
    ///
    /// Gitea also sends what GitHub sends, so its own header is looked for first.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        [
            Self::Gitea,
            Self::Gogs,
            Self::GitLab,
            Self::GitHub,
            Self::Bitbucket,
        ]
        .into_iter()
        .find(|kind| headers.contains_key(kind.header()))
    }

    const fn header(self) -> &'static str {
        match self {
            Self::GitHub => "x-hub-signature-256",
            Self::GitLab => "x-gitlab-token",
            Self::Gitea => "x-gitea-signature",
            Self::Gogs => "x-gogs-signature",
            Self::Bitbucket => "x-hub-signature",
        }
    }
}

/// Checks that the sender of a webhook knows the secret. `body` is what was received, byte for byte.
pub fn verify(
    kind: Kind,
    headers: &HeaderMap,
    body: &[u8],
    secret: &[u8],
) -> Result<(), WebhookError> {
    let name = kind.header();
    // An empty secret would be matched by everybody.
    if secret.is_empty() {
        return Err(WebhookError::NoSecret);
    }
    let mut values = headers.get_all(name).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return Err(WebhookError::NoSignature(name));
    };
    let value = value.as_bytes();
    let matches = if kind == Kind::GitLab {
        constant_time::verify_slices_are_equal(value, secret).is_ok()
    } else {
        let hex = match kind {
            Kind::GitHub | Kind::Bitbucket => value.strip_prefix(b"sha256="),
            _ => Some(value),
        };
        let tag = hex.and_then(unhex).ok_or(WebhookError::Malformed(name))?;
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        hmac::verify(&key, body, &tag).is_ok()
    };
    if matches {
        Ok(())
    } else {
        Err(WebhookError::Mismatch(name))
    }
}

fn unhex(text: &[u8]) -> Option<Vec<u8>> {
    if text.len() != 64 {
        return None;
    }
    text.chunks_exact(2)
        .map(|pair| {
            let high = char::from(pair[0]).to_digit(16)?;
            let low = char::from(pair[1]).to_digit(16)?;
            u8::try_from(high << 4 | low).ok()
        })
        .collect()
}

/// Lists every URL that a payload gives for its repository, as it spells them; compare them by
/// [`normalise_url`](crate::normalise_url).
///
/// The payload may be JSON, or a form with the JSON in the field `payload`. What is neither has no URLs.
pub fn repo_urls(body: &[u8]) -> Vec<String> {
    let decoded = body.strip_prefix(b"payload=").map(form_value);
    let Ok(payload) = serde_json::from_slice::<Value>(decoded.as_deref().unwrap_or(body)) else {
        return Vec::new();
    };
    let mut urls = Vec::new();
    for holder in ["repository", "project"] {
        let repository = &payload[holder];
        for field in [
            "clone_url",
            "ssh_url",
            "git_url",
            "html_url",
            "svn_url",
            "url",
            "git_http_url",
            "git_ssh_url",
            "http_url",
            "web_url",
            "homepage",
        ] {
            urls.push(&repository[field]);
        }
        let links = &repository["links"];
        for field in ["html", "clone", "self"] {
            match &links[field] {
                Value::Array(list) => urls.extend(list.iter().map(|link| &link["href"])),
                link => urls.push(&link["href"]),
            }
        }
    }
    let mut found: Vec<String> = Vec::new();
    for url in urls.into_iter().filter_map(Value::as_str) {
        if !url.is_empty() && !found.iter().any(|f| f == url) {
            found.push(url.to_owned());
        }
    }
    found
}

/// Decodes one value of `application/x-www-form-urlencoded`, up to the next field.
fn form_value(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        rest = tail;
        match first {
            b'&' => break,
            b'+' => out.push(b' '),
            b'%' => {
                let byte = tail
                    .get(..2)
                    .and_then(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
                match byte {
                    Some(byte) => {
                        out.push(byte);
                        rest = &tail[2..];
                    }
                    None => out.push(b'%'),
                }
            }
            other => out.push(*other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    // The example that GitHub's documentation of webhook signatures gives.
    const SECRET: &[u8] = b"It's a Secret to Everybody";
    const BODY: &[u8] = b"Hello, World!";
    const HEX: &str = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";

    fn headers(list: &[(&'static str, String)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in list {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn believes_only_who_knows_the_secret() {
        let prefixed = format!("sha256={HEX}");
        let mut wrong = HEX.to_owned();
        wrong.replace_range(0..1, "8");
        for (kind, name, good) in [
            (Kind::GitHub, "x-hub-signature-256", prefixed.clone()),
            (Kind::Bitbucket, "x-hub-signature", prefixed.clone()),
            (Kind::Gitea, "x-gitea-signature", HEX.to_owned()),
            (Kind::Gogs, "x-gogs-signature", HEX.to_owned()),
            (
                Kind::GitLab,
                "x-gitlab-token",
                String::from_utf8(SECRET.to_vec()).unwrap(),
            ),
        ] {
            let right = headers(&[(name, good.clone())]);
            assert_eq!(Kind::of(&right), Some(kind));
            assert_eq!(verify(kind, &right, BODY, SECRET), Ok(()));
            assert_eq!(
                verify(kind, &right, BODY, b"other"),
                Err(WebhookError::Mismatch(name))
            );
            assert_eq!(verify(kind, &right, BODY, b""), Err(WebhookError::NoSecret));
            assert_eq!(
                verify(kind, &HeaderMap::new(), BODY, SECRET),
                Err(WebhookError::NoSignature(name))
            );
            let twice = headers(&[(name, good.clone()), (name, good.clone())]);
            assert_eq!(
                verify(kind, &twice, BODY, SECRET),
                Err(WebhookError::NoSignature(name))
            );
            if kind != Kind::GitLab {
                assert_eq!(
                    verify(kind, &right, b"Hello, World?", SECRET),
                    Err(WebhookError::Mismatch(name))
                );
                for bad in [good.replace(HEX, &wrong), good.replace(HEX, "00")] {
                    assert!(verify(kind, &headers(&[(name, bad)]), BODY, SECRET).is_err());
                }
            }
        }
        let sha1 = headers(&[("x-hub-signature-256", format!("sha1={HEX}"))]);
        assert_eq!(
            verify(Kind::GitHub, &sha1, BODY, SECRET),
            Err(WebhookError::Malformed("x-hub-signature-256"))
        );
        let both = headers(&[
            ("x-hub-signature-256", prefixed),
            ("x-gitea-signature", HEX.to_owned()),
        ]);
        assert_eq!(Kind::of(&both), Some(Kind::Gitea));
    }

    #[test]
    fn finds_the_repository_in_every_hosts_payload() {
        for (payload, expected) in [
            // GitHub and Gitea
            (
                r#"{"ref":"refs/heads/main","repository":{"clone_url":"https://h/a/b.git","ssh_url":"git@h:a/b.git","html_url":"https://h/a/b","git_url":"git://h/a/b.git","url":"https://h/a/b","owner":{"url":"https://h/a"}}}"#,
                &[
                    "https://h/a/b.git",
                    "git@h:a/b.git",
                    "git://h/a/b.git",
                    "https://h/a/b",
                ][..],
            ),
            // GitLab
            (
                r#"{"project":{"web_url":"https://l/a/b","git_ssh_url":"git@l:a/b.git","git_http_url":"https://l/a/b.git"},"repository":{"homepage":"https://l/a/b","url":"git@l:a/b.git"}}"#,
                &["git@l:a/b.git", "https://l/a/b", "https://l/a/b.git"],
            ),
            // Bitbucket Cloud
            (
                r#"{"repository":{"links":{"html":{"href":"https://bitbucket.org/a/b"}}}}"#,
                &["https://bitbucket.org/a/b"],
            ),
            // Bitbucket Data Center
            (
                r#"{"repository":{"links":{"clone":[{"href":"ssh://git@b:7999/a/b.git"},{"href":"https://b/scm/a/b.git"}],"self":[{"href":"https://b/projects/a"}]}}}"#,
                &[
                    "ssh://git@b:7999/a/b.git",
                    "https://b/scm/a/b.git",
                    "https://b/projects/a",
                ],
            ),
            (
                "payload=%7B%22repository%22%3A%7B%22url%22%3A%22https%3A%2F%2Fh%2Fa+b%22%7D%7D&x=y",
                &["https://h/a b"],
            ),
            ("payload=%", &[]),
            ("", &[]),
            ("[1,2]", &[]),
            (r#"{"repository":"x"}"#, &[]),
            (r#"{"repository":{"url":7,"links":[]}}"#, &[]),
        ] {
            assert_eq!(repo_urls(payload.as_bytes()), expected, "{payload}");
        }
    }
}
