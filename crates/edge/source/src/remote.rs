//! One conversation with a remote: where does the reference stand, and, if it moved, everything that it needs.

use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use base_json::Digest;
use gix::ObjectId;
use gix::bstr::ByteSlice as _;
use gix::credentials::helper::Action;
use gix::credentials::protocol::Outcome;
use gix::progress::Discard;
use gix::protocol::handshake::Ref;
use gix::remote::fetch::{Shallow, Tags, refmap::Source};
use gix::remote::{Direction, ref_map};

use crate::SourceError;
use crate::guard::Guard;
use crate::request::{Auth, GitRequest, Reference};
use crate::sources::Programs;
use crate::transport::{self, Connected, Stderr};
use crate::url::RemoteUrl;

/// Everything that a conversation needs to know.
pub(crate) struct Talk<'a> {
    pub(crate) url: &'a RemoteUrl,
    pub(crate) request: &'a GitRequest,
    pub(crate) programs: &'a Programs,
    /// A folder for files that only the owner may read.
    pub(crate) private: &'a Path,
    pub(crate) guard: &'a Guard,
    /// The bound on one object that the clone was opened with, for the message.
    pub(crate) object_limit: u64,
}

/// Whether the remote asked for credentials, and got some.
#[derive(Default)]
struct Asked {
    asked: AtomicBool,
    sent: AtomicBool,
}

/// Checks that a reference is one that can be asked for.
pub(crate) fn check_reference(reference: &Reference) -> Result<(), SourceError> {
    let invalid = |reason: &str| SourceError::InvalidReference {
        reference: reference.to_string(),
        reason: reason.to_owned(),
    };
    let name = match reference {
        Reference::DefaultBranch => return Ok(()),
        Reference::Commit(id) => {
            return match ObjectId::from_hex(id.as_bytes()) {
                Ok(id) if !id.is_null() => Ok(()),
                _ => Err(invalid("it is not 40 hexadecimal digits")),
            };
        }
        Reference::Branch(name) => format!("refs/heads/{name}"),
        Reference::Tag(name) => format!("refs/tags/{name}"),
    };
    gix::validate::reference::name(name.as_str().into())
        .map(drop)
        .map_err(|_| invalid("it is not a name that Git allows"))
}

/// Asks where the reference stands and, unless `is_here` says that the commit is complete already, fetches it.
///
/// `is_here` gets the commit that the remote names; it may be a tag object where the remote does not peel tags.
pub(crate) fn update(
    talk: &Talk<'_>,
    repo: &gix::Repository,
    is_here: impl FnOnce(ObjectId) -> bool,
) -> Result<ObjectId, SourceError> {
    let reference = &talk.request.reference;
    let source = match reference {
        Reference::DefaultBranch => "HEAD".to_owned(),
        Reference::Branch(name) => format!("refs/heads/{name}"),
        Reference::Tag(name) => format!("refs/tags/{name}"),
        Reference::Commit(id) => id.to_ascii_lowercase(),
    };
    // A digest as the local name: "a" and "a/b" may follow one another, which a folder of refs cannot hold.
    let local = Digest::of(source.as_bytes()).short();
    let force = if matches!(reference, Reference::Commit(_)) {
        ""
    } else {
        "+"
    };
    let spec = format!("{force}{source}:refs/roadstead/{local}");

    talk.converse(repo, &spec, |talk, connection, stderr, asked| {
        let prepared = connection
            .prepare_fetch(Discard, ref_map::Options::default())
            .map_err(|e| talk.explain(&e, stderr, asked))?;
        let mappings = &prepared.ref_map().mappings;
        let Some(source) = mappings.first().map(|mapping| mapping.remote.clone()) else {
            return Ok(None);
        };
        if matches!(&source, Source::Ref(Ref::Unborn { .. })) {
            return Err(SourceError::Empty {
                url: talk.url.shown.clone(),
            });
        }
        let Some(commit) = source.peeled_id().map(ToOwned::to_owned) else {
            return Ok(None);
        };
        if is_here(commit) {
            return Ok(Some(commit));
        }
        // The history is of no use to delivery, and can be a thousand times the tree.
        let shallow = Shallow::DepthAtRemote(NonZeroU32::MIN);
        prepared
            .with_shallow(shallow)
            .with_write_packed_refs_only(true)
            .receive(Discard, &talk.guard.stop)
            .map_err(|e| talk.explain(&e, stderr, asked))?;
        Ok(Some(commit))
    })?
    .ok_or_else(|| talk.unknown(repo))
}

impl Talk<'_> {
    fn converse<T>(
        &self,
        repo: &gix::Repository,
        spec: &str,
        work: impl FnOnce(
            &Self,
            gix::remote::Connection<
                '_,
                '_,
                '_,
                Box<dyn gix::protocol::transport::client::blocking_io::Transport + Send>,
            >,
            &Stderr,
            &Asked,
        ) -> Result<T, SourceError>,
    ) -> Result<T, SourceError> {
        let asked = Arc::new(Asked::default());
        let remote = repo
            .remote_at_without_url_rewrite(self.url.url.clone())
            .and_then(|remote| remote.with_refspecs([spec], Direction::Fetch))
            .map_err(|e| self.explain(&e, &Stderr::default(), &asked))?
            .with_fetch_tags(Tags::None);
        let connected = transport::connect(
            self.url,
            self.request,
            self.programs,
            self.private,
            self.guard,
        )?;
        let Connected {
            transport,
            options,
            stderr,
            ..
        } = connected;
        let mut connection = remote
            .to_connection_with_transport(transport)
            .with_credentials(self.credentials(asked.clone()));
        if let Some(options) = options {
            connection.set_transport_options(options);
        }
        work(self, connection, &stderr, &asked)
    }

    /// Answers the transport's question for credentials, for the request's own host only: a redirect to another host
    /// gets none.
    fn credentials(
        &self,
        asked: Arc<Asked>,
    ) -> impl FnMut(Action) -> gix::Result<Option<Outcome>> + 'static {
        let host = self.url.url.host().map(str::to_ascii_lowercase);
        let scheme = self.url.url.scheme.clone();
        let port = self.url.url.port_or_default();
        let account = match &self.request.auth {
            Auth::Token(token) => Some((token_user(host.as_deref()).to_owned(), token.clone())),
            Auth::Basic { user, password } => Some((user.clone(), password.clone())),
            Auth::None => self.url.url.user().map(|user| {
                (
                    user.to_owned(),
                    self.url.url.password().unwrap_or_default().to_owned(),
                )
            }),
            Auth::Ssh { .. } => None,
        };
        move |action| {
            let Action::Get(context) = &action else {
                return Ok(None);
            };
            asked.asked.store(true, Ordering::Relaxed);
            let asking = context
                .url
                .as_ref()
                .and_then(|url| gix::url::parse(url.as_bstr()).ok());
            let same = asking.is_some_and(|url| {
                url.host().map(str::to_ascii_lowercase) == host
                    && url.scheme == scheme
                    && url.port_or_default() == port
            });
            let (true, Some((user, password))) = (same, account.clone()) else {
                return Ok(None);
            };
            asked.sent.store(true, Ordering::Relaxed);
            Ok(Some(Outcome {
                identity: gix::sec::identity::Account {
                    username: user,
                    password,
                    oauth_refresh_token: None,
                },
                next: context.clone().into(),
            }))
        }
    }

    /// Says that the reference is not there, and what is.
    fn unknown(&self, repo: &gix::Repository) -> SourceError {
        let reference = &self.request.reference;
        let (prefix, wanted) = match reference {
            Reference::Tag(name) => ("refs/tags/", name.as_str()),
            Reference::Branch(name) => ("refs/heads/", name.as_str()),
            _ => ("refs/heads/", ""),
        };
        let listed = self.converse(
            repo,
            &format!("+{prefix}*:refs/listed/*"),
            |talk, connection, stderr, asked| {
                connection
                    .ref_map(Discard, ref_map::Options::default())
                    .map_err(|e| talk.explain(&e, stderr, asked))
            },
        );
        let mut known: Vec<String> = match listed {
            Ok((map, _)) => map
                .mappings
                .iter()
                .filter_map(|mapping| mapping.remote.as_name())
                .filter_map(|name| name.to_str().ok()?.strip_prefix(prefix))
                .map(str::to_owned)
                .collect(),
            Err(_) => Vec::new(),
        };
        if known.is_empty() && matches!(reference, Reference::DefaultBranch) {
            return SourceError::Empty {
                url: self.url.shown.clone(),
            };
        }
        known.sort_by_cached_key(|name| (crate::walk::distance(name, wanted), name.clone()));
        known.truncate(10);
        SourceError::UnknownReference {
            url: self.url.shown.clone(),
            reference: reference.to_string(),
            known,
        }
    }

    /// Turns what the Git library reports into what people can act on.
    fn explain(&self, error: &gix::Error, stderr: &Stderr, asked: &Asked) -> SourceError {
        let url = self.url.shown.clone();
        let errors: Vec<_> = error.iter_errors().collect();
        let mut reason = String::new();
        for error in &errors {
            let said = transport::chain(*error);
            if !reason.contains(&said) {
                if !reason.is_empty() {
                    reason.push_str(": ");
                }
                reason.push_str(&said);
            }
        }
        let said = stderr.text();
        if !said.is_empty() {
            // What the program says is nearer to the cause than "the stream ended".
            reason = said;
        }
        let reason = reason.replace(&self.url.url.to_bstring().to_string(), &url);
        let low = reason.to_lowercase();
        let has = |texts: &[&str]| texts.iter().any(|text| low.contains(text));
        let http = errors
            .iter()
            .find_map(|e| e.downcast_ref::<reqwest::Error>());
        let status = http.and_then(reqwest::Error::status).map(|s| s.as_u16());
        let sent = asked.sent.load(Ordering::Relaxed);
        let unanswered = asked.asked.load(Ordering::Relaxed) && !sent;

        if self.request.ca_bundle.is_some() && has(&["builder error"]) {
            SourceError::InvalidCaBundle { url, reason }
        } else if has(&["host key verification failed"]) {
            SourceError::HostKey { url, reason }
        } else if errors.iter().any(|e| transport::wants_credentials(*e))
            || unanswered
            || matches!(status, Some(401 | 403))
            || has(&["permission denied (", "refuses to use a given identity"])
        {
            let sent = sent || matches!(self.request.auth, Auth::Ssh { .. });
            SourceError::Auth { url, reason, sent }
        } else if http.is_some_and(reqwest::Error::is_connect)
            && has(&[
                "peer certificate",
                "fatal alert",
                "corrupt message",
                "peer misbehaved",
                "peer is incompatible",
            ])
        {
            SourceError::Tls { url, reason }
        } else if matches!(status, Some(404 | 410))
            || has(&[
                "does not appear to be a git repository",
                "not a git repository",
                "repository not found",
                "dubious ownership",
                "'smart' protocol",
            ])
        {
            SourceError::NotARepository { url, reason }
        } else if has(&["not our ref", "no such remote ref"]) {
            SourceError::UnknownReference {
                url,
                reference: self.request.reference.to_string(),
                known: Vec::new(),
            }
        } else if has(&["could not peel reference"]) {
            // A reference of our own, with nothing behind it.
            SourceError::Corrupt { url, reason }
        } else if has(&["object-format", "object hashes"]) {
            SourceError::Unsupported { url, reason }
        } else if error.is_resource_exhausted() {
            SourceError::ObjectTooLarge {
                url,
                limit: self.object_limit,
            }
        } else if http.is_some_and(|e| e.is_connect() || e.is_timeout())
            || has(&[
                "could not resolve hostname",
                "connection refused",
                "no route to host",
                "connection timed out",
                "connection closed by",
                "network is unreachable",
            ])
        {
            SourceError::Unreachable { url, reason }
        } else {
            SourceError::Fetch { url, reason }
        }
    }
}

/// Names the user that goes with a token: GitLab insists on "oauth2" for some kinds, Bitbucket on its own word; for the
/// others any user will do.
fn token_user(host: Option<&str>) -> &'static str {
    match host {
        Some("bitbucket.org") => "x-token-auth",
        _ => "oauth2",
    }
}
