//! Repository URLs: read, shown without credentials, and compared.

use std::fmt::Write as _;

use base_json::Digest;
use gix::url::Scheme;

use crate::SourceError;

/// A URL that this crate can fetch from.
#[derive(Debug, Clone)]
pub(crate) struct RemoteUrl {
    pub(crate) url: gix::Url,
    /// How it may be shown and logged.
    pub(crate) shown: String,
}

impl RemoteUrl {
    pub(crate) fn parse(text: &str) -> Result<Self, SourceError> {
        let shown = mask_url(text);
        let invalid = |reason: &str| SourceError::InvalidUrl {
            url: shown.clone(),
            reason: reason.to_owned(),
        };
        if text.trim().is_empty() {
            return Err(invalid("it is empty"));
        }
        if text.chars().any(char::is_control) {
            return Err(invalid("it contains a control character"));
        }
        let url = gix::url::parse(text.trim()).map_err(|_| invalid("it is not a Git URL"))?;
        match url.scheme {
            Scheme::File => {
                if !url.path.starts_with(b"/") || url.host().is_some_and(|h| !h.is_empty()) {
                    return Err(invalid("a local path has to be absolute"));
                }
            }
            Scheme::Ssh | Scheme::Http | Scheme::Https => {
                // A leading dash would become an option of the ssh program.
                let dangerous = |part: Option<&str>| part.is_some_and(|p| p.starts_with('-'));
                if url.host().is_none_or(str::is_empty) {
                    return Err(invalid("it names no host"));
                }
                if dangerous(url.host()) || dangerous(url.user()) || url.path.starts_with(b"-") {
                    return Err(invalid("host, user and path must not start with a dash"));
                }
            }
            _ => {
                return Err(SourceError::UnsupportedScheme {
                    url: shown,
                    scheme: url.scheme.as_str().to_owned(),
                });
            }
        }
        Ok(Self { url, shown })
    }

    /// Names the clone of this URL: everything that decides which server and repository answer, but no credentials.
    ///
    /// This is stricter than [`normalise_url`]: two servers on one host must never share a clone, or one of them could
    /// claim a commit that only the other may show.
    pub(crate) fn clone_key(&self) -> String {
        let mut key = self.url.scheme.as_str().to_owned();
        if let Some(host) = self.url.host() {
            let _ = write!(key, "|{}", host.to_ascii_lowercase());
        }
        if let Some(port) = self.url.port_or_default() {
            let _ = write!(key, "|{port}");
        }
        if self.url.scheme == Scheme::Ssh {
            let _ = write!(key, "|{}", self.url.user().unwrap_or_default());
        }
        let path = String::from_utf8_lossy(&self.url.path);
        let _ = write!(key, "|{}", path.trim_end_matches('/'));
        Digest::of(key.as_bytes()).hex()[..40].to_owned()
    }
}

/// Replaces the user and the password of a URL by `***`.
pub fn mask_url(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let authority = rest.find('/').unwrap_or(rest.len());
    let Some(at) = rest[..authority].rfind('@') else {
        return url.to_owned();
    };
    let user = &rest[..at];
    // The user of ssh is an address, not a secret.
    if scheme.ends_with("ssh") && !user.contains(':') {
        return url.to_owned();
    }
    format!("{scheme}://***{}", &rest[at..])
}

/// Reduces a URL to what two spellings of one repository have in common: host and path.
///
/// `https://user@Host:443/a/b.git/`, `ssh://git@host/a/b` and `git@host:a/b.git` all become `host/a/b`. A local path
/// becomes `file:/path`. It is meant to find the Sources that a webhook speaks of; it grants nothing.
pub fn normalise_url(url: &str) -> String {
    let url = url.trim();
    let trimmed = |path: &str| {
        let path = path.trim_matches('/');
        path.strip_suffix(".git").unwrap_or(path).to_owned()
    };
    if let Some((scheme, rest)) = url.split_once("://") {
        if scheme.eq_ignore_ascii_case("file") {
            return format!("file:/{}", trimmed(rest));
        }
        let rest = rest.split(['?', '#']).next().unwrap_or_default();
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let host = authority.rsplit('@').next().unwrap_or_default();
        let host = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
            _ => host,
        };
        return format!("{}/{}", host.to_ascii_lowercase(), trimmed(path));
    }
    if url.starts_with('/') {
        return format!("file:/{}", trimmed(url));
    }
    match url.split_once(':') {
        Some((authority, path)) => {
            let host = authority.rsplit('@').next().unwrap_or_default();
            format!("{}/{}", host.to_ascii_lowercase(), trimmed(path))
        }
        None => trimmed(url),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_no_credentials() {
        for (url, expected) in [
            ("https://user:secret@host/a", "https://***@host/a"),
            ("https://secret@host/a", "https://***@host/a"),
            ("https://us@er:sec@host/a@b", "https://***@host/a@b"),
            ("https://host/a@b", "https://host/a@b"),
            ("ssh://git@host/a", "ssh://git@host/a"),
            ("ssh://git:secret@host/a", "ssh://***@host/a"),
            ("git@host:a/b", "git@host:a/b"),
        ] {
            assert_eq!(mask_url(url), expected);
        }
    }

    #[test]
    fn spellings_of_one_repository_compare_equal() {
        for (url, expected) in [
            ("https://github.com/acme/fleet.git", "github.com/acme/fleet"),
            (
                "https://u:p@GitHub.com:443/acme/fleet/",
                "github.com/acme/fleet",
            ),
            (
                "ssh://git@github.com:22/acme/fleet.git",
                "github.com/acme/fleet",
            ),
            ("git@github.com:acme/fleet.git", "github.com/acme/fleet"),
            ("github.com:/acme/fleet", "github.com/acme/fleet"),
            ("git://github.com/acme/fleet?x=1#y", "github.com/acme/fleet"),
            ("file:///srv/git/fleet.git", "file:/srv/git/fleet"),
            ("/srv/git/fleet", "file:/srv/git/fleet"),
            ("https://[::1]:8443/a", "[::1]/a"),
            ("https://github.com/acme/Fleet", "github.com/acme/Fleet"),
        ] {
            assert_eq!(normalise_url(url), expected, "{url}");
        }
    }

    #[test]
    fn refuses_what_it_cannot_fetch() {
        for url in [
            "",
            "  ",
            "relative/path",
            "../up",
            "git://host/a",
            "ext::sh -c true",
            "ftp://host/a",
            "ssh://-oProxyCommand=x/a",
            "-oProxyCommand=x@host:a",
            "git@host:-x",
            "https:///a",
            "https://host/a\nb",
            "file://host/a",
        ] {
            let error = RemoteUrl::parse(url).map(|u| u.shown).expect_err(url);
            assert!(
                matches!(
                    error,
                    SourceError::InvalidUrl { .. } | SourceError::UnsupportedScheme { .. }
                ),
                "{url}: {error}"
            );
        }
    }

    #[test]
    fn clones_are_shared_only_by_one_server() {
        let key = |url: &str| RemoteUrl::parse(url).expect(url).clone_key();
        assert_eq!(key("https://a:b@host/x"), key("https://HOST:443/x/"));
        assert_eq!(key("file:///x"), key("/x/"));
        assert_ne!(key("https://host/x"), key("https://host:8443/x"));
        assert_ne!(key("https://host/x"), key("http://host/x"));
        assert_ne!(key("https://host/x"), key("https://host/x.git"));
    }
}
