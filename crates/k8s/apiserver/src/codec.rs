//! How an object stands in the store, and how its revision gets into it.
//!
//! An object's `resourceVersion` is the revision of its last write, so it cannot be part of what is written. The
//! stored bytes begin with `kind`, `apiVersion` and `metadata`, in this order; the revision is spliced in on the way
//! out, without parsing.

use base_store::{Entry, Revision};
use bytes::{Bytes, BytesMut};
use serde_json::{Map, Value};

use crate::{ResourceDef, Status};

const METADATA: &[u8] = b"\"metadata\":{";
const API_VERSION: &[u8] = b"\"apiVersion\":\"";

/// Writes an object as it is stored.
pub(crate) fn encode(def: &ResourceDef, object: &Value) -> Result<Bytes, Status> {
    let mut converted;
    let object = match def.stored_as {
        Some(form) => {
            converted = object.clone();
            (form.to)(&mut converted);
            &converted
        }
        None => object,
    };
    let mut out = Vec::with_capacity(1024);
    let write = |out: &mut Vec<u8>, value: &Value| {
        serde_json::to_writer(&mut *out, value).map_err(Status::internal)
    };
    let map = object
        .as_object()
        .ok_or_else(|| Status::bad_request("object is not a JSON object"))?;
    out.extend_from_slice(b"{\"kind\":\"");
    out.extend_from_slice(def.kind.as_bytes());
    out.extend_from_slice(b"\",");
    out.extend_from_slice(API_VERSION);
    out.extend_from_slice(def.storage_api_version().as_bytes());
    out.extend_from_slice(b"\",");
    out.extend_from_slice(METADATA);
    let empty = Map::new();
    let metadata = map
        .get("metadata")
        .and_then(Value::as_object)
        .unwrap_or(&empty);
    let mut first = true;
    for (key, value) in metadata {
        if key == "resourceVersion" {
            continue;
        }
        if !std::mem::take(&mut first) {
            out.push(b',');
        }
        write(&mut out, &Value::String(key.clone()))?;
        out.push(b':');
        write(&mut out, value)?;
    }
    out.push(b'}');
    for (key, value) in map {
        if matches!(key.as_str(), "kind" | "apiVersion" | "metadata") {
            continue;
        }
        out.push(b',');
        write(&mut out, &Value::String(key.clone()))?;
        out.push(b':');
        write(&mut out, value)?;
    }
    out.push(b'}');
    Ok(out.into())
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack
        .windows(needle.len())
        .position(|window| window == needle)
}

/// Puts the revision, and the `apiVersion` that was asked for, into stored bytes.
pub(crate) fn splice(def: &ResourceDef, stored: &[u8], revision: Revision) -> Bytes {
    let mut out = BytesMut::with_capacity(stored.len() + SPLICED);
    splice_into(def, stored, revision, &mut out);
    out.freeze()
}

/// How much longer spliced bytes mostly are.
pub(crate) const SPLICED: usize = 48;

/// Does the same behind what is there.
pub(crate) fn splice_into(
    def: &ResourceDef,
    stored: &[u8],
    revision: Revision,
    out: &mut BytesMut,
) {
    if (def.stored_as.is_some() || !def.is_settled(revision.0))
        && let Ok(object) = decode(def, stored, revision)
    {
        out.extend_from_slice(object.to_string().as_bytes());
        return;
    }
    let mut rest = stored;
    if def.version != def.storage_version
        && let Some(at) = find(rest, API_VERSION)
        && let Some(end) = find(&rest[at + API_VERSION.len()..], b"\"")
    {
        out.extend_from_slice(&rest[..at + API_VERSION.len()]);
        out.extend_from_slice(def.api_version().as_bytes());
        rest = &rest[at + API_VERSION.len() + end..];
    }
    if let Some(at) = find(rest, METADATA) {
        let cut = at + METADATA.len();
        out.extend_from_slice(&rest[..cut]);
        out.extend_from_slice(b"\"resourceVersion\":\"");
        out.extend_from_slice(revision.to_string().as_bytes());
        out.extend_from_slice(if rest.get(cut) == Some(&b'}') {
            b"\""
        } else {
            b"\","
        });
        rest = &rest[cut..];
    }
    out.extend_from_slice(rest);
}

/// Reads stored bytes.
pub(crate) fn decode(
    def: &ResourceDef,
    stored: &[u8],
    revision: Revision,
) -> Result<Value, Status> {
    let mut value: Value = serde_json::from_slice(stored).map_err(|error| {
        Status::internal(format_args!(
            "stored object of {} cannot be read: {error}",
            def.group_resource()
        ))
    })?;
    if let Some(form) = def.stored_as {
        (form.from)(&mut value);
    }
    if def.stored_as.is_some() || def.version != def.storage_version {
        value["apiVersion"] = Value::String(def.api_version());
    }
    if !def.is_settled(revision.0) {
        crate::schema::renew(def, &mut value);
    }
    if let Some(metadata) = k8s_object::meta_mut(&mut value) {
        metadata.insert(
            "resourceVersion".to_owned(),
            Value::String(revision.to_string()),
        );
    }
    Ok(value)
}

/// Reads an entry of the store.
pub(crate) fn decode_entry(def: &ResourceDef, entry: &Entry) -> Result<Value, Status> {
    decode(def, &entry.value, entry.modified)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_revision_is_spliced_in() {
        let mut def = ResourceDef::new("apps", "v1", "Deployment", "deployments", true);
        let object = json!({
            "data": {"\"metadata\":{": "x"}, "apiVersion": "wrong", "kind": "wrong",
            "metadata": {"name": "a", "resourceVersion": "7"}, "spec": {"metadata": {}},
        });
        let stored = encode(&def, &object).expect("encodes");
        assert_eq!(
            stored,
            r#"{"kind":"Deployment","apiVersion":"apps/v1","metadata":{"name":"a"},"data":{"\"metadata\":{":"x"},"spec":{"metadata":{}}}"#
        );
        let spliced = splice(&def, &stored, Revision(42));
        assert!(spliced.starts_with(
            br#"{"kind":"Deployment","apiVersion":"apps/v1","metadata":{"resourceVersion":"42","name":"a"},"#
        ));
        def.version = "v2".to_owned();
        let spliced = splice(&def, &stored, Revision(42));
        assert_eq!(
            serde_json::from_slice::<Value>(&spliced).expect("is JSON"),
            decode(&def, &stored, Revision(42)).expect("decodes")
        );
        let empty = encode(&def, &json!({})).expect("encodes");
        assert!(serde_json::from_slice::<Value>(&splice(&def, &empty, Revision(2))).is_ok());
    }
}
