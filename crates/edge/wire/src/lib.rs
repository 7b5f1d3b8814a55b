//! What hub and agent say to each other; identities and TLS.
//!
//! An agent dials the hub's one port over TLS 1.3. With a join token it knows the hub by the hash of the hub's CA, and
//! becomes a cluster; from then on each side knows the other by its certificate. Over that connection it holds a session
//! (roots and orders down, reports up), fetches contents by digest, and answers questions. The same port serves the
//! hub's Kubernetes-style API to everybody else.
//!
//! - The hub's side: [`serve`] a [`Port`] with a [`Gateway`]; [`Connections`] ends what has been revoked.
//! - The agent's side: [`AgentClient`], [`AgentSession`], [`FetchStream`]; [`WireError`] says what is to be mended.
//! - [`pki`] makes certificates, [`keys`] signs orders and holds the set of keys that is trusted, [`token`] joins.
//!
//! It decides nothing: whether a token is good for a name, what an order says and which contents an agent may have is
//! the gateway's to say. It stores nothing either, and reads no environment. It is the only importer of tonic and prost.

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
    AGENT_URI, AgentIdentity, FrontProxies, IdentityError, Peer, PeerInfo, Subject, UserIdentity,
};
pub use message::{
    AgentSays, Answer, DetailKind, DetailRequest, Hello, HubSays, JoinReply, JoinRequest,
    MAX_CONTENT, MAX_MESSAGE, MessageError, RenewReply, VERSION_MAX, VERSION_MIN, Welcome,
};
pub use patch::{PatchError, apply_variant_patch, variant_patch};
pub use server::{
    BodyError, Connections, Gateway, Inbound, Limits, Outbound, Port, Refusal, RefusalKind,
    Session, read_body, serve,
};
pub use tls::{ClientTrust, IsRevoked, ServerTls};
/// The macro for implementations of [`Gateway`].
pub use tonic::async_trait;
