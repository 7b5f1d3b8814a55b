//! What hub and agent say to each other; identities and TLS.

mod blob;
mod client;
mod der;
mod identity;
pub mod keys;
mod message;
mod patch;
pub mod pki;
mod proto;
mod server;
mod tls;
pub mod token;

pub use blob::{Blob, BlobSender, Content, ContentError, Fetched, Gone, MAX_WANTS, Want};
pub use client::{
    AgentClient, AgentSession, ClientIdentity, Endpoint, FetchStream, FromHub, HubTrust,
    ProxySettings, ToHub, WireError,
};
pub use identity::{
    AGENT_URI, AgentIdentity, IdentityError, Peer, PeerInfo, Subject, UserIdentity,
};
pub use message::{
    AgentSays, Answer, DetailKind, DetailRequest, Hello, HubSays, JoinReply, JoinRequest,
    MAX_CONTENT, MAX_MESSAGE, MessageError, RenewReply, VERSION_MAX, VERSION_MIN, Welcome,
};
pub use patch::{PatchError, apply_variant_patch, variant_patch};
pub use server::{
    Connections, Gateway, Inbound, Limits, Outbound, Port, Refusal, RefusalKind, Session, serve,
};
pub use tls::{ClientTrust, IsRevoked, ServerTls};
/// The macro for implementations of [`Gateway`].
pub use tonic::async_trait;
