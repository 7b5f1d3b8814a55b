//! Signed statements (DSSE) over a Signer trait.
