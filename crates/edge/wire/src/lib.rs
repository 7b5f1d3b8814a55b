//! What hub and agent say to each other; identities and TLS.
