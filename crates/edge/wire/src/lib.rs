//! What hub and agent say to each other; identities and TLS.

mod der;
mod identity;
pub mod keys;
pub mod pki;
mod tls;
pub mod token;

pub use identity::{
    AGENT_URI, AgentIdentity, IdentityError, Peer, PeerInfo, Subject, UserIdentity,
};
pub use tls::{ClientTrust, IsRevoked, ServerTls};
