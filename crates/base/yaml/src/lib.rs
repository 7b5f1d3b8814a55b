//! YAML read and written as go-yaml does, with positions.
