//! Messages as typed data, and their form on the wire.

use std::io::Read as _;
use std::time::Duration;

use base_json::Digest;
use bytes::Bytes;
use k8s_object::ObjectId;
use roadstead_dispatch::{AgentFacts, Known, OrderDelta, Report, Survey, Trial};
use roadstead_model::ClusterId;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::proto as pb;

/// The oldest version of the protocol that this program speaks.
pub const VERSION_MIN: u32 = 1;
/// The newest version of the protocol that this program speaks.
pub const VERSION_MAX: u32 = 1;
/// The most bytes that one message may have on the wire.
pub const MAX_MESSAGE: usize = 4 << 20;
/// The most bytes that an order, a report, an answer or a blob may have uncompressed.
pub const MAX_CONTENT: usize = 32 << 20;
/// Below this many bytes nothing is compressed.
const SMALL: usize = 512;
/// The most that a decompressor may look back, as a power of two: what level 3 needs, and some more.
const WINDOW_LOG: u32 = 23;

/// Why a message cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// A part of it is not what it should be.
    #[error("malformed {part}: {why}")]
    Malformed {
        /// The part.
        part: &'static str,
        /// What is wrong.
        why: String,
    },
    /// It is too big.
    #[error("{part} is larger than {limit} bytes")]
    TooLarge {
        /// What is.
        part: &'static str,
        /// What is allowed.
        limit: usize,
    },
}

fn malformed(part: &'static str, why: impl ToString) -> MessageError {
    MessageError::Malformed {
        part,
        why: why.to_string(),
    }
}

/// What a joining agent sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinRequest {
    /// The token as text.
    pub token: String,
    /// The name that the cluster would have.
    pub name: String,
    /// The certificate request, in PEM.
    pub request_pem: String,
    /// The agent's version.
    pub agent_version: String,
    /// Facts about the cluster, if they are known.
    pub facts: Option<AgentFacts>,
}

/// What a joining agent gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinReply {
    /// The cluster's own stable id.
    pub cluster: ClusterId,
    /// The certificate, in PEM.
    pub certificate_pem: String,
    /// The hub's CA, in PEM.
    pub ca_pem: String,
    /// The keys that orders are signed with, see [`KeySet::to_json`](crate::keys::KeySet::to_json).
    pub keys_json: Vec<u8>,
    /// The hub's epoch.
    pub epoch: u64,
}

/// What a renewing agent gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenewReply {
    /// The certificate, in PEM.
    pub certificate_pem: String,
    /// The hub's CA, in PEM.
    pub ca_pem: String,
    /// The keys that orders are signed with; the agent takes in those that a key it trusts vouches for.
    pub keys_json: Vec<u8>,
}

/// How an agent opens a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// The oldest version of the protocol that it speaks.
    pub version_min: u32,
    /// The newest.
    pub version_max: u32,
    /// The agent's version.
    pub agent_version: String,
    /// Its cluster; it must be the one of its certificate.
    pub cluster: ClusterId,
    /// The root that it holds.
    pub root: Option<Digest>,
    /// The highest order that it obeyed.
    pub known: Known,
    /// Names its process, so that two agents with one identity are told apart; empty if it does not say.
    pub instance: String,
}

impl Hello {
    /// A hello of this program's versions.
    pub fn new(
        cluster: ClusterId,
        agent_version: &str,
        root: Option<Digest>,
        known: Known,
    ) -> Self {
        Self {
            version_min: VERSION_MIN,
            version_max: VERSION_MAX,
            agent_version: agent_version.to_owned(),
            cluster,
            root,
            known,
            instance: String::new(),
        }
    }

    /// The same, of the process with this name.
    #[must_use]
    pub fn of_instance(mut self, instance: &str) -> Self {
        instance.clone_into(&mut self.instance);
        self
    }

    /// The newest version that both sides speak; otherwise, who has to be upgraded.
    pub(crate) fn version(&self) -> Result<u32, String> {
        let version = self.version_max.min(VERSION_MAX);
        let range = |min, max| {
            if min == max {
                format!("version {min}")
            } else {
                format!("versions {min} to {max}")
            }
        };
        let theirs = range(self.version_min, self.version_max);
        let ours = range(VERSION_MIN, VERSION_MAX);
        if self.version_min > self.version_max {
            Err(format!(
                "agent speaks no version of the protocol ({theirs})"
            ))
        } else if version < VERSION_MIN {
            Err(format!(
                "agent is too old: it speaks {theirs} of the protocol, the hub {ours}; upgrade the agent"
            ))
        } else if version < self.version_min {
            Err(format!(
                "hub is too old: it speaks {ours} of the protocol, the agent {theirs}; upgrade the hub"
            ))
        } else {
            Ok(version)
        }
    }
}

/// What an agent says in a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgentSays {
    /// The first message, and only that.
    Hello(Hello),
    /// Send what changed since this root; the whole order for `None`, or for a root that the hub does not know.
    WantOrder {
        /// The root that the agent holds.
        base: Option<Digest>,
    },
    /// What changed in the cluster.
    Report(Box<Report>),
    /// Still here.
    Beat,
}

/// How a hub answers a hello.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Welcome {
    /// The protocol's version in this session.
    pub version: u32,
    /// The agent says something at least this often.
    pub beat_interval: Duration,
    /// The hub's id.
    pub hub_id: String,
    /// The hub's epoch.
    pub epoch: u64,
}

/// What is wanted of an object.
#[derive(Debug, Clone, PartialEq)]
pub enum DetailKind {
    /// The object itself, masked.
    Object,
    /// Its events.
    Events,
    /// Whose objects are that exist before their App; the request names the first of them.
    Survey(Box<Survey>),
    /// What the API server would say to objects; the request names the first of them.
    Trial(Box<Trial>),
}

/// A request for something that only the cluster knows.
#[derive(Debug, Clone, PartialEq)]
pub struct DetailRequest {
    /// What the answer will name.
    pub id: u64,
    /// What is wanted.
    pub kind: DetailKind,
    /// Of which object.
    pub object: ObjectId,
}

/// The answer to a [`DetailRequest`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The request's id.
    pub id: u64,
    /// JSON, or why there is none.
    pub outcome: Result<Bytes, String>,
}

/// What a hub says in a session.
#[derive(Debug, Clone, PartialEq)]
pub enum HubSays {
    /// The first message, and only that.
    Welcome(Welcome),
    /// The cluster's root is this now.
    RootIs(Digest),
    /// The order asked for.
    Order(Box<OrderDelta>),
    /// Please answer, on a stream of its own.
    Detail(DetailRequest),
    /// Please report everything.
    NeedStatus,
    /// The session is over.
    Ended {
        /// Why.
        reason: String,
    },
    /// The cluster was let go of: the agent takes itself away and leaves everything else as it is.
    Leave,
}

/// Compresses where that makes it smaller.
pub(crate) fn compress(bytes: &[u8]) -> Option<Vec<u8>> {
    if bytes.len() < SMALL {
        return None;
    }
    let packed = zstd::bulk::compress(bytes, 3).ok()?;
    (packed.len() < bytes.len()).then_some(packed)
}

/// Decompresses, up to [`MAX_CONTENT`].
pub(crate) fn decompress(part: &'static str, bytes: &[u8]) -> Result<Vec<u8>, MessageError> {
    let failed = |error: std::io::Error| malformed(part, error);
    let mut decoder = zstd::stream::read::Decoder::with_buffer(bytes).map_err(failed)?;
    decoder.window_log_max(WINDOW_LOG).map_err(failed)?;
    let mut out = Vec::new();
    decoder
        .take(MAX_CONTENT as u64 + 1)
        .read_to_end(&mut out)
        .map_err(failed)?;
    if out.len() > MAX_CONTENT {
        return Err(MessageError::TooLarge {
            part,
            limit: MAX_CONTENT,
        });
    }
    Ok(out)
}

pub(crate) fn encoding(part: &'static str, number: i32) -> Result<pb::Encoding, MessageError> {
    pb::Encoding::try_from(number)
        .map_err(|_| malformed(part, format_args!("unknown encoding {number}")))
}

fn pack<T: Serialize>(part: &'static str, value: &T) -> Result<pb::Payload, MessageError> {
    let json = serde_json::to_vec(value).map_err(|error| malformed(part, error))?;
    let payload = match compress(&json) {
        Some(packed) => pb::Payload {
            encoding: pb::Encoding::Zstd.into(),
            data: packed.into(),
        },
        None => pb::Payload {
            encoding: pb::Encoding::Identity.into(),
            data: json.into(),
        },
    };
    if payload.data.len() > MAX_MESSAGE - 64 {
        return Err(MessageError::TooLarge {
            part,
            limit: MAX_MESSAGE - 64,
        });
    }
    Ok(payload)
}

fn unpack<T: DeserializeOwned>(
    part: &'static str,
    payload: &pb::Payload,
) -> Result<T, MessageError> {
    match encoding(part, payload.encoding)? {
        pb::Encoding::Identity => serde_json::from_slice(&payload.data),
        pb::Encoding::Zstd => serde_json::from_slice(&decompress(part, &payload.data)?),
    }
    .map_err(|error| malformed(part, error))
}

pub(crate) fn digest(part: &'static str, bytes: &[u8]) -> Result<Digest, MessageError> {
    bytes.try_into().map(Digest::from_bytes).map_err(|_| {
        malformed(
            part,
            format_args!("a digest has 32 bytes, this has {}", bytes.len()),
        )
    })
}

pub(crate) fn maybe_digest(
    part: &'static str,
    bytes: &[u8],
) -> Result<Option<Digest>, MessageError> {
    if bytes.is_empty() {
        return Ok(None);
    }
    digest(part, bytes).map(Some)
}

pub(crate) fn digest_bytes(digest: Option<Digest>) -> Bytes {
    digest.map_or_else(Bytes::new, |digest| {
        Bytes::copy_from_slice(digest.as_bytes())
    })
}

impl AgentSays {
    pub(crate) fn encode(&self) -> Result<pb::AgentMessage, MessageError> {
        use pb::agent_message::Says;
        let says = match self {
            Self::Hello(hello) => Says::Hello(pb::Hello {
                version_min: hello.version_min,
                version_max: hello.version_max,
                agent_version: hello.agent_version.clone(),
                cluster_id: hello.cluster.0.clone(),
                root: digest_bytes(hello.root),
                epoch: hello.known.epoch,
                sequence: hello.known.sequence,
                instance: hello.instance.clone(),
            }),
            Self::WantOrder { base } => Says::WantOrder(pb::WantOrder {
                base: digest_bytes(*base),
            }),
            Self::Report(report) => Says::Report(pack("report", report)?),
            Self::Beat => Says::Beat(pb::Beat {}),
        };
        Ok(pb::AgentMessage { says: Some(says) })
    }

    /// Reads a message; `None` for a kind that this program does not know, which is ignored.
    pub(crate) fn decode(message: pb::AgentMessage) -> Result<Option<Self>, MessageError> {
        use pb::agent_message::Says;
        let Some(says) = message.says else {
            return Ok(None);
        };
        Ok(Some(match says {
            Says::Hello(hello) => Self::Hello(Hello {
                version_min: hello.version_min,
                version_max: hello.version_max,
                agent_version: hello.agent_version,
                cluster: ClusterId(hello.cluster_id),
                root: maybe_digest("root in hello", &hello.root)?,
                known: Known {
                    epoch: hello.epoch,
                    sequence: hello.sequence,
                },
                instance: hello.instance,
            }),
            Says::WantOrder(want) => Self::WantOrder {
                base: maybe_digest("base in request for an order", &want.base)?,
            },
            Says::Report(payload) => Self::Report(unpack("report", &payload)?),
            Says::Beat(pb::Beat {}) => Self::Beat,
        }))
    }
}

impl HubSays {
    pub(crate) fn encode(&self) -> Result<pb::HubMessage, MessageError> {
        use pb::hub_message::Says;
        let says = match self {
            Self::Welcome(welcome) => Says::Welcome(pb::Welcome {
                version: welcome.version,
                beat_interval_ms: u32::try_from(welcome.beat_interval.as_millis())
                    .unwrap_or(u32::MAX),
                hub_id: welcome.hub_id.clone(),
                epoch: welcome.epoch,
            }),
            Self::RootIs(root) => Says::RootIs(pb::RootIs {
                root: digest_bytes(Some(*root)),
            }),
            Self::Order(delta) => Says::Order(pack("order", delta)?),
            Self::Detail(request) => Says::Detail(pb::DetailRequest {
                request_id: request.id,
                kind: match request.kind {
                    DetailKind::Object => pb::DetailKind::Object,
                    DetailKind::Events => pb::DetailKind::Events,
                    DetailKind::Survey(_) => pb::DetailKind::Survey,
                    DetailKind::Trial(_) => pb::DetailKind::Trial,
                }
                .into(),
                object: request.object.to_string(),
                body: match &request.kind {
                    DetailKind::Survey(survey) => Some(pack("survey", &**survey)?),
                    DetailKind::Trial(trial) => Some(pack("trial", &**trial)?),
                    DetailKind::Object | DetailKind::Events => None,
                },
            }),
            Self::NeedStatus => Says::NeedStatus(pb::NeedStatus {}),
            Self::Ended { reason } => Says::Ended(pb::Ended {
                reason: reason.clone(),
            }),
            Self::Leave => Says::Leave(pb::Leave {}),
        };
        Ok(pb::HubMessage { says: Some(says) })
    }

    /// Reads a message; `None` for a kind that this program does not know, which is ignored.
    pub(crate) fn decode(message: pb::HubMessage) -> Result<Option<Self>, MessageError> {
        use pb::hub_message::Says;
        let Some(says) = message.says else {
            return Ok(None);
        };
        Ok(Some(match says {
            Says::Welcome(welcome) => Self::Welcome(Welcome {
                version: welcome.version,
                beat_interval: Duration::from_millis(welcome.beat_interval_ms.into()),
                hub_id: welcome.hub_id,
                epoch: welcome.epoch,
            }),
            Says::RootIs(root) => Self::RootIs(digest("root", &root.root)?),
            Says::Order(payload) => Self::Order(unpack("order", &payload)?),
            Says::Detail(request) => Self::Detail(DetailRequest {
                id: request.request_id,
                kind: match pb::DetailKind::try_from(request.kind) {
                    Ok(pb::DetailKind::Object) => DetailKind::Object,
                    Ok(pb::DetailKind::Events) => DetailKind::Events,
                    Ok(pb::DetailKind::Survey) => {
                        DetailKind::Survey(unpack("survey", &request.body.unwrap_or_default())?)
                    }
                    Ok(pb::DetailKind::Trial) => {
                        DetailKind::Trial(unpack("trial", &request.body.unwrap_or_default())?)
                    }
                    // a later hub's kind: it will hear nothing, as from an agent that is away
                    Ok(pb::DetailKind::Unknown) | Err(_) => return Ok(None),
                },
                object: request
                    .object
                    .parse()
                    .map_err(|error| malformed("request for detail", error))?,
            }),
            Says::NeedStatus(pb::NeedStatus {}) => Self::NeedStatus,
            Says::Ended(pb::Ended { reason }) => Self::Ended { reason },
            Says::Leave(pb::Leave {}) => Self::Leave,
        }))
    }
}

impl JoinRequest {
    pub(crate) fn encode(&self) -> pb::JoinRequest {
        let facts = self.facts.as_ref().map(serde_json::to_vec);
        pb::JoinRequest {
            token: self.token.clone(),
            name: self.name.clone(),
            csr_pem: self.request_pem.clone(),
            agent_version: self.agent_version.clone(),
            facts_json: facts.and_then(Result::ok).unwrap_or_default().into(),
        }
    }

    pub(crate) fn decode(message: pb::JoinRequest) -> Result<Self, MessageError> {
        let facts = match &message.facts_json[..] {
            [] => None,
            json => Some(serde_json::from_slice(json).map_err(|error| malformed("facts", error))?),
        };
        Ok(Self {
            token: message.token,
            name: message.name,
            request_pem: message.csr_pem,
            agent_version: message.agent_version,
            facts,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn any_bytes_are_a_message_or_an_error(
            bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200),
            field in 0_u8..8,
        ) {
            use prost::Message as _;
            let length = u8::try_from(bytes.len() & 0x7f).unwrap_or(0);
            let framed = [&[field << 3 | 2, length][..], &bytes[..length.into()]].concat();
            for bytes in [&bytes, &framed] {
                if let Ok(message) = pb::AgentMessage::decode(bytes.as_slice()) {
                    let _ = AgentSays::decode(message);
                }
                if let Ok(message) = pb::HubMessage::decode(bytes.as_slice()) {
                    let _ = HubSays::decode(message);
                }
                if let Ok(frame) = pb::BlobFrame::decode(bytes.as_slice()) {
                    let _ = crate::blob::Assembler::default().take(frame);
                }
            }
        }
    }

    #[test]
    fn the_newest_common_version_is_taken_or_the_older_side_named() {
        for (min, max, expected) in [
            (1, 1, "1"),
            (0, 9, "1"),
            (2, 3, "hub is too old"),
            (0, 0, "agent is too old"),
            (3, 2, "no version"),
        ] {
            let hello = Hello {
                version_min: min,
                version_max: max,
                ..Hello::new(ClusterId("c".into()), "v", None, Known::default())
            };
            let got = match hello.version() {
                Ok(version) => version.to_string(),
                Err(text) => text,
            };
            assert!(got.contains(expected), "{min}..{max}: {got}");
        }
    }

    #[test]
    fn a_small_message_that_unpacks_to_much_is_refused() {
        let bomb = zstd::bulk::compress(&vec![b' '; MAX_CONTENT + 1], 3).unwrap();
        assert!(bomb.len() < 10_000);
        let message = pb::AgentMessage {
            says: Some(pb::agent_message::Says::Report(pb::Payload {
                encoding: pb::Encoding::Zstd.into(),
                data: bomb.into(),
            })),
        };
        assert!(matches!(
            AgentSays::decode(message),
            Err(MessageError::TooLarge { part: "report", .. })
        ));
    }

    #[test]
    fn unknown_messages_are_ignored_and_malformed_ones_named() {
        assert_eq!(AgentSays::decode(pb::AgentMessage { says: None }), Ok(None));
        assert_eq!(HubSays::decode(pb::HubMessage { says: None }), Ok(None));
        let short = pb::HubMessage {
            says: Some(pb::hub_message::Says::RootIs(pb::RootIs {
                root: Bytes::from_static(b"short"),
            })),
        };
        let error = HubSays::decode(short).unwrap_err().to_string();
        assert_eq!(error, "malformed root: a digest has 32 bytes, this has 5");
    }
}
