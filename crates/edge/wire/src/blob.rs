//! Contents by digest: asked for together, sent in pieces, checked on arrival.

use base_json::Digest;
use bytes::Bytes;
use tokio::sync::mpsc;
use tonic::Status;

use crate::message::{self, MAX_CONTENT, MessageError};
use crate::patch;
use crate::proto as pb;

/// The size of a piece.
const PIECE: usize = 64 << 10;
/// The most digests that one request may name.
pub const MAX_WANTS: usize = 4096;

/// One content that an agent lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Want {
    /// Its digest.
    pub digest: Digest,
    /// A list of objects that the agent holds, from which the wanted one may come as a patch.
    pub base: Option<Digest>,
}

impl Want {
    /// Wants a content whole.
    pub fn whole(digest: Digest) -> Self {
        Self { digest, base: None }
    }

    pub(crate) fn encode(self) -> pb::Want {
        pb::Want {
            digest: message::digest_bytes(Some(self.digest)),
            base: message::digest_bytes(self.base),
        }
    }

    pub(crate) fn decode(want: &pb::Want) -> Result<Self, MessageError> {
        Ok(Self {
            digest: message::digest("wanted digest", &want.digest)?,
            base: message::maybe_digest("base", &want.base)?,
        })
    }
}

/// A content ready to be sent. Clones share the bytes: make it once, send it to many.
#[derive(Debug, Clone)]
pub struct Blob {
    encoding: pb::Encoding,
    data: Bytes,
    base: Option<Digest>,
    refused: String,
}

impl Blob {
    fn of(bytes: &[u8], base: Option<Digest>) -> Self {
        let (encoding, data) = match message::compress(bytes) {
            Some(packed) => (pb::Encoding::Zstd, packed.into()),
            None => (pb::Encoding::Identity, Bytes::copy_from_slice(bytes)),
        };
        Self {
            encoding,
            data,
            base,
            refused: String::new(),
        }
    }

    /// A content, whole.
    pub fn whole(bytes: &[u8]) -> Self {
        Self::of(bytes, None)
    }

    /// A patch made by [`variant_patch`](crate::variant_patch) against a base that the agent named.
    pub fn patch(base: Digest, patch: &[u8]) -> Self {
        Self::of(patch, Some(base))
    }

    /// Nothing, and why: one content that cannot be had does not stop the others.
    pub fn refused(reason: impl Into<String>) -> Self {
        Self {
            encoding: pb::Encoding::Identity,
            data: Bytes::new(),
            base: None,
            refused: reason.into(),
        }
    }

    /// How many bytes travel.
    pub fn wire_len(&self) -> usize {
        self.data.len()
    }
}

/// The other side has gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the other side has gone")]
pub struct Gone;

/// Sends contents to one agent, no faster than it takes them.
#[derive(Debug, Clone)]
pub struct BlobSender(pub(crate) mpsc::Sender<Result<pb::BlobFrame, Status>>);

impl BlobSender {
    /// Sends one content. One task must send one after the other: pieces of two must not mix.
    pub async fn send(&self, digest: Digest, blob: &Blob) -> Result<(), Gone> {
        let mut at = 0;
        loop {
            let end = (at + PIECE).min(blob.data.len());
            let last = end == blob.data.len();
            let frame = pb::BlobFrame {
                digest: message::digest_bytes(Some(digest)),
                encoding: blob.encoding.into(),
                base: message::digest_bytes(blob.base),
                data: blob.data.slice(at..end),
                last,
                refused: blob.refused.clone(),
            };
            self.0.send(Ok(frame)).await.map_err(|_| Gone)?;
            if last {
                return Ok(());
            }
            at = end;
        }
    }
}

/// A content that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// The digest that was wanted.
    pub digest: Digest,
    /// What came.
    pub content: Content,
}

/// What came for a digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// The content; its digest is right.
    Whole(Vec<u8>),
    /// How to make it from a base, see [`Fetched::resolve`].
    Patch {
        /// The base.
        base: Digest,
        /// The patch.
        patch: Vec<u8>,
    },
    /// The hub will not give it, and says why.
    Refused(String),
}

/// Why a content is not there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContentError {
    /// The hub will not give it.
    #[error("hub refuses {digest}: {reason}")]
    Refused {
        /// The digest.
        digest: Digest,
        /// What it says.
        reason: String,
    },
    /// The agent does not hold the base any more.
    #[error("{digest} came as a patch of {base}, which is not held here")]
    NoBase {
        /// The digest.
        digest: Digest,
        /// The base.
        base: Digest,
    },
    /// The patch does not fit. Ask again, for the whole.
    #[error("{digest} came as a patch that does not fit")]
    Patch {
        /// The digest.
        digest: Digest,
        /// Why.
        #[source]
        source: patch::PatchError,
    },
}

impl Fetched {
    /// The content's bytes, their digest checked; a patch is applied to its base.
    pub fn resolve(
        self,
        base: impl FnOnce(&Digest) -> Option<Vec<u8>>,
    ) -> Result<Vec<u8>, ContentError> {
        let digest = self.digest;
        match self.content {
            Content::Whole(bytes) => Ok(bytes),
            Content::Refused(reason) => Err(ContentError::Refused { digest, reason }),
            Content::Patch { base: name, patch } => {
                let old = base(&name).ok_or(ContentError::NoBase { digest, base: name })?;
                patch::apply_variant_patch(&old, &patch, digest)
                    .map_err(|source| ContentError::Patch { digest, source })
            }
        }
    }
}

/// Puts pieces together.
#[derive(Debug, Default)]
pub(crate) struct Assembler {
    current: Option<Digest>,
    data: Vec<u8>,
}

impl Assembler {
    /// Takes a piece; returns the content when it was the last one.
    pub(crate) fn take(&mut self, frame: pb::BlobFrame) -> Result<Option<Fetched>, MessageError> {
        const PART: &str = "content";
        let wrong = |why: String| MessageError::Malformed { part: PART, why };
        let digest = message::digest("digest of a content", &frame.digest)?;
        if let Some(current) = self.current
            && current != digest
        {
            return Err(wrong(format!(
                "a piece of {digest} came before the end of {current}"
            )));
        }
        self.current = Some(digest);
        self.data.extend_from_slice(&frame.data);
        if self.data.len() > MAX_CONTENT {
            return Err(MessageError::TooLarge {
                part: PART,
                limit: MAX_CONTENT,
            });
        }
        if !frame.last {
            return Ok(None);
        }
        self.current = None;
        let data = std::mem::take(&mut self.data);
        if !frame.refused.is_empty() {
            let content = Content::Refused(frame.refused);
            return Ok(Some(Fetched { digest, content }));
        }
        let data = match message::encoding(PART, frame.encoding)? {
            pb::Encoding::Identity => data,
            pb::Encoding::Zstd => message::decompress(PART, &data)?,
        };
        let content = match message::maybe_digest("base", &frame.base)? {
            Some(base) => Content::Patch { base, patch: data },
            None => {
                let found = Digest::of(&data);
                if found != digest {
                    return Err(wrong(format!("{digest} was wanted, {found} came")));
                }
                Content::Whole(data)
            }
        };
        Ok(Some(Fetched { digest, content }))
    }
}
