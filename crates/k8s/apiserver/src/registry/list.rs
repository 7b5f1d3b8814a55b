//! Lists: pages, revisions, selectors.

use base_store::{At, Range, ReadError, Revision};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::{Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{Registry, read_error};
use crate::{ResourceDef, Selector, Status, codec};

/// How a list's resourceVersion is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RevisionMatch {
    /// Exactly that one.
    Exact,
    /// That one or newer.
    NotOlderThan,
}

/// What to list.
#[derive(Debug, Clone, Default)]
pub struct ListOptions {
    /// Which objects.
    pub selector: Selector,
    /// How many at most; 0 for all.
    pub limit: usize,
    /// Where the page before ended; empty for the first page.
    pub continue_token: String,
    /// At which revision; empty for the newest.
    pub resource_version: String,
    /// How the revision is meant.
    pub resource_version_match: Option<RevisionMatch>,
}

impl ListOptions {
    /// Lists what a selector selects.
    pub fn select(selector: Selector) -> Self {
        Self {
            selector,
            ..Self::default()
        }
    }
}

/// A page of a list.
#[derive(Debug, Clone)]
pub struct ObjectList {
    /// The objects as bytes, each with its resourceVersion.
    pub items: Vec<Bytes>,
    /// The revision at which they were read.
    pub revision: Revision,
    /// The token of the next page; empty at the end.
    pub continue_token: String,
    /// How many follow, if it is known.
    pub remaining: Option<usize>,
}

impl ObjectList {
    /// Reads the objects.
    pub fn values(&self) -> impl Iterator<Item = Value> {
        // what the registry hands out is JSON: it was encoded here
        self.items
            .iter()
            .filter_map(|bytes| serde_json::from_slice(bytes).ok())
    }

    /// Writes the list's metadata.
    pub fn metadata(&self) -> Value {
        let mut out = Map::new();
        out.insert(
            "resourceVersion".to_owned(),
            json!(self.revision.to_string()),
        );
        if !self.continue_token.is_empty() {
            out.insert("continue".to_owned(), json!(self.continue_token));
        }
        if let Some(remaining) = self.remaining {
            out.insert("remainingItemCount".to_owned(), json!(remaining));
        }
        Value::Object(out)
    }

    /// Writes the list object without parsing its items. What is built in does not say in a list what each of its objects is.
    pub fn encode(&self, def: &ResourceDef) -> Bytes {
        let mut out = Written::new(def, self.items.iter().map(|item| item.len() + 1).sum());
        for item in &self.items {
            out.item(|bytes| bytes.extend_from_slice(item));
        }
        out.finish(self, def)
    }
}

/// A list that is written; its head, which is known last, gets room before the items.
struct Written {
    out: BytesMut,
    any: bool,
    /// How an item begins that says what it is, where that is left out: stored bytes have these two first, a form that is
    /// converted has its keys in order.
    said: Option<[String; 2]>,
}

impl Written {
    /// Room for most heads.
    const HEAD: usize = 1024;

    fn new(def: &ResourceDef, size: usize) -> Self {
        let mut out = BytesMut::with_capacity(Self::HEAD + size + 2);
        out.resize(Self::HEAD, 0);
        let said = matches!(def.schema, crate::Schema::Builtin).then(|| {
            let api_version = format!("\"apiVersion\":\"{}\"", def.api_version());
            let kind = format!("\"kind\":\"{}\"", def.kind);
            [
                format!("{{{kind},{api_version},"),
                format!("{{{api_version},{kind},"),
            ]
        });
        Self {
            out,
            any: false,
            said,
        }
    }

    /// Lets an item be written, and takes from it what it need not say.
    fn item(&mut self, write: impl FnOnce(&mut BytesMut)) {
        if std::mem::replace(&mut self.any, true) {
            self.out.extend_from_slice(b",");
        }
        let start = self.out.len();
        write(&mut self.out);
        let written = &self.out[start..];
        let mut forms = self.said.iter().flatten();
        let Some(form) = forms.find(|form| written.starts_with(form.as_bytes())) else {
            return;
        };
        let (rest, end) = (start + form.len(), self.out.len());
        self.out[start] = b'{';
        self.out.copy_within(rest..end, start + 1);
        self.out.truncate(end - form.len() + 1);
    }

    fn finish(mut self, list: &ObjectList, def: &ResourceDef) -> Bytes {
        let head = format!(
            "{{\"kind\":\"{}\",\"apiVersion\":\"{}\",\"metadata\":{},\"items\":[",
            def.list_kind,
            def.api_version(),
            list.metadata()
        );
        self.out.extend_from_slice(b"]}");
        let Some(before) = Self::HEAD.checked_sub(head.len()) else {
            let mut out = BytesMut::from(head.as_bytes());
            out.extend_from_slice(&self.out[Self::HEAD..]);
            return out.freeze();
        };
        self.out[before..Self::HEAD].copy_from_slice(head.as_bytes());
        let mut out = self.out.freeze();
        out.split_off(before)
    }
}

/// Takes the objects of a list.
trait Sink {
    /// Hears how many bytes will come at most, as far as that is known.
    fn expect(&mut self, bytes: usize);

    /// Takes an object as it is stored.
    fn put(&mut self, def: &ResourceDef, stored: &[u8], revision: Revision);
}

impl Sink for Vec<Bytes> {
    fn expect(&mut self, _: usize) {}

    fn put(&mut self, def: &ResourceDef, stored: &[u8], revision: Revision) {
        self.push(codec::splice(def, stored, revision));
    }
}

impl Sink for Written {
    fn expect(&mut self, bytes: usize) {
        self.out.reserve(bytes);
    }

    fn put(&mut self, def: &ResourceDef, stored: &[u8], revision: Revision) {
        self.item(|out| codec::splice_into(def, stored, revision, out));
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Token {
    v: String,
    rv: i64,
    start: String,
}

fn encode_token(revision: Option<Revision>, start: &str) -> String {
    let token = Token {
        v: "meta.k8s.io/v1".to_owned(),
        rv: revision.map_or(-1, |revision| i64::try_from(revision.0).unwrap_or(-1)),
        start: format!("{start}\0"),
    };
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(&token).unwrap_or_default())
}

fn decode_token(text: &str) -> Result<(Option<Revision>, String), Status> {
    let bad = |why: &str| {
        Status::bad_request(format!(
            "invalid continue token: continue key is not valid: {why}"
        ))
    };
    let bytes = URL_SAFE_NO_PAD
        .decode(text.trim_end_matches('='))
        .map_err(|_| bad("it is not base64"))?;
    let token: Token = serde_json::from_slice(&bytes)
        .map_err(|error| bad(&crate::http::go_json_problem(&bytes, &error)))?;
    if token.v != "meta.k8s.io/v1" {
        return Err(bad("its version is not known"));
    }
    let start = token
        .start
        .strip_suffix('\0')
        .ok_or_else(|| bad("it does not say where to start"))?;
    let revision = match token.rv {
        0 => return Err(bad("incorrect encoded start resourceVersion")),
        negative if negative < 0 => None,
        revision => u64::try_from(revision).ok().map(Revision),
    };
    Ok((revision, start.to_owned()))
}

/// Reads a resourceVersion; empty is `None`.
pub(crate) fn parse_revision(text: &str) -> Result<Option<Revision>, Status> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse()
        .map(|revision| Some(Revision(revision)))
        .map_err(|_| {
            Status::bad_request(format!(
                "invalid resource version: resourceVersion: Invalid value: {text:?}: strconv.ParseUint: parsing {text:?}: invalid syntax"
            ))
        })
}

const EXPIRED: &str = "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.";

impl Registry {
    /// Lists objects; an empty namespace means all.
    pub fn list(
        &self,
        def: &ResourceDef,
        namespace: &str,
        options: &ListOptions,
    ) -> Result<ObjectList, Status> {
        let mut items = Vec::new();
        let list = self.list_into(def, namespace, options, &mut items)?;
        Ok(ObjectList { items, ..list })
    }

    /// Lists objects as the bytes of a list object.
    pub(crate) fn list_bytes(
        &self,
        def: &ResourceDef,
        namespace: &str,
        options: &ListOptions,
    ) -> Result<Bytes, Status> {
        let mut out = Written::new(def, 0);
        let list = self.list_into(def, namespace, options, &mut out)?;
        Ok(out.finish(&list, def))
    }

    /// Lists objects into a sink; the list that is returned has none.
    fn list_into(
        &self,
        def: &ResourceDef,
        namespace: &str,
        options: &ListOptions,
        sink: &mut dyn Sink,
    ) -> Result<ObjectList, Status> {
        options.selector.check(def)?;
        let prefix = self.key_prefix(def, namespace);
        let (at, mut after) = self.list_start(&prefix, options)?;
        if let Some(name) = options.selector.only_name()
            && (!def.namespaced || !namespace.is_empty())
            && after.is_none()
        {
            return self.list_one(def, namespace, (name, at), options, sink);
        }
        let filtered = !options.selector.is_empty();
        let mut found = 0;
        let mut at = at;
        loop {
            let want = match options.limit {
                0 => 0,
                limit if filtered => limit.max(500),
                limit => limit - found,
            };
            let page = self
                .store()
                .range(&Range {
                    prefix: prefix.clone(),
                    after: after.clone(),
                    limit: want,
                    at,
                })
                .map_err(|error| match error {
                    ReadError::Compacted { .. } if !options.continue_token.is_empty() => {
                        let start = after.as_deref().unwrap_or_default();
                        let start = start.strip_prefix(prefix.as_str()).unwrap_or(start);
                        Status::expired(EXPIRED).with_continue(encode_token(None, start))
                    }
                    error => read_error(error),
                })?;
            // the pages of one list come from one revision
            at = At::Revision(page.revision);
            let count = page.entries.len();
            if !filtered {
                let sizes = page.entries.iter();
                sink.expect(sizes.map(|entry| entry.value.len() + codec::SPLICED).sum());
            }
            for (index, entry) in page.entries.into_iter().enumerate() {
                let start = entry
                    .key
                    .strip_prefix(prefix.as_str())
                    .unwrap_or(&entry.key)
                    .to_owned();
                if filtered {
                    let object = codec::decode_entry(def, &entry)?;
                    if !options.selector.matches(&object) {
                        after = Some(entry.key);
                        continue;
                    }
                }
                sink.put(def, &entry.value, entry.modified);
                found += 1;
                let behind = count - index - 1 + page.remaining;
                if options.limit > 0 && found >= options.limit && behind > 0 {
                    return Ok(ObjectList {
                        items: Vec::new(),
                        revision: page.revision,
                        continue_token: encode_token(Some(page.revision), &start),
                        remaining: (!filtered).then_some(behind),
                    });
                }
                after = Some(entry.key);
            }
            if page.remaining == 0 || count == 0 {
                return Ok(ObjectList {
                    items: Vec::new(),
                    revision: page.revision,
                    continue_token: String::new(),
                    remaining: None,
                });
            }
        }
    }

    fn list_start(
        &self,
        prefix: &str,
        options: &ListOptions,
    ) -> Result<(At, Option<String>), Status> {
        let asked = parse_revision(&options.resource_version)?;
        if options.resource_version_match.is_some() && asked.is_none() {
            return Err(Status::bad_request(
                "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided",
            ));
        }
        if !options.continue_token.is_empty() {
            if options.resource_version_match.is_some() {
                return Err(Status::bad_request(
                    "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden when continue is provided",
                ));
            }
            if asked.is_some_and(|asked| asked.0 != 0) {
                return Err(Status::bad_request(
                    "specifying resource version is not allowed when using continue",
                ));
            }
            let (revision, start) = decode_token(&options.continue_token)?;
            let at = revision.map_or(At::Newest, At::Revision);
            return Ok((at, Some(format!("{prefix}{start}"))));
        }
        let exact = match options.resource_version_match {
            Some(RevisionMatch::Exact) => true,
            Some(RevisionMatch::NotOlderThan) => false,
            None => options.limit > 0,
        };
        match asked {
            Some(Revision(0)) if options.resource_version_match == Some(RevisionMatch::Exact) => {
                Err(Status::bad_request(
                    "resourceVersionMatch: Forbidden: resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"",
                ))
            }
            None | Some(Revision(0)) => Ok((At::Newest, None)),
            Some(asked) if exact => Ok((At::Revision(asked), None)),
            Some(asked) => {
                let newest = self.revision();
                if asked > newest {
                    return Err(Status::revision_too_large(asked.0, newest.0));
                }
                Ok((At::Newest, None))
            }
        }
    }

    fn list_one(
        &self,
        def: &ResourceDef,
        namespace: &str,
        (name, at): (&str, At),
        options: &ListOptions,
        sink: &mut dyn Sink,
    ) -> Result<ObjectList, Status> {
        // the revision is read first, so that a watch from it misses nothing
        let revision = match at {
            At::Newest => self.revision(),
            At::Revision(revision) => revision,
        };
        let entry = self
            .store()
            .get(&self.key(def, namespace, name), At::Revision(revision))
            .map_err(read_error)?;
        if let Some(entry) = entry
            && options.selector.matches(&codec::decode_entry(def, &entry)?)
        {
            sink.put(def, &entry.value, entry.modified);
        }
        Ok(ObjectList {
            items: Vec::new(),
            revision,
            continue_token: String::new(),
            remaining: None,
        })
    }
}
