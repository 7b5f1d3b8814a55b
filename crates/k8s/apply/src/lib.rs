//! Server-side apply and the other patches: field sets, merge, conflicts, managedFields, schemas.
